"""Which grains of a painted polycrystal can be told apart on its recorded micrograph."""

import cv2
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components as connected_seeds
from skimage.measure import label as connected_components
from skimage.segmentation import relabel_sequential

from .painting import Painted
from .polycrystal import Polycrystal

# A boundary is seen where it exceeds the noise by this factor (A. Rose, J. Opt. Soc. Am. 38 (1948) 196, gives 3 to 7).
SIGNAL_TO_NOISE = 3.0
# Nothing below this share of the micrograph's range of grey values is asked for; a line, being narrow, needs more.
LEAST_STEP = 0.02
LEAST_LINE = 1.5 * LEAST_STEP
# A texture is told from a smoother one that it exceeds by this factor.
ROUGHER = 1.75
# The eye averages a step over the two grains and a line along half a diameter, but over no more than this many px.
EYE_SPAN = 30.0
# Width of a line in px, over which it is averaged as well.
LINE_WIDTH = 2.5
# Neighbours are one grain in the labels where less than this share of their common boundary can be seen.
MIN_VISIBLE_SHARE = 0.3
# Pieces between gaps that are smaller than this share of a mean grain are no grains.
SPLINTER_SHARE = 0.04
# What has at least this share of its grain's area is not a piece of it.
UNCUT_SHARE = 0.9
# Corners of a cell that pixels cut off, px; they belong to a neighbour.
LARGEST_CRUMB = 12

# Noise is measured in the means of PATCH x PATCH px, about the width of a line, on what is left when slow changes, over
# WINDOW px, are taken off. Coarser texture hides steps more than that says, but to count it in full joins grains that
# are in plain sight.
PATCH = 3
WINDOW = 11
# Grains count with their own noise as far as they have more patches than this; the rest is the field's.
FEW_PATCHES = 30
# Marks that exceed the mean deviation within their grain by this factor are cut down to it.
OUTLIER = 3.0


def visible_grains(
    image: np.ndarray, crystal: Polycrystal, painted: Painted, diameter: float, light: np.ndarray
) -> np.ndarray:
    """Join grains whose common boundary cannot be seen, cut out the gaps, and number what is left.

    Args:
        image: The recorded micrograph, uint8 (H, W, 3).
        crystal: The grains.
        painted: How they were drawn.
        diameter: Mean diameter of the grains in px.
        light: What the light leaves of differences in grey, float32 (H, W); see `record`.

    Returns:
        int32 (H, W), the grains that can be told apart: 1..n, 0 in gaps.
    """
    gap = None if painted.gap is None else painted.gap > 0.5
    visible = _visible(image, crystal, painted, diameter, light, gap)
    whole = _joined(crystal, visible)[crystal.labels] + 1
    # A wavy boundary or a gap may cut one seed's cell in two: each piece is a grain of its own.
    seen = whole if gap is None else np.where(gap, 0, whole)
    pieces = _without_crumbs(connected_components(seen, background=0, connectivity=1))
    if gap is not None:
        pieces = _without_splinters(pieces, whole, diameter)
    pieces, _, _ = relabel_sequential(pieces)
    return pieces.astype(np.int32)


def _without_splinters(pieces: np.ndarray, whole: np.ndarray, diameter: float) -> np.ndarray:
    """Drop what a gap leaves of a grain where nobody would call it one; int32 (H, W), 0 = gap."""
    area = np.bincount(pieces.ravel())
    of_grain = np.zeros(len(area), np.int64)
    of_grain[pieces.ravel()] = np.bincount(whole.ravel())[whole.ravel()]
    splinter = (area <= SPLINTER_SHARE * np.pi / 4 * diameter**2) & (area < UNCUT_SHARE * of_grain)
    return np.where(splinter[pieces], 0, pieces)


def _without_crumbs(pieces: np.ndarray) -> np.ndarray:
    """Give pieces of up to LARGEST_CRUMB px to a neighbour; int32 (H, W), 0 = gap."""
    crumb = (pieces > 0) & (np.bincount(pieces.ravel()) <= LARGEST_CRUMB)[pieces]
    pieces = np.where(crumb, 0, pieces).astype(np.float32)
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    for _ in range(LARGEST_CRUMB):
        if not crumb.any():
            break
        pieces = np.where(crumb, cv2.dilate(pieces, cross), pieces)
        crumb &= pieces == 0
    return pieces.astype(np.int32)


