"""One image that fails does not stop the others."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from .errors import GrainError, printable

T = TypeVar("T")


@dataclass(frozen=True)
class Failure:
    """A file that could not be counted, and why."""

    file: str
    reason: str


def attempt(name: str, action: Callable[[], T]) -> T | Failure:
    """Do something with one image; whatever goes wrong stays with that image.

    Args:
        name: What the image is called.
        action: What is done.

    Returns:
        What the action returns, or why it failed.
    """
    try:
        return action()
    except GrainError as error:
        reason = str(error)
    except OSError as error:
        # Without its folder, which visitors of a page shall not see.
        place = f" ({printable(Path(error.filename).name)})" if isinstance(error.filename, str) else ""
        reason = (
            f"A file cannot be read or written: {error.strerror or error}{place}. Files that no other program holds, "
            "and room on the disk, are expected. Close them, or make room."
        )
    except Exception as error:  # A batch survives any one file: memory, disk, a fault of ours.
        logging.getLogger(__name__).exception("%s failed unforeseen", printable(name))
        reason = f"{type(error).__name__}: {error}"
    return Failure(printable(name), printable(reason))
