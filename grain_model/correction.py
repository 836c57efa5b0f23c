"""Corrections by hand: deleting, merging, splitting and adding grains on a label image.

An edit holds places in the picture, not label numbers, so that a list of edits says what a person did and can be
replayed; undoing one is leaving it out of the list.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import cv2
import numpy as np
from scipy.ndimage import find_objects
from skimage.segmentation import relabel_sequential

from .errors import CorrectionError
from .label_image import LEAST_REACH

EditKind = Literal["delete", "merge", "split", "add"]
EDIT_KINDS: tuple[str, ...] = get_args(EditKind)

# Points that an edit needs: at least, and at most (None for any number).
POINTS_NEEDED: dict[str, tuple[int, int | None]] = {
    "delete": (1, 1),
    "merge": (2, 2),
    "split": (2, None),
    "add": (3, None),
}
# Two grains are merged over a gap of up to this part of the smaller one's equivalent diameter,
GAP_SHARE = 0.25
# or over a drawn boundary, which may be so wide (px) in any grain.
LINE_WIDTH = 2.0 * LEAST_REACH
# A line is taken to go on by this part of its end segments: hands stop short of a boundary.
OVERSHOOT = 0.1
# A piece below this share of the grain is no part of a cut but a speck at its ragged edge.
SPECK_SHARE = 0.01


@dataclass(frozen=True)
class Edit:
    """One correction.

    Attributes:
        kind: `"delete"` takes the grain at the point away; `"merge"` joins the grains at two points; `"split"` cuts one
            grain along the line through the points; `"add"` makes a grain of what the closed outline holds.
        points: x (column) and y (row) in px from the picture's top left pixel: one, two, at least two, at least three.

    Raises:
        CorrectionError: If the kind is unknown, the number of points does not fit it, or a point is no place.
    """

    kind: EditKind
    points: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        if self.kind not in EDIT_KINDS:
            raise CorrectionError(
                f"The correction {self.kind!r} is unknown. One of {', '.join(EDIT_KINDS)} is expected. Choose one."
            )
        object.__setattr__(self, "points", _as_places(self.points))
        least, most = POINTS_NEEDED[self.kind]
        if len(self.points) < least or (most is not None and len(self.points) > most):
            number = f"{least}" if most == least else f"at least {least}"
            raise CorrectionError(
                f"There {'is 1 point' if len(self.points) == 1 else f'are {len(self.points)} points'}. "
                f"To {self.kind}, {number} {'is' if least == 1 else 'are'} expected. Set the points in the picture."
            )

    def to_dict(self) -> dict[str, Any]:
        """The edit as plain values for JSON."""
        return {"kind": self.kind, "points": [list(point) for point in self.points]}


def _as_places(points: Any) -> tuple[tuple[float, float], ...]:
    """Check that each point is a finite x and y."""
    try:
        places = np.array(points, dtype=float)
    except (TypeError, ValueError):
        places = np.array(np.nan)
    if places.size and (places.ndim != 2 or places.shape[1] != 2) or not np.isfinite(places).all():
        raise CorrectionError(
            f"The points {points!r} are no places in the picture. A sequence of places is expected, a finite x and y "
            "in px each, such as ((120, 80),) for one. Write them so, or set the points in the picture."
        )
    return tuple((x, y) for x, y in places.tolist())


@dataclass(frozen=True)
class CorrectedLabels:
    """Labels after corrections.

    Attributes:
        labels: int32 (H, W), 1..n without gaps; grains that no edit made keep their order and come first.
        origins: int64 (n,): each grain's label before the corrections, 0 for a grain that an edit made.
    """

    labels: np.ndarray
    origins: np.ndarray


def replay(labels: np.ndarray, edits: Iterable[Edit], start: tuple[int, int] = (0, 0)) -> CorrectedLabels:
    """Apply edits one after the other and number the grains anew.

    Args:
        labels: int (H, W), 0 = not a grain.
        edits: In the order in which they were made.
        start: Row and column of the picture at which the labels begin.

    Returns:
        The corrected labels, and which of the grains are the old ones.

    Raises:
        CorrectionError: If an edit does not fit the labels.
    """
    first_new = next_id = int(labels.max(initial=0)) + 1
    for edit in edits:
        labels = apply(labels, edit, next_id, start)
        next_id = max(next_id, int(labels.max()) + 1)
    sequential, _, ids = relabel_sequential(labels)
    ids = np.asarray(ids, np.int64)[1:]
    return CorrectedLabels(sequential.astype(np.int32), np.where(ids < first_new, ids, 0))


def apply(labels: np.ndarray, edit: Edit, new_id: int | None = None, start: tuple[int, int] = (0, 0)) -> np.ndarray:
    """Apply one edit. The grains that it makes get new numbers; all others keep theirs, so gaps may arise.

    Args:
        labels: int (H, W), 0 = not a grain.
        edit: What to do.
        new_id: Number of the first new grain; above all others by default.
        start: As in `replay`.

    Returns:
        A new label image.

    Raises:
        CorrectionError: If the edit does not fit the labels.
    """
    new_id = int(labels.max(initial=0)) + 1 if new_id is None else new_id
    corrected = labels.copy()
    points = [(x - start[1], y - start[0]) for x, y in edit.points]
    if edit.kind == "delete":
        corrected[labels == _grain_at(labels, points[0], start)] = 0
    elif edit.kind == "merge":
        corrected[_merged(labels, *(_grain_at(labels, point, start) for point in points))] = new_id
    elif edit.kind == "split":
        grain, parts = _split(labels, points)
        corrected[grain] = 0
        for number, part in enumerate(parts):
            corrected[part] = new_id + number
    else:
        corrected[_enclosed(labels, points)] = new_id
    return corrected


def describe_edits(edits: Iterable[Edit]) -> str:
    """Say in words what was corrected, such as "2 deleted, 1 split"; "" for nothing."""
    verbs = {"delete": "deleted", "merge": "merged", "split": "split", "add": "added"}
    counts = Counter(edit.kind for edit in edits)
    return ", ".join(f"{counts[kind]} {verbs[kind]}" for kind in EDIT_KINDS if counts[kind])


def _grain_at(labels: np.ndarray, point: tuple[float, float], start: tuple[int, int]) -> int:
    """The grain at a point, or, where a boundary was hit, the nearest one that a drawn boundary's width reaches."""
    height, width = labels.shape
    (top, left), column, row = start, round(point[0]), round(point[1])
    in_picture = f"({column + left}, {row + top})"
    if not (0 <= column < width and 0 <= row < height):
        raise CorrectionError(
            f"The point {in_picture} lies outside the counted field. A point from ({left}, {top}) to "
            f"({left + width - 1}, {top + height - 1}) is expected. Choose a place inside the picture."
        )
    reach = LEAST_REACH
    first_row, first_column = max(row - reach, 0), max(column - reach, 0)
    around = labels[first_row : row + reach + 1, first_column : column + reach + 1]
    rows, columns = np.nonzero(around)
    distances = np.hypot(rows + first_row - row, columns + first_column - column)
    if len(distances) == 0 or distances.min() > reach:
        raise CorrectionError(
            f"There is no grain at {in_picture}. A place inside a grain is expected. "
            "Choose a coloured place in the overlay, or add the grain first."
        )
    nearest = int(distances.argmin())
    return int(around[rows[nearest], columns[nearest]])


