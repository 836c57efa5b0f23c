"""Scale, settings, files and link of the count tab: all from the maps that are already there."""

from __future__ import annotations

import re
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import numpy as np
import pytest
import tifffile
from PIL import Image

from grain_model.errors import ScaleError
from grain_model.export import FORMATS
from grain_model.scale_suggestion import ScaleSuggestion
from grain_model.ui import downloads, scale_view
from grain_model.ui.clicks import clicked_point, draw_points, enlargement
from grain_model.ui.downloads import KINDS, REPORTS
from grain_model.ui.scale_view import describe_suggestion, measured_scale
from grain_model.ui.settings import PageSettings, read_link, write_link
from grain_model.ui.typed_numbers import read_scale, write_scale
from grain_model.ui.visit import Stand
from tests.browser import Site, needs_chromium, serve, visit
from tests.drawn import LINE, STEP, draw_grid, write_grid
from tests.page_steps import (
    click_at,
    expect_card,
    expect_count,
    open_section,
    picture,
    press_count,
    shown_count,
    source_of,
    upload,
    wait_for_change,
)

WIDTH, HEIGHT = 5 * STEP - LINE, 4 * STEP - LINE


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Site]:
    examples = tmp_path_factory.mktemp("examples")
    write_grid(examples / "etched_lines.png", 4, 6)
    with serve(examples) as served:
        yield served


def uneven(path: Path) -> Path:
    """A grid of 20 in which one boundary is faint and one grain small."""
    picture = draw_grid(4, 5)
    picture[:40, 43:83] = 40
    picture[10:30, 53:73] = 210
    Image.fromarray(picture).save(path)
    return path


def slide(page, name: str, value: float) -> None:
    """Drags a slider to a value, holds it for a moment as a hand does, and lets it go."""
    slider = page.locator(f"#{name} input[type=range]")
    slider.fill(str(value))
    page.wait_for_function(f"document.querySelector('#{name} input[type=number]').value == '{value}'")
    page.wait_for_timeout(300)
    slider.dispatch_event("pointerup")


@needs_chromium
def test_smallest_grain_gives_a_new_count_without_a_forward_pass(page, site, tmp_path):
    upload(page, uneven(tmp_path / "steel.png"))
    press_count(page)
    assert shown_count(page) == 20
    runs = site.runs
    open_section(page, "Settings")
    page.locator("#smallest-grain input").fill("800")
    page.locator("#smallest-grain input").press("Enter")
    expect_count(page, 19)
    page.locator("#smallest-grain input").fill("")
    page.locator("#smallest-grain input").press("Enter")
    expect_count(page, 20)
    assert site.runs == runs


@needs_chromium
def test_boundary_sensitivity_gives_a_new_count_without_a_forward_pass(page, site, tmp_path, monkeypatch):
    def faint(model, image):
        maps = predict(model, image)
        weak = np.zeros(maps.shape[1:], bool)
        weak[:, 40:43] = True
        # Boundary evidence between the thresholds of a low and of a high sensitivity.
        maps[1] = np.where(weak & (maps[1] > 0.5), 0.55, maps[1])
        maps[0] = 1 - maps[1]
        return maps

    predict = site.predict
    monkeypatch.setattr("grain_model.analysis.predict_at_canonical_scale", lambda *a, **k: faint(*a))
    upload(page, write_grid(tmp_path / "steel.png", 4, 5))
    press_count(page)
    runs, before = site.runs, shown_count(page)
    open_section(page, "Settings")
    slide(page, "sensitivity", 0.95)
    page.wait_for_function("old => document.querySelector('[data-testid=count]').innerText > old", arg=str(before))
    assert shown_count(page) == 20 > before
    assert site.runs == runs


@needs_chromium
def test_edge_rule_changes_the_card_only(page, tmp_path):
    upload(page, write_grid(tmp_path / "steel.png", 4, 5))
    page.locator("#scale input").fill("0.5")
    press_count(page)
    expect_card(page, "planimetric")
    table, mask = page.locator("#grains").inner_text(), source_of(page, "mask")
    open_section(page, "Overlay and edge rule")
    page.get_by_label("Leave out those cut").check()
    expect_count(page, 6)
    expect_card(page, "E1382")
    page.get_by_label("as half").check()
    expect_count(page, 12)  # 6 inside, 10 at an edge, 4 at a corner
    expect_card(page, "planimetric")
    assert page.locator("#grains").inner_text() == table and source_of(page, "mask") == mask


