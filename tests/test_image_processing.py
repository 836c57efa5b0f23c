"""The image processor: every kind of picture in, standardised pixel values out; logits in, grains out."""

import json
import subprocess
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from grain_model.errors import ImageError
from grain_model.foreign import foreign_regions
from grain_model.image_processing_grain import GrainImageProcessor, standardize
from grain_model.pixels import to_rgb
from tests.drawn import draw_field, draw_grid


@pytest.fixture
def rgb() -> np.ndarray:
    """A picture whose sides differ and whose channels differ; the whole range of grey levels occurs."""
    return np.random.default_rng(0).integers(0, 256, (40, 54, 3), dtype=np.uint8)


@pytest.fixture
def processor() -> GrainImageProcessor:
    return GrainImageProcessor()


def test_standardize_follows_its_formula(rgb):
    unit = rgb.astype(np.float64) / 255
    expected = ((unit - unit.mean()) / unit.std()).transpose(2, 0, 1)
    result = standardize(rgb)
    assert result.dtype == np.float32 and result.shape == (3, 40, 54)
    np.testing.assert_allclose(result, expected, atol=2e-6)


def test_standardize_does_not_blow_up_the_noise_of_a_flat_picture():
    flat = np.full((32, 32, 3), 120, np.uint8)
    flat[::2] += 1
    unit = flat / 255
    assert unit.std() < 0.02
    np.testing.assert_allclose(standardize(flat), ((unit - unit.mean()) / 0.02).transpose(2, 0, 1), atol=1e-5)
    assert (standardize(np.zeros((32, 32, 3), np.uint8)) == 0).all()


def faint_grains() -> np.ndarray:
    """Grains that differ by a few grey levels, uint8 (300, 400, 3)."""
    return np.repeat((draw_field(300, 400) // 8 + 200)[..., np.newaxis], 3, axis=2)


def pores(picture: np.ndarray) -> np.ndarray:
    marked = np.zeros(picture.shape[:2], np.uint8)
    for number in range(30):
        cv2.circle(marked, (37 * number % 400, 53 * number % 300), 10, 1, -1)
    return marked > 0


def surround(picture: np.ndarray) -> np.ndarray:
    y, x = np.indices(picture.shape[:2])
    return (y - 150) ** 2 + (x - 200) ** 2 > 145**2


@pytest.mark.parametrize("foreign", [pores, surround])
def test_what_is_foreign_to_the_material_takes_no_contrast_from_the_grains(foreign):
    picture = faint_grains()
    marked = foreign(picture)
    alone = standardize(picture)
    picture[marked] = 0
    result = standardize(picture)
    assert result.min() == -3
    inside = cv2.erode((~marked).astype(np.uint8), np.ones((9, 9))) > 0
    assert 0.9 < result[:, inside].std() / alone[:, inside].std() < 1.1


@pytest.mark.parametrize("light", [(1, 0.1, 0.1), (0.05, 1, 0.15), (0.1, 0.25, 1), (1, 0.85, 0.3)])
def test_the_colour_of_a_filter_changes_nothing(light):
    picture = draw_field(120, 160, levels=(90, 200))[..., np.newaxis]
    seen = np.rint(picture * np.array(light)).astype(np.uint8)
    plain = standardize(np.repeat(picture, 3, axis=2))
    assert np.abs(standardize(seen) - plain).mean() < 0.05


def test_colours_that_tell_grains_apart_are_kept():
    red, blue = draw_field(120, 160, seed=1), draw_field(120, 160, seed=2)
    tinted = np.dstack([red, red // 2 + blue // 2, blue])
    channels = standardize(tinted)
    assert np.corrcoef(channels[0].ravel(), red.ravel())[0, 1] > 0.99
    assert np.corrcoef(channels[2].ravel(), blue.ravel())[0, 1] > 0.99


def test_boundaries_and_phases_are_of_the_material():
    lines = np.repeat(draw_grid(6, 8, 40)[..., np.newaxis], 3, axis=2)
    phases = faint_grains()
    phases[:100] = 20
    for picture in (lines, phases, np.zeros((40, 40, 3), np.uint8)):
        assert not foreign_regions(picture).any()


def test_processor_gives_what_standardize_gives_at_the_pictures_own_size(processor, rgb):
    batch = processor(rgb, return_tensors="pt")
    assert list(batch) == ["pixel_values"]
    assert batch["pixel_values"].dtype == torch.float32
    np.testing.assert_array_equal(batch["pixel_values"].numpy(), standardize(rgb)[None])


@pytest.mark.parametrize(
    "convert",
    [
        Image.fromarray,
        lambda rgb: Image.fromarray(np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)])),
        lambda rgb: np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)]),
        lambda rgb: torch.from_numpy(rgb.transpose(2, 0, 1).copy()),
        lambda rgb: torch.from_numpy(rgb.transpose(2, 0, 1).copy()) / 255,
        lambda rgb: torch.from_numpy(rgb),
        lambda rgb: rgb.transpose(2, 0, 1),
        lambda rgb: rgb / 255,
        lambda rgb: (rgb / 255).astype(np.float32),
        lambda rgb: [rgb],
        lambda rgb: rgb[None],
    ],
    ids="pil pil-rgba rgba torch torch-float torch-last numpy-first float64 float32 list batch".split(),
)
def test_the_same_picture_in_any_container_gives_the_same_values(processor, rgb, convert):
    values = processor(convert(rgb), return_tensors="np")["pixel_values"]
    np.testing.assert_allclose(values, standardize(rgb)[None], atol=1e-6)


