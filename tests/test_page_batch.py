"""The batch tab in a real browser, and what it does with zips and with files that fail."""

from __future__ import annotations

import io
import json
import stat
import threading
import time
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from grain_model import analysis as analysis_module
from grain_model.cli import main
from grain_model.counting import count_grains
from grain_model.errors import ImageError
from grain_model.failures import Failure
from grain_model.field_mean import average_fields
from grain_model.grain_size import grain_size
from grain_model.image_listing import NOT_READ
from grain_model.micrograph import read_micrograph
from grain_model.ui import batch_run
from grain_model.ui.batch_card import describe_batch, tabulate
from grain_model.ui.batch_run import CountedBatch, count_batch, open_uploads
from tests.browser import needs_chromium, serve, visit
from tests.drawn import draw_grid, write_grid
from tests.page_steps import open_section

BATCH_FILES = ("summary.csv", "summary.json", "grain_size.csv")
RESULT_FILES = ("grains.csv", "labels.tif", "mask.png", "overlay.png", "summary.json")


@pytest.fixture
def count(sees_drawings, tiny_model):
    """Counts a file with a network that sees what is drawn."""
    return lambda image: count_grains(read_micrograph(image.path, 0.5, page=image.page), model=tiny_model)


def png(rows: int, columns: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(draw_grid(rows, columns)).save(buffer, "PNG")
    return buffer.getvalue()


def write_zip(path: Path, **files: bytes) -> str:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return str(path)


def finish(batch: Iterator[CountedBatch]) -> CountedBatch:
    *_, last = batch
    return last


def open_tab(page) -> None:
    page.get_by_role("tab", name="Batch").click()
    page.wait_for_selector("#batch-button")


def load(page, paths: list[Path]) -> None:
    page.locator("#batch-files input[type=file]").set_input_files(paths)
    page.wait_for_function(f"document.querySelectorAll('#batch-files .file').length == {len(paths)}")


def write_five(folder: Path) -> list[Path]:
    """Four drawings of different grain sizes and a file that is no picture."""
    paths = [write_grid(folder / f"field_{number}.png", 8, 6 + number) for number in range(4)]
    (folder / "broken.png").write_bytes(b"\x89PNG no more")
    return [*paths, folder / "broken.png"]


@needs_chromium
def test_batch_of_five_with_one_corrupt(page, site, tmp_path):
    paths = write_five(tmp_path)
    open_tab(page)
    load(page, paths)
    page.locator("#batch-scale input").fill("0.5")
    page.get_by_role("button", name="Count all files").click()
    page.wait_for_selector("#batch-download", state="visible")

    analyses = [count_grains(path, 0.5, site.model) for path in paths[:4]]
    mean = average_fields([grain_size(analysis.labels, 0.5) for analysis in analyses]).saltykov
    card = page.locator("#batch-card").inner_text()
    assert f"{sum(analysis.count for analysis in analyses)} grains in 4 files" in card
    assert f"{mean.G:.2f}" in card and f"{mean.ci95[0]:.2f} to {mean.ci95[1]:.2f}" in card
    assert f"{mean.relative_accuracy:.1f}" in card
    assert card.count("broken.png is no image that can be read") == 1
    assert "Traceback" not in page.content() and "/tmp/" not in card
    rows = page.locator("#batch-table [role=row]").all_inner_texts()
    for path, analysis in zip(paths, analyses, strict=False):
        row = next(row.split() for row in rows if path.name in row)
        assert row[1] == str(analysis.count) and row[2] == f"{analysis.grain_size.saltykov.G:.2f}"
    assert not any("broken" in row for row in rows)

    with page.expect_download() as download:
        page.locator("#batch-download").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        names = [f"{path.name}/{file}" for path in paths[:4] for file in RESULT_FILES]
        assert sorted(archive.namelist()) == sorted([*names, *BATCH_FILES])
        summary = json.load(archive.open("summary.json"))
        assert summary["mean"]["grain_size"]["saltykov"]["G"] == mean.G
        assert [failure["file"] for failure in summary["failed"]] == ["broken.png"]


@needs_chromium
def test_a_full_disk_is_told_without_its_details(page, tmp_path, monkeypatch):
    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device", "/place/on/the/server")

    monkeypatch.setattr(batch_run, "_pack", fail)
    open_tab(page)
    load(page, [write_grid(tmp_path / "steel.png", 2, 2)])
    page.get_by_role("button", name="Count all files").click()
    message = page.locator(".toast-body.error")
    message.wait_for()
    assert "The server failed at this (OSError)" in message.inner_text()
    assert "/place" not in page.content() and "Traceback" not in page.content()
    page.locator("#batch-card").get_by_text("Ended by a failure of the server").wait_for()
    # The next batch can be counted, and the failure of this one is not told of it.
    page.wait_for_function("!document.querySelector('#batch-button').disabled")
    monkeypatch.undo()
    page.get_by_role("button", name="Count all files").click()
    message.wait_for(state="detached")


@needs_chromium
def test_the_settings_hold_for_all_files(page, tmp_path):
    open_tab(page)
    load(page, [write_grid(tmp_path / f"{number}.png", 2, 2) for number in range(2)])
    open_section(page, "Settings")
    # Shown as 0 until the page has told that it is empty.
    page.wait_for_function("document.querySelector('#batch-smallest-grain input')?.value === ''")
    page.locator("#batch-smallest-grain input").fill("5000")
    page.get_by_role("button", name="Count all files").click()
    page.wait_for_selector("#batch-download", state="visible")
    assert "0 grains in 2 files" in page.locator("#batch-card").inner_text()


@needs_chromium
def test_settings_that_were_only_looked_at_change_nothing(page, site, tmp_path):
    # An empty number inside a closed accordion becomes 0 when it is opened.
    open_tab(page)
    load(page, [write_grid(tmp_path / "field.png", 2, 3)])
    page.get_by_role("button", name="Settings").last.click()
    page.wait_for_selector("#batch-smallest-grain input", state="visible")
    page.get_by_role("button", name="Count all files").click()
    page.wait_for_selector("#batch-download", state="visible")
    with page.expect_download() as saving:
        page.locator("#batch-download").click()
    with zipfile.ZipFile(saving.value.path()) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("field.png/summary.json")]
        assert json.loads(archive.read(name))["settings"]["min_grain_area"] is None