def _merged(labels: np.ndarray, first: int, second: int) -> np.ndarray:
    """Both grains and what parts them: bool (H, W)."""
    if first == second:
        raise CorrectionError(
            "Both places lie in the same grain. Two grains side by side are expected. Choose a place in each."
        )
    one, other = labels == first, labels == second
    to_one, to_other = _distance_to(one), _distance_to(other)
    apart = to_one + to_other
    gap = labels == 0
    # Pixels beside a third grain stay boundary, so that the merged grain does not run into it.
    rivals = (labels > 0) & ~one & ~other
    gap &= cv2.dilate(rivals.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0
    diameter = float(np.sqrt(4 * min(one.sum(), other.sum()) / np.pi))
    widest = max(LINE_WIDTH, GAP_SHARE * diameter)
    # Half as wide again as at its narrowest: an uneven line is filled, the wedge that it may open into is not.
    filled = gap & (apart <= min(1.5 * float(apart[gap].min(initial=widest)) + 1, widest + 1))
    union = one | other | filled
    if _pieces(union) >= _pieces(one) + _pieces(other):
        raise CorrectionError(
            "These two grains do not lie side by side. Grains with a boundary or a narrow gap between them, up to "
            f"{widest:.0f} px here, are expected. Choose two neighbours, or add what lies between them first."
        )
    return union


def _split(labels: np.ndarray, points: Sequence[tuple[float, float]]) -> tuple[np.ndarray, list[np.ndarray]]:
    """The one grain that a line cuts, bool (H, W), and its two parts, likewise."""
    cuts = _cuts(labels, _overshoot(points))
    if len(cuts) > 1:
        # What was added to the line may cut a thin neighbour, into which the line itself hardly goes.
        drawn = labels[_draw_line(labels.shape, points)]
        cuts = {label: parts for label, parts in cuts.items() if np.count_nonzero(drawn == label) > LEAST_REACH}
    parts = next(iter(cuts.values()), [])
    if len(cuts) != 1 or len(parts) != 2:
        found = "no grain" if not cuts else f"{len(cuts)} grains" if len(cuts) > 1 else "a grain into several parts"
        raise CorrectionError(
            f"The line cuts {found}. A line that cuts one grain into two is expected. "
            "Begin and end it on the boundary of the same grain, and draw it through that grain once."
        )
    return labels == next(iter(cuts)), parts


def _cuts(labels: np.ndarray, points: Any) -> dict[int, list[np.ndarray]]:
    """The grains that a line cuts, and the parts of each, bool (H, W)."""
    line = _draw_line(labels.shape, points)
    # A line between two pieces of a grain has no pixel in it.
    reached = labels[cv2.dilate(line.astype(np.uint8), np.ones((2 * LEAST_REACH + 1,) * 2, np.uint8)) > 0]
    boxes, cuts = find_objects(labels), {}
    for label in np.unique(reached[reached > 0]).tolist():
        window = tuple(
            slice(max(side.start - LEAST_REACH - 1, 0), side.stop + LEAST_REACH + 1) for side in boxes[label - 1]
        )
        parts = _cut(labels[window] == label, line[window], labels[window] == 0)
        if parts:
            cuts[label] = [_in_full(part, window, labels.shape) for part in parts]
    return cuts


def _in_full(part: np.ndarray, window: tuple[slice, ...], shape: tuple[int, ...]) -> np.ndarray:
    """What is marked in a window, bool, marked in the whole picture of a shape."""
    whole = np.zeros(shape, bool)
    whole[window] = part
    return whole


def _cut(grain: np.ndarray, line: np.ndarray, free: np.ndarray) -> list[np.ndarray]:
    """The parts of a grain that a line cuts, bool (H, W) each; none if it does not cut it.

    A grain may be in several pieces, with a line or a gap between them, and is one all the same.
    """
    least = SPECK_SHARE * float(grain.sum())
    pieces = _parts(grain, least)
    parts_of_pieces = [_parts(piece & ~line, least) for piece in pieces]
    cut = [number for number, parts in enumerate(parts_of_pieces) if len(parts) > 1]
    if len(cut) == 1:
        parts = parts_of_pieces[cut[0]]
        for number, piece in enumerate(pieces):
            if number not in cut:
                nearest = min(parts, key=lambda part: _distance_to(part)[piece].min())
                nearest |= piece
        return parts
    if len(pieces) < 2:
        return []
    # Cut through several of them, or along the line between them: as if they hung together.
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * LEAST_REACH + 1, 2 * LEAST_REACH + 1))
    whole = (cv2.morphologyEx(grain.astype(np.uint8), cv2.MORPH_CLOSE, disk) > 0) & (grain | free)
    parts = [part & grain for part in _parts(whole & ~line, least)]
    return parts if len(parts) > len(_parts(whole, least)) else []


