"""The page as a whole: its frame, its tabs, and how it is served."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import gradio as gr
from transformers import PreTrainedModel

from . import file_kinds, pointer
from .batch_tab import build_batch_tab
from .count_tab import build_count_tab
from .endpoints import add_endpoints
from .scripts import RELEASE_SLIDERS, TYPE_NUMBERS
from .sharing import SharedExamples, add_sharing
from .style import CSS, HEAD, THEME
from .tools import answer_in_parts, wants_tools
from .uploads import MAX_UPLOAD_BYTES

INTRODUCTION = (
    "# Grain counter\nSegments, counts and measures the grains on a micrograph. "
    "What you load goes to the machine that serves this page and no further"
)


MOST_SESSIONS = 500
"""Visitors whose page the server remembers; each takes a quarter of a megabyte, beside a picture and its grains."""


def build_page(examples: Path | None = None, model: str | os.PathLike | PreTrainedModel | None = None) -> gr.Blocks:
    """Build the page.

    Args:
        examples: Folder with example micrographs (`*.png`) and `counts.csv`; `None` or an empty one shows none.
        model: Folder, Hub id or a loaded model; `None` for the embedded weights. Loaded at the first count.

    Returns:
        The page, ready for `launch_page`.
    """
    shared = SharedExamples.from_environment()
    with gr.Blocks(title="Grain counter", analytics_enabled=False, delete_cache=(3600, 86400)) as page:
        gr.Markdown(INTRODUCTION + (", unless you share it." if shared else "."), elem_id="introduction")
        # First, so that no handler of the page takes the name of an endpoint.
        add_endpoints(model)
        with gr.Tab("One micrograph", id="count"):
            counted = build_count_tab(examples, model)
            if shared:
                add_sharing(counted, shared, examples)
        with gr.Tab("Batch", id="batch"):
            build_batch_tab(model)
    return page


def launch_page(
    page: gr.Blocks, examples: Path | None = None, *, mcp_server: bool | None = None, **options: Any
) -> tuple[Any, str, str]:
    """Serve the page in its own style; it asks no other host for anything.

    Args:
        page: What `build_page` made.
        examples: The folder that was given to it.
        mcp_server: Offer the endpoints as tools of an MCP server too; `None` asks the environment variable
            `GRADIO_MCP_SERVER`.
        options: Passed on to `gradio.Blocks.launch`.

    Returns:
        Gradio's application, the local address and the public one ("" without).

    Raises:
        GrainError: If an MCP server is asked for and its packages are not installed.
    """
    tools = wants_tools(mcp_server)
    settings = {
        "theme": THEME,
        "css": CSS + pointer.CSS,
        "head": HEAD + pointer.SCRIPT + file_kinds.SCRIPT + TYPE_NUMBERS + RELEASE_SLIDERS,
        "max_file_size": MAX_UPLOAD_BYTES,
        "state_session_capacity": MOST_SESSIONS,
        "footer_links": ["api"],
        "mcp_server": tools,
        "allowed_paths": [str(examples.resolve())] if examples else [],
    }
    page.queue(default_concurrency_limit=1)
    if not tools:
        return page.launch(**{**settings, **options})
    served = page.launch(**{**settings, **options, "prevent_thread_lock": True})
    # Before a script waits, as it would in `launch`, until the server ends.
    answer_in_parts(page)
    if not options.get("prevent_thread_lock") and not hasattr(sys, "ps1"):
        page.block_thread()
    return served
