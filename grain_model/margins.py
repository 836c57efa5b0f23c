"""Blank margins around a picture: the white of a page, the black bars of a screen."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# Grey levels that still count as blank; JPEG blurs a margin a little.
_TOLERANCE = 12
# The white of a page and the black of a screen; between them, a flat grain may fill a side as well.
_WHITE, _BLACK = 240, 16
# A margin that is worth leaving out has at least this part of the picture's side, and at least so many px.
_LEAST_PART, _LEAST_PX = 0.01, 4
# Lines beside a margin of which one has to differ from it; JPEG blurs the first ones.
_LINES_BESIDE = 8


class Margins(NamedTuple):
    """Widths of blank margins, px.

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


def find_margins(pixels: np.ndarray, least_side: int) -> Margins:
    """Find margins of one even colour, which may differ from side to side, and frames within frames.

    Every pixel of a margin's rows or columns has to have that colour, and the field has to end in a straight line:
    particles on an even ground lie beside no margin, however far they are from the picture's edge. Bands of the
    specimen end so, too: what is neither white nor black, and what lies inside another margin, has to go all around.

    Args:
        pixels: uint8 (H, W, 3).
        least_side: px; where less than this would be left of either side, there are no margins.

    Returns:
        The margins; 0 for sides without one.
    """
    found, layer = Margins(), find_frame(pixels, least_side)
    while any(layer):
        found = Margins(*(outer + inner for outer, inner in zip(found, layer, strict=True)))
        layer = find_frame(inside(pixels, found), least_side)
        if not all(layer):
            break
    height, width = pixels.shape[:2]
    least = (max(_LEAST_PART * side, _LEAST_PX) for side in (height, height, width, width))
    return Margins(*(lines if lines >= enough else 0 for lines, enough in zip(found, least, strict=True)))


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
