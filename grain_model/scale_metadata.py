"""The scale that a microscope or an image program wrote into a file or beside it."""

from __future__ import annotations

import codecs
import glob
import io
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from configparser import ConfigParser
from configparser import Error as ConfigParserError
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

UM_PER_UNIT = {
    "m": 1e6,
    "cm": 1e4,
    "mm": 1e3,
    "um": 1.0,
    "nm": 1e-3,
    "pm": 1e-6,
    "meter": 1e6,
    "centimeter": 1e4,
    "millimeter": 1e3,
    "micrometer": 1.0,
    "micron": 1.0,
    "nanometer": 1e-3,
    "picometer": 1e-6,
    "å": 1e-4,
    "angstrom": 1e-4,
    "inch": 25_400.0,
    "inche": 25_400.0,
    "in": 25_400.0,
}
"""Length of a unit in um, by its name in lower case, in the singular, with u for the micro sign and -meter."""

NO_UNIT = ("", "pixel", "pixels", "px", "reference frame", "none")
"""What programs write where there is no scale."""

# A resolution in dots per inch or cm is nearly always meant for a printer or screen: 72, 96, 150, 300, even 4800 dpi
# (5.3 um). Finer than this only a microscope can be; finer than 10 pm nothing is.
MAX_RESOLUTION_UM, MIN_RESOLUTION_UM = 5.0, 1e-5
# What converters state in um where a file had one of these in dots per inch; 352.78 um are 72. Those of which a round
# number of um comes out, as of 254, are left to be lengths.
PRINTERS_DPI, DPI_TOLERANCE = (72, 75, 96, 120, 144, 150, 180, 240, 300, 600, 1200), 0.002

# A side of a pixel may differ by this much before the picture counts as stretched.
SQUARE_TOLERANCE = 0.01

_INCH, _CENTIMETRE = 2, 3
_FEI_TAGS, _ZEISS_TAG, _OLYMPUS_TAGS = (34680, 34682), 34118, (33471, 33560)
# Columns of Zeiss' screen, for whose pixels the older of its two sizes is.
_ZEISS_SCREEN = 1024
_JEOL_LINE = re.compile(r"^\$+(\w+)[^\S\n]+(.*?)\s*$", re.MULTILINE)
_LENGTH = re.compile(r"([\d.,]+(?:[eE][-+]?\d+)?)\s*(\D+)")
_SIDECAR_BYTES = 1_000_000
_PHENOM_TAG = 34683
_PHENOM_XML = re.compile(rb"<FeiImage\b.*?</FeiImage>", re.DOTALL)
_APERIO_SIDE = re.compile(r"\|\s*MPP\s*=\s*([^|\s]+)")
_JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif")


@dataclass(frozen=True)
class PixelSize:
    """Size of a pixel as a file states it.

    Attributes:
        x_um: Width of a pixel, um.
        y_um: Height of a pixel, um.
        source: Who wrote it: "OME", "ImageJ", "FEI", "Phenom", "Zeiss", "Olympus", "Zeiss LSM", "MetaMorph", "Aperio",
            "JEOL", "Hitachi", "Tescan" or "TIFF resolution".
        field_width: Columns of the picture that this is the size for, px, where that is stated.
        field_height: Its rows without the microscope's strip of text, px, where that is stated.
    """

    x_um: float
    y_um: float
    source: str
    field_width: int | None = None
    field_height: int | None = None

    @property
    def um_per_pixel(self) -> float:
        """Side of a square pixel of the same area, um, so that areas stay right where pixels are not square."""
        return math.sqrt(self.x_um * self.y_um)

    @property
    def is_square(self) -> bool:
        """Whether width and height differ by 1 % at most."""
        return abs(self.x_um / self.y_um - 1) <= SQUARE_TOLERANCE


def in_um(length: object, unit: str) -> float | None:
    """Convert a length that a file states to um.

    Args:
        length: A number, or text of one, with a decimal point or comma.
        unit: Such as "nm", "µm" in either of the two micro signs, or "micrometers".

    Returns:
        The length in um; None if no length is stated, if it is not above 0, or if the unit means pixels.

    Raises:
        ValueError: If the length or its unit is not understood.
    """
    # The last is a micro sign that was read in an encoding that it was not written in.
    name = re.sub(r"\\u00b5|µ|μ|\ufffd+", "u", unit.strip().lower()).replace("metre", "meter")
    if length is None or name in NO_UNIT:
        return None
    per_unit = UM_PER_UNIT.get(name.removesuffix("s") if len(name) > 3 else name)
    number = str(length)
    try:
        # Of 1,234 nobody knows whether the comma parts thousands.
        value = None if re.fullmatch(r"[1-9]\d*,\d{3}", number) else float(number.replace(",", "."))
    except ValueError:
        value = None
    if per_unit is None or value is None:
        raise ValueError(f"{length} {unit.strip()!r} is no length that is known")
    value *= per_unit
    return value if math.isfinite(value) and value > 0 else None


