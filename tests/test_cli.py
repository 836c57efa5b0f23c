"""The command line: what it prints, writes and returns."""

import csv
import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from grain_model import analysis as analysis_module
from grain_model import batch as batch_module
from grain_model import count_grains, result_folder
from grain_model import report as report_module
from grain_model.cli import main
from grain_model.failures import attempt
from grain_model.grain_size_result import RULES
from grain_model.image_listing import images_of_paths, name_folders, pictures_below
from grain_model.report_content import compose_field
from tests.drawn import draw_grid, predict_drawn, write_grid

ROOT = Path(__file__).parents[1]
BATCH_FILES = {"summary.csv", "summary.json", "grain_size.csv"}
RESULT_FILES = {"mask.png", "overlay.png", "labels.tif", "grains.csv", "summary.json"}


@pytest.fixture
def model(sees_drawings, tiny_model, tmp_path_factory) -> list[str]:
    """Arguments that name a model which sees the drawings."""
    folder = tmp_path_factory.mktemp("model")
    tiny_model.save_pretrained(folder)
    return ["--model", str(folder)]


def read_rows(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((out / "summary.csv").read_text(encoding="utf-8").splitlines()))


def test_counts_one_image(model, tmp_path, capsys):
    path = write_grid(tmp_path / "steel.png", 3, 4)
    assert main(["count", str(path), *model]) == 0
    assert capsys.readouterr().out == f"{path}: 12 grains\n"


def test_scale_adds_the_grain_size(model, tmp_path, capsys):
    path = write_grid(tmp_path / "steel.png", 3, 4)
    assert main(["count", str(path), "--um-per-pixel", "0.5", *model]) == 0
    assert ": 12 grains, G " in capsys.readouterr().out


def test_out_gets_a_folder_for_each_image_and_one_table(model, tmp_path, capsys):
    write_grid(tmp_path / "in" / "a.png", 2, 2)
    write_grid(tmp_path / "in" / "below" / "b.tif", 2, 3)
    out = tmp_path / "out"
    assert main(["count", str(tmp_path / "in"), "--out", str(out), "--um-per-pixel", "0.5", *model]) == 0
    assert {path.name for path in out.iterdir()} == {"a.png", "b.tif", *BATCH_FILES}
    for folder in (out / "a.png", out / "b.tif"):
        assert {path.name for path in folder.iterdir()} == RESULT_FILES
    rows = read_rows(out)
    assert [(Path(row["file"]).name, int(row["count"]), float(row["um_per_pixel"])) for row in rows] == [
        ("a.png", 4, 0.5),
        ("b.tif", 6, 0.5),
    ]
    assert json.loads((out / "b.tif" / "summary.json").read_text())["count"] == 6


def test_one_table_holds_the_grain_size_by_every_rule_of_each_image_and_of_their_mean(model, tmp_path):
    for name, columns in (("a.png", 4), ("b.png", 6)):
        write_grid(tmp_path / "in" / name, 6, columns)
    out = tmp_path / "out"
    assert main(["count", str(tmp_path / "in"), "--out", str(out), "--um-per-pixel", "0.5", *model]) == 0
    sizes = pd.read_csv(out / "grain_size.csv")
    assert len(sizes) == 3 * len(RULES) and list(sizes["rule"]) == 3 * list(RULES)
    assert [Path(file).name for file in sizes["file"].unique()] == ["a.png", "b.png", "mean of 2 fields"]
    mean = json.loads((out / "summary.json").read_text())["mean"]["grain_size"]
    for row in sizes.tail(len(RULES)).to_dict("records"):
        result = mean[row["rule"]]
        ends = [row[f"{name}_{end}"] for name in ("value", "G") for end in ("low", "high")]
        assert (row["value"], row["G"]) == pytest.approx((result["value"], result["G"]))
        assert ends == pytest.approx(
            [*(result["interval"] or [np.nan] * 2), *(result["ci95"] or [np.nan] * 2)], nan_ok=True
        )
    rows, saltykov = read_rows(out), sizes[sizes["rule"] == "saltykov"]
    assert [float(row["G_low"]) for row in rows] == pytest.approx(list(saltykov["G_low"][:2]))


