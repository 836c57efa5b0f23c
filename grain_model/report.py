"""A report of one specimen that a person can check and sign: one PDF or HTML file, with everything inside.

`python -m grain_model report IMAGES --um-per-pixel X --out report.pdf`. Each image is one field. What it says is
put together once, as plain text and pictures; two small functions lay it out as PDF pages and as HTML.
"""

from __future__ import annotations

import argparse
import base64
import datetime
import io
import os
import sys
import tempfile
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from PIL import Image

from .batch import EXIT_SOME_FAILED, Batch, Failure, PictureFile, add_image_arguments, attempt, make_counter, refuse
from .correction import describe_edits
from .errors import GrainError, MeasurementError, printable
from .field_mean import average_fields
from .fields import digest, repeated_fields
from .grain_size_result import GrainSize
from .micrograph import read_micrograph
from .plots import (
    GREY,
    LEAST_ASPECT_RATIO,
    STYLE,
    figure_to_array,
    plot_cumulative,
    plot_marked_grains,
    plot_micrograph,
    plot_orientation_rose,
    plot_size_distribution,
    plot_test_lines,
)
from .version import __version__

if TYPE_CHECKING:
    from .analysis import GrainAnalysis, LabelSettings

RULE_COLUMNS = ("Rule", "Standard", "Measured", "G", "95 % interval", "%RA", "n")
#: A4 in inches, and its margin.
PAGE, MARGIN = (8.27, 11.69), 0.75
PICTURE_DPI = 300
#: Fonts with the scripts of East Asia as Windows, macOS and Linux bring them; matplotlib's own has none of these.
EAST_ASIAN_FONTS = (
    *("Microsoft YaHei", "Yu Gothic", "Malgun Gothic"),
    *("Arial Unicode MS", "Hiragino Sans GB", "Apple SD Gothic Neo"),
    *("Noto Sans CJK SC", "WenQuanYi Zen Hei", "Droid Sans Fallback"),
)


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
        name: Name of the image.
        count: Number of grains.
        digest: Of its pixels.
        size: Its grain size, without the test lines.
        scale: Scale and where it comes from.
        settings: How the grains were found.
        weights: With which weights.
        facts: Pairs of a name and a value.
        rules: Rows of the grain-size table, in RULE_COLUMNS.
        warnings: What a reader has to know.
        pictures: Rows of pictures, each of one height: the micrograph and its grains, test lines, charts.
    """

    name: str
    count: int
    digest: str
    size: GrainSize
    scale: str
    settings: str
    weights: str
    facts: list[tuple[str, str]]
    rules: list[tuple[str, ...]]
    warnings: list[str]
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
        left_out: Files that were to be fields, too, and why they are not.
        specimen: Name of the specimen; left to be filled in by hand if empty.
        operator: Name of the person; likewise.
        date: Date of the report; today by default.
        title: Heading.

    Raises:
        MeasurementError: There is no field.
        ScaleError: Some fields have a scale and some have none.
    """
    fields = [field if isinstance(field, ReportField) else compose_field(field) for field in fields]
    names = [field.name for field in fields]
    sizes = average_fields([field.size for field in fields], names)
    facts = [
        ("Specimen", specimen),
        ("Fields", f"{len(fields)}: {', '.join(names)}"),
        ("Grains", f"{sum(field.count for field in fields)} in the fields, those cut by an edge included"),
        ("Scale", "; ".join(sorted({field.scale for field in fields}))),
        ("Grains found by", "; ".join(_unique(field.settings for field in fields))),
        ("Software", f"grain_model {__version__}"),
        ("Weights", "; ".join(_unique(field.weights for field in fields))),
        ("Date", (date or datetime.date.today()).isoformat()),
        ("Operator", operator),
    ]
    if left_out:
        facts.insert(2, ("Left out", "; ".join(f"{Path(failure.file).name}: {failure.reason}" for failure in left_out)))
    flags = [*repeated_fields(names, [field.digest for field in fields])]
    flags += [*sizes.flags, *(f"{rule.title}: {flag}" for rule in sizes.rules for flag in rule.flags)]
    return Report(
        title=title,
        headline=_headline(sizes),
        facts=facts,
        rules=_rule_rows(sizes),
        notes=_notes(sizes),
        warnings=_unique(flags),
        fields=fields,
    )


def write_report(report: Report, path: str | os.PathLike) -> None:
    """Write a report as one file, PDF or HTML by the ending of its name.

    Raises:
        MeasurementError: The ending is neither .pdf nor .html.
    """
    ending = Path(path).suffix.lower()
    if ending == ".pdf":
        _write_pdf(report, path)
    elif ending in (".html", ".htm"):
        Path(path).write_text(render_html(report), encoding="utf-8")
    else:
        raise MeasurementError(
            f"The report's name ends in {ending or 'nothing'!r}; .pdf or .html is expected. Change the name."
        )


