"""The typical grain of a picture, by which everything else is judged that depends on the grains' size."""

import math

import numpy as np

# Up to MOST_DOMINANT regions, each more than DOMINANCE times as large as any of the others, are left out of the typical
# grain if at least FEWEST_OTHERS remain and cover OTHERS_SHARE of the area: such as a specimen beside its resin.
DOMINANCE = 4.0
MOST_DOMINANT = 3
FEWEST_OTHERS = 10
OTHERS_SHARE = 0.1


def typical_area(areas: np.ndarray) -> float:
    """Area-weighted median: half of the total area lies in larger grains; fragments hardly move it.

    Dominant regions are left out (see `dominant_regions`).

    Args:
        areas: Areas of the grains, at least one.

    Returns:
        An area in the same unit.
    """
    areas = np.asarray(areas, np.float64)
    ordered = np.sort(areas[~dominant_regions(areas)])
    total = np.cumsum(ordered)
    return float(ordered[np.searchsorted(total, 0.5 * total[-1])])


def dominant_regions(areas: np.ndarray) -> np.ndarray:
    """Find regions that dwarf all others, such as the mounting resin around a specimen.

    Args:
        areas: Areas of the regions.

    Returns:
        Bool (n,), true for at most `MOST_DOMINANT` regions.
    """
    areas = np.asarray(areas, np.float64)
    order = np.argsort(areas)
    for count in range(min(MOST_DOMINANT, len(areas) - FEWEST_OTHERS), 0, -1):
        others = areas[order[:-count]]
        if areas[order[-count]] > DOMINANCE * others[-1] and others.sum() > OTHERS_SHARE * areas.sum():
            return np.isin(np.arange(len(areas)), order[-count:])
    return np.zeros(len(areas), bool)


def typical_diameter(areas: np.ndarray) -> float:
    """Equivalent diameter of the typical grain (see `typical_area`), in px for areas in px; at least one area."""
    return math.sqrt(4 * typical_area(areas) / math.pi)
