"""The batch tab: many micrographs of one specimen in; a row for each, their mean and one zip out."""

from __future__ import annotations

import html
import os
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import gradio as gr
import pandas as pd
from transformers import PreTrainedModel

from ..errors import GrainError
from ..fields import CountedField, mean_of_counted
from ..grain_size_result import GrainSize, RuleResult
from ..label_settings import LabelSettings, Method
from ..picture_files import Failure
from ..report_content import scale_text, settings_text
from ..scale import as_scale
from ..words import plural
from .batch_run import BatchUpload, CountedBatch, count_batch, open_uploads
from .entry import lay_out_label_settings
from .errors import clear_errors
from .limits import BATCH_QUEUE, MAX_UPLOAD_BYTES, PRIVATE, count_upload
from .results import Updates

FIELD_COLUMNS = {
    "file": "144px",
    "grains": "80px",
    "G": "64px",
    "95 % interval": "136px",
    "µm/px": "96px",
    "remarks": "660px",
}
"""Columns and their widths: a phone shows file, grains and G without scrolling sideways; long names wrap."""

CSS = """
#batch-table th * { white-space: nowrap; overflow-wrap: normal; word-break: normal; }
#batch-table td * { overflow-wrap: anywhere; }
.batch-card { box-sizing: border-box; padding: .25rem 1rem 1rem; color: var(--body-text-color); }
.batch-card h3 { margin: 0 0 .5rem; }
/* The progress bar and the place in the queue stand here meanwhile. */
.batch-card.unfinished { padding-top: 5rem; }
.batch-card table { width: 100%; border: 0; border-collapse: collapse; font-variant-numeric: tabular-nums; }
.batch-card tr { border: 0; }
.batch-card th, .batch-card td { padding: .3rem .75rem .3rem 0; text-align: left; vertical-align: top;
  border: 0; border-bottom: 1px solid var(--border-color-primary); }
.batch-card tr > :last-child { padding-right: 0; }
.batch-card p { margin: .6rem 0 0; overflow-wrap: anywhere; }
@media (max-width: 640px) {
  #batch-card .progress-text.meta-text-center { top: 2.75rem; transform: none; }
  .batch-card { padding: .25rem .25rem .75rem; }
  .batch-card table { font-size: .85em; }
  .batch-card th, .batch-card td { padding-right: .4rem; }
}
.batch-card th { color: var(--body-text-color-subdued); font-weight: 500; }
.batch-card .number { text-align: right; }
.batch-card .notes { margin: .75rem 0 0; padding: .5rem .8rem; list-style: none; border-left: 3px solid #d97706;
  background: color-mix(in srgb, #d97706 12%, transparent); font-size: .9em; overflow-wrap: anywhere; }
.batch-card .notes li + li { margin-top: .4rem; }
"""


def build_batch_tab(model: str | os.PathLike | PreTrainedModel | None) -> None:
    """Lay out the tab and bind its events, inside the current `gr.Blocks`.

    Args:
        model: What `load_model` takes.
    """
    _BatchTab(model)


