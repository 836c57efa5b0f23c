"""What the microscope and its camera add: light, optics, noise, file."""

from collections.abc import Iterator

import cv2
import numpy as np

from . import marks
from .fields import smooth_noise
from .recipe import Recipe

# How programs make a picture larger.
ENLARGEMENTS = (cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_CUBIC)


def expose(recipe: Recipe, painted: np.ndarray) -> np.ndarray:
    """Grey values as the camera takes them: what is too bright or too dark for it comes out alike."""
    return np.clip(painted, 0, 1) ** np.float32(recipe.gamma)


def record(
    rng: np.random.Generator, recipe: Recipe, grey: np.ndarray, chroma: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Photograph a painted polycrystal.

    Args:
        rng: Source of randomness.
        recipe: How the micrograph looks.
        grey: float32 (H, W), about 0..1.
        chroma: Colour offsets, float32 (H, W, 3), or None.

    Returns:
        uint8 (H, W, 3), RGB; and float32 (H, W), the factor by which the light changes what is recorded of a difference
        in grey.
    """
    grey, light = _lit(rng, recipe, grey)
    image = cv2.GaussianBlur(_coloured(rng, recipe, grey, chroma), (0, 0), recipe.blur).reshape(*grey.shape, -1)
    # What few micrographs have draws from a generator of its own, so that the others stay as they are without it.
    apart = rng.spawn(1)[0]
    if recipe.motion > 0:
        image = _moved(apart, image, recipe.motion)
    image = expose(recipe, image)
    pivot = np.float32(rng.uniform(0, 1))
    image = pivot + (image - pivot) * np.float32(recipe.contrast)
    if recipe.invert:
        image = 1 - image
    image = _noisy(rng, apart, recipe, image)
    image = _stored(rng, apart, recipe, image)
    return image, np.maximum(light, 0) ** np.float32(recipe.gamma)


def _lit(rng: np.random.Generator, recipe: Recipe, grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Painted grey values in the light of the microscope, and the factor by which it changes differences."""
    light = np.ones(grey.shape, np.float32)
    for factor in _lighting(rng, recipe, grey.shape):
        grey, light = grey * factor, light * factor
    if recipe.gleam:
        grey = grey + 0.03 * smooth_noise(rng, grey.shape, max(grey.shape) / 6)
    return grey, light


def _coloured(rng: np.random.Generator, recipe: Recipe, grey: np.ndarray, chroma: np.ndarray | None) -> np.ndarray:
    """Float32 (H, W, 3) where the micrograph has colours, else (H, W, 1)."""
    image = grey[..., None]
    if chroma is not None:
        return image + chroma
    if not recipe.colour:
        return image
    tint = 1 + rng.uniform(0.02, 0.3) * rng.standard_normal(3).astype(np.float32) * (0.6, 0.3, 0.9)
    image = image * np.clip(tint, 0.5, 1.4).astype(np.float32)
    return image + np.float32(0.03) * rng.standard_normal(3).astype(np.float32)


def _noisy(rng: np.random.Generator, apart: np.random.Generator, recipe: Recipe, image: np.ndarray) -> np.ndarray:
    """An image, float32 (H, W, C), with the noise of the camera; noise in colour makes C three."""
    shape = image.shape[:2]
    noise = smooth_noise(rng, shape, recipe.noise_cell)[..., None]
    if rng.random() < 0.4:
        noise = noise * np.sqrt(np.clip(image, 0.02, 1))  # shot noise grows with the signal
    image = image + np.float32(recipe.noise) * noise
    if recipe.scan_lines > 0:
        image = image + np.float32(recipe.scan_lines) * rng.standard_normal((shape[0], 1, 1), dtype=np.float32)
    if recipe.colour_noise > 0:
        image = image + np.float32(recipe.colour_noise) * apart.standard_normal((*shape, 3), dtype=np.float32)
    return image


def _stored(rng: np.random.Generator, apart: np.random.Generator, recipe: Recipe, image: np.ndarray) -> np.ndarray:
    """An image, float32 (H, W, C) of about 0..1, as its file gives it back: uint8 (H, W, 3)."""
    shape = image.shape[:2]
    image = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
    if image.shape[2] == 1:
        image = np.repeat(image, 3, axis=2)
    if recipe.impulses > 0:
        struck = apart.random(shape) < recipe.impulses
        image[struck] = apart.choice(np.array([0, 255], np.uint8), (np.count_nonzero(struck), 1))
    if recipe.overlay:
        marks.overlay_marks(rng, image)
    if recipe.reduction > 1:
        image = cv2.resize(image, None, fx=1 / recipe.reduction, fy=1 / recipe.reduction, interpolation=cv2.INTER_AREA)
    if recipe.jpeg:
        _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, recipe.jpeg])
        image = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    if recipe.reduction > 1:
        image = cv2.resize(image, shape[::-1], interpolation=int(apart.choice(ENLARGEMENTS)))
    return np.ascontiguousarray(image)


def _lighting(rng: np.random.Generator, recipe: Recipe, shape: tuple[int, int]) -> Iterator[np.ndarray]:
    """Factors of the light that reaches each pixel, float32, of shapes that broadcast to (H, W)."""
    if recipe.shading > 0:
        light = smooth_noise(rng, shape, 0.8 * max(shape))
        yield 1 + recipe.shading * np.clip(light, -2, 2) * 0.5
    if recipe.seam > 0:
        # Two fields joined side by side, lit unlike.
        axis = int(rng.integers(2))
        along = np.indices(shape, sparse=True)[axis]
        yield 1 + np.float32(recipe.seam) * (along > rng.uniform(0.1, 0.9) * shape[axis])
    if recipe.vignetting > 0:
        yield _vignette(rng.spawn(1)[0], shape, recipe.vignetting)
    if recipe.falloff > 0:
        yield _falloff(rng.spawn(1)[0], shape, recipe.falloff)


def _vignette(rng: np.random.Generator, shape: tuple[int, int], loss: float) -> np.ndarray:
    """Share of the light that reaches each pixel, float32 (H, W): 1 near the centre, 1 - `loss` in the corners."""
    height, width = shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    centre_y, centre_x = rng.uniform(0.4, 0.6, 2) * (height, width)
    radius = np.hypot(y - np.float32(centre_y), x - np.float32(centre_x)) / np.float32(0.5 * np.hypot(height, width))
    return 1 - np.float32(loss) * np.minimum(radius, 1) ** np.float32(rng.uniform(1.5, 4))


def _falloff(rng: np.random.Generator, shape: tuple[int, int], loss: float) -> np.ndarray:
    """Share of the light that reaches each pixel, float32 (H, W): 1 at one edge, 1 - `loss` at the one across."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    across = (x * np.cos(angle) + y * np.sin(angle)).astype(np.float32)
    return 1 - np.float32(loss) * (across - across.min()) / np.float32(max(float(np.ptp(across)), 1.0))


def _moved(rng: np.random.Generator, image: np.ndarray, length: float) -> np.ndarray:
    """Smear an image, float32 (H, W, C), over `length` px in one direction."""
    angle, half = rng.uniform(0, np.pi), int(np.ceil(0.5 * length))
    arm = 0.5 * length * np.array([np.cos(angle), np.sin(angle)]) + half
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    ends = [tuple(int(v) for v in np.round(end * marks.ONE)) for end in (2 * half - arm, arm)]
    cv2.line(kernel, *ends, 1.0, 1, cv2.LINE_AA, marks.SHIFT)
    return cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT_101).reshape(image.shape)
