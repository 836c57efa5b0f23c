"""What the page does with a micrograph: plain functions that the tabs bind to their buttons.

They know nothing of the layout. Errors of the project become the page's error message, never a traceback.
"""

from __future__ import annotations

import csv
import functools
import html
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ParamSpec, TypeVar

import gradio as gr
import numpy as np
import pandas as pd
from gradio.utils import get_upload_folder

from ..analysis import GrainAnalysis
from ..correction import Edit, describe_edits
from ..errors import GrainError, MeasurementError
from ..grain_size import RuleResult
from ..micrograph import browsers_show
from ..plots import figure_to_array, plot_size_distribution
from ..rendering import CHOSEN_COLOUR, OverlayStyle, mark_grains, write_png
from .limits import read_upload

P = ParamSpec("P")
T = TypeVar("T")

_SERVER_FOLDER = re.compile(re.escape(get_upload_folder()) + r"/\w+/")

UNFORESEEN = (
    "The server failed at this ({}), which it should not. "
    "Try again, perhaps with a smaller picture; if it fails again, tell the owner of this page."
)

AWAY_TOO_LONG = (
    "The server has let go of the count that this page shows: the page was away for over an hour, or the server began "
    "anew. What is shown can be read, but no more be changed or made into files. Count again for that."
)

