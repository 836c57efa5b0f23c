"""Files that the page makes on demand: each export format, and the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from ..export import FORMATS, export_grains
from ..report import write_report
from ..report_content import compose_report
from .counted import CountedMicrograph, still_there
from .errors import clear_errors
from .events import FILES_QUEUE, PRIVATE, REDRAW_QUEUE
from .visit import Visit

REPORTS = {"report-pdf": "report.pdf", "report-html": "report.html"}

KINDS = {
    "report-pdf": "Report to sign (PDF)",
    "report-html": "Report (HTML)",
    "xlsx": "Workbook: grains, grain size, origin (XLSX)",
    "csv": "Table with units in the header (CSV)",
    "json": "Everything but the pixels (JSON)",
    "tiff": "Label image with its scale (TIFF)",
    "imagej": "Regions for ImageJ (ROI zip)",
    "geojson": "Outlines for QuPath (GeoJSON)",
    "coco": "Annotations for training (COCO JSON)",
}
"""What can be made, with what it is called on the page."""


def make_file(counted: CountedMicrograph, kind: str) -> str:
    """Write one file.

    Args:
        counted: The count.
        kind: One of `KINDS`.

    Returns:
        Its path, which begins with the micrograph's name.
    """
    stem = counted.analysis.micrograph.stem
    folder = Path(counted.folder.name) / "made"
    folder.mkdir(exist_ok=True)
    if kind in REPORTS:
        written = folder / REPORTS[kind]
        write_report(compose_report([counted.analysis]), written)
    else:
        written = export_grains(counted.analysis, folder, [kind])[kind]
    return str(written.replace(folder / f"{stem}-{FORMATS[kind][0] if kind in FORMATS else REPORTS[kind]}"))


def add_downloads(visit: gr.State, counted: gr.State) -> gr.File:
    """Lay out the choice of a file, inside the current `gr.Blocks`.

    Args:
        visit: Holds the `Visit`.
        counted: Holds the visitor's count.

    Returns:
        What shows the file that was made, to be emptied when it is outdated.
    """
    with gr.Accordion("More files and the report", open=False, elem_id="more-files"):
        with gr.Row(equal_height=True):
            kind = gr.Dropdown(
                [(name, kind) for kind, name in KINDS.items()],
                value="report-pdf",
                label="File",
                info="Made from what is shown, corrections included.",
                min_width=240,
                elem_id="file-kind",
            )
            made = gr.File(label="Your file", interactive=False, visible=False, min_width=240, elem_id="made-file")
        button = gr.Button("Make the file", elem_id="make-file")

    @clear_errors
    def make(now: Visit, count: CountedMicrograph | None, chosen: str) -> Any:
        file = make_file(still_there(count), chosen)
        # The grains may have been corrected meanwhile, which takes the files of before away.
        return gr.File(file, visible=True) if now.shown is count else gr.skip()

    hide = {"fn": lambda: gr.File(None, visible=False), "inputs": None, "outputs": made, **PRIVATE}
    # After redrawing, so that what was typed just before is in the file; and then not in its way, since a report takes
    # seconds.
    button.click(lambda: None, concurrency_id=REDRAW_QUEUE, **PRIVATE).then(
        make, [visit, counted, kind], made, concurrency_id=FILES_QUEUE, **PRIVATE
    )
    kind.input(**hide)
    return made
