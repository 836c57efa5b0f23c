"""What programs call: named endpoints of plain inputs and files, which an MCP server offers as tools too.

A count is kept for an hour under a name that only its caller is told (`result`). With that name `settings` counts again
without running the network, and `export` writes files; neither needs a session, so that plain HTTP and MCP work too.
A batch comes as a zip, because gradio's MCP server takes no list of files.
"""

from __future__ import annotations

import functools
import os
import secrets
import threading
import time
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from transformers import PreTrainedModel

from ..analysis import GrainAnalysis
from ..errors import ImageError, MeasurementError
from ..export import FORMATS
from ..fields import describe_fields
from ..image_listing import ImagePage
from ..label_settings import DEFAULT_SETTINGS, METHODS, LabelSettings, Method
from ..scale import as_scale
from .batch_run import count_batch, open_uploads
from .counted import CountedMicrograph, archive_analysis
from .downloads import KINDS, make_file
from .errors import clear_errors
from .events import BATCH_QUEUE, MODEL_QUEUE
from .uploads import count_upload

KEPT_SECONDS = 3600
"""How long a result can be named."""

KEPT_PIXELS = 40_000_000
"""Results are forgotten, the oldest first, when they hold more pixels than this together; one takes about 20 bytes."""

_plain_errors = functools.partial(clear_errors, as_html=False)


