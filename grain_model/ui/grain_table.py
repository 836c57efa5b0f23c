"""The table of grains as the page shows it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..analysis import GrainAnalysis

GRAIN_COLUMNS = {
    "label": "grain",
    "corrected": "by hand",
    "area": "area (px²)",
    "equivalent_diameter_area": "ECD (px)",
    "area_um2": "area (µm²)",
    "equivalent_diameter_area_um": "ECD (µm)",
    "aspect_ratio": "aspect ratio",
    "circularity": "circularity",
    "touches_edge": "cut by edge",
    "confidence": "confidence",
}
"""Columns of the grain table that the page shows, with their headings; the CSV has all of them."""


def grain_table(analysis: GrainAnalysis) -> pd.DataFrame:
    """Pick and name the columns that the page shows.

    Args:
        analysis: The count.

    Returns:
        One row a grain, numbers rounded to what can be read: four digits, and no fewer than stand before the point.
    """
    # An empty column would only take room where no grain was drawn by hand.
    table = analysis.table if analysis.corrected_ids else analysis.table.drop(columns="corrected")
    shown = table[[column for column in GRAIN_COLUMNS if column in table]].rename(columns=GRAIN_COLUMNS)
    numbers = shown.select_dtypes(float)
    # As many places as each number needs: at nanometres a pixel an area is far below 0.01 µm².
    places = 3 - np.floor(np.log10(numbers.abs().where(numbers != 0, 1)))
    power = 10 ** places.clip(lower=0)
    rounded = (numbers * power).round() / power
    # What is true of few grains is found more easily among empty cells.
    said = {column: shown[column].map({True: "yes", False: ""}) for column in shown.select_dtypes(bool)}
    return shown.assign(**rounded, **said)
