"""The figures of a result: size distribution, cumulative curve, orientation rose, marked grains, test lines.

Every function returns a matplotlib figure that belongs to no window and no global state; `figure_to_array` turns it
into pixels. All share one style.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar
from scipy import stats

from .duplex import AlaGrain
from .intercepts import CountedLine
from .measurement import grain_diameters
from .rendering import render_overlay

BLUE, ORANGE, GREY, RED = "#2f6fa7", "#d9781e", "#5b6470", "#c8102e"
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dde1e6",
    "grid.linewidth": 0.6,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.facecolor": "white",
}
# Major over minor axis from which a grain has a direction.
LEAST_ASPECT_RATIO = 1.2
# Inches.
CHART_SIZE = (5.2, 3.4)
PICTURE_WIDTH = 4.2

_DIRECTION_COLOURS = {0: BLUE, 45: ORANGE, 90: "#2a8f5b", 135: "#8a4fa3"}
_DRAWING = threading.RLock()


@contextmanager
def in_style(changed: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Draw in the figures' own style, one thread after the other: matplotlib's settings are those of all threads.

    Args:
        changed: Settings that differ from `STYLE`.
    """
    with _DRAWING, matplotlib.rc_context({**STYLE, **(changed or {})}):
        yield


@in_style()
def plot_size_distribution(table: pd.DataFrame) -> Figure:
    """Share of the grains, and of their area, over the logarithm of the equivalent diameter, with a log-normal fit.

    Args:
        table: Grain table of `measure_grains`; grains cut by the edge are left out, as their size is not known.
    """
    diameters, unit = _whole_diameters(table)
    figure, axes = _chart("Size distribution")
    axes.set_xlabel(f"equivalent circular diameter ({unit})")
    axes.set_ylabel("share per bin (%)")
    if len(diameters) < 2 or np.ptp(diameters) == 0:
        return _without_distribution(figure, axes, len(diameters))
    bins = _log_bins(diameters)
    centres = np.sqrt(bins[:-1] * bins[1:])
    by_number = 100 * np.histogram(diameters, bins)[0] / len(diameters)
    area = diameters**2
    by_area = 100 * np.histogram(diameters, bins, weights=area)[0] / area.sum()
    axes.stairs(by_number, bins, fill=True, color=BLUE, alpha=0.35, label="by number")
    axes.stairs(by_number, bins, color=BLUE, linewidth=0.8)
    axes.stairs(by_area, bins, color=ORANGE, linewidth=1.4, label="by area")
    logs = np.log(diameters)
    mean, spread = logs.mean(), logs.std(ddof=1)
    fit = 100 * np.diff(stats.norm.cdf(np.log(bins), mean, spread))
    axes.plot(centres, fit, color=GREY, linestyle="--", linewidth=1.1, label="log-normal fit")
    _log_axis(axes, bins)
    fitted = f"n = {len(diameters)}\nmedian {np.median(diameters):.3g} {unit}\nlog sd {spread:.2f}"
    axes.legend(loc="upper left", title=fitted, title_fontsize=8, alignment="left")
    return figure


@in_style()
def plot_cumulative(table: pd.DataFrame) -> Figure:
    """Cumulative share of the grains, and of their area, up to each equivalent diameter.

    Args:
        table: Grain table of `measure_grains`; grains cut by the edge are left out.
    """
    diameters, unit = _whole_diameters(table)
    figure, axes = _chart("Cumulative distribution")
    axes.set_xlabel(f"equivalent circular diameter ({unit})")
    axes.set_ylabel("grains up to this size (%)")
    if len(diameters) < 2 or np.ptp(diameters) == 0:
        return _without_distribution(figure, axes, len(diameters))
    ordered = np.sort(diameters)
    by_number = 100 * np.arange(1, len(ordered) + 1) / len(ordered)
    by_area = 100 * np.cumsum(ordered**2) / (ordered**2).sum()
    for share, colour, name, side in ((by_number, BLUE, "by number", "right"), (by_area, ORANGE, "by area", "left")):
        axes.step(ordered, share, where="post", color=colour, linewidth=1.4, label=name)
        median = ordered[np.searchsorted(share, 50)]
        axes.plot([median], [50], marker="o", markersize=4, color=colour)
        offset = (6 if side == "left" else -6, -3)
        axes.annotate(f"{median:.3g}", (median, 50), offset, textcoords="offset points", ha=side, color=colour)
    axes.set_ylim(0, 100)
    _log_axis(axes, _log_bins(diameters))
    axes.legend(loc="upper left")
    return figure


