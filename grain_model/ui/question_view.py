"""The question that the page asks before corrections by hand are discarded."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

QUESTION = """**Your corrections would be lost.** Method, boundary sensitivity, smallest grain and a new count draw all
grains anew. Scale, overlay and edge rule keep the corrections."""


@dataclass(frozen=True)
class Question:
    """Asked before corrections are discarded."""

    panel: gr.Column
    discard: gr.Button
    keep: gr.Button


def lay_out_question() -> Question:
    """Lay out the question, hidden at first."""
    with gr.Column(visible=False, elem_id="question") as panel:
        gr.Markdown(QUESTION)
        with gr.Row():
            keep = gr.Button("Keep the corrections", variant="primary", size="md", elem_id="keep-corrections")
            discard = gr.Button("Discard them and count anew", size="md", elem_id="discard-corrections")
    return Question(panel=panel, discard=discard, keep=keep)
