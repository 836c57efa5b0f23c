"""The count tab: one micrograph in; mask, overlay, count, distribution, table, corrections and files out."""

from __future__ import annotations

import html
import os
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.events import Dependency
from transformers import PreTrainedModel

from ..correction import Edit, describe_edits
from ..errors import CorrectionError, ImageError
from ..image_listing import ImagePage
from ..scale import read_number, read_scale, write_scale
from .correction_view import CONFIRMATIONS, lay_out_correction, redo, reset, take_click, undo
from .counted import CountedMicrograph, archive_analysis, still_there, unless_own
from .entry import (
    FORMATS,
    Entry,
    lay_out_gallery,
    lay_out_label_settings,
    lay_out_page,
    lay_out_picture,
    lay_out_scale,
    show_page,
)
from .errors import clear_errors
from .events import MODEL_QUEUE, PRIVATE, REDRAW_QUEUE
from .examples import list_examples
from .link_view import add_link_view
from .opened import OpenedMicrograph, open_micrograph
from .question_view import lay_out_question
from .results import Results, Updates, lay_out_display, lay_out_downloads, lay_out_pictures, lay_out_table
from .scale_view import add_scale_view
from .scripts import CLOSE_ERRORS, NAME_EXAMPLES, SHOW_MICROGRAPH, SHOW_OVERLAY, SHOW_RESULTS
from .settings import LinkedPage, PageSettings, read_link
from .uploads import count_upload
from .visit import Stand, Visit

CORRECTED_MEANWHILE = "You corrected grains while the picture was counted again: your corrections stay."

CORRECTIONS_ARE_BACK = "Your corrections of this picture are back. To begin without them, choose “Reset all”."

