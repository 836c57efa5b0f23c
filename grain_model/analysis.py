"""The grains of a micrograph: `GrainAnalysis`, which `count_grains` returns."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from .canonical_scale import predict_at_canonical_scale
from .correction import Edit, replay
from .errors import MeasurementError
from .expected_accuracy import ExpectedAccuracy, expected_accuracy
from .grain_size import grain_size
from .grain_size_result import GrainSize, RuleResult
from .image_processing_grain import standardize
from .instances import BOUNDARY, label_grains, resample
from .json_file import save_json
from .label_settings import DEFAULT_SETTINGS, LabelSettings
from .label_tiff import write_label_tiff
from .measurement import measure_grains, um_column, with_units
from .micrograph import Micrograph
from .paths import expand_home
from .png_file import write_png
from .quality import QualityFlag, assess_quality, is_blank
from .rendering import CORRECTED_COLOUR, OverlayStyle, mark_grains, render_mask, render_overlay
from .tiling import Network
from .version import __version__
from .words import plural

EdgeRule = Literal["all", "whole", "half"]


@dataclass(frozen=True, eq=False)
class GrainAnalysis:
    """The grains of one micrograph.

    Grains are looked for and measured in the micrograph's field: the picture without the strip of text that a
    microscope may have put under it, and without blank margins.

    Attributes:
        micrograph: The picture, its name and its scale.
        labels: int32 (H, W) at the image's own size, 1..count without gaps, 0 = boundary, gap or not a grain, and
            everywhere outside the field.
        confidence: float32 (count,), 0 to 1, the network's own certainty of each grain; NaN for a grain corrected by
            hand, of which the network has none and which a person's 1 would make look measured.
        maps: float32 (C, h, w), 0 to 1: grain interior, grain boundary, and what else the model gives, at the size of
            the field, or smaller where the grains are so large that the network read it reduced.
        settings: How the labels were drawn from the maps.
        flags: What makes this result doubtful as a whole, in words; empty when nothing does.
        weights: Name and version of the weights that were used.
        edits: The corrections by hand that are in the labels, in their order.
        corrected_ids: Labels of the grains that a correction made: merged, split or added.
        colour_numbers: int (count,), the number that the overlay takes each grain's colour from, so that a correction
            does not recolour other grains: the label before the first correction, or the flat index of the first pixel
            of a grain that a correction made, plus 1. `None` before the first correction: then it is the label.
    """

    micrograph: Micrograph
    labels: np.ndarray
    confidence: np.ndarray
    maps: np.ndarray = field(repr=False)
    settings: LabelSettings = DEFAULT_SETTINGS
    flags: tuple[QualityFlag, ...] = ()
    weights: dict[str, str | None] = field(default_factory=dict)
    edits: tuple[Edit, ...] = ()
    corrected_ids: tuple[int, ...] = ()
    colour_numbers: np.ndarray | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        return f"GrainAnalysis({plural(self.count, 'grain')}, {self.grain_size.saltykov!r}, {self.micrograph!r})"

    @property
    def probabilities(self) -> np.ndarray:
        """The maps at the size of the field, made anew at each call: float32 (C, field height, field width), 0 to 1."""
        return np.clip(resample(self.maps, self.field_labels.shape), 0, 1)

    @property
    def count(self) -> int:
        """Number of grains in the image, those cut by its edge included."""
        return len(self.confidence)

    def count_by(self, edge_rule: EdgeRule) -> tuple[float, RuleResult]:
        """Count the grains by a rule for those that the field's edge cuts.

        Args:
            edge_rule: `"all"` counts them as the others; `"whole"` leaves them out (ASTM E1382); `"half"` counts them
                as half, and as a quarter for each corner of the field that they hold (ASTM E112, Saltykov).

        Returns:
            The number, and the grain size that goes with it: by Saltykov's rule, or whole grains by their mean area.

        Raises:
            MeasurementError: If there is no such rule.
        """
        if edge_rule not in (known := get_args(EdgeRule)):
            raise MeasurementError(
                f"The edge rule {edge_rule!r} is unknown. One of {', '.join(map(repr, known))} is expected. Choose one."
            )
        sizes = self.grain_size
        if edge_rule == "whole":
            return int((~self.table["touches_edge"]).sum()), sizes.mean_area
        return sizes.saltykov.n if edge_rule == "half" else self.count, sizes.saltykov

    @property
    def mask(self) -> np.ndarray:
        """Binary mask: bool (H, W), true in a grain."""
        return self.labels > 0

    @property
    def name(self) -> str:
        """Name of the micrograph."""
        return self.micrograph.name

    @property
    def um_per_pixel(self) -> float | None:
        """Scale in um per pixel, or None when it is not known."""
        return self.micrograph.um_per_pixel

    @property
    def scale_source(self) -> str | None:
        """Where the scale came from."""
        return self.micrograph.scale_source

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of the result has to know about the file and the grain size, in sentences."""
        notes, top = list(self.micrograph.warnings), self.micrograph.footer_top
        if top is not None:
            notes.append(f"The strip under the picture (rows {top} to {len(self.labels) - 1}) is not counted.")
        if any(self.micrograph.margins):
            widths = self.micrograph.margins._asdict().items()
            sides = ", ".join(f"{width} px {side}" for side, width in widths if width)
            notes.append(f"Margins are not counted: {sides}.")
        if self.count:  # without grains, a quality flag says more
            notes += [f"Grain size: {flag}." for flag in self.grain_size.flags]
        return tuple(notes)

    @property
    def remarks(self) -> list[str]:
        """The warnings, and what makes the result doubtful as a whole, in sentences."""
        return [*self.warnings, *(flag.message for flag in self.flags)]

    @property
    def expected_accuracy(self) -> ExpectedAccuracy | None:
        """How right counts of this confidence were on labelled pictures; None where that is not known.

        It is known of the embedded weights at the default settings, until the first correction by hand.
        """
        return None if self.edits else expected_accuracy(self.confidence, self.weights, self.settings)

    @property
    def table(self) -> pd.DataFrame:
        """Measurements, one row a grain; row i is label i + 1. A copy, which may be changed.

        Columns: see `measure_grains`; and `corrected`, true where a correction by hand made the grain. Places count
        from the whole picture's corner; `touches_edge` asks for the field's edge.
        """
        return self._table.copy()

    @cached_property
    def _table(self) -> pd.DataFrame:
        table = measure_grains(self.field_labels, self.um_per_pixel, self.confidence)
        for axis, start in enumerate(self._field_start):
            for name in (f"centroid-{axis}", f"bbox-{axis}", f"bbox-{axis + 2}"):
                table[name] += start
            if self.um_per_pixel is not None:
                table[um_column(f"centroid-{axis}")] += start * self.um_per_pixel
        return table.assign(corrected=table["label"].isin(self.corrected_ids))

    @cached_property
    def grain_size(self) -> GrainSize:
        """ASTM grain-size numbers by each rule, with their intervals; G is None without a scale."""
        return grain_size(self.field_labels, self.um_per_pixel)

    @property
    def field_labels(self) -> np.ndarray:
        """Labels of the micrograph's field: int32 (field height, field width), a view."""
        return self.labels[self.micrograph.field_slices]

    @property
    def field_box(self) -> dict[str, int]:
        """Where the field lies in the picture, px: its first row `top` and column `left`, its `height` and `width`."""
        rows, columns = self.micrograph.field_slices
        return {
            "top": rows.start,
            "left": columns.start,
            "height": rows.stop - rows.start,
            "width": columns.stop - columns.start,
        }

    @property
    def _field_start(self) -> tuple[int, int]:
        """Row and column of the picture at which the field begins."""
        return self.micrograph.margins.top, self.micrograph.margins.left

    def overlay(self, *, alpha: float = 0.35, show: OverlayStyle = "fill") -> np.ndarray:
        """Draw the grains over the micrograph.

        Args:
            alpha: Opacity of the colour, 0 to 1.
            show: `"fill"`, `"outlines"`, `"ids"` or `"confidence"`; see `render_overlay`.

        Returns:
            uint8 (H, W, 3), RGB; grains corrected by hand have a white outline with a dark rim.
        """
        drawn = render_overlay(
            self.micrograph.pixels,
            self.labels,
            alpha=alpha,
            show=show,
            confidence=self.confidence,
            numbers=self.colour_numbers,
        )
        return mark_grains(drawn, self.labels, self.corrected_ids, CORRECTED_COLOUR)

    def relabel(self, **changes: Any) -> GrainAnalysis:
        """Draw the labels anew from the same maps, without running the network.

        Args:
            changes: Attributes of `LabelSettings`; those that are left out stay as they are.

        Returns:
            A new analysis of the same micrograph, without corrections; this one stays as it is.

        Raises:
            MeasurementError: If a setting does not fit; see `LabelSettings`.
            TypeError: If there is no such setting.
        """
        settings = replace(self.settings, **changes)
        drawn = _labelled(self.micrograph, self.maps, settings)
        return replace(self, settings=settings, edits=(), corrected_ids=(), colour_numbers=None, **drawn)

    def with_scale(self, um_per_pixel: float | None) -> GrainAnalysis:
        """Measure the same grains at another scale.

        Args:
            um_per_pixel: Scale in um per pixel; `None` for the file's own, or none.

        Returns:
            A new analysis; this one stays as it is.

        Raises:
            ScaleError: If it is not a number from 1e-6 to 1e6.
        """
        return replace(self, micrograph=self.micrograph.with_scale(um_per_pixel))

    def correct(self, edits: Iterable[Edit]) -> GrainAnalysis:
        """Correct the grains by hand; everything measured follows.

        Args:
            edits: What to do, in this order; see `Edit`.

        Returns:
            A new analysis of the same micrograph with labels 1..count without gaps; this one stays as it is, so undoing
            the last edit is correcting anew without it.

        Raises:
            CorrectionError: If an edit does not fit the grains that are there.
        """
        edits = tuple(edits)
        corrected = replay(self.field_labels, edits, self._field_start)
        origins = corrected.origins
        # A grain of an earlier correction stays one.
        by_hand = (origins == 0) | np.isin(origins, self.corrected_ids)
        confidence = np.append(np.float32(np.nan), self.confidence)[origins]
        before = np.arange(1, self.count + 1) if self.colour_numbers is None else self.colour_numbers
        numbers = np.append(0, before)[origins]
        # By the place of their first pixel, which is the same however often they are undone and made again.
        made = np.flatnonzero(origins == 0)
        numbers[made] = [np.argmax(corrected.labels.ravel() == index + 1) + 1 for index in made]
        return replace(
            self,
            labels=_on_whole_picture(corrected.labels, self.micrograph),
            confidence=confidence,
            flags=assess_quality(self.micrograph.field, corrected.labels, self.maps[BOUNDARY], confidence),
            edits=self.edits + edits,
            corrected_ids=tuple((np.flatnonzero(by_hand) + 1).tolist()),
            colour_numbers=numbers,
        )

    def summary(self) -> dict[str, Any]:
        """Collect the result as plain values for JSON: numbers, strings, lists and None, no NaN.

        Returns:
            Count, image with its file's SHA-256, its counted field, scale, settings, corrections by hand, grain size by
            each rule, mean confidence and expected accuracy, warnings, quality flags, and the software and weights that
            made it.
        """
        height, width = self.labels.shape
        known, expected = self.confidence[np.isfinite(self.confidence)], self.expected_accuracy
        return {
            "name": self.name,
            "count": self.count,
            "image": {"height": height, "width": width, "sha256": self.micrograph.sha256},
            "field": self.field_box,
            "scale": {"um_per_pixel": self.um_per_pixel, "source": self.scale_source},
            "settings": asdict(self.settings),
            "corrections": {
                "corrected_grains": len(self.corrected_ids),
                "edits": [edit.to_dict() for edit in self.edits],
            },
            "grain_size": self.grain_size.to_dict(),
            "mean_confidence": float(known.mean()) if len(known) else None,
            "expected_accuracy": asdict(expected) if expected else None,
            "warnings": list(self.warnings),
            "quality_flags": [{"code": flag.code, "message": flag.message} for flag in self.flags],
            "software": {"name": "grain_model", "version": __version__},
            "weights": dict(self.weights),
        }

    def save(self, folder: str | os.PathLike) -> Path:
        """Write the result as files that other tools open.

        `mask.png` (0/255), `overlay.png`, `labels.tif` (uint16, or uint32 above 65535 grains, with the scale set for
        ImageJ), `grains.csv` (one row a grain, units in the header) and `summary.json`.

        Args:
            folder: Where to; made if it does not exist, files of these names are replaced.

        Returns:
            The folder.
        """
        folder = expand_home(folder)
        folder.mkdir(parents=True, exist_ok=True)
        # Where a file of an earlier run is held by another program, none of this run shall lie beside those of that.
        for name in SAVED_FILES:
            (folder / name).unlink(missing_ok=True)
        for name, write in SAVED_FILES.items():
            write(self, folder / name)
        return folder


