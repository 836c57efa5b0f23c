"""Serves the page: the entry of a Hugging Face Space and of `python app.py`. With `--mcp` it is an MCP server too."""

import sys
from pathlib import Path

from grain_model.ui import build_page, launch_page

EXAMPLES = Path(__file__).parent / "examples"

demo = build_page(EXAMPLES)

if __name__ == "__main__":
    launch_page(demo, EXAMPLES, mcp_server="--mcp" in sys.argv[1:] or None)
