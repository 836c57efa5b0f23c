"""What the visitor fills in on the count tab: the picture, its scale and the settings, and the examples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import ImageData

from ..label_settings import METHODS
from .settings import SENSITIVITY_RANGE, PageSettings

FORMATS = "PNG, JPEG, TIFF, LSM, STK, SVS, BMP, WebP, GIF, PGM or PPM"


@dataclass(frozen=True)
class LabelFields:
    """The components of what draws the labels, named as in `LabelSettings`."""

    method: gr.Radio
    boundary_sensitivity: gr.Slider
    min_grain_area: gr.Number


@dataclass(frozen=True)
class Entry:
    """The components to fill in."""

    image: gr.Image
    page: gr.Dropdown
    um_per_pixel: gr.Textbox
    label_fields: LabelFields
    button: gr.Button
    gallery: gr.Gallery | None


def lay_out_picture() -> gr.Image:
    """Lay out where the micrograph is loaded."""
    image = gr.Image(
        label="Micrograph",
        type="filepath",
        image_mode=None,
        format="png",
        sources=["upload", "clipboard"],
        height=480,
        buttons=["fullscreen"],
        placeholder=f"Drop a micrograph here, or click to choose one\n{FORMATS}; 8 or 16 bit",
        alt_text="The micrograph that is loaded",
        elem_id="micrograph",
        elem_classes="captioned",
    )
    # Gradio would open the file with Pillow first, which clips 16-bit pictures and fails on some microscopes'
    # TIFFs. A subclass would do too, but gradio writes a .pyi file beside the source of each.
    image.preprocess = _uploaded_path
    return image


def lay_out_page() -> gr.Dropdown:
    """Lay out the choice of a page, which is seen where a file has several."""
    return gr.Dropdown(
        [0], value=0, label="Page", info="The file has several, numbered from 0.", visible=False, elem_id="page"
    )


def show_page(page: int = 0, pages: int = 1) -> gr.Dropdown:
    """Show which page of how many it is; a file with a single one has no choice."""
    return gr.Dropdown(list(range(pages)), value=page, visible=pages > 1)


def lay_out_typed_number(**options: Any) -> gr.Textbox:
    """Lay out a field for a number, which `read_number` reads.

    A field of numbers would drop what it cannot take, such as a comma, without a word and leave another number.

    Args:
        options: Of `gr.Textbox`.
    """
    return gr.Textbox(max_lines=1, elem_classes="typed-number", **options)


def lay_out_scale() -> gr.Textbox:
    """Lay out the scale."""
    return lay_out_typed_number(
        label="Scale (µm per pixel)",
        info="Filled in where the file states it; empty means the file's own. "
        "Without a scale, sizes stay in pixels and there is no G.",
        placeholder="not known",
        elem_id="scale",
    )


def lay_out_label_settings(prefix: str = "") -> LabelFields:
    """Lay out what draws the labels: method, boundary sensitivity, smallest grain.

    Args:
        prefix: Sets the ids of one tab apart from those of another.
    """
    standard = PageSettings()
    with gr.Accordion("Settings", open=False, elem_id=f"{prefix}settings"):
        method = gr.Radio(
            list(METHODS),
            value=standard.method,
            label="Method",
            info="Watershed separates grains that touch; components does not.",
        )
        boundary_sensitivity = gr.Slider(
            *SENSITIVITY_RANGE,
            value=standard.boundary_sensitivity,
            step=0.05,
            label="Boundary sensitivity",
            info="Higher finds weaker boundaries, so more grains.",
            elem_id=f"{prefix}sensitivity",
        )
        min_grain_area = gr.Number(
            label="Smallest grain (px²)",
            info="Smaller pieces go to a neighbour or are left out. Empty: follows the picture's grains; 0 keeps all.",
            placeholder="automatic",
            minimum=0,
            elem_id=f"{prefix}smallest-grain",
        )
    return LabelFields(method, boundary_sensitivity, min_grain_area)


def lay_out_gallery(pictures: list[tuple[Path, str]]) -> gr.Gallery | None:
    """Lay out the examples, if there are any."""
    if not pictures:
        return None
    return gr.Gallery(
        [(str(path), caption) for path, caption in pictures],
        label="Examples: choose one to count it",
        columns=2 if len(pictures) <= 4 else 3,
        object_fit="cover",
        allow_preview=False,
        interactive=False,
        buttons=[],
        format="png",
        elem_id="examples",
        elem_classes="captioned",
    )


def _uploaded_path(payload: ImageData | None) -> str | None:
    return payload.path if payload else None
