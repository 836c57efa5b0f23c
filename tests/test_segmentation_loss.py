"""Targets against scipy, and what the loss counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from grain_model.segmentation_loss import (
    boundary_from_ids,
    distance_within,
    grain_depth,
    segmentation_loss,
    targets_from_ids,
)
from tests.conftest import make_tiny_config
from tests.drawn import nearest_centre


def draw_ids(height: int = 60, width: int = 75, seeds: int = 9, *, gaps: bool = True) -> np.ndarray:
    """Grains around random points, one of them missing."""
    points = np.random.default_rng(3).uniform((0, 0), (height, width), (seeds, 2))
    ids = nearest_centre(points, (height, width)) + 1
    if gaps:
        ids[ids == seeds] = 0
    return ids


def as_batch(*pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures).astype(np.int64))


def draw_logits(ids: torch.Tensor) -> torch.Tensor:
    """Logits that say exactly what the ids are."""
    targets, _ = targets_from_ids(ids)
    return torch.logit(targets, eps=1e-6)


# Targets


@pytest.mark.parametrize("gaps", [True, False])
def test_boundary_is_where_the_3x3_neighbourhood_holds_two_ids(gaps):
    pictures = [draw_ids(gaps=gaps), draw_ids(gaps=gaps).T[:60, :60].copy()]
    for ids in pictures:
        expected = ndimage.maximum_filter(ids, 3, mode="nearest") != ndimage.minimum_filter(ids, 3, mode="nearest")
        assert np.array_equal(boundary_from_ids(as_batch(ids))[0].numpy(), expected)


def test_a_line_between_two_grains_is_two_pixels_wide():
    ids = np.ones((9, 12), int)
    ids[:, 5:] = 2
    assert np.flatnonzero(boundary_from_ids(as_batch(ids))[0, 4].numpy()).tolist() == [4, 5]


@pytest.mark.parametrize("share", [0.0002, 0.02, 0.3])
def test_distances_are_those_of_scipy(share):
    mask = np.random.default_rng(5).random((261, 247)) >= share
    mask[130, 120] = False
    np.testing.assert_allclose(distance_within(mask), ndimage.distance_transform_edt(mask), rtol=1e-6)


def test_distance_where_one_grain_fills_the_picture_is_finite():
    assert np.array_equal(distance_within(np.ones((30, 40), bool)), np.full((30, 40), 50.0))


def test_depth_rises_evenly_from_a_straight_boundary_however_large_the_grain():
    ids = np.ones((290, 300), int)
    ids[:, 290:] = 2
    depth = grain_depth(ids)
    assert depth.dtype == np.float32
    # The boundary takes columns 289 and 290, and none runs along the edges of the picture.
    expected = np.r_[np.arange(289, 0, -1) / 289, 0, 0, np.arange(1, 10) / 9]
    np.testing.assert_allclose(depth, np.broadcast_to(expected, ids.shape), rtol=1e-6)


def test_depth_counts_what_labels_were_shrunk_by_and_is_scaled_to_the_deepest_point():
    ids = np.zeros((9, 30), int)
    ids[:, 5:] = 1
    expected = np.r_[[0] * 6, (np.arange(1, 25) + 4) / 28]
    np.testing.assert_allclose(grain_depth(ids, 4.0), np.broadcast_to(expected, ids.shape), rtol=1e-6)
    np.testing.assert_allclose(grain_depth(ids, 4.0, deepest=255)[0], 255 * expected, rtol=1e-6)


def test_depth_where_nothing_is_a_grain_is_0():
    assert not grain_depth(np.array([[0, -1], [-1, 0]])).any()


def test_ids_may_be_any_numbers():
    ids = np.ones((40, 40), int)
    ids[:, 30:] = 2
    small, large = (targets_from_ids(as_batch(numbers))[0] for numbers in (ids, ids * 1000 + 4000))
    assert torch.equal(small, large)


def test_each_grain_is_deepest_at_one():
    ids = draw_ids()
    (interior, boundary, distance), known = (part[0].numpy() for part in targets_from_ids(as_batch(ids)))
    assert known.all()
    edges = boundary_from_ids(as_batch(ids))[0].numpy()
    assert np.array_equal(boundary.astype(bool), edges)
    assert np.array_equal(interior.astype(bool), (ids > 0) & ~edges)
    exact = ndimage.distance_transform_edt(~(edges | (ids == 0)))
    for grain in np.unique(ids[ids > 0]):
        inside = (ids == grain) & ~edges
        np.testing.assert_allclose(distance[inside], exact[inside] / exact[inside].max(), rtol=1e-5)
        assert distance[inside].max() == 1
    assert not distance[edges | (ids == 0)].any()


def test_pictures_of_a_batch_may_use_the_same_ids():
    small, large = np.zeros((40, 40), int), np.zeros((40, 40), int)
    small[5:12, 5:12], large[5:35, 5:35] = 1, 1
    alone = [targets_from_ids(as_batch(ids))[0][0] for ids in (small, large)]
    together = targets_from_ids(as_batch(small, large))[0]
    assert torch.equal(together, torch.stack(alone))


def test_targets_do_not_depend_on_which_number_a_grain_has():
    ids = draw_ids()
    other = np.array([0, 5, 900, 7, 1, 3, 44, 2, 60, 8])[ids]
    assert torch.equal(targets_from_ids(as_batch(ids))[0], targets_from_ids(as_batch(other))[0])


def test_the_rim_of_the_unknown_is_unknown_too():
    ids = draw_ids()
    ids[20:30, 20:30] = -1
    expected = np.ones(ids.shape, bool)
    expected[19:31, 19:31] = False
    assert np.array_equal(targets_from_ids(as_batch(ids))[1][0].numpy(), expected)


# Loss


def test_the_truth_costs_next_to_nothing_and_errors_cost_more():
    ids = as_batch(draw_ids())
    logits, config = draw_logits(ids), make_tiny_config()
    perfect = segmentation_loss(logits, ids, config)
    assert perfect < 0.01
    for channel in range(3):
        wrong = logits.clone()
        wrong[:, channel] *= -1
        assert segmentation_loss(wrong, ids, config) > perfect + 0.3


def test_each_weight_counts_its_own_map():
    ids = as_batch(draw_ids())
    names = ("interior_weight", "boundary_weight", "distance_weight")
    for channel, name in enumerate(names):
        logits = draw_logits(ids).requires_grad_()
        config = make_tiny_config(**{other: float(other == name) for other in names})
        segmentation_loss(logits * 0.1, ids, config).backward()
        felt = [bool(logits.grad[:, index].any()) for index in range(3)]
        assert felt == [index == channel for index in range(3)]


def test_unknown_pixels_count_for_nothing():
    ids = draw_ids()
    ids[10:40, 15:50] = -1
    labels, config = as_batch(ids), make_tiny_config()
    logits = torch.randn((1, 3, *ids.shape), generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = segmentation_loss(logits, labels, config)
    loss.backward()
    unknown = labels[:, None].expand_as(logits) < 0
    assert not logits.grad[unknown].any()
    assert logits.grad[:, :, :5].any()
    changed = torch.where(unknown, -7.0, logits.detach())
    assert torch.equal(segmentation_loss(changed, labels, config), loss.detach())


def test_nothing_known_costs_nothing():
    logits = torch.randn(2, 3, 20, 30).requires_grad_()
    loss = segmentation_loss(logits, torch.full((2, 20, 30), -1), make_tiny_config())
    loss.backward()
    assert loss == 0
    assert torch.isfinite(logits.grad).all() and not logits.grad.any()


@pytest.mark.parametrize("ids", [np.zeros((20, 30), int), np.ones((20, 30), int)])
def test_pictures_without_a_boundary_have_finite_gradients(ids):
    logits = torch.randn(1, 3, 20, 30).requires_grad_()
    loss = segmentation_loss(logits, as_batch(ids), make_tiny_config())
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(logits.grad).all()


def test_a_distance_that_is_known_already_is_used():
    ids, config = as_batch(draw_ids()), make_tiny_config()
    logits = draw_logits(ids) * 0.1
    distance = targets_from_ids(ids)[0][:, 2]
    assert torch.equal(segmentation_loss(logits, ids, config, distance), segmentation_loss(logits, ids, config))
    assert segmentation_loss(logits, ids, config, 1 - distance) > segmentation_loss(logits, ids, config)


def test_half_precision_logits_are_counted_in_float32():
    ids = as_batch(draw_ids())
    loss = segmentation_loss(draw_logits(ids).half(), ids, make_tiny_config())
    assert loss.dtype == torch.float32
    assert loss < 0.01
