"""What the commands share: which images are named, and one bad file that does not stop the others."""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tqdm import tqdm

from .arguments import ALL_PAGES, non_negative_number, page_number, positive_number, share
from .errors import GrainError, UsageError, printable
from .image_file import count_pages, name_page
from .instances import METHODS
from .micrograph import read_micrograph
from .scale_metadata import sidecar_names

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from .analysis import GrainAnalysis
    from .fields import CountedField
    from .onnx_backend import OnnxNetwork

T = TypeVar("T")

IMAGE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".webp", ".gif", ".pgm", ".ppm", ".pnm"),
    *(".tif", ".tiff", ".lsm", ".stk", ".svs"),
)
"""What is taken from a folder; a file named by itself is always tried."""

UNREAD_SUFFIXES = (
    *(".czi", ".zvi", ".lif", ".nd2", ".oib", ".oif", ".oir", ".vsi", ".dm3", ".dm4", ".ser", ".emd", ".jp2"),
    *(".jpx", ".heic", ".avif"),
)
"""Pictures that cannot be read; a folder's are named, unless a copy that can be read lies beside them."""

_NAMED_AFTER_IMAGE = re.compile(rf"({'|'.join(map(re.escape, IMAGE_SUFFIXES))})(-page\d+)?(-\d+)?$", re.IGNORECASE)

SHOWN_AFTER = 2.0
"""Seconds after which a bar shows how far a single image is."""

EXIT_DONE, EXIT_SOME_FAILED, EXIT_INTERRUPTED = 0, 1, 130

NO_IMAGES = (
    f"There is no image in this folder. Files ending in {', '.join(IMAGE_SUFFIXES)} are expected. "
    "Check the path, or name the files themselves."
)

NOT_READ = "Pictures of this format cannot be read. A TIFF or PNG is expected. Export it as TIFF beside this file."


@dataclass(frozen=True)
class PictureFile:
    """A file, or one page of it, as one image.

    Attributes:
        path: The file.
        page: See `read_micrograph`.
    """

    path: Path
    page: int | None = None

    def __str__(self) -> str:
        return name_page(str(self.path), self.page)

    @property
    def folder(self) -> str:
        """What a folder for its results may be called."""
        return f"{self.path.name}-page{self.page}" if self.page else self.path.name


@dataclass(frozen=True)
class Failure:
    """A file that could not be counted, and why."""

    file: str
    reason: str


def add_image_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what every command takes: images, their scale, the model, what runs it, the settings, and no bar.

    Args:
        parser: Of one command.
    """
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE_OR_FOLDER", help="images, or folders of images")
    parser.add_argument(
        "--um-per-pixel", type=positive_number, metavar="X", help="scale of all images; wins over the files' own"
    )
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
    parser.add_argument("--method", choices=METHODS, default="watershed", help="default: watershed")
    parser.add_argument(
        "--boundary-sensitivity",
        type=share,
        default=0.5,
        metavar="S",
        help="0 to 1, higher finds weaker boundaries and so more grains; default: 0.5",
    )
    parser.add_argument(
        "--min-grain-area",
        type=non_negative_number,
        metavar="PX",
        help="smallest grain; what is smaller joins a neighbour; default: by the image's own grains",
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
    """

    def __init__(self, options: argparse.Namespace) -> None:
        paths, self.failures = list_images(options.images)
        self.images = [
            PictureFile(path, page)
            for path in paths
            for page in (range(count_pages(path)) if options.page == ALL_PAGES else [options.page])
        ]
        names = name_folders([image.folder for image in self.images])
        self.folders = dict(zip(self.images, names, strict=True))
        self.is_interrupted = False
        self.done = 0
        self._quiet = options.quiet

    @contextmanager
    def until_interrupted(self) -> Iterator[None]:
        """End what is done inside at Ctrl-C, and say so; what was done until then is kept."""
        try:
            yield
        except KeyboardInterrupt:
            self.is_interrupted = True
            print(f"Interrupted after {self.done} of {len(self.images)} images.", file=sys.stderr)

    def each(self, action: Callable[[PictureFile], T]) -> Iterator[T]:
        """Do something with every image; one bad file loses nothing of the others.

        Args:
            action: What is done.

        Yields:
            What the action returned, of the images at which it did not fail.
        """
        for image in _show_progress(self.images, self._quiet):
            outcome = attempt(image, partial(action, image))
            if isinstance(outcome, Failure):
                self.failures.append(outcome)
            else:
                self.done += 1
                yield outcome

    def tell(self, line: str) -> None:
        """Print a line on stdout; where nobody reads it any more, as after `| head`, the files are still written."""
        try:
            tqdm.write(line, file=sys.stdout)
            sys.stdout.flush()
        except BrokenPipeError:
            # As Python's documentation has it, or the interpreter would fail at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def tell_remarks(self, field: CountedField) -> None:
        """Print on stderr what makes the result of an image doubtful."""
        for remark in field.remarks:
            tqdm.write(f"{field.file}: {remark}", file=sys.stderr)

    def name_failures(self) -> None:
        """Print each failure on stderr."""
        for failure in self.failures:
            print(f"{failure.file}: {failure.reason}", file=sys.stderr)

    @property
    def exit_code(self) -> int:
        """What the command ends with."""
        if self.is_interrupted:
            return EXIT_INTERRUPTED
        return EXIT_SOME_FAILED if self.failures else EXIT_DONE