@needs_chromium
def test_a_batch_without_files_or_with_a_wrong_scale_is_explained(page, tmp_path):
    open_tab(page)
    page.get_by_role("button", name="Count all files").click()
    message = page.locator(".toast-body.error").first
    message.wait_for()
    assert "no images yet" in message.inner_text()
    load(page, [write_grid(tmp_path / "a.png", 2, 2)])
    for wrong in ("-1", "0,5 µm"):
        page.locator("#batch-scale input").fill(wrong)
        page.get_by_role("button", name="Count all files").click()
        page.wait_for_function(f"document.body.innerText.includes(`The scale is '{wrong}'`)")
        assert not page.locator("#batch-results").is_visible()
    page.locator("#batch-scale input").fill("0,5")
    page.get_by_role("button", name="Count all files").click()
    expect_batch = "document.querySelector('#batch-card')?.innerText.includes('scale 0.5 µm per pixel (given)')"
    page.wait_for_function(expect_batch)


@needs_chromium
def test_two_batches_keep_apart_and_the_second_is_told_its_place(browser, site, tmp_path, monkeypatch):
    turn = site.hold(monkeypatch)
    visitors = []
    for number in (1, 2):
        visitor = visit(browser, site.url)
        open_tab(visitor)
        load(visitor, [write_grid(tmp_path / f"of_visitor_{number}.png", 2, 2 + number)])
        visitor.get_by_role("button", name="Count all files").click()
        visitor.wait_for_selector("#batch-card .wrap:not(.hide)")
        visitors.append(visitor)
    visitors[1].wait_for_function("document.querySelector('#batch-card')?.innerText.includes('queue: 1/1')")
    turn.set()
    for number, visitor in enumerate(visitors, start=1):
        visitor.wait_for_selector("#batch-download", state="visible")
        assert f"{2 * (2 + number)} grains in 1 file" in visitor.locator("#batch-card").inner_text()
        rows = visitor.locator("#batch-table").inner_text()
        assert f"of_visitor_{number}.png" in rows and f"of_visitor_{3 - number}.png" not in rows
        visitor.close()


