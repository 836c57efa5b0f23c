"""Label images, one number a grain: their check, where grains touch, closed boundaries, boxes and edges."""

from __future__ import annotations

import math
from collections.abc import Iterator

import cv2
import numpy as np
from scipy.ndimage import find_objects

from .errors import MeasurementError

Window = tuple[slice, slice]
# Pixels and their neighbours: to the right, below, and below to the right and to the left.
SIDES: tuple[tuple[Window, Window], ...] = ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1, :], np.s_[1:, :]))
CORNERS: tuple[tuple[Window, Window], ...] = ((np.s_[:-1, :-1], np.s_[1:, 1:]), (np.s_[:-1, 1:], np.s_[1:, :-1]))
# Pixels of 0 no further than this from a grain are a drawn boundary, further ones a pore or gap: in px, and as a part
# of the side of a square of the grains' mean area, so that the same grains measure the same at any magnification.
LEAST_REACH = 3
REACH = 0.08


def as_label_image(labels: np.ndarray) -> np.ndarray:
    """Check a label image and return it as int32 (H, W), a copy only where the type differs.

    Raises:
        MeasurementError: Not two-dimensional, empty, not of integers, or with negative or too large numbers.
    """
    labels = np.asarray(labels)
    if labels.ndim != 2 or labels.size == 0:
        raise MeasurementError(
            f"The label image has shape {labels.shape}; a two-dimensional image (H, W) with at least one pixel is "
            "expected. Pass one field at a time, without a channel axis."
        )
    if labels.dtype.kind not in "iu":
        raise MeasurementError(
            f"The label image has type {labels.dtype}; whole numbers are expected, one a grain and 0 for none. Turn a "
            "mask into labels with skimage.measure.label first."
        )
    if labels.dtype == np.uint8 and labels.max() == 255 and np.isin(labels, (0, 255)).all():
        raise MeasurementError(
            "The label image holds 0 and 255 alone, as a mask does; one number a grain and 0 for none is expected. "
            "Turn a mask into labels with skimage.measure.label first."
        )
    if labels.min() < 0 or labels.max() > np.iinfo(np.int32).max:
        raise MeasurementError(
            f"The labels run from {labels.min()} to {labels.max()}; numbers from 0 to {np.iinfo(np.int32).max} are "
            "expected. Set what is no grain to 0 and renumber with skimage.segmentation.relabel_sequential."
        )
    return np.ascontiguousarray(labels, dtype=np.int32)


def touching(regions: np.ndarray, *, corners: bool = False) -> Iterator[tuple[Window, Window, np.ndarray]]:
    """Find where regions touch, one direction after the other.

    Args:
        regions: Integer (H, W), 0 = no region.
        corners: Whether pixels that share no more than a corner touch, too.

    Yields:
        The window of the pixels, that of their neighbours, and bool of the windows' shape: whether the two lie in
        different regions.
    """
    for here, there in (*SIDES, *CORNERS) if corners else SIDES:
        one, other = regions[here], regions[there]
        yield here, there, (one != other) & (one > 0) & (other > 0)


def has_other_label(labels: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Whether a pixel sees more than one label, 0 counting as one.

    Args:
        labels: Integer (H, W), below 2**24: of larger ones float32, which OpenCV needs, takes neighbours for one.
        window: uint8 (h, w), which pixels around each it sees; nothing lies beyond the image's edge.

    Returns:
        Bool (H, W).
    """
    values = labels.astype(np.float32)
    return cv2.dilate(values, window) != cv2.erode(values, window)


def close_boundaries(labels: np.ndarray) -> np.ndarray:
    """Give the pixels of drawn boundaries to the nearest grain, and leave pores and wide gaps at 0.

    A pixel of 0 is a gap when it lies within reach of a pixel of 0 that is itself further than that from every grain:
    drawn boundaries vanish, and gaps keep their outline but for the tips of their corners. The reach is REACH times the
    side of a square of the grains' mean area, and LEAST_REACH at least.

    Args:
        labels: int32 (H, W).

    Returns:
        int32 (H, W), the input itself where nothing had to be closed.
    """
    outside = labels == 0
    if not outside.any() or outside.all():
        return labels
    distance, nearest = cv2.distanceTransformWithLabels(
        outside.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    inside = labels[~outside]
    grain_of_source = np.zeros(nearest.max() + 1, dtype=np.int32)
    grain_of_source[nearest[~outside]] = inside
    reach = max(LEAST_REACH, REACH * math.sqrt(len(inside) / np.count_nonzero(np.bincount(inside))))
    deep = distance > reach
    if deep.any():
        from_deep = cv2.distanceTransform((~deep).astype(np.uint8), cv2.DIST_L2, 5)
        outside &= from_deep > reach
    closed = labels.copy()
    closed[outside] = grain_of_source[nearest[outside]]
    return closed


def grain_boxes(labels: np.ndarray) -> np.ndarray:
    """Bounding boxes of the grains 1..n of a label image without gaps in its ids.

    Returns:
        int64 (n, 4): first row, first column, past the last row, past the last column.
    """
    boxes = [(rows.start, columns.start, rows.stop, columns.stop) for rows, columns in find_objects(labels)]
    return np.array(boxes, dtype=np.int64).reshape(-1, 4)


def touches_edge(boxes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Whether each box (n, 4) reaches the first or last row or column of an image of this shape: bool (n,)."""
    return (boxes[:, :2] == 0).any(axis=1) | (boxes[:, 2:] == shape).any(axis=1)
