"""From maps to labels: exact counts on drawn maps."""

import cv2
import numpy as np
import pytest

from grain_model.errors import MeasurementError
from grain_model.instances import grain_confidence, grain_regions, label_grains
from grain_model.label_settings import LabelSettings
from grain_model.typical_grain import typical_area
from tests.drawn import drawn_maps, squares


@pytest.mark.parametrize("method", ["watershed", "components"])
def test_squares_are_counted_exactly_and_numbered_without_gaps(method):
    labels, confidence = label_grains(drawn_maps(squares()), LabelSettings(method))
    assert labels.dtype == np.int32 and labels.shape == (160, 200)
    assert np.array_equal(np.unique(labels), np.arange(21))
    assert confidence.shape == (20,) and confidence.dtype == np.float32
    assert (confidence > 0.8).all() and (confidence <= 1).all()


def test_components_of_the_mask_are_the_grains():
    labels, _ = label_grains(drawn_maps(squares()))
    for connectivity in (4, 8):
        count, _ = cv2.connectedComponents((labels > 0).astype(np.uint8), connectivity=connectivity)
        assert count - 1 == labels.max()


def test_a_gap_in_a_boundary_merges_components_but_not_the_watershed():
    ids = squares(1, 2)
    strength = np.full(ids.shape, 0.95, np.float32)
    strength[16:23] = 0.02
    maps = drawn_maps(ids, strength)
    assert label_grains(maps, LabelSettings("components"))[0].max() == 1
    assert label_grains(maps, LabelSettings("watershed"))[0].max() == 2


def test_a_line_that_ends_inside_a_grain_does_not_cut_it():
    maps = drawn_maps(np.ones((60, 60), np.int32))
    maps[1, :18, 29:31], maps[0, :18, 29:31] = 0.95, 0.05
    assert label_grains(maps)[0].max() == 1


def test_sensitivity_decides_over_faint_boundaries():
    maps = drawn_maps(squares(1, 2), 0.5)
    assert label_grains(maps, LabelSettings(boundary_sensitivity=0.3))[0].max() == 1
    assert label_grains(maps, LabelSettings(boundary_sensitivity=0.8))[0].max() == 2


def test_gaps_stay_zero_and_grains_around_them_are_kept_apart():
    ids = squares(1, 3)
    ids[:, 36:44] = 0
    regions = grain_regions(drawn_maps(ids))
    assert regions.max() == 3
    assert not regions[:, 38:42].any()


def test_a_speck_joins_its_grain_but_a_given_smallest_area_keeps_it():
    ids = squares(1, 2, 60)
    ids[28:35, 28:35] = 3
    maps = drawn_maps(ids, 0.8)
    assert label_grains(maps)[0].max() == 2
    assert label_grains(maps, LabelSettings(min_grain_area=5))[0].max() == 3
    assert label_grains(maps, LabelSettings(min_grain_area=4000))[0].max() < 2


def test_fine_grains_beside_large_ones_stay_and_a_particle_in_a_large_one_goes():
    """Partly recrystallised: the fine ones are far smaller than a fiftieth of the large ones."""
    ids = squares(2, 2, 150)
    ids[:, :36] = squares(25, 3, 12) + 4
    assert grain_regions(drawn_maps(ids)).max() == 79
    ids[60:72, 180:192] = 80
    assert grain_regions(drawn_maps(ids)).max() == 79


def test_regions_cover_what_touches():
    regions = grain_regions(drawn_maps(squares()))
    assert (regions > 0).all()


def test_two_maps_are_enough():
    assert label_grains(drawn_maps(squares())[:2])[0].max() == 20


def test_an_empty_picture_has_no_grains():
    labels, confidence = label_grains(np.zeros((3, 50, 60), np.float32))
    assert labels.shape == (50, 60) and not labels.any() and confidence.shape == (0,)


def test_turning_the_picture_turns_the_labels():
    maps = drawn_maps(squares(3, 4))
    upright = label_grains(maps)[0]
    turned = label_grains(np.rot90(maps, axes=(1, 2)).copy())[0]
    assert turned.max() == upright.max()
    both = np.stack([np.rot90(upright).ravel(), turned.ravel()])
    shared = both[:, (both > 0).all(axis=0)]
    assert len(np.unique(shared, axis=1).T) == upright.max()


def test_a_faint_boundary_lowers_the_confidence():
    ids = squares(1, 2)
    sure, unsure = (grain_confidence(ids, drawn_maps(ids, s)) for s in (0.95, 0.5))
    assert (sure > unsure + 0.1).all()


def test_typical_area_ignores_specks():
    assert typical_area([100] * 10 + [1] * 50) == 100


