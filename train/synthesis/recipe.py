"""The random choices behind one synthetic micrograph."""

from dataclasses import dataclass

import numpy as np

# Families of appearance and how often each is drawn. They set the ranges of the parameters; every parameter still
# varies freely within them, and "mixed" ignores the families altogether.
FAMILIES = {
    "etched": 0.20,  # dark lines on bright metal: nital on ferrite, oxalic on austenite
    "gaps": 0.14,  # sintered or binder-jet metal: dark gaps and pockets between rounded grains
    "bse": 0.17,  # grey steps between orientations, little or no line
    "tinted": 0.10,  # colour etching and polarised light
    "grooved": 0.12,  # thermally etched ceramics in the SEM: grooves with bright rims, relief
    "decorated": 0.16,  # particles on bright or dark, broken boundaries
    "mixed": 0.11,
}


@dataclass(frozen=True)
class _Draws:
    """What the choices are drawn with; "mixed" has chances of its own."""

    rng: np.random.Generator
    is_mixed: bool

    def chance(self, p: float, mixed_p: float = 0.4) -> bool:
        return bool(self.rng.random() < (mixed_p if self.is_mixed else p))

    def between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))


class Recipe:
    """The random choices that set how a micrograph looks; every attribute but `family` is a plain number or flag.

    Lengths are in px, brightness and its changes in units of the full range 0..1. A feature that a micrograph lacks has
    the value 0 (`elongation`, `contrast`, `noise_cell` and `reduction`: 1); some texture and noise there always is.

    Args:
        rng: Source of randomness.
        family: A name in `FAMILIES`.
        diameter: Range of the mean grain diameter in px, drawn log-uniformly.
    """

    def __init__(self, rng: np.random.Generator, family: str, diameter: tuple[float, float]) -> None:
        self.family = family
        draws = _Draws(rng, is_mixed=family == "mixed")
        # In this order: a seed stands for the picture that it gives.
        self._choose_grains(draws, diameter)
        self._choose_brightness(draws)
        self._choose_lines(draws)
        self._choose_relief(draws)
        self._choose_gaps(draws)
        self._choose_inside(draws)
        self._choose_surface(draws)
        self._choose_optics(draws)
        self._choose_rarities(rng.spawn(1)[0])
        self._choose_record(draws)

    def _choose_grains(self, draws: _Draws, diameter: tuple[float, float]) -> None:
        """Size, shape and twins of the grains."""
        rng, chance, between = draws.rng, draws.chance, draws.between
        self.diameter = float(np.exp(rng.uniform(*np.log(diameter))))
        self.spread = between(0.1, 0.5)
        self.bimodal = between(0.2, 0.6) if chance(0.12, 0.15) else 0.0
        self.elongation = between(1.2, 2.8) if chance(0.2, 0.25) else 1.0
        self.gradient = between(0.3, 1.0) if chance(0.12, 0.15) else 0.0
        self.waviness = between(0.0, 0.32) if chance(0.75, 0.75) else 0.0
        twin_chance = {"etched": 0.6, "bse": 0.4, "tinted": 0.35, "gaps": 0.2}.get(self.family, 0.1)
        self.twins = between(0.1, 0.7) if chance(twin_chance) else 0.0
        self.twin_texture = between(0.02, 0.2) if rng.random() < 0.4 else 0.0
        if self.twins > 0:
            # What tells a twin from a boundary is that it alone is straight.
            self.waviness = max(self.waviness, between(0.08, 0.3))

    def _choose_brightness(self, draws: _Draws) -> None:
        """Brightness of the grains and its change from grain to grain and across them."""
        rng, chance, between = draws.rng, draws.chance, draws.between
        self.level = {"etched": between(0.6, 0.95), "gaps": between(0.45, 0.8)}.get(self.family, between(0.25, 0.8))
        steps = {
            "etched": between(0.0, 0.05) if chance(0.6) else between(0.02, 0.16),
            "gaps": between(0.0, 0.08),
            "bse": between(0.03, 0.22),
            "tinted": between(0.04, 0.2),
            "grooved": between(0.0, 0.08),
            "decorated": between(0.0, 0.09),
            "mixed": between(0.0, 0.2),
        }
        self.step = steps[self.family]
        # Facets: change of brightness across a grain.
        facets = chance({"bse": 0.15, "grooved": 0.25, "tinted": 0.15}.get(self.family, 0.05))
        self.tilt = between(0.03, 0.2) if facets else 0.0
        self.chroma = between(0.05, 0.3) if self.family == "tinted" or (draws.is_mixed and rng.random() < 0.3) else 0.0

    def _choose_lines(self, draws: _Draws) -> None:
        """Lines along the boundaries."""
        rng, chance, between = draws.rng, draws.chance, draws.between
        # Depth (negative = bright), width in px, share that is missing, spread from edge to edge.
        depth = {
            "etched": between(0.2, 0.8),
            "gaps": between(0.15, 0.6),
            "bse": between(0.0, 0.15) if chance(0.3) else 0.0,
            "tinted": between(0.03, 0.3) if chance(0.5) else 0.0,
            "grooved": between(0.08, 0.5),
            "decorated": between(0.05, 0.4),
            "mixed": between(0.0, 0.6),
        }[self.family]
        bright = {"decorated": 0.7, "bse": 0.4, "mixed": 0.35, "grooved": 0.2, "tinted": 0.15}.get(self.family, 0.0)
        self.depth = -depth if rng.random() < bright else depth
        self.line_width = float(np.exp(rng.uniform(np.log(0.6), np.log(3.2)))) * (0.8 + self.diameter / 150)
        self.line_width = min(self.line_width, 0.09 * self.diameter + 0.4)
        most_missing, missing_chance = (0.55, 0.9) if self.family == "decorated" else (0.45, 0.55)
        self.missing = between(0.05, most_missing) if chance(missing_chance) else 0.0
        self.edge_spread = between(0.0, 0.7)
        self.double_line = chance(0.25 if self.family == "grooved" else 0.06, 0.15)
        # A line that is a row of dots: their spacing in widths of the line. Etching that fades over the field.
        self.beads = between(1.5, 4.0) if chance(0.15 if self.family in ("etched", "decorated") else 0.04, 0.1) else 0.0
        self.fading = between(0.3, 1.0) if chance(0.15, 0.15) else 0.0

    def _choose_relief(self, draws: _Draws) -> None:
        """Rounded grains and light from one side."""
        chance, between = draws.chance, draws.between
        # Darker towards the boundary (negative = brighter), over this share of the diameter.
        dome = chance({"grooved": 0.3, "bse": 0.08, "decorated": 0.08}.get(self.family, 0.0), 0.15)
        self.dome = (between(-0.4, -0.08) if chance(0.3) else between(0.08, 0.4)) if dome else 0.0
        self.dome_reach = between(0.05, 0.25)
        self.relief = between(0.1, 0.5) if chance(0.6 if self.family == "grooved" else 0.12, 0.3) else 0.0

    def _choose_gaps(self, draws: _Draws) -> None:
        """Gaps between grains: dark, or films of a bright phase; or a matrix that the grains lie in."""
        rng, chance, between = draws.rng, draws.chance, draws.between
        gap = self.family == "gaps" or chance(0.1 if self.family in ("bse", "decorated") else 0.0, 0.25)
        matrix = gap and chance({"bse": 0.5, "decorated": 0.3}.get(self.family, 0.12))
        self.gap = between(0.05, 0.13) if matrix else between(0.001, 0.055) if gap else 0.0
        film = chance(0.08 if self.family == "gaps" else 0.6, 0.3)
        self.gap_level = min(self.level + between(0.25, 0.6), 1.0) if film else between(0.0, 0.2)
        self.pockets = between(0.02, 0.3) if gap and rng.random() < 0.7 else 0.0

    def _choose_inside(self, draws: _Draws) -> None:
        """What is inside of the grains."""
        rng, chance, between = draws.rng, draws.chance, draws.between
        self.texture = between(0.01, 0.09) if chance(0.7, 0.6) else 0.005
        self.texture_cell = float(np.exp(rng.uniform(np.log(1.0), np.log(6.0))))
        self.lamellae = between(0.02, 0.14) if chance(0.15, 0.2) else 0.0
        self.substructure = (
            between(0.1, 0.35) if chance(0.12 if self.family in ("etched", "bse") else 0.05, 0.15) else 0.0
        )
        self.polish = between(0.005, 0.05) if chance(0.3) else 0.0
        self.second_phase = between(0.05, 0.3) if chance(0.1, 0.12) else 0.0

    def _choose_surface(self, draws: _Draws) -> None:
        """Things that lie on the surface."""
        rng, chance, between = draws.rng, draws.chance, draws.between
        self.scratches = int(rng.integers(1, 40)) if chance(0.75 if self.family == "gaps" else 0.3) else 0
        self.bundle = bool(rng.random() < 0.65)
        self.dotted = bool(rng.random() < (0.5 if self.family == "gaps" else 0.15))
        self.pits = int(np.exp(rng.uniform(0, np.log(250)))) if chance(0.7, 0.6) else 0
        self.pit_radius = between(0.5, 1.6)
        self.dashes = int(np.exp(rng.uniform(np.log(3), np.log(120)))) if chance(0.25, 0.25) else 0
        self.particles = between(0.15, 2.5) if self.family == "decorated" or chance(0.08, 0.2) else 0.0
        self.particle_radius = min(between(0.03, 0.2) * self.diameter + 0.6, 16.0)
        self.particles_on_boundary = between(0.4, 1.0)
        self.stains = between(0.02, 0.2) if chance(0.15) else 0.0
        self.gleam = chance(0.3)

    def _choose_optics(self, draws: _Draws) -> None:
        """Light, focus and noise."""
        rng, chance, between = draws.rng, draws.chance, draws.between
        self.shading = between(0.02, 0.3) if chance(0.5) else 0.0
        self.blur = between(0.35, 0.9) if chance(0.75) else between(0.9, 1.9)
        self.noise = float(np.exp(rng.uniform(np.log(0.004), np.log(0.09))))
        self.noise_cell = 1.0 if chance(0.7, 0.7) else between(1.0, 2.2)
        if self.diameter > 45 and chance(0.2):
            # A picture that was enlarged beyond what it resolves.
            self.blur = max(between(0.02, 0.05) * self.diameter, self.blur, 1.0)
            self.noise_cell = between(1.0, self.blur)
        self.scan_lines = (
            between(0.003, 0.03) if chance(0.12 if self.family in ("bse", "grooved") else 0.0, 0.06) else 0.0
        )
        self.seam = between(0.02, 0.1) if chance(0.04, 0.04) else 0.0
        self.eyepiece = chance(0.02, 0.02)

    def _choose_rarities(self, apart: np.random.Generator) -> None:
        """What few micrographs have; from a generator of its own, so that the others stay as they are without it."""
        # Share of the field that lies beyond the edge of the specimen, in mounting resin or on an empty stage; loss of
        # light in the corners; scratches several px wide that polishing or handling left.
        self.beyond_edge = float(apart.uniform(0.05, 0.8)) if apart.random() < 0.05 else 0.0
        self.vignetting = float(apart.uniform(0.2, 0.85)) if apart.random() < 0.06 else 0.0
        self.deep_scratches = int(apart.integers(1, 9)) if apart.random() < 0.07 else 0
        # Slow change of brightness inside the grains, as deformation, segregation and uneven etching give: its
        # amplitude as a share of what tells the grains apart, and its length as a share of the diameter.
        self.mottling = float(apart.uniform(0.08, 0.4)) if apart.random() < 0.12 else 0.0
        self.mottling_cell = float(apart.uniform(0.12, 0.5))
        # Round pores for one grain; their radius is of the size of `pore_radius` diameters.
        self.pores = float(apart.uniform(0.05, 0.6)) if apart.random() < 0.08 else 0.0
        self.pore_radius = float(apart.uniform(0.05, 0.15))
        # Loss of light from one side to the other; movement during the exposure in px; noise that is not the same in
        # all channels; share of pixels that are dead or hot.
        self.falloff = float(apart.uniform(0.3, 0.8)) if apart.random() < 0.05 else 0.0
        self.motion = float(apart.uniform(2.0, 7.0)) if apart.random() < 0.05 else 0.0
        self.colour_noise = float(apart.uniform(0.01, 0.06)) if apart.random() < 0.06 else 0.0
        self.impulses = float(np.exp(apart.uniform(np.log(0.001), np.log(0.04)))) if apart.random() < 0.05 else 0.0
        # How many times the picture was made smaller before it was stored, and larger again for its figure.
        self.reduction = float(apart.uniform(1.3, 2.4)) if apart.random() < 0.08 and self.diameter > 35 else 1.0

    def _choose_record(self, draws: _Draws) -> None:
        """How the micrograph is stored."""
        rng, chance, between = draws.rng, draws.chance, draws.between
        self.invert = chance(0.08, 0.5)
        self.gamma = float(np.exp(0.3 * rng.standard_normal()))
        self.contrast = between(0.35, 1.0) if chance(0.4) else 1.0
        self.colour = chance(0.55 if self.family == "gaps" else 0.25) or self.chroma > 0
        self.jpeg = int(rng.integers(35, 96)) if chance(0.4) else 0
        self.overlay = chance(0.05, 0.05)

    def as_dict(self) -> dict[str, float | int | str | bool]:
        """Return all choices, JSON-serialisable."""
        return {k: round(v, 4) if isinstance(v, float) else v for k, v in vars(self).items()}
