"""What an evaluation found, written down: tables for terminal and Markdown, CSV a picture, JSON for other programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from grain_model.json_file import save_json
from train.instance_protocol import ALL_PICTURES, MEAN_OF_MATERIALS
from train.markdown import markdown_table
from train.matching import BOUNDARY_GROWTH_PX, IOU_THRESHOLD, SMALLEST_GRAIN_PX
from train.seed_protocol import AS_THE_SEED, FULL_SIZE

NEIGHBOUR_NOTE = (
    "The 316L test tiles are not trained on, but other tiles of the same micrographs are, and up to version 0.2.0 four "
    "that show 3 to 45 % of C_04_01, D_02_04 and N_03_01 were: their scores are somewhat better than those of a new "
    "micrograph would be."
)
MATERIAL_NOTES: Mapping[str, str] = {
    "316l-instances": NEIGHBOUR_NOTE,
    "steel-optical-instances": "steel-optical-instances holds two crops only, labelled by eye to about 10 %.",
    "pure-iron": "pure-iron is one field at 11 depths: its pictures resemble one another.",
}
"""What a reader has to know about a validation set before trusting its figures."""

SCORING_NOTE = (
    f"Grains are matched one to one at IoU >= {IOU_THRESHOLD}. Grains under {SMALLEST_GRAIN_PX} px are ignored, then "
    f"labels are grown by {BOUNDARY_GROWTH_PX} px into thin boundaries, on both sides. "
    "Count error = |found - true| / true."
)


@dataclass(frozen=True)
class InstanceReport:
    """All that an evaluation against true grains found.

    Attributes:
        scores: One row a picture and method; see `train.instance_protocol.score_pictures`.
        summary: Means by method and material; see `train.instance_protocol.summarize`.
        distributions: See `train.distributions.compare_distributions`.
        calibration: See `train.reliability.calibration_error`; empty if no method gives a confidence.
        count_changes: See `train.enlargement.measure_count_changes`; empty if not asked for.
        weights: Name and version of the weights behind every row of a model.
        figures: Headings and file names of pictures, relative to the report.
    """

    scores: pd.DataFrame
    summary: pd.DataFrame
    distributions: pd.DataFrame
    calibration: pd.DataFrame
    count_changes: pd.DataFrame
    weights: Mapping[str, Mapping[str, str | None]]
    figures: Mapping[str, str] = field(default_factory=dict)


def picture_tables(scores: pd.DataFrame) -> str:
    """Set one table a material: a line for each picture and the mean, three columns for each method."""
    methods = list(dict.fromkeys(scores["method"]))
    header = [
        "picture",
        "grains",
        *(f"{method}: {score}" for method in methods for score in ("F1", "PQ", "count err.")),
    ]
    blocks = []
    for material, part in scores.groupby("material", sort=False):
        lines = []
        for picture, rows in part.groupby("picture", sort=False):
            by_method = rows.set_index("method")
            cells = [cell for method in methods for cell in _score_cells(by_method.loc[method])]
            lines.append([str(picture), str(rows["n_true"].iloc[0]), *cells])
        means = part.groupby("method")[["f1", "panoptic_quality", "count_error"]].mean()
        cells = [cell for method in methods for cell in _score_cells(means.loc[method])]
        grains = part.loc[part["method"] == methods[0], "n_true"].mean()
        lines.append(["mean", f"{grains:.1f}", *cells])
        blocks.append(f"{material}\n\n{markdown_table(header, lines)}")
    return "\n\n".join(blocks)


def summary_table(summary: pd.DataFrame) -> str:
    """Set the means by method and material, the spread over pictures and the worst picture."""
    header = [
        "method", "material", "pictures", "F1", "spread", "worst", "precision", "recall", "PQ", "count error",
        "mask IoU", "mask Dice",
    ]  # fmt: skip
    columns = ["f1", "f1_spread", "f1_worst", "precision", "recall", "panoptic_quality"]
    lines = [
        [method, material, f"{row['pictures']:.0f}", *(f"{row[column]:.3f}" for column in columns),
         f"{row['count_error']:.1%}", f"{row['mask_iou']:.3f}", f"{row['mask_dice']:.3f}"]
        for (method, material), row in summary.iterrows()
    ]  # fmt: skip
    return markdown_table(header, lines)


def comparison_table(summary: pd.DataFrame) -> str:
    """Set one line a method with F1 and count error on every material: baselines, model and ablations side by side."""
    materials = [name for name in dict.fromkeys(summary.index.get_level_values("material")) if name != ALL_PICTURES]
    if len(materials) == 2:
        materials.remove(MEAN_OF_MATERIALS)
    header = ["method", *(f"{material}: {score}" for material in materials for score in ("F1", "count err."))]
    lines = []
    for method in dict.fromkeys(summary.index.get_level_values("method")):
        cells = [summary.loc[(method, material)] for material in materials]
        lines.append([method, *(text for row in cells for text in (f"{row['f1']:.3f}", f"{row['count_error']:.1%}"))])
    return markdown_table(header, lines)


def count_change_table(count_changes: pd.DataFrame) -> str:
    """Set the mean and the largest change of the count for every method and factor, over all pictures."""
    lines = [
        [method, f"{factor:g}x", f"{rows['change'].mean():.1%}", f"{rows['change'].max():.1%}", str(len(rows))]
        for (method, factor), rows in count_changes.groupby(["method", "factor"], sort=False)
    ]
    return markdown_table(["method", "size", "mean change of the count", "largest", "pictures"], lines)


def distribution_table(distributions: pd.DataFrame) -> str:
    """Set the distance between true and predicted distributions and both medians."""
    lines = [
        [
            row.method,
            row.material,
            row.property,
            f"{row.ks:.3f}",
            f"{row.true_median:.3g}",
            f"{row.predicted_median:.3g}",
        ]
        for row in distributions.itertuples()
    ]
    return markdown_table(["method", "material", "property", "KS distance", "true median", "predicted median"], lines)


def calibration_table(calibration: pd.DataFrame) -> str:
    """Set the expected calibration error of the confidence by method and material."""
    lines = [
        [row.method, row.material, str(row.grains), f"{row.calibration_error:.3f}"] for row in calibration.itertuples()
    ]
    return markdown_table(["method", "material", "grains", "calibration error"], lines)


def seed_tables(summary: pd.DataFrame) -> str:
    """Set one table a view of the seed's protocol."""
    blocks = []
    for view in (AS_THE_SEED, FULL_SIZE):
        lines = [
            [
                method,
                f"{row['mask_iou']:.3f}",
                f"{row['iou_spread']:.3f}",
                f"{row['count_mae']:.1f}",
                f"{row['count_r2']:.2f}",
            ]
            for method, row in summary.loc[view].iterrows()
        ]
        header = ["method", "mask IoU", "IoU spread", "count MAE", "count R2"]
        blocks.append(f"{view}\n\n{markdown_table(header, lines)}")
    return "\n\n".join(blocks)


