"""Results as files that other tools open: tables, label TIFF, COCO, ImageJ regions, GeoJSON.

Names in every file are the label ids.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from .analysis import SAVED_FILES, GrainAnalysis
from .errors import MeasurementError
from .json_file import save_json
from .measurement import column_unit, with_units
from .outlines import pixel_on_the_left, signed_area, simple_rings, trace_outlines
from .paths import expand_home

# Characters that a cell of a workbook holds; openpyxl cuts off what is longer.
LONGEST_CELL = 32_767


def write_xlsx(analysis: GrainAnalysis, path: str | os.PathLike) -> None:
    """A workbook with the sheets `grains` (units in the header), `grain size` and `origin`.

    Where grains were corrected by hand, there is a sheet `corrections` with one row a correction.
    """
    origin = _origin(analysis)
    edits = origin["corrections"].pop("edits")
    # `settings.method` and the like.
    items = pd.json_normalize(origin).iloc[0].items()
    sheets = {
        "grains": with_units(analysis.table),
        "grain size": analysis.grain_size.to_frame(),
        "origin": pd.DataFrame([(key, _cell(value)) for key, value in items], columns=["item", "value"]),
    }
    if edits:  # no cell holds them all
        sheets["corrections"] = pd.DataFrame([{key: _cell(value) for key, value in edit.items()} for edit in edits])
    with pd.ExcelWriter(path, engine="openpyxl") as workbook:
        for name, frame in sheets.items():
            frame.to_excel(workbook, sheet_name=name, index=False, freeze_panes=(1, 0))
            for cells in workbook.sheets[name].columns:
                widest = max(len(str(cell.value or "")) for cell in cells[:50])
                workbook.sheets[name].column_dimensions[cells[0].column_letter].width = min(widest, 48) + 2
                for cell in cells:
                    if cell.data_type == "f":  # a name that begins with "=" is no formula
                        cell.data_type = "s"


def write_json(analysis: GrainAnalysis, path: str | os.PathLike) -> None:
    """Everything but the pixels: the summary, one object a grain, and the unit of each column."""
    content = {
        **analysis.summary(),
        "units": {name: column_unit(name) for name in analysis.table.columns},
        "grains": _records(analysis.table),
    }
    save_json(content, path)


def write_coco(analysis: GrainAnalysis, path: str | os.PathLike) -> None:
    """COCO instance annotations: each grain's exact mask as run lengths, its box and area; the id is the label."""
    height, width = analysis.labels.shape
    annotations = []
    for row, window, grain in _grains(analysis):
        top, left = window[0].start, window[1].start
        annotations.append(
            {
                "id": int(row["label"]),
                "image_id": 1,
                "category_id": 1,
                "segmentation": {"size": [height, width], "counts": _run_lengths(grain, top, left, height, width)},
                "area": int(row["area"]),
                "bbox": [left, top, grain.shape[1], grain.shape[0]],
                "iscrowd": 0,
                "score": None if np.isnan(row["confidence"]) else float(row["confidence"]),
            }
        )
    content = {
        "info": _origin(analysis),
        "licenses": [],
        "categories": [{"id": 1, "name": "grain", "supercategory": "microstructure"}],
        "images": [{"id": 1, "file_name": analysis.micrograph.file, "height": height, "width": width}],
        "annotations": annotations,
    }
    save_json(content, path)


def write_imagej_rois(analysis: GrainAnalysis, path: str | os.PathLike) -> None:
    """A zip for ImageJ's ROI Manager: a polygon a grain along its pixels' edges, named by its label.

    The polygon is the grain's outer outline; a grain in several pieces gives its largest, and holes are filled, as
    ImageJ's polygons have none.
    """
    import roifile  # late, as only this format needs it

    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for row, window, grain in _grains(analysis):
            outline = max(trace_outlines(grain), key=signed_area) + (window[1].start, window[0].start)
            name = str(int(row["label"]))
            region = roifile.ImagejRoi.frompoints(outline, name=name)
            region.roitype = roifile.ROI_TYPE.POLYGON
            archive.writestr(f"{name}.roi", region.tobytes())


