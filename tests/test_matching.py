"""Scores of drawn grains whose true positives, false positives and false negatives are known exactly."""

import numpy as np
import pytest
from skimage.draw import disk

from train.matching import (
    dice,
    find_errors,
    mask_iou,
    match_labels,
    match_pairs,
    matched_ids,
    overlap,
    prepare_labels,
    tell_unscored,
)

SHAPE = (120, 160)


def draw_disks(*disks: tuple[int, int, int], first_id: int = 1) -> np.ndarray:
    """Label image of disks given as (row, column, radius)."""
    labels = np.zeros(SHAPE, np.int32)
    for number, (row, column, radius) in enumerate(disks, first_id):
        labels[disk((row, column), radius, shape=SHAPE)] = number
    return labels


def draw_strips(*edges: int) -> np.ndarray:
    """Label image of vertical strips between the given columns, 40 rows high, ids from the left."""
    labels = np.zeros(SHAPE, np.int32)
    for number, (left, right) in enumerate(zip(edges, edges[1:], strict=False), 1):
        labels[:40, left:right] = number
    return labels


def test_identical_labels_are_perfect():
    labels = draw_disks((30, 30, 12), (30, 90, 15), (90, 60, 20))
    scores = match_labels(labels, labels)
    assert (scores.tp, scores.fp, scores.fn) == (3, 0, 0)
    assert scores.f1 == scores.precision == scores.recall == scores.panoptic_quality == 1.0
    assert scores.count_error == 0


def test_shifted_missing_and_extra_disks_are_counted_exactly():
    true = draw_disks((30, 30, 14), (30, 90, 14), (85, 40, 14), (85, 120, 14))
    # One shifted by 2 px (matches), one by 14 px (does not), one exact, one left out, and two that are not there.
    pred = draw_disks((30, 32, 14), (30, 104, 14), (85, 40, 14), (60, 10, 5), (110, 85, 6), first_id=7)
    scores = match_labels(true, pred)
    assert (scores.tp, scores.fp, scores.fn) == (2, 3, 2)
    assert (scores.n_true, scores.n_pred) == (4, 5)
    assert scores.precision == pytest.approx(2 / 5)
    assert scores.recall == pytest.approx(2 / 4)
    assert scores.f1 == pytest.approx(4 / 9)
    assert scores.count_error == pytest.approx(1 / 4)


def test_panoptic_quality_is_matched_iou_over_matches_and_half_the_rest():
    true = draw_strips(0, 40, 80)
    pred = draw_strips(0, 30)  # covers 30 of the first strip's 40 columns, nothing of the second's
    scores = match_labels(true, pred)
    assert (scores.tp, scores.fp, scores.fn) == (1, 0, 1)
    assert scores.matched_iou == pytest.approx(0.75)
    assert scores.panoptic_quality == pytest.approx(0.75 / 1.5)


def test_iou_at_the_threshold_counts_as_a_match():
    true, pred = draw_strips(0, 40), draw_strips(0, 20)
    assert match_labels(true, pred, threshold=0.5).tp == 1
    assert match_labels(true, pred, threshold=0.51).tp == 0


def test_each_grain_is_matched_once_when_two_halves_reach_the_threshold():
    scores = match_labels(draw_strips(0, 40), draw_strips(0, 20, 40))
    assert (scores.tp, scores.fp, scores.fn) == (1, 1, 0)


def test_matching_prefers_more_pairs_to_one_better_pair():
    rows, columns = match_pairs(np.array([[0.9, 0.4], [0.5, 0.0]]), threshold=0.3)
    assert sorted(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 1), (1, 0)]


def test_merged_grains_are_one_prediction_with_two_misses():
    true, pred = draw_strips(0, 20, 40), draw_strips(0, 40)
    scores = match_labels(true, pred, threshold=0.6)
    assert (scores.tp, scores.fp, scores.fn) == (0, 1, 2)
    errors = find_errors(true, pred, threshold=0.6)
    assert errors.merged == (1,)
    assert errors.split == errors.missed == errors.invented == ()


def test_split_grain_is_no_miss_and_its_pieces_are_not_invented():
    true = draw_strips(0, 60)
    pred = draw_strips(0, 20, 40, 60)
    errors = find_errors(true, pred)
    assert errors.split == (1,)
    assert errors.merged == errors.missed == errors.invented == ()


def test_missed_and_invented_grains_are_told_apart():
    true = draw_disks((30, 30, 10), (90, 40, 10))
    pred = draw_disks((30, 30, 10), (90, 120, 10))
    errors = find_errors(true, pred)
    assert errors.missed == (2,)
    assert errors.invented == (2,)
    assert errors.merged == errors.split == ()


