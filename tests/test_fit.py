"""Training on tiny models: exact repetition, resuming, frozen backbones, configurations and clear errors."""

import csv
import json
import multiprocessing
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from transformers import Dinov2Config, Dinov2Model

from grain_model.interrupts import ENDING_SIGNALS
from grain_model.modeling_grain import GrainForInstanceSegmentation
from tests.conftest import make_tiny_config
from tests.drawn import squares
from train.cli import main
from train.fit import Trainer, build_mixture, build_model, fit
from train.fit_options import FitError, FitOptions, parse_config, read_config
from train.sample_pool import SamplePool
from train.saving import save_trained_model

TINY = {"batch": 3, "reuse": 2, "pool": 12, "side": 48, "sizes": (28, 42), "steps": 6, "warmup": 2, "workers": 0}


@pytest.fixture
def options(start, tmp_path) -> FitOptions:
    return FitOptions(out=tmp_path / "run", init=str(start), device="cpu", **TINY)


def read_losses(folder: Path) -> list[tuple[str, str, str]]:
    with (folder / "curves.csv").open() as file:
        return [(row["step"], row["loss"], row["lr"]) for row in csv.DictReader(file)]


def write_instances(folder: Path) -> Path:
    """Three pictures with four square grains each."""
    ids = squares(2, 2, 32).astype(np.uint16)
    for part, picture in (("images", np.dstack([ids * 60] * 3).astype(np.uint8)), ("instances", ids)):
        (folder / part).mkdir(parents=True)
        for name in "abc":
            cv2.imwrite(str(folder / part / f"{name}.png"), picture)
    return folder


def test_the_seed_draws_what_no_weights_are_given_for(options, dinov2):
    chosen = replace(options, init=None, backbone=str(dinov2))
    first, again, other = (build_model(replace(chosen, seed=seed)).decoder.head.weight for seed in (3, 3, 4))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_same_seed_gives_exactly_the_same_losses_and_another_does_not(options, tmp_path):
    for name, seed in (("first", 0), ("again", 0), ("other", 1)):
        fit(replace(options, out=tmp_path / name, seed=seed))
    first = read_losses(tmp_path / "first")
    assert len(first) == 6
    assert first == read_losses(tmp_path / "again")
    assert first != read_losses(tmp_path / "other")


