"""Micrographs: 8-bit RGB with their scale, their field, and what a reader of a result has to know about them."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .errors import ImageError, printable
from .footer import MAX_FOOTER, find_footer
from .image_file import MAX_PIXELS, MIN_SIDE, Misfit, check_size, name_page, open_image
from .margins import Margins, find_frame, find_margins, find_surround, inside
from .pixels import check_picture, is_see_through, to_rgb
from .scale import as_scale
from .scale_metadata import PixelSize
from .words import scale_text

MAX_CONTRADICTION = 0.05
"""How much a given scale and the file's own may differ, as a part of the file's, before it is a warning."""

LARGEST_PIXEL_UM = 1000.0
"""Side of a pixel, um, above which the scale that a file states is doubted: a thousand of them are a metre."""


@dataclass(frozen=True, eq=False)
class Micrograph:
    """A micrograph as it is counted and measured.

    Attributes:
        pixels: uint8 (H, W, 3), RGB, the whole picture.
        given_scale: um per pixel that a person gave, or None.
        stated: Size of the pixels that the file states for this picture, or None.
        misfit: Size of the pixels that the file states for a picture of another width, or None.
        file: Name of the file, or "image".
        page: Number of the page or frame of it, from 0.
        sha256: Of the file's bytes, in hexadecimal; None for what was read from memory.
        notes: What a reader of the result has to know about the file, in sentences, whatever scale is given.
        not_understood: What the file states of its scale that is not understood, or "".
        footer_top: First row of the microscope's strip of text under the picture, or None when there is none.
        margins: Blank margins around the picture above that strip, px; of a round or turned field, all that lies
            outside the largest upright rectangle in it.
    """

    pixels: np.ndarray
    given_scale: float | None = None
    stated: PixelSize | None = None
    misfit: Misfit | None = None
    file: str = "image"
    page: int = 0
    sha256: str | None = None
    notes: tuple[str, ...] = ()
    not_understood: str = ""
    footer_top: int | None = None
    margins: Margins = Margins()

    def __repr__(self) -> str:
        height, width = self.pixels.shape[:2]
        scale = scale_text(self.um_per_pixel, self.scale_source)
        return f"Micrograph({self.name!r}, {width} x {height} px, scale {scale})"

    @property
    def name(self) -> str:
        """Name of the file, from the second page on with its number."""
        return name_page(self.file, self.page)

    @property
    def stem(self) -> str:
        """What files about the picture are called, without a suffix, and their folder, which no name leads out of."""
        stem = Path(self.file).stem.strip(".") or "image"
        return f"{stem}-page{self.page}" if self.page else stem

    @property
    def field(self) -> np.ndarray:
        """The picture without the strip under it and without margins: uint8 (field height, field width, 3), a view."""
        return self.pixels[self.field_slices]

    @property
    def field_slices(self) -> tuple[slice, slice]:
        """Rows and columns of the field in the whole picture."""
        height, width = self.pixels.shape[:2]
        top, bottom, left, right = self.margins
        end = height if self.footer_top is None else self.footer_top
        return slice(top, end - bottom), slice(left, width - right)

    @property
    def um_per_pixel(self) -> float | None:
        """Scale in um per pixel: the given one, else the file's; None when neither is known."""
        if self.given_scale is not None or self.stated is None:
            return self.given_scale
        return self.stated.um_per_pixel

    @property
    def scale_source(self) -> str | None:
        """Where the scale comes from: "given", what `PixelSize.source` names, or None."""
        if self.given_scale is not None:
            return "given"
        return None if self.stated is None else self.stated.source

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of the result has to know about the file and its scale, in sentences."""
        of_misfit = [] if self.misfit is None else _misfit_notes(self.given_scale, self.misfit)
        return (*self.notes, *of_misfit, *_scale_notes(self.given_scale, self.stated, self.not_understood))

    def with_scale(self, um_per_pixel: float | None) -> Micrograph:
        """The same picture with a scale given by a person, or, for None, with the file's own.

        Raises:
            ScaleError: If `um_per_pixel` is not from 1e-6 to 1e6 um.
        """
        return replace(self, given_scale=as_scale(um_per_pixel))


def as_micrograph(image: Any, um_per_pixel: float | None = None, page: int | None = None) -> Micrograph:
    """Take a micrograph as it is, but for a scale that is given, and read anything else as `read_micrograph` does.

    Raises:
        ImageError: As `read_micrograph` does; or a page of what is already read is asked for.
        ScaleError: If `um_per_pixel` is not from 1e-6 to 1e6 um.
    """
    if not isinstance(image, Micrograph):
        return read_micrograph(image, um_per_pixel, page=page)
    if page is not None:
        raise ImageError(
            f"Page {page} of a micrograph that is already read is asked for. A file is expected where a page is named. "
            "Name the page when it is read."
        )
    return image if um_per_pixel is None else image.with_scale(um_per_pixel)


def read_micrograph(
    source: str | os.PathLike | Image.Image | np.ndarray,
    um_per_pixel: float | None = None,
    *,
    page: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Micrograph:
    """Read a micrograph and find its scale.

    Pixels come upright as their EXIF or TIFF orientation says. Deeper ones than 8 bit are scaled by robust percentiles
    (see `to_rgb`). What is not opaque lies on white.

    Args:
        source: Path of a PNG, JPEG, BMP, WebP, GIF, PGM, PPM or TIFF file; PIL image; or array (H, W), (H, W, 1),
            (H, W, 3) or (H, W, 4) of bool, integers or floats.
        um_per_pixel: Scale in um per pixel; wins over the file's own, with a warning if they differ by over 5 %.
        page: Which page of a TIFF or frame of an animation, from 0; left out, it is the first, with a warning if there
            are others.
        max_pixels: More are refused, in a file before any is decoded.

    Returns:
        The micrograph.

    Raises:
        ImageError: If the file cannot be read, there are too many or too few pixels, or a value is NaN or infinite.
        ScaleError: If `um_per_pixel` is not from 1e-6 to 1e6 um.
    """
    given = as_scale(um_per_pixel)
    opened = open_image(source, page, max_pixels)
    check_picture(opened.pixels)
    check_size(opened.pixels.shape[:2], max_pixels)
    notes = list(opened.notes)
    if is_see_through(opened.pixels):
        notes.append("The image has transparent pixels; they were laid on white.")
    pixels = to_rgb(opened.pixels)
    stated = opened.stated
    footer_top = _stated_footer(stated, pixels.shape[0]) or _find_footer(pixels)
    margins = find_margins(pixels[:footer_top], MIN_SIDE)
    surround = find_surround(inside(pixels[:footer_top], margins), MIN_SIDE)
    if any(surround):
        notes.append("The field is no upright rectangle: only the largest one in it is counted.")
    return Micrograph(
        pixels,
        given_scale=given,
        stated=stated,
        misfit=opened.misfit,
        file=printable(opened.file),
        page=opened.page,
        sha256=opened.sha256,
        notes=tuple(notes),
        not_understood=opened.not_understood,
        footer_top=footer_top,
        margins=margins.around(surround),
    )


def _misfit_notes(given: float | None, misfit: Misfit) -> list[str]:
    """What the file's scale for another width says of this picture, and of the scale that is given."""
    cut, resized = misfit.stated.um_per_pixel, misfit.um_if_resized
    if given is not None and any(abs(given / right - 1) <= MAX_CONTRADICTION for right in (cut, resized)):
        return []
    advice = "Give the scale that is right."
    if given is not None:
        advice = f"The given scale of {given:.5g} um per pixel is used, and is neither. Check it."
    return [
        f"The file's own scale is not used: it says {cut:.5g} um per pixel ({misfit.stated.source}) for a picture "
        f"{misfit.stated.field_width} px wide, and this one is {misfit.width} px wide. Right is {resized:.5g} if all "
        f"of it was resized, {cut:.5g} if it was cut or turned. {advice}"
    ]


