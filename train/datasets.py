"""Training samples: synthetic micrographs drawn on the fly, and real ones with weak labels."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from skimage.measure import label as connected_components
from skimage.measure import regionprops
from skimage.segmentation import expand_labels, relabel_sequential
from torch.utils.data import Dataset

from grain_model.image_processing_grain import without_tint
from grain_model.segmentation_loss import grain_depth
from train.labelled import (
    UNKNOWN,
    LabelledDataError,
    files_by_stem,
    find_labelled_micrographs,
    read_mask,
    read_pair,
    read_split,
)
from train.synthesis import synthesize_micrograph

# The pseudo masks are shifted by up to this many px against their pictures (see the data's own description).
PSEUDO_SHIFT = 4
# A component of a pseudo mask that fills this share of its convex hull is taken for one grain; the others are mergers.
SINGLE_GRAIN_SOLIDITY = 0.88
# Parts of the seed's split of 316l/; its test tiles are for evaluation only.
PARTS_TO_TRAIN_ON = ("train", "val")
# Six pairs of its micrographs are neighbouring fields that overlap (A and B, B and C, C and D, D and E, H and I, N and
# O), so that these tiles show 3 to 81 % of a test tile.
SHOWN_IN_TEST_TILES = {"A_01_01", "B_02_04", "C_03_01", "D_03_04", "O_01_04", "O_02_04", "O_03_04"}
# Largest change of a real micrograph's scale, as a natural logarithm.
ZOOM = 0.29


@dataclass(frozen=True)
class RealMicrograph:
    """A real picture with ids that may be unknown in places.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        labels: int32 (H, W): 0 = not a grain, 1.. = ids, -1 = not known.
        shrunk: How far the grains' edges lie outside of their labels, in px.
    """

    image: np.ndarray
    labels: np.ndarray
    shrunk: int = 0


def labels_from_pseudo_mask(mask: np.ndarray) -> np.ndarray:
    """Keep of a noisy binary mask only what can be trusted.

    Everything within `PSEUDO_SHIFT` of an edge is unknown, so shifts cost nothing; components that look like several
    grains at once, or like specks, are unknown too.

    Args:
        mask: bool (H, W), True = grain.

    Returns:
        int32 (H, W) with -1 where unknown.
    """
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * PSEUDO_SHIFT + 1, 2 * PSEUDO_SHIFT + 1))
    labels = np.full(mask.shape, UNKNOWN, np.int32)
    deep_gap = cv2.erode((~mask).astype(np.uint8), kernel) > 0
    labels[deep_gap] = 0
    core = cv2.erode(mask.astype(np.uint8), kernel) > 0
    for region in regionprops(connected_components(mask, connectivity=1)):
        if region.area >= 150 and region.solidity >= SINGLE_GRAIN_SOLIDITY:
            window = labels[region.slice]
            window[region.image & core[region.slice]] = region.label
    return labels


def labels_from_boundaries(lines: np.ndarray) -> np.ndarray:
    """Ids from hand-drawn boundary lines with open ends.

    Args:
        lines: bool (H, W), True = drawn line.

    Returns:
        int32 (H, W): closed cells have ids that meet in the middle of the line; cells so large that a line must be
        missing are unknown.
    """
    cells = connected_components(~lines, background=0, connectivity=1).astype(np.int32)
    if cells.max() == 0:
        return np.full(lines.shape, UNKNOWN, np.int32)
    grown = expand_labels(cells, distance=max(cells.shape))
    share = np.bincount(grown.ravel()) / grown.size
    return np.where(share[grown] > 0.2, UNKNOWN, grown).astype(np.int32)


def load_316l(root: Path) -> list[RealMicrograph]:
    """316L tiles that may be trained on, with their pseudo masks as weak labels.

    Args:
        root: Folder with `split.csv`, `images/` and `pseudo_masks/`.

    Raises:
        LabelledDataError: If the folder is not laid out so, or a mask differs from its tile in size.
    """
    return _load_pseudo_masks(root, PARTS_TO_TRAIN_ON, labels_from_pseudo_mask, PSEUDO_SHIFT)


def load_pseudo_masks(root: Path) -> list[RealMicrograph]:
    """The seed's training tiles with its pseudo masks taken at their word: each component a grain.

    Raises:
        LabelledDataError: If the folder is not laid out as `load_316l` expects.
    """
    return _load_pseudo_masks(
        root, ("train",), lambda mask: connected_components(mask, connectivity=2).astype(np.int32)
    )


def _load_pseudo_masks(
    root: Path, parts: tuple[str, ...], labels_from: Callable[[np.ndarray], np.ndarray], shrunk: int = 0
) -> list[RealMicrograph]:
    masks, pictures = files_by_stem(root / "pseudo_masks"), files_by_stem(root / "images")
    tiles = training_tiles(root, parts)
    if missing := [tile for tile in tiles if tile not in masks or tile not in pictures]:
        raise LabelledDataError(
            f"{len(missing)} tiles of {root / 'split.csv'} have no files, the first is {missing[0]!r}. Every tile "
            "needs one in images/ and one in pseudo_masks/. Copy the data again."
        )
    read = (read_pair(pictures[tile], masks[tile], read_mask) for tile in tiles)
    return [RealMicrograph(pixels, labels_from(mask), shrunk) for pixels, mask in read]


def training_tiles(root: Path, parts: tuple[str, ...] = PARTS_TO_TRAIN_ON) -> list[str]:
    """Tiles of `split.csv` that belong to the named parts of the seed's split, in the order of the file.

    Those that show a part of a test tile are left out.

    Raises:
        ValueError: If the seed's test tiles are asked for: they are for evaluation only.
        LabelledDataError: If the file is missing, has other columns or no tile of these parts.
    """
    if not set(parts) <= set(PARTS_TO_TRAIN_ON):
        raise ValueError(
            "The seed's test tiles are for evaluation only: expected parts among train, val. Leave test out."
        )
    tiles = [tile for tile in read_split(root, parts)["tile"] if tile not in SHOWN_IN_TEST_TILES]
    if not tiles:
        raise LabelledDataError(
            f"All tiles of {root / 'split.csv'} that belong to {' or '.join(parts)} show a part of a test tile. Others "
            "are expected. Copy the data again."
        )
    return tiles


def load_tbm(root: Path) -> list[RealMicrograph]:
    """Tinted alloy with boundaries drawn by hand; lines without a picture are passed over.

    Raises:
        LabelledDataError: If `images/` or `boundaries/` is missing or empty, no two files of theirs share a stem, or
            two that do differ in size.
    """
    lines, pictures = files_by_stem(root / "boundaries"), files_by_stem(root / "images")
    pairs = [(pictures[stem], path) for stem, path in lines.items() if stem in pictures]
    if not pairs:
        raise LabelledDataError(
            f"No picture in {root / 'images'} has its boundaries drawn. Expected is a drawing of the same stem in "
            "boundaries/. Rename the files."
        )
    read = (read_pair(*pair, read_mask) for pair in pairs)
    return [RealMicrograph(pixels, labels_from_boundaries(drawn)) for pixels, drawn in read]


def load_instances(root: Path) -> list[RealMicrograph]:
    """Micrographs with ids, 65535 where they are not known; ids without a picture are passed over.

    Raises:
        LabelledDataError: If the folder is not laid out as `find_labelled_micrographs` expects.
    """
    read = (source.read() for source in find_labelled_micrographs(root))
    return [RealMicrograph(pixels, labels) for pixels, labels in read]


def count_ids_through(labels: np.ndarray) -> np.ndarray:
    """Number grains 1, 2, 3 ...: ids of large pictures and other tools are higher than the 16 bits of samples hold.

    Args:
        labels: Integer (H, W): 0 = not a grain, 1.. = ids, -1 = not known.

    Returns:
        int32 (H, W).
    """
    ids, _, _ = relabel_sequential(np.maximum(labels, 0))
    return np.where(labels == UNKNOWN, UNKNOWN, ids).astype(np.int32)


@dataclass
class Mixture:
    """Sources of real micrographs and the share of samples that each gives; the rest is synthetic.

    Attributes:
        sources: Real micrographs by the name of their source.
        shares: Share of each source, together at most 1.
        zoom: Largest change of a real micrograph's scale, as a natural logarithm.
    """

    sources: dict[str, list[RealMicrograph]] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)
    zoom: float = ZOOM


class TrainingSamples(Dataset):
    """Endless samples; sample i depends only on `seed` and i, so a run can be repeated and resumed exactly.

    Each item is an image uint8 (3, side, side), labels int16 (side, side) and the distance to the boundary relative to
    the grain's deepest point as uint8 (side, side), 255 = deepest.

    Args:
        seed: Seed of the run.
        side: Side of the samples in px.
        mixture: Real micrographs and their shares.
    """

    def __init__(self, seed: int, side: int, mixture: Mixture) -> None:
        self.seed, self.side, self.mixture = seed, side, mixture

    def __len__(self) -> int:
        return 2**40

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        rng = np.random.default_rng((self.seed, index))
        pick, image, labels, shrunk = rng.random(), None, None, 0.0
        for name, share in self.mixture.shares.items():
            if pick < share:
                pool = self.mixture.sources[name]
                source = pool[int(rng.integers(len(pool)))]
                image, labels, scale = crop_square(rng, source, self.side, self.mixture.zoom)
                shrunk = scale * source.shrunk
                break
            pick -= share
        if image is None:
            drawn = synthesize_micrograph(int(rng.integers(2**62)), self.side)
            image, labels = drawn.image, drawn.labels
        return (
            # As the processor gives it to the network.
            torch.from_numpy(np.ascontiguousarray(without_tint(image).transpose(2, 0, 1))),
            torch.from_numpy(labels.astype(np.int16)),
            torch.from_numpy(relative_distance(labels, shrunk)),
        )


def relative_distance(labels: np.ndarray, shrunk: float = 0.0) -> np.ndarray:
    """Distance to the nearest boundary relative to the grain's deepest point, in 256 steps; see `grain_depth`.

    Args:
        labels: Integer (H, W), 0 or less where there is no grain.
        shrunk: How far the grains' edges lie outside of their labels, in px.

    Returns:
        uint8 (H, W), 0 on boundaries and outside grains, 255 at the deepest point.
    """
    # Multiplied before the division: the other way round what lies halfway between two steps may be rounded elsewhere.
    return np.round(grain_depth(labels, shrunk, deepest=255)).astype(np.uint8)


def crop_square(
    rng: np.random.Generator, source: RealMicrograph, side: int, zoom: float = ZOOM
) -> tuple[np.ndarray, np.ndarray, float]:
    """Cut a random square and resize it to `side`.

    Args:
        rng: Draws place and scale.
        source: What is cut.
        side: Side of the result in px.
        zoom: As in `Mixture`; the cut is smaller where the picture does not allow it.

    Returns:
        Image uint8 (side, side, 3), labels int32 (side, side) with ids counted through, and px of the result for one
        px of the source.
    """
    height, width = source.labels.shape
    cut = int(min(side * np.exp(rng.uniform(-zoom, zoom)), height, width))
    top, left = int(rng.integers(height - cut + 1)), int(rng.integers(width - cut + 1))
    window = np.s_[top : top + cut, left : left + cut]
    method = cv2.INTER_AREA if cut > side else cv2.INTER_CUBIC
    image = cv2.resize(source.image[window], (side, side), interpolation=method)
    labels = cv2.resize(source.labels[window], (side, side), interpolation=cv2.INTER_NEAREST_EXACT)
    return image, count_ids_through(labels), side / cut
