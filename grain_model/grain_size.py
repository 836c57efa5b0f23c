"""ASTM grain-size numbers of a label image: E112 (planimetric, intercept), E1382 (mean area), E930, E1181 and ISO 643.

Every rule measures one quantity in pixels (grains per area, mean grain area or mean lineal intercept) and its interval;
the scale turns it into mm and into the number G. Without a scale the pixel figures remain and G is None.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from skimage.segmentation import relabel_sequential

from .duplex import ALA_AREA_SHARE, ALA_DIFFERENCE, AlaGrain, DuplexHint, duplex_hint
from .errors import MeasurementError, ScaleError
from .intercepts import (
    HEYN_SPACING,
    CountedLine,
    Direction,
    abrams_circles,
    count_directions,
    count_intercepts,
    heyn_lines,
    sum_directions,
)
from .measurement import as_label_image, as_scale, close_boundaries, grain_boxes, touches_edge
from .planimetric import PlanimetricCount, count_circle, count_rectangle, field_dispersion

#: ASTM E112: grains that a planimetric field should hold.
MIN_GRAINS = 50
#: ASTM E112: intercepts that a field should give.
MIN_INTERCEPTS = 40
#: ASTM E112: per cent relative accuracy that is acceptable for most purposes.
ACCEPTABLE_RELATIVE_ACCURACY = 10.0
#: Fewer grains than this bound nothing.
MIN_GRAINS_FOR_INTERVAL = 4
#: From castings with grains of a centimetre to grains of some 50 nm.
PLAUSIBLE_G = (-10.0, 25.0)
#: Simulated counts are slightly wider than the dispersion says; this much makes 95 % of them fall into the interval.
COVERAGE_FACTOR = 2.15
#: Blocks a side into which a field is divided for the scatter of its intercepts.
INTERCEPT_BLOCKS = 4
#: Gaps over this share of the field are worth a flag.
FLAGGED_GAPS = 0.05
#: Intercepts that are so many times as long in one direction as in another are worth a flag.
ELONGATED = 1.3
#: Drawn boundaries over this share of the field are worth a flag.
BOUNDARY_SHARE = 0.02


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
        per_um: Number of ``unit`` in um^``power``.
        to_G: G of a value in mm^``power``.
    """

    name: str
    symbol: str
    unit: str
    unit_px: str
    power: int
    per_um: float
    to_G: Callable[[float], float]

    def factor(self, um_per_pixel: float) -> float:
        """What a value in px^``power`` is multiplied by to be in ``unit``."""
        return um_per_pixel**self.power * self.per_um

    def G(self, value_px: float, um_per_pixel: float) -> float:
        """ASTM grain-size number of a value in px^``power``."""
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
        least: Number of them below which the standard wants more.
    """

    name: str
    title: str
    standard: str
    quantity: Quantity
    counted: str = "grains"
    least: int = MIN_GRAINS

    def too_few(self, count: float) -> tuple[str, ...]:
        """Flag of a count that is smaller than the standard wants; empty where it is not."""
        if count >= self.least:
            return ()
        return (f"{count:g} {self.counted} counted, fewer than {self.least}; measure more or larger fields",)


DEFINITIONS = {
    rule.name: rule
    for rule in (
        Rule("saltykov", "Planimetric, rectangle (Saltykov)", "ASTM E112, rectangular field; ISO 643", DENSITY),
        Rule("jeffries", "Planimetric, circle (Jeffries)", "ASTM E112, circular field", DENSITY),
        Rule("mean_area", "Mean area of whole grains", "ASTM E1382", MEAN_AREA, "whole grains"),
        Rule("heyn", "Intercept, straight lines (Heyn)", "ASTM E112; ISO 643", INTERCEPT, "intercepts", MIN_INTERCEPTS),
        Rule("abrams", "Intercept, three circles (Abrams)", "ASTM E112", INTERCEPT, "intercepts", MIN_INTERCEPTS),
    )
}
RULES = tuple(DEFINITIONS)

#: Columns of the table of all rules.
FRAME_COLUMNS = (
    *("rule", "standard", "quantity", "value", "unit", "G", "G_low", "G_high"),
    *("relative_accuracy_percent", "n", "n_inside", "n_cut", "interval_from"),
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
        n_cut: Grains that the figure's edge cuts, of the planimetric rules alone.
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
    half_width_px: float | None = None

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
        """Unit of ``value`` and ``interval``: ``1/mm^2``, ``um^2`` or ``um``, and ``1/px^2``, ``px^2`` or ``px``."""
        quantity = self.definition.quantity
        return quantity.unit_px if self.um_per_pixel is None else quantity.unit

    @property
    def factor(self) -> float:
        """What a value in pixels is multiplied by to be in ``unit``."""
        return 1.0 if self.um_per_pixel is None else self.definition.quantity.factor(self.um_per_pixel)

    @property
    def value(self) -> float | None:
        """The quantity in ``unit``."""
        return None if self.value_px is None else self.value_px * self.factor

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval in ``unit``."""
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
            "n_inside": self.n_inside,
            "n_cut": self.n_cut,
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
        ala: The largest grain (ASTM E930), of several fields the largest as-large-as one if there is any; None without
            grains.
        duplex: Hint of two populations (ASTM E1181), of several fields the clearest.
        um_per_pixel: Scale, None if unknown; of the first field where fields differ.
        directions: Counts of Heyn's lines by direction (ASTM E112, 16: grains that are not equiaxed).
        n_fields: Number of fields.
        flags: What makes the result doubtful as a whole, in words.
        test_lines: The counted test lines of ``"heyn"`` and ``"abrams"``, for drawing; empty for several fields.
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
    n_fields: int = 1
    flags: tuple[str, ...] = ()
    test_lines: dict[str, tuple[CountedLine, ...]] = field(default_factory=dict, repr=False)
    fields: tuple[GrainSize, ...] = field(default=(), repr=False)

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

    def to_frame(self) -> pd.DataFrame:
        """One row a rule: standard, quantity, value, unit, G, its interval, %RA, counts and source of the interval."""
        rows = []
        for result in self.rules:
            low, high = result.ci95 or (None, None)
            rows.append({"rule": result.rule, "G_low": low, "G_high": high, **result.to_dict()})
        return pd.DataFrame(rows, columns=FRAME_COLUMNS)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings, lists and None, ready for JSON."""
        ala = None if self.ala is None else dict(vars(self.ala))
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
            "ala": ala,
            "duplex": {**vars(self.duplex), "diameters_px": list(self.duplex.diameters_px or ())},
            # None stands for a scale that is unknown, and for fields that differ.
            "um_per_pixel": self.um_per_pixel if len({field.um_per_pixel for field in self.fields}) <= 1 else None,
            "n_fields": self.n_fields,
            "flags": list(self.flags),
        }


def grain_size(labels: np.ndarray, um_per_pixel: float | None = None) -> GrainSize:
    """Grain size of one field by every rule.

    Works on any label image: grains side by side, or with boundaries of 0 drawn between them (up to 6 px wide); wider
    runs of 0 are pores or gaps. The labels are measured as given and N_A refers to the whole field, gaps included.

    The intervals of a single field come from how counts scatter: for the planimetric rules from the number of grains
    (see ``field_dispersion``), for the intercepts from blocks of the field or from the placements of the circles, never
    narrower than the scatter of the grain density implies. Several fields say more: see ``average_fields``.

    Args:
        labels: Integer image (H, W); 0 is boundary, gap or background, each other number one grain in one piece.
        um_per_pixel: Side of a pixel in um.

    Returns:
        All results. An image without grains gives values of None and a flag.

    Raises:
        MeasurementError: The label image has the wrong shape, type or range.
        ScaleError: ``um_per_pixel`` is not a positive finite number.
    """
    labels = as_label_image(labels)
    um_per_pixel = as_scale(um_per_pixel)
    labels, _, ids = relabel_sequential(labels)  # ids of other tools may run into the millions
    boxes = grain_boxes(labels)
    area = np.bincount(labels.ravel())[1:].astype(float)
    is_cut = touches_edge(boxes, labels.shape)
    closed = close_boundaries(labels)

    rectangle = count_rectangle(labels, boxes)
    circle = count_circle(labels, boxes)
    measured = field_dispersion(labels, boxes)
    dispersion = 1.0 if measured is None else measured
    source = "counting statistics, sqrt(n) as for grains from independent nuclei"
    if measured is not None:
        source = f"counting statistics, {measured:.2f} sqrt(n) from quadrats of the field"
    # The edge of the field is known to a pixel, which shifts a count by as much; lattices scatter less than that.
    rim = 1 / labels.shape[0] + 1 / labels.shape[1]

    planimetric = partial(_planimetric_result, dispersion=dispersion, rim=rim, source=source, um_per_pixel=um_per_pixel)
    grain_diameter = np.sqrt(labels.size / rectangle.equivalent) if rectangle.equivalent > 0 else float(labels.size)
    heyn = tuple(count_intercepts(closed, line) for line in heyn_lines(labels.shape, HEYN_SPACING * grain_diameter))
    abrams = tuple(count_intercepts(closed, line) for line in abrams_circles(labels.shape, grain_diameter))
    # l goes with N_A^(-1/2): its relative scatter is at least half that of the number of grains.
    least = COVERAGE_FACTOR * dispersion / np.sqrt(max(rectangle.equivalent, 1)) / 2
    saltykov = planimetric("saltykov", rectangle)
    directions = count_directions(heyn)
    return GrainSize(
        saltykov=saltykov,
        jeffries=planimetric("jeffries", circle),
        mean_area=_mean_area(area[~is_cut], dispersion, um_per_pixel, _drawn_boundary_flag(labels, closed)),
        heyn=_intercept_result("heyn", heyn, _blocks_of(heyn, labels.shape), "blocks", least, um_per_pixel),
        abrams=_abrams_result(abrams, labels.shape, least, um_per_pixel),
        ala=_largest_grain(np.asarray(ids)[1:], area, is_cut, rectangle.equivalent, um_per_pixel),
        duplex=duplex_hint(area),
        um_per_pixel=um_per_pixel,
        directions=directions,
        flags=(*_field_flags(closed), *_elongation_flags(directions), *_scale_flags(saltykov.G)),
        test_lines={"heyn": heyn, "abrams": abrams},
    )


def average_fields(results: Sequence[GrainSize], names: Sequence[str] | None = None) -> GrainSize:
    """Average fields of one specimen, with the spread over them (ASTM E112, 15).

    N_A, mean areas and intercepts are averaged and only then converted to G; 95 % CI = t(0.975, n - 1) s / sqrt(n) and
    %RA = 100 CI / mean.

    Args:
        results: One or more fields, all with a scale or all without; without one all must have the same pixel size.
        names: Their names, for messages and flags; numbers from 1 if left out.

    Returns:
        The averages; ``.fields`` holds the single fields. One field gives itself.

    Raises:
        MeasurementError: No field.
        ScaleError: Some fields have a scale and some have none.
    """
    results = tuple(results)
    if not results:
        raise MeasurementError("There is no field to average; one at least is expected. Count some images first.")
    names = names or [f"field {number}" for number in range(1, len(results) + 1)]
    without_scale = [name for name, result in zip(names, results, strict=True) if result.um_per_pixel is None]
    if 0 < len(without_scale) < len(results):
        raise ScaleError(
            f"There is no mean: these fields have no scale and the others have one: {', '.join(without_scale)}. "
            "A scale for each, or for none, is expected. Give those theirs, or take them apart."
        )
    if len(results) == 1:
        return results[0]
    first_scale = results[0].um_per_pixel
    numbered = list(enumerate(results, start=1))
    largest = [replace(result.ala, field=number) for number, result in numbered if result.ala is not None]
    # An as-large-as grain is so beside the grains of its own field; another field may have larger ones that are not.
    ala = max(
        largest,
        key=lambda ala: (ala.is_ala, ala.area_px * (results[ala.field - 1].um_per_pixel or 1) ** 2),
        default=None,
    )
    hints = [replace(result.duplex, field=number) for number, result in numbered]
    duplex = max(hints, key=lambda hint: (hint.is_duplex, hint.difference))
    directions = tuple(
        sum_directions(same, [result.um_per_pixel / first_scale if first_scale else 1.0 for result in results])
        for same in zip(*(result.directions for result in results), strict=True)
    )
    flags = [f"{name}: {flag}" for name, result in zip(names, results, strict=True) for flag in result.flags]
    return GrainSize(
        **{rule: _average([getattr(result, rule) for result in results], names) for rule in RULES},
        ala=ala,
        duplex=duplex,
        um_per_pixel=first_scale,
        directions=directions,
        n_fields=len(results),
        flags=(*_elongation_flags(directions), *flags),
        fields=results,
    )


def _average(results: list[RuleResult], names: Sequence[str]) -> RuleResult:
    """Mean and t interval over fields of one rule, in the pixels of the first field."""
    first = results[0]
    counted = [result for result in results if result.value_px is not None]
    values = np.array([result.value / first.factor for result in counted])
    total = float(sum(result.n for result in results))
    flags = list(first.definition.too_few(total))
    # More fields mend small numbers, but nothing else that one field suffers from.
    for name, result in zip(names, results, strict=True):
        flags += [f"{name}: {flag}" for flag in result.flags if flag not in result.definition.too_few(result.n)]
    if len(counted) < len(results):
        flags.append(f"{len(results) - len(counted)} of {len(results)} fields gave no value and were left out")
    mean = float(values.mean()) if len(values) else None
    interval = half = None
    if len(values) > 1:
        half = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
        if half < mean:
            interval = (mean - half, mean + half)
        else:
            flags.append("the fields differ so much that their interval holds zero; measure more fields")
        if 100 * half / mean > ACCEPTABLE_RELATIVE_ACCURACY:
            flags.append(f"relative accuracy {100 * half / mean:.1f} %, over 10 %; measure more fields")
    source = f"spread over {len(values)} fields, t s / sqrt(n) (ASTM E112, 15)"
    inside, cut = (
        None if first.n_inside is None else sum(getattr(result, part) for result in results)
        for part in ("n_inside", "n_cut")
    )
    return replace(
        first,
        value_px=mean,
        interval_px=interval,
        n=total,
        ci_method=source,
        flags=tuple(flags),
        n_inside=inside,
        n_cut=cut,
        half_width_px=half,
    )


def _log_interval(value: float | None, half_width: float | None) -> tuple[float, float] | None:
    """Interval of a positive value whose logarithm is known to ``half_width``."""
    if value is None or half_width is None:
        return None
    return float(value * np.exp(-half_width)), float(value * np.exp(half_width))


def _planimetric_result(
    rule: str, counted: PlanimetricCount, *, dispersion: float, rim: float, source: str, um_per_pixel: float | None
) -> RuleResult:
    """Grains per area of a counted figure; the interval is `dispersion` sqrt(n), and `rim` for the figure's edge."""
    count = counted.equivalent
    density = count / counted.area_px if count > 0 else None
    half_width = COVERAGE_FACTOR * dispersion / np.sqrt(count) + rim if count >= MIN_GRAINS_FOR_INTERVAL else None
    return RuleResult(
        rule=rule,
        value_px=density,
        interval_px=_log_interval(density, half_width),
        n=count,
        ci_method=source,
        um_per_pixel=um_per_pixel,
        flags=DEFINITIONS[rule].too_few(count),
        n_inside=counted.inside,
        n_cut=counted.cut,
    )


