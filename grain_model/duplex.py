"""Uneven structures: the as-large-as grain (ASTM E930) and a hint of a duplex size distribution (ASTM E1181)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import find_peaks
from scipy.stats import gaussian_kde

# ASTM E930: a grain is as-large-as when it is this many G numbers coarser than the mean ...
ALA_DIFFERENCE = 3.0
# ... and such grains cover no more than this share of the area.
ALA_AREA_SHARE = 0.05
# Two peaks are two populations when they are this many G numbers apart,
DUPLEX_DIFFERENCE = 2.0
# the valley between them is lower than this share of the lower peak,
DUPLEX_VALLEY = 0.6
# and each side of the valley holds this share of the area
DUPLEX_AREA_SHARE = 0.1
# and so many grains: one or two large grains make a peak of their own in any wide distribution.
DUPLEX_POPULATION = 5
# Standard deviation, in G numbers, of the kernel that smooths the distribution.
DUPLEX_SMOOTHING = 0.5
# Fewer grains show no distribution.
DUPLEX_GRAINS = 50


@dataclass(frozen=True)
class AlaGrain:
    """The largest grain of a field, or of several fields of one specimen (ASTM E930, the area measured).

    Attributes:
        label: Its id in the label image.
        area_px: Area in px^2 of its field; a lower bound where the grain touches the edge.
        G: Grain-size number of its area, None without a scale.
        difference: G numbers by which it is coarser than the mean: the area of all grains over their number as Saltykov
            counts them.
        area_share: Area of all grains coarser by ALA_DIFFERENCE or more, as a share of the area of all grains.
        is_ala: Whether it is an as-large-as grain: coarser by 3 numbers or more, such grains covering at most 5 %.
        is_undecided: Whether it is coarser by as much, but alone covers more than 5 % of the area measured, which says
            nothing of what such grains cover in the specimen.
        touches_edge: Whether it is cut by the field's edge.
        field: Number of the field it was found in, from 1.
    """

    label: int
    area_px: float
    G: float | None
    difference: float
    area_share: float
    is_ala: bool
    is_undecided: bool
    touches_edge: bool
    field: int = 1


@dataclass(frozen=True)
class DuplexHint:
    """Whether the area-weighted size distribution has two peaks (ASTM E1181, bimodal condition).

    Attributes:
        is_duplex: True where two clearly separate populations were found.
        diameters_px: Equivalent diameters of the two peaks in px, fine and coarse; None for one population.
        difference: G numbers between the peaks, 0 for one population.
        coarse_area_share: Share of the area on the coarse side of the valley, 0 for one population.
    """

    is_duplex: bool
    diameters_px: tuple[float, float] | None = None
    difference: float = 0.0
    coarse_area_share: float = 0.0

    @property
    def flags(self) -> tuple[str, ...]:
        """Flag of two populations, which no mean describes; empty for one."""
        if not self.is_duplex:
            return ()
        return (
            f"there are two populations of grains, {self.difference:.1f} numbers apart, the coarse one with "
            f"{self.coarse_area_share:.0%} of the area: one G describes neither (ASTM E112 is for one population, "
            "see E1181)",
        )


def judge_largest(area: np.ndarray, count: float) -> dict[str, float | bool]:
    """Judge whether the largest grain is as-large-as (ASTM E930).

    Args:
        area: (n,) areas of the grains, n of at least 1.
        count: Number of grains, those cut by the edge counted in part.

    Returns:
        `difference`, `area_share`, `is_ala` and `is_undecided` of `AlaGrain`.
    """
    coarser = np.log2(area / (area.sum() / count))
    share = float(area[coarser >= ALA_DIFFERENCE].sum() / area.sum())
    difference = float(coarser.max())
    is_coarse = difference >= ALA_DIFFERENCE
    return {
        "difference": difference,
        "area_share": share,
        "is_ala": is_coarse and share <= ALA_AREA_SHARE,
        "is_undecided": bool(is_coarse and area.max() > ALA_AREA_SHARE * area.sum()),
    }


def duplex_hint(area: np.ndarray) -> DuplexHint:
    """Look for two populations in the area-weighted distribution of grain sizes.

    Args:
        area: (n,) areas of the grains in px^2.
    """
    if len(area) < DUPLEX_GRAINS:
        return DuplexHint(False)
    sizes = np.log2(area)  # one unit is one G number
    if np.ptp(sizes) < DUPLEX_DIFFERENCE:
        return DuplexHint(False)
    grid = np.linspace(sizes.min() - 1, sizes.max() + 1, 256)
    spread = np.sqrt(np.cov(sizes, aweights=area))
    density = gaussian_kde(sizes, bw_method=DUPLEX_SMOOTHING / spread, weights=area)(grid)
    peaks, _ = find_peaks(density)
    pairs = [(fine, coarse) for i, fine in enumerate(peaks) for coarse in peaks[i + 1 :]]
    for fine, coarse in sorted(pairs, key=lambda pair: -density[list(pair)].min()):
        valley = fine + int(density[fine:coarse].argmin())
        is_coarse = sizes > grid[valley]
        coarse_share = float(area[is_coarse].sum() / area.sum())
        difference = float(grid[coarse] - grid[fine])
        is_deep = density[valley] < DUPLEX_VALLEY * min(density[fine], density[coarse])
        is_large = DUPLEX_AREA_SHARE <= coarse_share <= 1 - DUPLEX_AREA_SHARE
        is_many = DUPLEX_POPULATION <= is_coarse.sum() <= len(area) - DUPLEX_POPULATION
        if is_deep and is_large and is_many and difference >= DUPLEX_DIFFERENCE:
            diameters = np.sqrt(4 / np.pi * 2 ** grid[[fine, coarse]])
            return DuplexHint(True, (float(diameters[0]), float(diameters[1])), difference, coarse_share)
    return DuplexHint(False)
