"""Models saved here and loaded by transformers' auto classes, in fresh processes too."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

import numpy as np
import pytest
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from transformers import AutoModel
from transformers.dynamic_module_utils import get_imports, get_relative_import_files

import grain_model
from grain_model.counting import count_grains
from grain_model.image_processing_grain import GrainImageProcessor
from grain_model.loading import EMBEDDED_WEIGHTS, load_model
from grain_model.modeling_grain import GrainForInstanceSegmentation, GrainSegmentationOutput
from tests.conftest import make_tiny_config
from tests.drawn import write_grid
from train.saving import save_model

ROOT = Path(grain_model.__file__).parents[1]
# An environment in which a saved model has to work, with what these packages bring along.
ENOUGH = ("torch", "transformers", "numpy", "opencv-python-headless", "scikit-image", "pandas", "pillow")
ALLOWED = {"PIL", "cv2", "huggingface_hub", "numpy", "pandas", "safetensors", "scipy", "skimage", "tifffile", "torch"}
ALLOWED |= {"transformers"}


def modules_beyond(packages: Iterable[str]) -> list[str]:
    """Every top-level module of this environment that these packages and what they require do not bring."""
    kept: set[str] = set()
    waiting = [canonicalize_name(name) for name in packages]
    while waiting:
        name = waiting.pop()
        if name in kept:
            continue
        try:
            lines = distribution(name).requires or []
        except PackageNotFoundError:
            continue
        kept.add(name)
        needed = [Requirement(line) for line in lines]
        waiting += [
            canonicalize_name(each.name)
            for each in needed
            if each.marker is None or each.marker.evaluate({"extra": ""})
        ]
    owners = packages_distributions()
    beyond = [name for name, held_by in owners.items() if not {canonicalize_name(each) for each in held_by} & kept]
    return sorted({*beyond, "grain_model", "train"})


LOAD = """
import sys

folder, picture, out, again, *blocked = sys.argv[1:]
sys.modules.update(dict.fromkeys(blocked))

import numpy as np
import torch
from transformers import AutoImageProcessor, AutoModel, AutoModelForImageSegmentation, CONFIG_MAPPING, pipeline

torch.set_num_threads(1)
processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=True)
inputs = processor(picture, return_tensors="pt")
logits = []
for auto_class in (AutoModel, AutoModelForImageSegmentation):
    model = auto_class.from_pretrained(folder, trust_remote_code=True)
    assert model.dtype == torch.float32 and not model.training
    with torch.no_grad():
        output = model(**inputs)
    logits.append(output.logits.numpy())
