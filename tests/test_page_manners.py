"""How the page treats its visitors: one run of the network at a time, in a queue; no traceback; fast; no other host."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from gradio_client import Client, handle_file

from grain_model import analysis as analysis_module
from grain_model.ui.batch_run import count_batch, open_uploads
from grain_model.ui.uploads import count_upload
from tests.browser import needs_chromium, visit
from tests.drawn import write_grid
from tests.page_steps import expect_count, press_count, upload


@needs_chromium
def test_the_first_paint_takes_less_than_two_seconds(page):
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    print(f"first contentful paint after {paint:.0f} ms")
    assert 0 < paint < 2000


@needs_chromium
def test_a_visitor_who_waits_is_told_the_place_in_the_queue(browser, site, tmp_path, monkeypatch):
    turn = site.hold(monkeypatch)
    visitors = []
    for number, shown in ((1, "processing"), (2, "queue: 1/1")):
        visitor = visit(browser, site.url)
        upload(visitor, write_grid(tmp_path / f"{number}.png", 2, 2 + number))
        visitor.wait_for_timeout(1000)
        visitor.get_by_role("button", name="Count grains").click()
        visitor.wait_for_function("text => document.querySelector('#micrograph').innerText.includes(text)", arg=shown)
        visitors.append(visitor)
    turn.set()
    for number, visitor in enumerate(visitors, start=1):
        expect_count(visitor, 2 * (2 + number))
        visitor.close()


@needs_chromium
def test_a_visitor_sees_how_far_a_large_picture_is(page, site, tmp_path, monkeypatch):
    turn = threading.Event()

    def predict(model, image, progress):
        # Told again, since the page may not listen yet at the first time.
        for _ in range(150):
            progress(1, 4)
            if turn.wait(0.2):
                break
        return site.predict(model, image)

    monkeypatch.setattr(analysis_module, "predict_at_canonical_scale", predict)
    upload(page, write_grid(tmp_path / "large.png", 2, 3))
    page.get_by_role("button", name="Count grains").click()
    page.wait_for_function("document.querySelector('#micrograph').innerText.includes('1/4 tiles')")
    turn.set()
    expect_count(page, 6)


def test_the_network_runs_for_one_micrograph_at_a_time(site, tmp_path, monkeypatch):
    running, most = 0, 0

    def predict(model, image, **options):
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.1)
        running -= 1
        return site.predict(model, image)

    monkeypatch.setattr(analysis_module, "predict_at_canonical_scale", predict)
    paths = [str(write_grid(tmp_path / f"{number}.png", 2, 2)) for number in range(3)]
    with ThreadPoolExecutor() as pool:
        batches = [
            pool.submit(list, count_batch(open_uploads(paths), partial(count_upload, model=site.model)))
            for _ in range(2)
        ]
        client = Client(site.url, verbose=False)
        counts = [client.submit(image=handle_file(path), api_name="/count") for path in paths]
        assert all(len(batch.result()[-1].fields) == 3 for batch in batches)
        assert [count.result()[0]["count"] for count in counts] == [4, 4, 4]
    assert most == 1


@needs_chromium
def test_a_fault_of_the_server_is_told_without_its_details(page, tmp_path, monkeypatch):
    def fail(model, image, **options):
        raise RuntimeError("secret /place/on/the/server")

    monkeypatch.setattr(analysis_module, "predict_at_canonical_scale", fail)
    upload(page, write_grid(tmp_path / "steel.png", 2, 2))
    page.get_by_role("button", name="Count grains").click()
    message = page.locator(".toast-body.error")
    message.wait_for()
    assert "The server failed at this (RuntimeError)" in message.inner_text()
    assert "secret" not in page.content() and "Traceback" not in page.content()


@needs_chromium
def test_no_tab_asks_another_host_for_anything(page, site, tmp_path):
    upload(page, write_grid(tmp_path / "steel.png", 2, 2))
    press_count(page)
    page.get_by_role("tab", name="Batch").click()
    page.wait_for_selector("#batch-button")
    asked = {url for url in page.requested if not url.startswith((site.url, "data:", "blob:"))}
    assert page.requested and not asked


@needs_chromium
def test_every_control_of_the_batch_tab_has_a_name(page):
    page.get_by_role("tab", name="Batch").click()
    page.wait_for_selector("#batch-button")
    page.get_by_role("button", name="Settings").last.click()
    page.wait_for_selector("#batch-smallest-grain input")
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll('button, input, textarea')]
        .filter(control => control.offsetParent && control.type !== 'file')
        .filter(control => !(control.ariaLabel || control.innerText || control.title || control.labels?.length
            || control.ariaLabelledByElements?.length))
        .map(control => control.outerHTML)"""
    )
    assert unnamed == []