def test_no_name_is_a_formula_in_a_table(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_grid(tmp_path / "=1+1.png", 2, 2)
    assert main(["count", "=1+1.png", "--out", "out", *model]) == 0
    for name in ("summary.csv", "grain_size.csv"):
        assert pd.read_csv(Path("out") / name)["file"][0] == "./=1+1.png"


def test_a_text_file_beside_its_picture_is_no_failure(model, tmp_path, capsys):
    pictures = [write_grid(tmp_path / "a.png", 2, 2), write_grid(tmp_path / "B.PNG", 2, 3)]
    for name in ("a.txt", "B.TXT", "notes.txt"):
        (tmp_path / name).write_text("$CM_FORMAT JEOL-SEM")
    assert main(["count", *map(str, sorted(tmp_path.iterdir())), *model]) == 1
    printed = capsys.readouterr()
    assert all(f"{picture}: " in printed.out for picture in pictures)
    assert "notes.txt" in printed.err and "a.txt" not in printed.err and "B.TXT" not in printed.err
    # Named without its picture, it was meant to be one.
    assert main(["count", str(tmp_path / "a.txt"), *model]) == 1
    assert "a.txt" in capsys.readouterr().err


def test_several_images_give_their_mean_as_fields(model, tmp_path, capsys):
    for columns in (5, 6, 7):
        write_grid(tmp_path / "in" / f"{columns}.png", 5, columns)
    out = tmp_path / "out"
    assert main(["count", str(tmp_path / "in"), "--out", str(out), "--um-per-pixel", "0.5", *model]) == 0
    document = json.loads((out / "summary.json").read_text())
    fields = [result["grain_size"]["saltykov"]["value"] for result in document["results"]]
    mean = document["mean"]["grain_size"]["saltykov"]
    assert mean["value"] == pytest.approx(sum(fields) / 3) and document["mean"]["n_fields"] == 3
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 4
    low, high = mean["ci95"]
    assert printed[-1] == (
        f"mean of 3 fields: G {mean['G']:.2f} (Saltykov), 95 % interval {low:.2f} to {high:.2f}, "
        f"%RA {mean['relative_accuracy_percent']:.1f}"
    )


def test_same_names_do_not_overwrite_each_other(model, tmp_path):
    first = write_grid(tmp_path / "a" / "field.png", 2, 2)
    second = write_grid(tmp_path / "b" / "field.png", 3, 3)
    out = tmp_path / "out"
    assert main(["count", str(first), str(second), "--out", str(out), *model]) == 0
    rows = read_rows(out)
    assert [int(row["count"]) for row in rows] == [4, 9]
    assert [json.loads((Path(row["folder"]) / "summary.json").read_text())["count"] for row in rows] == [4, 9]


def test_names_of_folders_differ_whatever_the_case():
    names = name_folders(["x.png", "X.PNG", "x.png", "x.png-2"])
    assert len({name.casefold() for name in names}) == 4 and names[0] == "x.png"


def test_one_bad_file_is_named_and_the_rest_is_counted(model, tmp_path, capsys):
    write_grid(tmp_path / "a.png", 2, 2)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG no more")
    write_grid(tmp_path / "c.png", 2, 3)
    assert main(["count", str(tmp_path), "--out", str(tmp_path / "out"), *model]) == 1
    printed = capsys.readouterr()
    assert "a.png: 4 grains" in printed.out and "c.png: 6 grains" in printed.out
    assert "broken.png" in printed.err and "Traceback" not in printed.err
    assert not (tmp_path / "out" / "broken.png").exists()


def test_a_fault_in_one_file_does_not_end_the_batch(model, tmp_path, capsys, monkeypatch):
    def fail_on_wide(network, image, **options):
        if image.shape[2] > 150:
            raise RuntimeError("out of memory")
        return predict_drawn(network, image)

    monkeypatch.setattr(analysis_module, "predict_at_canonical_scale", fail_on_wide)
    write_grid(tmp_path / "a.png", 2, 2)
    write_grid(tmp_path / "wide.png", 2, 9)
    assert main(["count", str(tmp_path), *model]) == 1
    printed = capsys.readouterr()
    assert "a.png: 4 grains" in printed.out
    assert "wide.png: RuntimeError: out of memory" in printed.err


def test_what_is_doubtful_is_told_on_stderr(model, tmp_path, capsys):
    write_grid(tmp_path / "a.png", 2, 2)
    assert main(["count", str(tmp_path / "a.png"), *model]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{tmp_path / 'a.png'}: 4 grains\n"
    assert f"{tmp_path / 'a.png'}: Only 1 grain in the field" in printed.err


@pytest.mark.skipif(sys.platform != "linux", reason="only there may names be any bytes")
def test_names_that_are_no_utf_8_are_written_all_the_same(model, tmp_path, capsys):
    folder = os.fsencode(tmp_path / "in")
    write_grid(tmp_path / "in" / "a.png", 2, 2)
    good, bad = os.path.join(folder, b"k\xf6rn.png"), os.path.join(folder, b"k\xf6rper.png")
    shutil.copy(os.path.join(folder, b"a.png"), good)
    Path(os.fsdecode(bad)).write_bytes(b"no picture")
    assert main(["count", str(tmp_path / "in"), "--out", str(tmp_path / "out"), *model]) == 1
    assert [Path(row["file"]).name for row in read_rows(tmp_path / "out")] == [
        "a.png",
        r"k\xf6rn.png",
        r"k\xf6rper.png",
    ]
    assert r"k\xf6rper.png is no image" in capsys.readouterr().err
    assert json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))["results"][1]["count"] == 4


@pytest.fixture
def interrupted(tmp_path, monkeypatch):
    """A folder of a.png to d.png; Ctrl-C is pressed at c.png."""

    def interrupt_at_c(name, action):
        if Path(name).name == "c.png":
            raise KeyboardInterrupt
        return attempt(name, action)

    monkeypatch.setattr("grain_model.batch.attempt", interrupt_at_c)
    for name in "abcd":
        write_grid(tmp_path / "in" / f"{name}.png", 2, 2)
    return tmp_path / "in"


def test_what_was_counted_before_an_interrupt_is_summed_up(interrupted, model, tmp_path, capsys):
    assert main(["count", str(interrupted), "--out", str(tmp_path / "out"), *model]) == 130
    rows = read_rows(tmp_path / "out")
    assert [(Path(row["file"]).name, bool(row["error"])) for row in rows] == [
        ("a.png", False),
        ("b.png", False),
        ("c.png", True),
        ("d.png", True),
    ]
    assert "was ended before that" in rows[-1]["error"]
    printed = capsys.readouterr().err
    assert "Interrupted after 2 of 4 images" in printed and "was ended" not in printed


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows ends programs in another way")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_what_ends_a_program_ends_it_as_ctrl_c_does(model, tmp_path, monkeypatch, name, heeds_signals):
    images = [str(write_grid(tmp_path / f"{letter}.png", 2, 2)) for letter in "abc"]
    read = batch_module.read_micrograph

    def read_first(path, *given, **options):
        if path.name == "b.png":
            signal.raise_signal(getattr(signal, name))
        return read(path, *given, **options)

    monkeypatch.setattr(batch_module, "read_micrograph", read_first)
    assert main(["count", *images, "--out", str(tmp_path / "out"), *model]) == 130
    assert [bool(row["error"]) for row in read_rows(tmp_path / "out")] == [False, True, True]
    assert signal.getsignal(getattr(signal, name)) is signal.SIG_DFL


def test_a_report_that_cannot_be_finished_leaves_the_old_one(model, tmp_path, monkeypatch, capsys):
    def fail(report, path):
        Path(path).write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(report_module.WRITERS, ".html", fail)
    old = tmp_path / "report.html"
    old.write_text("old")
    assert main(["report", str(write_grid(tmp_path / "a.png", 2, 2)), "--out", str(old), *model]) == 1
    assert old.read_text() == "old" and {path.name for path in tmp_path.iterdir()} == {"report.html", "a.png"}
    assert "report.html cannot be written: No space left on device. Room on the disk" in capsys.readouterr().err