grains = processor.post_process_instance_segmentation(output)[0]["segmentation"]
remote = {"trust_remote_code": True, "device": "cpu"}
counter = pipeline("grain-counting", model=folder, **remote)
result = counter(picture)
assert set(result) == {"count", "labels", "mask", "table", "grain_size", "warnings"}
assert len(result["table"]) == result["count"]
model.save_pretrained(again)
assert np.array_equal(pipeline("grain-counting", model=again, **remote)(picture)["labels"], result["labels"])
homes = {type(part).__module__.split(".")[0] for part in (processor, model, model.config, counter)}
np.savez(
    out,
    logits=np.stack(logits),
    grains=grains.numpy(),
    labels=result["labels"],
    homes=sorted(homes),
    registered="grain" in CONFIG_MAPPING,
)
"""


def run_fresh(code: str, *arguments: object, cache: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Runs Python in another process: no network, empty caches, no way to the package but by `cwd`."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=cwd,
        env={"PATH": "", "HOME": str(cache), "HF_HOME": str(cache), "HF_HUB_OFFLINE": "1"},
    )


def load_fresh(folder: str | Path, picture: Path, tmp_path: Path, *blocked: str, cwd: Path) -> dict[str, np.ndarray]:
    out = tmp_path / "out.npz"
    arguments = (folder, picture, out, tmp_path / "again", *blocked)
    run = run_fresh(LOAD, *arguments, cache=tmp_path / "cache", cwd=cwd)
    assert run.returncode == 0, run.stderr
    with np.load(out) as arrays:
        return dict(arrays)


def logits_of(model: GrainForInstanceSegmentation, picture: Path) -> np.ndarray:
    with torch.no_grad():
        return model(**GrainImageProcessor()(picture, return_tensors="pt")).logits.numpy()


@pytest.fixture(scope="module")
def model() -> GrainForInstanceSegmentation:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return GrainForInstanceSegmentation(make_tiny_config()).eval()


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory) -> Path:
    """Where `save_model` wrote float32 weights."""
    folder = tmp_path_factory.mktemp("saved") / "grain-model.v1"
    save_model(model, folder, torch.float32)
    return folder


@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> Path:
    return write_grid(tmp_path_factory.mktemp("picture") / "grid.png", 2, 3, cell=30)


# Folders that carry their code


def test_a_saved_folder_works_with_few_packages_and_without_this_one(model, folder, picture, tmp_path):
    found = load_fresh(folder, picture, tmp_path, *modules_beyond(ENOUGH), cwd=tmp_path)
    assert found["homes"].tolist() == ["transformers_modules"]
    expected = logits_of(model, picture)
    for logits in found["logits"]:
        assert np.array_equal(logits, expected)
    output = GrainSegmentationOutput(logits=torch.from_numpy(expected))
    grains = GrainImageProcessor().post_process_instance_segmentation(output)[0]["segmentation"]
    assert np.array_equal(found["grains"], grains.numpy())
    assert np.array_equal(found["labels"], count_grains(picture, model=model).labels)
    # Or a second revision in the same process would be answered with the classes of the first.
    assert not found["registered"]


def test_float16_storage_loads_as_float32_and_stays_close(model, folder, picture, tmp_path):
    save_model(model, tmp_path)
    assert (tmp_path / "model.safetensors").stat().st_size < 0.6 * (folder / "model.safetensors").stat().st_size
    again = load_model(tmp_path)
    assert again.dtype == torch.float32
    np.testing.assert_allclose(logits_of(again.cpu(), picture), logits_of(model, picture), atol=0.01)
    assert model.dtype == torch.float32


def test_a_saved_folder_names_all_its_classes(folder):
    config = json.loads((folder / "config.json").read_text())
    processor = json.loads((folder / "preprocessor_config.json").read_text())
    modeling = "modeling_grain.GrainForInstanceSegmentation"
    assert config["auto_map"] == {
        "AutoConfig": "configuration_grain.GrainConfig",
        "AutoModel": modeling,
        "AutoModelForImageSegmentation": modeling,
    }
    assert processor["auto_map"] == {"AutoImageProcessor": "image_processing_grain.GrainImageProcessor"}
    assert list(config["custom_pipelines"]) == ["grain-counting"]
    assert config["dtype"] == "float32"


def test_saved_code_is_complete_and_needs_few_packages(folder):
    """The Hub client checks the imports of every file, those inside functions too."""
    files = list(folder.glob("*.py"))
    for file in files:
        assert set(get_imports(file)) <= ALLOWED | set(sys.stdlib_module_names), file.name
        assert all(Path(needed).is_file() for needed in get_relative_import_files(file)), file.name
    assert {"configuration_grain", "modeling_grain", "image_processing_grain", "pipeline_grain"} < {
        file.stem for file in files
    }


def test_what_a_user_saves_is_complete_but_for_the_processor(model, folder, tmp_path):
    """`save_pretrained` alone brings the pipeline's code, like `save_model`; the processor saves itself."""
    GrainForInstanceSegmentation.from_pretrained(folder).save_pretrained(tmp_path)
    missing = {file.name for file in folder.iterdir()} - {file.name for file in tmp_path.iterdir()}
    assert missing == {"preprocessor_config.json"}
    saved, again = (json.loads((place / "config.json").read_text()) for place in (folder, tmp_path))
    for key in ("auto_map", "custom_pipelines"):
        assert again[key] == saved[key]
    GrainImageProcessor.from_pretrained(folder).save_pretrained(tmp_path)
    name = "preprocessor_config.json"
    assert json.loads((tmp_path / name).read_text()) == json.loads((folder / name).read_text())


# Ways to hold a model


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_counts_in_each_precision(model, folder, picture, dtype):
    loaded = AutoModel.from_pretrained(folder, dtype=dtype).eval()
    assert loaded.dtype == dtype
    analysis = count_grains(picture, model=loaded)
    assert analysis.probabilities.dtype == np.float32
    np.testing.assert_allclose(analysis.probabilities, count_grains(picture, model=model).probabilities, atol=0.03)
    assert analysis.labels.max() == analysis.count == len(analysis.table)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_the_embedded_weights_count_alike_in_each_precision(dtype):
    example = ROOT / "examples" / "etched_steel.png"
    expected = count_grains(example).count
    loaded = AutoModel.from_pretrained(EMBEDDED_WEIGHTS, dtype=dtype).eval()
    assert count_grains(example, model=loaded).count == pytest.approx(expected, rel=0.03)


def test_a_device_map_puts_the_whole_model_on_one_device(folder, picture, model):
    spread = AutoModel.from_pretrained(folder, device_map="auto").eval()
    assert len({parameter.device for parameter in spread.parameters()}) == 1
    np.testing.assert_allclose(
        count_grains(picture, model=spread).probabilities, count_grains(picture, model=model).probabilities, atol=1e-3
    )


