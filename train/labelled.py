"""Folders of micrographs with true labels: `images/` beside `instances/` or `masks/`, partners by the file's stem."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import tifffile
from skimage.measure import label as connected_components

from grain_model.errors import GrainError, UsageError
from grain_model.image_listing import IMAGE_SUFFIXES, images_in
from grain_model.micrograph import read_micrograph

# Where the labels of a picture are not known, and how that is written in unsigned pictures of ids.
UNKNOWN = -1
UNKNOWN_STORED = 65535
MASK_WHITE = 255
# Components of a mask below this many px are specks; they say nothing about which phase the grains are.
SPECK_PX = 25
LARGEST_ID = np.iinfo(np.int32).max


class LabelledDataError(GrainError, ValueError):
    """A folder of labelled micrographs is incomplete or not laid out as expected."""


@dataclass(frozen=True)
class LabelledMicrograph:
    """A micrograph and the true labels of its grains, both still on disk.

    Attributes:
        material: Name of the folder that it comes from.
        name: Stem of both files.
        image_path: The micrograph.
        label_path: Its label image: ids 1.., 0 where there is no grain, 65535 where it is not known; or its mask.
        is_mask: Whether `label_path` is a mask of two values, in which every component is a grain.
    """

    material: str
    name: str
    image_path: Path
    label_path: Path
    is_mask: bool = False

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Read the micrograph, uint8 (H, W, 3) RGB, and its labels, int32 (H, W), -1 where they are not known.

        Raises:
            LabelledDataError: If the labels cannot be read or differ from the micrograph in size.
            ImageError: If the micrograph cannot be read.
        """
        return read_pair(self.image_path, self.label_path, _read_grains_of_mask if self.is_mask else read_ids)


