"""One synthetic micrograph from one seed: a polycrystal, a way of making grains visible, and artefacts."""

from dataclasses import dataclass

import cv2
import numpy as np
from skimage.measure import label as connected_components
from skimage.morphology import remove_small_objects
from skimage.segmentation import relabel_sequential

from . import marks
from .fields import directional_noise, pair_hash, smooth_noise, smoothstep
from .polycrystal import Polycrystal, polycrystal

# Families of appearance and how often each is drawn. They set the ranges of the parameters; every parameter still
# varies freely within them, and "mixed" ignores the families altogether.
FAMILIES = {
    "etched": 0.22,  # dark lines on bright metal: nital on ferrite, oxalic on austenite
    "gaps": 0.15,  # sintered or binder-jet metal: dark gaps and pockets between rounded grains
    "bse": 0.17,  # grey steps between orientations, little or no line
    "tinted": 0.11,  # colour etching and polarised light
    "grooved": 0.12,  # thermally etched ceramics in the SEM: grooves with bright rims, relief
    "decorated": 0.12,  # particles on bright or dark, broken boundaries
    "mixed": 0.11,
}
# What can be seen, as a share of the standard deviation of noise and texture: a step between two areas is averaged
# by the eye over both, a thin line only along itself. Nothing below MIN_STEP of the full range is asked for.
STEP_TO_NOISE = 0.3
LINE_TO_NOISE = 0.7
MIN_STEP = 0.013
# Neighbours are one grain in the labels where less than this share of their common boundary can be seen.
MIN_VISIBLE_SHARE = 0.3
# Pieces between gaps that are smaller than this share of a mean grain are no grains.
SPLINTER_SHARE = 0.04


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
        """bool (H, W): pixels whose 3x3 neighbourhood holds more than one label."""
        values = self.labels.astype(np.float32)
        kernel = np.ones((3, 3), np.uint8)
        return cv2.dilate(values, kernel) != cv2.erode(values, kernel)


