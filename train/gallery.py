"""Pictures of what went wrong: merged, split, missed and invented grains in four colours beside the micrograph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from skimage.segmentation import find_boundaries

from train.matching import find_errors

# Four colours of Okabe and Ito that people with colour-blindness tell apart.
ERROR_COLOURS: Mapping[str, tuple[int, int, int]] = {
    "merged": (240, 228, 66),
    "split": (0, 114, 178),
    "missed": (213, 94, 0),
    "invented": (0, 158, 115),
}
ERROR_MEANINGS: Mapping[str, str] = {
    "merged": "merged: one grain drawn over several",
    "split": "split: one grain cut into several",
    "missed": "missed: not found, or with a wrong outline",
    "invented": "invented: no such grain, or a wrong outline",
}
FILL_OPACITY = 0.55
OVERLOOKED_BOUNDARY = (90, 80, 0)
PANEL_INCHES = 4.5
DOTS_PER_INCH = 130


@dataclass(frozen=True)
class GalleryEntry:
    """One micrograph of a gallery.

    Attributes:
        title: Line above it.
        pixels: uint8 (H, W, 3) RGB.
        true: Prepared true labels, int (H, W).
        pred: Prepared predicted labels, int (H, W).
    """

    title: str
    pixels: np.ndarray
    true: np.ndarray
    pred: np.ndarray


def render_errors(pixels: np.ndarray, true: np.ndarray, pred: np.ndarray) -> np.ndarray:
    """Colour the grains that went wrong over a grey micrograph; predicted boundaries are thin white lines.

    True grains are filled where they are split or missed, predicted grains where they are merged or invented; a merged
    grain also shows the true boundaries in it. Where two kinds meet, the later of `ERROR_COLOURS` keeps its outline
    only.

    Returns:
        uint8 (H, W, 3) RGB.
    """
    grey = pixels.mean(axis=2, keepdims=True)
    canvas = np.repeat(grey, 3, axis=2)
    canvas[find_boundaries(pred, mode="inner")] = 255
    errors = find_errors(true, pred)
    free = np.ones(true.shape, bool)
    for kind, labels in (("merged", pred), ("split", true), ("missed", true), ("invented", pred)):
        wrong = np.where(np.isin(labels, getattr(errors, kind)), labels, 0)
        colour = np.array(ERROR_COLOURS[kind], float)
        fill = (wrong > 0) & free
        canvas[fill] = (1 - FILL_OPACITY) * canvas[fill] + FILL_OPACITY * colour
        canvas[find_boundaries(wrong, mode="inner")] = colour
        free &= wrong == 0
        if kind == "merged":
            # The true boundaries that the prediction ran over.
            canvas[(wrong > 0) & find_boundaries(true, mode="inner")] = OVERLOOKED_BOUNDARY
    return canvas.round().astype(np.uint8)


def draw_gallery(entries: Sequence[GalleryEntry], path: Path) -> None:
    """Write a PNG with one line a micrograph: as it is, and with its errors in colour, over a legend."""
    heights = [entry.pixels.shape[0] / entry.pixels.shape[1] * PANEL_INCHES + 0.3 for entry in entries]
    with matplotlib.rc_context({"font.size": 9}):
        figure = Figure(figsize=(2 * PANEL_INCHES, sum(heights) + 0.6), layout="constrained")
        axes = figure.subplots(len(entries), 2, squeeze=False, height_ratios=heights)
        for (left, right), entry in zip(axes, entries, strict=True):
            left.imshow(entry.pixels)
            right.imshow(render_errors(entry.pixels, entry.true, entry.pred))
            left.set_title(entry.title, loc="left")
            for axis in (left, right):
                axis.set_axis_off()
        patches = [
            Patch(color=np.array(colour) / 255, label=ERROR_MEANINGS[kind]) for kind, colour in ERROR_COLOURS.items()
        ]
        figure.legend(handles=patches, loc="outside lower center", ncols=2, frameon=False)
        figure.savefig(path, dpi=DOTS_PER_INCH)
