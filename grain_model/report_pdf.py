"""A report as PDF pages."""

from __future__ import annotations

import os
import textwrap
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.lines import Line2D

from .plots import GREY, RED, STYLE, in_style
from .report_content import RULE_COLUMNS, Picture, Report
from .version import __version__

# A4 in inches, and its margin.
PAGE, MARGIN, GUTTER = (8.27, 11.69), 0.75, 0.2
# Fonts with the scripts of East Asia as Windows, macOS and Linux bring them; matplotlib's own has none of these.
EAST_ASIAN_FONTS = (
    *("Microsoft YaHei", "Yu Gothic", "Malgun Gothic"),
    *("Arial Unicode MS", "Hiragino Sans GB", "Apple SD Gothic Neo"),
    *("Noto Sans CJK SC", "WenQuanYi Zen Hei", "Droid Sans Fallback"),
)


def write_pdf(report: Report, path: str | os.PathLike) -> None:
    """Write a report as A4 pages."""
    installed = {font.name for font in fontManager.ttflist}
    fonts = [STYLE["font.family"], *(name for name in EAST_ASIAN_FONTS if name in installed)]
    with in_style({"font.family": fonts, "axes.grid": False, "pdf.fonttype": 42}), PdfPages(path) as pages:
        page = _Page(pages, report.title)
        page.text(report.title, size=18, weight="bold")
        page.text(report.headline, size=11.5, weight="bold", gap=0.12)
        page.facts(report.facts)
        page.rules(report.rules)
        page.bullets(report.warnings, RED)
        page.bullets(report.notes, GREY)
        page.signature()
        for field in report.fields:
            page.turn()
            page.text(field.counted.file, size=14, weight="bold")
            page.facts(field.facts)
            page.rules(field.rules)
            page.bullets(field.warnings, RED)
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

    def pictures(self, row: list[Picture]) -> None:
        """Pictures side by side, as high as makes them fill the width; a single one takes half of it."""
        room = (PAGE[0] - 2 * MARGIN - GUTTER) / (2 if len(row) == 1 else 1)
        height = min(room / sum(picture.aspect for picture in row), PAGE[1] - 2 * MARGIN - 0.5)
        self._room(height + 0.35)
        left = MARGIN
        for picture in row:
            width = picture.aspect * height
            box = (left / PAGE[0], (self.y - height) / PAGE[1], width / PAGE[0], height / PAGE[1])
            axes = self.figure.add_axes(box)
            # As they are: any other way of showing them reduces them to the resolution of a screen.
            axes.imshow(picture.pixels, interpolation="none")
            axes.set_axis_off()
            self.figure.text(box[0], box[1] - 0.05 / PAGE[1], picture.caption, size=7.5, color=GREY, va="top")
            left += width + GUTTER
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
        line = Line2D(
            [left / PAGE[0], right / PAGE[0]], [(self.y + 0.03) / PAGE[1]] * 2, color="#c3c9d0", linewidth=0.6
        )
        self.figure.add_artist(line)
