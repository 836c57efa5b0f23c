"""The command line of `python -m train`: chooses a subcommand and turns its outcome into an exit code.

Every subcommand is a module with `add_arguments(parser)` and `run(args) -> int`. Only the chosen one is imported, so
that help and light commands do not wait for torch.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from grain_model.errors import GrainError, UsageError
from grain_model.exit_codes import EXIT_INTERRUPTED, EXIT_SOME_FAILED, EXIT_USAGE
from grain_model.interrupts import ended_as_by_ctrl_c

COMMANDS = {
    "pseudo-label": ("train.pseudo_label", "threshold micrographs into masks, the classical way"),
    "synthesize": ("train.synthesize", "draw synthetic micrographs with exact labels"),
    "fit": ("train.fit_command", "train the model"),
    "self-label": ("train.self_label", "label micrographs with a trained model, to train on"),
    "evaluate": ("train.evaluate", "score the model beside classical methods"),
    "publish": ("train.publish", "put the model and its page on the Hugging Face Hub"),
}
"""Module and one-line help of every subcommand."""


def build_parser(chosen: str | None = None) -> argparse.ArgumentParser:
    """Build the parser; only the chosen subcommand's module is imported and asked for its arguments."""
    parser = argparse.ArgumentParser(prog="python -m train", description="Train the grain model and judge it.")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (module_name, summary) in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        if name == chosen:
            module = importlib.import_module(module_name)
            module.add_arguments(subparser)
            subparser.set_defaults(run=module.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `python -m train`.

    Returns:
        The subcommand's exit code: 0 all done, 1 an error or some files failed, 2 wrong usage, 130 interrupted.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    args = build_parser(arguments[0] if arguments else None).parse_args(arguments)
    try:
        with ended_as_by_ctrl_c():
            return args.run(args)
    except GrainError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USAGE if isinstance(error, UsageError) else EXIT_SOME_FAILED
    except OSError as error:
        print(
            f"error: {error}. Files that can be read, and a disk with room and the right to write, are expected. "
            "Check the paths and the disk.",
            file=sys.stderr,
        )
        return EXIT_SOME_FAILED
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
