"""The page in a real browser, and its endpoint for programs."""

from __future__ import annotations

import base64
import json
import re
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from grain_model import analysis as analysis_module
from grain_model.analysis import GrainAnalysis
from grain_model.correction import Edit
from grain_model.counting import count_grains
from grain_model.errors import ImageError
from grain_model.micrograph import read_micrograph
from grain_model.ui import build_page, uploads
from grain_model.ui import count_handlers as handlers_module
from grain_model.ui.card import describe_count
from grain_model.ui.correction_view import undo
from grain_model.ui.count_handlers import CORRECTED_MEANWHILE
from grain_model.ui.count_tab import _CountTab
from grain_model.ui.counted import archive_analysis
from grain_model.ui.examples import list_examples
from grain_model.ui.grain_table import grain_table
from grain_model.ui.opened import open_micrograph
from grain_model.ui.results import plot_distribution
from grain_model.ui.settings import PageSettings
from grain_model.ui.visit import Stand, Visit
from tests.browser import Site, needs_chromium, serve, visit
from tests.drawn import draw_grid, write_grid
from tests.page_steps import expect_card, expect_count, open_section, picture, press_count, shown_count, upload

pytestmark = needs_chromium

PICTURES = ("mask", "overlay")
OTHER_SETTINGS = tuple(vars(PageSettings()).values())[1:]
"""All but the scale, which is typed."""

