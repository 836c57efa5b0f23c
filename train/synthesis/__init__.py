"""Synthetic micrographs with exact labels: the main source of training data."""

from .micrograph import SyntheticMicrograph, synthesize_micrograph
from .polycrystal import Polycrystal, polycrystal

__all__ = ["Polycrystal", "SyntheticMicrograph", "polycrystal", "synthesize_micrograph"]
