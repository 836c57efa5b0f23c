"""The file behind the picture on the page, and what a browser can show of it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from ..micrograph import browsers_show
from ..rendering import write_png
from .limits import read_upload


@dataclass(frozen=True)
class OpenedMicrograph:
    """The file behind the picture on the page.

    Attributes:
        path: The file as it was uploaded.
        shown: What the page shows of it, which is a copy where the browser cannot show the file.
        shape: Height and width in px.
        um_per_pixel: The scale that the file states, if any.
        example: Name of the example that it is, if it is one.
        copies: Owns the copy's folder, which goes when the visitor's session does.
    """

    path: str
    shown: str
    shape: tuple[int, int]
    um_per_pixel: float | None
    copies: tempfile.TemporaryDirectory | None = None
    example: str | None = None


def open_micrograph(path: str, example: str | None = None) -> OpenedMicrograph:
    """Read a file for display and for its scale.

    Args:
        path: The uploaded file.
        example: Name of the example that it is, if it is one.

    Returns:
        The file with what can be shown of it.

    Raises:
        ImageError: If it is no image that can be read.
    """
    micrograph = read_upload(path)
    shape = micrograph.pixels.shape[:2]
    if browsers_show(Path(path)):
        return OpenedMicrograph(path, path, shape, micrograph.um_per_pixel, example=example)
    copies = tempfile.TemporaryDirectory(prefix="grain_model-")
    shown = str(Path(copies.name) / f"{Path(path).stem}.png")
    write_png(Path(shown), micrograph.pixels)
    return OpenedMicrograph(path, shown, shape, micrograph.um_per_pixel, copies, example)