@in_style()
def plot_orientation_rose(table: pd.DataFrame) -> Figure:
    """Directions of the grains' major axes, weighted by area.

    Args:
        table: Grain table of `measure_grains`; grains cut by the edge, and those rounder than `LEAST_ASPECT_RATIO`,
            whose direction is chance, are left out.
    """
    figure = Figure(figsize=(CHART_SIZE[1] + 0.4, CHART_SIZE[1] + 0.3), layout="constrained")
    axes = figure.add_subplot(projection="polar")
    axes.spines["polar"].set_visible(True)
    shown = table[~table["touches_edge"] & (table["aspect_ratio"] >= LEAST_ASPECT_RATIO)]
    edges = np.radians(np.arange(0, 361, 10))
    # An axis has no sense of direction: each counts at both of its ends, in bins centred on 0, 10, 20 degrees.
    degrees = np.concatenate([shown["orientation_deg"], shown["orientation_deg"] + 180])
    weights = np.tile(shown["area"], 2)
    share, _ = np.histogram(np.radians((degrees + 5) % 360), edges, weights=weights)
    if weights.sum() > 0:
        share = 100 * share / (weights.sum() / 2)
    axes.bar(edges[:-1], share, width=np.radians(10), color=BLUE, alpha=0.6, edgecolor="white", linewidth=0.5)
    axes.set_thetagrids(range(0, 360, 45), [f"{angle % 180}\N{DEGREE SIGN}" for angle in range(0, 360, 45)])
    axes.set_rlabel_position(10 * (1 + int(share[1:18].argmin())))  # where the shortest bar leaves it legible
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter("{x:g} %")
    axes.tick_params(axis="y", labelsize=7)
    axes.set_title(f"Direction of the long axis, by area (n = {len(shown)})", loc="center")
    return figure


@in_style()
def plot_micrograph(pixels: np.ndarray, um_per_pixel: float | None = None) -> Figure:
    """The micrograph as it was counted.

    Args:
        pixels: uint8 (H, W, 3).
        um_per_pixel: Draws a scale bar.
    """
    return _picture(pixels, um_per_pixel)[0]


@in_style()
def plot_marked_grains(
    pixels: np.ndarray, labels: np.ndarray, ala: AlaGrain | None = None, um_per_pixel: float | None = None
) -> Figure:
    """The micrograph with the outlines of its grains, and the largest one marked.

    Args:
        pixels: uint8 (H, W, 3).
        labels: int (H, W).
        ala: The largest grain, from `GrainSize.ala`; drawn with a frame and its G.
        um_per_pixel: Draws a scale bar.
    """
    figure, axes = _picture(render_overlay(pixels, labels, show="outlines"), um_per_pixel)
    if ala is not None:
        grain = (labels == ala.label).astype(float)
        axes.contour(grain, levels=[0.5], colors=[RED], linewidths=1.8)
        name = "as-large-as grain" if ala.is_ala else "largest grain"
        name += ", cut by the edge" if ala.touches_edge else ""
        number = "" if ala.G is None else f", G {ala.G:.1f}"
        rows, columns = np.nonzero(grain)
        below = rows.max() < 0.85 * len(labels)
        _note(
            axes, columns.mean(), rows.max() if below else rows.min(), f"{name}{number}", "top" if below else "bottom"
        )
    return figure


