"""The page as tests see it: served with a stand-in for the network, in a real Chromium."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grain_model import analysis as analysis_module
from grain_model.modeling_grain import GrainForInstanceSegmentation
from grain_model.ui import build_page, launch_page
from tests.conftest import make_tiny_config
from tests.drawn import predict_drawn

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))

CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# On CI a missing browser is a failure, not a reason to skip.
needs_chromium = pytest.mark.skipif(
    not CHROMIUM.exists() and "CI" not in os.environ, reason=f"there is no Chromium at {CHROMIUM}"
)


class Site:
    """A served page whose network sees what is drawn and counts how often it runs."""

    def __init__(self, examples: Path | None = None, **options: Any) -> None:
        self.runs = 0
        self.model = GrainForInstanceSegmentation(make_tiny_config()).eval()
        self.page = build_page(examples, self.model)
        local = {"server_name": "127.0.0.1", "prevent_thread_lock": True, "quiet": True, "inbrowser": False}
        _, self.url, _ = launch_page(self.page, examples, **{**local, **options})

    def predict(self, model: object, image: np.ndarray, **options: object) -> np.ndarray:
        self.runs += 1
        return predict_drawn(model, image)

    def hold(self, patch: pytest.MonkeyPatch) -> threading.Event:
        """Lets the network run only once the event that is returned is set."""
        turn = threading.Event()

        def wait(model: object, image: np.ndarray, **options: object) -> np.ndarray:
            assert turn.wait(30)
            return self.predict(model, image)

        patch.setattr(analysis_module, "predict_at_canonical_scale", wait)
        return turn


@contextmanager
def serve(examples: Path | None = None, **options: Any) -> Iterator[Site]:
    """Serves a page until the block ends; meanwhile `count_grains` sees drawings everywhere.

    The page has its own folder for files: gradio's servers share one, by the files' contents, and the first to stop
    takes the files of the others away.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", folder)
        served = Site(examples, **options)
        patch.setattr(analysis_module, "predict_at_canonical_scale", served.predict)
        yield served
        served.page.close(verbose=False)


@contextmanager
def start_chromium() -> Iterator[Any]:
    """Runs a headless Chromium until the block ends."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=str(CHROMIUM), args=CHROMIUM_ARGUMENTS)
        yield chromium
        chromium.close()


def visit(browser: Any, url: str, **settings: Any) -> Any:
    """Opens the page as a fresh visitor, at a desktop's width by default; `.requested` lists what it asks for."""
    visitor = browser.new_page(**{"viewport": {"width": 1280, "height": 900}, **settings})
    visitor.set_default_timeout(20_000)
    visitor.requested = []
    visitor.on("request", lambda request: visitor.requested.append(request.url))
    visitor.goto(url)
    visitor.wait_for_selector("#count-button")
    return visitor
