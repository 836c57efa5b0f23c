"""Where the weights behind a result come from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch
from huggingface_hub import try_to_load_from_cache
from safetensors import safe_open
from transformers import PreTrainedModel

from .digest import digest_files
from .version import WEIGHTS_VERSION

EMBEDDED_WEIGHTS = (Path(__file__).parent / "weights").resolve()
"""Folder of the checkpoint that comes with the package."""


def describe_weights(model: PreTrainedModel) -> dict[str, str | None]:
    """Names the weights behind a result.

    Args:
        model: A loaded grain model.

    Returns:
        `name` ("embedded", a folder's name or a Hub id) and `version`: `WEIGHTS_VERSION` for the embedded weights, the
        Hub commit, or a digest of the folder's weights, since training gives every folder the same name. Weights of a
        folder or of the Hub that were trained on since, in memory or on disk, say so, and have no version.
    """
    source, commit = model.config.name_or_path, getattr(model.config, "_commit_hash", None)
    if source and Path(source).is_dir():
        folder = Path(source).resolve()
        files = sorted(folder.glob("*.safetensors"))
        name = "embedded" if folder == EMBEDDED_WEIGHTS else folder.name
        if not _holds(model, files):
            return {"name": f"{name}, but other weights than the folder's", "version": None}
        if folder == EMBEDDED_WEIGHTS:
            return {"name": name, "version": WEIGHTS_VERSION}
        return {"name": name, "version": _digest(*((file, file.stat().st_mtime_ns) for file in files))}
    if not _holds(model, _cached_files(source, commit)):
        return {"name": f"{source}, but other weights than the Hub's", "version": None}
    return {"name": source or "in memory", "version": commit}


def _cached_files(repo_id: str, commit: str | None) -> list[Path]:
    """The weights of a Hub model in the local cache; none where they are not there."""
    config = try_to_load_from_cache(repo_id, "config.json", revision=commit) if repo_id and commit else None
    return sorted(Path(config).parent.glob("*.safetensors")) if isinstance(config, str) else []


def _holds(model: PreTrainedModel, files: Sequence[Path]) -> bool:
    """Whether a model still has the weights of these files."""
    weights = model.state_dict()
    for file in files:
        with safe_open(file, "pt") as stored:
            for name in stored.keys():
                in_memory = re.sub(r"attention\.(attention\.\w+|output\.dense)", _name_in_memory, name)
                if in_memory in weights:
                    present = weights[in_memory].detach().cpu()
                    if not torch.equal(present, stored.get_tensor(name).to(present.dtype)):
                        return False
    return True


def _name_in_memory(stored: re.Match) -> str:
    """The name of an attention layer's tensor, which files of the original format call otherwise."""
    layer = stored[1].rpartition(".")[2]
    return f"attention.{'o' if layer == 'dense' else layer[0]}_proj"


@lru_cache(maxsize=16)
def _digest(*files: tuple[Path, int]) -> str | None:
    """Digest of files and the times of their last change, which are part of the cache's key only."""
    return digest_files(*(path for path, _ in files))[:12] if files else None
