"""Paths as people type them, and files that are written whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def expand_home(path: str | os.PathLike) -> Path:
    """A path in which `~` alone is the home folder; a longer name that begins so is that of a file."""
    path = Path(path)
    return path.expanduser() if path.parts[:1] == ("~",) else path


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Write a file beside `path`, which takes its place at the end; where that fails, what was there stays.

    Yields:
        Where to write; `path` itself where that is no file but a pipe or a device.

    Raises:
        OSError: If the folder cannot be written to, or another program holds the file.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        yield Path(path)
        return
    path = Path(os.path.realpath(path))  # of a link the file that it leads to
    try:
        with tempfile.TemporaryDirectory(prefix=".grain_model-", dir=path.parent, ignore_cleanup_errors=True) as folder:
            part = Path(folder, "part")
            yield part
            if path.exists():
                shutil.copymode(path, part)
            os.replace(part, path)
    except OSError as error:
        error.filename = str(path)  # by which people know it
        raise
