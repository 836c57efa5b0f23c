"""Fine-tuning on a labelled folder: how it is read, what is kept back, when it stops and what it reports."""

import json
import signal
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import tifffile
import torch

from grain_model.canonical_scale import REDUCED_DIAMETER, SMALLEST_SIDE
from grain_model.modeling_grain import GrainForInstanceSegmentation
from tests.drawn import draw_grid, squares
from train.cli import main
from train.datasets import RealMicrograph
from train.fine_tune import (
    BestStep,
    at_known_scale,
    compare,
    fine_tune,
    keep_back,
    read_labelled_folder,
    score_micrographs,
    without_lines,
)
from train.fit import Progress, Trainer
from train.fit_options import FitError, FitOptions
from train.labelled import UNKNOWN, LabelledDataError

TINY = {"batch": 2, "reuse": 1, "pool": 1, "side": 48, "sizes": (28,), "steps": 4, "warmup": 1, "workers": 0}


@pytest.fixture
def options(start, tmp_path) -> FitOptions:
    data = write_masks(tmp_path / "mine")
    return FitOptions(out=tmp_path / "run", data=data, init=str(start), device="cpu", check_every=1, patience=2, **TINY)


def write_masks(folder: Path, names: str = "abc", *, inverted: bool = False) -> Path:
    """Pictures of twelve grains with a mask each."""
    grid = draw_grid(3, 4)
    for part, picture in (("images", grid), ("masks", np.where((grid > 128) ^ inverted, 255, 0).astype(np.uint8))):
        (folder / part).mkdir(parents=True)
        for name in names:
            cv2.imwrite(str(folder / part / f"{name}.png"), picture)
    return folder


@pytest.mark.parametrize("inverted", [False, True])
def test_masks_of_either_polarity_give_the_same_grains(tmp_path, inverted):
    read = read_labelled_folder(write_masks(tmp_path / "mine", inverted=inverted))
    assert list(read) == ["a", "b", "c"]
    for micrograph in read.values():
        assert micrograph.labels.max() == 12
        # The lines are shared out among the grains.
        assert (micrograph.labels > 0).mean() > 0.95


def test_ids_may_be_unknown_in_places(tmp_path):
    folder = write_masks(tmp_path / "mine", "a")
    (folder / "masks").rename(folder / "instances")
    ids = np.ones(draw_grid(3, 4).shape[:2], np.uint16)
    ids[:10] = 65535
    cv2.imwrite(str(folder / "instances" / "a.png"), ids)
    labels = read_labelled_folder(folder)["a"].labels
    assert (labels[:10] == UNKNOWN).all() and (labels[10:] == 1).all()


def test_masks_where_ids_belong_are_refused(tmp_path):
    folder = write_masks(tmp_path / "mine", "a")
    (folder / "masks").rename(folder / "instances")
    with pytest.raises(LabelledDataError, match="Put masks into masks/"):
        read_labelled_folder(folder)


def test_ids_of_other_tools_may_be_large(tmp_path):
    folder = write_masks(tmp_path / "mine", "a")
    (folder / "masks").rename(folder / "instances")
    (folder / "instances" / "a.png").unlink()
    ids = np.full(draw_grid(3, 4).shape[:2], 40_000, np.uint32)
    ids[:, :30] = 100_000
    tifffile.imwrite(folder / "instances" / "a.tif", ids)
    assert set(np.unique(read_labelled_folder(folder)["a"].labels)) == {1, 2}


def test_lines_belong_to_grains_and_gaps_do_not():
    labels = np.zeros((60, 60), np.int32)
    labels[:, :20], labels[:, 23:40], labels[:, 55:] = 1, 2, 3
    closed = without_lines(labels)
    assert set(closed[30, 20:23]) == {1, 2}
    assert (closed[30, 42:53] == 0).all()
    assert np.array_equal(closed[labels > 0], labels[labels > 0])


