"""The folder of one image's results, which never holds numbers of two runs that differ."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

SUMMARY = "summary.json"

MEAN_FILES = ("summary.csv", SUMMARY, "grain_size.csv")
"""What `count` writes about all images, beside the folders of each."""

EXPORT_LIST = "export.csv"
"""Where `export` lists the folder of each image, beside those folders."""


def clear_results(folder: Path) -> None:
    """Remove what `count` or `export` wrote into a folder, and what they say of it beside it; nothing else."""
    # Late, since these load the libraries of tables and pictures, and what only lists images need not wait for them.
    from .analysis import SAVED_FILES
    from .export import FORMATS

    # The summary first: where another program holds a file, none shall speak for what is left.
    names = dict.fromkeys([SUMMARY, *SAVED_FILES, *(name for name, _ in FORMATS.values())])
    written = [path for name in names if (path := folder / name).exists()]
    for path in written:
        path.unlink()
    for name in (*MEAN_FILES, EXPORT_LIST) if written else ():
        with suppress(OSError):  # a list that is open elsewhere, which is told when it is written anew
            (folder.parent / name).unlink(missing_ok=True)


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
