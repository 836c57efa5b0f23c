"""What a TIFF may unpack to: no more than the picture that it states, which is checked before anything is unpacked."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING

from PIL import Image

from .errors import ImageError

if TYPE_CHECKING:
    from tifffile import TiffPage

# None, CCITT, LZW, deflate, PackBits, LZMA, zstd: unpacked into the room that the page states, and no further.
_BOUNDED = {1, 2, 3, 4, 5, 8, 32773, 32946, 34925, 34926, 50000, 50013}
# Pictures in the picture, which have a size of their own: JPEG, JPEG 2000, PNG, WebP.
_PACKED_PICTURES = {6, 7, 33003, 33004, 33005, 33007, 34712, 34892, 34927, 34933, 50001}
_PACKED_FORMATS = ("JPEG", "JPEG2000", "PNG", "WEBP")


def check_unpacked(page: TiffPage, max_pixels: int) -> None:
    """Refuse a page whose tiles, or pictures packed in it, unpack to more than a picture may have.

    Args:
        page: Whose stated size is within bounds.
        max_pixels: Most pixels of a picture.

    Raises:
        ImageError: If they do, or if that cannot be told.
    """
    if page.is_tiled and page.tilelength * page.tilewidth > max_pixels:
        raise _too_large(page.tilelength, page.tilewidth, max_pixels)
    if page.compression in _BOUNDED:
        return
    if page.compression not in _PACKED_PICTURES:
        raise _unreadable(page)
    for packed, _ in page.parent.filehandle.read_segments(page.dataoffsets, page.databytecounts):
        try:
            width, height = _read_size(packed or b"")
        except (OSError, Image.DecompressionBombError) as error:
            raise _unreadable(page) from error
        if width * height > max_pixels:
            raise _too_large(height, width, max_pixels)


def _read_size(packed: bytes) -> tuple[int, int]:
    """Width and height of a packed picture, by its head."""
    with warnings.catch_warnings():
        # PIL's own limit is lower than ours.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(io.BytesIO(packed), formats=_PACKED_FORMATS) as image:
            return image.size


def _too_large(height: int, width: int, max_pixels: int) -> ImageError:
    return ImageError(
        f"The TIFF is packed in pieces of {width} x {height} px. At most {max_pixels / 1e6:g} million pixels are "
        "expected. Save it without compression."
    )


def _unreadable(page: TiffPage) -> ImageError:
    name = getattr(page.compression, "name", page.compression)
    return ImageError(
        f"The TIFF is packed in a way ({name}) that is not unpacked here, or in too large pieces. No compression, LZW, "
        "deflate, zstd, PackBits, or 8-bit JPEG is expected. Save it without compression."
    )
