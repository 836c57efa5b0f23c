"""What a recipe leaves to be seen: the smallest step and the faintest line that its noise and texture do not hide.

Estimates made before anything is drawn, at the grains' mean level. What is seen in the end is measured on the recorded
micrograph, see `visibility`.
"""

import math

import numpy as np

from .instrument import expose
from .recipe import Recipe

# The least that can be seen, as a share of the standard deviation of noise and texture: a step between two areas is
# averaged by the eye over both, a thin line only along itself, and in grains under CLEAR_DIAMETER px there is less to
# average. Nothing below MIN_STEP of the recorded range can be seen.
STEP_TO_NOISE = 0.3
LINE_TO_NOISE = 0.7
CLEAR_DIAMETER = 30.0
MIN_STEP = 0.013
# Lines and steps that are drawn to be seen exceed what can be seen by this factor.
CLEARLY = 1.2


def step_floor(recipe: Recipe) -> float:
    """Smallest step between two grains that can be seen, in units of the recorded range."""
    few_pixels = max(1.0, CLEAR_DIAMETER / recipe.diameter)
    return max(MIN_STEP, STEP_TO_NOISE * few_pixels * _roughness(recipe))


def line_alone_is_seen(recipe: Recipe) -> bool:
    """Whether lines of the recipe's full depth show every boundary, whatever the grains' levels are."""
    return bool(abs(recipe.depth) > faintest_line(recipe))


def faintest_line(recipe: Recipe) -> float:
    """Painted depth, above 0, of a line that is clearly seen on a grain of the mean level."""
    return CLEARLY * _line_floor(recipe) / (sharpness(recipe) * slope(recipe))


def sharpness(recipe: Recipe) -> float:
    """Share of a line's depth that the optics and the specimen's movement leave, in 0..1."""
    # A line of the length of the movement has this standard deviation.
    blur = math.hypot(recipe.blur, recipe.motion / math.sqrt(12))
    return recipe.line_width / (recipe.line_width + blur)


def slope(recipe: Recipe) -> float:
    """Recorded change for one painted, at the grains' mean level."""
    return recipe.contrast * recipe.gamma * float(np.clip(recipe.level, 0.1, 1)) ** (recipe.gamma - 1)


def recorded(recipe: Recipe, painted: np.ndarray) -> np.ndarray:
    """Painted grey values in units of the recorded range, but for a constant, light, optics and noise.

    Args:
        recipe: How the micrograph looks.
        painted: float32 of any shape, about 0..1.

    Returns:
        Floats of that shape, of which differences alone say something.
    """
    return recipe.contrast * expose(recipe, painted)


def mottling_strength(recipe: Recipe) -> float:
    """Standard deviation of the slow changes inside a typical grain, in painted grey values."""
    return recipe.mottling * (0.5 * abs(recipe.depth) + recipe.step)


def _line_floor(recipe: Recipe) -> float:
    """Faintest line that can be seen, in units of the recorded range."""
    few_pixels = max(1.0, CLEAR_DIAMETER / recipe.diameter) ** 0.5
    return max(1.5 * MIN_STEP, LINE_TO_NOISE * few_pixels * _roughness(recipe))


def _roughness(recipe: Recipe) -> float:
    """Standard deviation of what hides a boundary, in units of the recorded range."""
    painted = recipe.texture + 0.5 * recipe.lamellae + recipe.polish + 0.5 * mottling_strength(recipe)
    return recipe.noise * recipe.noise_cell + 0.5 * recipe.scan_lines + painted * slope(recipe)
