"""Random scalar fields and integer hashes that the synthesiser is built from."""

import cv2
import numpy as np


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], cell: float) -> np.ndarray:
    """Draw Gaussian noise that varies over about `cell` pixels.

    Args:
        rng: Source of randomness.
        shape: Height and width in px.
        cell: Correlation length in px; at most 1 gives white noise.

    Returns:
        float32 (H, W), about zero mean and unit variance.
    """
    height, width = shape
    if cell <= 1:
        return rng.standard_normal(shape, dtype=np.float32)
    # The grid is drawn larger and cropped at a random offset, so that its knots do not sit at fixed pixels.
    rows, columns = int(height / cell) + 4, int(width / cell) + 4
    grid = rng.standard_normal((rows, columns), dtype=np.float32)
    top, left = int(cell + rng.random() * cell), int(cell + rng.random() * cell)
    # One matrix a side: drawing only what is kept is far cheaper than enlarging the grid and cropping it.
    down, across = _cubic_weights(height, top, cell, rows), _cubic_weights(width, left, cell, columns)
    # Cubic interpolation of white noise loses a little over half of its variance between the knots.
    return (down @ grid @ across.T) * np.float32(1.35)


def _cubic_weights(length: int, start: int, cell: float, knots: int) -> np.ndarray:
    """Weights float32 (length, knots), of cubic convolution (Keys 1981, a = -0.75) from knots `cell` px apart."""
    position = (np.arange(start, start + length, dtype=np.float32) + 0.5) / np.float32(cell) - 0.5
    knot = np.floor(position)
    t = np.abs((position - knot)[:, None] - np.arange(-1, 3, dtype=np.float32))
    taps = np.where(t <= 1, (1.25 * t - 2.25) * t * t + 1, -0.75 * (((t - 5) * t + 8) * t - 4))
    weights = np.zeros((length, knots + 2), np.float32)
    weights[np.arange(length)[:, None], knot.astype(np.intp)[:, None] + np.arange(4)] = taps
    # Knots beyond the grid repeat its first and last one.
    weights[:, 1] += weights[:, 0]
    weights[:, -2] += weights[:, -1]
    return weights[:, 1:-1]


def directional_noise(rng: np.random.Generator, shape: tuple[int, int], angle: float, length: float) -> np.ndarray:
    """Draw noise that is smeared along one direction, as polishing and rolling leave it.

    Args:
        rng: Source of randomness.
        shape: Height and width in px.
        angle: Direction of the streaks in radians.
        length: Length of the streaks in px.

    Returns:
        float32 (H, W), zero mean and unit variance.
    """
    half = max(int(length / 2), 1)
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    dx, dy = np.cos(angle) * half, np.sin(angle) * half
    ends = [(int(round(half - dx)), int(round(half - dy))), (int(round(half + dx)), int(round(half + dy)))]
    cv2.line(kernel, ends[0], ends[1], 1.0, 1, cv2.LINE_AA)
    field = cv2.filter2D(rng.standard_normal(shape, dtype=np.float32), -1, kernel, borderType=cv2.BORDER_REFLECT_101)
    return field / max(float(field.std()), 1e-6)


def smoothstep(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """Rise from 0 at `low` to 1 at `high` with zero slope at both ends."""
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def leave_out(field: np.ndarray, share: float, below: float, above: float) -> np.ndarray:
    """Cut a field at the level that `share` of it lies under: 0 there, 1 elsewhere.

    Args:
        field: float (H, W).
        share: 0 to 1.
        below: How far under the level the rise from 0 begins, in units of the field.
        above: How far over the level it ends at 1.

    Returns:
        float (H, W), 0 to 1.
    """
    level = float(np.quantile(field[::4, ::4], share))
    return smoothstep(field, level - below, level + above)


def pair_hash(first: np.ndarray, second: np.ndarray, salt: int) -> np.ndarray:
    """Map unordered pairs of ids to uniform numbers in [0, 1): the same pair always gives the same number."""
    low = np.minimum(first, second).astype(np.uint32)
    high = np.maximum(first, second).astype(np.uint32)
    value = low * np.uint32(0x9E3779B1) ^ (high + np.uint32(salt & 0xFFFFFFFF)) * np.uint32(0x85EBCA77)
    value ^= value >> np.uint32(15)
    value *= np.uint32(0x2C1B3C6D)
    value ^= value >> np.uint32(12)
    return (value >> np.uint32(8)).astype(np.float32) / np.float32(1 << 24)
