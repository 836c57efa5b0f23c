"""The command line: `python -m grain_model count` and `export-onnx`, and the commands of other modules."""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from tqdm import tqdm

from .batch import (
    EXIT_DONE,
    IMAGE_SUFFIXES,
    Batch,
    Failure,
    PictureFile,
    add_image_arguments,
    load_quietly,
    make_counter,
    make_output,
    refuse,
)
from .errors import GrainError, printable
from .fields import CountedField, count_field, describe_fields, mean_of_counted, write_fields
from .version import __version__

OTHER_COMMANDS = {
    "export": "write the grains of images in the formats of other tools",
    "report": "write a report of one specimen as PDF or HTML",
}
"""Commands that live in the module of their name, which has `add_arguments(parser)` and `run(options)`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: As typed; `None` takes those of the process.

    Returns:
        Exit code: 0 done, 1 some files failed (each is named on stderr), 2 wrong usage, 130 interrupted.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # In a pipe or file Windows writes in an encoding that lacks many signs of file names.
        sys.stdout.reconfigure(errors="backslashreplace")
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
        epilog="Exit code: 0 all counted, 1 some files failed (each is named on stderr), 2 wrong usage, "
        "130 interrupted (what was counted until then is kept).",
    )
    add_image_arguments(count)
    count.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="write DIR/<file name>/ for each image (mask.png, overlay.png, labels.tif, grains.csv, summary.json) "
        "and about all of them DIR/summary.csv, a row a file, and DIR/summary.json, with their mean",
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
    batch = Batch(options)
    if options.out and (wrong := make_output(options.out, batch.folders.values())):
        return refuse(wrong)
    try:
        count = make_counter(options)
    except GrainError as error:
        return refuse(str(error))

    def count_one(image: PictureFile) -> CountedField:
        return count_field(image, count, options.out / batch.folders[image] if options.out else None)

    fields: list[CountedField] = []
    with batch.until_interrupted():
        for field in batch.each(count_one):
            fields.append(field)
            if not options.json:
                tqdm.write(_line(field), file=sys.stdout)
                for remark in field.remarks:
                    tqdm.write(f"{field.file}: {remark}", file=sys.stderr)
    if options.out:
        try:
            write_fields(options.out, fields, batch.failures)
        except OSError as error:
            reason = f"It cannot be written: {error.strerror}. Close it where it is open, or make room on the disk, "
            batch.failures.append(Failure(printable(error.filename or options.out), reason + "and count again."))
    batch.name_failures()
    if options.json:
        # In ASCII, which every encoding of a pipe holds.
        json.dump(describe_fields(fields, batch.failures), sys.stdout, indent=2, allow_nan=False)
        print()
    elif len(fields) > 1:
        _print_mean(fields)
    return batch.exit_code


def _line(field: CountedField) -> str:
    grains = "1 grain" if field.count == 1 else f"{field.count} grains"
    size = field.grain_size.saltykov.G
    parts = [grains] + ([f"G {size:.2f} (Saltykov)"] if size is not None else [])
    return f"{field.file}: {', '.join(parts)}"


def _print_mean(fields: list[CountedField]) -> None:
    try:
        mean = mean_of_counted(fields)
    except GrainError as error:
        print(error)
        return
    rule, start = mean.saltykov, f"mean of {len(fields)} fields"
    if rule.G is None:
        print(f"{start}: no G without a scale" if rule.um_per_pixel is None else f"{start}: no grains")
        return
    parts = [f"G {rule.G:.2f} (Saltykov)"]
    if rule.ci95 is not None:
        parts += ["95 % interval {:.2f} to {:.2f}".format(*rule.ci95), f"%RA {rule.relative_accuracy:.1f}"]
    print(f"{start}: {', '.join(parts)}")
    # What makes one field doubtful was told with it.
    of_fields = tuple(f"{field.file}: " for field in fields)
    for flag in (*mean.flags, *rule.flags):
        if not flag.startswith(of_fields):
            print(f"{start}: {flag}", file=sys.stderr)
