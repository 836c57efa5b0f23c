"""Lineal intercepts on a label image: Heyn's straight lines in four directions and Abrams' three circles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Distance between parallel Heyn lines in grain diameters 1/sqrt(N_A): far enough apart to cross other grains, and by
#: the golden section, so that the lines do not fall into step with a regular structure.
HEYN_SPACING = 1.618
#: Intercepts that one placement of the three circles should at least hit (ASTM E112: 40 to 100 a field).
ABRAMS_COUNTS = 40
#: Diameters of Abrams' circles relative to the largest.
ABRAMS_DIAMETERS = (1.0, 2 / 3, 1 / 3)
#: Points a pixel along a circle.
CIRCLE_SAMPLING = 2


@dataclass(frozen=True)
class TestLine:
    """A test line on the pixel grid.

    Attributes:
        rows: int (k,), row of each sampled pixel along the line.
        columns: int (k,), column of each.
        step: Distance between neighbouring samples in px.
        closed: Whether the end joins the start (a circle).
        group: Direction in degrees for a straight line, number of the placement for a circle.
    """

    __test__ = False  # a test line is no pytest class

    rows: np.ndarray
    columns: np.ndarray
    step: float
    closed: bool
    group: int


@dataclass(frozen=True)
class CountedLine:
    """A test line with its count.

    Attributes:
        line: The line.
        length_px: Length inside grains in px; wide gaps are taken out.
        intercepts: Grains crossed, an end inside a grain counted 1/2.
        crossings: int (m, 2), row and column of the sample just before each boundary.
    """

    line: TestLine
    length_px: float
    intercepts: float
    crossings: np.ndarray


def heyn_lines(shape: tuple[int, int], spacing: float) -> list[TestLine]:
    """Parallel lines over the whole field at 0, 45, 90 and 135 degrees (ASTM E112, Heyn; ISO 643, four directions).

    Args:
        shape: Height and width of the field in px.
        spacing: Distance between parallel lines in px.
    """
    height, width = shape
    across, down = np.arange(width), np.arange(height)
    lines = [TestLine(np.full(width, row), across, 1.0, False, 0) for row in _offsets(height, spacing)]
    lines += [TestLine(down, np.full(height, column), 1.0, False, 90) for column in _offsets(width, spacing)]
    # Diagonals are the pixels of constant row - column (or row + column), one step of which is 1 / sqrt 2 px.
    for shift in _offsets(height + width - 1, spacing * np.sqrt(2)) - (width - 1):
        rows = np.arange(max(0, shift), min(height, width + shift))
        columns = rows - shift
        if len(rows) > 1:
            lines.append(TestLine(rows, columns, np.sqrt(2), False, 135))
            lines.append(TestLine(rows, width - 1 - columns, np.sqrt(2), False, 45))
    return lines


def abrams_circles(shape: tuple[int, int], grain_diameter: float) -> list[TestLine]:
    """Abrams' three concentric circles (ASTM E112), in as many placements as the field offers.

    The pattern is made as small as still gives ABRAMS_COUNTS intercepts a placement, and set side by side over the
    field, so that the placements sample all of it.

    Args:
        shape: Height and width of the field in px.
        grain_diameter: Typical grain diameter 1/sqrt(N_A) in px.
    """
    height, width = shape
    side = min(height, width)
    # The three circles are 2 pi D long together, and a mean intercept is about 0.9 of the grain diameter.
    smallest = ABRAMS_COUNTS * 0.9 * grain_diameter / (2 * np.pi)
    diameter = side / max(1, int(side / smallest))
    lines = []
    down, across = max(1, int(height / diameter + 1e-9)), max(1, int(width / diameter + 1e-9))
    for placement in range(down * across):
        row = (placement // across + 0.5) * height / down - 0.5
        column = (placement % across + 0.5) * width / across - 0.5
        for relative in ABRAMS_DIAMETERS:
            lines.append(_circle(row, column, relative * (diameter - 1) / 2, placement))
    return lines


def count_intercepts(labels: np.ndarray, line: TestLine) -> CountedLine:
    """Count the grains along a test line (ASTM E112: l = L / N).

    Gaps of 0 are no grain: their length is taken out, as E112 takes out a second phase. A gap between two grains is one
    boundary, a gap within one grain is none, and a line that begins or ends at a gap ends on a grain's true surface,
    so that this grain counts whole. Only an end at the field's edge, inside a grain, counts 1/2.

    Args:
        labels: int32 (H, W) with drawn boundaries closed (see ``close_boundaries``).
        line: The test line.
    """
    along = labels[line.rows, line.columns]
    in_grain = along > 0
    follows = np.roll(in_grain, -1) if line.closed else in_grain[1:]
    length = line.step * (np.count_nonzero(in_grain[: len(follows)]) + np.count_nonzero(follows)) / 2
    where = np.flatnonzero(in_grain)
    if len(where) == 0:
        return CountedLine(line, 0.0, 0.0, np.empty((0, 2), dtype=int))
    ends = _run_ends(labels, line, where)
    if line.closed:
        ends = ends if along[where[0]] != along[where[-1]] else ends[:-1]
        intercepts = float(len(ends))
    else:
        intercepts = len(ends) - (int(in_grain[0]) + int(in_grain[-1])) / 2
        ends = ends[:-1]
    return CountedLine(line, float(length), float(intercepts), np.stack([line.rows[ends], line.columns[ends]], axis=1))


def _run_ends(labels: np.ndarray, line: TestLine, where: np.ndarray) -> np.ndarray:
    """Last sample of each grain along the line, touches left out.

    A line that runs along a boundary flickers between two grains on the pixels' staircase. A visit to a grain that
    never leaves the pixels next to the grain before and after it is such a touch, not an intercept.

    Args:
        labels: int32 (H, W).
        line: The line.
        where: Samples of the line that lie in grains.

    Returns:
        int (r,), indices into the line.
    """
    grains = labels[line.rows[where], line.columns[where]]
    last = np.append(np.flatnonzero(grains[1:] != grains[:-1]), len(grains) - 1)
    first = np.append(0, last[:-1] + 1)
    runs: list[list[int]] = []
    for start, end in zip(first, last, strict=True):
        if len(runs) > 1 and grains[start] == grains[runs[-2][0]]:
            visit = where[runs[-1][0] : runs[-1][1] + 1]
            if _is_touch(labels, line.rows[visit], line.columns[visit], grains[start]):
                runs.pop()
                runs[-1][1] = end
                continue
        runs.append([start, end])
    return where[[end for _, end in runs]]


def _is_touch(labels: np.ndarray, rows: np.ndarray, columns: np.ndarray, grain: int) -> bool:
    """Whether each of the pixels has a pixel of ``grain`` among its eight neighbours."""
    beside = np.zeros(len(rows), dtype=bool)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            row = np.clip(rows + down, 0, labels.shape[0] - 1)
            column = np.clip(columns + right, 0, labels.shape[1] - 1)
            beside |= labels[row, column] == grain
    return bool(beside.all())


def _offsets(extent: int, spacing: float) -> np.ndarray:
    """Whole-pixel positions ``spacing`` apart, centred in ``extent``; one at least."""
    count = max(1, int(extent / spacing))
    first = (extent - 1 - (count - 1) * spacing) / 2
    return np.round(first + spacing * np.arange(count)).astype(int)


def _circle(row: float, column: float, radius: float, placement: int) -> TestLine:
    count = max(8, int(np.ceil(2 * np.pi * radius * CIRCLE_SAMPLING)))
    angle = 2 * np.pi * np.arange(count) / count
    rows = np.round(row + radius * np.sin(angle)).astype(int)
    columns = np.round(column + radius * np.cos(angle)).astype(int)
    return TestLine(rows, columns, 2 * np.pi * radius / count, True, placement)
