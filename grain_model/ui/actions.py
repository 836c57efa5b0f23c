"""What the page does with a micrograph: plain functions that the tabs bind to their buttons.

They know nothing of the layout. Errors of the project become the page's error message, never a traceback.
"""

from __future__ import annotations

import functools
import html
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

import gradio as gr
import numpy as np
import pandas as pd
from gradio.utils import get_upload_folder

from ..analysis import GrainAnalysis, write_png
from ..errors import GrainError
from ..grain_size import RuleResult
from ..plots import figure_to_array, plot_size_distribution
from ..rendering import OverlayStyle
from .limits import read_upload

P = ParamSpec("P")
T = TypeVar("T")

BROWSER_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
"""What a browser can show; anything else (TIFF) is shown as a copy."""

_SERVER_FOLDER = re.compile(re.escape(get_upload_folder()) + r"/\w+/")

TABLE_COLUMNS = {
    "label": "grain",
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


@dataclass(frozen=True)
class OpenedMicrograph:
    """The file behind the picture on the page.

    Attributes:
        path: the file as it was uploaded.
        shown: what the page shows of it, which is a copy where the browser cannot show the file.
        um_per_pixel: the scale that the file states, if any.
        copies: owns the copy's folder, which goes when the visitor's session does.
    """

    path: str
    shown: str
    um_per_pixel: float | None
    copies: tempfile.TemporaryDirectory | None = None


@dataclass(frozen=True)
class CountedMicrograph:
    """A count in a visitor's session, and its files, which go when it does.

    Attributes:
        source: the file that was counted.
        analysis: its grains.
        folder: owns the files.
        saved: folder in it with what `GrainAnalysis.save` wrote.
        archive: zip of `saved`.
    """

    source: str
    analysis: GrainAnalysis
    folder: tempfile.TemporaryDirectory
    saved: Path
    archive: str

    def draw_overlay(self, show: OverlayStyle) -> str:
        """Draws the overlay in a style.

        Args:
            show: see `render_overlay`.

        Returns:
            Path of a PNG.
        """
        path = self.saved / ("overlay.png" if show == "fill" else f"overlay-{show}.png")
        if not path.exists():
            write_png(path, self.analysis.overlay(show=show))
        return str(path)


def clear_errors(function: Callable[P, T]) -> Callable[P, T]:
    """Turns the project's errors into a message on the page."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except GrainError as error:
            # Visitors know their file by its name, not by its place on the server.
            message = html.escape(_SERVER_FOLDER.sub("", str(error)))
            raise gr.Error(message, duration=None, title="That did not work", print_exception=False) from error

    return wrapped


def open_micrograph(path: str) -> OpenedMicrograph:
    """Reads a file for display and for its scale.

    Args:
        path: the uploaded file.

    Returns:
        The file with what can be shown of it.

    Raises:
        ImageError: if it is no image that can be read.
    """
    micrograph = read_upload(path)
    if Path(path).suffix.lower() in BROWSER_SUFFIXES:
        return OpenedMicrograph(path, path, micrograph.um_per_pixel)
    copies = tempfile.TemporaryDirectory(prefix="grain_model-")
    shown = str(Path(copies.name) / f"{Path(path).stem}.png")
    write_png(Path(shown), micrograph.pixels)
    return OpenedMicrograph(path, shown, micrograph.um_per_pixel, copies)


def archive_analysis(source: str, analysis: GrainAnalysis) -> CountedMicrograph:
    """Writes the files of an analysis and packs them.

    Args:
        source: the file that was counted.
        analysis: the count.

    Returns:
        The analysis with the path of a zip of what `GrainAnalysis.save` writes.
    """
    folder = tempfile.TemporaryDirectory(prefix="grain_model-")
    stem = Path(analysis.name).stem or "grains"
    saved = analysis.save(Path(folder.name) / stem)
    archive = shutil.make_archive(str(Path(folder.name) / f"{stem}-grains"), "zip", root_dir=saved)
    return CountedMicrograph(source, analysis, folder, saved, archive)


def describe_count(analysis: GrainAnalysis) -> str:
    """Writes the card with the count and the figures that belong to it.

    Args:
        analysis: the count.

    Returns:
        HTML.
    """
    unit, diameters = ecd(analysis)
    rows = []
    rows.append(("ASTM grain size G", _size_text(analysis.grain_size.saltykov)))
    if analysis.count:
        rows.append(("mean diameter (ECD)", f"{diameters.mean():.3g} {unit}"))
        rows.append(("cut by the edge", f"{int(analysis.table['touches_edge'].sum())}"))
    rows.append(("scale", _scale_text(analysis)))
    notes = [*analysis.warnings, *(flag.message for flag in analysis.flags)]
    return _card(analysis.count, rows, notes)


def grain_table(analysis: GrainAnalysis) -> pd.DataFrame:
    """Picks and names the columns that the page shows.

    Args:
        analysis: the count.

    Returns:
        One row a grain, numbers rounded to what can be read.
    """
    table = analysis.table
    shown = table[[column for column in TABLE_COLUMNS if column in table]].rename(columns=TABLE_COLUMNS)
    return shown.round(2)


def plot_distribution(analysis: GrainAnalysis) -> np.ndarray:
    """Draws the size distribution.

    Args:
        analysis: the count.

    Returns:
        uint8 (H, W, 3), dark on white; the style sheet adapts it to a dark page.
    """
    return figure_to_array(plot_size_distribution(analysis.table), dpi=200)


def ecd(analysis: GrainAnalysis) -> tuple[str, np.ndarray]:
    """Takes the equivalent circular diameters in the best unit that there is.

    Args:
        analysis: the count.

    Returns:
        `"µm"` or `"px"`, and float (count,).
    """
    if analysis.um_per_pixel is None:
        return "px", analysis.table["equivalent_diameter_area"].to_numpy()
    return "µm", analysis.table["equivalent_diameter_area_um"].to_numpy()


def _size_text(size: RuleResult) -> str:
    if size.G is None:
        return "needs the scale" if size.um_per_pixel is None else "no grains"
    return f"{size.G:.2f}" if size.ci95 is None else f"{size.G:.2f} ({size.ci95[0]:.2f} to {size.ci95[1]:.2f})"


def _scale_text(analysis: GrainAnalysis) -> str:
    if analysis.um_per_pixel is None:
        return "not known"
    return f"{analysis.um_per_pixel:.4g} µm/px ({analysis.scale_source})"


def _card(count: int, rows: list[tuple[str, str]], notes: list[str]) -> str:
    figures = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in rows)
    remarks = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    return (
        '<div class="count-card" role="status">'
        f'<div class="count"><strong data-testid="count">{count}</strong>'
        f"<span>{'grain' if count == 1 else 'grains'}</span></div>"
        f"<dl>{figures}</dl>" + (f'<ul class="notes">{remarks}</ul>' if notes else "") + "</div>"
    )
