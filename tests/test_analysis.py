"""`count_grains`, what it returns and what it writes."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from grain_model import analysis as analysis_module
from grain_model.analysis import SAVED_FILES, GrainAnalysis
from grain_model.correction import Edit
from grain_model.counting import count_grains
from grain_model.errors import ImageError, MeasurementError, ModelError, ScaleError
from grain_model.export import FORMATS
from grain_model.image_listing import IMAGE_SUFFIXES
from grain_model.label_settings import LabelSettings
from grain_model.label_tiff import write_label_tiff
from grain_model.loading import EMBEDDED_WEIGHTS
from grain_model.margins import Margins
from grain_model.micrograph import read_micrograph
from grain_model.result_folder import RESULT_PICTURES
from tests.drawn import draw_grid, predict_drawn

needs_weights = pytest.mark.skipif(
    not (EMBEDDED_WEIGHTS / "config.json").is_file(), reason="the embedded weights are not in this tree"
)


@pytest.fixture
def drawn(monkeypatch):
    """Replaces the network by one that sees the drawing; counts how often it runs."""
    runs = []

    def predict(model, image, **options):
        runs.append(image.shape)
        return predict_drawn(model, image, **options)

    monkeypatch.setattr(analysis_module, "predict_at_canonical_scale", predict)
    return runs


@pytest.fixture
def grid(drawn, tiny_model) -> GrainAnalysis:
    return count_grains(draw_grid(4, 5), um_per_pixel=0.5, model=tiny_model)


def test_counts_every_drawn_grain_and_labels_it_in_place(grid):
    assert grid.count == 20
    assert grid.labels.shape == draw_grid(4, 5).shape and grid.labels.dtype == np.int32
    assert set(np.unique(grid.labels)) == set(range(21))
    for row in range(4):
        for column in range(5):
            cell = grid.labels[row * 43 : row * 43 + 40, column * 43 : column * 43 + 40]
            assert len(np.unique(cell[2:-2, 2:-2])) == 1 and cell[20, 20] > 0
    assert np.array_equal(grid.mask, grid.labels > 0) and grid.mask.dtype == bool


def test_table_has_one_row_a_grain_in_pixels_and_um(grid):
    assert grid.table["label"].tolist() == list(range(1, 21))
    areas = np.bincount(grid.labels.ravel())[1:]
    assert np.allclose(grid.table["area"], areas)
    assert np.allclose(grid.table["area_um2"], areas * 0.25)
    assert np.allclose(grid.table["confidence"], grid.confidence)


def test_grain_size_needs_a_scale(grid, tiny_model):
    assert grid.grain_size.saltykov.G is not None
    assert count_grains(draw_grid(4, 5), model=tiny_model).grain_size.saltykov.G is None


def test_kinds_of_input_give_the_same_count(grid, tiny_model, tmp_path):
    picture = draw_grid(4, 5)
    Image.fromarray(picture).save(tmp_path / "grid.png")
    for image in (
        tmp_path / "grid.png",
        str(tmp_path / "grid.png"),
        Image.fromarray(picture),
        np.repeat(picture[..., None], 3, axis=2),
        picture.astype(np.uint16) * 257,
        picture / 255,
        read_micrograph(picture),
    ):
        assert count_grains(image, model=tiny_model).count == 20


def test_progress_is_told_where_a_picture_is_read_in_tiles(tiny_model):
    told = []
    large = np.tile(draw_grid(4, 5), (9, 7))
    assert large.shape[0] * large.shape[1] > 2_000_000
    count_grains(large, model=tiny_model, progress=lambda done, tiles: told.append((done, tiles)))
    tiles = told[0][1]
    assert tiles > 1 and told[:tiles] == [(done, tiles) for done in range(1, tiles + 1)]


def test_a_given_scale_wins_over_that_of_a_micrograph(drawn, tiny_model):
    micrograph = read_micrograph(draw_grid(2, 2), um_per_pixel=0.5)
    assert count_grains(micrograph, model=tiny_model).um_per_pixel == 0.5
    assert count_grains(micrograph, 0.25, tiny_model).um_per_pixel == 0.25


def write_ome(path, um_per_pixel):
    metadata = {"axes": "YX", "PhysicalSizeX": um_per_pixel, "PhysicalSizeY": um_per_pixel}
    tifffile.imwrite(path, draw_grid(2, 3), ome=True, metadata=metadata)
    return path


def test_a_contradicted_scale_is_a_warning_in_the_result(drawn, tiny_model, tmp_path):
    path = write_ome(tmp_path / "field.ome.tif", 0.5)
    for image in (path, read_micrograph(path)):
        assert count_grains(image, 0.51, tiny_model).warnings == ()
        analysis = count_grains(image, 0.6, tiny_model)
        assert (analysis.um_per_pixel, analysis.scale_source) == (0.6, "given")
        (warning,) = analysis.summary()["warnings"]
        assert "0.5 (OME)" in warning and "+20 %" in warning


def test_what_makes_the_grain_size_doubtful_is_a_warning(grid, drawn, tiny_model):
    assert not grid.warnings
    in_nanometres = count_grains(draw_grid(4, 5), 500, tiny_model)
    (warning,) = in_nanometres.warnings
    assert "check the scale" in warning and warning in in_nanometres.remarks
    holes = [Edit("delete", ((43 * row + 20, 20),)) for row in range(3)]
    assert "is no grain" in grid.correct(holes).warnings[0]


def test_several_pages_are_a_warning_in_the_result(drawn, tiny_model, tmp_path):
    tifffile.imwrite(tmp_path / "stack.tif", np.stack([draw_grid(2, 3)] * 3), photometric="minisblack")
    analysis = count_grains(tmp_path / "stack.tif", model=tiny_model)
    assert analysis.count == 6
    assert "3 pages" in analysis.summary()["warnings"][0]


def test_relabel_does_not_run_the_network(grid, drawn):
    runs = len(drawn)
    again = grid.relabel(min_grain_area=10_000)
    assert len(drawn) == runs == 1
    assert again.count == 0 and grid.count == 20
    assert again.settings.min_grain_area == 10_000
    assert grid.relabel(method="components").count == 20


def test_relabel_to_the_first_settings_gives_the_same_labels(grid):
    assert np.array_equal(grid.relabel(min_grain_area=10_000).relabel(min_grain_area=None).labels, grid.labels)


def test_relabel_keeps_the_settings_that_are_left_out(grid):
    changed = grid.relabel(method="components", min_grain_area=40).relabel(boundary_sensitivity=0.4)
    assert changed.settings == LabelSettings("components", 0.4, 40)
    with pytest.raises(TypeError, match="sensitivty"):
        grid.relabel(sensitivty=0.4)


def test_the_strip_under_the_picture_is_neither_counted_nor_measured(drawn, grid, tiny_model):
    picture = draw_grid(4, 5)
    strip = np.full((30, picture.shape[1]), 210, np.uint8)
    micrograph = replace(read_micrograph(np.vstack([picture, strip])), footer_top=len(picture), margins=Margins())
    result = count_grains(micrograph, 0.5, tiny_model)
    assert drawn[-1] == (3, *picture.shape)
    assert result.count == 20 and result.labels.shape == micrograph.pixels.shape[:2]
    assert not result.labels[len(picture) :].any()
    assert result.table["touches_edge"].equals(grid.table["touches_edge"])
    assert result.grain_size.saltykov.G == grid.grain_size.saltykov.G
    assert "strip" in result.warnings[-1] and "strip" in result.relabel().warnings[-1]
    assert result.relabel().labels.shape == result.labels.shape
    assert result.overlay().shape == micrograph.pixels.shape
    assert not grid.warnings


@pytest.mark.parametrize("scale", [0, -1.0, float("nan")])
def test_an_impossible_scale_is_refused(drawn, tiny_model, scale):
    for image in (draw_grid(2, 2), read_micrograph(draw_grid(2, 2))):
        with pytest.raises(ScaleError):
            count_grains(image, scale, tiny_model)


def test_overlay_has_the_images_own_size(grid):
    assert grid.overlay().shape == (*grid.labels.shape, 3)
    assert not np.array_equal(grid.overlay(show="ids"), grid.overlay(show="outlines"))
    assert np.array_equal(grid.overlay(alpha=0, show="outlines"), grid.overlay(alpha=1, show="outlines"))


def test_save_writes_what_other_tools_read(grid, tmp_path):
    folder = grid.save(tmp_path / "new" / "folder")
    assert {path.name for path in folder.iterdir()} == {
        "mask.png",
        "overlay.png",
        "labels.tif",
        "grains.csv",
        "summary.json",
    }
    assert np.array_equal(np.asarray(Image.open(folder / "mask.png")), grid.mask * 255)
    assert np.array_equal(np.asarray(Image.open(folder / "overlay.png")), grid.overlay())
    table = pd.read_csv(folder / "grains.csv")
    assert len(table) == 20 and {"area (px^2)", "area_um2 (um^2)", "orientation_deg (deg)", "circularity"} <= {*table}
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert summary["count"] == 20
    assert summary["scale"] == {"um_per_pixel": 0.5, "source": grid.scale_source}
    assert summary["settings"]["method"] == "watershed"
    assert summary["grain_size"]["saltykov"]["G"] == pytest.approx(grid.grain_size.saltykov.G)
    assert summary["software"]["version"] and summary["weights"]["name"]


def test_saved_labels_carry_their_scale_for_imagej(grid, tmp_path):
    with tifffile.TiffFile(grid.save(tmp_path) / "labels.tif") as tiff:
        assert tiff.is_imagej and tiff.imagej_metadata["unit"] == "um"
        assert tiff.asarray().dtype == np.uint16
        assert np.array_equal(tiff.asarray(), grid.labels)
        pixels_per_unit = tiff.pages[0].tags["XResolution"].value
    assert pixels_per_unit[0] / pixels_per_unit[1] == pytest.approx(2.0)


def test_more_grains_than_16_bit_are_saved_in_32(tmp_path):
    labels = np.arange(1, 70_001, dtype=np.int32).reshape(250, 280)
    write_label_tiff(tmp_path / "labels.tif", labels, 0.5)
    with tifffile.TiffFile(tmp_path / "labels.tif") as tiff:
        assert tiff.asarray().dtype == np.uint32 and np.array_equal(tiff.asarray(), labels)
        tags = tiff.pages[0].tags
        assert tags["XResolution"].value[0] / tags["XResolution"].value[1] == pytest.approx(20_000)
        assert tags["ResolutionUnit"].value == 3  # centimetre


def test_an_image_without_grains_is_a_result(drawn, tiny_model, tmp_path):
    nothing = count_grains(np.tile(np.array([[0, 0, 0, 255]], np.uint8), (60, 20)), model=tiny_model).relabel(
        min_grain_area=10**6
    )
    assert nothing.count == 0 and not nothing.mask.any() and len(nothing.table) == 0
    assert json.loads((nothing.save(tmp_path) / "summary.json").read_text())["count"] == 0


def test_grains_at_the_edge_count_as_the_rule_says(drawn, tiny_model):
    analysis = count_grains(draw_grid(4, 5), um_per_pixel=0.5, model=tiny_model)
    sizes = analysis.grain_size
    assert analysis.count_by("all") == (20, sizes.saltykov)
    assert analysis.count_by("whole") == (6, sizes.mean_area)
    # Ten at the sides count as half, four at the corners as a quarter.
    assert analysis.count_by("half") == (6 + 10 / 2 + 4 / 4, sizes.saltykov)
    with pytest.raises(MeasurementError, match="'Half' is unknown"):
        analysis.count_by("Half")


def test_the_scale_may_be_given_afterwards(drawn, tiny_model):
    given = count_grains(draw_grid(4, 5), um_per_pixel=0.5, model=tiny_model)
    later = count_grains(draw_grid(4, 5), model=tiny_model).with_scale(0.5)
    assert later.um_per_pixel == 0.5 and later.summary() == given.summary()
    pd.testing.assert_frame_equal(later.table, given.table)
    assert later.with_scale(None).grain_size.saltykov.G is None
    with pytest.raises(ScaleError):
        later.with_scale(-1)


def test_a_page_is_counted_by_its_number(drawn, tiny_model, tmp_path):
    path = tmp_path / "stack.tif"
    second = draw_grid(4, 5)
    tifffile.imwrite(path, np.stack([np.full_like(second, 210), second]))
    assert count_grains(path, model=tiny_model).count < 20
    assert count_grains(path, page=1, model=tiny_model).count == 20
    with pytest.raises(ImageError, match="already read"):
        count_grains(read_micrograph(path), page=1, model=tiny_model)


def test_what_is_found_can_be_read_at_a_glance(drawn, tiny_model):
    analysis = count_grains(draw_grid(4, 5), um_per_pixel=0.5, model=tiny_model)
    shown = repr(analysis)
    assert shown.startswith("GrainAnalysis(20 grains, ") and f"G {analysis.grain_size.saltykov.G:.2f} (" in shown
    assert len(shown) < 250
    lines = repr(analysis.grain_size).splitlines()
    assert lines[0] == "GrainSize(1 field)" and len(lines) == 6 and all("G " in line for line in lines[1:])


def test_what_is_no_image_raises_an_image_error(tiny_model, tmp_path):
    (tmp_path / "notes.png").write_text("not an image")
    with pytest.raises(ImageError, match="notes.png"):
        count_grains(tmp_path / "notes.png", model=tiny_model)


@pytest.mark.parametrize(
    "setting",
    [
        {"method": "magic"},
        {"boundary_sensitivity": 2},
        {"min_grain_area": -5},
        {"min_grain_area": float("nan")},
        {"boundary_sensitivity": "0.5"},
        {"min_grain_area": "10"},
    ],
)
def test_settings_that_do_not_fit_are_refused_before_the_network_runs(grid, tiny_model, monkeypatch, setting):
    with pytest.raises(MeasurementError, match="expected"):
        grid.relabel(**setting)
    monkeypatch.setattr(analysis_module, "predict_at_canonical_scale", lambda *_: pytest.fail("the network ran"))
    with pytest.raises(MeasurementError, match="expected"):
        count_grains(draw_grid(2, 2), model=tiny_model, **setting)


def test_an_unknown_backend_is_refused(tiny_model):
    with pytest.raises(ModelError, match="abacus"):
        count_grains(draw_grid(2, 2), model=tiny_model, backend="abacus")


def test_the_real_network_runs_end_to_end(tiny_model):
    result = count_grains(draw_grid(2, 3), model=tiny_model)
    assert result.labels.shape == draw_grid(2, 3).shape
    assert result.probabilities.shape[1:] == result.labels.shape
    assert 0 <= result.probabilities.min() and result.probabilities.max() <= 1


@needs_weights
def test_embedded_weights_count_the_drawn_grains():
    result = count_grains(draw_grid(5, 6))
    assert result.weights["name"] == "embedded"
    assert abs(result.count - 30) <= 2


@needs_weights
def test_embedded_weights_separate_grains_that_components_merge():
    picture = draw_grid(5, 6)
    picture[15:28, 38:46] = 210  # a gap in the boundary between two grains
    separated = count_grains(picture)
    merged = separated.relabel(method="components")
    assert separated.count > merged.count
    assert separated.labels[20, 20] != separated.labels[20, 63] and merged.labels[20, 20] == merged.labels[20, 63] > 0


def test_settings_may_be_numbers_of_numpy(grid, tmp_path):
    grid.relabel(min_grain_area=np.int64(40), boundary_sensitivity=np.float32(0.5)).save(tmp_path)
    assert json.loads((tmp_path / "summary.json").read_text())["settings"]["min_grain_area"] == 40


def test_what_looks_like_a_picture_among_the_results_is_known():
    names = [*SAVED_FILES, *(name for name, _ in FORMATS.values())]
    assert {name for name in names if name.endswith(IMAGE_SUFFIXES)} == set(RESULT_PICTURES)


def test_a_changed_table_changes_nothing_else(grid):
    del grid.table["area"]
    assert "area" in grid.table
