"""Weak labels and training samples from drawn masks and folders."""

import cv2
import numpy as np
import pytest
import tifffile
import torch

from tests.drawn import squares
from train.datasets import (
    PSEUDO_SHIFT,
    Mixture,
    RealMicrograph,
    TrainingSamples,
    crop_square,
    labels_from_boundaries,
    labels_from_pseudo_mask,
    load_316l,
    load_instances,
    load_pseudo_masks,
    load_tbm,
    relative_distance,
    training_tiles,
)
from train.labelled import UNKNOWN, LabelledDataError


def draw_mask() -> np.ndarray:
    """Two round grains, one merger of two, and a speck; bool (120, 200)."""
    mask = np.zeros((120, 200), np.uint8)
    for centre in ((30, 60), (170, 30)):
        cv2.circle(mask, centre, 20, 1, -1)
    cv2.circle(mask, (80, 60), 18, 1, -1)
    cv2.circle(mask, (115, 60), 18, 1, -1)
    cv2.circle(mask, (170, 100), 4, 1, -1)
    return mask > 0


def test_pseudo_mask_gives_single_grains_and_leaves_mergers_and_specks_unknown():
    labels = labels_from_pseudo_mask(draw_mask())
    assert labels[60, 30] > 0 and labels[30, 170] > 0 and labels[60, 30] != labels[30, 170]
    assert labels[60, 80] == labels[60, 115] == UNKNOWN
    assert labels[100, 170] == UNKNOWN
    assert labels[110, 60] == 0
    assert len(np.unique(labels[labels > 0])) == 2


@pytest.mark.parametrize("shift", [(PSEUDO_SHIFT, 0), (-PSEUDO_SHIFT, 0), (0, PSEUDO_SHIFT), (0, -PSEUDO_SHIFT)])
def test_shift_of_a_pseudo_mask_is_forgiven(shift):
    mask = draw_mask()
    known = labels_from_pseudo_mask(np.roll(mask, shift, (0, 1)))
    inner = np.s_[8:-8, 8:-8]
    assert not (known[inner] > 0)[~mask[inner]].any()
    assert not (known[inner] == 0)[mask[inner]].any()
    assert (known > 0).sum() > 1000


@pytest.fixture
def lines():
    """Drawn boundaries, 3 px wide, of three rows of three cells; uint8 (90, 90)."""
    drawn = np.zeros((90, 90), np.uint8)
    for k in (30, 60):
        cv2.line(drawn, (k, 0), (k, 89), 1, 3)
        cv2.line(drawn, (0, k), (89, k), 1, 3)
    return drawn


def test_cells_of_drawn_boundaries_meet_in_the_middle_of_the_line(lines):
    labels = labels_from_boundaries(lines > 0)
    assert len(np.unique(labels)) == 9 and labels.min() == 1
    assert labels[10, 29] == labels[10, 10] and labels[10, 31] == labels[10, 45]


def test_cells_that_an_open_boundary_joins_are_unknown(lines):
    lines[5:15, 25:35] = 0
    lines[35:45, 25:35] = 0
    lines[25:35, 5:15] = 0
    labels = labels_from_boundaries(lines > 0)
    assert labels[10, 10] == labels[10, 45] == UNKNOWN
    assert labels[75, 75] > 0
    assert (labels_from_boundaries(np.ones((5, 5), bool)) == UNKNOWN).all()


def test_relative_distance_is_the_depth_in_256_steps():
    labels = np.repeat([[1] * 3 + [2] * 12], 5, axis=0).astype(np.int32)
    distance = relative_distance(labels)
    assert distance.dtype == np.uint8
    # The depths are 2, 1, 0, 0 and 1..11, relative to 2 and 11.
    assert distance.tolist() == [[255, 128, 0, 0, *np.rint(255 * np.arange(1, 12) / 11).astype(int)]] * 5


def test_relative_distance_is_multiplied_before_it_is_divided():
    labels = np.ones((8, 8), np.int32)
    labels[0, 0] = 0
    # Half of the deepest point's distance: 255 times the quotient, which float32 holds as 0.5, would become 128.
    assert relative_distance(labels)[4, 4] == 127


def test_relative_distance_is_full_where_one_grain_fills_the_picture():
    assert (relative_distance(np.ones((48, 32), np.int32)) == 255).all()


def test_relative_distance_is_0_where_nothing_is_known():
    labels = np.full((20, 20), UNKNOWN, np.int32)
    labels[5:15, 5:15] = 3
    distance = relative_distance(labels)
    assert distance[9, 9] == 255
    assert not distance[labels == UNKNOWN].any()


