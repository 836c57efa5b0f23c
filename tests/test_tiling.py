"""Tiles and scale: the same maps whatever the size, and further looks where grains are too small or too large."""

from copy import deepcopy
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from grain_model import canonical_scale
from grain_model.canonical_scale import factor_for_grains, predict_at_canonical_scale
from grain_model.tiling import OVERLAP, predict_probabilities
from tests.drawn import drawn_maps, squares


class PixelModel:
    """Answers with the pixels themselves as logits, and remembers the sizes it was given."""

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self):
        self.sizes = []

    def __call__(self, pixel_values):
        self.sizes.append(tuple(pixel_values.shape[-2:]))
        return SimpleNamespace(logits=pixel_values)


@pytest.mark.parametrize("shape", [(300, 400), (701, 333), (333, 1001), (900, 900)])
def test_tiles_blend_to_the_untiled_maps(shape):
    image = np.random.default_rng(0).standard_normal((3, *shape)).astype(np.float32)
    model = PixelModel()
    maps = predict_probabilities(model, image, max_pixels=250_000)
    np.testing.assert_allclose(maps, 1 / (1 + np.exp(-image)), atol=1e-5)
    assert all(h * w <= 250_000 for h, w in model.sizes)
    assert len(model.sizes) > 1 or shape[0] * shape[1] <= 250_000


def test_tiles_overlap_and_progress_is_told():
    seen, model = [], PixelModel()
    image = np.zeros((3, 600, 900), np.float32)
    predict_probabilities(model, image, max_pixels=250_000, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(k + 1, len(model.sizes)) for k in range(len(model.sizes))]
    rows = sum(h for h, w in model.sizes[:: len(model.sizes) // 2])
    assert rows >= 600 + OVERLAP


def test_a_model_in_training_is_read_in_evaluation_and_left_as_it_was(tiny_model):
    model = deepcopy(tiny_model)
    image = np.random.default_rng(0).random((3, 56, 56)).astype(np.float32)
    expected = predict_probabilities(model.eval(), image)
    model.train()
    model.decoder.fuse.eval()
    modes = [module.training for module in model.modules()]
    statistics = {name: value.clone() for name, value in model.named_buffers()}
    np.testing.assert_array_equal(predict_probabilities(model, image), expected)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, statistics[name]) for name, value in model.named_buffers())


def test_a_seam_fades_from_one_tile_to_the_other():
    class TileNumber(PixelModel):
        def __call__(self, pixel_values):
            self.sizes.append(1)
            return SimpleNamespace(logits=torch.full_like(pixel_values, -2.0 if len(self.sizes) == 1 else 2.0))

    maps = predict_probabilities(TileNumber(), np.zeros((3, 200, 900), np.float32), max_pixels=130_000)
    profile = maps[0, 100]
    assert profile[0] < 0.2 and profile[-1] > 0.8
    assert np.abs(np.diff(profile)).max() < 0.02


