"""What lies on or in the grains without dividing them: pits, scratches, particles, stains, overlays.

Every function draws a float32 (H, W) coverage between 0 and 1; the caller decides how dark or bright it is.
"""

import cv2
import numpy as np

from .fields import leave_out, smooth_noise, smoothstep

# cv2 draws at 1/16 px when coordinates are shifted by 4 bits.
SHIFT = 4
ONE = 1 << SHIFT
# Colours that arrows and letters are drawn in where they are not black or white.
INKS = ((255, 255, 0), (255, 0, 0), (0, 255, 0), (0, 160, 255))


def pits(rng: np.random.Generator, shape: tuple[int, int], count: int, radius: float) -> np.ndarray:
    """Draw round pits or inclusions of about `radius` px at random places."""
    coverage = np.zeros(shape, np.uint8)
    centres = rng.random((count, 2)) * shape[::-1]
    radii = np.clip(radius * np.exp(0.5 * rng.standard_normal(count)), 0.4, 4 * radius)
    strength = rng.integers(110, 256, count)
    for (cx, cy), r, s in zip((centres * ONE).astype(int), (radii * ONE).astype(int), strength, strict=True):
        cv2.circle(coverage, (int(cx), int(cy)), int(r), int(s), -1, cv2.LINE_AA, SHIFT)
    return coverage.astype(np.float32) / 255


def scratches(
    rng: np.random.Generator, shape: tuple[int, int], count: int, bundle: bool, dotted: bool, thick: int | None = None
) -> np.ndarray:
    """Draw straight scratches; a bundle shares one direction, dotted ones are rows of etch pits.

    `thick` is their width in px, one to two where it is left out.
    """
    height, width = shape
    coverage = np.zeros(shape, np.uint8)
    main = rng.uniform(0, np.pi)
    side = float(max(height, width))
    for _ in range(count):
        angle = main + 0.05 * rng.standard_normal() if bundle else rng.uniform(0, np.pi)
        length = side * rng.uniform(0.15, 1.4)
        centre = rng.random(2) * (width, height)
        offset = 0.5 * length * np.array([np.cos(angle), np.sin(angle)])
        start, end = ((centre - offset) * ONE).astype(int), ((centre + offset) * ONE).astype(int)
        thickness = thick or (2 if rng.random() < 0.2 else 1)
        cv2.line(coverage, start.tolist(), end.tolist(), int(rng.integers(70, 256)), thickness, cv2.LINE_AA, SHIFT)
    coverage = coverage.astype(np.float32) / 255
    if dotted:
        coverage *= smoothstep(smooth_noise(rng, shape, rng.uniform(1.5, 4)), -0.2, 0.6)
        if rng.random() < 0.5:
            coverage = cv2.dilate(coverage, np.ones((2, 2), np.uint8))
    return coverage


