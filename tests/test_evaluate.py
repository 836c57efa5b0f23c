"""Evaluation on drawn micrographs whose scores are known, by both protocols and through the command."""

import json
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest
import tifffile

from grain_model.errors import UsageError
from tests.drawn import squares
from train import evaluate
from train.baselines import BASELINES, adaptive_grains, distance_watershed_grains, otsu_grains
from train.cli import main
from train.contenders import Contender, Prediction, baseline, model_contender
from train.distributions import TRUTH, compare_distributions, measure_shapes
from train.enlargement import measure_count_changes
from train.gallery import ERROR_COLOURS, render_errors
from train.instance_protocol import ALL_PICTURES, MEAN_OF_MATERIALS, score_labels, score_pictures, summarize
from train.labelled import UNKNOWN, LabelledDataError, find_labelled_micrographs, read_ids, read_labels
from train.matching import match_labels, prepare_labels
from train.model_card import PAGES, fill_tables
from train.paths import ROOT
from train.reliability import bin_confidence, calibration_error, draw_reliability
from train.seed_protocol import AS_THE_SEED, FULL_SIZE, SEED_ROW, compare_masks, summarize_tiles


def draw_squares(rows: int, columns: int, side: int = 40, gap: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Micrograph, uint8 (H, W, 3), of bright squares between dark lines, and the squares' ids, int32 (H, W)."""
    labels = squares(rows, columns, side, gap)
    grey = np.where(labels > 0, 200, 40) + np.random.default_rng(1).normal(0, 4, labels.shape)
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2), labels


def write_material(folder, **pictures: tuple[np.ndarray, np.ndarray]):
    for part in ("images", "instances"):
        (folder / part).mkdir(parents=True)
    for name, (pixels, labels) in pictures.items():
        cv2.imwrite(str(folder / "images" / f"{name}.jpg"), pixels)
        cv2.imwrite(str(folder / "instances" / f"{name}.png"), labels.astype(np.uint16))
    return folder


def bright_components(pixels: np.ndarray) -> np.ndarray:
    return cv2.connectedComponents((pixels[..., 0] > 120).astype(np.uint8), ltype=cv2.CV_32S)[1]


def fake_model(row: str = "this model", confidence: float = 0.75, drop: int = 0) -> Contender:
    """Finds every bright square but the first `drop`."""

    def predict(pixels: np.ndarray) -> dict[str, Prediction]:
        labels = bright_components(pixels)
        labels = np.where(labels > drop, labels - drop, 0)
        return {row: Prediction(labels, np.full(labels.max(), confidence, np.float32))}

    return Contender((row,), predict, weights={"name": "drawn", "version": "1"})


@pytest.fixture
def materials(tmp_path):
    steel = write_material(tmp_path / "steel", a=draw_squares(3, 4), b=draw_squares(2, 5))
    iron = write_material(tmp_path / "iron", c=draw_squares(4, 4))
    return [steel, iron]


@pytest.fixture
def with_fake_models(monkeypatch):
    """Let the command load drawn models instead of checkpoints; `NAME=N` drops N grains."""

    def load(row, model, label_methods):
        assert label_methods == ["watershed"]
        return fake_model(row, drop=0 if model == "embedded" else int(model))

    monkeypatch.setattr(evaluate, "model_contender", load)


@pytest.mark.parametrize("method", BASELINES)
@pytest.mark.parametrize("inverted", [False, True])
def test_baselines_count_drawn_squares_in_either_polarity(method, inverted):
    pixels, labels = draw_squares(4, 5)
    grey = 255 - pixels[..., 0] if inverted else pixels[..., 0]
    found = BASELINES[method](grey)
    assert found.dtype == np.int32
    assert match_labels(prepare_labels(labels), prepare_labels(found)).f1 == 1.0
    assert found.max() == 20


def test_adaptive_threshold_stands_uneven_light_that_otsu_does_not():
    pixels, labels = draw_squares(5, 7)
    shaded = (pixels[..., 0] * np.linspace(0.2, 1, pixels.shape[1])).astype(np.uint8)
    scores = {
        name: match_labels(prepare_labels(labels), prepare_labels(segment(shaded))).f1
        for name, segment in (("otsu", otsu_grains), ("adaptive", adaptive_grains))
    }
    assert scores["adaptive"] > 0.9 > scores["otsu"]


