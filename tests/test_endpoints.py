"""The endpoints for programs, called as programs call them."""

from __future__ import annotations

import ast
import asyncio
import base64
import io
import json
import urllib.request
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tifffile
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from grain_model.analysis import GrainAnalysis
from grain_model.correction import Edit
from grain_model.counting import count_grains
from grain_model.errors import GrainError, MeasurementError
from grain_model.export import FORMATS
from grain_model.field_mean import average_fields
from grain_model.micrograph import read_micrograph
from grain_model.ui import build_page, endpoints, launch_page, tools, uploads
from grain_model.ui.counted import CountedMicrograph, archive_analysis
from grain_model.ui.endpoints import RecentResults
from tests.browser import serve
from tests.drawn import draw_grid, write_grid


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
        assert set(files.namelist()) == {"steel-grains.csv", "steel-RoiSet.zip"}
        assert len(pd.read_csv(files.open("steel-grains.csv"))) == 20
    everything = client.predict(result=result, api_name="/export")
    assert len(zipfile.ZipFile(everything).namelist()) == len(FORMATS)
    report = client.predict(result=result, formats=["report-pdf", "report-pdf"], api_name="/export")
    with zipfile.ZipFile(report) as files:
        assert files.namelist() == ["steel-report.pdf"] and files.read("steel-report.pdf").startswith(b"%PDF")


def test_batch_gives_the_fields_and_their_mean(client, site, tmp_path):
    paths = [write_grid(tmp_path / f"{columns}.png", 5, columns) for columns in (5, 6)]
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    zipped = tmp_path / "fields.zip"
    with zipfile.ZipFile(zipped, "w") as fields:
        for path in (*paths, broken):
            fields.write(path, path.name)
    document, archive = client.predict(archive=handle_file(zipped), um_per_pixel=0.5, api_name="/batch")
    analyses = [count_grains(path, 0.5, site.model) for path in paths]
    assert [result["count"] for result in document["results"]] == [analysis.count for analysis in analyses]
    names = [result["file"] for result in document["results"]]
    mean = average_fields([analysis.grain_size for analysis in analyses], names)
    assert document["mean"]["grain_size"] == json.loads(json.dumps(mean.to_dict()))
    assert [failure["file"] for failure in document["failed"]] == ["fields.zip/broken.png"]
    assert {"5.png/mask.png", "6.png/grains.csv", "summary.csv"} <= set(zipfile.ZipFile(archive).namelist())
    with pytest.raises(AppError, match="positive"):
        client.predict(archive=handle_file(zipped), um_per_pixel=-1, api_name="/batch")


def test_pages_of_a_file_are_counted_one_or_all(client, site, tmp_path):
    stack, zipped = tmp_path / "stack.tif", tmp_path / "fields.zip"
    for columns in (5, 8):
        tifffile.imwrite(stack, draw_grid(5, columns), append=True)
    counts = [count_grains(draw_grid(5, columns), None, site.model).count for columns in (5, 8)]
    with zipfile.ZipFile(zipped, "w") as fields:
        fields.write(stack, stack.name)
    summary, *_ = client.predict(image=handle_file(stack), page=1, api_name="/count")
    assert summary["count"] == counts[1]
    with pytest.raises(AppError, match="no page 2"):
        client.predict(image=handle_file(stack), page=2, api_name="/count")
    with pytest.raises(AppError, match="page is 0.5"):
        client.predict(image=handle_file(stack), page=0.5, api_name="/count")
    document, _ = client.predict(archive=handle_file(zipped), all_pages=True, api_name="/batch")
    assert [result["count"] for result in document["results"]] == counts


def test_signatures_are_documented(client):
    documented = client.view_api(return_format="dict")["named_endpoints"]
    assert set(documented) == {"/count", "/settings", "/batch", "/export"}
    names = {name: [parameter["parameter_name"] for parameter in api["parameters"]] for name, api in documented.items()}
    options = ["um_per_pixel", "method", "boundary_sensitivity", "min_grain_area"]
    assert names["/count"] == ["image", *options, "page"]
    assert names["/settings"] == ["result", *options]
    assert names["/batch"] == ["archive", *options, "all_pages"]
    assert names["/export"] == ["result", "formats"]
    required = {
        name: [p["parameter_name"] for p in api["parameters"] if not p["parameter_has_default"]]
        for name, api in documented.items()
    }
    assert required == {"/count": ["image"], "/settings": ["result"], "/batch": ["archive"], "/export": ["result"]}


def test_errors_say_what_is_wrong(client, path, tmp_path):
    (tmp_path / "notes.png").write_text("this is text")
    with pytest.raises(AppError, match="notes.png is no image that can be read") as raised:
        client.predict(image=handle_file(tmp_path / "notes.png"), api_name="/count")
    assert "/tmp" not in str(raised.value)
    with pytest.raises(AppError, match="There is no result 'guessed'"):
        client.predict(result="guessed", api_name="/settings")
    with pytest.raises(AppError, match="number from 0 to 1"):
        client.predict(image=handle_file(path), boundary_sensitivity=2, api_name="/count")
    with pytest.raises(AppError, match="area of 0 or more"):
        client.predict(image=handle_file(path), min_grain_area=-1, api_name="/count")


