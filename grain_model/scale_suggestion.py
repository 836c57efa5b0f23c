"""Reading the length printed beside a scale bar: a suggestion of the scale for a person to confirm."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from .errors import GrainError
from .footer import ScaleBar, find_scale_bar
from .scale_metadata import in_um

if TYPE_CHECKING:
    from .micrograph import Micrograph

# OCR takes the micro sign for u, p or y now and then, and a zero beside a unit for the letter O.
_PRINTED_LENGTH = re.compile(r"(\d[\dO]*(?:[.,][\dO]+)?)\s*(nm|[µμup]m|mm)(?![a-z])", re.IGNORECASE)

# Small print is enlarged to about this height of strip, px, where the text recognition is at its best.
_READING_HEIGHT = 200

# The length of a bar is printed within this many heights of the strip from it.
_REACH = 2


@dataclass(frozen=True)
class ScaleSuggestion:
    """A scale read off a picture, not yet confirmed.

    Attributes:
        um_per_pixel: The printed length by the bar's length.
        text: The length as it was read, such as "10 µm".
        bar_px: Length of the bar, px.
        confidence: Of the text recognition, 0 to 1; lower where several printed lengths could belong to the bar.
    """

    um_per_pixel: float
    text: str
    bar_px: int
    confidence: float


@dataclass(frozen=True)
class _PrintedLength:
    um: float
    text: str
    gap: float
    confidence: float


def suggest_scale(micrograph: Micrograph) -> ScaleSuggestion | None:
    """Read the scale bar in the strip under a micrograph.

    Nothing is applied: pass the suggestion's `um_per_pixel` on when a person has looked at it.

    Args:
        micrograph: As read by `read_micrograph`.

    Returns:
        None where there is no strip, no bar in it, or no length that can be read.

    Raises:
        GrainError: If the packages for text recognition are not installed.
    """
    if micrograph.footer_top is None:
        return None
    bar = find_scale_bar(micrograph.pixels, micrograph.footer_top)
    if bar is None:
        return None
    strip = micrograph.pixels[micrograph.footer_top :]
    near = [
        printed for printed in _printed_lengths(strip, bar, micrograph.footer_top) if printed.gap <= _REACH * len(strip)
    ]
    if not near:
        return None
    nearest = min(near, key=lambda printed: printed.gap)
    # A working distance or a field width printed as near as the bar's own length makes it a guess.
    is_rivalled = any(printed.um != nearest.um for printed in near)
    confidence = nearest.confidence / 2 if is_rivalled else nearest.confidence
    return ScaleSuggestion(nearest.um / bar.length, nearest.text, bar.length, confidence)


def _printed_lengths(strip: np.ndarray, bar: ScaleBar, strip_top: int) -> list[_PrintedLength]:
    """Read all lengths in a strip, with their distance from the bar."""
    factor = max(1.0, _READING_HEIGHT / len(strip))
    enlarged = cv2.resize(strip, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    reading = _text_recognition()(np.ascontiguousarray(enlarged[..., ::-1]))
    if reading.boxes is None:
        return []
    lengths = []
    for corners, text, score in zip(reading.boxes, reading.txts, reading.scores, strict=True):
        (left, top), (right, bottom) = corners.min(axis=0) / factor, corners.max(axis=0) / factor
        for match in _PRINTED_LENGTH.finditer(text):
            number, unit = match[1].upper().replace("O", "0"), match[2].lower()
            unit = unit if unit in ("nm", "mm") else "µm"
            try:
                um = in_um(number, unit)
            except ValueError:  # such as 1,000, which may be one or a thousand
                continue
            if um is None:
                continue
            # Neighbouring texts may have been read as one line, so where in it the length stands matters.
            column = left + (right - left) * (match.start() + match.end()) / (2 * len(text))
            beside = max(bar.left - column, column - bar.left - bar.length, 0)
            above = abs((top + bottom) / 2 - (bar.row - strip_top))
            lengths.append(
                _PrintedLength(um, f"{number.replace(',', '.')} {unit}", math.hypot(beside, above), float(score))
            )
    return lengths


@lru_cache(maxsize=1)
def _text_recognition() -> Any:
    try:
        from rapidocr import RapidOCR
    except ImportError as error:
        raise GrainError(
            "The printed length cannot be read: the packages rapidocr and onnxruntime are missing. They are an "
            "extra. Install them with `pip install 'grain_model[ocr]'`, or give the scale by hand."
        ) from error
    return RapidOCR(params={"Global.log_level": "error", "Global.use_cls": False})