def test_distance_counts_what_weak_labels_were_shrunk_by():
    labels = np.full((40, 40), UNKNOWN, np.int32)
    labels[10:30, 10:30] = 1
    whole = np.where(np.pad(np.ones((28, 28), bool), 6), 1, 0)
    expected, shrunk = (relative_distance(ids, by).astype(float) for ids, by in ((whole, 0.0), (labels, 4.0)))
    inside = np.s_[11:29, 11:29]
    assert np.abs(shrunk[inside] - expected[inside]).max() < 1
    assert np.abs(relative_distance(labels)[inside] - expected[inside]).max() > 50


def test_tiles_that_show_a_part_of_a_test_tile_are_not_trained_on(tmp_path):
    rows = ["A_01_01,A,train", "A_01_02,A,val", "D_03_04,D,val", "N_03_01,N,test"]
    (tmp_path / "split.csv").write_text("\n".join(["tile,micrograph,seed_split", *rows, ""]))
    assert training_tiles(tmp_path) == ["A_01_02"]


def test_samples_are_tinted_no_more_than_what_the_network_sees():
    grey = np.random.default_rng(0).integers(0, 256, (64, 64, 1), dtype=np.uint8)
    green = (grey * (0.1, 1, 0.1)).astype(np.uint8)
    mixture = Mixture({"own": [RealMicrograph(green, np.ones((64, 64), np.int32))]}, {"own": 1.0})
    image = TrainingSamples(0, 64, mixture)[0][0]
    assert torch.equal(image[0], image[1]) and torch.equal(image[1], image[2])


def test_weak_labels_of_316l_know_how_far_they_were_shrunk(tiles):
    assert [micrograph.shrunk for micrograph in load_316l(tiles)] == [4, 4]
    assert [micrograph.shrunk for micrograph in load_pseudo_masks(tiles)] == [0]


def test_crop_keeps_picture_and_labels_together():
    labels = squares(4, 4)
    image = np.repeat((labels * 10).astype(np.uint8)[..., None], 3, axis=2)
    rng = np.random.default_rng(0)
    for _ in range(20):
        pixels, ids, _ = crop_square(rng, RealMicrograph(image, labels), 64)
        assert pixels.shape == (64, 64, 3) and ids.shape == (64, 64)
        assert np.unique(ids).tolist() == list(range(1, ids.max() + 1))
        grey = np.array([np.median(pixels[ids == i, 0]) for i in range(1, ids.max() + 1)])
        assert len(set(grey)) == len(grey)
        # Interpolation blurs the edges only.
        assert (pixels[..., 0] == grey[ids - 1]).mean() > 0.8


def test_crop_of_a_small_picture_is_enlarged():
    source = RealMicrograph(np.zeros((30, 50, 3), np.uint8), np.ones((30, 50), np.int32))
    pixels, ids, scale = crop_square(np.random.default_rng(0), source, 64)
    assert pixels.shape == (64, 64, 3) and ids.shape == (64, 64)
    assert scale == 64 / 30


