"""Drawn micrographs whose grains are known exactly, SEM pictures with their strips, and a network stand-in."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont
from scipy import spatial

LINE = 3
"""Width of the drawn boundaries, px."""
CELL = 40
"""Side of a drawn grain, px."""
STEP = CELL + LINE
"""Distance between the drawn grains, px."""
FONT = f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf"


def squares(rows: int = 4, columns: int = 5, side: int = CELL, gap: int = 0) -> np.ndarray:
    """Ids of square grains, row by row.

    Args:
        rows: of grains.
        columns: of grains.
        side: of a grain, px.
        gap: between grains that do not touch, px; half of it lies around them all.

    Returns:
        int32 (rows * (side + gap), columns * (side + gap)): grains 1.., 0 in the gaps.
    """
    ids = np.arange(1, rows * columns + 1).reshape(rows, columns)
    grain = np.pad(np.ones((side, side), int), (gap // 2, gap - gap // 2))
    return np.kron(ids, grain).astype(np.int32)


def grid_ids(rows: int, columns: int, cell: int = CELL) -> np.ndarray:
    """Ids 1.. of the grains of `draw_grid`, row by row, int32 (H, W), 0 on its lines."""
    before, after = LINE // 2, LINE - LINE // 2
    return squares(rows, columns, cell, LINE)[before:-after, before:-after]


def draw_grid(rows: int, columns: int, cell: int = CELL) -> np.ndarray:
    """Draws bright square grains with dark boundaries between them.

    Returns:
        uint8 (H, W): rows * columns grains of cell * cell px.
    """
    return np.where(grid_ids(rows, columns, cell) > 0, 210, 40).astype(np.uint8)


def write_grid(path: Path, rows: int, columns: int, cell: int = CELL) -> Path:
    """Writes a drawing of rows * columns grains, into a folder that need not be there yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw_grid(rows, columns, cell)).save(path)
    return path


def middle(row: int, column: int) -> tuple[float, float]:
    """Where the middle of a grain of `draw_grid` lies: x and y, px."""
    return column * STEP + CELL / 2, row * STEP + CELL / 2


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


def nearest_centre(centres: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Which of the centres, float (n, 2) of rows and columns, lies nearest to each pixel, int (height, width)."""
    pixels = np.indices(shape).reshape(2, -1).T
    return spatial.cKDTree(centres).query(pixels)[1].reshape(shape)


def cells(centres: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Ids 1.. without gaps of the grains around centres, which may lie outside, int32 (height, width)."""
    owner = nearest_centre(centres, shape)
    return (np.unique(owner, return_inverse=True)[1].reshape(shape) + 1).astype(np.int32)


def voronoi(shape: int | tuple[int, int], count: int, seed: int = 0) -> np.ndarray:
    """Ids 1.. of grains around random points.

    Args:
        shape: height and width, or the side of a square field, px.
        count: of grains, less those that are too small for a pixel.
        seed: of the points.

    Returns:
        int32 (height, width).
    """
    height, width = (shape, shape) if isinstance(shape, int) else shape
    return cells(np.random.default_rng(seed).random((count, 2)) * (height, width), (height, width))


def draw_field(height: int, width: int, seed: int = 0, levels: tuple[int, int] = (70, 190)) -> np.ndarray:
    """A noisy picture of Voronoi grains of different grey, uint8 (height, width)."""
    rng = np.random.default_rng(seed)
    seeds = rng.random((60, 2)) * [height, width]
    grey = rng.integers(*levels, len(seeds))[nearest_centre(seeds, (height, width))]
    return np.clip(grey + rng.normal(0, 8, grey.shape), 0, 255).astype(np.uint8)


def draw_strip(style: str, width: int, height: int, bar: int, text: str = "10 µm") -> np.ndarray:
    """The strip of one maker with a bar of `bar` px and its printed length, uint8 (height, width)."""
    background, ink = (255, 0) if style == "Zeiss" else (0, 255)
    strip = Image.new("L", (width, height), background)
    draw = ImageDraw.Draw(strip)
    write = {"font": ImageFont.truetype(FONT, int(height * 0.3)), "fill": ink}
    middle = height // 2
    if style == "FEI":
        draw.rectangle([0, 0, width - 1, height - 1], outline=ink)
        for place, entry in ((0.01, "15.00 kV"), (0.16, "1 000 x"), (0.31, "WD 10.2 mm"), (0.48, "HFW 50.0 µm")):
            draw.text((place * width, middle), entry, **write)
            draw.line([(place - 0.005) * width, 0, (place - 0.005) * width, height], fill=ink)
        left, right = int(0.72 * width), int(0.72 * width) + bar - 1
        draw.line([left, middle, left + 0.3 * bar, middle], fill=ink, width=2)
        draw.line([right - 0.3 * bar, middle, right, middle], fill=ink, width=2)
        for end in (left, right):
            draw.line([end, middle - 8, end, middle + 8], fill=ink)
        write["font"] = ImageFont.truetype(FONT, min(int(height * 0.3), bar // 10))
        draw.text(((left + right) / 2, middle), text, anchor="mm", **write)
    elif style == "Zeiss":
        left, right, row = 20, 20 + bar - 1, int(0.75 * height)
        draw.line([left, row, right, row], fill=ink, width=2)
        for end in (left, right):
            draw.line([end, row - 6, end, row + 6], fill=ink)
        draw.text(((left + right) / 2, 0.35 * height), text, anchor="mm", **write)
        draw.text((0.45 * width, 0.1 * height), "EHT = 20.00 kV   Signal A = SE2", **write)
        draw.text((0.45 * width, 0.55 * height), "WD = 8.5 mm   Mag = 500 X", **write)
    else:
        left = int(0.7 * width)
        draw.rectangle([left, 0.75 * height, left + bar - 1, 0.85 * height], fill=ink)
        draw.text((left + bar / 2, 0.4 * height), text, anchor="mm", **write)
        draw.text((10, 0.3 * height), "15.0kV  LED  WD 10.0mm  x1,000", **write)
    return np.asarray(strip)


def draw_sem(style: str, height: int = 600, width: int = 900, strip: int = 60, bar: int = 180, **more) -> np.ndarray:
    """A picture with its strip, uint8 (height, width, 3)."""
    grey = np.vstack([draw_field(height - strip, width), draw_strip(style, width, strip, bar, **more)])
    return np.repeat(grey[..., np.newaxis], 3, axis=2)