@needs_chromium
def test_opacity_and_slider_show_the_overlay_in_another_way(page, site, tmp_path):
    path = write_grid(tmp_path / "steel.png", 4, 5)
    upload(page, path)
    press_count(page)
    runs, source, mask = site.runs, source_of(page, "overlay"), page.locator("#mask").bounding_box()
    open_section(page, "Overlay and edge rule")
    slide(page, "opacity", 0)
    wait_for_change(page, "overlay", source)
    inside = np.s_[5:35, 5:35]
    assert np.array_equal(picture(page, "overlay")[inside][..., 0], np.asarray(Image.open(path))[inside])
    page.get_by_label("Before and after").check()
    page.locator("#compare img").first.wait_for()
    assert page.locator("#compare img").count() == 2 and not page.locator("#overlay").is_visible()
    box = page.locator("#compare").bounding_box()
    assert abs(box["width"] - mask["width"]) < 5 and abs(box["height"] - mask["height"]) < 5
    assert site.runs == runs


@needs_chromium
def test_sliders_are_heeded_that_are_moved_by_keys(page, site, tmp_path):
    path = write_grid(tmp_path / "steel.png", 4, 5)
    upload(page, path)
    press_count(page)
    source = source_of(page, "overlay")
    open_section(page, "Overlay and edge rule")
    page.locator("#opacity input[type=range]").focus()
    page.keyboard.press("Home")
    wait_for_change(page, "overlay", source)
    assert np.array_equal(picture(page, "overlay")[5:35, 5:35, 0], np.asarray(Image.open(path))[5:35, 5:35])


@needs_chromium
def test_scale_by_two_clicks_and_a_length(page, site, tmp_path):
    upload(page, write_grid(tmp_path / "steel.png", 4, 5))
    press_count(page)
    runs = site.runs
    open_section(page, "Measure the scale")
    source = source_of(page, "scale-picture")
    click_at(page, "scale-picture", 20, 30, WIDTH)
    wait_for_change(page, "scale-picture", source)
    click_at(page, "scale-picture", 120, 30, WIDTH)
    page.wait_for_function("document.querySelector('#scale-hint').innerText.includes('100 px')")
    page.locator("#bar-length input").fill("50nm")
    page.locator("#use-measured").click()
    message = page.locator(".toast-body.error")
    message.wait_for()
    assert "The bar's length is '50nm'" in message.inner_text()
    assert page.locator("#scale input").input_value() == ""
    page.locator("#bar-length input").fill("50,0")
    page.locator("#use-measured").click()
    expect_card(page, "0.5 µm per pixel (given)")
    assert page.locator("#scale input").input_value() == "0.5"
    assert "µm²" in page.locator("#grains").inner_text()
    assert site.runs == runs


@needs_chromium
def test_an_emptied_scale_is_the_files_own_again(page, tmp_path):
    def give(scale: str, shown: str) -> None:
        page.locator("#scale input").fill(scale)
        page.locator("#scale input").blur()
        page.wait_for_function("shown => document.querySelector('#scale input').value == shown", arg=shown)

    path, size = tmp_path / "field.ome.tif", {"PhysicalSizeX": 2.0, "PhysicalSizeY": 2.0}
    tifffile.imwrite(path, draw_grid(3, 4), metadata={"axes": "YX", **size})
    upload(page, path)
    page.wait_for_function("document.querySelector('#scale input').value == '2'")
    give("", "2")
    press_count(page)
    expect_card(page, "2 µm per pixel (OME)")
    give("0.5", "0.5")
    expect_card(page, "0.5 µm per pixel (given)")
    give("", "2")
    expect_card(page, "2 µm per pixel (OME)")


@needs_chromium
def test_a_decimal_comma_is_counted_as_it_is_meant(page, tmp_path):
    page.locator("#scale input").fill(" 0,37 ")
    upload(page, write_grid(tmp_path / "steel.png", 4, 5))
    press_count(page)
    expect_card(page, "0.37 µm per pixel (given)")
    page.locator("#scale input").fill("0,5")
    page.locator("#scale input").press("ArrowUp")
    page.locator("#scale input").press("Enter")
    expect_card(page, "0.5 µm per pixel (given)")
    assert page.locator("#scale input").input_value() == "0,5"
    page.locator("#copy-link").click()
    page.wait_for_function("document.querySelector('#link textarea, #link input')?.value.endsWith('?um_per_pixel=0.5')")


