"""Bias of every grain-size rule on synthetic polycrystals whose grain size is known: `python -m benchmarks.metrology`.

The planimetric rules are held against G from the number of grains per area, the intercept rules against G from
l = pi / (2 L_A) with the boundary length L_A; the difference of the two truths is a property of the structure and is
printed too. A last line shows what the common shortcut, G from the mean equivalent diameter, would report.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import pandas as pd

from grain_model.arguments import natural_number, positive_integer
from grain_model.grain_size import grain_size
from grain_model.grain_size_result import RULES, g_from_area, g_from_density, g_from_intercept
from grain_model.measurement import measure_grains
from train.synthesis import polycrystal

UM_PER_PIXEL = 0.5
# Side of a field in px that holds a few of the largest grains.
SMALLEST_SIDE = 100
# Directions in which the true boundary length is counted, as whole-pixel vectors (down, right).
DIRECTIONS = ((0, 1), (1, 2), (1, 1), (2, 1), (1, 0), (2, -1), (1, -1), (1, -2))
NAIVE = "naive mean ECD"


def true_density(labels: np.ndarray) -> float:
    """Grains per px^2: each counts with the share of it that an unbounded field would have in view.

    In a window of a plane-filling structure with three grains at every junction the number of grains per area is half
    that of the junctions, whatever the window cuts.

    Args:
        labels: int (H, W) without zeros.
    """
    corners = np.stack([labels[:-1, :-1], labels[:-1, 1:], labels[1:, :-1], labels[1:, 1:]], axis=-1)
    corners = np.sort(corners.reshape(-1, 4), axis=1)
    distinct = 1 + np.count_nonzero(np.diff(corners, axis=1), axis=1)
    junctions = np.count_nonzero(distinct == 3) + 2 * np.count_nonzero(distinct == 4)
    return junctions / 2 / len(corners)


def true_boundary_length(labels: np.ndarray) -> float:
    """Boundary length per area in 1/px: pi / 2 times the boundaries crossed per length, over all pixels and directions.

    A step of h px misses the chords shorter than itself, a share that grows as h; steps of one and two vectors are
    extrapolated to none.

    Args:
        labels: int (H, W) without zeros.
    """
    single, double = (_crossings_per_length(labels, stride) for stride in (1, 2))
    return np.pi / 2 * (2 * single - double)


def _crossings_per_length(labels: np.ndarray, stride: int) -> float:
    """Boundaries per px, the mean over directions, seen by steps of `stride` times the vectors of DIRECTIONS."""
    height, width = labels.shape
    rates, angles = [], []
    for down, right in np.multiply(sorted(DIRECTIONS, key=lambda vector: np.arctan2(*vector)), stride):
        here = labels[: height - down, max(0, -right) : width - max(0, right)]
        there = labels[down:, max(0, right) : width - max(0, -right)]
        rates.append(np.mean(here != there) / np.hypot(down, right))
        angles.append(np.arctan2(down, right))
    around = np.concatenate([[angles[-1] - np.pi], angles, [angles[0] + np.pi]])
    return float(np.dot((around[2:] - around[:-2]) / (2 * np.pi), rates))


def measure_once(rng: np.random.Generator, side: int, diameter: float) -> dict[str, float]:
    """G of one random polycrystal: the two truths, every rule, and the naive one.

    Args:
        rng: Source of randomness.
        side: Height and width in px.
        diameter: Typical grain diameter in px.
    """
    labels = polycrystal(rng, (side, side), diameter, spread=rng.uniform(0.1, 0.5)).labels + 1
    result = grain_size(labels, UM_PER_PIXEL)
    whole = measure_grains(labels, UM_PER_PIXEL).query("not touches_edge")
    mean_diameter_mm = whole["equivalent_diameter_area_um"].mean() / 1000
    mm_per_pixel = UM_PER_PIXEL / 1000
    return {
        "true planimetric": g_from_density(true_density(labels) / mm_per_pixel**2),
        "true intercept": g_from_intercept(np.pi / (2 * true_boundary_length(labels)) * mm_per_pixel),
        **{rule: getattr(result, rule).G for rule in RULES},
        NAIVE: g_from_area(np.pi / 4 * mean_diameter_mm**2),
    }


def bias_table(count: int = 30, side: int = 1000, diameter: float = 36.0, seed: int = 0) -> pd.DataFrame:
    """Bias and scatter in G of each rule against its truth over `count` polycrystals.

    Returns:
        One row a rule: its truth, mean bias, standard error of that mean, and standard deviation of a single field.
    """
    rng = np.random.default_rng(seed)
    fields = pd.DataFrame([measure_once(rng, side, diameter * rng.uniform(0.7, 1.4)) for _ in range(count)])
    rows = []
    for rule in (*RULES, NAIVE, "true intercept"):
        truth = "true intercept" if rule in ("heyn", "abrams") else "true planimetric"
        error = fields[rule] - fields[truth]
        rows.append(
            {
                "rule": rule,
                "against": truth,
                "bias": error.mean(),
                "standard_error": error.std(ddof=1) / np.sqrt(count),
                "scatter": error.std(ddof=1),
            }
        )
    return pd.DataFrame(rows).set_index("rule")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.metrology", description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=positive_integer, default=30, help="polycrystals (default 30)")
    parser.add_argument(
        "--side", type=positive_integer, default=1000, help="their height and width in px (default 1000)"
    )
    parser.add_argument("--seed", type=natural_number, default=0)
    options = parser.parse_args(arguments)
    if options.side < SMALLEST_SIDE:
        parser.error(f"--side {options.side} holds too few grains. At least {SMALLEST_SIDE} px are expected.")
    table = bias_table(options.count, options.side, seed=options.seed)
    print(f"Error in G over {options.count} synthetic polycrystals of {options.side} x {options.side} px\n")
    print(table.to_string(float_format=lambda value: f"{value:+.3f}"))
    print(
        "\nThe last row is the offset between the intercept and the planimetric truth: it belongs to the structure. "
        f"\n'{NAIVE}' takes G from the mean equivalent diameter, as some tools do."
    )


if __name__ == "__main__":
    main()