def test_distance_watershed_cuts_a_neck_that_components_do_not():
    pixels, labels = draw_squares(1, 2, side=60, gap=8)
    grey = pixels[..., 0].copy()
    grey[28:40, 50:90] = 200
    assert otsu_grains(grey).max() == 1
    assert match_labels(labels, distance_watershed_grains(grey)).f1 == 1.0


def test_baselines_of_a_blank_image_find_no_more_than_one_grain():
    for segment in BASELINES.values():
        assert segment(np.full((60, 80), 128, np.uint8)).max() <= 1


def test_pairs_are_found_by_stem_and_scored(materials):
    pictures = [each for folder in materials for each in find_labelled_micrographs(folder)]
    assert [(each.material, each.name) for each in pictures] == [("steel", "a"), ("steel", "b"), ("iron", "c")]
    scored = list(score_pictures(pictures, [fake_model(), fake_model("half", drop=6)]))
    rows = pd.DataFrame([row for picture in scored for row in picture.scores]).set_index(["picture", "method"])
    assert (rows.xs("this model", level="method")["f1"] == 1.0).all()
    half = rows.loc[("a", "half")]
    assert (half["n_true"], half["n_pred"], half["tp"], half["fn"]) == (12, 6, 6, 6)
    assert half["f1"] == pytest.approx(2 * 6 / 18)
    assert half["count_error"] == pytest.approx(0.5)
    assert half["mask_iou"] == pytest.approx(0.5, abs=0.01)
    assert half["mask_dice"] == pytest.approx(2 / 3, abs=0.01)