def analyze(
    micrograph: Micrograph,
    network: Network,
    weights: dict[str, str | None],
    settings: LabelSettings,
    progress: Callable[[int, int], None] | None = None,
) -> GrainAnalysis:
    """Run a network over a micrograph and draw the labels; `count_grains` without reading and loading.

    Args:
        micrograph: The picture.
        network: A grain model, or the same exported to ONNX.
        weights: Their name and version.
        settings: How the labels are drawn.
        progress: See `count_grains`.
    """
    if is_blank(micrograph.field):
        # The network, which knows micrographs alone, would see grains.
        maps = np.zeros((2, *micrograph.field.shape[:2]), np.float32)
    else:
        maps = predict_at_canonical_scale(network, standardize(micrograph.field), progress=progress)
    return GrainAnalysis(
        micrograph=micrograph,
        maps=maps,
        settings=settings,
        weights=weights,
        **_labelled(micrograph, maps, settings),
    )


def _labelled(micrograph: Micrograph, maps: np.ndarray, settings: LabelSettings) -> dict[str, Any]:
    """Compute what follows from the maps: labels, confidence and quality flags."""
    labels, confidence = label_grains(maps, settings, size=micrograph.field.shape[:2])
    flags = assess_quality(micrograph.field, labels, maps[BOUNDARY], confidence)
    return {"labels": _on_whole_picture(labels, micrograph), "confidence": confidence, "flags": flags}


def _on_whole_picture(labels: np.ndarray, micrograph: Micrograph) -> np.ndarray:
    """Labels of the field at the whole picture's size; nothing outside the field is a grain."""
    whole = np.zeros(micrograph.pixels.shape[:2], labels.dtype)
    whole[micrograph.field_slices] = labels
    return whole


SAVED_FILES: dict[str, Callable[[GrainAnalysis, Path], object]] = {
    "mask.png": lambda analysis, path: write_png(path, render_mask(analysis.labels)),
    "overlay.png": lambda analysis, path: write_png(path, analysis.overlay()),
    "labels.tif": lambda analysis, path: write_label_tiff(path, analysis.labels, analysis.um_per_pixel),
    "grains.csv": lambda analysis, path: path.write_bytes(with_units(analysis.table).to_csv(index=False).encode()),
    "summary.json": lambda analysis, path: save_json(analysis.summary(), path),
}
"""What `GrainAnalysis.save` writes: the name of each file and what writes it."""
