"""True against predicted distributions of grain area, perimeter and aspect ratio."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from scipy.stats import ks_2samp

from grain_model.measurement import measure_grains

TRUTH = "true"
PROPERTIES: Mapping[str, str] = {
    "area": "area [px²]",
    "perimeter_crofton": "perimeter [px]",
    "aspect_ratio": "aspect ratio",
}
"""Measured columns of the grain table, with the labels of their axes."""

LARGEST_ASPECT_RATIO_DRAWN = 6


def measure_shapes(labels: np.ndarray) -> pd.DataFrame:
    """Measure the `PROPERTIES` of every grain of a label image, int (H, W), ids with gaps allowed; one row a grain."""
    return measure_grains(labels)[list(PROPERTIES)]


def compare_distributions(shapes: pd.DataFrame) -> pd.DataFrame:
    """Compare the grains of every method with the true grains of the same material.

    Args:
        shapes: One row a grain: `material`, `method` (`TRUTH` for the true grains) and the `PROPERTIES`.

    Returns:
        One row a method, material and property: `ks` = largest distance between the two cumulative distributions
        (Kolmogorov-Smirnov, 0 identical, 1 disjoint), `true_median`, `predicted_median`.
    """
    rows = []
    for material, grains in shapes.groupby("material", sort=False):
        true = grains[grains["method"] == TRUTH]
        for method, found in grains[grains["method"] != TRUTH].groupby("method", sort=False):
            for column in PROPERTIES:
                if true.empty or found.empty:
                    continue
                rows.append(
                    {
                        "method": method,
                        "material": material,
                        "property": column,
                        "ks": float(ks_2samp(true[column], found[column]).statistic),
                        "true_median": float(true[column].median()),
                        "predicted_median": float(found[column].median()),
                    }
                )
    return pd.DataFrame(rows)


def draw_distributions(shapes: pd.DataFrame, path: Path) -> None:
    """Write a PNG of cumulative distributions: a line of panels for each material, a column for each property."""
    materials = list(dict.fromkeys(shapes["material"]))
    with matplotlib.rc_context({"font.size": 8}):
        figure = Figure(figsize=(10, 0.4 + 2.6 * len(materials)), layout="constrained")
        panels = figure.subplots(len(materials), len(PROPERTIES), squeeze=False)
        for line, material in zip(panels, materials, strict=True):
            grains = shapes[shapes["material"] == material]
            for panel, (column, label) in zip(line, PROPERTIES.items(), strict=True):
                for method, found in grains.groupby("method", sort=False):
                    style = {"color": "black", "linewidth": 2} if method == TRUTH else {"linewidth": 1}
                    panel.ecdf(found[column], label=method, **style)
                panel.set(xlabel=label, ylabel="share of grains")
                if column == "aspect_ratio":
                    panel.set_xlim(1, LARGEST_ASPECT_RATIO_DRAWN)
                else:
                    panel.set_xscale("log")
                    panel.xaxis.set_minor_formatter(NullFormatter())
            line[0].set_title(material, loc="left")
        _add_legend(figure, (panel for line in panels for panel in line))
        figure.savefig(path, dpi=130)


def _add_legend(figure: Figure, panels: Iterable) -> None:
    handles = {}
    for panel in panels:
        handles |= {label: handle for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles), frameon=False)