@pytest.mark.parametrize("container", [np.asarray, Image.fromarray, torch.from_numpy], ids="numpy pil torch".split())
def test_grey_is_repeated_over_the_channels(processor, rgb, container):
    grey = rgb[..., 0].copy()
    values = processor(container(grey), return_tensors="np")["pixel_values"]
    np.testing.assert_array_equal(values[0], standardize(np.dstack([grey] * 3)))


def test_deep_grey_keeps_its_detail(processor, rgb):
    deep = rgb[..., 0].astype(np.uint16) * 13 + 400
    for picture in (deep, Image.fromarray(deep), deep.astype(np.float32) * 7 - 100):
        values = processor(picture, return_tensors="np")["pixel_values"][0, 0]
        # What scaling to 8 bit costs is rounding and the two thousandths of the pixels beyond the percentiles.
        np.testing.assert_allclose(values, standardize(np.dstack([rgb[..., 0]] * 3))[0], atol=0.02)


def test_declared_channel_order_wins(processor):
    ambiguous = np.random.default_rng(1).integers(0, 256, (3, 50, 3), dtype=np.uint8)
    last = processor(ambiguous, return_tensors="np")["pixel_values"]
    first = processor(ambiguous, input_data_format="channels_first", return_tensors="np")["pixel_values"]
    assert last.shape == (1, 3, 3, 50) and first.shape == (1, 3, 50, 3)


def test_a_path_is_read_at_its_full_depth(processor, rgb, tmp_path):
    deep = rgb[..., 0].astype(np.uint16) * 3
    Image.fromarray(deep).save(tmp_path / "deep.png")
    values = processor(tmp_path / "deep.png", return_tensors="np")["pixel_values"]
    np.testing.assert_array_equal(values, processor(deep, return_tensors="np")["pixel_values"])
    np.testing.assert_array_equal(processor(str(tmp_path / "deep.png"), return_tensors="np")["pixel_values"], values)


def test_pictures_of_one_size_become_a_batch_and_others_an_error(processor, rgb):
    assert processor([rgb, rgb[..., 0]], return_tensors="pt")["pixel_values"].shape == (2, 3, 40, 54)
    with pytest.raises(ImageError, match="39x54, 40x54.*one at a time"):
        processor([rgb, rgb[1:]], return_tensors="pt")
    assert [values.shape for values in processor([rgb, rgb[1:]])["pixel_values"]] == [(3, 40, 54), (3, 39, 54)]


def test_resizing_on_request(processor, rgb):
    values = processor(rgb, do_resize=True, size={"height": 20, "width": 30}, return_tensors="pt")["pixel_values"]
    assert values.shape == (1, 3, 20, 30)


def test_what_would_do_nothing_is_refused(processor, rgb):
    size = {"height": 40, "width": 50}
    for ask in (lambda: processor(rgb, size=size), lambda: GrainImageProcessor(size=size)(rgb)):
        with pytest.raises(ImageError, match="do_resize=True"):
            ask()
    with pytest.raises(ImageError, match="holds no picture"):
        processor([], return_tensors="pt")


@pytest.mark.parametrize(
    "option",
    [{"do_normalize": False}, {"image_mean": [0.5] * 3}, {"do_pad": True, "pad_size": {"height": 90, "width": 90}}],
)
def test_options_that_would_change_what_the_model_was_trained_on_are_refused(processor, rgb, option):
    with pytest.raises(ImageError, match=next(iter(option))):
        processor(rgb, **option)
    with pytest.raises(ImageError, match=next(iter(option))):
        GrainImageProcessor(**option)(rgb)


@pytest.mark.parametrize(
    "wrong", [3, "missing.png", np.zeros((40, 40, 5)), np.full((40, 40), np.nan), np.zeros((40, 0))]
)
def test_what_is_no_picture_is_refused(processor, wrong):
    with pytest.raises(ImageError):
        processor(wrong, return_tensors="pt")


def test_alpha_lies_on_white():
    picture = np.zeros((2, 2, 4), np.uint8)
    picture[0, 0, 3], picture[0, 1, 3] = 255, 51
    assert to_rgb(picture)[..., 0].tolist() == [[0, 204], [255, 255]]


