"""The folder of one image's results, which never holds numbers of two runs that differ, and the lists beside it."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from .errors import UsageError

SUMMARY = "summary.json"

SUMMARY_TABLE, GRAIN_SIZE_TABLE = "summary.csv", "grain_size.csv"

BATCH_FILES = (SUMMARY_TABLE, GRAIN_SIZE_TABLE, SUMMARY)
"""What `count` writes about all images, beside the folders of each."""

RESULT_PICTURES = ("mask.png", "overlay.png", "labels.tif")
"""What of an image's results looks like a picture to be counted."""

EXPORT_LIST = "export.csv"
"""Where `export` lists the folder of each image, beside those folders."""

EXPORT_COLUMNS = ("file", "folder", "error")

_LIST_STARTS = {
    SUMMARY_TABLE: "file,folder,count,",
    GRAIN_SIZE_TABLE: "file,rule,",
    EXPORT_LIST: ",".join(EXPORT_COLUMNS),
}


def make_output(folder: Path, names: Iterable[str], lists: Iterable[str] = ()) -> None:
    """Make the folder for the results, before the first image is counted.

    Args:
        folder: Where to.
        names: Of the folders that will be made in it.
        lists: Names of what will be written beside them.

    Raises:
        UsageError: If `folder` is a file, holds a file of one of the names or a list that no run of ours wrote, or
            cannot be written to.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out {folder} is a file. A folder is expected. Name another one.")
    if taken := [name for name in names if (folder / name).is_file()]:
        raise UsageError(
            f"--out {folder} holds a file {taken[0]!r}, and the results of an image go to a folder of its name. "
            "Another folder than that of the images is expected. Name one."
        )
    if foreign := foreign_lists(folder, lists):
        raise UsageError(
            f"--out {folder} holds {foreign[0]}, which is not of this program, and which its own of that name would "
            "replace. Another folder is expected. Name one."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(
            f"--out {folder} cannot be written to: {error.strerror}. A folder with the right to write is expected. "
            "Name another one."
        ) from error


def clear_results(folder: Path) -> None:
    """Remove what `count` or `export` wrote into a folder, and the lists beside it that name it; nothing else."""
    # Late, since these load the libraries of tables and pictures, and what only lists images need not wait for them.
    from .analysis import SAVED_FILES
    from .export import FORMATS

    # The summary first: where another program holds a file, none shall speak for what is left.
    names = dict.fromkeys([SUMMARY, *SAVED_FILES, *(name for name, _ in FORMATS.values())])
    written = [path for name in names if (path := folder / name).exists()]
    if written:
        for path in _lists_of(folder):
            with suppress(OSError):  # it is open elsewhere, which is told when it is written anew
                path.unlink(missing_ok=True)
    for path in written:
        path.unlink()


def prepare_folder(folder: Path, summary: dict[str, Any]) -> None:
    """Make the folder for an analysis with this summary; what another run wrote stays where it found the same.

    Raises:
        OSError: If another program holds a file of the earlier run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if _read_json(folder / SUMMARY) != json.loads(json.dumps(summary)):
        clear_results(folder)


def has_lists(folder: Path) -> bool:
    """Whether a run has written about all its images into a folder."""
    return any((folder / name).exists() for name in (*BATCH_FILES, EXPORT_LIST))


def foreign_lists(folder: Path, names: Iterable[str]) -> list[str]:
    """Those of some lists' names under which a folder holds something else.

    Args:
        folder: Where a command is to write.
        names: Of the lists that it writes, some of `BATCH_FILES` and `EXPORT_LIST`.
    """
    return [name for name in names if not _is_ours(folder / name)]


def source_of(folder: Path) -> str | None:
    """SHA-256 of the file whose results are in a folder, as far as that is known."""
    document = _read_json(folder / SUMMARY)
    image = document.get("image") if isinstance(document, dict) else None
    return image.get("sha256") if isinstance(image, dict) else None


def _is_ours(path: Path) -> bool:
    """Whether a list that is to be replaced is one of ours: in whole, in part, empty, or not there."""
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace") if path.is_file() else ""
    except OSError:  # it is open elsewhere, which is told when it is written
        return True
    if path.name == SUMMARY:  # of several images, or of one that was saved there
        return not text or '"results"' in text or '"count"' in text
    return not text or text.startswith(_LIST_STARTS[path.name])


def _lists_of(folder: Path) -> Iterator[Path]:
    """The lists beside the folder of an image that name it."""
    document = _read_json(folder.parent / SUMMARY)
    results = document.get("results") if isinstance(document, dict) else None
    if _is_named(folder, results):
        yield from (folder.parent / name for name in BATCH_FILES)
    if _is_named(folder, _read_export_list(folder.parent / EXPORT_LIST)):
        yield folder.parent / EXPORT_LIST


def _is_named(folder: Path, entries: object) -> bool:
    """Whether one of the entries of a list, which may be another program's, has this folder."""
    entries = entries if isinstance(entries, list) else []
    named = [entry.get("folder") for entry in entries if isinstance(entry, dict)]
    return any(isinstance(name, str) and Path(name).name == folder.name for name in named)


def _read_export_list(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            return list(reader) if tuple(reader.fieldnames or ()) == EXPORT_COLUMNS else []
    except (OSError, ValueError, csv.Error):
        return []


def _read_json(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
