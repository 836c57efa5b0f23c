"""Makes the grains of a polycrystal visible."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from . import marks
from .detection_limit import (
    CLEARLY,
    faintest_line,
    line_alone_is_seen,
    mottling_strength,
    recorded,
    sharpness,
    slope,
    step_floor,
)
from .fields import directional_noise, leave_out, pair_hash, smooth_noise, smoothstep
from .polycrystal import Polycrystal, polycrystal
from .recipe import Recipe

# What covers less of a pixel is no mark that an eye would see.
FAINTEST_MARK = 0.1


@dataclass(frozen=True)
class Painted:
    """A polycrystal as it lies under the microscope, before light, optics and camera.

    Attributes:
        grey: Grey values, float32 (H, W), about 0..1.
        chroma: Colour offsets, float32 (H, W, 3), or None where there is no colour.
        step: Change of grey and colour across the nearest boundary, float32 (H, W), as it will be recorded: in units
            of the recorded range, but for noise and light.
        line: Depth or height of what is drawn along the nearest boundary, float32 (H, W), in the same units.
        gap: Share of the pixel where no grain is seen, float32 (H, W) in 0..1, or None.
        marked: Whether something on the grains, such as a particle, a pore or a scratch, changes what is recorded here,
            bool (H, W).
    """

    grey: np.ndarray
    chroma: np.ndarray | None
    step: np.ndarray
    line: np.ndarray
    gap: np.ndarray | None
    marked: np.ndarray


def paint(rng: np.random.Generator, recipe: Recipe, crystal: Polycrystal) -> Painted:
    """Draw a polycrystal.

    Args:
        rng: Source of randomness.
        recipe: How the micrograph looks.
        crystal: The grains.
    """
    return _Painter(rng, recipe, crystal).paint()


@dataclass(frozen=True)
class _Gaps:
    """Gaps between the grains.

    Attributes:
        depth: How far a pixel lies inside of a gap in px, negative outside, float32 (H, W).
        pocket: Share of a pixel that the smooth floor of a pore covers, float32 (H, W).
    """

    depth: np.ndarray
    pocket: np.ndarray

    @cached_property
    def cover(self) -> np.ndarray:
        """Share of a pixel that lies in a gap, float32 (H, W)."""
        return np.clip(self.depth + 0.5, 0, 1)


class _Painter:
    """Turns a polycrystal into grey values and colour offsets."""

    def __init__(self, rng: np.random.Generator, recipe: Recipe, crystal: Polycrystal) -> None:
        self.rng, self.recipe, self.crystal = rng, recipe, crystal
        self.shape = crystal.labels.shape
        self.y, self.x = np.mgrid[: self.shape[0], : self.shape[1]].astype(np.float32)
        # Share of a pixel that its own grain covers: blends the two sides below the pixel.
        self.own = np.clip(0.5 + crystal.distance, 0, 1)
        # Share of a pixel that marks on the surface cover.
        self.marks = np.zeros(self.shape, np.float32)
        # What belongs to each grain, in this order: a seed stands for the picture that it gives.
        self.levels, self.second_phase = self._grain_levels()
        self.facets = self._grain_facets()
        self.colours = self._grain_colours()
        if recipe.step > 0 and not line_alone_is_seen(recipe):
            self._tell_neighbours_apart()

    def paint(self) -> Painted:
        """See `paint`."""
        recipe, crystal = self.recipe, self.crystal
        chroma = self._chroma()
        texture, tone = self._interior_texture()
        self.levels += tone
        own_level, beyond = self._surface(crystal.labels), self._surface(crystal.neighbours)
        grey = self.own * own_level + (1 - self.own) * beyond
        grey += texture
        if recipe.twins > 0:
            grey += self._twins()
        lines = self._draw_lines(self._line_strength())
        step = self._steps(crystal.labels, crystal.neighbours, own_level, beyond)
        line = self._depths(own_level, lines)
        grey += lines
        if recipe.substructure > 0:
            grey += self._substructure()
        gaps = self._draw_gaps() if recipe.gap > 0 else None
        grey = self._surface_marks(grey)
        if recipe.deep_scratches > 0:
            drawn, level = self._deep_scratches()
            self._mark(drawn)
            grey = grey * (1 - drawn) + level * drawn
            chroma = None if chroma is None else chroma * (1 - drawn[..., None])
        if gaps is not None:
            grey = self._fill_gaps(grey, gaps)
        in_gap = None if gaps is None else gaps.cover
        for cover, fill in self._covers():
            grey = grey * (1 - cover) + fill * cover
            in_gap = cover if in_gap is None else np.maximum(in_gap, cover)
        if chroma is not None and in_gap is not None:
            chroma *= 1 - in_gap[..., None]
        return Painted(grey, chroma, step, line, in_gap, self._marked())

    @property
    def _expected_grains(self) -> float:
        """Number of discs of the mean diameter that have the field's area."""
        return self.shape[0] * self.shape[1] / (np.pi / 4 * self.recipe.diameter**2)

    def _mark(self, drawn: np.ndarray) -> None:
        """Remember where a mark was drawn, float32 (H, W) in [0, 1]."""
        np.maximum(self.marks, drawn, out=self.marks)

    def _marked(self) -> np.ndarray:
        """See `Painted.marked`: marks with the rim that optics and movement give them."""
        reach = math.ceil(self.recipe.blur + 0.5 * self.recipe.motion)
        around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
        return cv2.dilate((self.marks > FAINTEST_MARK).astype(np.uint8), around) > 0

    def _grain_levels(self) -> tuple[np.ndarray, np.ndarray]:
        """Brightness of the grains, float32 (n_seeds,), and which are of the second phase, bool (n_seeds,)."""
        rng, recipe, n = self.rng, self.recipe, self.crystal.n_seeds
        levels = rng.standard_normal(n) if rng.random() < 0.6 else rng.uniform(-1.7, 1.7, n)
        levels, other = recipe.level + recipe.step * levels, np.zeros(n, bool)
        if recipe.second_phase > 0:
            other = rng.random(n) < recipe.second_phase
            levels = np.where(other, levels + rng.choice([-1, 1]) * rng.uniform(0.1, 0.4), levels)
        return levels.astype(np.float32), other

    def _grain_facets(self) -> np.ndarray | None:
        """Slopes and offset, float32 (n_seeds, 3), of a plane of brightness for each grain, 0 at its centre."""
        if self.recipe.tilt == 0:
            return None
        angle = self.rng.uniform(0, 2 * np.pi, self.crystal.n_seeds)
        steepness = self.recipe.tilt / self.recipe.diameter * self.rng.uniform(0, 1, self.crystal.n_seeds)
        slope_x, slope_y = np.cos(angle) * steepness, np.sin(angle) * steepness
        centre_x, centre_y = self._centres()
        return np.stack([slope_x, slope_y, -slope_x * centre_x - slope_y * centre_y], axis=1).astype(np.float32)

    def _centres(self) -> tuple[np.ndarray, np.ndarray]:
        """Centres of mass of the grains in px, float64 (n_seeds,) each; 0 for those outside the field."""
        labels, n = self.crystal.labels.ravel(), self.crystal.n_seeds
        count = np.maximum(np.bincount(labels, minlength=n), 1)
        return np.bincount(labels, self.x.ravel(), n) / count, np.bincount(labels, self.y.ravel(), n) / count

    def _surface(self, ids: np.ndarray) -> np.ndarray:
        """Brightness that the grain with this id has at each pixel, float32 (H, W), before texture and lines."""
        surface = self.levels[ids]
        if self.facets is not None:
            slope_x, slope_y, offset = np.moveaxis(self.facets[ids], -1, 0)
            surface = surface + slope_x * self.x + slope_y * self.y + offset
        return surface

    def _grain_colours(self) -> np.ndarray | None:
        """Colour offsets of the grains, float32 (n_seeds, 3), or None where there is no colour."""
        if self.recipe.chroma == 0:
            return None
        offsets = self.recipe.chroma * self.rng.standard_normal((self.crystal.n_seeds, 3)).astype(np.float32)
        offsets -= offsets.mean(axis=1, keepdims=True)
        # Tint etchants give two or three hues, not the whole wheel.
        if self.rng.random() < 0.6:
            axes = self.rng.standard_normal((1, 3)).astype(np.float32)
            weight = self.rng.standard_normal((self.crystal.n_seeds, 1)).astype(np.float32)
            offsets = 0.3 * offsets + self.recipe.chroma * weight * (axes - axes.mean())
        return offsets

    def _chroma(self) -> np.ndarray | None:
        if self.colours is None:
            return None
        own = self.own[..., None]
        return own * self.colours[self.crystal.labels] + (1 - own) * self.colours[self.crystal.neighbours]

    def _interior_texture(self) -> tuple[np.ndarray, np.ndarray]:
        """What varies inside of the grains, float32 (H, W), and by how much it brightens each, float32 (n_seeds,)."""
        rng, recipe, labels = self.rng, self.recipe, self.crystal.labels
        texture = smooth_noise(rng, self.shape, recipe.texture_cell)
        if rng.random() < 0.5:
            texture = np.minimum(texture, 0.3)  # specks of one sign only, as etch pits give
        amplitude = recipe.texture * np.exp(0.6 * rng.standard_normal(self.crystal.n_seeds)).astype(np.float32)
        if recipe.second_phase > 0:
            amplitude = np.where(self.second_phase, amplitude + np.float32(0.08), amplitude)
        # Specks of one sign darken a grain as a whole, which tells it from its neighbours as its level does.
        mean = texture.mean()
        grey, tone = (texture - mean) * amplitude[labels], mean * amplitude
        if recipe.lamellae > 0 or recipe.second_phase > 0:
            share = rng.uniform(0.1, 1.0)
            chosen = rng.random(self.crystal.n_seeds) < share
            strength = np.where(chosen, recipe.lamellae, 0.0)
            if recipe.second_phase > 0:
                strength = np.where(self.second_phase, rng.uniform(0.03, 0.15), strength)
            grey += strength.astype(np.float32)[labels] * self._stripes(rng.uniform(2.5, 9.0))
        if recipe.polish > 0:
            grey += recipe.polish * directional_noise(rng, self.shape, rng.uniform(0, np.pi), rng.uniform(8, 40))
        if recipe.mottling > 0:
            grey += self._mottling()
        return grey, tone

    def _mottling(self) -> np.ndarray:
        """Slow changes of brightness inside the grains; it does not go on from one grain to the next."""
        rng, n = self.rng.spawn(1)[0], self.crystal.n_seeds
        cell = max(self.recipe.mottling_cell * self.recipe.diameter, 3.0)
        strength = mottling_strength(self.recipe) * np.exp(0.5 * rng.standard_normal(n))
        # Of two fields, each grain mixes its own share.
        turn = rng.uniform(0, 2 * np.pi, n)
        first, second = (
            (strength * share).astype(np.float32)[self.crystal.labels] * smooth_noise(rng, self.shape, cell)
            for share in (np.cos(turn), np.sin(turn))
        )
        return first + second

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
        centre_x, centre_y = (centre.astype(np.float32)[labels] for centre in self._centres())
        along = (self.x - centre_x) * nx + (self.y - centre_y) * ny
        grey = np.zeros(self.shape, np.float32)
        chosen = rng.random(n) < recipe.twins
        # Edges as strong as the boundaries leave only their course to tell them by: straight, and parallel to others.
        strong = rng.random() < 0.4
        full_depth = recipe.depth if recipe.depth != 0 else 0.5 * recipe.step
        edge_depth = full_depth * (rng.uniform(0.75, 1.1) if strong else rng.uniform(0.15, 1.0))
        edge_width = max(recipe.line_width * (rng.uniform(0.8, 1.1) if strong else rng.uniform(0.3, 0.9)), 0.5)
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
            strength = edge_depth * rng.uniform(0.8 if strong else 0.5, 1.0, n) * chosen
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
        if recipe.fading > 0:
            field = smooth_noise(rng, self.shape, 0.5 * max(self.shape))
            strength = strength * (1 - np.float32(recipe.fading) * smoothstep(field, -0.5, 1.0))
        if line_alone_is_seen(recipe):
            # A few edges too faint to see would join grains whose other boundaries are in plain sight.
            strength = np.copysign(np.maximum(np.abs(strength), faintest_line(recipe)), strength)
        if recipe.missing > 0:
            cell = max(recipe.diameter * rng.uniform(0.12, 0.8), 3.0)
            strength *= leave_out(smooth_noise(rng, self.shape, cell), recipe.missing, 0.15, 0.25)
        if recipe.beads > 0:
            field = smooth_noise(rng, self.shape, max(recipe.beads * recipe.line_width, 2.0))
            strength *= leave_out(field, rng.uniform(0.25, 0.6), 0.2, 0.2)
        return strength * (1 + 0.2 * smooth_noise(rng, self.shape, 6.0))

    def _steps(self, ids: np.ndarray, other_ids: np.ndarray, grey: np.ndarray, other_grey: np.ndarray) -> np.ndarray:
        """Recorded step in grey and colour between grains, given by their ids and painted grey values."""
        recipe = self.recipe
        step = np.abs(recorded(recipe, grey) - recorded(recipe, other_grey))
        if recipe.chroma > 0:
            difference = self.colours[ids] - self.colours[other_ids]
            step = step + 0.6 * recipe.contrast * np.abs(difference).max(axis=-1)
        return step

    def _tell_neighbours_apart(self) -> None:
        """Draw grey levels anew where neighbours cannot be told apart.

        Without it a few look-alike pairs chain many grains into one label while most of their boundaries are in plain
        sight: labels that no eye would give.
        """
        rng, recipe, crystal = self.rng, self.recipe, self.crystal
        near = crystal.distance < 1.0
        # As one number a pair: numpy sorts these many times faster than rows.
        keys = np.unique(crystal.labels[near].astype(np.int64) * crystal.n_seeds + crystal.neighbours[near])
        pairs = np.stack(np.divmod(keys, crystal.n_seeds), axis=1)
        floor = step_floor(recipe)
        reach = max(2.0 * recipe.step, 5.0 * floor / slope(recipe))
        # Within what the camera records.
        low, high = max(recipe.level - reach, 0.03), min(recipe.level + reach, 0.97)
        for _ in range(12):
            alike = pairs[self._steps(*pairs.T, *self.levels[pairs].T) < CLEARLY * floor]
            if len(alike) == 0:
                return
            again = np.unique(alike[np.arange(len(alike)), rng.integers(2, size=len(alike))])
            self.levels[again] = rng.uniform(low, high, len(again))

    def _depths(self, own_level: np.ndarray, lines: np.ndarray) -> np.ndarray:
        """Recorded depth or height of the lines: the deepest or the brightest that was drawn across the boundary."""
        recipe, across = self.recipe, np.ones((5, 5), np.uint8)
        drawn = np.stack([cv2.erode(lines, across), cv2.dilate(lines, across)])
        return np.abs(recorded(recipe, own_level + sharpness(recipe) * drawn) - recorded(recipe, own_level)).max(axis=0)

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
        if recipe.dome != 0:
            grey -= np.float32(recipe.dome) * np.exp(-distance / np.float32(recipe.dome_reach * recipe.diameter))
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
        share = np.exp(rng.uniform(np.log(0.12), np.log(0.5)))
        sub = polycrystal(rng, self.shape, max(recipe.diameter * share, 10.0), relaxations=0)
        strength = recipe.substructure * (abs(recipe.depth) + 0.5 * recipe.step) * 0.6
        part = smoothstep(smooth_noise(rng, self.shape, recipe.diameter), -0.3, 0.8)
        return -np.float32(strength) * part * np.exp(-((sub.distance / (0.6 * recipe.line_width + 0.3)) ** 2))

    def _draw_gaps(self) -> _Gaps:
        """Dark gaps, wider at the junctions, which also rounds the grains' corners."""
        rng, recipe = self.rng, self.recipe
        sigma = max(0.07 * recipe.diameter, 1.0)
        rounded = cv2.GaussianBlur(np.minimum(self.crystal.distance, 6 * sigma), (0, 0), sigma)
        mean = recipe.gap * recipe.diameter + rng.uniform(0.45, 0.8) * sigma
        field = smooth_noise(rng, self.shape, max(0.9 * recipe.diameter, 6))
        field += 0.5 * smooth_noise(rng, self.shape, max(0.3 * recipe.diameter, 4))
        threshold = mean * (1 + 0.4 * field) + 0.35 * smooth_noise(rng, self.shape, 3)
        gaps = _Gaps(threshold - rounded, np.zeros(self.shape, np.float32))
        return self._with_pockets(gaps) if recipe.pockets > 0 else gaps

    def _with_pockets(self, gaps: _Gaps) -> _Gaps:
        """Widen the gaps at some places and lay a smooth polygon into each: the floor of a pore, not a grain."""
        rng, recipe = self.rng, self.recipe
        count = int(np.clip(recipe.pockets * self._expected_grains, 1, 60))
        y, x = np.nonzero(gaps.depth > 0.7 * gaps.depth.max())
        if len(x) == 0:
            return gaps
        pick = rng.integers(len(x), size=count)
        centres = np.stack([x[pick], y[pick]], axis=1)
        radius = max(rng.uniform(0.08, 0.2) * recipe.diameter, 2.6)
        pocket = marks.particles(rng, centres, self.shape, radius, 0.3, 2.0)
        margin = rng.uniform(1.0, 0.06 * recipe.diameter + 2.0)
        outside = cv2.distanceTransform((pocket < 0.5).astype(np.uint8), cv2.DIST_L2, 3)
        return _Gaps(np.maximum(gaps.depth, margin - outside), pocket)

    def _fill_gaps(self, grey: np.ndarray, gaps: _Gaps) -> np.ndarray:
        rng, recipe = self.rng, self.recipe
        rim = np.exp(-np.maximum(-gaps.depth, 0) / rng.uniform(0.8, 3.0))
        grey = grey + np.float32(rng.uniform(-0.2, 0.12)) * rim
        fill = recipe.gap_level + 0.06 * smooth_noise(rng, self.shape, rng.uniform(1.2, 4.0))
        if rng.random() < 0.6:
            # Deep pockets that shine: resin or the polished bottom of a pore, not a grain.
            deep = smoothstep(gaps.depth, 0.05 * recipe.diameter, 0.05 * recipe.diameter + 1.5)
            some = smoothstep(smooth_noise(rng, self.shape, max(0.8 * recipe.diameter, 4)), 0.0, 0.3)
            fill = fill + deep * some * np.float32(rng.uniform(0.1, 0.55))
        if recipe.pockets > 0:
            floor = np.float32(rng.uniform(0.25, 0.95)) * recipe.level + 0.02 * smooth_noise(rng, self.shape, 3.0)
            fill = fill * (1 - gaps.pocket) + floor * gaps.pocket
        return grey * (1 - gaps.cover) + fill * gaps.cover

    def _surface_marks(self, grey: np.ndarray) -> np.ndarray:
        rng, recipe, shape = self.rng, self.recipe, self.shape
        if recipe.stains > 0:
            grey = grey - np.float32(rng.uniform(-0.1, 0.3)) * marks.stains(
                rng, shape, rng.uniform(0.3, 2.0) * recipe.diameter + 6, recipe.stains
            )
        if recipe.scratches > 0:
            drawn = marks.scratches(rng, shape, recipe.scratches, recipe.bundle, recipe.dotted)
            self._mark(drawn)
            grey = grey - np.float32(rng.choice([-1, 1], p=[0.25, 0.75]) * rng.uniform(0.04, 0.4)) * drawn
        if recipe.pits > 0:
            drawn = marks.pits(rng, shape, recipe.pits, recipe.pit_radius * (0.6 + recipe.diameter / 60))
            self._mark(drawn)
            grey = grey - np.float32(rng.choice([-1, 1], p=[0.15, 0.85]) * rng.uniform(0.15, 0.7)) * drawn
        if recipe.dashes > 0:
            drawn = marks.dashes(rng, shape, recipe.dashes, 0.03 * recipe.diameter + 0.7)
            self._mark(drawn)
            grey = grey - np.float32(rng.choice([-1, 1], p=[0.15, 0.85]) * rng.uniform(0.1, 0.6)) * drawn
        if recipe.particles > 0:
            grey = self._particles(grey)
        if recipe.pores > 0:
            grey = self._pores(grey)
        return grey

    def _pores(self, grey: np.ndarray) -> np.ndarray:
        """Round pores in and between the grains, with a rim that shines or not."""
        rng, recipe = self.rng.spawn(1)[0], self.recipe
        count = int(np.clip(recipe.pores * self._expected_grains, 1, 300))
        drawn = np.clip(2 * marks.pits(rng, self.shape, count, recipe.pore_radius * recipe.diameter), 0, 1)
        self._mark(drawn)
        rim = cv2.GaussianBlur(drawn, (0, 0), rng.uniform(0.8, 2.5))
        grey = grey + np.float32(rng.uniform(0.05, 0.4) if rng.random() < 0.5 else 0) * rim
        return grey * (1 - drawn) + np.float32(rng.uniform(0, 0.25)) * drawn

    def _deep_scratches(self) -> tuple[np.ndarray, np.float32]:
        """Scratches that hide more or less of what they cross, float32 (H, W) in [0, 1], and their grey value."""
        rng = self.rng.spawn(1)[0]
        bundle, width = bool(rng.random() < 0.5), int(rng.integers(3, 8))
        drawn = marks.scratches(rng, self.shape, self.recipe.deep_scratches, bundle, False, width)
        return drawn, np.float32(rng.uniform(0, 0.25) if rng.random() < 0.6 else rng.uniform(0.75, 1))

    def _particles(self, grey: np.ndarray) -> np.ndarray:
        rng, recipe, shape = self.rng, self.recipe, self.shape
        count = int(np.clip(recipe.particles * self._expected_grains * rng.uniform(0.5, 2), 3, 400))
        near_y, near_x = np.nonzero(self.crystal.distance < 1.0)
        on_boundary = rng.random(count) < recipe.particles_on_boundary
        pick = rng.integers(0, max(len(near_x), 1), count)
        free = rng.random((count, 2)) * shape[::-1]
        centres = (
            free
            if len(near_x) == 0
            else np.where(on_boundary[:, None], np.stack([near_x[pick], near_y[pick]], axis=1), free)
        )
        drawn = marks.particles(rng, centres, shape, recipe.particle_radius, 0.5, rng.uniform(1.2, 4.0))
        self._mark(drawn)
        # Particles on bright boundaries are bright as a rule, which is what makes the line hard to follow.
        sign = np.sign(-recipe.depth) if rng.random() < 0.75 and recipe.depth != 0 else rng.choice([-1, 1])
        value = np.clip(recipe.level + sign * rng.uniform(0.12, 0.5), 0, 1)
        fill = value + 0.03 * smooth_noise(rng, shape, 3)
        if rng.random() < 0.3:
            halo = cv2.GaussianBlur(drawn, (0, 0), 1.0 + 0.3 * recipe.particle_radius)
            grey = grey - np.float32(sign * rng.uniform(0.03, 0.2)) * halo
        return grey * (1 - drawn) + fill * drawn

    def _covers(self) -> Iterator[tuple[np.ndarray, np.ndarray | np.float32]]:
        """What hides a part of the specimen, float (H, W) in [0, 1], with its grey values."""
        if self.recipe.eyepiece:
            yield self._outside_eyepiece(), np.float32(self.rng.uniform(0, 0.1))
        if self.recipe.beyond_edge > 0:
            yield self._beyond_edge()

    def _outside_eyepiece(self) -> np.ndarray:
        """Float (H, W) in [0, 1]: what lies outside the round field of an eyepiece."""
        height, width = self.shape
        radius = self.rng.uniform(0.42, 0.6) * min(height, width)
        from_centre = np.hypot(self.x - 0.5 * width, self.y - 0.5 * height)
        return np.clip(from_centre - np.float32(radius), 0, 1)

    def _beyond_edge(self) -> tuple[np.ndarray, np.ndarray]:
        """What lies beyond the specimen's edge, float (H, W) in [0, 1], and its grey values, float32 (H, W)."""
        rng, shape = self.rng.spawn(1)[0], self.shape
        side = float(max(shape))
        angle = rng.uniform(0, 2 * np.pi)
        across = (self.x * np.cos(angle) + self.y * np.sin(angle)).astype(np.float32)
        if rng.random() < 0.2:
            # A narrow specimen, such as a foil or a wire, with an edge on either side.
            across = -np.abs(across - np.float32(rng.uniform(*np.quantile(across, [0.3, 0.7]))))
        across += np.float32(rng.uniform(0, 0.04) * side) * smooth_noise(rng, shape, rng.uniform(0.2, 0.6) * side)
        across += np.float32(rng.uniform(0, 1.5)) * smooth_noise(rng, shape, rng.uniform(2, 12))
        mount = np.float32(rng.uniform(0, 0.25) if rng.random() < 0.5 else rng.uniform(0, 1))
        mount = mount + np.float32(rng.uniform(0, 0.06)) * smooth_noise(rng, shape, rng.uniform(1, 8))
        beyond = 1 - leave_out(across, self.recipe.beyond_edge, 0.5, 0.5)
        if rng.random() < 0.5:
            # Polishing rounds the edge, and the gap beside it shines or is dark.
            rim = cv2.GaussianBlur(beyond, (0, 0), rng.uniform(1, 4))
            mount = mount + np.float32(rng.uniform(-0.5, 0.5)) * 4 * rim * (1 - rim)
        return beyond, mount
