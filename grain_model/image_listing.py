"""Which images there are: in folders and below them, in files with several pages, and what their results are called."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import printable
from .failures import Failure
from .image_file import count_pages, name_page
from .result_folder import RESULT_PICTURES, SUMMARY
from .scale_metadata import sidecar_names

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

NO_IMAGES = (
    f"There is no image in this folder. Files ending in {', '.join(IMAGE_SUFFIXES)} are expected. "
    "Check the path, or name the files themselves."
)

IS_RESULT = (
    "An earlier run wrote this, as its name and its folder say. A micrograph is expected. Leave it out, or name the "
    "folder, in which results are passed over; rename it if it is none."
)

NOT_READ = "Pictures of this format cannot be read. A TIFF or PNG is expected. Export it as TIFF beside this file."


@dataclass(frozen=True)
class ImagePage:
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
    def result_name(self) -> str:
        """What a folder for its results may be called."""
        return f"{self.path.name}-page{self.page}" if self.page else self.path.name


def pages_of(path: Path) -> list[ImagePage]:
    """Each page or frame of a file; of one that cannot be read the first."""
    return [ImagePage(path, page) for page in range(count_pages(path))]


def images_in(folder: Path) -> list[Path]:
    """Files in a folder, and not below it, that are pictures by their suffix, sorted."""
    return sorted(path for path in folder.glob("*") if path.suffix.lower() in IMAGE_SUFFIXES and not path.is_dir())


def images_of_paths(paths: Sequence[Path]) -> tuple[list[Path], list[Failure]]:
    """List the images that the paths of a command line stand for, each once.

    Args:
        paths: Files and folders.

    Returns:
        The images, without the texts that a microscope wrote beside them; and what is not among them: folders that
        hold none or cannot be opened, pictures in formats that cannot be read, and those that an earlier run wrote, if
        they are named themselves.
    """
    images, failures = [], []
    for path in dict.fromkeys(paths):
        if not os.path.isdir(path):
            images.append(path)
            continue
        files, not_opened = _files_below(path)
        found, unread = _pictures(files)
        images += found
        failures += not_opened
        if not found and not not_opened:
            failures.append(Failure(printable(path), NO_IMAGES))
        failures += [Failure(printable(file), NOT_READ) for file in unread]
    # A file rather than a link to it, since the text of its microscope lies beside the file.
    files_last = sorted(images, key=lambda image: not os.path.islink(image))
    chosen = {os.path.realpath(image): image for image in files_last}
    images = list(dict.fromkeys(chosen[os.path.realpath(image)] for image in images))
    # `pictures/*` also names the texts beside the pictures, which are read with them.
    pictures = [image for image in images if image.suffix.lower() in IMAGE_SUFFIXES]
    sidecars = {image.with_name(name) for image in pictures for name in sidecar_names(image.name)}
    results = {image for image in images if _is_result(image)}
    failures += [Failure(printable(image), IS_RESULT) for image in images if image in results]
    return [image for image in images if image not in sidecars | results], failures


def pictures_below(folder: Path) -> tuple[list[Path], list[Path]]:
    """List the pictures in a folder and in those below it, sorted: all images, and those that cannot be read.

    What is hidden is left out, and so are the pictures that an earlier run wrote.
    """
    return _pictures(_files_below(folder)[0])


def _files_below(folder: Path) -> tuple[list[Path], list[Failure]]:
    """Files below a folder, without what is hidden and what an earlier run wrote, and folders that cannot be opened.

    Links are followed. One that leads nowhere is among the files, so that it is told of.
    """
    files: list[Path] = []
    failures: list[Failure] = []

    def tell(error: OSError) -> None:
        reason = f"It cannot be opened: {error.strerror}. A folder with the right to read is expected. Change that."
        failures.append(Failure(printable(error.filename), reason))

    been = set()
    for place, folders, names in os.walk(folder, onerror=tell, followlinks=True):
        real = os.path.realpath(place)
        if real in been:  # a link leads back
            folders.clear()
            continue
        been.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found = (os.path.join(place, name) for name in names if not name.startswith("."))
        # No pipes and devices; but links that lead nowhere.
        files += [Path(file) for file in found if os.path.isfile(file) or not os.path.exists(file)]
    return [file for file in files if not _is_result(file)], failures


def _of_suffixes(files: Sequence[Path], suffixes: Sequence[str]) -> list[Path]:
    return sorted(file for file in files if file.suffix.lower() in suffixes)


def _pictures(files: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Images among files, and pictures that cannot be read, but for those beside which a copy lies that can."""
    images = _of_suffixes(files, IMAGE_SUFFIXES)
    read = {image.with_suffix("") for image in images}
    return images, [file for file in _of_suffixes(files, UNREAD_SUFFIXES) if file.with_suffix("") not in read]


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


def _is_result(file: Path) -> bool:
    """Whether an earlier run wrote this picture, in whole or, where it was ended, in part."""
    if file.name not in RESULT_PICTURES:
        return False
    # `count` and `export` name their folders after the image.
    is_named = _NAMED_AFTER_IMAGE.search(file.parent.name) is not None
    return is_named or all(os.path.exists(file.with_name(name)) for name in ("labels.tif", SUMMARY))
