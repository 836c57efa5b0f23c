"""A loss over whole borders: what decides whether two pieces of a picture stay apart.

The loss over pixels weighs every pixel alike, but a count is wrong by one where the mean evidence along a single border
falls on the wrong side of the threshold. So the picture is cut into pieces as `grain_model.instances` cuts it, and each
border between two pieces is one example: true where the pieces lie in different grains, false where in the same.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from grain_model.instances import BOUNDARY, INTERIOR, MERGE_BELOW, flood
from grain_model.label_image import touching
from grain_model.typical_grain import typical_area

# Logit of a border for a mean evidence of 1 above the threshold.
SHARPNESS = 10.0
# Pieces belong to the grain that holds this share of them; the others, and those without an inside, say nothing.
PURITY = 0.75
LEAST_INSIDE = 0.2
# Borders shorter than this part of the typical diameter, and false ones around pieces smaller than this part of the
# typical area, weigh less: the first are corners, the second are dropped as fragments anyway.
FULL_LENGTH = 0.35
FULL_AREA = 0.25


@dataclass(frozen=True)
class Borders:
    """The borders of one picture.

    Attributes:
        pixels: int64 (k,), flat indices of the pixels along them.
        border: int64 (k,), the border of each pixel, 0..n - 1.
        is_true: bool (n,), whether it parts two grains.
        weight: float32 (n,).
    """

    pixels: np.ndarray
    border: np.ndarray
    is_true: np.ndarray
    weight: np.ndarray


def border_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross entropy of the mean evidence along each border, averaged over borders and then over pictures.

    Args:
        logits: (B, C, H, W): interior, boundary, distance.
        labels: Integer (B, H, W): 0 = not a grain, 1.. = ids, -1 = not known.

    Returns:
        A scalar; zero where no picture has a border between pieces of known grains.
    """
    probabilities = logits.float().sigmoid()
    # As `grain_model.instances.flood` has it, but that it can be learnt from.
    evidence = torch.maximum(probabilities[:, BOUNDARY], 1 - probabilities[:, INTERIOR]).flatten(1)
    losses = []
    for maps, ids, along in zip(probabilities.detach().cpu().numpy(), labels.cpu().numpy(), evidence, strict=True):
        borders = find_borders(maps, ids)
        if borders is None:
            continue
        pixels, border, is_true, weight = (torch.from_numpy(part).to(along.device) for part in vars(borders).values())
        total = along.new_zeros(len(weight)).index_add(0, border, along[pixels])
        mean = total / torch.bincount(border, minlength=len(weight))
        loss = F.binary_cross_entropy_with_logits(SHARPNESS * (mean - MERGE_BELOW), is_true.float(), weight)
        losses.append(loss * len(weight) / weight.sum())
    return torch.stack(losses).mean() if losses else logits.sum() * 0


def find_borders(maps: np.ndarray, labels: np.ndarray) -> Borders | None:
    """Cut maps into pieces and tell of each border whether it is one between grains.

    All that parts the same two grains is one border; within a grain each pair of pieces has its own.

    Args:
        maps: float32 (C, H, W), 0 to 1.
        labels: Integer (H, W), as in `border_loss`.

    Returns:
        The borders between pieces that lie in known grains; None where there are none.
    """
    pieces, evidence = flood(maps)
    grains = np.maximum(labels, 0)
    areas = np.bincount(grains.ravel())[1:]
    if pieces.max() < 2 or not areas.any():
        return None
    typical = typical_area(areas[areas > 0])
    n, most = int(pieces.max()) + 1, len(areas) + 1
    size = np.bincount(pieces.ravel(), minlength=n)
    shares = np.bincount((pieces.astype(np.int64) * most + grains)[labels >= 0], minlength=n * most).reshape(n, most)
    inside = np.bincount(pieces.ravel(), maps[INTERIOR].ravel(), n)
    grain_of = shares.argmax(axis=1)
    usable = (grain_of > 0) & (shares.max(axis=1) > PURITY * size) & (inside > LEAST_INSIDE * size)

    place = np.arange(pieces.size).reshape(pieces.shape)
    found = []
    for here, there, touch in touching(pieces):
        touch &= usable[pieces[here]] & usable[pieces[there]]
        stronger = np.where(evidence[here] >= evidence[there], place[here], place[there])
        found.append(np.stack([pieces[here][touch], pieces[there][touch], stronger[touch]]))
    one, other, pixels = np.concatenate(found, axis=1).astype(np.int64)
    if len(pixels) == 0:
        return None
    parts_grains = grain_of[one] != grain_of[other]
    # Grains and pieces are numbered one after the other, so that a pair of grains is no pair of pieces.
    sides = [np.where(parts_grains, grain_of[side], most + side) for side in (one, other)]
    _, border, length = np.unique(
        np.minimum(*sides) * (most + n) + np.maximum(*sides), return_inverse=True, return_counts=True
    )
    is_true = np.zeros(len(length), bool)
    is_true[border] = parts_grains
    smaller = np.zeros(len(length))
    smaller[border] = np.minimum(size[one], size[other])
    diameter = np.sqrt(4 * typical / np.pi)
    weight = np.minimum(length / (FULL_LENGTH * diameter), 1)
    weight *= np.where(is_true, 1, np.clip(smaller / (FULL_AREA * typical), 0.1, 1))
    return Borders(pixels, border, is_true, weight.astype(np.float32))
