"""Whether the folders work, each tried in a fresh process before anything is uploaded."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel

from grain_model.counting import count_grains
from train.publishing import PublishError
from train.saving import STORED_DTYPE

MODEL_CHECK = Path(__file__).parent / "fresh_model.py"
"""Loads a model folder by the auto classes and the pipeline, without this package."""

SPACE_CHECK = Path(__file__).parent / "fresh_space.py"
"""Serves the page of a Space's folder with the folder's own package."""

TIMEOUT_S = 600


def check_folder(folder: Path, script: Path, model: PreTrainedModel, picture: Path) -> int:
    """Try a folder without the network; it must label a picture as the model does.

    Args:
        folder: The folder.
        script: `MODEL_CHECK` or `SPACE_CHECK`.
        model: The model that the folder was made from; it stays as it is.
        picture: The picture.

    Returns:
        The number of grains.

    Raises:
        PublishError: If the folder does not work or gives other labels.
    """
    found = _label_fresh(folder, script, picture)
    # As the folder stores it, rounded.
    stored = deepcopy(model).to("cpu", STORED_DTYPE).to(torch.float32)
    expected = count_grains(picture, model=stored).labels
    if not np.array_equal(found, expected):
        raise PublishError(
            f"The folder {folder} counts {found.max()} grains on {picture.name} where the model counts "
            f"{expected.max()}. Both have to draw the same labels. Nothing was uploaded; save the model again."
        )
    return int(expected.max())


def _label_fresh(folder: Path, script: Path, picture: Path) -> np.ndarray:
    with tempfile.TemporaryDirectory() as empty:
        labels = Path(empty) / "labels.npy"
        command = [sys.executable, str(script), str(folder.resolve()), str(picture.resolve()), str(labels)]
        try:
            subprocess.run(
                command,
                cwd=empty,
                env=_environment(empty),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                timeout=TIMEOUT_S,
                check=True,
            )
            return np.load(labels)
        except (OSError, subprocess.SubprocessError) as error:
            # A traceback names its error last.
            reason = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1]
            raise PublishError(
                f"The folder {folder} does not work in a fresh process: {reason} It has to load and count "
                f"{picture.name} by itself. Nothing was uploaded; correct what the message names and publish again."
            ) from error


def _environment(empty: str) -> dict[str, str]:
    """Say what the process may know: no network, no token, no graphics card, no modules but those installed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING", "PYTHON"))}
    return {
        **kept,
        "HF_HOME": empty,
        "HF_HUB_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": "",
        # Sums of floats depend on how many threads share them.
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
