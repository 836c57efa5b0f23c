"""The count tab: one micrograph in; mask, overlay, count, distribution, table and files out."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import ImageData
from transformers import PreTrainedModel

from ..analysis import METHODS, LabelSettings
from ..errors import ImageError
from ..micrograph import read_micrograph
from ..rendering import OVERLAY_STYLES
from .actions import (
    CountedMicrograph,
    OpenedMicrograph,
    archive_analysis,
    clear_errors,
    describe_count,
    grain_table,
    open_micrograph,
    plot_distribution,
)
from .limits import MODEL_QUEUE, count_upload


@dataclass(frozen=True)
class Entry:
    """What the visitor fills in."""

    image: gr.Image
    um_per_pixel: gr.Number
    method: gr.Radio
    boundary_sensitivity: gr.Slider
    show: gr.Radio
    button: gr.Button

    @property
    def options(self) -> list[gr.components.Component]:
        """The components after the image, in the order in which the handlers take them."""
        return [self.um_per_pixel, self.method, self.boundary_sensitivity, self.show]


@dataclass(frozen=True)
class Results:
    """What the visitor gets, in the order in which `_present` fills it."""

    panel: gr.Column
    mask: gr.Image
    overlay: gr.Image
    card: gr.HTML
    plot: gr.Image
    table: gr.Dataframe
    download: gr.DownloadButton
    counted: gr.State


def build_count_tab(examples: Path | None, model: str | os.PathLike | PreTrainedModel | None) -> gr.State:
    """Lays out the tab and binds its events, inside the current `gr.Blocks`.

    Args:
        examples: folder with example micrographs and `counts.csv`, if there is one.
        model: what `load_model` takes.

    Returns:
        What holds the visitor's `CountedMicrograph`, `None` before the first.
    """
    opened = gr.State(None)
    pictures = list_examples(examples)
    entry, gallery = _lay_out_entry(pictures)
    results = _lay_out_results()
    shown = list(vars(results).values())
    loaded = [entry.image, entry.um_per_pixel, opened]
    outdated = [results.panel, results.counted]

    def forget() -> list[Any]:
        return [None, None, gr.Column(visible=False), None]

    @clear_errors
    def open_file(path: str) -> list[Any]:
        file = open_micrograph(path)
        return [file.shown, file.um_per_pixel, file]

    @clear_errors
    def open_example(choice: gr.SelectData) -> list[Any]:
        return [*open_file(str(pictures[choice.index][0])), gr.Column(visible=False), None]

    @clear_errors
    def count_file(path: str | None, file: OpenedMicrograph | None, *options: Any) -> list[Any]:
        # The page may show a copy; the count belongs to the file itself.
        source = file.path if file and path and Path(file.shown).name == Path(path).name else path
        scale, method, boundary_sensitivity, show = options
        if file and scale == file.um_per_pixel:
            scale = None  # the file's own, which the analysis then names as such
        return _present(_count(source, scale, method, boundary_sensitivity), show)

    def _count(path: str | None, scale: float | None, method: str, boundary_sensitivity: float) -> CountedMicrograph:
        if path is None:
            raise ImageError(
                "There is no image yet. A micrograph is expected: PNG, JPEG, TIFF, BMP or WebP. "
                "Load one, or choose one of the examples."
            )
        analysis = count_upload(path, scale, model, method=method, boundary_sensitivity=boundary_sensitivity)
        return archive_analysis(path, analysis)

    # A number without a value is shown as 0 until it is told so, and 0 is no scale.
    gr.on(None, lambda: None, None, entry.um_per_pixel, api_visibility="private")
    run_model = {"concurrency_limit": 1, "concurrency_id": MODEL_QUEUE}
    counting = {"fn": count_file, "inputs": [entry.image, opened, *entry.options], "outputs": shown, **run_model}
    # Forgetting comes first, so that a file that cannot be read leaves nothing of the one before it.
    entry.image.upload(forget, None, [entry.um_per_pixel, opened, *outdated], api_visibility="private").then(
        open_file, entry.image, loaded, api_visibility="private"
    ).failure(lambda: None, None, entry.image, api_visibility="private")
    entry.image.clear(forget, None, [entry.um_per_pixel, opened, *outdated], api_visibility="private")
    entry.button.click(**counting, api_visibility="private")
    if gallery:
        gallery.select(open_example, None, [*loaded, *outdated], api_visibility="private").success(
            **counting, api_visibility="private"
        )
    gr.on(
        [entry.um_per_pixel.submit, entry.um_per_pixel.blur, entry.method.input, entry.boundary_sensitivity.release]
        + [entry.show.input],
        redraw,
        [results.counted, *entry.options],
        shown,
        trigger_mode="always_last",
        api_visibility="private",
    )
    return results.counted


@clear_errors
def redraw(
    counted: CountedMicrograph | None, um_per_pixel: float | None, method: str, boundary_sensitivity: float, show: str
) -> list[Any]:
    """Brings the results to the settings, from the probabilities that are already there.

    Args:
        counted: the visitor's count, if there is one yet.
        um_per_pixel: the scale that stands on the page.
        method: see `LabelSettings`.
        boundary_sensitivity: see `LabelSettings`.
        show: see `render_overlay`.

    Returns:
        The results in the order of `Results`.
    """
    if counted is None:
        return [gr.skip()] * len(Results.__dataclass_fields__)
    analysis = counted.analysis
    if analysis.settings != LabelSettings(method, boundary_sensitivity):
        analysis = analysis.relabel(method=method, boundary_sensitivity=boundary_sensitivity)
    if analysis.um_per_pixel != um_per_pixel:
        # Read again, so that a scale that contradicts the file's own is remarked on here too.
        analysis = replace(analysis, micrograph=read_micrograph(counted.source, um_per_pixel))
    return _present(counted if analysis is counted.analysis else archive_analysis(counted.source, analysis), show)


def list_examples(folder: Path | None) -> list[tuple[Path, str]]:
    """Lists the example micrographs.

    Args:
        folder: holds `*.png` and `counts.csv`, whose first two columns are the file's name and its true count.

    Returns:
        Path and caption of each, by name; nothing where there is no folder.
    """
    if folder is None or not folder.is_dir():
        return []
    counts = folder / "counts.csv"
    rows = list(csv.reader(counts.read_text(encoding="utf-8").splitlines())) if counts.is_file() else []
    true_counts = {row[0]: row[1] for row in rows if len(row) > 1}
    captions = {}
    for path in sorted(folder.glob("*.png")):
        style = path.stem.replace("_", " ").replace("-", " ")
        captions[path] = f"{style}: {true_counts[path.name]} grains" if path.name in true_counts else style
    return list(captions.items())


def _present(counted: CountedMicrograph, show: str) -> list[Any]:
    analysis = counted.analysis
    return [
        gr.Column(visible=True),
        str(counted.saved / "mask.png"),
        counted.draw_overlay(show),
        describe_count(analysis),
        plot_distribution(analysis),
        grain_table(analysis),
        counted.archive,
        counted,
    ]


def _lay_out_entry(pictures: list[tuple[Path, str]]) -> tuple[Entry, gr.Gallery | None]:
    with gr.Row(elem_id="entry"):
        with gr.Column(scale=3, min_width=300):
            image = gr.Image(
                label="Micrograph",
                type="filepath",
                image_mode=None,
                format="png",
                sources=["upload", "clipboard"],
                height=480,
                buttons=["fullscreen"],
                placeholder="Drop a micrograph here, or click to choose one\nPNG, JPEG, TIFF, BMP, WebP; 8 or 16 bit",
                alt_text="The micrograph that is loaded",
                elem_id="micrograph",
                elem_classes="captioned",
            )
            # Gradio would open the file with Pillow first, which clips 16-bit pictures and fails on some microscopes'
            # TIFFs. A subclass would do too, but gradio writes a .pyi file beside the source of each.
            image.preprocess = _uploaded_path
        with gr.Column(scale=2, min_width=300):
            um_per_pixel = gr.Number(
                label="Scale (µm per pixel)",
                info="Filled in where the file states it. Without a scale, sizes stay in pixels and there is no G.",
                placeholder="not known",
                elem_id="scale",
            )
            with gr.Accordion("Settings", open=False, elem_id="settings"):
                method = gr.Radio(
                    list(METHODS),
                    value="watershed",
                    label="Method",
                    info="Watershed separates grains that touch; components does not.",
                )
                boundary_sensitivity = gr.Slider(
                    0.05,
                    0.95,
                    value=0.5,
                    step=0.05,
                    label="Boundary sensitivity",
                    info="Higher finds weaker boundaries, so more grains.",
                )
                show = gr.Radio(list(OVERLAY_STYLES), value="fill", label="Overlay shows")
            button = gr.Button("Count grains", variant="primary", size="lg", elem_id="count-button")
            gallery = _lay_out_gallery(pictures) if pictures else None
    return Entry(image, um_per_pixel, method, boundary_sensitivity, show, button), gallery


def _uploaded_path(payload: ImageData | None) -> str | None:
    return payload.path if payload else None


def _lay_out_gallery(pictures: list[tuple[Path, str]]) -> gr.Gallery:
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


def _lay_out_results() -> Results:
    # PNG, because the default format, WebP, is lossy and alters masks.
    picture: dict[str, Any] = {
        "format": "png",
        "interactive": False,
        "buttons": ["download", "fullscreen"],
        "elem_classes": "captioned",
    }
    with gr.Column(visible=False, elem_id="results") as panel:
        with gr.Row(equal_height=True, elem_id="result-pictures"):
            mask = gr.Image(
                label="Mask", alt_text="Binary mask, grains white", min_width=280, elem_id="mask", **picture
            )
            overlay = gr.Image(
                label="Overlay",
                alt_text="The grains drawn over the micrograph",
                min_width=280,
                elem_id="overlay",
                **picture,
            )
            with gr.Column(min_width=280):
                card = gr.HTML(
                    container=True, label="Count", show_label=True, elem_id="count", elem_classes="captioned"
                )
        with gr.Row(equal_height=True):
            plot = gr.Image(
                label="Size distribution",
                alt_text="Histogram of the grains' equivalent circular diameters",
                min_width=300,
                elem_id="distribution",
                **picture,
            )
            with gr.Column(min_width=300):
                table = gr.Dataframe(
                    label="Grains", interactive=False, max_height=330, buttons=["copy"], elem_id="grains"
                )
        download = gr.DownloadButton("Download all files (zip)", variant="secondary", elem_id="download")
    return Results(panel, mask, overlay, card, plot, table, download, gr.State(None))
