"""The strip of text under a microscope's picture: where it begins, and how long its scale bar is."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

# A strip takes at most this part of the picture's height and is at least so many rows high.
MAX_FOOTER, MIN_FOOTER_ROWS = 0.25, 10

# Grey levels that still count as the strip's even background; JPEG blurs it a little.
_BACKGROUND_TOLERANCE = 12
# A row belongs to the strip when this part of it is background, or when it is one line of a single colour.
_ROW_BACKGROUND = 0.3
# A row beside the text is background nearly everywhere, but for a maker's mark at one side.
_MARGIN_BACKGROUND = 0.7
# The last rows are the strip's, whatever they hold: a frame's line that was blurred is neither even nor of one colour.
_FRAME_ROWS = 3
# Text and lines cover this part of a strip: less is a plain border, more is a picture.
_INK = (0.003, 0.5)
# Letters of one line have their top and bottom rows in common: at least so many of them, and this share of all.
_LINE_GLYPHS, _LINE_SHARE = 4, 0.2
# Rows above the strip that have to look like a picture.
_ROWS_ABOVE = 24

# A scale bar's length as parts of the picture's width.
_BAR_WIDTHS = (0.03, 0.7)
# Each half of a broken bar is at least this part of the whole.
_MIN_HALF = 0.12


@dataclass(frozen=True)
class ScaleBar:
    """A scale bar as drawn.

    Attributes:
        left: First column, px.
        row: Row of its line, px from the top of the whole picture.
        length: From end to end, px.
    """

    left: int
    row: int
    length: int


def find_footer(pixels: np.ndarray) -> int | None:
    """Find the strip with text and scale bar that scanning electron microscopes put under their pictures.

    A strip goes over the whole width, has a background of one grey level and rows that hold little else, carries
    text, and ends in a straight line against a picture that is not of that grey.

    Args:
        pixels: uint8 (H, W, 3).

    Returns:
        The strip's first row; None if there is no strip.
    """
    height, width = pixels.shape[:2]
    if height < 4 * MIN_FOOTER_ROWS:
        return None
    start = int(height * (1 - MAX_FOOTER)) - _ROWS_ABOVE
    grey = cv2.cvtColor(np.ascontiguousarray(pixels[max(0, start) :]), cv2.COLOR_RGB2GRAY)
    for background in _background_levels(grey):
        top = _strip_top(grey, background)
        if top is not None and _holds_text(grey[top:], background):
            return height - len(grey) + top
    return None


def find_scale_bar(pixels: np.ndarray, footer_top: int) -> ScaleBar | None:
    """Find the scale bar in the strip under a picture.

    Knows a solid bar, a line with or without upright ends, and a line broken by the printed length in its middle.

    Args:
        pixels: uint8 (H, W, 3).
        footer_top: First row of the strip, from `find_footer`.

    Returns:
        The longest bar; None if there is none.
    """
    strip = cv2.cvtColor(np.ascontiguousarray(pixels[footer_top:]), cv2.COLOR_RGB2GRAY)
    width = strip.shape[1]
    ink = _ink(strip, int(np.median(strip)))
    shortest, longest = (part * width for part in _BAR_WIDTHS)
    lines = _level_lines(ink, shortest=max(8, shortest / 3))
    bars = [line for line in lines if shortest <= line.length <= longest]
    bars += [
        ScaleBar(left.left, left.row, right.left + right.length - left.left)
        for left in lines
        for right in lines
        if _is_broken_bar(left, right, ink) and right.left + right.length - left.left <= longest
    ]
    best = max(bars, key=lambda bar: bar.length, default=None)
    return best and ScaleBar(best.left, best.row + footer_top, best.length)


def _background_levels(grey: np.ndarray) -> list[int]:
    """The grey levels that the last rows have most of: the strip's own comes first unless a frame is drawn round it."""
    counts = np.bincount(grey[-MIN_FOOTER_ROWS:].ravel(), minlength=256)
    return [int(level) for level in np.argsort(counts)[::-1][:2] if counts[level]]


def _strip_top(grey: np.ndarray, background: int) -> int | None:
    """First row of the run of strip rows that ends at the bottom, or None if it is no strip by its rows."""
    even = np.abs(grey.astype(np.int16) - background) <= _BACKGROUND_TOLERANCE
    part = even.mean(axis=1)
    single_colour = np.ptp(grey[:, 1:-1], axis=1) <= 2 * _BACKGROUND_TOLERANCE
    outside = np.flatnonzero(~((part >= _ROW_BACKGROUND) | single_colour)[:-_FRAME_ROWS])
    top = int(outside[-1]) + 1 if len(outside) else 0
    margins = part >= _MARGIN_BACKGROUND
    # The picture's own last rows may happen to hold much of that grey: the strip begins with a margin or a line.
    begins = np.flatnonzero((margins | single_colour)[top:])
    if len(begins) == 0:
        return None
    top += int(begins[0])
    if not MIN_FOOTER_ROWS <= len(grey) - top <= len(grey) - _ROWS_ABOVE:
        return None
    is_even = margins[top:].mean() >= 0.1
    is_sharp = part[top - _ROWS_ABOVE : top].mean() <= 0.5 and part[top - 3 : top].mean() <= 0.6
    return top if is_even and is_sharp else None


def _holds_text(strip: np.ndarray, background: int) -> bool:
    """Whether a strip carries print, which stands in lines; pores in an even layer do not."""
    ink = _ink(strip, background)
    if not _INK[0] <= ink.mean() <= _INK[1]:
        return False
    _, _, boxes, _ = cv2.connectedComponentsWithStats(ink, connectivity=8)
    tops, widths, heights = (boxes[1:, side] for side in (cv2.CC_STAT_TOP, cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT))
    glyphs = (heights >= 4) & (heights <= 0.8 * len(strip)) & (widths <= 3 * heights)
    if not glyphs.any():
        return False
    _, in_line = np.unique(np.stack([tops, heights])[:, glyphs], axis=1, return_counts=True)
    return bool(in_line.max() >= max(_LINE_GLYPHS, _LINE_SHARE * glyphs.sum()))


def _ink(strip: np.ndarray, background: int) -> np.ndarray:
    """uint8 (H, W): 1 where text or a line is drawn, at half of the strongest contrast."""
    contrast = np.abs(strip.astype(np.int16) - background)
    return (contrast > max(2 * _BACKGROUND_TOLERANCE, int(contrast.max()) // 2)).astype(np.uint8)


def _level_lines(ink: np.ndarray, shortest: float) -> list[ScaleBar]:
    """Connected pieces of ink that are in the main one level line."""
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(ink, connectivity=8)
    lines = []
    for piece in range(1, count):
        left, top, width, height = boxes[piece, :4]
        if width < shortest or width < 2 * height:
            continue
        drawn = labels[top : top + height, left : left + width] == piece
        filled = drawn.mean(axis=1)
        row = int(np.argmax(filled))
        if filled[row] >= 0.95:
            lines.append(ScaleBar(int(left), int(top) + row, int(width)))
    return lines


def _is_broken_bar(left: ScaleBar, right: ScaleBar, ink: np.ndarray) -> bool:
    """Whether two lines are the halves of one bar, with the printed length between them."""
    end = left.left + left.length
    if right.left <= end or abs(left.row - right.row) > 1:
        return False
    alike = abs(left.length - right.length) <= max(3, 0.1 * left.length)
    whole = right.left + right.length - left.left
    # Two equals signs on one line of text are not a bar.
    long_enough = min(left.length, right.length) >= _MIN_HALF * whole
    return alike and long_enough and bool(ink[max(0, left.row - 3) : left.row + 4, end : right.left].any())