def _enclosed(labels: np.ndarray, points: Sequence[tuple[float, float]]) -> np.ndarray:
    """The largest piece inside an outline that is no grain yet, a boundary left to its neighbours: bool (H, W)."""
    inside = np.zeros(labels.shape, np.uint8)
    cv2.fillPoly(inside, [np.rint(points).astype(np.int32)], 1)
    taken = cv2.dilate((labels > 0).astype(np.uint8), np.ones((3, 3), np.uint8))
    parts = _parts((inside > 0) & (taken == 0), 0)
    if not parts:
        raise CorrectionError(
            "Nothing inside the outline is free. An outline around a place without a grain is expected. "
            "Delete the grain that is there first, or draw the outline elsewhere."
        )
    return max(parts, key=np.count_nonzero)


def _overshoot(points: Sequence[tuple[float, float]]) -> np.ndarray:
    """The line with its first and last segment made longer."""
    line = np.array(points, float)
    start, end = line[0] - line[1], line[-1] - line[-2]
    line[0] += OVERSHOOT * start
    line[-1] += OVERSHOOT * end
    return line


def _draw_line(shape: tuple[int, int], points: np.ndarray) -> np.ndarray:
    """A line of one pixel across which no two pixels touch, not even at corners: bool (H, W)."""
    drawn = np.zeros(shape, np.uint8)
    cv2.polylines(drawn, [np.rint(points).astype(np.int32)], False, 1, lineType=cv2.LINE_4)
    return drawn > 0


def _distance_to(grain: np.ndarray) -> np.ndarray:
    return cv2.distanceTransform((~grain).astype(np.uint8), cv2.DIST_L2, 5)


def _pieces(grain: np.ndarray) -> int:
    return cv2.connectedComponents(grain.astype(np.uint8), connectivity=4)[0] - 1


def _parts(grain: np.ndarray, least: float) -> list[np.ndarray]:
    """Connected pieces of more than so many pixels, each bool (H, W)."""
    count, pieces = cv2.connectedComponents(grain.astype(np.uint8), connectivity=4)
    sizes = np.bincount(pieces.ravel(), minlength=count)
    return [pieces == piece for piece in range(1, count) if sizes[piece] > least]
