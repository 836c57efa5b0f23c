"""What the visitor gets on the count tab: pictures, card, distribution, table and files, and how they are filled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr
import numpy as np

from ..analysis import GrainAnalysis
from ..plots import figure_to_array, plot_size_distribution
from ..rendering import OVERLAY_STYLES
from .card import describe_count
from .counted import CountedMicrograph
from .downloads import add_downloads
from .grain_table import grain_table
from .settings import EDGE_RULES, PageSettings

Updates = dict[gr.components.Component, Any]

# PNG, because the default format, WebP, is lossy and alters masks.
PICTURE: dict[str, Any] = {
    "format": "png",
    "interactive": False,
    "buttons": ["download", "fullscreen"],
    "elem_classes": "captioned",
}

CLICKED_PICTURE: dict[str, Any] = {**PICTURE, "buttons": ["fullscreen"], "elem_classes": ["captioned", "clicked"]}


@dataclass(frozen=True)
class Display:
    """The components of how results are shown, named as in `PageSettings`; none of them changes the labels."""

    show: gr.Radio
    opacity: gr.Slider
    edge_rule: gr.Radio
    compare: gr.Checkbox


@dataclass(frozen=True)
class Results:
    """The components that a count fills.

    Attributes:
        counted: The visitor's `CountedMicrograph`, `None` before the first.
        chosen: Label of the grain chosen in the table.
    """

    panel: gr.Column
    mask: gr.Image
    overlay: gr.Image
    slider: gr.ImageSlider
    card: gr.HTML
    plot: gr.Image
    table: gr.Dataframe
    download: gr.DownloadButton
    made: gr.File
    counted: gr.State
    chosen: gr.State

    def present(self, counted: CountedMicrograph, settings: PageSettings) -> Updates:
        """Fill everything from a new count.

        Args:
            counted: The count.
            settings: What stands on the page.

        Returns:
            The components' new values.
        """
        analysis = counted.analysis
        return {
            self.panel: gr.Column(visible=True),
            self.mask: str(counted.saved / "mask.png"),
            self.plot: counted.keep_picture("distribution", lambda: plot_distribution(analysis)),
            self.table: grain_table(analysis),
            self.download: counted.archive,
            self.made: gr.File(None, visible=False),
            self.counted: counted,
            self.chosen: None,
            **self.display(counted, settings, None),
        }

    def display(self, counted: CountedMicrograph, settings: PageSettings, chosen: int | None) -> Updates:
        """Show a count in another way.

        Args:
            counted: The count.
            settings: What stands on the page.
            chosen: Label of the grain to mark.

        Returns:
            The new values of what that changes.
        """
        overlay = overlay_path(counted, settings, chosen)
        pixels = counted.analysis.micrograph.pixels
        both = (counted.keep_picture("micrograph", lambda: pixels), overlay) if settings.compare else None
        return {
            self.overlay: gr.Image(None if settings.compare else overlay, visible=not settings.compare),
            self.slider: gr.ImageSlider(both, visible=settings.compare),
            self.card: describe_count(counted.analysis, settings.edge_rule, counted.true_count),
        }

    def clear(self) -> Updates:
        """Take the results away."""
        return {self.panel: gr.Column(visible=False), self.counted: None, self.chosen: None}


def overlay_path(counted: CountedMicrograph, settings: PageSettings, chosen: int | None) -> str:
    """Draw the overlay as the settings say: path of a PNG."""
    name = f"overlay-{settings.show}-{settings.opacity:g}-{chosen or 'none'}"
    return counted.keep_picture(name, lambda: counted.overlay(settings.show, settings.opacity, chosen))


def plot_distribution(analysis: GrainAnalysis) -> np.ndarray:
    """Draw the size distribution of the whole grains.

    Args:
        analysis: The count.

    Returns:
        uint8 (H, W, 3), dark on white; the style sheet adapts it to a dark page.
    """
    return figure_to_array(plot_size_distribution(analysis.table), dpi=200)


def lay_out_pictures() -> tuple[gr.Image, gr.Image, gr.ImageSlider, gr.HTML]:
    """Lay out mask, overlay (plain and as a slider) and card side by side, of equal size."""
    with gr.Row(equal_height=True, elem_id="result-pictures"):
        mask = gr.Image(label="Mask", alt_text="Binary mask, grains white", min_width=280, elem_id="mask", **PICTURE)
        overlay = gr.Image(
            label="Overlay",
            alt_text="The grains drawn over the micrograph",
            min_width=280,
            elem_id="overlay",
            **PICTURE,
        )
        slider = gr.ImageSlider(
            label="Micrograph and overlay: drag the line",
            visible=False,
            min_width=280,
            elem_id="compare",
            **PICTURE,
        )
        with gr.Column(min_width=280):
            card = gr.HTML(container=True, label="Count", show_label=True, elem_id="count", elem_classes="captioned")
    return mask, overlay, slider, card


def lay_out_display() -> Display:
    """Lay out how results are shown."""
    standard = PageSettings()
    with gr.Accordion("Overlay and edge rule", open=False, elem_id="display"), gr.Row():
        with gr.Column(min_width=280):
            show = gr.Radio(list(OVERLAY_STYLES), value=standard.show, label="Overlay shows", elem_id="show")
            opacity = gr.Slider(0, 1, value=standard.opacity, step=0.05, label="Opacity", elem_id="opacity")
            compare = gr.Checkbox(label="Before and after, with a slider", value=standard.compare, elem_id="use-slider")
        with gr.Column(min_width=280):
            edge_rule = gr.Radio(
                [(text, name) for name, text in EDGE_RULES.items()],
                value=standard.edge_rule,
                label="Edge rule",
                info="Changes the count on the card, and G only where cut grains are left out: then it comes from the "
                "mean area (ASTM E1382), otherwise it is planimetric, which always counts them as half. "
                "Pictures, table and files keep every grain and tell which are cut.",
                elem_id="edge-rule",
            )
    return Display(show, opacity, edge_rule, compare)


def lay_out_table() -> tuple[gr.Image, gr.Dataframe]:
    """Lay out the size distribution and the table."""
    with gr.Row(equal_height=True):
        plot = gr.Image(
            label="Size distribution",
            alt_text="Histogram of the grains' equivalent circular diameters",
            min_width=300,
            elem_id="distribution",
            **PICTURE,
        )
        with gr.Column(min_width=300):
            table = gr.Dataframe(
                label="Grains: choose a row to find its grain in the overlay",
                interactive=False,
                max_height=330,
                buttons=["copy"],
                elem_id="grains",
            )
    return plot, table


def lay_out_downloads(visit: gr.State, counted: gr.State) -> tuple[gr.DownloadButton, gr.File]:
    """Lay out the zip and the files made on demand."""
    download = gr.DownloadButton(
        "Download mask, overlay, labels, table, summary (zip)", variant="secondary", elem_id="download"
    )
    return download, add_downloads(visit, counted)
