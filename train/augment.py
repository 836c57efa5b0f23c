"""Augmentation of whole batches on the device that trains."""

import math

import torch
from torch.nn import functional as F

from grain_model.image_processing_grain import MIN_CONTRAST
from train.labelled import UNKNOWN


def augment(
    images: torch.Tensor,
    labels: torch.Tensor,
    distance: torch.Tensor,
    size: int,
    generator: torch.Generator,
    *,
    turns_only: bool = False,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Cut, turn, scale, light and blur a batch at random, then standardise it as `GrainImageProcessor` does.

    Args:
        images: uint8 (B, 3, S, S).
        labels: Integer (B, S, S).
        distance: uint8 (B, S, S), relative distance to the boundary.
        size: Side of the result in px.
        generator: On the CPU; sets every choice, so that a batch can be repeated on any device.
        turns_only: Leave scale and light as they are and turn by right angles only; for labels that follow from them,
            as a threshold's do.

    Returns:
        float32 (B, 3, size, size) of zero mean and unit variance a picture; int64 (B, size, size), -1 where the cut
        reaches beyond the picture; float32 (B, size, size), the distance in [0, 1].
    """
    channels = torch.cat([images, distance[:, None]], dim=1).float() / 255
    cut, ids = _cut(channels, labels, size, generator, turns_only)
    pixels = cut[:, :3] if turns_only else _photometric(cut[:, :3], generator)
    return standardize_batch(pixels), ids, cut[:, 3]


def standardize_batch(pixels: torch.Tensor) -> torch.Tensor:
    """Zero mean and unit variance for each picture, over pixels and channels; float (B, 3, H, W) in and out.

    As `standardize`, but that no region is left out; a tint has gone before, where the samples are made.
    """
    mean = pixels.mean((1, 2, 3), keepdim=True)
    std = pixels.std((1, 2, 3), keepdim=True, correction=0).clamp(min=MIN_CONTRAST)
    return (pixels - mean) / std


def _uniform(generator: torch.Generator, count: int, low: float, high: float) -> torch.Tensor:
    return low + (high - low) * torch.rand(count, generator=generator)


def _cut(
    pixels: torch.Tensor, labels: torch.Tensor, size: int, generator: torch.Generator, turns_only: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    count, _, side, _ = pixels.shape
    device = pixels.device
    # Scale: px of the source for one px of the result; never so large that the cut is bigger than the picture.
    widest = side / size
    scale = torch.exp(_uniform(generator, count, math.log(0.6), math.log(max(widest, 0.75)))).clamp(max=widest)
    turn = (torch.randint(4, (count,), generator=generator) * (math.pi / 2)).float()
    tilt = _uniform(generator, count, -0.5, 0.5) * (torch.rand(count, generator=generator) < 0.3)
    if turns_only:
        scale, tilt = torch.ones(count).clamp(max=widest), torch.zeros(count)
    flip = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    # In the coordinates of grid_sample the picture spans -1..1; the cut spans `reach` of it.
    reach = scale * size / side
    room = (1 - reach).clamp(min=0)
    dx, dy = room * _uniform(generator, count, -1, 1), room * _uniform(generator, count, -1, 1)
    angle = turn + tilt
    cos, sin = torch.cos(angle) * reach, torch.sin(angle) * reach
    theta = torch.stack([torch.stack([cos * flip, -sin, dx], 1), torch.stack([sin * flip, cos, dy], 1)], 1).to(device)
    grid = F.affine_grid(theta, [count, 1, size, size], align_corners=False)
    cut = F.grid_sample(pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    # Ids are shifted by one so that the zeros that pad the outside come back as unknown.
    shifted = (labels.float() - UNKNOWN)[:, None]
    ids = F.grid_sample(shifted, grid, mode="nearest", padding_mode="zeros", align_corners=False)[:, 0]
    return cut, ids.round().long() + UNKNOWN


def _photometric(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    count, device = len(pixels), pixels.device

    def some(probability: float, values: torch.Tensor, neutral: float) -> torch.Tensor:
        chosen = torch.rand(count, generator=generator) < probability
        return torch.where(chosen, values, neutral).to(device)[:, None, None, None]

    gamma = some(0.5, torch.exp(0.35 * torch.randn(count, generator=generator)), 1.0)
    pixels = pixels.clamp(1e-4, 1) ** gamma
    grey = some(0.4, torch.ones(count), 0.0)
    pixels = torch.lerp(pixels, pixels.mean(1, keepdim=True).expand_as(pixels), grey)
    gain = 1 + 0.15 * torch.randn(count, 3, 1, 1, generator=generator).to(device) * some(0.3, torch.ones(count), 0.0)
    pixels = pixels * gain
    pixels = pixels * (1 + some(0.08, _uniform(generator, count, 0.05, 0.3), 0.0) * _bands(pixels, generator))
    inverted = some(0.08, torch.ones(count), 0.0)
    pixels = torch.lerp(pixels, 1 - pixels, inverted)
    # One blur for the batch's first part keeps the kernel shared.
    part = int(count * 0.25)
    if part:
        sigma = float(_uniform(generator, 1, 0.3, 1.4))
        pixels = torch.cat([_blur(pixels[:part], sigma), pixels[part:]])
    noise = some(0.4, 0.06 * torch.rand(count, generator=generator), 0.0)
    seed = int(torch.randint(2**31, (1,), generator=generator))
    on_device = torch.Generator(device).manual_seed(seed)
    shape = (count, 1, *pixels.shape[2:])
    return pixels + noise * torch.randn(shape, generator=on_device, device=device)


def _bands(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Waves of light in any direction, as curtaining and flicker give; float (B, 1, H, W) in -1..1."""
    count, _, height, width = pixels.shape
    angle, phase = _uniform(generator, count, 0, math.pi), _uniform(generator, count, 0, 2 * math.pi)
    waves = 2 * math.pi * torch.exp(_uniform(generator, count, math.log(2), math.log(15)))
    x, y = ((turn * waves).to(pixels.device)[:, None, None] for turn in (torch.cos(angle), torch.sin(angle)))
    across = torch.linspace(0, 1, width, device=pixels.device)
    down = torch.linspace(0, 1, height, device=pixels.device)[:, None]
    return torch.sin(x * across + y * down + phase.to(pixels.device)[:, None, None])[:, None]


def _blur(pixels: torch.Tensor, sigma: float) -> torch.Tensor:
    radius = max(int(3 * sigma + 0.5), 1)
    offsets = torch.arange(-radius, radius + 1, device=pixels.device, dtype=pixels.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum()).expand(3, 1, 1, -1)
    padded = F.pad(pixels, (radius,) * 4, mode="reflect")
    return F.conv2d(F.conv2d(padded, kernel, groups=3), kernel.transpose(2, 3), groups=3)
