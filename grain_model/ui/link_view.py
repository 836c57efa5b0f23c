"""The link that reopens the page on the same example and settings."""

from __future__ import annotations

from typing import Any

import gradio as gr

from .errors import clear_errors
from .events import PRIVATE
from .opened import OpenedMicrograph
from .settings import PageSettings, write_link
from .typed_numbers import read_scale

OWN_PICTURE = "Your own picture is not part of the link: it opens the page with these settings only."
EXAMPLE = "Opens the page on this example with these settings."

# The page knows its own address best: a server behind a proxy does not. The clipboard is closed to pages served
# without https, where the text field remains to be copied from.
_COPY = """(query) => {
  const link = location.origin + location.pathname + query;
  navigator.clipboard?.writeText(link).catch(() => {});
  return link;
}"""


def add_link_view(opened: gr.State, settings: list[gr.components.Component]) -> None:
    """Lay out the link and bind its event, inside the current `gr.Blocks`.

    Args:
        opened: Holds the `OpenedMicrograph`.
        settings: The components of `PageSettings`, in its order.
    """
    with gr.Row(elem_id="link-row"):
        button = gr.Button("Copy a link to this view", min_width=200, scale=1, size="md", elem_id="copy-link")
        link = gr.Textbox(
            label="Link",
            info=EXAMPLE,
            interactive=False,
            visible=False,
            buttons=["copy"],
            min_width=240,
            scale=3,
            elem_id="link",
        )

    @clear_errors
    def write(file: OpenedMicrograph | None, scale: str | None, *values: Any) -> gr.Textbox:
        example = file.example if file else None
        info = OWN_PICTURE if file and not example else EXAMPLE
        return gr.Textbox(write_link(example, PageSettings(read_scale(scale), *values)), visible=True, info=info)

    # What is written down there is out of date then.
    gr.on([opened.change, *(setting.change for setting in settings)], None, None, link, js="() => ''", **PRIVATE)
    button.click(write, [opened, *settings], link, show_progress="hidden", **PRIVATE).success(
        None, link, link, js=_COPY, **PRIVATE
    )
