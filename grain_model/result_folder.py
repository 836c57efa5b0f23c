"""The folder of one image's results, which never holds numbers of two runs that differ."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SUMMARY = "summary.json"


def clear_results(folder: Path) -> None:
    """Remove what `count` or `export` wrote into a folder, and nothing else."""
    # Late, since these load the libraries of tables and pictures, and what only lists images need not wait for them.
    from .analysis import SAVED_FILES
    from .export import FORMATS

    # The summary first: where another program holds a file, none shall speak for what is left.
    for name in dict.fromkeys([SUMMARY, *SAVED_FILES, *(name for name, _ in FORMATS.values())]):
        (folder / name).unlink(missing_ok=True)


def prepare_folder(folder: Path, summary: dict[str, Any]) -> None:
    """Make the folder for an analysis with this summary; what another run wrote stays where it found the same.

    Raises:
        OSError: If another program holds a file of the earlier run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if _read_summary(folder) != json.loads(json.dumps(summary)):
        clear_results(folder)


def _read_summary(folder: Path) -> object:
    try:
        return json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
