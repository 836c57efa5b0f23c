"""Drawn micrographs whose grains are known exactly, and a network stand-in that sees what was drawn."""

from __future__ import annotations

import cv2
import numpy as np

LINE = 3
"""Width of the drawn boundaries, px."""


def draw_grid(rows: int, columns: int, cell: int = 40) -> np.ndarray:
    """Draws bright square grains with dark boundaries between them.

    Returns:
        uint8 (H, W): rows * columns grains of cell * cell px.
    """
    step = cell + LINE
    picture = np.full((rows * step - LINE, columns * step - LINE), 40, np.uint8)
    for row in range(rows):
        for column in range(columns):
            picture[row * step : row * step + cell, column * step : column * step + cell] = 210
    return picture


def predict_drawn(model: object, image: np.ndarray, **options: object) -> np.ndarray:
    """Stands in for the network: bright is grain, dark is boundary.

    Args:
        model: not used.
        image: float32 (3, H, W), standardised.
        options: not used.

    Returns:
        float32 (3, H, W): interior, boundary, normalised distance.
    """
    grain = (image.mean(axis=0) > -0.5).astype(np.uint8)
    distance = cv2.distanceTransform(np.pad(grain, 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    highest = max(float(distance.max()), 1.0)
    interior = np.where(grain, 0.97, 0.02)
    return np.stack([interior, 1 - interior, distance / highest]).astype(np.float32)


def drawn_maps(ids: np.ndarray, boundary_strength: np.ndarray | float = 0.95) -> np.ndarray:
    """Maps of a network that sees everything: interior, boundary (3x3 rule) and relative distance of a label image."""
    values = ids.astype(np.float32)
    kernel = np.ones((3, 3), np.uint8)
    edge = cv2.dilate(values, kernel) != cv2.erode(values, kernel)
    boundary = np.where(edge, boundary_strength, 0.02).astype(np.float32)
    interior = np.where(ids > 0, 1 - boundary, 0.02).astype(np.float32)
    distance = cv2.distanceTransform((~edge & (ids > 0)).astype(np.uint8), cv2.DIST_L2, 5)
    deepest = np.array([max(distance[ids == i].max(initial=0), 1) for i in range(ids.max() + 1)])
    return np.stack([interior, boundary, distance / deepest[ids]])


def squares(rows: int = 4, columns: int = 5, side: int = 40) -> np.ndarray:
    """Ids 1.. of touching square grains, int32 (rows * side, columns * side)."""
    ids = np.arange(1, rows * columns + 1).reshape(rows, columns)
    return np.kron(ids, np.ones((side, side), int)).astype(np.int32)
