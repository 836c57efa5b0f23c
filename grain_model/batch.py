"""What the commands share: their options, the images that they were given, and what becomes of each."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tqdm import tqdm

from .arguments import ALL_PAGES, file_path, non_negative_number, page_number, scale, share
from .errors import printable
from .exit_codes import EXIT_DONE, EXIT_INTERRUPTED, EXIT_SOME_FAILED
from .failures import Failure, attempt
from .fields import CountedField, count_field
from .image_listing import ImagePage, images_of_paths, name_folders, pages_of
from .label_settings import DEFAULT_SETTINGS, METHODS
from .micrograph import read_micrograph
from .result_folder import has_lists, make_output, source_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from .analysis import GrainAnalysis
    from .onnx_backend import OnnxNetwork

T = TypeVar("T")

SHOWN_AFTER = 2.0
"""Seconds after which a bar shows how far a single image is."""

NOT_REACHED = "It was not counted, as the run was ended before that. Count it again."


def add_image_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what every command takes: images, their scale, the model, what runs it, the settings, and no bar.

    Args:
        parser: Of one command.
    """
    parser.add_argument(
        "images", nargs="+", type=file_path, metavar="IMAGE_OR_FOLDER", help="images, or folders of images"
    )
    parser.add_argument("--um-per-pixel", type=scale, metavar="X", help="scale of all images; wins over the files' own")
    parser.add_argument(
        "--model",
        metavar="MODEL",
        help="folder or Hub id of other weights than the embedded ones; for onnx also a file",
    )
    parser.add_argument(
        "--backend",
        choices=("torch", "onnx"),
        default="torch",
        help="what runs the network; onnx (onnxruntime, faster on some CPUs) exports the model on first use; "
        "default: torch",
    )
    parser.add_argument(
        "--page",
        type=page_number,
        metavar="N",
        help="page of a TIFF or frame of an animation, from 0, or `all`, each as an image; default: the first",
    )
    parser.add_argument(
        "--method",
        choices=METHODS,
        default=DEFAULT_SETTINGS.method,
        help="watershed separates grains that touch, components does not; default: %(default)s",
    )
    parser.add_argument(
        "--boundary-sensitivity",
        type=share,
        default=DEFAULT_SETTINGS.boundary_sensitivity,
        metavar="S",
        help="0 to 1, higher finds weaker boundaries and so more grains; default: %(default)s",
    )
    parser.add_argument(
        "--min-grain-area",
        type=non_negative_number,
        metavar="PX2",
        help="area of the smallest grain in px^2; smaller pieces join a neighbour or are left out; default: by the "
        "image's own grains; 0 keeps all",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


class Batch:
    """The images that a command was given, and what became of them.

    Args:
        options: Of `add_image_arguments`.

    Attributes:
        images: The files, or all their pages, each once.
        folders: Name of the result folder of each image; see `name_folders`.
        failures: What could not be done, so far.
        is_interrupted: Whether Ctrl-C ended it.
        done: Number of images so far at which the action did not fail.
        is_unheard: Whether stdout took no more of what it was told.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        paths, self.failures = images_of_paths(options.images)
        self.images = [
            image
            for path in paths
            for image in (pages_of(path) if options.page == ALL_PAGES else [ImagePage(path, options.page)])
        ]
        names = name_folders([image.result_name for image in self.images])
        self.folders = dict(zip(self.images, names, strict=True))
        self.is_interrupted = False
        self.done = 0
        self._tried = 0
        self.is_unheard = False

    @contextmanager
    def until_interrupted(self) -> Iterator[None]:
        """End what is done inside at Ctrl-C, and say so; what was done until then is kept."""
        try:
            yield
        except KeyboardInterrupt:
            self.is_interrupted = True
            self.failures += [Failure(printable(str(image)), NOT_REACHED) for image in self.images[self._tried :]]
            print(f"Interrupted after {self.done} of {len(self.images)} images.", file=sys.stderr)

    def each(self, action: Callable[[ImagePage], T]) -> Iterator[T]:
        """Do something with every image; one bad file loses nothing of the others.

        Args:
            action: What is done.

        Yields:
            What the action returned, of the images at which it did not fail.
        """
        for image in _show_progress(self.images, self.options.quiet):
            outcome = attempt(str(image), partial(action, image))
            self._tried += 1
            if isinstance(outcome, Failure):
                self.failures.append(outcome)
            else:
                self.done += 1
                yield outcome

    def tell(self, line: str) -> None:
        """Print a line, or the document of `--json`, on stdout.

        Where nobody reads it any more, as after `| head`, or a full disk does not take it, the files are still written.
        """
        try:
            tqdm.write(line, file=sys.stdout)
            sys.stdout.flush()
        except OSError as error:
            # As Python's documentation has it, or the interpreter would fail at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if not isinstance(error, BrokenPipeError):
                self.is_unheard = True
                tqdm.write(
                    f"The results cannot be printed: {error.strerror}. A file or terminal with room for them is "
                    "expected. Make room on the disk, or print them elsewhere.",
                    file=sys.stderr,
                )

    def tell_remarks(self, field: CountedField) -> None:
        """Print on stderr what makes the result of an image doubtful."""
        for remark in field.remarks:
            tqdm.write(f"{field.file}: {remark}", file=sys.stderr)

    def count(
        self, lists: Sequence[str], write: Callable[[GrainAnalysis, Path], object] | None = None
    ) -> Iterator[CountedField]:
        """Count every image, and write its results where the options have an output folder; see `count_field`.

        Args:
            lists: Names of what the command will write about all images.
            write: See `count_field`.

        Raises:
            UsageError: If the results cannot be written there.
            ModelError: If the model cannot be loaded.
        """
        out = self.options.out
        if out:
            make_output(out, self.folders.values(), lists)
        if not self.images:
            return  # for which no network need be loaded
        count = make_counter(self.options)

        def count_one(image: ImagePage) -> CountedField:
            folder = out and out / self.folders[image]
            before = folder and source_of(folder)
            field = count_field(image, count, folder, write)
            if before not in (None, field.summary["image"]["sha256"]):
                tqdm.write(
                    f"{field.file}: {field.folder} held the results of another picture or of an earlier state of this "
                    "one, which are replaced.",
                    file=sys.stderr,
                )
            return field

        yield from self.each(count_one)

    def write(self, folder: Path, action: Callable[[], None]) -> None:
        """Write files about all images into a folder; where that cannot be done, it is one more failure.

        Where the run was interrupted before the first image, those of an earlier one stay.
        """
        if self.is_interrupted and not self.done and has_lists(folder):
            return
        try:
            action()
        except OSError as error:
            reason = f"It cannot be written: {error.strerror}. Close it where it is open, or make room on the disk, "
            self.failures.append(Failure(printable(error.filename or folder), reason + "and count again."))

    def name_failures(self) -> None:
        """Print each failure on stderr; the images that an interrupted run did not reach are in the files alone."""
        for failure in self.failures:
            if failure.reason == NOT_REACHED:
                continue  # which was told for all of them
            print(f"{failure.file}: {failure.reason}", file=sys.stderr)

    @property
    def exit_code(self) -> int:
        """What the command ends with."""
        if self.is_interrupted:
            return EXIT_INTERRUPTED
        return EXIT_SOME_FAILED if self.failures or self.is_unheard else EXIT_DONE


def load_quietly(model: str | None, backend: str = "torch") -> PreTrainedModel | OnnxNetwork:
    """Load a model without the progress bar of its library, which would stand between ours and the output.

    Args:
        model: Folder or Hub id, for onnx also an exported file; `None` for the embedded weights.
        backend: What is to run it, `"torch"` or `"onnx"`.

    Raises:
        ModelError: If it cannot be loaded.
    """
    from transformers.utils import logging as transformers_logging

    from .counting import load_network

    transformers_logging.disable_progress_bar()
    return load_network(model, backend)[0]


def make_counter(options: argparse.Namespace) -> Callable[[ImagePage], GrainAnalysis]:
    """Make what counts an image by the options of `add_image_arguments`; the model is loaded once.

    Args:
        options: Of the command line.

    Raises:
        ModelError: If the model cannot be loaded.
    """
    from .counting import count_grains

    model = load_quietly(options.model, options.backend)

    def count(image: ImagePage) -> GrainAnalysis:
        micrograph = read_micrograph(image.path, options.um_per_pixel, page=image.page)
        with tqdm(unit="tile", position=1, leave=False, disable=options.quiet, delay=SHOWN_AFTER) as bar:

            def progress(done: int, total: int) -> None:
                if done == 1:  # a further look at the picture starts anew
                    bar.reset(total)
                bar.update()

            return count_grains(
                micrograph,
                model=model,
                method=options.method,
                boundary_sensitivity=options.boundary_sensitivity,
                min_grain_area=options.min_grain_area,
                progress=progress,
            )

    return count


def _show_progress(images: Sequence[ImagePage], quiet: bool) -> Iterator[ImagePage]:
    """Go through the images with a bar on stderr that names the present one.

    Args:
        images: What is gone through.
        quiet: No bar.

    Yields:
        Each image.
    """
    bar = tqdm(images, unit="image", disable=quiet or not images, file=sys.stderr)
    for image in bar:
        bar.set_postfix_str(printable(image.result_name))
        yield image