@needs_chromium
def test_a_setting_that_waits_for_its_turn_does_not_hide_the_count_that_came_meanwhile(page, tmp_path, monkeypatch):
    turn, of = threading.Event(), Stand.of

    def wait(*stand):
        assert sys._getframe(1).f_code.co_name != "redraw" or turn.wait(30)
        return of(*stand)

    monkeypatch.setattr(Stand, "of", wait)
    upload(page, write_grid(tmp_path / "steel.png", 4, 5))
    page.locator("#scale input").fill("0.5")
    press_count(page)  # which the field, left for the button, asks to be redrawn by
    turn.set()
    page.wait_for_timeout(1000)
    expect_card(page, "0.5 µm per pixel (given)")
    assert page.locator("#results").is_visible()


@needs_chromium
def test_a_scale_that_is_no_number_is_refused_by_its_name_and_never_counted_as_none(page, site, tmp_path):
    message = page.locator(".toast-body.error")
    upload(page, write_grid(tmp_path / "steel.png", 4, 5))
    runs = site.runs
    page.locator("#scale input").fill("370nm")
    page.get_by_role("button", name="Count grains").click()
    message.wait_for()
    assert "The scale is '370nm'" in message.inner_text() and "is expected" in message.inner_text()
    assert site.runs == runs and not page.locator("#results").is_visible()
    page.locator("#scale input").fill("0.5")
    press_count(page)
    expect_card(page, "0.5 µm per pixel (given)")
    message.wait_for(state="detached")
    page.locator("#scale input").fill("1,234.5")
    page.locator("#scale input").press("Enter")
    message.wait_for()
    assert "The scale is '1,234.5'" in message.inner_text()
    expect_card(page, "0.5 µm per pixel (given)")
    # What needs no scale goes on.
    open_section(page, "Correct by hand")
    click_at(page, "correction", 63, 63, WIDTH)
    expect_count(page, 19)
    expect_card(page, "0.5 µm per pixel (given)")
    page.locator("#copy-link").click()
    page.wait_for_timeout(1000)
    assert not page.locator("#link").is_visible()


@needs_chromium
def test_a_link_fills_the_scale_and_phones_show_their_keyboard_of_numbers(browser, site):
    visitor = visit(browser, f"{site.url}?um_per_pixel=0.37", has_touch=True)
    visitor.wait_for_function("document.querySelector('#scale input').value === '0.37'")
    visitor.locator("#scale input").tap()
    assert visitor.locator("#scale input").evaluate("field => field.inputMode") == "decimal"
    visitor.close()


@needs_chromium
def test_a_measurement_without_its_length_is_explained(page, tmp_path):
    upload(page, write_grid(tmp_path / "steel.png", 4, 5))
    open_section(page, "Measure the scale")
    source_of(page, "scale-picture")
    page.locator("#use-measured").click()
    message = page.locator(".toast-body.error")
    message.wait_for()
    assert "Click both ends" in message.inner_text()
    assert page.locator("#scale input").input_value() == ""


@needs_chromium
def test_a_printed_length_is_offered_and_never_applied_by_itself(page, site, tmp_path, monkeypatch):
    pytest.importorskip("rapidocr", reason="the page offers no reading without it")
    monkeypatch.setattr(scale_view, "suggest_scale", lambda micrograph: ScaleSuggestion(0.25, "20 µm", 80, 0.9))
    upload(page, write_grid(tmp_path / "steel.png", 4, 5))
    press_count(page)
    open_section(page, "Measure the scale")
    page.locator("#read-scale").click()
    page.wait_for_function("document.querySelector('#scale-hint').innerText.includes('90%')")
    assert page.locator("#scale input").input_value() == "" and "not known" in page.locator("#count").inner_text()
    page.locator("#use-suggested").click()
    expect_card(page, "0.25 µm per pixel (given)")


