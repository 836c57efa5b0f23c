"""Every exported file, read back by the library that its users read it with."""

import io
import json
from contextlib import redirect_stdout
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import roifile
import shapely
import tifffile
from matplotlib.path import Path as Polygon

from grain_model.analysis import GrainAnalysis
from grain_model.correction import Edit
from grain_model.errors import MeasurementError
from grain_model.export import FORMATS, export_grains
from grain_model.micrograph import Micrograph
from grain_model.outlines import signed_area, trace_outlines
from tests.drawn import voronoi

UM = 0.37


def analyzed(labels: np.ndarray, um_per_pixel: float | None = None) -> GrainAnalysis:
    """An analysis with these grains, of which no network was certain."""
    return GrainAnalysis(
        Micrograph(np.zeros((*labels.shape, 3), np.uint8), um_per_pixel, file="field.png"),
        labels.astype(np.int32),
        confidence=np.full(int(labels.max()), np.nan, np.float32),
        maps=np.zeros((2, *labels.shape), np.float32),
    )


@pytest.fixture(scope="module")
def labels():
    drawn = voronoi((90, 130), 40)
    drawn[40:50, 60:70] = 0
    drawn[43:46, 63:66] = 41  # an island
    return drawn


@pytest.fixture(scope="module")
def field(labels):
    return analyzed(labels, UM)


@pytest.fixture(scope="module")
def written(field, tmp_path_factory):
    return export_grains(field, tmp_path_factory.mktemp("export"))


def rasterize(outlines, shape):
    """Even-odd filling at pixel centres."""
    rows, columns = np.indices(shape)
    centres = np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], axis=1)
    inside = np.zeros(shape, int)
    for outline in outlines:
        inside += Polygon(np.vstack([outline, outline[:1]]), closed=True).contains_points(centres).reshape(shape)
    return inside % 2 == 1


@pytest.mark.parametrize("seed", range(8))
def test_outlines_hold_exactly_the_pixels(seed):
    grain = np.random.default_rng(seed).random((9, 12)) < 0.55
    outlines = trace_outlines(grain)
    np.testing.assert_array_equal(rasterize(outlines, grain.shape), grain)
    assert sum(signed_area(outline) for outline in outlines) == np.count_nonzero(grain)


@pytest.mark.parametrize("seed", range(8))
def test_geojson_geometry_is_valid_and_exact(seed, tmp_path):
    random = np.random.default_rng(seed).random((9, 12)) < 0.55
    around = np.zeros((16, 16), bool)  # a thin piece around a block with a hole
    around[1:15, 1:15] = True
    around[2:14, 2:15] = False
    around[4:12, 4:12] = True
    around[7:9, 7:9] = False
    for grain in (random, around):
        paths = export_grains(analyzed(grain), tmp_path, ["geojson"])
        (feature,) = json.loads(paths["geojson"].read_text())["features"]
        geometry = shapely.from_geojson(json.dumps(feature["geometry"]))
        assert geometry.is_valid, shapely.is_valid_reason(geometry)
        y, x = np.indices(grain.shape) + 0.5
        np.testing.assert_array_equal(shapely.contains_xy(geometry, x, y), grain)


def test_outline_of_a_square_has_four_vertices():
    grain = np.zeros((6, 7), bool)
    grain[1:4, 2:6] = True
    (outline,) = trace_outlines(grain)
    assert outline.tolist() == [[2, 1], [6, 1], [6, 4], [2, 4]]


def test_csv_has_units_in_the_header(written, field):
    table = pd.read_csv(written["csv"])
    assert {"label", "area (px^2)", "area_um2 (um^2)", "feret_diameter_max_um (um)", "orientation (rad)"} <= set(table)
    np.testing.assert_array_equal(table["label"], field.table["label"])
    np.testing.assert_allclose(table["area_um2 (um^2)"], table["area (px^2)"] * UM**2)


def test_xlsx_sheets(written, field):
    sheets = pd.read_excel(written["xlsx"], sheet_name=None)
    assert list(sheets) == ["grains", "grain size", "origin"]
    np.testing.assert_allclose(sheets["grains"]["area (px^2)"], field.table["area"])
    assert sheets["grain size"].set_index("rule").loc["saltykov", "G"] == pytest.approx(field.grain_size.saltykov.G)
    assert sheets["origin"].set_index("item").loc["scale.um_per_pixel", "value"] == UM