def test_an_image_of_too_many_pixels_is_refused(client, path, monkeypatch):
    monkeypatch.setattr(uploads, "MAX_UPLOAD_PIXELS", 10_000)
    with pytest.raises(AppError, match="million pixels"):
        client.predict(image=handle_file(path), api_name="/count")


def test_an_upload_over_the_limit_is_refused_by_the_server(path):
    with serve(max_file_size=100) as small, pytest.raises(Exception, match="413|maximum"):
        Client(small.url, verbose=False).predict(image=handle_file(path), api_name="/count")


def counted(rows: int) -> CountedMicrograph:
    micrograph = read_micrograph(draw_grid(rows, rows))
    labels = np.zeros(micrograph.pixels.shape[:2], np.int32)
    analysis = GrainAnalysis(micrograph, labels, np.zeros(0, np.float32), np.zeros((3, 1, 1)))
    return archive_analysis("steel.png", analysis)


def test_arrays_of_a_kept_count_lie_in_files(path, site):
    analysis = count_grains(path, model=site.model)
    kept = archive_analysis("steel.png", analysis).analysis
    for of_kept, of_count in zip(arrays(kept), arrays(analysis), strict=True):
        assert isinstance(of_kept.base, np.memmap)
        assert np.array_equal(of_kept, of_count)
    corrected = archive_analysis("steel.png", kept.correct([Edit("delete", ((10.0, 10.0),))]), kept)
    # What the correction left as it was is not written anew.
    assert corrected.analysis.maps is kept.maps
    assert corrected.analysis.count == analysis.count - 1


def arrays(analysis: GrainAnalysis) -> tuple[np.ndarray, ...]:
    return analysis.labels, analysis.maps, analysis.micrograph.pixels


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


def test_an_mcp_server_that_is_not_installed_is_explained(monkeypatch):
    monkeypatch.setattr(tools, "find_spec", lambda name: None)
    with pytest.raises(GrainError, match="pip install"):
        launch_page(build_page(), mcp_server=True)
    monkeypatch.setenv("GRADIO_MCP_SERVER", "True")
    with pytest.raises(GrainError, match="package mcp is missing"):
        launch_page(build_page())


def test_an_mcp_package_that_gradio_does_not_take_is_explained():
    with pytest.raises(GrainError, match="not in a version that gradio takes"):
        tools.answer_in_parts(build_page())


@pytest.mark.parametrize("options", [{}, {"prevent_thread_lock": True}])
def test_a_script_with_tools_puts_them_right_before_it_waits(monkeypatch, options):
    page, waited = build_page(), []
    page.mcp_server_obj = SimpleNamespace()
    monkeypatch.setattr(tools, "find_spec", lambda name: name)
    monkeypatch.setattr(page, "queue", lambda **given: page)
    monkeypatch.setattr(page, "launch", lambda **given: given["prevent_thread_lock"])
    monkeypatch.setattr(
        page, "block_thread", lambda: waited.append(hasattr(page.mcp_server_obj, "_execute_tool_without_progress"))
    )
    assert launch_page(page, mcp_server=True, **options) is True
    assert waited == ([] if options else [True])


async def call_mcp_tools(url: str, image: str) -> tuple[dict, list[dict]]:
    """Lists the tools of an MCP server and calls three of them one after the other."""
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async with (
        streamable_http_client(f"{url}gradio_api/mcp/") as (read, write, _),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        listed = {tool.name: tool for tool in (await session.list_tools()).tools}
        first = await session.call_tool("count", {"image": image, "um_per_pixel": 0.5})
        assert [block.type for block in first.content].count("image") == 2
        *_, archive, result = (block.text for block in first.content if block.type == "text")
        with urllib.request.urlopen(archive) as answer:
            assert "grains.csv" in zipfile.ZipFile(io.BytesIO(answer.read())).namelist()
        again = await session.call_tool("settings", {"result": result, "min_grain_area": 5000})
        batch = await session.call_tool("batch", {"archive": image})
        failed = await session.call_tool("settings", {"result": "guessed"})
        assert failed.isError and "There is no result 'guessed'" in failed.content[0].text
        return listed, [ast.literal_eval(answer.content[0].text) for answer in (first, again, batch)]


def test_the_endpoints_are_mcp_tools(path):
    pytest.importorskip("mcp", reason="the extra `mcp` is not installed")
    image = f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
    with serve(mcp_server=True) as served:
        listed, (first, again, batch) = asyncio.run(call_mcp_tools(served.url, image))
        expected = json.loads(json.dumps(count_grains(path, 0.5, served.model).summary()))
    assert set(listed) == {"count", "settings", "batch", "export"}
    assert "ASTM grain-size number" in listed["count"].description
    assert "um per pixel" in listed["count"].inputSchema["properties"]["um_per_pixel"]["description"]
    assert {**first, "name": "steel.png"} == expected
    assert again["count"] == 0
    assert [result["count"] for result in batch["results"]] == [20]
