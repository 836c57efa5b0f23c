"""Self-labelling: which pictures are labelled, and that unsure grains are left unknown."""

import cv2
import numpy as np
import pytest
import torch

from train import self_label
from train.cli import main
from train.datasets import load_instances
from train.self_label import label_micrographs, turned_mean


@pytest.fixture
def data(tmp_path):
    """Folders like the real ones, with pictures that may and may not be trained on."""
    rng = np.random.default_rng(0)
    for source, stems in (("316l", ["a", "b", "c"]), ("steel-optical", ["SUS304_200_1", "SUS304_200_2"])):
        (tmp_path / source / "images").mkdir(parents=True)
        for stem in stems:
            cv2.imwrite(str(tmp_path / source / "images" / f"{stem}.png"), rng.integers(0, 256, (40, 56, 3), np.uint8))
    (tmp_path / "316l" / "split.csv").write_text("tile,micrograph,seed_split\na,A,train\nb,B,test\nc,C,val\n")
    return tmp_path


@pytest.mark.parametrize("source, expected", [("316l", ["a", "c"]), ("steel-optical", ["SUS304_200_2"])])
def test_test_tiles_and_validation_pictures_stay_out(source, expected, data, tiny_model, tmp_path):
    tiny_model.save_pretrained(tmp_path / "model")
    options = ["--data", str(data), "--source", source, "--views", "1", "--device", "cpu"]
    assert main(["self-label", "--model", str(tmp_path / "model"), "--out", str(tmp_path / "out"), *options]) == 0
    for part in ("images", "instances"):
        assert sorted(p.stem for p in (tmp_path / "out" / part).iterdir()) == expected


def test_unsure_grains_are_unknown(data, tiny_model, tmp_path, monkeypatch):
    tiny_model.save_pretrained(tmp_path / "model")
    regions = np.zeros((40, 56), np.int32)
    regions[:, :20], regions[:, 30:] = 1, 2
    monkeypatch.setattr(self_label, "grain_regions", lambda maps, boundary_sensitivity: regions)
    monkeypatch.setattr(self_label, "grain_confidence", lambda regions, maps: np.array([0.9, 0.2]))
    label_micrographs(tmp_path / "model", data, "steel-optical", tmp_path / "out", views=1, device="cpu")
    (micrograph,) = load_instances(tmp_path / "out")
    assert np.array_equal(micrograph.labels, np.where(regions == 2, -1, regions))
    original = cv2.imread(str(data / "steel-optical" / "images" / "SUS304_200_2.png"))[..., ::-1]
    assert np.array_equal(micrograph.image, original)


def test_views_are_turned_back_before_they_are_averaged():
    class Brightness(torch.nn.Module):
        device = torch.device("cpu")

        def forward(self, pixels):
            return type("Output", (), {"logits": pixels})

    image = np.random.default_rng(0).standard_normal((3, 30, 44)).astype(np.float32)
    expected = 1 / (1 + np.exp(-image))
    for views in (1, 2, 4, 8):
        assert np.allclose(turned_mean(Brightness(), image, views), expected, atol=1e-6)