def test_xlsx_keeps_every_correction_and_takes_no_name_for_a_formula(field, tmp_path):
    edits = [Edit("add", tuple((float(x), 1234.5 + number) for x in range(20))) for number in range(200)]
    micrograph = replace(field.micrograph, file="=1+A.png", notes=("a", "b"))
    corrected = replace(field, micrograph=micrograph, edits=tuple(edits), corrected_ids=(3, 4))
    path = export_grains(corrected, tmp_path, ["xlsx"])["xlsx"]
    sheets = pd.read_excel(path, sheet_name=None)
    points = [edit.to_dict()["points"] for edit in edits]
    assert [json.loads(text) for text in sheets["corrections"]["points"]] == points
    origin = sheets["origin"].set_index("item")["value"]
    assert origin["name"] == "=1+A.png" and origin["corrections.corrected_grains"] == 2


def test_xlsx_says_where_an_outline_is_that_no_cell_holds(field, tmp_path):
    edit = Edit("add", tuple((x / 7, 0.5) for x in range(3000)))
    corrected = replace(field, micrograph=replace(field.micrograph, file="a"), edits=(edit,), corrected_ids=(3,))
    path = export_grains(corrected, tmp_path, ["xlsx"])["xlsx"]
    (text,) = pd.read_excel(path, sheet_name="corrections")["points"]
    assert "no cell holds" in text


def test_json_is_strict_and_complete(written, field):
    content = json.loads(written["json"].read_text(), parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))
    assert content["count"] == len(content["grains"]) == len(field.table)
    assert content["grain_size"]["saltykov"]["G"] == pytest.approx(field.grain_size.saltykov.G)
    assert content["units"]["area"] == "px^2"
    assert set(field.summary()) < set(content)
    assert content["grains"][0]["confidence"] is None


def test_label_tiff_keeps_ids_and_scale(written, labels):
    with tifffile.TiffFile(written["tiff"]) as file:
        np.testing.assert_array_equal(file.asarray(), labels)
        assert file.is_imagej and file.imagej_metadata["unit"] == "um"
        pixels, unit = file.pages[0].tags["XResolution"].value
        assert unit / pixels == pytest.approx(UM, rel=1e-6)


# pycocotools 2.0 decodes through an array type that does not know numpy 2's copy keyword.
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
def test_coco_masks_are_exact(written, labels):
    coco_module = pytest.importorskip("pycocotools.coco")
    with redirect_stdout(io.StringIO()):
        coco = coco_module.COCO(str(written["coco"]))
    assert sorted(coco.getAnnIds()) == [label for label in np.unique(labels) if label > 0]
    for annotation in coco.loadAnns(coco.getAnnIds()):
        mask = coco.annToMask(annotation).astype(bool)
        np.testing.assert_array_equal(mask, labels == annotation["id"])
        assert annotation["area"] == mask.sum()
        rows, columns = np.nonzero(mask)
        assert annotation["bbox"] == [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]


def test_imagej_regions_are_named_and_not_shrunk(written, labels):
    regions = roifile.roiread(str(written["imagej"]))
    assert sorted(int(region.name) for region in regions) == [label for label in np.unique(labels) if label > 0]
    for region in regions:
        grain = labels == int(region.name)
        filled = rasterize([region.coordinates()], labels.shape)
        assert region.roitype == roifile.ROI_TYPE.POLYGON
        assert (filled >= grain).all()  # nothing is cut off; a pore in the grain is filled
        assert filled.sum() <= grain.sum() + 100


def test_geojson_polygons_are_exact(written, labels, field):
    content = json.loads(written["geojson"].read_text())
    assert content["scale"]["um_per_pixel"] == UM
    assert [feature["properties"]["name"] for feature in content["features"]] == field.table["label"].astype(
        str
    ).tolist()
    for feature in content["features"]:
        measurements = feature["properties"]["measurements"]
        assert all(type(value) in (int, float) for value in measurements.values())
        assert measurements["touches_edge"] in (0, 1) and "confidence" not in measurements
        geometry = feature["geometry"]
        pieces = [geometry["coordinates"]] if geometry["type"] == "Polygon" else geometry["coordinates"]
        rings = [np.array(ring) for rings in pieces for ring in rings]
        assert all((ring[0] == ring[-1]).all() for ring in rings)
        np.testing.assert_array_equal(rasterize([ring[:-1] for ring in rings], labels.shape), labels == feature["id"])


def test_empty_field_gives_every_file(tmp_path):
    paths = export_grains(analyzed(np.zeros((20, 30), int)), tmp_path)
    assert set(paths) == set(FORMATS) and all(path.stat().st_size > 0 for path in paths.values())
    assert len(pd.read_csv(paths["csv"])) == 0


def test_unknown_format_is_refused(field, tmp_path):
    with pytest.raises(MeasurementError, match="dxf are unknown"):
        export_grains(field, tmp_path, ["csv", "dxf"])
