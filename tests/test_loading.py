"""Finding and loading the model that counts, and what its weights are called."""

import json
import os
from copy import deepcopy

import pytest
import torch
from transformers import Dinov2Config, Dinov2Model

from grain_model import weights_origin
from grain_model.digest import digest_files
from grain_model.errors import ModelError
from grain_model.loading import load_model
from grain_model.weights_origin import describe_weights


def test_a_saved_model_is_loaded_once(tiny_model, tmp_path):
    tiny_model.save_pretrained(tmp_path / "model")
    first = load_model(tmp_path / "model")
    assert first is load_model(str(tmp_path / "model"))
    assert not first.training and first.dtype == torch.float32
    for name, weight in tiny_model.state_dict().items():
        assert torch.equal(weight, first.state_dict()[name]), name


def test_a_model_that_was_saved_again_is_loaded_again(tiny_model, tmp_path):
    tiny_model.save_pretrained(tmp_path)
    first = load_model(tmp_path)
    tiny_model.save_pretrained(tmp_path)
    os.utime(tmp_path / "config.json", (2e9, 2e9))
    assert load_model(tmp_path) is not first


def test_half_precision_weights_are_used_in_single(tiny_model, tmp_path):
    type(tiny_model)(tiny_model.config).half().save_pretrained(tmp_path)
    assert load_model(tmp_path).dtype == torch.float32


def test_a_loaded_model_passes_through(tiny_model):
    assert load_model(tiny_model) is tiny_model


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ModelError, match="nowhere"):
        load_model(tmp_path / "nowhere")


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(ModelError, match="config.json"):
        load_model(tmp_path)


@pytest.mark.parametrize("name, complaint", [("runs/big.tif", "is a file"), ("runs/lost", "There is no model folder")])
def test_what_lies_here_is_not_sought_on_the_hub(tmp_path, monkeypatch, name, complaint):
    monkeypatch.setattr("grain_model.loading._load", lambda *source: pytest.fail("sought"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "big.tif").touch()
    with pytest.raises(ModelError, match=f"{complaint}.*config.json"):
        load_model(name)


def test_a_pinned_model_is_sought_on_the_hub_whatever_lies_here(tmp_path, monkeypatch):
    monkeypatch.setattr("grain_model.loading._load", lambda *source: source)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "user").mkdir()
    assert load_model("user/name@main") == ("user/name", "main")


def test_a_hub_model_without_network_is_explained(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="somebody/no-such-model"):
        load_model("somebody/no-such-model")


def test_another_kind_of_model_is_refused(tmp_path):
    config = Dinov2Config(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, image_size=28)
    other = Dinov2Model(config)
    other.save_pretrained(tmp_path)
    for model in (other, tmp_path, 3):
        with pytest.raises(ModelError, match="'grain'"):
            load_model(model)


def test_weights_that_do_not_fit_are_refused(tiny_model, tmp_path):
    weights = {name: value for name, value in tiny_model.state_dict().items() if name.startswith("backbone")}
    tiny_model.save_pretrained(tmp_path, state_dict=weights)
    with pytest.raises(ModelError, match="missing"):
        load_model(tmp_path)


@pytest.mark.parametrize("entry", [{"num_channels_out": 1}, {"token_depths": "abc"}])
def test_a_wrong_configuration_is_a_model_error(tiny_model, tmp_path, entry):
    tiny_model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text()) | entry
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=f"could not be loaded: .*{next(iter(entry))}"):
        load_model(tmp_path)


def test_weights_that_are_cut_off_are_a_model_error(tiny_model, tmp_path):
    tiny_model.save_pretrained(tmp_path)
    (weights,) = tmp_path.glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match="could not be loaded"):
        load_model(tmp_path)


def test_folders_of_one_name_with_other_weights_are_told_apart(tiny_model, tmp_path):
    named = []
    for run in ("a", "b", "c"):
        if run == "b":
            tiny_model = deepcopy(tiny_model)
            tiny_model.decoder.head.bias.data += 1
        tiny_model.save_pretrained(tmp_path / run / "model")
        named.append(describe_weights(load_model(tmp_path / run / "model")))
    assert [weights["name"] for weights in named] == ["model"] * 3
    assert named[1] == named[2] != named[0] and named[0]["version"]


def test_weights_that_were_trained_on_in_memory_are_named_as_such(tiny_model, tmp_path):
    tiny_model.save_pretrained(tmp_path / "model")
    loaded = deepcopy(load_model(tmp_path / "model"))
    assert describe_weights(loaded)["name"] == "model" and describe_weights(loaded.bfloat16())["version"]
    tiny_model.save_pretrained(tmp_path / "embedded")
    assert len(describe_weights(load_model(tmp_path / "embedded"))["version"]) == 12
    attention = loaded.backbone.get_parameter("encoder.layer.0.attention.v_proj.weight")
    with torch.no_grad():
        attention += 1
    assert describe_weights(loaded) == {"name": "model, but other weights than the folder's", "version": None}


def test_other_embedded_weights_have_another_version():
    """Else results and curves of the old ones pass for theirs: change both together."""
    shards = sorted(weights_origin.EMBEDDED_WEIGHTS.glob("*.safetensors"))
    assert (weights_origin.WEIGHTS_VERSION, digest_files(*shards)[:12]) == ("0.2.0", "0c109026fc90")


def test_the_embedded_weights_are_known_by_any_path(tiny_model, tmp_path, monkeypatch):
    tiny_model.save_pretrained(tmp_path / "weights")
    monkeypatch.setattr(weights_origin, "EMBEDDED_WEIGHTS", (tmp_path / "weights").resolve())
    monkeypatch.chdir(tmp_path)
    tiny_model.config.name_or_path = "weights"
    assert describe_weights(tiny_model) == {"name": "embedded", "version": weights_origin.WEIGHTS_VERSION}


def test_weights_of_the_hub_that_were_trained_on_are_named_as_such(tiny_model, tmp_path, monkeypatch):
    tiny_model.save_pretrained(tmp_path)
    monkeypatch.setattr(weights_origin, "try_to_load_from_cache", lambda repo_id, name, revision: str(tmp_path / name))
    tiny_model.config.name_or_path, tiny_model.config._commit_hash = "user/name", "c0ffee"
    assert describe_weights(tiny_model) == {"name": "user/name", "version": "c0ffee"}
    with torch.no_grad():
        tiny_model.decoder.head.bias += 1
    assert describe_weights(tiny_model) == {"name": "user/name, but other weights than the Hub's", "version": None}


def test_the_embedded_weights_are_compared_backbone_and_all():
    changed = deepcopy(load_model())
    assert describe_weights(changed)["version"] == weights_origin.WEIGHTS_VERSION
    with torch.no_grad():
        changed.backbone.get_parameter("encoder.layer.3.attention.o_proj.weight")[0, 0] += 1
    assert describe_weights(changed) == {"name": "embedded, but other weights than the folder's", "version": None}
