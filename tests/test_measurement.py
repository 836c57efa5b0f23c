"""Measurements of drawn grains whose sizes are known."""

import time

import numpy as np
import pytest
from skimage.measure import regionprops_table

from grain_model.errors import MeasurementError, ScaleError
from grain_model.label_image import close_boundaries, has_other_label
from grain_model.measurement import LENGTH_POWERS, column_unit, measure_grains, um_column
from tests.drawn import squares, voronoi


def ellipse(semi_major: float, semi_minor: float, degrees: float, side: int = 161) -> np.ndarray:
    """An ellipse whose major axis stands `degrees` counter-clockwise from the horizontal."""
    rows, columns = np.indices((side, side)) - side // 2
    angle = np.radians(degrees)
    along = columns * np.cos(angle) - rows * np.sin(angle)
    across = columns * np.sin(angle) + rows * np.cos(angle)
    return ((along / semi_major) ** 2 + (across / semi_minor) ** 2 <= 1).astype(np.int32)


@pytest.mark.parametrize("degrees", [0, 20, 45, 90, 135, 170])
def test_ellipse_shape_is_recovered(degrees):
    row = measure_grains(ellipse(60, 20, degrees)).iloc[0]
    assert row["aspect_ratio"] == pytest.approx(3, rel=0.01)
    turned = (row["orientation_deg"] - degrees + 90) % 180 - 90
    assert abs(turned) < 0.5
    assert row["feret_diameter_max"] == pytest.approx(120, rel=0.02)
    assert row["feret_diameter_min"] == pytest.approx(40, rel=0.04)
    # Ramanujan's perimeter of an ellipse.
    ratio = ((60 - 20) / (60 + 20)) ** 2
    exact = np.pi * 80 * (1 + 3 * ratio / (10 + np.sqrt(4 - 3 * ratio)))
    assert row["perimeter_crofton"] == pytest.approx(exact, rel=0.015)


@pytest.mark.parametrize("radius", [8, 15, 40])
def test_disk_is_round_at_every_size(radius):
    rows, columns = np.indices((2 * radius + 9,) * 2) - radius - 4
    disk = ((rows + 0.3) ** 2 + (columns - 0.2) ** 2 <= radius**2).astype(np.int32)
    row = measure_grains(disk).iloc[0]
    assert row["circularity"] == pytest.approx(1, abs=0.06)
    assert row["equivalent_diameter_area"] == pytest.approx(2 * radius, rel=0.03)


def test_rectangle_is_exact():
    labels = np.zeros((20, 30), np.int32)
    labels[4:10, 5:25] = 1
    row = measure_grains(labels, um_per_pixel=0.5).iloc[0]
    assert row["area"] == 120
    assert row["area_um2"] == 30
    assert row["feret_diameter_max"] == pytest.approx(np.hypot(6, 20))
    assert row["feret_diameter_min"] == pytest.approx(6)
    assert row["axis_minor_length"] == pytest.approx(4 * 6 / np.sqrt(12))
    assert (row["centroid-0"], row["centroid-1"]) == (6.5, 14.5)
    assert (row["centroid-0_um"], row["centroid-1_um"]) == (3.5, 7.5)
    assert [row[f"bbox-{i}"] for i in range(4)] == [4, 5, 10, 25]
    assert not row["touches_edge"]


def test_agrees_with_scikit_image():
    labels = voronoi(400, 60)
    table = measure_grains(labels)
    reference = regionprops_table(
        labels,
        properties=(
            "label",
            "area",
            "equivalent_diameter_area",
            "centroid",
            "bbox",
            "orientation",
            "axis_major_length",
            "perimeter_crofton",
        ),
    )
    for name in ("label", "area", "equivalent_diameter_area", "centroid-0", "centroid-1", "bbox-2", "orientation"):
        np.testing.assert_allclose(table[name], reference[name], atol=1e-9)
    np.testing.assert_allclose(table["axis_major_length"], reference["axis_major_length"], rtol=0.01)
    assert np.mean(table["perimeter_crofton"] / reference["perimeter_crofton"]) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("diameter", [18, 25, 45])
def test_enlarged_image_gives_the_same_um(diameter):
    labels = voronoi(15 * diameter, 280)
    table = measure_grains(labels, 0.8)
    enlarged = measure_grains(np.kron(labels, np.ones((2, 2), np.int32)), 0.4)
    # The perimeter of smaller grains takes its vectors from the pixels instead of the grain.
    is_resolved = table["equivalent_diameter_area"] > 12.5
    assert is_resolved.mean() > 0.7
    for name in LENGTH_POWERS:
        change = abs(enlarged[um_column(name)] / table[um_column(name)] - 1)
        assert change[is_resolved].max() < 1e-6, name
        assert change.mean() < 0.01, name


