"""The strip under pictures of electron microscopes, drawn in the styles of three makers."""

import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from grain_model import scale_suggestion
from grain_model.errors import GrainError
from grain_model.footer import find_footer, find_scale_bar
from grain_model.micrograph import read_micrograph
from grain_model.scale_suggestion import suggest_scale
from tests.drawn import draw_field, draw_sem

STYLES = ("FEI", "Zeiss", "JEOL")


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(("height", "width", "strip"), [(480, 640, 40), (768, 1024, 64), (943, 1024, 110)])
def test_strip_and_bar_are_found_to_the_pixel(style, height, width, strip):
    picture = draw_sem(style, height, width, strip, bar=width // 5)
    assert find_footer(picture) == height - strip
    bar = find_scale_bar(picture, height - strip)
    assert bar.length == width // 5
    assert height - strip < bar.row < height


@pytest.mark.parametrize("style", STYLES)
def test_jpeg_hides_neither(style):
    coded = cv2.imencode(".jpg", draw_sem(style), [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
    picture = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    assert abs(find_footer(picture) - 540) <= 1
    assert abs(find_scale_bar(picture, 540).length - 180) <= 2


@pytest.mark.parametrize("quality", [60, 40])
def test_a_frame_that_jpeg_blurs_does_not_hide_the_strip(quality):
    coded = cv2.imencode(".jpg", draw_sem("FEI"), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    assert abs(find_footer(cv2.imdecode(coded, cv2.IMREAD_COLOR)) - 540) <= 1


def test_a_picture_made_smaller_keeps_its_strip():
    picture = cv2.resize(draw_sem("FEI"), None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    assert abs(find_footer(picture) - 0.6 * 540) <= 1


def test_a_makers_mark_at_one_side_is_part_of_the_strip():
    picture = draw_sem("JEOL")
    picture[540:, :160] = 255
    assert find_footer(picture) == 540


@pytest.mark.parametrize("seed", range(6))
def test_an_even_layer_with_pores_is_no_strip(seed):
    """A coating or nitride layer below the grains: as even as a strip, and its pores as small as letters."""
    picture = draw_field(600, 900)
    picture[-90:] = 180
    for x, y in np.random.default_rng(seed).integers((5, 515), (895, 595), (60, 2)):
        cv2.circle(picture, (int(x), int(y)), 3, 30, -1)
    assert find_footer(np.repeat(picture[..., np.newaxis], 3, axis=2)) is None


def with_bottom(grey: int | np.ndarray, rows: int = 60) -> np.ndarray:
    picture = draw_field(600, 900)
    picture[-rows:] = grey
    return np.repeat(picture[..., np.newaxis], 3, axis=2)


def sloping_resin() -> np.ndarray:
    """The black mount below a specimen whose edge is not quite level, with dust on it."""
    picture = draw_field(600, 900)
    picture[np.arange(600)[:, np.newaxis] > 520 + np.arange(900) / 40] = 0
    for row, column in np.random.default_rng(1).integers((550, 10), (590, 890), (30, 2)):
        picture[row : row + 5, column : column + 4] = 220
    return np.repeat(picture[..., np.newaxis], 3, axis=2)


@pytest.mark.parametrize(
    "picture",
    [
        with_bottom(draw_field(60, 900)),
        with_bottom(0),
        with_bottom(255),
        sloping_resin(),
        np.zeros((600, 900, 3), np.uint8),
        np.repeat(draw_field(600, 900, levels=(0, 30))[..., np.newaxis], 3, axis=2),
        np.full((32, 32, 3), 7, np.uint8),
    ],
    ids="field black-border white-border resin constant dark tiny".split(),
)
def test_pictures_without_a_strip_keep_all_their_rows(picture):
    assert find_footer(picture) is None


def test_a_pale_field_with_dark_boundaries_has_no_strip():
    """White grains between thin dark lines look most like text on paper."""
    grains = draw_field(600, 900, seed=3)
    edges = cv2.morphologyEx(cv2.medianBlur(grains, 9), cv2.MORPH_GRADIENT, np.ones((3, 3))) > 12
    picture = np.where(edges, 40, 250).astype(np.uint8)
    assert find_footer(np.repeat(picture[..., np.newaxis], 3, axis=2)) is None


def test_a_strip_without_a_bar():
    picture = draw_sem("JEOL")
    picture[-18:-6] = 0
    assert find_footer(picture) == 540
    assert find_scale_bar(picture, 540) is None


def test_read_micrograph_tells_of_the_strip():
    micrograph = read_micrograph(draw_sem("Zeiss"))
    assert micrograph.footer_top == 540
    assert micrograph.field.shape == (540, 900, 3) and micrograph.pixels.shape == (600, 900, 3)
    assert micrograph.um_per_pixel is None
    plain = read_micrograph(draw_field(300, 400))
    assert plain.footer_top is None and plain.field.shape == (300, 400, 3)


@pytest.mark.parametrize(
    ("style", "text", "um"),
    [
        ("FEI", "10 µm", 10.0),
        ("Zeiss", "500 nm", 0.5),
        ("JEOL", "2.5µm", 2.5),
        *(
            pytest.param(style, text, um, marks=pytest.mark.slow)  # a second or two each
            for style in STYLES
            for text, um in (("5 µm", 5.0), ("200 nm", 0.2), ("7.5µm", 7.5), ("1 mm", 1000.0))
        ),
    ],
)
def test_the_printed_length_is_read_but_not_applied(style, text, um):
    micrograph = read_micrograph(draw_sem(style, text=text))
    suggestion = suggest_scale(micrograph)
    assert suggestion.um_per_pixel == pytest.approx(um / 180)
    assert suggestion.bar_px == 180
    assert suggestion.text.replace(" ", "") == text.replace(" ", "")
    assert 0.5 < suggestion.confidence <= 1
    assert micrograph.um_per_pixel is None


def test_no_suggestion_without_strip_bar_or_length():
    assert suggest_scale(read_micrograph(draw_field(300, 400))) is None
    assert suggest_scale(read_micrograph(draw_sem("Zeiss", text="bar"))) is None


@pytest.mark.parametrize(
    ("printed", "um"), [("10 um", 10), ("0,5 um", 0.5), ("1OO nm", 0.1), ("1,000 nm", None), ("no length", None)]
)
def test_a_comma_that_may_part_thousands_is_no_length(monkeypatch, printed, um):
    box = np.array([[660, 10], [800, 10], [800, 30], [660, 30]], float) * 200 / 60
    read = SimpleNamespace(boxes=[box], txts=[printed], scores=[0.9])
    monkeypatch.setattr(scale_suggestion, "_text_recognition", lambda: lambda picture: read)
    suggestion = suggest_scale(read_micrograph(draw_sem("JEOL")))
    assert suggestion is None if um is None else suggestion.um_per_pixel == pytest.approx(um / 180)


def test_text_recognition_is_an_extra(monkeypatch):
    scale_suggestion._text_recognition.cache_clear()
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    with pytest.raises(GrainError, match=r"grain_model\[ocr\]"):
        suggest_scale(read_micrograph(draw_sem("Zeiss")))
