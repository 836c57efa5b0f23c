"""Pictures of a count: the binary mask, the overlay on the micrograph, the size distribution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import cv2
import numpy as np
from scipy import ndimage
from skimage.color import hsv2rgb

from .errors import MeasurementError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OverlayStyle = Literal["fill", "outlines", "ids", "confidence"]
OVERLAY_STYLES: tuple[str, ...] = get_args(OverlayStyle)

OUTLINE_COLOUR = (255, 72, 0)
"""RGB of outlines: vermilion stands out on bright and on dark metal."""

# Readable on white and on near-black alike, so one transparent figure serves the light and the dark page.
_FIGURE_TEXT = "#7d8794"
_FIGURE_BARS = "#3b82c4"
_FIGURE_MARKS = ("#e07a1f", "#12998a")

_GOLDEN_RATIO = 0.6180339887498949


def render_mask(labels: np.ndarray) -> np.ndarray:
    """Draws the binary mask of a label image.

    Args:
        labels: int (H, W), 0 = not a grain.

    Returns:
        uint8 (H, W): 255 in a grain, 0 elsewhere.
    """
    return (labels > 0).astype(np.uint8) * np.uint8(255)


def render_overlay(
    pixels: np.ndarray,
    labels: np.ndarray,
    *,
    alpha: float = 0.35,
    show: OverlayStyle = "fill",
    confidence: np.ndarray | None = None,
) -> np.ndarray:
    """Draws the grains over their micrograph.

    Args:
        pixels: uint8 (H, W, 3), the micrograph as RGB.
        labels: int (H, W), 1..n without gaps, 0 = not a grain.
        alpha: opacity of the colour inside a grain, 0 (micrograph only) to 1 (colour only).
        show: `"fill"` tints and outlines every grain in a colour of its own, `"outlines"` draws the outlines alone,
            `"ids"` adds each grain's number, `"confidence"` tints by confidence from dark blue (0) to yellow (1).
        confidence: float (n,), 0 to 1, one a grain; needed for `"confidence"`.

    Returns:
        uint8 (H, W, 3), RGB.

    Raises:
        MeasurementError: if the shapes disagree, or `show` is unknown or lacks what it draws.
    """
    if pixels.shape != (*labels.shape, 3):
        raise MeasurementError(
            f"The micrograph has the shape {pixels.shape} and the label image {labels.shape}. "
            "An overlay needs an RGB micrograph (H, W, 3) and a label image (H, W) of the same size. "
            "Pass the pixels that were counted, at their own size."
        )
    outlines = _outlines(labels)
    if show == "fill":
        tinted = _tint(pixels, labels, label_colours(int(labels.max(initial=0))), alpha)
        return _tint(tinted, np.where(outlines, labels, 0), label_colours(int(labels.max(initial=0))), 1.0)
    if show == "confidence":
        tinted = _tint(pixels, labels, _confidence_colours(confidence, int(labels.max(initial=0))), alpha)
        tinted[outlines] = (tinted[outlines] * 0.5).astype(np.uint8)
        return tinted
    if show in ("outlines", "ids"):
        drawn = pixels.copy()
        drawn[outlines] = OUTLINE_COLOUR
        return _draw_ids(drawn, labels) if show == "ids" else drawn
    raise MeasurementError(
        f"The overlay style {show!r} is unknown. It has to be one of {', '.join(OVERLAY_STYLES)}. "
        "Choose one of these as `show`."
    )


def label_colours(count: int) -> np.ndarray:
    """Chooses a colour for each of the labels 1..count.

    A label's colour depends on its number alone, so the same grain keeps its colour from one drawing to the next.

    Args:
        count: number of labels.

    Returns:
        uint8 (count, 3), RGB; row i is for label i + 1.
    """
    index = np.arange(count)
    # Golden-ratio steps keep the hues of consecutive labels, which are mostly neighbours, far apart.
    hue = (0.07 + index * _GOLDEN_RATIO) % 1.0
    saturation = 0.6 + 0.13 * (index % 3)
    value = 1 - 0.16 * (index // 3 % 2)
    return np.rint(255 * hsv2rgb(np.stack([hue, saturation, value], axis=-1))).astype(np.uint8)


def plot_size_distribution(diameters: np.ndarray, unit: str = "px") -> Figure:
    """Plots how many grains have which equivalent circular diameter (ECD).

    The figure's background is transparent and its text a middle grey: it reads on a light and on a dark page.

    Args:
        diameters: float (n,), ECD of each grain.
        unit: unit of the diameters, for the axis.

    Returns:
        A matplotlib figure that belongs to no window (no pyplot state, safe in threads).

    Raises:
        MeasurementError: if matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MeasurementError(
            "The size distribution cannot be drawn: matplotlib is not installed. Plots need it. "
            "Install it with `pip install matplotlib`."
        ) from error
    figure = Figure(figsize=(4.8, 2.9), dpi=220, layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    diameters = np.asarray(diameters, dtype=float)
    if diameters.size:
        axes.hist(diameters, bins="auto", color=_FIGURE_BARS, edgecolor="white", linewidth=0.6, alpha=0.9)
        for name, value, colour in zip(
            ("mean", "median"), (diameters.mean(), np.median(diameters)), _FIGURE_MARKS, strict=True
        ):
            axes.axvline(value, color=colour, linewidth=1.8, label=f"{name} {value:.3g} {unit}")
        axes.legend(frameon=False, labelcolor=_FIGURE_TEXT)
    else:
        axes.text(0.5, 0.5, "no grains", transform=axes.transAxes, ha="center", color=_FIGURE_TEXT)
    axes.set_xlabel(f"equivalent circular diameter ({unit})", color=_FIGURE_TEXT)
    axes.set_ylabel("grains", color=_FIGURE_TEXT)
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.tick_params(colors=_FIGURE_TEXT)
    for side, spine in axes.spines.items():
        spine.set_color(_FIGURE_TEXT)
        spine.set_visible(side in ("left", "bottom"))
    return figure


def _outlines(labels: np.ndarray) -> np.ndarray:
    """Returns bool (H, W): the grains' own pixels along their edge, thicker in large pictures so that they show."""
    width = max(1, round(min(labels.shape, default=0) / 700))
    window = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    # float32 is what OpenCV's morphology takes and holds every label below 2**24 exactly.
    values = labels.astype(np.float32)
    edge = (cv2.dilate(values, window) != values) | (cv2.erode(values, window) != values)
    return edge & (labels > 0)


def _tint(pixels: np.ndarray, labels: np.ndarray, colours: np.ndarray, alpha: float) -> np.ndarray:
    """Blends `colours` (n, 3) into the labelled pixels and leaves the others exactly as they are."""
    weights = np.r_[0.0, np.full(len(colours), alpha)].astype(np.float32)[labels][..., None]
    palette = np.vstack([np.zeros((1, 3), np.float32), colours.astype(np.float32)])
    return np.rint(pixels * (1 - weights) + palette[labels] * weights).astype(np.uint8)


def _confidence_colours(confidence: np.ndarray | None, count: int) -> np.ndarray:
    if confidence is None or len(confidence) != count:
        raise MeasurementError(
            f"There are {count} grains and {'no' if confidence is None else len(confidence)} confidence values. "
            "The confidence overlay needs one value from 0 to 1 for every grain. "
            "Pass the analysis' own `confidence`, or choose another style."
        )
    levels = np.rint(np.clip(np.asarray(confidence, dtype=float), 0, 1) * 255).astype(np.uint8)
    if not count:
        return np.zeros((0, 3), np.uint8)
    return cv2.applyColorMap(levels[:, None], cv2.COLORMAP_VIRIDIS)[:, 0, ::-1]


def _draw_ids(picture: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Writes each grain's number where the grain is widest."""
    count = int(labels.max(initial=0))
    if not count:
        return picture
    interior = np.pad((labels > 0) & ~_outlines(labels), 1).astype(np.uint8)
    depth = cv2.distanceTransform(interior, cv2.DIST_L2, 3)[1:-1, 1:-1]
    places = ndimage.maximum_position(depth, labels, np.arange(1, count + 1))
    for label, (row, column) in enumerate(places, start=1):
        text = str(label)
        size, _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 1.0, 1)
        scale = float(np.clip(1.7 * depth[row, column] / np.hypot(*size), 0.3, 1.2))
        (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
        origin = (int(column - width / 2), int(row + height / 2))
        for colour, stroke in (((255, 255, 255), 4), ((20, 20, 20), 1)):
            cv2.putText(picture, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, stroke, cv2.LINE_AA)
    return picture
