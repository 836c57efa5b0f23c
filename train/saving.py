"""A trained model as a folder."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path

import torch

from grain_model.image_processing_grain import GrainImageProcessor
from grain_model.modeling_grain import GrainForInstanceSegmentation

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
