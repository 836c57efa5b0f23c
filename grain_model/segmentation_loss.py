"""Targets from grain ids and the loss over the three maps."""

import math

import cv2
import numpy as np
import torch
from torch.nn import functional as F
from transformers import PreTrainedConfig

from .label_image import has_other_label

# Boundary pixels are a few per cent of a micrograph; each weighs this much more than another pixel.
BOUNDARY_EMPHASIS = 3.0


def boundary_from_ids(labels: torch.Tensor) -> torch.Tensor:
    """Find pixels whose 3x3 neighbourhood holds more than one id.

    Args:
        labels: Integer (B, H, W), below 2**24: of larger ones float32 takes neighbours for one.

    Returns:
        Bool (B, H, W): lines two pixels wide between touching grains, and the rims of gaps.
    """
    ids = F.pad(labels[:, None].float(), (1, 1, 1, 1), mode="replicate")
    high = F.max_pool2d(ids, 3, stride=1)
    low = -F.max_pool2d(-ids, 3, stride=1)
    return (high != low)[:, 0]


def distance_within(mask: np.ndarray) -> np.ndarray:
    """Euclidean distance of every marked pixel to the nearest one that is not.

    Args:
        mask: Bool (H, W).

    Returns:
        float32 (H, W), 0 where nothing is marked; the picture's diagonal where everything is.
    """
    distance = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    distance = np.minimum(distance, math.hypot(*mask.shape))
    # OpenCV's last bits differ from call to call; squared distances between pixels are whole numbers.
    return np.sqrt(np.round(distance * distance))


def grain_depth(labels: np.ndarray, shrunk: float = 0.0, *, deepest: float = 1.0) -> np.ndarray:
    """Distance to the nearest boundary relative to the grain's deepest point.

    Args:
        labels: Integer (H, W), below 2**24: 0 or less where there is no grain.
        shrunk: How far the grains' edges lie outside of their labels, in px.
        deepest: What a grain's deepest point is given.

    Returns:
        float32 (H, W), 0 on boundaries and outside grains, `deepest` at the deepest point.
    """
    labels = np.maximum(labels, 0)
    inside = (labels > 0) & ~has_other_label(labels, np.ones((3, 3), np.uint8))
    distance = (distance_within(inside) + shrunk) * inside
    ids = labels.ravel()
    largest = np.zeros(int(ids.max()) + 1, np.float32)
    np.maximum.at(largest, ids, distance.ravel())
    return deepest * distance / np.maximum(largest[ids].reshape(labels.shape), 1)


def targets_from_ids(
    labels: torch.Tensor, relative_distance: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Turn grain ids into what the three maps should be.

    Args:
        labels: Integer (B, H, W): 0 = not a grain, 1.. = ids, -1 = not known.
        relative_distance: Float (B, H, W), the third map where it is known already; computed if left out.

    Returns:
        float32 (B, 3, H, W) in [0, 1]: interior (grain without its rim), boundary, distance to the boundary relative to
        the grain's deepest point, see `grain_depth`; and bool (B, H, W), the pixels that are known.

    Raises:
        TypeError: If the labels are fractions, as a picture's are that was scaled to 1.
    """
    if labels.is_floating_point():
        raise TypeError(f"labels are {labels.dtype}: expected whole numbers, ids of grains. Pass them as torch.int32.")
    labels = labels.long()
    known = labels >= 0
    # The rim of an unknown area is not a boundary that anyone has seen.
    known = ~F.max_pool2d((~known).float()[:, None], 3, stride=1, padding=1)[:, 0].bool()
    ids = labels.clamp(min=0)
    boundary = boundary_from_ids(ids)
    interior = (ids > 0) & ~boundary
    if relative_distance is None:
        depth = np.stack([grain_depth(picture) for picture in ids.cpu().numpy()])
        relative_distance = torch.from_numpy(depth).to(ids.device)
    return torch.stack([interior.float(), boundary.float(), relative_distance.float()], dim=1), known


def segmentation_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    config: PreTrainedConfig,
    relative_distance: torch.Tensor | None = None,
) -> torch.Tensor:
    """Weighted cross entropy and soft Dice for interior and boundary, L1 for the distance.

    Args:
        logits: (B, C, H, W), C at least 2.
        labels: Integer (B, H, W) as in `targets_from_ids`.
        config: Gives `interior_weight`, `boundary_weight` and `distance_weight`.
        relative_distance: As in `targets_from_ids`.

    Returns:
        A scalar; zero where nothing is known.
    """
    with torch.no_grad():
        targets, known = targets_from_ids(labels, relative_distance)
    logits, known = logits.float(), known.float()
    total = known.sum().clamp(min=1.0)
    probabilities = logits.sigmoid()
    loss = logits.new_zeros(())
    for channel, weight in ((0, config.interior_weight), (1, config.boundary_weight)):
        target = targets[:, channel]
        emphasis = known * (1 + (BOUNDARY_EMPHASIS - 1) * target) if channel == 1 else known
        entropy = F.binary_cross_entropy_with_logits(logits[:, channel], target, reduction="none")
        overlap = (probabilities[:, channel] * target * known).sum((1, 2))
        size = ((probabilities[:, channel] + target) * known).sum((1, 2))
        dice = 1 - (2 * overlap + 1) / (size + 1)
        loss = loss + weight * ((entropy * emphasis).sum() / total + 0.5 * dice.mean())
    if logits.shape[1] > 2:
        difference = (probabilities[:, 2] - targets[:, 2]).abs() * known
        loss = loss + config.distance_weight * difference.sum() / total
    return loss