@pytest.fixture
def gate(site, monkeypatch) -> threading.Semaphore:
    """Lets the network run once, and as often as it is released."""
    turn = threading.Semaphore(1)

    def wait(model, image, **options):
        assert turn.acquire(timeout=30)
        return site.predict(model, image)

    monkeypatch.setattr(analysis_module, "predict_at_canonical_scale", wait)
    return turn


def start_four(page, folder: Path) -> None:
    """Starts a batch of four and waits for the first row."""
    open_tab(page)
    load(page, [write_grid(folder / f"{number}.png", 2, 2) for number in range(4)])
    page.get_by_role("button", name="Count all files").click()
    page.wait_for_function("document.querySelector('#batch-table')?.innerText.includes('0.png')")


@needs_chromium
def test_a_batch_that_is_stopped_gives_what_it_has_counted(page, site, gate, tmp_path):
    runs = site.runs
    start_four(page, tmp_path)
    page.get_by_role("button", name="Stop").click()
    page.wait_for_function("document.querySelector('#batch-card')?.innerText.includes('stopping after')")
    gate.release(4)
    page.wait_for_selector("#batch-download", state="visible")
    assert "8 grains in 2 files, stopped with 2 to go" in page.locator("#batch-card").inner_text()
    assert site.runs - runs == 2, "the file that was at work is finished, no other is begun"
    page.wait_for_function("!document.querySelector('#batch-button').disabled")
    assert not page.get_by_role("button", name="Stop").is_visible()
    with page.expect_download() as download:
        page.locator("#batch-download").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert len(json.loads(archive.read("summary.json"))["results"]) == 2


@needs_chromium
def test_a_batch_that_waits_can_be_given_up(browser, site, tmp_path, monkeypatch):
    turn = site.hold(monkeypatch)
    visitors = [visit(browser, site.url) for _ in range(2)]
    for visitor in visitors:
        open_tab(visitor)
        load(visitor, [write_grid(tmp_path / "field.png", 2, 2)])
        visitor.get_by_role("button", name="Count all files").click()
        visitor.wait_for_selector("#batch-card .wrap:not(.hide)")
    visitors[1].wait_for_function("document.querySelector('#batch-card')?.innerText.includes('queue: 1/1')")
    visitors[1].get_by_role("button", name="Stop").click()
    visitors[1].wait_for_function("document.querySelector('#batch-card')?.innerText.includes('before the first file')")
    visitors[1].wait_for_function("!document.querySelector('#batch-button').disabled")
    turn.set()
    visitors[0].wait_for_selector("#batch-download", state="visible")
    assert "before the first file" in visitors[1].locator("#batch-card").inner_text()
    for visitor in visitors:
        visitor.close()


@needs_chromium
def test_results_stay_when_files_change(page, gate, tmp_path):
    def remove_one(left: int) -> None:
        page.locator("#batch-files").get_by_label("Remove this file").first.click()
        page.wait_for_function(f"document.querySelectorAll('#batch-files .file').length == {left}")

    start_four(page, tmp_path)
    remove_one(3)
    page.wait_for_timeout(500)
    assert page.locator("#batch-results").is_visible()
    gate.release(4)
    page.wait_for_selector("#batch-download", state="visible")
    assert "16 grains in 4 files" in page.locator("#batch-card").inner_text()
    page.wait_for_function("!document.querySelector('#batch-button').disabled")
    remove_one(2)
    page.wait_for_timeout(500)
    assert page.locator("#batch-download").is_visible()


