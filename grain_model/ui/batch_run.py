"""A batch of uploads: zips unpacked within bounds, the images counted one after another, the results packed."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath

from ..analysis import GrainAnalysis
from ..errors import ImageError, printable
from ..failures import Failure, attempt
from ..fields import CountedField, count_field, write_fields
from ..image_file import name_page
from ..image_listing import (
    IMAGE_SUFFIXES,
    NOT_READ,
    ImagePage,
    name_folders,
    pages_of,
    pictures_below,
)
from ..result_folder import BATCH_FILES
from ..scale_metadata import sidecar_names
from .uploads import check_kept

MAX_BATCH_FILES = 500
"""Most images in one batch."""

MAX_ZIPPED_FILES = 5000
"""Most files of any kind in the zips of one batch."""

MAX_BATCH_BYTES = 2 * 1024**3
"""Largest batch, unpacked."""

_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError, NotImplementedError)
"""What a zip raises that is damaged, locked, or packed in a way that Python does not unpack."""

_BOUNDED_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)

_OTHER_METHOD = (
    "This zip is packed by another method than the usual one (deflate), which is not unpacked here. "
    "Zip the micrographs again without choosing a method, or load the images themselves."
)


@dataclass(frozen=True)
class BatchUpload:
    """The images of a batch.

    Attributes:
        images: File or page of each, and its name for the visitor.
        failures: Uploads that hold none, and files that could not be unpacked.
        folder: Owns what was unpacked or copied.
    """

    images: list[tuple[ImagePage, str]]
    failures: list[Failure]
    folder: tempfile.TemporaryDirectory


@dataclass
class CountedBatch:
    """A batch while it is counted, and afterwards. No image is kept in memory.

    Attributes:
        total: Number of images.
        fields: Those that were counted.
        failures: Those that were not.
        current: Name of the image whose turn it is; empty at the end.
        is_stopped: To be set from outside: no other image is begun, and what is counted is packed.
        archive: Zip with the files of each image in a folder of its own, and `BATCH_FILES`, as the command line writes
            them; `None` until the end, and where nothing could be counted.
        folder: Owns the zip.
    """

    total: int
    fields: list[CountedField] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    current: str = ""
    is_stopped: bool = False
    archive: str | None = None
    folder: tempfile.TemporaryDirectory = field(
        default_factory=partial(tempfile.TemporaryDirectory, prefix="grain_model-")
    )

    @property
    def done(self) -> int:
        """Number of images that have had their turn."""
        return len(self.fields) + len(self.failures)


def open_uploads(uploads: Sequence[str] | None, *, all_pages: bool = False) -> BatchUpload:
    """Find the images in what a visitor loaded.

    A zip stands for the images in it and in its folders, without what is hidden, what macOS adds, and the pictures of
    earlier results; a zip in a zip is not opened. A text of an image's name, as some microscopes write it, is laid
    beside that image. Any other file stands for itself.

    Args:
        uploads: Paths of the files.
        all_pages: Whether each page or frame of a file is an image; otherwise the first one stands for the file.

    Raises:
        ImageError: If there are none, or too many, one is not there any more, or the zips unpack to too much.
    """
    if not uploads:
        raise ImageError(
            "There are no images yet. Micrographs, or zips of micrographs, are expected. Load some, then count them."
        )
    batch = BatchUpload([], [], tempfile.TemporaryDirectory(prefix="grain_model-"))
    for upload in uploads:
        check_kept(upload)
    _check_bytes(sum(Path(upload).stat().st_size for upload in uploads))
    zips = [Path(upload) for upload in uploads if _is_zip(upload)]
    members = _list_members(zips, batch.failures)
    loose = dict.fromkeys(Path(upload) for upload in uploads if not _is_zip(upload))
    texts, text_of = _pair_texts(loose, batch.failures)
    # What was chosen twice has one path.
    for number, upload in enumerate(dict.fromkeys(map(Path, uploads))):
        folder = Path(batch.folder.name) / str(number)
        if upload in members:
            _unpack(upload, members[upload], folder, batch)
        elif upload in text_of:
            # The page keeps each upload in a folder of its own, which visitors of the same file share.
            folder.mkdir()
            shutil.copy(text_of[upload], folder)
            batch.images.append((ImagePage(Path(shutil.copy(upload, folder))), upload.name))
        elif upload in loose and upload not in texts:
            batch.images.append((ImagePage(upload), upload.name))
    if all_pages:
        pages = ((page, name_page(name, page.page)) for image, name in batch.images for page in pages_of(image.path))
        batch.images[:] = list(islice(pages, MAX_BATCH_FILES + 1))
    if len(batch.images) > MAX_BATCH_FILES:
        raise ImageError(
            f"There are more than {MAX_BATCH_FILES} images. At most {MAX_BATCH_FILES} at once are expected. "
            "Count them in several batches, or with `python -m grain_model count`."
        )
    return batch


def count_batch(upload: BatchUpload, count: Callable[[ImagePage], GrainAnalysis]) -> Iterator[CountedBatch]:
    """Count the images of a batch; one that fails does not stop the others.

    Args:
        upload: The images.
        count: Counts a file, or a page of it.

    Yields:
        The same batch, before each image and at the end.
    """
    batch = CountedBatch(len(upload.images) + len(upload.failures), failures=list(upload.failures))
    folder = Path(batch.folder.name)
    path = folder / "grains.zip"
    folders = name_folders([image.result_name for image, _ in upload.images])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as archive:
        for (image, name), results in zip(upload.images, folders, strict=True):
            batch.current = name
            yield batch
            if batch.is_stopped:
                break
            outcome = attempt(str(image), partial(count_field, image, count, folder / results))
            if isinstance(outcome, Failure):
                # Visitors know their file by its name, not by its place on the server.
                batch.failures.append(Failure(name, outcome.reason.replace(printable(image.path), name)))
            else:
                batch.fields.append(replace(outcome, file=name, folder=results))
            # Packed at once, so that the disk holds the files of one image twice, not those of all.
            _pack(folder / results, archive, folder)
        if batch.fields:
            write_fields(folder, batch.fields, batch.failures)
            for name in BATCH_FILES:
                archive.write(folder / name, name)
    batch.current, batch.archive = "", str(path) if batch.fields else None
    yield batch


def _is_zip(path: str | Path) -> bool:
    return Path(path).suffix.lower() == ".zip"


def _pair_texts(files: Collection[Path], failures: list[Failure]) -> tuple[set[Path], dict[Path, Path]]:
    """The text files that have an image of their name, and the text file of each such image."""
    names = Counter(file.name for file in files)
    texts: set[Path] = set()
    text_of: dict[Path, Path] = {}
    pictures = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    for text in files:
        images = [picture for picture in pictures if text.name in sidecar_names(picture.name)]
        if not images:
            continue
        texts.add(text)
        if all(names[file.name] == 1 for file in (text, *images)):
            text_of |= dict.fromkeys(images, text)
        else:
            # They come from several folders, and a wrong scale is worse than none.
            reason = (
                "It or its picture has a name that another file has, too, so which belong together is unknown, and no "
                "scale was read. Names that differ are expected. Zip each picture with its text file, or rename them."
            )
            failures.append(Failure(text.name, reason))
    return texts, text_of


def _list_members(zips: Sequence[Path], failures: list[Failure]) -> dict[Path, list[zipfile.ZipInfo]]:
    """What is worth unpacking in each zip; nothing is unpacked before the sum of all is known to be bounded.

    A zip cannot unpack to more than it says: Python stops reading a file at the size that its zip states, if it is
    packed by the method that nearly all zips have. By others, a few bytes may fill the memory before it stops.
    """
    members: dict[Path, list[zipfile.ZipInfo]] = {}
    for path in zips:
        try:
            with zipfile.ZipFile(path) as archive:
                members[path] = [member for member in archive.infolist() if _is_wanted(member)]
            if any(member.compress_type not in _BOUNDED_METHODS for member in members[path]):
                del members[path]
                failures.append(Failure(path.name, _OTHER_METHOD))
        except _DAMAGED as error:
            reason = f"This is no zip that can be opened ({error}). Make it again, or load the images themselves."
            failures.append(Failure(path.name, reason))
    listed = [member for of_one in members.values() for member in of_one]
    _check_bytes(sum(member.file_size for member in listed))
    if len(listed) > MAX_ZIPPED_FILES:
        raise ImageError(
            f"There are {len(listed)} files in the zips. At most {MAX_ZIPPED_FILES} are expected. "
            "Zip the micrographs only."
        )
    return members


def _is_wanted(member: zipfile.ZipInfo) -> bool:
    parts = PurePosixPath(member.filename).parts
    return not member.is_dir() and not any(part.startswith(".") or part == "__MACOSX" for part in parts)


def _check_bytes(size: int) -> None:
    if size > MAX_BATCH_BYTES:
        raise ImageError(
            f"The images take {size / 1024**3:.1f} GB, zips unpacked. At most {MAX_BATCH_BYTES / 1024**3:.0f} "
            "GB at once are expected. Count them in several batches, or with `python -m grain_model count`."
        )


def _unpack(path: Path, members: list[zipfile.ZipInfo], folder: Path, batch: BatchUpload) -> None:
    """Unpack a zip into a folder of its own; names that lead out of it are cut by `ZipFile.extract`."""
    folder.mkdir()
    unpacked, damaged = set(), []
    with zipfile.ZipFile(path) as archive:
        for member in members:
            try:
                unpacked.add(Path(archive.extract(member, folder)))
            except _DAMAGED as error:
                damaged.append(Failure(f"{path.name}/{member.filename}", f"It could not be unpacked: {error}."))

    def name(file: Path) -> str:
        return f"{path.name}/{file.relative_to(folder).as_posix()}"

    found, not_read = pictures_below(folder)
    # A damaged one may lie there in part.
    images = [(ImagePage(image), name(image)) for image in found if image in unpacked]
    unread = [Failure(name(file), NOT_READ) for file in not_read]
    batch.images.extend(images)
    batch.failures.extend(failure for failure in damaged if failure.file.lower().endswith(IMAGE_SUFFIXES))
    batch.failures.extend(unread)
    if not images and not damaged and not unread:
        suffixes = ", ".join(IMAGE_SUFFIXES)
        reason = f"There is no image in this zip. Files ending in {suffixes} are expected. Zip the micrographs."
        batch.failures.append(Failure(path.name, reason))


def _pack(results: Path, archive: zipfile.ZipFile, root: Path) -> None:
    for file in sorted(results.glob("*")):
        archive.write(file, file.relative_to(root))
    shutil.rmtree(results, ignore_errors=True)
