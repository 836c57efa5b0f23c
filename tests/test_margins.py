"""Blank margins: found to the pixel, and neither counted nor measured."""

import json

import cv2
import numpy as np
import pytest

from grain_model import analysis as analysis_module
from grain_model.correction import Edit
from grain_model.counting import count_grains
from grain_model.errors import CorrectionError
from grain_model.export import export_grains
from grain_model.image_file import MIN_SIDE
from grain_model.label_image import has_other_label
from grain_model.margins import Margins, find_margins, find_surround
from grain_model.micrograph import read_micrograph
from grain_model.report_content import compose_report
from tests.drawn import draw_grid, draw_sem, predict_drawn, squares

PICTURE = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)


def framed(picture: np.ndarray, margins: Margins, colour: int = 255) -> np.ndarray:
    widths = ((margins.top, margins.bottom), (margins.left, margins.right)) + ((0, 0),) * (picture.ndim - 2)
    return np.pad(picture, widths, constant_values=colour)


def drawn_powder() -> np.ndarray:
    """Particles of 20 px on a white background, none of them near the picture's edge."""
    picture = np.full((300, 400, 3), 255, np.uint8)
    for x, y in np.random.default_rng(0).integers((60, 60), (340, 240), (60, 2)).tolist():
        cv2.circle(picture, (x, y), 10, (90, 90, 90), -1)
    return picture


@pytest.mark.parametrize("colour", [0, 128, 240, 255])
@pytest.mark.parametrize(
    "margins", [Margins(), Margins(30, 30), Margins(left=40, right=9), Margins(100, 20, 5, 60), Margins(bottom=300)]
)
def test_margins_are_found_to_the_pixel(margins, colour):
    # A grey one that does not go all around may be a flat grain.
    expected = Margins() if colour == 128 and not all(margins) else margins
    assert find_margins(framed(PICTURE, margins, colour), MIN_SIDE) == expected


@pytest.mark.parametrize("greys", [(90, 200, 120, 230, 60, 180), (255, 120, 20, 230, 60, 180)])
def test_bands_of_the_specimen_are_no_margins(greys):
    noise = np.random.default_rng(0).normal(0, 1.5, (480, 640))
    bands = (np.repeat(greys, 80)[:, None] + noise).clip(0, 255).astype(np.uint8)
    white = 80 if greys[0] == 255 else 0
    assert find_margins(np.dstack([bands] * 3), MIN_SIDE) == Margins(top=white)


def test_a_frame_inside_a_margin_of_another_colour_is_part_of_it():
    margins = find_margins(framed(framed(PICTURE, Margins(8, 8, 8, 8), 0), Margins(20, 20), 255), MIN_SIDE)
    assert margins == (28, 28, 8, 8)


def test_jpeg_hides_no_margin():
    picture = framed(cv2.GaussianBlur(PICTURE, (0, 0), 2), Margins(40, 40, 40, 40))
    picture = cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 70])[1], cv2.IMREAD_COLOR)
    assert all(abs(width - 40) <= 8 for width in find_margins(picture, MIN_SIDE))


@pytest.mark.parametrize(
    "picture",
    [
        framed(PICTURE, Margins(2, 1, 1, 2)),
        np.full((200, 200, 3), 255, np.uint8),
        framed(PICTURE[:20, :20], Margins(40, 40, 40, 40)),
        cv2.line(np.full((200, 200, 3), 255, np.uint8), (100, 0), (90, 199), (0, 0, 0), 2),
        drawn_powder(),
    ],
    ids=["a pixel or two", "nothing but one colour", "too little left", "a bright bicrystal", "powder on white film"],
)
def test_no_margins(picture):
    assert find_margins(picture, MIN_SIDE) == Margins()


def in_an_eyepiece(colour: int) -> np.ndarray:
    """A round field of radius 140 px in the middle of a picture of 300 x 400 px."""
    field = np.random.default_rng(0).integers(30, 226, (300, 400, 3), np.uint8)
    disc = cv2.circle(np.zeros((300, 400), np.uint8), (200, 150), 140, 1, -1)
    return np.where(disc[..., np.newaxis] > 0, field, np.uint8(colour))


def turned(colour: int) -> np.ndarray:
    """A field of 200 x 300 px, turned by 10 degrees in a picture of 300 x 400 px."""
    field = np.random.default_rng(0).integers(30, 226, (200, 300, 3), np.uint8)
    turn = cv2.getRotationMatrix2D((149.5, 99.5), 10, 1)
    turn[:, 2] += (50, 50)
    return cv2.warpAffine(field, turn, (400, 300), flags=cv2.INTER_NEAREST, borderValue=(colour,) * 3)


@pytest.mark.parametrize("colour", [0, 255])
@pytest.mark.parametrize("draw", [in_an_eyepiece, turned])
def test_the_largest_rectangle_of_a_field_that_is_none_is_counted(draw, colour):
    picture = draw(colour)
    margins = find_surround(picture, MIN_SIDE)
    height, width = 300 - margins.top - margins.bottom, 400 - margins.left - margins.right
    # Of a disc it is a square of the radius times the root of 2.
    assert not (draw is in_an_eyepiece and max(abs(height - 198), abs(width - 198)) > 8)
    assert height * width > 0.6 * (picture != colour).all(axis=2).sum()
    blank = (read_micrograph(picture).field == colour).all(axis=2)
    assert not blank.any() and not any(find_margins(picture, MIN_SIDE))
    assert read_micrograph(picture).notes == (
        "The field is no upright rectangle: only the largest one in it is counted.",
    )


