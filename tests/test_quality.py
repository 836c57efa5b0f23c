"""Reasons to doubt a result."""

import cv2
import numpy as np
import pytest

from grain_model.instances import BOUNDARY, label_grains
from grain_model.label_settings import LabelSettings
from grain_model.quality import assess_quality, is_blank, sharpness
from tests.drawn import drawn_maps, squares


def picture(ids: np.ndarray) -> np.ndarray:
    values = np.random.default_rng(0).integers(40, 220, ids.max() + 1)[ids] + np.random.default_rng(1).normal(
        0, 3, ids.shape
    )
    return np.repeat(np.clip(values, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def codes(ids: np.ndarray, strength: float = 0.95, pixels: np.ndarray | None = None) -> set[str]:
    maps = drawn_maps(ids, strength)
    labels, confidence = label_grains(maps, LabelSettings(boundary_sensitivity=0.9))
    pixels = picture(ids) if pixels is None else pixels
    return {flag.code for flag in assess_quality(pixels, labels, maps[BOUNDARY], confidence)}


def test_a_good_field_has_no_flags():
    assert codes(squares(9, 9)) == set()


def test_few_grains_are_flagged():
    assert codes(squares(3, 3)) == {"few_grains"}


def test_grains_that_the_edge_cuts_count_in_part():
    # 60 grains, of which Saltykov's rule counts 4 x 8 and half of the 24 at the sides, a quarter of those at corners.
    ids = squares(6, 10)
    flag = assess_quality(picture(ids), ids, drawn_maps(ids)[BOUNDARY], np.full(60, 0.95))
    assert [(each.code, "Only 45 grains" in each.message) for each in flag] == [("few_grains", True)]


@pytest.mark.parametrize(("deviation", "blank"), [(0, True), (0.2, True), (2, False)])
def test_what_shows_nothing_is_blank(deviation, blank):
    noise = deviation * np.random.default_rng(0).standard_normal((80, 90, 3))
    assert is_blank(np.clip(np.round(200 + noise), 0, 255).astype(np.uint8)) == blank


def test_tiny_grains_are_flagged():
    assert "small_grains" in codes(squares(20, 20, 7))


def test_a_region_that_dwarfs_the_grains_is_flagged():
    ids = squares(6, 20, 15)
    beyond = np.full((500, ids.shape[1]), ids.max() + 1, np.int32)
    assert codes(np.vstack([ids, beyond])) == {"dominant_region"}


def test_faint_boundaries_are_flagged():
    assert "low_confidence" in codes(squares(8, 8), 0.3)


def test_grains_corrected_by_hand_have_no_say_in_the_confidence():
    ids = squares(9, 9)
    confidence = np.full(81, np.nan)
    confidence[:3] = 0.9
    assert assess_quality(picture(ids), ids, drawn_maps(ids)[BOUNDARY], confidence) == ()
    confidence[:] = np.nan
    assert assess_quality(picture(ids), ids, drawn_maps(ids)[BOUNDARY], confidence) == ()


def test_a_picture_without_grains_is_flagged_with_that_alone():
    flat = np.full((64, 64, 3), 127, np.uint8)
    assert codes(np.ones((64, 64), np.int32), 0.0, flat) == {"no_boundaries"}


def test_boundaries_around_nothing_are_another_matter():
    ids = squares(9, 9)
    (flag,) = assess_quality(picture(ids), np.zeros_like(ids), drawn_maps(ids)[BOUNDARY], np.zeros(0))
    assert flag.code == "no_grains" and "smaller than what counts" in flag.message


def test_defocus_is_flagged():
    ids = squares(8, 8)
    sharp = picture(ids)
    blurred = cv2.GaussianBlur(sharp, (0, 0), 5)
    assert sharpness(blurred) < sharpness(sharp)
    assert "out_of_focus" in codes(ids, pixels=blurred)
