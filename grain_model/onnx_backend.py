"""Running the network with onnxruntime instead of torch: the same labels, faster on some processors."""

from __future__ import annotations

import hashlib
import json
import os
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from huggingface_hub import cached_assets_path
from transformers import PreTrainedModel

from .errors import ModelError
from .loading import is_onnx_file, load_model
from .modeling_grain import GrainSegmentationOutput
from .onnx_export import INPUT, OUTPUT, WEIGHTS_KEY, export_onnx
from .paths import expand_home
from .version import __version__


class OnnxNetwork:
    """An exported network, called as the model that it was exported from.

    Args:
        path: A file that `export_onnx` wrote.

    Attributes:
        device: Where the pixels are expected: the CPU.
        dtype: Of which type they are: float32.
        weights: Name and version of the weights; see `describe_weights`.

    Raises:
        ModelError: If onnxruntime is missing, or the file is not such a file.
    """

    device = torch.device("cpu")
    dtype = torch.float32

    def __init__(self, path: str | os.PathLike) -> None:
        self._session = _open(Path(path))
        self.weights: dict[str, str | None] = json.loads(self._session.get_modelmeta().custom_metadata_map[WEIGHTS_KEY])

    def __call__(self, pixel_values: torch.Tensor) -> GrainSegmentationOutput:
        """Compute the logits.

        Args:
            pixel_values: float32 (B, 3, H, W); any H and W.

        Returns:
            The output with its `logits`, float32 (B, C, H, W).
        """
        (logits,) = self._session.run([OUTPUT], {INPUT: pixel_values.numpy()})
        return GrainSegmentationOutput(logits=torch.from_numpy(logits))


def load_onnx(model: str | os.PathLike | PreTrainedModel | OnnxNetwork | None = None) -> OnnxNetwork:
    """Open an exported network once and hand out the same one afterwards.

    Args:
        model: A file that `export_onnx` wrote; or whatever `load_model` takes, which is exported on first use into the
            Hub's cache (`HF_HOME/assets/grain_model/onnx`, about 100 MB) and read from there in later processes. An
            `OnnxNetwork` is returned as it is.

    Returns:
        The network.

    Raises:
        ModelError: If onnxruntime or, where the model has yet to be exported, the exporter's packages are missing; if
            there is no such model; or if the cache cannot be written.
    """
    if isinstance(model, OnnxNetwork):
        return model
    _onnxruntime()
    if is_onnx_file(model):
        path = _existing(model)
    elif model is None or isinstance(model, (str, os.PathLike)):
        path = _exported_once(load_model(model))
    else:
        path = _exported(load_model(model))  # looked at each time, since its weights may have been trained further
    # A file that was exported again must not be answered from the cache.
    return _opened(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _opened(path: Path, _changed: int) -> OnnxNetwork:
    """Open a file; `_changed` is part of the cache's key only."""
    return OnnxNetwork(path)


def _existing(name: str | os.PathLike) -> Path:
    path = expand_home(name).resolve()
    if not path.is_file():
        raise ModelError(
            f"There is no file {str(name)!r}. A file that `python -m grain_model export-onnx` wrote is expected. "
            "Check the path, or leave the model out to use the embedded weights."
        )
    return path


def _exported(model: PreTrainedModel) -> Path:
    """The file of this model in the Hub's cache, exported if it is not there."""
    try:
        folder = cached_assets_path("grain_model", namespace="onnx", subfolder=_fingerprint(model))
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # huggingface_hub raises the latter where a file is in the way
        raise ModelError(
            f"The exported model cannot be kept: {error} A Hub cache that can be written is expected. Set HF_HOME to "
            "such a folder, or name a file that `python -m grain_model export-onnx` wrote as the model."
        ) from error
    path = folder / "model.onnx"
    return path if path.is_file() else export_onnx(model, path)


@lru_cache(maxsize=4)
def _exported_once(model: PreTrainedModel) -> Path:
    """As `_exported`, for a model that nobody else holds."""
    return _exported(model)


def _fingerprint(model: PreTrainedModel) -> str:
    """Names a model by its weights and by the versions whose change makes another file of them."""
    digest = hashlib.sha256(f"{__version__} {torch.__version__} {model.config.to_json_string()}".encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()[:32]


def _open(path: Path) -> Any:
    runtime = _onnxruntime()
    options = runtime.SessionOptions()
    # As many as torch may use, so that one setting holds for both.
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    wrong = (
        "A file that `python -m grain_model export-onnx` wrote is expected. Export the model again, or leave it out to "
        "use the embedded weights."
    )
    try:
        session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own classes share no other base
        raise ModelError(f"{str(path)!r} cannot be read as an ONNX model. {wrong}") from error
    if WEIGHTS_KEY not in session.get_modelmeta().custom_metadata_map:
        raise ModelError(f"{str(path)!r} is an ONNX model, but not one of grains. {wrong}")
    return session


def _onnxruntime() -> ModuleType:
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError(
            "The backend 'onnx' cannot run: the package onnxruntime is missing. It is an extra. Install it with "
            "`pip install 'grain_model[onnx]'`, or leave the backend out to run the network with torch."
        ) from error
    return onnxruntime
