"""What a TIFF may unpack to: no more than a picture may have, which is checked before anything is unpacked."""

from __future__ import annotations

import io
import math
import re
import struct
import warnings
from typing import TYPE_CHECKING

from PIL import Image

from .errors import ImageError

if TYPE_CHECKING:
    from tifffile import TiffPage

# None, CCITT, LZW, deflate, PackBits, LZMA, zstd: unpacked into the room that the page states, and no further.
BOUNDED = {1, 2, 3, 4, 5, 8, 32773, 32946, 34925, 34926, 50000, 50013}
# Pictures in the picture, which have a size of their own.
_JPEG, _JPEG_2000, _PNG, _WEBP = {6, 7, 33007, 34892}, {33003, 33004, 33005, 34712}, {34933}, {34927, 50001}

# A JPEG's segments in front of its data: the marker and the length; those of frames hold height and width.
_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_JPEG_DATA = 0xDA
# Where a PNG has its width and height.
_PNG_SIZE = 16
# The head of a JPEG 2000 codestream: SOC, SIZ, two fields of two bytes, and then width and height of its grid.
_JPEG_2000_HEAD = re.compile(rb"\xff\x4f\xff\x51....(.{8})", re.DOTALL)


def check_unpacked(page: TiffPage, max_pixels: int) -> None:
    """Refuse a page whose tiles, or pictures packed in it, unpack to more than a picture may have.

    Args:
        page: Whose stated size is within bounds.
        max_pixels: Most pixels of a picture.

    Raises:
        ImageError: If they do, or if that cannot be told.
    """
    if page.tilelength * page.tilewidth * page.tiledepth > max_pixels:
        raise _too_large(page.tilelength, page.tilewidth, max_pixels)
    # Hamamatsu's tiles have no heads; that of the file is given the tile's size.
    if page.compression in BOUNDED or page.jpegheader is not None:
        return
    for packed, _ in page.parent.filehandle.read_segments(page.dataoffsets, page.databytecounts):
        if packed:
            height, width = _packed_size(page, packed)
            if height * width > max_pixels:
                raise _too_large(height, width, max_pixels)


def _packed_size(page: TiffPage, packed: bytes) -> tuple[int, int]:
    """Height and width of a packed picture, by its head; the largest if it has several."""
    try:
        if page.compression in _JPEG:
            return max(_jpeg_sizes(packed), key=math.prod)
        if page.compression in _JPEG_2000:
            sizes = [struct.unpack(">II", head[1])[::-1] for head in _JPEG_2000_HEAD.finditer(packed)]
            return max(sizes, key=math.prod)
        if page.compression in _PNG:
            return struct.unpack_from(">II", packed, _PNG_SIZE)[::-1]
        if page.compression in _WEBP:
            return _webp_size(packed)
    except (ValueError, struct.error, OSError, Image.DecompressionBombError) as error:
        raise _unreadable(page) from error
    raise _unreadable(page)


def _jpeg_sizes(packed: bytes) -> list[tuple[int, int]]:
    place, sizes = 2, []
    while place + 4 <= len(packed) and packed[place] == 0xFF:
        marker, length = packed[place + 1], int.from_bytes(packed[place + 2 : place + 4], "big")
        if marker == 0xFF:  # a byte that fills
            place += 1
            continue
        if marker in _JPEG_FRAMES:
            sizes.append(struct.unpack_from(">HH", packed, place + 5))
        if marker == _JPEG_DATA:
            break
        place += 2 + length
    return sizes


def _webp_size(packed: bytes) -> tuple[int, int]:
    with warnings.catch_warnings():
        # PIL's own limit is lower than ours.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(io.BytesIO(packed), formats=("WEBP",)) as image:
            return image.height, image.width


def _too_large(height: int, width: int, max_pixels: int) -> ImageError:
    return ImageError(
        f"The TIFF is packed in pieces of {width} x {height} px. At most {max_pixels / 1e6:g} million pixels are "
        "expected. Save it without compression."
    )


def _unreadable(page: TiffPage) -> ImageError:
    name = getattr(page.compression, "name", page.compression)
    return ImageError(
        f"The TIFF is packed in a way ({name}) that is not unpacked here. No compression, LZW, deflate, zstd, "
        "PackBits, JPEG or JPEG 2000 is expected. Save it without compression."
    )
