"""What a report says of a specimen and of each of its fields: plain text and pictures, for any layout."""

from __future__ import annotations

import datetime
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from .correction import describe_edits
from .duplex import ALA_DIFFERENCE, AlaGrain
from .failures import Failure
from .fields import CountedField, mean_of_counted
from .grain_size_result import GrainSize
from .measurement import grain_diameters
from .plots import (
    LEAST_ASPECT_RATIO,
    figure_to_array,
    plot_cumulative,
    plot_marked_grains,
    plot_micrograph,
    plot_orientation_rose,
    plot_size_distribution,
    plot_test_lines,
)
from .version import __version__
from .words import count_text, interval_text, merge_alike, plural, scale_text, settings_text

if TYPE_CHECKING:
    from .analysis import GrainAnalysis

RULE_COLUMNS = ("Rule", "Standard", "Measured", "G", "95 % interval", "%RA", "n")
PICTURE_DPI = 300


@dataclass(frozen=True)
class Picture:
    """A picture of the report, packed, since a report of many fields holds all of them until it is written.

    Attributes:
        caption: What it shows.
        png: The file's bytes.
        aspect: Width over height.
    """

    caption: str
    png: bytes
    aspect: float

    @property
    def pixels(self) -> np.ndarray:
        """uint8 (H, W, 3), unpacked anew at each call."""
        return np.asarray(Image.open(io.BytesIO(self.png)))


@dataclass(frozen=True)
class ReportField:
    """One image of the report.

    Attributes:
        counted: The image, as the report calls it, and its numbers.
        facts: Pairs of a name and a value.
        rules: Rows of the grain-size table, in RULE_COLUMNS.
        warnings: What a reader has to know.
        notes: Those of them that are about the file and its scale.
        doubts: Those of them that are about how well the grains were found.
        pictures: Rows of pictures, each of one height: the micrograph and its grains, test lines, charts.
    """

    counted: CountedField
    facts: list[tuple[str, str]]
    rules: list[tuple[str, ...]]
    warnings: list[str]
    notes: list[str]
    doubts: list[str]
    pictures: list[list[Picture]]


@dataclass(frozen=True)
class Report:
    """What a report says.

    Attributes:
        title: Heading.
        headline: The result in one sentence.
        facts: Pairs of a name and a value: specimen, scale, method, software.
        rules: Rows of the grain-size table over all fields, in RULE_COLUMNS.
        notes: How the intervals were found, as-large-as grain, duplex hint.
        warnings: What a reader has to know before signing.
        fields: The images.
    """

    title: str
    headline: str
    facts: list[tuple[str, str]]
    rules: list[tuple[str, ...]]
    notes: list[str]
    warnings: list[str]
    fields: list[ReportField]


def compose_report(
    fields: Iterable[GrainAnalysis | ReportField],
    *,
    left_out: Sequence[Failure] = (),
    specimen: str = "",
    operator: str = "",
    date: datetime.date | None = None,
    title: str = "Grain size report",
) -> Report:
    """Put a report together.

    Args:
        fields: The fields of one specimen: analyses, each of which may be forgotten when the next one comes, or what
            `compose_field` made of them.
        left_out: Files that were to be fields, too, as the report is to call them, and why they are not.
        specimen: Name of the specimen; left to be filled in by hand if empty.
        operator: Name of the person; likewise.
        date: Date of the report; today by default.
        title: Heading.

    Raises:
        MeasurementError: There is no field.
        ScaleError: Some fields have a scale and some have none.
    """
    fields = [field if isinstance(field, ReportField) else compose_field(field) for field in fields]
    counted = [field.counted for field in fields]
    sizes = mean_of_counted(counted)
    scales = [field.summary["scale"] for field in counted]
    facts = [
        ("Specimen", specimen),
        ("Fields", f"{len(fields)}: {', '.join(field.file for field in counted)}"),
        ("Grains", f"{sum(field.count for field in counted)} in the fields, those cut by an edge included"),
        ("Scale", "; ".join(sorted({scale_text(scale["um_per_pixel"], scale["source"]) for scale in scales}))),
        ("Grains found by", "; ".join(_unique(settings_text(field.summary["settings"]) for field in counted))),
        ("Software", f"grain_model {__version__}"),
        ("Weights", "; ".join(_unique(_weights_text(field.summary["weights"]) for field in counted))),
        ("Date", (date or datetime.date.today()).isoformat()),
        ("Operator", operator),
    ]
    if left_out:
        facts.insert(2, ("Left out", "; ".join(f"{failure.file}: {failure.reason}" for failure in left_out)))
    return Report(
        title=title,
        headline=_headline(sizes),
        facts=facts,
        rules=_rule_rows(sizes),
        notes=_notes(sizes),
        warnings=_unique([*_doubts_of_fields(fields), *sizes.flags, *_rule_flags(sizes)]),
        fields=fields,
    )