DROP = """([packed, name, type]) => {
  const dropped = new DataTransfer();
  const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
  dropped.items.add(new File([bytes], name, { type }));
  return dropped;
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Site]:
    examples = tmp_path_factory.mktemp("examples")
    for name, rows, columns in (("etched_lines", 4, 6), ("dark-gaps", 5, 5)):
        write_grid(examples / f"{name}.png", rows, columns)
    (examples / "counts.csv").write_text("file,count\netched_lines.png,24\ndark-gaps.png,25\n")
    with serve(examples) as served:
        yield served


def test_upload_gives_mask_overlay_and_count(page, site, tmp_path):
    path = write_grid(tmp_path / "steel.png", 4, 5)
    upload(page, path)
    press_count(page)
    expected = count_grains(path, model=site.model)
    assert shown_count(page) == expected.count == 20
    assert np.array_equal(picture(page, "mask"), expected.mask * 255)
    assert np.array_equal(picture(page, "overlay"), expected.overlay())
    page.wait_for_selector("#distribution img")
    rows = page.locator("#grains").inner_text()
    assert "ECD (px)" in rows and f"{expected.table['equivalent_diameter_area'].round(2)[0]:g}" in rows


def test_results_stand_side_by_side_in_equal_size(page, tmp_path):
    upload(page, write_grid(tmp_path / "steel.png", 4, 5))
    press_count(page)
    picture(page, "overlay")
    boxes = [page.locator(f"#{name}").bounding_box() for name in (*PICTURES, "count")]
    assert max(box["width"] for box in boxes) - min(box["width"] for box in boxes) < 5
    assert max(box["height"] for box in boxes) - min(box["height"] for box in boxes) < 5
    assert len({round(box["y"]) for box in boxes}) == 1
    assert boxes[0]["x"] < boxes[1]["x"] < boxes[2]["x"]


def test_a_16_bit_tiff_is_shown_counted_and_scaled(page, tmp_path):
    path = tmp_path / "field.tif"
    # A range that 8 bit would clip: all of it lies above 255.
    deep = draw_grid(3, 4).astype(np.uint16) * 40 + 20_000
    tifffile.imwrite(path, deep, imagej=True, resolution=(2.0, 2.0), metadata={"unit": "um"})
    upload(page, path)
    page.wait_for_function("document.querySelector('#micrograph img')?.naturalWidth > 0")
    page.wait_for_function("document.querySelector('#scale input').value == '0.5'")
    press_count(page)
    assert shown_count(page) == 12
    card = page.locator("#count").inner_text()
    assert "0.5 µm per pixel (ImageJ)" in card and "not known" not in card
    assert "µm²" in page.locator("#grains").inner_text()


def test_a_page_of_a_file_is_chosen_counted_and_corrected_as_a_picture_of_its_own(page, tmp_path):
    stack = tmp_path / "stack.tif"
    with tifffile.TiffWriter(stack) as pages:
        for columns in (4, 6):
            pages.write(draw_grid(3, columns), resolution=(20_000, 20_000), resolutionunit="CENTIMETER")
    upload(page, stack)
    page.wait_for_selector("#page", state="visible")
    press_count(page)
    assert shown_count(page) == 12
    page.locator("#page input").click()
    page.get_by_role("option", name="1", exact=True).click()
    page.wait_for_selector("#results", state="hidden")
    page.wait_for_function("document.querySelector('#scale input').value == '0.5'")
    width = draw_grid(3, 6).shape[1]
    page.wait_for_function(f"document.querySelector('#micrograph img')?.naturalWidth == {width}")
    press_count(page)
    assert shown_count(page) == 18
    with page.expect_download() as download:
        page.locator("#download").click()
    assert download.value.suggested_filename == "stack-page1-grains.zip"
    upload(page, write_grid(tmp_path / "steel.png", 2, 2))
    page.wait_for_selector("#page", state="hidden")


def test_what_is_no_image_is_explained_without_a_traceback(page, tmp_path):
    upload(page, write_grid(tmp_path / "steel.png", 2, 2))
    press_count(page)
    (tmp_path / "notes.png").write_text("this is text")
    page.locator("#micrograph input[type=file]").set_input_files(tmp_path / "notes.png")
    message = page.locator(".toast-body.error")
    message.wait_for()
    assert message.inner_text().count("notes.png is no image that can be read") == 1
    assert "/" not in message.inner_text().split("notes.png")[0]
    assert "Traceback" not in page.content() and "UnidentifiedImageError" not in page.content()
    page.locator("#micrograph img").wait_for(state="detached")
    assert not page.locator("#results").is_visible()
    # It is told until something else is asked for.
    upload(page, write_grid(tmp_path / "other.png", 2, 2))
    message.wait_for(state="detached")


def test_counting_nothing_asks_for_an_image(page):
    page.get_by_role("button", name="Count grains").click()
    message = page.locator(".toast-body.error")
    message.wait_for()
    assert "no image yet" in message.inner_text()
    # Nothing covers where one is loaded.
    with page.expect_file_chooser():
        page.locator("#micrograph").get_by_text("Drop a micrograph here").click()


def test_an_example_is_counted_by_one_click(page):
    gallery = page.locator("#examples")
    assert "etched lines: true count 24" in gallery.inner_text()
    gallery.get_by_role("button").filter(has_text="etched lines").click()
    expect_count(page, 24)
    # The page scrolls to the results; a click meanwhile would miss.
    page.wait_for_function("document.querySelector('#results').getBoundingClientRect().top < innerHeight / 2")
    gallery.get_by_role("button", name="dark gaps: true count 25", exact=True).click()
    expect_count(page, 25)
    assert re.search(r"true count, all grains\s+25", page.locator("#count").inner_text())


def test_an_upload_has_no_true_count(page, tmp_path):
    upload(page, write_grid(tmp_path / "etched_lines.png", 4, 6))
    press_count(page)
    assert "true count" not in page.locator("#count").inner_text()


def test_scale_gives_units_without_a_further_run_of_the_network(page, site, tmp_path):
    upload(page, write_grid(tmp_path / "steel.png", 4, 5))
    press_count(page)
    assert "needs the scale" in page.locator("#count").inner_text()
    runs = site.runs
    page.locator("#scale input").fill("0.5")
    page.locator("#scale input").press("Enter")
    page.wait_for_function("document.querySelector('#count').innerText.includes('0.5 µm per pixel (given)')")
    assert "needs the scale" not in page.locator("#count").inner_text()
    assert site.runs == runs


def test_a_scale_given_before_the_picture_wins_over_the_files_own(page, tmp_path):
    page.locator("#scale input").fill("0.5")
    size = {"PhysicalSizeX": 2.0, "PhysicalSizeY": 2.0}
    tifffile.imwrite(tmp_path / "steel.ome.tif", draw_grid(2, 3), metadata={"axes": "YX", **size})
    upload(page, tmp_path / "steel.ome.tif")
    press_count(page)
    expect_card(page, "0.5 µm per pixel (given)")
    expect_card(page, "the file says 2")


def test_settings_redraw_without_a_further_run_of_the_network(page, site, tmp_path):
    upload(page, write_grid(tmp_path / "steel.png", 4, 5))
    press_count(page)
    before = picture(page, "overlay")
    runs = site.runs
    page.get_by_role("button", name="Overlay and edge rule").click()
    source = page.locator("#overlay img").get_attribute("src")
    page.get_by_label("outlines").check()
    page.wait_for_function("old => document.querySelector('#overlay img').src != old", arg=source)
    assert not np.array_equal(picture(page, "overlay"), before)
    assert site.runs == runs


def as_tiff(path: Path) -> None:
    # LSM, STK and SVS files are TIFFs by another name.
    tifffile.imwrite(path, draw_grid(3, 4))


def as_greymap(path: Path) -> None:
    Image.fromarray(draw_grid(3, 4)).save(path, format="PPM")


@pytest.mark.parametrize(
    "name, write", [("a.lsm", as_tiff), ("a.STK", as_tiff), ("a.svs", as_tiff), ("a.pgm", as_greymap)]
)
def test_a_micrograph_whose_ending_browsers_do_not_know_is_chosen_and_counted(page, tmp_path, name, write):
    write(tmp_path / name)
    with page.expect_file_chooser() as choosing:
        page.locator("#micrograph").get_by_text("Drop a micrograph here").click()
    assert Path(name).suffix.lower() in choosing.value.element.get_attribute("accept").split(",")
    choosing.value.set_files(tmp_path / name)
    page.wait_for_selector("#micrograph img")
    press_count(page)
    assert shown_count(page) == 12
    assert not page.locator(".toast-body").count()


def test_what_is_dropped_is_counted_whatever_its_ending(page, tmp_path):
    for name, columns, count in (("first.lsm", 4, 12), ("second.png", 5, 15), ("third.stk", 6, 18)):
        kind, content = ("PNG", "image/png") if name.endswith("png") else ("TIFF", "")
        Image.fromarray(draw_grid(3, columns)).save(tmp_path / name, format=kind)
        packed = base64.b64encode((tmp_path / name).read_bytes()).decode()
        dropped = page.evaluate_handle(DROP, [packed, name, content])
        # Onto the input itself at first, then onto the picture that is there.
        onto = "#micrograph .upload-container button, #micrograph .image-frame"
        page.locator(onto).first.dispatch_event("drop", {"dataTransfer": dropped})
        width = draw_grid(3, columns).shape[1]
        page.wait_for_function(f"document.querySelector('#micrograph img')?.naturalWidth == {width}")
        press_count(page)
        expect_count(page, count)
    assert not page.locator(".toast-body").count()


def test_what_is_no_micrograph_by_its_ending_is_still_refused(page, tmp_path):
    (tmp_path / "notes.txt").write_text("this is text")
    page.locator("#micrograph input[type=file]").set_input_files(tmp_path / "notes.txt")
    page.locator(".toast-body").wait_for()
    assert "notes.txt" in page.locator(".toast-body").inner_text()
    assert not page.locator("#micrograph img").count()


def test_the_zip_holds_what_is_shown(page, tmp_path):
    upload(page, write_grid(tmp_path / "steel.png", 4, 5))
    press_count(page)
    with page.expect_download() as download:
        page.locator("#download").click()
    assert download.value.suggested_filename == "steel-grains.zip"
    with zipfile.ZipFile(download.value.path()) as archive:
        assert set(archive.namelist()) == {"mask.png", "overlay.png", "labels.tif", "grains.csv", "summary.json"}
        assert len(pd.read_csv(archive.open("grains.csv"))) == 20
        assert json.load(archive.open("summary.json"))["count"] == 20
        assert np.array_equal(np.asarray(Image.open(archive.open("mask.png"))), picture(page, "mask"))


def test_a_new_image_takes_the_old_results_away(page, tmp_path):
    upload(page, write_grid(tmp_path / "first.png", 2, 2))
    press_count(page)
    page.locator("#examples").get_by_role("button").first.click()
    page.wait_for_function("document.querySelector('[data-testid=count]')?.innerText != '4'")


def load_another(page, folder) -> None:
    """Takes the picture away and loads one of 6 grains that states its scale."""
    page.locator("#micrograph").get_by_label("Remove Image").press("Enter")
    page.locator("#micrograph img").wait_for(state="detached")
    size = {"PhysicalSizeX": 2.0, "PhysicalSizeY": 2.0}
    tifffile.imwrite(folder / "other.ome.tif", draw_grid(2, 3), metadata={"axes": "YX", **size})
    upload(page, folder / "other.ome.tif")
    page.wait_for_function("document.querySelector('#scale input').value == '2'")


def start_count(page, folder) -> None:
    """Loads a picture of 20 grains and starts a count that is held, as a hand does: opening is over by then."""
    upload(page, write_grid(folder / "steel.png", 4, 5))
    page.wait_for_timeout(1000)
    page.get_by_role("button", name="Count grains").click()
    wait_for_work(page, "micrograph")


def wait_for_work(page, name: str) -> None:
    page.wait_for_function(f"document.querySelector('#{name}').innerText.includes('processing')")


def test_a_count_at_work_is_dropped_with_its_picture(page, site, tmp_path, monkeypatch):
    turn = site.hold(monkeypatch)
    start_count(page, tmp_path)
    load_another(page, tmp_path)
    page.wait_for_timeout(500)
    assert "processing" not in page.locator("#micrograph").inner_text()
    turn.set()
    page.wait_for_timeout(1000)
    assert not page.locator("#results").is_visible()
    press_count(page)
    assert shown_count(page) == 6 and "2 µm per pixel (OME)" in page.locator("#count").inner_text()


def test_an_example_is_counted_while_other_pictures_are_at_work(page, site, tmp_path, monkeypatch):
    turn = site.hold(monkeypatch)
    start_count(page, tmp_path)
    for text, name in (("etched lines", "etched_lines"), ("dark gaps", "dark-gaps")):
        page.locator("#examples").get_by_role("button").filter(has_text=text).click()
        page.locator(f"#micrograph img[src$='{name}.png']").wait_for()
        page.wait_for_timeout(1000)
    turn.set()
    expect_count(page, 25)
    page.wait_for_timeout(1000)
    assert shown_count(page) == 25


def test_a_file_that_is_still_read_does_not_take_the_place_of_an_example(page, tmp_path, monkeypatch):
    turn = threading.Event()

    def wait(path, *given):
        assert not path.endswith("slow.png") or turn.wait(30)
        return open_micrograph(path, *given)

    monkeypatch.setattr(handlers_module, "open_micrograph", wait)
    upload(page, write_grid(tmp_path / "slow.png", 2, 2))
    page.locator("#examples").get_by_role("button").filter(has_text="dark gaps").click()
    expect_count(page, 25)
    turn.set()
    page.wait_for_timeout(1500)
    assert page.locator("#micrograph img").get_attribute("src").endswith("dark-gaps.png")
    press_count(page)
    assert shown_count(page) == 25


@pytest.mark.parametrize("is_readable", [True, False])
def test_a_file_that_is_read_too_late_is_left_out(site, tmp_path, monkeypatch, is_readable):
    path = str(write_grid(tmp_path / "steel.png", 2, 2))
    opened = open_micrograph(path)
    with gr.Blocks():
        tab = _CountTab([], site.model).handlers
    visit = Visit(path)

    def go_on(*given):
        visit.picture = "other.png"
        if not is_readable:
            raise ImageError("It cannot be read.")
        return open_micrograph(*given)

    monkeypatch.setattr(handlers_module, "open_micrograph", go_on)
    assert tab.open_upload(visit, path, "") == gr.skip()
    if is_readable:
        visit.picture = path
        assert tab.open_page(visit, None, 0, opened, "") == gr.skip() and visit.picture == "other.png"


def test_a_display_that_is_changed_while_a_count_runs_is_caught_up_with(site, tmp_path):
    path = str(write_grid(tmp_path / "steel.png", 4, 5))
    counted = archive_analysis(path, count_grains(path, model=site.model))
    with gr.Blocks():
        tab = _CountTab([], site.model).handlers
    visit, whole = Visit(path), tuple(vars(PageSettings(edge_rule="whole")).values())[1:]
    tab.present(counted, Stand.of(visit, None, None, "delete", (), "", *OTHER_SETTINGS))
    same, other = (
        tab.catch_up(visit, counted, None, "delete", (), "", *settings) for settings in (OTHER_SETTINGS, whole)
    )
    assert tab.results.card not in same and "6" in other[tab.results.card]
    visit.picture = "other.png"
    assert tab.results.card not in tab.catch_up(visit, counted, None, "delete", (), "", *whole)


def test_a_redraw_at_work_is_dropped_with_its_picture(page, tmp_path, monkeypatch):
    turn, relabel = threading.Event(), GrainAnalysis.relabel
    monkeypatch.setattr(GrainAnalysis, "relabel", lambda *a, **settings: turn.wait(30) and relabel(*a, **settings))
    upload(page, write_grid(tmp_path / "steel.png", 4, 5))
    press_count(page)
    open_section(page, "Settings")
    page.get_by_label("components").check()
    wait_for_work(page, "overlay")
    load_another(page, tmp_path)
    turn.set()
    page.wait_for_timeout(2500)
    assert not page.locator("#results").is_visible()


def test_what_is_typed_while_a_file_is_read_is_kept(site, tmp_path):
    without, stated = write_grid(tmp_path / "steel.png", 2, 2), tmp_path / "field.tif"
    tifffile.imwrite(stated, draw_grid(2, 2), imagej=True, resolution=(2.0, 2.0), metadata={"unit": "um"})
    with gr.Blocks():
        tab = _CountTab([], site.model).handlers
    field = tab.entry.um_per_pixel
    assert field not in tab.open_file(str(without), "") and field not in tab.open_file(str(stated), "0,37")
    assert tab.open_file(str(stated), "")[field] == "0.5"


def test_the_scale_of_one_picture_is_not_given_to_the_grains_of_another(site, tmp_path):
    path = str(write_grid(tmp_path / "steel.png", 2, 2))
    counted = archive_analysis(path, count_grains(path, model=site.model))
    with gr.Blocks():
        tab = _CountTab([], site.model).handlers
    same, other, none = (
        tab.redraw(Visit(picture), counted, None, "delete", (), "2", *OTHER_SETTINGS)
        for picture in (path, "other.png", "")
    )
    assert same[tab.results.counted].analysis.um_per_pixel == 2
    assert tab.results.counted not in other and tab.results.counted not in none


def test_settings_changed_while_a_count_runs_hold(page, site, tmp_path, monkeypatch):
    turn = site.hold(monkeypatch)
    start_count(page, tmp_path)
    page.locator("#scale input").fill("0.37")
    page.locator("#scale input").press("Enter")
    page.wait_for_timeout(500)
    turn.set()
    page.get_by_text("0.37 µm per pixel (given)").first.wait_for()


def test_corrections_of_the_last_few_pictures_are_kept():
    visit = Visit()
    for source in ("a", "b", "c", "a", "d", "e"):
        visit.leave(SimpleNamespace(source=source))
    assert list(visit.left) == ["c", "a", "d", "e"]


@pytest.mark.parametrize("while_doing", ["count_upload", "archive_analysis"])
def test_corrections_made_while_the_picture_is_counted_again_stay(site, tmp_path, monkeypatch, while_doing):
    path = str(write_grid(tmp_path / "steel.png", 4, 5))
    first = archive_analysis(path, count_grains(path, model=site.model))
    with gr.Blocks():
        tab = _CountTab([], site.model).handlers
    visit, settings = Visit(path), ("", *OTHER_SETTINGS)
    tab.present(first, Stand.of(visit, None, None, "delete", (), *settings))
    work = getattr(handlers_module, while_doing)

    def work_while_corrected(*given, **options):
        tab.correct(first, Stand.of(visit, first, None, "delete", (), *settings), Edit("delete", ((10.0, 10.0),)))
        return work(*given, **options)

    told = []
    monkeypatch.setattr(handlers_module, while_doing, work_while_corrected)
    monkeypatch.setattr(gr, "Info", told.append)
    answer = tab.count_file(path, None, visit, first, None, "delete", (), *settings)
    assert answer == gr.skip() and len(visit.shown.analysis.edits) == 1
    assert told == [CORRECTED_MEANWHILE]


def test_a_wrong_scale_does_not_lose_the_corrections_of_a_picture_that_the_page_comes_back_to(site, tmp_path):
    path = str(write_grid(tmp_path / "steel.png", 4, 5))
    counted = archive_analysis(path, count_grains(path, model=site.model))
    with gr.Blocks():
        tab = _CountTab([], site.model).handlers
    visit = Visit(path)
    visit.leave(counted.correct([Edit("delete", ((10.0, 10.0),))]))
    with pytest.raises(gr.Error, match="The scale is &#x27;370nm&#x27;"):
        tab.count_file(path, None, visit, None, None, "delete", (), "370nm", *OTHER_SETTINGS)
    answer = tab.count_file(path, None, visit, None, None, "delete", (), "0,37", *OTHER_SETTINGS)
    analysis = answer[tab.results.counted].analysis
    assert analysis.um_per_pixel == 0.37 and len(analysis.edits) == 1
    assert answer[tab.entry.um_per_pixel] == "0.37"


def test_a_count_whose_visitor_went_on_ends_without_the_network(site, tmp_path):
    path = str(write_grid(tmp_path / "steel.png", 4, 5))
    with gr.Blocks():
        tab = _CountTab([], site.model).handlers
    visit, runs = Visit(path), site.runs
    with ThreadPoolExecutor() as pool:
        with uploads._model_turn:
            count = pool.submit(tab.count_file, path, None, visit, None, None, "delete", (), "", *OTHER_SETTINGS)
            time.sleep(0.5)
            visit.picture = "another.png"
        assert count.result() == gr.skip() and site.runs == runs


def test_a_count_whose_visitor_goes_on_ends_at_the_next_tile(site, tmp_path, monkeypatch):
    path, tiles = write_grid(tmp_path / "steel.png", 4, 5), []

    def predict(model, image, *, progress, **options):
        for done in range(1, 5):
            tiles.append(done)
            progress(done, 4)

    monkeypatch.setattr(analysis_module, "predict_at_canonical_scale", predict)
    with pytest.raises(uploads.NotWanted):
        uploads.count_upload(path, model=site.model, is_wanted=lambda: len(tiles) < 2)
    assert tiles == [1, 2]


@needs_chromium
def test_all_that_a_visitor_leaves_behind_goes(browser, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_IS_E2E_TEST", "1")  # states last a second, not an hour
    with serve() as site:
        visitor = visit(browser, site.url)
        for name in ("a.png", "b.png"):
            upload(visitor, write_grid(tmp_path / name, 3, 4))
            press_count(visitor)
        visitor.close()
        sessions = site.page.app.state_holder
        (session,) = (of_one for of_one in sessions.session_data.values() if of_one.state_data)
        assert any(isinstance(value, Visit) and value.shown for value in session.state_data.values())
        until = time.monotonic() + 20
        while session.state_data and time.monotonic() < until:
            time.sleep(0.5)
            sessions.delete_all_expired_state()
        assert not session.state_data


def test_a_picture_that_the_server_let_go_of_is_to_be_loaded_again(site, tmp_path):
    with pytest.raises(ImageError, match="let go of .*Load it again"):
        uploads.count_upload(tmp_path / "gone.png", model=site.model)


def test_a_smallest_grain_of_0_keeps_all(site, tmp_path):
    drawn, path = draw_grid(2, 2), str(tmp_path / "steel.png")
    drawn[:40, :40] = 40
    drawn[18:24, 18:24] = 210  # a speck in the place of a grain
    Image.fromarray(drawn).save(path)
    counted = archive_analysis(path, count_grains(path, model=site.model))
    with gr.Blocks():
        tab = _CountTab([], site.model).handlers
    redrawn = tab.redraw(Visit(path), counted, None, "delete", (), *vars(PageSettings(min_grain_area=0)).values())
    assert counted.analysis.count == 3 and redrawn[tab.results.counted].analysis.count == 4


def test_what_a_browser_could_not_show_is_shown_as_a_copy_whatever_its_name(tmp_path):
    misnamed = tmp_path / "a.png"
    tifffile.imwrite(misnamed, draw_grid(4, 5))
    opened = open_micrograph(str(misnamed))
    with Image.open(opened.shown, formats=["PNG"]) as shown:
        assert np.array_equal(np.asarray(shown), read_micrograph(misnamed).pixels)


def test_what_a_browser_would_show_black_is_shown_stretched(tmp_path):
    dark = draw_grid(4, 5).astype(np.uint16) * 8
    Image.fromarray(dark).save(tmp_path / "dark.png")
    opened = open_micrograph(str(tmp_path / "dark.png"))
    assert opened.shown != opened.path
    assert np.array_equal(np.asarray(Image.open(opened.shown)), read_micrograph(opened.path).pixels)


def test_a_page_whose_count_is_gone_says_so_and_hides_what_no_longer_fits(site):
    with gr.Blocks():
        tab = _CountTab([], site.model).handlers
    stand = (Visit(), None, None, "delete", (), "2", *OTHER_SETTINGS)
    assert not tab.redraw(*stand)[tab.results.panel].visible
    for change in (tab.show_again, tab.clear_points, tab.confirm, tab.stepping(undo), tab.discard):
        with pytest.raises(gr.Error, match="Count again"):
            change(*stand)


def test_visitors_do_not_see_each_other(browser, page, site, tmp_path):
    upload(page, write_grid(tmp_path / "mine.png", 2, 2))
    press_count(page)
    other = browser.new_page()
    other.goto(site.url)
    upload(other, write_grid(tmp_path / "theirs.png", 3, 3))
    press_count(other)
    page.locator("#scale input").fill("0.5")
    page.locator("#scale input").press("Enter")
    page.wait_for_function("document.querySelector('#count').innerText.includes('(given)')")
    assert (shown_count(page), shown_count(other)) == (4, 9)
    assert "(given)" not in other.locator("#count").inner_text()
    other.close()


def test_asks_no_other_host_for_anything(page, site, tmp_path):
    upload(page, write_grid(tmp_path / "steel.png", 2, 2))
    press_count(page)
    picture(page, "mask")
    asked = {url for url in page.requested if not url.startswith((site.url, "data:", "blob:"))}
    assert page.requested and not asked


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fits_a_phone(browser, site, tmp_path, scheme):
    phone = browser.new_page(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    phone.goto(site.url)
    phone.wait_for_selector("#count-button")
    upload(phone, write_grid(tmp_path / "steel.png", 4, 5))
    press_count(phone)
    picture(phone, "mask")
    assert phone.evaluate("document.documentElement.scrollWidth") <= 360
    boxes = [phone.locator(f"#{name}").bounding_box() for name in (*PICTURES, "count")]
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= 360 for box in boxes)
    mask, overlay, count = boxes
    assert count["y"] + count["height"] <= mask["y"] and mask["y"] + mask["height"] <= overlay["y"]
    # The count comes into view, though the button was pressed screens above it.
    phone.wait_for_function("Math.abs(document.querySelector('#count').getBoundingClientRect().y) < 100")
    phone.close()


def test_pictures_and_fields_have_names_for_screen_readers(page, tmp_path):
    upload(page, write_grid(tmp_path / "steel.png", 2, 2))
    press_count(page)
    for name in ("mask", "overlay", "distribution"):
        page.wait_for_selector(f"#{name} img")
        assert page.locator(f"#{name} img").get_attribute("alt")
    assert page.get_by_label("Scale (µm per pixel)").count() == 1


def test_examples_are_captioned_with_their_true_count(tmp_path):
    assert list_examples(None) == list_examples(tmp_path / "nowhere") == []
    write_grid(tmp_path / "fine_steel.png", 2, 2)
    write_grid(tmp_path / "unknown.png", 2, 2)
    (tmp_path / "counts.csv").write_text("file,count\nfine_steel.png,4\n")
    assert [caption for _, caption in list_examples(tmp_path)] == ["fine steel: true count 4", "unknown"]


def test_the_page_is_built_without_examples_or_weights():
    assert isinstance(build_page(None, "no/model"), gr.Blocks)


def test_an_image_without_grains_is_presented(site, tmp_path):
    path = write_grid(tmp_path / "steel.png", 2, 2)
    nothing = count_grains(path, model=site.model, min_grain_area=10**6)
    assert '<strong data-testid="count">0</strong>' in describe_count(nothing)
    assert len(grain_table(nothing)) == 0
    assert plot_distribution(nothing).ndim == 3
    assert zipfile.is_zipfile(archive_analysis(str(path), nothing).archive)


def test_sizes_of_nanometres_can_be_read_in_the_table(site):
    analysis = count_grains(read_micrograph(draw_grid(3, 3, cell=19), 0.002), model=site.model)
    areas, shown = analysis.table["area_um2"], grain_table(analysis)
    assert list(shown["area (µm²)"]) == [float(f"{area:.4g}") for area in areas] and 0 < areas.max() < 0.002
    large = grain_table(count_grains(read_micrograph(draw_grid(3, 3, cell=190), 3.7), model=site.model))
    assert large["area (µm²)"].max() > 1e5 and (large["area (µm²)"] % 1 == 0).all()


def test_notes_on_a_micrograph_cannot_write_html(site):
    hostile = replace(read_micrograph(draw_grid(2, 2), 0.5), notes=("<script>alert(1)</script>",))
    card = describe_count(count_grains(hostile, model=site.model))
    assert "<script>" not in card and "<li>&lt;script&gt;alert(1)&lt;/script&gt;</li>" in card
