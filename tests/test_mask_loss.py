"""The loss of the seed's game on masks whose value is known."""

import math

import pytest
import torch

from train.mask_loss import mask_loss


def make_logits(labels: torch.Tensor, certainty: float) -> torch.Tensor:
    """Logits that say the mask with the given certainty, and noise in the other two maps."""
    interior = torch.where(labels > 0, certainty, -certainty)
    return torch.stack([interior, *torch.randn(2, *labels.shape)], dim=1)


def test_right_masks_cost_nothing_and_wrong_ones_much():
    labels = torch.zeros(2, 16, 16, dtype=torch.long)
    labels[:, 4:12, 4:12] = 3
    assert mask_loss(make_logits(labels, 20), labels) == pytest.approx(0, abs=1e-5)
    assert mask_loss(make_logits(labels, -20), labels) == pytest.approx(20 + 1, abs=0.02)
    assert mask_loss(make_logits(labels, 0), labels) > math.log(2)


def test_rims_of_touching_grains_belong_to_the_mask():
    labels = torch.ones(1, 8, 8, dtype=torch.long)
    labels[:, :, 4:] = 2
    assert mask_loss(make_logits(labels, 20), labels) == pytest.approx(0, abs=1e-5)


def test_unknown_pixels_teach_nothing():
    labels = torch.full((1, 8, 8), -1)
    logits = torch.randn(1, 3, 8, 8, requires_grad=True)
    mask_loss(logits, labels).backward()
    assert logits.grad.abs().max() == 0
