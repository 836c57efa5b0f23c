"""The loss of the seed's game: a mask is learnt as it stands, boundaries and specks included."""

import torch
from torch.nn import functional as F


def mask_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross entropy and soft Dice of the interior map against everything that is labelled.

    Args:
        logits: (B, C, H, W); only channel 0, the interior, learns.
        labels: Integer (B, H, W): 0 = not in the mask, 1.. = in it, -1 = not known.

    Returns:
        A scalar; zero where nothing is known.
    """
    known, target = (labels >= 0).float(), (labels > 0).float()
    interior = logits[:, 0].float()
    entropy = F.binary_cross_entropy_with_logits(interior, target, reduction="none")
    probability = interior.sigmoid() * known
    overlap = (probability * target).sum((1, 2))
    dice = 1 - (2 * overlap + 1) / (probability.sum((1, 2)) + (target * known).sum((1, 2)) + 1)
    return (entropy * known).sum() / known.sum().clamp(min=1.0) + dice.mean()
