"""The scale of a micrograph, in um per pixel, as people and programs give it."""

from __future__ import annotations

from .errors import ScaleError

# An atom measures 1e-4 um, and a pixel of 1 m shows no grains.
SMALLEST_SCALE, LARGEST_SCALE = 1e-6, 1e6


def as_scale(um_per_pixel: float | None) -> float | None:
    """Check a scale in um per pixel and return it as a float, None for none.

    Raises:
        ScaleError: If it is not a number from 1e-6 to 1e6.
    """
    if um_per_pixel is None:
        return None
    try:
        value = float(um_per_pixel)
    except (TypeError, ValueError):
        value = float("nan")
    return within_range(value, um_per_pixel)


def within_range(value: float, given: object) -> float:
    """Check a scale in um per pixel that is a number already, and return it.

    Args:
        value: The scale.
        given: What it was read from, to be named where it does not fit.

    Raises:
        ScaleError: If it is not from 1e-6 to 1e6.
    """
    if not SMALLEST_SCALE <= value <= LARGEST_SCALE:
        raise ScaleError(
            f"The scale is {given!r}; a positive number of um per pixel, {SMALLEST_SCALE:g} to "
            f"{LARGEST_SCALE:g}, is expected. Divide the length of the scale bar in um by its length in pixels, or "
            "leave the scale out."
        )
    return value