@pytest.fixture
def tiles(tmp_path):
    """A folder like that of 316L: one tile of each part of the split, told apart by its grey value."""
    rows = ["tile,micrograph,seed_split"]
    for number, part in enumerate(("train", "val", "test")):
        for folder, picture in (
            ("images", np.full((60, 60, 3), 50 * (number + 1), np.uint8)),
            ("pseudo_masks", cv2.circle(np.zeros((60, 60), np.uint8), (30, 30), 20, 255, -1)),
        ):
            (tmp_path / folder).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / folder / f"{part}.png"), picture)
        rows.append(f"{part},A,{part}")
    (tmp_path / "split.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def test_test_tiles_are_never_loaded(tiles):
    assert [m.image[0, 0, 0] for m in load_316l(tiles)] == [50, 100]
    assert [m.image[0, 0, 0] for m in load_pseudo_masks(tiles)] == [50]
    with pytest.raises(ValueError, match="evaluation only"):
        training_tiles(tiles, ("train", "test"))


def test_pseudo_masks_at_their_word_have_no_unknown(tiles):
    weak, literal = load_316l(tiles)[0].labels, load_pseudo_masks(tiles)[0].labels
    assert (weak == UNKNOWN).any() and set(np.unique(literal)) == {0, 1}


def test_missing_files_are_named(tiles, tmp_path):
    (tiles / "images" / "val.png").unlink()
    with pytest.raises(LabelledDataError, match="'val'"):
        load_316l(tiles)
    (tiles / "split.csv").unlink()
    with pytest.raises(LabelledDataError, match="split.csv"):
        load_316l(tiles)
    for load in (load_tbm, load_instances):
        with pytest.raises(LabelledDataError, match="does not exist"):
            load(tmp_path / "nowhere")


def test_a_split_without_a_tile_to_train_on_is_refused(tiles):
    (tiles / "split.csv").write_text("tile,micrograph,seed_split\ntest,A,test\n")
    with pytest.raises(LabelledDataError, match="no tile of train or val"):
        load_316l(tiles)


def test_masks_and_drawn_boundaries_fit_their_pictures(tiles, lines):
    (tiles / "boundaries").mkdir()
    cv2.imwrite(str(tiles / "boundaries" / "other.png"), 255 * lines)
    with pytest.raises(LabelledDataError, match="boundaries drawn"):
        load_tbm(tiles)
    (tiles / "boundaries" / "other.png").rename(tiles / "boundaries" / "train.png")
    with pytest.raises(LabelledDataError, match="90x90, its micrograph train.png is 60x60"):
        load_tbm(tiles)
    cv2.imwrite(str(tiles / "boundaries" / "train.png"), 255 * lines[:60, :60])
    assert len(load_tbm(tiles)) == 1
    cv2.imwrite(str(tiles / "pseudo_masks" / "val.png"), 255 * lines)
    with pytest.raises(LabelledDataError, match="90x90, its micrograph val.png is 60x60"):
        load_316l(tiles)


def test_stored_65535_comes_back_as_unknown(tmp_path):
    for folder in ("images", "instances"):
        (tmp_path / folder).mkdir()
    ids = np.array([[0, 1], [2, 65535]], np.uint16).repeat(20, 0).repeat(20, 1)
    cv2.imwrite(str(tmp_path / "instances" / "a.png"), ids)
    cv2.imwrite(str(tmp_path / "images" / "a.png"), np.zeros((40, 40, 3), np.uint8))
    (micrograph,) = load_instances(tmp_path)
    assert micrograph.labels[0, 0] == 0 and micrograph.labels[-1, -1] == UNKNOWN and micrograph.labels.dtype == np.int32


def test_ids_of_any_size_stay_apart_in_samples_and_labels_fit_their_picture(tmp_path):
    for folder in ("images", "instances"):
        (tmp_path / folder).mkdir()
    ids = np.array([[1, 40_000], [65_537, 0]], np.uint32).repeat(20, 0).repeat(20, 1)
    tifffile.imwrite(tmp_path / "instances" / "a.tif", ids)
    cv2.imwrite(str(tmp_path / "images" / "a.png"), np.zeros((40, 40, 3), np.uint8))
    _, labels, _ = TrainingSamples(0, 40, Mixture({"real": load_instances(tmp_path)}, {"real": 1.0}, zoom=0.0))[0]
    assert labels[::20, ::20].tolist() == [[1, 2], [3, 0]]
    cv2.imwrite(str(tmp_path / "images" / "a.png"), np.zeros((40, 60, 3), np.uint8))
    with pytest.raises(LabelledDataError, match="40x40"):
        load_instances(tmp_path)


def test_samples_depend_on_seed_and_index_alone():
    real = RealMicrograph(np.full((80, 80, 3), 7, np.uint8), np.ones((80, 80), np.int32))
    mixture = Mixture({"real": [real]}, {"real": 0.5})
    samples = TrainingSamples(3, 48, mixture)
    for image, labels, distance in (samples[4], samples[5]):
        assert image.shape == (3, 48, 48) and image.dtype == torch.uint8
        assert labels.shape == distance.shape == (48, 48)
    again = TrainingSamples(3, 48, mixture)
    assert all(torch.equal(a, b) for a, b in zip(samples[4], again[4], strict=True))
    assert not torch.equal(samples[4][0], TrainingSamples(4, 48, mixture)[4][0])
    share = np.mean([bool((samples[i][0] == 7).all()) for i in range(40)])
    assert 0.25 < share < 0.75


def test_more_grains_than_16_bits_hold_stay_grains():
    labels = np.arange(1, 90_001, dtype=np.int32).reshape(300, 300)
    labels[:, ::10] = UNKNOWN
    real = RealMicrograph(np.zeros((300, 300, 3), np.uint8), labels)
    samples = TrainingSamples(0, 40, Mixture({"real": [real]}, {"real": 1.0}, zoom=0.0))
    for index in range(5):
        _, ids, _ = samples[index]
        assert ids.unique().tolist() == [UNKNOWN, *range(1, 40 * 36 + 1)]
