"""Planimetric counts on a label image: Saltykov's rectangle, Jeffries' circle, and how far counts scatter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .label_image import touches_edge

# Counts in quadrats with fewer grains than this say nothing about the field.
MIN_GRAINS_PER_QUADRAT = 4
# Quadrats of fields with fewer grains do not tell structures apart; their counts are taken to scatter as Poisson's.
MIN_GRAINS_FOR_QUADRATS = 80
MAX_QUADRATS_ACROSS = 8

# Scatter of quadrat counts, as a multiple of Poisson's, up to which a structure is a lattice,
LATTICE_SCATTER = 0.42
# from which its nuclei are independent,
RANDOM_SCATTER = 0.48
# and beyond which it is clustered.
CLUSTERED_SCATTER = 0.9
# The few coarsest quadrats alone say that grains are unevenly spread if they scatter more than chance makes them.
CHANCE_SCATTER = 1.7
# Scatter of a lattice's count: this times count^(1/4), as only the edge of the field contributes.
LATTICE_DEVIATION = 0.85


@dataclass(frozen=True)
class PlanimetricCount:
    """Grains counted in a field.

    Attributes:
        inside: Grains wholly inside, which count 1.
        cut: Grains cut by the edge and by no corner, which count 1/2.
        corners: Corners of the field that lie in a grain, each of which counts 1/4.
        area_px: Area of the field in px^2.
    """

    inside: int
    cut: int
    corners: int
    area_px: float

    @property
    def equivalent(self) -> float:
        """Number of grains with those cut by the field's edge counted in part."""
        return self.inside + self.cut / 2 + self.corners / 4


def count_rectangle(
    labels: np.ndarray, boxes: np.ndarray, window: tuple[int, int, int, int] | None = None
) -> PlanimetricCount:
    """Count grains in a rectangle by Saltykov's rule (ASTM E112, rectangular field; ISO 643, annex on counting).

    A grain inside counts 1, one cut by an edge 1/2, one that holds a corner of the field 1/4 a corner.

    Args:
        labels: int32 (H, W), each grain in one piece.
        boxes: int64 (n, 4), the grains' bounding boxes in `labels`.
        window: First row, first column, past the last row, past the last column; the whole image by default.
    """
    top, left, bottom, right = window or (0, 0, *labels.shape)
    field = labels[top:bottom, left:right]
    inside = np.count_nonzero(
        (boxes[:, 0] > top) & (boxes[:, 1] > left) & (boxes[:, 2] < bottom) & (boxes[:, 3] < right)
    )
    rim = np.unique(np.concatenate([field[0], field[-1], field[:, 0], field[:, -1]]))
    cut = np.count_nonzero(rim)
    corners = [label for label in (field[0, 0], field[0, -1], field[-1, 0], field[-1, -1]) if label > 0]
    return PlanimetricCount(int(inside), int(cut) - len(set(corners)), len(corners), float(field.size))


def count_circle(labels: np.ndarray, boxes: np.ndarray) -> PlanimetricCount:
    """Count grains in the largest circle of the field by Jeffries' rule (ASTM E112): inside 1, cut by the circle 1/2.

    Where the circle touches the field's edge, a grain that the edge cuts is cut by the circle too, though the part
    beyond is not in the picture. The rule itself reads one grain too many in the mean over all placements of a circle
    (convex grains of area a hit pi r^2 + 2 V + a and are inside on pi r^2 - 2 V + a), which Saltykov's quarters at the
    corners take away from a rectangle: G reads 1.44 / n too high, 0.01 at n = 144 grains.

    Args:
        labels: int32 (H, W).
        boxes: int64 (n, 4), the grains' bounding boxes.
    """
    height, width = labels.shape
    radius = min(height, width) / 2
    rows, columns = np.ogrid[:height, :width]
    disk = (rows + 0.5 - height / 2) ** 2 + (columns + 0.5 - width / 2) ** 2 <= radius**2
    count = int(labels.max(initial=0)) + 1
    within = np.bincount(labels[disk], minlength=count)[1:] > 0
    beyond = (np.bincount(labels[~disk], minlength=count)[1:] > 0) | touches_edge(boxes, labels.shape)
    cut = np.count_nonzero(within & beyond)
    inside = np.count_nonzero(within & ~beyond)
    return PlanimetricCount(int(inside), int(cut), 0, float(np.pi * radius**2))


def field_dispersion(labels: np.ndarray, boxes: np.ndarray) -> float | None:
    """How widely the count of a field like this scatters, as a multiple of Poisson's sqrt(N).

    Grains grow from nuclei that formed independently, so that the counts of whole fields scatter nearly as Poisson's
    do, even where neighbouring grains are alike: in simulated tessellations (Voronoi and Laguerre, relaxed or not, even
    or wide in size) by 0.75 to 1.1 sqrt(N). Counts of small quadrats scatter less, as neighbours do share the space
    evenly, and cannot stand in for the field. A lattice is different: its count changes only along the edge of the
    field, and so it scatters by about 0.85 N^(1/4). Counts by Saltykov's rule in quadrats of 1/2, 1/3, ... of the
    field's side tell these apart, and clustered structures too, by the coarsest quadrats where these say so
    clearly: the interval is widened in proportion, but not by as much as a density that drifts from field to field
    asks for, of which one field shows a part.

    Args:
        labels: int32 (H, W), each grain in one piece.
        boxes: int64 (n, 4), the grains' bounding boxes.

    Returns:
        Standard deviation of the field's count divided by sqrt(count); None for fields too small to be divided, of
        which nothing but independent nuclei can be assumed.
    """
    total = count_rectangle(labels, boxes).equivalent
    if total < MIN_GRAINS_FOR_QUADRATS or min(labels.shape) < 4 * MAX_QUADRATS_ACROSS:
        return None
    finest = min(int(np.sqrt(total / MIN_GRAINS_PER_QUADRAT)), MAX_QUADRATS_ACROSS)
    variances = [_quadrat_scatter(labels, boxes, total, across) for across in range(2, finest + 1)]
    scatter, coarsest = np.sqrt(np.mean(variances)), np.sqrt(variances[0])
    if scatter >= RANDOM_SCATTER:
        return float(max(1.0, scatter / CLUSTERED_SCATTER, coarsest if coarsest > CHANCE_SCATTER else 0.0))
    lattice = LATTICE_DEVIATION * total**-0.25
    return float(np.interp(scatter, (LATTICE_SCATTER, RANDOM_SCATTER), (lattice, 1.0)))


def _quadrat_scatter(labels: np.ndarray, boxes: np.ndarray, total: float, across: int) -> float:
    """Variance of the counts in quadrats of 1/across of the field's sides, in half steps, over that of Poisson's."""
    height, width = labels.shape
    rows, columns = height // across, width // across
    share = rows * columns / (height * width)
    counts = [
        count_rectangle(labels, boxes, (top, left, top + rows, left + columns)).equivalent
        for top in np.linspace(0, height - rows, 2 * across - 1).astype(int)
        for left in np.linspace(0, width - columns, 2 * across - 1).astype(int)
    ]
    # Deviations are taken from the field's own count, which leaves out the share of the variance that is the field's.
    return float(np.mean((np.array(counts) - share * total) ** 2) / (share * total * (1 - share)))
