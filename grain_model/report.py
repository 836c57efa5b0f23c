"""A report of one specimen that a person can check and sign: one PDF or HTML file, with everything inside.

Each image is one field. What it says is put together once (`report_content`), and laid out as HTML (`report_html`) or
as PDF pages (`report_pdf`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from .errors import MeasurementError
from .paths import expand_home, replacing
from .report_content import Report
from .report_html import write_html
from .report_pdf import write_pdf

Writer = Callable[[Report, str | os.PathLike], None]

WRITERS: dict[str, Writer] = {".pdf": write_pdf, ".html": write_html, ".htm": write_html}
"""What writes a report, by the ending of its name."""


def write_report(report: Report, path: str | os.PathLike) -> None:
    """Write a report as one file, PDF or HTML by the ending of its name.

    Raises:
        MeasurementError: The ending is neither .pdf nor .html.
        OSError: It cannot be written; a report that was there stays.
    """
    write = find_writer(path)
    with replacing(expand_home(path)) as part:
        write(report, part)


def find_writer(path: str | os.PathLike) -> Writer:
    """What writes a report of this name.

    Raises:
        MeasurementError: The name ends in neither .pdf nor .html.
    """
    name = Path(path)
    if name.suffix.lower() not in WRITERS:
        raise MeasurementError(
            f"The report's name {name.name!r} ends in neither .pdf nor .html. One is expected. Change the name."
        )
    return WRITERS[name.suffix.lower()]
