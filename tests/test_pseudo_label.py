"""The pipeline of pseudo labels on drawn micrographs, and its command."""

import csv
import errno
import os

import cv2
import numpy as np
import pytest

from tests.drawn import squares
from train import pseudo_label
from train.cli import main
from train.pseudo_label import PseudoLabelSettings, count_components, pseudo_label_steps

STEPS = ["grey", "clahe", "blur", "threshold", "closing", "dilation", "opening", "mask"]


def draw_bright_squares(columns: int = 4, rows: int = 3, dark_line: int = 12) -> np.ndarray:
    """Grey micrograph, uint8, of bright square grains 40 px wide between dark lines, with a little noise."""
    grey = np.where(squares(rows, columns, gap=dark_line) > 0, 190, 60)
    noise = np.random.default_rng(0).normal(0, 3, grey.shape)
    return np.clip(grey + noise, 0, 255).astype(np.uint8)


def run_command(*arguments) -> int:
    return main(["pseudo-label", *map(str, arguments)])


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "micrographs"
    folder.mkdir()
    cv2.imwrite(str(folder / "twelve.png"), draw_bright_squares())
    cv2.imwrite(str(folder / "six.png"), draw_bright_squares(columns=3, rows=2))
    return folder


@pytest.mark.parametrize("threshold", ["otsu", "adaptive"])
def test_counts_drawn_grains(threshold):
    steps = pseudo_label_steps(draw_bright_squares(), PseudoLabelSettings(threshold=threshold))
    assert list(steps) == STEPS
    assert count_components(steps["mask"]) == 12
    assert set(np.unique(steps["mask"])) == {0, 255}


def test_adaptive_threshold_stands_uneven_light_that_otsu_does_not():
    grey = draw_bright_squares(columns=8, rows=6)
    light = np.linspace(0.25, 1.0, grey.shape[1])[None, :]
    shaded = (grey * light).astype(np.uint8)
    counts = {
        threshold: count_components(
            pseudo_label_steps(shaded, PseudoLabelSettings(threshold=threshold, clip_limit=0.01))["mask"]
        )
        for threshold in ("otsu", "adaptive")
    }
    assert counts["adaptive"] == 48
    assert counts["otsu"] < 40


def test_dark_grains_need_their_setting():
    inverted = 255 - draw_bright_squares()
    assert count_components(pseudo_label_steps(inverted, PseudoLabelSettings(dark_grains=True))["mask"]) == 12
    assert count_components(pseudo_label_steps(inverted, PseudoLabelSettings())["mask"]) == 1


def test_components_under_the_smallest_area_are_removed():
    grey = draw_bright_squares(dark_line=30)
    grey[:9, :9] = 190
    kept = pseudo_label_steps(grey, PseudoLabelSettings(min_area=10))["mask"]
    removed = pseudo_label_steps(grey, PseudoLabelSettings(min_area=200))["mask"]
    assert count_components(kept) == 13
    assert count_components(removed) == 12


def test_closing_fills_pits_and_opening_removes_specks():
    grey = draw_bright_squares(dark_line=20)
    grey[30:33, 30:33] = 60
    grey[50:53, 8:11] = 190
    settings = PseudoLabelSettings(blur=3, closing=7, dilation=1, opening=7, min_area=0)
    steps = pseudo_label_steps(grey, settings)
    assert steps["threshold"][31, 31] == 0
    assert steps["closing"][31, 31] == 255
    assert steps["dilation"][51, 9] == 255
    assert steps["opening"][51, 9] == 0


def test_command_writes_masks_and_counts(folder, tmp_path):
    assert run_command(folder, "--out", tmp_path / "out") == 0
    with (tmp_path / "out" / "counts.csv").open() as file:
        counts = {row["file"]: row for row in csv.DictReader(file)}
    assert {name: int(row["components"]) for name, row in counts.items()} == {"twelve.png": 12, "six.png": 6}
    mask = cv2.imread(str(tmp_path / "out" / "masks" / "six.png"), cv2.IMREAD_UNCHANGED)
    assert mask.shape == (2 * 52, 3 * 52)
    assert float(counts["six.png"]["grain_fraction"]) == pytest.approx((mask == 255).mean(), abs=1e-4)
    assert not (tmp_path / "out" / "steps").exists()


def test_command_writes_each_step_on_request(folder, tmp_path):
    assert run_command(folder, "--out", tmp_path / "out", "--steps") == 0
    names = sorted(path.name for path in (tmp_path / "out" / "steps" / "six").iterdir())
    assert names == [f"{number}_{step}.png" for number, step in enumerate(STEPS)]


def test_command_gives_the_same_masks_twice(folder, tmp_path):
    for out in ("first", "second"):
        run_command(folder, "--out", tmp_path / out)
    first, second = ((tmp_path / out / "masks" / "six.png").read_bytes() for out in ("first", "second"))
    assert first == second


def test_bad_files_are_named_and_skipped(folder, tmp_path, capsys):
    (folder / "broken.png").write_bytes(b"this is no picture")
    (folder / "notes.txt").write_text("no picture either, and none is expected")
    assert run_command(folder, "--out", tmp_path / "out") == 1
    complaint = capsys.readouterr().err
    assert "broken.png" in complaint
    assert "notes.txt" not in complaint
    assert sorted(path.name for path in (tmp_path / "out" / "masks").iterdir()) == ["six.png", "twelve.png"]


def test_files_that_share_a_stem_keep_apart(folder, tmp_path):
    cv2.imwrite(str(folder / "six.bmp"), draw_bright_squares(columns=1, rows=1))
    assert run_command(folder, "--out", tmp_path / "out") == 0
    names = sorted(path.name for path in (tmp_path / "out" / "masks").iterdir())
    assert names == ["six.bmp.png", "six.png.png", "twelve.png"]


def test_folder_without_images_is_an_error(tmp_path, capsys):
    assert run_command(tmp_path, "--out", tmp_path / "out") == 1
    assert "has no image" in capsys.readouterr().err
    assert run_command(tmp_path / "nowhere", "--out", tmp_path / "out") == 1
    assert "is no folder" in capsys.readouterr().err


def test_a_used_folder_or_a_file_is_not_written_to(folder, tmp_path, capsys):
    assert run_command(folder, "--out", tmp_path / "out") == 0
    assert run_command(folder, "--out", tmp_path / "out") == 2
    assert "masks holds files already" in capsys.readouterr().err
    assert run_command(folder, "--out", tmp_path / "out" / "counts.csv") == 2
    assert "counts.csv is a file" in capsys.readouterr().err


def test_a_full_disk_is_told_in_one_line(folder, tmp_path, monkeypatch, capsys):
    def write_png(path, picture):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pseudo_label, "write_png", write_png)
    assert run_command(folder, "--out", tmp_path / "out") == 1
    assert f"error: [Errno {errno.ENOSPC}] No space left on device. Files" in capsys.readouterr().err


@pytest.mark.parametrize(
    "setting",
    [("--blur", "4"), ("--window", "1"), ("--closing", "0"), ("--closing", "100000"), ("--threshold", "magic")],
)
def test_wrong_usage_exits_with_2(folder, tmp_path, setting):
    with pytest.raises(SystemExit) as stopped:
        run_command(folder, "--out", tmp_path / "out", *setting)
    assert stopped.value.code == 2