def test_what_is_left_out_of_a_folder_is_told(model, tmp_path, capsys):
    write_grid(tmp_path / "in" / "a.png", 2, 2)
    write_grid(tmp_path / "store" / "b.png", 2, 3)
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "store")
    (tmp_path / "in" / "back").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "gone.tif").symlink_to("nowhere.tif")
    (tmp_path / "in" / "round.tif").symlink_to("round.tif")
    os.mkfifo(tmp_path / "in" / "pipe.png")
    assert main(["count", str(tmp_path / "in"), "x" * 300 + ".tif", "--quiet", *model]) == 1
    printed = capsys.readouterr()
    assert printed.out.count("grains") == 2 and "linked" in printed.out
    assert "gone.tif: There is no file" in printed.err
    assert "round.tif" in printed.err and "xxx" in printed.err


def test_pictures_beside_results_are_counted_and_the_results_are_not(model, tmp_path, capsys):
    folder = tmp_path / "pictures"
    image = write_grid(folder / "steel.png", 3, 4)
    count_grains(image, model=model[1]).save(folder)
    assert pictures_below(folder)[0] == [image]
    assert main(["count", *map(str, sorted(folder.glob("*.png"))), "--quiet", *model]) == 1
    printed = capsys.readouterr()
    assert printed.out.count("grains") == 1 and "mask.png: An earlier run wrote this" in printed.err
    # Where the disk was full, or the run was ended.
    write_grid(tmp_path / "out" / "steel.png" / "mask.png", 2, 2)
    assert pictures_below(tmp_path / "out")[0] == []


def test_results_of_another_picture_of_the_name_are_not_replaced_without_a_word(model, tmp_path, capsys):
    out = ["--out", str(tmp_path / "out"), "--quiet", *model]
    for day, columns in (("monday", 3), ("tuesday", 4)):
        image = write_grid(tmp_path / day / "1.png", 2, columns)
        assert main(["count", str(image), *out]) == 0
        assert ("held the results of another picture" in capsys.readouterr().err) == (day == "tuesday")
    assert main(["count", str(image), *out]) == 0
    assert "another picture" not in capsys.readouterr().err


