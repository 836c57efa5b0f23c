"""The count tab: one micrograph in; mask, overlay, count, distribution, table, corrections and files out."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path

import gradio as gr
from gradio.events import Dependency
from transformers import PreTrainedModel

from .correction_view import lay_out_correction, redo, reset, undo
from .count_handlers import CountHandlers
from .entry import (
    Entry,
    lay_out_gallery,
    lay_out_label_settings,
    lay_out_page,
    lay_out_picture,
    lay_out_scale,
)
from .events import MODEL_QUEUE, PRIVATE, REDRAW_QUEUE
from .examples import list_examples
from .link_view import add_link_view
from .question_view import lay_out_question
from .results import Results, lay_out_display, lay_out_downloads, lay_out_pictures, lay_out_table
from .scale_view import add_scale_view
from .scripts import CLOSE_ERRORS, NAME_EXAMPLES, SHOW_MICROGRAPH, SHOW_OVERLAY, SHOW_RESULTS
from .settings import PageSettings
from .visit import Visit


def build_count_tab(examples: Path | None, model: str | os.PathLike | PreTrainedModel | None) -> gr.State:
    """Lay out the tab and bind its events, inside the current `gr.Blocks`.

    Args:
        examples: Folder with example micrographs and `counts.csv`, if there is one.
        model: What `load_model` takes.

    Returns:
        What holds the visitor's `CountedMicrograph`, `None` before the first.
    """
    return _CountTab(list_examples(examples), model).results.counted


class _CountTab:
    """The tab's components, and which event is handled by what."""

    def __init__(self, pictures: list[tuple[Path, str]], model: str | os.PathLike | PreTrainedModel | None) -> None:
        self.visit, self.opened, self.linked = gr.State(Visit()), gr.State(None), gr.State(None)
        self._lay_out_entry(pictures)
        self._lay_out_results()
        self._list_components()
        self.handlers = CountHandlers(
            model=model,
            examples={path.stem: path for path, _ in pictures},
            entry=self.entry,
            scale_view=self.scale_view,
            question=self.question,
            results=self.results,
            correction=self.correction,
            settings=self.settings,
            visit=self.visit,
            opened=self.opened,
            linked=self.linked,
        )
        counts = self._bind_counting()
        self._bind_picture(counts)
        self._bind_settings(counts)
        self._bind_results()

    def _lay_out_entry(self, pictures: list[tuple[Path, str]]) -> None:
        with gr.Row(elem_id="entry"):
            with gr.Column(scale=3, min_width=300):
                image = lay_out_picture()
            with gr.Column(scale=2, min_width=300):
                page = lay_out_page()
                scale = lay_out_scale()
                self.scale_view, self.scale_used = add_scale_view(self.opened, scale)
                label_fields = lay_out_label_settings()
                self.question = lay_out_question()
                button = gr.Button("Count grains", variant="primary", size="lg", elem_id="count-button")
                gallery = lay_out_gallery(pictures)
        self.entry = Entry(
            image=image, page=page, um_per_pixel=scale, label_fields=label_fields, button=button, gallery=gallery
        )

    def _lay_out_results(self) -> None:
        counted = gr.State(None)
        with gr.Column(visible=False, elem_id="results") as panel:
            mask, overlay, slider, card = lay_out_pictures()
            self.display = lay_out_display()
            self.correction = lay_out_correction()
            plot, table = lay_out_table()
            download, made = lay_out_downloads(self.visit, counted)
            named = {"um_per_pixel": self.entry.um_per_pixel, **vars(self.entry.label_fields), **vars(self.display)}
            # In the order of `PageSettings`.
            self.settings = {field.name: named[field.name] for field in fields(PageSettings)}
            add_link_view(self.opened, list(self.settings.values()))
        self.results = Results(
            panel=panel,
            mask=mask,
            overlay=overlay,
            slider=slider,
            card=card,
            plot=plot,
            table=table,
            download=download,
            made=made,
            counted=counted,
            chosen=gr.State(None),
        )

    def _list_components(self) -> None:
        """List what handlers take and may fill."""
        entry, results, correction, question = self.entry, self.results, self.correction, self.question
        # Every handler of a count takes these, in the order of `Stand.of`, and may fill the others.
        page = [self.visit, results.counted, results.chosen, correction.tool, correction.pending]
        self.stand = [*page, *self.settings.values()]
        # What is filled or emptied holds the visit, too: gradio lets go of no state that no handler returns.
        filled = [self.visit, *vars(results).values(), *vars(correction).values(), question.panel]
        filled += [entry.um_per_pixel, *vars(entry.label_fields).values()]
        self.filled = [component for component in filled if component is not correction.tool]
        # What a file fills that is opened, and what is emptied before.
        about_file = [entry.page, entry.um_per_pixel, self.opened, *vars(self.scale_view).values()]
        self.opening = [entry.image, *about_file]
        # Without the picture: an output that is left as it is loses what `lay_out_picture` has set on it.
        self.emptied = [self.visit, *about_file, results.panel, results.counted, results.chosen, question.panel]

    def _bind_counting(self) -> list[Dependency]:
        """Bind what begins a count, and return the events that run the network."""
        entry = self.entry
        counting = {
            "inputs": [entry.image, self.opened, *self.stand],
            "outputs": self.filled,
            "concurrency_limit": 1,
            "concurrency_id": MODEL_QUEUE,
            # The results may not be seen yet; the picture is.
            "show_progress_on": entry.image,
            **PRIVATE,
        }
        # Before the counts, for which the browser would wait.
        asking = [entry.button.click, *([entry.gallery.select] if entry.gallery else [])]
        gr.on(asking, None, js=SHOW_MICROGRAPH, **PRIVATE)
        gr.on(asking, None, js=CLOSE_ERRORS, **PRIVATE)
        gr.on(None, self.handlers.follow_link, None, [*self.settings.values(), self.linked], **PRIVATE)
        # Only an example sets this state; else the picture stays alone, which may be loading already.
        of_link = self.linked.change(
            self.handlers.open_linked, [self.linked, self.visit], [self.visit, *self.opening], **PRIVATE
        ).success(self.handlers.count_file, **counting)
        # Another picture ends a count, so that its own need not wait; what still comes of it `present` leaves out.
        counts = [entry.button.click(self.handlers.count_file, **counting), of_link]
        if entry.gallery:
            gr.on(None, None, js=NAME_EXAMPLES, **PRIVATE)
            # Not the count of another example: the browser could end the next one with it.
            chosen = entry.gallery.select(
                self.handlers.open_example,
                [self.visit, self.results.counted, entry.um_per_pixel],
                [entry.image, *self.emptied],
                cancels=counts,
                **PRIVATE,
            )
            counts.append(chosen.success(self.handlers.count_file, **counting, trigger_mode="multiple"))
        return counts

    def _bind_picture(self, counts: list[Dependency]) -> None:
        """Bind what a visitor's own picture does; it ends the counts of the one before."""
        entry = self.entry
        # Bound before forgetting, for which the browser waits: by then the new picture's own count may have begun.
        gr.on([entry.image.upload, entry.image.clear], None, cancels=counts)
        gr.on([entry.image.upload, entry.image.clear, entry.page.input], None, js=CLOSE_ERRORS, **PRIVATE)
        # Forgetting comes first, so that a file that cannot be read leaves nothing of the one before it.
        left = [self.visit, self.results.counted]
        # Each upload is heeded, also one that comes while the one before it is read.
        loading = {"trigger_mode": "multiple", **PRIVATE}
        entry.image.upload(self.handlers.forget, [*left, entry.image], self.emptied, **loading).then(
            self.handlers.open_upload, [self.visit, entry.image, entry.um_per_pixel], self.opening, **loading
        ).failure(lambda: None, None, entry.image, **PRIVATE)
        entry.image.clear(self.handlers.forget, left, self.emptied, **PRIVATE)
        entry.page.input(
            self.handlers.open_page,
            [*left, entry.page, self.opened, entry.um_per_pixel],
            [entry.image, *self.emptied],
            cancels=counts,
            **PRIVATE,
        ).failure(lambda file: file and file.page, self.opened, entry.page, **PRIVATE)

    def _bind_settings(self, counts: list[Dependency]) -> None:
        """Bind what draws the labels anew from maps that are there, as each of the counts does at its end."""
        entry, results, label_fields = self.entry, self.results, self.entry.label_fields
        redrawing = {
            "inputs": self.stand,
            "outputs": self.filled,
            "trigger_mode": "always_last",
            "concurrency_id": REDRAW_QUEUE,
            "show_progress_on": [results.overlay, results.card],
            **PRIVATE,
        }
        given, area = ([field.submit, field.blur] for field in (entry.um_per_pixel, label_fields.min_grain_area))
        drawn = [label_fields.method.input, label_fields.boundary_sensitivity.release]
        gr.on([*drawn, *given, *area], None, js=CLOSE_ERRORS, **PRIVATE)
        gr.on([*drawn, *given, *area], self.handlers.redraw, **redrawing)
        gr.on(
            given,
            self.handlers.show_own_scale,
            [entry.um_per_pixel, self.opened],
            entry.um_per_pixel,
            show_progress="hidden",
            **PRIVATE,
        )
        self.question.discard.click(self.handlers.discard, **redrawing)
        kept = self.question.keep.click(
            self.handlers.restore,
            results.counted,
            [*vars(label_fields).values(), self.question.panel],
            show_progress="hidden",
            **PRIVATE,
        )
        for event in (*self.scale_used, kept):
            event.success(self.handlers.redraw, **redrawing)
        for count in counts:
            count.success(None, js=SHOW_RESULTS, **PRIVATE)
            count.success(self.handlers.catch_up, **redrawing)

    def _bind_results(self) -> None:
        results, display, correction = self.results, self.display, self.correction
        views = [results.overlay, results.slider, results.card, results.chosen, *vars(correction).values()]
        views.remove(correction.tool)
        changed = [display.show.input, display.opacity.release, display.edge_rule.input, display.compare.input]
        showing = {"inputs": self.stand, "outputs": views, "concurrency_id": REDRAW_QUEUE, **PRIVATE}
        gr.on(changed, self.handlers.show_again, trigger_mode="always_last", **showing)
        # No click is lost while the one before it is at work, nor what was typed just before.
        clicked = {"trigger_mode": "multiple", "show_progress": "hidden", **showing}
        results.table.select(self.handlers.choose, **clicked).success(None, js=SHOW_OVERLAY, **PRIVATE)
        for event in (correction.tool.input, correction.clear.click):
            event(self.handlers.clear_points, **clicked)
        working = {
            "trigger_mode": "multiple",
            "concurrency_id": REDRAW_QUEUE,
            "show_progress": "minimal",
            "show_progress_on": results.card,
            **PRIVATE,
        }
        correction.picture.select(self.handlers.click, self.stand, self.filled, **working)
        correction.confirm.click(self.handlers.confirm, self.stand, self.filled, **working)
        for button, step in ((correction.undo, undo), (correction.redo, redo), (correction.reset, reset)):
            button.click(self.handlers.stepping(step), self.stand, self.filled, **working)
