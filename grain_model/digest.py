"""What tells files from others."""

from __future__ import annotations

import hashlib
import os
from functools import partial


def digest_files(*paths: str | os.PathLike) -> str:
    """SHA-256 of the files' bytes, one file after another, in hexadecimal; of one file it is what `sha256sum` prints.

    Raises:
        OSError: If one cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as stream:
            for block in iter(partial(stream.read, 1 << 20), b""):
                digest.update(block)
    return digest.hexdigest()
