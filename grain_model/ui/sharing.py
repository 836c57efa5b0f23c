"""Sharing an image as an example, for the owner of a Space who sets where to and with which token; else there is none.

An example is the picture's pixels, written anew and so without any metadata, without the microscope's strip of text,
without blank margins and without the file's name; its grains and their scale; and what the visitor says about it. The
Hub is first spoken to when the first visitor has agreed.
"""

from __future__ import annotations

import datetime
import hashlib
import html
import os
import shutil
import tempfile
import threading
from collections.abc import Mapping
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from huggingface_hub.errors import HfHubHTTPError, HTTPError

from ..analysis import GrainAnalysis
from ..errors import GrainError
from ..json_file import save_json
from ..label_tiff import write_label_tiff
from ..png_file import write_png
from ..version import __version__
from .counted import CountedMicrograph
from .errors import clear_errors
from .events import PRIVATE

if TYPE_CHECKING:
    from huggingface_hub import CommitScheduler

DATASET_VARIABLE, TOKEN_VARIABLE = "GRAIN_SHARE_DATASET", "GRAIN_SHARE_TOKEN"
"""Environment variables: USER/NAME of a data set on the Hub, and a token that may write to it."""

LICENCES = {"CC0 1.0: for any use": "cc0-1.0", "CC BY 4.0: with credit": "cc-by-4.0"}

CONSENT = "I took this image or have the right to publish it, and I publish it under the licence chosen here."

MAX_WORDS = 200
"""Longest description or credit, characters."""

MINUTES_BETWEEN_COMMITS = 10
SECONDS_TO_WAIT = 60

_REFUSED = (401, 403, 404)


class SharingError(GrainError):
    """An image could not be shared."""


@dataclass
class SharedExamples:
    """A data set on the Hub that visitors' images go to.

    Attributes:
        dataset: USER/NAME.
        token: May write to it; it is never shown.
        scheduler: Commits what is shared; there is none before the first image.
    """

    dataset: str
    token: str = field(repr=False)
    scheduler: CommitScheduler | None = None
    _turn: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> SharedExamples | None:
        """Read where to share to.

        Args:
            environment: Variables.

        Returns:
            `None` unless both variables are set.
        """
        dataset, token = (environment.get(name, "").strip() for name in (DATASET_VARIABLE, TOKEN_VARIABLE))
        return cls(dataset, token) if dataset and token else None

    def share(self, analysis: GrainAnalysis, licence: str, material: str = "", credit: str = "") -> bool:
        """Send an image with its grains.

        Args:
            analysis: The image.
            licence: One of the values of `LICENCES`.
            material: What it shows.
            credit: Whom to name.

        Returns:
            Whether it has arrived; otherwise it is still on its way.

        Raises:
            SharingError: If it cannot be sent; then nothing of it is kept.
        """
        with self._turn:
            if self.scheduler is None:
                self.scheduler = self._start()
            pixels = analysis.micrograph.field
            # Sharing a picture twice replaces it, but nobody replaces the licence or the credit of another.
            terms = repr((pixels.shape, licence, credit)).encode()
            name = hashlib.sha256(terms + pixels.tobytes()).hexdigest()[:20]
            folder = self.scheduler.folder_path / name
            with self.scheduler.lock:
                _write_example(folder, analysis, licence, material, credit)
            sent = self.scheduler.trigger()
            try:
                sent.result(SECONDS_TO_WAIT)
            except NotYet:
                # If it fails in the end, the scheduler tries again later.
                sent.add_done_callback(lambda later: None if later.exception() else self._forget(folder))
                return False
            except (HTTPError, OSError, RuntimeError, ValueError) as error:
                self._forget(folder)
                raise self._explained(error) from error
            self._forget(folder)
        return True

    def _forget(self, folder: Path) -> None:
        with self.scheduler.lock:
            shutil.rmtree(folder, ignore_errors=True)

    def _start(self) -> CommitScheduler:
        from huggingface_hub import CommitScheduler

        try:
            return CommitScheduler(
                repo_id=self.dataset,
                repo_type="dataset",
                folder_path=tempfile.mkdtemp(prefix="grain_model-shared-"),
                path_in_repo="examples",
                every=MINUTES_BETWEEN_COMMITS,
                token=self.token,
            )
        except (HTTPError, OSError, RuntimeError, ValueError) as error:
            raise self._explained(error) from error

    def _explained(self, error: Exception) -> SharingError:
        """Say what a visitor needs to know; what the Hub says goes through without the token."""
        status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
        said = str(error).strip().partition("\n")[0].replace(self.token, "***").rstrip(".")
        kept = "Nothing was shared, and your image is not kept for it."
        if status in _REFUSED:
            return SharingError(
                f"The Hub does not let this page write to the data set {self.dataset} ({said}). A valid token with "
                f"write access is expected in {TOKEN_VARIABLE}. {kept} Please tell the owner of this page."
            )
        if isinstance(error, ValueError) and status is None:
            return SharingError(
                f"The page is set up wrongly for sharing ({said}). USER/NAME of a data set is expected in "
                f"{DATASET_VARIABLE}. {kept} Please tell the owner of this page."
            )
        return SharingError(
            f"The Hub could not be reached or failed ({said}). An answer from it is expected. {kept} "
            "Please try again later."
        )


