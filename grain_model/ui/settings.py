"""What a visitor can set on the count tab, as plain values: for the handlers, and for a link that reopens the page."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields, replace
from urllib.parse import urlencode

from ..analysis import EdgeRule
from ..label_settings import DEFAULT_SETTINGS, METHODS, LabelSettings, Method
from ..rendering import OVERLAY_STYLES, OverlayStyle
from ..scale import LARGEST_SCALE, SMALLEST_SCALE

SENSITIVITY_RANGE = (0.05, 0.95)
"""Of the slider: at the ends everything and nothing would be a boundary."""

EDGE_RULES = {
    "all": "All grains",
    "whole": "Leave out those cut by the edge",
    "half": "Count those cut by the edge as half (ASTM E112)",
}
"""Which grains the card counts, by the name that a link uses."""


@dataclass(frozen=True)
class PageSettings:
    """The settings in the order of their components.

    Attributes:
        um_per_pixel: Scale, `None` for the file's own or none.
        method: See `LabelSettings`.
        boundary_sensitivity: See `LabelSettings`.
        min_grain_area: See `LabelSettings`.
        show: See `render_overlay`.
        opacity: Of the overlay's colours, 0 to 1.
        edge_rule: One of `EDGE_RULES`.
        compare: The overlay is shown beside the micrograph, with a slider between them.
    """

    um_per_pixel: float | None = None
    method: Method = DEFAULT_SETTINGS.method
    boundary_sensitivity: float = DEFAULT_SETTINGS.boundary_sensitivity
    min_grain_area: float | None = None
    show: OverlayStyle = "fill"
    opacity: float = 0.35
    edge_rule: EdgeRule = "all"
    compare: bool = False

    @property
    def label_settings(self) -> LabelSettings:
        """Those that draw the labels."""
        return LabelSettings(self.method, self.boundary_sensitivity, self.min_grain_area)


@dataclass(frozen=True)
class LinkedPage:
    """What a link asks for.

    Attributes:
        example: Name of an example without its ending, `None` for none.
        settings: The settings.
        ignored: What in the link could not be followed, in sentences.
    """

    example: str | None
    settings: PageSettings
    ignored: tuple[str, ...] = ()


def write_link(example: str | None, settings: PageSettings) -> str:
    """Write the query of a link, with what differs from the defaults only.

    Args:
        example: Name of the example that is open, if one is.
        settings: As they stand on the page.

    Returns:
        `""`, or a query that begins with `?`.
    """
    standard = PageSettings()
    values = {"example": example} if example else {}
    for field in fields(PageSettings):
        value = getattr(settings, field.name)
        if value is not None and value != getattr(standard, field.name):
            values[field.name] = (
                f"{value:.15g}" if isinstance(value, float) else str(int(value) if value is True else value)
            )
    return f"?{urlencode(values)}" if values else ""


def read_link(query: Mapping[str, str], examples: Collection[str]) -> LinkedPage:
    """Read the query of a link; what it does not know is left alone, what does not fit is ignored and named.

    Args:
        query: Names and values.
        examples: Names of the examples that there are.

    Returns:
        The page to open.
    """
    ignored = []
    example = query.get("example")
    if example is not None and example not in examples:
        ignored.append(f"There is no example {example[:40]!r}.")
        example = None
    settings = PageSettings()
    for name, read in _READERS.items():
        if name in query:
            try:
                settings = replace(settings, **{name: read(query[name])})
            except ValueError:
                ignored.append(f"{query[name][:40]!r} is no {name.replace('_', ' ')}.")
    return LinkedPage(example, settings, tuple(ignored))


def _number_within(low: float, high: float = math.inf) -> Callable[[str], float]:
    def read(text: str) -> float:
        value = float(text)
        if not low <= value <= high or not math.isfinite(value):
            raise ValueError
        return value

    return read


def _one_of(choices: Collection[str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise ValueError
        return text

    return read


_READERS = {
    "um_per_pixel": _number_within(SMALLEST_SCALE, LARGEST_SCALE),
    "method": _one_of(METHODS),
    "boundary_sensitivity": _number_within(*SENSITIVITY_RANGE),
    "min_grain_area": _number_within(0),
    "show": _one_of(OVERLAY_STYLES),
    "opacity": _number_within(0, 1),
    "edge_rule": _one_of(EDGE_RULES),
    "compare": lambda text: _one_of("01")(text) == "1",
}
