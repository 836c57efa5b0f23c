"""What makes a result doubtful as a whole, said in words."""

from dataclasses import dataclass

import cv2
import numpy as np

from .grain_size_result import MIN_GRAINS
from .label_image import close_boundaries, grain_boxes
from .planimetric import count_rectangle
from .typical_grain import dominant_regions, typical_area
from .words import plural

# Below these an analysis says so.
SMALL_GRAIN_PX = 60.0
LOW_CONFIDENCE = 0.75  # less than six of ten grains were right; see expected_accuracy.py
BLURRED_SHARE = 0.12
LITTLE_BOUNDARY = 0.004
DOMINANT_SHARE = 0.1
# Standard deviation in grey levels of 255 below which a picture is blank.
BLANK_DEVIATION = 0.5


@dataclass(frozen=True)
class QualityFlag:
    """A reason to doubt a result.

    Attributes:
        code: Stable name for programs: `no_boundaries`, `no_grains`, `out_of_focus`, `small_grains`, `dominant_region`,
            `low_confidence`, `few_grains`.
        message: One sentence for a person.
    """

    code: str
    message: str


def assess_quality(
    pixels: np.ndarray, labels: np.ndarray, boundary: np.ndarray, confidence: np.ndarray
) -> tuple[QualityFlag, ...]:
    """Look for reasons to doubt the count.

    Args:
        pixels: uint8 (H, W, 3).
        labels: int32 (H, W), grains 1..n.
        boundary: float, boundary probability in [0, 1], at any size.
        confidence: float (n,) in [0, 1], the network's certainty of each grain; NaN for a grain corrected by hand.

    Returns:
        Flags, the gravest first; empty when nothing was found.
    """
    flags = []
    count = int(labels.max())
    drawn = float((boundary > 0.5).mean())
    if drawn < LITTLE_BOUNDARY and count <= 2:
        return (QualityFlag("no_boundaries", "No grain boundaries were found: is this a micrograph of grains?"),)
    if count == 0:
        return (
            QualityFlag(
                "no_grains", "Boundaries are there, but no grain is left: all are deleted, or smaller than what counts."
            ),
        )
    if sharpness(pixels) < BLURRED_SHARE:
        flags.append(QualityFlag("out_of_focus", "The picture looks out of focus; thin boundaries may be missed."))
    areas = np.bincount(labels.ravel())[1:]
    if typical_area(areas) < SMALL_GRAIN_PX:
        flags.append(
            QualityFlag("small_grains", "The grains have too few pixels to be separated well; use more magnification.")
        )
    dominant = areas[dominant_regions(areas)]
    if dominant.sum() > DOMINANT_SHARE * labels.size:
        flags.append(
            QualityFlag(
                "dominant_region",
                f"{dominant.sum() / labels.size:.0%} of the field is counted as "
                f"{'one grain' if len(dominant) == 1 else f'{len(dominant)} grains'} far larger than all others: if "
                "this is mounting resin or background, crop it off. Deleting it mends the count, not the grain size.",
            )
        )
    known = confidence[np.isfinite(confidence)]
    if len(known) and float(np.median(known)) < LOW_CONFIDENCE:
        flags.append(
            QualityFlag("low_confidence", "Most boundaries are uncertain; check the overlay before you trust it.")
        )
    closed = close_boundaries(labels)
    equivalent = count_rectangle(closed, grain_boxes(closed)).equivalent
    if equivalent < MIN_GRAINS:
        part = "" if equivalent == count else ", those cut by its edge counted in part"
        flags.append(
            QualityFlag(
                "few_grains",
                f"Only {plural(equivalent, 'grain')} in the field{part}; ASTM E112 asks for at least {MIN_GRAINS}: use "
                "less magnification, or add fields.",
            )
        )
    return tuple(flags)


def is_blank(pixels: np.ndarray) -> bool:
    """Whether a picture, uint8 (H, W, 3), is all of one colour, but for a grey level here and there."""
    return float(cv2.meanStdDev(pixels)[1].max()) < BLANK_DEVIATION


def sharpness(pixels: np.ndarray) -> float:
    """Share of a picture's gradient that a slight blur takes away: near 0 when it is blurred already.

    Args:
        pixels: uint8 (H, W, 3).

    Returns:
        0 (blurred) to 1 (sharp or noisy); 1 for a flat picture, which has no focus to judge.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
    before, after = _gradient(grey), _gradient(cv2.GaussianBlur(grey, (0, 0), 1.0))
    return 1.0 if before < 0.5 else float(np.clip(1 - after / before, 0, 1))


def _gradient(grey: np.ndarray) -> float:
    return float(cv2.magnitude(cv2.Scharr(grey, cv2.CV_32F, 1, 0), cv2.Scharr(grey, cv2.CV_32F, 0, 1)).mean()) / 32
