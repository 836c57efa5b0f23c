"""The network in onnxruntime gives what it gives in torch, at every size."""

from __future__ import annotations

import copy
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from grain_model import cli
from grain_model.counting import count_grains
from grain_model.errors import ModelError
from grain_model.loading import load_model
from grain_model.micrograph import read_micrograph
from grain_model.modeling_grain import GrainForInstanceSegmentation
from grain_model.onnx_backend import OnnxNetwork, load_onnx
from grain_model.onnx_export import export_onnx
from grain_model.version import __version__ as VERSION
from tests.conftest import make_tiny_config
from tests.drawn import draw_grid
from train.contenders import model_contender
from train.matching import match_labels

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.png"))
QUICK = "etched_steel.png"


@pytest.fixture(scope="module")
def small() -> GrainForInstanceSegmentation:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return GrainForInstanceSegmentation(make_tiny_config()).eval()


@pytest.fixture(scope="module")
def embedded_file(tmp_path_factory) -> Path:
    """The one export of the quick tests, as it takes seconds for a model of any size."""
    return export_onnx(None, tmp_path_factory.mktemp("embedded") / "model.onnx")


@pytest.fixture(scope="module")
def int8_file(tmp_path_factory) -> Path:
    return export_onnx(None, tmp_path_factory.mktemp("int8") / "model.onnx", int8=True)


@pytest.fixture
def hub_cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr("huggingface_hub.utils._cache_assets.HF_ASSETS_CACHE", str(tmp_path))
    return tmp_path


# Sides that patches and strides divide or not, the size of the position embeddings (518), and less than one patch.
@pytest.mark.parametrize("shape", [(1, 3, 518, 518), (3, 3, 97, 133), (2, 3, 140, 48), (1, 3, 13, 5), (1, 3, 1, 1)])
def test_logits_agree_at_any_size(embedded_file, shape):
    pixels = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = load_model()(pixel_values=pixels).logits
    torch.testing.assert_close(load_onnx(embedded_file)(pixel_values=pixels).logits, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=() if path.name == QUICK else pytest.mark.slow, id=path.stem) for path in EXAMPLES],
)
def test_labels_agree_on_the_examples(embedded_file, path):
    network = count_grains(path, model=embedded_file, backend="onnx")
    reference = count_grains(path)
    assert match_labels(reference.labels, network.labels, 0.9).f1 == 1.0
    assert network.count == reference.count > 50
    assert network.weights == reference.weights


@pytest.mark.slow
def test_int8_is_a_third_of_the_size_and_nearly_as_good(embedded_file, int8_file):
    assert int8_file.stat().st_size < 0.4 * embedded_file.stat().st_size
    agreement = [
        match_labels(count_grains(path).labels, count_grains(path, model=int8_file, backend="onnx").labels).f1
        for path in EXAMPLES
    ]
    assert np.mean(agreement) > 0.97


@pytest.mark.slow
def test_int8_keeps_the_convolutions_and_the_name(embedded_file, int8_file):
    kinds = {node.op_type for node in onnx.load(int8_file).graph.node}
    assert "MatMulInteger" in kinds and "Conv" in kinds and "ConvInteger" not in kinds
    assert load_onnx(int8_file).weights == load_onnx(embedded_file).weights == {"name": "embedded", "version": VERSION}


@pytest.mark.slow
def test_exporting_leaves_the_model_as_it_is(small, tmp_path):
    model = GrainForInstanceSegmentation(make_tiny_config()).to(torch.bfloat16).train()
    model.load_state_dict(small.state_dict())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    path = export_onnx(model, tmp_path / "model.onnx")
    assert model.training and model.dtype == torch.bfloat16
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    with torch.no_grad():
        expected = small(pixel_values=(pixels := torch.ones(1, 3, 40, 50))).logits
    torch.testing.assert_close(OnnxNetwork(path)(pixel_values=pixels).logits, expected, rtol=0, atol=0.1)


