"""The card of one micrograph: the count, and the figures and remarks that belong to it."""

from __future__ import annotations

import html

from ..analysis import EdgeRule, GrainAnalysis
from ..correction import describe_edits
from ..grain_size_result import RuleResult
from ..measurement import grain_diameters
from ..words import count_text, interval_text, plural, scale_text


def describe_count(analysis: GrainAnalysis, edge_rule: EdgeRule = "all", true_count: str | None = None) -> str:
    """Write the card with the count and the figures that belong to it.

    Args:
        analysis: The count.
        edge_rule: Which grains count; see `GrainAnalysis.count_by`.
        true_count: Of an example whose grains are known.

    Returns:
        HTML.
    """
    cut = analysis.table["touches_edge"].to_numpy(bool)
    number, size = analysis.count_by(edge_rule)
    noun = {"all": "grain", "whole": "whole grain", "half": "grain, those cut as half"}[edge_rule]
    diameters, unit = grain_diameters(analysis.table[~cut])
    rule = "mean area, E1382" if edge_rule == "whole" else "planimetric"
    rows = [("true count, all grains", true_count)] if true_count else []
    rows.append((f"ASTM G, {rule}", _size_text(size, "no whole grains" if edge_rule == "whole" else "no grains")))
    if len(diameters):
        rows.append(("mean diameter (ECD), whole grains", f"{diameters.mean():.3g} {unit}"))
    if analysis.count:
        rows.append(("cut by the edge", f"{int(cut.sum())}"))
    if analysis.edits:
        rows.append(("corrected by hand", _correction_text(analysis)))
    if expected := analysis.expected_accuracy:
        rows.append(("expected accuracy", str(expected)))
    rows.append(("scale", scale_text(analysis.um_per_pixel, analysis.scale_source)))
    title = noun if number == 1 else noun.replace("grain", "grains")
    remarks = analysis.remarks
    if edge_rule == "whole":  # what the other rule's flags say, the remarks say already
        remarks = [*remarks, *(f"{size.title}: {flag}." for flag in size.flags)]
    return _card(count_text(number), title, rows, remarks)


def _size_text(size: RuleResult, none: str) -> str:
    if size.G is None:
        return "needs the scale" if size.um_per_pixel is None else none
    if size.ci95 is None:
        return f"{size.G:.2f}"
    # On a phone the interval goes to the next line as a whole.
    interval = interval_text(size.ci95).replace(" ", "\N{NO-BREAK SPACE}")
    return f"{size.G:.2f} ({interval})"


def _correction_text(analysis: GrainAnalysis) -> str:
    drawn, edits = len(analysis.corrected_ids), describe_edits(analysis.edits)
    return f"{plural(drawn, 'grain')} ({edits})" if drawn else edits


def _card(count: str, noun: str, rows: list[tuple[str, str]], notes: list[str]) -> str:
    figures = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in rows)
    remarks = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    return (
        '<div class="count-card" role="status">'
        f'<div class="count"><strong data-testid="count">{count}</strong>'
        f"<span>{html.escape(noun)}</span></div>"
        f"<dl>{figures}</dl>" + (f'<ul class="notes">{remarks}</ul>' if notes else "") + "</div>"
    )
