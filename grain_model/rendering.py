"""Pictures of a count at the image's own size: the binary mask and the overlay on the micrograph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import cv2
import numpy as np
from scipy.ndimage import find_objects
from skimage.color import hsv2rgb

from .errors import MeasurementError
from .label_image import has_other_label

OverlayStyle = Literal["fill", "outlines", "ids", "confidence"]
OVERLAY_STYLES: tuple[str, ...] = get_args(OverlayStyle)

OUTLINE_COLOUR = (255, 72, 0)
"""RGB of outlines: vermilion stands out on bright and on dark metal."""

CORRECTED_COLOUR = (255, 255, 255)
"""RGB of the outline of a grain corrected by hand: a colour that no grain is tinted with."""

CHOSEN_COLOUR = (255, 230, 0)
"""RGB of the outline of the grain that a reader has chosen."""

_GOLDEN_RATIO = 0.6180339887498949


def render_mask(labels: np.ndarray) -> np.ndarray:
    """Draw the binary mask of a label image.

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
    numbers: np.ndarray | None = None,
) -> np.ndarray:
    """Draw the grains over their micrograph.

    Args:
        pixels: uint8 (H, W, 3), the micrograph as RGB.
        labels: int (H, W), 1..n without gaps, 0 = not a grain.
        alpha: Opacity of the colour inside a grain, 0 (micrograph only) to 1 (colour only).
        show: `"fill"` tints and outlines every grain in a colour of its own, `"outlines"` draws the outlines alone,
            `"ids"` adds each grain's number, `"confidence"` tints by confidence from dark blue (0) to yellow (1).
        confidence: float (n,), 0 to 1, one a grain; needed for `"confidence"`; NaN, where there is none, is drawn grey.
        numbers: int (n,), 1 or more, by which `"fill"` colours the grains; their labels if left out.

    Returns:
        uint8 (H, W, 3), RGB.

    Raises:
        MeasurementError: If the shapes disagree, the opacity is none, or `show` is unknown or lacks what it draws.
    """
    if not 0 <= alpha <= 1:
        raise MeasurementError(
            f"The opacity is {alpha!r}. A number from 0 to 1 is expected as `alpha`. The default is 0.35."
        )
    if pixels.shape != (*labels.shape, 3):
        raise MeasurementError(
            f"The micrograph has the shape {pixels.shape} and the label image {labels.shape}. "
            "An overlay needs an RGB micrograph (H, W, 3) and a label image (H, W) of the same size. "
            "Pass the pixels that were counted, at their own size."
        )
    count = int(labels.max(initial=0))
    outlines = _outlines(labels)
    if show == "fill":
        colours = label_colours(np.arange(1, count + 1) if numbers is None else numbers)
        drawn = _tint(pixels, labels, colours, alpha)
        drawn[outlines] = colours[labels[outlines] - 1]
        return drawn
    if show == "confidence":
        drawn = _tint(pixels, labels, _confidence_colours(confidence, count), alpha)
        drawn[outlines] //= 2
        return drawn
    if show in ("outlines", "ids"):
        drawn = pixels.copy()
        drawn[outlines] = OUTLINE_COLOUR
        return _draw_ids(drawn, labels) if show == "ids" else drawn
    raise MeasurementError(
        f"The overlay style {show!r} is unknown. It has to be one of {', '.join(OVERLAY_STYLES)}. "
        "Choose one of these as `show`."
    )


def mark_grains(
    picture: np.ndarray, labels: np.ndarray, ids: Sequence[int], colour: tuple[int, int, int]
) -> np.ndarray:
    """Make grains stand out by a strong outline with a dark rim, which shows on bright and on dark tints.

    Args:
        picture: uint8 (H, W, 3), such as an overlay.
        labels: int (H, W), 0 = not a grain.
        ids: Labels of the grains to mark.
        colour: RGB of the outline.

    Returns:
        uint8 (H, W, 3), a copy; the picture itself where there is nothing to mark.
    """
    if len(ids) == 0:
        return picture
    marked = np.where(np.isin(labels, ids), labels, 0)
    width = _line_width(labels.shape) + 1
    drawn = picture.copy()
    drawn[_rim(marked, 2 * width) & (marked > 0)] = 0
    drawn[_rim(marked, width) & (marked > 0)] = colour
    return drawn


