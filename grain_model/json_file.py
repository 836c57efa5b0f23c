"""JSON files as any other program reads them."""

from __future__ import annotations

import json
import os
from typing import Any

from .paths import replacing


def save_json(content: Any, path: str | os.PathLike) -> None:
    """Write plain values as UTF-8, indented.

    Raises:
        ValueError: If a number is NaN or infinite, which JSON does not have.
    """
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    with replacing(path) as part:
        part.write_text(text + "\n", encoding="utf-8")
