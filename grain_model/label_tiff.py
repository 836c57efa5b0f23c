"""The label image as a TIFF that ImageJ and Python read alike."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import tifffile


def write_label_tiff(path: str | os.PathLike, labels: np.ndarray, um_per_pixel: float | None = None) -> None:
    """Write a label image with its scale, where it is known.

    Args:
        path: The file.
        labels: int (H, W), ids from 0; uint16 in the file, uint32 where an id is above 65535.
        um_per_pixel: Side of a pixel in um.
    """
    scale: dict[str, Any] = {}
    if labels.max(initial=0) > np.iinfo(np.uint16).max:
        # The ImageJ flavour knows no uint32, so the scale goes into the plain TIFF tags, which ImageJ reads too.
        if um_per_pixel is not None:
            scale = {"resolution": (1e4 / um_per_pixel,) * 2, "resolutionunit": "CENTIMETER"}
        tifffile.imwrite(path, labels.astype(np.uint32), compression="zlib", **scale)
        return
    if um_per_pixel is not None:
        scale = {"resolution": (1 / um_per_pixel,) * 2, "metadata": {"unit": "um"}}
    tifffile.imwrite(path, labels.astype(np.uint16), imagej=True, **scale)