def synthesize_micrograph(
    seed: int,
    size: int | tuple[int, int] = 256,
    *,
    family: str | None = None,
    diameter: tuple[float, float] = (12.0, 120.0),
) -> SyntheticMicrograph:
    """Draw one micrograph; the same arguments always give the same pixels.

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
    recipe = _Recipe(rng, family or drawn, diameter)
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
    grey, chroma, labels = _Painter(rng, recipe, crystal).paint()
    image = _record(rng, recipe, grey, chroma)
    parameters = {"seed": seed, "grains": int(labels.max()), **recipe.as_dict()}
    return SyntheticMicrograph(image, labels, parameters)


class _Recipe:
    """The random choices that set how a micrograph looks; attributes are plain numbers."""

    def __init__(self, rng: np.random.Generator, family: str, diameter: tuple[float, float]) -> None:
        self.family = family
        mixed = family == "mixed"

        def chance(p: float, mixed_p: float = 0.4) -> bool:
            return bool(rng.random() < (mixed_p if mixed else p))

        def between(low: float, high: float) -> float:
            return float(rng.uniform(low, high))

        self.diameter = float(np.exp(rng.uniform(*np.log(diameter))))
        self.spread = between(0.1, 0.5)
        self.bimodal = between(0.2, 0.6) if chance(0.12, 0.15) else 0.0
        self.elongation = between(1.2, 2.8) if chance(0.2, 0.25) else 1.0
        self.gradient = between(0.3, 1.0) if chance(0.12, 0.15) else 0.0
        self.waviness = between(0.0, 0.32) if chance(0.75, 0.75) else 0.0
        twin_chance = {"etched": 0.6, "bse": 0.4, "tinted": 0.35, "gaps": 0.2}.get(family, 0.1)
        self.twins = between(0.1, 0.7) if chance(twin_chance) else 0.0
        self.twin_texture = between(0.02, 0.2) if rng.random() < 0.4 else 0.0
        if self.twins > 0:
            # What tells a twin from a boundary is that it alone is straight.
            self.waviness = max(self.waviness, between(0.08, 0.3))

        # Brightness of the grains and its change from grain to grain (all in units of the full range 0..1).
        self.level = {"etched": between(0.6, 0.95), "gaps": between(0.45, 0.8)}.get(family, between(0.25, 0.8))
        steps = {
            "etched": between(0.0, 0.05) if chance(0.6) else between(0.02, 0.16),
            "gaps": between(0.0, 0.08),
            "bse": between(0.03, 0.22),
            "tinted": between(0.04, 0.2),
            "grooved": between(0.0, 0.08),
            "decorated": between(0.0, 0.09),
            "mixed": between(0.0, 0.2),
        }
        self.step = steps[family]
        self.chroma = between(0.05, 0.3) if family == "tinted" or (mixed and rng.random() < 0.3) else 0.0
        # Lines along the boundaries: depth (negative = bright), width in px, share that is missing, spread by edge.
        depth = {
            "etched": between(0.2, 0.8),
            "gaps": between(0.15, 0.6),
            "bse": between(0.0, 0.15) if chance(0.3) else 0.0,
            "tinted": between(0.03, 0.3) if chance(0.5) else 0.0,
            "grooved": between(0.08, 0.5),
            "decorated": between(0.05, 0.4),
            "mixed": between(0.0, 0.6),
        }[family]
        bright = {"decorated": 0.7, "bse": 0.4, "mixed": 0.35, "grooved": 0.2, "tinted": 0.15}.get(family, 0.0)
        self.depth = -depth if rng.random() < bright else depth
        self.line_width = float(np.exp(rng.uniform(np.log(0.6), np.log(3.2)))) * (0.8 + self.diameter / 150)
        self.line_width = min(self.line_width, 0.09 * self.diameter + 0.4)
        self.missing = between(0.05, 0.55 if family == "decorated" else 0.45) if chance(0.55 if family != "decorated" else 0.9) else 0.0
        self.edge_spread = between(0.0, 0.7)
        self.double_line = chance(0.25 if family == "grooved" else 0.06, 0.15)
        self.relief = between(0.1, 0.5) if chance(0.6 if family == "grooved" else 0.12, 0.3) else 0.0
        # Dark gaps between grains.
        gap = family == "gaps" or (mixed and rng.random() < 0.25)
        self.gap = between(0.001, 0.055) if gap else 0.0
        self.gap_level = between(0.0, 0.2)
        self.pockets = between(0.02, 0.3) if gap and rng.random() < 0.7 else 0.0
        # Inside of the grains.
        self.texture = between(0.01, 0.09) if chance(0.7, 0.6) else 0.005
        self.texture_cell = float(np.exp(rng.uniform(np.log(1.0), np.log(6.0))))
        self.lamellae = between(0.02, 0.14) if chance(0.15, 0.2) else 0.0
        self.substructure = between(0.1, 0.35) if chance(0.12 if family in ("etched", "bse") else 0.05, 0.15) else 0.0
        self.polish = between(0.005, 0.05) if chance(0.3) else 0.0
        self.second_phase = between(0.05, 0.3) if chance(0.1, 0.12) else 0.0
        # Things that lie on the surface.
        self.scratches = int(rng.integers(1, 40)) if chance(0.75 if family == "gaps" else 0.3) else 0
        self.bundle = bool(rng.random() < 0.65)
        self.dotted = bool(rng.random() < (0.5 if family == "gaps" else 0.15))
        self.pits = int(np.exp(rng.uniform(0, np.log(250)))) if chance(0.7, 0.6) else 0
        self.pit_radius = between(0.5, 1.6)
        self.dashes = int(np.exp(rng.uniform(np.log(3), np.log(120)))) if chance(0.25, 0.25) else 0
        self.particles = between(0.15, 2.5) if family == "decorated" or chance(0.08, 0.2) else 0.0
        self.particle_radius = min(between(0.03, 0.2) * self.diameter + 0.6, 16.0)
        self.particles_on_boundary = between(0.4, 1.0)
        self.stains = between(0.02, 0.2) if chance(0.15) else 0.0
        self.gleam = chance(0.3)
        # The instrument.
        self.shading = between(0.02, 0.3) if chance(0.5) else 0.0
        self.blur = between(0.35, 0.9) if chance(0.75) else between(0.9, 1.9)
        self.noise = float(np.exp(rng.uniform(np.log(0.004), np.log(0.09))))
        self.noise_cell = 1.0 if chance(0.7, 0.7) else between(1.0, 2.2)
        self.invert = chance(0.08, 0.5)
        self.gamma = float(np.exp(0.3 * rng.standard_normal()))
        self.contrast = between(0.35, 1.0) if chance(0.4) else 1.0
        self.colour = chance(0.55 if family == "gaps" else 0.25) or self.chroma > 0
        self.jpeg = int(rng.integers(35, 96)) if chance(0.4) else 0
        self.overlay = chance(0.05, 0.05)

    def as_dict(self) -> dict[str, float | int | str | bool]:
        return {k: round(v, 4) if isinstance(v, float) else v for k, v in vars(self).items()}


class _Painter:
    """Turns a polycrystal into grey values, colour offsets and the labels of what can be seen."""

    def __init__(self, rng: np.random.Generator, recipe: _Recipe, crystal: Polycrystal) -> None:
        self.rng, self.recipe, self.crystal = rng, recipe, crystal
        self.shape = crystal.labels.shape
        self.y, self.x = np.mgrid[: self.shape[0], : self.shape[1]].astype(np.float32)

    def paint(self) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
        recipe, crystal = self.recipe, self.crystal
        # Share of a pixel that its own grain covers: blends the two sides below the pixel.
        self.own = np.clip(0.5 + crystal.distance, 0, 1)
        self.levels = self._grain_levels()
        grey = self._blend(self.levels)
        chroma = self._grain_colours()
        grey += self._interior_texture()
        if recipe.twins > 0:
            grey += self._twins()
        line = self._line_strength()
        visible = self._visible(line)
        grey += self._draw_lines(line)
        if recipe.substructure > 0:
            grey += self._substructure()
        in_gap = None
        if recipe.gap > 0:
            in_gap = self._gap_mask()
        grey = self._surface_marks(grey)
        if in_gap is not None:
            grey = self._fill_gaps(grey, in_gap)
        return grey, chroma, self._labels(visible, in_gap)

    def _blend(self, values: np.ndarray) -> np.ndarray:
        return self.own * values[self.crystal.labels] + (1 - self.own) * values[self.crystal.neighbours]

    def _grain_levels(self) -> np.ndarray:
        rng, recipe, n = self.rng, self.recipe, self.crystal.n_seeds
        levels = rng.standard_normal(n) if rng.random() < 0.6 else rng.uniform(-1.7, 1.7, n)
        levels = recipe.level + recipe.step * levels
        if recipe.second_phase > 0:
            other = rng.random(n) < recipe.second_phase
            levels = np.where(other, levels + rng.choice([-1, 1]) * rng.uniform(0.1, 0.4), levels)
            self.second_phase = other
        return levels.astype(np.float32)

    def _grain_colours(self) -> np.ndarray | None:
        if self.recipe.chroma == 0:
            return None
        offsets = self.recipe.chroma * self.rng.standard_normal((self.crystal.n_seeds, 3)).astype(np.float32)
        offsets -= offsets.mean(axis=1, keepdims=True)
        # Tint etchants give two or three hues, not the whole wheel.
        if self.rng.random() < 0.6:
            axes = self.rng.standard_normal((1, 3)).astype(np.float32)
            weight = self.rng.standard_normal((self.crystal.n_seeds, 1)).astype(np.float32)
            offsets = 0.3 * offsets + self.recipe.chroma * weight * (axes - axes.mean())
        self.chroma_offsets = offsets
        own = self.own[..., None]
        return own * offsets[self.crystal.labels] + (1 - own) * offsets[self.crystal.neighbours]

    def _interior_texture(self) -> np.ndarray:
        rng, recipe, labels = self.rng, self.recipe, self.crystal.labels
        texture = smooth_noise(rng, self.shape, recipe.texture_cell)
        if rng.random() < 0.5:
            texture = np.minimum(texture, 0.3)  # specks of one sign only, as etch pits give
        amplitude = recipe.texture * np.exp(0.6 * rng.standard_normal(self.crystal.n_seeds)).astype(np.float32)
        if recipe.second_phase > 0:
            amplitude = np.where(self.second_phase, amplitude + np.float32(0.08), amplitude)
        grey = texture * amplitude[labels]
        if recipe.lamellae > 0 or recipe.second_phase > 0:
            share = rng.uniform(0.1, 1.0)
            chosen = rng.random(self.crystal.n_seeds) < share
            strength = np.where(chosen, recipe.lamellae, 0.0)
            if recipe.second_phase > 0:
                strength = np.where(self.second_phase, rng.uniform(0.03, 0.15), strength)
            grey += strength.astype(np.float32)[labels] * self._stripes(rng.uniform(2.5, 9.0))
        if recipe.polish > 0:
            grey += recipe.polish * directional_noise(rng, self.shape, rng.uniform(0, np.pi), rng.uniform(8, 40))
        return grey

    def _stripes(self, period: float) -> np.ndarray:
        """Parallel stripes whose direction and period belong to the grain."""
        n, labels = self.crystal.n_seeds, self.crystal.labels
        angle = self.rng.uniform(0, np.pi, n)
        frequency = 2 * np.pi / (period * np.exp(0.25 * self.rng.standard_normal(n)))
        fx = (np.cos(angle) * frequency).astype(np.float32)[labels]
        fy = (np.sin(angle) * frequency).astype(np.float32)[labels]
        wobble = 0.8 * smooth_noise(self.rng, self.shape, 12)
        return np.sin(self.x * fx + self.y * fy + wobble)

    def _twins(self) -> np.ndarray:
        """Straight parallel bands and single straight lines inside some grains; they belong to their grain."""
        rng, recipe, n = self.rng, self.recipe, self.crystal.n_seeds
        labels = self.crystal.labels
        angle = rng.uniform(0, np.pi, n)
        nx, ny = np.cos(angle).astype(np.float32)[labels], np.sin(angle).astype(np.float32)[labels]
        # Distance along the normal from the grain's centre, so that the bands lie inside the grain.
        count = np.maximum(np.bincount(labels.ravel(), minlength=n), 1)
        cx = (np.bincount(labels.ravel(), self.x.ravel(), n) / count).astype(np.float32)[labels]
        cy = (np.bincount(labels.ravel(), self.y.ravel(), n) / count).astype(np.float32)[labels]
        along = (self.x - cx) * nx + (self.y - cy) * ny
        grey = np.zeros(self.shape, np.float32)
        chosen = rng.random(n) < recipe.twins
        edge_depth = (recipe.depth if recipe.depth != 0 else 0.5 * recipe.step) * rng.uniform(0.15, 1.0)
        edge_width = max(recipe.line_width * rng.uniform(0.3, 0.9), 0.5)
        for _ in range(int(rng.integers(1, 4))):
            offset = (rng.uniform(-0.38, 0.38, n) * recipe.diameter).astype(np.float32)
            half_width = rng.uniform(0.01, 0.14, n) * recipe.diameter + 0.5
            half_width = np.where(rng.random(n) < 0.3, 0.0, half_width)
            half_width = np.where(rng.random(n) < 0.15, half_width * 3, half_width).astype(np.float32)
            side = np.abs(along - offset[labels]) - half_width[labels]
            # A step that a viewer takes for a twin, not for another grain: both sides of the band look alike.
            step = recipe.step * rng.uniform(0.0, 1.2, n) * rng.choice([-1, 1], n) * (half_width > 0)
            inside = np.clip(0.5 - side, 0, 1)
            grey += inside * (chosen * step).astype(np.float32)[labels]
            if recipe.twin_texture > 0:
                rough = chosen * recipe.twin_texture * (rng.random(n) < 0.5)
                grey -= inside * rough.astype(np.float32)[labels] * np.abs(smooth_noise(rng, self.shape, 1.5))
            strength = edge_depth * rng.uniform(0.5, 1.0, n) * chosen
            grey -= np.exp(-((side / edge_width) ** 2)) * strength.astype(np.float32)[labels]
            chosen = chosen & (rng.random(n) < 0.6)
        return grey

    def _line_strength(self) -> np.ndarray:
        """Strength of the boundary line, signed like `depth`, at every pixel near it."""
        rng, recipe, crystal = self.rng, self.recipe, self.crystal
        if recipe.depth == 0:
            return np.zeros(self.shape, np.float32)
        draw = pair_hash(crystal.labels, crystal.neighbours, int(rng.integers(2**31)))
        strength = recipe.depth * (1 - recipe.edge_spread * draw)
        if recipe.missing > 0:
            cell = max(recipe.diameter * rng.uniform(0.12, 0.8), 3.0)
            field = smooth_noise(rng, self.shape, cell)
            level = float(np.quantile(field[::4, ::4], recipe.missing))
            strength *= smoothstep(field, level - 0.15, level + 0.25)
        return strength * (1 + 0.2 * smooth_noise(rng, self.shape, 6.0))

    def _visible(self, line: np.ndarray) -> np.ndarray:
        """Whether a boundary at this pixel could be seen: by its line, or by the step in grey or colour."""
        recipe, crystal = self.recipe, self.crystal
        noise = recipe.noise / recipe.contrast + recipe.texture
        floor = MIN_STEP / recipe.contrast
        step = np.abs(self.levels[crystal.labels] - self.levels[crystal.neighbours])
        if recipe.chroma > 0:
            difference = self.chroma_offsets[crystal.labels] - self.chroma_offsets[crystal.neighbours]
            step = step + 0.6 * np.abs(difference).max(axis=-1)
        blurred_line = np.abs(line) * min(recipe.line_width / (recipe.line_width + recipe.blur), 1.0)
        return (step > max(floor, STEP_TO_NOISE * noise)) | (blurred_line > max(1.5 * floor, LINE_TO_NOISE * noise))

    def _draw_lines(self, line: np.ndarray) -> np.ndarray:
        rng, recipe, distance = self.rng, self.recipe, self.crystal.distance
        width = recipe.line_width * (1 + 0.25 * smooth_noise(rng, self.shape, max(recipe.diameter / 3, 4)))
        width = np.maximum(width, 0.4)
        scaled = distance / width
        if rng.random() < 0.5:
            profile = np.exp(-(scaled**2))
        else:
            profile = np.clip(1.5 - scaled * 1.2, 0, 1)
        grey = -line * profile
        if recipe.double_line:
            rim = np.exp(-((scaled - rng.uniform(1.3, 2.2)) ** 2) * 2)
            grey += line * rim * np.float32(rng.uniform(0.3, 1.0))
        if recipe.relief > 0:
            # Light from one side: the slope into the groove is bright on one flank and dark on the other.
            depth = np.minimum(distance, 3 * recipe.line_width + 1)
            angle = rng.uniform(0, 2 * np.pi)
            gx = cv2.Sobel(depth, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8)
            gy = cv2.Sobel(depth, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8)
            falloff = np.exp(-scaled / rng.uniform(1.0, 3.0))
            grey += np.float32(recipe.relief) * falloff * (gx * np.cos(angle) + gy * np.sin(angle)).astype(np.float32)
        return grey

    def _substructure(self) -> np.ndarray:
        """A faint net of sub-grain boundaries in parts of the field: a distractor, not grains."""
        rng, recipe = self.rng, self.recipe
        sub = polycrystal(rng, self.shape, max(recipe.diameter * rng.uniform(0.25, 0.5), 10.0), relaxations=0)
        strength = recipe.substructure * (abs(recipe.depth) + 0.5 * recipe.step) * 0.6
        part = smoothstep(smooth_noise(rng, self.shape, recipe.diameter), -0.3, 0.8)
        return -np.float32(strength) * part * np.exp(-((sub.distance / (0.6 * recipe.line_width + 0.3)) ** 2))

    def _gap_mask(self) -> np.ndarray:
        """Float (H, W) in [0, 1]: dark gaps, wider at the junctions, which also rounds the grains' corners."""
        rng, recipe = self.rng, self.recipe
        sigma = max(0.07 * recipe.diameter, 1.0)
        rounded = cv2.GaussianBlur(np.minimum(self.crystal.distance, 6 * sigma), (0, 0), sigma)
        mean = recipe.gap * recipe.diameter + rng.uniform(0.45, 0.8) * sigma
        field = smooth_noise(rng, self.shape, max(0.9 * recipe.diameter, 6))
        field += 0.5 * smooth_noise(rng, self.shape, max(0.3 * recipe.diameter, 4))
        threshold = mean * (1 + 0.4 * field) + 0.35 * smooth_noise(rng, self.shape, 3)
        self.gap_depth = threshold - rounded
        self.pocket = np.zeros(self.shape, np.float32)
        if recipe.pockets > 0:
            self._open_pockets()
        return np.clip(self.gap_depth + 0.5, 0, 1)

    def _open_pockets(self) -> None:
        """Widen the gaps at some places and lay a smooth polygon into each: the floor of a pore, not a grain."""
        rng, recipe = self.rng, self.recipe
        grains = self.shape[0] * self.shape[1] / (np.pi / 4 * recipe.diameter**2)
        count = int(np.clip(recipe.pockets * grains, 1, 60))
        y, x = np.nonzero(self.gap_depth > 0.7 * self.gap_depth.max())
        if len(x) == 0:
            return
        pick = rng.integers(len(x), size=count)
        centres = np.stack([x[pick], y[pick]], axis=1)
        radius = max(rng.uniform(0.08, 0.2) * recipe.diameter, 2.6)
        self.pocket = marks.particles(rng, centres, self.shape, radius, 0.3, 2.0)
        margin = rng.uniform(1.0, 0.06 * recipe.diameter + 2.0)
        outside = cv2.distanceTransform((self.pocket < 0.5).astype(np.uint8), cv2.DIST_L2, 3)
        self.gap_depth = np.maximum(self.gap_depth, margin - outside)

    def _fill_gaps(self, grey: np.ndarray, in_gap: np.ndarray) -> np.ndarray:
        rng, recipe = self.rng, self.recipe
        rim = np.exp(-np.maximum(-self.gap_depth, 0) / rng.uniform(0.8, 3.0))
        grey = grey + np.float32(rng.uniform(-0.2, 0.12)) * rim
        fill = recipe.gap_level + 0.06 * smooth_noise(rng, self.shape, rng.uniform(1.2, 4.0))
        if rng.random() < 0.6:
            # Deep pockets that shine: resin or the polished bottom of a pore, not a grain.
            deep = smoothstep(self.gap_depth, 0.05 * recipe.diameter, 0.05 * recipe.diameter + 1.5)
            some = smoothstep(smooth_noise(rng, self.shape, max(0.8 * recipe.diameter, 4)), 0.0, 0.3)
            fill = fill + deep * some * np.float32(rng.uniform(0.1, 0.55))
        if recipe.pockets > 0:
            floor = np.float32(rng.uniform(0.25, 0.95)) * recipe.level + 0.02 * smooth_noise(rng, self.shape, 3.0)
            fill = fill * (1 - self.pocket) + floor * self.pocket
        return grey * (1 - in_gap) + fill * in_gap

    def _surface_marks(self, grey: np.ndarray) -> np.ndarray:
        rng, recipe, shape = self.rng, self.recipe, self.shape
        if recipe.stains > 0:
            grey = grey - np.float32(rng.uniform(-0.1, 0.3)) * marks.stains(
                rng, shape, rng.uniform(0.3, 2.0) * recipe.diameter + 6, recipe.stains
            )
        if recipe.scratches > 0:
            drawn = marks.scratches(rng, shape, recipe.scratches, recipe.bundle, recipe.dotted)
            grey = grey - np.float32(rng.choice([-1, 1], p=[0.25, 0.75]) * rng.uniform(0.04, 0.4)) * drawn
        if recipe.pits > 0:
            drawn = marks.pits(rng, shape, recipe.pits, recipe.pit_radius * (0.6 + recipe.diameter / 60))
            grey = grey - np.float32(rng.choice([-1, 1], p=[0.15, 0.85]) * rng.uniform(0.15, 0.7)) * drawn
        if recipe.dashes > 0:
            drawn = marks.dashes(rng, shape, recipe.dashes, 0.03 * recipe.diameter + 0.7)
            grey = grey - np.float32(rng.choice([-1, 1], p=[0.15, 0.85]) * rng.uniform(0.1, 0.6)) * drawn
        if recipe.particles > 0:
            grey = self._particles(grey)
        return grey

    def _particles(self, grey: np.ndarray) -> np.ndarray:
        rng, recipe, shape = self.rng, self.recipe, self.shape
        grains = shape[0] * shape[1] / (np.pi / 4 * recipe.diameter**2)
        count = int(np.clip(recipe.particles * grains * rng.uniform(0.5, 2), 3, 400))
        near_y, near_x = np.nonzero(self.crystal.distance < 1.0)
        on_boundary = rng.random(count) < recipe.particles_on_boundary
        pick = rng.integers(0, max(len(near_x), 1), count)
        free = rng.random((count, 2)) * shape[::-1]
        centres = free if len(near_x) == 0 else np.where(
            on_boundary[:, None], np.stack([near_x[pick], near_y[pick]], axis=1), free
        )
        drawn = marks.particles(rng, centres, shape, recipe.particle_radius, 0.5, rng.uniform(1.2, 4.0))
        # Particles on bright boundaries are bright as a rule, which is what makes the line hard to follow.
        sign = np.sign(-recipe.depth) if rng.random() < 0.75 and recipe.depth != 0 else rng.choice([-1, 1])
        value = np.clip(recipe.level + sign * rng.uniform(0.12, 0.5), 0, 1)
        fill = value + 0.03 * smooth_noise(rng, shape, 3)
        if rng.random() < 0.3:
            halo = cv2.GaussianBlur(drawn, (0, 0), 1.0 + 0.3 * recipe.particle_radius)
            grey = grey - np.float32(sign * rng.uniform(0.03, 0.2)) * halo
        return grey * (1 - drawn) + fill * drawn

    def _labels(self, visible: np.ndarray, in_gap: np.ndarray | None) -> np.ndarray:
        """Join grains whose common boundary cannot be seen, cut out the gaps, and number what is left."""
        crystal = self.crystal
        labels = crystal.labels
        near = crystal.distance < 1.0
        if in_gap is not None:
            visible = visible | (in_gap > 0.5)
        first = np.minimum(labels[near], crystal.neighbours[near])
        second = np.maximum(labels[near], crystal.neighbours[near])
        pairs, index = np.unique(first.astype(np.int64) * crystal.n_seeds + second, return_inverse=True)
        share = np.bincount(index, visible[near], len(pairs)) / np.bincount(index, minlength=len(pairs))
        parent = np.arange(crystal.n_seeds)
        for pair in pairs[share < MIN_VISIBLE_SHARE]:
            a, b = _root(parent, int(pair // crystal.n_seeds)), _root(parent, int(pair % crystal.n_seeds))
            parent[max(a, b)] = min(a, b)
        joined = np.array([_root(parent, i) for i in range(crystal.n_seeds)], np.int32)
        result = joined[labels] + 1
        if in_gap is not None:
            result[in_gap > 0.5] = 0
        # A wavy boundary or a gap may cut one seed's cell in two: each piece is a grain of its own.
        pieces = connected_components(result, background=0, connectivity=1)
        if in_gap is not None:
            # What a gap leaves of a cell may be a splinter that nobody would call a grain.
            smallest = SPLINTER_SHARE * np.pi / 4 * self.recipe.diameter**2
            pieces = remove_small_objects(pieces, max_size=smallest)
            pieces, _, _ = relabel_sequential(pieces)
        return pieces.astype(np.int32)


def _root(parent: np.ndarray, i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = int(parent[i])
    return i


def _record(rng: np.random.Generator, recipe: _Recipe, grey: np.ndarray, chroma: np.ndarray | None) -> np.ndarray:
    """The instrument: light, optics, detector and file."""
    shape = grey.shape
    if recipe.shading > 0:
        light = smooth_noise(rng, shape, 0.8 * max(shape))
        grey = grey * (1 + recipe.shading * np.clip(light, -2, 2) * 0.5)
    if recipe.gleam:
        grey = grey + 0.03 * smooth_noise(rng, shape, max(shape) / 6)
    if chroma is not None:
        image = grey[..., None] + chroma
    elif recipe.colour:
        tint = 1 + rng.uniform(0.02, 0.3) * rng.standard_normal(3).astype(np.float32) * (0.6, 0.3, 0.9)
        image = grey[..., None] * np.clip(tint, 0.5, 1.4).astype(np.float32)
        image += np.float32(0.03) * rng.standard_normal(3).astype(np.float32)
    else:
        image = grey[..., None]
    image = cv2.GaussianBlur(image, (0, 0), recipe.blur)
    image = image.reshape(*shape, -1)
    image = np.clip(image, 0, 1) ** np.float32(recipe.gamma)
    pivot = np.float32(rng.uniform(0, 1))
    image = pivot + (image - pivot) * np.float32(recipe.contrast)
    if recipe.invert:
        image = 1 - image
    noise = smooth_noise(rng, shape, recipe.noise_cell)[..., None]
    if rng.random() < 0.4:
        noise = noise * np.sqrt(np.clip(image, 0.02, 1))  # shot noise grows with the signal
    image = image + np.float32(recipe.noise) * noise
    image = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
    if image.shape[2] == 1:
        image = np.repeat(image, 3, axis=2)
    if recipe.overlay:
        marks.overlay_marks(rng, image)
    if recipe.jpeg:
        _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, recipe.jpeg])
        image = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    return np.ascontiguousarray(image)
