"""Folders of micrographs with true labels: `images/` beside `instances/` or `masks/`, partners by the file's stem."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import tifffile
from skimage.measure import label as connected_components

from grain_model.errors import GrainError
from grain_model.image_listing import IMAGE_SUFFIXES, images_in
from grain_model.micrograph import read_micrograph

# Where the labels of a picture are not known, and how that is written in unsigned pictures of ids.
UNKNOWN = -1
UNKNOWN_STORED = 65535
# Components of a mask below this many px are specks; they say nothing about which phase the grains are.
SPECK_PX = 25


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
        pixels = read_micrograph(self.image_path).pixels
        labels = labels_from_mask(_read_two_values(self.label_path)) if self.is_mask else read_ids(self.label_path)
        if pixels.shape[:2] != labels.shape:
            raise LabelledDataError(
                f"{self.label_path} is {labels.shape[1]}x{labels.shape[0]}, its micrograph {self.image_path.name} is "
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
    """Read a label image (PNG or TIFF, up to 32 bits) as int32 (H, W).

    Raises:
        LabelledDataError: If the file is no image with one integer channel.
    """
    try:
        is_tiff = path.suffix.lower() in {".tif", ".tiff"}
        labels = tifffile.imread(path) if is_tiff else cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    except (OSError, ValueError, tifffile.TiffFileError):
        labels = None
    if labels is None or labels.ndim != 2 or not np.issubdtype(labels.dtype, np.integer):
        raise LabelledDataError(
            f"{path} is no label image. Expected is a readable PNG or TIFF with one channel of integers. "
            "Save the labels as 16-bit PNG or as TIFF."
        )
    return labels.astype(np.int32)


def read_ids(path: Path) -> np.ndarray:
    """Read instance ids as int32 (H, W); 65535 means not known and comes back as -1.

    Raises:
        LabelledDataError: If the file is no image with one integer channel.
    """
    ids = read_labels(path)
    return np.where(ids == UNKNOWN_STORED, UNKNOWN, ids).astype(np.int32)


def read_mask(path: Path) -> np.ndarray:
    """Read a drawn or computed mask as bool (H, W), True = white.

    Raises:
        LabelledDataError: If the file is no image with one integer channel.
    """
    return read_labels(path) > 127


def read_split(folder: Path) -> pd.DataFrame:
    """Read `split.csv` of the 316L tiles: the columns `tile`, `micrograph` and `seed_split` (train, val or test).

    Raises:
        LabelledDataError: If the file is missing or has other columns.
    """
    path = folder / "split.csv"
    try:
        return pd.read_csv(path, dtype=str)[["tile", "micrograph", "seed_split"]]
    except (OSError, KeyError, ValueError) as error:
        raise LabelledDataError(
            f"{path} could not be used ({error}). Expected is a table with the columns tile, micrograph and "
            "seed_split. Name the folder of the 316L tiles."
        ) from error


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


def _read_two_values(path: Path) -> np.ndarray:
    """Read a mask of any brightness as bool (H, W), True = brighter."""
    grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if grey is None or grey.min() == grey.max():
        raise LabelledDataError(
            f"{path} is no mask: it {'cannot be read' if grey is None else 'has one value only'}. Expected are two "
            "values, grains and what lies between them. Save the mask as PNG or TIFF of 8 bits."
        )
    return grey > (int(grey.min()) + int(grey.max())) / 2
