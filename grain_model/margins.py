"""Margins around a picture: the white of a page, the black bars of a screen, what surrounds a round or turned field."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from .foreign import CORNERS, even_background

# Grey levels that still count as blank; JPEG blurs a margin a little.
_TOLERANCE = 12
# The white of a page and the black of a screen; between them, a flat grain may fill a side as well.
_WHITE, _BLACK = 240, 16
# A margin that is worth leaving out has at least this part of the picture's side, and at least so many px.
_LEAST_PART, _LEAST_PX = 0.01, 4
# Lines beside a margin of which one has to differ from it; JPEG blurs the first ones.
_LINES_BESIDE = 8
# A surround reaches so many corners, holds this disc, px, which the lines of black boundaries do not, and leaves a
# field of at least this part of the picture, whose hull covers no more than this part of the surround.
_LEAST_CORNERS = 3
_DISC = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))
_LEAST_FIELD = 0.2
_IN_HULL = 0.02
# The field's blurred rim, px.
_RIM = 2


class Margins(NamedTuple):
    """Widths of margins, px.

    Attributes:
        top: Rows above the field.
        bottom: Rows under it.
        left: Columns before it.
        right: Columns after it.
    """

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0

    def around(self, inner: Margins) -> Margins:
        """These margins and, within what they leave, others: their sums."""
        return Margins(*(outer + width for outer, width in zip(self, inner, strict=True)))


def find_margins(pixels: np.ndarray, least_side: int) -> Margins:
    """Find margins of one even colour, which may differ from side to side, and frames within frames.

    Every pixel of a margin's rows or columns has to have that colour, and the field has to end in a straight line:
    particles on an even background lie beside no margin, however far they are from the picture's edge. Bands of the
    specimen end so, too: what is neither white nor black, and what lies inside another margin, has to go all around.

    Args:
        pixels: uint8 (H, W, 3).
        least_side: px; where less than this would be left of either side, there are no margins.

    Returns:
        The margins; 0 for sides without one.
    """
    found, layer = Margins(), find_frame(pixels, least_side)
    while any(layer):
        found = found.around(layer)
        layer = find_frame(inside(pixels, found), least_side)
        if not all(layer):
            break
    height, width = pixels.shape[:2]
    least = (max(_LEAST_PART * side, _LEAST_PX) for side in (height, height, width, width))
    return Margins(*(lines if lines >= enough else 0 for lines, enough in zip(found, least, strict=True)))


def find_surround(pixels: np.ndarray, least_side: int) -> Margins:
    """Find what surrounds a field that is no upright rectangle: that of an eyepiece, or of a turned picture.

    The surround is even black or white and reaches the corners; the field is round, or has straight sides. Grains at
    the corners that are as black or as white end neither way.

    Args:
        pixels: uint8 (H, W, 3).
        least_side: px; where less than this would be left of either side, there is no surround.

    Returns:
        The margins beside the largest upright rectangle in the field; 0 without a surround.
    """
    background = cv2.morphologyEx(even_background(pixels, _TOLERANCE).astype(np.uint8), cv2.MORPH_OPEN, _DISC)
    if np.count_nonzero(background[CORNERS]) < _LEAST_CORNERS:
        return Margins()
    # Letters and bars on the surround are pieces of their own.
    outlines, _ = cv2.findContours(1 - background, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    hull = cv2.convexHull(max(outlines, key=cv2.contourArea, default=np.zeros((1, 1, 2), np.int32)))
    field = cv2.fillConvexPoly(np.zeros_like(background), hull, 1)
    inner = cv2.erode(field, np.ones((2 * _RIM + 1, 2 * _RIM + 1), np.uint8), borderValue=0)
    if inner.mean() < _LEAST_FIELD or np.count_nonzero(inner & background) > _IN_HULL * np.count_nonzero(background):
        return Margins()
    margins = _beside_largest_rectangle(inner > 0)
    return margins if min(inside(pixels, margins).shape[:2]) >= least_side else Margins()


def _beside_largest_rectangle(field: np.ndarray) -> Margins:
    """Margins beside the largest upright rectangle in a convex field, bool (H, W), to within a thousandth of a side."""
    height, width = field.shape
    rows = np.flatnonzero(field.any(axis=1))[:: max(1, height // 1000)]
    first, end = field[rows].argmax(axis=1), width - field[rows, ::-1].argmax(axis=1)
    # Between two rows a convex field is nowhere narrower than what they have in common.
    left, right = np.maximum.outer(first, first), np.minimum.outer(end, end)
    areas = (right - left).clip(0) * (np.subtract.outer(rows, rows) + 1).clip(0)
    bottom, top = np.unravel_index(areas.argmax(), areas.shape)
    return Margins(
        int(rows[top]),
        int(height - 1 - rows[bottom]),
        int(left[bottom, top]),
        int(width - right[bottom, top]),
    )


def find_frame(pixels: np.ndarray, least_side: int) -> Margins:
    """Find the outermost layer of margins: on each side the lines of the colour that the outermost one has.

    Args:
        pixels: As for `find_margins`.
        least_side: As for `find_margins`.

    Returns:
        The layer; 0 for sides without a margin, however narrow.
    """
    sides = _from_each_side(pixels)
    frame = Margins(*map(_blank_lines, sides))
    inner = inside(pixels, frame)
    if min(inner.shape[:2]) < least_side:
        return Margins()
    colours = [np.median(lines[0], axis=0) for lines in sides]
    ends = [
        width > 0 and _is_straight(colour, field[:_LINES_BESIDE])
        for width, colour, field in zip(frame, colours, _from_each_side(inner), strict=True)
    ]
    return Margins(
        *(
            width if is_end and (all(ends) or _is_blank(colour)) else 0
            for width, is_end, colour in zip(frame, ends, colours, strict=True)
        )
    )


def inside(pixels: np.ndarray, margins: Margins) -> np.ndarray:
    """The picture without its margins: uint8 (h, w, 3), a view."""
    top, bottom, left, right = margins
    return pixels[top : pixels.shape[0] - bottom, left : pixels.shape[1] - right]


def _from_each_side(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Views: the rows from the top and from the bottom, the columns from the left and from the right."""
    columns = pixels.swapaxes(0, 1)
    return pixels, pixels[::-1], columns, columns[::-1]


def _is_straight(colour: np.ndarray, lines: np.ndarray) -> bool:
    """Whether most of the pixels beside a margin of this colour have another."""
    differs = np.abs(lines - colour).max(axis=2) > _TOLERANCE
    return bool(differs.mean(axis=1).max(initial=0) >= 0.5)


def _is_blank(colour: np.ndarray) -> bool:
    """Whether a colour is that of a page or of a screen that is off."""
    return bool(colour.min() >= _WHITE or colour.max() <= _BLACK)


def _blank_lines(lines: np.ndarray) -> int:
    """Number of lines, from the first one on, that have the colour of the first one all over."""
    if lines.size == 0:
        return 0
    colour = np.median(lines[0], axis=0)
    low, high = colour - _TOLERANCE, colour + _TOLERANCE
    for count, line in enumerate(lines):
        if (line.min(axis=0) < low).any() or (line.max(axis=0) > high).any():
            return count
    return len(lines)