def add_sharing(counted: gr.State, examples: SharedExamples, own: Path | None = None) -> None:
    """Lay out the offer to share, inside the current `gr.Blocks`; it is seen once a visitor's own image is counted.

    Args:
        counted: Holds the visitor's count.
        examples: Where to.
        own: Folder of the page's own examples, which are not shared.
    """
    with gr.Accordion("Share this image as an example", open=False, visible=False, elem_id="sharing") as panel:
        gr.Markdown(
            "Sends the picture, the grains as they are shown and the scale to the data set "
            f"**{examples.dataset}** on the Hugging Face Hub, where people and programs may learn from it. The file's "
            "name, its other metadata, the strip of text under the picture and blank margins stay here."
        )
        with gr.Row():
            licence = gr.Dropdown(list(LICENCES.items()), value="cc0-1.0", label="Licence", min_width=240)
            material = gr.Textbox(
                label="Material and preparation",
                placeholder="316L, etched with oxalic acid",
                max_length=MAX_WORDS,
                min_width=240,
            )
            credit = gr.Textbox(label="Credit", placeholder="nobody", max_length=MAX_WORDS, min_width=240)
        consent = gr.Checkbox(label=CONSENT, elem_id="consent")
        button = gr.Button("Share", elem_id="share-button")
        outcome = gr.HTML(elem_id="share-outcome")

    def offer(count: CountedMicrograph | None) -> list[Any]:
        # Consent is to one image, not to the next.
        return [gr.Accordion(visible=count is not None and Path(count.source).parent != own), False, ""]

    @clear_errors
    def share(count: CountedMicrograph | None, agreed: bool, chosen: str, about: str, name: str) -> list[Any]:
        if count is None:
            raise SharingError("There is no image to share. A counted image is expected. Count one first.")
        if not agreed:
            raise SharingError(
                "You have not agreed to share this image. Your consent is expected. Tick the box above the button, "
                "or keep the image to yourself."
            )
        has_arrived = examples.share(count.analysis, chosen, about, name)
        where = html.escape(examples.dataset)
        said = f"is now in the data set {where}" if has_arrived else f"is on its way to the data set {where}"
        return [False, f'<p role="status">Thank you. The image {said}.</p>']

    counted.change(offer, counted, [panel, consent, outcome], show_progress="hidden", **PRIVATE)
    button.click(
        share,
        [counted, consent, licence, material, credit],
        [consent, outcome],
        # Else a failure would cover the box that has to be ticked.
        show_progress_on=outcome,
        **PRIVATE,
    )


def _write_example(folder: Path, analysis: GrainAnalysis, licence: str, material: str, credit: str) -> None:
    pixels = analysis.micrograph.field
    folder.mkdir(exist_ok=True)
    write_png(folder / "image.png", pixels)
    write_label_tiff(folder / "labels.tif", analysis.field_labels, analysis.um_per_pixel)
    about = {
        "licence": licence,
        "consent": CONSENT,
        "material": material[:MAX_WORDS],
        "credit": credit[:MAX_WORDS],
        "count": analysis.count,
        "corrected_by_hand": bool(analysis.edits),
        "um_per_pixel": analysis.um_per_pixel,
        "shared_on": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "software": f"grain_model {__version__}",
        "weights": dict(analysis.weights),
    }
    save_json(about, folder / "about.json")
