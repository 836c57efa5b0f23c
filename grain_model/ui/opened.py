"""The file behind the picture on the page, and what a browser can show of it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from ..image_file import browsers_show, count_pages
from ..image_listing import ImagePage
from ..micrograph import Micrograph
from ..png_file import write_png
from .uploads import read_upload


@dataclass(frozen=True)
class OpenedMicrograph:
    """The file behind the picture on the page.

    Attributes:
        path: The file as it was uploaded.
        shown: What the page shows of it, which is a copy where the browser cannot show the file.
        shape: Height and width in px.
        um_per_pixel: The scale that the file states, if any.
        page: Number of the page that is shown, from 0.
        pages: How many pages or frames the file has.
        example: Name of the example that it is, if it is one.
        copies: Owns the copy's folder, which goes when the visitor's session does.
    """

    path: str
    shown: str
    shape: tuple[int, int]
    um_per_pixel: float | None
    page: int = 0
    pages: int = 1
    copies: tempfile.TemporaryDirectory | None = None
    example: str | None = None

    @property
    def image(self) -> ImagePage:
        """The page that is shown."""
        return ImagePage(Path(self.path), self.page)

    def read(self) -> Micrograph:
        """Read what is shown; see `read_upload`."""
        return read_upload(self.path, page=self.page)


def open_micrograph(path: str, page: int = 0, example: str | None = None) -> OpenedMicrograph:
    """Read a file for display and for its scale.

    Args:
        path: The uploaded file.
        page: Number of the page or frame, from 0.
        example: Name of the example that it is, if it is one.

    Returns:
        The file with what can be shown of it.

    Raises:
        ImageError: If it is no image that can be read.
    """
    micrograph = read_upload(path, page=page)
    about = {
        "path": path,
        "shape": micrograph.pixels.shape[:2],
        "um_per_pixel": micrograph.um_per_pixel,
        "page": page,
        "pages": count_pages(Path(path)),
        "example": example,
    }
    if page == 0 and browsers_show(Path(path)):
        return OpenedMicrograph(shown=path, **about)
    copies = tempfile.TemporaryDirectory(prefix="grain_model-")
    shown = str(Path(copies.name) / f"{Path(path).stem}.png")
    write_png(Path(shown), micrograph.pixels)
    return OpenedMicrograph(shown=shown, copies=copies, **about)