def test_letters_on_a_surround_do_not_hide_it():
    picture = in_an_eyepiece(0)
    cv2.putText(picture, "50 um", (5, 290), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1)
    assert find_surround(picture, MIN_SIDE) == find_surround(in_an_eyepiece(0), MIN_SIDE)


@pytest.mark.parametrize("colour", [0, 255])
def test_grains_at_the_corners_are_no_surround(colour):
    """Overexposed grains between black lines, or black ones between white lines, as in a thresholded picture."""
    ids = squares(6, 8, 50)
    picture = np.where(has_other_label(ids, np.ones((3, 3), np.uint8)), 255 - colour, colour).astype(np.uint8)
    picture = np.repeat(picture[..., np.newaxis], 3, axis=2)
    assert find_surround(picture, MIN_SIDE) == find_surround(picture[:, 10:], MIN_SIDE) == Margins()


def test_margins_change_neither_count_nor_sizes_only_places(sees_drawings, tiny_model):
    plain = count_grains(draw_grid(4, 5), 0.5, tiny_model)
    whole = framed(draw_grid(4, 5), Margins(30, 12, 50, 0))
    result = count_grains(whole, 0.5, tiny_model)
    assert result.labels.shape == whole.shape
    assert np.array_equal(result.field_labels, plain.labels) and result.mask.sum() == plain.mask.sum()
    assert result.grain_size.saltykov == plain.grain_size.saltykov
    assert result.warnings == ("Margins are not counted: 30 px top, 12 px bottom, 50 px left.",)
    moved = {"centroid-0": 30, "bbox-0": 30, "bbox-2": 30, "centroid-0_um": 15}
    moved |= {"centroid-1": 50, "bbox-1": 50, "bbox-3": 50, "centroid-1_um": 25}
    for name in plain.table:
        assert np.allclose(result.table[name], plain.table[name] + moved.get(name, 0)), name
    assert read_micrograph(whole).field.shape[:2] == draw_grid(4, 5).shape
    assert result.summary()["field"] == {"top": 30, "left": 50, "height": 169, "width": 212}
    assert np.array_equal(result.relabel().labels, result.labels)


def test_maps_of_a_reduced_look_give_labels_at_the_field_s_size(monkeypatch, tiny_model):
    monkeypatch.setattr(
        analysis_module,
        "predict_at_canonical_scale",
        lambda model, image, **options: predict_drawn(
            model, cv2.resize(image.transpose(1, 2, 0), None, fx=0.5, fy=0.5).transpose(2, 0, 1)
        ),
    )
    whole = framed(draw_grid(4, 5, 80), Margins(30, 12, 50, 0))
    result = count_grains(whole, model=tiny_model)
    assert result.maps.shape[1:] == (164, 206) and result.probabilities.shape[1:] == (329, 412)
    assert result.labels.shape == whole.shape and result.count == 20
    assert np.median(result.table["area"]) == pytest.approx(80**2, rel=0.05)
    corrected = result.correct([Edit("delete", ((90, 70),))])
    assert corrected.count == 19 and np.array_equal(result.relabel().labels, result.labels)


def test_exports_and_report_hold_the_grains_in_their_places(sees_drawings, tiny_model, tmp_path):
    result = count_grains(framed(draw_grid(4, 5), Margins(30, 12, 50, 9)), 0.5, tiny_model)
    coco = json.loads(export_grains(result, tmp_path, ["coco"])["coco"].read_text())
    assert coco["info"]["field"] == result.field_box
    for row, annotation in zip(result.table.itertuples(), coco["annotations"], strict=True):
        left, top, width, height = annotation["bbox"]
        grain = result.labels == row.label
        assert annotation["area"] == grain.sum() == grain[top : top + height, left : left + width].sum()
    assert "212 x 169 px" in dict(compose_report([result]).fields[0].facts)["Field"]


def test_the_strip_of_a_microscope_is_found_on_a_white_page():
    picture = draw_sem("FEI")
    micrograph = read_micrograph(framed(picture, Margins(40, 40, 40, 40)))
    assert micrograph.footer_top == 580
    assert np.array_equal(micrograph.field, picture[:540])


def test_corrections_count_from_the_corner_of_the_whole_picture(sees_drawings, tiny_model):
    result = count_grains(framed(draw_grid(4, 5), Margins(30, 12, 50, 0)), model=tiny_model)
    corrected = result.correct([Edit("delete", ((50 + 20, 30 + 20),))])
    assert corrected.count == 19 and not corrected.labels[30:70, 50:90].any()
    cut = result.correct([Edit("split", ((50, 50), (90, 50)))])
    assert cut.count == 21 and cut.labels[40, 70] != cut.labels[60, 70] != 0
    with pytest.raises(CorrectionError, match=r"\(20, 20\) lies outside the counted field.* \(50, 30\) to "):
        result.correct([Edit("delete", ((20, 20),))])
