"""The mean grain size of several fields of one specimen, with the spread over them (ASTM E112, 15)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import stats

from .errors import MeasurementError, ScaleError
from .grain_size_result import RULES, GrainSize, RuleResult
from .intercepts import elongation_flags, sum_directions

# ASTM E112: per cent relative accuracy that is acceptable for most purposes.
ACCEPTABLE_RELATIVE_ACCURACY = 10.0


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
        flags=(*elongation_flags(directions), *flags),
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