def test_a_hot_pixel_does_not_darken_the_rest():
    deep = np.random.default_rng(2).integers(1000, 1256, (100, 100)).astype(np.uint16)
    deep[50, 50] = 65535
    levels = to_rgb(deep)[..., 0]
    assert levels[50, 50] == 255
    assert np.percentile(levels, 5) < 20 and np.percentile(levels, 95) > 235


def drawn_logits(height: int, width: int) -> torch.Tensor:
    """Logits (1, 3, height, width) of two grains side by side that a boundary down the middle separates."""
    interior = torch.full((height, width), 8.0)
    boundary = torch.full((height, width), -8.0)
    middle = width // 2
    interior[:, middle - 1 : middle + 1], boundary[:, middle - 1 : middle + 1] = -8.0, 8.0
    columns = torch.arange(width) + 0.5
    depth = torch.minimum(torch.minimum(columns, (columns - middle).abs()), width - columns) / (middle / 2)
    distance = torch.logit(depth.clamp(0.01, 0.99)).expand(height, width)
    return torch.stack([interior, boundary, distance])[None]


@pytest.mark.parametrize("method", ["watershed", "components"])
def test_post_processing_finds_the_drawn_grains(processor, method):
    outputs = SimpleNamespace(logits=drawn_logits(60, 80))
    (result,) = processor.post_process_instance_segmentation(outputs, method=method)
    segmentation, segments = result["segmentation"], result["segments_info"]
    assert segmentation.shape == (60, 80) and segmentation.dtype == torch.int32
    assert [segment["id"] for segment in segments] == [1, 2]
    assert segmentation[30, 10] != segmentation[30, 70] and segmentation[30, 10] > 0 < segmentation[30, 70]
    for segment in segments:
        assert segment["area"] == int((segmentation == segment["id"]).sum())
        assert 0.5 < segment["score"] <= 1


def test_post_processing_leaves_out_grains_below_the_threshold(processor):
    outputs = SimpleNamespace(logits=drawn_logits(60, 80))
    outputs.logits[:, 0, :, 40:] -= 7  # the right one is less sure
    (result,) = processor.post_process_instance_segmentation(outputs)
    sure, unsure = sorted(result["segments_info"], key=lambda segment: -segment["score"])
    between = (sure["score"] + unsure["score"]) / 2
    (kept,) = processor.post_process_instance_segmentation(outputs, threshold=between)
    assert kept["segments_info"] == [sure]
    assert kept["segmentation"].dtype == torch.int32
    assert torch.equal(kept["segmentation"] > 0, result["segmentation"] == sure["id"])


def test_post_processing_at_target_sizes(processor):
    outputs = SimpleNamespace(logits=torch.cat([drawn_logits(60, 80)] * 2).half())
    for sizes in ([(120, 160), (30, 40)], torch.tensor([[120, 160], [30, 40]])):
        results = processor.post_process_instance_segmentation(outputs, target_sizes=sizes)
        assert [tuple(result["segmentation"].shape) for result in results] == [(120, 160), (30, 40)]
        assert [len(result["segments_info"]) for result in results] == [2, 2]
    with pytest.raises(ImageError, match="3 target sizes for 2 pictures"):
        processor.post_process_instance_segmentation(outputs, target_sizes=[(10, 10)] * 3)


LOAD_IN_A_FRESH_PROCESS = """
import sys
import numpy as np
from transformers import AutoImageProcessor
processor = AutoImageProcessor.from_pretrained(sys.argv[1], trust_remote_code=True)
assert type(processor).__module__.startswith("transformers_modules"), type(processor)
assert "grain_model" not in sys.modules
np.save(sys.argv[2], processor(np.load(sys.argv[3]), return_tensors="np")["pixel_values"])
"""


def test_save_and_load(processor, rgb, tmp_path):
    GrainImageProcessor(do_resize=True, size={"height": 28, "width": 42}).save_pretrained(tmp_path)
    loaded = GrainImageProcessor.from_pretrained(tmp_path)
    assert loaded(rgb, return_tensors="pt")["pixel_values"].shape == (1, 3, 28, 42)
    assert json.loads((tmp_path / "preprocessor_config.json").read_text())["size"] == {"height": 28, "width": 42}


def test_auto_class_loads_it_without_the_package(processor, rgb, tmp_path, monkeypatch):
    """Saved with its code, as for the Hub, it works in a process that cannot import grain_model."""
    monkeypatch.setattr(GrainImageProcessor, "_auto_class", "AutoImageProcessor")
    GrainImageProcessor().save_pretrained(tmp_path / "hub")
    np.save(tmp_path / "rgb.npy", rgb)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    subprocess.run(
        [sys.executable, "-P", "-c", LOAD_IN_A_FRESH_PROCESS, "hub", "values.npy", "rgb.npy"],
        cwd=tmp_path,
        check=True,
        timeout=300,
    )
    np.testing.assert_array_equal(np.load(tmp_path / "values.npy"), standardize(rgb)[None])