@needs_chromium
@pytest.mark.parametrize("kind", ["xlsx", "imagej", "report-html"])
def test_files_are_made_on_demand(page, tmp_path, kind):
    upload(page, write_grid(tmp_path / "steel.png", 4, 5))
    press_count(page)
    open_section(page, "More files")
    page.locator("#file-kind input").click()
    page.get_by_role("option", name=KINDS[kind]).click()
    page.locator("#make-file").click()
    with page.expect_download() as download:
        page.locator("#made-file a[download]").first.click()
    name = {"xlsx": "steel-grains.xlsx", "imagej": "steel-RoiSet.zip", "report-html": "steel-report.html"}[kind]
    assert download.value.suggested_filename == name
    if kind == "imagej":
        assert len(zipfile.ZipFile(download.value.path()).namelist()) == 20
    if kind == "report-html":
        assert "steel.png" in Path(download.value.path()).read_text(encoding="utf-8")


@needs_chromium
def test_a_file_of_grains_that_were_corrected_meanwhile_is_not_offered(page, tmp_path, monkeypatch):
    turn, make_file = threading.Event(), downloads.make_file

    def make_in_turn(counted, kind):
        path = make_file(counted, kind)
        assert turn.wait(30)
        return path

    monkeypatch.setattr(downloads, "make_file", make_in_turn)
    upload(page, write_grid(tmp_path / "steel.png", 4, 5))
    press_count(page)
    open_section(page, "More files")
    page.locator("#make-file").click()
    page.wait_for_timeout(500)
    page.locator("#scale input").fill("0.5")
    page.locator("#scale input").press("Enter")
    expect_card(page, "0.5 µm per pixel")  # which did not wait for the file
    turn.set()
    page.wait_for_timeout(1000)
    assert not page.locator("#made-file").is_visible()


@needs_chromium
def test_a_link_reopens_example_and_settings(page, browser, site):
    page.locator("#examples").get_by_role("button").first.click()
    expect_count(page, 24)
    page.locator("#scale input").fill("0.5")
    page.locator("#scale input").press("Enter")
    expect_card(page, "0.5 µm per pixel")
    open_section(page, "Overlay and edge rule")
    page.locator("#show").get_by_label("outlines").check()
    page.get_by_label("Leave out those cut").check()
    expect_count(page, 8)
    page.locator("#copy-link").click()
    page.wait_for_function("document.querySelector('#link textarea, #link input')?.value.startsWith('http')")
    link = page.locator("#link textarea, #link input").input_value()
    assert link.startswith(site.url) and parse_qs(urlparse(link).query)["example"] == ["etched_lines"]
    again = visit(browser, link)
    expect_count(again, 8)
    expect_card(again, "0.5 µm per pixel (given)")
    assert np.array_equal(picture(again, "overlay"), picture(page, "overlay"))
    open_section(again, "Overlay and edge rule")
    assert again.locator("#show").get_by_label("outlines").is_checked()
    again.close()
    page.get_by_label("Count those cut").check()
    page.wait_for_function("document.querySelector('#link textarea, #link input')?.value === ''")


@needs_chromium
def test_what_a_link_says_wrongly_is_named_and_ignored(browser, site):
    visitor = visit(browser, f"{site.url}?example=nowhere&opacity=3&method=components")
    message = visitor.locator(".toast-body.warning")
    message.wait_for()
    text = message.inner_text()
    assert "no example 'nowhere'" in text and "'3' is no opacity" in text and "components" not in text
    open_section(visitor, "Settings")
    assert visitor.get_by_label("components").is_checked()
    assert not visitor.locator("#results").is_visible()
    visitor.close()


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_section_fits_a_phone(browser, site, tmp_path, scheme):
    phone = visit(browser, site.url, viewport={"width": 360, "height": 740}, color_scheme=scheme)
    upload(phone, write_grid(tmp_path / "steel.png", 4, 5))
    press_count(phone)
    for name in ("Measure the scale", "Settings", "Overlay and edge rule", "Correct by hand", "More files"):
        open_section(phone, name)
    phone.locator("#copy-link").click()
    source_of(phone, "correction")
    assert phone.evaluate("document.documentElement.scrollWidth") <= 360
    click_at(phone, "correction", 63, 63, WIDTH)
    expect_count(phone, 19)
    phone.close()