def test_the_home_folder_is_found_and_names_may_begin_like_it(model, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    image = write_grid(tmp_path / "~steel.png", 2, 2)
    assert main(["count", image.name, "--out=~/results", *model]) == 0
    assert results(tmp_path / "home" / "results" / "~steel.png") == RESULT_FILES
    assert not (tmp_path / "~").exists()
    write_grid(tmp_path / "home" / "steel.png", 2, 2)
    analysis = count_grains("~/steel.png", model=model[1])
    analysis.save("~/saved")
    assert results(tmp_path / "home" / "saved") == RESULT_FILES and analysis.micrograph.sha256


@pytest.mark.parametrize("command", ["count", "export", "report"])
def test_no_network_is_loaded_for_a_folder_without_images(tmp_path, monkeypatch, capsys, command):
    # In this order, as the latter takes the function from the former when it is first imported.
    for module in ("report_command", "batch"):
        monkeypatch.setattr(f"grain_model.{module}.make_counter", lambda options: pytest.fail("loaded"))
    (tmp_path / "in").mkdir()
    out = {"report": "report.html"}.get(command, "out")
    assert main([command, str(tmp_path / "in"), "--out", str(tmp_path / out)]) == 1
    assert "There is no image in this folder" in capsys.readouterr().err


def test_lists_of_others_are_not_replaced(model, tmp_path, capsys):
    image, out = str(write_grid(tmp_path / "a.png", 2, 2)), tmp_path / "out"
    out.mkdir()
    (out / "export.csv").write_text("mine")
    assert main(["export", image, "--formats", "csv", "--out", str(out), *model]) == 2
    assert "holds export.csv, which is not of this program" in capsys.readouterr().err
    assert main(["count", image, "--out", str(out), *model]) == 0
    # As a spreadsheet writes it.
    table = out / "summary.csv"
    table.write_text(table.read_text(encoding="utf-8"), encoding="utf-8-sig")
    assert main(["count", image, "--out", str(out), *model]) == 0
    assert (out / "export.csv").read_text() == "mine"


def test_an_interrupt_before_the_first_image_leaves_the_summary_of_an_earlier_run(model, tmp_path, monkeypatch):
    arguments = ["count", str(write_grid(tmp_path / "a.png", 2, 2)), "--out", str(tmp_path / "out"), *model]
    assert main(arguments) == 0
    monkeypatch.setattr("grain_model.batch.make_counter", MagicMock(side_effect=KeyboardInterrupt))
    assert main(arguments) == 130
    assert len(read_rows(tmp_path / "out")) == 1


def test_an_interrupt_after_a_bad_file_whose_results_went_names_that_file(model, tmp_path, monkeypatch, capsys):
    images, out = [write_grid(tmp_path / name, 2, 2) for name in ("a.png", "b.png")], tmp_path / "out"
    arguments = ["count", *map(str, images), "--out", str(out), *model]
    assert main(arguments) == 0
    images[0].write_bytes(images[0].read_bytes()[:50])
    read = batch_module.read_micrograph

    def read_first(path, *given, **options):
        if path.name == "b.png":
            raise KeyboardInterrupt
        return read(path, *given, **options)

    monkeypatch.setattr(batch_module, "read_micrograph", read_first)
    assert main(arguments) == 130
    assert [Path(row["file"]).name for row in read_rows(out)] == ["a.png", "b.png"]


def test_what_was_counted_before_an_interrupt_is_reported_and_exported(interrupted, model, tmp_path, capsys):
    report = tmp_path / "report.html"
    given = ["--um-per-pixel", "0.5", *model]
    assert main(["report", str(interrupted), "--out", str(report), *given]) == 130
    written = report.read_text(encoding="utf-8")
    assert "2: a.png, b.png" in written and "d.png: It was not counted" in written
    assert "Interrupted after 2 of 4 images" in capsys.readouterr().err
    assert main(["export", str(interrupted), "--out", str(tmp_path / "out"), "--formats", "csv", *given]) == 130
    assert {path.name for path in (tmp_path / "out").iterdir() if path.is_dir()} == {"a.png", "b.png"}


def test_a_report_of_images_with_and_without_scale_is_refused_before_any_is_counted(
    model, tmp_path, capsys, monkeypatch
):
    write_grid(tmp_path / "in" / "a.png", 2, 2)
    scaled = Image.open(write_grid(tmp_path / "in" / "b.png", 2, 2))
    scaled.save(tmp_path / "in" / "b.tif", dpi=(50_800, 50_800))
    (tmp_path / "in" / "b.png").unlink()
    monkeypatch.setattr("grain_model.report_command.make_counter", lambda options: pytest.fail("counted"))
    assert main(["report", str(tmp_path / "in"), "--out", str(tmp_path / "report.pdf"), *model]) == 2
    printed = capsys.readouterr().err
    assert "have no scale and the others have one" in printed and "a.png" in printed and "b.tif" not in printed


def test_a_field_that_cannot_be_drawn_ends_no_report(model, tmp_path, capsys, monkeypatch):
    def fail_at_a(analysis, name):
        if name == "a.png":
            raise MemoryError("too large to draw")
        return compose_field(analysis, name)

    monkeypatch.setattr("grain_model.report_command.compose_field", fail_at_a)
    for name in "ab":
        write_grid(tmp_path / "in" / f"{name}.png", 2, 2)
    report = tmp_path / "report.html"
    assert main(["report", str(tmp_path / "in"), "--out", str(report), *model]) == 1
    assert "1: b.png" in report.read_text(encoding="utf-8")
    assert "a.png: MemoryError: too large to draw" in capsys.readouterr().err


def test_pictures_of_one_name_are_told_apart_in_a_report(model, tmp_path, capsys):
    write_grid(tmp_path / "first" / "a.png", 2, 2)
    write_grid(tmp_path / "second" / "a.png", 2, 3)
    write_grid(tmp_path / "second" / "b.png", 3, 3)
    bad = [write_grid(tmp_path / "third" / name, 2, 2) for name in ("a.png", "c.png")]
    for path in bad:
        path.write_bytes(b"no image")
    report = tmp_path / "new" / "report.html"
    folders = [tmp_path / name for name in ("first", "second", "third")]
    assert main(["report", *map(str, folders), "--out", str(report), *model]) == 1
    page, printed = report.read_text(encoding="utf-8"), capsys.readouterr()
    assert f"<td>3: {folders[0] / 'a.png'}, {folders[1] / 'a.png'}, b.png</td>" in page
    (left_out,) = re.findall("<th>Left out</th><td>(.*?)</td>", page)
    assert [entry.split(": ")[0] for entry in left_out.split("; ")] == [str(bad[0]), "c.png"]
    assert printed.out == f"{report}\n" and all(f"{path}: " in printed.err for path in bad)


@pytest.mark.parametrize("out, why", [("folder.html", "is a folder"), ("a.png/report.html", "cannot be written")])
def test_a_report_that_cannot_be_written_is_refused_before_the_count(tmp_path, capsys, monkeypatch, out, why):
    path = write_grid(tmp_path / "a.png", 2, 2)
    (tmp_path / "folder.html").mkdir()
    monkeypatch.setattr("grain_model.report_command.make_counter", lambda options: pytest.fail("counted"))
    assert main(["report", str(path), "--out", str(tmp_path / out)]) == 2
    assert why in capsys.readouterr().err


def test_files_that_failed_are_in_the_summary_even_where_all_did(model, tmp_path):
    (tmp_path / "in").mkdir()
    write_grid(tmp_path / "in" / "a.png", 2, 2)
    out = tmp_path / "out"
    assert main(["count", str(tmp_path / "in"), "--out", str(out), *model]) == 0
    (tmp_path / "in" / "a.png").write_bytes(b"")
    assert main(["count", str(tmp_path / "in"), "--out", str(out), *model]) == 1
    (row,) = read_rows(out)
    assert row["file"].endswith("a.png") and row["count"] == "" and "is empty" in row["error"]
    document = json.loads((out / "summary.json").read_text())
    assert document["results"] == [] and len(document["failed"]) == 1


@pytest.mark.parametrize("command", ["count", "export"])
def test_results_do_not_go_where_the_images_lie(model, tmp_path, capsys, command):
    write_grid(tmp_path / "a.png", 2, 2)
    assert main([command, str(tmp_path), "--out", str(tmp_path), *model]) == 2
    assert "holds a file 'a.png'" in capsys.readouterr().err


def test_a_summary_that_is_open_elsewhere_loses_nothing_else(model, tmp_path, capsys):
    write_grid(tmp_path / "a.png", 2, 2)
    (tmp_path / "out" / "summary.csv").mkdir(parents=True)
    assert main(["count", str(tmp_path / "a.png"), "--json", "--out", str(tmp_path / "out"), *model]) == 1
    printed = capsys.readouterr()
    written = (tmp_path / "out" / "summary.json").read_text()
    assert [json.loads(document)["results"][0]["count"] for document in (printed.out, written)] == [4, 4]
    assert "summary.csv: It cannot be written" in printed.err


def test_a_result_that_is_open_elsewhere_is_told_and_mixes_no_runs(model, tmp_path, capsys):
    write_grid(tmp_path / "a.png", 2, 2)
    arguments = ["count", str(tmp_path / "a.png"), "--out", str(tmp_path / "out"), *model]
    assert main(arguments) == 0
    results = tmp_path / "out" / "a.png"
    (results / "grains.csv").unlink()
    (results / "grains.csv").mkdir()
    write_grid(tmp_path / "a.png", 3, 3)
    assert main(arguments) == 1
    told = capsys.readouterr().err
    assert "A file cannot be read or written" in told and "grains.csv" in told and "Close them" in told
    assert not (results / "summary.json").exists()


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_names_that_the_pipes_encoding_lacks_end_nothing(model, tmp_path, options):
    for name in ("\N{CJK UNIFIED IDEOGRAPH-6676}\N{SNOWMAN}.png", "b.png"):
        write_grid(tmp_path / "in" / name, 2, 2)
    command = [sys.executable, "-m", "grain_model", "count", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    run = subprocess.run([*command, *options], capture_output=True, timeout=300, env=environment)
    assert run.returncode == 0, run.stderr
    assert len(read_rows(tmp_path / "out")) == 2
    printed = run.stdout.decode("cp1252")
    if options:
        assert "\N{SNOWMAN}" in json.loads(printed)["results"][1]["file"]
    else:
        assert "\\u2603.png" in printed and "mean of 2 fields" in printed


def test_what_makes_the_mean_doubtful_is_told(model, tmp_path, capsys):
    for number, cells in enumerate((2, 3, 9)):
        write_grid(tmp_path / "in" / f"{number}.png", cells, cells)
    (tmp_path / "in" / "again.png").write_bytes((tmp_path / "in" / "0.png").read_bytes())
    out = tmp_path / "out"
    assert main(["count", str(tmp_path / "in"), "--um-per-pixel", "1", "--out", str(out), *model]) == 0
    told = capsys.readouterr().err
    assert "mean of 4 fields: relative accuracy" in told and "measure more fields" in told
    assert "0.png, " in told and "again.png are the same picture, and count as 2 fields" in told
    mean = json.loads((out / "summary.json").read_text())["mean"]["grain_size"]
    assert mean["saltykov"]["relative_accuracy_percent"] > 10 and "same picture" in mean["flags"][0]


def test_pictures_of_a_folder_that_cannot_be_read_are_named(model, tmp_path, capsys):
    write_grid(tmp_path / "a.png", 2, 2)
    write_grid(tmp_path / "c.png", 2, 2).rename(tmp_path / "c.PNG")
    for name in ("a.czi", "b.CZI", "c.nd2", ".hidden.czi", "notes.docx"):
        (tmp_path / name).write_bytes(b"x")
    assert main(["count", str(tmp_path), *model]) == 1
    told = capsys.readouterr().err
    assert "b.CZI: Pictures of this format cannot be read." in told
    assert "a.czi" not in told and "c.nd2" not in told and "hidden" not in told and "notes" not in told


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".dib", ".pnm", ".lsm"])
def test_a_folder_gives_pictures_under_their_rarer_endings(model, tmp_path, capsys, suffix):
    kind = {".dib": "DIB", ".pnm": "PPM", ".lsm": "TIFF"}.get(suffix, "JPEG")
    Image.fromarray(draw_grid(2, 3)).save(tmp_path / f"a{suffix}", kind)
    assert main(["count", str(tmp_path), *model]) == 0
    assert f"a{suffix}: 6 grains" in capsys.readouterr().out


