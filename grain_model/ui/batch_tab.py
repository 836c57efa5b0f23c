"""The batch tab: many micrographs of one specimen in; a row for each, their mean and one zip out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial

import gradio as gr
from transformers import PreTrainedModel

from ..label_settings import LabelSettings, Method
from .batch_card import FIELD_COLUMNS, describe_batch, tabulate, write_card
from .batch_run import BatchUpload, CountedBatch, count_batch, open_uploads
from .entry import lay_out_label_settings, lay_out_typed_number
from .errors import clear_errors
from .events import BATCH_QUEUE, PRIVATE
from .results import Updates
from .scripts import CLOSE_ERRORS
from .typed_numbers import read_scale
from .uploads import MAX_UPLOAD_BYTES, count_upload


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
                self.scale = lay_out_typed_number(
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
        gr.on(None, lambda: None, None, label_fields.min_grain_area, **PRIVATE)
        gr.on([self.files.change, self.start.click], None, js=CLOSE_ERRORS, **PRIVATE)
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
        failed = write_card("Ended by a failure of the server")

        def tell_failure(upload: BatchUpload | None) -> Updates:
            # None where it was given up, which gradio takes for a failure, too.
            return {**self.end(), **({} if upload is None else {self.card: failed})}

        running.failure(tell_failure, self.upload, [*ending["outputs"], self.card], **PRIVATE)
        self.stop.click(self.stop_counting, self.batch, [self.card, self.stop], **PRIVATE)
        given_up = write_card("Stopped before the first file")
        self.give_up.click(lambda: (given_up, None), None, [self.card, self.upload], cancels=running, **PRIVATE).then(
            **ending
        )

    @clear_errors
    def prepare(self, paths: list[str] | None, scale: str | None, all_pages: bool) -> Updates:
        """Open the files, and show that they wait for their turn."""
        read_scale(scale)
        opened = open_uploads(paths, all_pages=all_pages)
        return {
            self.upload: opened,
            self.panel: gr.Column(visible=True),
            self.card: write_card("Waiting for its turn", failures=opened.failures, unfinished=True),
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
        scale: str | None,
        method: Method,
        boundary_sensitivity: float,
        min_grain_area: float | None,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  gradio looks for it among the defaults
    ) -> Iterator[Updates]:
        """Count the files, and show after each what there is by then."""
        settings = LabelSettings(method, boundary_sensitivity, min_grain_area)
        count = partial(count_upload, um_per_pixel=read_scale(scale), model=self.model, **vars(settings))
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
