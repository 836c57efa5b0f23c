"""Where the weights behind a result come from."""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedModel

from .version import __version__

EMBEDDED_WEIGHTS = (Path(__file__).parent / "weights").resolve()
"""Folder of the checkpoint that comes with the package."""


def describe_weights(model: PreTrainedModel) -> dict[str, str | None]:
    """Names the weights behind a result.

    Args:
        model: a loaded grain model.

    Returns:
        `name` ("embedded", a folder's name or a Hub id) and `version` (the Hub commit, where there is one, or the
        package's version for the embedded weights).
    """
    source = model.config.name_or_path
    if source and Path(source) == EMBEDDED_WEIGHTS:
        return {"name": "embedded", "version": __version__}
    name = Path(source).name if Path(source).is_dir() else source
    return {"name": name or "in memory", "version": getattr(model.config, "_commit_hash", None)}
