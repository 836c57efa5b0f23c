"""The Space's folder in an environment of its own, installed and served as on the Hub."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from gradio_client import Client, handle_file

from grain_model.counting import count_grains
from train.cli import main

INSTALLING_S = 1800
STARTING_S = 180

pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as waiting:
        waiting.bind(("127.0.0.1", 0))
        return waiting.getsockname()[1]


@pytest.fixture(scope="module")
def space(tmp_path_factory) -> Path:
    """What the dry run writes."""
    folder = tmp_path_factory.mktemp("published")
    assert main(["publish", "--repo-id", "user/grains", "--space", "user/page", "--dry-run", str(folder)]) == 0
    return folder / "space"


@pytest.fixture(scope="module")
def python(space, tmp_path_factory) -> Path:
    """The Python of a new environment with the Space's requirements and nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--requirement", space / "requirements.txt"]
    # Where PyTorch's own index cannot be reached, the same version comes from PyPI; no need to ask again and again.
    subprocess.run(install, check=True, timeout=INSTALLING_S, env={**os.environ, "PIP_RETRIES": "1"})
    return python


@pytest.fixture(scope="module")
def address(space, python, tmp_path_factory) -> Iterator[str]:
    """Where `python app.py` serves the page."""
    port = free_port()
    home = tmp_path_factory.mktemp("home")
    environment = {"PATH": os.defpath, "HOME": str(home), "GRADIO_SERVER_PORT": str(port), "HF_HUB_OFFLINE": "1"}
    with subprocess.Popen([python, "app.py"], cwd=space, env=environment) as server:
        address = f"http://127.0.0.1:{port}/"
        try:
            wait_for(address, server)
            yield address
        finally:
            server.terminate()


def wait_for(address: str, server: subprocess.Popen) -> None:
    deadline = time.monotonic() + STARTING_S
    while time.monotonic() < deadline:
        assert server.poll() is None, "the page's process has ended"
        try:
            urllib.request.urlopen(address).close()
            return
        except OSError:
            time.sleep(0.5)
    raise TimeoutError(f"{address} does not answer")


def test_the_page_is_served(address):
    with urllib.request.urlopen(address) as page:
        assert page.status == 200 and b"gradio" in page.read()


def test_an_example_is_counted(space, address):
    example = space / "examples" / "etched_steel.png"
    client = Client(address, verbose=False)
    given = {"image": handle_file(example), "um_per_pixel": 0.5, "min_grain_area": None}
    summary = client.predict(**given, api_name="/count")[0]
    analysis = count_grains(example, 0.5)
    assert summary["count"] == analysis.count
    assert summary["grain_size"]["saltykov"]["G"] == pytest.approx(analysis.grain_size.saltykov.G)
