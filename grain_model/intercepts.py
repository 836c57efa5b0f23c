"""Lineal intercepts on a label image: Heyn's straight lines in four directions and Abrams' three circles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Distance between parallel Heyn lines in grain diameters 1/sqrt(N_A): the golden section, so that they do not fall
# into step with a regular structure.
HEYN_SPACING = 0.618
# Lines in four directions, so far apart, meet a grain so often in the mean: its intercepts measure sqrt(pi / 4)
# diameters (ASTM E112, of equiaxed grains).
HEYN_REPEATS = 4 / HEYN_SPACING / math.sqrt(math.pi / 4)
# Intercepts that one placement of the three circles should at least hit (ASTM E112: 40 to 100 a field).
ABRAMS_COUNTS = 40
# Diameters of Abrams' circles relative to the largest.
ABRAMS_DIAMETERS = (1.0, 2 / 3, 1 / 3)
# Patterns in the room of one placement, and the least diameter of each relative to that room.
ABRAMS_PATTERNS, ABRAMS_LEAST_FILLING = 3, 0.6
# Steps of their shifts and diameters: fills the cube evenly however many (R3 sequence), and the same each time.
ABRAMS_STEPS = (0.8191725, 0.6710436, 0.5497005)
# Intercepts that are so many times as long in one direction as in another are worth a flag.
ELONGATED = 1.3
# Points a pixel along a circle.
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


@dataclass(frozen=True)
class Direction:
    """What the straight lines of one direction counted.

    Attributes:
        degrees: 0 for level lines, 90 for upright ones, 45 for those that rise to the right.
        length_px: Their length inside grains in px; see `average_directions` for several fields.
        intercepts: Grains crossed.
        effective_intercepts: Intercepts that a single field would need for the same standard error; `intercepts` if
            left out.
    """

    degrees: int
    length_px: float
    intercepts: float
    effective_intercepts: float | None = None

    @property
    def intercept_px(self) -> float | None:
        """Mean lineal intercept in px; None without an intercept."""
        return self.length_px / self.intercepts if self.intercepts > 0 else None


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

    A placement is as small as still gives each pattern ABRAMS_COUNTS intercepts, and placements lie side by side over
    the field, so that they sample all of it. Each holds several patterns that are shifted within its room and differ in
    diameter, or the circles would fall into step with a regular structure. A field with room for a single placement has
    its three circles as large as they can be.

    Args:
        shape: Height and width of the field in px.
        grain_diameter: Typical grain diameter 1/sqrt(N_A) in px.
    """
    height, width = shape
    side = min(height, width)
    # The three circles are 2 pi D long together, and a mean intercept is about 0.9 of the grain diameter.
    smallest = ABRAMS_COUNTS * 0.9 * grain_diameter / (2 * np.pi)
    room = side / max(1, int(side * ABRAMS_LEAST_FILLING / smallest))
    down, across = max(1, int(height / room + 1e-9)), max(1, int(width / room + 1e-9))
    placements = down * across
    if placements == 1:
        return [_circle((height - 1) / 2, (width - 1) / 2, r * (side - 1) / 2, 0) for r in ABRAMS_DIAMETERS]
    lines = []
    for pattern in range(placements * ABRAMS_PATTERNS):
        placement = pattern % placements
        turn = (np.array(ABRAMS_STEPS) * (pattern + 1)) % 1
        diameter = room * (ABRAMS_LEAST_FILLING + (1 - ABRAMS_LEAST_FILLING) * turn[2])
        row = (placement // across + 0.5) * height / down + (turn[0] - 0.5) * (height / down - diameter) - 0.5
        column = (placement % across + 0.5) * width / across + (turn[1] - 0.5) * (width / across - diameter) - 0.5
        lines += [_circle(row, column, r * (diameter - 1) / 2, placement) for r in ABRAMS_DIAMETERS]
    return lines


def count_intercepts(labels: np.ndarray, line: TestLine) -> CountedLine:
    """Count the grains along a test line (ASTM E112: l = L / N).

    Gaps of 0 are no grain: their length is taken out, as E112 takes out a second phase. A gap between two grains is one
    boundary, a gap within one grain is none, and a line that begins or ends at a gap ends on a grain's true surface,
    so that this grain counts whole. Only an end at the field's edge, inside a grain, counts 1/2.

    Args:
        labels: int32 (H, W) with drawn boundaries closed (see `close_boundaries`).
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
        intercepts = len(ends) + _corners_passed(labels, line, ends)
    else:
        intercepts = len(ends) - (int(in_grain[0]) + int(in_grain[-1])) / 2 + _corners_passed(labels, line, ends[:-1])
        ends = ends[:-1]
    return CountedLine(line, float(length), float(intercepts), np.stack([line.rows[ends], line.columns[ends]], axis=1))


def count_directions(lines: Sequence[CountedLine]) -> tuple[Direction, ...]:
    """Add up the straight lines of each direction, in the order of the degrees."""
    return tuple(
        Direction(
            degrees,
            sum(line.length_px for line in lines if line.line.group == degrees),
            sum(line.intercepts for line in lines if line.line.group == degrees),
        )
        for degrees in sorted({line.line.group for line in lines})
    )


def average_directions(same: Sequence[Direction], scales: Sequence[float]) -> Direction:
    """Average the mean lineal intercepts of one direction over several fields, as those of the rule itself (E112, 15).

    Args:
        same: The direction in each field.
        scales: Side of each field's pixels in those of the first field.

    Returns:
        The sum of the intercepts, and the length for which length / intercepts is the mean of the fields' mean lineal
        intercepts. Where a field has no intercept, and so no mean, the length is the plain sum: to leave that field out
        would hide how long its grains are.
    """
    intercepts = np.array([direction.intercepts for direction in same], float)
    lengths = np.array([direction.length_px for direction in same]) * np.array(scales)
    total = float(intercepts.sum())
    if not intercepts.all():
        return Direction(same[0].degrees, float(lengths.sum()), total)
    means = lengths / intercepts
    # A mean over n intercepts scatters by 1 / sqrt(n) of itself.
    effective_intercepts = means.sum() ** 2 / (means**2 / intercepts).sum()
    return Direction(same[0].degrees, float(means.mean()) * total, total, float(effective_intercepts))


def elongation_flags(directions: Sequence[Direction]) -> tuple[str, ...]:
    """Flag of grains that are elongated, by the directions' intercepts; empty where they are not."""
    if (found := _elongation(directions)) is None:
        return ()
    long, short, ratio = found
    at_least = "" if long.intercepts >= 1 else "at least "
    return (
        f"the grains are elongated: intercepts are {at_least}{ratio:.1f} times as long at {long.degrees} degrees as at "
        f"{short.degrees}; one section does not tell their size in space (ASTM E112, grains that are not equiaxed)",
    )


def are_turned(fields: Sequence[Sequence[Direction]]) -> bool:
    """Whether the grains of half of the fields are elongated, some at right angles to others: a mean would hide it."""
    longest = [found[0].degrees for directions in fields if (found := _elongation(directions))]
    return 2 * len(longest) >= len(fields) and any(degrees + 90 in longest for degrees in longest)


def _elongation(directions: Sequence[Direction]) -> tuple[Direction, Direction, float] | None:
    """The directions of the longest and of the shortest intercepts and their ratio, where that is not by chance."""
    if not directions or not all(direction.length_px > 0 for direction in directions):
        return None
    # Bands that run through the whole field give a direction no intercept: one is then the most there could be.
    lengths = [direction.length_px / max(direction.intercepts, 1) for direction in directions]
    most = [max(direction.effective_intercepts or direction.intercepts, 1) for direction in directions]
    long, short = int(np.argmax(lengths)), int(np.argmin(lengths))
    ratio = lengths[long] / lengths[short]
    # Crossings scatter less than independent events do.
    chance = np.exp(3 * np.sqrt(1 / most[long] + 1 / most[short]))
    return None if ratio <= max(ELONGATED, chance) else (directions[long], directions[short], ratio)


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


def _corners_passed(labels: np.ndarray, line: TestLine, ends: np.ndarray) -> float:
    """What passing exactly through junctions adds to the count: 1/2 a triple point, 1 a fourfold one (ASTM E112).

    A diagonal step passes between two pixels. Each of them that belongs to neither of the grains before and after would
    have been crossed by a line just beside this one.

    Args:
        labels: int32 (H, W).
        line: The line.
        ends: int (m,), samples just before a boundary.
    """
    following = (ends + 1) % len(line.rows)
    row, column, next_row, next_column = (
        line.rows[ends],
        line.columns[ends],
        line.rows[following],
        line.columns[following],
    )
    before, after = labels[row, column], labels[next_row, next_column]
    is_diagonal = (row != next_row) & (column != next_column) & (after > 0)
    missed = 0.0
    for beside in (labels[row, next_column], labels[next_row, column]):
        missed += np.count_nonzero(is_diagonal & (beside > 0) & (beside != before) & (beside != after)) / 2
    return missed


def _is_touch(labels: np.ndarray, rows: np.ndarray, columns: np.ndarray, grain: int) -> bool:
    """Whether each of the pixels has a pixel of `grain` among its eight neighbours."""
    beside = np.zeros(len(rows), dtype=bool)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            row = np.clip(rows + down, 0, labels.shape[0] - 1)
            column = np.clip(columns + right, 0, labels.shape[1] - 1)
            beside |= labels[row, column] == grain
    return bool(beside.all())


def _offsets(extent: int, spacing: float) -> np.ndarray:
    """Whole-pixel positions `spacing` apart, centred in `extent`; one at least."""
    count = max(1, int(extent / spacing))
    first = (extent - 1 - (count - 1) * spacing) / 2
    return np.round(first + spacing * np.arange(count)).astype(int)


def _circle(row: float, column: float, radius: float, placement: int) -> TestLine:
    count = max(8, int(np.ceil(2 * np.pi * radius * CIRCLE_SAMPLING)))
    angle = 2 * np.pi * np.arange(count) / count
    rows = np.round(row + radius * np.sin(angle)).astype(int)
    columns = np.round(column + radius * np.cos(angle)).astype(int)
    return TestLine(rows, columns, 2 * np.pi * radius / count, True, placement)
