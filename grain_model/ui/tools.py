"""The page's endpoints as tools of an MCP server, which gradio runs."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

import gradio as gr

from ..errors import GrainError


def wants_tools(mcp_server: bool | None) -> bool:
    """Decide whether to run an MCP server.

    Args:
        mcp_server: `None` asks the environment variable `GRADIO_MCP_SERVER`.

    Raises:
        GrainError: If one is asked for and its packages are not installed.
    """
    if mcp_server is None:
        mcp_server = os.environ.get("GRADIO_MCP_SERVER", "").lower() == "true"
    if mcp_server and find_spec("mcp") is None:
        raise GrainError(
            "The package mcp is missing, which the MCP server needs. It comes with an extra. "
            "Run `pip install '.[mcp]'`, or start the page without it."
        )
    return mcp_server


def answer_in_parts(page: gr.Blocks) -> None:
    """Make the MCP server of a page answer every client as it answers those that ask for progress.

    To the others gradio 6.31 gives all outputs as one text, in which the addresses of the files are wrong.

    Args:
        page: Was launched with an MCP server.

    Raises:
        GrainError: If gradio could not start it.
    """
    if page.mcp_server_obj is None:
        raise GrainError(
            "The MCP server did not start: the package mcp is there, but not in a version that gradio takes. "
            "Run `pip install '.[mcp]'`, or start the page without it."
        )

    async def await_outputs(job: Any) -> list[Any]:
        async for update in job:
            if update.type == "output" and update.final:
                if not update.success:
                    raise RuntimeError(update.outputs.get("error") or "The tool failed.")
                return update.outputs["data"]
        raise RuntimeError("The tool gave no answer.")

    page.mcp_server_obj._execute_tool_without_progress = await_outputs