def _scale_notes(given: float | None, stated: PixelSize | None, not_understood: str) -> list[str]:
    """What is odd about the file's scale, and about the given one beside it."""
    notes: list[str] = []
    if not_understood and given is None:
        used = f"That of its {stated.source} is used: check it." if stated else "Give the scale."
        notes.append(f"The file states a scale that is not understood ({not_understood}). {used}")
    if stated is None:
        return notes
    if not stated.is_square:
        used = "the given scale" if given is not None else f"{stated.um_per_pixel:.5g} um, which keeps areas right,"
        notes.append(
            f"The pixels are not square: {stated.x_um:.5g} x {stated.y_um:.5g} um ({stated.source}). With {used} for "
            "both directions, lengths and shapes are off. Resample the picture to square pixels to measure them."
        )
    if given is None and stated.um_per_pixel > LARGEST_PIXEL_UM:
        notes.append(
            f"The file says {stated.um_per_pixel:.5g} um per pixel ({stated.source}), which is hardly a microscope's. "
            "Check it, or give the scale."
        )
    difference = 0.0 if given is None else given / stated.um_per_pixel - 1
    if abs(difference) > MAX_CONTRADICTION:
        notes.append(
            f"The given scale of {given:.5g} um per pixel is used, but the file says {stated.um_per_pixel:.5g} "
            f"({stated.source}): they differ by {100 * difference:+.0f} %. Check which is right."
        )
    return notes


def _find_footer(pixels: np.ndarray) -> int | None:
    """First row of the strip that the picture ends in, or of one inside a frame such as the white of a page."""
    frame = find_frame(pixels, MIN_SIDE)
    row = find_footer(inside(pixels, frame)) if any(frame) else None
    return find_footer(pixels) if row is None else frame.top + row


def _stated_footer(stated: PixelSize | None, height: int) -> int | None:
    """First row of the strip where the microscope states how high the picture itself is."""
    field_height = stated.field_height if stated else None
    return field_height if field_height and (1 - MAX_FOOTER) * height <= field_height < height else None