def test_lines_beside_what_is_unknown_are_no_gaps():
    labels = np.zeros((60, 60), np.int32)
    labels[:, :20], labels[:, 25:40], labels[:, 45:] = 1, 2, UNKNOWN
    closed = without_lines(labels)
    assert set(closed[30, 20:25]) == {1, 2} and (closed[30, 40:45] == 2).all()
    assert (closed[:, 45:] == UNKNOWN).all()


def test_a_small_picture_of_large_grains_is_reduced_as_far_as_it_is_read():
    labels = np.arange(1, 5, dtype=np.int32).reshape(2, 2).repeat(150, 0).repeat(100, 1)
    scaled = at_known_scale(RealMicrograph(np.zeros((300, 200, 3), np.uint8), labels))
    assert scaled.labels.shape == scaled.image.shape[:2] == (144, SMALLEST_SIDE)


def test_grains_that_are_too_small_to_judge_by_are_refused(options):
    for path in (options.data / "masks").iterdir():
        mask = np.zeros_like(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
        mask[::24, ::24] = 255
        cv2.imwrite(str(path), cv2.dilate(mask, np.ones((5, 5), np.uint8)))
    with pytest.raises(FitError, match="no grain of 40 px or more to judge by"):
        fine_tune(options)


def test_a_frozen_start_is_trained_where_that_is_asked_for(options, monkeypatch):
    frozen = GrainForInstanceSegmentation.from_pretrained(options.init)
    frozen.freeze_backbone()
    frozen.save_pretrained(options.out / "frozen")
    give_scores(monkeypatch, range(10))
    fine_tune(replace(options, init=str(options.out / "frozen"), train_backbone=True, backbone_lr=1e-2))
    saved = GrainForInstanceSegmentation.from_pretrained(options.out / "model")
    assert not saved.config.freeze_backbone
    start = frozen.half().float().backbone.state_dict()
    assert any(not torch.equal(value, start[name]) for name, value in saved.backbone.state_dict().items())


def test_a_fifth_is_kept_back_and_none_of_it_is_trained_on():
    names = [f"{i:02}" for i in range(10)]
    training, kept_back = keep_back(names, seed=0)
    assert sorted(training + kept_back) == names and len(kept_back) == 2
    assert keep_back(names, seed=0) == (training, kept_back)
    assert {tuple(keep_back(names, seed)[1]) for seed in range(20)} != {tuple(kept_back)}
    with pytest.raises(FitError, match="at least two"):
        keep_back(["alone"], seed=0)


@pytest.mark.parametrize("side, factor", [(8, 2.0), (30, 1.0), (140, REDUCED_DIAMETER / (140 * 2 / np.pi**0.5))])
def test_grains_are_brought_to_the_size_at_which_the_model_looks(side, factor):
    labels = squares(3, 3, side)
    scaled = at_known_scale(RealMicrograph(np.zeros((*labels.shape, 3), np.uint8), labels))
    assert scaled.labels.shape == scaled.image.shape[:2]
    assert len(scaled.labels) / len(labels) == pytest.approx(factor, rel=0.02)
    assert np.array_equal(np.unique(scaled.labels), np.arange(1, 10))


def give_scores(monkeypatch, scores) -> None:
    """Every model that is looked at gets the next score."""
    rest = iter(scores)

    def score(model, micrographs):
        value = next(rest)
        row = {"panoptic_quality": value, "f1": value, "n_true": 12, "n_pred": 12}
        return pd.DataFrame([row] * max(len(micrographs), 1), index=list(micrographs) or ["none"])

    monkeypatch.setattr("train.fine_tune.score_micrographs", score)


class StandIn:
    """A training run that does nothing but count its steps."""

    def __init__(self):
        self.progress = Progress()

    def is_over(self) -> bool:
        return False

    def averaged_model(self) -> torch.nn.Module:
        model = torch.nn.Linear(1, 1)
        model.step = self.progress.step
        return model


def test_training_ends_when_nothing_gets_better_and_the_best_step_wins(options, monkeypatch):
    give_scores(monkeypatch, [0.2, 0.5, 0.4, 0.3, 0.9])
    best, run = BestStep({}, replace(options, check_every=3, patience=2)), StandIn()
    stops = []
    for run.progress.step in range(12):
        stops.append(best(run))
    assert stops.index(True) == 9
    assert best.step == best.model.step == 3


@pytest.fixture
def trainers(monkeypatch) -> list[Trainer]:
    """What would be trained; nothing is."""
    seen = []

    def train(trainer, watch):
        seen.append(trainer)
        return True

    monkeypatch.setattr("train.fine_tune.Trainer.train", train)
    give_scores(monkeypatch, [0.5] * 10)
    return seen


def test_what_is_kept_back_is_not_trained_on(options, monkeypatch, trainers):
    labels = squares(3, 3, 30)
    micrographs = {name: RealMicrograph(np.zeros((90, 90, 3), np.uint8), labels) for name in "abcdefghij"}
    monkeypatch.setattr("train.fine_tune.read_labelled_folder", lambda folder: micrographs)
    table = fine_tune(options)
    (trainer,) = trainers
    given = trainer.samples.mixture.sources["own"]
    trained_on = {name for name, micrograph in micrographs.items() if any(micrograph is each for each in given)}
    assert len(given) == len(trained_on) == 8
    assert set(table["picture"]) == micrographs.keys() - trained_on


def test_small_micrographs_are_not_enlarged_by_cutting(options, trainers):
    fine_tune(replace(options, side=320, sizes=(28, 224)))
    chosen = trainers[0].options
    assert 28 < chosen.side < 224 and chosen.sizes == (28, chosen.side)


def test_a_run_without_gain_saves_the_model_at_the_start(options, monkeypatch, capsys):
    give_scores(monkeypatch, [0.5, 0.4, 0.4])
    fine_tune(options)
    assert "No step was better" in capsys.readouterr().out
    saved, start = (
        GrainForInstanceSegmentation.from_pretrained(folder).state_dict()
        for folder in (options.out / "model", options.init)
    )
    assert all(torch.equal(value, start[name].half().float()) for name, value in saved.items() if value.ndim)


@pytest.mark.parametrize("asked", [{}, {"train_backbone": True, "backbone_lr": 1e-2}])
def test_backbone_stays_as_it_was_unless_asked(options, monkeypatch, asked):
    start = GrainForInstanceSegmentation.from_pretrained(options.init).state_dict()
    give_scores(monkeypatch, range(10))
    fine_tune(replace(options, lr=1e-2, **asked))
    saved = GrainForInstanceSegmentation.from_pretrained(options.out / "model")
    assert not saved.config.freeze_backbone
    learnt = {name for name, value in saved.state_dict().items() if not torch.equal(value, start[name].half().float())}
    assert any(name.startswith("decoder") for name in learnt)
    assert any(name.startswith("backbone") for name in learnt) == bool(asked)


def test_command_reports_before_and_after(options, tmp_path, capsys):
    arguments = ["fit", "--data", str(options.data), "--init", options.init, "--out", str(tmp_path / "run")]
    assert main([*arguments, "--steps", "2", "--batch", "2", "--sizes", "28", "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    assert "2 micrographs; kept back 1" in printed and "F1 before" in printed
    table = pd.read_csv(tmp_path / "run" / "fine_tuning.csv")
    assert table["grains"].tolist() == [12]
    assert GrainForInstanceSegmentation.from_pretrained(tmp_path / "run" / "model")


def test_comparison_scores_each_model_for_itself(monkeypatch):
    true = squares(2, 2, 20)
    found = {"old": np.ones_like(true), "new": true}

    class Analysis:
        def __init__(self, labels):
            self.labels = labels

    monkeypatch.setattr("train.fine_tune.count_grains", lambda image, model: Analysis(found[model]))
    micrographs = {"a": RealMicrograph(np.zeros((40, 40, 3), np.uint8), true)}
    table = compare(*(score_micrographs(model, micrographs) for model in found))
    row = table.iloc[0]
    assert row["picture"] == "a"
    assert (row["grains"], row["count_before"], row["count_after"]) == (4, 1, 4)
    assert (row["f1_before"], row["f1_after"]) == (0.0, 1.0)


def test_the_last_step_is_looked_at(options, monkeypatch):
    give_scores(monkeypatch, [0.1, 0.5, 0.6])
    fine_tune(replace(options, check_every=2, steps=3))
    saved = GrainForInstanceSegmentation.from_pretrained(options.out / "model").state_dict()
    start = GrainForInstanceSegmentation.from_pretrained(options.init).state_dict()
    assert not torch.equal(saved["decoder.head.weight"], start["decoder.head.weight"].half().float())


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--backbone-lr", "0.1"], "--train-backbone beside it"),
        (["--stop-at", "2"], "Leave out --stop-at"),
        (["--save-minutes", "1"], "Leave out --save-minutes"),
        (["--no-detail"], "Leave out --no-detail"),
        (["--device", "abacus"], "'abacus'"),
    ],
)
def test_options_that_would_do_nothing_are_refused(options, capsys, given, told):
    assert main(["fit", "--data", str(options.data), "--out", str(options.out), *given]) == 2
    assert told in capsys.readouterr().err


def test_ones_own_micrographs_start_from_the_embedded_weights(options, monkeypatch):
    begun = []
    monkeypatch.setattr("train.fit_command.fine_tune", begun.append)
    common = ["fit", "--data", str(options.data), "--out", str(options.out)]
    for start in ([], ["--init", options.init], ["--backbone", "some/dinov2"]):
        assert main([*common, *start]) == 0
    assert [(run.init, run.backbone) for run in begun] == [
        ("embedded", None),
        (options.init, None),
        (None, "some/dinov2"),
    ]


def break_at_once():
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("happens", "raised", "told"),
    [
        (break_at_once, KeyboardInterrupt, "Interrupted at step 5"),
        (lambda: signal.raise_signal(signal.SIGINT), KeyboardInterrupt, "Interrupted at step 6"),
        (lambda: torch.tensor(float("nan")), FitError, "Stopped at step 6"),
    ],
    ids=["two Ctrl-C", "Ctrl-C", "no loss"],
)
def test_a_training_that_breaks_off_keeps_the_best_step(options, monkeypatch, capsys, happens, raised, told):
    step = Trainer._step

    def break_off(trainer, *batch):
        loss = happens() if trainer.progress.step == 5 else None
        return step(trainer, *batch) if loss is None else loss

    monkeypatch.setattr(Trainer, "_step", break_off)
    give_scores(monkeypatch, range(10))
    with pytest.raises(raised):
        fine_tune(replace(options, steps=20, check_every=2))
    printed = capsys.readouterr()
    assert told in printed.err and "model of step 4 saved" in printed.out
    assert (options.out / "model" / "config.json").exists() and (options.out / "fine_tuning.csv").exists()


def test_curves_are_written_and_no_checkpoint_ever(options, monkeypatch):
    monkeypatch.delattr("torch.save")
    give_scores(monkeypatch, range(10))
    fine_tune(options)
    assert (options.out / "curves.csv").exists() and not (options.out / "checkpoint.pt").exists()


def test_a_used_folder_of_ones_own_micrographs_is_not_offered_to_be_resumed(options, capsys):
    fine_tune(options)
    arguments = ["fit", "--data", str(options.data), "--init", str(options.init), "--out", str(options.out)]
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert "holds a run already" in told and "--resume" not in told
    config = options.out.parent / "config.json"
    config.write_text(json.dumps({"data": str(options.data)}))
    assert main(["fit", "--config", str(config), "--out", str(options.out)]) == 2
    again = capsys.readouterr().err
    assert "holds a run already" in again and "--resume" not in again


def test_short_runs_cannot_be_resumed(options):
    with pytest.raises(FitError, match="--resume"):
        fine_tune(replace(options, resume=True))
    with pytest.raises(FitError, match="--start-share and --real-only"):
        fine_tune(replace(options, start_share=0.5, real_only=True))
