"""A trained model as a folder, and what is told where a run's files cannot be written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path

import torch
from safetensors import SafetensorError

from grain_model.image_processing_grain import GrainImageProcessor
from grain_model.modeling_grain import GrainForInstanceSegmentation
from train.fit_options import FitError

SHARD_SIZE = "15MB"
# What weights are stored as; they are loaded as float32 all the same.
STORED_DTYPE = torch.float16


def save_model(model: GrainForInstanceSegmentation, folder: Path, dtype: torch.dtype = STORED_DTYPE) -> None:
    """Save a folder that transformers loads without this package: weights, image processor and their code.

    Args:
        model: The model; it is not changed.
        folder: Where to; made if it does not exist.
        dtype: What the weights are stored as, in shards.
    """
    stored = deepcopy(model).to("cpu", dtype)
    stored.save_pretrained(folder, max_shard_size=SHARD_SIZE)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["dtype"] = "float32"
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    GrainImageProcessor().save_pretrained(folder)


def save_trained_model(model: GrainForInstanceSegmentation, folder: Path) -> None:
    """Save a run's model as `save_model` does; the folder is there only when all of it is.

    Args:
        model: The model; it is not changed.
        folder: Where to, in the run's folder; one that is there is replaced.

    Raises:
        FitError: If it cannot be written.
    """
    part = folder.with_suffix(".part")
    with writing_run(folder.parent):
        shutil.rmtree(part, ignore_errors=True)
        save_model(model, part)
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)


@contextmanager
def writing_run(out: Path) -> Iterator[None]:
    """Turn what goes wrong while files are written to a run's folder, as on a full disk, into a FitError."""
    try:
        yield
    # The two last are what torch and safetensors raise.
    except (OSError, RuntimeError, SafetensorError) as error:
        reason = str(error).partition("\n")[0]
        raise FitError(
            f"{out} could not be written to ({reason}). Expected is a disk with room for the run. Make room, then go "
            "on with --resume where there is a checkpoint.pt; where there is none, train again."
        ) from error