@in_style()
def plot_test_lines(pixels: np.ndarray, lines: Sequence[CountedLine], um_per_pixel: float | None = None) -> Figure:
    """The micrograph with the test lines of an intercept rule and a dot on each boundary they cross.

    Args:
        pixels: uint8 (H, W, 3).
        lines: Counted lines, from `GrainSize.test_lines["heyn"]` or `["abrams"]`.
        um_per_pixel: Draws a scale bar.
    """
    pale = (pixels.astype(np.float32) * 0.5 + 255 * 0.5).astype(np.uint8)
    figure, axes = _picture(pale, um_per_pixel)
    for counted in lines:
        line = counted.line
        colour = BLUE if line.closed else _DIRECTION_COLOURS[line.group]
        rows, columns = line.rows, line.columns
        if line.closed:
            rows, columns = np.append(rows, rows[0]), np.append(columns, columns[0])
        axes.plot(columns, rows, color=colour, linewidth=0.6, alpha=0.8)
        axes.plot(counted.crossings[:, 1], counted.crossings[:, 0], ".", color=RED, markersize=2.5)
    return figure


@in_style()
def figure_to_array(figure: Figure, dpi: int = 150) -> np.ndarray:
    """Draw a figure: uint8 (H, W, 3). Only now does matplotlib look up some of its style."""
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _chart(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=CHART_SIZE, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title)
    return figure, axes


def _picture(pixels: np.ndarray, um_per_pixel: float | None) -> tuple[Figure, Axes]:
    height, width = pixels.shape[:2]
    figure = Figure(figsize=(PICTURE_WIDTH, PICTURE_WIDTH * height / width))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(pixels, interpolation="antialiased")
    axes.set_axis_off()
    axes.set_autoscale_on(False)
    if um_per_pixel is not None:
        _draw_scale_bar(axes, width, um_per_pixel)
    return figure, axes


def _draw_scale_bar(axes: Axes, width: int, um_per_pixel: float) -> None:
    """A bar of a round length near a fifth of the picture's width, on white in the lower right corner."""
    # A hair more, since the logarithm of what is a hair below a power of ten is that of the power.
    wanted = width * um_per_pixel / 5 * (1 + 1e-9)
    decade = 10 ** np.floor(np.log10(wanted))
    length = max(step * decade for step in (1, 2, 5) if step * decade <= wanted)
    bar = AnchoredSizeBar(
        axes.transData,
        length / um_per_pixel,
        f"{length:g} \N{MICRO SIGN}m",
        "lower right",
        pad=0.4,
        borderpad=0.6,
        sep=3,
        size_vertical=width * 0.005,
        label_top=True,
        fontproperties={"size": 8},
        zorder=5,
    )
    bar.patch.set(facecolor="white", alpha=0.85, linewidth=0)
    axes.add_artist(bar)


def _note(axes: Axes, x: float, y: float, text: str, side: str) -> None:
    # Near the left or right edge the text begins or ends at its place, since it would be cut off otherwise.
    left, right = axes.get_xlim()
    place = (x - left) / (right - left)
    axes.text(
        x,
        y,
        text,
        color=RED,
        fontsize=8,
        fontweight="bold",
        ha="left" if place < 1 / 3 else "right" if place > 2 / 3 else "center",
        va=side,
        zorder=6,
        bbox={"facecolor": "white", "alpha": 0.85, "linewidth": 0, "pad": 2},
        clip_on=True,
    )


def _whole_diameters(table: pd.DataFrame) -> tuple[np.ndarray, str]:
    """Diameters of the grains that are not cut, and their unit."""
    return grain_diameters(table[~table["touches_edge"]])


def _without_distribution(figure: Figure, axes: Axes, count: int) -> Figure:
    axes.text(0.5, 0.5, f"{count} whole grains:\nno distribution", ha="center", va="center", transform=axes.transAxes)
    axes.set_xticks([])
    axes.set_yticks([])
    return figure


def _log_bins(diameters: np.ndarray) -> np.ndarray:
    """Edges of bins of equal ratio: twice Sturges' number of them, 6 to 24."""
    count = int(np.clip(2 * np.ceil(np.log2(len(diameters))), 6, 24))
    return np.geomspace(diameters.min() * 0.999, diameters.max() * 1.001, count + 1)


def _log_axis(axes: Axes, bins: np.ndarray) -> None:
    axes.set_xscale("log")
    axes.set_xlim(bins[0], bins[-1])
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_ylim(bottom=0)