@needs_chromium
def test_a_batch_ends_when_its_visitor_leaves(browser, site, gate, tmp_path):
    runs = site.runs
    visitor = visit(browser, site.url)
    start_four(visitor, tmp_path)
    visitor.close()
    time.sleep(2)
    gate.release(4)
    time.sleep(1.5)
    assert site.runs - runs == 2, "the file that was at work is finished, no other is begun"


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_tab_fits_a_phone(browser, site, tmp_path, scheme):
    phone = visit(browser, site.url, viewport={"width": 360, "height": 740}, color_scheme=scheme)
    open_tab(phone)
    load(phone, write_five(tmp_path))
    phone.get_by_role("button", name="Count all files").click()
    phone.wait_for_selector("#batch-download", state="visible")
    assert phone.evaluate("document.documentElement.scrollWidth") <= 360
    table = phone.locator("#batch-card table").bounding_box()
    assert table["x"] >= 0 and table["x"] + table["width"] <= 360
    phone.close()


@needs_chromium
def test_an_upload_over_the_limit_is_named_with_the_limit(browser, tmp_path):
    (tmp_path / "large.png").write_bytes(b"\0" * 3000)
    with serve(max_file_size=2048) as small:
        visitor = visit(browser, small.url)
        open_tab(visitor)
        visitor.locator("#batch-files input[type=file]").set_input_files(tmp_path / "large.png")
        message = visitor.locator(".toast-body.error")
        message.wait_for()
        assert "maximum allowed size of 2.0 Kb" in message.inner_text() and "large.png" in message.inner_text()
        visitor.close()


def test_a_zip_stands_for_its_images_in_all_folders(tmp_path, count):
    inner = write_zip(tmp_path / "inner.zip", **{"deep.png": png(2, 2)})
    path = write_zip(
        tmp_path / "fields.zip",
        **{
            "a.png": png(2, 2),
            "steel/left/a.png": png(2, 3),
            "__MACOSX/steel/left/._a.png": b"resource fork",
            "steel/.hidden.png": png(2, 2),
            "steel/notes.txt": b"500x",
            "inner.zip": Path(inner).read_bytes(),
            "earlier/labels.tif": b"",
            "earlier/summary.json": b"{}",
            "earlier/mask.png": png(2, 2),
        },
    )
    upload = open_uploads([path])
    assert [name for _, name in upload.images] == ["fields.zip/a.png", "fields.zip/steel/left/a.png"]
    assert upload.failures == []
    batch = finish(count_batch(upload, count))
    assert [(field.file, field.folder, field.count) for field in batch.fields] == [
        ("fields.zip/a.png", "a.png", 4),
        ("fields.zip/steel/left/a.png", "a.png-2", 6),
    ]


JEOL_TEXT = b"$CM_FORMAT JEOL-SEM\r\n$$SM_MICRON_BAR 40\r\n$$SM_MICRON_MARKER 10um\r\n"


def upload_each(folder: Path, *files: tuple[str, bytes]) -> list[str]:
    """Writes each file into a folder of its own, as gradio stores uploads."""
    paths = [folder / str(number) / name for number, (name, _) in enumerate(files)]
    for path, (_, content) in zip(paths, files, strict=True):
        path.parent.mkdir()
        path.write_bytes(content)
    return [str(path) for path in paths]


def test_a_text_file_belongs_to_the_picture_of_its_name(tmp_path, sees_drawings, tiny_model):
    files = [("a.txt", JEOL_TEXT), ("a.png", png(2, 2)), ("b.png", png(2, 3)), ("notes.txt", b"500x")]
    upload = open_uploads(upload_each(tmp_path, *files))
    assert [name for _, name in upload.images] == ["a.png", "b.png", "notes.txt"] and upload.failures == []
    batch = finish(count_batch(upload, lambda image: count_grains(image.path, None, tiny_model)))
    scales = [(field.file, field.summary["scale"]["um_per_pixel"]) for field in batch.fields]
    assert scales == [("a.png", 0.25), ("b.png", None)]
    assert [failure.file for failure in batch.failures] == ["notes.txt"]
    # The upload's own folder may be shared with another visitor of the same picture, who has no text.
    assert sorted(path.name for path in tmp_path.rglob("*.txt")) == ["a.txt", "notes.txt"]


