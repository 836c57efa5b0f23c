"""`python -m grain_model report IMAGES --um-per-pixel X --out report.pdf`: a report of one specimen."""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from .arguments import file_path
from .batch import Batch, add_image_arguments, make_counter
from .errors import GrainError, UsageError, printable
from .exit_codes import EXIT_SOME_FAILED
from .failures import Failure, attempt
from .image_file import name_page
from .image_listing import ImagePage
from .micrograph import read_micrograph
from .report import find_writer, write_report
from .report_content import ReportField, compose_field, compose_report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `python -m grain_model report`."""
    add_image_arguments(parser)
    parser.add_argument("--out", type=file_path, required=True, metavar="FILE", help="report.pdf or report.html")
    parser.add_argument("--specimen", default="", help="name of the specimen, of which each image is one field")
    parser.add_argument("--operator", default="", help="name of the person who reports")


def run(options: argparse.Namespace) -> int:
    """Count the images and write the report; images that cannot be counted are named on stderr and left out.

    Returns:
        Exit code: 0 done, 1 some images were left out or nothing could be written, 130 interrupted: the report is of
        the fields until then.

    Raises:
        UsageError: If the report cannot be written where it shall be, or some images have no scale.
        MeasurementError: If its name does not end as that of a report does.
        ModelError: If the model cannot be loaded.
    """
    find_writer(options.out)
    _check_writable(options.out)
    batch = Batch(options)
    names = _distinct_names(batch.images)
    fields: list[ReportField] = []
    with batch.until_interrupted():
        if options.um_per_pixel is None and (unscaled := _without_scale(batch.images)):
            raise UsageError(
                f"These images have no scale and the others have one: {', '.join(unscaled)}. A scale for each, or for "
                "none, is expected. Give one for all with --um-per-pixel, or report them apart."
            )
        if batch.images:
            count = make_counter(options)
            fields.extend(batch.each(lambda image: compose_field(count(image), names[image])))
    batch.name_failures()
    if not fields:
        print(
            "No report was written, as no image was counted. One at least is expected. Put right what is told above, "
            "or name other images.",
            file=sys.stderr,
        )
        return batch.exit_code or EXIT_SOME_FAILED
    called = {printable(str(image)): name for image, name in names.items()}
    left_out = [replace(failure, file=called.get(failure.file, failure.file)) for failure in batch.failures]
    try:
        report = compose_report(fields, left_out=left_out, specimen=options.specimen, operator=options.operator)
        with _telling_what_no_font_has():
            write_report(report, options.out)
    except GrainError as error:
        print(error, file=sys.stderr)
        return batch.exit_code or EXIT_SOME_FAILED
    except OSError as error:
        print(
            f"{printable(options.out)} cannot be written: {error.strerror or error}. Room on the disk, and a file that "
            "no other program holds, are expected. Make room or close it, and report again.",
            file=sys.stderr,
        )
        return batch.exit_code or EXIT_SOME_FAILED
    batch.tell(printable(options.out))
    return batch.exit_code


@contextmanager
def _telling_what_no_font_has() -> Iterator[None]:
    """Print one line on stderr about all characters that no font has, in place of matplotlib's warning of each."""
    missing = {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", r"Glyph \d+ .*missing from font")
        yield
    for warning in caught:
        if glyph := re.match(r"Glyph (\d+) .*missing from font", str(warning.message)):
            missing[chr(int(glyph[1]))] = True
        else:
            warnings.showwarning(warning.message, warning.category, warning.filename, warning.lineno)
    if missing:
        print(
            f"The PDF shows boxes for {' '.join(missing)}, which no font of this computer has. A font that has them is "
            "expected, such as Noto Sans CJK. Install one, or write report.html, which needs none.",
            file=sys.stderr,
        )


def _distinct_names(images: Sequence[ImagePage]) -> dict[ImagePage, str]:
    """What the report calls each image: the name of its file, with the folder where another has the same name."""
    times = Counter(path.name for path in {image.path for image in images})
    return {
        image: printable(str(image) if times[image.path.name] > 1 else name_page(image.path.name, image.page))
        for image in images
    }


def _without_scale(images: Sequence[ImagePage]) -> list[str]:
    """Names of the images without a scale where others have one, found before hours are spent on counting them."""
    has_scale = {}
    for image in images if len(images) > 1 else ():
        micrograph = attempt(str(image), partial(read_micrograph, image.path, page=image.page))
        if not isinstance(micrograph, Failure):  # which is told when its turn to be counted comes
            has_scale[printable(str(image))] = micrograph.um_per_pixel is not None
    return [name for name, known in has_scale.items() if not known] if any(has_scale.values()) else []


def _check_writable(path: Path) -> None:
    """Find out whether a report of this name can be written, before the first image is counted.

    Raises:
        UsageError: If it cannot.
    """
    if path.is_dir():
        raise UsageError(
            f"--out {path} is a folder. The name of a file is expected, such as {path / 'report.pdf'}. Change it."
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            path.open("r+b").close()
        # It is written beside the old one, whose place it takes.
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise UsageError(
            f"--out {path} cannot be written: {error.strerror}. A file that no other program holds, in a folder with "
            "the right to write, is expected. Close it, or name another one."
        ) from error
