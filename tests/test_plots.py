"""The figures show what the table and the grain size say."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar
from skimage.segmentation import relabel_sequential

from grain_model.grain_size import grain_size
from grain_model.measurement import measure_grains
from grain_model.plots import (
    figure_to_array,
    in_style,
    plot_cumulative,
    plot_marked_grains,
    plot_micrograph,
    plot_orientation_rose,
    plot_size_distribution,
    plot_test_lines,
)
from tests.drawn import voronoi


@pytest.fixture(scope="module")
def labels():
    return voronoi((240, 320), 120)


@pytest.fixture(scope="module")
def pixels(labels):
    return np.repeat((labels % 7 * 20 + 80).astype(np.uint8)[..., None], 3, axis=2)


def test_distribution_sums_to_one_hundred(labels):
    axes = plot_size_distribution(measure_grains(labels, 0.5)).axes[0]
    filled, _, by_area = axes.patches
    assert filled.get_data().values.sum() == pytest.approx(100)
    assert by_area.get_data().values.sum() == pytest.approx(100)
    assert "\N{MICRO SIGN}m" in axes.get_xlabel()
    assert "px" in plot_size_distribution(measure_grains(labels)).axes[0].get_xlabel()


def test_cumulative_ends_at_one_hundred_and_marks_the_median(labels):
    table = measure_grains(labels)
    axes = plot_cumulative(table).axes[0]
    steps = axes.lines[0]
    assert steps.get_ydata()[-1] == pytest.approx(100)
    median = np.median(table.loc[~table["touches_edge"], "equivalent_diameter_area"])
    assert axes.lines[1].get_xdata()[0] == pytest.approx(median, rel=0.02)


def test_rose_points_along_the_grains():
    rows, columns = np.indices((200, 200))
    labels = np.zeros((200, 200), np.int32)
    for number, (row, column) in enumerate([(50, 50), (50, 140), (140, 60), (140, 140)], start=1):
        along, across = (columns - column) - (rows - row), (columns - column) + (rows - row)
        labels[(along / 45) ** 2 + (across / 15) ** 2 <= 1] = number  # rising to the right: 45 degrees
    axes = plot_orientation_rose(measure_grains(labels)).axes[0]
    tallest = max(axes.patches, key=lambda bar: bar.get_height())
    assert abs(np.degrees(tallest.get_x() + tallest.get_width() / 2) % 180 - 45) <= 5
    assert tallest.get_height() == pytest.approx(100)


def test_ala_grain_is_framed_and_named(labels, pixels):
    large = labels.copy()
    large[80:170, 100:200] = labels.max() + 1
    large = relabel_sequential(large)[0]
    result = grain_size(large, 0.5)
    figure = plot_marked_grains(pixels, large, result.ala, 0.5)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert any(text.startswith(("as-large-as", "largest")) and f"G {result.ala.G:.1f}" in text for text in texts)
    plain = figure_to_array(plot_marked_grains(pixels, large, None, 0.5))
    marked = figure_to_array(figure)
    assert plain.shape == marked.shape
    assert (plain != marked).any()


@pytest.mark.parametrize("left", [0, 150, 300])
def test_the_name_of_a_grain_at_the_edge_is_not_cut_off(labels, pixels, left):
    large = labels.copy()
    large[80:170, left : left + 20] = labels.max() + 1
    large = relabel_sequential(large)[0]
    ala = replace(grain_size(large, 0.5).ala, label=int(large[100, left]), touches_edge=True)
    figure = plot_marked_grains(pixels, large, ala, 0.5)
    figure.canvas.draw()
    axes = figure.axes[0]
    frame = axes.get_window_extent()
    text = next(text for text in axes.texts if "cut by the edge" in text.get_text()).get_window_extent()
    assert frame.x0 <= text.x0 and text.x1 <= frame.x1


def test_visitors_who_draw_at_once_keep_to_their_styles():
    before = dict(matplotlib.rcParams)

    def draw(size):
        with in_style({"font.size": size}):
            time.sleep(0.01)
            return matplotlib.rcParams["font.size"]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(draw, range(5, 13))) == list(range(5, 13))
    assert dict(matplotlib.rcParams) == before


def test_every_crossing_is_drawn(labels, pixels):
    result = grain_size(labels, 0.5)
    for rule in ("heyn", "abrams"):
        counted = result.test_lines[rule]
        axes = plot_test_lines(pixels, counted).axes[0]
        drawn = sum(len(line.get_xdata()) for line in axes.lines if line.get_marker() == ".")
        assert drawn == sum(len(line.crossings) for line in counted) > 40


def scale_bar(figure: Figure) -> AnchoredSizeBar:
    (bar,) = (artist for artist in figure.axes[0].artists if isinstance(artist, AnchoredSizeBar))
    return bar


def test_scale_bar_has_a_round_length(labels, pixels):
    bar = scale_bar(plot_marked_grains(pixels, labels, um_per_pixel=0.37))
    assert bar.txt_label.get_text() == "20 \N{MICRO SIGN}m"
    assert bar.size_bar.get_children()[0].get_width() == pytest.approx(20 / 0.37)


@pytest.mark.parametrize("width", [1388, 1392, 2592, 5184])
@pytest.mark.parametrize("field", [50, 500, 5000])
def test_scale_bar_of_a_field_of_round_width(width, field):
    figure = plot_micrograph(np.zeros((60, width, 3), np.uint8), field / width)
    assert scale_bar(figure).txt_label.get_text() == f"{field / 5:g} \N{MICRO SIGN}m"


def test_the_same_median_is_told_with_both_distributions(labels):
    table = measure_grains(labels)
    table.loc[table["label"] % 3 > 0, "equivalent_diameter_area"] = 5.0
    table["touches_edge"] = False
    (legend,) = (child for child in plot_size_distribution(table).axes[0].get_children() if isinstance(child, Legend))
    assert "median 5 px" in legend.get_title().get_text()


@pytest.mark.parametrize("plot", [plot_size_distribution, plot_cumulative, plot_orientation_rose])
@pytest.mark.parametrize("grains", [0, 1, 2])
def test_too_few_grains_still_give_a_picture(plot, grains):
    labels = np.zeros((40, 60), np.int32)
    for number in range(grains):
        labels[10:20, 10 + 20 * number : 20 + 20 * number] = number + 1
    picture = figure_to_array(plot(measure_grains(labels)), dpi=50)
    assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.min() < 200