def test_text_files_of_equal_names_are_not_given_to_a_wrong_picture(tmp_path):
    files = [("a.png", png(2, 2)), ("a.png", png(2, 3)), ("a.txt", JEOL_TEXT), ("c.png", png(2, 2))]
    upload = open_uploads(upload_each(tmp_path, *files, ("c.txt", JEOL_TEXT), ("c.txt", JEOL_TEXT)))
    assert [name for _, name in upload.images] == ["a.png", "a.png", "c.png"]
    assert not any(image.path.with_suffix(".txt").exists() for image, _ in upload.images)
    assert [failure.file for failure in upload.failures] == ["a.txt", "c.txt", "c.txt"]
    assert all("Zip each picture with its text file" in failure.reason for failure in upload.failures)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_packed_by_a_method_that_may_fill_the_memory_is_refused(tmp_path, method):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as archive:
        archive.writestr("a.png", png(2, 2))
    upload = open_uploads([str(tmp_path / "a.zip")])
    assert not upload.images
    assert [failure.file for failure in upload.failures] == ["a.zip"] and "deflate" in upload.failures[0].reason


def test_a_file_chosen_twice_is_counted_once(tmp_path):
    (tmp_path / "a.png").write_bytes(png(2, 2))
    assert len(open_uploads([str(tmp_path / "a.png")] * 2).images) == 1


def test_every_page_of_a_file_is_a_field_where_that_is_asked_for(tmp_path, count):
    stack = tmp_path / "stack.tif"
    for columns in (3, 4):
        tifffile.imwrite(stack, draw_grid(3, columns), append=True)
    single = str(write_grid(tmp_path / "a.png", 2, 2))
    first_only = finish(count_batch(open_uploads([str(stack), single]), count))
    assert [(field.file, field.count) for field in first_only.fields] == [("stack.tif", 9), ("a.png", 4)]
    batch = finish(count_batch(open_uploads([str(stack), single], all_pages=True), count))
    assert [(field.file, field.count) for field in batch.fields] == [
        ("stack.tif", 9),
        ("stack.tif, page 1", 12),
        ("a.png", 4),
    ]
    with zipfile.ZipFile(batch.archive) as archive:
        folders = {name.split("/")[0] for name in archive.namelist() if "/" in name}
    assert folders == {"stack.tif", "stack.tif-page1", "a.png"}


def test_pictures_in_a_zip_that_cannot_be_read_are_named(tmp_path):
    files = {"a.png": png(2, 2), "steel/b.czi": b"", "c.heic": b"", "c.tif": png(2, 2), ".d.czi": b"", "e.txt": b""}
    upload = open_uploads([write_zip(tmp_path / "z.zip", **files), write_zip(tmp_path / "y.zip", **{"f.nd2": b""})])
    assert [name for _, name in upload.images] == ["z.zip/a.png", "z.zip/c.tif"]
    assert [failure.file for failure in upload.failures] == ["z.zip/steel/b.czi", "y.zip/f.nd2"]
    assert all(failure.reason == NOT_READ for failure in upload.failures)


def test_uploads_that_the_server_let_go_of_are_to_be_loaded_again(tmp_path):
    with pytest.raises(ImageError, match="Load it again"):
        open_uploads([str(write_grid(tmp_path / "a.png", 2, 2)), str(tmp_path / "b.png")])


def test_names_in_a_zip_cannot_leave_its_folder(tmp_path):
    path = write_zip(tmp_path / "sly.zip", **{"../../sly.png": b"x", "/sly.png": b"x", "a/../../../sly.png": b"x"})
    upload = open_uploads([path])
    root = Path(upload.folder.name)
    assert all(root in image.path.parents for image, _ in upload.images)
    assert not list(tmp_path.parent.glob("sly.png"))


