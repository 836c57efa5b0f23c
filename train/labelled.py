"""Folders of micrographs with true labels: `images/` and `instances/`, partners by the stem of the file name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import tifffile

from grain_model.errors import GrainError
from grain_model.micrograph import read_micrograph

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})


class LabelledDataError(GrainError, ValueError):
    """A folder of labelled micrographs is incomplete or not laid out as expected."""


@dataclass(frozen=True)
class LabelledMicrograph:
    """A micrograph and the true labels of its grains, both still on disk.

    Attributes:
        material: Name of the folder that it comes from.
        name: Stem of both files.
        image_path: The micrograph.
        label_path: Its label image: ids 1.., 0 where there is no grain.
    """

    material: str
    name: str
    image_path: Path
    label_path: Path

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Read the micrograph, uint8 (H, W, 3) RGB, and its labels, int32 (H, W).

        Raises:
            LabelledDataError: If the labels cannot be read or differ from the micrograph in size.
            ImageError: If the micrograph cannot be read.
        """
        pixels, labels = read_micrograph(self.image_path).pixels, read_labels(self.label_path)
        if pixels.shape[:2] != labels.shape:
            raise LabelledDataError(
                f"{self.label_path} is {labels.shape[1]}x{labels.shape[0]}, its micrograph {self.image_path.name} is "
                f"{pixels.shape[1]}x{pixels.shape[0]}. Labels are expected at the micrograph's own size. Label it "
                "again, or resize the labels with nearest-neighbour interpolation."
            )
        return pixels, labels


def find_labelled_micrographs(folder: Path) -> list[LabelledMicrograph]:
    """List the micrographs of a folder with `images/` and `instances/`, sorted by name.

    Labels without a micrograph are passed over.

    Raises:
        LabelledDataError: If one of the two folders is missing or empty, or a micrograph has no labels.
    """
    images, labels = (files_by_stem(folder / part) for part in ("images", "instances"))
    if unlabelled := sorted(images.keys() - labels.keys()):
        raise LabelledDataError(
            f"{len(unlabelled)} micrographs in {folder / 'images'} have no labels, the first is {unlabelled[0]!r}. "
            "Every micrograph needs a label image of the same stem in instances/. Add the labels or remove the picture."
        )
    material = folder.resolve().name
    return [LabelledMicrograph(material, stem, images[stem], labels[stem]) for stem in sorted(images)]


def files_by_stem(folder: Path) -> dict[str, Path]:
    """Map the stem of every image file in a folder to its path.

    Raises:
        LabelledDataError: If the folder is missing or has no image, or two images share a stem.
    """
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise LabelledDataError(
            f"{folder} {'has no image' if folder.is_dir() else 'does not exist'}. Expected is a folder of image files "
            f"({', '.join(sorted(IMAGE_SUFFIXES))}). Check the path that was given."
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
