"""Reading micrographs: files, PIL images and arrays to 8-bit RGB with their scale."""

from __future__ import annotations

import math
import os
import re
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, UnidentifiedImageError

from .errors import ImageError, printable
from .footer import MAX_FOOTER, find_footer
from .margins import Margins, find_frame, find_margins, find_surround, inside
from .pixels import check_picture, from_pil, is_see_through, to_rgb, turn_upright
from .scale import as_scale
from .scale_metadata import PixelSize, read_pixel_size

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

MIN_SIDE = 32
"""Shortest side of a micrograph, px."""

MAX_PIXELS = 400_000_000
"""Most pixels of a micrograph; more would not fit into the memory of an ordinary computer several times over."""

MAX_CONTRADICTION = 0.05
"""How much a given scale and the file's own may differ, as a part of the file's, before it is a warning."""

# Fixed, so that no file can call up one of PIL's rarer readers, some of which start other programs.
_PIL_FORMATS = ("PNG", "JPEG", "BMP", "DIB", "WEBP", "GIF", "PPM")
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_DEPTH_BYTE = 24
# What every browser shows, and how such files start: PNG, JPEG, WebP and BMP.
_BROWSER_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
_BROWSER_STARTS = (_PNG_START, b"\xff\xd8\xff", b"RIFF", b"BM")

_SUPPORTED = (
    "PNG, JPEG, BMP, WebP, GIF, PGM, PPM and TIFF (also OME-TIFF and the TIFFs of FEI/Thermo, Phenom, Zeiss, "
    "Olympus, JEOL, Hitachi and Tescan microscopes)"
)

_ORIENTATION_TAG = 274
_ALPHA = (1, 2)
_PHOTOMETRIC_WHITE_IS_ZERO, _PHOTOMETRIC_PALETTE, _PHOTOMETRIC_CMYK, _PHOTOMETRIC_LAB = 0, 3, 5, (8, 9, 10)


@dataclass(frozen=True)
class Misfit:
    """A scale that a file states for a picture of another width than it holds.

    Attributes:
        stated: The scale.
        width: Of the picture that the file holds, px.
    """

    stated: PixelSize
    width: int

    @property
    def um_if_resized(self) -> float:
        """Scale of this picture if all of the other one was resized to it, um per pixel."""
        return self.stated.um_per_pixel * self.stated.field_width / self.width


@dataclass(frozen=True, eq=False)
class Micrograph:
    """A micrograph as it is counted and measured.

    Attributes:
        pixels: uint8 (H, W, 3), RGB, the whole picture.
        given_scale: um per pixel that a person gave, or None.
        stated: Size of the pixels that the file states for this picture, or None.
        misfit: Size of the pixels that the file states for a picture of another width, or None.
        name: Name of the file, or "image".
        notes: What a reader of the result has to know about the file, in sentences, whatever scale is given.
        not_understood: What the file states of its scale that is not understood, or "".
        footer_top: First row of the microscope's strip of text under the picture, or None when there is none.
        margins: Blank margins around the picture above that strip, px; where the field is no upright rectangle, what
            lies beside the largest one in it.
    """

    pixels: np.ndarray
    given_scale: float | None = None
    stated: PixelSize | None = None
    misfit: Misfit | None = None
    name: str = "image"
    notes: tuple[str, ...] = ()
    not_understood: str = ""
    footer_top: int | None = None
    margins: Margins = Margins()

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


