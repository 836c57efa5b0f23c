"""What lies in a picture and is not the material: pores, holes, a black surround. It must not set the contrast."""

import cv2
import numpy as np
from scipy.stats import median_abs_deviation

# Indices of a picture's corners.
CORNERS = np.ix_([0, -1], [0, -1])
# Ground that is black or white but for this many grey levels, reaches a corner and takes this share of the picture.
_BACKGROUND_LEVELS = 3
_LEAST_GROUND = 0.005
# Spots differ from the median by so many deviations, and hold this disc, px, which the lines of boundaries do not.
_FAR = 8.0
_SPOT = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))
# What takes more than this share is a phase of the material.
_MOST_SPOTS = 0.15
_LEAST_REST = 0.05


def foreign_regions(rgb: np.ndarray) -> np.ndarray:
    """Find an even black or white background that reaches a corner, and compact spots far from the grey of the rest.

    Args:
        rgb: uint8 (H, W, 3).

    Returns:
        Bool (H, W), true there; nowhere where the spots are too much of the picture to be foreign to it.
    """
    background = even_background(rgb)
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    rest = grey[~background]
    if rest.size < _LEAST_REST * grey.size:
        return np.zeros_like(background)
    # The deviation of a normal distribution, from the median one, which the spots hardly move.
    deviation = max(float(median_abs_deviation(rest, scale="normal")), 1.0)
    far = np.abs(np.arange(256) - np.median(rest)) > _FAR * deviation
    spots = cv2.morphologyEx((far[grey] | background).astype(np.uint8), cv2.MORPH_OPEN, _SPOT)
    # Their blurred rims, too.
    spots = cv2.dilate(spots, _SPOT) > 0
    is_foreign = (spots & ~background).mean() < _MOST_SPOTS and spots.mean() <= 1 - _LEAST_REST
    return spots if is_foreign else np.zeros_like(background)


def even_background(rgb: np.ndarray, levels: int = _BACKGROUND_LEVELS) -> np.ndarray:
    """Find an even black or white background that reaches a corner of the picture.

    Args:
        rgb: uint8 (H, W, 3).
        levels: By how many grey levels it may differ from black or white.

    Returns:
        Bool (H, W), true there.
    """
    found = np.zeros(rgb.shape[:2], bool)
    for low, high in ((0, levels), (255 - levels, 255)):
        even = cv2.inRange(rgb, (low,) * 3, (high,) * 3)
        if not even[CORNERS].any():
            continue
        _, pieces, stats, _ = cv2.connectedComponentsWithStats(even, connectivity=4)
        for piece in set(pieces[CORNERS].ravel().tolist()) - {0}:
            if stats[piece, cv2.CC_STAT_AREA] >= _LEAST_GROUND * found.size:
                found |= pieces == piece
    return found