def test_texts_beside_pictures_are_read_with_them(model, tmp_path, capsys):
    write_grid(tmp_path / "a.tif", 2, 2)
    (tmp_path / "a-tif.hdr").write_text("[MAIN]\nPixelSizeX=2.5e-007\nPixelSizeY=2.5e-007\n")
    (tmp_path / "b.hdr").write_text("of no picture")
    assert main(["count", *map(str, sorted(tmp_path.iterdir())), "--json", *model]) == 1
    document = json.loads(capsys.readouterr().out)
    assert [result["scale"]["source"] for result in document["results"]] == ["Tescan"]
    assert [Path(failed["file"]).name for failed in document["failed"]] == ["b.hdr"]


def test_a_full_disk_at_the_end_loses_nothing_else(model, tmp_path, capsys):
    write_grid(tmp_path / "a.png", 2, 2)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "summary.csv").symlink_to("/dev/full")
    assert main(["count", str(tmp_path / "a.png"), "--json", "--out", str(tmp_path / "out"), *model]) == 1
    printed = capsys.readouterr()
    assert json.loads(printed.out)["results"][0]["count"] == 4
    assert "It cannot be written: No space left on device" in printed.err and "make room on the disk" in printed.err


def test_a_page_of_a_stack_can_be_chosen(model, tmp_path, capsys):
    pages = [Image.fromarray(draw_grid(2, 3)), Image.fromarray(draw_grid(2, 2)).resize(draw_grid(2, 3).shape[::-1])]
    pages[1].save(tmp_path / "stack.tif", save_all=True, append_images=pages[:1])
    assert main(["count", str(tmp_path / "stack.tif"), "--page", "1", *model]) == 0
    assert "6 grains" in capsys.readouterr().out
    assert main(["count", str(tmp_path / "stack.tif"), "--page", "2", *model]) == 1
    assert "no page 2" in capsys.readouterr().err


def test_all_pages_of_a_stack_are_images_of_their_own(model, tmp_path, capsys):
    pages = [Image.fromarray(draw_grid(2, 3)), Image.fromarray(draw_grid(2, 2)).resize(draw_grid(2, 3).shape[::-1])]
    (tmp_path / "in").mkdir()
    pages[1].save(tmp_path / "in" / "stack.tif", save_all=True, append_images=pages[:1])
    write_grid(tmp_path / "in" / "single.png", 3, 3)
    (tmp_path / "in" / "broken.tif").write_bytes(b"II*\0")
    out = tmp_path / "out"
    arguments = ["--page", "all", "--um-per-pixel", "0.5", *model]
    assert main(["count", str(tmp_path / "in"), "--out", str(out), *arguments]) == 1
    rows = {Path(row["file"]).name: row for row in read_rows(out)}
    assert {name: row["count"] for name, row in rows.items()} == {
        "single.png": "9",
        "stack.tif": "4",
        "stack.tif, page 1": "6",
        "broken.tif": "",
    }
    assert "pages" not in rows["stack.tif"]["warnings"] and (out / "stack.tif-page1" / "labels.tif").exists()
    assert json.loads((out / "stack.tif-page1" / "summary.json").read_text())["name"] == "stack.tif, page 1"
    report = tmp_path / "report.html"
    assert main(["report", str(tmp_path / "in" / "stack.tif"), "--out", str(report), *arguments]) == 0
    assert "2: stack.tif, stack.tif, page 1" in report.read_text(encoding="utf-8")