def compiled_agrees(model: GrainForInstanceSegmentation, picture: Path, backend: str) -> bool:
    # First: at its first run a transformers model takes a lock, which no graph can hold.
    expected = count_grains(picture, model=model).probabilities
    torch.compiler.reset()
    compiled = torch.compile(model, backend=backend, fullgraph=True)
    return np.allclose(count_grains(picture, model=compiled).probabilities, expected, atol=1e-4)


def test_a_compiled_model_is_one_graph(model, picture):
    assert compiled_agrees(model, picture, "eager")


def test_a_model_may_be_compiled_before_its_first_run(folder, picture, model):
    torch.compiler.reset()
    fresh = torch.compile(AutoModel.from_pretrained(folder).eval(), backend="eager")
    expected = count_grains(picture, model=model).probabilities
    np.testing.assert_allclose(count_grains(picture, model=fresh).probabilities, expected, atol=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling for the CPU needs a C++ compiler")
def test_a_compiled_model_counts_alike(model, picture):
    assert compiled_agrees(model, picture, "inductor")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_counts_on_the_gpu(folder, picture, model, dtype):
    loaded = AutoModel.from_pretrained(folder, dtype=dtype, device_map="cuda").eval()
    expected = count_grains(picture, model=model).probabilities
    np.testing.assert_allclose(count_grains(picture, model=loaded).probabilities, expected, atol=0.03)


# The embedded folder, whose code is the package


def test_embedded_weights_load_at_the_root_of_the_repository(picture, tmp_path):
    found = load_fresh("grain_model/weights", picture, tmp_path, cwd=ROOT)
    assert found["homes"].tolist() == ["grain_model"]
    expected = logits_of(load_model().cpu(), picture)
    for logits in found["logits"]:
        assert np.array_equal(logits, expected)


def test_embedded_weights_without_the_package_say_what_is_missing(tmp_path):
    code = (
        "import sys; sys.modules['grain_model'] = None\n"
        f"from transformers import AutoModel; AutoModel.from_pretrained({str(EMBEDDED_WEIGHTS)!r}, "
        "trust_remote_code=True)"
    )
    run = run_fresh(code, cache=tmp_path, cwd=tmp_path)
    assert run.returncode == 1
    assert "The code of these weights is the package grain_model, which is not installed." in run.stderr


def test_embedded_folder_holds_no_copy_of_the_code():
    shims = sorted(EMBEDDED_WEIGHTS.glob("*.py"))
    assert [shim.stem for shim in shims] == [
        "configuration_grain",
        "image_processing_grain",
        "modeling_grain",
        "pipeline_grain",
    ]
    for shim in shims:
        assert f"from grain_model.{shim.stem} import" in shim.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_embedded_folder_names_the_same_classes_as_a_saved_one(folder, name):
    saved, embedded = (json.loads((place / name).read_text()) for place in (folder, EMBEDDED_WEIGHTS))
    for key in ("auto_map", "custom_pipelines"):
        assert saved.get(key) == embedded.get(key)


REGISTERED = """
import importlib
import sys

from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoModelForImageSegmentation, MODEL_MAPPING

from grain_model import GrainForInstanceSegmentation, GrainImageProcessor, pipeline_grain

folder = sys.argv[1]

def check():
    home = sys.modules["grain_model.modeling_grain"]
    assert type(AutoConfig.from_pretrained(folder)) is home.GrainConfig
    for auto_class in (AutoModel, AutoModelForImageSegmentation):
        assert type(auto_class.from_pretrained(folder)) is home.GrainForInstanceSegmentation
    assert type(AutoImageProcessor.from_pretrained(folder)).__module__ == "grain_model.image_processing_grain"
    assert [kind.__name__ for kind in MODEL_MAPPING.keys()].count("GrainConfig") == 1

check()
for name in ("modeling_grain", "image_processing_grain", "pipeline_grain"):
    importlib.reload(sys.modules[f"grain_model.{name}"])
check()
"""


def test_imported_classes_are_registered_once(folder, tmp_path):
    """No `trust_remote_code` is needed then, and a second import neither fails nor warns."""
    run = run_fresh(REGISTERED, folder, cache=tmp_path, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    assert "already registered" not in run.stderr


CARRIED = """
import sys

from transformers import AutoModel

folder, picture = sys.argv[1:]
carried = AutoModel.from_pretrained(folder, trust_remote_code=True)

from grain_model import count_grains

assert type(carried).__module__.startswith("transformers_modules.")
assert (count_grains(picture, model=carried).labels == count_grains(picture, model=folder).labels).all()
"""


def test_the_package_counts_with_a_model_that_came_with_its_own_code(folder, picture, tmp_path):
    run = run_fresh(CARRIED, folder, picture, cache=tmp_path, cwd=ROOT)
    assert run.returncode == 0, run.stderr
