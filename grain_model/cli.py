"""The command line: `python -m grain_model count`, and the commands of other modules."""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from .errors import GrainError
from .version import __version__

if TYPE_CHECKING:
    from .analysis import GrainAnalysis

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
"""What is taken from a folder; a file named by itself is always tried."""

OTHER_COMMANDS = {
    "export": "write the grains of images in the formats of other tools",
    "report": "write a report of one specimen as PDF or HTML",
}
"""Commands that live in the module of their name, which has `add_arguments(parser)` and `run(options)`."""

EXIT_DONE, EXIT_SOME_FAILED, EXIT_USAGE = 0, 1, 2

NO_IMAGES = (
    f"There is no image in this folder. Files ending in {', '.join(IMAGE_SUFFIXES)} are expected. "
    "Check the path, or name the files themselves."
)

SUMMARY_COLUMNS = ("file", "folder", "count", "G_saltykov", "um_per_pixel", "scale_source", "warnings", "quality_flags")


@dataclass(frozen=True)
class Failure:
    """A file that could not be counted, and why."""

    file: str
    reason: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: as typed; `None` takes those of the process.

    Returns:
        Exit code: 0 done, 1 some files failed (each is named on stderr), 2 wrong usage.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser(arguments).parse_args(arguments)
    return options.run(options)


def find_images(path: Path) -> list[Path]:
    """Lists the images that a path of the command line stands for.

    Args:
        path: a file, existing or not, stands for itself; a folder for all images in it and in the folders below,
            without what is hidden and without the pictures that an earlier run wrote.

    Returns:
        Paths as given, or below the folder that was given, sorted.
    """
    if not path.is_dir():
        return [path]
    return sorted(
        image
        for image in path.rglob("*")
        if image.suffix.lower() in IMAGE_SUFFIXES
        and image.is_file()
        and not any(part.startswith(".") for part in image.relative_to(path).parts)
        and not all((image.parent / name).exists() for name in ("summary.json", "labels.tif"))
    )


def name_folders(images: Sequence[Path]) -> list[str]:
    """Names a result folder for each image: the file's name, numbered from the second of the same name on.

    Args:
        images: files, maybe of the same name in different folders.

    Returns:
        One name an image, no two alike even where the file system ignores case.
    """
    taken: set[str] = set()
    names = []
    for image in images:
        name, number = image.name, 2
        while name.casefold() in taken:
            name, number = f"{image.name}-{number}", number + 1
        taken.add(name.casefold())
        names.append(name)
    return names


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m grain_model", description="Segment, count and measure the grains on micrographs."
    )
    parser.add_argument("--version", action="version", version=f"grain_model {__version__}")
    commands = parser.add_subparsers(title="commands", required=True)
    _add_count(commands)
    for name, purpose in OTHER_COMMANDS.items():
        command = commands.add_parser(name, help=purpose, description=f"{purpose[0].upper()}{purpose[1:]}.")
        if name in arguments:  # their plotting and table libraries take seconds to import
            module = import_module(f".{name}", __package__)
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    return parser


def _add_count(commands: argparse._SubParsersAction) -> None:
    count = commands.add_parser(
        "count",
        help="count the grains of images and folders of images",
        description="Count the grains of each image. A folder stands for all images in it and below "
        f"({', '.join(suffix[1:] for suffix in IMAGE_SUFFIXES)}).",
        epilog="Exit code: 0 all counted, 1 some files failed (each is named on stderr), 2 wrong usage.",
    )
    count.add_argument("images", nargs="+", type=Path, metavar="IMAGE_OR_FOLDER", help="images, or folders of images")
    count.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="write DIR/<file name>/ for each image (mask.png, overlay.png, labels.tif, grains.csv, summary.json) "
        "and DIR/summary.csv, a row a file",
    )
    count.add_argument(
        "--um-per-pixel", type=_positive_length, metavar="X", help="scale of all images; wins over the files' own"
    )
    count.add_argument("--model", metavar="FOLDER_OR_ID", help="other weights than the embedded ones")
    count.add_argument("--method", choices=("watershed", "components"), default="watershed", help="default: watershed")
    count.add_argument(
        "--boundary-sensitivity",
        type=_share,
        default=0.5,
        metavar="S",
        help="0 to 1, higher finds weaker boundaries and so more grains; default: 0.5",
    )
    count.add_argument(
        "--min-grain-area",
        type=_area,
        metavar="PX",
        help="smallest grain kept; default: by the image's own grains",
    )
    count.add_argument("--json", action="store_true", help="print one JSON document instead of lines")
    count.add_argument("--quiet", action="store_true", help="no progress bar")
    count.set_defaults(run=_count)