def test_a_model_is_exported_once_and_again_when_its_weights_change(small, embedded_file, hub_cache, monkeypatch):
    exported = []

    def pretend_to_export(model, path):
        exported.append((model, path))
        return shutil.copy(embedded_file, path)

    monkeypatch.setattr("grain_model.onnx_backend.export_onnx", pretend_to_export)
    model = copy.deepcopy(small)
    for _ in range(2):
        count_grains(draw_grid(2, 2), model=model, backend="onnx")
    assert len(exported) == 1 and exported[0][0] is model and hub_cache in exported[0][1].parents
    with torch.no_grad():
        model.decoder.head.bias += 1
    count_grains(draw_grid(2, 2), model=model, backend="onnx")
    assert len(exported) == 2 and exported[0][1] != exported[1][1]


def test_an_exported_file_is_evaluated_like_a_folder(embedded_file):
    pixels = read_micrograph(EXAMPLES[0]).pixels[:120, :150]
    exported, loaded = (model_contender("row", model) for model in (str(embedded_file), "embedded"))
    assert np.array_equal(exported.predict(pixels)["row"].labels, loaded.predict(pixels)["row"].labels)
    assert exported.weights == loaded.weights


def test_an_open_network_and_a_file_written_again(embedded_file, tmp_path):
    network = load_onnx(embedded_file)
    assert load_onnx(network) is network and load_onnx(str(embedded_file)) is network
    path = tmp_path / "again.onnx"
    path.write_bytes(embedded_file.read_bytes())
    first = load_onnx(path)
    path.write_bytes(embedded_file.read_bytes())
    assert load_onnx(path) is not first


def test_a_cache_that_cannot_be_written_is_named(small, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("huggingface_hub.utils._cache_assets.HF_ASSETS_CACHE", str(tmp_path / "file"))
    with pytest.raises(ModelError, match="HF_HOME"):
        load_onnx(small)


def test_without_onnxruntime_the_message_says_what_to_install(small, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModelError, match=r"grain_model\[onnx\]"):
        count_grains(draw_grid(2, 2), model=small, backend="onnx")
    with pytest.raises(ModelError, match=r"onnxruntime is missing.*grain_model\[onnx\]"):
        export_onnx(small, tmp_path / "model.onnx")
    assert count_grains(draw_grid(2, 2), model=small).labels.shape == draw_grid(2, 2).shape


def test_other_files_are_refused(tmp_path, embedded_file):
    with pytest.raises(ModelError, match="no file"):
        load_onnx(tmp_path / "missing.onnx")
    (tmp_path / "text.onnx").write_text("not a network")
    with pytest.raises(ModelError, match="cannot be read"):
        load_onnx(tmp_path / "text.onnx")
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "other", value[:1], value[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), tmp_path / "r.onnx")
    with pytest.raises(ModelError, match="not one of grains"):
        load_onnx(tmp_path / "r.onnx")
    with pytest.raises(ModelError, match="backend 'onnx'"):
        load_model(embedded_file)


def test_commands_take_the_backend(embedded_file, capsys):
    # A file of onnx says for itself what runs it.
    assert cli.main(["count", str(EXAMPLES[0]), "--model", str(embedded_file), "--quiet"]) == 0
    assert EXAMPLES[0].name in capsys.readouterr().out
    assert cli.main(["count", str(EXAMPLES[0]), "--backend", "onnx", "--model", "missing.onnx", "--quiet"]) == 2
    assert "no file" in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_exports(small, tmp_path, capsys):
    small.save_pretrained(tmp_path / "model")
    file = tmp_path / "out" / "model.onnx"
    assert cli.main(["export-onnx", "--model", str(tmp_path / "model"), "--out", str(file)]) == 0
    assert capsys.readouterr().out.strip() == str(file)
    assert load_onnx(file).weights["name"] == "model"


@pytest.mark.parametrize("name", ["model.pt", "folder.onnx"])
def test_a_name_that_would_not_be_read_again_is_refused_at_once(tmp_path, name):
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(ModelError, match=r"A file such as model\.onnx is expected"):
        export_onnx(None, tmp_path / name)


def test_the_command_refuses_other_endings(tmp_path, capsys):
    assert cli.main(["export-onnx", "--out", str(tmp_path / "model.pt")]) == 2
    assert "does not end in .onnx" in capsys.readouterr().err
