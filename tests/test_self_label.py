"""Self-labelling: which pictures are labelled, and that unsure grains are left unknown."""

import cv2
import numpy as np
import pytest

from grain_model.analysis import GrainAnalysis
from grain_model.micrograph import read_micrograph
from train import self_label
from train.cli import main
from train.datasets import load_instances
from train.labelled import LabelledDataError
from train.self_label import label_micrographs


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
    options = ["--data", str(data), "--source", source, "--device", "cpu"]
    assert main(["self-label", "--model", str(tmp_path / "model"), "--out", str(tmp_path / "out"), *options]) == 0
    for part in ("images", "instances"):
        assert sorted(p.stem for p in (tmp_path / "out" / part).iterdir()) == expected


def test_a_tile_without_a_picture_is_named(data, tiny_model, tmp_path):
    tiny_model.save_pretrained(tmp_path / "model")
    (data / "316l" / "images" / "c.png").unlink()
    with pytest.raises(LabelledDataError, match="'c'"):
        label_micrographs(tmp_path / "model", data, "316l", tmp_path / "out")


def test_what_cannot_be_labelled_or_written_is_told(data, tmp_path, capsys):
    arguments = ["self-label", "--model", "embedded", "--data", str(data), "--source", "steel-optical"]
    (tmp_path / "taken").touch()
    assert main([*arguments, "--out", str(tmp_path / "taken")]) == 2
    assert "taken is a file" in capsys.readouterr().err
    (data / "steel-optical" / "images" / "SUS304_200_2.png").unlink()
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 1
    assert "held out" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_unsure_grains_are_unknown_and_drawn_lines_are_no_gaps(data, tiny_model, tmp_path, monkeypatch):
    tiny_model.save_pretrained(tmp_path / "model")
    labels = np.zeros((40, 56), np.int32)
    labels[:, :20], labels[:, 21:35], labels[:, 45:] = 1, 2, 3

    def count(path, model, boundary_sensitivity):
        assert model.device.type == "cpu" and boundary_sensitivity == 0.25
        confidence = np.array([0.9, 0.8, 0.2], np.float32)
        return GrainAnalysis(read_micrograph(path), labels, confidence, np.zeros((3, 40, 56), np.float32))

    monkeypatch.setattr(self_label, "count_grains", count)
    out = tmp_path / "out"
    label_micrographs(tmp_path / "model", data, "steel-optical", out, boundary_sensitivity=0.25, device="cpu")
    (micrograph,) = load_instances(out)
    assert set(micrograph.labels[:, 20]) <= {1, 2}, "the line between two grains"
    assert not micrograph.labels[:, 37:43].any(), "the gap"
    assert (micrograph.labels[:, 45:] == -1).all() and (micrograph.labels[:, :20] == 1).all()
    original = cv2.imread(str(data / "steel-optical" / "images" / "SUS304_200_2.png"))[..., ::-1]
    assert np.array_equal(micrograph.image, original)
