"""Correcting by hand on the page: a tool, clicks in the overlay, undo, redo and reset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
import numpy as np

from ..correction import POINTS_NEEDED, Edit
from ..words import plural
from .clicks import Point, clicked_point, draw_points, enlargement
from .counted import CountedMicrograph
from .results import CLICKED_PICTURE, Updates, overlay_path
from .settings import PageSettings

TOOLS = {"delete": "Delete", "merge": "Merge", "split": "Split", "add": "Add"}

HINTS = {
    "delete": "**Delete:** click a grain that is none.",
    "merge": "**Merge:** click two neighbours that are one grain.",
    "split": "**Split:** click along the missing boundary, from edge to edge of the grain, then press *Cut*.",
    "add": "**Add:** click around the missing grain, then press *Close and add* or click the first point again.",
}

CONFIRMATIONS = {"split": "Cut", "add": "Close and add"}
"""Tools that take any number of points, with the button that says that these are all."""

CLOSING_SHARE, CLOSING_PART = 0.02, 0.25
"""A click so near to the first point, as a share of the picture's longer side, closes an outline; but no further away
than this part of the outline's own longer side, since grains may be as small as that."""


@dataclass(frozen=True)
class CorrectionView:
    """The components of the correction.

    Attributes:
        pending: The points set so far for the next correction.
    """

    tool: gr.Radio
    hint: gr.Markdown
    picture: gr.Image
    confirm: gr.Button
    clear: gr.Button
    undo: gr.Button
    redo: gr.Button
    reset: gr.Button
    pending: gr.State

    def present(
        self,
        counted: CountedMicrograph,
        settings: PageSettings,
        chosen: int | None = None,
        tool: str | None = None,
        pending: Sequence[Point] = (),
    ) -> Updates:
        """Show the overlay with the points that are set.

        Args:
            counted: The count.
            settings: What stands on the page.
            chosen: Label of the grain to mark.
            tool: One of `TOOLS`; `None` leaves what goes by the tool.
            pending: The points.

        Returns:
            The components' new values.
        """
        edits = counted.analysis.edits
        return {
            self.picture: _draw_pending(counted, settings, chosen, tool, pending),
            self.clear: gr.Button(interactive=bool(pending)),
            self.undo: gr.Button(interactive=bool(edits)),
            self.redo: gr.Button(interactive=bool(counted.undone)),
            self.reset: gr.Button(interactive=bool(edits)),
            self.pending: tuple(pending),
            **({} if tool is None else self.prepare(tool, pending)),
        }

    def prepare(self, tool: str, pending: Sequence[Point] = ()) -> Updates:
        """Say how a tool is used, and offer to end what it draws."""
        is_drawn = tool in CONFIRMATIONS
        is_enough = is_drawn and len(pending) >= POINTS_NEEDED[tool][0]
        count = f" {plural(len(pending), 'point')} set." if pending else ""
        return {
            self.hint: HINTS[tool] + count,
            self.confirm: gr.Button(CONFIRMATIONS.get(tool, ""), visible=is_drawn, interactive=is_enough),
        }


def lay_out_correction() -> CorrectionView:
    """Lay out the correction, closed at first, inside the current `gr.Blocks`."""
    with gr.Accordion("Correct by hand", open=False, elem_id="correct"):
        tool = gr.Radio(
            [(text, name) for name, text in TOOLS.items()], value="delete", label="Tool", elem_id="correction-tool"
        )
        hint = gr.Markdown(HINTS["delete"], elem_id="correction-hint")
        with gr.Row(elem_id="correction-buttons"):
            confirm = gr.Button(
                "", variant="primary", visible=False, min_width=120, size="md", elem_id="confirm-points"
            )
            clear = gr.Button("Remove points", interactive=False, min_width=120, size="md", elem_id="clear-points")
            undo = gr.Button("Undo", interactive=False, min_width=80, size="md", elem_id="undo")
            redo = gr.Button("Redo", interactive=False, min_width=80, size="md", elem_id="redo")
            reset = gr.Button("Reset all", interactive=False, min_width=80, size="md", elem_id="reset")
        picture = gr.Image(
            label="Click in this picture",
            alt_text="The grains drawn over the micrograph, to be clicked at",
            elem_id="correction",
            **CLICKED_PICTURE,
        )
    return CorrectionView(
        tool=tool,
        hint=hint,
        picture=picture,
        confirm=confirm,
        clear=clear,
        undo=undo,
        redo=redo,
        reset=reset,
        pending=gr.State(()),
    )


def take_click(
    counted: CountedMicrograph, tool: str, pending: Sequence[Point], index: Sequence[int]
) -> tuple[tuple[Point, ...], Edit | None]:
    """Take a click in the picture.

    Args:
        counted: The count.
        tool: One of `TOOLS`.
        pending: The points so far.
        index: x and y as the picture was clicked at.

    Returns:
        The points with the new one, and the correction that it completes, if it does.
    """
    shape = counted.analysis.labels.shape
    point = clicked_point(index, shape)
    if tool == "add" and len(pending) >= POINTS_NEEDED["add"][0]:
        away = float(np.hypot(*np.subtract(point, pending[0])))
        extent = float(np.ptp(pending, axis=0).max())
        if away <= min(CLOSING_SHARE * max(shape), CLOSING_PART * extent):
            return tuple(pending), Edit("add", tuple(pending))
    points = (*pending, point)
    return points, Edit(tool, points) if len(points) == POINTS_NEEDED[tool][1] else None


def undo(counted: CountedMicrograph) -> CountedMicrograph:
    """Take the last correction back; nothing where there is none."""
    *earlier, last = counted.analysis.edits or (None,)
    return counted if last is None else counted.correct(earlier, (last, *counted.undone))


def redo(counted: CountedMicrograph) -> CountedMicrograph:
    """Make the correction that was undone last again; nothing where there is none."""
    following, *rest = counted.undone or (None,)
    return counted if following is None else counted.correct((*counted.analysis.edits, following), rest)


def reset(counted: CountedMicrograph) -> CountedMicrograph:
    """Take all corrections back; each can be made again."""
    edits = counted.analysis.edits
    return counted.correct((), (*edits, *counted.undone)) if edits else counted


def _draw_pending(
    counted: CountedMicrograph, settings: PageSettings, chosen: int | None, tool: str | None, pending: Sequence[Point]
) -> Any:
    if not pending and enlargement(counted.analysis.labels.shape) == 1:
        return overlay_path(counted, settings, chosen)
    overlay = counted.overlay(settings.show, settings.opacity, chosen)
    return draw_points(overlay, pending, closed=tool == "add")
