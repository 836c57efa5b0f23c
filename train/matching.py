"""Comparing two label images of the same field: one-to-one matching by IoU, scores, and the kinds of error.

A label image is an integer array (H, W), 0 where there is no grain and one positive id a grain. Ids need be neither
consecutive nor sorted; no score depends on them. Definitions follow the instance-segmentation literature: a true
positive is a pair with IoU >= threshold, F1 = 2 tp / (2 tp + fp + fn), and panoptic quality is
sum of matched IoU / (tp + fp/2 + fn/2) (Kirillov et al., Panoptic Segmentation, CVPR 2019).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from skimage.segmentation import expand_labels, relabel_sequential

IOU_THRESHOLD = 0.5
BOUNDARY_GROWTH_PX = 2
SMALLEST_GRAIN_PX = 40


@dataclass(frozen=True)
class MatchingScores:
    """How well predicted grains agree with true ones at one IoU threshold.

    Attributes:
        tp: Matched pairs.
        fp: Predicted grains without a partner.
        fn: True grains without a partner.
        precision: tp / (tp + fp), in [0, 1].
        recall: tp / (tp + fn), in [0, 1].
        f1: Harmonic mean of precision and recall, in [0, 1].
        matched_iou: Mean IoU of the matched pairs ("segmentation quality"), 0 without any.
        panoptic_quality: F1 * matched_iou, in [0, 1].
        count_error: |n_pred - n_true| / n_true; the divisor is 1 where there is no true grain.
    """

    tp: int
    fp: int
    fn: int
    precision: float
    recall: float
    f1: float
    matched_iou: float
    panoptic_quality: float
    count_error: float

    @property
    def n_true(self) -> int:
        """Number of true grains."""
        return self.tp + self.fn

    @property
    def n_pred(self) -> int:
        """Number of predicted grains."""
        return self.tp + self.fp


@dataclass(frozen=True)
class Overlap:
    """Pixels shared by every true and every predicted grain.

    Attributes:
        true_ids: Ids of the true grains, int (T,), ascending.
        pred_ids: Ids of the predicted grains, int (P,), ascending.
        shared: Pixels in both, int (T, P).
        true_area: Pixels of each true grain, int (T,).
        pred_area: Pixels of each predicted grain, int (P,).
    """

    true_ids: np.ndarray
    pred_ids: np.ndarray
    shared: np.ndarray
    true_area: np.ndarray
    pred_area: np.ndarray

    @property
    def iou(self) -> np.ndarray:
        """Intersection over union of every pair, float64 (T, P)."""
        union = self.true_area[:, None] + self.pred_area[None, :] - self.shared
        return self.shared / union


@dataclass(frozen=True)
class GrainErrors:
    """Ids of the grains that went wrong, each with the kind of its error.

    Attributes:
        merged: Predicted ids that hold more than half of two or more true grains.
        split: True ids that hold more than half of two or more predicted grains.
        missed: True ids without a partner that neither a merge nor a split explains.
        invented: Predicted ids without a partner that neither a merge nor a split explains.
    """

    merged: tuple[int, ...]
    split: tuple[int, ...]
    missed: tuple[int, ...]
    invented: tuple[int, ...]


def tell_unscored(name: str, labels: np.ndarray) -> bool:
    """Say on stderr where most grains of a picture are too small to be scored; return whether any is scored."""
    areas = np.bincount(labels[labels > 0])
    n, scored = np.count_nonzero(areas), int((areas >= SMALLEST_GRAIN_PX).sum())
    if scored < n / 2:
        print(
            f"{name}: {n - scored} of {n} grains are smaller than {SMALLEST_GRAIN_PX} px and are not scored. Larger "
            "ones are expected. Enlarge the picture and its labels.",
            file=sys.stderr,
        )
    return scored > 0


def prepare_labels(
    labels: np.ndarray, *, min_area: int = SMALLEST_GRAIN_PX, growth: int = BOUNDARY_GROWTH_PX
) -> np.ndarray:
    """Drop grains under `min_area` pixels, then grow the others into the background around them.

    The growth closes boundaries that one labeller draws 1 px wide and another 4 px wide, so that the width of a line
    is not scored. Grains never grow over one another.

    Returns:
        int32 (H, W); the ids are kept.
    """
    dense, _, original_ids = relabel_sequential(labels)
    kept_ids = np.where(np.bincount(dense.ravel()) >= min_area, np.asarray(original_ids), 0)
    kept_ids[0] = 0
    kept = kept_ids[dense].astype(np.int32)
    return expand_labels(kept, distance=growth) if growth > 0 else kept


def overlap(true: np.ndarray, pred: np.ndarray) -> Overlap:
    """Count the pixels that every pair of grains shares.

    Raises:
        ValueError: If the two label images differ in shape.
    """
    if true.shape != pred.shape:
        raise ValueError(
            f"The label images differ in shape: {true.shape} and {pred.shape}. Both must show the same field at the "
            "same size. Resize the smaller with nearest-neighbour interpolation."
        )
    true_ids, true_index = np.unique(true, return_inverse=True)
    pred_ids, pred_index = np.unique(pred, return_inverse=True)
    pairs = true_index.ravel().astype(np.int64) * pred_ids.size + pred_index.ravel()
    table = np.bincount(pairs, minlength=true_ids.size * pred_ids.size).reshape(true_ids.size, pred_ids.size)
    grain_rows, grain_columns = true_ids != 0, pred_ids != 0
    return Overlap(
        true_ids=true_ids[grain_rows],
        pred_ids=pred_ids[grain_columns],
        shared=table[np.ix_(grain_rows, grain_columns)],
        true_area=table.sum(axis=1)[grain_rows],
        pred_area=table.sum(axis=0)[grain_columns],
    )


def match_pairs(iou: np.ndarray, threshold: float = IOU_THRESHOLD) -> tuple[np.ndarray, np.ndarray]:
    """Match rows with columns one to one so that as many pairs as possible reach the threshold.

    Among the matchings with most pairs the one with the largest summed IoU is taken.

    Args:
        iou: float (T, P).
        threshold: Smallest IoU of a pair, in (0, 1].

    Returns:
        Row and column indices of the pairs, int (tp,) each.
    """
    candidate = iou >= threshold
    rows, columns = np.flatnonzero(candidate.any(axis=1)), np.flatnonzero(candidate.any(axis=0))
    if rows.size == 0:
        return rows, columns
    block = np.ix_(rows, columns)
    # A pair is worth 1 and its IoU at most 1 / (2 n) more, so no gain in IoU outweighs another pair.
    worth = candidate[block] * (1 + iou[block] / (2 * min(rows.size, columns.size)))
    chosen_rows, chosen_columns = linear_sum_assignment(worth, maximize=True)
    reached = candidate[block][chosen_rows, chosen_columns]
    return rows[chosen_rows[reached]], columns[chosen_columns[reached]]


def match_labels(true: np.ndarray, pred: np.ndarray, threshold: float = IOU_THRESHOLD) -> MatchingScores:
    """Score predicted grains against true grains, exactly as both label images are given.

    Two empty label images agree: every ratio is then 1, except `matched_iou` which has nothing to average.

    Raises:
        ValueError: If the two label images differ in shape.
    """
    shared = overlap(true, pred)
    iou = shared.iou
    rows, columns = match_pairs(iou, threshold)
    tp, n_true, n_pred = rows.size, shared.true_ids.size, shared.pred_ids.size
    matched_iou = float(iou[rows, columns].mean()) if tp else 0.0
    both_empty = n_true == n_pred == 0
    f1 = 1.0 if both_empty else 2 * tp / (n_true + n_pred)
    return MatchingScores(
        tp=tp,
        fp=n_pred - tp,
        fn=n_true - tp,
        precision=tp / n_pred if n_pred else float(both_empty),
        recall=tp / n_true if n_true else float(both_empty),
        f1=f1,
        matched_iou=matched_iou,
        panoptic_quality=1.0 if both_empty else f1 * matched_iou,
        count_error=abs(n_pred - n_true) / max(n_true, 1),
    )


def mask_iou(true: np.ndarray, pred: np.ndarray) -> float:
    """Intersection over union of the pixels that are not 0, in [0, 1]; 1 where neither has any."""
    true, pred = true != 0, pred != 0
    union = np.count_nonzero(true | pred)
    return np.count_nonzero(true & pred) / union if union else 1.0


def dice(iou: float) -> float:
    """Dice coefficient of two masks from their IoU: 2 IoU / (1 + IoU), in [0, 1]."""
    return 2 * iou / (1 + iou)


def matched_ids(true: np.ndarray, pred: np.ndarray) -> dict[int, int]:
    """Partner of every matched predicted grain, as {predicted id: true id}."""
    shared = overlap(true, pred)
    rows, columns = match_pairs(shared.iou)
    return dict(zip(shared.pred_ids[columns].tolist(), shared.true_ids[rows].tolist(), strict=True))


def find_errors(true: np.ndarray, pred: np.ndarray, threshold: float = IOU_THRESHOLD) -> GrainErrors:
    """Say of every grain that went wrong whether it was merged, split, missed or invented.

    A grain whose outline is merely too inaccurate to match (one partner, IoU under the threshold) is both missed and
    invented, as it is in the scores.

    Raises:
        ValueError: If the two label images differ in shape.
    """
    shared = overlap(true, pred)
    rows, columns = match_pairs(shared.iou, threshold)
    swallowed = shared.shared > 0.5 * shared.true_area[:, None]
    fragment = shared.shared > 0.5 * shared.pred_area[None, :]
    merged = swallowed.sum(axis=0) >= 2
    split = fragment.sum(axis=1) >= 2

    missed = ~split & ~swallowed[:, merged].any(axis=1)
    missed[rows] = False
    invented = ~merged & ~fragment[split].any(axis=0)
    invented[columns] = False
    return GrainErrors(
        merged=tuple(shared.pred_ids[merged].tolist()),
        split=tuple(shared.true_ids[split].tolist()),
        missed=tuple(shared.true_ids[missed].tolist()),
        invented=tuple(shared.pred_ids[invented].tolist()),
    )
