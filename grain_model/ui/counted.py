"""A count, of a visitor's session or of a program, and its files, which go when it does."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..analysis import GrainAnalysis
from ..correction import Edit
from ..errors import MeasurementError
from ..png_file import write_png
from ..rendering import CHOSEN_COLOUR, OverlayStyle, mark_grains
from .examples import read_true_counts

AWAY_TOO_LONG = (
    "The server has let go of the count that this page shows: the page was away for over an hour, many others came "
    "meanwhile, or the server began anew. What is shown can be read, but no more be changed or made into files. Count "
    "again for that."
)


@dataclass(frozen=True)
class CountedMicrograph:
    """A count in a visitor's session, and its files, which go when it does.

    Attributes:
        source: The file that was counted.
        analysis: Its grains.
        folder: Owns the files.
        saved: Folder in it with what `GrainAnalysis.save` wrote.
        archive: Zip of `saved`.
        uncorrected: The grains as the network found them, from which corrections are made anew.
        undone: Corrections that were undone, the last one first.
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
        """Draw the overlay.

        Args:
            show: See `render_overlay`.
            opacity: See `render_overlay`.
            chosen: Label of a grain to mark.

        Returns:
            uint8 (H, W, 3).
        """
        drawn = self.analysis.overlay(show=show, alpha=opacity)
        return drawn if chosen is None else mark_grains(drawn, self.analysis.labels, [chosen], CHOSEN_COLOUR)

    def keep_picture(self, name: str, draw: Callable[[], np.ndarray]) -> str:
        """Keep a picture that belongs to the count; drawn at the first time only.

        Args:
            name: Of the picture.
            draw: Gives uint8 (H, W, 3).

        Returns:
            Path of a PNG.
        """
        path = Path(self.folder.name) / f"{name}.png"
        if not path.exists():
            # Under a name of its own until it is whole: another handler may look for it meanwhile.
            part = path.with_name(f"{name}-{uuid.uuid4().hex}.png")
            write_png(part, draw())
            part.replace(path)
        return str(path)

    def correct(self, edits: Sequence[Edit], undone: Sequence[Edit] = ()) -> CountedMicrograph:
        """Correct the network's grains by hand, instead of the corrections so far.

        Args:
            edits: All corrections.
            undone: See the attribute.

        Returns:
            The new count with files of its own.

        Raises:
            CorrectionError: If a correction does not fit the grains that are there.
        """
        edits, done = tuple(edits), self.analysis.edits
        # Those before stand already, so that a hundredth click takes no longer than the first.
        goes_on = edits[: len(done)] == done
        start, further = (self.analysis, edits[len(done) :]) if goes_on else (self.uncorrected, edits)
        corrected = start.correct(further) if further else start
        return archive_analysis(self.source, corrected, self.uncorrected, tuple(undone))

    def given_scale(self, um_per_pixel: float | None) -> float | None:
        """What stands in the field of the scale, or `None` where that is the own one of the file that was counted."""
        stated = self.analysis.micrograph.stated
        return unless_own(um_per_pixel, stated.um_per_pixel if stated else None)

    def at_scale(self, um_per_pixel: float | None) -> CountedMicrograph:
        """Take the scale that stands in the field; everything else stays.

        Args:
            um_per_pixel: Scale, `None` for the file's own or none.

        Returns:
            The new count with files of its own; this one where it has that scale.

        Raises:
            ScaleError: If it is not from 1e-6 to 1e6 um.
        """
        given = self.given_scale(um_per_pixel)
        if given == self.analysis.micrograph.given_scale:
            return self
        analyses = (analysis.with_scale(given) for analysis in (self.analysis, self.uncorrected))
        return archive_analysis(self.source, *analyses, self.undone)


def unless_own(um_per_pixel: float | None, own: float | None) -> float | None:
    """What stands in the field of the scale, or `None` where it is the file's own, which results then name as such."""
    return None if um_per_pixel == own else um_per_pixel


def still_there(counted: CountedMicrograph | None) -> CountedMicrograph:
    """The count that a page shows, if the server still has it.

    Raises:
        MeasurementError: If it has not.
    """
    if counted is None:
        raise MeasurementError(AWAY_TOO_LONG)
    return counted


def archive_analysis(
    source: str, analysis: GrainAnalysis, uncorrected: GrainAnalysis | None = None, undone: tuple[Edit, ...] = ()
) -> CountedMicrograph:
    """Write the files of an analysis and pack them.

    Args:
        source: The file that was counted.
        analysis: The count.
        uncorrected: The same before corrections by hand; the analysis itself if left out.
        undone: See `CountedMicrograph`.

    Returns:
        The analysis with the path of a zip of what `GrainAnalysis.save` writes.
    """
    folder = tempfile.TemporaryDirectory(prefix="grain_model-")
    stem = analysis.micrograph.stem
    saved = analysis.save(Path(folder.name) / stem)
    archive = shutil.make_archive(str(Path(folder.name) / f"{stem}-grains"), "zip", root_dir=saved)
    kept = _off_memory(analysis)
    return CountedMicrograph(source, kept, folder, saved, archive, uncorrected or kept, undone)


def _off_memory(analysis: GrainAnalysis) -> GrainAnalysis:
    """Move the arrays into files, so that the pictures of visitors who have gone do not fill the server's memory.

    A megapixel takes 19 MB, and gradio keeps the count of a closed page for an hour.
    """
    pixels = _off_memory_array(analysis.micrograph.pixels)
    return replace(
        analysis,
        micrograph=replace(analysis.micrograph, pixels=pixels),
        labels=_off_memory_array(analysis.labels),
        maps=_off_memory_array(analysis.maps),
    )


def _off_memory_array(array: np.ndarray) -> np.ndarray:
    """The same numbers in a file without a name; the system reads what is used of it and lets go of it again."""
    if isinstance(array.base, np.memmap):
        return array
    with tempfile.TemporaryFile(prefix="grain_model-") as file:
        kept = np.memmap(file, array.dtype, "w+", shape=array.shape)
    kept[...] = array
    kept.flags.writeable = array.flags.writeable
    return np.asarray(kept)
