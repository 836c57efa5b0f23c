"""The errors that a caller may want to catch, all under one base.

Every message has three parts: what was wrong, what is expected, how to put it right.
"""

import os
import re

# Of terminals and files: C0, DEL and C1.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def printable(text: str | os.PathLike) -> str:
    """A file's name, or a message with one, as one line that can be written anywhere.

    Bytes that are no UTF-8 and control characters, line breaks among them, are escaped.
    """
    decoded = os.fsencode(text).decode("utf-8", "backslashreplace")
    return _CONTROL.sub(lambda control: control[0].encode("unicode_escape").decode(), decoded)


class GrainError(Exception):
    """Base of all errors that the project raises on purpose."""


class ImageError(GrainError, ValueError):
    """The image cannot be read, or its pixels cannot be used."""


class ScaleError(GrainError, ValueError):
    """The scale (um per pixel) is no length that a pixel of a micrograph can have."""


class ModelError(GrainError):
    """The model or its weights cannot be found, loaded or run."""


class MeasurementError(GrainError, ValueError):
    """The labels or settings do not allow the measurement that was asked for."""


class CorrectionError(GrainError, ValueError):
    """A correction by hand does not fit the grains that are there."""


class UsageError(GrainError):
    """What was typed on the command line does not fit, such as a folder for the results that cannot be written to."""