def read_pixel_size(
    path: Path, tiff: TiffFile | None = None, page: TiffPage | None = None
) -> tuple[PixelSize | None, str]:
    """Read the pixel size that a file, or the text beside it, states.

    Args:
        path: The picture.
        tiff: The same, opened, if it is a TIFF.
        page: The page of it that is read; the images of an OME-TIFF have a size each.

    Returns:
        The first found of OME, FEI/Thermo, Phenom, Zeiss, Olympus, the LSM files of Zeiss' confocal microscopes, the
        STK files of MetaMorph, the SVS files of Aperio's scanners, ImageJ, the text files of JEOL, Hitachi and Tescan,
        and the resolution tags where only a microscope can be meant, or None; and what is stated before that and not
        understood, or "".
    """
    # Read once, and where a reader asks: what goes wrong is told like all else that is not understood.
    texts = cache(lambda: tuple(_texts_beside(path)))
    readers: dict[str, Callable[[], PixelSize | None]] = {
        "Phenom": partial(_read_phenom, path, page),
        "JEOL": lambda: _read_jeol(texts()),
        "Hitachi": lambda: _read_hitachi(texts()),
        "Tescan": lambda: _read_tescan(texts(), path),
    }
    if tiff is not None and page is not None:
        readers = {
            "OME": partial(_read_ome, tiff, page),
            "FEI": partial(_read_fei, tiff, page),
            "Phenom": readers.pop("Phenom"),
            "Zeiss": partial(_read_zeiss, tiff, page),
            "Olympus": partial(_read_olympus, tiff, page),
            "Zeiss LSM": partial(_read_lsm, tiff),
            "MetaMorph": partial(_read_metamorph, tiff),
            "Aperio": partial(_read_aperio, tiff),
            "ImageJ": partial(_read_imagej, tiff),
            **readers,
            "TIFF resolution": partial(_read_resolution, page),
        }
    problem = ""
    for name, read in readers.items():
        try:
            if size := read():
                return size, problem
        except Exception as error:  # What a program wrote of its own may be anything; the picture is read all the same.
            problem = problem or f"{name}: {error or type(error).__name__}"
    return None, problem


def _read_ome(tiff: TiffFile, page: TiffPage) -> PixelSize | None:
    if not tiff.ome_metadata:
        return None
    root = ElementTree.fromstring(tiff.ome_metadata)
    images = root.findall(".//{*}Pixels")
    own = [pixels for pixels in images if _holds_page(pixels, page.index, tiff, root.get("UUID"))]
    # Where it cannot be told which image the page is of, only a size that all share is sure.
    sizes = [_ome_pixel_size(pixels) for pixels in own or images]
    if not sizes or None in sizes or len({(size.x_um, size.y_um) for size in sizes}) > 1:
        return None
    return sizes[0] if len(set(sizes)) == 1 else replace(sizes[0], field_width=None)


def _holds_page(pixels: ElementTree.Element, index: int, tiff: TiffFile, uuid: str | None) -> bool:
    """Whether an image of an OME-TIFF, one file of a set perhaps, holds a page of this file; `uuid` is the file's."""
    for planes in pixels.findall("{*}TiffData"):
        file = planes.find("{*}UUID")
        if file is not None and (file.text != uuid if uuid else file.get("FileName") != tiff.filename):
            continue
        # The schema's defaults: one page where the first is named, else all.
        first = int(planes.get("IFD", 0))
        if first <= index < first + int(planes.get("PlaneCount", 1 if "IFD" in planes.attrib else len(tiff.pages))):
            return True
    return False


def _ome_pixel_size(pixels: ElementTree.Element) -> PixelSize | None:
    # um is the unit that the OME schema gives where the file names none.
    x, y = (
        in_um(pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "um")) for axis in ("X", "Y")
    )
    width = pixels.get("SizeX", "")
    return _not_a_printers(_pixel_size(x, y, "OME", int(width) if width.isdecimal() else None))


def _maker_metadata(tiff: TiffFile, page: TiffPage, *codes: int) -> dict[str, Any]:
    """What a maker wrote into tags of a page, or, where this one has none, of the first page."""
    from tifffile import TIFF

    found: dict[str, Any] = {}
    for tags in (page.tags, tiff.pages.first.tags):
        for code in codes:
            value = tags.valueof(code, {})
            # Text in an encoding that tifffile does not know, such as Shift-JIS.
            if isinstance(value, bytes) and code in (*_FEI_TAGS, _ZEISS_TAG):
                text = value.decode("cp1252", errors="replace").encode()
                value = TIFF.TAG_READERS[code](io.BytesIO(text), "<", 2, -1, 4)
            if isinstance(value, dict):  # or it is no structure of the maker's
                found |= value
        if found:
            break
    return found


