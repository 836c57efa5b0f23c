"""Masks and overlays of label images that were drawn by hand."""

import numpy as np
import pytest

from grain_model.errors import MeasurementError
from grain_model.rendering import (
    OUTLINE_COLOUR,
    OVERLAY_STYLES,
    label_colours,
    render_mask,
    render_overlay,
)


@pytest.fixture
def labels():
    image = np.zeros((60, 90), np.int32)
    image[5:25, 5:35] = 1
    image[30:55, 10:40] = 2
    image[5:55, 45:85] = 3
    return image


@pytest.fixture
def pixels(labels):
    grey = np.random.default_rng(0).integers(60, 200, labels.shape, dtype=np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def test_mask_is_255_in_grains_and_0_elsewhere(labels):
    mask = render_mask(labels)
    assert mask.dtype == np.uint8
    assert np.array_equal(mask == 255, labels > 0)
    assert set(np.unique(mask)) == {0, 255}


@pytest.mark.parametrize("show", OVERLAY_STYLES)
def test_overlay_leaves_what_is_no_grain_untouched(pixels, labels, show):
    overlay = render_overlay(pixels, labels, show=show, confidence=np.array([0.1, 0.5, 0.9]))
    assert overlay.shape == pixels.shape and overlay.dtype == np.uint8
    outside = labels == 0
    assert np.array_equal(overlay[outside], pixels[outside])
    assert not np.array_equal(overlay, pixels)


def test_fill_mixes_pixel_and_colour_by_alpha(pixels, labels):
    inside = (15, 20)
    expected = 0.7 * pixels[inside] + 0.3 * label_colours(np.array([1]))[0]
    assert np.abs(render_overlay(pixels, labels, alpha=0.3)[inside] - expected).max() <= 0.5


def test_fill_with_zero_alpha_leaves_the_inside_of_a_grain(pixels, labels):
    assert np.array_equal(render_overlay(pixels, labels, alpha=0)[10:20, 10:30], pixels[10:20, 10:30])
    for no_opacity in (2, -0.1, np.nan):
        with pytest.raises(MeasurementError, match="opacity"):
            render_overlay(pixels, labels, alpha=no_opacity)


def test_outlines_follow_each_grain_and_nothing_else(pixels, labels):
    drawn = (render_overlay(pixels, labels, show="outlines") == OUTLINE_COLOUR).all(axis=2)
    for label in (1, 2, 3):
        grain = labels == label
        rows, columns = np.nonzero(grain)
        box = drawn[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert box[0].all() and box[-1].all() and box[:, 0].all() and box[:, -1].all()
        assert not box[1:-1, 1:-1].any()


def test_touching_grains_are_outlined_apart():
    labels = np.ones((20, 40), np.int32)
    labels[:, 20:] = 2
    drawn = (render_overlay(np.full((20, 40, 3), 90, np.uint8), labels, show="outlines") == OUTLINE_COLOUR).all(axis=2)
    assert drawn[:, 19:21].all() and not drawn[:, :19].any() and not drawn[:, 21:].any()


def test_ids_are_written_inside_their_grains(pixels, labels):
    flat = np.full_like(pixels, 128)
    written = (render_overlay(flat, labels, show="ids") != render_overlay(flat, labels, show="outlines")).any(axis=2)
    for label in (1, 2, 3):
        assert written[labels == label].sum() > 20
    assert not written[labels == 0].any()


def test_confidence_has_one_colour_for_each_level(pixels, labels):
    flat = np.full_like(pixels, 128)
    overlay = render_overlay(flat, labels, alpha=1.0, show="confidence", confidence=np.array([0.0, 1.0, 1.0]))
    low, high, same = overlay[15, 20], overlay[42, 25], overlay[30, 60]
    assert np.array_equal(high, same) and not np.array_equal(low, high)
    assert high.astype(int).sum() > low.astype(int).sum()


def test_colour_of_a_label_does_not_depend_on_the_count():
    assert np.array_equal(label_colours(np.arange(3, 6)), label_colours(np.arange(1, 501))[2:5])
    assert len(np.unique(label_colours(np.arange(1, 61)), axis=0)) == 60


@pytest.mark.parametrize("show", OVERLAY_STYLES)
def test_an_image_without_grains_is_drawn_as_it_is(pixels, show):
    nothing = np.zeros(pixels.shape[:2], np.int32)
    assert np.array_equal(render_overlay(pixels, nothing, show=show, confidence=np.zeros(0)), pixels)


@pytest.mark.parametrize(
    ("options", "says"),
    [({"show": "glitter"}, "glitter"), ({"show": "confidence"}, "no confidence"), ({"labels": (3, 3)}, "same size")],
)
def test_what_cannot_be_drawn_is_explained(pixels, labels, options, says):
    labels = np.zeros(options.pop("labels"), np.int32) if "labels" in options else labels
    with pytest.raises(MeasurementError, match=says):
        render_overlay(pixels, labels, **options)


def test_ids_may_have_gaps(pixels, labels):
    sparse = np.where(labels == 2, 0, labels * 3)
    drawn = render_overlay(pixels, sparse, show="ids")
    assert not np.array_equal(drawn, render_overlay(pixels, sparse, show="outlines"))
