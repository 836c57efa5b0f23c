"""The web page: `build_page` makes it, `launch_page` serves it."""

from .page import build_page, launch_page

__all__ = ["build_page", "launch_page"]