def _mean_area(areas: np.ndarray, dispersion: float, um_per_pixel: float | None, flags: tuple[str, ...]) -> RuleResult:
    """E1382 mean area of whole grains; the interval is s / sqrt(n) of the areas or that of their number if wider."""
    count = len(areas)
    mean = float(areas.mean()) if count else None
    interval = None
    if count >= MIN_GRAINS_FOR_INTERVAL:
        own = stats.t.ppf(0.975, count - 1) * areas.std(ddof=1) / mean / np.sqrt(count)
        interval = _log_interval(mean, max(own, COVERAGE_FACTOR * dispersion / np.sqrt(count)))
    return RuleResult(
        rule="mean_area",
        value_px=mean,
        interval_px=interval,
        n=float(count),
        ci_method="the wider of t s / sqrt(n) over the grains' areas and counting statistics",
        um_per_pixel=um_per_pixel,
        flags=DEFINITIONS["mean_area"].too_few(count) + flags,
    )


def _abrams_result(
    lines: tuple[CountedLine, ...], shape: tuple[int, int], least: float, um_per_pixel: float | None
) -> RuleResult:
    placements = np.array([line.line.group for line in lines])
    if placements[-1] >= 3:  # four placements or more: their spread is the interval
        counts = np.bincount(placements, weights=[line.intercepts for line in lines])
        lengths = np.bincount(placements, weights=[line.length_px for line in lines])
        return _intercept_result("abrams", lines, (counts, lengths), "placements", least, um_per_pixel)
    return _intercept_result("abrams", lines, _blocks_of(lines, shape), "blocks", least, um_per_pixel)


