"""Grain-size rules on structures whose exact grain size is known."""

import json
import re

import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.stats import t as student
from skimage.segmentation import relabel_sequential

from grain_model.duplex import duplex_hint
from grain_model.errors import MeasurementError, ScaleError
from grain_model.field_mean import ELONGATED_ALONE, average_fields
from grain_model.grain_size import grain_size
from grain_model.grain_size_result import RULES, GrainSize, g_from_area, g_from_density, g_from_intercept
from grain_model.instances import label_grains
from grain_model.intercepts import HEYN_REPEATS, Direction, average_directions, count_intercepts
from grain_model.intercepts import TestLine as Line
from grain_model.label_image import grain_boxes, touches_edge
from grain_model.planimetric import count_circle, count_rectangle
from grain_model.words import merge_alike
from tests.drawn import cells, drawn_maps, squares, voronoi
from train.synthesis.polycrystal import polycrystal

UM = 0.5


def square_lattice(pitch: int, side: int) -> np.ndarray:
    """Squares whose lines fall into the field off its edges."""
    index = (np.arange(side) + pitch // 2) // pitch
    return (index[:, None] * (index[-1] + 1) + index[None] + 1).astype(np.int32)


def hexagons(pitch: float, side: int) -> np.ndarray:
    """Regular hexagons with centres `pitch` apart: area sqrt(3)/2 pitch^2, boundary per area 2/pitch."""
    row, column = np.indices((int(side / pitch / 0.866) + 4, int(side / pitch) + 4)).reshape(2, -1)
    centres = np.stack([(row - 1) * pitch * np.sqrt(3) / 2 + 0.37, (column - 1 + row % 2 / 2) * pitch + 0.21], axis=1)
    return cells(centres, (side, side))


def mean_of(*fields: np.ndarray) -> GrainSize:
    return average_fields([grain_size(labels, UM) for labels in fields])


def windows_of(specimen: np.ndarray, side: int, step: int) -> list[np.ndarray]:
    """Square fields of a specimen, row by row."""
    places = range(0, len(specimen) - side + 1, step)
    return [specimen[top : top + side, left : left + side] for top in places for left in places]


def draw_boundaries(labels: np.ndarray, width: int) -> np.ndarray:
    drawn = labels.copy()
    for shift in range(1, width + 1):
        if shift % 2:
            drawn[:, :-1][labels[:, :-1] != labels[:, 1:]] = 0
            drawn[:-1][labels[:-1] != labels[1:]] = 0
        else:
            drawn[:, 1:][labels[:, :-1] != labels[:, 1:]] = 0
            drawn[1:][labels[:-1] != labels[1:]] = 0
    return drawn


def test_conversions_agree_with_the_table_of_e112():
    # ASTM E112, table 4: G = 5 has 248 grains/mm^2, 0.00403 mm^2 and a mean intercept of 0.0566 mm.
    assert g_from_density(248.0) == pytest.approx(5, abs=0.01)
    assert g_from_area(0.00403) == pytest.approx(5, abs=0.01)
    assert g_from_intercept(0.0566) == pytest.approx(5, abs=0.01)


def test_squares():
    pitch, side = 19, 19 * 53  # no multiple of which is a diameter of the circles
    result = grain_size(square_lattice(pitch, side), UM)
    exact = g_from_density(1e6 / (pitch * UM) ** 2)
    assert result.saltykov.G == pytest.approx(exact, abs=0.01)
    assert result.jeffries.G == pytest.approx(exact, abs=0.01)
    assert result.mean_area.G == pytest.approx(exact, abs=0.01)
    # Crossings per length in direction w are (|cos w| + |sin w|) / pitch; the line lengths weight the directions.
    lines = result.test_lines["heyn"]
    lengths = {group: sum(c.length_px for c in lines if c.line.group == group) for group in (0, 45, 90, 135)}
    crossings = sum(length * (np.sqrt(2) if group % 90 else 1) / pitch for group, length in lengths.items())
    assert result.heyn.G == pytest.approx(g_from_intercept(sum(lengths.values()) / crossings * UM / 1000), abs=0.05)
    assert result.abrams.G == pytest.approx(g_from_intercept(np.pi / (2 * 2 / pitch) * UM / 1000), abs=0.05)


def test_hexagons():
    pitch, side = 22.0, 1200
    labels = hexagons(pitch, side)
    result = grain_size(labels, UM)
    area = np.sqrt(3) / 2 * pitch**2
    exact = g_from_density(1e6 / (area * UM**2))
    assert result.saltykov.G == pytest.approx(exact, abs=0.01)
    assert result.jeffries.G == pytest.approx(exact, abs=0.01)
    assert result.mean_area.G == pytest.approx(exact, abs=0.01)
    # A hexagon of area sqrt(3)/2 p^2 has the perimeter 2 sqrt(3) p, shared by two: L_A = 2 / p.
    isotropic = g_from_intercept(np.pi / (2 * 2 / pitch) * UM / 1000)
    assert result.heyn.G == pytest.approx(isotropic, abs=0.05)
    assert result.abrams.G == pytest.approx(isotropic, abs=0.05)


def planimetric_numbers(fields: list[np.ndarray]) -> tuple[float, float, float]:
    """G of the mean N_A, by Saltykov's and Jeffries' rule, and of the mean area of whole grains, for pixels of 1 um."""
    densities, areas = [], []
    for field in fields:
        labels = relabel_sequential(field)[0].astype(np.int32)
        boxes = grain_boxes(labels)
        counts = count_rectangle(labels, boxes), count_circle(labels, boxes)
        densities.append([count.equivalent / count.area_px * 1e6 for count in counts])
        areas.append(np.bincount(labels.ravel())[1:][~touches_edge(boxes, labels.shape)].mean() / 1e6)
    saltykov, jeffries = np.mean(densities, axis=0)
    return g_from_density(saltykov), g_from_density(jeffries), g_from_area(np.mean(areas))


# A field gains or loses whole rows of a lattice as it moves, so that one field of squares 31 px wide is up to 0.05 off;
# the mean over all of its places on the lattice is exact but for one grain in the circle and one pixel along the edge.
@pytest.mark.parametrize("pitch", [13, 19, 31, 45])
def test_squares_wherever_the_field_lies(pitch):
    index, side = np.arange(900), 800
    lattice = (index // pitch)[:, None] * 100 + index // pitch + 1
    places = [(down, 7 * down % pitch) for down in range(pitch)]
    fields = [lattice[down : down + side, right : right + side] for down, right in places]
    assert planimetric_numbers(fields) == pytest.approx([g_from_density(1e6 / pitch**2)] * 3, abs=0.01)


@pytest.mark.parametrize("pitch", [15.7, 20.3, 31.0])
def test_hexagons_wherever_the_field_lies(pitch):
    side, area = 800, np.sqrt(3) / 2 * pitch**2
    lattice = hexagons(pitch, side + 60)
    # Roberts' sequence spreads the places evenly over the lattice's period, with none above another.
    places = np.arange(40)[:, None] * [0.7549, 0.5698] % 1 * [pitch * np.sqrt(3), pitch]
    fields = [lattice[down : down + side, right : right + side] for down, right in places.astype(int)]
    assert planimetric_numbers(fields) == pytest.approx([g_from_density(1e6 / area)] * 3, abs=0.01)


def test_saltykov_counts_parts():
    labels = squares(3, 3, 10)
    boxes = np.array([(r, c, r + 10, c + 10) for r in (0, 10, 20) for c in (0, 10, 20)])
    count = count_rectangle(labels, boxes)
    assert (count.inside, count.cut, count.corners, count.equivalent) == (1, 4, 4, 1 + 4 / 2 + 4 / 4)


def test_jeffries_counts_parts():
    labels = np.zeros((100, 100), np.int32)
    labels[45:55, 45:55] = 1  # inside
    labels[20:30, :10] = 2  # cut by the circle
    labels[:5, :5] = 3  # beyond it
    count = count_circle(labels, grain_boxes(labels))
    assert (count.inside, count.cut, count.equivalent) == (1, 1, 1.5)
    assert count.area_px == pytest.approx(np.pi * 50**2)


def test_jeffries_cuts_grains_where_the_circle_touches_the_edge():
    labels = np.zeros((1000, 1000), np.int32)
    labels[:20, 495:505] = 1  # no pixel lies between it and the edge beyond the circle
    count = count_circle(labels, grain_boxes(labels))
    assert (count.inside, count.cut) == (0, 1)


def test_zeros_along_the_edge_do_not_make_cut_grains_whole():
    labels = draw_boundaries(voronoi(600, 250, 1), 1)
    framed = np.pad(labels[2:-2, 2:-2], 2)
    plain, other = grain_size(labels, UM), grain_size(framed, UM)
    for rule in ("saltykov", "jeffries", "mean_area", "heyn", "abrams"):
        assert getattr(other, rule).G == pytest.approx(getattr(plain, rule).G, abs=0.06), rule
    assert other.saltykov.n_cut == pytest.approx(plain.saltykov.n_cut, abs=4)


@pytest.mark.parametrize("width", [1, 2, 3])
def test_drawn_boundaries_do_not_change_the_counts(width):
    labels = voronoi(600, 250, 1)
    plain, drawn = grain_size(labels, UM), grain_size(draw_boundaries(labels, width), UM)
    for rule, tolerance in (("saltykov", 0.02), ("jeffries", 0.02), ("heyn", 0.04), ("abrams", 0.06)):
        assert getattr(drawn, rule).G == pytest.approx(getattr(plain, rule).G, abs=tolerance), rule
    assert any("drawn boundaries" in flag for flag in drawn.mean_area.flags)
    assert not any("drawn boundaries" in flag for flag in plain.mean_area.flags)


def row_line(width: int) -> Line:
    return Line(np.zeros(width, int), np.arange(width), 1.0, False, 0)


@pytest.mark.parametrize(
    ("pixels", "intercepts", "length"),
    [
        ([1] * 10, 0, 9),  # one grain, cut at both ends
        ([1] * 5 + [2] * 5, 1, 9),
        ([0] * 5 + [1] * 5, 0.5, 4.5),  # begins on the grain's surface
        ([0] * 3 + [1] * 4 + [0] * 3, 1, 4),  # the whole grain
        ([1] * 3 + [0] * 4 + [2] * 3, 1, 5),  # a gap between two grains is one boundary
        ([1] * 3 + [0] * 4 + [1] * 3, 0, 5),  # a pore in a grain is none
        ([0] * 10, 0, 0),
    ],
)
def test_intercepts_along_a_row(pixels, intercepts, length):
    counted = count_intercepts(np.array([pixels], np.int32), row_line(len(pixels)))
    assert counted.intercepts == intercepts
    assert counted.length_px == length


def test_a_line_along_a_staircase_crosses_once():
    labels = np.ones((40, 40), np.int32)
    labels[np.indices((40, 40))[0] > 20 + np.indices((40, 40))[1] // 20] = 2
    wobble = Line(21 + (np.arange(40) % 4 > 1) - (np.arange(40) < 5), np.arange(40), 1.0, False, 0)
    flicker = labels[wobble.rows, wobble.columns]
    assert np.count_nonzero(np.diff(flicker)) > 3
    assert count_intercepts(labels, wobble).intercepts <= 1


def test_circle_counts_each_boundary_once():
    labels = np.ones((101, 101), np.int32)
    labels[:, 51:] = 2
    labels[51:] += 2
    angle = np.linspace(0, 2 * np.pi, 400, endpoint=False) + 0.01
    circle = Line(
        np.round(50 + 40 * np.sin(angle)).astype(int), np.round(50 + 40 * np.cos(angle)).astype(int), 1.0, True, 0
    )
    assert count_intercepts(labels, circle).intercepts == 4


def test_intercepts_of_random_cells():
    # Poisson-Voronoi cells have L_A = 2 sqrt(N_A), so l = pi / (4 sqrt(N_A)): +0.36 in G beside the planimetric rule.
    nuclei = np.random.default_rng(2).random((1440, 2)) * 1200 - 100  # also around the field of 1000 px, 1000 within
    result = grain_size(cells(nuclei, (1000, 1000)), UM)
    per_mm2 = 1e-3 * 1e6 / UM**2
    assert result.saltykov.G == pytest.approx(g_from_density(per_mm2), abs=0.03)
    assert result.heyn.G == pytest.approx(g_from_intercept(np.pi / 4 / np.sqrt(per_mm2)), abs=0.05)
    assert result.abrams.G == pytest.approx(g_from_intercept(np.pi / 4 / np.sqrt(per_mm2)), abs=0.05)


@pytest.mark.parametrize("kind", ["random", pytest.param("relaxed", marks=pytest.mark.slow)])
def test_crops_agree_within_their_interval(kind):
    side, crop, grains = 1200, 240, 6000
    rng = np.random.default_rng(5)
    points = rng.random((grains, 2)) * side
    if kind == "relaxed":
        for _ in range(2):
            samples = rng.random((20 * grains, 2)) * side
            owner = cKDTree(points).query(samples)[1]
            count = np.maximum(np.bincount(owner, minlength=grains), 1)
            points = np.stack([np.bincount(owner, samples[:, k], grains) / count for k in (0, 1)], axis=1)
    large = cells(points, (side, side))
    exact = g_from_density(grains / (side * UM / 1000) ** 2)
    numbers, widths, held = [], [], 0
    for _ in range(200):
        top, left = rng.integers(0, side - crop, 2)
        result = grain_size(large[top : top + crop, left : left + crop], UM).saltykov
        low, high = result.ci95
        numbers.append(result.G)
        widths.append(high - low)
        held += low <= exact <= high
    spread = np.diff(np.percentile(numbers, [2.5, 97.5]))[0]
    assert held >= 190
    assert np.mean(widths) <= 2 * spread


def test_interval_of_a_lattice_is_narrower_than_poisson():
    regular = grain_size(hexagons(20.0, 500), UM).saltykov
    random = grain_size(voronoi(500, 720, 3), UM).saltykov
    width = [np.diff(result.ci95)[0] for result in (regular, random)]
    assert width[0] < 0.6 * width[1]


def test_scale_free_result_keeps_pixel_figures():
    labels = voronoi(400, 150, 4)
    bare, scaled = grain_size(labels), grain_size(labels, 2.0)
    for rule in RULES:
        result = getattr(bare, rule)
        assert result.G is None and result.ci95 is None
        assert result.value_px == getattr(scaled, rule).value_px
        assert result.relative_accuracy == pytest.approx(getattr(scaled, rule).relative_accuracy)
    assert bare.N_A_mm2 is None and bare.iso643 is None and bare.heyn.unit == "px"
    assert scaled.heyn.unit == "um" and scaled.heyn.value == pytest.approx(2 * bare.heyn.value)
    assert scaled.N_A_mm2 == pytest.approx(bare.saltykov.value_px * 1e6 / 4)
    assert scaled.iso643 == pytest.approx(scaled.saltykov.G - 0.046, abs=0.001)


def test_enlarged_image_gives_the_same_numbers():
    labels = voronoi(400, 120, 6)
    small, large = grain_size(labels, 1.0), grain_size(np.kron(labels, np.ones((2, 2), np.int32)), 0.5)
    for rule, tolerance in (
        ("saltykov", 1e-9),
        ("mean_area", 1e-9),
        ("jeffries", 0.02),
        ("heyn", 0.03),
        ("abrams", 0.05),
    ):
        assert getattr(large, rule).G == pytest.approx(getattr(small, rule).G, abs=tolerance), rule


def test_permuted_and_distant_ids_change_nothing():
    labels = voronoi(300, 100, 7)
    new_ids = np.random.default_rng(0).choice(10**7, labels.max() + 1, replace=False).astype(np.int64) + 1
    first, second = grain_size(labels, UM), grain_size(new_ids[labels], UM)
    for rule in RULES:
        assert getattr(first, rule).G == getattr(second, rule).G


def test_no_grains_is_flagged_and_does_not_crash():
    result = grain_size(np.zeros((60, 80), int), UM)
    assert all(rule.G is None and rule.n == 0 for rule in result.rules)
    assert result.ala is None
    assert "no grains in the field" in result.flags
    json.dumps(result.to_dict(), allow_nan=False)


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (40, 40)])
def test_one_grain_is_flagged(shape):
    result = grain_size(np.ones(shape, int), UM)
    assert result.saltykov.flags and result.heyn.flags
    assert result.saltykov.ci95 is None
    json.dumps(result.to_dict(), allow_nan=False)


def test_enough_grains_raise_no_flag():
    result = grain_size(voronoi(600, 300, 8), UM)
    assert result.flags == ()
    assert all(rule.flags == () for rule in result.rules)
    low, high = result.saltykov.ci95
    assert low < result.saltykov.G < high
    json.dumps(result.to_dict(), allow_nan=False)


def test_mostly_empty_field_is_flagged():
    labels = voronoi(400, 150, 9)
    labels[:, 200:] = 0
    assert any("no grain" in flag for flag in grain_size(labels, UM).flags)


def test_ala_grain():
    labels = square_lattice(12, 600)
    labels[200:260, 200:260] = labels.max() + 1  # 25 times the area of the others: 4.6 numbers coarser
    result = grain_size(labels, UM)
    assert result.ala.is_ala
    assert result.ala.label == labels[230, 230]
    assert result.ala.difference == pytest.approx(np.log2(25), abs=0.1)
    assert result.ala.G == pytest.approx(g_from_area(3600 * UM**2 * 1e-6))
    assert not grain_size(square_lattice(12, 600), UM).ala.is_ala


def test_drawn_boundaries_make_no_grain_as_large_as():
    """They take a fifth and more of small grains, a tenth of a large one."""
    labels = square_lattice(20, 400)
    labels[100:152, 100:152] = labels.max() + 1
    parted, _ = label_grains(drawn_maps(labels))
    assert parted.max() == len(np.unique(labels)) and 0.1 < (parted == 0).mean() < 0.2
    plain, drawn = grain_size(labels, UM).ala, grain_size(parted, UM).ala
    assert drawn.difference == pytest.approx(plain.difference, abs=0.02)
    assert drawn.is_ala == plain.is_ala
    assert drawn.G == pytest.approx(plain.G, abs=0.02)


def test_ala_grain_is_coarser_than_saltykovs_mean():
    labels = voronoi(500, 200, 12)
    result = grain_size(labels, UM)
    expected = result.saltykov.G - result.ala.G
    # All of the field is grain, so that both means are of the same area.
    assert result.ala.difference == pytest.approx(expected, abs=0.01)


def test_elongated_grains_are_told_by_direction():
    tall = grain_size(np.repeat(voronoi(300, 400, 13), 4, axis=0), UM)
    across, _, along, _ = tall.directions
    assert [direction.degrees for direction in tall.directions] == [0, 45, 90, 135]
    assert along.intercept_px / across.intercept_px == pytest.approx(4, rel=0.1)
    assert tall.anisotropy == pytest.approx(4, rel=0.1)
    assert any("elongated" in flag and "at 90 degrees as at 0" in flag for flag in tall.flags)
    assert sum(d.length_px for d in tall.directions) / sum(d.intercepts for d in tall.directions) == pytest.approx(
        tall.heyn.value_px
    )
    document = tall.to_dict()
    assert document["directions"][2]["mean_lineal_intercept"] == pytest.approx(along.intercept_px * UM)
    assert document["directions"][2]["unit"] == "um" and document["anisotropy"] == tall.anisotropy
    round_ = grain_size(voronoi(600, 300, 14), UM)
    assert round_.anisotropy < 1.3 and not any("elongated" in flag for flag in round_.flags)


def test_bands_through_the_whole_field_are_elongated():
    bands = np.repeat(np.arange(1, 31), 20)[:, None] * np.ones((1, 600), int)
    (flag,) = (flag for flag in grain_size(bands, UM).flags if "elongated" in flag)
    assert "at least" in flag and "at 0 degrees as at 90" in flag


def test_intercepts_are_too_few_where_their_lines_meet_few_grains():
    few, enough = grain_size(square_lattice(100, 500), UM).heyn, grain_size(square_lattice(100, 800), UM).heyn
    (flag,) = few.flags
    assert few.n > 40 and "fewer than 40" in flag
    assert int(re.search(r"which stand for (\d+)", flag)[1]) == pytest.approx(25, rel=0.15)
    assert enough.flags == ()
    assert grain_size(np.ones((50, 50), int), UM).saltykov.flags[0].startswith("1 grain counted")


def test_few_grains_are_not_called_elongated_by_chance():
    called = [grain_size(voronoi(150, 12, seed)).flags for seed in range(40)]
    assert sum(any("elongated" in flag for flag in flags) for flags in called) <= 1


def test_the_mean_of_a_direction_is_that_of_its_fields():
    fine, coarse = grain_size(voronoi(400, 400, 1), UM), grain_size(voronoi(400, 60, 2), UM)
    both = average_fields([fine, coarse])
    for of_fields, mean in zip(zip(fine.directions, coarse.directions, strict=True), both.directions, strict=True):
        assert mean.intercept_px == pytest.approx(np.mean([each.intercept_px for each in of_fields]))
    # As that of the rule, which the directions make up.
    lengths = [direction.intercept_px for direction in both.directions]
    assert min(lengths) < both.heyn.value_px < max(lengths)


def test_a_field_without_an_intercept_in_a_direction_counts_with_its_length():
    fields = [Direction(0, 2000.0, 0.0), Direction(0, 1000.0, 2.0)]
    assert average_directions(fields, [1.0, 2.0]) == Direction(0, 4000.0, 2.0)


def test_directions_of_fields_add_up_in_the_pixels_of_the_first():
    labels = voronoi(300, 100, 15)
    both = average_fields([grain_size(labels, UM), grain_size(np.kron(labels, np.ones((2, 2), int)), UM / 2)])
    for one, together in zip(both.fields[0].directions, both.directions, strict=True):
        assert together.intercept_px == pytest.approx(one.intercept_px, rel=0.03)


def test_elongation_is_judged_on_all_fields_together():
    fields = [np.repeat(voronoi(150, 40, seed), 3, axis=0)[::2] for seed in range(12)]
    together = mean_of(*fields)
    assert together.anisotropy == pytest.approx(1.5, rel=0.1)
    assert together.flags[0].startswith("the grains are elongated")


def test_fields_that_are_elongated_at_right_angles_have_no_mean_direction():
    tall = np.repeat(voronoi(150, 100, 13), 4, axis=0)
    mean = mean_of(tall, tall.T)
    (flag,) = (flag for flag in mean.flags if "elongated" in flag)
    assert "right angles" in flag and mean.directions == () and mean.anisotropy is None
    assert mean.to_dict()["directions"] == []
    alike = mean_of(tall, np.repeat(voronoi(150, 100, 14), 4, axis=0))
    (flag,) = (flag for flag in alike.flags if "elongated" in flag)
    assert flag.startswith("the grains are elongated") and "at 90 degrees as at 0" in flag
    among = mean_of(tall[::4], tall, *(voronoi(300, 60, seed) for seed in range(9)))
    assert [flag for flag in among.flags if "elongated" in flag] == [f"field 2: {ELONGATED_ALONE}"]


def test_fields_of_unlike_scales_have_none_in_common():
    labels = square_lattice(20, 200)
    for scale, common in ((2 * UM, None), (UM, UM)):
        both = average_fields([grain_size(labels, UM), grain_size(labels, scale)])
        assert both.to_dict()["um_per_pixel"] == common


def test_fields_that_differ_much_still_have_a_relative_accuracy():
    fields = mean_of(square_lattice(10, 300), square_lattice(50, 300))
    values = np.array([field.saltykov.value for field in fields.fields])
    half = student.ppf(0.975, 1) * values.std(ddof=1) / np.sqrt(2)
    assert half > values.mean() and fields.saltykov.ci95 is None
    assert fields.saltykov.relative_accuracy == pytest.approx(100 * half / values.mean())


def test_ala_grain_is_judged_beside_the_grains_of_all_fields():
    small = square_lattice(12, 150)
    large = small.copy()
    large[48:84, 48:84] = large.max() + 1  # nine grains in one: 6 % of its own field, 1 % of all
    assert not grain_size(large, UM).ala.is_ala
    fields = [grain_size(small, UM) for _ in range(4)]
    ala = average_fields([*fields, grain_size(large, UM)]).ala
    assert ala.is_ala and ala.field == 5 and ala.area_px == 1296
    assert ala.difference == pytest.approx(np.log2(9), abs=0.15)
    half_magnified = grain_size(small[::2, ::2], 2 * UM)
    assert average_fields([half_magnified, *fields[1:], grain_size(large, UM)]).ala.is_ala


def test_fields_of_one_specimen_that_differ_are_duplex():
    fine, coarse = voronoi(600, 900, 10), voronoi(600, 60, 11)
    assert not grain_size(fine, UM).duplex.is_duplex and not grain_size(coarse, UM).duplex.is_duplex
    hint = mean_of(fine, coarse).duplex
    assert hint.is_duplex and hint.difference == pytest.approx(np.log2(900 / 60), abs=1.2)
    assert hint.coarse_area_share == pytest.approx(0.5, abs=0.15)


def test_two_populations_are_told_once():
    fine, coarse = voronoi(600, 900, 10), voronoi(600, 40, 11)
    mixed = fine.copy()
    mixed[:, 300:] = coarse[:, 300:] + fine.max()
    for result in (grain_size(mixed, UM), mean_of(mixed, mixed.T)):
        (flag,) = (flag for flag in result.flags if "populations" in flag)
        assert flag.startswith("there are two populations of grains") and "E1181" in flag
    single = mean_of(mixed, *(voronoi(600, 900, seed) for seed in range(20)))
    (told,) = (flag for flag in single.flags if "populations" in flag)
    assert not single.duplex.is_duplex and told.startswith("field 1: there are two populations")


def test_duplex_hint():
    fine, coarse = voronoi(600, 900, 10), voronoi(600, 40, 11)
    mixed = fine.copy()
    mixed[:, 300:] = coarse[:, 300:] + fine.max()
    hint = grain_size(mixed, UM).duplex
    assert hint.is_duplex
    assert hint.difference == pytest.approx(np.log2(900 / 40), abs=1.2)
    assert hint.coarse_area_share == pytest.approx(0.5, abs=0.15)
    assert not grain_size(fine, UM).duplex.is_duplex


def test_wide_distribution_of_one_population_is_rarely_called_duplex():
    rng = np.random.default_rng(0)
    fields = [500 * np.exp(rng.normal(0, 1.4, 60)) for _ in range(100)]
    assert sum(duplex_hint(area).is_duplex for area in fields) <= 5


def test_interval_names_quadrats_only_where_the_field_has_them():
    assert "quadrats" in grain_size(voronoi(600, 300, 8)).saltykov.ci_method
    assert "quadrats" not in grain_size(square_lattice(25, 100)).saltykov.ci_method


def test_fields_average_first_and_convert_then():
    fields = [voronoi(400, count, count) for count in (130, 150, 180)]
    result = mean_of(*fields)
    densities = np.array([grain_size(labels, UM).saltykov.value for labels in fields])
    half = student.ppf(0.975, 2) * densities.std(ddof=1) / np.sqrt(3)
    assert result.n_fields == 3
    assert result.saltykov.G == pytest.approx(g_from_density(densities.mean()))
    assert result.saltykov.relative_accuracy == pytest.approx(100 * half / densities.mean())
    assert result.saltykov.n == sum(field.saltykov.n for field in result.fields)
    assert any("relative accuracy" in flag for flag in result.saltykov.flags)
    for part in ("n_inside", "n_cut", "n_corner"):
        assert getattr(result.saltykov, part) == sum(getattr(field.saltykov, part) for field in result.fields)
    assert result.saltykov.n == result.saltykov.n_inside + result.saltykov.n_cut / 2 + result.saltykov.n_corner / 4
    assert result.heyn.n_inside is None and result.heyn.n_independent == pytest.approx(result.heyn.n / HEYN_REPEATS)
    largest = [field.ala.area_px for field in result.fields]
    assert result.ala.field == 1 + largest.index(max(largest)) and result.fields[0].ala.field == 1
    assert result.ala.area_px == max(largest)


def test_flags_of_fields_name_them():
    few, many = grain_size(voronoi(200, 12, 0), UM), grain_size(voronoi(400, 150, 1), UM)
    blank = grain_size(np.zeros((100, 100), np.int32), UM)
    for names, told in ((None, "field 3: "), (("a.tif", "b.tif", "c.tif"), "c.tif: ")):
        flags = average_fields([few, many, blank], names).flags
        assert flags and all(flag.startswith(told) for flag in flags)


def test_fields_of_different_scale_agree():
    labels = voronoi(400, 150, 12)
    enlarged = np.kron(labels, np.ones((2, 2), np.int32))
    result = average_fields([grain_size(labels, 1.0), grain_size(enlarged, 0.5)])
    assert result.saltykov.G == pytest.approx(grain_size(labels, 1.0).saltykov.G)
    assert result.mean_area.ci95 == pytest.approx((result.mean_area.G,) * 2)


def test_means_of_fields_can_be_averaged_again():
    fields = [grain_size(voronoi(300, 100, seed), UM) for seed in (1, 2, 3, 4)]
    at_once, again = average_fields(fields), average_fields([average_fields(fields[:2]), average_fields(fields[2:])])
    assert again.saltykov.value == pytest.approx(at_once.saltykov.value)
    assert (again.ala.difference, again.ala.area_share) == pytest.approx(
        (at_once.ala.difference, at_once.ala.area_share)
    )
    assert again.duplex == at_once.duplex


def test_one_field_is_one_field():
    labels = voronoi(300, 100, 13)
    assert mean_of(labels).saltykov == grain_size(labels, UM).saltykov


def test_an_empty_field_is_left_out_and_named():
    fields = [voronoi(400, 150, 14), np.zeros((400, 400), int), voronoi(400, 150, 15)]
    result = mean_of(*fields)
    assert any("1 of 3 fields" in flag for flag in result.saltykov.flags)
    assert result.saltykov.G is not None


def test_a_scale_that_gives_absurd_grains_is_doubted():
    labels = voronoi(300, 100, 13)
    assert not any("check the scale" in flag for flag in grain_size(labels, UM).flags)
    for scale in (1e-4, 1e4):
        assert any("check the scale" in flag for flag in grain_size(labels, scale).flags)
    with pytest.raises(ScaleError, match="1e-06 to 1e"):
        grain_size(labels, 1e200)


def test_what_one_field_suffers_from_is_told_of_the_mean():
    thin = np.kron(voronoi(40, 12, 3), np.ones((10, 10), np.int32))
    wide = np.where(np.isin(np.arange(400) % 10, (0, 1)), 0, thin)
    result = mean_of(thin, wide)
    assert any("drawn boundaries" in flag for flag in grain_size(wide, UM).mean_area.flags)
    assert any(flag.startswith("field 2: drawn boundaries") for flag in result.mean_area.flags)
    assert not any(flag.startswith("field 1") for flag in result.mean_area.flags)


def test_what_fields_have_in_common_is_told_once():
    names, flags = ["a.png", "b.png", "c.png"], [["12% is no grain", "E112"], ["7% is no grain"], ["9.5% is no grain"]]
    assert merge_alike(names, flags) == ["7 to 12% is no grain", "a.png: E112"]
    assert merge_alike(names, flags, with_ranges=False)[1:] == [
        "a.png: E112",
        "b.png: 7% is no grain",
        "c.png: 9.5% is no grain",
    ]
    assert merge_alike(names[:1], [["1 px top", "2 px top"]]) == ["1 px top", "2 px top"]
    assert merge_alike(names, [*flags[:2], []]) == ["a.png, b.png: 7 to 12% is no grain", "a.png: E112"]


def test_whole_grains_are_said_to_be_smaller_than_all():
    """A specimen of which each field shows a part: large grains reach a field's edge more often."""
    rng = np.random.default_rng(2)
    specimen = polycrystal(rng, (800, 800), 26.0, spread=0.45).labels.astype(np.int32) + 1
    windows = [
        specimen[top : top + 160, left : left + 160] for top in range(0, 800, 160) for left in range(0, 800, 160)
    ]
    shifts = []
    for window in windows:
        told = [flag for flag in grain_size(window, UM).mean_area.flags if "edge cuts" in flag]
        shifts.append(float(told[0].split("about ")[1].split()[0]) if told else 0.0)
    mean = mean_of(*(window for window in windows))
    true = g_from_area((UM / 1000) ** 2 / grain_size(specimen).saltykov.value_px)
    assert mean.mean_area.G - true > 0.15
    assert np.mean(shifts) == pytest.approx(mean.mean_area.G - true, abs=0.05)
    assert any("edge cuts" in flag for flag in mean.mean_area.flags)


def test_unevenly_spread_grains_are_told():
    fine, coarse = voronoi(300, 225, 5), voronoi(300, 25, 6)
    field = np.block([[fine, coarse + 300], [coarse + 400, fine + 500]])
    assert any("unevenly spread" in flag for flag in grain_size(field, UM).flags)
    assert not any("unevenly spread" in flag for flag in grain_size(voronoi(600, 500, 5), UM).flags)


def test_a_field_without_grains_takes_no_interval_from_the_other():
    labels = voronoi(300, 100, 15)
    alone, mean = grain_size(labels, UM), mean_of(labels, np.zeros_like(labels))
    assert mean.saltykov.ci95 == pytest.approx(alone.saltykov.ci95)
    assert mean.saltykov.ci_method == alone.saltykov.ci_method
    assert "1 of 2 fields gave no value and were left out" in mean.saltykov.flags


def test_fields_that_agree_more_closely_than_counting_allows_are_told():
    labels = voronoi(300, 100, 15)
    twice, others = mean_of(labels, labels), mean_of(*windows_of(voronoi(900, 900, 1), 280, 300))
    assert twice.saltykov.relative_accuracy == 0
    for rule in twice.rules:
        assert any("differ by less than their counts can tell: 0.0 %" in flag for flag in rule.flags)
    assert not any("counts can tell" in flag for rule in others.rules for flag in rule.flags)


def test_what_many_small_fields_do_not_mend_is_told():
    specimen = voronoi(1200, 36**2, 3)
    windows = windows_of(specimen, 100, 200)
    mean, true = mean_of(*windows), grain_size(specimen, UM)
    assert mean.jeffries.G > true.saltykov.G + 0.1 and mean.jeffries.n > 50
    assert any("count about one too many each" in flag for flag in mean.jeffries.flags)
    assert mean.saltykov.G == pytest.approx(true.saltykov.G, abs=0.1)
    assert not any("in the mean" in flag for flag in mean.saltykov.flags)
    tiny = mean_of(*(window[:45, :45] for window in windows))
    assert any("not counted rightly" in flag for flag in tiny.saltykov.flags)


def test_intercepts_of_small_fields_read_long_however_many_there_are():
    windows = windows_of(voronoi(1200, 60**2, 3), 80, 160)
    mean = mean_of(*windows)
    for rule in (mean.heyn, mean.abrams):
        (flag,) = (flag for flag in rule.flags if "fewer than 40" in flag)
        assert rule.n / rule.definition.repeats > 40 and "intercepts a field" in flag
    large = mean_of(*windows_of(voronoi(1200, 60**2, 3), 300, 300))
    assert not any("intercepts a field" in flag for rule in large.rules for flag in rule.flags)


def test_fields_without_a_crossing_are_told_to_hold_coarse_grains():
    mean = mean_of(voronoi(300, 100, 15), voronoi(300, 100, 16), np.ones((300, 300), int))
    (flag,) = (flag for flag in mean.heyn.flags if "left out" in flag)
    assert "1 of 3 fields gave no value" in flag and "this G is too high" in flag


def test_too_few_grains_do_not_decide_on_the_largest():
    labels = square_lattice(12, 120)
    labels[36:84, 36:84] = labels.max() + 1
    ala = grain_size(labels, UM).ala
    assert ala.difference > 3 and ala.is_undecided and not ala.is_ala
    labels = square_lattice(12, 300)
    labels[36:84, 36:84] = labels.max() + 1
    assert grain_size(labels, UM).ala.is_ala and not grain_size(labels, UM).ala.is_undecided
    labels[36:180, 36:180] = labels.max() + 1  # one grain, which covers 23 % of the field
    ala = grain_size(labels, UM).ala
    assert ala.difference > 6 and ala.is_undecided and not ala.is_ala


def test_sizes_are_given_in_um_where_fields_differ_in_scale():
    labels = square_lattice(12, 300)
    labels[36:84, 36:84] = labels.max() + 1
    enlarged = grain_size(np.kron(labels, np.ones((2, 2), np.int32)), UM / 2)
    both = average_fields([grain_size(square_lattice(12, 300), UM), enlarged]).to_dict()
    assert both["ala"]["field"] == 2
    assert both["ala"]["area_um2"] == pytest.approx(48**2 * UM**2)
    assert both["duplex"]["diameters_um"] == []


def test_few_whole_grains_give_no_interval():
    quarters = np.zeros((90, 90), np.int32)
    quarters[20:40, 20:40], quarters[50:75, 50:80] = 1, 2
    result = grain_size(quarters, UM)
    assert result.mean_area.G is not None and result.mean_area.ci95 is None


def test_wrong_fields_are_refused():
    labels = np.eye(10, dtype=int)
    with pytest.raises(MeasurementError, match="There is no field"):
        average_fields([])
    with pytest.raises(ScaleError, match="no scale and the others have one: field 2"):
        average_fields([grain_size(labels, 1.0), grain_size(labels)])
    with pytest.raises(ScaleError):
        grain_size(labels, 0)


def test_fields_that_are_no_grain_sizes_are_refused():
    with pytest.raises(MeasurementError, match="Pass `analysis.grain_size`"):
        average_fields([np.ones((9, 9), int)])


def test_results_can_be_compared():
    labels = voronoi(60, 200, 1)
    one, same = grain_size(labels, UM), grain_size(labels, UM)
    assert one == same and hash(one) == hash(same)
    assert one != grain_size(labels, 2 * UM)
