"""The settings by which the network's maps become labels."""

import math
from dataclasses import dataclass
from numbers import Real
from typing import Literal, get_args

from .errors import MeasurementError

Method = Literal["watershed", "components"]
METHODS: tuple[str, ...] = get_args(Method)


@dataclass(frozen=True)
class LabelSettings:
    """How the network's maps become labels; none of it needs the network again.

    Attributes:
        method: `"watershed"` separates grains that touch, `"components"` is plain connected components.
        boundary_sensitivity: 0 to 1; higher draws boundaries from weaker evidence, so it splits more.
        min_grain_area: Area of the smallest grain, px^2; what is smaller joins a neighbour, and with `"components"` is
            left out. `None` follows the image's own grain size.

    Raises:
        MeasurementError: If the method is unknown, the sensitivity is outside 0 to 1 or the area is no area.
    """

    method: Method = "watershed"
    boundary_sensitivity: float = 0.5
    min_grain_area: float | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            known = " or ".join(repr(method) for method in METHODS)
            raise MeasurementError(f"The method {self.method!r} is unknown: expected {known}. Use one of them.")
        if not isinstance(self.boundary_sensitivity, Real) or not 0 <= self.boundary_sensitivity <= 1:
            raise MeasurementError(
                f"The boundary sensitivity is {self.boundary_sensitivity!r}: expected a number from 0 to 1. "
                "The default is 0.5."
            )
        area = self.min_grain_area
        if area is not None and (not isinstance(area, Real) or not 0 <= area < math.inf):
            raise MeasurementError(
                f"The smallest grain is {area!r} px^2: expected an area of 0 or more. Leave it out to "
                "follow the image's own grains."
            )
        # Numbers of NumPy and others are written to JSON as Python's own.
        object.__setattr__(self, "boundary_sensitivity", float(self.boundary_sensitivity))
        object.__setattr__(self, "min_grain_area", None if area is None else float(area))


DEFAULT_SETTINGS = LabelSettings()