def _intercept_result(
    rule: str,
    lines: tuple[CountedLine, ...],
    parts: tuple[np.ndarray, np.ndarray],
    parts_name: str,
    least: float,
    um_per_pixel: float | None,
) -> RuleResult:
    """Mean lineal intercept of counted lines, with the scatter of crossings per length over parts of the field.

    Args:
        rule: Name of the rule.
        lines: The counted lines.
        parts: Crossings and lengths in px of the parts, each (k,).
        parts_name: What the parts are, for the interval's source.
        least: Smallest half width of the interval of log l.
        um_per_pixel: Scale.
    """
    intercepts = float(sum(line.intercepts for line in lines))
    length = float(sum(line.length_px for line in lines))
    counts, lengths = parts
    counts, lengths = counts[lengths > 0], lengths[lengths > 0]
    half_width = None
    if len(counts) > 1 and counts.sum() > 0:
        # Ratio estimator: the residuals of the counts about their common rate.
        residuals = counts - lengths * counts.sum() / lengths.sum()
        scatter = np.sqrt((residuals**2).sum() * len(counts) / (len(counts) - 1)) / counts.sum()
        half_width = max(least, stats.t.ppf(0.975, len(counts) - 1) * scatter)
    intercept = length / intercepts if intercepts > 0 else None
    source = f"spread of the intercepts over {len(counts)} {parts_name} of the field, or half that of the grain count"
    return RuleResult(
        rule=rule,
        value_px=intercept,
        interval_px=_log_interval(intercept, half_width),
        n=intercepts,
        ci_method=source,
        um_per_pixel=um_per_pixel,
        flags=DEFINITIONS[rule].too_few(intercepts),
    )