@pytest.mark.parametrize("side, wanted", [(8, "enlarge"), (40, None), (120, "reduce")])
def test_only_grains_of_unreadable_size_are_resampled(side, wanted):
    rows = max(240 // side, 3)
    factor = factor_for_grains(np.full(rows * rows, side**2))
    assert (factor > 1) == (wanted == "enlarge") and (factor < 1) == (wanted == "reduce")
    if wanted == "reduce":
        assert factor == pytest.approx(canonical_scale.REDUCED_DIAMETER / (side * np.sqrt(4 / np.pi)))


def test_no_grain_means_no_resampling():
    assert factor_for_grains(np.zeros(0)) == 1


@pytest.mark.parametrize("most, looks", [(10**6, [160, 320]), (200**2, [160, 200]), (100**2, [160])])
def test_a_picture_of_small_grains_is_enlarged_as_far_as_memory_allows(monkeypatch, most, looks):
    sides = []

    def look(model, image, **options):
        sides.append(image.shape[1])
        return drawn_maps(squares(20, 20, round(8 * image.shape[1] / 160)))

    monkeypatch.setattr(canonical_scale, "predict_probabilities", look)
    monkeypatch.setattr(canonical_scale, "MOST_ENLARGED", most)
    maps = predict_at_canonical_scale(None, np.zeros((3, 160, 160), np.float32))
    assert sides == looks and maps.shape[1:] == (160, 160)


def test_groups_that_the_reduced_picture_does_not_divide_either_are_no_reason_to_reduce(monkeypatch):
    """The first look tells 40 of many small grains apart and takes the rest for a few large ones."""
    rows, columns = np.indices((300, 300)) // 15
    ids = np.where(rows < 2, rows * 20 + columns, 40 + (rows > 10)).astype(np.int32)
    first = drawn_maps(ids)
    monkeypatch.setattr(canonical_scale, "predict_probabilities", lambda model, image, **options: looks.pop())
    looks = [np.stack([np.ones((96, 96)), *np.zeros((2, 96, 96))]).astype(np.float32), first]
    assert predict_at_canonical_scale(None, np.zeros((3, 300, 300), np.float32)) is first


def test_a_reduced_picture_may_show_fewer_pieces(monkeypatch):
    """What was cut in two by the first look is why pictures of large grains are reduced."""
    halves, grains = drawn_maps(squares(3, 6, 150)), drawn_maps(squares(3, 3, 52))
    looks = [grains, halves]
    monkeypatch.setattr(canonical_scale, "predict_probabilities", lambda model, image, **options: looks.pop())
    maps = predict_at_canonical_scale(None, np.zeros((3, *halves.shape[1:]), np.float32))
    assert maps is grains and not looks


@pytest.mark.parametrize("misjudged", [0.5, 2.0])
def test_a_picture_whose_grains_were_misjudged_is_reduced_anew(monkeypatch, misjudged):
    """The first look takes grains of 200 px for smaller or larger ones; the second tells their size."""
    sides = []

    def look(model, image, **options):
        sides.append(image.shape[1])
        real = 200 * image.shape[1] / 1200
        return drawn_maps(squares(6, 6, round(real * (misjudged if len(sides) == 1 else 1))))

    monkeypatch.setattr(canonical_scale, "predict_probabilities", look)
    predict_at_canonical_scale(None, np.zeros((3, 1200, 1200), np.float32))
    wanted = 1200 * canonical_scale.REDUCED_DIAMETER / (200 * np.sqrt(4 / np.pi))
    assert len(sides) == 3 and sides[2] == pytest.approx(wanted, rel=0.05)


def test_a_look_that_would_be_the_same_again_is_not_taken(monkeypatch):
    """One grain fills the picture, however far it is reduced."""
    sides = []

    def look(model, image, **options):
        sides.append(image.shape[1])
        return drawn_maps(np.ones(image.shape[1:], np.int32))

    monkeypatch.setattr(canonical_scale, "predict_probabilities", look)
    predict_at_canonical_scale(None, np.zeros((3, 400, 400), np.float32))
    assert sides == [400, canonical_scale.SMALLEST_SIDE]


def test_a_reduced_look_that_shows_too_little_leaves_the_one_before(monkeypatch):
    looks = [drawn_maps(squares(1, 1, 200)), second := drawn_maps(squares(4, 4, 120)), drawn_maps(squares(6, 6, 200))]
    monkeypatch.setattr(canonical_scale, "predict_probabilities", lambda model, image, **options: looks.pop())
    assert predict_at_canonical_scale(None, np.zeros((3, 1200, 1200), np.float32)) is second and not looks


@pytest.mark.parametrize("factor, size", [(2.0, (200, 300)), (0.5, (100, 150))])
def test_maps_of_enlarged_pictures_come_back_at_their_own_size_and_place(monkeypatch, factor, size):
    sizes = []

    def look(model, image, **options):
        sizes.append(image.shape[1:])
        return 1 / (1 + np.exp(-image))

    monkeypatch.setattr(canonical_scale, "predict_probabilities", look)
    monkeypatch.setattr(canonical_scale, "factor_for_grains", lambda areas: factor)
    monkeypatch.setattr(canonical_scale, "_grain_areas", lambda maps: np.full(9, 2463))
    image = np.full((3, 200, 300), -4, np.float32)
    image[:, 40:80, 100:160] = 4
    maps = predict_at_canonical_scale(None, image)
    assert sizes == [(200, 300), (round(200 * factor), round(300 * factor))] and maps.shape == (3, *size)
    moments, shrunk = cv2.moments((maps[0] > 0.5).astype(np.uint8)), size[0] / 200
    assert (moments["m10"] / moments["m00"] + 0.5) / shrunk == pytest.approx(130, abs=0.5)
    assert (moments["m01"] / moments["m00"] + 0.5) / shrunk == pytest.approx(60, abs=0.5)
