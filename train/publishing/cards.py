"""The README of the model repository and of the Space, from the project's own texts."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import yaml
from huggingface_hub import EvalResult, ModelCard, RepoCard

from train.contenders import MODEL_ROW
from train.instance_protocol import ALL_PICTURES, MEAN_OF_MATERIALS
from train.publishing import PublishError

PLACEHOLDER = "user/name"
"""Stands for the repository's id in the texts."""

METRICS = {
    "f1": ("f1", "F1 at IoU 0.5"),
    "panoptic_quality": ("panoptic_quality", "Panoptic quality"),
    "count_error": ("relative_count_error", "Count error, relative"),
    "mask_iou": ("iou", "IoU of the mask of all grains"),
}
"""Columns of an evaluation that the card's metadata carry: the metric's identifier and name on the Hub."""

_LOCAL_LINK = re.compile(r"""(?:\]\(|src=")(?!\w+:|#|/)([^)"\s#]+)""")


def model_card(card: Path, report: Path | None, repo_id: str, weights: Mapping[str, str | None]) -> ModelCard:
    """Fill the model's card: the repository's id in its examples, the evaluation in its metadata.

    Args:
        card: Markdown with front matter.
        report: `instances.json` of `python -m train evaluate`; `None` leaves results out.
        repo_id: Where the model is going to be, USER/NAME.
        weights: Name and version of the weights, as `describe_weights` gives them.

    Returns:
        The card.

    Raises:
        PublishError: If a file cannot be read, or the report is of other weights.
    """
    filled = _load(card, ModelCard, repo_id)
    if report is not None:
        filled.data.model_name = repo_id.partition("/")[2]
        filled.data.eval_results = eval_results(report, weights)
    return filled


def eval_results(report: Path, weights: Mapping[str, str | None]) -> list[EvalResult]:
    """Turn an evaluation into results for the Hub's `model-index`, a data set and metric each.

    Args:
        report: `instances.json` of `python -m train evaluate`.
        weights: Name and version of the weights that the results must be of.

    Returns:
        The results, in the report's order.

    Raises:
        PublishError: If there is no such report, or it is of other weights.
    """
    try:
        evaluation = json.loads(report.read_text(encoding="utf-8"))
        scores, evaluated = evaluation["summary"][MODEL_ROW], evaluation["weights"][MODEL_ROW]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PublishError(
            f"The evaluation {report} cannot be read. Expected is instances.json as `python -m train evaluate "
            "--protocol instances` writes it. Run the evaluation, or name its report with --report."
        ) from error
    if evaluated != dict(weights):
        raise PublishError(
            f"The evaluation {report} is of the weights {_name(evaluated)}, not of {_name(weights)}. Results belong "
            "to the weights that they are published with. Run `python -m train evaluate` again."
        )
    return [
        EvalResult(
            task_type="image-segmentation",
            task_name="Grain instance segmentation",
            dataset_type=material,
            dataset_name=material,
            dataset_args={"pictures": values["pictures"]},
            metric_type=identifier,
            metric_name=name,
            metric_value=round(values[column], 4),
        )
        for material, values in scores.items()
        if material not in (ALL_PICTURES, MEAN_OF_MATERIALS)
        for column, (identifier, name) in METRICS.items()
    ]


def space_card(readme: Path, repo_id: str) -> RepoCard:
    """Fill the Space's README: the model that it shows, and the Gradio and Python that it was checked with.

    Args:
        readme: Markdown with a Space's front matter.
        repo_id: The model's id on the Hub.

    Returns:
        The card.

    Raises:
        PublishError: If the file cannot be read.
    """
    card = _load(readme, RepoCard, repo_id)
    card.data.models = [repo_id]
    card.data.sdk_version = version("gradio")
    card.data.python_version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return card


def local_links(card: RepoCard) -> list[str]:
    """List the pictures and files beside a card that it links to, each once."""
    return list(dict.fromkeys(_LOCAL_LINK.findall(card.text)))


def _load(path: Path, kind: type[RepoCard], repo_id: str) -> RepoCard:
    try:
        card = kind.load(path)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise PublishError(
            f"The card {path} cannot be read: {str(error).partition(chr(10))[0]} Expected is Markdown that begins with "
            "YAML between two lines of `---`. Name another with --card, or correct it."
        ) from error
    card.text = card.text.replace(PLACEHOLDER, repo_id)
    return card


def _name(weights: Mapping[str, str | None]) -> str:
    return " ".join(filter(None, (weights.get("name"), weights.get("version"))))