def _blocks_of(lines: tuple[CountedLine, ...], shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Crossings and test-line lengths in INTERCEPT_BLOCKS x INTERCEPT_BLOCKS blocks of the field, each (k,)."""

    def block(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        return rows * INTERCEPT_BLOCKS // shape[0] * INTERCEPT_BLOCKS + columns * INTERCEPT_BLOCKS // shape[1]

    counts, lengths = np.zeros((2, INTERCEPT_BLOCKS**2))
    for counted in lines:
        line = counted.line
        counts += np.bincount(block(*counted.crossings.T), minlength=len(counts))
        share = counted.length_px / len(line.rows)
        lengths += share * np.bincount(block(line.rows, line.columns), minlength=len(lengths))
    return counts, lengths


def _largest_grain(
    ids: np.ndarray, area: np.ndarray, is_cut: np.ndarray, count: float, um_per_pixel: float | None
) -> AlaGrain | None:
    """The largest grain and whether it is as-large-as (ASTM E930), against the mean area of `count` grains."""
    if len(area) == 0:
        return None
    largest = int(area.argmax())
    coarser = np.log2(area / (area.sum() / count))  # in G numbers
    share = float(area[coarser >= ALA_DIFFERENCE].sum() / area.sum())
    return AlaGrain(
        label=int(ids[largest]),
        area_px=float(area[largest]),
        G=None if um_per_pixel is None else MEAN_AREA.G(area[largest], um_per_pixel),
        difference=float(coarser[largest]),
        area_share=share,
        is_ala=bool(coarser[largest] >= ALA_DIFFERENCE and share <= ALA_AREA_SHARE),
        touches_edge=bool(is_cut[largest]),
    )


def _drawn_boundary_flag(labels: np.ndarray, closed: np.ndarray) -> tuple[str, ...]:
    grains, tessellated = np.count_nonzero(labels), np.count_nonzero(closed)
    if grains == 0 or (tessellated - grains) / tessellated <= BOUNDARY_SHARE:
        return ()
    shift = np.log2(tessellated / grains)
    return (
        f"drawn boundaries cover {(tessellated - grains) / tessellated:.0%} of the grains, which makes this G about "
        f"{shift:.2f} higher",
    )


def _elongation_flags(directions: tuple[Direction, ...]) -> tuple[str, ...]:
    if any(direction.intercept_px is None for direction in directions):
        return ()
    long = max(directions, key=lambda direction: direction.intercept_px)
    short = min(directions, key=lambda direction: direction.intercept_px)
    ratio = long.intercept_px / short.intercept_px
    # Crossings scatter less than independent events do.
    chance = np.exp(3 * np.sqrt(1 / long.intercepts + 1 / short.intercepts))
    if ratio <= max(ELONGATED, chance):
        return ()
    return (
        f"the grains are elongated: intercepts are {ratio:.1f} times as long at {long.degrees} degrees as at "
        f"{short.degrees}; one section does not tell their size in space (ASTM E112, grains that are not equiaxed)",
    )


def _scale_flags(G: float | None) -> tuple[str, ...]:
    if G is None or PLAUSIBLE_G[0] <= G <= PLAUSIBLE_G[1]:
        return ()
    return (f"G {G:.1f} means grains that no micrograph shows: check the scale, in um per pixel",)


def _field_flags(closed: np.ndarray) -> tuple[str, ...]:
    gaps = 1 - np.count_nonzero(closed) / closed.size
    if gaps == 1:
        return ("no grains in the field",)
    if gaps <= FLAGGED_GAPS:
        return ()
    return (f"{gaps:.0%} of the field is no grain; grains per area count the whole field, so G reads coarser",)
