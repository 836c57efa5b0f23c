"""PNG files without loss."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_png(path: Path, picture: np.ndarray) -> None:
    """Write a picture without loss, in half the time of Pillow's default for a few per cent more bytes.

    Args:
        path: The file.
        picture: uint8 (H, W) or (H, W, 3), RGB, or uint16 (H, W).

    Raises:
        OSError: If it cannot be written.
    """
    Image.fromarray(picture).save(path, compress_level=3)
