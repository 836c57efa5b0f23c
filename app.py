"""Serves the page: the entry of a Hugging Face Space and of `python app.py`. With `--mcp` it is an MCP server too."""

import argparse
import os
import tempfile
from pathlib import Path

# Before gradio is loaded, which reads it. Gradio's own folder is one for all servers and users of the machine: only the
# first user may write there, and a server that stops takes the pictures of the others away.
if not os.environ.get("GRADIO_TEMP_DIR"):
    pictures = tempfile.TemporaryDirectory(prefix="grain-counter-", ignore_cleanup_errors=True)
    os.environ["GRADIO_TEMP_DIR"] = pictures.name

from grain_model.interrupts import ended_as_by_ctrl_c  # noqa: E402
from grain_model.ui import build_page, launch_page  # noqa: E402

EXAMPLES = Path(__file__).parent / "examples"

demo = build_page(EXAMPLES)

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Serve the page that counts grains.")
    parser.add_argument("--mcp", action="store_true", help="offer it as an MCP server too")
    options = parser.parse_args()
    # So that the pictures are removed.
    with ended_as_by_ctrl_c():
        launch_page(demo, EXAMPLES, mcp_server=options.mcp or None)
