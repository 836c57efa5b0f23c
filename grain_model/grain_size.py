"""ASTM grain size of one field: E112 (planimetric, intercept), E1382 (mean area), E930, E1181, and ISO 643."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import stats
from skimage.segmentation import relabel_sequential

from .duplex import AlaGrain, duplex_hint, judge_largest
from .grain_size_result import DEFINITIONS, MEAN_AREA, GrainSize, RuleResult
from .intercepts import (
    HEYN_SPACING,
    CountedLine,
    abrams_circles,
    count_directions,
    count_intercepts,
    elongation_flags,
    heyn_lines,
)
from .label_image import as_label_image, close_boundaries, grain_boxes, touches_edge
from .planimetric import PlanimetricCount, count_circle, count_rectangle, field_dispersion
from .scale import as_scale

# Fewer grains than this bound nothing.
MIN_GRAINS_FOR_INTERVAL = 4
# From castings with grains of a centimetre to grains of some 50 nm.
PLAUSIBLE_G = (-10.0, 25.0)
# Simulated counts are slightly wider than the dispersion says; this much makes 95 % of them or more fall into the
# interval, given that the grains are spread evenly over the specimen.
COVERAGE_FACTOR = 2.15
# Blocks a side into which a field is divided for the scatter of its intercepts.
INTERCEPT_BLOCKS = 4
# Gaps over this share of the field are worth a flag.
FLAGGED_GAPS = 0.05
# Drawn boundaries over this share of the field are worth a flag.
BOUNDARY_SHARE = 0.02
# Whole grains that are smaller than all grains by this much in G are worth a flag.
FLAGGED_EDGE_BIAS = 0.05
# Above this dispersion a single field does not say how the grains are spread.
FLAGGED_DISPERSION = 1.7


def grain_size(labels: np.ndarray, um_per_pixel: float | None = None) -> GrainSize:
    """Grain size of one field by every rule.

    Works on any label image: grains side by side, or with boundaries of 0 drawn between them; what is too wide for a
    boundary, as `close_boundaries` judges it, is a pore or gap. The labels are measured as given and N_A refers to the
    whole field, gaps included.

    The intervals of a single field come from how counts scatter: for the planimetric rules from the number of grains
    (see `field_dispersion`), for the intercepts from blocks of the field or from the placements of the circles, never
    narrower than the scatter of the grain density implies. Several fields say more: see `field_mean.average_fields`.

    Args:
        labels: Integer image (H, W); 0 is boundary, gap or background, each other number one grain in one piece.
        um_per_pixel: Side of a pixel in um.

    Returns:
        All results. An image without grains gives values of None and a flag.

    Raises:
        MeasurementError: The label image has the wrong shape, type or range.
        ScaleError: `um_per_pixel` is not from 1e-6 to 1e6 um.
    """
    um_per_pixel = as_scale(um_per_pixel)
    labels, _, ids = relabel_sequential(as_label_image(labels))  # ids of other tools may run into the millions
    field = _Field.of(labels, um_per_pixel)
    diameter = np.sqrt(labels.size / field.grains.equivalent) if field.grains.equivalent > 0 else float(labels.size)
    heyn = tuple(count_intercepts(field.closed, line) for line in heyn_lines(labels.shape, HEYN_SPACING * diameter))
    abrams = tuple(count_intercepts(field.closed, line) for line in abrams_circles(labels.shape, diameter))
    saltykov = _planimetric_result(field, "saltykov", field.grains)
    directions, duplex = count_directions(heyn), duplex_hint(field.closed_areas)
    return GrainSize(
        saltykov=saltykov,
        jeffries=_planimetric_result(field, "jeffries", count_circle(field.closed, field.boxes)),
        mean_area=_mean_area(field),
        heyn=_intercept_result(field, "heyn", heyn, _blocks_of(heyn, labels.shape), "blocks"),
        abrams=_abrams_result(field, abrams),
        ala=_largest_grain(field, np.asarray(ids)[1:]),
        duplex=duplex,
        um_per_pixel=um_per_pixel,
        directions=directions,
        areas_px=field.closed_areas,
        flags=(
            *_gap_flags(field),
            *duplex.flags,
            *_spread_flags(field),
            *elongation_flags(directions),
            *_scale_flags(saltykov.G),
        ),
        test_lines={"heyn": heyn, "abrams": abrams},
    )


@dataclass(frozen=True)
class _Field:
    """A label image with what the rules need of it.

    Attributes:
        labels: int32 (H, W), 1..n without gaps, as they were given.
        closed: The same with drawn boundaries closed.
        boxes: int64 (n, 4), the grains' bounding boxes in `closed`.
        is_cut: bool (n,), whether the field's edge cuts a grain, whether or not a boundary was drawn along it.
        grains: The grains as Saltykov counts them.
        dispersion: Scatter of a count of grains in a field like this, as a multiple of sqrt(n).
        source: What the dispersion comes from, in words.
        um_per_pixel: Scale, None if unknown.
    """

    labels: np.ndarray
    closed: np.ndarray
    boxes: np.ndarray
    is_cut: np.ndarray
    grains: PlanimetricCount
    dispersion: float
    source: str
    um_per_pixel: float | None

    @classmethod
    def of(cls, labels: np.ndarray, um_per_pixel: float | None) -> _Field:
        """Close the boundaries and look at how the grains are spread."""
        closed = close_boundaries(labels)
        boxes = grain_boxes(closed)
        measured = field_dispersion(closed, boxes)
        source = "counting statistics, sqrt(n) as for grains from independent nuclei"
        if measured is not None:
            source = f"counting statistics, {measured:.2f} sqrt(n) from quadrats of the field"
        return cls(
            labels=labels,
            closed=closed,
            boxes=boxes,
            is_cut=touches_edge(boxes, labels.shape),
            grains=count_rectangle(closed, boxes),
            dispersion=1.0 if measured is None else measured,
            source=source,
            um_per_pixel=um_per_pixel,
        )

    @cached_property
    def areas(self) -> np.ndarray:
        """Float (n,), px^2, inside of the drawn boundaries."""
        return np.bincount(self.labels.ravel())[1:].astype(float)

    @cached_property
    def closed_areas(self) -> np.ndarray:
        """Float (n,), px^2, with the drawn boundaries, which take more of a small grain than of a large one."""
        return np.bincount(self.closed.ravel(), minlength=len(self.boxes) + 1)[1:].astype(float)

    def count_half_width(self, count: float) -> float:
        """Half width of the 95 % interval of the logarithm of a number of grains."""
        return COVERAGE_FACTOR * self.dispersion / np.sqrt(count)


def _log_interval(value: float | None, half_width: float | None) -> tuple[float, float] | None:
    """Interval of a positive value whose logarithm is known to `half_width`."""
    if value is None or half_width is None:
        return None
    return float(value * np.exp(-half_width)), float(value * np.exp(half_width))


def _planimetric_result(field: _Field, rule: str, counted: PlanimetricCount) -> RuleResult:
    """Grains per area of a counted figure."""
    count = counted.equivalent
    half_width = None
    if count >= MIN_GRAINS_FOR_INTERVAL:
        # The edge of the field is known to a pixel, which shifts a count by as much; lattices scatter less than that.
        height, width = field.labels.shape
        half_width = field.count_half_width(count) + 1 / height + 1 / width
    density = count / counted.area_px if count > 0 else None
    return RuleResult(
        rule=rule,
        value_px=density,
        interval_px=_log_interval(density, half_width),
        n=count,
        ci_method=field.source,
        um_per_pixel=field.um_per_pixel,
        flags=DEFINITIONS[rule].too_few(count),
        n_inside=counted.inside,
        n_cut=counted.cut,
        n_corner=counted.corners,
    )


def _mean_area(field: _Field) -> RuleResult:
    """E1382 mean area of whole grains; the interval is s / sqrt(n) of the areas or that of their number if wider."""
    areas = field.areas[~field.is_cut]
    count = len(areas)
    mean = float(areas.mean()) if count else None
    interval = None
    if count >= MIN_GRAINS_FOR_INTERVAL:
        own = stats.t.ppf(0.975, count - 1) * areas.std(ddof=1) / mean / np.sqrt(count)
        interval = _log_interval(mean, max(own, field.count_half_width(count)))
    return RuleResult(
        rule="mean_area",
        value_px=mean,
        interval_px=interval,
        n=float(count),
        ci_method="the wider of t s / sqrt(n) over the grains' areas and counting statistics",
        um_per_pixel=field.um_per_pixel,
        flags=(*DEFINITIONS["mean_area"].too_few(count), *_edge_flag(field), *_drawn_boundary_flag(field)),
    )


def _abrams_result(field: _Field, lines: tuple[CountedLine, ...]) -> RuleResult:
    placements = np.array([line.line.group for line in lines])
    if placements[-1] >= 3:  # four placements or more: their spread is the interval
        counts = np.bincount(placements, weights=[line.intercepts for line in lines])
        lengths = np.bincount(placements, weights=[line.length_px for line in lines])
        return _intercept_result(field, "abrams", lines, (counts, lengths), "placements")
    return _intercept_result(field, "abrams", lines, _blocks_of(lines, field.labels.shape), "blocks")


def _intercept_result(
    field: _Field,
    rule: str,
    lines: tuple[CountedLine, ...],
    parts: tuple[np.ndarray, np.ndarray],
    parts_name: str,
) -> RuleResult:
    """Mean lineal intercept of counted lines, with the scatter of crossings per length over parts of the field.

    Args:
        field: Where they were counted.
        rule: Name of the rule.
        lines: The counted lines.
        parts: Crossings and lengths in px of the parts, each (k,).
        parts_name: What the parts are, for the interval's source.
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
        # l goes with N_A^(-1/2): its relative scatter is at least half that of the number of grains.
        least = field.count_half_width(max(field.grains.equivalent, 1)) / 2
        half_width = max(least, stats.t.ppf(0.975, len(counts) - 1) * scatter)
    intercept = length / intercepts if intercepts > 0 else None
    source = f"spread of the intercepts over {len(counts)} {parts_name} of the field, or half that of the grain count"
    return RuleResult(
        rule=rule,
        value_px=intercept,
        interval_px=_log_interval(intercept, half_width),
        n=intercepts,
        ci_method=source,
        um_per_pixel=field.um_per_pixel,
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


def _largest_grain(field: _Field, ids: np.ndarray) -> AlaGrain | None:
    """The largest grain, by the ids that were given, and whether it is as-large-as (ASTM E930)."""
    areas, um_per_pixel = field.closed_areas, field.um_per_pixel
    if len(areas) == 0:
        return None
    largest = int(areas.argmax())
    return AlaGrain(
        label=int(ids[largest]),
        area_px=float(areas[largest]),
        G=None if um_per_pixel is None else MEAN_AREA.G(areas[largest], um_per_pixel),
        touches_edge=bool(field.is_cut[largest]),
        **judge_largest(areas, field.grains.equivalent),
    )


def _edge_flag(field: _Field) -> tuple[str, ...]:
    """Flag of what is missing because large grains reach the edge more often than small ones.

    A grain of w x h px is seen whole at (W - w)(H - h) places of a field, so weighting each by the inverse gives the
    mean area without that bias (Miles 1974, Lantuejoul 1978).
    """
    areas, boxes = field.closed_areas[~field.is_cut], field.boxes[~field.is_cut]
    if len(areas) < MIN_GRAINS_FOR_INTERVAL:
        return ()
    # A whole grain is smaller than the field by a pixel on each side at least.
    places = np.prod(field.labels.shape - (boxes[:, 2:] - boxes[:, :2]), axis=1)
    shift = np.log2(np.average(areas, weights=1 / places) / areas.mean())
    if shift <= FLAGGED_EDGE_BIAS:
        return ()
    return (
        f"grains that the edge cuts are left out, which large ones are more often: this G is about {shift:.2f} higher "
        "than that of all grains, which its interval does not cover",
    )


def _drawn_boundary_flag(field: _Field) -> tuple[str, ...]:
    grains, tessellated = np.count_nonzero(field.labels), np.count_nonzero(field.closed)
    if grains == 0 or (tessellated - grains) / tessellated <= BOUNDARY_SHARE:
        return ()
    shift = np.log2(tessellated / grains)
    return (
        f"drawn boundaries cover {(tessellated - grains) / tessellated:.0%} of the grains, which makes this G about "
        f"{shift:.2f} higher",
    )


def _gap_flags(field: _Field) -> tuple[str, ...]:
    gaps = 1 - np.count_nonzero(field.closed) / field.closed.size
    if gaps == 1:
        return ("no grains in the field",)
    if gaps <= FLAGGED_GAPS:
        return ()
    return (
        f"{gaps:.0%} of the field is no grain; grains per area count the whole field, so their G reads coarser, by up "
        f"to {-np.log2(1 - gaps):.2f}, than that of the intercepts, which leave gaps out",
    )


def _spread_flags(field: _Field) -> tuple[str, ...]:
    if field.dispersion <= FLAGGED_DISPERSION:
        return ()
    return ("fine and coarse grains are unevenly spread over the field, so its intervals are too narrow: add fields",)


def _scale_flags(G: float | None) -> tuple[str, ...]:
    if G is None or PLAUSIBLE_G[0] <= G <= PLAUSIBLE_G[1]:
        return ()
    return (f"G {G:.1f} means grains that no micrograph shows: check the scale, in um per pixel",)
