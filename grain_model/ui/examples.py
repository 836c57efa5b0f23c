"""The example micrographs of a folder, with how many grains each truly has."""

from __future__ import annotations

import csv
from pathlib import Path


def list_examples(folder: Path | None) -> list[tuple[Path, str]]:
    """List the example micrographs.

    Args:
        folder: Holds `*.png` and, for their true counts, what `read_true_counts` reads.

    Returns:
        Path and caption of each, by name; nothing where there is no folder.
    """
    if folder is None or not folder.is_dir():
        return []
    true_counts = read_true_counts(folder)
    captions = {}
    for path in sorted(folder.glob("*.png")):
        style = path.stem.replace("_", " ").replace("-", " ")
        captions[path] = f"{style}: true count {true_counts[path.name]}" if path.name in true_counts else style
    return list(captions.items())


def read_true_counts(folder: Path) -> dict[str, str]:
    """Read how many grains the examples in a folder truly have.

    Args:
        folder: May hold `counts.csv`, whose first two columns are a file's name and its true count.

    Returns:
        True counts by file name; nothing where there is no such table.
    """
    counts = folder / "counts.csv"
    rows = csv.reader(counts.read_text(encoding="utf-8").splitlines()) if counts.is_file() else ()
    return {row[0]: row[1] for row in rows if len(row) > 1}