@needs_chromium
def test_every_control_has_a_name_and_can_be_reached_by_keyboard(page, tmp_path):
    upload(page, write_grid(tmp_path / "steel.png", 4, 5))
    press_count(page)
    for name in ("Measure the scale", "Settings", "Overlay and edge rule", "Correct by hand", "More files"):
        open_section(page, name)
    source_of(page, "correction")
    for name in ("correction", "scale-picture", "overlay", "mask"):
        assert page.locator(f"#{name} img").get_attribute("alt")
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('#results input, #results textarea, #entry input')].filter(
            field => field.offsetParent && field.type != 'file'
            && !field.labels?.length && !field.ariaLabel && !field.closest('label')).map(field => field.outerHTML)"""
    )
    assert not nameless
    for name in ("copy-link", "undo", "make-file"):
        assert page.locator(f"#{name}").evaluate("button => button.tabIndex") == 0
    page.locator("#copy-link").focus()
    page.keyboard.press("Enter")
    page.locator("#link").wait_for()


def test_every_format_and_report_is_offered():
    assert set(KINDS) == set(FORMATS) | set(REPORTS)


@pytest.mark.parametrize(
    "text, scale",
    [("0,37", 0.37), (" 0.37\u00a0", 0.37), ("1,234", 1.234), (",5", 0.5), ("2.", 2), ("+2", 2), ("3,7E-1", 0.37)]
    + [(nothing, None) for nothing in (None, "", "  ")],
)
def test_a_scale_is_read_as_people_type_it(text, scale):
    assert read_scale(text) == scale


@pytest.mark.parametrize(
    "text",
    ["370nm", "1,234.5", "1.234,5", "1,2,3", "0 37", "1_0", "0x1", "nan", "inf", "-1", "0", "1e7", ".", ",", "٣"],
)
def test_what_is_typed_and_is_no_scale_is_named(text):
    with pytest.raises(ScaleError, match=re.escape(f"The scale is {text!r}; a positive number")):
        read_scale(f" {text} ")


@pytest.mark.parametrize("scale", [0.5, 2, 1e-6, 1e6, 1 / 3, np.float32(0.1), 0.1 + 0.2, 1e-5, None])
def test_a_scale_is_written_for_a_field_that_gives_it_again(scale):
    assert read_scale(write_scale(scale)) == scale
    assert write_scale(2.0) == "2" and write_scale(1e-5) == "0.00001" and write_scale(None) == ""


@pytest.mark.parametrize("scale, area", [(0.37, 40.0), (0.123456789, 0.5)])
def test_links_are_read_as_they_are_written(scale, area):
    settings = PageSettings(scale, "components", 0.7, area, "ids", 0.6, "half", True)
    query = write_link("steel", settings)
    read = read_link({name: values[0] for name, values in parse_qs(query[1:]).items()}, ["steel"])
    assert read.example == "steel" and read.settings == settings and not read.ignored
    assert write_link(None, PageSettings()) == ""
    assert read_link({"theme": "dark"}, []).ignored == ()


@pytest.mark.parametrize(
    "name, value",
    [
        ("um_per_pixel", "-1"),
        ("um_per_pixel", "nan"),
        ("um_per_pixel", "1e9"),
        ("boundary_sensitivity", "2"),
        ("min_grain_area", "x"),
        ("show", "<b>"),
        ("edge_rule", "none"),
        ("compare", "yes"),
        ("method", "sam"),
    ],
)
def test_links_that_do_not_fit_leave_the_default(name, value):
    read = read_link({name: value}, [])
    assert read.settings == PageSettings() and len(read.ignored) == 1 and value in read.ignored[0]


@pytest.mark.parametrize(
    "points, length",
    [([], "5"), ([(1, 1)], "5"), ([(1, 1), (1, 1)], "5")]
    + [([(1, 1), (9, 1)], length) for length in (None, " ", "0", "-5", "5 µm", "1e999")],
)
def test_a_measurement_that_gives_no_scale_is_refused(points, length):
    with pytest.raises(ScaleError, match="expected"):
        measured_scale(points, length)


def test_a_slanting_bar_is_measured_along_itself():
    assert measured_scale([(10, 10), (40, 50)], "25") == pytest.approx(0.5)


def test_nothing_to_suggest_is_said():
    assert "No scale bar" in describe_suggestion(None)


def test_small_pictures_are_enlarged_and_clicks_go_to_their_own_pixels():
    small, large = np.zeros((100, 200, 3), np.uint8), np.zeros((1200, 1500, 3), np.uint8)
    assert draw_points(small, []).shape == (500, 1000, 3) and draw_points(large, []).shape == large.shape
    assert clicked_point((504, 24), small.shape) == (100, 4)
    drawn = draw_points(small, [(100, 4)])
    assert (drawn[4 * 5 + 2, 100 * 5 + 2] == (255, 230, 0)).all()
    assert enlargement(large.shape) == 1
