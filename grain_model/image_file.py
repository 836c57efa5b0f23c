"""Image files, PIL images and arrays as pixels: the chosen page, upright, with the scale that a file states."""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from .digest import digest_files
from .errors import ImageError
from .paths import expand_home
from .pixels import from_pil, turn_upright
from .scale_metadata import PixelSize, read_pixel_size
from .tiff_bounds import BOUNDED, check_unpacked

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

MIN_SIDE = 32
"""Shortest side of a micrograph, px."""

MAX_PIXELS = 400_000_000
"""Most pixels of a micrograph; more would not fit into the memory of an ordinary computer several times over."""

MAX_PAGES = 10_000
"""Most pages of a TIFF: each read looks at all of them, at some 10,000 a second."""

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

_ALPHA = (1, 2)
_PHOTOMETRIC_WHITE_IS_ZERO, _PHOTOMETRIC_PALETTE, _PHOTOMETRIC_CMYK, _PHOTOMETRIC_LAB = 0, 3, 5, (8, 9, 10)
# Decoders of JPEG give RGB; what is packed as numbers stays as it is.
_PHOTOMETRIC_YCBCR = 6


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


@dataclass(frozen=True)
class DecodedImage:
    """What a file or an object holds, before it becomes 8-bit RGB.

    Attributes:
        pixels: (H, W), (H, W, 3) or (H, W, 4) of any depth, upright.
        file: Name of the file, or "image".
        page: Number of the page or frame of it, from 0.
        stated: Size of the pixels that the file states for this picture, or None.
        misfit: Size of the pixels that the file states for a picture of another width, or None.
        notes: What a reader of the result has to know about the file, in sentences.
        not_understood: What the file states of its scale that is not understood, or "".
        sha256: Of the file's bytes, in hexadecimal; None for what is no file.
    """

    pixels: np.ndarray
    file: str = "image"
    page: int = 0
    stated: PixelSize | None = None
    misfit: Misfit | None = None
    notes: tuple[str, ...] = ()
    not_understood: str = ""
    sha256: str | None = None


def open_image(source: str | os.PathLike | Image.Image | np.ndarray, page: int | None, max_pixels: int) -> DecodedImage:
    """Read the pixels of a file, PIL image or array, and of a file the scale that it states.

    Args:
        source: See `read_micrograph`.
        page: Which page or frame, from 0; left out, it is the first, or the one that a PIL image is at.
        max_pixels: More are refused, in a file before any is decoded.

    Raises:
        ImageError: If it cannot be read, or has too many or too few pixels.
    """
    if isinstance(source, str) and re.match(r"[a-z][a-z0-9+.-]+:(//|.{200})", source, re.IGNORECASE | re.DOTALL):
        raise ImageError(
            f"A micrograph cannot be read from the address {source[:60]!r}. The path of a file is expected. "
            "Download it first."
        )
    if isinstance(source, (str, os.PathLike)):
        path = expand_home(source)
        opened = _open_file(path, page, max_pixels)
        try:
            return replace(opened, sha256=digest_files(path))
        except OSError as error:
            raise _not_opened(path, error) from error
    if isinstance(source, Image.Image):
        check_size(source.size, max_pixels)
        try:
            return _read_pil(source, Path(getattr(source, "filename", "") or "image").name, page)
        except ImageError:
            raise
        except (OSError, ValueError) as error:  # it is decoded only now
            raise ImageError(
                f"The PIL image cannot be decoded: {error}. A complete image, whose file is still open, is expected. "
                "Open the file again, or pass its path."
            ) from error
    if isinstance(source, np.ndarray):
        _check_page(page, 1)
        if np.ma.is_masked(source):
            raise ImageError(
                "The array is masked in part, and a micrograph cannot be counted in part. An array without a mask is "
                "expected. Crop it to what is to be counted, or fill it with .filled(value)."
            )
        return DecodedImage(source)
    raise ImageError(
        f"A micrograph cannot be read from {type(source).__name__}. A path, a PIL image or a numpy array is expected. "
        "Open bytes or a file object with PIL.Image.open; make an array of a tensor with .numpy()."
    )


