"""Polycrystals: Laguerre tessellations with curved, graded and elongated grains."""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial import cKDTree

from .fields import smooth_noise

# Seeds that can own a pixel are looked up once a block of BLOCK x BLOCK px; CANDIDATES of them are then compared
# exactly for each pixel. 14 is enough for grains of 10 px and more.
BLOCK = 8
CANDIDATES = 14
# Bits that hold the number of a candidate.
LAST_BITS = 15


@dataclass(frozen=True)
class Polycrystal:
    """A tessellated field of view.

    Attributes:
        labels: int32 (H, W), the grain of each pixel, 0..n_seeds-1; seeds outside the field own no pixel.
        neighbours: int32 (H, W), the grain across the nearest boundary.
        distance: float32 (H, W), distance to the nearest boundary in px, exact below the pixel.
        n_seeds: Number of seeds.
    """

    labels: np.ndarray
    neighbours: np.ndarray
    distance: np.ndarray
    n_seeds: int


def polycrystal(
    rng: np.random.Generator,
    shape: tuple[int, int],
    diameter: float,
    *,
    spread: float = 0.3,
    bimodal: float = 0.0,
    elongation: float = 1.0,
    angle: float = 0.0,
    gradient: float = 0.0,
    waviness: float = 0.0,
    relaxations: int = 1,
) -> Polycrystal:
    """Tessellate a field of view into grains.

    A power (Laguerre) diagram of random seeds whose weights are squared radii; a smooth warp of the plane curves the
    boundaries, an affine map elongates the grains, and a non-uniform stretch grades their size.

    Args:
        rng: Source of randomness.
        shape: Height and width in px.
        diameter: Mean equivalent circular diameter of the grains in px.
        spread: Standard deviation of the logarithm of the seeds' radii (log-normal sizes).
        bimodal: Share of the area that is filled with grains of 2.5 times the diameter.
        elongation: Aspect ratio of the grains, 1 or more.
        angle: Direction of the long axis in radians.
        gradient: 0 for the same size everywhere; 1 for a size that changes about threefold over the field.
        waviness: Amplitude of the boundary waves relative to the diameter.
        relaxations: Steps of Lloyd's relaxation; more makes the grains more alike and rounder.

    Returns:
        The polycrystal, with labels without gaps. They are exact but for one pixel in a thousand or fewer where the
        diameter is 6 px or more; below, more pixels go to another grain than theirs.
    """
    x, y = _warped_coordinates(rng, shape, diameter, elongation, angle, gradient, waviness)
    # Centred coordinates keep single precision exact enough for the differences below.
    x, y = x - x.mean(), y - y.mean()
    low = np.array([x.min(), y.min()]) - 1.5 * diameter
    high = np.array([x.max(), y.max()]) + 1.5 * diameter
    seeds, radii = _draw_seeds(rng, low, high, diameter, spread, bimodal)
    for _ in range(relaxations):
        seeds = _relax(rng, seeds, radii, low, high)
    labels, neighbours, difference = _power_diagram(x, y, seeds, radii)
    # |grad| of the difference of the two power distances turns it into px, whatever the warp.
    slope = cv2.magnitude(
        cv2.Sobel(difference, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8),
        cv2.Sobel(difference, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8),
    )
    # Beside the boundary the gradient of |difference| is smeared by its kink: take the largest one nearby.
    slope = cv2.blur(cv2.dilate(slope, np.ones((3, 3), np.uint8)), (5, 5))
    distance = difference / np.maximum(slope, 1e-3)
    return Polycrystal(labels, neighbours, distance.astype(np.float32), len(seeds))


def _warped_coordinates(
    rng: np.random.Generator,
    shape: tuple[int, int],
    diameter: float,
    elongation: float,
    angle: float,
    gradient: float,
    waviness: float,
) -> tuple[np.ndarray, np.ndarray]:
    height, width = shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    if waviness > 0:
        for cell, share in ((1.2 * diameter, 1.0), (0.45 * diameter, 0.3)):
            if cell > 3:
                x += waviness * share * diameter * 0.5 * smooth_noise(rng, shape, cell)
                y += waviness * share * diameter * 0.5 * smooth_noise(rng, shape, cell)
    if gradient > 0:
        side = float(max(height, width))
        direction = rng.uniform(0, 2 * np.pi)
        c, s = np.float32(np.cos(direction)), np.float32(np.sin(direction))
        along = ((x - width / 2) * c + (y - height / 2) * s) / side
        factor = np.exp(np.float32(0.55 * gradient) * np.clip(along * 2, -1.2, 1.2))
        x, y = width / 2 + (x - width / 2) * factor, height / 2 + (y - height / 2) * factor
    if elongation > 1:
        c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        stretch = np.float32(np.sqrt(elongation))
        u, v = (x * c + y * s) / stretch, (y * c - x * s) * stretch
        x, y = u, v
    return x, y