def test_stopped_and_resumed_run_is_the_uninterrupted_one(options, tmp_path, monkeypatch):
    # A row every two steps, so that the stop at step 3 falls between two rows; a ring that has moved on by then.
    monkeypatch.setattr("train.fit.DENSE_ROWS", 0)
    monkeypatch.setattr("train.fit.ROW_EVERY", 2)
    options = replace(options, batch=5, pool=20)
    whole = fit(replace(options, out=tmp_path / "whole"))
    broken = replace(options, out=tmp_path / "broken")
    stopped = fit(replace(broken, stop_at=3))
    assert stopped.progress.step == 3 and not (broken.out / "model").exists()
    resumed = fit(replace(broken, resume=True))
    assert read_losses(tmp_path / "whole") == read_losses(broken.out)
    assert len(resumed.rows) == 3
    for ours, theirs in zip(whole.average.parameters(), resumed.average.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def press_ctrl_c_at(monkeypatch, number: int, pressed: int = signal.SIGINT) -> None:
    """Ctrl-C is pressed in the midst of the step after this many."""
    step = Trainer._step

    def interrupt(trainer, *batch):
        if trainer.progress.step == number:
            signal.raise_signal(pressed)
        return step(trainer, *batch)

    monkeypatch.setattr(Trainer, "_step", interrupt)


@pytest.mark.parametrize("pressed", ENDING_SIGNALS)
def test_ctrl_c_ends_the_step_and_the_resumed_run_is_the_uninterrupted_one(
    start, tmp_path, monkeypatch, capsys, pressed, heeds_signals
):
    """And so does what a scheduler or a logout sends."""
    config, out = tmp_path / "config.json", tmp_path / "run"
    config.write_text(json.dumps({**TINY, "init": str(start), "device": "cpu"}))
    assert run_fit("--config", config, "--out", tmp_path / "whole") == 0
    with monkeypatch.context() as patch:
        press_ctrl_c_at(patch, 2, pressed)
        assert run_fit("--config", config, "--out", out) == 130
    assert "stopped at step 3 of 6: go on with --resume" in capsys.readouterr().out
    assert not (out / "model").exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert run_fit("--out", out, "--resume") == 0
    assert read_losses(out) == read_losses(tmp_path / "whole")


def test_a_second_ctrl_c_breaks_off_at_once(options, monkeypatch):
    press_ctrl_c_at(monkeypatch, 2)
    press_ctrl_c_at(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        fit(options)
    assert not (options.out / "checkpoint.pt").exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_another_thread_may_train(options):
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(fit, options).result().progress.step == 6


@pytest.mark.parametrize("row_every", [1, 100])
def test_a_loss_that_is_no_number_ends_the_run_and_is_not_saved(options, monkeypatch, row_every):
    monkeypatch.setattr("train.fit.DENSE_ROWS", 0)
    monkeypatch.setattr("train.fit.ROW_EVERY", row_every)
    fit(replace(options, stop_at=3))
    kept = (options.out / "checkpoint.pt").read_bytes()
    monkeypatch.setattr("train.fit.border_loss", lambda logits, labels: logits.mean() * np.nan)
    with pytest.raises(FitError, match="loss is nan at step .* --lr"):
        fit(replace(options, resume=True, border_weight=1.0))
    assert (options.out / "checkpoint.pt").read_bytes() == kept
    assert not (options.out / "model").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full is needed")
def test_a_full_disk_is_told_and_leaves_the_old_checkpoint(options):
    fit(replace(options, stop_at=3))
    kept = (options.out / "checkpoint.pt").read_bytes()
    part = options.out / "checkpoint.part"
    part.symlink_to("/dev/full")
    with pytest.raises(FitError, match="--resume"):
        fit(replace(options, resume=True))
    assert (options.out / "checkpoint.pt").read_bytes() == kept
    assert not os.path.lexists(part)


@pytest.mark.parametrize("content", [b"", b"text", "half", {"step": 1}])
def test_a_checkpoint_that_is_not_whole_is_told(options, content):
    fit(replace(options, stop_at=1))
    path = options.out / "checkpoint.pt"
    if isinstance(content, dict):
        torch.save(content, path)
    else:
        path.write_bytes(path.read_bytes()[:100_000] if content == "half" else content)
    with pytest.raises(FitError, match="checkpoint.pt"):
        fit(replace(options, resume=True))


def test_a_run_goes_on_with_no_other_model(options, tmp_path):
    fit(replace(options, stop_at=1))
    GrainForInstanceSegmentation(make_tiny_config(token_channels=8)).save_pretrained(tmp_path / "other")
    with pytest.raises(FitError, match="Leave out --init"):
        fit(replace(options, resume=True, init=str(tmp_path / "other")))


def test_a_model_is_there_only_when_it_is_whole(tiny_model, tmp_path, monkeypatch):
    def save_half(model, folder):
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        raise OSError("No space left on device")

    monkeypatch.setattr("train.saving.save_model", save_half)
    with pytest.raises(FitError, match="No space left"):
        save_trained_model(tiny_model, tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("batch, reuse, pool", [(5, 2, 21), (14, 4, 60), (4, 8, 16)])
def test_ring_of_samples_depends_on_the_step_alone(options, batch, reuse, pool):
    class Numbers(torch.utils.data.Dataset):
        side = 1

        def __len__(self):
            return 10**6

        def __getitem__(self, index):
            nothing = torch.zeros(1, 1, dtype=torch.uint8)
            return nothing.expand(3, 1, 1), torch.full((1, 1), index, dtype=torch.int16), nothing

    options = replace(options, batch=batch, reuse=reuse, pool=pool)
    running = SamplePool(Numbers(), options, torch.device("cpu"))
    running.start(0)
    drawn = [running.next(step, batch)[1] for step in range(30)]
    for step in (1, 7, 29):
        resumed = SamplePool(Numbers(), options, torch.device("cpu"))
        resumed.start(step)
        assert torch.equal(resumed.next(step, batch)[1], drawn[step])
    assert drawn[29].max() > drawn[0].max()


def test_run_writes_options_curves_checkpoint_and_a_model_that_loads(options):
    fit(options)
    assert {"options.json", "curves.csv", "curves.png", "checkpoint.pt", "model"} <= {
        path.name for path in options.out.iterdir()
    }
    assert json.loads((options.out / "options.json").read_text())["steps"] == 6
    model = GrainForInstanceSegmentation.from_pretrained(options.out / "model")
    assert model.dtype == torch.float32
    start = GrainForInstanceSegmentation.from_pretrained(options.init)
    assert not torch.equal(model.decoder.head.weight, start.decoder.head.weight)


def test_whole_borders_are_added_to_the_loss_where_that_is_asked_for(options, monkeypatch):
    monkeypatch.setattr("train.fit.border_loss", lambda logits, labels: logits.mean() * 0 + 2)
    first = [fit(replace(options, border_weight=weight, steps=1)).rows[0]["loss"] for weight in (0.0, 0.5)]
    assert first[1] == pytest.approx(first[0] + 1)


@pytest.mark.parametrize("keeps", [True, False])
def test_batch_statistics_are_kept_where_that_is_asked_for(options, keeps):
    fit(replace(options, keep_statistics=keeps))
    trained, start = (
        dict(GrainForInstanceSegmentation.from_pretrained(folder).named_buffers())
        for folder in (options.out / "model", options.init)
    )
    statistics = [name for name in start if name.endswith("running_mean")]
    assert statistics
    assert all(torch.equal(trained[name], start[name]) for name in statistics) == keeps


def test_the_saved_model_keeps_a_share_of_the_start(options):
    trainer = fit(replace(options, start_share=0.25, lr=1e-2))
    start, trained, saved = (
        model.decoder.head.weight.detach()
        for model in (
            GrainForInstanceSegmentation.from_pretrained(options.init),
            trainer.averaged_model(),
            GrainForInstanceSegmentation.from_pretrained(options.out / "model"),
        )
    )
    assert torch.allclose(saved, 0.75 * trained + 0.25 * start, atol=1e-3)
    assert not torch.allclose(saved, trained, atol=1e-3)
    with pytest.raises(FitError, match="--start-share"):
        replace(options, init=None, start_share=0.25)


def test_training_lowers_the_loss(options, tmp_path):
    data = write_instances(tmp_path / "real")
    long = replace(options, steps=40, lr=1e-2, self_trained=data, real_only=True)
    losses = [float(loss) for _, loss, _ in read_losses(fit(long).options.out)]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


@pytest.fixture
def dinov2(tmp_path) -> Path:
    torch.manual_seed(0)
    backbone = Dinov2Model(
        Dinov2Config(hidden_size=32, num_hidden_layers=4, num_attention_heads=2, image_size=56, patch_size=14)
    )
    backbone.save_pretrained(tmp_path / "dinov2")
    return tmp_path / "dinov2"


@pytest.mark.parametrize("train_backbone", [False, True])
def test_frozen_backbone_keeps_every_bit(dinov2, options, train_backbone):
    before = Dinov2Model.from_pretrained(dinov2).state_dict()
    chosen = replace(options, init=None, backbone=str(dinov2), train_backbone=train_backbone, steps=2, no_detail=True)
    trainer = fit(chosen)
    after, averaged = trainer.model.backbone.state_dict(), trainer.average.backbone.state_dict()
    assert before.keys() == after.keys()
    same = [torch.equal(before[name], after[name]) and torch.equal(before[name], averaged[name]) for name in before]
    assert all(same) != train_backbone
    start = build_model(chosen)
    assert start.config.token_depths == [1, 2, 3, 4]
    assert not trainer.model.decoder.has_detail


@pytest.mark.parametrize("made_for_it", [False, True])
def test_computes_in_bfloat16_where_the_processor_is_made_for_it(options, monkeypatch, made_for_it):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: made_for_it)
    trainer = Trainer(options)
    seen = []
    trainer.model.decoder.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    trainer.options.out.mkdir()
    trainer.train()
    assert set(seen) == {torch.bfloat16 if made_for_it else torch.float32}
    assert {weights.dtype for weights in trainer.model.parameters()} == {torch.float32}


def test_sources_and_their_shares(options, tmp_path):
    real = write_instances(tmp_path / "real")
    assert build_mixture(options).shares == {}
    mixture = build_mixture(replace(options, self_trained=real))
    assert mixture.shares == {"self-trained": 0.15} and len(mixture.sources["self-trained"]) == 3
    assert build_mixture(replace(options, self_trained=real, self_trained_share=0.4)).shares == {"self-trained": 0.4}
    assert build_mixture(replace(options, self_trained=real, real_only=True)).shares == {"self-trained": 1.0}


def write_pseudo_masks(data: Path) -> None:
    """One tile of 316L and its mask, which looks like it."""
    for part in ("images", "pseudo_masks"):
        (data / "316l" / part).mkdir(parents=True)
        picture = np.kron(np.eye(4), np.full((20, 20), 200)).astype(np.uint8)
        cv2.imwrite(str(data / "316l" / part / "t.png"), picture)
    (data / "316l" / "split.csv").write_text("tile,micrograph,seed_split\nt,A,train\n")


def test_pseudo_only_trains_on_pseudo_masks_alone(options, tmp_path):
    write_pseudo_masks(tmp_path)
    mixture = build_mixture(replace(options, data=tmp_path, pseudo_only=True))
    assert mixture.shares == {"pseudo": 1.0} and len(mixture.sources["pseudo"]) == 1
    assert mixture.zoom == 0


def test_pseudo_only_learns_the_mask_and_nothing_else(options, tmp_path):
    """The boundary map is nobody's business there, so the last layer's weights for it stay as they were."""
    write_pseudo_masks(tmp_path)
    trainer = fit(replace(options, data=tmp_path, pseudo_only=True, weight_decay=0.0))
    start = GrainForInstanceSegmentation.from_pretrained(options.init).decoder.head.weight
    learnt = trainer.model.decoder.head.weight.detach()
    assert torch.equal(learnt[1:], start[1:]) and not torch.equal(learnt[0], start[0])


def run_fit(*arguments) -> int:
    return main(["fit", *map(str, arguments)])


def test_typed_options_win_over_the_configuration(start, tmp_path):
    config = tmp_path / "config.json"
    chosen = {"about": "a test", **TINY, "sizes": [28], "init": str(start), "device": "cpu", "seed": 7}
    config.write_text(json.dumps(chosen))
    assert run_fit("--config", config, "--out", tmp_path / "run", "--steps", 2) == 0
    used = json.loads((tmp_path / "run" / "options.json").read_text())
    assert (used["steps"], used["seed"], used["batch"], used["sizes"]) == (2, 7, 3, [28])
    assert len(read_losses(tmp_path / "run")) == 2


def test_resumed_command_keeps_the_options_of_the_run(start, tmp_path):
    config, out = tmp_path / "config.json", tmp_path / "run"
    config.write_text(json.dumps({**TINY, "init": str(start), "device": "cpu", "steps": 4}))
    assert run_fit("--config", config, "--out", out, "--stop-at", 2) == 0
    assert len(read_losses(out)) == 2
    assert run_fit("--out", out, "--resume") == 0
    assert len(read_losses(out)) == 4 and (out / "model").is_dir()


def test_the_options_of_a_run_are_a_configuration_for_another(start, tmp_path):
    config = tmp_path / "config.json"
    config.write_text(json.dumps({**TINY, "init": str(start), "device": "cpu"}))
    assert run_fit("--config", config, "--out", tmp_path / "one") == 0
    assert run_fit("--config", tmp_path / "one" / "options.json", "--out", tmp_path / "two") == 0
    assert read_losses(tmp_path / "one") == read_losses(tmp_path / "two")


def test_stages_follow_one_another(start, tmp_path):
    config, out = tmp_path / "config.json", tmp_path / "run"
    stages = [{"name": "one", "init": str(start), "steps": 2}, {"name": "two", "start_from": "one", "steps": 3}]
    config.write_text(json.dumps({**TINY, "device": "cpu", "stages": stages}))
    assert run_fit("--config", config, "--out", out) == 0
    assert len(read_losses(out / "one")) == 2 and len(read_losses(out / "two")) == 3
    assert json.loads((out / "two" / "options.json").read_text())["init"] == str(out / "one" / "model")
    written = (out / "two" / "curves.csv").stat().st_mtime_ns
    assert run_fit("--config", config, "--out", out, "--resume") == 0
    assert (out / "two" / "curves.csv").stat().st_mtime_ns == written


def test_a_stage_whose_model_is_not_whole_is_gone_on_with(start, tmp_path, monkeypatch):
    def save_half(model, folder):
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        raise KeyboardInterrupt

    config, out = tmp_path / "config.json", tmp_path / "run"
    stages = [{"name": "one", "init": str(start)}, {"name": "two", "start_from": "one"}]
    config.write_text(json.dumps({**TINY, "steps": 2, "device": "cpu", "stages": stages}))
    with monkeypatch.context() as patch:
        patch.setattr("train.saving.save_model", save_half)
        assert run_fit("--config", config, "--out", out) == 130
    assert run_fit("--config", config, "--out", out, "--resume") == 0
    assert {path.name for path in (out / "one").iterdir() if path.is_dir()} == {"model"}
    assert GrainForInstanceSegmentation.from_pretrained(out / "two" / "model")


def test_a_used_folder_is_gone_on_with_or_left_alone(start, tmp_path, capsys):
    config, out = tmp_path / "config.json", tmp_path / "run"
    stage = {"name": "one", "init": str(start), "steps": 2}
    config.write_text(json.dumps({**TINY, "device": "cpu", "stages": [stage]}))
    single = tmp_path / "single.json"
    single.write_text(json.dumps({**TINY, "device": "cpu", "init": str(start)}))
    assert run_fit("--config", config, "--out", out) == 0
    assert run_fit("--config", single, "--out", out / "two", "--stop-at", 1) == 0
    for arguments in (["--config", config, "--out", out], ["--config", single, "--out", out / "two"]):
        assert run_fit(*arguments) == 2
        assert "holds a run already" in capsys.readouterr().err


def test_resumed_stages_keep_what_was_typed(start, tmp_path):
    config, out = tmp_path / "config.json", tmp_path / "run"
    stages = [{"name": "one", "init": str(start)}, {"name": "two", "start_from": "one"}]
    config.write_text(json.dumps({**TINY, "device": "cpu", "stages": stages}))
    assert run_fit("--config", config, "--out", out, "--seed", 7, "--steps", 3, "--sizes", 28, "--stop-at", 1) == 0
    assert run_fit("--config", config, "--out", out, "--resume") == 0
    for name in ("one", "two"):
        used = json.loads((out / name / "options.json").read_text())
        assert (used["seed"], used["steps"], used["sizes"], used["stop_at"]) == (7, 3, [28], None)
        assert len(read_losses(out / name)) == 3


def test_a_stage_that_is_stopped_is_the_last(start, tmp_path):
    config, out = tmp_path / "config.json", tmp_path / "run"
    stages = [{"name": "one", "init": str(start)}, {"name": "two", "start_from": "one"}]
    config.write_text(json.dumps({**TINY, "steps": 4, "device": "cpu", "stages": stages}))
    assert run_fit("--config", config, "--out", out, "--stop-at", 2) == 0
    assert not (out / "two").exists()
    assert run_fit("--config", config, "--out", out, "--resume") == 0
    assert len(read_losses(out / "one")) == len(read_losses(out / "two")) == 4


def test_what_is_to_be_labelled_has_to_be_said(start, tmp_path, capsys):
    config = tmp_path / "config.json"
    config.write_text(
        json.dumps({**TINY, "stages": [{"name": "one", "init": str(start), "self_label": {"model": "z"}}]})
    )
    assert run_fit("--config", config, "--out", tmp_path / "run") == 2
    assert '"sources"' in capsys.readouterr().err


@pytest.mark.parametrize(
    "stages, complaint",
    [
        ([], "the stages are no list"),
        ({"name": "one"}, "the stages are no list"),
        (["one"], "the stages are no list"),
        ([{"steps": 2}], "no name"),
        ([{"name": 1}], "no name"),
        ([{"name": "one", "self_label": "316l"}], '"sources"'),
        ([{"name": "one", "self_label": {"model": "zero", "sources": {"316l": "half"}}}], '"sources"'),
    ],
)
def test_stages_that_are_none_are_told(stages, complaint, tmp_path, capsys):
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"stages": stages}))
    assert run_fit("--config", config, "--out", tmp_path / "run") == 2
    printed = capsys.readouterr().err
    assert complaint in printed and str(config) in printed
    assert not (tmp_path / "run").exists()


