"""What the batch tab tells: the card with the mean of the fields and with what failed, and the table of the files."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import pandas as pd

from ..errors import GrainError
from ..failures import Failure
from ..fields import CountedField, mean_of_counted
from ..grain_size_result import GrainSize, RuleResult
from ..words import count_text, interval_text, merge_alike, plural, scale_text, settings_text
from .batch_run import CountedBatch

FIELD_COLUMNS = {
    "file": "144px",
    "grains": "80px",
    "G": "64px",
    "95 % interval": "136px",
    "µm/px": "96px",
    "remarks": "660px",
}
"""Columns and their widths: a phone shows file, grains and G without scrolling sideways; long names wrap."""


def describe_batch(batch: CountedBatch) -> str:
    """Write the card with the mean of the fields and with what failed.

    Args:
        batch: Maybe not all counted yet.

    Returns:
        HTML.
    """
    if batch.current:
        stopping = ", stopping after the one at work" if batch.is_stopped else ""
        done = f"{batch.done} of {batch.total} files done{stopping}"
        return write_card(done, failures=batch.failures, unfinished=True)
    left = batch.total - batch.done
    stopped = f", stopped with {left} to go" if batch.is_stopped and left else ""
    if not batch.fields:
        return write_card(f"No file could be counted{stopped}", failures=batch.failures)
    grains = sum(field.count for field in batch.fields)
    title = f"{grains} grains in {plural(len(batch.fields), 'file')}{stopped}"
    # The fields on the page may have changed since.
    counted_with = f"<p>Counted with {html.escape(_settings_text(batch.fields))}.</p>"
    try:
        content = _rules_table(mean_of_counted(batch.fields))
    except GrainError as error:
        content = f"<p>{html.escape(str(error))}</p>"
    return write_card(title, content + counted_with, batch.failures)


def _settings_text(fields: Sequence[CountedField]) -> str:
    scales = {(scale["um_per_pixel"], scale["source"]) for scale in (field.summary["scale"] for field in fields)}
    scale = scale_text(*scales.pop()) if len(scales) == 1 else "each file's own"
    return f"{settings_text(fields[0].summary['settings'])}; scale {scale}"


def tabulate(fields: Sequence[CountedField]) -> pd.DataFrame:
    """Make the table of the files.

    Args:
        fields: The images that were counted.

    Returns:
        One row a file, in `FIELD_COLUMNS`; G by the planimetric rule of Saltykov.
    """
    return pd.DataFrame([_table_row(field) for field in fields], columns=list(FIELD_COLUMNS))


def _table_row(field: CountedField) -> list[Any]:
    size, scale = field.grain_size.saltykov, field.summary["scale"]["um_per_pixel"]
    return [
        field.file,
        field.count,
        "" if size.G is None else f"{size.G:.2f}",
        _interval(size),
        "not known" if scale is None else f"{scale:.4g}",
        " ".join(field.remarks),
    ]


def _rules_table(mean: GrainSize) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(rule.title)}</td>"
        + "".join(
            f"<td class=number>{text}</td>"
            for text in (
                "" if rule.G is None else f"{rule.G:.2f}",
                _interval(rule),
                "" if rule.relative_accuracy is None else f"{rule.relative_accuracy:.1f}",
                count_text(rule.n),
            )
        )
        + "</tr>"
        for rule in mean.rules
    )
    what = f"Mean of {plural(mean.n_fields, 'field')}"
    remarks = [] if mean.um_per_pixel else ["There is no G without a scale."]
    remarks += [f"{flag}." for flag in mean.flags]
    remarks += [f"{flag}." for flag in merge_alike([rule.title for rule in mean.rules], [r.flags for r in mean.rules])]
    note = "".join(f"<p>{html.escape(remark)}</p>" for remark in remarks)
    return (
        f"<table><thead><tr><th>{what}</th>"
        "<th class=number>G</th><th class=number>95 % interval</th><th class=number>%RA</th>"
        f"<th class=number>n</th></tr></thead><tbody>{rows}</tbody></table>{note}"
    )


def _interval(size: RuleResult) -> str:
    return "" if size.ci95 is None else interval_text(size.ci95)


def write_card(title: str, content: str = "", failures: Sequence[Failure] = (), unfinished: bool = False) -> str:
    """Write a card.

    Args:
        title: Its heading.
        content: HTML under it.
        failures: Listed at the end.
        unfinished: Leaves room for the progress bar.

    Returns:
        HTML.
    """
    failed = "".join(
        f"<li><strong>{html.escape(failure.file)}</strong>: {html.escape(failure.reason)}</li>" for failure in failures
    )
    classes = "batch-card unfinished" if unfinished else "batch-card"
    return (
        f'<div class="{classes}" role="status"><h3>{html.escape(title)}</h3>{content}'
        + (f'<ul class="notes" aria-label="Files that failed">{failed}</ul>' if failed else "")
        + "</div>"
    )