def test_json_is_one_document_on_stdout(model, tmp_path, capsys):
    write_grid(tmp_path / "a.png", 2, 2)
    (tmp_path / "broken.png").write_bytes(b"")
    assert main(["count", str(tmp_path), "--json", *model]) == 1
    document = json.loads(capsys.readouterr().out)
    assert [(Path(result["file"]).name, result["count"]) for result in document["results"]] == [("a.png", 4)]
    assert [Path(failure["file"]).name for failure in document["failed"]] == ["broken.png"]
    assert document["failed"][0]["reason"]
    assert document["mean"]["n_fields"] == 1 and document["mean"]["grain_size"]["saltykov"]["G"] is None


def test_images_may_stand_between_options(model, tmp_path, capsys):
    first, second, third = (str(write_grid(tmp_path / f"{name}.png", 2, 2)) for name in "abc")
    assert main(["count", first, "--um-per-pixel", "0.5", second, *model, third]) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()[:3]] == [first, second, third]
    for wrong in (["--unknown", second], ["--um-per-pixel", "0.5", second, "--unknown"]):
        with pytest.raises(SystemExit) as stopped:
            main(["count", first, *wrong])
        told = capsys.readouterr().err
        assert stopped.value.code == 2 and "unrecognized arguments: --unknown" in told and "IMAGE_OR_FOLDER" in told


def test_a_line_break_in_a_name_breaks_no_line(model, tmp_path, capsys):
    good, bad = write_grid(tmp_path / "in" / "a\nb.png", 2, 2), tmp_path / "in" / "c\nd.png"
    bad.write_bytes(b"no picture")
    assert main(["count", str(tmp_path / "in"), "--quiet", *model]) == 1
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [f"{tmp_path / 'in'}/a\\nb.png: 4 grains"]
    assert all(line.startswith(str(tmp_path)) for line in printed.err.splitlines())
    bad.unlink()
    assert main(["count", str(good), "--json", *model]) == 0
    assert json.loads(capsys.readouterr().out)["results"][0]["file"] == str(good).replace("\n", r"\n")


def test_control_characters_in_a_name_reach_neither_terminal_nor_workbook(model, tmp_path, capsys):
    path = write_grid(tmp_path / "a\x1b[2J\x01.png", 2, 2)
    assert main(["export", str(path), "--out", str(tmp_path / "out"), "--formats", "xlsx,json", "--quiet", *model]) == 0
    assert "\x1b" not in "".join(capsys.readouterr())
    (folder,) = (tmp_path / "out").glob("a*")
    name = json.loads((folder / "grains.json").read_text())["name"]
    assert name == r"a\x1b[2J\x01.png"
    origin = pd.read_excel(folder / "grains.xlsx", sheet_name="origin").set_index("item")["value"]
    assert origin["name"] == name


def test_progress_goes_to_stderr_unless_quiet(model, tmp_path, capsys):
    path = str(write_grid(tmp_path / "a.png", 2, 2))
    main(["count", path, *model])
    assert "1/1" in capsys.readouterr().err
    main(["count", path, "--quiet", *model])
    assert "1/1" not in capsys.readouterr().err


def test_a_picture_read_in_tiles_has_a_bar_of_its_own(model, tmp_path, monkeypatch, capsys):
    def predict(network, image, *, progress, **options):
        for total in (4, 2):
            for done in range(1, total + 1):
                progress(done, total)
        return predict_drawn(network, image)

    monkeypatch.setattr(analysis_module, "predict_at_canonical_scale", predict)
    monkeypatch.setattr(batch_module, "SHOWN_AFTER", 0)
    path = str(write_grid(tmp_path / "a.png", 2, 2))
    assert main(["count", path, *model]) == 0
    printed = capsys.readouterr()
    assert "0/4" in printed.err and "0/2" in printed.err and printed.out.endswith("4 grains\n")
    assert main(["count", path, "--quiet", *model]) == 0
    assert "0/4" not in capsys.readouterr().err


def test_a_second_run_does_not_count_the_pictures_of_the_first(model, tmp_path, capsys):
    write_grid(tmp_path / "a.png", 2, 2)
    for _ in range(2):
        capsys.readouterr()
        assert main(["count", str(tmp_path), "--out", str(tmp_path / "out"), *model]) == 0
    assert capsys.readouterr().out.count("grains") == 1


@pytest.mark.parametrize("formats", ["tiff", "csv,tiff", "json,tiff"])
def test_labels_that_export_wrote_are_not_counted(model, tmp_path, formats):
    for folder in ("in", "in/below"):
        write_grid(tmp_path / folder / "a.png", 2, 2)
    out = tmp_path / "in" / "results"
    assert main(["export", str(tmp_path / "in"), "--formats", formats, "--out", str(out), "--quiet", *model]) == 0
    assert (out / "a.png-2" / "labels.tif").exists()
    assert pictures_below(tmp_path / "in")[0] == [tmp_path / "in" / "a.png", tmp_path / "in" / "below" / "a.png"]


def test_labels_of_ones_own_are_pictures(tmp_path):
    own = write_grid(tmp_path / "mine" / "labels.tif", 2, 2)
    assert pictures_below(tmp_path)[0] == [own]


def test_a_file_given_twice_is_counted_once(model, tmp_path, capsys):
    path = write_grid(tmp_path / "a.png", 2, 2)
    assert main(["count", str(path), str(tmp_path), *model]) == 0
    assert capsys.readouterr().out.count("grains") == 1


def test_hidden_files_are_left_out(model, tmp_path, capsys):
    write_grid(tmp_path / "a.png", 2, 2)
    write_grid(tmp_path / ".cache" / "b.png", 2, 2)
    assert main(["count", str(tmp_path), *model]) == 0
    assert "b.png" not in capsys.readouterr().out


