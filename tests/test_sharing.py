"""Sharing an image as an example: on the page, and at the HTTP boundary to a Hub of the tests' own."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest
import tifffile
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from grain_model.analysis import GrainAnalysis
from grain_model.counting import count_grains
from grain_model.ui import build_page
from grain_model.ui import sharing as sharing_module
from grain_model.ui.sharing import DATASET_VARIABLE, TOKEN_VARIABLE, SharedExamples, SharingError
from tests.browser import needs_chromium, serve, visit
from tests.drawn import draw_grid, write_grid
from tests.hub_server import OWNER, READ_TOKEN, WRITE_TOKEN, HubServer
from tests.page_steps import expect_count, press_count, upload

DATASET = f"{OWNER}/shared-grains"
ROOT = Path(__file__).parents[1]
TITLE = "Share this image as an example"


@pytest.fixture
def hub(monkeypatch) -> Iterator[HubServer]:
    with HubServer() as server:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", server.endpoint)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        yield server


@pytest.fixture
def examples(hub) -> Iterator[SharedExamples]:
    shared = SharedExamples(DATASET, WRITE_TOKEN)
    yield shared
    if shared.scheduler:
        shared.scheduler.stop()


@pytest.fixture
def analysis(sees_drawings, tiny_model, tmp_path) -> GrainAnalysis:
    """A picture whose file tells more than its pixels do."""
    told = PngInfo()
    told.add_text("Author", "Secret Name")
    exif = Image.Exif()
    exif[0x010E] = "Secret Place"
    path = tmp_path / "secret-project.png"
    Image.fromarray(draw_grid(3, 4)).save(path, pnginfo=told, exif=exif)
    return count_grains(path, 0.5, tiny_model)


def shared_files(hub: HubServer) -> dict[str, bytes]:
    """What the data set holds, by the name within its only example."""
    files = {path: file.content for path, file in hub.repository(DATASET, "datasets").head.files.items()}
    del files[".gitattributes"]
    names = [path.split("/") for path in files]
    assert {(first, len(name)) for first, name, _ in names} == {("examples", 20)}
    return {path.split("/")[2]: content for path, content in files.items()}


def test_pixels_grains_and_licence_arrive_and_nothing_else(hub, examples, analysis):
    assert examples.share(analysis, "cc-by-4.0", "316L", "A. Person")
    files = shared_files(hub)
    assert set(files) == {"image.png", "labels.tif", "about.json"}
    image = Image.open(io.BytesIO(files["image.png"]))
    assert np.array_equal(np.asarray(image), analysis.micrograph.pixels)
    assert not image.info and not image.getexif()
    assert np.array_equal(tifffile.imread(io.BytesIO(files["labels.tif"])), analysis.labels)
    about = json.loads(files["about.json"])
    assert (about["licence"], about["material"], about["credit"]) == ("cc-by-4.0", "316L", "A. Person")
    assert about["count"] == 12 and about["um_per_pixel"] == 0.5 and "right to publish" in about["consent"]
    everything = b"".join(files.values())
    for secret in (b"secret-project", b"Secret Name", b"Secret Place", WRITE_TOKEN.encode()):
        assert secret not in everything


def test_the_strip_of_text_under_a_picture_is_not_shared(hub, examples, analysis):
    with_strip = replace(analysis, micrograph=replace(analysis.micrograph, footer_top=100))
    assert len(analysis.labels) > 100
    examples.share(with_strip, "cc0-1.0")
    files = shared_files(hub)
    assert Image.open(io.BytesIO(files["image.png"])).height == 100
    assert len(tifffile.imread(io.BytesIO(files["labels.tif"]))) == 100


def test_sharing_a_picture_again_replaces_it(hub, examples, analysis):
    examples.share(analysis, "cc0-1.0", "steel")
    examples.share(analysis, "cc0-1.0", "austenitic steel")
    assert json.loads(shared_files(hub)["about.json"])["material"] == "austenitic steel"


def test_nobody_replaces_the_licence_of_another(hub, examples, analysis):
    examples.share(analysis, "cc-by-4.0", credit="A. Person")
    examples.share(analysis, "cc0-1.0")
    files = hub.repository(DATASET, "datasets").head.files
    told = [json.loads(file.content) for path, file in files.items() if path.endswith("about.json")]
    assert {about["licence"]: about["credit"] for about in told} == {"cc-by-4.0": "A. Person", "cc0-1.0": ""}
    assert not any(examples.scheduler.folder_path.iterdir())


def test_nothing_is_asked_of_the_hub_before_the_first_image(hub, monkeypatch):
    monkeypatch.setenv(DATASET_VARIABLE, DATASET)
    monkeypatch.setenv(TOKEN_VARIABLE, WRITE_TOKEN)
    page = build_page()
    assert TITLE in json.dumps(page.get_config_file(), default=str)
    assert WRITE_TOKEN not in json.dumps(page.get_config_file(), default=str)
    assert hub.log == []


def test_an_import_with_the_variables_set_asks_for_nothing():
    code = (
        "import socket; socket.socket.connect = None\n"
        "import app, huggingface_hub\n"
        "assert 'huggingface_hub._commit_scheduler' not in __import__('sys').modules"
    )
    environment = {DATASET_VARIABLE: DATASET, TOKEN_VARIABLE: WRITE_TOKEN, "PATH": "", "HOME": "/nowhere"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=120, cwd=ROOT)


@pytest.mark.parametrize(
    "variables",
    [{}, {DATASET_VARIABLE: DATASET}, {TOKEN_VARIABLE: WRITE_TOKEN}, {DATASET_VARIABLE: " ", TOKEN_VARIABLE: "x"}],
)
def test_there_is_none_without_both_settings(variables):
    assert SharedExamples.from_environment(variables) is None


def test_the_token_is_not_told():
    assert WRITE_TOKEN not in repr(SharedExamples(DATASET, WRITE_TOKEN))


@pytest.mark.parametrize("token", [READ_TOKEN, "hf_unknown"])
def test_a_token_that_does_not_do_is_explained(hub, analysis, token):
    shared = SharedExamples(DATASET, token)
    with pytest.raises(SharingError, match=f"write access is expected in {TOKEN_VARIABLE}") as raised:
        shared.share(analysis, "cc0-1.0")
    assert token not in str(raised.value) and shared.scheduler is None


def test_a_name_that_is_none_is_explained(hub, analysis):
    with pytest.raises(SharingError, match=f"USER/NAME of a data set is expected in {DATASET_VARIABLE}"):
        SharedExamples("no good/name/at all", WRITE_TOKEN).share(analysis, "cc0-1.0")


def test_a_hub_that_cannot_be_reached_is_explained(hub, analysis, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(SharingError, match="could not be reached or failed.*try again later"):
        SharedExamples(DATASET, WRITE_TOKEN).share(analysis, "cc0-1.0")


@pytest.mark.parametrize("fault", [500, None])
def test_what_could_not_be_sent_is_not_kept_and_can_be_sent_later(hub, examples, analysis, fault):
    hub.faults["commit"] = fault
    with pytest.raises(SharingError, match="your image is not kept"):
        examples.share(analysis, "cc0-1.0")
    assert not any(examples.scheduler.folder_path.iterdir())
    hub.faults.clear()
    assert examples.share(analysis, "cc0-1.0")
    assert "image.png" in shared_files(hub)


def test_a_slow_hub_is_not_waited_for_without_end(hub, examples, analysis, monkeypatch):
    monkeypatch.setattr(sharing_module, "SECONDS_TO_WAIT", 0)
    assert examples.share(analysis, "cc0-1.0") is False
    until = time.monotonic() + 20
    while any(examples.scheduler.folder_path.iterdir()) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(examples.scheduler.folder_path.iterdir()), "what has arrived is not kept"
    assert "image.png" in shared_files(hub)


@needs_chromium
def test_sharing_is_invisible_without_the_settings(browser, tmp_path):
    with serve() as site:
        visitor = visit(browser, site.url)
        upload(visitor, write_grid(tmp_path / "steel.png", 3, 4))
        press_count(visitor)
        assert visitor.get_by_text(TITLE).count() == 0
        assert "Share" not in visitor.content()
        visitor.close()


@needs_chromium
def test_the_pages_own_examples_are_not_offered_to_be_shared(browser, monkeypatch, tmp_path):
    monkeypatch.setenv(DATASET_VARIABLE, DATASET)
    monkeypatch.setenv(TOKEN_VARIABLE, WRITE_TOKEN)
    folder = tmp_path / "examples"
    folder.mkdir()
    write_grid(folder / "steel.png", 3, 4)
    (folder / "counts.csv").write_text("file,count\nsteel.png,12\n")
    with serve(folder) as site:
        visitor = visit(browser, site.url)
        upload(visitor, write_grid(tmp_path / "mine.png", 2, 2))
        press_count(visitor)
        visitor.get_by_text(TITLE).wait_for()
        visitor.locator("#examples").get_by_role("button").first.click()
        expect_count(visitor, 12)
        visitor.get_by_text(TITLE).wait_for(state="hidden")
        visitor.close()


@needs_chromium
def test_a_visitor_shares_after_consent(browser, hub, monkeypatch, tmp_path):
    monkeypatch.setenv(DATASET_VARIABLE, DATASET)
    monkeypatch.setenv(TOKEN_VARIABLE, WRITE_TOKEN)
    with serve() as site:
        visitor = visit(browser, site.url)
        assert not visitor.get_by_text(TITLE).is_visible()
        upload(visitor, write_grid(tmp_path / "steel.png", 3, 4))
        press_count(visitor)
        visitor.get_by_role("button", name=TITLE).click()
        visitor.get_by_role("button", name="Share", exact=True).click()
        message = visitor.locator(".toast-body.error")
        message.wait_for()
        assert "You have not agreed" in message.inner_text() and hub.log == []
        visitor.get_by_label("I took this image").check()
        visitor.get_by_label("Material").fill("drawn steel")
        visitor.get_by_role("button", name="Share", exact=True).click()
        visitor.get_by_text(f"Thank you. The image is now in the data set {DATASET}").wait_for()
        assert not visitor.get_by_label("I took this image").is_checked()
        files = shared_files(hub)
        assert json.loads(files["about.json"])["material"] == "drawn steel"
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(files["image.png"])))[..., 0], draw_grid(3, 4))
        visitor.close()