def test_stages_do_not_train_on_ones_own_micrographs(start, tmp_path, capsys):
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"stages": [{"name": "one", "init": str(start)}]}))
    data = write_instances(tmp_path / "mine")
    assert run_fit("--config", config, "--out", tmp_path / "run", "--data", data) == 2
    assert "Leave out --config" in capsys.readouterr().err


@pytest.mark.parametrize(
    "second, complaint",
    [
        ({"start_from": "three"}, "config.json: stage 'two' wants the model of stage 'three'"),
        ({"start_from": "two"}, "config.json: stage 'two' wants the model of stage 'two', which does not come before"),
        ({"name": "one"}, "config.json: two stages are called 'one'"),
        (
            {"data": "nowhere", "self_label": {"model": "0ne", "sources": {"316l": 0.5}}},
            "config.json: stage 'two' wants the model of stage '0ne'",
        ),
        (
            {"self_label": {"model": "one", "sources": {"steel": 0.5}}},
            "config.json: self_label of stage 'two' knows no source 'steel'",
        ),
        ({"start_from": "one", "data": "nowhere", "weak_share": 1.0}, "add up to 1.02"),
        ({"start_from": "one", "patience": 3}, "--patience"),
    ],
)
def test_a_stage_that_cannot_start_is_named_before_the_first_one_trains(second, complaint, start, tmp_path, capsys):
    config, out = tmp_path / "config.json", tmp_path / "run"
    stages = [{"name": "one", "init": str(start)}, {"name": "two", **second}]
    config.write_text(json.dumps({**TINY, "stages": stages}))
    assert run_fit("--config", config, "--out", out) == 2
    assert complaint in capsys.readouterr().err
    assert not out.exists()