def write_instance_report(report: InstanceReport, folder: Path) -> Path:
    """Write `instances.md`, `instances.json` and `instances.csv` (a row a picture and method) into a folder.

    Returns:
        The Markdown file.
    """
    notes = [
        MATERIAL_NOTES[material] for material in dict.fromkeys(report.scores["material"]) if material in MATERIAL_NOTES
    ]
    sections = {
        "": "\n".join(["# Evaluation against true grains", "", SCORING_NOTE, *(f"\n{note}" for note in notes)]),
        "Methods side by side": comparison_table(report.summary),
        "By material": "Spread is the standard deviation of F1 over the pictures, or over the materials.\n\n"
        + summary_table(report.summary),
    }
    if not report.count_changes.empty:
        sections["Change of the count with the size of the image"] = count_change_table(report.count_changes)
    if not report.calibration.empty:
        sections["Confidence"] = calibration_table(report.calibration)
    sections["Sizes and shapes of grains"] = distribution_table(report.distributions)
    sections["Pictures"] = picture_tables(report.scores)
    for heading, name in report.figures.items():
        sections[heading] = f"![{heading}]({name})"
    if report.weights:
        lines = [[row, known.get("name") or "-", known.get("version") or "-"] for row, known in report.weights.items()]
        sections["Weights"] = markdown_table(["method", "weights", "version"], lines)

    report.scores.to_csv(folder / "instances.csv", index=False)
    content = {
        "protocol": "instances",
        "settings": _scoring_settings(),
        "weights": {row: dict(known) for row, known in report.weights.items()},
        "summary": _nested(report.summary),
        "count_changes": _mean_changes(report.count_changes),
        "calibration": report.calibration.to_dict("records"),
        "distributions": report.distributions.to_dict("records"),
        "pictures": report.scores.to_dict("records"),
        "figures": dict(report.figures),
        "notes": notes,
    }
    save_json(_without_nan(content), folder / "instances.json")
    return _write_markdown(folder / "instances.md", sections)


def write_seed_report(
    scores: pd.DataFrame, summary: pd.DataFrame, weights: Mapping[str, Mapping[str, str | None]], folder: Path
) -> Path:
    """Write `seed.md`, `seed.json` and `seed.csv` (a row a tile, method and view) into a folder.

    Returns:
        The Markdown file.
    """
    sections = {
        "": "# The seed's protocol\n\nMasks and component counts against computed pseudo masks, which count specks: "
        "about 55 components a tile where 30 grains are real. IoU spread: standard deviation of the mean IoU over "
        f"folds grouped by micrograph. {NEIGHBOUR_NOTE}\n\n" + seed_tables(summary)
    }
    scores.to_csv(folder / "seed.csv", index=False)
    content = {
        "protocol": "seed",
        "tiles": int(scores["tile"].nunique()),
        "weights": {row: dict(known) for row, known in weights.items()},
        "summary": _nested(summary),
        "notes": [NEIGHBOUR_NOTE],
    }
    save_json(_without_nan(content), folder / "seed.json")
    return _write_markdown(folder / "seed.md", sections)


def _score_cells(row: pd.Series) -> list[str]:
    return [f"{row['f1']:.3f}", f"{row['panoptic_quality']:.3f}", f"{row['count_error']:.1%}"]


def _scoring_settings() -> dict[str, float]:
    return {
        "iou_threshold": IOU_THRESHOLD,
        "boundary_growth_px": BOUNDARY_GROWTH_PX,
        "smallest_grain_px": SMALLEST_GRAIN_PX,
    }


def _nested(summary: pd.DataFrame) -> dict[str, dict[str, dict[str, float]]]:
    """Turn a table with two index levels into {outer: {inner: {column: value}}}."""
    outer = dict.fromkeys(summary.index.get_level_values(0))
    return {name: summary.loc[name].to_dict("index") for name in outer}


def _mean_changes(count_changes: pd.DataFrame) -> list[dict[str, Any]]:
    if count_changes.empty:
        return []
    grouped = count_changes.groupby(["method", "factor"], sort=False)["change"]
    return grouped.agg(["mean", "max", "size"]).reset_index().to_dict("records")


def _without_nan(value: Any) -> Any:
    """The same with None for not-a-number, which is no JSON: R2 over one tile and the like."""
    if isinstance(value, Mapping):
        return {str(key): _without_nan(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and value != value else value


def _write_markdown(path: Path, sections: Mapping[str, str]) -> Path:
    parts = [f"## {heading}\n\n{text}" if heading else text for heading, text in sections.items()]
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return path