def compose_field(analysis: GrainAnalysis, name: str | None = None) -> ReportField:
    """Draw and write down what the report says of one field; it holds its pictures packed, and not the analysis.

    Args:
        analysis: The counted field.
        name: What the report calls it; by default the name of its micrograph.
    """
    return ReportField(
        counted=CountedField.of(analysis, analysis.name if name is None else name),
        facts=_field_facts(analysis),
        rules=_rule_rows(analysis.grain_size),
        warnings=_unique([*analysis.remarks, *_rule_flags(analysis.grain_size)]),
        notes=_unique(analysis.micrograph.warnings),
        doubts=_unique(flag.message for flag in analysis.flags),
        pictures=_field_pictures(analysis),
    )


def _doubts_of_fields(fields: Sequence[ReportField]) -> list[str]:
    """Each doubt once, with the fields that it is about where these are not all."""
    names = [field.counted.file for field in fields]
    # The numbers of pages and scales make no range.
    notes = merge_alike(names, [field.notes for field in fields], with_ranges=False)
    return [*notes, *merge_alike(names, [field.doubts for field in fields])]


def _field_facts(analysis: GrainAnalysis) -> list[tuple[str, str]]:
    scale, table = analysis.um_per_pixel, analysis.table
    whole = table[~table["touches_edge"]]
    diameters, unit = grain_diameters(whole)
    height, width = analysis.field_labels.shape
    size = f"{width} x {height} px"
    if scale:
        size += f", {width * scale:.4g} x {height * scale:.4g} \N{MICRO SIGN}m"
    facts = [
        ("Field", size),
        ("Scale", scale_text(scale, analysis.scale_source)),
        ("Grains", f"{analysis.count}, {len(whole)} of them whole"),
    ]
    if analysis.micrograph.sha256:
        facts.append(("SHA-256 of the file", analysis.micrograph.sha256))
    if analysis.edits:
        drawn = len(analysis.corrected_ids)
        by_hand = f"{describe_edits(analysis.edits)}; {plural(drawn, 'grain')} drawn by hand"
        facts.append(("Corrected by hand", by_hand))
    if expected := analysis.expected_accuracy:
        facts.append(("Expected accuracy", f"{expected}, as on labelled pictures of this confidence"))
    if len(whole):
        facts += [
            (
                "Diameter (ECD)",
                f"median {np.median(diameters):.3g}, mean {diameters.mean():.3g} {unit}, inside of the boundaries",
            ),
            ("Aspect ratio", f"mean {whole['aspect_ratio'].mean():.2f}"),
        ]
    return facts


def _field_pictures(analysis: GrainAnalysis) -> list[list[Picture]]:
    """Rows of pictures, each of one height."""
    pixels, scale = analysis.micrograph.field, analysis.um_per_pixel
    sizes, table = analysis.grain_size, analysis.table
    rows = [
        [
            ("Micrograph", plot_micrograph(pixels, scale)),
            (
                "Grains that were found, and the largest of them",
                plot_marked_grains(pixels, analysis.field_labels, sizes.ala, scale),
            ),
        ],
        [
            ("Heyn lines and the boundaries they cross", plot_test_lines(pixels, sizes.test_lines["heyn"], scale)),
            (
                "Abrams circles and the boundaries they cross",
                plot_test_lines(pixels, sizes.test_lines["abrams"], scale),
            ),
        ],
        [
            ("Grains not cut by the edge, by number and by area", plot_size_distribution(table)),
            (f"Grains of an aspect ratio of {LEAST_ASPECT_RATIO:g} and more", plot_orientation_rose(table)),
        ],
        [("Grains not cut by the edge; dots mark the medians", plot_cumulative(table))],
    ]
    return [[_draw(caption, figure) for caption, figure in row] for row in rows]


def _draw(caption: str, figure: Figure) -> Picture:
    pixels = figure_to_array(figure, PICTURE_DPI)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return Picture(caption, buffer.getvalue(), pixels.shape[1] / pixels.shape[0])


def _headline(sizes: GrainSize) -> str:
    result = sizes.saltykov
    if result.value is None:
        return "No grains were found: there is no grain size to report."
    if result.G is None:
        return f"No scale is known: {result.value:.3g} grains per px\N{SUPERSCRIPT TWO} and no grain-size number."
    interval = "" if result.ci95 is None else f" (95 % interval {interval_text(result.ci95, 1)})"
    rule = result.title[0].lower() + result.title[1:]
    return f"ASTM grain size number G = {result.G:.1f}{interval}, {rule}, {plural(result.n, 'grain')}."


