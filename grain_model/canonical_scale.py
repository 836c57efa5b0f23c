"""Bringing grains to a size that the network reads best."""

import math
from collections.abc import Callable

import numpy as np

from .instances import grain_regions, resample
from .tiling import Network, predict_probabilities
from .typical_grain import typical_diameter

# The network separates grains of these equivalent diameters equally well (px); outside, the picture is resampled so
# that its typical grain has the diameter beside it. Enlarging beyond LARGEST_FACTOR adds no information.
SMALLEST_DIAMETER, ENLARGED_DIAMETER = 14.0, 26.0
LARGEST_DIAMETER, REDUCED_DIAMETER = 70.0, 56.0
LARGEST_FACTOR = 2.0
# No picture is enlarged beyond this many px, each of which takes some 45 bytes of memory.
MOST_ENLARGED = 64_000_000
# No picture is reduced to a side below SMALLEST_SIDE px, nor at all where the factor would be above LEAST_REDUCED.
SMALLEST_SIDE = 96
LEAST_REDUCED = 0.9
# Looks at reduced pictures; the second where the typical grain of the first is off by more than LEAST_REDUCED.
MOST_REDUCED_LOOKS = 2
# Where the reduced picture shows fewer than this share of the grains, the large ones of the first look were groups that
# it had not told apart, and the first look is kept.
LEAST_KEPT = 0.25


def predict_at_canonical_scale(
    model: Network,
    image: np.ndarray,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Run the model, look how large the grains are, and run it again at a better scale where that helps.

    Args:
        model: A `GrainForInstanceSegmentation`, or the same exported to ONNX.
        image: float32 (3, H, W), standardised.
        progress: Called with the tiles done and the tiles in all, for each run anew.

    Returns:
        float32 (C, h, w) in [0, 1]: at the picture's own size, or smaller where the grains are so large that the
        picture was reduced. `label_grains` takes them as they are.
    """
    size = image.shape[1:]

    def look(factor: float) -> np.ndarray:
        resized = resample(image, tuple(max(round(side * factor), 1) for side in size))
        return predict_probabilities(model, resized, progress=progress)

    maps = look(1)
    areas = _grain_areas(maps)
    factor = factor_for_grains(areas)
    if factor >= 1:
        factor = min(factor, math.sqrt(MOST_ENLARGED / math.prod(size)))
        return maps if factor <= 1 else np.clip(resample(look(factor), size), 0, 1)
    least, best = min(SMALLEST_SIDE / min(size), 1), maps
    for _ in range(MOST_REDUCED_LOOKS):
        tried = max(factor, least)
        if tried > LEAST_REDUCED:
            return maps
        reduced = look(tried)
        seen = _grain_areas(reduced)
        if len(seen) < LEAST_KEPT * len(areas):
            break
        best = reduced
        # Grains that the last look misjudged come out at another size than was meant.
        ratio = REDUCED_DIAMETER / typical_diameter(seen)
        factor = tried * ratio
        if LEAST_REDUCED < ratio < 1 / LEAST_REDUCED or max(factor, least) == tried:
            break
    return best


def _grain_areas(maps: np.ndarray) -> np.ndarray:
    """Areas of the grains that the maps show, int64 (n,), px."""
    return np.bincount(grain_regions(maps).ravel())[1:]


def factor_for_grains(areas: np.ndarray) -> float:
    """Factor by which a picture with grains of these areas should be resampled.

    Args:
        areas: Areas of the grains in px.

    Returns:
        1 where the typical grain (half of the area lies in larger grains) is of a good size or there is none; otherwise
        the wanted over the typical equivalent diameter.
    """
    if len(areas) == 0:
        return 1.0
    diameter = typical_diameter(areas)
    if diameter < SMALLEST_DIAMETER:
        return min(ENLARGED_DIAMETER / diameter, LARGEST_FACTOR)
    return REDUCED_DIAMETER / diameter if diameter > LARGEST_DIAMETER else 1.0