def test_settings_reach_the_result(model, tmp_path):
    path = write_grid(tmp_path / "a.png", 2, 2)
    settings = ["--method", "components", "--boundary-sensitivity", "0.4", "--min-grain-area", "5000"]
    main(["count", str(path), *settings, "--out", str(tmp_path / "out"), *model])
    summary = json.loads((tmp_path / "out" / "a.png" / "summary.json").read_text())
    assert summary["settings"] == {"method": "components", "boundary_sensitivity": 0.4, "min_grain_area": 5000}
    assert summary["count"] == 0


@pytest.mark.parametrize("missing", ["no/such/file.png", "empty"])
def test_a_path_without_an_image_fails_by_name(model, tmp_path, capsys, missing):
    (tmp_path / "empty").mkdir()
    assert main(["count", str(tmp_path / missing), *model]) == 1
    assert str(tmp_path / missing) in capsys.readouterr().err


def test_no_image_has_no_bar_and_no_report(model, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    report = tmp_path / "report.pdf"
    for arguments in (["count"], ["report", "--out", str(report)]):
        assert main([*arguments, str(tmp_path / "empty"), *model]) == 1
        told = capsys.readouterr().err
        assert "There is no image in this folder" in told.splitlines()[0] and "image/s" not in told
    assert "No report was written" in told and "Count some images" not in told and not report.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["count"],
        ["count", "a.png", "--um-per-pixel", "0"],
        ["count", "a.png", "--um-per-pixel", "nan"],
        ["count", "a.png", "--um-per-pixel", "wide"],
        ["count", "a.png", "--um-per-pixel", "1e9"],
        ["count", "a.png", "--um-per-pixel", "1e-9"],
        ["count", "a.png", "--method", "guess"],
        ["count", "a.png", "--boundary-sensitivity", "1.5"],
        ["count", "a.png", "--min-grain-area", "-1"],
        ["paint", "a.png"],
    ],
)
def test_wrong_usage_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_a_model_that_is_not_there_is_wrong_usage(tmp_path, capsys):
    path = write_grid(tmp_path / "a.png", 2, 2)
    assert main(["count", str(path), "--model", str(tmp_path / "nowhere")]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_out_that_is_a_file_is_wrong_usage(model, tmp_path, capsys):
    path = write_grid(tmp_path / "a.png", 2, 2)
    assert main(["count", str(path), "--out", str(path), *model]) == 2
    assert np.array_equal(np.asarray(Image.open(path)), draw_grid(2, 2))


@pytest.mark.parametrize("command", ["export", "report"])
def test_other_commands_are_reached(command, tmp_path, model, capsys):
    path = write_grid(tmp_path / "a.png", 4, 5)
    out = tmp_path / ("report.html" if command == "report" else "out")
    assert main([command, str(path), "--um-per-pixel", "0.5", "--out", str(out), *model]) == 0
    assert out.exists()


def test_export_takes_folders_and_does_not_read_its_own_files(model, tmp_path, capsys):
    for folder in ("a", "b"):
        write_grid(tmp_path / folder / "steel.png", 3, 4)
    (tmp_path / "a" / "bad.png").write_bytes(b"no image")
    out = tmp_path / "out"
    arguments = ["export", str(tmp_path), "--formats", "json,tiff", "--out", str(out), "--quiet", *model]
    for _ in range(2):
        assert main(arguments) == 1
        printed = capsys.readouterr()
        assert "Only 6 grains in the field" in printed.err and "bad.png" in printed.err.splitlines()[-1]
        assert {path.name for path in out.iterdir() if path.is_dir()} == {"steel.png", "steel.png-2"}
        assert len(printed.out.splitlines()) == 4
        # Which of the two is which.
        index = list(csv.DictReader((out / "export.csv").read_text(encoding="utf-8").splitlines()))
        assert [Path(row["file"]).parent.name for row in index] == ["a", "b", "a"]
        assert [Path(row["folder"]).name for row in index] == ["steel.png", "steel.png-2", ""]
    assert json.loads((out / "steel.png" / "grains.json").read_text())["count"] == 12


def results(folder):
    return {path.name for path in folder.iterdir()}


def test_a_folder_never_holds_results_of_two_runs_that_differ(model, tmp_path):
    image = write_grid(tmp_path / "steel.png", 3, 4)
    folder = tmp_path / "out" / "steel.png"

    def run(command, scale, *options):
        arguments = [str(image), "--out", str(tmp_path / "out"), "--um-per-pixel", scale, "--quiet"]
        return main([command, *arguments, *options, *model])

    run("count", "0.5")
    counted = results(folder)
    (folder / "notes.txt").write_text("mine")
    run("export", "0.5", "--formats", "xlsx,csv")
    assert results(folder) == counted | {"grains.xlsx", "notes.txt"}
    assert results(folder.parent) == {"steel.png", "export.csv", *BATCH_FILES}
    run("export", "0.9", "--formats", "csv")
    assert results(folder) == {"grains.csv", "summary.json", "notes.txt"}
    assert results(folder.parent) == {"steel.png", "export.csv"}, "the mean was of another scale"
    run("count", "0.5")
    assert results(folder) == counted | {"notes.txt"}
    assert results(folder.parent) == {"steel.png", *BATCH_FILES}, "what was exported is gone"
    mine = {
        "summary.json": '{"results": ["mine", {"folder": 1}]}',
        "summary.csv": "mine",
        "export.csv": "name,value\nsteel.png,1\n",
    }
    for name, content in mine.items():
        (folder.parent / name).write_text(content)
    result_folder.prepare_folder(folder, {"count": 3})
    assert run("count", "0.5") == 2
    assert {name: (folder.parent / name).read_text() for name in mine} == mine, "not ours"
    for name in mine:
        (folder.parent / name).unlink()
    run("count", "0.5")
    content = image.read_bytes()
    image.unlink()
    assert run("count", "0.5") == 1
    assert results(folder) == counted | {"notes.txt"}, "its drive may be away"
    image.write_bytes(content[:100])
    assert run("count", "0.5") == 1
    assert results(folder) == {"notes.txt"}


def test_what_reads_the_output_may_leave(start, tmp_path):
    for name in "abc":
        write_grid(tmp_path / "in" / f"{name}.png", 2, 2)
    out = tmp_path / "out"
    options = f"--out {out} --quiet --model {start}"
    shell = f"set -o pipefail; {sys.executable} -m grain_model count {tmp_path / 'in'} {options} | true"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Error" not in done.stderr
    assert len(read_rows(out)) == 3


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full is needed")
def test_where_stdout_takes_no_more_the_files_are_written(start, tmp_path):
    for name in "ab":
        write_grid(tmp_path / "in" / f"{name}.png", 2, 2)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "grain_model", "count", str(tmp_path / "in"), "--model", str(start), "--quiet"]
    with open("/dev/full", "w") as full:
        done = subprocess.run([*command, "--out", str(out)], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.count("cannot be printed: No space left on device") == 1
    assert [Path(row["file"]).name for row in read_rows(out)] == ["a.png", "b.png"]


@pytest.mark.parametrize("suffix", ["pdf", "html"])
def test_what_no_font_can_print_is_told_in_one_line(model, tmp_path, capsys, monkeypatch, suffix):
    monkeypatch.setattr("grain_model.report_pdf.EAST_ASIAN_FONTS", ())
    specimen = "\N{CJK UNIFIED IDEOGRAPH-8BD5}\N{CJK UNIFIED IDEOGRAPH-6837}"
    picture = write_grid(tmp_path / f"{specimen}.png", 2, 2)
    report = tmp_path / f"report.{suffix}"
    assert main(["report", str(picture), "--specimen", specimen, "--out", str(report), "--quiet", *model]) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "font" in line]
    assert report.exists() and len(told) == (suffix == "pdf")
    assert all(" ".join(specimen) in line and "report.html" in line for line in told)


