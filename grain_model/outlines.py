"""Outlines of grains as polygons along the edges of their pixels: nothing is cut off, nothing added."""

from __future__ import annotations

import numpy as np

# Steps along the pixel edges: right, down, left, up, the grain always on the right-hand side.
_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))


def trace_outlines(grain: np.ndarray, *, corners_join: bool = True) -> list[np.ndarray]:
    """Trace a grain's outlines along its pixel edges.

    Vertices are pixel corners, (0, 0) the image's top left one, so that a pixel's centre lies inside a polygon exactly
    when the pixel is part of the grain.

    Args:
        grain: bool (H, W).
        corners_join: Whether pixels that touch at a corner belong together.

    Returns:
        Closed polygons, int (k, 2) as x, y without the first vertex repeated: clockwise on the screen around the
        grain's pieces, counter-clockwise around its holes.
    """
    leaving = _edges_by_start(np.pad(grain, 1))
    polygons = []
    # The topmost corner left over, and leftmost there, lies on one outline only.
    for start in sorted(leaving, key=lambda corner: (corner[1], corner[0])):
        if start not in leaving:
            continue
        vertices, corner = [start], start
        (direction,) = leaving.pop(start)
        while True:
            corner = (corner[0] + _STEPS[direction][0], corner[1] + _STEPS[direction][1])
            if corner == start:
                break
            onward = leaving[corner]
            # Where two pixels touch at a corner, the left turn goes on to the other pixel, the right turn stays.
            following = onward[0] if len(onward) == 1 else (direction + (-1 if corners_join else 1)) % 4
            onward.remove(following)
            if not onward:
                del leaving[corner]
            if following != direction:
                vertices.append(corner)
            direction = following
        polygons.append(np.array(vertices) - 1)
    return polygons


def simple_rings(outline: np.ndarray) -> list[np.ndarray]:
    """Cut an outline where it touches itself at a corner, into rings that pass each point once.

    Args:
        outline: int (k, 2), from `trace_outlines`.

    Returns:
        int (k, 2) each, turning as in `trace_outlines`.
    """
    rings, path, place = [], [], {}
    for vertex in map(tuple, outline.tolist()):
        if vertex in place:
            ring = path[place[vertex] :]
            rings.append(np.array(ring))
            for left in ring[1:]:
                del place[left]
            path = path[: place[vertex] + 1]
        else:
            place[vertex] = len(path)
            path.append(vertex)
    return [*rings, np.array(path)]


def pixel_on_the_left(outline: np.ndarray) -> tuple[float, float]:
    """Centre x, y of the pixel to the left of an outline's first edge: in the hole, for an outline around one."""
    (x, y), (next_x, next_y) = outline[:2].tolist()
    along_x, along_y = np.sign((next_x - x, next_y - y)).tolist()
    return x + (along_x + along_y) / 2, y + (along_y - along_x) / 2


def signed_area(polygon: np.ndarray) -> float:
    """Area of a polygon (k, 2) as x, y in px^2: positive clockwise on the screen, negative around a hole."""
    x, y = polygon.T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def _edges_by_start(grain: np.ndarray) -> dict[tuple[int, int], list[int]]:
    """Directions of the pixel edges between grain and not grain, by the corner (x, y) that they leave from."""
    leaving: dict[tuple[int, int], list[int]] = {}
    outside = ~grain
    sides = (
        (grain[1:] & outside[:-1], (0, 1), 0),  # above the pixel: from its top left corner to the right
        (grain[:, :-1] & outside[:, 1:], (1, 0), 1),  # right of it: from its top right corner down
        (grain[:-1] & outside[1:], (1, 1), 2),  # below it: from its bottom right corner to the left
        (grain[:, 1:] & outside[:, :-1], (1, 1), 3),  # left of it: from its bottom left corner up
    )
    for edges, (right, down), direction in sides:
        rows, columns = np.nonzero(edges)
        for x, y in zip((columns + right).tolist(), (rows + down).tolist(), strict=True):
            leaving.setdefault((x, y), []).append(direction)
    return leaving
