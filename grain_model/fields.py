"""Several images as fields of one specimen: what is kept of each, their mean, and the files about all of them."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import GrainError, printable
from .failures import Failure
from .field_mean import average_fields
from .grain_size_result import FRAME_COLUMNS, GrainSize
from .image_listing import ImagePage
from .json_file import save_json
from .paths import replacing
from .result_folder import GRAIN_SIZE_TABLE, SUMMARY, SUMMARY_TABLE, clear_results, prepare_folder

if TYPE_CHECKING:
    from .analysis import GrainAnalysis

SUMMARY_COLUMNS = (
    "file",
    "folder",
    "count",
    "G_saltykov",
    "G_low",
    "G_high",
    "expected_f1",
    "expected_count_error",
    "um_per_pixel",
    "scale_source",
    "warnings",
    "quality_flags",
    "error",
)


@dataclass(frozen=True)
class CountedField:
    """What is kept of an image when its pixels, labels and maps are not: a few kilobytes and 8 bytes a grain.

    Attributes:
        file: The image.
        folder: Where its results were written, if they were.
        summary: See `GrainAnalysis.summary`.
        grain_size: Its grain size, without the test lines.
        digest: Of its pixels; see `digest`.
    """

    file: str
    folder: str | None
    summary: dict[str, Any]
    grain_size: GrainSize
    digest: str

    @classmethod
    def of(cls, analysis: GrainAnalysis, file: str, folder: str | None = None) -> CountedField:
        """Keep what is needed of an analysis."""
        size = replace(analysis.grain_size, test_lines={})
        return cls(file, folder, analysis.summary(), size, digest(analysis.micrograph.field))

    @property
    def count(self) -> int:
        """Number of grains."""
        return self.summary["count"]

    @property
    def remarks(self) -> list[str]:
        """See `GrainAnalysis.remarks`."""
        return [*self.summary["warnings"], *(flag["message"] for flag in self.summary["quality_flags"])]

    def to_dict(self) -> dict[str, Any]:
        """The summary with the names of the image and of its folder, ready for JSON."""
        return {"file": self.file, "folder": self.folder, **self.summary}


def count_field(
    image: ImagePage,
    count: Callable[[ImagePage], GrainAnalysis],
    folder: Path | None = None,
    write: Callable[[GrainAnalysis, Path], object] | None = None,
) -> CountedField:
    """Count one image and write its results.

    Args:
        image: The file, or a page of it.
        count: Counts it.
        folder: Where the results go. The files of an earlier run there are removed if its summary differs, or if the
            image can no longer be read. `None` writes nothing.
        write: What writes them; as `GrainAnalysis.save` does if left out.

    Raises:
        GrainError: As `count` does.
        OSError: If the results cannot be written.
    """
    try:
        analysis = count(image)
    except GrainError:
        if folder and image.path.exists():  # or its drive may merely be away
            with suppress(OSError):
                clear_results(folder)
        raise
    field = CountedField.of(analysis, printable(str(image)), printable(folder) if folder else None)
    if folder:
        prepare_folder(folder, field.summary)
        if write is None:
            analysis.save(folder)
        else:
            write(analysis, folder)
    return field


def digest(pixels: np.ndarray) -> str:
    """Tell pixels, uint8 (H, W, 3), from others."""
    return hashlib.sha256(np.ascontiguousarray(pixels)).hexdigest()


def repeated_fields(names: Sequence[str], digests: Sequence[str]) -> tuple[str, ...]:
    """Say which fields are one picture under several names, which would make a mean look surer than it is.

    Args:
        names: Of the fields.
        digests: Of their pixels.

    Returns:
        One sentence a picture.
    """
    same: dict[str, list[str]] = {}
    for name, of_pixels in zip(names, digests, strict=True):
        same.setdefault(of_pixels, []).append(name)
    return tuple(
        f"{', '.join(repeated)} are the same picture, and count as {len(repeated)} fields; leave all but one out"
        for repeated in same.values()
        if len(repeated) > 1
    )


def describe_fields(fields: Sequence[CountedField], failures: Sequence[Failure]) -> dict[str, Any]:
    """Collect a batch as plain values for JSON.

    Args:
        fields: The images that were counted.
        failures: Those that were not.

    Returns:
        `results`, one object a counted image; `failed`, file and reason of each other; `mean`, with `n_fields` and
        `grain_size`, which is None where there is no mean, for the `reason` given.
    """
    mean: dict[str, Any] = {"n_fields": len(fields), "grain_size": None}
    try:
        mean["grain_size"] = mean_of_counted(fields).to_dict()
    except GrainError as error:
        mean["reason"] = str(error)
    return {
        "results": [field.to_dict() for field in fields],
        "failed": [vars(failure) for failure in failures],
        "mean": mean,
    }


def mean_of_counted(fields: Sequence[CountedField]) -> GrainSize:
    """Average the grain size of counted images as fields of one specimen; see `average_fields`.

    Args:
        fields: The images.

    Raises:
        MeasurementError: If there is no field.
        ScaleError: If some fields have a scale and some have none.
    """
    names = [field.file for field in fields]
    mean = average_fields([field.grain_size for field in fields], names)
    return replace(mean, flags=(*repeated_fields(names, [field.digest for field in fields]), *mean.flags))


def write_fields(folder: Path, fields: Sequence[CountedField], failures: Sequence[Failure]) -> None:
    """Write what a batch gave beside the images' own folders.

    `summary.csv` has a row an image, those that failed last, with the reason; `grain_size.csv` a row an image and rule,
    and last, if there is one, of their mean; `summary.json` holds what `describe_fields` collects.

    Args:
        folder: Where to, which exists.
        fields: The images that were counted.
        failures: Those that were not.
    """
    # First, since it is the table that is likely to be open elsewhere and not to be written.
    save_json(describe_fields(fields, failures), folder / SUMMARY)
    rows = [_summary_row(field) for field in fields]
    rows += [[failure.file, *[""] * (len(SUMMARY_COLUMNS) - 2), failure.reason] for failure in failures]
    write_table(folder / SUMMARY_TABLE, SUMMARY_COLUMNS, rows)
    write_table(folder / GRAIN_SIZE_TABLE, ("file", *FRAME_COLUMNS), _grain_size_rows(fields))


def _grain_size_rows(fields: Sequence[CountedField]) -> Iterator[list[Any]]:
    """Grain size by every rule, of each field and of their mean."""
    sizes = [(field.file, field.grain_size) for field in fields]
    if len(fields) > 1:
        with suppress(GrainError):  # no mean, for a reason that `describe_fields` gives
            sizes.append((f"mean of {len(fields)} fields", mean_of_counted(fields)))
    for name, size in sizes:
        yield from ([name, *row] for row in size.to_rows())


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table as CSV in UTF-8.

    A path that a spreadsheet would take for a formula, such as `=1+1.png`, begins with `./`, which names the same file.
    """
    cells = ([_no_formula(cell) for cell in row] for row in rows)
    with replacing(path) as part, part.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([columns, *cells])


def _no_formula(cell: Any) -> Any:
    # https://owasp.org/www-community/attacks/CSV_Injection
    return f"./{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def _summary_row(field: CountedField) -> list[Any]:
    scale, expected = field.summary["scale"], field.summary["expected_accuracy"]
    return [
        field.file,
        field.folder,
        field.count,
        field.grain_size.saltykov.G,
        *(field.grain_size.saltykov.ci95 or (None, None)),
        *(round(expected[name], 2) if expected else None for name in ("f1", "count_error")),
        scale["um_per_pixel"],
        scale["source"],
        " ".join(field.summary["warnings"]),
        " ".join(flag["code"] for flag in field.summary["quality_flags"]),
        "",
    ]
