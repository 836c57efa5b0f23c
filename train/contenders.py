"""What an evaluation compares: checkpoints of this model, each with its label methods, and the baselines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from grain_model.label_settings import DEFAULT_SETTINGS
from train.baselines import BASELINES

MODEL_ROW = "this model"
DEFAULT_LABEL_METHOD = DEFAULT_SETTINGS.method
# The interior map thresholded at 0.5, its grains not separated: what a model that was trained on masks gives.
MASK_METHOD = "mask"


@dataclass(frozen=True)
class Prediction:
    """Grains found in one micrograph.

    Attributes:
        labels: int32 (H, W), 0 where there is no grain.
        confidence: float32 (n,), entry i belongs to label i + 1, in [0, 1]; None where the method gives none.
    """

    labels: np.ndarray
    confidence: np.ndarray | None = None


@dataclass(frozen=True)
class Contender:
    """A source of predictions that fills one row of a table or several.

    Attributes:
        rows: Names of its rows.
        predict: Maps a micrograph, uint8 (H, W, 3) RGB, to one prediction a row.
        weights: What is known of the weights (name, version); empty for a classical method.
    """

    rows: tuple[str, ...]
    predict: Callable[[np.ndarray], dict[str, Prediction]]
    weights: Mapping[str, str | None]


def to_grey(pixels: np.ndarray) -> np.ndarray:
    """Turn RGB, uint8 (H, W, 3), into luminance, uint8 (H, W)."""
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)


def baseline(name: str) -> Contender:
    """Make a contender of a classical method; see `train.baselines.BASELINES` for the names."""
    segment = BASELINES[name]
    return Contender((name,), lambda pixels: {name: Prediction(segment(to_grey(pixels)))}, weights={})


def model_contender(row: str, model: str, label_methods: Sequence[str] = (DEFAULT_LABEL_METHOD,)) -> Contender:
    """Make a contender of a checkpoint, with one row for each way of turning its probabilities into labels.

    Args:
        row: Name of the row; a label method other than the default is appended in brackets.
        model: Folder, Hub id or a file of `export_onnx`, which onnxruntime runs; or `"embedded"`.
        label_methods: `"watershed"`, `"components"`, `MASK_METHOD`.

    Raises:
        ModelError: If the model cannot be loaded.
    """
    # Evaluating the baselines alone must not wait for torch.
    from grain_model.counting import count_grains, load_network
    from grain_model.image_processing_grain import standardize
    from grain_model.instances import INTERIOR
    from grain_model.tiling import predict_probabilities

    loaded, weights = load_network(model)
    row_of = {method: row if method == DEFAULT_LABEL_METHOD else f"{row} ({method})" for method in label_methods}

    def predict(pixels: np.ndarray) -> dict[str, Prediction]:
        by_row = {}
        if MASK_METHOD in row_of:
            interior = predict_probabilities(loaded, standardize(pixels))[INTERIOR]
            by_row[row_of[MASK_METHOD]] = Prediction((interior > 0.5).astype(np.int32))
        if row_of.keys() != {MASK_METHOD}:
            analysis = count_grains(pixels, model=loaded)
        for method, name in row_of.items():
            if method != MASK_METHOD:
                labelled = analysis if method == DEFAULT_LABEL_METHOD else analysis.relabel(method=method)
                by_row[name] = Prediction(labelled.labels, labelled.confidence)
        return by_row

    return Contender(tuple(row_of.values()), predict, weights)
