"""`python -m train.expected_accuracy`: how right counts of a given confidence are, from the last evaluation.

The curves follow the synthetic set alone, whose pictures reach from clear to hopeless; the real materials, which they
have not seen, tell how far they hold elsewhere. Run it after `python -m train evaluate` (see `train.model_card`) and
before `python -m train.model_card`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.isotonic import IsotonicRegression

from grain_model.expected_accuracy import CURVES
from grain_model.json_file import save_json
from train.contenders import MODEL_ROW
from train.markdown import markdown_table
from train.paths import REPORT, REPORTS, ROOT

FITTED_ON = "synthetic-test"
# Where the curves have their points; each is a mean over REACH to both sides.
CONFIDENCES = np.linspace(0.6, 0.96, 10)
REACH = 0.03
RISES = {"f1": True, "count_error": False}
LABELS = {"f1": "F1 at IoU 0.5", "count_error": "count error"}


def fit_curves(scores: pd.DataFrame) -> dict[str, list[float]]:
    """Fit how F1 rises and the count error falls with confidence, and in no other way.

    Args:
        scores: One row a picture: `confidence`, `f1`, `count_error`.

    Returns:
        `confidence`, `f1` and `count_error`, each as long as `CONFIDENCES`.
    """
    around = CONFIDENCES[:, np.newaxis] + np.linspace(-REACH, REACH, 13)
    curves = {"confidence": CONFIDENCES.tolist()}
    for name, rises in RISES.items():
        fitted = IsotonicRegression(increasing=rises, out_of_bounds="clip").fit(scores["confidence"], scores[name])
        curves[name] = fitted.predict(around.ravel()).reshape(around.shape).mean(axis=1).tolist()
    return {name: [round(value, 3) for value in values] for name, values in curves.items()}


def expected_table(scores: pd.DataFrame, curves: dict[str, list[float]]) -> str:
    """Set what the curves expect of each material beside what was measured, as a Markdown table.

    Args:
        scores: One row a picture: `material` and what `fit_curves` takes.
        curves: Of `fit_curves`.
    """
    header = ["material", "median confidence", *(f"{label}: expected, measured" for label in LABELS.values())]
    rows = []
    for material, part in scores.groupby("material", sort=False):
        pairs = []
        for name in LABELS:
            expected = np.interp(part["confidence"], curves["confidence"], curves[name]).mean()
            pairs.append(f"{expected:.2f}, {part[name].mean():.2f}")
        rows.append([material, f"{part['confidence'].mean():.2f}", *pairs])
    return markdown_table(header, rows)


def draw_curves(scores: pd.DataFrame, curves: dict[str, list[float]], path: Path) -> None:
    """Write a PNG with the curves over the pictures, one colour a material."""
    with matplotlib.rc_context({"font.size": 8}):
        figure = Figure(figsize=(7.6, 3.6), layout="constrained")
        for panel, (name, label) in zip(figure.subplots(1, len(LABELS)), LABELS.items(), strict=True):
            for material, part in scores.groupby("material", sort=False):
                is_fitted = material == FITTED_ON
                style = {"s": 8, "color": "0.7"} if is_fitted else {"s": 16, "edgecolor": "white", "linewidth": 0.4}
                panel.scatter(part["confidence"], part[name], label=material, zorder=1 if is_fitted else 3, **style)
            panel.plot(curves["confidence"], curves[name], color="black", linewidth=1.5, zorder=2, label="expected")
            panel.set(xlabel="median confidence of the grains", ylabel=label, ylim=(0, 1))
        panel.legend(frameon=False)
        figure.savefig(path, dpi=130)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the curves beside the embedded weights, the table to the reports and the picture of both to assets/."""
    argparse.ArgumentParser(prog="python -m train.expected_accuracy", description=__doc__).parse_args(arguments)
    scores = pd.read_csv(REPORTS / "instances.csv")
    scores = scores[scores["method"] == MODEL_ROW].dropna(subset="confidence")
    curves = fit_curves(scores[scores["material"] == FITTED_ON])
    weights = json.loads(REPORT.read_text())["weights"][MODEL_ROW]
    save_json({"weights": weights, **curves}, CURVES)
    (REPORTS / "expected_accuracy.md").write_text(expected_table(scores, curves) + "\n")
    draw_curves(scores, curves, ROOT / "assets" / "expected_accuracy.png")


if __name__ == "__main__":
    main()