def test_a_stage_labels_anew_where_labelling_was_interrupted(start, tmp_path, monkeypatch):
    def label(model, data, kind, out, boundary_sensitivity, device):
        asked[kind] = boundary_sensitivity
        if kind == "steel-optical" and not interrupted:
            interrupted.append(kind)
            raise KeyboardInterrupt
        if not out.exists():
            write_instances(out)

    interrupted, asked = [], {}
    monkeypatch.setattr("train.fit_command.label_micrographs", label)
    labelling = {"model": "one", "sources": {"316l": 0.5, "steel-optical": 0.25}}
    stages = [{"name": "one", "init": str(start)}, {"name": "two", "start_from": "one", "self_label": labelling}]
    config, out = tmp_path / "config.json", tmp_path / "run"
    config.write_text(json.dumps({**TINY, "steps": 2, "device": "cpu", "stages": stages}))
    (tmp_path / "data" / "tbm").mkdir(parents=True)
    monkeypatch.setattr("train.fit.load_tbm", lambda folder: [])
    arguments = ["--config", config, "--out", out, "--data", tmp_path / "data"]
    assert run_fit(*arguments) == 130
    assert not (out / "two" / "self-labelled").exists()
    monkeypatch.setattr("train.fit_options.TBM_SHARE", 0.0)
    assert run_fit(*arguments, "--resume") == 0
    assert len(list((out / "two" / "self-labelled" / "images").iterdir())) == 3
    assert (out / "two" / "model").is_dir()
    assert asked == labelling["sources"]