def list_images(paths: Sequence[Path]) -> tuple[list[Path], list[Failure]]:
    """List the images that the paths of a command line stand for, each once.

    Args:
        paths: Files and folders.

    Returns:
        The images, without the texts that a microscope wrote beside them; and what is not among them: folders that
        hold none, and pictures in formats that cannot be read.
    """
    found = {path: find_images(path) for path in paths}
    images = list({image.resolve(): image for listed in found.values() for image in listed}.values())
    # `pictures/*` also names the texts beside the pictures, which are read with them.
    pictures = [image for image in images if image.suffix.lower() in IMAGE_SUFFIXES]
    sidecars = {image.with_name(name) for image in pictures for name in sidecar_names(image.name)}
    images = [image for image in images if image not in sidecars]
    failures = [Failure(printable(path), NO_IMAGES) for path, listed in found.items() if not listed]
    # A copy that can be read may lie beside a picture that cannot.
    stems = {image.with_suffix("") for image in pictures}
    unread = [path for folder in paths if folder.is_dir() for path in _find(folder, UNREAD_SUFFIXES)]
    failures += [Failure(printable(path), NOT_READ) for path in unread if path.with_suffix("") not in stems]
    return images, failures


def find_images(path: Path) -> list[Path]:
    """List the images that a path of the command line stands for.

    Args:
        path: A file, existing or not, stands for itself; a folder for all images in it and in the folders below,
            without what is hidden and without the pictures that an earlier run wrote.

    Returns:
        Paths as given, or below the folder that was given, sorted.
    """
    return _find(path, IMAGE_SUFFIXES) if path.is_dir() else [path]


def _find(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """Files of these suffixes below a folder, without what is hidden and what an earlier run wrote, sorted."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in suffixes
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and not _is_result(path.parent)
    )


def name_folders(images: Sequence[str]) -> list[str]:
    """Names a result folder for each image: the file's name, numbered from the second of the same name on.

    Args:
        images: Names of files, maybe the same in different folders.

    Returns:
        One name an image, no two alike even where the file system ignores case.
    """
    taken: set[str] = set()
    names = []
    for image in images:
        name, number = image, 2
        while name.casefold() in taken:
            name, number = f"{image}-{number}", number + 1
        taken.add(name.casefold())
        names.append(name)
    return names


def make_output(folder: Path, names: Iterable[str]) -> None:
    """Make the folder for the results, before the first image is counted.

    Args:
        folder: Where to.
        names: Of the folders that will be made in it.

    Raises:
        UsageError: If it is none, or cannot be written to.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out {folder} is a file. A folder is expected. Name another one.")
    if taken := [name for name in names if (folder / name).is_file()]:
        raise UsageError(
            f"--out {folder} holds a file {taken[0]!r}, and the results of an image go to a folder of its name. "
            "Another folder than that of the images is expected. Name one."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(
            f"--out {folder} cannot be written to: {error.strerror}. A folder with the right to write is expected. "
            "Name another one."
        ) from error


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


def make_counter(options: argparse.Namespace) -> Callable[[PictureFile], GrainAnalysis]:
    """Make what counts an image by the options of `add_image_arguments`; the model is loaded once.

    Args:
        options: Of the command line.

    Raises:
        ModelError: If the model cannot be loaded.
    """
    from .counting import count_grains

    model = load_quietly(options.model, options.backend)

    def count(image: PictureFile) -> GrainAnalysis:
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


def _show_progress(images: Sequence[PictureFile], quiet: bool) -> Iterator[PictureFile]:
    """Go through the images with a bar on stderr that names the present one.

    Args:
        images: What is gone through.
        quiet: No bar.

    Yields:
        Each image.
    """
    bar = tqdm(images, unit="image", disable=quiet, file=sys.stderr)
    for image in bar:
        bar.set_postfix_str(printable(image.folder))
        yield image


def attempt(image: Path | PictureFile, action: Callable[[], T]) -> T | Failure:
    """Do something with one image; whatever goes wrong stays with that image.

    Args:
        image: The file, or a page of it.
        action: What is done.

    Returns:
        What the action returns, or why it failed.
    """
    try:
        return action()
    except GrainError as error:
        reason = str(error)
    except OSError as error:
        # Without its folder, which visitors of a page shall not see.
        place = f" ({printable(Path(error.filename).name)})" if isinstance(error.filename, str) else ""
        reason = (
            f"A file cannot be read or written: {error.strerror or error}{place}. Files that no other program holds, "
            "and room on the disk, are expected. Close them, or make room."
        )
    except Exception as error:  # A batch survives any one file: memory, disk, a fault of ours.
        reason = f"{type(error).__name__}: {error}"
    return Failure(printable(str(image)), printable(reason))


def _is_result(folder: Path) -> bool:
    """Whether `count` or `export` wrote this folder, which they name after the image, or the page did."""
    return (folder / "labels.tif").exists() and (
        (folder / "summary.json").exists() or _NAMED_AFTER_IMAGE.search(folder.name) is not None
    )
