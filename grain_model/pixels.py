"""Any pixels to 8-bit RGB: grey, colour, palette, alpha, 8 or 16 bit, float."""

from __future__ import annotations

import numpy as np
from PIL import ExifTags, Image

from .errors import ImageError

# Deeper images are scaled so that these percentiles become 0 and 255: a few hot or dead pixels of a detector must not
# squeeze the rest into a handful of grey levels.
LOW_PERCENTILE, HIGH_PERCENTILE = 0.1, 99.9

# Percentiles of larger images are taken from a regular sample of about this many values.
_SAMPLE = 4_000_000

# A float image in [0, 1] that spans at least this much was scaled already and keeps its grey levels.
_UNIT_SPAN = 0.25

_PLAIN_MODES = ("1", "L", "RGB", "RGBA")
_DEEP_MODES = ("I", "F")


def to_rgb(pixels: np.ndarray) -> np.ndarray:
    """Convert an array of pixels to 8-bit RGB.

    uint8 is kept as it is and bool becomes 0 and 255. Floats in [0, 1] that span a quarter of it or more are
    multiplied by 255. Everything else (uint16, other floats and integers) is scaled linearly so that its 0.1st and
    99.9th percentiles, over all channels together, become 0 and 255; one value far from all others, as pixels without
    data have it, does not squeeze the rest. Pixels that are not opaque lie on white,
    but an alpha channel of one value is left out: some programs write 0 for all.

    Args:
        pixels: bool, integer or float, (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) with alpha last.

    Returns:
        uint8 (H, W, 3).

    Raises:
        ImageError: If the shape or the type is another, there is no pixel, or a value is NaN or infinite.
    """
    pixels = np.asarray(pixels)
    check_picture(pixels)
    _refuse_undefined(pixels)
    if pixels.ndim == 2:
        pixels = pixels[..., np.newaxis]
    colour = _to_uint8(pixels[..., :3])
    if is_see_through(pixels):
        colour = _on_white(colour, _opacity(pixels[..., 3]))
    return np.ascontiguousarray(np.broadcast_to(colour, (*colour.shape[:2], 3)))


def check_picture(pixels: np.ndarray) -> None:
    """Refuse arrays that are no picture by their shape or type; the values are not looked at.

    Raises:
        ImageError: If the shape or the type is not one that `to_rgb` takes, or there is no pixel.
    """
    if not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (1, 3, 4))):
        raise ImageError(
            f"The array has the shape {pixels.shape}. (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) is expected. "
            "Pass one picture, with its channels last."
        )
    if pixels.dtype.kind not in "buif":
        raise ImageError(
            f"The array holds {pixels.dtype}. Grey levels are expected: bool, integers or floats. Convert it first."
        )
    if pixels.size == 0:
        raise ImageError(f"The array has the shape {pixels.shape} and no pixel. Check how it was cropped.")


def is_see_through(pixels: np.ndarray) -> bool:
    """Whether an array (H, W, 4) has pixels that are not opaque; false for any other shape.

    An alpha channel of one value says nothing, though some programs leave it at 0.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 4:
        return False
    alpha = pixels[..., 3]
    return bool((alpha != alpha[0, 0]).any() and (_opacity(alpha) < 1).any())


def from_pil(image: Image.Image) -> np.ndarray:
    """Take the pixels out of a PIL image at their own depth, upright as its EXIF orientation says.

    Args:
        image: Of any mode.

    Returns:
        bool, uint8, uint16, int32 or float32; (H, W), (H, W, 3) or, with transparency, (H, W, 4).
    """
    if image.mode not in _DEEP_MODES and not image.mode.startswith("I;16"):
        # A PNG without an alpha channel may name one grey level or colour that is transparent.
        see_through = "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBa")
        if see_through or image.mode not in _PLAIN_MODES:
            image = image.convert("RGBA" if see_through else "RGB")
    return turn_upright(np.asarray(image), image.getexif().get(ExifTags.Base.Orientation, 1))


def turn_upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn and mirror stored pixels as the TIFF and EXIF orientation tag says.

    Args:
        pixels: (H, W) or (H, W, C).
        orientation: 1 to 8; anything else counts as 1, upright.

    Returns:
        A view, (H, W, ...) or (W, H, ...).
    """
    if orientation in (5, 6, 7, 8):
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def _refuse_undefined(pixels: np.ndarray) -> None:
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        undefined = int(np.count_nonzero(~np.isfinite(pixels)))
        raise ImageError(
            f"{undefined} of {pixels.size} values are NaN or infinite. Finite grey levels are expected. "
            "Fill or crop these pixels before counting, for example with numpy.nan_to_num."
        )


def _to_uint8(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * 255
    low, high = _grey_range(pixels)
    if high <= low:
        # Constant: there is no contrast to keep, so any grey will do.
        return np.full(pixels.shape, 128, np.uint8)
    # In slices, since a large picture would need several times its size in floats at once.
    scaled = np.empty(pixels.shape, np.uint8)
    for source, target in zip(_slices(pixels), _slices(scaled), strict=True):
        levels = (source.astype(np.float32 if pixels.itemsize <= 2 else np.float64) - low) * (255 / (high - low))
        target[...] = np.rint(np.clip(levels, 0, 255))
    return scaled


def _grey_range(pixels: np.ndarray) -> tuple[float, float]:
    """The values that become 0 and 255."""
    # Whole pixels, or a step that is a multiple of three would see one colour only.
    sample = pixels.reshape(-1, pixels.shape[2])[:: max(1, pixels.size // _SAMPLE)]
    if pixels.dtype.kind == "u":
        # Letters and bars in the strip of a 12-bit picture are as bright as 16 bits can be, far above the picture.
        brightest = np.iinfo(pixels.dtype).max
        below = sample[sample < brightest]
        if 2 * below.size > sample.size and below.max() < brightest / 2:
            sample = below
    low, high = _robust_range(sample)
    smallest, largest = float(pixels.min()), float(pixels.max())
    if pixels.dtype.kind == "f" and smallest >= 0 and largest <= 1 and high - low >= _UNIT_SPAN:
        return 0.0, 1.0
    for extreme in (sample.min(), sample.max()):
        # The value of pixels without data, such as -9999, may lie as far from all others as it likes: it is brought so
        # near to them that they keep half of the grey levels.
        rest = sample[sample != extreme]
        if 2 * rest.size > sample.size:
            lowest, highest = _robust_range(rest)
            span = highest - lowest
            if span > 0:
                low, high = max(low, lowest - span), min(high, highest + span)
    return (low, high) if high > low else (smallest, largest)


def _robust_range(values: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(values, (LOW_PERCENTILE, HIGH_PERCENTILE))
    return float(low), float(high)


def _opacity(alpha: np.ndarray) -> np.ndarray:
    """Alpha as float32 in [0, 1]."""
    if alpha.dtype.kind == "u":
        return alpha.astype(np.float32) / np.iinfo(alpha.dtype).max
    # Signed integers hold what was 8-bit before, as do floats above 1.
    opacity = alpha.astype(np.float32)
    return np.clip(opacity / 255 if opacity.max() > 1 else opacity, 0, 1)


def _on_white(colour: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    return np.rint(255 - (255 - colour.astype(np.float32)) * opacity[..., np.newaxis]).astype(np.uint8)


def _slices(pixels: np.ndarray) -> list[np.ndarray]:
    return np.array_split(pixels, max(1, pixels.size // _SAMPLE))