def test_a_resumed_run_takes_the_rates_that_are_typed(options):
    fit(replace(options, stop_at=3))
    resumed = fit(replace(options, resume=True, lr=1e-6, weight_decay=0.5))
    groups = resumed.optimizer.param_groups
    assert {group["peak"] for group in groups} == {options.backbone_lr, 1e-6}
    assert {group["weight_decay"] for group in groups} == {0.0, 0.5}


@pytest.mark.parametrize("name", ["ablation", "embedded", "seed_game", "smoke"])
def test_committed_configurations_are_understood(name, tmp_path):
    path = Path(__file__).parents[1] / "train" / "configs" / f"{name}.json"
    config = read_config(path)
    config.pop("about")
    for stage in config.pop("stages", [{}]):
        own = {k: v for k, v in stage.items() if k not in ("name", "start_from", "self_label")}
        if "start_from" in stage:
            own["init"] = stage["start_from"]
        if "self_label" in stage:
            own["self_trained"] = str(tmp_path)
        assert FitOptions(out=tmp_path, data=tmp_path, **parse_config({**config, **own}, path)).steps > 0


@pytest.mark.parametrize(
    "text, complaint",
    [('{"stepz": 3}', "stepz"), ('{"steps": "many"}', "steps"), ("{", "could not be read"), ("[]", "no JSON object")],
)
def test_wrong_configuration_is_named(text, complaint, tmp_path, capsys):
    config = tmp_path / "config.json"
    config.write_text(text)
    assert run_fit("--config", config, "--out", tmp_path / "run") == 2
    printed = capsys.readouterr().err
    assert complaint in printed and str(config) in printed
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        (["--pseudo-only"], "--data"),
        (["--real-only"], "--self-trained"),
        (["--resume"], "options.json"),
        (["--init", "nowhere/at/all"], "nowhere/at/all"),
        (["--init", "embedded", "--no-detail"], "--no-detail"),
        (["--check-every", "5"], "--check-every"),
        (["--device", "abacus"], "'abacus'"),
        (["--data", "nowhere"], "images/ beside instances/ or masks/"),
        (["--pseudo-only", "--data", ".", "--border-weight", "1"], "--border-weight"),
    ],
)
def test_run_that_cannot_start_says_why(arguments, complaint, start, tmp_path, capsys):
    tiny = [] if "--init" in arguments else ["--init", start]
    is_usage = "nowhere/at/all" not in arguments
    assert run_fit("--out", tmp_path / "run", *tiny, *arguments) == (2 if is_usage else 1)
    printed = capsys.readouterr().err
    assert "error: " in printed and complaint in printed
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("place", [".", "run"])
def test_an_output_folder_that_is_a_file_is_told_before_the_model_is_loaded(place, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert run_fit("--out", tmp_path / "file" / place, "--init", "nowhere/at/all") == 2
    assert "file is a file" in capsys.readouterr().err


def test_an_output_folder_without_the_right_to_write_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("os.access", lambda path, mode: path != tmp_path)
    assert run_fit("--out", tmp_path / "run" / "first", "--init", "nowhere/at/all") == 2
    assert f"no right to write to {tmp_path}." in capsys.readouterr().err


def test_a_seed_may_have_any_length(options):
    assert fit(replace(options, seed=10**30, steps=1)).progress.step == 1


@pytest.mark.parametrize("typed", [("--weak-share", "1.5"), ("--ema", "2"), ("--border-weight", "-1")])
def test_shares_and_weights_have_to_be_such(typed, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run_fit("--out", tmp_path / "run", *typed)
    assert f"argument {typed[0]}" in capsys.readouterr().err


def test_help_tells_the_defaults_for_ones_own_micrographs(capsys):
    with pytest.raises(SystemExit):
        run_fit("--help")
    told = " ".join(capsys.readouterr().out.split())
    assert "--init embedded, --steps 300," in told and "--pool 24" in told


def test_shares_that_are_more_than_everything_are_refused(options, tmp_path):
    real = {"data": tmp_path, "self_trained": tmp_path, "weak_share": 0.6}
    with pytest.raises(FitError, match="add up to 1.2"):
        replace(options, **real, self_trained_share=0.6)
    # Whatever is real is all there is then.
    replace(options, **real, self_trained_share=0.6, real_only=True)


def test_options_that_contradict_each_other_are_refused(tmp_path):
    with pytest.raises(FitError, match="--keep-statistics"):
        FitOptions(out=tmp_path, keep_statistics=True)
    with pytest.raises(FitError, match="316l"):
        FitOptions(out=tmp_path, weak_share=0.1)
    with pytest.raises(FitError, match="--train-backbone"):
        FitOptions(out=tmp_path, train_backbone=True)
    with pytest.raises(FitError, match="--self-trained FOLDER"):
        FitOptions(out=tmp_path, self_trained_share=0.5)


def test_processes_that_draw_give_the_same_samples(options):
    batches = []
    for workers in (0, 1):
        chosen = replace(options, workers=workers)
        pool = SamplePool(Trainer(chosen).samples, chosen, torch.device("cpu"))
        pool.start(0)
        batches.append(pool.next(0, chosen.batch))
        pool.close()
    assert all(torch.equal(a, b) for a, b in zip(*batches, strict=True))


def test_processes_that_draw_outlive_ctrl_c(options):
    pool = SamplePool(Trainer(options).samples, replace(options, workers=1), torch.device("cpu"))
    pool.start(0)
    for process in multiprocessing.active_children():
        os.kill(process.pid, signal.SIGINT)
    for step in range(12):
        pool.next(step, options.batch)
    pool.close()


def test_processes_are_refused_where_they_cannot_be_copied(options, monkeypatch):
    monkeypatch.setattr("multiprocessing.get_all_start_methods", lambda: ["spawn"])
    with pytest.raises(FitError, match="Add --workers 0"):
        fit(replace(options, workers=2))
    assert fit(options).progress.step == 6