@dataclass(frozen=True)
class _Source:
    """What a file or an object holds, before it becomes 8-bit RGB."""

    pixels: np.ndarray
    name: str = "image"
    pixel_size: PixelSize | None = None
    misfit: Misfit | None = None
    notes: tuple[str, ...] = ()
    not_understood: str = ""


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
    opened = _open(source, page, max_pixels)
    check_picture(opened.pixels)
    _check_size(opened.pixels.shape[:2], max_pixels)
    notes = list(opened.notes)
    if is_see_through(opened.pixels):
        notes.append("The image has transparent pixels; they were laid on white.")
    pixels = to_rgb(opened.pixels)
    stated = opened.pixel_size
    footer_top = _stated_footer(stated, pixels.shape[0]) or _find_footer(pixels)
    margins = find_margins(pixels[:footer_top], MIN_SIDE)
    surround = find_surround(inside(pixels[:footer_top], margins), MIN_SIDE)
    if any(surround):
        notes.append("The field is no upright rectangle: only the largest one in it is counted.")
    return Micrograph(
        pixels,
        given,
        stated,
        opened.misfit,
        printable(opened.name),
        tuple(notes),
        opened.not_understood,
        footer_top,
        margins.around(surround),
    )


def _open(source: str | os.PathLike | Image.Image | np.ndarray, page: int | None, max_pixels: int) -> _Source:
    if isinstance(source, (str, os.PathLike)):
        return _open_file(Path(source), page, max_pixels)
    if isinstance(source, Image.Image):
        _check_size(source.size, max_pixels)
        return _read_pil(source, Path(getattr(source, "filename", "") or "image").name, page)
    if isinstance(source, np.ndarray):
        _check_page(page, 1)
        return _Source(source)
    raise ImageError(
        f"A micrograph cannot be read from {type(source).__name__}. A path, a PIL image or a numpy array is expected. "
        "Convert it first, for example with numpy.asarray."
    )


def _open_file(path: Path, page: int | None, max_pixels: int) -> _Source:
    path = path.expanduser()
    if path.is_dir():
        raise ImageError(
            f"{path} is a folder. One image file is expected. Name a file in it; `python -m grain_model count` takes "
            "folders."
        )
    if not path.exists():
        raise ImageError(f"There is no file {path}. An existing image file is expected. Check the path.")
    try:
        start = _read_start(path)
    except OSError as error:
        raise ImageError(
            f"{path} cannot be opened: {error.strerror}. A readable file is expected. Check its permissions."
        ) from error
    if not start:
        raise ImageError(f"{path} is empty. An image file is expected. Copy or export it again.")
    try:
        if start.startswith(_TIFF_STARTS):
            return _read_tiff(path, page, max_pixels)
        if _is_deep_png(start):
            _check_page(page, 1)
            return _read_deep_png(path, max_pixels)
        with warnings.catch_warnings():
            # PIL's own limit is lower than ours; the size is checked before a pixel is decoded.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=_PIL_FORMATS) as image:
                _check_size(image.size, max_pixels)
                return _with_scale(_read_pil(image, path.name, page), image.width, path)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{path} is no image that can be read, whatever its name says. {_SUPPORTED} are. Export it as one of these."
        ) from error
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{path} has too many pixels for its format: over {2 * Image.MAX_IMAGE_PIXELS / 1e6:.0f} million. At most "
            f"{max_pixels / 1e6:.0f} million are expected, over that limit of the format only in TIFF. Crop it, or "
            "make it smaller."
        ) from error
    except Exception as error:  # A damaged file can make a decoder raise nearly anything.
        raise ImageError(
            f"{path} is damaged or cut off: {type(error).__name__}: {error}. A complete image file is expected. "
            "Copy or export it again."
        ) from error


def browsers_show(path: Path) -> bool:
    """Whether a browser shows a file as it is counted, by its name and by what it holds."""
    start = _read_start(path)
    return path.suffix.lower() in _BROWSER_SUFFIXES and start.startswith(_BROWSER_STARTS) and not _is_deep_png(start)


def _is_deep_png(start: bytes) -> bool:
    """Whether a file is a PNG of 16 bits a channel, of which PIL and browsers show the upper 8 alone."""
    return start.startswith(_PNG_START) and start[_PNG_DEPTH_BYTE : _PNG_DEPTH_BYTE + 1] == b"\x10"


