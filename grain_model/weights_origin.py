"""Where the weights behind a result come from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path

import torch
from safetensors import safe_open
from transformers import PreTrainedModel

from .version import __version__

EMBEDDED_WEIGHTS = (Path(__file__).parent / "weights").resolve()
"""Folder of the checkpoint that comes with the package."""


def describe_weights(model: PreTrainedModel) -> dict[str, str | None]:
    """Names the weights behind a result.

    Args:
        model: A loaded grain model.

    Returns:
        `name` ("embedded", a folder's name or a Hub id) and `version`: the package's version for the embedded weights,
        the Hub commit, or a digest of the folder's weights, since training gives every folder the same name. Weights of
        a folder that were trained on since, in memory or on disk, say so, and have no version.
    """
    source = model.config.name_or_path
    if source and Path(source).is_dir():
        files = sorted(Path(source).glob("*.safetensors"))
        is_embedded = Path(source) == EMBEDDED_WEIGHTS
        name = "embedded" if is_embedded else Path(source).name
        if not _holds(model, files):
            return {"name": f"{name}, but other weights than the folder's", "version": None}
        if is_embedded:
            return {"name": name, "version": __version__}
        return {"name": name, "version": _digest(*((file, file.stat().st_mtime_ns) for file in files))}
    return {"name": source or "in memory", "version": getattr(model.config, "_commit_hash", None)}


def _holds(model: PreTrainedModel, files: Sequence[Path]) -> bool:
    """Whether a model still has the decoder of these files, which all training changes."""
    weights = model.state_dict()
    for file in files:
        with safe_open(file, "pt") as stored:
            for name in stored.keys():
                if name in weights and not name.startswith("backbone."):
                    present = weights[name].detach().cpu()
                    if not torch.equal(present, stored.get_tensor(name).to(present.dtype)):
                        return False
    return True


@lru_cache(maxsize=16)
def _digest(*files: tuple[Path, int]) -> str | None:
    """Digest of files and the times of their last change, which are part of the cache's key only."""
    digest = hashlib.sha256()
    for path, _ in files:
        with path.open("rb") as stream:
            for block in iter(partial(stream.read, 1 << 20), b""):
                digest.update(block)
    return digest.hexdigest()[:12] if files else None
