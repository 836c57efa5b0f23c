"""Points that a visitor sets in a picture: where they lie in it, and how they are drawn."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

Point = tuple[float, float]

SHOWN_SIDE = 1100
"""Smaller pictures are enlarged to about this side, px, so that they can be clicked at."""

_COLOUR, _RIM = (255, 230, 0), (0, 0, 0)


def enlargement(shape: Sequence[int]) -> int:
    """How many times a picture of a shape (H, W, ...) is enlarged to be clicked at."""
    return max(1, SHOWN_SIDE // max(shape[:2]))


def clicked_point(index: Sequence[int], shape: Sequence[int]) -> Point:
    """The pixel of a picture that was clicked at.

    Args:
        index: x and y in the enlarged picture.
        shape: (H, W, ...) of the picture.

    Returns:
        x and y in the picture, px.
    """
    factor = enlargement(shape)
    return float(index[0] // factor), float(index[1] // factor)


def draw_points(picture: np.ndarray, points: Sequence[Point], *, closed: bool = False) -> np.ndarray:
    """Draw points and the line through them on a picture, which is enlarged where it is small.

    Args:
        picture: uint8 (H, W, 3).
        points: x and y in px.
        closed: From three points on, the line goes back to the first.

    Returns:
        uint8 (k H, k W, 3).
    """
    factor = enlargement(picture.shape)
    drawn = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST)
    places = np.rint((np.array(points, float).reshape(-1, 2) + 0.5) * factor).astype(np.int32)
    # A phone shows the picture some 300 px wide, and the points have to be seen there too.
    size = max(1, round(max(drawn.shape[:2]) / 400))
    for colour, extra in ((_RIM, 2 * size), (_COLOUR, 0)):
        if len(places) > 1:
            cv2.polylines(drawn, [places], closed and len(places) > 2, colour, 2 * size + extra, cv2.LINE_AA)
        for place in places:
            cv2.circle(drawn, place.tolist(), 4 * size + extra // 2, colour, -1, cv2.LINE_AA)
    return drawn