def read_pair(image_path: Path, label_path: Path, read: Callable[[Path], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Read a micrograph, uint8 (H, W, 3) RGB, and its labels or mask, (H, W).

    Args:
        image_path: The micrograph.
        label_path: Its labels or mask.
        read: Reads the latter, for instance `read_ids`.

    Raises:
        LabelledDataError: If the labels cannot be read or differ from the micrograph in size.
        ImageError: If the micrograph cannot be read.
    """
    pixels, labels = read_micrograph(image_path).pixels, read(label_path)
    if pixels.shape[:2] != labels.shape:
        raise LabelledDataError(
            f"{label_path} is {labels.shape[1]}x{labels.shape[0]}, its micrograph {image_path.name} is "
            f"{pixels.shape[1]}x{pixels.shape[0]}. Labels are expected at the micrograph's own size. Label it "
            "again, or resize the labels with nearest-neighbour interpolation."
        )
    return pixels, labels


def find_labelled_micrographs(folder: Path) -> list[LabelledMicrograph]:
    """List the micrographs of a folder with `images/` and `instances/` or `masks/`, sorted by name.

    Labels without a micrograph are passed over; where there are both, `instances/` counts.

    Raises:
        LabelledDataError: If one of the folders is missing or empty, or a micrograph has no labels.
    """
    is_mask = (folder / "masks").is_dir() and not (folder / "instances").is_dir()
    part = "masks" if is_mask else "instances"
    images, labels = files_by_stem(folder / "images"), files_by_stem(folder / part)
    if unlabelled := sorted(images.keys() - labels.keys()):
        raise LabelledDataError(
            f"{len(unlabelled)} micrographs in {folder / 'images'} have no labels, the first is {unlabelled[0]!r}. "
            f"Every micrograph needs a label image of the same stem in {part}/. Add the labels or remove the picture."
        )
    material = folder.resolve().name
    return [LabelledMicrograph(material, stem, images[stem], labels[stem], is_mask) for stem in sorted(images)]


def files_by_stem(folder: Path) -> dict[str, Path]:
    """Map the stem of every image file in a folder to its path.

    Raises:
        LabelledDataError: If the folder is missing or has no image, or two images share a stem.
    """
    paths = images_in(folder)
    if not paths:
        raise LabelledDataError(
            f"{folder} {'has no image' if folder.is_dir() else 'does not exist'}. Expected is a folder of image files "
            f"({', '.join(IMAGE_SUFFIXES)}). Check the path that was given."
        )
    by_stem = {path.stem: path for path in paths}
    if len(by_stem) < len(paths):
        twice = next(path for path in paths if by_stem[path.stem] != path)
        raise LabelledDataError(
            f"{folder} has several files with the stem {twice.stem!r}. Partners are found by stem, so each may occur "
            "once. Rename or remove the others."
        )
    return by_stem


def read_labels(path: Path) -> np.ndarray:
    """Read a label image as int32 (H, W).

    Raises:
        LabelledDataError: If the file is no PNG or TIFF with one channel of integers from -1 to `LARGEST_ID`.
    """
    labels, suffix = None, path.suffix.lower()
    try:
        if suffix == ".png":
            labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        elif suffix in (".tif", ".tiff"):
            labels = tifffile.imread(path)
    except Exception:  # A damaged file can make a decoder raise nearly anything.
        labels = None
    if labels is None or labels.ndim != 2 or not np.issubdtype(labels.dtype, np.integer):
        raise LabelledDataError(
            f"{path} is no label image. Expected is a readable PNG or TIFF with one channel of integers. "
            "Save the labels as 16-bit PNG or as TIFF."
        )
    lowest, highest = int(labels.min(initial=0)), int(labels.max(initial=0))
    if lowest < UNKNOWN or highest > LARGEST_ID:
        raise LabelledDataError(
            f"{path} holds values from {lowest} to {highest}. Expected are ids from 1 to {LARGEST_ID}, 0 where there "
            f"is no grain and {UNKNOWN} or {UNKNOWN_STORED} where it is not known. Number the grains anew."
        )
    return labels.astype(np.int32)


def read_ids(path: Path) -> np.ndarray:
    """Read instance ids as int32 (H, W); 65535 means not known and comes back as -1.

    Raises:
        LabelledDataError: As `read_labels`, or if it is a mask.
    """
    ids = read_labels(path)
    if set(np.unique(ids)) == {0, MASK_WHITE}:
        raise LabelledDataError(
            f"{path} holds 0 and {MASK_WHITE} alone, which makes all white one grain. Ids from 1 are expected, another "
            "for each grain. Put masks into masks/, where the grains are numbered."
        )
    return np.where(ids == UNKNOWN_STORED, UNKNOWN, ids).astype(np.int32)


def read_mask(path: Path) -> np.ndarray:
    """Read a drawn or computed mask as bool (H, W), True = white.

    Raises:
        LabelledDataError: As `read_labels`.
    """
    return read_labels(path) > 127


def read_split(folder: Path, parts: Collection[str]) -> pd.DataFrame:
    """Read the rows of `split.csv` of the 316L tiles that belong to the named parts of the seed's split.

    Args:
        folder: Holds `split.csv`.
        parts: Of train, val and test.

    Returns:
        The columns `tile`, `micrograph` and `seed_split`.

    Raises:
        LabelledDataError: If the file is missing, has other columns or no tile of these parts.
    """
    path = folder / "split.csv"
    try:
        split = pd.read_csv(path, dtype=str)[["tile", "micrograph", "seed_split"]]
    except (OSError, KeyError, ValueError) as error:
        raise LabelledDataError(
            f"{path} could not be used ({error}). Expected is a table with the columns tile, micrograph and "
            "seed_split. Name the folder of the 316L tiles."
        ) from error
    chosen = split[split["seed_split"].isin(parts)]
    if chosen.empty:
        raise LabelledDataError(
            f"{path} has no tile of {' or '.join(parts)}. Expected is at least one with that in the column seed_split. "
            "Check the column, or copy the data again."
        )
    return chosen


def labels_from_mask(mask: np.ndarray) -> np.ndarray:
    """Number the grains of a mask of either polarity.

    Grains are separate pieces and what lies between them hangs together, so the phase in more pieces is the grains.

    Args:
        mask: bool (H, W), grains or boundaries.

    Returns:
        int32 (H, W): 1.. = grains, 0 = between them.
    """
    phases = [connected_components(phase, connectivity=1) for phase in (mask, ~mask)]
    pieces = [(np.bincount(phase.ravel())[1:] >= SPECK_PX).sum() for phase in phases]
    return phases[int(pieces[1] > pieces[0])].astype(np.int32)


def refuse_filled_folder(folder: Path) -> None:
    """Raise a UsageError where a folder for pictures holds some already, which new ones would be mixed with."""
    if any(folder.glob("*")):
        raise UsageError(
            f"{folder} holds files already, which the new ones would be mixed with. Expected is a new or an empty "
            "folder. Name another one with --out, or empty it."
        )


def _read_grains_of_mask(path: Path) -> np.ndarray:
    return labels_from_mask(_read_two_values(path))


def _read_two_values(path: Path) -> np.ndarray:
    """Read a mask of any brightness as bool (H, W), True = brighter."""
    grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if grey is None or grey.min() == grey.max():
        raise LabelledDataError(
            f"{path} is no mask: it {'cannot be read' if grey is None else 'has one value only'}. Expected are two "
            "values, grains and what lies between them. Save the mask as PNG or TIFF of 8 bits."
        )
    return grey > (int(grey.min()) + int(grey.max())) / 2