def _open_file(path: Path, page: int | None, max_pixels: int) -> DecodedImage:
    try:
        is_folder, is_there = path.is_dir(), path.exists()
    except OSError as error:
        raise ImageError(
            f"{str(path)[:60]!r} is no path: {error.strerror}. The path of an image file is expected. Check it."
        ) from error
    if is_folder:
        raise ImageError(
            f"{path} is a folder. One image file is expected. Name a file in it; `python -m grain_model count` takes "
            "folders."
        )
    if not is_there:
        raise ImageError(f"There is no file {path}. An existing image file is expected. Check the path.")
    try:
        start = _read_start(path)
    except OSError as error:
        raise _not_opened(path, error) from error
    if not start:
        raise ImageError(f"{path} is empty. An image file is expected. Copy or export it again.")
    try:
        if start.startswith(_TIFF_STARTS):
            return _read_tiff(path, page, max_pixels)
        if _is_deep_png(start):
            _check_page(page, 1)
            return _read_deep_png(path, max_pixels)
        with _open_pil(path) as image:
            check_size(image.size, max_pixels)
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


def _not_opened(path: Path, error: OSError) -> ImageError:
    return ImageError(f"{path} cannot be opened: {error.strerror}. A readable file is expected. Check its permissions.")


@contextmanager
def _open_pil(path: Path) -> Iterator[Image.Image]:
    with warnings.catch_warnings():
        # PIL's own limit is lower than ours; the size is checked before a pixel is decoded.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(path, formats=_PIL_FORMATS) as image:
            yield image


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


def _read_pil(image: Image.Image, name: str, page: int | None) -> DecodedImage:
    frames = _count_frames(image)
    _check_page(page, frames)
    # A PIL image is at the frame that its owner chose.
    if page is not None:
        image.seek(page)
    number = image.tell() if frames > 1 else 0
    return DecodedImage(from_pil(image), name, number, notes=_page_notes(page, frames, "frames", number))


def _count_frames(image: Image.Image) -> int:
    """Frames of an animation; what cameras and phones put into a JPEG beside the picture is none."""
    return 1 if image.format == "MPO" else getattr(image, "n_frames", 1)


def _read_deep_png(path: Path, max_pixels: int) -> DecodedImage:
    # PIL drops the lower 8 of 16 bits of a colour PNG.
    try:
        from imagecodecs import png_decode
    except ImportError as error:
        raise ImageError(
            f"{path} has 16 bits a channel, and the package imagecodecs is missing, which reads such a PNG in full. "
            "Run `pip install imagecodecs`, or save the picture as TIFF."
        ) from error

    with _open_pil(path) as image:
        check_size(image.size, max_pixels)
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    pixels = png_decode(path.read_bytes())
    if pixels.ndim == 3 and pixels.shape[2] == 2:
        pixels = pixels[..., [0, 0, 0, 1]]
    return _with_scale(DecodedImage(turn_upright(pixels, orientation), path.name), pixels.shape[1], path)


def _read_tiff(path: Path, page: int | None, max_pixels: int) -> DecodedImage:
    from tifffile import TiffFile

    with TiffFile(path) as tiff:
        pages = _full_pages(tiff)
        if not pages:
            raise ValueError("no page in it")
        _check_page(page, len(pages))
        chosen = pages[page or 0]
        check_size((chosen.imagelength, chosen.imagewidth), max_pixels)
        if chosen.samplesperpixel > 4 or chosen.imagedepth > 1:
            raise _no_one_picture(chosen.shape)
        _check_complete(chosen)
        check_unpacked(chosen, max_pixels)
        try:
            pixels = _tiff_pixels(chosen)
        except (ValueError, NotImplementedError) as error:
            if "requires the 'imagecodecs' package" not in str(error):
                raise
            raise ImageError(
                f"{path} is a compressed TIFF, and the package imagecodecs is missing, which unpacks it. "
                "Run `pip install imagecodecs`, or save the picture without compression."
            ) from error
        source = DecodedImage(
            turn_upright(pixels, chosen.tags.valueof(int(ExifTags.Base.Orientation), 1)),
            path.name,
            page or 0,
            notes=(*_page_notes(page, len(pages), "pages"), *_plane_notes(tiff, chosen)),
        )
        return _with_scale(source, chosen.imagewidth, path, tiff, chosen)


