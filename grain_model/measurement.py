"""From a label image to a table: one row of sizes, shapes and positions a grain.

Names follow scikit-image's `regionprops_table`. Every column without a unit suffix is in pixels; with a scale each of
them has a twin that ends in `_um` or `_um2`.
"""

from __future__ import annotations

import cv2
import numpy as np
import pandas as pd
from scipy.fft import irfft2, next_fast_len, rfft2
from skimage.segmentation import relabel_sequential

from .errors import MeasurementError
from .label_image import as_label_image, close_boundaries, grain_boxes, touches_edge, touching
from .scale import as_scale

# Length of the test vectors of the Crofton perimeter as a fraction of the grain's equivalent diameter,
CROFTON_STEP = 0.16
# the least of it in px, below which the staircase of the pixels is measured and no longer the grain,
CROFTON_LEAST = 2.0
# and their directions, eight over half a turn.
_CROFTON_SINES, _CROFTON_COSINES = np.sin(np.arange(8) * np.pi / 8), np.cos(np.arange(8) * np.pi / 8)

# Columns that are lengths or areas in pixels, in the table's order, with the power of um_per_pixel that converts them.
LENGTH_POWERS = {
    "area": 2,
    "equivalent_diameter_area": 1,
    "perimeter_crofton": 1,
    "axis_major_length": 1,
    "axis_minor_length": 1,
    "feret_diameter_max": 1,
    "feret_diameter_min": 1,
    "centroid-0": 1,
    "centroid-1": 1,
}


def measure_grains(
    labels: np.ndarray, um_per_pixel: float | None = None, confidence: np.ndarray | None = None
) -> pd.DataFrame:
    """Measure every grain of a label image.

    Columns (px): `label`; `area` in px^2; `equivalent_diameter_area` = sqrt(4 area / pi); `perimeter_crofton`,
    from the Cauchy-Crofton formula in eight directions; `circularity` = 4 pi area / perimeter^2, at most 1;
    `axis_major_length`, `axis_minor_length` of the ellipse of equal second moments, and their `aspect_ratio`;
    `orientation` in radians as scikit-image defines it, `orientation_deg` in [0, 180): the major axis against the
    horizontal, counter-clockwise; `feret_diameter_max` and `feret_diameter_min`, exact for the outline of the
    pixel squares; `centroid-0` (row) and `centroid-1` (column), pixel centres at whole numbers; `bbox-0` ..
    `bbox-3` = first row, first column, past the last row, past the last column; `touches_edge`: reaches the image's
    first or last row or column; `neighbours`: number of grains it shares a boundary with; of both, drawn boundaries
    bridged, see `close_boundaries`; `confidence` in [0, 1], NaN where none is given.

    With a scale, each length or area column has a twin `<name>_um` or `<name>_um2`. Centroids in um count from the
    image's top left corner, so that they do not depend on the size of a pixel.

    Args:
        labels: Integer image (H, W); 0 is boundary, gap or background, each other number one grain.
        um_per_pixel: Side of a pixel in um; without it the table holds pixels only.
        confidence: One value in [0, 1] a grain, in the order of the labels.

    Returns:
        One row a grain in the order of its label, index 0, 1, ...; no rows but all columns for an image without grains.

    Raises:
        MeasurementError: The label image or the confidence has the wrong shape, type or range.
        ScaleError: `um_per_pixel` is not from 1e-6 to 1e6 um.
    """
    labels = as_label_image(labels)
    um_per_pixel = as_scale(um_per_pixel)
    sequential, _, original_ids = relabel_sequential(labels)
    ids = np.asarray(original_ids)[1:]
    count = len(ids)

    moments = _second_moments(sequential, count)
    area, boxes = moments["area"], grain_boxes(sequential)
    closed = close_boundaries(sequential)
    perimeter, feret_max, feret_min = _outlines(sequential, boxes, area)
    columns: dict[str, np.ndarray] = {
        "label": ids.astype(np.int64),
        "area": area,
        "equivalent_diameter_area": np.sqrt(4 * area / np.pi),
        "perimeter_crofton": perimeter,
        # The staircase of a few pixels reads rounder than a circle.
        "circularity": np.minimum(4 * np.pi * area / perimeter**2, 1.0),
        "axis_major_length": moments["major"],
        "axis_minor_length": moments["minor"],
        "aspect_ratio": moments["major"] / moments["minor"],
        "orientation": moments["orientation"],
        "orientation_deg": np.degrees(moments["orientation"] + np.pi / 2) % 180.0,
        "feret_diameter_max": feret_max,
        "feret_diameter_min": feret_min,
        "centroid-0": moments["row"],
        "centroid-1": moments["column"],
        **{f"bbox-{i}": boxes[:, i] for i in range(4)},
        "touches_edge": touches_edge(grain_boxes(closed), labels.shape),
        "neighbours": count_neighbours(closed, count),
        "confidence": _confidence_column(confidence, count),
    }
    table = pd.DataFrame(columns)
    if um_per_pixel is not None:
        for name, power in LENGTH_POWERS.items():
            corner = 0.5 if name.startswith("centroid") else 0.0
            table[um_column(name)] = (table[name] + corner) * um_per_pixel**power
    return table