def _read_fei(tiff: TiffFile, page: TiffPage) -> PixelSize | None:
    metadata = _maker_metadata(tiff, page, *_FEI_TAGS)
    scan = next((metadata[name] for name in ("Scan", "EScan", "IScan") if "PixelWidth" in metadata.get(name, {})), None)
    if scan is None:
        return None
    image = metadata.get("Image", {})
    width, height = (side if isinstance(side := image.get(f"Resolution{axis}"), int) else None for axis in ("X", "Y"))
    x, y = (in_um(scan.get(f"Pixel{side}"), "m") for side in ("Width", "Height"))
    return _pixel_size(x, y, "FEI", width, height)


def _read_phenom(path: Path, page: TiffPage | None) -> PixelSize | None:
    """The XML that Phenom desktop microscopes write into a tag of their TIFFs, and anywhere into their JPEGs."""
    if page is not None:
        content = page.tags.valueof(_PHENOM_TAG, "")
    else:
        content = path.read_bytes() if path.suffix.lower() in _JPEG_SUFFIXES else b""
    found = _PHENOM_XML.search(content if isinstance(content, bytes) else str(content).encode())
    if not found:
        return None
    root = ElementTree.fromstring(found[0].decode(errors="replace"))
    sides = (root.find(f"{{*}}pixel{side}") for side in ("Width", "Height"))
    x, y = (None if side is None else in_um(side.text, side.get("unit", "")) for side in sides)
    return _pixel_size(x, y, "Phenom")


def _read_zeiss(tiff: TiffFile, page: TiffPage) -> PixelSize | None:
    metadata = _maker_metadata(tiff, page, _ZEISS_TAG)
    stored = re.match(r"\d+", str(metadata.get("dp_image_store", ("", ""))[1]))
    widths = {"ap_image_pixel_size": int(stored[0]) if stored else None, "ap_pixel_size": _ZEISS_SCREEN}
    for key, width in widths.items():
        length = _LENGTH.fullmatch(" ".join(map(str, metadata.get(key, ("",))[1:])))
        if length and (side := in_um(*length.groups())):
            return PixelSize(side, side, "Zeiss", width)
    return None


def _read_olympus(tiff: TiffFile, page: TiffPage) -> PixelSize | None:
    # Olympus bought the maker of the software, Soft Imaging System; both are in use as names of its tags.
    metadata = _maker_metadata(tiff, page, *_OLYMPUS_TAGS)
    x, y = (in_um(metadata.get(f"pixelsize{axis}"), "m") for axis in ("x", "y"))
    return _pixel_size(x, y, "Olympus")


def _read_lsm(tiff: TiffFile) -> PixelSize | None:
    metadata = tiff.lsm_metadata or {}
    x, y = (in_um(metadata.get(f"VoxelSize{axis}"), "m") for axis in "XY")
    return _pixel_size(x, y, "Zeiss LSM")


def _read_metamorph(tiff: TiffFile) -> PixelSize | None:
    metadata = tiff.stk_metadata or {}
    if not metadata.get("SpatialCalibration"):
        return None
    x, y = (in_um(metadata.get(f"{axis}Calibration"), metadata.get("CalibrationUnits", "")) for axis in "XY")
    return _pixel_size(x, y, "MetaMorph")


def _read_aperio(tiff: TiffFile) -> PixelSize | None:
    """The um per pixel of the full picture, which the reduced ones in the file state as well."""
    if not tiff.is_svs:
        return None
    stated = _APERIO_SIDE.search(tiff.pages.first.description)
    side = in_um(stated[1], "um") if stated else None
    return _pixel_size(side, side, "Aperio", tiff.pages.first.imagewidth)


def _read_imagej(tiff: TiffFile) -> PixelSize | None:
    unit = (tiff.imagej_metadata or {}).get("unit")
    return _from_resolution(tiff.pages.first, str(unit), "ImageJ") if unit else None


def _read_jeol(texts: Sequence[str]) -> PixelSize | None:
    """The text file that a JEOL microscope writes beside its picture."""
    entries = dict(_JEOL_LINE.findall("\n".join(texts)))
    length = _LENGTH.fullmatch(entries.get("SM_MICRON_MARKER", ""))
    marker = in_um(*length.groups()) if length else None
    bar = float(entries.get("SM_MICRON_BAR", 0))
    if marker is None or not (math.isfinite(bar) and bar > 0):
        return None
    full_size = [int(side) for side in re.findall(r"\d+", entries.get("CM_FULL_SIZE", ""))]
    return PixelSize(marker / bar, marker / bar, "JEOL", *(full_size if len(full_size) == 2 else ()))