def _full_pages(tiff: TiffFile) -> list[TiffPage]:
    """The pages of a TIFF without the smaller copies that some programs add."""
    if len(tiff.pages) > MAX_PAGES:
        raise ImageError(
            f"The TIFF has {len(tiff.pages)} pages. At most {MAX_PAGES} are expected. Save it in several files."
        )
    return [page for page in tiff.pages if not page.is_reduced] or list(tiff.pages)


def _check_complete(page: TiffPage) -> None:
    """Refuse a page of packed pictures that the end of the file cuts off: decoders of JPEG fill in what is missing."""
    size = page.parent.filehandle.size
    # Of all else the reading fails by itself where pixels are missing, and some programs state too large counts.
    if page.compression not in BOUNDED and any(
        offset + count > size for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False)
    ):
        raise ValueError("it ends before its pixels do")


def _plane_notes(tiff: TiffFile, page: TiffPage) -> tuple[str, ...]:
    """Of what a page holds besides the picture that is read."""
    if page.is_reduced and page.subifds:
        return (
            "The pages of the file are reduced copies, of which one was read; the picture itself lies elsewhere in it. "
            "Save the picture as a TIFF of its own.",
        )
    planes = 1
    if len(tiff.pages) == 1 and (tiff.is_stk or tiff.is_imagej or tiff.is_shaped):  # as ImageJ's stacks of over 4 GB
        planes = math.prod(tiff.series[0].shape) // (page.imagelength * page.imagewidth * page.samplesperpixel)
    if planes > 1:
        return (
            f"The file has {planes} planes in one page; the first was read. Save them as pages of their own to read "
            "others.",
        )
    if page.samplesperpixel == 2 and not (page.extrasamples and page.extrasamples[0] in _ALPHA):
        return ("The file has two channels of grey levels; the first was read. Save them as pages of their own.",)
    return ()


def count_pages(path: Path) -> int:
    """How many pages or frames a file has; 1 for one that cannot be read, which reading it will tell."""
    from tifffile import TiffFile

    try:
        path = expand_home(path)
        if _read_start(path).startswith(_TIFF_STARTS):
            with TiffFile(path) as tiff:
                return max(len(_full_pages(tiff)), 1)
        with _open_pil(path) as image:
            return _count_frames(image)
    except Exception:
        return 1


def name_page(file: str, page: int | None) -> str:
    """What a page of a file is called: as the file, from the second page on with its number, from 0."""
    return f"{file}, page {page}" if page else file


def _with_scale(source: DecodedImage, width: int, path: Path, *tiff: TiffFile | TiffPage) -> DecodedImage:
    """What a file holds, stored so many px wide, with the scale that it states for a picture of this width."""
    size, not_understood = read_pixel_size(path, *tiff)
    misfit = None
    if size and size.field_width and size.field_width != width:
        # Whether it was resized or cut cannot be told, and no scale is better than a wrong one.
        size, misfit = None, Misfit(size, width)
    return replace(source, stated=size, misfit=misfit, not_understood=not_understood)


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
    if page.photometric == _PHOTOMETRIC_YCBCR and page.compression in BOUNDED:
        if pixels.dtype != np.uint8 or pixels.shape[2:] != (3,):
            raise ImageError("The colours of the TIFF are YCbCr. Grey levels or RGB are expected. Save it as RGB.")
        return np.asarray(Image.fromarray(pixels, "YCbCr").convert("RGB"))
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


def check_size(shape: tuple[int, int], max_pixels: int) -> None:
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
            f"The image has {math.prod(shape) / 1e6:.9g} million pixels. At most {max_pixels / 1e6:g} million are "
            "expected. Cut it into parts, or make it smaller."
        )


def _check_page(page: int | None, pages: int) -> None:
    if page is not None and (isinstance(page, bool) or not isinstance(page, int | np.integer)):
        raise ImageError(
            f"The page is {page!r}. A whole number from 0 is expected, or None for the first one. Pass an int."
        )
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