def test_report_takes_a_folder_as_one_specimen(model, tmp_path, capsys):
    for name in ("a.png", "b.png"):
        write_grid(tmp_path / "in" / name, 3, 4)
    out = tmp_path / "report.html"
    settings = ["--um-per-pixel", "0.5", "--boundary-sensitivity", "0.7", "--min-grain-area", "30"]
    assert main(["report", str(tmp_path / "in"), *settings, "--out", str(out), *model]) == 0
    page = out.read_text(encoding="utf-8")
    assert "2: a.png, b.png" in page and "spread over 2 fields" in page
    assert "boundary sensitivity 0.7, smallest grain 30 px\N{SUPERSCRIPT TWO}" in page


@pytest.mark.parametrize(
    "arguments",
    [
        ["export", "a.png", "--out", "x", "--formats", "csv,dxf"],
        ["export", "a.png", "--out", "x", "--um-per-pixel", "-1"],
        ["report", "a.png", "--out", "x.docx"],
        ["report", "a.png", "--out", "x.pdf", "--model", "/no/such/folder"],
    ],
)
def test_wrong_usage_of_the_other_commands(arguments, capsys):
    try:
        code = main(arguments)
    except SystemExit as exit_:
        code = exit_.code
    assert code == 2 and "error" in capsys.readouterr().err


def test_the_page_takes_no_unknown_options(monkeypatch, capsys):
    launched = []
    monkeypatch.setenv("GRADIO_TEMP_DIR", "elsewhere")
    monkeypatch.setattr("grain_model.ui.build_page", lambda examples: "page")
    monkeypatch.setattr("grain_model.ui.launch_page", lambda page, examples, mcp_server: launched.append(mcp_server))

    def start_page(*options):
        monkeypatch.setattr(sys, "argv", ["app.py", *options])
        runpy.run_path(str(ROOT / "app.py"), run_name="__main__")

    for option, code in (("--help", 0), ("--port=80", 2)):
        with pytest.raises(SystemExit) as stopped:
            start_page(option)
        assert stopped.value.code == code and "--mcp" in "".join(capsys.readouterr())
    assert not launched
    start_page()
    start_page("--mcp")
    assert launched == [None, True]


PAGE_THAT_IS_ENDED = """
import os, runpy, signal, sys, types

def launch(*_, **__):
    print(os.environ["GRADIO_TEMP_DIR"], os.listdir(os.environ["TMPDIR"]))
    os.kill(os.getpid(), signal.SIGTERM)

sys.modules["grain_model.ui"] = types.SimpleNamespace(build_page=str, launch_page=launch)
sys.argv = ["app.py"]
runpy.run_path("app.py", run_name="__main__")
"""


@pytest.mark.parametrize("chosen", [None, "elsewhere"])
def test_each_page_has_a_folder_of_its_own_for_pictures(chosen, tmp_path):
    """Unless one is chosen; it goes with the server."""
    environment = {**os.environ, "TMPDIR": str(tmp_path), "GRADIO_TEMP_DIR": chosen or ""}
    run = subprocess.run(
        [sys.executable, "-c", PAGE_THAT_IS_ENDED], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    own = [] if chosen else [Path(run.stdout.split()[0]).name]
    assert run.stdout == f"{chosen or tmp_path / own[0]} {own}\n" and "KeyboardInterrupt" in run.stderr
    assert not any(tmp_path.iterdir())


def test_runs_as_a_module():
    run = subprocess.run([sys.executable, "-m", "grain_model", "--help"], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0 and "count" in run.stdout


@pytest.mark.parametrize(
    "arguments", [["count", ""], ["count", "a.png", "--out", ""], ["report", "a.png", "--out", ""]]
)
def test_an_empty_path_is_not_the_folder_that_one_is_in(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2 and "the path is empty" in capsys.readouterr().err


def test_a_file_is_counted_rather_than_a_link_to_it(tmp_path):
    """Its scale may lie in a text beside it."""
    picture = write_grid(tmp_path / "steel.png", 2, 2)
    for name in ("alink.png", "zlink.png"):
        (tmp_path / name).symlink_to(picture)
    assert images_of_paths([tmp_path]) == ([picture], [])
