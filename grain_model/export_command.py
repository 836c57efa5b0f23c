"""`python -m grain_model export`: the grains of images in the formats of other tools."""

from __future__ import annotations

import argparse
from pathlib import Path

from .analysis import GrainAnalysis
from .arguments import file_path
from .batch import Batch, add_image_arguments
from .errors import printable
from .export import FORMATS, export_grains
from .fields import write_table
from .json_file import save_json
from .result_folder import EXPORT_COLUMNS, EXPORT_LIST, SUMMARY


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `python -m grain_model export`."""
    add_image_arguments(parser)
    parser.add_argument(
        "--out",
        type=file_path,
        required=True,
        metavar="DIR",
        help="files go to DIR/<image name>/; DIR/export.csv says which image is in which folder",
    )
    parser.add_argument(
        "--formats",
        type=_formats,
        default=list(FORMATS),
        metavar="A,B",
        help=f"some of {', '.join(FORMATS)}, separated by commas; default: all",
    )


def run(options: argparse.Namespace) -> int:
    """Count and export each image; a bad one is named on stderr and does not stop the others.

    Returns:
        Exit code: 0 done, 1 some images failed, 130 interrupted.

    Raises:
        UsageError: If the files cannot be written where they shall be.
        ModelError: If the model cannot be loaded.
    """
    batch, fields = Batch(options), []

    def write(analysis: GrainAnalysis, folder: Path) -> None:
        for path in export_grains(analysis, folder, options.formats).values():
            batch.tell(printable(path))
        save_json(analysis.summary(), folder / SUMMARY)

    with batch.until_interrupted():
        for field in batch.count([EXPORT_LIST], write):
            fields.append(field)
            batch.tell_remarks(field)
    rows = [(field.file, field.folder, "") for field in fields]
    rows += [(failure.file, "", failure.reason) for failure in batch.failures]
    batch.write(options.out, lambda: write_table(options.out / EXPORT_LIST, EXPORT_COLUMNS, rows))
    batch.name_failures()
    return batch.exit_code


def _formats(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in FORMATS]:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: no such format; choose from {', '.join(FORMATS)}")
    return names
