"""The transformers pipeline; test_hub_loading runs it as remote code."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
from PIL import Image
from transformers import pipeline

from grain_model.image_processing_grain import GrainImageProcessor
from grain_model.micrograph import read_micrograph
from grain_model.modeling_grain import GrainSegmentationOutput
from grain_model.pipeline_grain import CUSTOM_PIPELINES, GrainCountingPipeline
from tests.drawn import draw_grid, drawn_maps, squares, write_grid


@pytest.fixture
def pipe(tiny_model, sees_drawings) -> GrainCountingPipeline:
    return GrainCountingPipeline(model=tiny_model, device="cpu")


def test_returns_count_labels_mask_table_and_grain_size(pipe):
    result = pipe(draw_grid(3, 4))
    assert set(result) == {"count", "labels", "mask", "table", "grain_size", "warnings"}
    assert result["count"] == 12
    assert result["labels"].shape == draw_grid(3, 4).shape and result["labels"].max() == 12
    assert np.array_equal(result["mask"], result["labels"] > 0)
    assert isinstance(result["table"], pd.DataFrame) and len(result["table"]) == 12
    assert result["grain_size"].saltykov.G is None and "Only 6 grains" in " ".join(result["warnings"])


def test_a_list_gives_a_list_whatever_the_sizes(pipe, tmp_path):
    inputs = [str(write_grid(tmp_path / "a.png", 2, 2)), Image.fromarray(draw_grid(2, 3)), draw_grid(3, 3)]
    inputs.append(read_micrograph(draw_grid(3, 4)))
    assert [result["count"] for result in pipe(inputs, batch_size=3)] == [4, 6, 9, 12]


def test_options_reach_the_count(pipe):
    assert "area_um2" not in pipe(draw_grid(2, 2))["table"]
    scaled = pipe(draw_grid(2, 2), um_per_pixel=0.5)
    assert "area_um2" in scaled["table"] and scaled["grain_size"].um_per_pixel == 0.5
    assert pipe(draw_grid(2, 2), min_grain_area=10_000)["count"] == 0


def test_another_page_can_be_read(pipe, tmp_path):
    tifffile.imwrite(tmp_path / "pages.tif", draw_grid(2, 2))
    tifffile.imwrite(tmp_path / "pages.tif", draw_grid(3, 2), append=True)
    assert [pipe(str(tmp_path / "pages.tif"), **page)["count"] for page in ({}, {"page": 1})] == [4, 6]


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


def test_importing_the_model_makes_the_task_known():
    task = "from transformers.pipelines import PIPELINE_REGISTRY; PIPELINE_REGISTRY.check_task('grain-counting')"
    code = f"from grain_model import GrainForInstanceSegmentation; {task}"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_library_s_own_image_segmentation_takes_the_model(tiny_model):
    ids = squares(2, 3, side=42)
    # Each grain is seen a little better than the one before it.
    maps = np.clip(drawn_maps(ids) - 0.02 * (6 - ids), 0.01, 0.99)
    seen = GrainSegmentationOutput(logits=torch.logit(torch.from_numpy(maps).float())[None])
    tiny_model.forward = lambda pixel_values: seen
    segment = pipeline("image-segmentation", model=tiny_model, image_processor=GrainImageProcessor())
    picture = Image.new("L", ids.shape[::-1])
    every = segment(picture, threshold=0)
    assert len(every) == 6 and {one["label"] for one in every} == {"grain"}
    for grain in range(1, 7):
        masks = [np.asarray(one["mask"]) > 0 for one in every]
        [mask] = [mask for mask in masks if mask[ids == grain].any()]
        assert mask[ids == grain].mean() > 0.85 and not mask[ids != grain].any()
    limit = sorted(one["score"] for one in every)[3]
    assert 0 < sum(one["score"] >= limit for one in every) < 6
    assert [one["score"] for one in segment(picture, threshold=limit)] == [
        one["score"] for one in every if one["score"] >= limit
    ]


def test_a_saved_pipeline_carries_its_code_and_its_task(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["custom_pipelines"] == CUSTOM_PIPELINES
    assert (tmp_path / "pipeline_grain.py").is_file() and (tmp_path / "instances.py").is_file()