def label_colours(numbers: np.ndarray) -> np.ndarray:
    """Choose a colour for each number, which depends on it alone.

    Args:
        numbers: int (n,), 1 or more, such as labels.

    Returns:
        uint8 (n, 3), RGB.
    """
    index = np.asarray(numbers) - 1
    # Golden-ratio steps keep the hues of consecutive labels, which are mostly neighbours, far apart.
    hue = (0.07 + index * _GOLDEN_RATIO) % 1.0
    saturation = 0.6 + 0.13 * (index % 3)
    value = 1 - 0.16 * (index // 3 % 2)
    return np.rint(255 * hsv2rgb(np.stack([hue, saturation, value], axis=-1))).astype(np.uint8)


def _outlines(labels: np.ndarray) -> np.ndarray:
    """Return bool (H, W): the grains' own pixels along their edge, thicker in large pictures so that they show."""
    return _rim(labels, _line_width(labels.shape)) & (labels > 0)


def _line_width(shape: tuple[int, int]) -> int:
    return max(1, round(min(shape, default=0) / 700))


def _rim(labels: np.ndarray, width: int) -> np.ndarray:
    """Return bool (H, W): pixels with another label within `width` px."""
    return has_other_label(labels, np.ones((2 * width + 1, 2 * width + 1), np.uint8))


def _tint(pixels: np.ndarray, labels: np.ndarray, colours: np.ndarray, alpha: float) -> np.ndarray:
    """Blend `colours` (n, 3) into the labelled pixels and leave the others exactly as they are."""
    palette = np.vstack([np.zeros((1, 3), np.uint8), colours])
    tinted = cv2.addWeighted(pixels, 1 - alpha, palette[labels], alpha, 0)
    np.copyto(tinted, pixels, where=(labels == 0)[..., None])
    return tinted


def _confidence_colours(confidence: np.ndarray | None, count: int) -> np.ndarray:
    if confidence is None or len(confidence) != count:
        raise MeasurementError(
            f"There are {count} grains and {'no' if confidence is None else len(confidence)} confidence values. "
            "The confidence overlay needs one value from 0 to 1 for every grain. "
            "Pass the analysis' own `confidence`, or choose another style."
        )
    if not count:
        return np.zeros((0, 3), np.uint8)
    values = np.asarray(confidence, dtype=float)
    levels = np.rint(np.clip(np.nan_to_num(values), 0, 1) * 255).astype(np.uint8)
    colours = cv2.applyColorMap(levels[:, None], cv2.COLORMAP_VIRIDIS)[:, 0, ::-1]
    return np.where(np.isnan(values)[:, None], np.uint8(128), colours)


def _draw_ids(picture: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Write each grain's number where the grain is widest."""
    interior = np.pad((labels > 0) & ~_outlines(labels), 1).astype(np.uint8)
    depth = cv2.distanceTransform(interior, cv2.DIST_L2, 3)[1:-1, 1:-1]
    for label, box in enumerate(find_objects(labels), start=1):
        if box is None:  # labels drawn by other tools may leave ids out
            continue
        depth_inside = np.where(labels[box] == label, depth[box], -1)
        row, column = np.unravel_index(depth_inside.argmax(), depth_inside.shape)
        row, column = row + box[0].start, column + box[1].start
        text = str(label)
        size, _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 1.0, 1)
        scale = float(np.clip(1.7 * depth[row, column] / np.hypot(*size), 0.3, 1.2))
        (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
        origin = (int(column - width / 2), int(row + height / 2))
        for colour, stroke in (((255, 255, 255), 4), ((20, 20, 20), 1)):
            cv2.putText(picture, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, stroke, cv2.LINE_AA)
    return picture