def test_a_link_in_a_zip_is_not_followed(tmp_path, count):
    secret = write_grid(tmp_path / "secret.png", 2, 2)
    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "links.zip", "w") as archive:
        archive.writestr(link, str(secret))
    batch = finish(count_batch(open_uploads([str(tmp_path / "links.zip")]), count))
    assert batch.fields == [] and [failure.file for failure in batch.failures] == ["links.zip/link.png"]


def test_a_zip_bomb_is_refused_before_it_unpacks(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(3):
            archive.writestr(f"{number}.png", bytes(4_000_000))
    assert (tmp_path / "bomb.zip").stat().st_size < 100_000
    monkeypatch.setattr(batch_run, "MAX_BATCH_BYTES", 10_000_000)
    monkeypatch.setattr(zipfile.ZipFile, "extract", lambda *_: pytest.fail("unpacked"))
    with pytest.raises(ImageError, match="Count them in several batches"):
        open_uploads([str(tmp_path / "bomb.zip")])


def test_a_zip_that_understates_its_size_does_not_unpack_to_more(tmp_path):
    path = Path(write_zip(tmp_path / "liar.zip", **{"a.png": bytes(100_000)}))
    stated = (100_000).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(stated, (10).to_bytes(4, "little")))
    upload = open_uploads([str(path)])
    unpacked = sum(file.stat().st_size for file in Path(upload.folder.name).rglob("*") if file.is_file())
    assert unpacked <= 10
    assert upload.images == [] and [failure.file for failure in upload.failures] == ["liar.zip/a.png"]


def test_too_many_files_are_refused(tmp_path, monkeypatch):
    path = write_zip(tmp_path / "many.zip", **{f"{number}.png": b"x" for number in range(4)})
    monkeypatch.setattr(batch_run, "MAX_BATCH_FILES", 3)
    with pytest.raises(ImageError, match="more than 3 images. At most 3"):
        open_uploads([path])
    monkeypatch.setattr(batch_run, "MAX_ZIPPED_FILES", 3)
    with pytest.raises(ImageError, match="4 files in the zips. At most 3"):
        open_uploads([path])


def test_damaged_and_empty_zips_are_named_and_the_rest_is_counted(tmp_path, count):
    good = write_grid(tmp_path / "good.png", 2, 2)
    (tmp_path / "bad.zip").write_bytes(b"no zip")
    empty = write_zip(tmp_path / "empty.zip", **{"notes.txt": b"nothing"})
    torn = Path(write_zip(tmp_path / "torn.zip", **{"a.png": png(2, 2), "b.png": b"content" * 9}))
    torn.write_bytes(torn.read_bytes().replace(b"contentcontent", b"contentcontenT", 1))
    batch = finish(count_batch(open_uploads([str(tmp_path / "bad.zip"), empty, str(torn), str(good)]), count))
    assert [field.file for field in batch.fields] == ["torn.zip/a.png", "good.png"]
    assert {failure.file: failure.reason.split(".")[0] for failure in batch.failures} == {
        "bad.zip": "This is no zip that can be opened (File is not a zip file)",
        "empty.zip": "There is no image in this zip",
        "torn.zip/b.png": "It could not be unpacked: Bad CRC-32 for file 'b",
    }
    assert batch.total == batch.done == 5


def test_the_zip_is_laid_out_as_the_command_line_writes(tmp_path, tiny_model, count):
    folder = tmp_path / "in"
    folder.mkdir()
    paths = write_five(folder)
    tiny_model.save_pretrained(tmp_path / "model")
    out = tmp_path / "out"
    main(["count", str(folder), "--um-per-pixel", "0.5", "--out", str(out), "--model", str(tmp_path / "model")])
    batch = finish(count_batch(open_uploads([str(path) for path in paths]), count))
    with zipfile.ZipFile(batch.archive) as archive:
        archive.extractall(tmp_path / "zip")
    written = {path.relative_to(out) for path in out.rglob("*")}
    assert {path.relative_to(tmp_path / "zip") for path in (tmp_path / "zip").rglob("*")} == written
    rows = [
        pd.read_csv(root / "summary.csv").drop(columns=["file", "folder", "error"]) for root in (out, tmp_path / "zip")
    ]
    pd.testing.assert_frame_equal(rows[0].sort_values("count"), rows[1].sort_values("count"))
    # On the command line files are named with their folder.
    texts = [(root / "summary.json").read_text().replace(f"{folder}/", "") for root in (out, tmp_path / "zip")]
    means = [json.loads(text)["mean"] for text in texts]
    assert means[0] == means[1]


