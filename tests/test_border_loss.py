"""The loss over whole borders: which borders there are, and which way it pulls."""

import numpy as np
import pytest
import torch

from tests.drawn import drawn_maps, squares
from train.border_loss import border_loss, find_borders


@pytest.fixture
def ids():
    """Four square grains of 24 px."""
    return squares(2, 2, 24)


def logits_of(maps):
    return torch.from_numpy(np.log(maps) - np.log1p(-maps))[None].clamp(-6, 6).requires_grad_()


def test_every_pair_of_grains_is_one_border(ids):
    borders = find_borders(drawn_maps(ids), ids)
    assert borders.is_true.sum() >= 4 and borders.is_true.all()
    assert len(borders.pixels) == len(borders.border) and set(borders.border) == set(range(len(borders.weight)))
    rows, columns = np.divmod(borders.pixels, 48)
    assert (np.minimum(abs(rows - 23.5), abs(columns - 23.5)) < 2).all()


def test_a_line_within_a_grain_is_a_false_border(ids):
    borders = find_borders(drawn_maps(ids), np.where(ids > 2, 3, ids))
    # 3 and 4 are one grain: 1|2, 1|3 and 2|3 are true.
    assert borders.is_true.sum() == 3 and (~borders.is_true).sum() == 1
    assert (borders.weight > 0.5).all()


def test_true_borders_are_strengthened_and_false_ones_weakened(ids):
    maps = drawn_maps(ids, boundary_strength=0.6)
    logits = logits_of(np.clip(maps, 0.01, 0.99))
    truth = torch.from_numpy(np.where(ids > 2, 3, ids))[None]
    border_loss(logits, truth).backward()
    # Evidence is the larger of boundary and what is no interior, so either channel may be pulled.
    pull = (logits.grad[0, 0] - logits.grad[0, 1]).numpy()
    assert pull[23:25, 6:18].sum() > 0, "a true border"
    assert pull[30:42, 23:25].sum() < 0, "a false border"
    assert not logits.grad[0, :, 8:16, 8:16].any(), "the inside of a grain"


def test_right_maps_cost_less_than_wrong_ones(ids):
    labels = torch.from_numpy(ids)[None]
    right, weak = (
        float(border_loss(logits_of(np.clip(drawn_maps(ids, by), 0.01, 0.99)), labels).detach()) for by in (0.97, 0.55)
    )
    assert right < 0.1 < weak


@pytest.mark.parametrize("label", [0, -1])
def test_nothing_known_costs_nothing(ids, label):
    logits = logits_of(np.clip(drawn_maps(ids), 0.01, 0.99))
    loss = border_loss(logits, torch.full((1, 48, 48), label))
    loss.backward()
    assert float(loss.detach()) == 0 and not logits.grad.any()