def _read_start(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(32)


def _read_pil(image: Image.Image, name: str, page: int | None) -> _Source:
    frames = _count_frames(image)
    _check_page(page, frames)
    # A PIL image is at the frame that its owner chose.
    if page is not None:
        image.seek(page)
    notes = _page_notes(page, frames, "frames", image.tell() if frames > 1 else 0)
    return _Source(from_pil(image), name_page(name, page), notes=notes)


def _count_frames(image: Image.Image) -> int:
    """Frames of an animation; what cameras and phones put into a JPEG beside the picture is none."""
    return 1 if image.format == "MPO" else getattr(image, "n_frames", 1)


def _read_deep_png(path: Path, max_pixels: int) -> _Source:
    # PIL drops the lower 8 of 16 bits of a colour PNG.
    try:
        from imagecodecs import png_decode
    except ImportError as error:
        raise ImageError(
            f"{path} has 16 bits a channel, and the package imagecodecs is missing, which reads such a PNG in full. "
            "Run `pip install imagecodecs`, or save the picture as TIFF."
        ) from error

    with Image.open(path) as image:
        _check_size(image.size, max_pixels)
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    pixels = png_decode(path.read_bytes())
    if pixels.ndim == 3 and pixels.shape[2] == 2:
        pixels = pixels[..., [0, 0, 0, 1]]
    return _with_scale(_Source(turn_upright(pixels, orientation), path.name), pixels.shape[1], path)


def _read_tiff(path: Path, page: int | None, max_pixels: int) -> _Source:
    from tifffile import TiffFile

    with TiffFile(path) as tiff:
        pages = _full_pages(tiff)
        if not pages:
            raise ValueError("no page in it")
        _check_page(page, len(pages))
        chosen = pages[page or 0]
        _check_size((chosen.imagelength, chosen.imagewidth), max_pixels)
        if chosen.samplesperpixel > 4 or chosen.imagedepth > 1:
            raise _no_one_picture(chosen.shape)
        try:
            pixels = _tiff_pixels(chosen)
        except (ValueError, NotImplementedError) as error:
            if "requires the 'imagecodecs' package" not in str(error):
                raise
            raise ImageError(
                f"{path} is a compressed TIFF, and the package imagecodecs is missing, which unpacks it. "
                "Run `pip install imagecodecs`, or save the picture without compression."
            ) from error
        source = _Source(
            turn_upright(pixels, chosen.tags.valueof(_ORIENTATION_TAG, 1)),
            name_page(path.name, page),
            notes=_page_notes(page, len(pages), "pages"),
        )
        return _with_scale(source, chosen.imagewidth, path, tiff, chosen)


def _full_pages(tiff: TiffFile) -> list[TiffPage]:
    """The pages of a TIFF without the smaller copies that some programs add."""
    return [page for page in tiff.pages if not page.is_reduced] or list(tiff.pages)


def count_pages(path: Path) -> int:
    """How many pages or frames a file has; 1 for one that cannot be read, which reading it will tell."""
    from tifffile import TiffFile

    try:
        path = path.expanduser()
        if _read_start(path).startswith(_TIFF_STARTS):
            with TiffFile(path) as tiff:
                return max(len(_full_pages(tiff)), 1)
        with Image.open(path, formats=_PIL_FORMATS) as image:
            return _count_frames(image)
    except Exception:
        return 1


def name_page(file: str, page: int | None) -> str:
    """What a page of a file is called: as the file, from the second page on with its number, from 0."""
    return f"{file}, page {page}" if page else file


def name_files(name: str) -> str:
    """What files about an image are called: as `name_page` names it, without the suffix of the file."""
    paged = re.fullmatch(r"(.+), page (\d+)", name)
    return f"{Path(paged[1]).stem}-page{paged[2]}" if paged else Path(name).stem


def _with_scale(source: _Source, width: int, path: Path, *tiff: TiffFile | TiffPage) -> _Source:
    """What a file holds, stored so many px wide, with the scale that it states for a picture of this width."""
    size, not_understood = read_pixel_size(path, *tiff)
    misfit = None
    if size and size.field_width and size.field_width != width:
        # Whether it was resized or cut cannot be told, and no scale is better than a wrong one.
        size, misfit = None, Misfit(size, width)
    return replace(source, pixel_size=size, misfit=misfit, not_understood=not_understood)


def _tiff_pixels(page: TiffPage) -> np.ndarray:
    """Pixels of a TIFF page as grey, RGB or RGBA with the channels last and white bright."""
    if page.photometric in _PHOTOMETRIC_LAB:
        raise ImageError("The colours of the TIFF are CIE L*a*b*. Grey levels or RGB are expected. Save it as RGB.")
    pixels = page.asarray()
    if pixels.ndim == 3 and page.axes.startswith("S"):
        pixels = np.moveaxis(pixels, 0, -1)
    if pixels.ndim == 2:
        if page.photometric == _PHOTOMETRIC_PALETTE and page.colormap is not None:
            # 16 bits a colour; some programs fill the lower 8 only.
            colours = page.colormap >> 8 if page.colormap.max() > 255 else page.colormap
            return colours[:, pixels].astype(np.uint8).transpose(1, 2, 0)
        if page.bitspersample in (2, 4):
            pixels = pixels * np.uint8(255 // (2**page.bitspersample - 1))
        if page.photometric == _PHOTOMETRIC_WHITE_IS_ZERO:
            return ~pixels if pixels.dtype.kind in "bu" else pixels.max() - (pixels - pixels.min())
        return pixels
    if page.photometric == _PHOTOMETRIC_CMYK and pixels.ndim == 3 and pixels.shape[2] == 4:
        ink = pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)
        return np.asarray(Image.fromarray(ink, "CMYK").convert("RGB"))
    if pixels.ndim != 3 or pixels.shape[2] > 4:
        raise _no_one_picture(pixels.shape)
    colours = 1 if pixels.shape[2] < 3 else 3
    if pixels.shape[2] > colours and page.extrasamples and page.extrasamples[0] in _ALPHA:
        return pixels[..., [0, 0, 0, 1]] if colours == 1 else pixels
    # A further channel that is not declared as alpha has nothing to do with how the picture looks.
    return pixels[..., :colours]


def _no_one_picture(shape: tuple[int, ...]) -> ImageError:
    return ImageError(
        f"A page of the TIFF has the shape {shape}. One grey or colour picture is expected. "
        "Export the channels or slices as pages of their own."
    )


def _check_size(shape: tuple[int, int], max_pixels: int) -> None:
    """Refuse pictures that are too small or too large, from their two sides in any order."""
    if len(shape) != 2:
        return
    if min(shape) < MIN_SIDE:
        raise ImageError(
            f"The image has {min(shape)} px on its shorter side. At least {MIN_SIDE} px are expected. "
            "Take a larger part of the micrograph."
        )
    if math.prod(shape) > max_pixels:
        raise ImageError(
            f"The image has {math.prod(shape) / 1e6:.0f} million pixels. At most {max_pixels / 1e6:.0f} million are "
            "expected. Cut it into parts, or make it smaller."
        )


def _check_page(page: int | None, pages: int) -> None:
    if page is not None and not 0 <= page < pages:
        raise ImageError(
            f"There is no page {page}. The image has {pages}, numbered from 0. Choose a page from 0 to {pages - 1}."
        )


def _page_notes(page: int | None, pages: int, word: str, read: int = 0) -> tuple[str, ...]:
    """Of a file from which no page was chosen, and this one was read."""
    if page is not None or pages == 1:
        return ()
    return (
        f"The file has {pages} {word}; number {read} was read. Read another, N from 0 to {pages - 1}, with "
        "`read_micrograph(path, page=N)`, or on the command line with `--page N`, and all of them with `--page all`. "
        "The web page has a field for it, and its batch counts all of them if told to.",
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
