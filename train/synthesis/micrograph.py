"""One synthetic micrograph from one seed: a polycrystal, a way of making grains visible, and artefacts."""

from dataclasses import dataclass

import numpy as np

from grain_model.label_image import has_other_label

from .instrument import record
from .painting import paint
from .polycrystal import polycrystal
from .recipe import FAMILIES, Recipe
from .visibility import visible_grains


@dataclass(frozen=True)
class SyntheticMicrograph:
    """A drawn micrograph and the truth about it.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        labels: int32 (H, W), grains 1..n without gaps, 0 = dark gap.
        parameters: Every random choice that a reader may want to group by, JSON-serialisable.
    """

    image: np.ndarray
    labels: np.ndarray
    parameters: dict[str, float | int | str | bool]

    @property
    def boundary(self) -> np.ndarray:
        """Bool (H, W): pixels whose 3x3 neighbourhood holds more than one label."""
        return has_other_label(self.labels, np.ones((3, 3), np.uint8))


def synthesize_micrograph(
    seed: int,
    size: int | tuple[int, int] = 256,
    *,
    family: str | None = None,
    diameter: tuple[float, float] = (12.0, 120.0),
) -> SyntheticMicrograph:
    """Draw one micrograph; the same arguments give the same pixels on the same machine with as many threads.

    Args:
        seed: Seed of every random choice.
        size: Side or (height, width) in px.
        family: A name in `FAMILIES`; drawn at random if left out.
        diameter: Range of the mean grain diameter in px, drawn log-uniformly.

    Returns:
        The image, its labels and its parameters.

    Raises:
        ValueError: If the family is unknown.
    """
    if family is not None and family not in FAMILIES:
        raise ValueError(f"Unknown family {family!r}: expected one of {sorted(FAMILIES)}. Pick one, or leave it out.")
    rng = np.random.default_rng(seed)
    shape = (size, size) if isinstance(size, int) else size
    drawn = str(rng.choice(list(FAMILIES), p=list(FAMILIES.values())))
    recipe = Recipe(rng, family or drawn, diameter)
    crystal = polycrystal(
        rng,
        shape,
        recipe.diameter,
        spread=recipe.spread,
        bimodal=recipe.bimodal,
        elongation=recipe.elongation,
        angle=rng.uniform(0, np.pi),
        gradient=recipe.gradient,
        waviness=recipe.waviness,
        relaxations=int(rng.integers(0, 3)),
    )
    painted = paint(rng, recipe, crystal)
    image, light = record(rng, recipe, painted.grey, painted.chroma)
    labels = visible_grains(image, crystal, painted, recipe.diameter, light)
    parameters = {"seed": seed, "grains": int(labels.max()), **recipe.as_dict()}
    return SyntheticMicrograph(image, labels, parameters)
