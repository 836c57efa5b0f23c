"""The endpoints for programs, called as programs call them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from grain_model.analysis import GrainAnalysis, count_grains
from grain_model.errors import MeasurementError
from grain_model.export import FORMATS
from grain_model.micrograph import read_micrograph
from grain_model.ui import endpoints, limits
from grain_model.ui.endpoints import CountedUpload, RecentResults
from tests.browser import Site, serve, write_grid
from tests.drawn import draw_grid


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serve() as served:
        yield served


@pytest.fixture(scope="module")
def client(site) -> Client:
    return Client(site.url, verbose=False)


@pytest.fixture
def path(tmp_path) -> Path:
    return write_grid(tmp_path / "steel.png", 4, 5)


def expect_answer(answer: tuple, expected: GrainAnalysis) -> None:
    summary, mask, overlay, archive, _ = answer
    assert summary == json.loads(json.dumps(expected.summary()))
    assert np.array_equal(np.asarray(Image.open(mask)), expected.mask * 255)
    assert np.array_equal(np.asarray(Image.open(overlay)), expected.overlay())
    with zipfile.ZipFile(archive) as files:
        assert len(pd.read_csv(files.open("grains.csv"))) == expected.count


def test_count_gives_what_count_grains_gives(client, site, path):
    answer = client.predict(image=handle_file(path), um_per_pixel=0.5, api_name="/count")
    expect_answer(answer, count_grains(path, 0.5, site.model))
    assert answer[0]["count"] == 20


def test_settings_count_again_without_the_network(client, site, path):
    *_, result = client.predict(image=handle_file(path), api_name="/count")
    options = {"method": "components", "boundary_sensitivity": 0.4, "min_grain_area": 5000}
    runs = site.runs
    answer = client.predict(result=result, um_per_pixel=0.25, **options, api_name="/settings")
    assert site.runs == runs
    expect_answer(answer, count_grains(path, 0.25, site.model, **options))
    assert answer[0]["count"] == 0
    # The first result is as it was, and no session is needed.
    again = Client(site.url, verbose=False).predict(result=result, api_name="/settings")
    assert again[0]["count"] == 20 and again[0]["scale"]["um_per_pixel"] is None


def test_export_gives_the_formats_of_an_earlier_result(client, path):
    *_, result = client.predict(image=handle_file(path), um_per_pixel=0.5, api_name="/count")
    archive = client.predict(result=result, formats=["csv", "imagej"], api_name="/export")
    with zipfile.ZipFile(archive) as files:
        assert set(files.namelist()) == {"grains.csv", "RoiSet.zip"}
        assert len(pd.read_csv(files.open("grains.csv"))) == 20
    everything = client.predict(result=result, api_name="/export")
    assert len(zipfile.ZipFile(everything).namelist()) == len(FORMATS)


def test_signatures_are_documented(client):
    documented = client.view_api(return_format="dict")["named_endpoints"]
    assert set(documented) == {"/count", "/settings", "/export"}
    names = {name: [parameter["parameter_name"] for parameter in api["parameters"]] for name, api in documented.items()}
    options = ["um_per_pixel", "method", "boundary_sensitivity", "min_grain_area"]
    assert names["/count"] == ["image", *options]
    assert names["/settings"] == ["result", *options]
    assert names["/export"] == ["result", "formats"]
    required = {
        name: [p["parameter_name"] for p in api["parameters"] if not p["parameter_has_default"]]
        for name, api in documented.items()
    }
    assert required == {"/count": ["image"], "/settings": ["result"], "/export": ["result"]}


def test_errors_say_what_is_wrong(client, path, tmp_path):
    (tmp_path / "notes.png").write_text("this is text")
    with pytest.raises(AppError, match="notes.png is no image that can be read") as raised:
        client.predict(image=handle_file(tmp_path / "notes.png"), api_name="/count")
    assert "/tmp" not in str(raised.value)
    with pytest.raises(AppError, match="There is no result"):
        client.predict(result="guessed", api_name="/settings")
    with pytest.raises(AppError, match="number from 0 to 1"):
        client.predict(image=handle_file(path), boundary_sensitivity=2, api_name="/count")
    with pytest.raises(AppError, match="area of 0 or more"):
        client.predict(image=handle_file(path), min_grain_area=-1, api_name="/count")


def test_an_image_of_too_many_pixels_is_refused(client, path, monkeypatch):
    monkeypatch.setattr(limits, "MAX_UPLOAD_PIXELS", 10_000)
    with pytest.raises(AppError, match="million pixels"):
        client.predict(image=handle_file(path), api_name="/count")


def counted(rows: int) -> CountedUpload:
    micrograph = read_micrograph(draw_grid(rows, rows))
    labels = np.zeros(micrograph.pixels.shape[:2], np.int32)
    return CountedUpload("steel.png", GrainAnalysis(micrograph, labels, np.zeros(0, np.float32), np.zeros((3, 1, 1))))


def test_results_are_forgotten_in_time():
    now = 0.0
    results = RecentResults(lambda: now)
    name = results.keep(counted(2))
    assert results.find(name).source == "steel.png"
    now = endpoints.KEPT_SECONDS + 1.0
    with pytest.raises(MeasurementError, match="no result"):
        results.find(name)


def test_results_are_bounded_in_pixels(monkeypatch):
    first, second = counted(2), counted(3)
    monkeypatch.setattr(endpoints, "KEPT_PIXELS", second.analysis.labels.size)
    results = RecentResults()
    names = [results.keep(first), results.keep(second)]
    assert results.find(names[1]) is second
    with pytest.raises(MeasurementError):
        results.find(names[0])
    huge = replace(second, analysis=replace(second.analysis, labels=np.zeros((999, 999), np.int32)))
    assert results.find(results.keep(huge)) is huge
