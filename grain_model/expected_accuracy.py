"""How right a count is likely to be, by the network's own confidence and what that meant on labelled pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from .label_settings import DEFAULT_SETTINGS, LabelSettings
from .weights_origin import EMBEDDED_WEIGHTS

CURVES = EMBEDDED_WEIGHTS / "expected_accuracy.json"
"""What `python -m train.expected_accuracy` measured: of which `weights`, and at each median `confidence` of a picture's
grains, from low to high, the means `f1` and `count_error`."""


@dataclass(frozen=True)
class ExpectedAccuracy:
    """How right counts of the same confidence were on labelled pictures, in the mean.

    Attributes:
        f1: F1 of grains matched at an IoU of 0.5, 0 to 1: the harmonic mean of the share of found grains that were
            right and the share of true grains that were found.
        count_error: |found - true| / true.
    """

    f1: float
    count_error: float

    def __str__(self) -> str:
        return f"about {self.f1:.0%} of grains right, count off by {self.count_error:.0%}"


def expected_accuracy(
    confidence: np.ndarray, weights: Mapping[str, str | None], settings: LabelSettings
) -> ExpectedAccuracy | None:
    """Look up what a picture's confidence meant on labelled pictures.

    Args:
        confidence: float (n,), the network's confidence in each grain, 0 to 1.
        weights: Name and version of the weights.
        settings: How the labels were drawn.

    Returns:
        The means at the median confidence, beyond the ends of the curves those there; None without grains, and for
        other weights or settings than those that were measured: the embedded ones and the defaults.
    """
    curves = _read_curves()
    if not len(confidence) or weights != curves["weights"] or settings != DEFAULT_SETTINGS:
        return None
    median = float(np.median(confidence))
    f1, count_error = (float(np.interp(median, curves["confidence"], curves[name])) for name in ("f1", "count_error"))
    return ExpectedAccuracy(f1, count_error)


@lru_cache(maxsize=1)
def _read_curves() -> dict[str, Any]:
    return json.loads(CURVES.read_text(encoding="utf-8"))
