"""Corrections by hand on drawn label images whose counts are known."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from grain_model.correction import Edit, apply, describe_edits, replay
from grain_model.counting import count_grains
from grain_model.errors import CorrectionError
from grain_model.export import export_grains
from grain_model.margins import Margins
from grain_model.micrograph import read_micrograph
from grain_model.rendering import CHOSEN_COLOUR, CORRECTED_COLOUR, mark_grains
from grain_model.report_content import compose_report
from tests.drawn import LINE, STEP, draw_grid, grid_ids, middle


def grid_labels() -> np.ndarray:
    """Labels of a drawn grid of 3 * 4 grains."""
    return grid_ids(3, 4)


def split_by(*points: tuple[float, float]) -> Edit:
    return Edit("split", points)


@pytest.fixture
def analysis(sees_drawings, tiny_model):
    return count_grains(draw_grid(4, 5), 0.5, tiny_model)


def test_deleting_leaves_every_other_grain_as_it_is():
    labels = grid_labels()
    after = apply(labels, Edit("delete", (middle(1, 2),)))
    assert not after[labels == 7].any()
    assert np.array_equal(np.where(labels == 7, 0, labels), after)
    assert labels[labels == 7].size == 1600, "the input is not changed"


def test_what_is_not_corrected_keeps_its_colour(analysis):
    once = analysis.correct([Edit("merge", (middle(2, 1), middle(2, 2)))])
    twice = once.correct([Edit("delete", (middle(0, 0),))])
    for corrected, places in ((once, {(2, 1), (2, 2)}), (twice, {(0, 0), (2, 1), (2, 2)})):
        for row in range(4):
            for column in set(range(5)) - {column for at, column in places if at == row}:
                x, y = map(int, middle(row, column))
                assert np.array_equal(corrected.overlay()[y, x], analysis.overlay()[y, x])
    x, y = map(int, middle(2, 1))
    assert np.array_equal(once.overlay()[y, x], twice.overlay()[y, x])
    # Undoing begins anew from the network's grains.
    again = analysis.correct(twice.edits)
    assert np.array_equal(again.overlay(), twice.overlay())
    assert twice.relabel().colour_numbers is None


def test_merging_fills_the_line_between_and_leaves_other_boundaries():
    labels = grid_labels()
    after = apply(labels, Edit("merge", (middle(0, 0), middle(0, 1))))
    new = after == 13
    assert set(np.unique(after)) == set(range(3, 14)) | {0}
    assert new[:39, : 2 * 40 + LINE].all(), "both grains and the line between them are one"
    assert not new[42:, :].any() and not new[:, 84:].any(), "the lines to the other grains stay"
    assert np.array_equal(after[after != 13], labels[after != 13])


def test_merging_over_a_gap_goes_by_its_width():
    labels = np.zeros((60, 160), np.int32)
    labels[10:50, 10:60], labels[10:50, 68:110], labels[10:50, 135:155] = 1, 2, 3
    after = apply(labels, Edit("merge", ((30, 30), (90, 30))))
    assert (after[15:45, 10:110] == 4).all()
    with pytest.raises(CorrectionError, match="side by side"):
        apply(labels, Edit("merge", ((90, 30), (145, 30))))


def test_merging_touching_grains_without_a_line():
    labels = np.ones((20, 40), np.int32)
    labels[:, 20:] = 2
    assert (apply(labels, Edit("merge", ((5, 5), (30, 5)))) == 3).all()


def test_merging_over_another_grain_is_refused():
    with pytest.raises(CorrectionError, match="side by side"):
        apply(grid_labels(), Edit("merge", (middle(0, 0), middle(0, 2))))


@pytest.mark.parametrize(
    "points",
    [
        [(20, 0), (20, 39)],
        [(20, 3), (20, 36)],  # hands stop short
        [(20, -2), (10, 20), (20, 41)],
        [(0, 39), (39, 0)],
    ],
)
def test_splitting_makes_two_parts_that_do_not_touch(points):
    labels = grid_labels()
    after = apply(labels, split_by(*points))
    one, other = after == 13, after == 14
    assert one.any() and other.any() and not (after == 1).any()
    assert one.sum() + other.sum() > 1600 - 100
    grown = np.zeros_like(one)
    for rows in (-1, 0, 1):
        for columns in (-1, 0, 1):
            grown |= np.roll(one, (rows, columns), (0, 1))
    assert not (grown & other).any()
    assert np.array_equal(after[labels != 1], labels[labels != 1])


@pytest.mark.parametrize(
    "points, found",
    [
        ([(10, 20), (20, 20)], "no grain"),
        ([(20, 0), (20, 82)], "2 grains"),
        ([(-5, 10), (41, 10), (41, 30), (-5, 30)], "several parts"),
        ([(60, 41), (100, 41)], "no grain"),
    ],
)
def test_a_line_that_does_not_cut_one_grain_in_two_is_refused(points, found):
    with pytest.raises(CorrectionError, match=found):
        apply(grid_labels(), split_by(*points))


def in_two_pieces() -> np.ndarray:
    """Grain 1 with a line inside of it, above a whole grain 2."""
    labels = np.zeros((104, 100), np.int32)
    labels[2:50, 2:98], labels[52:102, 2:98] = 1, 2
    labels[2:50, 69:71] = 0
    return labels


@pytest.mark.parametrize(
    "points, cut, left",
    [
        ([(30, 1), (30, 50)], 1, 2),  # through one of its pieces: the other one stays with the nearer part
        ([(1, 25), (98, 25)], 1, 2),  # through both of them
        ([(70, 1), (70, 50)], 1, 2),  # along the line between them
        ([(50, 102), (50, 49)], 2, 1),  # through its neighbour, a little into it
        ([(70, 102), (70, 51)], 2, 1),
    ],
)
def test_a_grain_in_pieces_is_one_grain_to_a_line(points, cut, left):
    labels = in_two_pieces()
    after = apply(labels, split_by(*points))
    assert set(np.unique(after)) == {0, left, 3, 4}
    assert np.array_equal(after == left, labels == left)
    assert ((after == 3) | (after == 4)).sum() > 0.95 * (labels == cut).sum()
    if points[0] == (30, 1):
        assert after[25, 10] != after[25, 50] == after[25, 90]


def test_a_line_that_ends_inside_a_grain_does_not_part_the_pieces_of_another():
    labels = in_two_pieces()
    with pytest.raises(CorrectionError, match="no grain"):
        apply(labels, split_by((50, 80), (50, 51)))


def test_a_line_from_edge_to_edge_does_not_cut_a_thin_neighbour():
    labels = np.zeros((120, 240), np.int32)
    labels[:, :200], labels[:, 201:209], labels[:, 210:] = 1, 2, 3
    for start, end in ((0, 200), (0, 195), (0, 203), (3, 196)):
        after = apply(labels, split_by((start, 60), (end, 60)))
        assert np.array_equal(np.unique(after), [0, 2, 3, 4, 5])
        assert np.array_equal(after > 3, (labels == 1) & (np.arange(120) != 60)[:, None])
    with pytest.raises(CorrectionError, match="2 grains"):
        apply(labels, split_by((0, 60), (209, 60)))


def test_adding_fills_what_is_free_and_keeps_a_boundary():
    labels = apply(grid_labels(), Edit("delete", (middle(1, 1),)))
    around = ((30, 30), (95, 30), (95, 95), (30, 95))
    after = apply(labels, Edit("add", around))
    new = after == 13
    assert new[44:82, 44:82].all()
    assert np.array_equal(after[~new], labels[~new])
    beside = np.pad(new, 1)
    touching = beside[:-2, 1:-1] | beside[2:, 1:-1] | beside[1:-1, :-2] | beside[1:-1, 2:]
    assert not (labels[touching & ~new] > 0).any()


def test_adding_takes_the_largest_piece_and_refuses_where_nothing_is_free():
    labels = np.zeros((60, 60), np.int32)
    labels[:, 20:25] = 1
    after = apply(labels, Edit("add", ((5, 5), (55, 5), (55, 55), (5, 55))))
    assert (after[10:50, 27:55] == 2).all() and not (after[:, :20] == 2).any()
    with pytest.raises(CorrectionError, match="Nothing inside the outline is free"):
        apply(grid_labels(), Edit("add", ((2, 2), (38, 2), (38, 38), (2, 38))))


def test_a_click_beside_a_grain_takes_it_and_one_far_away_is_refused():
    labels = grid_labels()
    assert not (apply(labels, Edit("delete", ((40, 20),))) == 1).any()
    assert not (apply(labels, Edit("delete", ((42, 20),))) == 2).any()
    empty = apply(labels, Edit("delete", (middle(0, 0),)))
    with pytest.raises(CorrectionError, match="no grain at"):
        apply(empty, Edit("delete", (middle(0, 0),)))
    with pytest.raises(CorrectionError, match="outside"):
        apply(labels, Edit("delete", ((-1, 5),)))


def test_one_grain_cannot_be_merged_with_itself():
    with pytest.raises(CorrectionError, match="same grain"):
        apply(grid_labels(), Edit("merge", ((5, 5), (30, 30))))


@pytest.mark.parametrize("kind, count", [("delete", 2), ("merge", 1), ("split", 1), ("add", 2), ("paint", 1)])
def test_an_edit_with_the_wrong_points_is_refused(kind, count):
    with pytest.raises(CorrectionError, match="expected"):
        Edit(kind, ((1, 1),) * count)


def test_replaying_numbers_without_gaps_and_knows_what_is_new():
    labels = grid_labels()
    edits = [
        Edit("delete", (middle(2, 3),)),  # the highest number, which a new grain must not take for its own
        Edit("add", ((130, 87), (168, 87), (168, 125), (130, 125))),
        Edit("merge", (middle(0, 0), middle(0, 1))),
        split_by((20 + STEP, STEP), (20 + STEP, STEP + 39)),
    ]
    result = replay(labels, edits)
    assert np.array_equal(np.unique(result.labels), np.arange(13))
    assert result.origins.tolist() == [3, 4, 5, 7, 8, 9, 10, 11, 0, 0, 0, 0]
    for label, origin in enumerate(result.origins, start=1):
        if origin:
            assert np.array_equal(result.labels == label, labels == origin)
    assert np.array_equal(replay(labels, ()).labels, labels)


def test_an_empty_picture_can_be_drawn_from_nothing():
    result = replay(np.zeros((50, 50), np.int32), [Edit("add", ((5, 5), (40, 5), (40, 40)))])
    assert result.labels.max() == 1 and result.origins.tolist() == [0]


def test_edits_in_words():
    edits = [Edit("delete", ((1, 1),)), split_by((0, 0), (1, 1)), Edit("delete", ((2, 2),))]
    assert describe_edits(edits) == "2 deleted, 1 split"
    assert describe_edits([]) == ""


@pytest.mark.parametrize(
    "edit, change, by_hand",
    [
        (Edit("delete", (middle(1, 1),)), -1, 0),
        (Edit("merge", (middle(1, 1), middle(1, 2))), -1, 1),
        (split_by((STEP + 20, STEP), (STEP + 20, STEP + 39)), 1, 2),
    ],
)
def test_everything_measured_follows_a_correction(analysis, tmp_path, edit, change, by_hand):
    corrected = analysis.correct([edit])
    assert analysis.count == 20 and not analysis.table["corrected"].any() and analysis.edits == ()
    assert corrected.count == 20 + change == len(corrected.table) == corrected.labels.max()
    assert corrected.table["corrected"].sum() == by_hand
    assert np.array_equal(corrected.table["confidence"].isna(), corrected.table["corrected"])
    before, after = analysis.grain_size.saltykov, corrected.grain_size.saltykov
    assert after.n == pytest.approx(before.n + change) and (after.G > before.G) == (change > 0)
    folder = corrected.save(tmp_path)
    written = pd.read_csv(folder / "grains.csv")
    assert len(written) == corrected.count and written["corrected"].sum() == by_hand
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert summary["count"] == corrected.count
    assert summary["corrections"]["corrected_grains"] == by_hand
    assert summary["corrections"]["edits"] == [edit.to_dict()]
    assert 0 < summary["mean_confidence"] <= 1


def test_adding_back_a_deleted_grain(analysis):
    outline = ((STEP - 5, STEP - 5), (STEP + 45, STEP - 5), (STEP + 45, STEP + 45), (STEP - 5, STEP + 45))
    corrected = analysis.correct([Edit("delete", (middle(1, 1),)), Edit("add", outline)])
    assert corrected.count == 20 and corrected.corrected_ids == (20,)
    assert corrected.table["area"].iloc[-1] == analysis.table["area"].iloc[6]


def test_correcting_in_steps_is_correcting_at_once(analysis):
    edits = [Edit("merge", (middle(0, 0), middle(0, 1))), Edit("delete", (middle(3, 3),))]
    at_once, in_steps = analysis.correct(edits), analysis.correct(edits[:1]).correct(edits[1:])
    assert np.array_equal(at_once.labels, in_steps.labels)
    assert at_once.corrected_ids == in_steps.corrected_ids and at_once.edits == in_steps.edits
    assert np.array_equal(analysis.correct([]).labels, analysis.labels)
    assert at_once.relabel().edits == at_once.relabel().corrected_ids == ()


def test_corrected_grains_stand_out_in_every_overlay(analysis):
    corrected = analysis.correct([Edit("merge", (middle(1, 1), middle(1, 2)))])
    grain = corrected.labels == corrected.corrected_ids[0]
    for show in ("fill", "outlines", "ids", "confidence"):
        is_marked = (corrected.overlay(show=show) == CORRECTED_COLOUR).all(axis=-1)
        assert (is_marked & grain).sum() > 100
        assert not (is_marked & ~grain & (corrected.labels > 0)).any() or show == "ids"


def test_marking_changes_the_marked_grain_only():
    labels, picture = grid_labels(), np.full((*grid_labels().shape, 3), 90, np.uint8)
    marked = mark_grains(picture, labels, [6], CHOSEN_COLOUR)
    changed = (marked != picture).any(axis=-1)
    assert changed.any() and (labels[changed] == 6).all()
    assert (marked == CHOSEN_COLOUR).all(axis=-1).any()
    assert mark_grains(picture, labels, [], CHOSEN_COLOUR) is picture


def test_a_correction_in_the_strip_under_the_picture_is_refused(analysis, tiny_model):
    picture = draw_grid(4, 5)
    strip = np.full((30, picture.shape[1]), 210, np.uint8)
    micrograph = replace(read_micrograph(np.vstack([picture, strip])), footer_top=len(picture), margins=Margins())
    result = count_grains(micrograph, 0.5, tiny_model)
    corrected = result.correct([Edit("delete", (middle(1, 1),))])
    assert corrected.labels.shape == result.labels.shape and corrected.count == 19
    with pytest.raises(CorrectionError, match="outside"):
        result.correct([Edit("delete", ((20, len(picture) + 10),))])


@pytest.mark.parametrize("points", [(120, 80), (40,), (("a", "b"),), None, ((1, 2), (3,))])
def test_what_is_no_sequence_of_places_is_shown_how_to_write_it(points):
    with pytest.raises(CorrectionError, match=r"such as \(\(120, 80\),\)"):
        Edit("delete", points)


@pytest.mark.parametrize("point", [(float("nan"), 2.0), (1.0,)])
def test_points_that_are_no_places_are_refused(point):
    with pytest.raises(CorrectionError, match="no places"):
        Edit("delete", (point,))


def test_exports_and_report_say_what_was_corrected(analysis, tmp_path):
    corrected = analysis.correct([Edit("merge", (middle(1, 1), middle(1, 2)))])
    paths = export_grains(corrected, tmp_path)
    assert pd.read_csv(paths["csv"])["corrected"].sum() == 1
    content = json.loads(paths["json"].read_text(encoding="utf-8"))
    assert content["corrections"]["edits"][0]["kind"] == "merge" and content["settings"]["method"] == "watershed"
    grains = content["grains"]
    assert [grain["corrected"] for grain in grains] == [False] * 18 + [True]
    assert grains[-1]["confidence"] is None
    assert len(json.loads(paths["coco"].read_text(encoding="utf-8"))["annotations"]) == 19
    facts = dict(compose_report([corrected]).fields[0].facts)
    assert facts["Corrected by hand"] == "1 merged; 1 grain drawn by hand"
    assert "Corrected by hand" not in dict(compose_report([analysis]).fields[0].facts)