def write_geojson(analysis: GrainAnalysis, path: str | os.PathLike) -> None:
    """Polygons with holes along the pixels' edges, in px from the top left corner, x to the right and y down.

    QuPath opens them as annotations; each carries what is a finite number in the grain's row of the table, yes as 1 and
    no as 0, since QuPath refuses a file whose measurements hold anything else.
    """
    features = []
    for record, (row, window, grain) in zip(_records(analysis.table), _grains(analysis), strict=True):
        offset = (window[1].start, window[0].start)
        # No ring touches itself and no piece hangs together by corners alone: both are invalid in GeoJSON.
        outlines = trace_outlines(grain, corners_join=False)
        rings = [ring + offset for outline in outlines for ring in simple_rings(outline)]
        measurements = {key: value + 0 for key, value in record.items() if isinstance(value, bool | int | float)}
        features.append(
            {
                "type": "Feature",
                "id": int(row["label"]),
                "geometry": _geometry(rings),
                "properties": {
                    "objectType": "annotation",
                    "name": str(int(row["label"])),
                    "measurements": measurements,
                },
            }
        )
    save_json({"type": "FeatureCollection", **_origin(analysis), "features": features}, path)


# Name of a format on the command line: ending of its file, and what writes it.
FORMATS: dict[str, tuple[str, Callable[[GrainAnalysis, Path], object]]] = {
    "csv": ("grains.csv", SAVED_FILES["grains.csv"]),
    "xlsx": ("grains.xlsx", write_xlsx),
    "json": ("grains.json", write_json),
    "tiff": ("labels.tif", SAVED_FILES["labels.tif"]),
    "coco": ("coco.json", write_coco),
    "imagej": ("RoiSet.zip", write_imagej_rois),
    "geojson": ("grains.geojson", write_geojson),
}


def export_grains(
    analysis: GrainAnalysis, folder: str | os.PathLike, formats: Sequence[str] = tuple(FORMATS)
) -> dict[str, Path]:
    """Write a field in several formats.

    Args:
        analysis: The field.
        folder: Where to; made if it does not exist, files of the same names are replaced.
        formats: Names from FORMATS.

    Returns:
        The path of each format's file.

    Raises:
        MeasurementError: A format is unknown.
    """
    if unknown := sorted(set(formats) - set(FORMATS)):
        raise MeasurementError(
            f"The formats {', '.join(unknown)} are unknown; {', '.join(FORMATS)} are expected. Correct the names."
        )
    folder = expand_home(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for name in formats:
        ending, write = FORMATS[name]
        paths[name] = folder / ending
        write(analysis, paths[name])
    return paths


def _grains(analysis: GrainAnalysis) -> Iterator[tuple[pd.Series, tuple[slice, slice], np.ndarray]]:
    """Each grain's row, the window of its bounding box, and its mask in that window."""
    for _, row in analysis.table.iterrows():
        top, left, bottom, right = (int(row[f"bbox-{i}"]) for i in range(4))
        window = (slice(top, bottom), slice(left, right))
        yield row, window, analysis.labels[window] == row["label"]


def _run_lengths(grain: np.ndarray, top: int, left: int, height: int, width: int) -> list[int]:
    """COCO's uncompressed run lengths of a mask set into an image: column by column, beginning with zeros."""
    columns = np.zeros((grain.shape[1], height), dtype=np.int8)
    columns[:, top : top + grain.shape[0]] = grain.T
    changes = np.flatnonzero(np.diff(np.concatenate([[0], columns.ravel(), [0]]))) + left * height
    edges = np.concatenate([[0], changes, [height * width]])
    return np.diff(edges).tolist()


def _geometry(outlines: list[np.ndarray]) -> dict[str, Any]:
    """GeoJSON geometry of simple rings: holes go to the innermost piece around them."""
    closed = [(outline, np.vstack([outline, outline[:1]]).tolist()) for outline in outlines]
    pieces = [(outline, [ring]) for outline, ring in closed if signed_area(outline) > 0]
    for outline, ring in closed:
        if signed_area(outline) < 0:
            within = pixel_on_the_left(outline)
            around = [piece for piece in pieces if cv2.pointPolygonTest(piece[0].astype(np.float32), within, False) > 0]
            min(around, key=lambda piece: signed_area(piece[0]))[1].append(ring)
    if len(pieces) == 1:
        return {"type": "Polygon", "coordinates": pieces[0][1]}
    return {"type": "MultiPolygon", "coordinates": [rings for _, rings in pieces]}


def _cell(value: Any) -> Any:
    """A value as a cell of a workbook can hold it."""
    if not isinstance(value, dict | list):
        return value
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_CELL else f"{len(text)} characters, which no cell holds: export JSON"


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain numbers, NaN as None."""
    return [
        {key: None if isinstance(value, float) and not np.isfinite(value) else value for key, value in record.items()}
        for record in table.to_dict("records")
    ]


def _origin(analysis: GrainAnalysis) -> dict[str, Any]:
    """Where the numbers come from, and what makes them doubtful: the summary without the grain size."""
    return {key: value for key, value in analysis.summary().items() if key != "grain_size"}
