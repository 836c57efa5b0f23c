"""The mean grain size of several fields of one specimen, with the spread over them (ASTM E112, 15)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import stats

from .duplex import AlaGrain, duplex_hint, judge_largest
from .errors import MeasurementError, ScaleError
from .grain_size_result import DENSITY, INTERCEPT, MIN_INTERCEPTS, RULES, GrainSize, RuleResult
from .intercepts import are_turned, average_directions, elongation_flags
from .words import merge_alike

# ASTM E112: per cent relative accuracy that is acceptable for most purposes.
ACCEPTABLE_RELATIVE_ACCURACY = 10.0
# Fields whose spread is less than this share of what counting leaves agree by chance, or are not independent.
LEAST_SPREAD = 0.5
# Jeffries' circle counts about one grain too many: with fewer grains than this in a field, G is 0.05 too high or more.
FEW_FOR_A_CIRCLE = 29
# Of elongation: of fields at right angles to one another, and of some where the mean of all shows none.
TURNED = (
    "the grains of the fields are elongated in directions at right angles: fields of one orientation are expected, and "
    "intercepts by direction have no mean (ASTM E112, grains that are not equiaxed)"
)
ELONGATED_ALONE = "the grains are elongated, which the mean of all fields does not show; look at the fields one by one"
# Grains as large as the field are not counted rightly at its edges.
FEW_FOR_A_FIELD = 4


def average_fields(results: Sequence[GrainSize], names: Sequence[str] | None = None) -> GrainSize:
    """Average the results of single fields.

    N_A, mean areas and intercepts are averaged and only then converted to G; 95 % CI = t(0.975, n - 1) s / sqrt(n) and
    %RA = 100 CI / mean.

    Args:
        results: One or more fields, all with a scale or all without; without one all must have the same pixel size.
        names: Their names, for messages and flags; numbers from 1 if left out.

    Returns:
        The averages; `.fields` holds the single fields. One field gives itself.

    Raises:
        MeasurementError: No field, or one that is no `GrainSize`.
        ScaleError: Some fields have a scale and some have none.
    """
    results = tuple(results)
    if not results:
        raise MeasurementError("There is no field to average; one at least is expected. Count some images first.")
    if wrong := [type(result).__name__ for result in results if not isinstance(result, GrainSize)]:
        raise MeasurementError(
            f"A field is a {wrong[0]}. The grain size of each field is expected. Pass `analysis.grain_size`."
        )
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
    # Sides of the fields' pixels in those of the first field.
    sides = [1.0 if first_scale is None else result.um_per_pixel / first_scale for result in results]
    areas = np.concatenate([result.areas_px * side**2 for result, side in zip(results, sides, strict=True)])
    duplex, of_fields = duplex_hint(areas), [result.directions for result in results]
    is_turned = are_turned(of_fields)
    has_mean = all(of_fields) and not is_turned
    directions = tuple(average_directions(same, sides) for same in zip(*of_fields, strict=True)) if has_mean else ()
    elongated = (TURNED,) if is_turned else elongation_flags(directions)
    flags = merge_alike(names, [_own_flags(result, duplex.is_duplex, bool(elongated)) for result in results])
    return GrainSize(
        **{rule: _average([getattr(result, rule) for result in results], names) for rule in RULES},
        ala=_largest_grain(results, sides, areas),
        duplex=duplex,
        um_per_pixel=first_scale,
        directions=directions,
        areas_px=areas,
        n_fields=len(results),
        flags=(*duplex.flags, *elongated, *flags),
        fields=results,
    )


def _own_flags(field: GrainSize, is_duplex: bool, is_elongated: bool) -> list[str]:
    """Flags of a field, but for what is said of all of them together."""
    elongation = elongation_flags(field.directions)
    own = [flag for flag in field.flags if flag not in (*elongation, *(field.duplex.flags if is_duplex else ()))]
    return own if is_elongated or not elongation else [*own, ELONGATED_ALONE]


def _largest_grain(results: Sequence[GrainSize], sides: Sequence[float], areas: np.ndarray) -> AlaGrain | None:
    """The largest grain of all fields, judged beside all their grains."""
    largest = [
        (result.ala.area_px * side**2, replace(result.ala, field=number))
        for number, (result, side) in enumerate(zip(results, sides, strict=True), start=1)
        if result.ala is not None
    ]
    if not largest:
        return None
    _, ala = max(largest, key=lambda pair: pair[0])
    return replace(ala, **judge_largest(areas, sum(result.saltykov.n for result in results)))


def _average(results: list[RuleResult], names: Sequence[str]) -> RuleResult:
    """Mean and t interval over fields of one rule, in the pixels of the first field."""
    first = results[0]
    counted = [result for result in results if result.value_px is not None]
    values = np.array([result.value / first.factor for result in counted])
    total = float(sum(result.n for result in results))
    small = _small_fields(first, total / first.definition.repeats / len(results))
    # What small intercept fields need is not more of them.
    flags = [] if small and first.definition.quantity is INTERCEPT else list(first.definition.too_few(total))
    # More fields mend small numbers, but nothing else that one field suffers from.
    own = [[flag for flag in result.flags if flag not in result.definition.too_few(result.n)] for result in results]
    flags += merge_alike(names, own)
    flags += small
    if len(counted) < len(results):
        left_out = f"{len(results) - len(counted)} of {len(results)} fields gave no value and were left out"
        if first.definition.quantity is not DENSITY:
            left_out += "; grains as large as the field do so, and without them this G is too high"
        flags.append(left_out)
    mean = float(values.mean()) if len(values) else None
    interval = half = None
    source = f"spread over {len(values)} fields, t s / sqrt(n) (ASTM E112, 15)"
    if len(values) > 1:
        half = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
        if half < mean:
            interval = (mean - half, mean + half)
        else:
            flags.append("the fields differ so much that their interval holds zero; measure more fields")
        if 100 * half / mean > ACCEPTABLE_RELATIVE_ACCURACY:
            flags.append(f"relative accuracy {100 * half / mean:.1f} %, over 10 %; measure more fields")
        flags += _close_agreement(counted, 100 * half / mean)
    elif len(values) == 1:
        interval = tuple(end / first.factor for end in counted[0].interval or ()) or None
        source = counted[0].ci_method
    inside, cut, corners = (
        None if first.n_inside is None else sum(getattr(result, part) for result in results)
        for part in ("n_inside", "n_cut", "n_corner")
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
        n_corner=corners,
        half_width_px=half,
    )


def _small_fields(rule: RuleResult, per_field: float) -> list[str]:
    """Flag of an error that small fields make all alike, so that more of them do not mend it.

    Args:
        rule: Of one of them.
        per_field: What was counted in the mean, each grain once.
    """
    if rule.definition.quantity is INTERCEPT and 0 < per_field < MIN_INTERCEPTS:
        return [
            f"{per_field:.0f} intercepts a field in the mean, on lines that meet each grain once, fewer than "
            f"{MIN_INTERCEPTS}: in small fields they read somewhat long, and this G low, however many there are; "
            "measure larger fields"
        ]
    if rule.rule == "jeffries" and 0 < per_field < FEW_FOR_A_CIRCLE:
        return [
            f"circles of {per_field:.1f} grains in the mean count about one too many each, which makes this G higher "
            "however many there are; measure larger fields"
        ]
    if rule.definition.quantity is DENSITY and 0 < per_field < FEW_FOR_A_FIELD:
        return [
            f"{per_field:.1f} grains a field in the mean: grains as large as the field are not counted rightly; "
            "measure larger fields"
        ]
    return []


def _close_agreement(fields: Sequence[RuleResult], relative_accuracy: float) -> list[str]:
    """Flag of fields that differ by so little that the t interval of the standard cannot be believed."""
    halves = [np.log(field.interval_px[1] / field.interval_px[0]) / 2 for field in fields if field.interval_px]
    if not halves:
        return []
    by_counting = 100 * float(np.sqrt(np.mean(np.square(halves)) / len(fields)))
    if relative_accuracy >= LEAST_SPREAD * by_counting:
        return []
    return [
        f"the fields differ by less than their counts can tell: {relative_accuracy:.1f} % where counting alone leaves "
        f"about {by_counting:.0f} %. Few fields do so by chance, and fields that overlap; measure more, apart from one "
        "another"
    ]