def _read_hitachi(texts: Sequence[str]) -> PixelSize | None:
    """The text file that a Hitachi microscope writes beside its picture, with the size of a pixel in nm."""
    for section, values in _sections(texts):
        if section == "SemImageFile":
            side = in_um(values.get("PixelSize"), "nm")
            width = re.match(r"\d+", values.get("DataSize", ""))
            return _pixel_size(side, side, "Hitachi", int(width[0]) if width else None)
    return None


def _read_tescan(texts: Sequence[str], picture: Path) -> PixelSize | None:
    """The header that a Tescan microscope writes beside its picture, in m, but not of how many pixels."""
    for _, values in _sections(texts):
        if "PixelSizeX" in values:
            if len(_sizes_of_name(picture)) > 1:
                raise ValueError("pictures of several sizes share its header, which states none")
            return _pixel_size(*(in_um(values.get(f"PixelSize{axis}"), "m") for axis in "XY"), "Tescan")
    return None


def sidecar_names(picture: str) -> tuple[str, ...]:
    """Names of the files in which microscopes write of a picture, whose own name is given: a.txt, a.hdr, a-tif.hdr."""
    path = Path(picture)
    return tuple(path.stem + ending for ending in (".txt", ".TXT", ".Txt", ".hdr", ".HDR", f"-{path.suffix[1:]}.hdr"))


def _texts_beside(picture: Path) -> Iterator[str]:
    for name in sidecar_names(picture.name):
        file = picture.with_name(name)
        if os.path.isfile(file) and file.stat().st_size <= _SIDECAR_BYTES:  # also of names too long for a file
            content = file.read_bytes()
            is_wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content[:64]
            text = content.decode("utf-16" if is_wide else "utf-8", errors="replace")
            yield text.removeprefix("\ufeff")


def _sizes_of_name(picture: Path) -> set[tuple[int, int]]:
    """Widths and heights of the pictures beside this one that have its name, whatever their format, it included."""
    sizes = set()
    for file in picture.parent.glob(f"{glob.escape(picture.stem)}.*"):
        with suppress(OSError, Image.DecompressionBombError), Image.open(file) as image:
            sizes.add(image.size)
    return sizes


def _sections(texts: Sequence[str]) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Sections of those texts that are INI files, with their names."""
    for text in texts:
        parser = ConfigParser(interpolation=None, strict=False, allow_no_value=True)
        parser.optionxform = str
        with suppress(ConfigParserError):  # another kind of text
            parser.read_string(text)
        for name, section in parser.items():
            yield name, {key: value or "" for key, value in section.items()}


def _read_resolution(page: TiffPage) -> PixelSize | None:
    """The resolution tags, but for a printer's or a screen's."""
    unit = {_INCH: "inch", _CENTIMETRE: "cm"}.get(page.tags.valueof("ResolutionUnit", _INCH))
    return _from_resolution(page, unit, "TIFF resolution") if unit else None


def _from_resolution(page: TiffPage, unit: str, source: str) -> PixelSize | None:
    x, y = (_per_pixel(page.tags.valueof(f"{axis}Resolution"), unit) for axis in "XY")
    size = _pixel_size(x, y, source)
    # ImageJ, too, hands on the 72 dpi of a photograph as a scale in inches or cm.
    meant_for_print = size and (source != "ImageJ" or unit.strip().lower() in ("inch", "in", "cm"))
    if meant_for_print and not MIN_RESOLUTION_UM <= size.um_per_pixel <= MAX_RESOLUTION_UM:
        return None
    return _not_a_printers(size)


def _not_a_printers(size: PixelSize | None) -> PixelSize | None:
    """Refuse what converters make of the dots per inch that a file has for screens and printers."""
    for dpi in PRINTERS_DPI if size else ():
        if all(abs(side * dpi / UM_PER_UNIT["inch"] - 1) < DPI_TOLERANCE for side in (size.x_um, size.y_um)):
            raise ValueError(f"{size.um_per_pixel:.5g} um are {dpi} dots per inch, a screen's or printer's resolution")
    return size


def _per_pixel(resolution: tuple[float, ...] | float | None, unit: str) -> float | None:
    """Pixels per unit, as a TIFF rational or what else programs write, to um per pixel."""
    pixels, units = (*np.atleast_1d(resolution if resolution is not None else 0), 1)[:2]
    return in_um(units / pixels, unit) if pixels else None


def _pixel_size(
    x: float | None, y: float | None, source: str, field_width: int | None = None, field_height: int | None = None
) -> PixelSize | None:
    return PixelSize(x, y or x, source, field_width, field_height) if x else None
