"""`python -m grain_model count`: the grains of images, and their mean as fields of one specimen."""

from __future__ import annotations

import argparse
import json
import sys

from .arguments import file_path
from .batch import Batch, add_image_arguments
from .errors import GrainError
from .fields import CountedField, describe_fields, mean_of_counted, write_fields
from .image_listing import IMAGE_SUFFIXES
from .result_folder import BATCH_FILES
from .words import interval_text, merge_alike, plural


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `count`."""
    parser.description = (
        "Count the grains of each image. A folder stands for all images in it and below "
        f"({', '.join(suffix[1:] for suffix in IMAGE_SUFFIXES)})."
    )
    parser.epilog = (
        "Exit code: 0 all counted, 1 some files failed (each is named on stderr), 2 wrong usage, "
        "130 interrupted (what was counted until then is kept)."
    )
    add_image_arguments(parser)
    parser.add_argument(
        "--out",
        type=file_path,
        metavar="DIR",
        help="write DIR/<file name>/ for each image (mask.png, overlay.png, labels.tif, grains.csv, summary.json) "
        "and about all of them DIR/summary.csv, a row a file, DIR/grain_size.csv, a row a file and rule and their "
        "mean, and DIR/summary.json",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of lines")


def run(options: argparse.Namespace) -> int:
    """Count each image; a bad one is named on stderr and does not stop the others.

    Returns:
        Exit code: 0 done, 1 some images failed, 130 interrupted.

    Raises:
        UsageError: If the results cannot be written where they shall be.
        ModelError: If the model cannot be loaded.
    """
    batch, fields = Batch(options), []
    with batch.until_interrupted():
        for field in batch.count(BATCH_FILES):
            fields.append(field)
            if not options.json:
                batch.tell(_line(field))
                batch.tell_remarks(field)
    if options.out:
        batch.write(options.out, lambda: write_fields(options.out, fields, batch.failures))
    batch.name_failures()
    if options.json:
        # In ASCII, which every encoding of a pipe holds.
        batch.tell(json.dumps(describe_fields(fields, batch.failures), indent=2, allow_nan=False))
    elif len(fields) > 1:
        _tell_mean(batch, fields)
    return batch.exit_code


def _line(field: CountedField) -> str:
    size = field.grain_size.saltykov.G
    parts = [plural(field.count, "grain")] + ([f"G {size:.2f} (Saltykov)"] if size is not None else [])
    return f"{field.file}: {', '.join(parts)}"


def _tell_mean(batch: Batch, fields: list[CountedField]) -> None:
    try:
        mean = mean_of_counted(fields)
    except GrainError as error:
        print(error, file=sys.stderr)
        return
    rule, start = mean.saltykov, f"mean of {len(fields)} fields"
    if rule.G is None:
        batch.tell(f"{start}: no G without a scale" if rule.um_per_pixel is None else f"{start}: no grains")
        return
    parts = [f"G {rule.G:.2f} (Saltykov)"]
    if rule.ci95 is not None:
        parts += [f"95 % interval {interval_text(rule.ci95)}", f"%RA {rule.relative_accuracy:.1f}"]
    batch.tell(f"{start}: {', '.join(parts)}")
    # What makes single fields doubtful was told with them.
    names, sizes = [field.file for field in fields], [field.grain_size for field in fields]
    told = merge_alike(names, [[*size.flags, *size.saltykov.flags] for size in sizes])
    for flag in (*mean.flags, *rule.flags):
        if flag not in told:
            print(f"{start}: {flag}", file=sys.stderr)
