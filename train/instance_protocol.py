"""Scores of label images against true grains: one row a micrograph and method, and their means a material."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from tqdm import tqdm

from train.contenders import Contender, Prediction
from train.labelled import UNKNOWN, LabelledMicrograph
from train.matching import dice, mask_iou, match_labels, matched_ids, prepare_labels

SCORE_COLUMNS = (
    "f1", "precision", "recall", "panoptic_quality", "matched_iou", "count_error", "mask_iou", "mask_dice",
)  # fmt: skip
"""Scores that are averaged; the count error is |n_pred - n_true| / n_true, all others are better near 1."""

ALL_PICTURES = "all pictures"
MEAN_OF_MATERIALS = "mean of materials"


@dataclass(frozen=True)
class ScoredPicture:
    """One micrograph after every contender has labelled it.

    Attributes:
        source: The micrograph and its labels on disk.
        pixels: uint8 (H, W, 3) RGB.
        true: Prepared true labels, int32 (H, W); see `train.matching.prepare_labels`.
        predicted: Prepared predicted labels by row, int32 (H, W) each.
        scores: One dictionary a row: `material`, `picture`, `method`, counts, `SCORE_COLUMNS` and `confidence`, the
            median over the grains, NaN for methods that give none.
        reliability: One dictionary a predicted grain with a confidence: `material`, `method`, `confidence`, `matched`.
    """

    source: LabelledMicrograph
    pixels: np.ndarray
    true: np.ndarray
    predicted: dict[str, np.ndarray]
    scores: list[dict]
    reliability: list[dict]


def score_pictures(pictures: Sequence[LabelledMicrograph], contenders: Sequence[Contender]) -> Iterator[ScoredPicture]:
    """Label and score every micrograph with every contender, with a progress bar."""
    for picture in tqdm(pictures, desc="scoring", unit="picture"):
        pixels, labels = picture.read()
        drawn = known(labels, labels)
        true = prepare_labels(drawn)
        predicted, scores, reliability = {}, [], []
        for contender in contenders:
            for row, prediction in contender.predict(pixels).items():
                found = known(labels, prediction.labels)
                predicted[row] = prepare_labels(found)
                key = {"material": picture.material, "method": row}
                score = _score(mask_iou(drawn, found), true, predicted[row])
                median = _median_confidence(prediction)
                scores.append({**key, "picture": picture.name, **score, "confidence": median})
                reliability += [key | entry for entry in confidence_of_matches(true, predicted[row], prediction)]
        yield ScoredPicture(picture, pixels, true, predicted, scores, reliability)


def score_labels(true: np.ndarray, pred: np.ndarray) -> dict[str, float]:
    """Score labels: counts of grains and matches, and all of `SCORE_COLUMNS`.

    Args:
        true: Integer (H, W), 0 where there is no grain, -1 where it is not known: nothing is scored there.
        pred: Integer (H, W), 0 where there is no grain.
    """
    pred, true = known(true, pred), known(true, true)
    return _score(mask_iou(true, pred), prepare_labels(true), prepare_labels(pred))


def known(true: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Labels without what lies where the true ones are not known, and without grains that do so for the most part."""
    is_unknown = true == UNKNOWN
    if not is_unknown.any():
        return labels
    ids = np.maximum(labels, 0)
    hidden = np.bincount(ids[is_unknown], minlength=ids.max() + 1) > np.bincount(ids.ravel()) / 2
    return np.where(is_unknown | hidden[ids], 0, labels)


def _score(area: float, true: np.ndarray, pred: np.ndarray) -> dict[str, float]:
    """Score prepared labels; `area` is the masks' IoU from before the labels grew into one another."""
    match = match_labels(true, pred)
    counts = {"n_true": match.n_true, "n_pred": match.n_pred, "tp": match.tp, "fp": match.fp, "fn": match.fn}
    values = {"mask_iou": area, "mask_dice": dice(area)}
    return counts | {column: values.get(column, getattr(match, column, None)) for column in SCORE_COLUMNS}


def _median_confidence(prediction: Prediction) -> float:
    """Median over the grains; NaN without grains, or where the method gives none."""
    if prediction.confidence is None or len(prediction.confidence) == 0:
        return np.nan
    return float(np.median(prediction.confidence))


def confidence_of_matches(true: np.ndarray, pred: np.ndarray, prediction: Prediction) -> list[dict]:
    """Tell of every prepared predicted grain how confident the method was and whether the grain is right."""
    if prediction.confidence is None:
        return []
    partners = matched_ids(true, pred)
    grains = np.unique(pred[pred > 0]).tolist()
    return [{"confidence": float(prediction.confidence[grain - 1]), "matched": grain in partners} for grain in grains]


def summarize(scores: pd.DataFrame) -> pd.DataFrame:
    """Average the scores by method.

    Returns:
        One row for each method (index level 0, in order of appearance) and each material, then `ALL_PICTURES` (every
        picture weighs the same) and `MEAN_OF_MATERIALS` (every material weighs the same). Columns: `pictures`, the
        means of `SCORE_COLUMNS`, `f1_spread` (standard deviation over the pictures, or over the materials' means, 0
        for a single one) and `f1_worst`.
    """
    summaries = {}
    for method, rows in scores.groupby("method", sort=False):
        by_material = {material: _average(part) for material, part in rows.groupby("material", sort=False)}
        means = pd.DataFrame(by_material.values())
        summaries |= {(method, material): average for material, average in by_material.items()}
        summaries[method, ALL_PICTURES] = _average(rows)
        summaries[method, MEAN_OF_MATERIALS] = _average(means) | {"pictures": len(rows)}
    frame = pd.DataFrame.from_dict(summaries, orient="index")
    frame.index = pd.MultiIndex.from_tuples(summaries, names=["method", "material"])
    return frame


def _average(rows: pd.DataFrame) -> dict[str, float]:
    means = {column: float(rows[column].mean()) for column in SCORE_COLUMNS}
    spread = {"f1_spread": float(rows["f1"].std(ddof=0)), "f1_worst": float(rows["f1"].min())}
    return {"pictures": len(rows), **means, **spread}
