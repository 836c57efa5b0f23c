"""The scale from the picture: two clicks on its scale bar, or the bar's printed length as read by a machine."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
import numpy as np
from gradio.events import Dependency

from ..errors import ImageError, ScaleError
from ..scale_suggestion import ScaleSuggestion, suggest_scale
from .clicks import Point, clicked_point, draw_points, enlargement
from .entry import lay_out_typed_number
from .errors import clear_errors
from .events import PRIVATE
from .opened import OpenedMicrograph
from .results import CLICKED_PICTURE
from .typed_numbers import read_number, write_scale

HINT = "Click both ends of the scale bar, type its length, and press *Use this scale*."


@dataclass(frozen=True)
class ScaleView:
    """The components of the measurement that a newly opened file resets.

    Attributes:
        picture: The micrograph to be clicked at.
        state: What was found, in words.
        points: The ends of the bar that are set.
        accept: Uses the suggestion.
        suggested: um per pixel that a machine read.
    """

    picture: gr.Image
    state: gr.Markdown
    points: gr.State
    accept: gr.Button
    suggested: gr.State

    def show(self, opened: OpenedMicrograph | None) -> dict[gr.components.Component, Any]:
        """Show a file that was opened, or none."""
        picture = None
        if opened is not None:
            picture = opened.shown if enlargement(opened.shape) == 1 else _draw(opened, ())
        return {
            self.picture: picture,
            self.state: HINT,
            self.points: (),
            self.accept: gr.Button(visible=False),
            self.suggested: None,
        }


def measured_scale(points: Sequence[Point], length: str | None) -> float:
    """Scale from the two ends of a bar.

    Args:
        points: x and y in px.
        length: The bar's length in um, as it was typed.

    Returns:
        um per pixel.

    Raises:
        ScaleError: If an end or the length is missing, or the ends are the same.
    """
    if len(points) != 2 or points[0] == points[1]:
        raise ScaleError(
            f"{len(set(points))} of the two ends of the scale bar {'is' if len(set(points)) == 1 else 'are'} set. "
            "Two different places are expected. Click both ends of the bar in the picture."
        )
    length_um = read_number(length)
    if length_um is None or not np.isfinite(length_um) or length_um <= 0:
        typed = "missing" if length_um is None else repr(length.strip()[:40])
        raise ScaleError(
            f"The bar's length is {typed}. A positive number of µm is expected. Type what is printed beside "
            "the bar; 1 mm is 1000 µm, 500 nm is 0.5 µm."
        )
    return float(length_um / np.hypot(*np.subtract(*points)))


def describe_suggestion(suggestion: ScaleSuggestion | None) -> str:
    """Say what a machine read, for a person to judge."""
    if suggestion is None:
        return "No scale bar with a length was found under the picture. Click its ends instead."
    return (
        f"The printed length reads **{suggestion.text}** beside a bar of {suggestion.bar_px} px: "
        f"**{suggestion.um_per_pixel:.4g} µm per pixel**, read with {suggestion.confidence:.0%} confidence. "
        "Compare it with the picture before you use it."
    )


def add_scale_view(opened: gr.State, um_per_pixel: gr.Textbox) -> tuple[ScaleView, list[Dependency]]:
    """Lay out the measurement, closed at first, and bind its events, inside the current `gr.Blocks`.

    Args:
        opened: Holds the `OpenedMicrograph`.
        um_per_pixel: Takes the scale.

    Returns:
        The components that a newly opened file resets, and the events that fill the scale.
    """
    with gr.Accordion("Measure the scale in the picture", open=False, elem_id="measure-scale"):
        state = gr.Markdown(HINT, elem_id="scale-hint")
        picture = gr.Image(
            label="Click both ends of the scale bar",
            alt_text="The micrograph, to be clicked at the ends of its scale bar",
            elem_id="scale-picture",
            **CLICKED_PICTURE,
        )
        with gr.Row(elem_id="bar-row"):
            length = lay_out_typed_number(
                label="Length of the bar (µm)", placeholder="as printed", min_width=140, elem_id="bar-length"
            )
            measure = gr.Button("Use this scale", min_width=140, size="md", elem_id="use-measured")
        can_read = importlib.util.find_spec("rapidocr") is not None
        read = gr.Button("Read the printed length", size="md", visible=can_read, elem_id="read-scale")
        accept = gr.Button("Use what was read", size="md", visible=False, elem_id="use-suggested")
    view = ScaleView(picture=picture, state=state, points=gr.State(()), accept=accept, suggested=gr.State(None))

    def click(file: OpenedMicrograph | None, points: tuple[Point, ...], place: gr.SelectData) -> list[Any]:
        if file is None:
            return [gr.skip()] * 3
        # A third click begins anew.
        points = (*(points if len(points) < 2 else ()), clicked_point(place.index, file.shape))
        found = HINT
        if len(points) == 2:
            distance = np.hypot(*np.subtract(*points))
            found = f"The bar is **{distance:.4g} px** long. Type its length and use it, or click anew."
        return [_draw(file, points), found, points]

    @clear_errors
    def use_measured(points: tuple[Point, ...], length: str | None) -> str:
        return write_scale(measured_scale(points, length))

    @clear_errors
    def suggest(file: OpenedMicrograph | None) -> list[Any]:
        if file is None:
            raise ImageError("There is no image yet. A micrograph with a scale bar is expected. Load one first.")
        suggestion = suggest_scale(file.read())
        found = suggestion is not None
        return [describe_suggestion(suggestion), gr.Button(visible=found), suggestion.um_per_pixel if found else None]

    # Also where the second end is clicked while the first is drawn.
    clicked = {"trigger_mode": "multiple", "show_progress": "hidden", **PRIVATE}
    picture.select(click, [opened, view.points], [picture, state, view.points], **clicked)
    read.click(suggest, opened, [state, accept, view.suggested], **PRIVATE)
    used = [
        measure.click(use_measured, [view.points, length], um_per_pixel, **PRIVATE),
        accept.click(write_scale, view.suggested, um_per_pixel, **PRIVATE),
    ]
    return view, used


def _draw(opened: OpenedMicrograph, points: Sequence[Point]) -> np.ndarray:
    return draw_points(opened.read().pixels, points)