@pytest.mark.parametrize("side", [12, 20, 40])
def test_perimeter_of_turned_squares(side):
    """Corners are cut a little, in every direction of the square."""
    ratios = []
    for degrees in range(0, 90, 6):
        rows, columns = np.indices((2 * side, 2 * side)) - side + np.array([[[0.3]], [[0.1]]])
        angle = np.radians(degrees)
        along, across = columns * np.cos(angle) + rows * np.sin(angle), rows * np.cos(angle) - columns * np.sin(angle)
        square = np.maximum(abs(along), abs(across)) <= side / 2
        ratios.append(measure_grains(square.astype(np.int32)).loc[0, "perimeter_crofton"] / (4 * side))
    assert np.mean(ratios) == pytest.approx(0.985, abs=0.012)


def test_neighbours_with_and_without_drawn_boundaries():
    labels = squares(3, 3, 20)
    expected = [2, 3, 2, 3, 4, 3, 2, 3, 2]
    assert measure_grains(labels)["neighbours"].tolist() == expected
    for width in (1, 2, 3):
        drawn = labels.copy()
        for start in (20, 40):
            drawn[start - width // 2 : start - width // 2 + width] = 0
            drawn[:, start - width // 2 : start - width // 2 + width] = 0
        # A drawn crossing may leave the diagonal grains as near as the others: at most those are added.
        found = measure_grains(drawn)["neighbours"].to_numpy()
        assert (found >= expected).all() and (found <= np.array(expected) + 4).all()


def test_wide_gap_is_no_boundary():
    labels = np.zeros((30, 60), np.int32)
    labels[:, :20], labels[:, 40:] = 1, 2
    assert measure_grains(labels)["neighbours"].tolist() == [0, 0]
    np.testing.assert_array_equal(close_boundaries(labels), labels)


def test_boundaries_are_closed_at_any_magnification():
    grains = voronoi(240, 60, 1)
    drawn = np.where(has_other_label(grains, np.ones((3, 3), np.uint8)), 0, grains)
    neighbours = measure_grains(grains)["neighbours"].mean()
    for factor in (1, 3, 6):
        enlarged = np.kron(drawn, np.ones((factor, factor), np.int32))
        assert measure_grains(enlarged)["neighbours"].mean() == pytest.approx(neighbours, rel=0.04)
        assert (close_boundaries(enlarged) == 0).mean() < 0.01


def test_thin_boundaries_are_closed_and_pores_keep_their_outline():
    labels = np.ones((60, 60), np.int32)
    labels[:, 30:] = 2
    labels[:, 29:31] = 0
    labels[10:25, 40:55] = 0
    closed = close_boundaries(labels)
    assert (closed[:, 29:31] > 0).all()
    pore = closed[5:30, 36:60] == 0
    assert pore[5:20, 7:16].all() and pore[8:17, 4:19].all()
    assert np.count_nonzero(pore) == pytest.approx(15 * 15, abs=20)


def test_edge_and_order():
    labels = np.zeros((10, 10), np.int32)
    labels[0:2, 4:6], labels[4:6, 4:6], labels[4:6, 9] = 7, 3, 5
    table = measure_grains(labels)
    assert table["label"].tolist() == [3, 5, 7]
    assert table["touches_edge"].tolist() == [False, True, True]
    assert table.index.tolist() == [0, 1, 2]


def test_confidence_column():
    labels = np.array([[1, 0, 2]])
    assert measure_grains(labels, confidence=np.array([0.5, 0.25]))["confidence"].tolist() == [0.5, 0.25]
    assert measure_grains(labels)["confidence"].isna().all()
    with pytest.raises(MeasurementError, match="2 grains is expected"):
        measure_grains(labels, confidence=np.ones(3))


def test_no_grains_keep_all_columns():
    empty = measure_grains(np.zeros((8, 8), int), 0.5)
    some = measure_grains(np.eye(8, dtype=int), 0.5)
    assert len(empty) == 0
    assert empty.columns.tolist() == some.columns.tolist()


def test_one_pixel_grain_is_finite():
    labels = np.zeros((3, 3), int)
    labels[1, 1] = 1
    row = measure_grains(labels, 1.0).iloc[0].drop("confidence")
    assert np.isfinite(row.astype(float)).all()


def test_units():
    assert [column_unit(name) for name in ("area", "area_um2", "centroid-0_um", "orientation", "neighbours")] == [
        "px^2",
        "um^2",
        "um",
        "rad",
        "",
    ]


@pytest.mark.parametrize(
    "labels",
    [
        np.zeros((2, 2, 3), int),
        np.zeros((0, 5), int),
        np.ones((3, 3)),
        np.ones((3, 3), bool),
        -np.eye(3, dtype=int),
        np.eye(3, dtype=np.uint8) * 255,  # a mask
    ],
)
def test_bad_labels_are_refused(labels):
    with pytest.raises(MeasurementError, match="expected"):
        measure_grains(labels)


@pytest.mark.parametrize("scale", [0, -1, float("nan"), float("inf"), "a"])
def test_bad_scale_is_refused(scale):
    with pytest.raises(ScaleError, match="expected"):
        measure_grains(np.eye(3, dtype=int), scale)


def test_two_thousand_grains_take_no_time():
    labels = voronoi(900, 2000)
    measure_grains(labels[:50, :50])
    start = time.process_time()
    measure_grains(labels)
    assert time.process_time() - start < 1.5