TABLE_COLUMNS = {
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


@dataclass(frozen=True)
class OpenedMicrograph:
    """The file behind the picture on the page.

    Attributes:
        path: the file as it was uploaded.
        shown: what the page shows of it, which is a copy where the browser cannot show the file.
        shape: height and width in px.
        um_per_pixel: the scale that the file states, if any.
        example: name of the example that it is, if it is one.
        copies: owns the copy's folder, which goes when the visitor's session does.
    """

    path: str
    shown: str
    shape: tuple[int, int]
    um_per_pixel: float | None
    copies: tempfile.TemporaryDirectory | None = None
    example: str | None = None


@dataclass(frozen=True)
class CountedMicrograph:
    """A count in a visitor's session, and its files, which go when it does.

    Attributes:
        source: the file that was counted.
        analysis: its grains.
        folder: owns the files.
        saved: folder in it with what `GrainAnalysis.save` wrote.
        archive: zip of `saved`.
        uncorrected: the grains as the network found them, from which corrections are made anew.
        undone: corrections that were undone, the last one first.
    """

    source: str
    analysis: GrainAnalysis
    folder: tempfile.TemporaryDirectory
    saved: Path
    archive: str
    uncorrected: GrainAnalysis
    undone: tuple[Edit, ...] = ()

    @property
    def true_count(self) -> str | None:
        """How many grains there truly are, where the file is an example."""
        source = Path(self.source)
        return read_true_counts(source.parent).get(source.name)

    def overlay(self, show: OverlayStyle, opacity: float, chosen: int | None = None) -> np.ndarray:
        """Draws the overlay.

        Args:
            show: see `render_overlay`.
            opacity: see `render_overlay`.
            chosen: label of a grain to mark.

        Returns:
            uint8 (H, W, 3).
        """
        drawn = self.analysis.overlay(show=show, alpha=opacity)
        return drawn if chosen is None else mark_grains(drawn, self.analysis.labels, [chosen], CHOSEN_COLOUR)

    def keep_picture(self, name: str, draw: Callable[[], np.ndarray]) -> str:
        """Keeps a picture that belongs to the count; drawn at the first time only.

        Args:
            name: of the picture.
            draw: gives uint8 (H, W, 3).

        Returns:
            Path of a PNG.
        """
        path = Path(self.folder.name) / f"{name}.png"
        if not path.exists():
            write_png(path, draw())
        return str(path)

    def correct(self, edits: Sequence[Edit], undone: Sequence[Edit] = ()) -> CountedMicrograph:
        """Corrects the network's grains by hand, instead of the corrections so far.

        Args:
            edits: all corrections.
            undone: see the attribute.

        Returns:
            The new count with files of its own.

        Raises:
            CorrectionError: if a correction does not fit the grains that are there.
        """
        edits, done = tuple(edits), self.analysis.edits
        # Those before stand already, so that a hundredth click takes no longer than the first.
        goes_on = edits[: len(done)] == done
        start, further = (self.analysis, edits[len(done) :]) if goes_on else (self.uncorrected, edits)
        corrected = start.correct(further) if further else start
        return archive_analysis(self.source, corrected, self.uncorrected, tuple(undone))

    def rescale(self, um_per_pixel: float | None) -> CountedMicrograph:
        """Takes another scale; everything else stays.

        Args:
            um_per_pixel: scale, `None` for the file's own or none.

        Returns:
            The new count with files of its own.

        Raises:
            ScaleError: if it is no positive length.
        """
        micrograph = self.analysis.micrograph.with_scale(um_per_pixel)
        analyses = (replace(analysis, micrograph=micrograph) for analysis in (self.analysis, self.uncorrected))
        return archive_analysis(self.source, *analyses, self.undone)


def clear_errors(function: Callable[P, T], *, as_html: bool = True) -> Callable[P, T]:
    """Turns errors into a message; what the project did not foresee goes to the server's log as well.

    Args:
        function: what may raise them.
        as_html: the message is for the page, which takes it for HTML; otherwise it is plain text, for programs.

    Returns:
        The same function, but for its errors.
    """

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except GrainError as error:
            # Visitors know their file by its name, not by its place on the server.
            message = _SERVER_FOLDER.sub("", str(error))
            message = html.escape(message) if as_html else message
            raise gr.Error(message, duration=None, title="That did not work", print_exception=False) from error
        except gr.Error:
            raise
        except Exception as error:
            raise gr.Error(UNFORESEEN.format(type(error).__name__), duration=None, title="That did not work") from error

    return wrapped


def still_there(counted: CountedMicrograph | None) -> CountedMicrograph:
    """The count that a page shows, if the server still has it.

    Raises:
        MeasurementError: if it has not.
    """
    if counted is None:
        raise MeasurementError(AWAY_TOO_LONG)
    return counted


def open_micrograph(path: str, example: str | None = None) -> OpenedMicrograph:
    """Reads a file for display and for its scale.

    Args:
        path: the uploaded file.
        example: name of the example that it is, if it is one.

    Returns:
        The file with what can be shown of it.

    Raises:
        ImageError: if it is no image that can be read.
    """
    micrograph = read_upload(path)
    shape = micrograph.pixels.shape[:2]
    if browsers_show(Path(path)):
        return OpenedMicrograph(path, path, shape, micrograph.um_per_pixel, example=example)
    copies = tempfile.TemporaryDirectory(prefix="grain_model-")
    shown = str(Path(copies.name) / f"{Path(path).stem}.png")
    write_png(Path(shown), micrograph.pixels)
    return OpenedMicrograph(path, shown, shape, micrograph.um_per_pixel, copies, example)


def archive_analysis(
    source: str, analysis: GrainAnalysis, uncorrected: GrainAnalysis | None = None, undone: tuple[Edit, ...] = ()
) -> CountedMicrograph:
    """Writes the files of an analysis and packs them.

    Args:
        source: the file that was counted.
        analysis: the count.
        uncorrected: the same before corrections by hand; the analysis itself if left out.
        undone: see `CountedMicrograph`.

    Returns:
        The analysis with the path of a zip of what `GrainAnalysis.save` writes.
    """
    folder = tempfile.TemporaryDirectory(prefix="grain_model-")
    stem = Path(analysis.name).stem or "grains"
    saved = analysis.save(Path(folder.name) / stem)
    archive = shutil.make_archive(str(Path(folder.name) / f"{stem}-grains"), "zip", root_dir=saved)
    return CountedMicrograph(source, analysis, folder, saved, archive, uncorrected or analysis, undone)


def read_true_counts(folder: Path) -> dict[str, str]:
    """Reads how many grains the examples in a folder truly have.

    Args:
        folder: may hold `counts.csv`, whose first two columns are a file's name and its true count.

    Returns:
        True counts by file name; nothing where there is no such table.
    """
    counts = folder / "counts.csv"
    rows = csv.reader(counts.read_text(encoding="utf-8").splitlines()) if counts.is_file() else ()
    return {row[0]: row[1] for row in rows if len(row) > 1}


def describe_count(analysis: GrainAnalysis, edge_rule: str = "all", true_count: str | None = None) -> str:
    """Writes the card with the count and the figures that belong to it.

    Args:
        analysis: the count.
        edge_rule: which grains count, one of `EDGE_RULES`; planimetric G goes with all grains and with halves, and
            mean-area G (ASTM E1382) with whole grains only.
        true_count: of an example whose grains are known.

    Returns:
        HTML.
    """
    cut = analysis.table["touches_edge"].to_numpy(bool)
    sizes = analysis.grain_size
    number, noun, size = {
        "all": (analysis.count, "grain", sizes.saltykov),
        "whole": (int((~cut).sum()), "whole grain", sizes.mean_area),
        "half": (sizes.saltykov.n, "grain, those cut as half", sizes.saltykov),
    }[edge_rule]
    unit, diameters = ecd(analysis)
    diameters = diameters[~cut] if edge_rule == "whole" else diameters
    rule = "mean area, E1382" if edge_rule == "whole" else "planimetric"
    rows = [("true count, all grains", true_count)] if true_count else []
    rows.append((f"ASTM G, {rule}", _size_text(size)))
    if len(diameters):
        rows.append(("mean diameter (ECD)", f"{diameters.mean():.3g} {unit}"))
    if analysis.count:
        rows.append(("cut by the edge", f"{int(cut.sum())}"))
    if analysis.edits:
        rows.append(("corrected by hand", _correction_text(analysis)))
    rows.append(("scale", _scale_text(analysis)))
    title = noun if number == 1 else noun.replace("grain", "grains")
    remarks = analysis.remarks
    if edge_rule == "whole":  # what the other rule's flags say, the remarks say already
        remarks = [*remarks, *(f"{size.title}: {flag}." for flag in size.flags)]
    return _card(f"{number:g}", title, rows, remarks)


def grain_table(analysis: GrainAnalysis) -> pd.DataFrame:
    """Picks and names the columns that the page shows.

    Args:
        analysis: the count.

    Returns:
        One row a grain, numbers rounded to what can be read: four digits, and no fewer than stand before the point.
    """
    # An empty column would only take room where no grain was drawn by hand.
    table = analysis.table if analysis.corrected_ids else analysis.table.drop(columns="corrected")
    shown = table[[column for column in TABLE_COLUMNS if column in table]].rename(columns=TABLE_COLUMNS)
    numbers = shown.select_dtypes(float)
    # As many places as each number needs: at nanometres a pixel an area is far below 0.01 µm².
    places = 3 - np.floor(np.log10(numbers.abs().where(numbers != 0, 1)))
    power = 10 ** places.clip(lower=0)
    rounded = (numbers * power).round() / power
    # What is true of few grains is found more easily among empty cells.
    said = {column: shown[column].map({True: "yes", False: ""}) for column in shown.select_dtypes(bool)}
    return shown.assign(**rounded, **said)


def plot_distribution(analysis: GrainAnalysis) -> np.ndarray:
    """Draws the size distribution of the whole grains.

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
    if size.ci95 is None:
        return f"{size.G:.2f}"
    # On a phone the interval goes to the next line as a whole.
    low, high = size.ci95
    return f"{size.G:.2f} ({low:.2f}\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}{high:.2f})"


def _correction_text(analysis: GrainAnalysis) -> str:
    drawn, edits = len(analysis.corrected_ids), describe_edits(analysis.edits)
    return f"{drawn} grain{'' if drawn == 1 else 's'} ({edits})" if drawn else edits


def _scale_text(analysis: GrainAnalysis) -> str:
    if analysis.um_per_pixel is None:
        return "not known"
    return f"{analysis.um_per_pixel:.4g} µm/px ({analysis.scale_source})"


def _card(count: str, noun: str, rows: list[tuple[str, str]], notes: list[str]) -> str:
    figures = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in rows)
    remarks = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    return (
        '<div class="count-card" role="status">'
        f'<div class="count"><strong data-testid="count">{count}</strong>'
        f"<span>{html.escape(noun)}</span></div>"
        f"<dl>{figures}</dl>" + (f'<ul class="notes">{remarks}</ul>' if notes else "") + "</div>"
    )