def render_html(report: Report) -> str:
    """The report as one HTML page that needs no other file and no network."""
    sections = []
    for field in report.fields:
        sections.append(
            f"<section><h2>{escape(field.name)}</h2>{_html_facts(field.facts)}{_html_rules(field.rules)}"
            f"{_html_warnings(field.warnings)}{''.join(map(_html_pictures, field.pictures))}</section>"
        )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(report.title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_CSS}</style></head><body>'
        f"<h1>{escape(report.title)}</h1><p class=headline>{escape(report.headline)}</p>"
        f"{_html_facts(report.facts)}{_html_rules(report.rules)}{_html_warnings(report.warnings)}"
        f"<ul class=notes>{''.join(f'<li>{escape(note)}</li>' for note in report.notes)}</ul>"
        f"<p class=signature><span>Checked</span><span>Date</span><span>Signature</span></p>"
        f"{''.join(sections)}</body></html>\n"
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``python -m grain_model report``."""
    add_image_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="report.pdf or report.html")
    parser.add_argument("--specimen", default="", help="name of the specimen, of which each image is one field")
    parser.add_argument("--operator", default="", help="name of the person who reports")


def run(options: argparse.Namespace) -> int:
    """Count the images and write the report; images that cannot be counted are named on stderr and left out.

    Returns:
        Exit code: 0 done, 1 some images were left out or nothing could be written, 2 wrong usage, 130 interrupted: the
        report is of the fields until then.
    """
    if options.out.suffix.lower() not in (".pdf", ".html", ".htm"):
        return refuse(f"--out {options.out} ends in neither .pdf nor .html. One of these is expected. Change the name.")
    if wrong := _cannot_be_written(options.out):
        return refuse(wrong)
    batch = Batch(options)
    fields: list[ReportField] = []
    with batch.until_interrupted():
        if options.um_per_pixel is None and (unscaled := _without_scale(batch.images)):
            return refuse(
                f"These images have no scale and the others have one: {', '.join(unscaled)}. A scale for each, or for "
                "none, is expected. Give one for all with --um-per-pixel, or report them apart."
            )
        try:
            count = make_counter(options)
        except GrainError as error:
            return refuse(str(error))
        fields.extend(batch.each(lambda image: compose_field(count(image))))
    batch.name_failures()
    try:
        report = compose_report(fields, left_out=batch.failures, specimen=options.specimen, operator=options.operator)
        write_report(report, options.out)
    except (GrainError, OSError) as error:
        print(error, file=sys.stderr)
        return batch.exit_code or EXIT_SOME_FAILED
    print(options.out)
    return batch.exit_code


def _without_scale(images: Sequence[PictureFile]) -> list[str]:
    """Names of the images without a scale where others have one, found before hours are spent on counting them."""
    has_scale = {}
    for image in images if len(images) > 1 else ():
        micrograph = attempt(image, partial(read_micrograph, image.path, page=image.page))
        if not isinstance(micrograph, Failure):  # which is told when its turn to be counted comes
            has_scale[printable(str(image))] = micrograph.um_per_pixel is not None
    return [name for name, known in has_scale.items() if not known] if any(has_scale.values()) else []


def _cannot_be_written(path: Path) -> str | None:
    """What is wrong with the name of a report, found before the first image is counted, or None."""
    if path.is_dir():
        return f"--out {path} is a folder. The name of a file is expected, such as {path / 'report.pdf'}. Change it."
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            path.open("r+b").close()
        else:
            tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        return (
            f"--out {path} cannot be written: {error.strerror}. A file that no other program holds, in a folder with "
            "the right to write, is expected. Close it, or name another one."
        )
    return None


def compose_field(analysis: GrainAnalysis) -> ReportField:
    """Draw and write down what the report says of one field; it holds its pictures packed, and not the analysis."""
    sizes, scale, table = analysis.grain_size, analysis.um_per_pixel, analysis.table
    pixels = analysis.micrograph.field
    labels = analysis.field_labels
    unit, column = ("\N{MICRO SIGN}m", "equivalent_diameter_area_um") if scale else ("px", "equivalent_diameter_area")
    whole = table[~table["touches_edge"]]
    height, width = labels.shape
    scale_text = _scale_text(scale, analysis.scale_source)
    facts = [
        (
            "Field",
            f"{width} x {height} px"
            + (f", {width * scale:.4g} x {height * scale:.4g} \N{MICRO SIGN}m" if scale else ""),
        ),
        ("Scale", scale_text),
        ("Grains", f"{analysis.count}, {len(whole)} of them whole"),
    ]
    if analysis.edits:
        drawn = len(analysis.corrected_ids)
        by_hand = f"{describe_edits(analysis.edits)}; {drawn} grain{'' if drawn == 1 else 's'} drawn by hand"
        facts.append(("Corrected by hand", by_hand))
    if len(whole):
        facts += [
            ("Diameter (ECD)", f"median {whole[column].median():.3g}, mean {whole[column].mean():.3g} {unit}"),
            ("Aspect ratio", f"mean {whole['aspect_ratio'].mean():.2f}"),
        ]
    rows = [
        [
            ("Micrograph", plot_micrograph(pixels, scale)),
            (
                "Grains that were found, and the largest of them",
                plot_marked_grains(pixels, labels, sizes.ala, scale),
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
    warnings = list(analysis.remarks)
    warnings += [f"{rule.title}: {flag}" for rule in sizes.rules for flag in rule.flags]
    pictures = [[_draw(caption, figure) for caption, figure in row] for row in rows]
    return ReportField(
        name=analysis.name,
        count=analysis.count,
        digest=digest(pixels),
        size=replace(sizes, test_lines={}),
        scale=scale_text,
        settings=_settings_text(analysis.settings),
        weights=_weights_text(analysis.weights),
        facts=facts,
        rules=_rule_rows(sizes),
        warnings=_unique(warnings),
        pictures=pictures,
    )


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
    interval = "" if result.ci95 is None else f" (95 % interval {result.ci95[0]:.1f} to {result.ci95[1]:.1f})"
    rule = result.title[0].lower() + result.title[1:]
    return f"ASTM grain size number G = {result.G:.1f}{interval}, {rule}, {result.n:g} grains."


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
                "\N{EN DASH}" if result.ci95 is None else f"{result.ci95[0]:.2f} to {result.ci95[1]:.2f}",
                "\N{EN DASH}" if result.relative_accuracy is None else f"{result.relative_accuracy:.1f}",
                f"{result.n:g}",
            )
        )
    return rows


def _notes(sizes: GrainSize) -> list[str]:
    notes = []
    if sizes.iso643 is not None:
        notes.append(f"ISO 643 number: {sizes.iso643:.2f} (the ASTM number less 0.046).")
    for source in _unique([rule.ci_method for rule in sizes.rules]):
        names = [rule.rule.replace("_", " ") for rule in sizes.rules if rule.ci_method == source]
        notes.append(f"95 % interval of {', '.join(names)}: {source}.")
    for rule in (sizes.saltykov, sizes.jeffries):
        notes.append(f"{rule.title}: {rule.n_inside} grains inside, {rule.n_cut} cut by the edge.")
    if sizes.ala is not None:
        number = "" if sizes.ala.G is None else f", G {sizes.ala.G:.1f}"
        kind = "as-large-as grain (ASTM E930)" if sizes.ala.is_ala else "no as-large-as grain (ASTM E930)"
        notes.append(
            f"Largest grain: id {sizes.ala.label} of field {sizes.ala.field}{number}, {sizes.ala.difference:.1f} "
            f"numbers coarser than the mean of its field: {kind}."
        )
    if sizes.anisotropy is not None:
        unit, factor = ("px", 1.0) if sizes.um_per_pixel is None else ("\N{MICRO SIGN}m", sizes.um_per_pixel)
        intercepts = ", ".join(
            f"{direction.intercept_px * factor:.3g} at {direction.degrees}\N{DEGREE SIGN}"
            for direction in sizes.directions
        )
        notes.append(
            f"Mean lineal intercept by direction, {unit}: {intercepts}; the longest is {sizes.anisotropy:.2f} times "
            "the shortest."
        )
    if sizes.duplex.is_duplex:
        notes.append(
            f"Two grain populations in field {sizes.duplex.field}, {sizes.duplex.difference:.1f} numbers apart, the "
            f"coarse one with {sizes.duplex.coarse_area_share:.0%} of the area: look at ASTM E1181."
        )
    notes.append("Intercept numbers lie 0.1 to 0.35 above planimetric ones in most structures; state the rule with G.")
    return notes


def _scale_text(um_per_pixel: float | None, source: str | None) -> str:
    if um_per_pixel is None:
        return "unknown"
    return f"{um_per_pixel:.5g} \N{MICRO SIGN}m per pixel" + (f" ({source})" if source else "")


def _settings_text(settings: LabelSettings) -> str:
    area = settings.min_grain_area
    smallest = "by the image's own grains" if area is None else f"{area:g} px"
    return f"{settings.method}, boundary sensitivity {settings.boundary_sensitivity:g}, smallest grain {smallest}"


def _weights_text(weights: dict[str, str | None]) -> str:
    if not weights.get("name"):
        return "not recorded"
    return weights["name"] + (f", version {weights['version']}" if weights.get("version") else "")


def _unique(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))


_CSS = """
body{font:15px/1.45 system-ui,sans-serif;color:#1c2228;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{margin:0 0 .3rem}h2{border-top:2px solid #dde1e6;padding-top:1.2rem;margin-top:2.2rem;overflow-wrap:anywhere}
.headline{font-size:1.2rem;font-weight:600}table{border-collapse:collapse;margin:1rem 0;width:100%;font-size:.9rem}
th,td{text-align:left;padding:.3rem .6rem .3rem 0;border-bottom:1px solid #dde1e6;vertical-align:top}
th{color:#5b6470;font-weight:600}.facts th{width:10rem}.warnings{
  border-left:4px solid #c8102e;padding:.2rem 1rem .2rem 2rem}
.notes{color:#5b6470;font-size:.9rem}.figures{display:flex;gap:1rem;margin:1rem 0;break-inside:avoid}
figure{margin:0;min-width:0}img{width:100%}figcaption{color:#5b6470;font-size:.85rem}
@media(max-width:36rem){.figures{flex-direction:column}}
.signature{display:flex;gap:2rem;margin-top:4rem}.signature span{flex:1;border-top:1px solid #1c2228;color:#5b6470}
.scroll{overflow-x:auto}@media print{section{break-before:page}}
"""


def _html_facts(facts: list[tuple[str, str]]) -> str:
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in facts)
    return f"<table class=facts>{rows}</table>"


def _html_rules(rules: list[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in RULE_COLUMNS)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rules)
    return f"<div class=scroll><table><tr>{head}</tr>{body}</table></div>"


def _html_pictures(row: list[Picture]) -> str:
    """A row of pictures of one height; a single one takes half of the width."""
    figures = "".join(
        f'<figure style="flex:{picture.aspect:.3f}"><img src="{_data_uri(picture)}" '
        f'alt="{escape(picture.caption)}"><figcaption>{escape(picture.caption)}</figcaption></figure>'
        for picture in row
    )
    rest = f'<div style="flex:{row[0].aspect:.3f}"></div>' if len(row) == 1 else ""
    return f"<div class=figures>{figures}{rest}</div>"


def _html_warnings(warnings: list[str]) -> str:
    if not warnings:
        return ""
    return f"<ul class=warnings>{''.join(f'<li>{escape(text)}</li>' for text in warnings)}</ul>"


def _data_uri(picture: Picture) -> str:
    return "data:image/png;base64," + base64.b64encode(picture.png).decode("ascii")


def _write_pdf(report: Report, path: str | os.PathLike) -> None:
    installed = {font.name for font in fontManager.ttflist}
    fonts = [STYLE["font.family"], *(name for name in EAST_ASIAN_FONTS if name in installed)]
    style = {**STYLE, "font.family": fonts, "axes.grid": False, "pdf.fonttype": 42}
    with matplotlib.rc_context(style), PdfPages(path) as pages:
        page = _Page(pages, report.title)
        page.text(report.title, size=18, weight="bold")
        page.text(report.headline, size=11.5, weight="bold", gap=0.12)
        page.facts(report.facts)
        page.rules(report.rules)
        page.bullets(report.warnings, "#c8102e")
        page.bullets(report.notes, GREY)
        page.signature()
        for field in report.fields:
            page.turn()
            page.text(field.name, size=14, weight="bold")
            page.facts(field.facts)
            page.rules(field.rules)
            page.bullets(field.warnings, "#c8102e")
            for row in field.pictures:
                page.pictures(row)
        page.finish()
        pages.infodict().update({"Title": report.title, "Creator": f"grain_model {__version__}"})


def _wrap(text: str, width: int, hang: str = "") -> list[str]:
    """Lines of at most `width` letters; the signs of East Asia count as two, which is about how wide they are."""
    padded = "".join(sign + "\0" * (unicodedata.east_asian_width(sign) in "WF") for sign in text)
    return [line.replace("\0", "") for line in textwrap.wrap(padded, width, subsequent_indent=hang)]


class _Page:
    """Lays text, tables and pictures down A4 pages, and turns the page when one is full."""

    def __init__(self, pages: PdfPages, title: str) -> None:
        self.pages, self.title, self.number = pages, title, 0
        self._begin()

    def turn(self) -> None:
        self.finish()
        self._begin()

    def finish(self) -> None:
        self.figure.text(0.5, 0.35 / PAGE[1], f"{self.title}, page {self.number}", ha="center", size=7.5, color=GREY)
        self.pages.savefig(self.figure)

    def text(
        self,
        text: str,
        size: float = 9,
        weight: str = "normal",
        color: Any = "black",
        gap: float = 0.06,
        hang: str = "",
    ) -> None:
        for line in _wrap(text, int((PAGE[0] - 2 * MARGIN) * 128 / size), hang) or [""]:
            self._room(size * 1.35 / 72)
            self._put(MARGIN, line, size=size, weight=weight, color=color)
            self.y -= size * 1.35 / 72
        self.y -= gap

    def facts(self, facts: list[tuple[str, str]]) -> None:
        for name, value in facts:
            lines = _wrap(value, 80) or ["." * 60]
            # Short values stay whole; a list of hundreds of fields goes on on the next page.
            self._room(0.17 * min(len(lines), 8))
            self._put(MARGIN, name, color=GREY)
            for line in lines:
                self._room(0.17)
                self._put(MARGIN + 1.3, line, color="black" if value else GREY)
                self.y -= 0.17
        self.y -= 0.14

    def rules(self, rules: list[tuple[str, ...]]) -> None:
        edges = MARGIN + np.array([0, 1.75, 3.3, 4.6, 5.05, 5.95, 6.4])
        self._room(0.3 * len(rules) + 0.3)
        self._row(edges, RULE_COLUMNS, "bold")
        for row in rules:
            self._row(edges, row, "normal")
        self.y -= 0.12

    def bullets(self, texts: list[str], color: str) -> None:
        for text in texts:
            self.text(f"\N{BULLET} {text}", size=8, color=color, gap=0.02, hang="   ")
        self.y -= 0.1

    def signature(self) -> None:
        self._room(0.9)
        self.y -= 0.65
        for column, name in enumerate(("Checked", "Date", "Signature")):
            left = MARGIN + column * 2.3
            self._line(left, left + 2.0)
            self._put(left, name, size=8, color=GREY)

    def pictures(self, row: list[Picture], gutter: float = 0.2) -> None:
        """Pictures side by side, as high as makes them fill the width; a single one takes half of it."""
        room = (PAGE[0] - 2 * MARGIN - gutter) / (2 if len(row) == 1 else 1)
        height = min(room / sum(picture.aspect for picture in row), PAGE[1] - 2 * MARGIN - 0.5)
        self._room(height + 0.35)
        left = MARGIN
        for picture in row:
            width = picture.aspect * height
            box = (left / PAGE[0], (self.y - height) / PAGE[1], width / PAGE[0], height / PAGE[1])
            axes = self.figure.add_axes(box)
            axes.imshow(picture.pixels, interpolation="antialiased")
            axes.set_axis_off()
            self.figure.text(box[0], box[1] - 0.05 / PAGE[1], picture.caption, size=7.5, color=GREY, va="top")
            left += width + gutter
        self.y -= height + 0.35

    def _begin(self) -> None:
        self.figure = Figure(figsize=PAGE)
        self.number += 1
        self.y = PAGE[1] - MARGIN

    def _room(self, height: float) -> None:
        if self.y - height < MARGIN:
            self.turn()

    def _row(self, edges: np.ndarray, cells: Sequence[str], weight: str) -> None:
        widths = np.diff([*edges, PAGE[0] - MARGIN + 0.3])
        wrapped = [_wrap(cell, max(4, int(width * 15.5))) for cell, width in zip(cells, widths, strict=True)]
        top = self.y
        for left, lines in zip(edges, wrapped, strict=True):
            for number, line in enumerate(lines):
                self.y = top - 0.135 * number
                self._put(left, line, size=7.5, weight=weight)
        self.y = top - 0.135 * max(len(lines) for lines in wrapped) - 0.05
        self._line(MARGIN, PAGE[0] - MARGIN)
        self.y -= 0.04

    def _put(self, left: float, text: str, size: float = 9, **style: Any) -> None:
        self.figure.text(left / PAGE[0], self.y / PAGE[1], text, size=size, va="top", parse_math=False, **style)

    def _line(self, left: float, right: float) -> None:
        line = matplotlib.lines.Line2D(
            [left / PAGE[0], right / PAGE[0]], [(self.y + 0.03) / PAGE[1]] * 2, color="#c3c9d0", linewidth=0.6
        )
        self.figure.add_artist(line)
