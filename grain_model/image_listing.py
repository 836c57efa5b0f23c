"""Which images there are: in folders and below them, in files with several pages, and what their results are called."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import printable
from .failures import Failure
from .image_file import count_pages, name_page
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
    return sorted(path for path in folder.glob("*") if path.suffix.lower() in IMAGE_SUFFIXES)


def images_of_paths(paths: Sequence[Path]) -> tuple[list[Path], list[Failure]]:
    """List the images that the paths of a command line stand for, each once.

    Args:
        paths: Files and folders.

    Returns:
        The images, without the texts that a microscope wrote beside them; and what is not among them: folders that
        hold none, and pictures in formats that cannot be read.
    """
    found = {path: images_below(path) for path in paths}
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


def images_below(path: Path) -> list[Path]:
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


def _is_result(folder: Path) -> bool:
    """Whether `count` or `export` wrote this folder, which they name after the image, or the page did."""
    return (folder / "labels.tif").exists() and (
        (folder / "summary.json").exists() or _NAMED_AFTER_IMAGE.search(folder.name) is not None
    )
