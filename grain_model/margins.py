"""Blank margins around a picture: the white of a page, the black bars of a screen or of a rotated scan."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# Grey levels that still count as blank; JPEG blurs a margin a little.
_TOLERANCE = 12
# A margin that is worth leaving out has at least this part of the picture's side, and at least so many px.
_LEAST_PART, _LEAST_PX = 0.01, 4


class Margins(NamedTuple):
    """Widths of blank margins, px.

    Attributes:
        top: rows above the field.
        bottom: rows under it.
        left: columns before it.
        right: columns after it.
    """

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0


def find_margins(pixels: np.ndarray, least_side: int) -> Margins:
    """Finds margins of one even colour, which may differ from side to side.

    Every pixel of a margin's rows or columns has to have that colour: a boundary that crosses them makes them part of
    the picture.

    Args:
        pixels: uint8 (H, W, 3).
        least_side: px; where less than this would be left of either side, there are no margins.

    Returns:
        The margins; 0 for sides without one.
    """
    top, bottom, left, right = 0, pixels.shape[0], 0, pixels.shape[1]
    while True:
        before = top, bottom, left, right
        top += _blank_lines(pixels[top:bottom, left:right])
        bottom -= _blank_lines(pixels[top:bottom, left:right][::-1])
        across = pixels[top:bottom, left:right].swapaxes(0, 1)
        left += _blank_lines(across)
        right -= _blank_lines(across[: right - left][::-1])
        if bottom - top < least_side or right - left < least_side:
            return Margins()
        if (top, bottom, left, right) == before:
            break
    height, width = pixels.shape[:2]
    found = ((top, height), (height - bottom, height), (left, width), (width - right, width))
    return Margins(*(lines if lines >= max(_LEAST_PART * side, _LEAST_PX) else 0 for lines, side in found))


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
