"""Numbers as people type them into a field, the scale among them."""

from __future__ import annotations

import math
import re

import numpy as np

from ..scale import within_range

_TYPED_NUMBER = re.compile(r"[+-]?([0-9]+[.,]?[0-9]*|[.,][0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)


def read_number(text: str | None) -> float | None:
    """Read a number as people type it, with a dot or a comma as the decimal sign and blanks around it.

    Args:
        text: A single comma is a decimal sign: "1,234" is 1.234.

    Returns:
        The number, nan for what is none, `None` where nothing was typed.
    """
    typed = (text or "").strip()
    if not typed:
        return None
    return float(typed.replace(",", ".")) if _TYPED_NUMBER.fullmatch(typed) else math.nan


def read_scale(text: str | None) -> float | None:
    """Read a scale in um per pixel as people type it; see `read_number`.

    Raises:
        ScaleError: If it is not a number from 1e-6 to 1e6.
    """
    value = read_number(text)
    return None if value is None else within_range(value, text.strip()[:40])


def write_scale(um_per_pixel: float | None) -> str:
    """Write a scale for a field to type it in: `read_scale` gives the very same number again."""
    return "" if um_per_pixel is None else np.format_float_positional(float(um_per_pixel), trim="-")
