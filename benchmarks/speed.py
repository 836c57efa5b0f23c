"""How long counting takes, stage by stage, beside the backbone's own forward pass on the same pixels.

`python -m benchmarks.speed` counts an example of 400x300 again and again and prints medians, their ratio to the
backbone and the memory that it took, all from one run; then the same with the network in onnxruntime.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from PIL import Image
from torch.nn import functional as F
from transformers import PreTrainedModel

from grain_model.arguments import positive_integer
from grain_model.canonical_scale import predict_at_canonical_scale
from grain_model.counting import count_grains
from grain_model.errors import GrainError, ModelError
from grain_model.grain_size import grain_size
from grain_model.image_processing_grain import standardize
from grain_model.instances import BOUNDARY, label_grains
from grain_model.loading import load_model
from grain_model.measurement import measure_grains
from grain_model.micrograph import read_micrograph
from grain_model.onnx_backend import load_onnx
from grain_model.onnx_export import export_onnx
from grain_model.quality import assess_quality

EXAMPLES = Path(__file__).parents[1] / "examples"
EXAMPLE_SIZE = (400, 300)

RATIO_GOAL = 2.5
"""Counting is to take less than this many times the backbone's forward pass."""


def main(arguments: list[str] | None = None) -> int:
    """Measure and print.

    Args:
        arguments: As typed; `None` takes those of the process.

    Returns:
        Exit code: 0 when the ratio stays below the goal, else 1.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__.partition("\n")[0])
    parser.add_argument("--image", type=Path, help="default: the first example of 400x300")
    parser.add_argument("--model", help="folder or Hub id; default: the embedded weights")
    parser.add_argument("--repeats", type=positive_integer, default=15, help="default: 15")
    options = parser.parse_args(arguments)
    path = options.image or find_example()
    try:
        model = load_model(options.model)
        loaded = peak_memory()
        stages = stages_of(path, model)
    except GrainError as error:
        parser.error(str(error))
    whole = {
        "count_grains": lambda: count_grains(path, model=model),
        "backbone": backbone_pass(path, model),
    }
    medians = measure({**whole, **stages}, options.repeats)
    ratio = medians["count_grains"] / medians["backbone"]

    with Image.open(path) as image:
        width, height = image.size
    print(f"{path.name}, {width}x{height}, {device_name(model)}, medians of {options.repeats} runs")
    print(f"{'counting (count_grains)':<42}{1000 * medians['count_grains']:9.1f} ms")
    print(f"{'backbone, forward pass on the same pixels':<42}{1000 * medians['backbone']:9.1f} ms")
    print(f"{'ratio':<42}{ratio:9.2f}     (goal: below {RATIO_GOAL})")
    print("stages")
    for name in stages:
        share = medians[name] / medians["backbone"]
        print(f"  {name:<40}{1000 * medians[name]:9.1f} ms {share:6.2f} of the backbone")
    print(f"memory: {loaded:.0f} MiB with the model loaded, {peak_memory():.0f} MiB at most")
    print_backends(path, model, options.repeats)
    return 0 if ratio < RATIO_GOAL else 1


def find_example() -> Path:
    """Find the first of the project's examples that measures 400x300."""
    for path in sorted(EXAMPLES.glob("*.png")):
        with Image.open(path) as image:
            if image.size == EXAMPLE_SIZE:
                return path
    sys.exit(f"There is no example of 400x300 in {EXAMPLES}. Name a picture with --image.")


def stages_of(path: Path, model: PreTrainedModel) -> dict[str, Callable[[], object]]:
    """Cut counting, and what a user asks for afterwards, into stages that run alone.

    Args:
        path: The micrograph.
        model: The network.

    Returns:
        Name and function of each stage, in order; those in brackets are no part of `count_grains`.
    """
    analysis = count_grains(path, model=model)
    field = analysis.micrograph.field
    labels = analysis.field_labels
    image = standardize(field)

    def save() -> None:
        with tempfile.TemporaryDirectory() as folder:
            analysis.save(folder)

    return {
        "read": lambda: read_micrograph(path),
        "standardise": lambda: standardize(field),
        "network": lambda: predict_at_canonical_scale(model, image),
        "labels": lambda: label_grains(analysis.maps, size=field.shape[:2]),
        "quality": lambda: assess_quality(field, labels, analysis.maps[BOUNDARY], analysis.confidence),
        "[table]": lambda: measure_grains(labels, confidence=analysis.confidence),
        "[grain size]": lambda: grain_size(labels),
        "[overlay]": analysis.overlay,
        "[save]": save,
    }


def print_backends(path: Path, model: PreTrainedModel, repeats: int) -> None:
    """Time counting with the network in onnxruntime, on the CPU, beside counting with torch.

    Args:
        path: The micrograph.
        model: The network; exported into a temporary folder.
        repeats: Rounds.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            networks = {
                name: load_onnx(export_onnx(model, Path(folder) / f"{name}.onnx", int8=name == "int8"))
                for name in ("float32", "int8")
            }
        except ModelError as error:
            print(f"onnxruntime: {error}")
            return
    runs: dict[str, Callable[[], object]] = {"torch": lambda: count_grains(path, model=model)}
    for name, network in networks.items():
        runs[f"onnxruntime, {name}"] = partial(count_grains, path, model=network, backend="onnx")
    medians = measure(runs, repeats)
    print("counting by backend")
    for name, seconds in medians.items():
        print(f"  {name:<40}{1000 * seconds:9.1f} ms {medians['torch'] / seconds:6.2f} times as fast as torch")


def backbone_pass(path: Path, model: PreTrainedModel) -> Callable[[], object]:
    """Prepare one forward pass of the backbone alone over the whole picture, padded to its patches as in the model.

    Args:
        path: The micrograph.
        model: The network with that backbone.

    Returns:
        The pass.
    """
    pixels = torch.from_numpy(standardize(read_micrograph(path).field))[None].to(model.device, model.dtype)
    patch = model.config.backbone_config.patch_size
    padded = F.pad(pixels, (0, -pixels.shape[3] % patch, 0, -pixels.shape[2] % patch), mode="replicate")

    @torch.inference_mode()
    def run() -> object:
        return model.backbone(padded)

    return run


def measure(functions: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Time functions in turns, so that a slow spell of the machine falls on all of them.

    Args:
        functions: What to time, by name.
        repeats: Rounds, after two to warm up.

    Returns:
        Median seconds of each.
    """
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats + 2):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values[2:]) for name, values in seconds.items()}


def device_name(model: PreTrainedModel) -> str:
    """Names what the network runs on."""
    if model.device.type == "cuda":
        return torch.cuda.get_device_name(model.device)
    return f"CPU, {torch.get_num_threads()} threads"


def peak_memory() -> float:
    """Return the most memory that the process has held so far, MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


if __name__ == "__main__":
    sys.exit(main())
