"""The command line of `python -m grain_model`: chooses a command and turns its outcome into an exit code.

Every command is a module with `add_arguments(parser)` and `run(options) -> int`. Only the chosen one is imported, since
libraries of tables and plots take seconds.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from importlib import import_module

from .errors import GrainError
from .exit_codes import EXIT_INTERRUPTED, EXIT_USAGE
from .interrupts import ended_as_by_ctrl_c
from .version import __version__

COMMANDS = {
    "count": ("count_command", "count the grains of images and folders of images"),
    "export": ("export_command", "write the grains of images in the formats of other tools"),
    "report": ("report_command", "write a report of one specimen as PDF or HTML"),
    "export-onnx": ("export_onnx_command", "write the network as one ONNX file, for images of any size"),
}
"""Module and one-line help of every command."""


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
    options = _parse(arguments)
    try:
        with ended_as_by_ctrl_c():
            return options.run(options)
    except GrainError as error:
        print(f"python -m grain_model: error: {error}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return EXIT_INTERRUPTED


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the options of the chosen command; its images may stand between them."""
    chosen = arguments[0] if arguments else None
    parser, command = _parsers(chosen)
    if command is None:
        return parser.parse_args(arguments)
    options, left = command.parse_known_args(arguments[1:])
    # Only then, since it does not know `--` before the first image.
    return command.parse_intermixed_args(arguments[1:]) if left else options


def _parsers(chosen: str | None) -> tuple[argparse.ArgumentParser, argparse.ArgumentParser | None]:
    """The parser of all commands, and that of the chosen one, `None` if there is no such command."""
    parser = argparse.ArgumentParser(
        prog="python -m grain_model", description="Segment, count and measure the grains on micrographs."
    )
    parser.add_argument("--version", action="version", version=f"grain_model {__version__}")
    commands, found = parser.add_subparsers(title="commands", required=True), None
    for name, (module_name, purpose) in COMMANDS.items():
        command = commands.add_parser(name, help=purpose, description=f"{purpose[0].upper()}{purpose[1:]}.")
        if name == chosen:
            module = import_module(f".{module_name}", __package__)
            module.add_arguments(command)
            command.set_defaults(run=module.run)
            found = command
    return parser, found