class RecentResults:
    """The latest counts of programs, each under a name that cannot be guessed."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: OrderedDict[str, tuple[float, CountedMicrograph]] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, counted: CountedMicrograph) -> str:
        """Keep a result.

        Args:
            counted: The result.

        Returns:
            Its name.
        """
        name = secrets.token_urlsafe(18)
        with self._lock:
            self._kept[name] = (self._clock(), counted)
            self._forget()
        return name

    def find(self, name: str) -> CountedMicrograph:
        """Find a result by its name.

        Args:
            name: What `keep` returned.

        Raises:
            MeasurementError: If there is none of this name, or none any more.
        """
        with self._lock:
            self._forget()
            if name in self._kept:
                return self._kept[name][1]
        raise MeasurementError(
            f"There is no result {name!r}, or not any more. The `result` of a count not older than "
            f"{KEPT_SECONDS // 60} minutes is expected, after which others counted no more than "
            f"{KEPT_PIXELS // 10**6} megapixels together. Count the image again, and export it before the next."
        )

    def _forget(self) -> None:
        """Drop what is too old, then the oldest until the rest is small enough; the latest always stays."""
        while self._kept and self._clock() - next(iter(self._kept.values()))[0] > KEPT_SECONDS:
            self._kept.popitem(last=False)
        pixels = sum(counted.analysis.labels.size for _, counted in self._kept.values())
        while len(self._kept) > 1 and pixels > KEPT_PIXELS:
            _, (_, oldest) = self._kept.popitem(last=False)
            pixels -= oldest.analysis.labels.size


class _Endpoints:
    """What the endpoints do.

    Args:
        model: What `load_model` takes.
    """

    def __init__(self, model: str | os.PathLike | PreTrainedModel | None) -> None:
        self._model = model
        self._results = RecentResults()
        # Each runs once at a time, and its files are copied before its turn ends: those of the turn before can go.
        self._written: dict[str, Any] = {}

    def _answer(self, endpoint: str, source: str, analysis: GrainAnalysis) -> tuple[Any, ...]:
        counted = self._written[endpoint] = archive_analysis(source, analysis)
        mask, overlay = str(counted.saved / "mask.png"), str(counted.saved / "overlay.png")
        return analysis.summary(), mask, overlay, counted.archive, self._results.keep(counted)

    @_plain_errors
    def count(
        self,
        image: str,
        um_per_pixel: float | None = None,
        method: Method = DEFAULT_SETTINGS.method,
        boundary_sensitivity: float = DEFAULT_SETTINGS.boundary_sensitivity,
        min_grain_area: float | None = None,
        page: float | None = None,
    ) -> tuple[Any, ...]:
        """Count and measure the grains of one micrograph, with the ASTM grain-size number.

        Args:
            image: The micrograph: PNG, JPEG, TIFF, BMP or WebP, 8 or 16 bit.
            um_per_pixel: Scale in um per pixel; null takes the file's own, if it states one.
            method: "watershed" separates grains that touch, "components" does not.
            boundary_sensitivity: 0 to 1; higher finds weaker boundaries, so more grains.
            min_grain_area: Area of the smallest grain kept, in px^2; null follows the image's own grains.
            page: Which page or frame of a file with several, from 0; null takes the first.

        Returns:
            Summary (count, grain size by five rules, scale, warnings), mask, overlay, zip of all files, and the name
            of the result for `settings` and `export`.
        """
        if not image:
            raise ImageError("There is no image. A micrograph is expected as `image`. Name a file.")
        options = vars(LabelSettings(method, boundary_sensitivity, min_grain_area))
        # JSON has one kind of number; what is no whole one is refused where the file is read.
        is_whole = page is not None and float(page).is_integer()
        chosen = ImagePage(Path(image), int(page) if is_whole else page)
        return self._answer("count", image, count_upload(chosen, um_per_pixel, self._model, **options))

    @_plain_errors
    def settings(
        self,
        result: str,
        um_per_pixel: float | None = None,
        method: Method = DEFAULT_SETTINGS.method,
        boundary_sensitivity: float = DEFAULT_SETTINGS.boundary_sensitivity,
        min_grain_area: float | None = None,
    ) -> tuple[Any, ...]:
        """Count an image again with other settings, from what the network saw the first time; takes about a second.

        Args:
            result: The name of an earlier result, not older than an hour and among the latest 40 megapixels.
            um_per_pixel: Scale in um per pixel; null takes the file's own, if it states one.
            method: "watershed" separates grains that touch, "components" does not.
            boundary_sensitivity: 0 to 1; higher finds weaker boundaries, so more grains.
            min_grain_area: Area of the smallest grain kept, in px^2; null follows the image's own grains.

        Returns:
            The same as `count`, with the name of a result of its own.
        """
        earlier = self._results.find(result)
        analysis = earlier.analysis.relabel(
            method=method, boundary_sensitivity=boundary_sensitivity, min_grain_area=min_grain_area
        )
        return self._answer("settings", earlier.source, analysis.with_scale(um_per_pixel))

    @_plain_errors
    def batch(
        self,
        archive: str,
        um_per_pixel: float | None = None,
        method: Method = DEFAULT_SETTINGS.method,
        boundary_sensitivity: float = DEFAULT_SETTINGS.boundary_sensitivity,
        min_grain_area: float | None = None,
        all_pages: bool = False,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  gradio looks for it among the defaults
    ) -> tuple[Any, ...]:
        """Count several micrographs as fields of one specimen, with their mean, 95 % interval and %RA.

        Args:
            archive: A zip of micrographs; one that cannot be counted is named and does not stop the others.
            um_per_pixel: Scale of all files in um per pixel; null takes each file's own.
            method: "watershed" separates grains that touch, "components" does not.
            boundary_sensitivity: 0 to 1; higher finds weaker boundaries, so more grains.
            min_grain_area: Area of the smallest grain kept, in px^2; null follows each image's own grains.
            all_pages: Whether every page of a file with several is a field; otherwise the first one is counted.
            progress: How far it is; not for callers.

        Returns:
            Results of the files, those that failed and why, and the mean; and a zip of everything.
        """
        options = vars(LabelSettings(method, boundary_sensitivity, min_grain_area))
        counter = functools.partial(count_upload, um_per_pixel=as_scale(um_per_pixel), model=self._model, **options)
        opened = open_uploads([archive] if archive else [], all_pages=all_pages)
        for counted in count_batch(opened, counter):
            progress((counted.done, counted.total), desc=counted.current, unit="files")
        self._written["batch"] = counted
        return describe_fields(counted.fields, counted.failures), counted.archive

    @_plain_errors
    def export(self, result: str, formats: list[str]) -> str:
        """Write the grains of an earlier result in the formats of other tools.

        Args:
            result: The name of an earlier result, not older than an hour and among the latest 40 megapixels.
            formats: Some of "csv", "xlsx", "json", "tiff", "coco", "imagej", "geojson", "report-pdf", "report-html".

        Returns:
            Zip of one file for each format.
        """
        counted = self._written["export"] = self._results.find(result)
        archive = Path(counted.folder.name) / f"{Path(counted.archive).stem}-export.zip"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
            for path in (Path(make_file(counted, kind)) for kind in dict.fromkeys(formats or FORMATS)):
                packed.write(path, path.name)
        return str(archive)


def add_endpoints(model: str | os.PathLike | PreTrainedModel | None) -> None:
    """Add the endpoints to the current `gr.Blocks`; nothing of them is seen on the page.

    Args:
        model: What `load_model` takes.
    """
    endpoints = _Endpoints(model)
    with gr.Row(visible=False):
        image, result = gr.File(label="image", type="filepath"), gr.Textbox(label="result")
        zipped = gr.File(label="archive", type="filepath")
        options = [
            gr.Number(label="um_per_pixel", value=None),
            gr.Radio(list(METHODS), value="watershed", label="method"),
            gr.Number(label="boundary_sensitivity", value=0.5),
            gr.Number(label="min_grain_area", value=None),
        ]
        page, all_pages = gr.Number(label="page", value=None), gr.Checkbox(label="all_pages")
        formats = gr.CheckboxGroup(list(KINDS), value=list(FORMATS), label="formats")
        answers = [
            gr.JSON(label="summary"),
            gr.Image(label="mask", format="png"),
            gr.Image(label="overlay", format="png"),
            gr.File(label="archive"),
            gr.Textbox(label="result"),
        ]
        run_model = {"concurrency_limit": 1, "concurrency_id": MODEL_QUEUE}
        gr.Button().click(endpoints.count, [image, *options, page], answers, api_name="count", **run_model)
        gr.Button().click(endpoints.settings, [result, *options], answers, api_name="settings")
        gr.Button().click(
            endpoints.batch,
            [zipped, *options, all_pages],
            [gr.JSON(label="batch"), gr.File(label="archive")],
            api_name="batch",
            concurrency_limit=1,
            concurrency_id=BATCH_QUEUE,
        )
        gr.Button().click(endpoints.export, [result, formats], gr.File(label="archive"), api_name="export")