def test_a_scale_for_some_files_only_gives_no_mean(tmp_path, sees_drawings, tiny_model):
    paths = [str(write_grid(tmp_path / f"{name}.png", 3, 3)) for name in ("a", "b")]
    batch = finish(
        count_batch(
            open_uploads(paths),
            lambda image: count_grains(image.path, 0.5 if image.path.name == "a.png" else None, tiny_model),
        )
    )
    assert "these fields have no scale and the others have one: b.png." in describe_batch(batch)
    assert list(tabulate(batch.fields)["G"])[1] == ""


def test_memory_does_not_grow_with_the_number_of_files(tmp_path, count):
    paths = [str(write_grid(tmp_path / f"{number}.png", 12, 12)) for number in range(12)]
    held = []
    tracemalloc.start()
    for batch in count_batch(open_uploads(paths), count):
        held.append(tracemalloc.get_traced_memory()[0])
        on_disk = {path.name for path in Path(batch.folder.name).iterdir()}
        assert not any(path.is_dir() for path in Path(batch.folder.name).iterdir()) and on_disk <= {
            "grains.zip",
            *BATCH_FILES,
        }
    tracemalloc.stop()
    pixels = draw_grid(12, 12).size
    # One analysis takes over 20 bytes a pixel.
    assert (held[-2] - held[2]) / (len(held) - 4) < pixels / 2


def test_fields_that_differ_much_ask_for_more_fields(tmp_path, count):
    paths = [str(write_grid(tmp_path / f"{cell}.png", 9, 9, cell)) for cell in (30, 34, 38, 42)]
    card = describe_batch(finish(count_batch(open_uploads(paths), count)))
    assert "over 10 %; measure more fields" in card and "of 4 fields" in card


def test_the_card_tells_what_makes_any_of_its_numbers_doubtful(tmp_path, count):
    paths = [str(write_grid(tmp_path / f"{number}.png", 5, 5)) for number in range(2)]
    card = describe_batch(finish(count_batch(open_uploads(paths), count)))
    assert "Planimetric, circle (Jeffries): circles of" in card
    assert "Intercept, straight lines (Heyn): 15 intercepts a field in the mean" in card


def test_a_batch_in_which_all_failed_gives_no_zip(tmp_path, count):
    (tmp_path / "a.png").write_bytes(b"no picture")
    batch = finish(count_batch(open_uploads([str(tmp_path / "a.png")]), count))
    assert batch.archive is None
    card = describe_batch(batch)
    assert "No file could be counted" in card and "a.png is no image" in card


def test_names_and_reasons_cannot_write_html():
    batch = CountedBatch(1, failures=[Failure("<b>.png", "<script>alert(1)</script>")])
    card = describe_batch(batch)
    assert "<script>" not in card and "<b>" not in card
    assert "&lt;b&gt;.png</strong>: &lt;script&gt;alert(1)&lt;/script&gt;" in card


def test_a_fault_in_one_file_does_not_end_the_batch(tmp_path, count):
    def fail_on_wide(image):
        if image.path.name == "wide.png":
            raise MemoryError(f"for {image}")
        return count(image)

    paths = [str(write_grid(tmp_path / f"{name}.png", 2, 2)) for name in ("a", "wide", "z")]
    batch = finish(count_batch(open_uploads(paths), fail_on_wide))
    assert [field.file for field in batch.fields] == ["a.png", "z.png"]
    assert batch.failures == [Failure("wide.png", "MemoryError: for wide.png")]
    assert np.isclose(batch.fields[0].grain_size.saltykov.n, 4, atol=3)
