"""Wording that command line, page and reports share."""

import re
from collections.abc import Sequence
from typing import Any

_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?")


def count_text(count: float) -> str:
    """A count, of which halves and quarters may be part, in full: 1234567, 12345.75."""
    return f"{count:.10g}"


def plural(count: float, noun: str) -> str:
    """A number with its noun: 1 grain, 45.5 grains."""
    return f"{count_text(count)} {noun}" if count == 1 else f"{count_text(count)} {noun}s"


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
    smallest = "by the image's own grains" if area is None else f"{area:g} px\N{SUPERSCRIPT TWO}"
    sensitivity = settings["boundary_sensitivity"]
    return f"{settings['method']}, boundary sensitivity {sensitivity:g}, smallest grain {smallest}"


def merge_alike(names: Sequence[str], messages: Sequence[Sequence[str]], *, with_ranges: bool = True) -> list[str]:
    """Say once what is said of several fields.

    Args:
        names: Of the fields.
        messages: About each field.
        with_ranges: Also where its numbers differ, of which the range is told then.

    Returns:
        One message a kind, after the names of its fields where these are not all: of "12 % is no grain" and "19 % is no
        grain" it says "12 to 19 % is no grain".
    """
    alike: dict[str, dict[int, str]] = {}
    for field, of_field in enumerate(messages):
        for message in of_field:
            kind = _NUMBER.sub("#", message) if with_ranges else message
            # A second message of one kind in one field is told by itself.
            alike.setdefault(message if field in alike.get(kind, ()) else kind, {})[field] = message
    merged = []
    for about in alike.values():
        of_whom = "" if len(about) == len(names) else f"{', '.join(names[field] for field in about)}: "
        merged.append(of_whom + _with_ranges(list(about.values())))
    return merged


def _with_ranges(messages: list[str]) -> str:
    """The first of messages that differ in their numbers alone, with the range of each number."""
    columns = zip(*(_NUMBER.findall(message) for message in messages), strict=True)
    ordered = [sorted(set(column), key=float) for column in columns]
    ranges = iter([numbers[0] if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}" for numbers in ordered])
    return _NUMBER.sub(lambda _: next(ranges), messages[0])
