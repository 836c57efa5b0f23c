"""Augmentation on batches whose pixels say which grain they belong to."""

import numpy as np
import pytest
import torch

from grain_model.image_processing_grain import standardize
from tests.drawn import squares
from train.augment import _bands, _cut, _photometric, augment, standardize_batch
from train.labelled import UNKNOWN

SIDE = 64


def draw_batch(count: int = 16) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pictures of 16 square grains whose grey value is 15 times their id; uint8, int16 and uint8 as samples are."""
    ids = torch.from_numpy(squares(4, 4, SIDE // 4))
    labels = ids.expand(count, SIDE, SIDE).to(torch.int16)
    images = (labels * 15).to(torch.uint8)[:, None].expand(-1, 3, -1, -1)
    return images, labels, images[:, 0]


@pytest.mark.parametrize("size", [28, 56, 96])
def test_ids_follow_the_pixels_under_every_turn_flip_and_scale(size):
    images, labels, distance = draw_batch(64)
    channels = torch.cat([images, distance[:, None]], dim=1).float() / 255
    cut, ids = _cut(channels, labels, size, torch.Generator().manual_seed(0))
    known = ids != UNKNOWN
    for channel in range(4):
        agrees = (cut[:, channel] * 255 - ids * 15).abs() < 1
        # Interpolation blurs the edges between the squares only.
        assert agrees[known].float().mean() > 0.75
    # A wrong turn or flip of one of the two would leave hardly a picture in agreement.
    assert agrees.flatten(1).float().mean(1).min() > 0.4
    orders = {tuple(picture[size // 3, :: size // 4].tolist()) for picture in ids}
    assert len(orders) > 16


def test_what_lies_outside_the_picture_is_unknown():
    images, labels, distance = draw_batch(64)
    _, ids, _ = augment(images, labels, distance, SIDE, torch.Generator().manual_seed(1))
    assert set(ids.unique().tolist()) == {UNKNOWN, *range(1, 17)}
    outside = (ids == UNKNOWN).flatten(1).any(1)
    # Only tilted cuts reach outside, and they do so at a corner.
    assert 0 < outside.float().mean() < 0.6
    assert (ids[:, SIDE // 2, SIDE // 2] != UNKNOWN).all()


def test_unknown_and_not_a_grain_stay_what_they_are():
    images, labels, distance = draw_batch(8)
    labels = labels.clone()
    labels[:4], labels[4:] = UNKNOWN, 0
    _, ids, _ = augment(images, labels, distance, 32, torch.Generator().manual_seed(2))
    assert (ids[:4] == UNKNOWN).all()
    assert (ids[4:] <= 0).all() and (ids[4:] == 0).any()


def test_the_generator_sets_every_choice():
    batch = draw_batch()
    first, again = (augment(*batch, 48, torch.Generator().manual_seed(5)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    other = augment(*batch, 48, torch.Generator().manual_seed(6))
    assert not torch.equal(first[0], other[0])


def test_output_is_standardised_as_the_image_processor_does():
    pixels, ids, distance = augment(*draw_batch(), 48, torch.Generator().manual_seed(7))
    assert pixels.shape == (16, 3, 48, 48) and ids.dtype == torch.int64 and distance.shape == (16, 48, 48)
    assert torch.allclose(pixels.mean((1, 2, 3)), torch.zeros(16), atol=1e-4)
    assert torch.allclose(pixels.std((1, 2, 3), correction=0), torch.ones(16), atol=1e-3)
    rgb = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    ours = standardize_batch(torch.from_numpy(rgb.transpose(2, 0, 1)[None] / 255).float())[0]
    assert np.allclose(ours.numpy(), standardize(rgb), atol=1e-4)


def test_a_flat_picture_is_not_blown_up():
    flat = standardize_batch(torch.full((1, 3, 8, 8), 0.5))
    assert torch.equal(flat, torch.zeros_like(flat))


def test_light_changes_and_place_does_not():
    pixels = torch.zeros(64, 3, 32, 32)
    pixels[..., 8:24, 8:24] = 0.6
    changed = _photometric(pixels, torch.Generator().manual_seed(0))
    inner, outer = changed[..., 12:20, 12:20].mean((1, 2, 3)), changed[..., :4, :].mean((1, 2, 3))
    inverted = inner < outer
    assert 0 < inverted.float().mean() < 0.3
    assert (inner - outer).abs().min() > 0.15
    assert len(inner.round(decimals=2).unique()) > 10


def test_bands_of_light_run_in_many_directions():
    bands = _bands(torch.zeros(64, 3, 48, 64), torch.Generator().manual_seed(0))
    assert bands.shape == (64, 1, 48, 64) and bands.min() < -0.99 and bands.max() > 0.99
    down, across = (bands.diff(dim=axis).abs().mean((1, 2, 3)) for axis in (2, 3))
    assert (down > 2 * across).any() and (across > 2 * down).any()


def test_some_pictures_of_a_batch_get_bands_of_light():
    lit = _photometric(torch.full((64, 3, 64, 64), 0.5), torch.Generator().manual_seed(0)).mean(1)
    # Noise averages out over blocks of 8 x 8 px, bands do not.
    waves = lit.unfold(1, 8, 8).unfold(2, 8, 8).mean((3, 4)).flatten(1).std(1)
    assert 0 < (waves > 0.02).float().mean() < 0.3
