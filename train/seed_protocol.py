"""The seed project's own evaluation, repeated: masks and component counts against its pseudo masks on 49 test tiles.

It is reported for comparison only. The pseudo masks count specks: about 55 components where 30 grains are real.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from sklearn.metrics import mean_absolute_error, r2_score
from sklearn.model_selection import GroupKFold
from tqdm import tqdm

from train.baselines import otsu_mask
from train.contenders import Contender, Prediction, to_grey
from train.labelled import LabelledDataError, files_by_stem, read_mask, read_pair, read_split
from train.matching import mask_iou
from train.pseudo_label import drop_components

SEED_ROW = "seed predictions"
SEED_SIDE = 224
SMALLEST_COMPONENT_PX = 30
FOLDS = 5

AS_THE_SEED = "224 px, all components"
FULL_SIZE = f"full size, components >= {SMALLEST_COMPONENT_PX} px"
VIEWS = (AS_THE_SEED, FULL_SIZE)
"""The two ways of comparing: at the seed's size with every speck counted, and at the tiles' own size without specks."""


@dataclass(frozen=True)
class SeedTile:
    """One test tile of the seed.

    Attributes:
        name: Stem of its files.
        micrograph: Letter of the micrograph that it was cut from.
        pixels: uint8 (H, W, 3) RGB at full size.
        pseudo_mask: bool (H, W), the seed's computed mask.
        seed_prediction: bool (224, 224), what the seed's model made of it.
    """

    name: str
    micrograph: str
    pixels: np.ndarray
    pseudo_mask: np.ndarray
    seed_prediction: np.ndarray


def read_test_tiles(folder: Path) -> list[SeedTile]:
    """Read the seed's test tiles from a folder with `split.csv`, `images/`, `pseudo_masks/` and `seed_predictions/`.

    Raises:
        LabelledDataError: If the folder is not laid out so, there is no test tile, a file is missing, or a pseudo mask
            differs from its tile in size.
    """
    test = read_split(folder, ("test",))
    images, masks, predictions = (
        files_by_stem(folder / part) for part in ("images", "pseudo_masks", "seed_predictions")
    )
    if missing := [tile for tile in test["tile"] if not all(tile in files for files in (images, masks, predictions))]:
        raise LabelledDataError(
            f"{len(missing)} test tiles are incomplete, the first is {missing[0]!r}. Every tile needs a file in "
            "images/, pseudo_masks/ and seed_predictions/. Copy the data again."
        )
    return [
        SeedTile(tile, letter, *read_pair(images[tile], masks[tile], read_mask), read_mask(predictions[tile]))
        for tile, letter in zip(test["tile"], test["micrograph"], strict=True)
    ]


def seed_contenders(contenders: Sequence[Contender]) -> list[Contender]:
    """Put plain Otsu, without the cleaning of the instance baseline, before the given contenders."""

    def predict(pixels: np.ndarray) -> dict[str, Prediction]:
        return {"otsu": Prediction(otsu_mask(to_grey(pixels)).astype(np.int32))}

    return [Contender(("otsu",), predict, weights={}), *contenders]


def score_tiles(tiles: Sequence[SeedTile], contenders: Sequence[Contender]) -> pd.DataFrame:
    """Compare every method's mask with the pseudo mask, tile by tile.

    Micrographs go in at full size. A mask is everything that a method labelled, and its count is that of the mask's
    connected components, as the seed counts.

    Returns:
        One row a tile, method and view: `tile`, `micrograph`, `method`, `view`, `mask_iou`, `n_true`, `n_pred`.
    """
    rows = []
    for tile in tqdm(tiles, desc="scoring", unit="tile"):
        masks = {SEED_ROW: tile.seed_prediction}
        for contender in contenders:
            masks |= {row: prediction.labels > 0 for row, prediction in contender.predict(tile.pixels).items()}
        key = {"tile": tile.name, "micrograph": tile.micrograph}
        for method, mask in masks.items():
            for view, scores in compare_masks(tile.pseudo_mask, mask).items():
                rows.append({**key, "method": method, "view": view, **scores})
    return pd.DataFrame(rows)


def compare_masks(pseudo_mask: np.ndarray, mask: np.ndarray) -> dict[str, dict[str, float]]:
    """Compare two masks in both views.

    Args:
        pseudo_mask: bool (H, W) at the tile's own size.
        mask: bool, of any size; resized with nearest-neighbour interpolation.
    """
    height, width = pseudo_mask.shape
    scores = {}
    for view, shape, min_area in zip(
        VIEWS, ((SEED_SIDE, SEED_SIDE), (width, height)), (0, SMALLEST_COMPONENT_PX), strict=True
    ):
        true, n_true = drop_components(_resize_mask(pseudo_mask, shape), min_area)
        pred, n_pred = drop_components(_resize_mask(mask, shape), min_area)
        scores[view] = {"mask_iou": mask_iou(true, pred), "n_true": n_true, "n_pred": n_pred}
    return scores


def summarize_tiles(scores: pd.DataFrame) -> pd.DataFrame:
    """Average over the tiles.

    Returns:
        One row a view and method with `mask_iou`, `iou_spread` (standard deviation of the mean over `FOLDS` folds
        grouped by micrograph), `count_mae`, `count_r2`.
    """
    summaries = {}
    for (view, method), rows in scores.groupby(["view", "method"], sort=False):
        summaries[view, method] = {
            "mask_iou": rows["mask_iou"].mean(),
            "iou_spread": np.std(_fold_means(rows)),
            "count_mae": mean_absolute_error(rows["n_true"], rows["n_pred"]),
            "count_r2": r2_score(rows["n_true"], rows["n_pred"]) if len(rows) > 1 else np.nan,
        }
    frame = pd.DataFrame.from_dict(summaries, orient="index").astype(float)
    frame.index = pd.MultiIndex.from_tuples(summaries, names=["view", "method"])
    order = [(view, method) for view in VIEWS for method in scores["method"].unique()]
    return frame.loc[order]


def _fold_means(rows: pd.DataFrame) -> list[float]:
    """Mean IoU of each fold; tiles of one micrograph resemble one another, so they share a fold."""
    folds = min(FOLDS, rows["micrograph"].nunique())
    if folds < 2:
        return [rows["mask_iou"].mean()]
    splits = GroupKFold(folds).split(rows, groups=rows["micrograph"])
    return [rows["mask_iou"].iloc[fold].mean() for _, fold in splits]


def _resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST).astype(bool)
