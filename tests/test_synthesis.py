"""Synthetic micrographs: exact labels, determinism, and the command that writes them."""

import json
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest

from train.cli import main
from train.synthesis import polycrystal, synthesize_micrograph
from train.synthesis.fields import smooth_noise
from train.synthesis.instrument import record
from train.synthesis.painting import Painted, paint
from train.synthesis.recipe import FAMILIES, Recipe
from train.synthesis.visibility import LEAST_STEP, _without_splinters, grain_noise, visible_grains

SIDE = 128


def has_other_label_nearby(labels: np.ndarray) -> np.ndarray:
    """The definition of a boundary pixel, written with shifts."""
    padded = np.pad(labels, 1, mode="edge")
    height, width = labels.shape
    return np.any([padded[dy : dy + height, dx : dx + width] != labels for dy in range(3) for dx in range(3)], axis=0)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_family_draws_a_picture_with_labels_without_gaps(family):
    for seed in range(3):
        drawn = synthesize_micrograph(seed, SIDE, family=family, diameter=(20.0, 40.0))
        assert drawn.image.shape == (SIDE, SIDE, 3) and drawn.image.dtype == np.uint8
        assert drawn.image.std() > 1
        assert drawn.labels.shape == (SIDE, SIDE) and drawn.labels.dtype == np.int32
        ids = np.unique(drawn.labels)
        assert np.array_equal(ids[ids > 0], np.arange(1, drawn.labels.max() + 1))
        assert drawn.parameters["grains"] == drawn.labels.max()
        assert drawn.parameters["family"] == family
        assert json.loads(json.dumps(drawn.parameters)) == drawn.parameters
        if drawn.parameters["gap"] == 0:
            assert drawn.labels.min() == 1


def test_each_label_is_one_connected_piece():
    for seed in range(6):
        labels = synthesize_micrograph(seed, SIDE).labels
        for grain in range(1, labels.max() + 1):
            pieces, _ = cv2.connectedComponents((labels == grain).astype(np.uint8), connectivity=4)
            assert pieces == 2


def test_gaps_have_the_label_0():
    labels = synthesize_micrograph(1, SIDE, family="gaps", diameter=(25.0, 30.0)).labels
    assert 0.01 < (labels == 0).mean() < 0.6


def test_boundary_map_marks_the_pixels_beside_another_label():
    for seed in range(4):
        drawn = synthesize_micrograph(seed, SIDE)
        assert np.array_equal(drawn.boundary, has_other_label_nearby(drawn.labels))