def _draw_seeds(
    rng: np.random.Generator, low: np.ndarray, high: np.ndarray, diameter: float, spread: float, bimodal: float
) -> tuple[np.ndarray, np.ndarray]:
    area = float(np.prod(high - low))
    n = max(int(round(area / (np.pi / 4 * diameter**2))), 6)
    radii = 0.5 * diameter * np.exp(spread * rng.standard_normal(n) - spread**2)
    if bimodal > 0:
        n_large = max(int(bimodal * n / 6), 1)
        radii[:n_large] *= 2.5
        keep = n_large + int((n - n_large) * (1 - bimodal))
        radii = radii[: max(keep, 4)]
    seeds = low + rng.random((len(radii), 2)) * (high - low)
    return seeds, radii


def _relax(
    rng: np.random.Generator, seeds: np.ndarray, radii: np.ndarray, low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    """Move each seed to the centre of mass of its cell, estimated from random points."""
    points = low + rng.random((12 * len(seeds), 2)) * (high - low)
    _, owner = _lifted_tree(seeds, radii).query(np.pad(points, ((0, 0), (0, 1))))
    count = np.bincount(owner, minlength=len(seeds))
    centres = np.stack([np.bincount(owner, points[:, k], len(seeds)) for k in (0, 1)], axis=1)
    return np.where(count[:, None] > 0, centres / np.maximum(count, 1)[:, None], seeds)


def _lifted_tree(seeds: np.ndarray, radii: np.ndarray) -> cKDTree:
    """Power distance |p - s|^2 - r^2 is, up to a constant, a Euclidean distance in one dimension more."""
    lift = np.sqrt(np.maximum(np.max(radii) ** 2 - radii**2, 0.0))
    return cKDTree(np.column_stack([seeds, lift]))


def _power_diagram(
    x: np.ndarray, y: np.ndarray, seeds: np.ndarray, radii: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the owner of every pixel, the runner-up, and the difference of their power distances.

    Returns:
        int32 (H, W), int32 (H, W) and float32 (H, W) in px^2.
    """
    height, width = x.shape
    rows, columns = -(-height // BLOCK), -(-width // BLOCK)
    pad = ((0, rows * BLOCK - height), (0, columns * BLOCK - width))

    def blocks(a: np.ndarray) -> np.ndarray:
        a = np.pad(a, pad, mode="edge").reshape(rows, BLOCK, columns, BLOCK)
        return a.transpose(1, 3, 0, 2).reshape(BLOCK * BLOCK, rows * columns)

    def image(a: np.ndarray) -> np.ndarray:
        a = a.reshape(BLOCK, BLOCK, rows, columns).transpose(2, 0, 3, 1)
        return np.ascontiguousarray(a.reshape(rows * BLOCK, columns * BLOCK)[:height, :width])

    bx, by = blocks(x), blocks(y)
    centres = np.column_stack([bx.mean(axis=0), by.mean(axis=0)])
    bx, by = bx - centres[:, 0].astype(np.float32), by - centres[:, 1].astype(np.float32)
    _, candidates = _lifted_tree(seeds, radii).query(np.pad(centres, ((0, 0), (0, 1))), k=min(CANDIDATES, len(seeds)))
    # Power distance less |p|^2, which is the same for all seeds, is linear in the coordinates; counted from the
    # block's centre the numbers stay small enough for single precision.
    arm = seeds[candidates] - centres[:, None]
    offset = (arm**2).sum(axis=2) - radii[candidates] ** 2
    # A candidate that is worse than two others all over the block needs no look at its pixels.
    change = 2 * np.linalg.norm(arm, axis=2) * np.sqrt((bx**2 + by**2).max(axis=0))[:, None]
    in_reach = offset - change <= np.partition(offset + change, 1, axis=1)[:, 1:2]
    needed = in_reach.shape[1] - np.argmax(in_reach[:, ::-1], axis=1)
    order = np.argsort(-needed, kind="stable")
    bx, by = bx[:, order], by[:, order]
    slope_x, slope_y = (np.ascontiguousarray(-2 * arm[order, :, axis].T, np.float32) for axis in (0, 1))
    offset = np.ascontiguousarray(offset[order].T, np.float32)
    best = np.full(bx.shape, np.inf, np.float32)
    second = best.copy()
    for k, blocks_left in enumerate(np.count_nonzero(needed[:, None] > np.arange(candidates.shape[1]), axis=0)):
        part = np.s_[:, :blocks_left]
        power = bx[part] * slope_x[k, :blocks_left]
        power += by[part] * slope_y[k, :blocks_left]
        power += offset[k, :blocks_left]
        # The candidate's number travels in the last bits of its distance: two minima then do what an argmin and
        # masked copies would, several times faster. It costs 2^-20 of the distance.
        bits = power.view(np.int32)
        bits &= ~LAST_BITS
        bits |= k
        np.minimum(second[part], np.maximum(best[part], power), out=second[part])
        np.minimum(best[part], power, out=best[part])
    back = np.argsort(order, kind="stable")
    best, second = best[:, back], second[:, back]
    number = np.arange(len(candidates))
    labels, neighbours = (
        candidates[number, closest.view(np.int32) & LAST_BITS].astype(np.int32) for closest in (best, second)
    )
    return image(labels), image(neighbours), image(second - best)
