"""Serves the page: the entry of a Hugging Face Space and of `python app.py`. With `--mcp` it is an MCP server too."""

import argparse
from pathlib import Path

from grain_model.ui import build_page, launch_page

EXAMPLES = Path(__file__).parent / "examples"

demo = build_page(EXAMPLES)

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Serve the page that counts grains.")
    parser.add_argument("--mcp", action="store_true", help="offer it as an MCP server too")
    launch_page(demo, EXAMPLES, mcp_server=parser.parse_args().mcp or None)