def um_column(name: str) -> str:
    """Name of the um twin of a pixel column: `area` gives `area_um2`, `centroid-0` gives `centroid-0_um`."""
    return f"{name}_um2" if LENGTH_POWERS[name] == 2 else f"{name}_um"


def column_unit(name: str) -> str:
    """Unit of a column of the grain table: `px`, `px^2`, `um`, `um^2`, `rad`, `deg`, or `""` for none."""
    if name.endswith("_um2"):
        return "um^2"
    if name.endswith("_um"):
        return "um"
    if name in LENGTH_POWERS:
        return "px^2" if LENGTH_POWERS[name] == 2 else "px"
    if name.startswith("bbox-"):
        return "px"
    return {"orientation": "rad", "orientation_deg": "deg"}.get(name, "")


def grain_diameters(table: pd.DataFrame) -> tuple[np.ndarray, str]:
    """Equivalent circular diameters (ECD) for people to read.

    Args:
        table: Grain table of `measure_grains`.

    Returns:
        float (n,), and their unit: `um`, written with the micro sign, where the table has a scale, else `px`.
    """
    scaled = um_column("equivalent_diameter_area")
    if scaled in table:
        return table[scaled].to_numpy(), "\N{MICRO SIGN}m"
    return table["equivalent_diameter_area"].to_numpy(), "px"


def with_units(table: pd.DataFrame) -> pd.DataFrame:
    """The grain table for a file that people read: `area` becomes `area (px^2)`."""
    units = {name: column_unit(name) for name in table.columns}
    return table.rename(columns={name: f"{name} ({unit})" for name, unit in units.items() if unit})


def count_neighbours(closed: np.ndarray, count: int) -> np.ndarray:
    """Number of distinct grains that each grain shares a boundary with.

    Args:
        closed: int32 (H, W), 1..count without gaps, with drawn boundaries closed (see `close_boundaries`).
        count: Number of grains n.

    Returns:
        int64 (n,).
    """
    closed = closed.astype(np.int64)
    pairs = []
    for here, there, touch in touching(closed):
        first, second = closed[here][touch], closed[there][touch]
        pairs.append(np.minimum(first, second) * (count + 1) + np.maximum(first, second))
    low, high = np.divmod(np.unique(np.concatenate(pairs)), count + 1)
    return np.bincount(np.concatenate([low, high]), minlength=count + 1)[1:]


def _confidence_column(confidence: np.ndarray | None, count: int) -> np.ndarray:
    if confidence is None:
        return np.full(count, np.nan)
    confidence = np.asarray(confidence, dtype=float)
    if confidence.shape != (count,):
        raise MeasurementError(
            f"The confidence has shape {confidence.shape}; one value for each of the {count} grains is expected. Pass "
            "them in the order of the labels, or leave them out."
        )
    return confidence


def _second_moments(labels: np.ndarray, count: int) -> dict[str, np.ndarray]:
    """Area, centroid, axes and orientation of all grains at once.

    scikit-image takes pixels as points; here each adds the 1/12 of its own square (as MATLAB's regionprops does), which
    keeps the axes of small grains independent of the resolution and those of one-pixel grains above zero.
    """
    rows, columns = np.nonzero(labels)
    grain = labels[rows, columns] - 1

    def total(weights: np.ndarray) -> np.ndarray:
        return np.bincount(grain, weights=weights, minlength=count)

    area = np.bincount(grain, minlength=count).astype(float)
    row, column = total(rows) / area, total(columns) / area
    off_row, off_column = rows - row[grain], columns - column[grain]
    var_row = total(off_row**2) / area + 1 / 12
    var_column = total(off_column**2) / area + 1 / 12
    covariance = total(off_row * off_column) / area
    spread = np.hypot((var_row - var_column) / 2, covariance)
    middle = (var_row + var_column) / 2
    return {
        "area": area,
        "row": row,
        "column": column,
        "major": 4 * np.sqrt(middle + spread),
        "minor": 4 * np.sqrt(middle - spread),
        "orientation": 0.5 * np.arctan2(2 * covariance, var_row - var_column),
    }


