"""`python -m grain_model export-onnx`: the network as one ONNX file."""

from __future__ import annotations

import argparse

from .arguments import file_path
from .batch import load_quietly
from .errors import UsageError
from .exit_codes import EXIT_DONE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `export-onnx`."""
    parser.add_argument("--model", metavar="FOLDER_OR_ID", help="other weights than the embedded ones")
    parser.add_argument("--out", type=file_path, required=True, metavar="FILE", help="the file, such as model.onnx")
    parser.add_argument(
        "--int8", action="store_true", help="linear layers in 8 bits: a third of the size, slightly less accurate"
    )


def run(options: argparse.Namespace) -> int:
    """Write the file and print its name.

    Raises:
        UsageError: If the name does not fit or cannot be written to.
        ModelError: If the model cannot be loaded, or the packages for exporting are missing.
    """
    from .onnx_export import export_onnx

    if options.out.suffix.lower() != ".onnx":
        raise UsageError(
            f"--out {options.out} does not end in .onnx. A name such as model.onnx is expected. Change it."
        )
    try:
        export_onnx(load_quietly(options.model), options.out, int8=options.int8)
    except OSError as error:
        raise UsageError(
            f"--out {options.out} cannot be written: {error.strerror or error}. A folder with the right to write, and "
            "room, are expected. Name another one."
        ) from error
    print(options.out)
    return EXIT_DONE