def test_same_seed_gives_the_same_micrograph_in_another_process():
    drawn = synthesize_micrograph(7, (96, 112))
    code = (
        "from train.synthesis import synthesize_micrograph as draw; import zlib; d = draw(7, (96, 112));"
        "print(zlib.crc32(d.image.tobytes()), zlib.crc32(d.labels.tobytes()))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split() == [str(zlib.crc32(a.tobytes())) for a in (drawn.image, drawn.labels)]
    assert not np.array_equal(drawn.image, synthesize_micrograph(8, (96, 112)).image)


def test_unknown_family_is_refused():
    with pytest.raises(ValueError, match="Unknown family 'wood'"):
        synthesize_micrograph(0, SIDE, family="wood")


@pytest.mark.parametrize("diameter", [14.0, 28.0, 50.0])
@pytest.mark.parametrize("elongation", [1.0, 2.0])
def test_mean_diameter_is_the_one_that_was_asked_for(diameter, elongation):
    rng = np.random.default_rng(3)
    areas = []
    for _ in range(3):
        crystal = polycrystal(rng, (256, 256), diameter, spread=0.2, elongation=elongation, angle=0.6)
        inner = np.unique(crystal.labels[1:-1, 1:-1])
        edge = np.concatenate([crystal.labels[k] for k in (0, -1)] + [crystal.labels[:, k] for k in (0, -1)])
        # Grains cut by the edge count as half, as in the planimetric method.
        areas.append(256 * 256 / (len(inner) - 0.5 * len(np.unique(edge))))
    assert 2 * np.sqrt(np.mean(areas) / np.pi) == pytest.approx(diameter, rel=0.12)


def test_distance_is_in_px():
    crystal = polycrystal(np.random.default_rng(0), (200, 200), 60.0, spread=0.2, waviness=0.1)
    other = has_other_label_nearby(crystal.labels)
    # The boundary runs between the two rows of pixels that see each other, half a pixel from both.
    measured = cv2.distanceTransform((~other).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) + 0.5
    near = (measured < 6) & (measured > 0.5)
    error = np.abs(crystal.distance - measured)[near]
    assert np.mean(error) < 0.6
    assert np.quantile(error, 0.95) < 1.5
    assert crystal.distance[other].max() < 3


def test_neighbour_is_the_grain_across_the_nearest_boundary():
    crystal = polycrystal(np.random.default_rng(1), (120, 120), 30.0)
    assert np.all(crystal.labels != crystal.neighbours)
    right = crystal.labels[:, 1:] != crystal.labels[:, :-1]
    across = crystal.neighbours[:, :-1][right] == crystal.labels[:, 1:][right]
    assert across.mean() > 0.95


def test_owner_of_a_pixel_is_the_seed_with_the_least_power_distance():
    from train.synthesis.polycrystal import _power_diagram

    rng = np.random.default_rng(5)
    y, x = np.mgrid[:61, :83].astype(np.float32)
    seeds = rng.uniform(-10, 90, (60, 2))
    radii = rng.uniform(4, 9, 60)
    labels, neighbours, difference = _power_diagram(x, y, seeds, radii)
    power = (x[..., None] - seeds[:, 0]) ** 2 + (y[..., None] - seeds[:, 1]) ** 2 - radii**2
    order = np.argsort(power, axis=-1)
    assert (labels == order[..., 0]).mean() > 0.999
    assert (neighbours == order[..., 1]).mean() > 0.99
    ranked = np.take_along_axis(power, order[..., :2], axis=-1)
    assert np.median(np.abs(difference - (ranked[..., 1] - ranked[..., 0]))) < 0.01


def draw_plain(**changes: float) -> tuple[np.ndarray, int, np.ndarray]:
    """Labels of a plain recipe with some attributes changed, grains in the polycrystal, and painted grey values."""
    recipe = Recipe(np.random.default_rng(2), "bse", (30.0, 30.0))
    plain = {"twins": 0.0, "second_phase": 0.0, "gap": 0.0, "chroma": 0.0, "texture": 0.01, "noise": 0.005}
    plain |= {"contrast": 1.0, "missing": 0.0, "edge_spread": 0.0, "step": 0.0, "depth": 0.0, "relief": 0.0}
    plain |= {"tilt": 0.0, "beads": 0.0, "fading": 0.0, "dome": 0.0, "scan_lines": 0.0, "eyepiece": False}
    plain |= {"beyond_edge": 0.0, "deep_scratches": 0}
    for name, value in (plain | changes).items():
        setattr(recipe, name, value)
    # Of its own, so that a further choice in the recipe leaves the grains as they are.
    rng = np.random.default_rng(11)
    crystal = polycrystal(rng, (SIDE, SIDE), recipe.diameter)
    painted = paint(rng, recipe, crystal)
    image, light = record(rng, recipe, painted.grey, painted.chroma)
    labels = visible_grains(image, crystal, painted, recipe.diameter, light)
    return labels, len(np.unique(crystal.labels)), painted.grey


def test_boundaries_that_cannot_be_seen_are_not_asked_for():
    labels, _, _ = draw_plain(texture=0.0)
    assert labels.max() == 1


def test_a_step_above_what_the_camera_records_is_not_asked_for():
    labels, grains, grey = draw_plain(level=0.95, step=0.2, gamma=1.0)
    assert labels.max() > 0.9 * grains
    recorded = np.clip(grey, 0, 1)
    levels = np.array([np.median(recorded[labels == i]) for i in range(1, labels.max() + 1)])
    beside = labels[:, 1:] != labels[:, :-1]
    first, second = labels[:, :-1][beside], labels[:, 1:][beside]
    assert np.abs(levels[first - 1] - levels[second - 1]).min() > 0.8 * LEAST_STEP * np.ptp(levels)


def test_grains_whose_boundaries_lie_in_the_dark_are_not_asked_for():
    chosen = {"step": 0.05, "gamma": 1.0, "noise": 0.02, "shading": 0.0, "seam": 0.0}
    lit, dark = (draw_plain(**chosen, vignetting=loss)[0] for loss in (0.0, 0.85))
    middle, corner = np.s_[SIDE // 3 : -SIDE // 3, SIDE // 3 : -SIDE // 3], np.s_[: SIDE // 5, : SIDE // 5]
    assert len(np.unique(dark[corner])) < len(np.unique(lit[corner]))
    assert len(np.unique(dark[middle])) >= 0.8 * len(np.unique(lit[middle]))


def test_small_grains_are_no_splinters_of_others():
    whole = np.ones((40, 40), np.int32)
    whole[:, 20:] = 2
    whole[30:34, 5:9] = 3  # small, but all of it is there
    pieces = whole.copy()
    pieces[:, 21:38] = 0
    pieces[:, 38:] = 4  # what a gap leaves of the second grain, on both sides
    kept = _without_splinters(pieces, whole, 60.0)
    assert set(np.unique(kept)) == {0, 1, 3}


def test_noise_hides_a_line_between_small_grains_that_large_grains_show():
    line = {"depth": 0.07, "line_width": 1.5, "blur": 0.35, "noise": 0.075, "noise_cell": 1.0, "gamma": 1.0}
    small, many, _ = draw_plain(diameter=10.0, **line)
    large, grains, _ = draw_plain(diameter=40.0, **line)
    assert small.max() < 0.5 * many and large.max() > 0.8 * grains


@pytest.mark.parametrize("seen", [{"depth": 0.4, "line_width": 1.5}, {"step": 0.1}, {"relief": 0.5, "depth": 0.02}])
def test_boundaries_that_can_be_seen_are_asked_for(seen):
    labels, grains, _ = draw_plain(**seen)
    # But for cells of which the edge leaves a few pixels.
    assert labels.max() >= grains - 1


@pytest.mark.parametrize("step", [0.0, 0.02])
def test_texture_hides_boundaries_between_rough_grains_and_shows_those_to_smooth_ones(step):
    rng = np.random.default_rng(6)
    crystal = polycrystal(rng, (SIDE, SIDE), 25.0)
    rough = crystal.labels % 2 == 0
    grey = 0.5 + np.where(rough, 0.15, 0.02).astype(np.float32) * rng.standard_normal((SIDE, SIDE), dtype=np.float32)
    nothing = np.zeros_like(grey)
    painted = Painted(grey, None, np.full_like(grey, step), nothing, None, marked=nothing > 0)
    image = np.repeat((grey.clip(0, 1) * 255).astype(np.uint8)[..., None], 3, axis=2)
    labels = visible_grains(image, crystal, painted, 25.0, nothing + 1)
    share = np.bincount(labels.ravel(), rough.ravel())[1:] / np.bincount(labels.ravel())[1:]
    assert np.all((share < 0.05) | (share > 0.95)) and share.min() < 0.05 and share.max() > 0.95
    found = [len(np.unique(labels[phase])) for phase in (rough, ~rough)]
    grains = [len(np.unique(crystal.labels[phase])) for phase in (rough, ~rough)]
    assert found[0] < 0.8 * grains[0]
    assert found[1] >= grains[1] - 1 if step else found[1] < 0.8 * grains[1]


def test_specks_that_darken_a_grain_tell_it_from_its_neighbour():
    labels, grains, _ = draw_plain(texture=0.1, texture_cell=1.2, noise=0.003, gamma=1.0)
    assert labels.max() > 0.5 * grains


def test_marks_on_the_grains_hide_no_boundary_beside_them():
    seen = {"depth": 0.12, "line_width": 1.5, "level": 0.5, "gamma": 1.0, "blur": 0.5, "motion": 0.0, "invert": False}
    none = {"particles": 0.0, "pores": 0.0, "pits": 0, "dashes": 0, "scratches": 0}
    plain, grains, clear = draw_plain(**seen, **none)
    many = {"particles": 1.5, "particle_radius": 3.0, "pores": 0.5, "pore_radius": 0.08, "pits": 60, "dashes": 20}
    marked, _, grey = draw_plain(**seen, **(none | many))
    assert np.mean(np.abs(grey - clear) > 0.1) > 0.1
    assert plain.max() >= grains - 1 and marked.max() >= 0.97 * plain.max()


def test_no_grain_is_a_crumb_that_pixels_cut_off():
    for seed in range(12):
        drawn = synthesize_micrograph(seed, 160, family="bse", diameter=(12.0, 16.0))
        assert np.bincount(drawn.labels.ravel())[1:].min() > 12


def test_noise_of_grains_is_that_of_white_noise_and_ignores_single_marks():
    rng = np.random.default_rng(4)
    crystal = polycrystal(rng, (256, 256), 40.0)
    # Light that changes slowly over the field hides nothing.
    light = np.linspace(0.3, 0.6, 256, dtype=np.float32)
    grey = light + 0.05 * rng.standard_normal((256, 256), dtype=np.float32)
    inside = np.unique(crystal.labels)
    noise = grain_noise(grey, crystal, None)
    assert noise.shape == (crystal.n_seeds,) and np.mean(noise[inside]) == pytest.approx(0.05, rel=0.1)
    marked = np.where(rng.random((256, 256)) < 0.002, 1.0, grey).astype(np.float32)
    assert np.mean(grain_noise(marked, crystal, None)[inside]) == pytest.approx(0.05, rel=0.2)
    rough = crystal.labels == crystal.labels[128, 128]
    grey[rough] += 0.1 * rng.standard_normal(rough.sum(), dtype=np.float32)
    rougher = grain_noise(grey, crystal, None)
    assert rougher[crystal.labels[128, 128]] == pytest.approx(np.hypot(0.05, 0.1), rel=0.15)
    assert np.median(rougher[inside]) == pytest.approx(0.05, rel=0.1)
    assert not grain_noise(grey, crystal, np.ones((256, 256), bool)).any()


def test_outside_an_eyepiece_there_are_no_grains():
    labels, _, grey = draw_plain(step=0.1, eyepiece=True)
    assert labels[[0, 0, -1, -1], [0, -1, 0, -1]].max() == 0 and labels[SIDE // 2, SIDE // 2] > 0
    assert grey[labels == 0].mean() < 0.15 < grey[labels > 0].mean()


def test_beyond_the_edge_of_the_specimen_there_are_no_grains():
    labels, _, grey = draw_plain(step=0.05, level=0.6, beyond_edge=0.4)
    assert (labels == 0).mean() == pytest.approx(0.4, abs=0.02) and labels.max() > 10
    inside, beyond = grey[labels > 0], grey[labels == 0]
    assert abs(np.median(inside) - np.median(beyond)) > 3 * np.std(beyond)


def test_deep_scratches_are_laid_over_the_grains_and_divide_none():
    plain, _, grey = draw_plain(step=0.1)
    labels, _, scratched = draw_plain(step=0.1, deep_scratches=6)
    # A scratch may hide a boundary, and makes none.
    assert 0.8 * plain.max() < labels.max() <= plain.max()
    assert all(len(np.unique(labels[plain == grain])) == 1 for grain in range(1, plain.max() + 1))
    changed = scratched != grey
    assert 0.02 < changed.mean() < 0.5
    assert np.abs(scratched - grey)[changed].max() > 0.1


@pytest.mark.parametrize("marks", [{"mottling": 0.4, "mottling_cell": 0.4}, {"pores": 0.6, "pore_radius": 0.15}])
def test_what_lies_in_the_grains_divides_none(marks):
    plain, _, grey = draw_plain(step=0.1)
    labels, _, changed = draw_plain(step=0.1, **marks)
    # Where it hides a boundary the grains are joined; none is cut.
    assert 0.8 * plain.max() < labels.max() <= plain.max()
    assert all(len(np.unique(labels[plain == grain])) == 1 for grain in range(1, plain.max() + 1))
    assert np.abs(changed - grey).max() > 0.05


def test_mottling_does_not_go_on_in_the_next_grain():
    plain, _, grey = draw_plain(step=0.1)
    labels, _, mottled = draw_plain(step=0.1, mottling=0.4, mottling_cell=0.5)
    change = mottled - grey
    beside = plain[:, 1:] != plain[:, :-1]
    step = np.abs(np.diff(change, axis=1))
    assert step[beside].mean() > 3 * step[~beside].mean()


def recorded(grey: np.ndarray, **chosen: float) -> np.ndarray:
    """Grey values, float32 (H, W), as a microscope without faults but the chosen ones stores them."""
    recipe = Recipe(np.random.default_rng(2), "bse", (40.0, 40.0))
    for name, value in vars(recipe).items():
        if name not in ("family", "diameter"):
            setattr(recipe, name, type(value)(0))
    recipe.contrast = recipe.gamma = recipe.noise_cell = recipe.reduction = 1.0
    recipe.blur = 0.3
    for name, value in chosen.items():
        setattr(recipe, name, value)
    return record(np.random.default_rng(3), recipe, grey, None)[0]


def test_movement_smears_in_one_direction_and_keeps_the_brightness():
    point = np.zeros((41, 41), np.float32)
    point[20, 20] = 1.0
    still, moved = (recorded(point, motion=length)[..., 0].astype(float) for length in (0.0, 6.0))
    assert moved.sum() == pytest.approx(still.sum(), rel=0.05)
    y, x = np.nonzero(moved)
    extent = np.sqrt(np.linalg.eigvalsh(np.cov(x, y, aweights=moved[y, x])))
    assert extent[1] == pytest.approx(6 / np.sqrt(12), rel=0.35) and extent[0] < 0.8


def test_light_falls_off_from_one_side_to_the_other():
    grey = recorded(np.full((80, 80), 0.9, np.float32), falloff=0.5)[..., 0] / 255
    assert grey.max() == pytest.approx(0.9, abs=0.02) and grey.min() == pytest.approx(0.45, abs=0.02)


def test_dead_and_hot_pixels_are_as_many_as_asked_for():
    image = recorded(np.full((200, 200), 0.5, np.float32), impulses=0.03)
    struck = (image == 0) | (image == 255)
    assert struck.mean() == pytest.approx(0.03, rel=0.2) and 0.3 < (image[struck] == 0).mean() < 0.7


def test_colour_noise_differs_from_channel_to_channel():
    image = recorded(np.full((60, 60), 0.5, np.float32), colour_noise=0.05) / 255
    channels = image.reshape(-1, 3)
    assert channels.std() == pytest.approx(0.05, rel=0.1)
    assert np.abs(np.corrcoef(channels.T)[np.triu_indices(3, 1)]).max() < 0.1


def test_a_picture_that_was_made_smaller_keeps_its_size_and_loses_its_finest_detail():
    lines = np.tile(np.array([0.2, 0.8], np.float32), (60, 35))
    image = recorded(lines, reduction=2.0, blur=0.3)
    assert image.shape == (60, 70, 3) and image.std() < 0.2 * recorded(lines, blur=0.3).std()


def test_two_fields_are_joined_across_or_along_square_pictures():
    directions = set()
    for seed in range(12):
        recipe = Recipe(np.random.default_rng(2), "bse", (30.0, 30.0))
        for name, value in vars(recipe).items():
            if name not in ("contrast", "gamma", "blur", "noise_cell"):
                setattr(recipe, name, type(value)(0))
        recipe.seam = 0.1
        image, light = record(np.random.default_rng(seed), recipe, np.full((64, 64), 0.5, np.float32), None)
        np.testing.assert_allclose(np.unique(light), [1.0, 1.1**recipe.gamma], rtol=1e-5)
        across, along = (np.ptp(np.median(image[..., 0], axis=axis)) for axis in (0, 1))
        directions.add("across" if across > along else "along")
    assert directions == {"across", "along"}


def test_gaps_have_no_colour():
    rng = np.random.default_rng(3)
    recipe = Recipe(rng, "tinted", (30.0, 30.0))
    recipe.gap, recipe.gap_level = 0.1, 0.1
    painted = paint(rng, recipe, polycrystal(rng, (SIDE, SIDE), 30.0))
    inside_gaps = painted.gap == 1
    assert inside_gaps.any() and np.abs(painted.chroma[painted.gap == 0]).max() > 0.05
    assert not painted.chroma[inside_gaps].any()


@pytest.mark.parametrize("cell", [0.5, 1.3, 7.0, 90.0, 400.0])
def test_smooth_noise_has_its_size_and_spread(cell):
    rng = np.random.default_rng(0)
    fields = np.stack([smooth_noise(rng, (40, 70), cell) for _ in range(60)])
    assert fields.shape[1:] == (40, 70)
    assert fields.std() == pytest.approx(1.0, abs=0.25)
    assert abs(fields.mean()) < 0.2
    if cell > 5:
        assert np.abs(np.diff(fields, axis=2)).max() < 12 / cell


def test_command_writes_pictures_truth_parameters_and_contact_sheet(tmp_path):
    assert (
        main(["synthesize", "--n", "5", "--size", "72", "--seed", "40", "--out", str(tmp_path), "--workers", "1"]) == 0
    )
    names = [f"{seed:06d}.png" for seed in range(40, 45)]
    for folder in ("images", "instances", "boundaries"):
        assert sorted(p.name for p in (tmp_path / folder).iterdir()) == names
    parameters = [json.loads(line) for line in (tmp_path / "parameters.jsonl").read_text().splitlines()]
    assert [row["seed"] for row in parameters] == list(range(40, 45))
    drawn = synthesize_micrograph(41, 72)
    image = cv2.imread(str(tmp_path / "images" / names[1]))[..., ::-1]
    assert np.array_equal(image, drawn.image)
    assert np.array_equal(cv2.imread(str(tmp_path / "instances" / names[1]), cv2.IMREAD_UNCHANGED), drawn.labels)
    boundary = cv2.imread(str(tmp_path / "boundaries" / names[1]), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(boundary, drawn.boundary * 255)
    sheet = cv2.imread(str(tmp_path / "contact_sheet.png"))
    assert sheet.shape == (400, 1600, 3)
    # Pictures above, the same with their boundaries below; white where there is none.
    assert (sheet[:, 1000:] == 255).all() and sheet[:, :1000].std() > 10
    assert not np.array_equal(sheet[:200, :200], sheet[200:, :200])


def test_command_does_not_mix_two_sets(tmp_path, capsys):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "000000.png").touch()
    assert main(["synthesize", "--n", "1", "--seed", "7", "--out", str(tmp_path), "--workers", "1"]) == 2
    assert "images holds files already" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


@pytest.mark.parametrize(
    "options, complaint",
    [
        (["--size", "10"], "At least 32 px"),
        (["--diameter", "50", "10"], "--diameter 50 10"),
        (["--diameter", "5", "10"], "--diameter 5 is too small"),
        (["--out", "taken.png"], "taken.png is a file"),
    ],
)
def test_command_refuses_what_it_cannot_draw(tmp_path, monkeypatch, capsys, options, complaint):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken.png").touch()
    assert main(["synthesize", "--n", "1", "--workers", "1", "--out", "out", *options]) == 2
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
