"""From an image to its grains: `count_grains`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Literal

from transformers import PreTrainedModel

from .analysis import GrainAnalysis, analyze
from .errors import ModelError
from .label_settings import DEFAULT_SETTINGS, LabelSettings, Method
from .loading import is_onnx_file, load_model
from .micrograph import as_micrograph
from .onnx_backend import OnnxNetwork, load_onnx
from .weights_origin import describe_weights

Backend = Literal["torch", "onnx"]


def count_grains(
    image: Any,
    um_per_pixel: float | None = None,
    model: str | os.PathLike | PreTrainedModel | OnnxNetwork | None = None,
    *,
    page: int | None = None,
    method: Method = DEFAULT_SETTINGS.method,
    boundary_sensitivity: float = DEFAULT_SETTINGS.boundary_sensitivity,
    min_grain_area: float | None = None,
    backend: Backend = "torch",
    progress: Callable[[int, int], None] | None = None,
) -> GrainAnalysis:
    """Find, count and measure the grains of a micrograph.

    Args:
        image: Path, PIL image, numpy array (H, W) or (H, W, 3) of 8 or 16 bit or float, or a `Micrograph` already read.
        um_per_pixel: Scale in um per pixel; wins over one found in the file.
        model: Folder, Hub id or a loaded model; `None` uses the embedded weights, with no network. A file that
            `export_onnx` wrote, or what `load_onnx` returned, runs by onnxruntime whatever the backend.
        page: Which page of a TIFF or frame of an animation, from 0; left out, it is the first.
        method: `"watershed"` separates grains that touch, `"components"` is plain connected components.
        boundary_sensitivity: 0 to 1; higher draws boundaries from weaker evidence, so it splits more.
        min_grain_area: See `LabelSettings`.
        backend: What runs the network: `"torch"`, or `"onnx"` (onnxruntime, on the CPU), which exports the model on
            first use; see `load_onnx`.
        progress: Called with the tiles done and the tiles in all where a picture is so large that it is read in tiles;
            they begin anew where it is read once more at another size.

    Returns:
        The analysis: `.count`, `.labels`, `.mask`, `.table`, `.grain_size`, `.overlay()`, `.save(folder)`.

    Raises:
        ImageError: If the image cannot be read.
        ScaleError: If `um_per_pixel` is not from 1e-6 to 1e6 um.
        MeasurementError: If a setting does not fit; see `LabelSettings`.
        ModelError: If the model cannot be loaded, or the backend is unknown or not installed.
    """
    settings = LabelSettings(method, boundary_sensitivity, min_grain_area)
    micrograph = as_micrograph(image, um_per_pixel, page)
    network, weights = load_network(model, backend)
    return analyze(micrograph, network, weights, settings, progress)


def load_network(
    model: str | os.PathLike | PreTrainedModel | OnnxNetwork | None, backend: Backend = "torch"
) -> tuple[PreTrainedModel | OnnxNetwork, dict[str, str | None]]:
    """Load a model for what is to run it.

    Args:
        model: See `count_grains`.
        backend: See `count_grains`.

    Returns:
        The network, and the name and version of its weights.

    Raises:
        ModelError: If the model cannot be loaded, or the backend is unknown or not installed.
    """
    if backend == "onnx" or isinstance(model, OnnxNetwork) or is_onnx_file(model):
        network = load_onnx(model)
        return network, network.weights
    if backend != "torch":
        raise ModelError(
            f"The backend {backend!r} is unknown. The network runs on 'torch' or 'onnx'. Leave `backend` out, or pass "
            "one of these."
        )
    network = load_model(model)
    return network, describe_weights(network)
