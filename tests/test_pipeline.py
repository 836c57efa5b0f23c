"""The transformers pipeline, with the package and as remote code."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from transformers import pipeline

from grain_model import analysis as analysis_module
from grain_model.pipeline_grain import CUSTOM_PIPELINES, GrainCountingPipeline
from tests.drawn import draw_grid, predict_drawn


@pytest.fixture
def pipe(tiny_model, monkeypatch) -> GrainCountingPipeline:
    monkeypatch.setattr(analysis_module, "predict_at_canonical_scale", predict_drawn)
    return GrainCountingPipeline(model=tiny_model, device="cpu")


def test_returns_count_labels_mask_and_table(pipe):
    result = pipe(draw_grid(3, 4))
    assert set(result) == {"count", "labels", "mask", "table"}
    assert result["count"] == 12
    assert result["labels"].shape == draw_grid(3, 4).shape and result["labels"].max() == 12
    assert np.array_equal(result["mask"], result["labels"] > 0)
    assert isinstance(result["table"], pd.DataFrame) and len(result["table"]) == 12


def test_a_list_gives_a_list_whatever_the_sizes(pipe, tmp_path):
    Image.fromarray(draw_grid(2, 2)).save(tmp_path / "a.png")
    inputs = [str(tmp_path / "a.png"), Image.fromarray(draw_grid(2, 3)), draw_grid(3, 3)]
    assert [result["count"] for result in pipe(inputs, batch_size=3)] == [4, 6, 9]


def test_options_reach_the_count(pipe):
    assert "area_um2" not in pipe(draw_grid(2, 2))["table"]
    assert "area_um2" in pipe(draw_grid(2, 2), um_per_pixel=0.5)["table"]
    assert pipe(draw_grid(2, 2), min_grain_area=10_000)["count"] == 0


def test_options_given_at_construction_hold(tiny_model, pipe):
    kept = GrainCountingPipeline(model=tiny_model, device="cpu", min_grain_area=10_000)
    assert kept(draw_grid(2, 2))["count"] == 0
    assert kept(draw_grid(2, 2), min_grain_area=1)["count"] == 4


def test_unknown_options_are_refused(pipe):
    with pytest.raises(TypeError, match="sharpness"):
        pipe(draw_grid(2, 2), sharpness=3)


def test_is_found_by_its_task(tiny_model, pipe):
    found = pipeline("grain-counting", model=tiny_model)
    assert isinstance(found, GrainCountingPipeline)
    assert found(draw_grid(2, 2))["count"] == 4


REMOTE = """
import sys
import numpy as np
from transformers import pipeline

counter = pipeline("grain-counting", model=sys.argv[1], trust_remote_code=True, device="cpu")
assert type(counter).__module__.startswith("transformers_modules"), type(counter).__module__
result = counter(np.random.default_rng(0).integers(0, 255, (60, 70), dtype=np.uint8))
assert "grain_model" not in sys.modules
print(sorted(result), result["labels"].shape, type(result["count"]).__name__)
"""


@pytest.mark.slow
def test_runs_as_remote_code_in_a_process_without_the_package(tiny_model, tmp_path):
    """A folder with the hub files, config.json and weights is all that `pipeline` needs."""
    package = Path(analysis_module.__file__).parent
    folder = tmp_path / "remote-grain"
    tiny_model.save_pretrained(folder)
    for source in package.glob("*.py"):
        if source.stem not in ("__init__", "__main__", "cli"):
            (folder / source.name).write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {
        "AutoConfig": "configuration_grain.GrainConfig",
        "AutoModel": "modeling_grain.GrainForInstanceSegmentation",
    }
    config["custom_pipelines"] = CUSTOM_PIPELINES
    (folder / "config.json").write_text(json.dumps(config))
    run = subprocess.run(
        [sys.executable, "-c", REMOTE, str(folder)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
        env={"PATH": "", "HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"},
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "['count', 'labels', 'mask', 'table'] (60, 70) int"
