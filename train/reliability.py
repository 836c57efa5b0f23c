"""Does a confident grain deserve it? Share of right grains against the model's own confidence, by material."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

BIN_EDGES = np.linspace(0, 1, 11)
FEWEST_GRAINS_DRAWN = 5


def bin_confidence(grains: pd.DataFrame) -> pd.DataFrame:
    """Group predicted grains by confidence.

    Args:
        grains: One row a grain: `material`, `method`, `confidence` in [0, 1], `matched` (bool).

    Returns:
        One row a method, material and confidence bin that holds grains: `grains`, mean `confidence`, share `matched`.
    """
    bins = np.clip(np.digitize(grains["confidence"], BIN_EDGES) - 1, 0, len(BIN_EDGES) - 2)
    grouped = grains.assign(bin=bins).groupby(["method", "material", "bin"], sort=False)
    table = grouped.agg(grains=("matched", "size"), confidence=("confidence", "mean"), matched=("matched", "mean"))
    return table.reset_index()


def calibration_error(binned: pd.DataFrame) -> pd.DataFrame:
    """Expected calibration error by method and material, in [0, 1] (Guo et al., ICML 2017).

    Returns:
        One row a method and material: `grains`, `calibration_error` = mean over the grains of |confidence - share
        matched| of their bin.
    """
    gaps = binned.assign(weighted=(binned["confidence"] - binned["matched"]).abs() * binned["grains"])
    sums = gaps.groupby(["method", "material"], sort=False)[["grains", "weighted"]].sum().reset_index()
    return sums.assign(calibration_error=sums["weighted"] / sums["grains"]).drop(columns="weighted")


def draw_reliability(binned: pd.DataFrame, path: Path) -> None:
    """Write a PNG with one panel a method: the nearer a material's line to the diagonal, the better its confidence."""
    methods = list(dict.fromkeys(binned["method"]))
    with matplotlib.rc_context({"font.size": 8}):
        figure = Figure(figsize=(0.4 + 3.6 * len(methods), 3.8), layout="constrained")
        for panel, method in zip(figure.subplots(1, len(methods), squeeze=False)[0], methods, strict=True):
            panel.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle="--")
            drawn = binned[(binned["method"] == method) & (binned["grains"] >= FEWEST_GRAINS_DRAWN)]
            for material, line in drawn.sort_values("bin").groupby("material", sort=False):
                panel.plot(line["confidence"], line["matched"], marker="o", markersize=3, label=material)
            panel.set(xlabel="confidence", ylabel="share of grains that are right", xlim=(0, 1), ylim=(0, 1), aspect=1)
            panel.set_title(method, loc="left")
            if not drawn.empty:
                panel.legend(frameon=False)
        figure.savefig(path, dpi=130)