def test_nothing_is_scored_where_labels_are_not_known(tmp_path):
    pixels, labels = draw_squares(4, 4)
    known = labels.astype(np.uint16)
    known[: len(known) // 2] = 65535
    (picture,) = find_labelled_micrographs(write_material(tmp_path / "half", a=(pixels, known)))
    (scored,) = score_pictures([picture], [fake_model()])
    assert (scored.scores[0]["n_true"], scored.scores[0]["n_pred"], scored.scores[0]["f1"]) == (8, 8, 1.0)


def test_what_sticks_out_of_an_unknown_area_is_not_invented():
    true, found = np.zeros((2, 120, 200), np.int32)
    true[20:100, 10:60] = found[20:100, 10:60] = 1
    true[30:90, 110:170] = UNKNOWN
    found[27:93, 107:173] = 2
    scores = score_labels(true, found)
    assert (scores["n_pred"], scores["f1"], scores["count_error"]) == (1, 1.0, 0.0)


def test_the_mask_is_scored_as_it_is_drawn():
    # Labels grown into one another would all but fill the picture.
    true = np.zeros((60, 60), np.int32)
    true[5:25, 5:25], true[30:50, 30:50] = 1, 2
    everything = np.ones_like(true)
    assert score_labels(true, everything)["mask_iou"] == pytest.approx(800 / 3600)


def test_means_weigh_pictures_or_materials():
    scores = pd.DataFrame(
        [
            {"method": "m", "material": material, "picture": name, "f1": f1, "count_error": 1 - f1}
            for material, name, f1 in [("steel", "a", 0.4), ("steel", "b", 0.6), ("iron", "c", 1.0)]
        ]
    ).assign(precision=1.0, recall=1.0, panoptic_quality=1.0, matched_iou=1.0, mask_iou=1.0, mask_dice=1.0)
    summary = summarize(scores)
    assert summary.loc[("m", "steel"), "f1"] == pytest.approx(0.5)
    assert summary.loc[("m", "steel"), "f1_spread"] == pytest.approx(0.1)
    assert summary.loc[("m", ALL_PICTURES), "f1"] == pytest.approx(2 / 3)
    assert summary.loc[("m", MEAN_OF_MATERIALS), "f1"] == pytest.approx(0.75)
    assert summary.loc[("m", MEAN_OF_MATERIALS), "f1_worst"] == pytest.approx(0.5)
    assert summary.loc[("m", MEAN_OF_MATERIALS), "count_error"] == pytest.approx(0.25)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_label_images_keep_their_ids(tmp_path, suffix):
    labels = np.zeros((20, 30), np.uint16)
    labels[5:, 5:] = 40000
    path = tmp_path / f"labels{suffix}"
    cv2.imwrite(str(path), labels)
    assert set(np.unique(read_labels(path))) == {0, 40000}


@pytest.mark.parametrize(
    "ids, complaint",
    [
        (np.array([[1, -2]], np.int32), "from -2 to 1"),
        (np.array([[1, 2**31]], np.uint32), "to 2147483648"),
        (np.array([[1, 2**40]], np.uint64), "to 1099511627776"),
    ],
)
def test_ids_that_cannot_be_held_are_refused(tmp_path, ids, complaint):
    tifffile.imwrite(tmp_path / "ids.tif", ids)
    with pytest.raises(LabelledDataError, match=complaint):
        read_ids(tmp_path / "ids.tif")


def test_both_ways_of_writing_that_it_is_not_known_are_read(tmp_path):
    tifffile.imwrite(tmp_path / "ids.tif", np.array([[-1, 65535, 0, 2**31 - 1]], np.int32))
    assert read_ids(tmp_path / "ids.tif").tolist() == [[UNKNOWN, UNKNOWN, 0, 2**31 - 1]]


def test_label_files_that_are_damaged_or_lossy_are_refused(tmp_path):
    path, lossy = tmp_path / "ids.tif", tmp_path / "ids.jpg"
    tifffile.imwrite(path, squares(2, 2).astype(np.uint16), compression="zlib")
    whole = path.read_bytes()
    cv2.imwrite(str(lossy), np.ones((40, 40), np.uint8))
    for damaged in (whole[:9], whole[:-20], whole[:-20] + bytes(20)):
        path.write_bytes(damaged)
        with pytest.raises(LabelledDataError, match="no label image"):
            read_labels(path)
    with pytest.raises(LabelledDataError, match="PNG or TIFF"):
        read_labels(lossy)


def test_incomplete_folders_are_refused(tmp_path):
    with pytest.raises(LabelledDataError, match="does not exist"):
        find_labelled_micrographs(tmp_path / "nowhere")
    folder = write_material(tmp_path / "steel", a=draw_squares(1, 2), b=draw_squares(1, 2))
    (folder / "instances" / "b.png").unlink()
    with pytest.raises(LabelledDataError, match="'b'"):
        find_labelled_micrographs(folder)
    cv2.imwrite(str(folder / "instances" / "a.png"), np.zeros((7, 9), np.uint16))
    (folder / "images" / "b.jpg").unlink()
    with pytest.raises(LabelledDataError, match="9x7"):
        find_labelled_micrographs(folder)[0].read()
    (folder / "instances" / "a.png").write_bytes(b"no picture")
    with pytest.raises(LabelledDataError, match="no label image"):
        find_labelled_micrographs(folder)[0].read()


def test_count_change_under_rescaling():
    pixels, _ = draw_squares(3, 4)

    def predict(pixels):
        # Sees one grain more in anything wider than 200 px.
        labels = bright_components(pixels)
        labels[0, 0] = labels.max() + 1 if pixels.shape[1] > 200 else 0
        return {"m": Prediction(labels)}

    changes = measure_count_changes([("steel", "a", pixels)], [Contender(("m",), predict, {})], [2.0, 0.7])
    assert changes["count"].tolist() == [12, 12]
    assert changes["rescaled_count"].tolist() == [13, 12]
    assert changes["change"].tolist() == pytest.approx([1 / 12, 0])


def test_each_kind_of_error_has_its_colour():
    true = np.zeros((60, 200), np.int32)
    true[5:55, 5:25], true[5:55, 25:45] = 1, 2  # merged
    true[5:55, 55:95] = 3  # split
    true[5:55, 105:125] = 4  # missed
    pred = np.zeros_like(true)
    pred[5:55, 5:45] = 1
    pred[5:55, 55:70], pred[5:55, 70:83], pred[5:55, 83:95] = 2, 3, 4
    pred[5:55, 150:170] = 5  # invented
    pixels = np.full((60, 200, 3), 128, np.uint8)
    drawn = render_errors(pixels, true, pred).astype(int)
    for kind, column in {"merged": 15, "split": 62, "missed": 115, "invented": 160}.items():
        expected = 0.45 * 128 + 0.55 * np.array(ERROR_COLOURS[kind])
        assert np.abs(drawn[30, column] - expected).max() <= 1, kind
    assert drawn[30, 190].tolist() == [128, 128, 128]


def test_distance_between_distributions():
    small, large = (measure_shapes(draw_squares(3, 3, side)[1]) for side in (20, 40))
    assert small["area"].tolist() == [400] * 9
    shapes = pd.concat(
        [
            small.assign(material="steel", method=TRUTH),
            small.assign(material="steel", method="same"),
            large.assign(material="steel", method="larger"),
        ]
    )
    ks = compare_distributions(shapes).set_index(["method", "property"])["ks"]
    assert ks["same", "area"] == 0
    assert ks["larger", "area"] == 1
    assert ks["larger", "aspect_ratio"] == pytest.approx(0, abs=1e-9)


def test_calibration_error_is_the_gap_between_confidence_and_truth():
    grains = pd.DataFrame(
        {"method": "m", "material": "steel", "confidence": 0.95, "matched": [True, True, True, False]}
    )
    binned = bin_confidence(grains)
    assert binned["grains"].tolist() == [4]
    assert calibration_error(binned)["calibration_error"].tolist() == pytest.approx([0.2])
    assert bin_confidence(grains.assign(confidence=1.0))["bin"].tolist() == [9]


def test_too_few_grains_are_drawn_without_a_legend(tmp_path):
    grains = pd.DataFrame({"method": "m", "material": "steel", "confidence": 0.95, "matched": [True]})
    draw_reliability(bin_confidence(grains), tmp_path / "drawn.png")
    assert (tmp_path / "drawn.png").is_file()


def test_masks_are_compared_in_both_views():
    mask = np.zeros((300, 400), bool)
    mask[50:150, 50:150] = True
    mask[200:203, 200:203] = True  # a speck of 9 px
    views = compare_masks(mask, mask)
    assert views[AS_THE_SEED] == {"mask_iou": 1.0, "n_true": 2, "n_pred": 2}
    assert views[FULL_SIZE] == {"mask_iou": 1.0, "n_true": 1, "n_pred": 1}
    half = np.zeros((224, 224), bool)
    half[: round(224 * 100 / 300)] = True
    half &= cv2.resize(mask.astype(np.uint8), (224, 224), interpolation=cv2.INTER_NEAREST) > 0
    assert compare_masks(mask, half)[FULL_SIZE]["mask_iou"] == pytest.approx(0.5, abs=0.02)


def test_tile_counts_are_judged_by_mean_absolute_error_and_r2():
    rows = [
        {"tile": str(n), "micrograph": str(n % 3), "view": view, "n_true": n, "n_pred": n + 2}
        for n in range(10, 20)
        for view in (AS_THE_SEED, FULL_SIZE)
    ]
    summary = summarize_tiles(pd.DataFrame(rows).assign(method="m", mask_iou=0.5)).loc[(AS_THE_SEED, "m")]
    assert summary["count_mae"] == pytest.approx(2)
    assert summary["count_r2"] == pytest.approx(1 - 10 * 4 / 82.5)
    assert summary["iou_spread"] == pytest.approx(0)


def test_command_compares_model_ablation_and_baselines(materials, tmp_path, with_fake_models, capsys):
    arguments = ["evaluate", "--protocol", "instances", "--data", *map(str, materials), "--out", str(tmp_path / "out")]
    models = ["--model", "embedded", "--model", "weaker=6"]
    assert main([*arguments, *models, "--enlarge", "2.0", "0.7", "--gallery", "1"]) == 0

    printed = capsys.readouterr().out
    weaker = next(line for line in printed.splitlines() if line.startswith("| weaker "))
    assert "37.5%" in weaker  # 6 of 16 grains dropped on iron
    content = json.loads((tmp_path / "out" / "instances.json").read_text())
    summary = content["summary"]
    assert list(summary) == ["otsu", "adaptive", "this model", "weaker"]
    assert summary["this model"]["iron"]["f1"] == 1.0
    assert summary["weaker"]["iron"]["count_error"] == pytest.approx(6 / 16)
    assert summary["weaker"][ALL_PICTURES]["count_error"] == pytest.approx((6 / 12 + 6 / 10 + 6 / 16) / 3)
    assert content["weights"]["weaker"] == {"name": "drawn", "version": "1"}
    assert {(row["method"], row["factor"], row["mean"]) for row in content["count_changes"]} == {
        (method, factor, 0.0) for method in ("this model", "weaker") for factor in (2.0, 0.7)
    }
    table = pd.read_csv(tmp_path / "out" / "instances.csv")
    assert len(table) == 3 * 4
    report = (tmp_path / "out" / "instances.md").read_text()
    for name in ("instances_distributions.png", "instances_reliability.png", "instances_errors_steel.png"):
        assert f"({name})" in report
        assert cv2.imread(str(tmp_path / "out" / name)).std() > 5


@pytest.mark.parametrize("more", [[], ["--model", "weaker=6"], ["--no-model"]])
def test_a_report_goes_to_the_runs_unless_told(materials, tmp_path, with_fake_models, monkeypatch, more):
    monkeypatch.chdir(tmp_path)
    arguments = ["evaluate", "--protocol", "instances", "--data", str(materials[0]), "--limit", "1", "--gallery", "0"]
    assert main([*arguments, *more]) == 0
    assert (tmp_path / "runs" / "evaluation" / "instances.json").is_file()


def test_folders_of_one_name_are_refused_before_anything_is_scored(tmp_path, with_fake_models, capsys):
    folders = [str(tmp_path / parent / "val") for parent in "xy"]
    assert main(["evaluate", "--protocol", "instances", "--out", str(tmp_path / "out"), "--data", *folders]) == 2
    assert "same name" in capsys.readouterr().err


@pytest.mark.parametrize("protocol", ["instances", "seed"])
def test_data_that_are_missing_are_told_before_a_model_is_loaded(tmp_path, monkeypatch, capsys, protocol):
    monkeypatch.setattr(evaluate, "model_contender", lambda *model: pytest.fail("loaded"))
    folders = [str(tmp_path / name) for name in ("nosuch", "out")]
    assert main(["evaluate", "--protocol", protocol, "--data", folders[0], "--out", folders[1]]) == 1
    assert "nosuch" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "value, shape, options, complaint",
    [
        (65535, (92, 92), [], "No grain is labelled in 1 label images"),
        (0, (92, 92), [], "a.png"),
        (1, (90, 92), [], "92x90"),
        (1, (92, 92), ["--enlarge", "0.7", "0.3"], "--enlarge 0.3"),
        (1, (92, 92), ["--enlarge", "1000"], "--enlarge 1000"),
    ],
)
def test_what_cannot_be_scored_is_told_before_a_model_is_loaded(
    tmp_path, monkeypatch, capsys, value, shape, options, complaint
):
    monkeypatch.setattr(evaluate, "model_contender", lambda *model: pytest.fail("loaded"))
    pixels, _ = draw_squares(2, 2)
    data = write_material(tmp_path / "steel", a=(pixels, np.full(shape, value)))
    arguments = ["evaluate", "--protocol", "instances", "--data", str(data), "--out", str(tmp_path / "out")]
    assert main([*arguments, *options]) == (2 if options else 1)
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_report_is_written_where_there_is_no_grain_to_draw(tmp_path, with_fake_models):
    labels = np.zeros((92, 92), int)
    labels[:5, :5] = 1  # too small to be scored
    data = write_material(tmp_path / "blank", a=(np.full((92, 92, 3), 20, np.uint8), labels))
    arguments = ["evaluate", "--protocol", "instances", "--data", str(data), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--baselines", "--enlarge", "2"]) == 0
    assert "distributions.png" not in (tmp_path / "out" / "instances.md").read_text()


def test_a_mask_is_not_matched_grain_by_grain(materials, tmp_path, with_fake_models, capsys):
    arguments = ["evaluate", "--protocol", "instances", "--out", str(tmp_path / "out"), "--method", "mask"]
    assert main([*arguments, "--data", str(materials[0])]) == 2
    assert "--method mask" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "options, complaint",
    [
        (["--protocol", "seed", "--enlarge", "2"], "--enlarge"),
        (["--protocol", "seed", "--baselines", "otsu"], "--baselines"),
        (["--protocol", "instances", "--no-model", "--model", "embedded"], "--no-model"),
        (["--protocol", "instances", "--no-model", "--enlarge", "2"], "--enlarge"),
    ],
)
def test_options_that_would_do_nothing_are_refused(options, complaint, tmp_path, capsys):
    assert main(["evaluate", "--data", str(tmp_path), "--out", str(tmp_path / "out"), *options]) == 2
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_command_scores_the_classical_methods_alone(materials, tmp_path):
    arguments = ["evaluate", "--protocol", "instances", "--data", str(materials[0]), "--no-model", "--limit", "1"]
    assert main([*arguments, "--baselines", "distance", "--out", str(tmp_path)]) == 0
    pictures = json.loads((tmp_path / "instances.json").read_text())["pictures"]
    assert [(row["method"], row["picture"]) for row in pictures] == [("distance", "a")]