def _visible(
    image: np.ndarray,
    crystal: Polycrystal,
    painted: Painted,
    diameter: float,
    light: np.ndarray,
    gap: np.ndarray | None,
) -> np.ndarray:
    """Whether a boundary at this pixel can be seen, bool (H, W): by a line or relief, a step, a texture or a gap."""
    red, green, blue = (channel.astype(np.float32) for channel in cv2.split(image))
    grey = (red + green + blue) / 3 / 255
    noise = grain_noise(grey, crystal, painted.marked if gap is None else painted.marked | gap)
    own, other = noise[crystal.labels], noise[crystal.neighbours]
    noise = np.sqrt((own**2 + other**2) / 2)
    darkest, brightest = np.percentile(grey, [1, 99])
    rough = np.maximum(own, other)
    texture_is_seen = (rough > ROUGHER * np.minimum(own, other)) & (rough > LEAST_STEP * (brightest - darkest))
    span = min(diameter, EYE_SPAN)
    # Standard deviations of the difference of two means over a disc each, and of a mean along a line.
    step_noise = noise * np.float32(np.sqrt(2 / (np.pi / 4 * span**2)))
    line_noise = noise * np.float32(np.sqrt(1 / (LINE_WIDTH * span / 2)))
    # Colours are added to what the light left of the grey, so that dark corners keep them.
    step = painted.step * light if painted.chroma is None else painted.step
    step_is_seen = step > np.maximum(LEAST_STEP * (brightest - darkest), SIGNAL_TO_NOISE * step_noise)
    line_is_seen = painted.line * light > np.maximum(LEAST_LINE * (brightest - darkest), SIGNAL_TO_NOISE * line_noise)
    visible = step_is_seen | line_is_seen | texture_is_seen
    return visible if gap is None else visible | gap


def grain_noise(grey: np.ndarray, crystal: Polycrystal, hidden: np.ndarray | None) -> np.ndarray:
    """Measure what hides the boundaries of each grain: camera noise and texture.

    The eye takes marks on the grains for what they are: they hide what they cover, and nothing beside them.

    Args:
        grey: The recorded micrograph, float32 (H, W) in 0..1.
        crystal: The grains.
        hidden: Where a gap or a mark is seen instead of the grain, bool (H, W), or None.

    Returns:
        float32 (n_seeds,): standard deviation that white noise would need to change the means of patches as much as the
        grain's noise does, in units of the recorded range; shrunk to the field's where patches are few.
    """
    labels, n = crystal.labels, crystal.n_seeds
    inside = crystal.distance > 2
    if hidden is not None:
        inside &= ~hidden
    if not inside.any():
        return np.zeros(n, np.float32)
    ids = labels[inside]
    count = np.bincount(ids, minlength=n)
    mean = np.bincount(ids, grey[inside], n) / np.maximum(count, 1)
    weight = inside.astype(np.float32)
    rest = (grey - mean[labels].astype(np.float32)) * weight
    window = (WINDOW, WINDOW)
    slow = cv2.boxFilter(rest, -1, window) / np.maximum(cv2.boxFilter(weight, -1, window), 1e-3)
    rest = (rest - slow) * weight
    spread = np.bincount(ids, np.abs(rest[inside]), n) / np.maximum(count, 1)
    limit = (OUTLIER * spread).astype(np.float32)[labels]
    rest = np.clip(rest, -limit, limit)
    patch = cv2.boxFilter(rest, -1, (PATCH, PATCH))
    whole = cv2.boxFilter(weight, -1, (PATCH, PATCH)) > 0.99
    # Of a normal distribution, from the mean of the absolute value; unlike the square it follows no single marks.
    deviation = PATCH * np.sqrt(np.pi / 2) * np.abs(patch[whole])
    ids = labels[whole]
    patches = np.bincount(ids, minlength=n)
    of_field = float(deviation.mean()) if len(deviation) else 0.0
    total = np.bincount(ids, deviation, n) + FEW_PATCHES * of_field
    return (total / (patches + FEW_PATCHES)).astype(np.float32)


def _joined(crystal: Polycrystal, visible: np.ndarray) -> np.ndarray:
    """Group of every seed, int32 (n_seeds,): seeds share one where a path of unseen boundaries connects them."""
    n = crystal.n_seeds
    near = crystal.distance < 1.0
    first = np.minimum(crystal.labels[near], crystal.neighbours[near]).astype(np.int64)
    second = np.maximum(crystal.labels[near], crystal.neighbours[near])
    pairs, index = np.unique(first * n + second, return_inverse=True)
    share = np.bincount(index, visible[near], len(pairs)) / np.bincount(index, minlength=len(pairs))
    unseen = pairs[share < MIN_VISIBLE_SHARE]
    graph = coo_array((np.ones(len(unseen)), (unseen // n, unseen % n)), shape=(n, n))
    return connected_seeds(graph, directed=False)[1]
