"""Bringing grains to a size that the network reads best, and the maps back to the picture's own size."""

import math
from collections.abc import Callable

import cv2
import numpy as np
from transformers import PreTrainedModel

from .instances import grain_regions, typical_area
from .onnx_backend import OnnxNetwork
from .tiling import predict_probabilities

# The network separates grains of these equivalent diameters equally well (px); outside, the picture is resampled so
# that its typical grain has the diameter beside it. Enlarging beyond LARGEST_FACTOR adds no information.
SMALLEST_DIAMETER, ENLARGED_DIAMETER = 14.0, 26.0
LARGEST_DIAMETER, REDUCED_DIAMETER = 70.0, 56.0
LARGEST_FACTOR = 2.0
# What is reduced further has too few pixels left.
SMALLEST_SIDE = 96
# Where the reduced picture shows fewer than this share of the grains, the large ones of the first look were groups that
# it had not told apart, and the first look is kept.
LEAST_KEPT = 0.25


def predict_at_canonical_scale(
    model: PreTrainedModel | OnnxNetwork,
    image: np.ndarray,
    *,
    max_pixels: int = 2_000_000,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Run the model, look how large the grains are, and run it again at a better scale where that helps.

    Args:
        model: A `GrainForInstanceSegmentation`, or the same exported to ONNX.
        image: float32 (3, H, W), standardised.
        max_pixels: Largest number of pixels in one forward pass.
        progress: Called with the tiles done and the tiles in all, for each run anew.

    Returns:
        float32 (C, H, W) in [0, 1] at the picture's own size.
    """
    maps = predict_probabilities(model, image, max_pixels=max_pixels, progress=progress)
    areas = _grain_areas(maps)
    factor = factor_for_grains(areas)
    if factor == 1:
        return maps
    _, height, width = image.shape
    factor = max(factor, SMALLEST_SIDE / min(height, width)) if factor < 1 else factor
    if 0.9 < factor < 1.1:
        return maps
    size = (max(round(width * factor), 1), max(round(height * factor), 1))
    resized = _resize(image, size)
    second = predict_probabilities(model, resized, max_pixels=max_pixels, progress=progress)
    if factor < 1 and len(_grain_areas(second)) < LEAST_KEPT * len(areas):
        return maps
    return np.clip(_resize(second, (width, height)), 0, 1)


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
    diameter = math.sqrt(4 * typical_area(areas) / math.pi)
    if diameter < SMALLEST_DIAMETER:
        return min(ENLARGED_DIAMETER / diameter, LARGEST_FACTOR)
    return REDUCED_DIAMETER / diameter if diameter > LARGEST_DIAMETER else 1.0


def _resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resample (C, H, W) to (width, height); pixel areas stay aligned."""
    shrinks = size[0] < image.shape[2]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.stack([cv2.resize(channel, size, interpolation=method) for channel in image])