def _outlines(labels: np.ndarray, boxes: np.ndarray, area: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Perimeters and largest and smallest Feret diameters, each (n,) in px."""
    perimeter, feret_max, feret_min = np.empty((3, len(boxes)))
    for index, (top, left, bottom, right) in enumerate(boxes):
        grain = labels[top:bottom, left:right] == index + 1
        perimeter[index] = _crofton_perimeter(grain, area[index])
        feret_max[index], feret_min[index] = _feret_diameters(grain)
    return perimeter, feret_max, feret_min


def _crofton_perimeter(grain: np.ndarray, area: float) -> float:
    """Perimeter of one grain from the Cauchy-Crofton formula, pi times the mean of its projections over directions.

    The projection along a vector h is the area that a shift by h uncovers, (area - covariogram(h)), over the length of
    h. scikit-image takes vectors of one pixel in four directions and so reads 10 % more when the same image is enlarged
    twofold; here the vectors grow with the grain, and from 12.5 px in diameter the result does not change at all.
    Below, where the vectors keep to 2 px, it changes: by up to 3 % at 10 px, 7 % at 8 px and 15 % at 6 px in diameter.
    Vectors in proportion there too would read the staircase of the pixels for the grain, +12 % at 6 px.
    Longer vectors cut corners in proportion to their length and barely touch round outlines: half of the difference
    between those of h and 2 h is added, which leaves +0.2 % on large disks, +3 % on those of 4 px radius and -2 % on
    squares.
    """
    length = max(CROFTON_STEP * np.sqrt(4 * area / np.pi), CROFTON_LEAST)
    lengths = np.array([[length], [2 * length]])
    covered = _covariogram(grain, lengths * _CROFTON_SINES, lengths * _CROFTON_COSINES)
    single, double = np.pi * ((area - covered) / lengths).mean(axis=1)
    return float(1.5 * single - 0.5 * double)


def _covariogram(grain: np.ndarray, down: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Area of the grain's pixel squares that they still cover after a shift by `down` >= 0 and `right` px.

    For squares this is bilinear between the shifts by whole pixels, so that it is the same at every magnification.

    Args:
        grain: bool (h, w).
        down: Shifts, any shape.
        right: Shifts, the same shape.

    Returns:
        px^2, the shape of the shifts.
    """
    row, column = np.floor(down).astype(int), np.floor(right).astype(int)
    reach = int(row.max()) + 2  # the sides wrap around, so this much stays empty
    shape = [next_fast_len(side + reach, real=True) for side in grain.shape]
    spectrum = rfft2(grain, shape)
    pixels = np.rint(irfft2(abs(spectrum) ** 2, shape))
    below, beside = down - row, right - column
    upper = (1 - beside) * pixels[row, column] + beside * pixels[row, column + 1]
    lower = (1 - beside) * pixels[row + 1, column] + beside * pixels[row + 1, column + 1]
    return (1 - below) * upper + below * lower


def _feret_diameters(grain: np.ndarray) -> tuple[float, float]:
    """Largest and smallest distance between parallel tangents of the outline of one grain's pixel squares."""
    rows = np.flatnonzero(grain.any(axis=1))
    left = grain[rows].argmax(axis=1)
    right = grain.shape[1] - grain[rows, ::-1].argmax(axis=1)
    x, y = np.concatenate([left, left, right, right]), np.concatenate([rows, rows + 1, rows, rows + 1])
    hull = cv2.convexHull(np.stack([x, y], axis=1).astype(np.int32))[:, 0].astype(float)
    between = hull[:, None] - hull[None]
    largest = np.sqrt((between**2).sum(axis=-1).max())
    edges = np.roll(hull, -1, axis=0) - hull
    normals = np.stack([edges[:, 1], -edges[:, 0]]) / np.hypot(edges[:, 0], edges[:, 1])
    heights = hull @ normals
    return float(largest), float((heights.max(axis=0) - heights.min(axis=0)).min())
