"""How much a count changes when the same micrograph is enlarged or reduced: a good count does not depend on pixels."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from train.contenders import Contender


def rescale(pixels: np.ndarray, factor: float) -> np.ndarray:
    """Enlarge (bicubic) or reduce (area mean) a micrograph, uint8 (H, W, 3), by a factor on both sides."""
    interpolation = cv2.INTER_CUBIC if factor > 1 else cv2.INTER_AREA
    return cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=interpolation)


def measure_count_changes(
    micrographs: Sequence[tuple[str, str, np.ndarray]], contenders: Sequence[Contender], factors: Sequence[float]
) -> pd.DataFrame:
    """Count every micrograph at its own size and at each factor, with a progress bar.

    Args:
        micrographs: Material, name and pixels, uint8 (H, W, 3), of each.
        contenders: What counts them.
        factors: Enlargements, for instance 2.0 and 0.7.

    Returns:
        One row a micrograph, method and factor: `material`, `picture`, `method`, `factor`, `count`, `rescaled_count`
        and `change` = |rescaled_count - count| / count, with 1 for the divisor where nothing was counted.
    """
    rows = []
    for material, name, pixels in tqdm(micrographs, desc="rescaling", unit="picture"):
        for contender in contenders:
            counts = _counts(contender, pixels)
            for factor in factors:
                for method, rescaled in _counts(contender, rescale(pixels, factor)).items():
                    rows.append(
                        {
                            "material": material,
                            "picture": name,
                            "method": method,
                            "factor": factor,
                            "count": counts[method],
                            "rescaled_count": rescaled,
                            "change": abs(rescaled - counts[method]) / max(counts[method], 1),
                        }
                    )
    return pd.DataFrame(rows)


def _counts(contender: Contender, pixels: np.ndarray) -> dict[str, int]:
    """Number of grains that each row of a contender finds, whatever their size."""
    predictions = contender.predict(pixels)
    return {row: np.unique(found.labels[found.labels > 0]).size for row, found in predictions.items()}
