"""What is known of a grain size: the rules of the standards, what each of them gave, and all of them together.

Every rule measures one quantity in pixels (grains per area, mean grain area or mean lineal intercept) and its interval;
the scale turns it into mm and into the number G. Without a scale the pixel figures remain and G is None.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from .duplex import AlaGrain, DuplexHint
from .intercepts import HEYN_REPEATS, CountedLine, Direction
from .words import interval_text, plural

# ASTM E112: grains that a planimetric field should hold.
MIN_GRAINS = 50
# ASTM E112: intercepts that a field should give.
MIN_INTERCEPTS = 40


def g_from_density(per_mm2: float) -> float:
    """G from grains per mm^2 of section (ASTM E112, planimetric): 3.321928 log10(N_A) - 2.954."""
    return 3.321928 * float(np.log10(per_mm2)) - 2.954


def g_from_area(area_mm2: float) -> float:
    """G from the mean grain area in mm^2 (ASTM E1382): -3.3223 log10(A) - 2.955."""
    return -3.3223 * float(np.log10(area_mm2)) - 2.955


def g_from_intercept(intercept_mm: float) -> float:
    """G from the mean lineal intercept in mm (ASTM E112, intercept): -6.643856 log10(l) - 3.288."""
    return -6.643856 * float(np.log10(intercept_mm)) - 3.288


@dataclass(frozen=True)
class Quantity:
    """What a rule measures.

    Attributes:
        name: In words.
        symbol: In formulas.
        unit: Unit where there is a scale.
        unit_px: Unit where there is none.
        power: Power of a length that it is.
        per_um: Number of `unit` in um^`power`.
        to_G: G of a value in mm^`power`.
    """

    name: str
    symbol: str
    unit: str
    unit_px: str
    power: int
    per_um: float
    to_G: Callable[[float], float]

    def factor(self, um_per_pixel: float) -> float:
        """What a value in px^`power` is multiplied by to be in `unit`."""
        return um_per_pixel**self.power * self.per_um

    def G(self, value_px: float, um_per_pixel: float) -> float:
        """ASTM grain-size number of a value in px^`power`."""
        return self.to_G(value_px * (um_per_pixel / 1000) ** self.power)


DENSITY = Quantity("grains per area", "N_A", "1/mm^2", "1/px^2", -2, 1e6, g_from_density)
MEAN_AREA = Quantity("mean grain area", "A", "um^2", "px^2", 2, 1.0, g_from_area)
INTERCEPT = Quantity("mean lineal intercept", "l", "um", "px", 1, 1.0, g_from_intercept)


@dataclass(frozen=True)
class Rule:
    """A rule of the standards.

    Attributes:
        name: Name in results.
        title: Name for people.
        standard: Standard that defines it.
        quantity: What it measures.
        counted: What it counts, in words.
        least: Smallest count that the standard accepts.
        repeats: How many lines meet a grain on average; count / repeats of them are independent of one another.
    """

    name: str
    title: str
    standard: str
    quantity: Quantity
    counted: str = "grains"
    least: int = MIN_GRAINS
    repeats: float = 1.0

    def too_few(self, count: float) -> tuple[str, ...]:
        """Flag of a count that is smaller than the standard wants; empty where it is not."""
        independent = count / self.repeats
        if independent >= self.least:
            return ()
        counted = self.counted.removesuffix("s") if count == 1 else self.counted
        number = f"{count:g} {counted} counted"
        if self.repeats > 1:
            number += f", which stand for {math.floor(independent)} on lines that meet each grain once"
        return (f"{number}, fewer than {self.least}; measure more or larger fields",)


DEFINITIONS = {
    rule.name: rule
    for rule in (
        Rule("saltykov", "Planimetric, rectangle (Saltykov)", "ASTM E112, rectangular field; ISO 643", DENSITY),
        Rule("jeffries", "Planimetric, circle (Jeffries)", "ASTM E112, circular field", DENSITY),
        Rule("mean_area", "Mean area of whole grains", "ASTM E1382", MEAN_AREA, "whole grains"),
        Rule(
            "heyn",
            "Intercept, straight lines (Heyn)",
            "ASTM E112; ISO 643",
            INTERCEPT,
            "intercepts",
            MIN_INTERCEPTS,
            repeats=HEYN_REPEATS,
        ),
        Rule("abrams", "Intercept, three circles (Abrams)", "ASTM E112", INTERCEPT, "intercepts", MIN_INTERCEPTS),
    )
}
RULES = tuple(DEFINITIONS)

# Columns of the table of all rules.
FRAME_COLUMNS = (
    *("rule", "standard", "quantity", "value", "value_low", "value_high", "unit", "G", "G_low", "G_high"),
    *("relative_accuracy_percent", "n", "n_independent", "n_inside", "n_cut", "n_corner", "interval_from", "flags"),
)


@dataclass(frozen=True)
class RuleResult:
    """Grain size by one rule.

    Attributes:
        rule: One of RULES.
        value_px: The rule's quantity in 1/px^2, px^2 or px; None where nothing could be counted.
        interval_px: Its 95 % interval in the same unit; None where the counts do not bound it.
        n: Grains (those cut counted in part) or intercepts that were counted.
        ci_method: What the interval comes from, in words.
        um_per_pixel: Scale, None if unknown.
        flags: What makes the value doubtful, in words.
        n_inside: Grains wholly inside the counted figure, of the planimetric rules alone, as ASTM E112 reports them.
        n_cut: Grains that the figure's edge cuts, but no corner of it; n = n_inside + n_cut / 2 + n_corner / 4.
        n_corner: Corners of the figure that lie in a grain.
        half_width_px: Half of the interval over several fields, which may be wider than the value is high; else None.
    """

    rule: str
    value_px: float | None
    interval_px: tuple[float, float] | None
    n: float
    ci_method: str
    um_per_pixel: float | None = None
    flags: tuple[str, ...] = ()
    n_inside: int | None = None
    n_cut: int | None = None
    n_corner: int | None = None
    half_width_px: float | None = None

    def __repr__(self) -> str:
        interval = "" if self.ci95 is None else f" ({interval_text(self.ci95)})"
        G = "no G" if self.G is None else f"G {self.G:.2f}{interval}"
        value = "none" if self.value is None else f"{self.value:.4g} {self.unit}"
        return f"RuleResult({self.rule}: {G}, {self.quantity} {value}, n {self.n:g})"

    @property
    def definition(self) -> Rule:
        """The rule itself."""
        return DEFINITIONS[self.rule]

    @property
    def title(self) -> str:
        """Name of the rule for people."""
        return self.definition.title

    @property
    def standard(self) -> str:
        """Standard that defines the rule."""
        return self.definition.standard

    @property
    def quantity(self) -> str:
        """What the rule measures, in words."""
        return self.definition.quantity.name

    @property
    def unit(self) -> str:
        """Unit of `value` and `interval`: `1/mm^2`, `um^2` or `um`, and `1/px^2`, `px^2` or `px`."""
        quantity = self.definition.quantity
        return quantity.unit_px if self.um_per_pixel is None else quantity.unit

    @property
    def factor(self) -> float:
        """What a value in pixels is multiplied by to be in `unit`."""
        return 1.0 if self.um_per_pixel is None else self.definition.quantity.factor(self.um_per_pixel)

    @property
    def value(self) -> float | None:
        """The quantity in `unit`."""
        return None if self.value_px is None else self.value_px * self.factor

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval in `unit`."""
        if self.interval_px is None:
            return None
        return self.interval_px[0] * self.factor, self.interval_px[1] * self.factor

    @property
    def G(self) -> float | None:
        """ASTM grain-size number; None without a scale or without a count."""
        if self.value_px is None or self.um_per_pixel is None:
            return None
        return self.definition.quantity.G(self.value_px, self.um_per_pixel)

    @property
    def ci95(self) -> tuple[float, float] | None:
        """95 % interval in G, low and high; None without a scale or where the counts do not bound it."""
        if self.interval_px is None or self.um_per_pixel is None:
            return None
        ends = [self.definition.quantity.G(end, self.um_per_pixel) for end in self.interval_px]
        return min(ends), max(ends)

    @property
    def n_independent(self) -> float:
        """What `n` stands for where several lines meet the same grain: a number on lines that meet each grain once."""
        return self.n / self.definition.repeats

    @property
    def relative_accuracy(self) -> float | None:
        """Per cent relative accuracy (ASTM E112, 15): half the interval over the value, times 100."""
        if self.half_width_px is not None:
            return 100 * self.half_width_px / self.value_px
        if self.interval_px is None:
            return None
        low, high = self.interval_px
        return 50 * (high - low) / self.value_px

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings, lists and None, ready for JSON."""
        return {
            "G": self.G,
            "ci95": None if self.ci95 is None else list(self.ci95),
            "n": self.n,
            "n_independent": self.n_independent,
            "n_inside": self.n_inside,
            "n_cut": self.n_cut,
            "n_corner": self.n_corner,
            "quantity": self.quantity,
            "value": self.value,
            "interval": None if self.interval is None else list(self.interval),
            "unit": self.unit,
            "relative_accuracy_percent": self.relative_accuracy,
            "standard": self.standard,
            "interval_from": self.ci_method,
            "flags": list(self.flags),
        }


@dataclass(frozen=True)
class GrainSize:
    """Grain size of one field, or of several, by every rule.

    Attributes:
        saltykov: Planimetric count in the rectangular field (ASTM E112, ISO 643).
        jeffries: Planimetric count in the largest circle (ASTM E112).
        mean_area: Mean area of the grains that do not touch the edge (ASTM E1382).
        heyn: Straight lines in four directions (ASTM E112, ISO 643).
        abrams: Three circles (ASTM E112).
        ala: The largest grain (ASTM E930), beside all grains of all fields; None without grains.
        duplex: Hint of two populations (ASTM E1181) among all grains of all fields.
        um_per_pixel: Scale, None if unknown; of the first field where fields differ.
        directions: Counts of Heyn's lines by direction (ASTM E112, 16: grains that are not equiaxed); empty for fields
            whose grains are elongated in directions at right angles.
        areas_px: float (n,), areas of the grains of all fields with their drawn boundaries, in px^2 of the first one.
        n_fields: Number of fields.
        flags: What makes the result doubtful as a whole, in words.
        test_lines: The counted test lines of `"heyn"` and `"abrams"`, for drawing; empty for several fields.
        fields: The results of the single fields; empty for one field.
    """

    saltykov: RuleResult
    jeffries: RuleResult
    mean_area: RuleResult
    heyn: RuleResult
    abrams: RuleResult
    ala: AlaGrain | None
    duplex: DuplexHint
    um_per_pixel: float | None
    directions: tuple[Direction, ...] = ()
    areas_px: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False, compare=False)
    n_fields: int = 1
    flags: tuple[str, ...] = ()
    test_lines: dict[str, tuple[CountedLine, ...]] = field(default_factory=dict, repr=False, compare=False)
    fields: tuple[GrainSize, ...] = field(default=(), repr=False)

    def __repr__(self) -> str:
        rules = "".join(f"\n  {rule!r}" for rule in self.rules)
        return f"GrainSize({plural(self.n_fields, 'field')}){rules}"

    @property
    def rules(self) -> tuple[RuleResult, ...]:
        """The five results in the order of RULES."""
        return tuple(getattr(self, rule) for rule in RULES)

    @property
    def N_A_mm2(self) -> float | None:
        """Grains per mm^2 by Saltykov's rule, None without a scale."""
        return None if self.um_per_pixel is None else self.saltykov.value

    @property
    def anisotropy(self) -> float | None:
        """Largest over smallest mean lineal intercept of the four directions; None where one of them has no count."""
        intercepts = [direction.intercept_px for direction in self.directions]
        return max(intercepts) / min(intercepts) if intercepts and None not in intercepts else None

    @property
    def iso643(self) -> float | None:
        """ISO 643 number: m = 8 * 2^G with Saltykov's grains per mm^2, 0.046 below the ASTM number."""
        return None if self.N_A_mm2 is None else float(np.log2(self.N_A_mm2 / 8))

    def to_rows(self) -> list[list[Any]]:
        """One row a rule: what it measures and its 95 % interval, G and its interval, %RA, counts and flags.

        Columns: FRAME_COLUMNS; `value`, `value_low` and `value_high` are in `unit`. What is not known is None.
        """
        rows = []
        for result in self.rules:
            ends = {}
            for name, interval in (("value", result.interval), ("G", result.ci95)):
                ends[f"{name}_low"], ends[f"{name}_high"] = interval or (None, None)
            row = {"rule": result.rule, **ends, **result.to_dict(), "flags": "; ".join(result.flags)}
            rows.append([row[column] for column in FRAME_COLUMNS])
        return rows

    def to_frame(self) -> pd.DataFrame:
        """The rows of `to_rows` as a table."""
        return pd.DataFrame(self.to_rows(), columns=FRAME_COLUMNS)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings, lists and None, ready for JSON."""
        directions = [
            {
                "degrees": direction.degrees,
                "mean_lineal_intercept": direction.intercept_px and direction.intercept_px * self.heyn.factor,
                "unit": self.heyn.unit,
                "n": direction.intercepts,
            }
            for direction in self.directions
        ]
        return {
            **{result.rule: result.to_dict() for result in self.rules},
            "directions": directions,
            "anisotropy": self.anisotropy,
            "iso643": self.iso643,
            "ala": self._largest_to_dict(),
            "duplex": self._duplex_to_dict(),
            # None stands for a scale that is unknown, and for fields that differ.
            "um_per_pixel": self.um_per_pixel if len({field.um_per_pixel for field in self.fields}) <= 1 else None,
            "n_fields": self.n_fields,
            "flags": list(self.flags),
        }

    def _largest_to_dict(self) -> dict[str, Any] | None:
        if self.ala is None:
            return None
        # Fields may differ in their scale.
        scale = self.fields[self.ala.field - 1].um_per_pixel if self.fields else self.um_per_pixel
        return {**vars(self.ala), "area_um2": scale and self.ala.area_px * scale**2}

    def _duplex_to_dict(self) -> dict[str, Any]:
        diameters, scale = self.duplex.diameters_px or (), self.um_per_pixel
        in_um = [diameter * scale for diameter in diameters] if scale else []
        return {**vars(self.duplex), "diameters_px": list(diameters), "diameters_um": in_um}
