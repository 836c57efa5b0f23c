"""What the events of the count tab do."""

from __future__ import annotations

import html
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component
from transformers import PreTrainedModel

from ..correction import Edit, describe_edits
from ..errors import CorrectionError, ImageError
from ..image_listing import ImagePage
from .correction_view import CONFIRMATIONS, CorrectionView, take_click
from .counted import CountedMicrograph, archive_analysis, still_there, unless_own
from .entry import FORMATS, Entry, show_page
from .errors import clear_errors
from .opened import OpenedMicrograph, open_micrograph
from .question_view import Question
from .results import Results, Updates
from .scale_view import ScaleView
from .settings import LinkedPage, read_link
from .typed_numbers import read_number, read_scale, write_scale
from .uploads import NotWanted, count_upload
from .visit import Stand, Visit

CORRECTED_MEANWHILE = "You corrected grains while the picture was counted again: your corrections stay."

CORRECTIONS_ARE_BACK = "Your corrections of this picture are back. To begin without them, choose “Reset all”."

NO_IMAGE = f"There is no image yet. A micrograph is expected: {FORMATS}. Load one, or choose one of the examples."


@dataclass(frozen=True, eq=False)
class CountHandlers:
    """What the events of the count tab do; all that belongs to a visitor is in the states that they are given.

    Attributes:
        model: What `load_model` takes.
        examples: Example micrographs by their names.
        entry: What a visitor loads, chooses and sets.
        scale_view: The measurement of the scale.
        question: Whether corrections may be discarded.
        results: What a count fills.
        correction: The correction by hand.
        settings: The components of `PageSettings`, by name.
        visit: Holds the `Visit`.
        opened: Holds the `OpenedMicrograph`.
        linked: Holds the `LinkedPage` that the page's address asks for.
    """

    model: str | os.PathLike | PreTrainedModel | None
    examples: dict[str, Path]
    entry: Entry
    scale_view: ScaleView
    question: Question
    results: Results
    correction: CorrectionView
    settings: dict[str, Component]
    visit: gr.State
    opened: gr.State
    linked: gr.State

    def forget(self, visit: Visit, counted: CountedMicrograph | None, picture: str = "") -> Updates:
        """Empty the page, but for the picture that may just have come, and a scale given before the first."""
        is_first = picture and not visit.picture
        visit.picture, visit.shown, visit.shown_by = picture, None, None
        if counted and counted.analysis.edits:
            visit.leave(counted)
        return {
            self.visit: visit,
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
        shown = {
            self.entry.image: file.shown,
            self.entry.page: show_page(file.page, file.pages),
            self.opened: file,
            **self.scale_view.show(file),
        }
        # Else the field is left alone, where a scale may be typed while the file is read.
        if file.um_per_pixel is not None and read_number(scale) is None:
            shown[self.entry.um_per_pixel] = write_scale(file.um_per_pixel)
        return shown

    def open_upload(self, visit: Visit, path: str | None, scale: str | None) -> Updates:
        """Show a file that was loaded, unless the page has gone on to another picture while it was read."""
        try:
            shown = self.open_file(path, scale)
        except gr.Error:
            if visit.has_left(path):
                return gr.skip()
            raise
        return gr.skip() if visit.has_left(path) else shown

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
        given = "" if read_number(scale) == file.um_per_pixel else scale
        before = visit.picture
        shown = self.open_file(file.path, given, page=page)
        if visit.picture != before:  # to which the page has gone on while this one was read
            return gr.skip()
        left = self.forget(visit, counted, str(ImagePage(Path(file.path), page)))
        return {**left, self.entry.um_per_pixel: given, **shown}

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
        opened = self.open_file(visit.picture, write_scale(link.settings.um_per_pixel), link.example)
        return {self.visit: visit, **opened}

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
        try:
            analysis = count_upload(
                image,
                scale,
                self.model,
                is_wanted=lambda: not now.visit.has_left(source),
                progress=lambda done, tiles: bar((done, tiles), desc="Reading the picture", unit="tiles"),
                **vars(now.settings.label_settings),
            )
        except NotWanted:
            return gr.skip()
        counted = archive_analysis(source, analysis)
        if now.visit.has_corrected(now.counted):
            gr.Info(CORRECTED_MEANWHILE)
            return gr.skip()
        return self.present(counted, now)

    def catch_up(self, *stand: Any) -> Updates:
        """Bring a count to the settings that were changed while it ran."""
        now = Stand.of(*stand)
        if now.counted is None or now.counted.analysis.edits:
            return gr.skip()
        updates = self.redraw(*stand)
        is_shown_so = self.results.card in updates or now.visit.shown_by == now.settings
        if is_shown_so or now.visit.has_left(now.counted.source):
            return updates
        return {**updates, **self.show_stand(now)}

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
            # Not any more, after a restart of the server: the page must not show what the settings no longer fit. Or
            # not yet: then a count may have come while this waited for its turn, as behind other visitors' pictures.
            return {self.results.panel: gr.Column(visible=False)} if now.visit.picture is None else gr.skip()
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
        now.visit.shown, now.visit.shown_by = counted, now.settings
        return {
            self.visit: now.visit,
            **self.results.present(counted, now.settings),
            **self.correction.present(counted, now.settings, tool=now.tool),
            **answered,
        }
