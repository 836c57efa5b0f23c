"""What programs call: named endpoints of plain inputs and files, apart from what the page draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr


def add_count_endpoint(
    count: Callable[..., Any], entry: dict[str, Any], counted: gr.State, run_model: dict[str, Any]
) -> None:
    """Adds `/count`.

    Args:
        count: what it does.
        entry: the page's input components by name.
        counted: owns the archive until it has been fetched; programs do not see it.
        run_model: how the queue treats what runs the network.
    """
    with gr.Row(visible=False):
        gr.Button().click(
            count,
            [entry[name] for name in ("image", "um_per_pixel", "method", "boundary_sensitivity")],
            [
                gr.JSON(label="summary"),
                gr.Image(label="mask", format="png"),
                gr.Image(label="overlay", format="png"),
                gr.File(label="archive"),
                counted,
            ],
            api_name="count",
            **run_model,
        )
