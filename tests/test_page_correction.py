"""Corrections by hand on the page: each changes the count by exactly one, and the files follow."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from grain_model.correction import Edit
from grain_model.rendering import CHOSEN_COLOUR, CORRECTED_COLOUR
from grain_model.ui.correction_view import take_click
from tests.browser import needs_chromium, visit
from tests.drawn import LINE, STEP, middle, write_grid
from tests.page_steps import (
    click_at,
    download_results,
    expect_card,
    expect_count,
    open_section,
    picture,
    press_count,
    source_of,
    upload,
    wait_for_change,
)

pytestmark = needs_chromium

WIDTH = 5 * STEP - LINE


@pytest.fixture
def counted(page, tmp_path):
    """A visitor with 20 grains and the correction open."""
    upload(page, write_grid(tmp_path / "steel.png", 4, 5))
    press_count(page)
    open_section(page, "Correct by hand")
    source_of(page, "correction")
    return page


def use(page, tool: str) -> None:
    page.locator("#correction-tool").get_by_label(tool).check()
    page.wait_for_function(f"document.querySelector('#correction-hint').innerText.startsWith('{tool}')")


def click(page, *points: tuple[float, float]) -> None:
    """Clicks at points in turn, and waits for each to be drawn; the last may complete a correction."""
    for number, (x, y) in enumerate(points):
        source = source_of(page, "correction")
        click_at(page, "correction", x, y, WIDTH)
        if number < len(points) - 1:
            wait_for_change(page, "correction", source)


def expect_files(page, count: int, by_hand: int) -> None:
    table, summary, mask = download_results(page)
    assert len(table) == summary["count"] == count
    assert table["corrected"].sum() == summary["corrections"]["corrected_grains"] == by_hand
    assert np.array_equal(mask, picture(page, "mask"))


def test_delete_undo_redo_and_reset(counted, site):
    runs = site.runs
    click(counted, middle(1, 1))
    expect_count(counted, 19)
    expect_card(counted, "1 deleted")
    expect_files(counted, 19, 0)
    click(counted, middle(2, 2))
    expect_count(counted, 18)
    counted.locator("#undo").click()
    expect_count(counted, 19)
    expect_files(counted, 19, 0)
    counted.locator("#redo").click()
    expect_count(counted, 18)
    counted.locator("#reset").click()
    expect_count(counted, 20)
    counted.wait_for_function("document.querySelector('#undo').disabled && document.querySelector('#reset').disabled")
    counted.locator("#redo").click()
    expect_count(counted, 19)
    assert site.runs == runs


def test_merge_marks_the_grain_in_card_table_and_overlay(counted):
    use(counted, "Merge")
    click(counted, middle(1, 1), middle(1, 2))
    expect_count(counted, 19)
    expect_card(counted, "1 grain")
    expect_files(counted, 19, 1)
    assert "by hand" in counted.locator("#grains").inner_text()
    marked = (picture(counted, "overlay") == CORRECTED_COLOUR).all(axis=-1)
    assert marked[STEP : STEP + 40, STEP : 3 * STEP - LINE].any()
    assert not marked[: STEP - LINE].any()


def test_split_along_points(counted):
    use(counted, "Split")
    assert counted.locator("#confirm-points").is_disabled()
    x = 2 * STEP + 20
    click(counted, (x, STEP - 2), (x - 4, STEP + 20), (x, 2 * STEP - 2))
    counted.wait_for_function("document.querySelector('#correction-hint').innerText.includes('3 points')")
    counted.locator("#confirm-points").click()
    expect_count(counted, 21)
    expect_files(counted, 21, 2)
    counted.locator("#undo").click()
    expect_count(counted, 20)


def test_add_what_was_deleted_by_clicking_the_first_point_again(counted):
    click(counted, middle(1, 1))
    expect_count(counted, 19)
    use(counted, "Add")
    near, far = STEP - 4, 2 * STEP + 2
    click(counted, (near, near), (far, near), (far, far), (near, far), (near, near))
    expect_count(counted, 20)
    expect_files(counted, 20, 1)


@pytest.mark.parametrize("side", [28, 400])
def test_an_outline_is_closed_by_its_own_size(side):
    """On a large picture, too, each corner of a small grain is a point; only a click at the first one closes."""
    counted = SimpleNamespace(analysis=SimpleNamespace(labels=np.zeros((1500, 2000), np.int32)))
    corners = [(500, 500), (500 + side, 500), (500 + side, 500 + side), (500, 500 + side)]
    points = ()
    for corner in corners:
        points, edit = take_click(counted, "add", points, corner)
        assert edit is None
    assert take_click(counted, "add", points, (504, 503)) == (tuple(corners), Edit("add", tuple(corners)))


def test_points_are_drawn_and_can_be_removed(counted):
    use(counted, "Add")
    plain = picture(counted, "correction")
    before = source_of(counted, "correction")
    click(counted, (30, 30), (80, 30))
    counted.wait_for_function("document.querySelector('#correction-hint').innerText.includes('2 points')")
    assert not np.array_equal(picture(counted, "correction"), plain)
    counted.locator("#clear-points").click()
    counted.wait_for_function("old => document.querySelector('#correction img').src == old", arg=before)
    assert counted.locator("#confirm-points").is_disabled()


def test_a_correction_that_does_not_fit_is_explained(counted):
    use(counted, "Merge")
    click(counted, middle(0, 0), middle(3, 3))
    message = counted.locator(".toast-body.warning")
    message.wait_for()
    assert "do not lie side by side" in message.inner_text()
    expect_count(counted, 20)
    # The next pair begins anew.
    click(counted, middle(0, 1), middle(0, 2))
    expect_card(counted, "1 merged")


def test_scale_and_overlay_keep_corrections(counted):
    click(counted, middle(1, 1))
    expect_count(counted, 19)
    counted.locator("#scale input").fill("0.5")
    counted.locator("#scale input").press("Enter")
    expect_card(counted, "0.5 µm per pixel (given)")
    expect_card(counted, "1 deleted")
    open_section(counted, "Overlay and edge rule")
    source = source_of(counted, "overlay")
    counted.locator("#show").get_by_label("ids").check()
    wait_for_change(counted, "overlay", source)
    expect_count(counted, 19)
    counted.locator("#undo").click()
    expect_count(counted, 20)
    expect_card(counted, "0.5 µm per pixel (given)")


def test_settings_that_draw_anew_ask_before_they_discard(counted, site):
    click(counted, middle(1, 1))
    expect_count(counted, 19)
    runs = site.runs
    open_section(counted, "Settings")
    counted.get_by_label("components").check()
    counted.locator("#question").wait_for()
    expect_count(counted, 19)
    counted.locator("#keep-corrections").click()
    counted.locator("#question").wait_for(state="hidden")
    assert counted.get_by_label("watershed").is_checked()
    expect_count(counted, 19)
    counted.get_by_label("components").check()
    counted.locator("#discard-corrections").click()
    expect_count(counted, 20)
    counted.locator("#question").wait_for(state="hidden")
    assert "deleted" not in counted.locator("#count").inner_text()
    assert site.runs == runs


@pytest.mark.parametrize("answer, count", [("keep-corrections", 19), ("discard-corrections", 20)])
def test_a_scale_typed_while_the_page_asks_is_used(counted, answer, count):
    click(counted, middle(1, 1))
    expect_count(counted, 19)
    open_section(counted, "Settings")
    counted.get_by_label("components").check()
    counted.locator("#question").wait_for()
    counted.locator("#scale input").fill("0.5")
    counted.locator(f"#{answer}").click()
    counted.locator("#question").wait_for(state="hidden")
    expect_card(counted, "0.5 µm per pixel (given)")
    expect_count(counted, count)


def test_counting_again_asks_before_it_discards(counted, site):
    click(counted, middle(1, 1))
    expect_count(counted, 19)
    runs = site.runs
    press_count(counted)
    counted.locator("#question").wait_for()
    expect_count(counted, 19)
    assert site.runs == runs


def test_a_scale_typed_just_before_a_correction_is_kept(counted):
    counted.locator("#scale input").fill("0.5")
    click(counted, middle(1, 1))
    expect_count(counted, 19)
    expect_card(counted, "0.5 µm per pixel (given)")


def test_a_correction_made_over_the_question_leaves_the_settings_as_they_were(counted):
    click(counted, middle(1, 1))
    expect_count(counted, 19)
    open_section(counted, "Settings")
    counted.get_by_label("components").check()
    counted.locator("#question").wait_for()
    click(counted, middle(2, 2))
    expect_count(counted, 18)
    counted.locator("#question").wait_for(state="hidden")
    assert counted.get_by_label("watershed").is_checked()


def test_corrections_are_back_when_their_picture_is(counted, site, tmp_path):
    click(counted, middle(1, 1))
    expect_count(counted, 19)
    write_grid(tmp_path / "other.png", 3, 3)
    for name, count in (("other.png", 9), ("steel.png", 19)):
        counted.locator("#micrograph").get_by_label("Remove Image").press("Enter")
        counted.locator("#micrograph img").wait_for(state="detached")
        upload(counted, tmp_path / name)
        runs = site.runs
        press_count(counted)
        expect_count(counted, count)
    expect_card(counted, "1 deleted")
    assert site.runs == runs


def test_choosing_a_row_marks_its_grain(counted):
    source = source_of(counted, "overlay")
    counted.locator("#grains").get_by_role("gridcell").nth(0).click()
    wait_for_change(counted, "overlay", source)
    marked = (picture(counted, "overlay") == CHOSEN_COLOUR).all(axis=-1)
    assert marked[:40, :40].any() and not marked[STEP:].any() and not marked[:, STEP:].any()


def test_corrections_of_two_visitors_keep_apart(counted, browser, site, tmp_path):
    other = visit(browser, site.url)
    upload(other, write_grid(tmp_path / "theirs.png", 4, 5))
    press_count(other)
    open_section(other, "Correct by hand")
    click(counted, middle(1, 1))
    expect_count(counted, 19)
    use(other, "Merge")
    click(other, middle(0, 0), middle(0, 1))
    expect_count(other, 19)
    expect_card(other, "1 merged")
    assert "deleted" not in other.locator("#count").inner_text()
    assert "merged" not in counted.locator("#count").inner_text()
    other.close()


def test_arrow_keys_and_enter_do_what_clicks_do(counted):
    pointer, shown = counted.locator("#picture-pointer"), counted.locator("#correction img")

    def place() -> np.ndarray:
        counted.wait_for_timeout(100)
        boxes = [element.bounding_box() for element in (pointer, shown)]
        return np.array([boxes[0][axis] - boxes[1][axis] for axis in "xy"])

    counted.locator("#correction .image-container > button").focus()
    counted.keyboard.press("ArrowRight")
    source = source_of(counted, "correction")
    counted.keyboard.press("Enter")
    expect_count(counted, 19)
    wait_for_change(counted, "correction", source)
    before = place()
    for _ in range(3):
        counted.keyboard.press("Shift+ArrowDown")
    assert place() - before == pytest.approx(np.array([0, 3]), abs=0.1)
    for _ in range(60):
        counted.keyboard.press("ArrowLeft")
    assert place()[0] == pytest.approx(-0.5 * pointer.bounding_box()["width"], abs=2)
    counted.keyboard.press("Enter")
    expect_count(counted, 18)
    counted.locator("#undo").focus()
    pointer.wait_for(state="detached")
