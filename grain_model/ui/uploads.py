"""What visitors load, within bounds: how large it may be, and one run of the network at a time."""

from __future__ import annotations

import os
import threading
from typing import Any

from transformers import PreTrainedModel

from ..analysis import GrainAnalysis
from ..counting import count_grains
from ..image_listing import ImagePage
from ..micrograph import Micrograph, read_micrograph

MAX_UPLOAD_BYTES = 200 * 1024**2
"""Largest file that a visitor may load."""

MAX_UPLOAD_PIXELS = 64_000_000
"""Largest micrograph on the page: minutes on two processor cores, and about 3 GB of memory."""

_model_turn = threading.Lock()


def read_upload(path: str | os.PathLike, um_per_pixel: float | None = None, page: int | None = None) -> Micrograph:
    """Read what a visitor loaded.

    Args:
        path: The file.
        um_per_pixel: See `read_micrograph`.
        page: See `read_micrograph`.

    Raises:
        ImageError: If it cannot be read, or is larger than `MAX_UPLOAD_PIXELS`.
        ScaleError: If `um_per_pixel` is not from 1e-6 to 1e6 um.
    """
    return read_micrograph(path, um_per_pixel, page=page, max_pixels=MAX_UPLOAD_PIXELS)


def count_upload(
    image: str | os.PathLike | ImagePage,
    um_per_pixel: float | None = None,
    model: str | os.PathLike | PreTrainedModel | None = None,
    **settings: Any,
) -> GrainAnalysis:
    """Count what a visitor loaded, when it is its turn: the network runs for one micrograph at a time.

    A batch takes a turn for each of its files, so that others need not wait for all of them.

    Args:
        image: The file, or a page of it.
        um_per_pixel: See `count_grains`.
        model: See `count_grains`.
        settings: See `count_grains`.

    Raises:
        GrainError: As `read_upload` and `count_grains`.
    """
    path, page = (image.path, image.page) if isinstance(image, ImagePage) else (image, None)
    micrograph = read_upload(path, um_per_pixel, page)
    with _model_turn:
        return count_grains(micrograph, model=model, **settings)