def _count(options: argparse.Namespace) -> int:
    if options.out and options.out.exists() and not options.out.is_dir():
        return _refuse(f"--out {options.out} is a file. A folder is expected. Name another one.")
    found = {path: find_images(path) for path in options.images}
    images = list({image.resolve(): image for listed in found.values() for image in listed}.values())
    failures = [Failure(str(path), NO_IMAGES) for path, listed in found.items() if not listed]

    from transformers.utils import logging as transformers_logging

    from .loading import load_model

    # Loading prints a bar of its own, which would stand between ours and the user's JSON reader's log.
    transformers_logging.disable_progress_bar()
    try:
        model = load_model(options.model)
    except GrainError as error:
        return _refuse(str(error))

    results: list[dict[str, Any]] = []
    bar = tqdm(images, unit="image", disable=options.quiet, file=sys.stderr)
    for image, folder in zip(bar, name_folders(images), strict=True):
        bar.set_postfix_str(image.name)
        outcome = _count_one(image, model, options, options.out / folder if options.out else None)
        if isinstance(outcome, Failure):
            failures.append(outcome)
            continue
        results.append(outcome)
        if not options.json:
            tqdm.write(_line(outcome), file=sys.stdout)
    for failure in failures:
        print(f"{failure.file}: {failure.reason}", file=sys.stderr)
    if options.out and results:
        _write_table(options.out / "summary.csv", results)
    if options.json:
        document = {"results": results, "failed": [vars(failure) for failure in failures]}
        json.dump(document, sys.stdout, indent=2, ensure_ascii=False, allow_nan=False)
        print()
    return EXIT_SOME_FAILED if failures else EXIT_DONE


def _count_one(image: Path, model: Any, options: argparse.Namespace, folder: Path | None) -> dict[str, Any] | Failure:
    """Counts one file and writes its results; whatever goes wrong stays with that file."""
    from .analysis import count_grains

    try:
        analysis: GrainAnalysis = count_grains(
            image,
            options.um_per_pixel,
            model,
            method=options.method,
            boundary_sensitivity=options.boundary_sensitivity,
            min_grain_area=options.min_grain_area,
        )
        if folder:
            analysis.save(folder)
        return {"file": str(image), "folder": str(folder) if folder else None, **analysis.summary()}
    except GrainError as error:
        return Failure(str(image), str(error))
    except Exception as error:  # A batch survives any one file: memory, disk, a fault of ours.
        return Failure(str(image), f"{type(error).__name__}: {error}")


def _line(result: dict[str, Any]) -> str:
    grains = "1 grain" if result["count"] == 1 else f"{result['count']} grains"
    size = _saltykov(result)
    parts = [grains] + ([f"G {size:.2f} (Saltykov)"] if size is not None else [])
    return f"{result['file']}: {', '.join(parts)}"


def _saltykov(result: dict[str, Any]) -> float | None:
    return result["grain_size"]["saltykov"]["G"]


def _write_table(path: Path, results: list[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(SUMMARY_COLUMNS)
        for result in results:
            writer.writerow(
                [
                    result["file"],
                    result["folder"],
                    result["count"],
                    _saltykov(result),
                    result["scale"]["um_per_pixel"],
                    result["scale"]["source"],
                    " ".join(result["warnings"]),
                    " ".join(flag["code"] for flag in result["quality_flags"]),
                ]
            )


def _positive_length(text: str) -> float:
    value = _number(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number of um per pixel, such as 0.25")
    return value


def _share(text: str) -> float:
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 1, such as 0.5")
    return value


def _area(text: str) -> float:
    value = _number(text)
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no area in pixels, such as 40")
    return value


def _number(text: str) -> float:
    """Reads a finite number; anything else is NaN, which no comparison lets through."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _refuse(message: str) -> int:
    print(f"python -m grain_model: error: {message}", file=sys.stderr)
    return EXIT_USAGE
