"""Finding and loading the model that counts: the embedded weights, a folder, or a repository on the Hub."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils import cached_file, extract_commit_hash

from .configuration_grain import GrainConfig
from .errors import ModelError
from .modeling_grain import UNLOADABLE, GrainForInstanceSegmentation, first_line
from .paths import expand_home
from .weights_origin import EMBEDDED_WEIGHTS

_HUB_ID = re.compile(r"(?P<repository>\w[\w.-]*(/\w[\w.-]*)?)(@(?P<revision>[\w./-]+))?")


def load_model(model: str | os.PathLike | PreTrainedModel | None = None) -> PreTrainedModel:
    """Load a grain model once and hand out the same one afterwards.

    Args:
        model: A folder; a Hub id, with `@` and a tag, branch or commit to pin one (`user/name@v0.3.0`); a loaded model,
            which is returned as it is; `None` or `"embedded"` for the embedded weights.

    Returns:
        The model; if it was loaded here, in evaluation mode and in float32, on the GPU where CUDA has one.

    Raises:
        ModelError: If nothing is found there, the Hub cannot be reached, or it is another kind of model.
    """
    if model is not None and not isinstance(model, (str, os.PathLike)):
        return _checked(model)
    if model is None or str(model) == "embedded":
        return _load_folder(EMBEDDED_WEIGHTS, "The embedded weights are missing", "Install the package again.")
    folder = expand_home(model)
    if folder.is_dir():
        return _load_folder(folder, "This is no model folder", "Name the folder that `save_pretrained` wrote.")
    if is_onnx_file(model):
        raise ModelError(
            f"{str(model)!r} is a model exported to ONNX, which torch does not run. A folder or Hub id is expected. "
            "Name one, or choose the backend 'onnx'."
        )
    if folder.exists():
        raise ModelError(
            f"{str(model)!r} is a file. A folder that holds config.json and weights, or a Hub id, is expected. Name "
            f"the file's folder {str(folder.parent)!r} if it holds them, or another one."
        )
    hub_id = _HUB_ID.fullmatch(str(model))
    if hub_id is None:
        raise ModelError(
            f"There is no model folder {str(model)!r}. A model is a folder with config.json and weights, or a Hub id "
            "such as user/name or user/name@v0.3.0. Check the path, or leave the model out to use the embedded weights."
        )
    if hub_id["revision"] is None and folder.parent.name and folder.parent.is_dir():
        raise ModelError(
            f"There is no model folder {str(model)!r}, though there is a folder {str(folder.parent)!r}. A folder that "
            f"holds config.json and weights is expected. Check the path, or write '{model}@main' for a Hub id."
        )
    return _load(hub_id["repository"], hub_id["revision"])


def is_onnx_file(model: Any) -> bool:
    """Whether a model is named by an ONNX file rather than a folder or Hub id."""
    return isinstance(model, (str, os.PathLike)) and str(model).lower().endswith(".onnx")


def _load_folder(folder: Path, missing: str, remedy: str) -> PreTrainedModel:
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"{missing}: {folder} has no config.json. A model folder holds config.json and weights. {remedy}"
        )
    # A folder that a training run writes again must not be answered from the cache.
    changed = max(file.stat().st_mtime_ns for file in folder.iterdir())
    return _load(str(folder.resolve()), None, changed)


@lru_cache(maxsize=4)
def _load(source: str, revision: str | None, _changed: int = 0) -> PreTrainedModel:
    """Load from a folder or the Hub; `_changed` is part of the cache's key only."""
    try:
        # All files of one commit, which the results name.
        commit = extract_commit_hash(cached_file(source, "config.json", revision=revision), None)
        revision = commit or revision
        config, _ = PreTrainedConfig.get_config_dict(source, revision=revision)
        if config.get("model_type") != GrainConfig.model_type:
            raise _wrong_kind(source, config.get("model_type"))
        model, report = GrainForInstanceSegmentation.from_pretrained(
            source, revision=revision, dtype=torch.float32, output_loading_info=True
        )
    except UNLOADABLE as error:
        raise ModelError(
            f"The model {source!r}{f' at {revision!r}' if revision else ''} could not be loaded: {first_line(error)} "
            "A folder or Hub repository with config.json and safetensors is expected, and the network for one that is "
            "not in the cache yet. Check the name and the connection, or leave the model out to use the embedded "
            "weights."
        ) from error
    if report["missing_keys"] or report["mismatched_keys"]:
        raise ModelError(
            f"The weights of {source!r} do not fit its config.json: "
            f"{len(report['missing_keys'])} tensors are missing, {len(report['mismatched_keys'])} have another shape. "
            "Weights and configuration have to come from one training run. Save the model again with `save_pretrained`."
        )
    model.config._commit_hash = commit
    return model.eval().to("cuda" if torch.cuda.is_available() else "cpu")


def _checked(model: PreTrainedModel) -> PreTrainedModel:
    # Not isinstance: loaded as remote code, the same source is another class.
    kind = getattr(getattr(model, "config", None), "model_type", None)
    if kind != GrainConfig.model_type or not callable(model):
        raise _wrong_kind(type(model).__name__, kind)
    return model


def _wrong_kind(name: str, kind: str | None) -> ModelError:
    found = "no model" if kind is None else f"a model of the type {kind!r}"
    return ModelError(
        f"{name!r} is {found}. Counting needs one of the type {GrainConfig.model_type!r}. "
        "Pass a GrainForInstanceSegmentation, its folder or Hub id, or nothing for the embedded weights."
    )