NO_IMAGE = f"There is no image yet. A micrograph is expected: {FORMATS}. Load one, or choose one of the examples."


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
    """The tab's components and what their events do; all that belongs to a visitor is in the states."""

    def __init__(self, pictures: list[tuple[Path, str]], model: str | os.PathLike | PreTrainedModel | None) -> None:
        self.model = model
        self.examples = {path.stem: path for path, _ in pictures}
        self.visit, self.opened, self.linked = gr.State(Visit()), gr.State(None), gr.State(None)
        self._lay_out_entry(pictures)
        self._lay_out_results()
        self._list_components()
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
            download, made = lay_out_downloads(counted)
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
        filled = [*vars(results).values(), *vars(correction).values(), question.panel]
        filled += [entry.um_per_pixel, *vars(entry.label_fields).values()]
        self.filled = [component for component in filled if component is not correction.tool]
        # What a file fills that is opened, and what is emptied before.
        about_file = [entry.page, entry.um_per_pixel, self.opened, *vars(self.scale_view).values()]
        self.opening = [entry.image, *about_file]
        # Without the picture: an output that is left as it is loses what `lay_out_picture` has set on it.
        self.emptied = [*about_file, results.panel, results.counted, results.chosen, question.panel]

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
        gr.on(None, self.follow_link, None, [*self.settings.values(), self.linked], **PRIVATE)
        # Only an example sets this state; else the picture stays alone, which may be loading already.
        of_link = self.linked.change(self.open_linked, [self.linked, self.visit], self.opening, **PRIVATE).success(
            self.count_file, **counting
        )
        # Another picture ends a count, so that its own need not wait; what still comes of it `present` leaves out.
        counts = [entry.button.click(self.count_file, **counting), of_link]
        if entry.gallery:
            gr.on(None, None, js=NAME_EXAMPLES, **PRIVATE)
            # Not the count of another example: the browser could end the next one with it.
            chosen = entry.gallery.select(
                self.open_example,
                [self.visit, self.results.counted, entry.um_per_pixel],
                [entry.image, *self.emptied],
                cancels=counts,
                **PRIVATE,
            )
            counts.append(chosen.success(self.count_file, **counting, trigger_mode="multiple"))
        return counts

    def _bind_picture(self, counts: list[Dependency]) -> None:
        """Bind what a visitor's own picture does; it ends the counts of the one before."""
        entry = self.entry
        # Bound before forgetting, for which the browser waits: by then the new picture's own count may have begun.
        gr.on([entry.image.upload, entry.image.clear], None, cancels=counts)
        gr.on([entry.image.upload, entry.image.clear, entry.page.input], None, js=CLOSE_ERRORS, **PRIVATE)
        # Forgetting comes first, so that a file that cannot be read leaves nothing of the one before it.
        left = [self.visit, self.results.counted]
        entry.image.upload(self.forget, [*left, entry.image], self.emptied, **PRIVATE).then(
            self.open_file, [entry.image, entry.um_per_pixel], self.opening, **PRIVATE
        ).failure(lambda: None, None, entry.image, **PRIVATE)
        entry.image.clear(self.forget, left, self.emptied, **PRIVATE)
        entry.page.input(
            self.open_page,
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
        gr.on([*drawn, *given, *area], self.redraw, **redrawing)
        gr.on(
            given,
            self.show_own_scale,
            [entry.um_per_pixel, self.opened],
            entry.um_per_pixel,
            show_progress="hidden",
            **PRIVATE,
        )
        self.question.discard.click(self.discard, **redrawing)
        kept = self.question.keep.click(
            self.restore,
            results.counted,
            [*vars(label_fields).values(), self.question.panel],
            show_progress="hidden",
            **PRIVATE,
        )
        for event in (*self.scale_used, kept):
            event.success(self.redraw, **redrawing)
        for count in counts:
            count.success(None, js=SHOW_RESULTS, **PRIVATE)
            count.success(self.catch_up, **redrawing)

    def _bind_results(self) -> None:
        results, display, correction = self.results, self.display, self.correction
        views = [results.overlay, results.slider, results.card, results.chosen, *vars(correction).values()]
        views.remove(correction.tool)
        changed = [display.show.input, display.opacity.release, display.edge_rule.input, display.compare.input]
        gr.on(changed, self.show_again, self.stand, views, trigger_mode="always_last", **PRIVATE)
        results.table.select(self.choose, self.stand, views, show_progress="hidden", **PRIVATE).success(
            None, js=SHOW_OVERLAY, **PRIVATE
        )
        for event in (correction.tool.input, correction.clear.click):
            event(self.clear_points, self.stand, views, show_progress="hidden", **PRIVATE)
        # No click is lost while the one before it is at work, nor what was typed just before.
        working = {
            "trigger_mode": "multiple",
            "concurrency_id": REDRAW_QUEUE,
            "show_progress": "minimal",
            "show_progress_on": results.card,
            **PRIVATE,
        }
        correction.picture.select(self.click, self.stand, self.filled, **working)
        correction.confirm.click(self.confirm, self.stand, self.filled, **working)
        for button, step in ((correction.undo, undo), (correction.redo, redo), (correction.reset, reset)):
            button.click(self.stepping(step), self.stand, self.filled, **working)

    def forget(self, visit: Visit, counted: CountedMicrograph | None, picture: str = "") -> Updates:
        """Empty the page, but for the picture that may just have come, and a scale given before the first."""
        is_first = picture and not visit.picture
        visit.picture, visit.shown = picture, None
        if counted and counted.analysis.edits:
            visit.leave(counted)
        return {
            self.entry.page: show_page(),
            self.entry.um_per_pixel: gr.skip() if is_first else "",
            self.opened: None,
            self.question.panel: gr.Column(visible=False),
            **self.scale_view.show(None),
            **self.results.clear(),
        }

    @clear_errors
    def open_file(self, path: str, scale: str | None, example: str | None = None, page: int = 0) -> Updates:
        """Show a file and its scale, unless one is typed."""
        file = open_micrograph(path, page, example)
        return {
            self.entry.image: file.shown,
            self.entry.page: show_page(file.page, file.pages),
            self.entry.um_per_pixel: write_scale(file.um_per_pixel) if read_number(scale) is None else scale,
            self.opened: file,
            **self.scale_view.show(file),
        }

    def open_page(
        self,
        visit: Visit,
        counted: CountedMicrograph | None,
        page: int,
        file: OpenedMicrograph | None,
        scale: str | None,
    ) -> Updates:
        """Show another page of the file that is shown."""
        if file is None:
            return gr.skip()
        # Before the page is left, which a page that cannot be read must not do.
        given = None if read_number(scale) == file.um_per_pixel else scale
        shown = self.open_file(file.path, given, page=page)
        return {**self.forget(visit, counted, str(ImagePage(Path(file.path), page))), **shown}

    def open_example(
        self, choice: gr.SelectData, visit: Visit, counted: CountedMicrograph | None, scale: str | None
    ) -> Updates:
        """Show an example."""
        example = list(self.examples)[choice.index]
        path = str(self.examples[example])
        given = None if visit.picture else scale
        return {**self.forget(visit, counted, path), **self.open_file(path, given, example)}

    def follow_link(self, request: gr.Request) -> Updates:
        """Set the page as its address says; what that says wrongly is named and left out."""
        link = read_link(request.query_params, self.examples)
        if link.ignored:
            told = html.escape(" ".join(link.ignored))
            gr.Warning(f"{told} That part of the link was ignored.", title="The link does not fit", duration=None)
        settings = {self.settings[name]: value for name, value in vars(link.settings).items()}
        # Without a scale in the link the field keeps what the visitor may have typed by now.
        scale = write_scale(link.settings.um_per_pixel) or gr.skip()
        return {**settings, self.entry.um_per_pixel: scale, self.linked: link if link.example else None}

    def open_linked(self, link: LinkedPage, visit: Visit) -> Updates:
        """Show the example that the page's address asks for; the scale that it states wins."""
        visit.picture = str(self.examples[link.example])
        return self.open_file(visit.picture, write_scale(link.settings.um_per_pixel), link.example)

    def show_own_scale(self, scale: str | None, file: OpenedMicrograph | None) -> Any:
        """Fill the field again where it was emptied: the file's own scale holds then."""
        return write_scale(file.um_per_pixel) if file and read_number(scale) is None else gr.skip()

    @clear_errors
    def count_file(self, path: str | None, file: OpenedMicrograph | None, *stand: Any) -> Updates:
        """Run the network, unless that would discard corrections of this very picture: then it asks."""
        now = Stand.of(*stand)
        if path is None:
            raise ImageError(NO_IMAGE)
        # The page may show a copy; the count belongs to the file itself.
        is_opened = file is not None and Path(file.shown).name == Path(path).name
        source = str(file.image) if is_opened else path
        if now.visit.has_left(source):  # while the count waited for its turn
            return gr.skip()
        scale, image = read_scale(now.scale), path
        if now.counted and now.counted.source == source and now.counted.analysis.edits:
            return self.ask(now)
        if now.counted is None and source in now.visit.left:
            return self.take_up(now, now.visit.left.pop(source), scale)
        if is_opened:
            image, scale = file.image, unless_own(scale, file.um_per_pixel)
        bar = gr.Progress()
        analysis = count_upload(
            image,
            scale,
            self.model,
            progress=lambda done, tiles: bar((done, tiles), desc="Reading the picture", unit="tiles"),
            **vars(now.settings.label_settings),
        )
        counted = archive_analysis(source, analysis)
        if now.visit.has_corrected(now.counted):
            gr.Info(CORRECTED_MEANWHILE)
            return gr.skip()
        return self.present(counted, now)

    def catch_up(self, *stand: Any) -> Updates:
        """Bring a count to the settings that were changed while it ran."""
        now = Stand.of(*stand)
        return gr.skip() if now.counted is None or now.counted.analysis.edits else self.redraw(*stand)

    def take_up(self, now: Stand, counted: CountedMicrograph, um_per_pixel: float | None) -> Updates:
        """Go on with the corrections of a picture that the page comes back to."""
        if counted.given_scale(um_per_pixel):
            counted = counted.at_scale(um_per_pixel)
        gr.Info(CORRECTIONS_ARE_BACK)
        scale = {self.entry.um_per_pixel: write_scale(counted.analysis.micrograph.um_per_pixel)}
        return {**self.present(counted, now), **self.settings_of(counted), **scale}

    @clear_errors
    def redraw(self, *stand: Any) -> Updates:
        """Bring the results to the settings, from the maps that are already there."""
        now = Stand.of(*stand)
        counted, wanted = now.counted, now.settings
        if counted is None:
            # Nothing is counted yet, or not any more: then the page must not show what the settings no longer fit.
            return {self.results.panel: gr.Column(visible=False)}
        counted = counted.at_scale(read_scale(now.scale))
        is_relabelled = counted.analysis.settings != wanted.label_settings
        if is_relabelled and counted.analysis.edits:
            shown = {} if counted is now.counted else self.present(counted, now)
            return {**shown, **self.ask(now)}
        if is_relabelled:
            analysis = counted.analysis.relabel(**vars(wanted.label_settings))
            counted = archive_analysis(counted.source, analysis)
        if counted is now.counted:
            return {self.question.panel: gr.Column(visible=False)}
        return self.present(counted, now)

    def ask(self, now: Stand) -> Updates:
        """Ask before corrections are discarded."""
        edits = now.counted.analysis.edits
        gr.Warning(f"This would discard your corrections ({describe_edits(edits)}). The page asks below the settings.")
        return {self.question.panel: gr.Column(visible=True)}

    @clear_errors
    def discard(self, *stand: Any) -> Updates:
        """Draw the labels by the settings, without the corrections."""
        now = Stand.of(*stand)
        counted = still_there(now.counted)
        analysis = counted.uncorrected.relabel(**vars(now.settings.label_settings))
        return self.present(archive_analysis(counted.source, analysis), now)

    @clear_errors
    def restore(self, counted: CountedMicrograph | None) -> Updates:
        """Keep the corrections: the settings go back to those that they were made with."""
        return {**self.settings_of(still_there(counted)), self.question.panel: gr.Column(visible=False)}

    def settings_of(self, counted: CountedMicrograph) -> Updates:
        """The settings that a count was labelled with."""
        return {self.settings[name]: value for name, value in vars(counted.analysis.settings).items()}

    @clear_errors
    def show_again(self, *stand: Any) -> Updates:
        """Show the same grains in another way."""
        return self.show_stand(Stand.of(*stand))

    def show_stand(self, now: Stand) -> Updates:
        """Show the grains as the page stands."""
        counted = still_there(now.counted)
        return {
            **self.results.display(counted, now.settings, now.chosen),
            **self.correction.present(counted, now.settings, now.chosen, now.tool, now.pending),
        }

    @clear_errors
    def choose(self, place: gr.SelectData, *stand: Any) -> Updates:
        """Mark the grain whose row of the table was chosen."""
        now = replace(Stand.of(*stand), chosen=int(place.row_value[0]))
        return {**self.show_stand(now), self.results.chosen: now.chosen}

    @clear_errors
    def clear_points(self, *stand: Any) -> Updates:
        """Take up a tool, or take its points away."""
        now = replace(Stand.of(*stand), pending=())
        return self.correction.present(still_there(now.counted), now.settings, now.chosen, now.tool)

    @clear_errors
    def click(self, place: gr.SelectData, *stand: Any) -> Updates:
        """Take a click in the picture of the correction: a correction, or a point on the way to one."""
        now = Stand.of(*stand)
        counted = still_there(now.counted)
        points, edit = take_click(counted, now.tool, now.pending, place.index)
        if edit is None:
            return self.correction.present(counted, now.settings, now.chosen, now.tool, points)
        try:
            return self.correct(counted, now, edit)
        except CorrectionError as error:
            if now.tool in CONFIRMATIONS:
                raise
            # No error of the handler, which would leave the points: the next click would go with an old one.
            gr.Warning(html.escape(str(error)), title="That did not work")
            return self.correction.present(counted, now.settings, now.chosen, now.tool)

    @clear_errors
    def confirm(self, *stand: Any) -> Updates:
        """Correct by the points that are set."""
        now = Stand.of(*stand)
        counted = still_there(now.counted)
        return self.correct(counted, now, Edit(now.tool, now.pending))

    def correct(self, counted: CountedMicrograph, now: Stand, edit: Edit) -> Updates:
        """Correct the grains; what was undone before cannot be made again."""
        return self.present_step(counted.correct((*counted.analysis.edits, edit)), now)

    def stepping(self, step: Callable[[CountedMicrograph], CountedMicrograph]) -> Callable[..., Updates]:
        """Make the handler of undo, redo or reset."""

        @clear_errors
        def take_step(*stand: Any) -> Updates:
            now = Stand.of(*stand)
            return self.present_step(step(still_there(now.counted)), now)

        return take_step

    def present_step(self, counted: CountedMicrograph, now: Stand) -> Updates:
        """Show a correction; it answers the question whether to discard all for other settings, where that stands."""
        is_answered = now.settings.label_settings != counted.analysis.settings
        return {**self.present(counted, now), **(self.settings_of(counted) if is_answered else {})}

    def present(self, counted: CountedMicrograph, now: Stand) -> Updates:
        """Fill everything from a new count, unless the page has gone on to another picture meanwhile."""
        answered = {self.question.panel: gr.Column(visible=False)}
        if now.visit.has_left(counted.source):
            return answered
        now.visit.shown = counted
        return {
            **self.results.present(counted, now.settings),
            **self.correction.present(counted, now.settings, tool=now.tool),
            **answered,
        }
