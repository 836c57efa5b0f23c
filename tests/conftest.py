"""What several test modules share: no network, one thread, small models."""

import os
import signal

# Before transformers, huggingface_hub and gradio are imported, which read these once.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
# Of the processes that tests start, too: more threads than cores would starve the browser beside them.
os.environ["OMP_NUM_THREADS"] = "1"

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from grain_model import analysis as analysis_module
from grain_model.configuration_grain import GrainConfig
from grain_model.interrupts import ENDING_SIGNALS
from grain_model.modeling_grain import GrainForInstanceSegmentation
from tests.drawn import predict_drawn

torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keeps what runs in a browser in one of several processes, since two browsers at once make each other wait."""
    for item in items:
        if "browser" in item.fixturenames:
            item.add_marker(pytest.mark.xdist_group("browser"))


def make_tiny_config(**changes) -> GrainConfig:
    """A configuration of the real architecture that runs in milliseconds."""
    settings = {
        "backbone_config": {
            "model_type": "dinov2",
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 56,
            "patch_size": 14,
        },
        "token_depths": (1, 2),
        "token_channels": 16,
        "detail_channels": (8, 8, 16, 16),
        "context_blocks": 1,
    }
    return GrainConfig(**{**settings, **changes})


@pytest.fixture
def tiny_config() -> GrainConfig:
    return make_tiny_config()


@pytest.fixture
def tiny_model(tiny_config: GrainConfig) -> GrainForInstanceSegmentation:
    """Random but always the same weights, in evaluation mode."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return GrainForInstanceSegmentation(tiny_config).eval()


@pytest.fixture
def start(tiny_model: GrainForInstanceSegmentation, tmp_path: Path) -> Path:
    """A folder with the tiny model, to start a training run from."""
    tiny_model.save_pretrained(tmp_path / "start")
    return tmp_path / "start"


@pytest.fixture
def sees_drawings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets `count_grains` see what is drawn, whatever the model: bright is grain, dark is boundary."""
    monkeypatch.setattr(analysis_module, "predict_at_canonical_scale", predict_drawn)


@pytest.fixture(scope="module")
def site() -> Iterator[Any]:
    """A served page without examples; a module that needs another one has a fixture of this name."""
    from tests.browser import serve

    with serve() as served:
        yield served


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    from tests.browser import start_chromium

    with start_chromium() as chromium:
        yield chromium


@pytest.fixture
def page(browser: Any, site: Any) -> Iterator[Any]:
    """A fresh visitor at a desktop's width of what the module's `site` serves."""
    from tests.browser import visit

    visitor = visit(browser, site.url)
    yield visitor
    visitor.close()


@pytest.fixture
def heeds_signals():
    """The signals that end a program do so in the test, also where `nohup` has the others ignored."""
    before = {number: signal.getsignal(number) for number in ENDING_SIGNALS if number != signal.SIGINT}
    for number in before:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
