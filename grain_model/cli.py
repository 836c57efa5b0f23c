"""The command line: `python -m grain_model count` and `export-onnx`, and the commands of other modules."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from .batch import (
    EXIT_DONE,
    EXIT_SOME_FAILED,
    IMAGE_SUFFIXES,
    Failure,
    add_image_arguments,
    attempt,
    finite_number,
    list_images,
    load_quietly,
    name_failures,
    name_folders,
    refuse,
    show_progress,
)
from .errors import GrainError
from .fields import CountedField, count_field, describe_fields, mean_of_counted, write_fields
from .version import __version__

if TYPE_CHECKING:
    from .analysis import GrainAnalysis

OTHER_COMMANDS = {
    "export": "write the grains of images in the formats of other tools",
    "report": "write a report of one specimen as PDF or HTML",
}
"""Commands that live in the module of their name, which has `add_arguments(parser)` and `run(options)`."""


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


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m grain_model", description="Segment, count and measure the grains on micrographs."
    )
    parser.add_argument("--version", action="version", version=f"grain_model {__version__}")
    commands = parser.add_subparsers(title="commands", required=True)
    _add_count(commands)
    _add_export_onnx(commands)
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
    add_image_arguments(count)
    count.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="write DIR/<file name>/ for each image (mask.png, overlay.png, labels.tif, grains.csv, summary.json) "
        "and about all of them DIR/summary.csv, a row a file, and DIR/summary.json, with their mean",
    )
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
    count.set_defaults(run=_count)


def _add_export_onnx(commands: argparse._SubParsersAction) -> None:
    purpose = "write the network as one ONNX file"
    command = commands.add_parser(
        "export-onnx", help=purpose, description=f"{purpose[0].upper()}{purpose[1:]}, for images of any size."
    )
    command.add_argument("--model", metavar="FOLDER_OR_ID", help="other weights than the embedded ones")
    command.add_argument("--out", type=Path, required=True, metavar="FILE", help="the file, such as model.onnx")
    command.add_argument(
        "--int8", action="store_true", help="linear layers in 8 bits: a third of the size, slightly less accurate"
    )
    command.set_defaults(run=_export_onnx)


def _export_onnx(options: argparse.Namespace) -> int:
    from .onnx_export import export_onnx

    if options.out.suffix.lower() != ".onnx":
        return refuse(f"--out {options.out} does not end in .onnx. A name such as model.onnx is expected. Change it.")
    try:
        export_onnx(load_quietly(options.model), options.out, int8=options.int8)
    except (GrainError, OSError) as error:
        return refuse(str(error))
    print(options.out)
    return EXIT_DONE


def _count(options: argparse.Namespace) -> int:
    if options.out and options.out.exists() and not options.out.is_dir():
        return refuse(f"--out {options.out} is a file. A folder is expected. Name another one.")
    images, failures = list_images(options.images)
    try:
        model = load_quietly(options.model, options.backend)
    except GrainError as error:
        return refuse(str(error))

    fields: list[CountedField] = []
    count = _counter(model, options)
    for image, folder in zip(show_progress(images, options.quiet), name_folders(images), strict=True):
        into = options.out / folder if options.out else None
        outcome = attempt(image, partial(count_field, image, count, into))
        if isinstance(outcome, Failure):
            failures.append(outcome)
            continue
        fields.append(outcome)
        if not options.json:
            tqdm.write(_line(outcome), file=sys.stdout)
    name_failures(failures)
    if options.out and fields:
        write_fields(options.out, fields, failures)
    if options.json:
        json.dump(describe_fields(fields, failures), sys.stdout, indent=2, ensure_ascii=False, allow_nan=False)
        print()
    elif len(fields) > 1:
        print(_mean_line(fields))
    return EXIT_SOME_FAILED if failures else EXIT_DONE


def _counter(model: Any, options: argparse.Namespace) -> Callable[[Path], GrainAnalysis]:
    from .analysis import count_grains

    return partial(
        count_grains,
        um_per_pixel=options.um_per_pixel,
        model=model,
        method=options.method,
        boundary_sensitivity=options.boundary_sensitivity,
        min_grain_area=options.min_grain_area,
        backend=options.backend,
    )


def _line(field: CountedField) -> str:
    grains = "1 grain" if field.count == 1 else f"{field.count} grains"
    size = field.grain_size.saltykov.G
    parts = [grains] + ([f"G {size:.2f} (Saltykov)"] if size is not None else [])
    return f"{field.file}: {', '.join(parts)}"


def _mean_line(fields: list[CountedField]) -> str:
    try:
        mean = mean_of_counted(fields).saltykov
    except GrainError as error:
        return str(error)
    start = f"mean of {len(fields)} fields"
    if mean.G is None:
        return f"{start}: no G without a scale" if mean.um_per_pixel is None else f"{start}: no grains"
    if mean.ci95 is None:
        return f"{start}: G {mean.G:.2f} (Saltykov)"
    low, high = mean.ci95
    return (
        f"{start}: G {mean.G:.2f} (Saltykov), 95 % interval {low:.2f} to {high:.2f}, %RA {mean.relative_accuracy:.1f}"
    )


def _share(text: str) -> float:
    value = finite_number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 1, such as 0.5")
    return value


def _area(text: str) -> float:
    value = finite_number(text)
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no area in pixels, such as 40")
    return value