def _rule_rows(sizes: GrainSize) -> list[tuple[str, ...]]:
    rows = []
    for result in sizes.rules:
        unit = result.unit.replace("um", "\N{MICRO SIGN}m").replace("^2", "\N{SUPERSCRIPT TWO}")
        symbol = result.definition.quantity.symbol
        measured = "\N{EN DASH}" if result.value is None else f"{symbol} = {result.value:.4g} {unit}"
        rows.append(
            (
                result.title,
                result.standard,
                measured,
                "\N{EN DASH}" if result.G is None else f"{result.G:.2f}",
                "\N{EN DASH}" if result.ci95 is None else interval_text(result.ci95),
                "\N{EN DASH}" if result.relative_accuracy is None else f"{result.relative_accuracy:.1f}",
                count_text(result.n),
            )
        )
    return rows


def _rule_flags(sizes: GrainSize) -> list[str]:
    return [f"{rule.title}: {flag}" for rule in sizes.rules for flag in rule.flags]


def _notes(sizes: GrainSize) -> list[str]:
    notes = []
    if sizes.iso643 is not None:
        notes.append(f"ISO 643 number: {sizes.iso643:.2f} (the ASTM number less 0.046).")
    for source in _unique([rule.ci_method for rule in sizes.rules]):
        names = [rule.rule.replace("_", " ") for rule in sizes.rules if rule.ci_method == source]
        notes.append(f"95 % interval of {', '.join(names)}: {source}.")
    for rule in (sizes.saltykov, sizes.jeffries):
        corners = f", {plural(rule.n_corner, 'corner')} in a grain" if rule.rule == "saltykov" else ""
        notes.append(f"{rule.title}: {rule.n_inside} grains inside, {rule.n_cut} cut by the edge{corners}.")
    if sizes.heyn.n:
        notes.append(
            f"Heyn's lines meet each grain about {sizes.heyn.n / sizes.heyn.n_independent:.0f} times: the intercepts "
            f"stand for {sizes.heyn.n_independent:.0f} on lines that meet each grain once."
        )
    notes.append("No interval covers boundaries that were not found or found in vain, nor an error of the scale.")
    if sizes.ala is not None:
        notes.append(_largest_grain(sizes.ala))
    unit, factor = ("px", 1.0) if sizes.um_per_pixel is None else ("\N{MICRO SIGN}m", sizes.um_per_pixel)
    if sizes.anisotropy is not None:
        intercepts = ", ".join(
            f"{direction.intercept_px * factor:.3g} at {direction.degrees}\N{DEGREE SIGN}"
            for direction in sizes.directions
        )
        notes.append(
            f"Mean lineal intercept by direction, {unit}: {intercepts}; the longest is {sizes.anisotropy:.2f} times "
            "the shortest."
        )
    if sizes.duplex.is_duplex:
        fine, coarse = sizes.duplex.diameters_px
        notes.append(
            f"Two grain populations, with diameters about {fine * factor:.3g} and {coarse * factor:.3g} {unit}, "
            f"{sizes.duplex.difference:.1f} numbers apart, the coarse one with {sizes.duplex.coarse_area_share:.0%} of "
            "the area."
        )
    if sizes.heyn.G is not None and sizes.saltykov.G is not None:
        notes.append(
            f"The intercept number (Heyn) is {sizes.heyn.G - sizes.saltykov.G:+.2f} from the planimetric one. Usual is "
            "+0.1 to +0.35 for equiaxed grains of like size, less for mixed sizes, more for elongated grains: state "
            "the rule with G."
        )
    return notes


def _largest_grain(ala: AlaGrain) -> str:
    number = "" if ala.G is None else f", G {ala.G:.1f}"
    kind = "as-large-as grain (ASTM E930)" if ala.is_ala else "no as-large-as grain (ASTM E930)"
    if ala.is_undecided:
        kind = (
            f"as large as ASTM E930 asks for, but such grains cover {ala.area_share:.0%} of the area measured, this "
            "one alone over 5 %: measure more to tell whether it is less"
        )
    elif ala.difference >= ALA_DIFFERENCE and not ala.is_ala:
        kind += f", since grains so large cover {ala.area_share:.0%} of the area (see ASTM E1181)"
    if ala.touches_edge:
        kind += ", as far as this field shows: its edge cuts the grain, which is larger than that"
    return (
        f"Largest grain: id {ala.label} of field {ala.field}{number}, {ala.difference:.1f} numbers coarser than the "
        f"mean: {kind}."
    )


def _weights_text(weights: dict[str, str | None]) -> str:
    if not weights.get("name"):
        return "not recorded"
    return weights["name"] + (f", version {weights['version']}" if weights.get("version") else "")


def _unique(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))