class _BatchTab:
    """The tab's components and what their events do; all that belongs to a visitor is in the states."""

    def __init__(self, model: str | os.PathLike | PreTrainedModel | None) -> None:
        self.model = model
        self._lay_out_entry()
        self._lay_out_results()
        self.upload, self.batch = gr.State(None), gr.State(None)
        self._bind()

    def _lay_out_entry(self) -> None:
        with gr.Row():
            with gr.Column(scale=3, min_width=300):
                self.files = gr.File(
                    label=f"Micrographs or zips (≤ {MAX_UPLOAD_BYTES // 1024**2} MB each)",
                    file_count="multiple",
                    type="filepath",
                    height=300,
                    elem_id="batch-files",
                )
            with gr.Column(scale=2, min_width=300):
                self.scale = gr.Number(
                    label="Scale of all files (µm per pixel)",
                    info="Leave it empty to take each file's own.",
                    placeholder="each file's own",
                    elem_id="batch-scale",
                )
                self.all_pages = gr.Checkbox(
                    label="Count every page of files with several",
                    info="Each page is a field. Otherwise the first one is counted.",
                    elem_id="batch-pages",
                )
                self.label_fields = lay_out_label_settings("batch-")
                with gr.Row():
                    self.start = gr.Button("Count all files", variant="primary", size="lg", elem_id="batch-button")
                    # One while it waits for its turn, which is given up, and one while it counts, which ends in order.
                    self.give_up, self.stop = (
                        gr.Button("Stop", variant="stop", size="lg", visible=False, elem_id=elem_id)
                        for elem_id in ("batch-give-up", "batch-stop")
                    )

    def _lay_out_results(self) -> None:
        with gr.Column(visible=False, elem_id="batch-results") as self.panel:
            self.card = gr.HTML(container=True, elem_id="batch-card")
            self.table = gr.Dataframe(
                headers=list(FIELD_COLUMNS),
                label="Files",
                interactive=False,
                wrap=True,
                column_widths=list(FIELD_COLUMNS.values()),
                max_height=420,
                elem_id="batch-table",
            )
            self.download = gr.DownloadButton("Download all results (zip)", visible=False, elem_id="batch-download")

    def _bind(self) -> None:
        label_fields = self.label_fields
        # A number without a value is shown as 0 until it is told so.
        gr.on(None, lambda: [None, None], None, [self.scale, label_fields.min_grain_area], **PRIVATE)
        self.files.change(self.forget, self.upload, [self.panel, self.batch], **PRIVATE)
        buttons = [self.start, self.give_up, self.stop]
        results = [self.card, self.table, self.download]
        running = (
            self.start.click(
                self.prepare,
                [self.files, self.scale, self.all_pages],
                [self.upload, self.panel, *results],
                **PRIVATE,
            )
            .success(self.begin, None, buttons, **PRIVATE)
            .then(
                self.run,
                [
                    self.upload,
                    self.scale,
                    label_fields.method,
                    label_fields.boundary_sensitivity,
                    label_fields.min_grain_area,
                ],
                [*results, self.batch, self.give_up, self.stop],
                show_progress_on=self.card,
                concurrency_limit=1,
                concurrency_id=BATCH_QUEUE,
                **PRIVATE,
            )
        )
        ending = {"fn": self.end, "inputs": None, "outputs": [*buttons, self.upload], **PRIVATE}
        # Not `then`, which gradio leaves out after a generator that failed.
        running.success(**ending)
        failed = _card("Ended by a failure of the server")
        running.failure(lambda: {**self.end(), self.card: failed}, None, [*ending["outputs"], self.card], **PRIVATE)
        self.stop.click(self.stop_counting, self.batch, [self.card, self.stop], **PRIVATE)
        given_up = _card("Stopped before the first file")
        self.give_up.click(lambda: given_up, None, self.card, cancels=running, **PRIVATE).then(**ending)

    def forget(self, running: BatchUpload | None) -> Updates:
        """Take the results of other files away."""
        # A batch that runs counts the files that it began with; others are for the next one.
        return gr.skip() if running else {self.panel: gr.Column(visible=False), self.batch: None}

    @clear_errors
    def prepare(self, paths: list[str] | None, um_per_pixel: float | None, all_pages: bool) -> Updates:
        """Open the files, and show that they wait for their turn."""
        as_scale(um_per_pixel)
        opened = open_uploads(paths, all_pages=all_pages)
        return {
            self.upload: opened,
            self.panel: gr.Column(visible=True),
            self.card: _card("Waiting for its turn", failures=opened.failures, unfinished=True),
            self.table: tabulate([]),
            self.download: gr.DownloadButton(visible=False),
        }

    def begin(self) -> Updates:
        """Offer to give the place in the queue up."""
        return {
            self.start: gr.Button(interactive=False),
            self.give_up: gr.Button(visible=True),
            self.stop: gr.Button(interactive=True),
        }

    @clear_errors
    def run(
        self,
        opened: BatchUpload,
        um_per_pixel: float | None,
        method: Method,
        boundary_sensitivity: float,
        min_grain_area: float | None,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  gradio looks for it among the defaults
    ) -> Iterator[Updates]:
        """Count the files, and show after each what there is by then."""
        settings = LabelSettings(method, boundary_sensitivity, min_grain_area)
        count = partial(count_upload, um_per_pixel=um_per_pixel, model=self.model, **vars(settings))
        for counted in count_batch(opened, count):
            if counted.current:
                progress((counted.done, counted.total), desc=counted.current, unit="files")
            yield {
                self.card: describe_batch(counted),
                self.table: tabulate(counted.fields),
                self.download: gr.DownloadButton(value=counted.archive, visible=counted.archive is not None),
                self.batch: counted,
                self.give_up: gr.Button(visible=False),
                self.stop: gr.Button(visible=True),
            }

    def stop_counting(self, counted: CountedBatch) -> Updates:
        """Let no other file begin."""
        counted.is_stopped = True
        return {self.card: describe_batch(counted), self.stop: gr.Button(interactive=False)}

    def end(self) -> Updates:
        """Offer to count the next batch."""
        return {
            self.start: gr.Button(interactive=True),
            self.give_up: gr.Button(visible=False),
            self.stop: gr.Button(visible=False),
            self.upload: None,
        }


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
        return _card(done, failures=batch.failures, unfinished=True)
    left = batch.total - batch.done
    stopped = f", stopped with {left} to go" if batch.is_stopped and left else ""
    if not batch.fields:
        return _card(f"No file could be counted{stopped}", failures=batch.failures)
    grains = sum(field.count for field in batch.fields)
    title = f"{grains} grains in {plural(len(batch.fields), 'file')}{stopped}"
    # The fields on the page may have changed since.
    counted_with = f"<p>Counted with {html.escape(_settings_text(batch.fields))}.</p>"
    try:
        content = _rules_table(mean_of_counted(batch.fields))
    except GrainError as error:
        content = f"<p>{html.escape(str(error))}</p>"
    return _card(title, content + counted_with, batch.failures)


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
                f"{rule.n:g}",
            )
        )
        + "</tr>"
        for rule in mean.rules
    )
    what = f"Mean of {plural(mean.n_fields, 'field')}"
    remarks = [] if mean.um_per_pixel else ["There is no G without a scale."]
    remarks += [f"{flag}." for flag in mean.flags]
    remarks += [f"{mean.saltykov.title}: {flag}." for flag in mean.saltykov.flags]
    note = "".join(f"<p>{html.escape(remark)}</p>" for remark in remarks)
    return (
        f"<table><thead><tr><th>{what}</th>"
        "<th class=number>G</th><th class=number>95 % interval</th><th class=number>%RA</th>"
        f"<th class=number>n</th></tr></thead><tbody>{rows}</tbody></table>{note}"
    )


def _interval(size: RuleResult) -> str:
    return "" if size.ci95 is None else f"{size.ci95[0]:.2f} to {size.ci95[1]:.2f}"


def _card(title: str, content: str = "", failures: Sequence[Failure] = (), unfinished: bool = False) -> str:
    failed = "".join(
        f"<li><strong>{html.escape(failure.file)}</strong>: {html.escape(failure.reason)}</li>" for failure in failures
    )
    classes = "batch-card unfinished" if unfinished else "batch-card"
    return (
        f'<div class="{classes}" role="status"><h3>{html.escape(title)}</h3>{content}'
        + (f'<ul class="notes" aria-label="Files that failed">{failed}</ul>' if failed else "")
        + "</div>"
    )