def test_a_matched_grain_that_swallows_a_small_one_is_merged():
    true = draw_strips(0, 50, 60)
    pred = draw_strips(0, 60)
    assert match_labels(true, pred).tp == 1
    errors = find_errors(true, pred)
    assert errors.merged == (1,)
    assert errors.missed == ()


def test_scores_do_not_depend_on_ids():
    random = np.random.default_rng(3)
    true = draw_disks((30, 30, 14), (30, 90, 14), (85, 40, 14), (85, 120, 14))
    pred = draw_disks((30, 34, 14), (30, 104, 14), (85, 40, 10), (60, 10, 5))
    new_true, new_pred = (np.r_[0, random.permutation(np.arange(1, 60) * 1000)[:59]] for _ in range(2))
    assert match_labels(new_true[true], new_pred[pred]) == match_labels(true, pred)
    renamed, plain = matched_ids(new_true[true], new_pred[pred]), matched_ids(true, pred)
    assert plain == {1: 1, 3: 3}
    assert renamed == {new_pred[p]: new_true[t] for p, t in plain.items()}


def test_swapping_true_and_predicted_swaps_precision_and_recall():
    true = draw_disks((30, 30, 14), (30, 90, 14))
    pred = draw_disks((30, 32, 14), (90, 20, 9), (90, 100, 9))
    forward, backward = match_labels(true, pred), match_labels(pred, true)
    assert (forward.precision, forward.recall) == (backward.recall, backward.precision)
    assert forward.precision == pytest.approx(1 / 3)


def test_empty_label_images():
    empty, some = np.zeros(SHAPE, np.int32), draw_disks((30, 30, 14), (30, 90, 14))
    both = match_labels(empty, empty)
    assert both.f1 == both.panoptic_quality == 1.0
    assert both.count_error == 0.0
    nothing_found = match_labels(some, empty)
    assert (nothing_found.tp, nothing_found.fp, nothing_found.fn) == (0, 0, 2)
    assert nothing_found.f1 == 0.0
    assert nothing_found.count_error == 1.0
    all_invented = match_labels(empty, some)
    assert all_invented.f1 == all_invented.recall == 0.0
    assert all_invented.count_error == 2.0
    assert find_errors(empty, empty).missed == ()


def test_different_shapes_are_refused():
    with pytest.raises(ValueError, match="differ in shape"):
        overlap(np.zeros((4, 5), int), np.zeros((5, 4), int))


def test_prepared_labels_lose_specks_and_keep_the_other_ids():
    labels = draw_disks((30, 30, 14), (90, 90, 3), first_id=500)
    area = np.count_nonzero(labels == 501)
    assert area < 40
    assert set(np.unique(prepare_labels(labels))) == {0, 500}
    assert set(np.unique(prepare_labels(labels, min_area=area))) == {0, 500, 501}
    assert set(np.unique(prepare_labels(labels, min_area=area + 1))) == {0, 500}


def test_growth_closes_thin_boundaries_and_no_more():
    labels = draw_strips(0, 30)
    labels[:40, 34:64] = 2
    grown = prepare_labels(labels)
    assert (grown[:40, :32] == 1).all()
    assert (grown[:40, 32:66] == 2).all()
    assert (grown[:40, 66:] == 0).all()
    assert (grown[42:] == 0).all()
    assert np.array_equal(prepare_labels(labels, growth=0), labels)


def test_the_width_of_drawn_boundaries_does_not_matter():
    space_filling = draw_strips(0, 12, 24, 36, 48)
    with_lines = space_filling.copy()
    for column in (12, 24, 36):
        with_lines[:, column - 2 : column + 2] = 0
    assert match_labels(space_filling, with_lines, threshold=0.9).tp == 0
    assert match_labels(prepare_labels(space_filling), prepare_labels(with_lines), threshold=0.9).tp == 4


def test_mask_iou_and_dice():
    true, pred = draw_strips(0, 40), draw_strips(0, 30)
    assert mask_iou(true, pred) == pytest.approx(0.75)
    assert dice(0.75) == pytest.approx(2 * 30 / 70)
    assert mask_iou(true * 0, pred * 0) == 1.0


def test_pictures_whose_grains_are_too_small_to_be_scored_are_named(capsys):
    small, large = (np.arange(1, 17, dtype=np.int32).reshape(4, 4).repeat(side, 0).repeat(side, 1) for side in (6, 7))
    assert not tell_unscored("a.png", small) and tell_unscored("b.png", large)
    told = capsys.readouterr().err
    assert told.startswith("a.png: 16 of 16 grains are smaller than 40 px") and "b.png" not in told
