"""The network as one ONNX file: for `count_grains(..., backend="onnx")`, and for programs that have no torch."""

from __future__ import annotations

import copy
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import torch
from transformers import PreTrainedModel

from .errors import ModelError
from .loading import load_model
from .paths import expand_home
from .weights_origin import describe_weights

INPUT, OUTPUT = "pixel_values", "logits"
WEIGHTS_KEY = "grain_model.weights"
"""Where the file's metadata name the weights: JSON, see `describe_weights`."""

# Any size will do that is square in nothing: the axes stay free.
_TRACED_SHAPE = (2, 3, 70, 98)
_AXES = {0: "batch", 2: "height", 3: "width"}


def export_onnx(
    model: str | os.PathLike | PreTrainedModel | None, path: str | os.PathLike, *, int8: bool = False
) -> Path:
    """Write the network as one ONNX file: `pixel_values` (batch, 3, height, width) in, `logits` of the same size out.

    All three axes are free. The file holds float32 weights and names them; `count_grains(image, model=path,
    backend="onnx")` reads it, and so does any other program with an ONNX runtime, which has to standardise its images
    as `GrainImageProcessor` does.

    Args:
        model: A loaded model, folder or Hub id; `None` for the embedded weights. It stays as it is.
        path: The file; replaced once the new one is complete.
        int8: Keep the weights of the backbone's and the tokens' linear layers in 8 bits, and multiply in 8 bits: a
            third of the size, for slightly other probabilities. Convolutions stay in float32, since their maps are
            what thin boundaries are drawn from.

    Returns:
        The path.

    Raises:
        ModelError: If the model cannot be loaded, the packages for exporting are missing, or the path does not end in
            .onnx or is a folder.
    """
    path = expand_home(path)
    if path.suffix.lower() != ".onnx" or path.is_dir():
        raise ModelError(
            f"{path} is a folder or does not end in .onnx. A file such as model.onnx is expected. Change it."
        )
    _exporter()
    source = load_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
        written = Path(folder) / "model.onnx"
        _write_float32(source, written)
        if int8:
            written = _quantized(written)
        os.replace(written, path)
    return path


class _Logits(torch.nn.Module):
    """The model with one tensor in and one out."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return self.model(pixel_values=pixel_values).logits


def _write_float32(model: PreTrainedModel, path: Path) -> None:
    # A copy, since the caller's may be of another precision, on another device or in training.
    network = _Logits(copy.deepcopy(model).to("cpu", torch.float32)).eval()
    with torch.inference_mode(False), torch.no_grad(), _without_exporter_talk():
        program = torch.onnx.export(
            network,
            (torch.zeros(_TRACED_SHAPE),),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes={INPUT: _AXES},
            dynamo=True,
            verbose=False,
        )
    program.model.metadata_props[WEIGHTS_KEY] = json.dumps(describe_weights(model))
    program.save(path)


def _quantized(path: Path) -> Path:
    onnx, quantization = _exporter()
    target = path.with_name("int8.onnx")
    with _without_exporter_talk():
        quantization.quantize_dynamic(
            path,
            target,
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
        )
    # The quantiser leaves the metadata behind.
    quantized = onnx.load(target)
    onnx.helper.set_model_props(quantized, {entry.key: entry.value for entry in onnx.load(path).metadata_props})
    onnx.save(quantized, target)
    return target


def _exporter() -> tuple[ModuleType, ModuleType]:
    """The packages onnx and onnxruntime.quantization; torch's exporter imports onnxscript by itself."""
    try:
        import onnx
        import onnxscript  # noqa: F401
        from onnxruntime import quantization
    except ImportError as error:
        raise ModelError(
            f"The model cannot be exported: the package {error.name} is missing. onnx, onnxscript and onnxruntime are "
            "needed, which are an extra. Install them with `pip install 'grain_model[onnx]'`."
        ) from error
    return onnx, quantization


@contextmanager
def _without_exporter_talk() -> Iterator[None]:
    """Silence advice that concerns the exporter's authors: missing torchvision, unprepared quantisation."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
