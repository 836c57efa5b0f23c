"""Maps of pictures of any size at bounded memory: overlapping tiles, blended."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import torch
from transformers.utils import ModelOutput

# Neighbouring tiles share this many px, over which one fades into the other.
OVERLAP = 128


class Network(Protocol):
    """What computes the logits: a `GrainForInstanceSegmentation`, or the same exported to ONNX.

    Attributes:
        device: Where the pixels are expected.
        dtype: Of which type they are.
    """

    device: torch.device
    dtype: torch.dtype

    def __call__(self, *, pixel_values: torch.Tensor) -> ModelOutput:
        """Compute the `logits`, (B, C, H, W), of float (B, 3, H, W)."""
        ...


def predict_probabilities(
    model: Network,
    image: np.ndarray,
    *,
    max_pixels: int = 2_000_000,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Run the model over a picture; in one piece if it is small enough.

    Args:
        model: A `GrainForInstanceSegmentation`, or the same exported to ONNX; one in training mode is left as it was.
        image: float32 (3, H, W), standardised as a whole, so that all tiles see the same contrast.
        max_pixels: Largest number of pixels in one forward pass.
        progress: Called with the tiles done and the tiles in all.

    Returns:
        float32 (C, H, W), sigmoid of the logits, in [0, 1].
    """
    with _evaluating(model):
        return _predict(model, image, max_pixels, progress)


def _predict(
    model: Network, image: np.ndarray, max_pixels: int, progress: Callable[[int, int], None] | None
) -> np.ndarray:
    _, height, width = image.shape
    rows, columns = _tile_counts(height, width, max_pixels)
    if rows * columns == 1:
        return _forward(model, image)
    total = None
    weight = np.zeros((height, width), np.float32)
    tiles = [(y, x) for y in _spans(height, rows) for x in _spans(width, columns)]
    for done, (y, x) in enumerate(tiles, start=1):
        maps = _forward(model, image[:, y, x])
        if total is None:
            total = np.zeros((len(maps), height, width), np.float32)
        fade = np.minimum.outer(_fade(y, height), _fade(x, width))
        total[:, y, x] += maps * fade
        weight[y, x] += fade
        if progress is not None:
            progress(done, len(tiles))
    total /= weight
    return total


@contextmanager
def _evaluating(model: Network) -> Iterator[None]:
    """Bring a model that is being trained to evaluation for a while: its statistics must not learn from this."""
    modules = list(model.modules()) if isinstance(model, torch.nn.Module) else []
    modes = [module.training for module in modules]
    for module in modules:
        module.training = False
    try:
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode


@torch.inference_mode()
def _forward(model: Network, image: np.ndarray) -> np.ndarray:
    pixels = torch.from_numpy(np.ascontiguousarray(image)).to(model.device, model.dtype)[None]
    return model(pixel_values=pixels).logits.float().sigmoid()[0].cpu().numpy()


def _tile_counts(height: int, width: int, max_pixels: int) -> tuple[int, int]:
    """Fewest rows and columns of nearly square tiles of at most `max_pixels`, the overlap included."""
    if height * width <= max_pixels:
        return 1, 1
    side = max(math.isqrt(max_pixels) - OVERLAP, 1)
    return max(math.ceil((height - OVERLAP) / side), 1), max(math.ceil((width - OVERLAP) / side), 1)


def _spans(length: int, count: int) -> list[slice]:
    """Cut 0..length into `count` equal spans that overlap by `OVERLAP`."""
    size = math.ceil((length + (count - 1) * OVERLAP) / count)
    starts = [round(k * (length - size) / max(count - 1, 1)) for k in range(count)]
    return [slice(start, start + size) for start in starts]


def _fade(span: slice, length: int) -> np.ndarray:
    """Weight of a tile along one side: rises over the overlap where there is a neighbour, 1 elsewhere."""
    position = np.arange(span.start, span.stop, dtype=np.float32)
    rise = (position - span.start + 1) / OVERLAP if span.start > 0 else np.ones_like(position)
    fall = (span.stop - position) / OVERLAP if span.stop < length else np.ones_like(position)
    return np.minimum(np.minimum(rise, fall), 1.0)
