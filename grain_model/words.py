"""Wording that command line, page and reports share."""

from typing import Any


def plural(count: float, noun: str) -> str:
    """A number with its noun: 1 grain, 45.5 grains."""
    return f"{count:.10g} {noun}" if count == 1 else f"{count:.10g} {noun}s"


def interval_text(interval: tuple[float, float], digits: int = 2) -> str:
    """Both ends of an interval: 8.12 to 8.54."""
    low, high = interval
    return f"{low:.{digits}f} to {high:.{digits}f}"


def scale_text(um_per_pixel: float | None, source: str | None) -> str:
    """A scale and where it came from."""
    if um_per_pixel is None:
        return "not known"
    return f"{um_per_pixel:.5g} \N{MICRO SIGN}m per pixel" + (f" ({source})" if source else "")


def settings_text(settings: dict[str, Any]) -> str:
    """The settings in `GrainAnalysis.summary`."""
    area = settings["min_grain_area"]
    smallest = "by the image's own grains" if area is None else f"{area:g} px"
    sensitivity = settings["boundary_sensitivity"]
    return f"{settings['method']}, boundary sensitivity {sensitivity:g}, smallest grain {smallest}"
