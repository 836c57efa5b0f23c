"""Classical segmentation of grains: Otsu, adaptive threshold and distance watershed, as fair yardsticks for the model.

Each takes a grey image, uint8 (H, W), and knows nothing of the material: one fixed setting for all pictures, chosen
to do well on the validation sets as a whole. Bright grains with dark lines and dark grains with bright lines are told
apart by thickness: grains are thicker than boundaries.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.segmentation import watershed

BLUR_SIGMA_PX = 1.0
ADAPTIVE_WINDOW_PX = 101
ADAPTIVE_OFFSET = 2
LARGEST_SPECK_PX = 60
OTSU_OPENING_PX = 9
ADAPTIVE_OPENING_PX = 3


def otsu_mask(grey: np.ndarray) -> np.ndarray:
    """Threshold by Otsu's method into grains and the rest.

    Returns:
        bool (H, W), True in grains; specks are not cleaned away.
    """
    _, bright = cv2.threshold(_smooth(grey), 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    bright = bright.astype(bool)
    return bright if thickness(bright) >= thickness(~bright) else ~bright


def adaptive_mask(grey: np.ndarray) -> np.ndarray:
    """Threshold against a Gaussian-weighted local mean into grains and the rest.

    Returns:
        bool (H, W), True in grains; specks are not cleaned away.
    """
    smooth = _smooth(grey)
    if thickness(_above_local_mean(255 - smooth, 0)) > thickness(_above_local_mean(smooth, 0)):
        smooth = 255 - smooth
    return _above_local_mean(smooth, ADAPTIVE_OFFSET)


def otsu_grains(grey: np.ndarray) -> np.ndarray:
    """Label the connected components of the cleaned Otsu mask, int32 (H, W)."""
    return label_components(clean_mask(otsu_mask(grey), OTSU_OPENING_PX))


def adaptive_grains(grey: np.ndarray) -> np.ndarray:
    """Label the connected components of the cleaned adaptive mask, int32 (H, W)."""
    return label_components(clean_mask(adaptive_mask(grey), ADAPTIVE_OPENING_PX))


def distance_watershed_grains(grey: np.ndarray) -> np.ndarray:
    """Cut the cleaned Otsu mask at its necks: watershed on the distance to the boundary, int32 (H, W).

    Seeds are the peaks of the smoothed distance map that lie at least one typical grain radius apart; the radius is
    the 90th percentile of the distances in the mask.
    """
    mask = clean_mask(otsu_mask(grey), ADAPTIVE_OPENING_PX)
    if mask.all() or not mask.any():
        # Without an edge there is no distance to it.
        return mask.astype(np.int32)
    distance = ndimage.gaussian_filter(cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5), 2)
    radius = max(3, round(float(np.percentile(distance[mask], 90))))
    peaks = peak_local_max(distance, min_distance=radius, labels=mask.astype(np.int32), exclude_border=False)
    seeds = np.zeros(grey.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return watershed(-distance, seeds, mask=mask).astype(np.int32)


BASELINES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "otsu": otsu_grains,
    "adaptive": adaptive_grains,
    "distance": distance_watershed_grains,
}
"""The classical methods by name; each maps a grey image, uint8 (H, W), to labels, int32 (H, W)."""


def thickness(mask: np.ndarray) -> float:
    """Root mean square distance in px of a mask's pixels to its edge: 0 for an empty mask, inf without an edge."""
    if mask.all():
        return float("inf")
    distance = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)[mask]
    return float(np.sqrt(np.mean(distance**2))) if distance.size else 0.0


def clean_mask(mask: np.ndarray, opening: int) -> np.ndarray:
    """Fill specks in the grains, then cut necks and remove slivers by an opening.

    Args:
        mask: bool (H, W), True in grains.
        opening: Diameter of the opening's disk in px.
    """
    _, holes, statistics, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=8)
    speck = statistics[:, cv2.CC_STAT_AREA] <= LARGEST_SPECK_PX
    speck[0] = False
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (opening, opening))
    return cv2.morphologyEx((mask | speck[holes]).astype(np.uint8), cv2.MORPH_OPEN, disk).astype(bool)


def label_components(mask: np.ndarray) -> np.ndarray:
    """Number the connected components of a mask, int32 (H, W).

    Four neighbours count as connected, so that a diagonal line one pixel wide still separates two grains.
    """
    return cv2.connectedComponents(mask.astype(np.uint8), connectivity=4, ltype=cv2.CV_32S)[1]


def _smooth(grey: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(grey, (0, 0), BLUR_SIGMA_PX)


def _above_local_mean(grey: np.ndarray, offset: int) -> np.ndarray:
    return cv2.adaptiveThreshold(
        grey, 1, cv2.ADAPTIVE_THRESH_GAUSSIAN_C, cv2.THRESH_BINARY, ADAPTIVE_WINDOW_PX, offset
    ).astype(bool)
