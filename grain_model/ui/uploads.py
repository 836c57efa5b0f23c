"""What visitors load, within bounds: how large it may be, and one run of the network at a time."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from ..analysis import GrainAnalysis
from ..counting import count_grains
from ..errors import ImageError
from ..image_listing import ImagePage
from ..micrograph import Micrograph, read_micrograph

MAX_UPLOAD_BYTES = 200 * 1024**2
"""Largest file that a visitor may load."""

MAX_UPLOAD_PIXELS = 64_000_000
"""Largest micrograph on the page: minutes on two processor cores, and about 3 GB of memory."""

_model_turn = threading.Lock()


class NotWanted(Exception):
    """A count that its visitor has gone on from."""


def check_kept(path: str | os.PathLike) -> None:
    """Raise an ImageError where an upload is not there any more."""
    if not Path(path).exists():
        raise ImageError(
            f"The server has let go of {Path(path).name}, as it does a day after a file was loaded. One that it still "
            "has is expected. Load it again."
        )


def read_upload(path: str | os.PathLike, um_per_pixel: float | None = None, page: int | None = None) -> Micrograph:
    """Read what a visitor loaded.

    Args:
        path: The file.
        um_per_pixel: See `read_micrograph`.
        page: See `read_micrograph`.

    Raises:
        ImageError: If it cannot be read, is larger than `MAX_UPLOAD_PIXELS`, or is not there any more.
        ScaleError: If `um_per_pixel` is not from 1e-6 to 1e6 um.
    """
    check_kept(path)
    return read_micrograph(path, um_per_pixel, page=page, max_pixels=MAX_UPLOAD_PIXELS)


def count_upload(
    image: str | os.PathLike | ImagePage,
    um_per_pixel: float | None = None,
    model: str | os.PathLike | PreTrainedModel | None = None,
    *,
    is_wanted: Callable[[], bool] = lambda: True,
    progress: Callable[[int, int], None] = lambda done, tiles: None,
    **settings: Any,
) -> GrainAnalysis:
    """Count what a visitor loaded, when it is its turn: the network runs for one micrograph at a time.

    A batch takes a turn for each of its files, so that others need not wait for all of them.

    Args:
        image: The file, or a page of it.
        um_per_pixel: See `count_grains`.
        model: See `count_grains`.
        is_wanted: Asked when its turn comes and after each tile, since gradio lets a handler whose event is cancelled
            go on to its end.
        progress: See `count_grains`.
        settings: See `count_grains`.

    Raises:
        GrainError: As `read_upload` and `count_grains`.
        NotWanted: If it is not wanted any more.
    """

    def check() -> None:
        if not is_wanted():
            raise NotWanted

    def go_on(done: int, tiles: int) -> None:
        check()
        progress(done, tiles)

    path, page = (image.path, image.page) if isinstance(image, ImagePage) else (image, None)
    micrograph = read_upload(path, um_per_pixel, page)
    with _model_turn:
        check()
        return count_grains(micrograph, model=model, progress=go_on, **settings)