@pytest.mark.parametrize(
    "areas, typical",
    [
        ([100] * 40 + [9_000], 100),  # resin beside a specimen
        ([100] * 40 + [9_000, 12_000], 100),  # on either side of it
        ([100] * 80 + [9_000, 40_000], 100),
        ([1] * 40 + [9_000], 9_000),  # specks on one large grain
        ([100] * 5 + [9_000], 9_000),  # too few others to tell
        ([100] * 40 + [900], 100),  # a large grain
    ],
)
def test_typical_area_ignores_what_dwarfs_the_grains(areas, typical):
    assert typical_area(areas) == typical


def test_a_specimen_in_resin_keeps_its_grains():
    ids = squares(6, 20, 15)
    ids = np.vstack([ids, np.full((500, ids.shape[1]), ids.max() + 1, np.int32)])
    labels, _ = label_grains(drawn_maps(ids))
    assert labels.max() == 121


@pytest.mark.parametrize("shape, size", [((1, 8, 8), None), ((8, 8), None), ((8, 8), (16, 16)), ((2, 8, 8), (0, 16))])
def test_what_are_no_maps_or_no_size_is_explained(shape, size):
    with pytest.raises(MeasurementError, match="expected"):
        label_grains(np.zeros(shape), size=size)


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "magic"},
        {"boundary_sensitivity": 1.5},
        {"boundary_sensitivity": None},
        {"min_grain_area": -1},
        {"min_grain_area": float("nan")},
    ],
)
def test_wrong_settings_are_explained(wrong):
    with pytest.raises(MeasurementError, match="expected"):
        LabelSettings(**wrong)


def test_a_wide_gap_is_a_border_even_where_it_ends_in_a_bridge_without_a_line():
    ids = squares(1, 2, 60)
    ids[:48, 56:64] = 0
    strength = np.full(ids.shape, 0.95, np.float32)
    strength[48:] = 0.02
    assert label_grains(drawn_maps(ids, strength))[0].max() == 2


@pytest.mark.parametrize("method", ["watershed", "components"])
@pytest.mark.parametrize("size", [(320, 400), (240, 310), (120, 150), (200, 160), (110, 300)])
def test_labels_come_at_the_size_that_is_asked_for(method, size):
    labels, confidence = label_grains(drawn_maps(squares()), LabelSettings(method), size=size)
    assert labels.shape == size and labels.max() == len(confidence) == 20
    true = cv2.resize(squares(), size[::-1], interpolation=cv2.INTER_NEAREST)
    assert (labels > 0).mean() > 0.75
    shared = np.bincount((labels * 21 + true).ravel(), minlength=21 * 21).reshape(21, 21)[1:]
    assert sorted(shared.argmax(axis=1)) == list(range(1, 21))
    assert shared.max(axis=1).sum() > 0.97 * shared.sum()
    # A line parts them in the mask as well.
    assert cv2.connectedComponents((labels > 0).astype(np.uint8), connectivity=8)[0] - 1 == 20


def test_enlarging_the_labels_changes_neither_count_nor_confidence_much():
    """A border seen half of the way: enlarged maps would smear it and join the two grains."""
    ids = squares(1, 2)
    strength = np.where(np.arange(40)[:, None] < 28, 0.95, 0.02) * np.ones((40, 80))
    own, sure = label_grains(drawn_maps(ids, strength))
    large, still_sure = label_grains(drawn_maps(ids, strength), size=(160, 320))
    assert own.max() == large.max() == 2
    np.testing.assert_allclose(sure, still_sure, atol=0.1)


def test_outlines_of_enlarged_labels_follow_the_maps_and_not_their_pixels():
    y, x = np.mgrid[:60, :60]
    ids = np.where(x + 0.5 * y < 45, 1, 2).astype(np.int32)
    labels, _ = label_grains(drawn_maps(ids), size=(360, 360))
    y, x = (np.mgrid[:360, :360] + 0.5) / 6
    off = np.abs((x + 0.5 * y - 45) / np.hypot(1, 0.5))
    true = np.where(x + 0.5 * y < 45, 1, 2)
    assert off[(labels > 0) & (labels != true)].max(initial=0) < 0.7


def test_smallest_grain_is_given_in_px_of_the_labels():
    maps = drawn_maps(squares(side=20))
    assert label_grains(maps, LabelSettings(min_grain_area=1000), size=(160, 200))[0].max() == 20
    assert label_grains(maps, LabelSettings(min_grain_area=2500), size=(160, 200))[0].max() < 20


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (8, 8)])
def test_tiny_maps_give_labels_of_any_size(shape):
    maps = np.random.default_rng(0).random((3, *shape))
    for size in ((1, 1), (5, 40), (64, 64)):
        labels, confidence = label_grains(maps, size=size)
        assert labels.shape == size and labels.max() == len(confidence)


def test_maps_of_a_network_that_diverged_are_refused():
    maps = np.full((3, 20, 20), 0.5)
    maps[1, 3, 4] = np.nan
    with pytest.raises(MeasurementError, match="diverged"):
        label_grains(maps)