def dashes(rng: np.random.Generator, shape: tuple[int, int], count: int, unit: float) -> np.ndarray:
    """Draw short strokes, in clusters that share a direction: stringers, slip traces, remains of etched sub-grains."""
    coverage = np.zeros(shape, np.uint8)
    clusters = max(count // 6, 1)
    centres, angles = rng.random((clusters, 2)) * shape[::-1], rng.uniform(0, np.pi, clusters)
    spread = rng.uniform(4, 20) * unit
    for _ in range(count):
        k = int(rng.integers(clusters))
        middle = centres[k] + spread * rng.standard_normal(2)
        angle, half = angles[k] + 0.2 * rng.standard_normal(), unit * rng.uniform(0.6, 6)
        bend = angle + 0.5 * rng.standard_normal()
        first = middle + half * np.array([np.cos(angle), np.sin(angle)])
        second = middle - half * np.array([np.cos(bend), np.sin(bend)])
        points = (np.array([first, middle, second]) * ONE).astype(np.int32)
        ink, thickness = int(rng.integers(80, 256)), max(int(round(unit * rng.uniform(0.4, 1.4))), 1)
        cv2.polylines(coverage, [points], False, ink, thickness, cv2.LINE_AA, SHIFT)
    return coverage.astype(np.float32) / 255


def particles(
    rng: np.random.Generator, centres: np.ndarray, shape: tuple[int, int], radius: float, spread: float, aspect: float
) -> np.ndarray:
    """Draw precipitates or second-phase particles as ellipses of about `radius` px around the given centres (x, y)."""
    coverage = np.zeros(shape, np.uint8)
    radii = np.clip(radius * np.exp(spread * rng.standard_normal(len(centres))), 0.8, 3.5 * radius)
    for (cx, cy), r in zip(centres, radii, strict=True):
        ratio = np.sqrt(rng.uniform(1, aspect))
        axes = (max(int(r * ratio * ONE), 8), max(int(r / ratio * ONE), 8))
        centre = (int(cx * ONE), int(cy * ONE))
        if r < 2.5:
            cv2.ellipse(coverage, centre, axes, rng.uniform(0, 180), 0, 360, 255, -1, cv2.LINE_AA, SHIFT)
        else:
            corners = int(rng.integers(5, 12))
            turn = np.sort(rng.random(corners)) * 2 * np.pi
            outline = np.stack([np.cos(turn) * axes[0], np.sin(turn) * axes[1]], axis=1)
            outline *= rng.uniform(0.75, 1.15, (corners, 1))
            tilt = rng.uniform(0, np.pi)
            turn_matrix = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
            points = (outline @ turn_matrix + centre).astype(np.int32)
            cv2.fillPoly(coverage, [points], 255, cv2.LINE_AA, SHIFT)
    return coverage.astype(np.float32) / 255


def stains(rng: np.random.Generator, shape: tuple[int, int], cell: float, share: float) -> np.ndarray:
    """Draw etching stains: soft-edged blobs over about `share` of the field."""
    field = smooth_noise(rng, shape, cell) + 0.4 * smooth_noise(rng, shape, max(cell / 4, 2))
    return leave_out(field, 1 - share, 0.0, rng.uniform(0.2, 0.9))


def overlay_marks(rng: np.random.Generator, image: np.ndarray) -> None:
    """Write what people put on their pictures into `image` (uint8 (H, W, 3)), in place: a scale bar, text, arrows."""
    if rng.random() < 0.3:
        ink = INKS[int(rng.integers(len(INKS)))]
    else:
        ink = (255, 255, 255) if rng.random() < 0.5 else (0, 0, 0)
    _write_text(rng, image, ink)
    if rng.random() < 0.4:
        return
    height, width = image.shape[:2]
    if rng.random() < 0.5:
        letter, size = f"({chr(int(rng.integers(97, 107)))})", rng.uniform(0.6, 1.4)
        cv2.putText(image, letter, (6, int(32 * size)), cv2.FONT_HERSHEY_SIMPLEX, size, ink, 2, cv2.LINE_AA)
    for _ in range(int(rng.integers(0, 6))):
        tip, angle = rng.random(2) * (width, height), rng.uniform(0, 2 * np.pi)
        tail = tip + rng.uniform(15, 70) * np.array([np.cos(angle), np.sin(angle)])
        ends = [(int(x), int(y)) for x, y in (tail, tip)]
        cv2.arrowedLine(image, *ends, ink, int(rng.integers(1, 4)), cv2.LINE_AA, tipLength=rng.uniform(0.15, 0.4))


def _write_text(rng: np.random.Generator, image: np.ndarray, ink: tuple[int, int, int]) -> None:
    """Write a scale bar with its length, or a line of text."""
    height, width = image.shape[:2]
    x, y = int(rng.uniform(0.02, 0.5) * width), int(rng.choice([0.06, 0.94]) * height)
    if rng.random() < 0.5:
        text = f"{int(rng.choice([1, 2, 5, 10, 20, 50, 100, 200]))} um"
        length = int(rng.uniform(0.15, 0.4) * width)
        cv2.rectangle(image, (x, y), (x + length, y + int(rng.integers(2, 6))), ink, -1)
    else:
        letters = rng.integers(65, 91, int(rng.integers(4, 14)))
        text = "".join(chr(int(c)) for c in letters) + f" x{int(rng.integers(1, 50)) * 100}"
    scale = rng.uniform(0.3, 0.7)
    if rng.random() < 0.4:
        (w, h), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
        box = tuple(255 - c for c in ink)
        cv2.rectangle(image, (x - 3, y - h - 6), (x + w + 3, y + 3), box, -1)
    cv2.putText(image, text, (x, y - 4), cv2.FONT_HERSHEY_SIMPLEX, scale, ink, 1, cv2.LINE_AA)
