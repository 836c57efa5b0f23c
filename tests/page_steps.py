"""What tests do on the page, step by step, as a visitor does."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image


def upload(page: Any, path: Path) -> None:
    """Loads a micrograph, or what claims to be one."""
    page.locator("#micrograph input[type=file]").set_input_files(path)
    page.wait_for_selector("#micrograph img, .toast-body.error")


def press_count(page: Any) -> None:
    """Counts and waits for the card."""
    page.get_by_role("button", name="Count grains").click()
    page.wait_for_selector('[data-testid="count"]')


def shown_count(page: Any) -> int:
    """Reads the number on the card."""
    return int(page.locator('[data-testid="count"]').inner_text())


def expect_count(page: Any, count: float) -> None:
    """Waits until the card shows a number."""
    page.wait_for_function(f"document.querySelector('[data-testid=count]')?.innerText == '{count}'")


def expect_card(page: Any, text: str) -> None:
    """Waits until the card says something."""
    page.wait_for_function("text => document.querySelector('#count')?.innerText.includes(text)", arg=text)


def open_section(page: Any, name: str) -> None:
    """Opens an accordion, and waits as a hand does until its fields, which are made only now, hold their values."""
    page.locator("button.label-wrap:visible").filter(has_text=name).click()
    page.wait_for_timeout(700)


def picture(page: Any, name: str) -> np.ndarray:
    """Fetches a picture of the page as the browser has it."""
    selector = f"#{name} img"
    page.wait_for_function(f"document.querySelector('{selector}')?.naturalWidth > 0")
    response = page.request.get(page.locator(selector).get_attribute("src"))
    return np.asarray(Image.open(io.BytesIO(response.body())))


def wait_for_change(page: Any, name: str, source: str) -> None:
    """Waits until a picture is another one than that of an address, and is there."""
    page.wait_for_function(
        "([name, old]) => { const img = document.querySelector(`#${name} img`);"
        " return img && img.src != old && img.complete && img.naturalWidth > 0 }",
        arg=[name, source],
    )


def source_of(page: Any, name: str) -> str:
    """Address of a picture, once it is there."""
    page.wait_for_function(f"document.querySelector('#{name} img')?.naturalWidth > 0")
    return page.evaluate(f"document.querySelector('#{name} img').src")


def click_at(page: Any, name: str, x: float, y: float, width: int) -> None:
    """Clicks at a pixel of a picture.

    Args:
        page: the visitor.
        name: id of the picture.
        x: column, px of the micrograph.
        y: row.
        width: of the micrograph, which the page may show at another size.
    """
    image = page.locator(f"#{name} img")
    image.scroll_into_view_if_needed()
    box = image.bounding_box()
    natural = image.evaluate("img => [img.naturalWidth, img.naturalHeight]")
    shown = min(box["width"] / natural[0], box["height"] / natural[1], 1)
    left = box["x"] + (box["width"] - natural[0] * shown) / 2
    top = box["y"] + (box["height"] - natural[1] * shown) / 2
    factor = shown * natural[0] / width
    page.mouse.click(left + (x + 0.5) * factor, top + (y + 0.5) * factor)


def download_results(page: Any) -> tuple[pd.DataFrame, dict[str, Any], np.ndarray]:
    """Downloads the zip: its table, its summary and its mask."""
    with page.expect_download() as download:
        page.locator("#download").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        table = pd.read_csv(archive.open("grains.csv"))
        summary = json.load(archive.open("summary.json"))
        return table, summary, np.asarray(Image.open(archive.open("mask.png")))