def test_command_repeats_the_seeds_evaluation(tmp_path, with_fake_models, capsys):
    for part in ("images", "pseudo_masks", "seed_predictions"):
        (tmp_path / part).mkdir()
    pixels, labels = draw_squares(4, 6)
    mask = np.where(labels > 0, 255, 0).astype(np.uint8)
    for tile in ("A_1", "A_2", "B_1", "B_2"):
        cv2.imwrite(str(tmp_path / "images" / f"{tile}.png"), pixels)
        cv2.imwrite(str(tmp_path / "pseudo_masks" / f"{tile}.png"), mask)
        small = cv2.resize(mask, (224, 224), interpolation=cv2.INTER_NEAREST)
        small[112:] = 0
        cv2.imwrite(str(tmp_path / "seed_predictions" / f"{tile}.png"), small)
    split = ["tile,micrograph,seed_split", "A_1,A,test", "A_2,A,test", "B_1,B,test", "B_2,B,train"]
    (tmp_path / "split.csv").write_text("\n".join(split))

    assert main(["evaluate", "--protocol", "seed", "--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.startswith("3 tiles")
    summary = json.loads((tmp_path / "out" / "seed.json").read_text())["summary"]
    for view in (AS_THE_SEED, FULL_SIZE):
        assert list(summary[view]) == [SEED_ROW, "otsu", "this model"]
        assert summary[view][SEED_ROW]["mask_iou"] == pytest.approx(0.5, abs=0.05)
        assert summary[view][SEED_ROW]["count_mae"] == pytest.approx(12)
        assert summary[view]["this model"]["mask_iou"] > 0.99
        assert summary[view]["this model"]["count_mae"] == 0

    cv2.imwrite(str(tmp_path / "pseudo_masks" / "A_1.png"), mask[1:])
    assert main(["evaluate", "--protocol", "seed", "--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert "at the micrograph's own size" in capsys.readouterr().err
    (tmp_path / "split.csv").write_text("\n".join(split).replace(",test", ",train"))
    assert main(["evaluate", "--protocol", "seed", "--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert "no tile of test" in capsys.readouterr().err


def test_model_runs_once_for_all_its_rows(monkeypatch):
    runs = []

    class Analysis:
        def __init__(self, method, pixels):
            self.labels = bright_components(pixels) * (1 if method == "watershed" else 0)
            self.confidence = np.ones(self.labels.max(), np.float32)
            self.relabel = lambda method: Analysis(method, pixels)

    def count_grains(pixels, model):
        runs.append(model)
        return Analysis("watershed", pixels)

    def load_network(model):
        return f"loaded {model}", {"name": model}

    analysis = SimpleNamespace(count_grains=count_grains, load_network=load_network)
    monkeypatch.setitem(sys.modules, "grain_model.counting", analysis)
    contender = model_contender("mine", "folder", ["components", "watershed"])
    predictions = contender.predict(draw_squares(2, 3)[0])
    assert contender.rows == tuple(predictions) == ("mine (components)", "mine")
    assert {row: prediction.labels.max() for row, prediction in predictions.items()} == {
        "mine": 6,
        "mine (components)": 0,
    }
    assert runs == ["loaded folder"]
    assert contender.weights == {"name": "folder"}


def test_models_are_named_apart(monkeypatch):
    monkeypatch.setattr(evaluate, "model_contender", lambda row, model, methods: (row, model))
    assert evaluate.model_contenders(["runs/last"], ["watershed"]) == [("this model", "runs/last")]
    named = evaluate.model_contenders(["embedded", "no detail=runs/a", "runs/b"], ["watershed"])
    assert named == [("this model", "embedded"), ("no detail", "runs/a"), ("b", "runs/b")]
    with pytest.raises(UsageError, match="'a'"):
        evaluate.model_contenders(["x/a", "y/a"], ["watershed"])
    with pytest.raises(UsageError, match="'otsu'"):
        evaluate.model_contenders(["otsu=runs/a"], ["watershed"])


def test_errors_in_the_data_exit_with_1(tmp_path, capsys):
    assert main(["evaluate", "--protocol", "seed", "--data", str(tmp_path), "--no-model", "--out", str(tmp_path)]) == 1
    assert "split.csv" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["evaluate"], ["evaluate", "--protocol", "guess", "--data", "."]])
def test_wrong_usage_exits_with_2(arguments):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2


def test_baseline_contender_reads_colour():
    pixels, labels = draw_squares(3, 4)
    (prediction,) = baseline("otsu").predict(pixels).values()
    assert prediction.confidence is None
    assert match_labels(labels, prediction.labels).f1 == 1.0


def test_pages_hold_the_tables_of_the_last_reports():
    for name in PAGES:
        page = (ROOT / name).read_text(encoding="utf-8")
        assert fill_tables(page) == page
