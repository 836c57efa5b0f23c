"""The report says what was measured, in one file that needs nothing else."""

import dataclasses
import datetime
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.font_manager import fontManager

from grain_model import report_content, report_pdf
from grain_model.analysis import GrainAnalysis
from grain_model.errors import MeasurementError, ScaleError
from grain_model.failures import Failure
from grain_model.label_settings import LabelSettings
from grain_model.micrograph import Micrograph
from grain_model.report import write_report
from grain_model.report_content import compose_field, compose_report
from grain_model.report_pdf import PAGE
from tests.drawn import voronoi


def analyzed(
    seed: int,
    um_per_pixel: float | None = 0.5,
    grains: int = 90,
    name: str | None = None,
    footer_top: int | None = None,
    notes: tuple[str, ...] = (),
) -> GrainAnalysis:
    """An analysis of drawn grains, which lie above the strip if there is one."""
    labels = np.zeros((150, 200), np.int32)
    field = labels[:footer_top]
    if grains:
        field += voronoi(field.shape, grains, seed)
    pixels = np.repeat((labels % 9 * 20 + 60).astype(np.uint8)[..., None], 3, axis=2)
    return GrainAnalysis(
        Micrograph(pixels, um_per_pixel, file=name or f"field <{seed}>.png", footer_top=footer_top, notes=notes),
        labels,
        confidence=np.ones(grains, np.float32),
        maps=np.zeros((2, *field.shape), np.float32),
        settings=LabelSettings(min_grain_area=40 if seed == 2 else None),
        weights={"name": "embedded", "version": "0.1.0"},
    )


@pytest.fixture(scope="module", autouse=True)
def coarse_pictures():
    """What is tested is where the pictures go, not how sharp they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_content, "PICTURE_DPI", 50)
        yield


@pytest.fixture(scope="module")
def report():
    notes = ("the scale contradicts the file's by 7 %",)
    fields = [analyzed(0, notes=notes), analyzed(1), analyzed(2)]
    return compose_report(fields, specimen="A & B", operator="N. N.", date=datetime.date(2026, 1, 31))


def test_report_says_what_a_signature_needs(report):
    facts = dict(report.facts)
    assert facts["Specimen"] == "A & B" and facts["Operator"] == "N. N." and facts["Date"] == "2026-01-31"
    assert facts["Scale"] == "0.5 \N{MICRO SIGN}m per pixel (given)"
    assert "embedded" in facts["Weights"] and "grain_model" in facts["Software"]
    assert "270 in the fields" in facts["Grains"]
    assert re.match(r"ASTM grain size number G = \d+\.\d \(95 % interval \d+\.\d to \d+\.\d\)", report.headline)
    assert any("spread over 3 fields" in note for note in report.notes)
    assert len(report.rules) == 5
    assert "the scale contradicts the file's by 7 %" in report.fields[0].warnings


def test_what_makes_a_field_doubtful_stands_above_the_signature(report):
    assert "field <0>.png: the scale contradicts the file's by 7 %" in report.warnings
    alike = [analyzed(seed, notes=("The image has transparent pixels.",)) for seed in (0, 1)]
    assert "The image has transparent pixels." in compose_report(alike).warnings


def test_report_says_how_the_grains_of_every_field_were_found(report):
    found = dict(report.facts)["Grains found by"]
    assert "smallest grain 40 px\N{SUPERSCRIPT TWO}" in found and "smallest grain by the image's own grains" in found
    assert found.count("watershed, boundary sensitivity 0.5") == 2


def test_html_is_one_file(report, tmp_path):
    write_report(report, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"(src|href)=\"(?!data:)", page) and "http" not in page
    assert page.count("data:image/png;base64,") == 3 * 7
    assert "field &lt;0&gt;.png" in page and "A &amp; B" in page and "<0>" not in page
    for row in report.rules:
        assert row[3] in page


def test_pdf_has_a_page_and_more_a_field(report, tmp_path):
    pdfium = pytest.importorskip("pypdfium2")
    write_report(report, tmp_path / "report.pdf")
    document = pdfium.PdfDocument(tmp_path / "report.pdf")
    texts = [page.get_textpage().get_text_range() for page in document]
    document.close()
    assert len(texts) >= 4
    assert "ASTM grain size number" in texts[0] and "Signature" in texts[0] and "A & B" in texts[0]
    assert all(any(f"field <{seed}>.png" in text for text in texts[1:]) for seed in range(3))


def test_pdf_has_its_pictures_as_they_were_drawn(report, tmp_path):
    write_report(report, tmp_path / "r.pdf")
    embedded = {int(width) for width in re.findall(rb"/Width (\d+)", (tmp_path / "r.pdf").read_bytes())}
    drawn = {picture.pixels.shape[1] for field in report.fields for row in field.pictures for picture in row}
    assert embedded == drawn


def test_the_micrograph_stands_beside_its_grains(report, tmp_path):
    for field in report.fields:
        first, second = field.pictures[0]
        plain, marked = first.pixels, second.pixels
        assert first.caption == "Micrograph" and "Grains" in second.caption
        assert plain.shape == marked.shape and (plain != marked).any()
        # Nothing but the pixels and the scale bar, which ends below the middle.
        half = plain[: len(plain) // 2]
        assert (half == half[..., :1]).all()
        assert all(len({picture.pixels.shape[0] for picture in row}) == 1 for row in field.pictures[:2])
    write_report(report, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'alt="Micrograph"' in page and 'alt=""' not in page


def test_a_field_is_measured_without_the_strip_below_it():
    field = compose_field(analyzed(1, footer_top=120))
    assert dict(field.facts)["Field"].startswith("200 x 120 px, 100 x 60 ")


def test_fields_that_are_left_out_or_counted_twice_are_named():
    field = compose_field(analyzed(1))
    fields = [field, dataclasses.replace(field, counted=dataclasses.replace(field.counted, file="copy.tif"))]
    report = compose_report(fields, left_out=[Failure("in/cut.tif", "It is damaged.")])
    assert dict(report.facts)["Left out"] == "in/cut.tif: It is damaged."
    assert any("copy.tif are the same picture" in warning for warning in report.warnings)


def test_intercepts_are_reported_by_direction():
    notes = compose_report([analyzed(1)]).notes
    (told,) = [note for note in notes if note.startswith("Mean lineal intercept by direction")]
    assert all(f"at {degrees}\N{DEGREE SIGN}" in told for degrees in (0, 45, 90, 135)) and "times the shortest" in told


def test_no_scale_gives_no_number():
    report = compose_report([analyzed(1, None)])
    assert "No scale is known" in report.headline
    assert all(row[3] == "\N{EN DASH}" for row in report.rules)
    assert dict(report.facts)["Scale"] == "not known"


@pytest.mark.parametrize("ending", ["pdf", "html"])
def test_no_grains_is_said(tmp_path, ending):
    report = compose_report([analyzed(1, grains=0)])
    assert "No grains were found" in report.headline
    write_report(report, tmp_path / f"report.{ending}")
    assert (tmp_path / f"report.{ending}").stat().st_size > 1000


def test_long_warnings_and_names_stay_on_pages(tmp_path):
    pdfium = pytest.importorskip("pypdfium2")
    notes = tuple(f"warning {number}, " + "which goes on for a while, " * 6 for number in range(60))
    field = analyzed(2, name="a_very_long_name_" * 12 + ".png", notes=notes)
    write_report(compose_report([field]), tmp_path / "long.pdf")
    document = pdfium.PdfDocument(tmp_path / "long.pdf")
    text = "".join(page.get_textpage().get_text_range() for page in document)
    document.close()
    assert all(f"warning {number}," in text for number in range(60))


def lowest_and_rightmost(path: Path) -> tuple[float, float]:
    """Where the lowest and the rightmost letter of a PDF end, in inches from the lower left corner."""
    pdfium = pytest.importorskip("pypdfium2")
    document = pdfium.PdfDocument(path)
    boxes = [
        text.get_charbox(index)
        for text in (page.get_textpage() for page in document)
        for index in range(text.count_chars())
    ]
    document.close()
    return min(box[1] for box in boxes) / 72, max(box[2] for box in boxes) / 72


def test_the_names_of_hundreds_of_fields_stay_on_pages(tmp_path):
    field = compose_field(analyzed(1))
    counted = [dataclasses.replace(field.counted, file=f"specimen_A_field_{number:03}.tif") for number in range(300)]
    fields = [dataclasses.replace(field, counted=one, pictures=[]) for one in counted]
    report = compose_report(fields)
    # A few of the fields' own pages do.
    write_report(dataclasses.replace(report, fields=report.fields[:3]), tmp_path / "many.pdf")
    lowest, rightmost = lowest_and_rightmost(tmp_path / "many.pdf")
    assert lowest > 0.2 and rightmost < PAGE[0] - 0.3


@pytest.mark.filterwarnings("ignore:Glyph .* missing from font")
def test_signs_as_wide_as_two_letters_stay_on_pages(tmp_path):
    name = "\N{CJK UNIFIED IDEOGRAPH-8BD5}\N{CJK UNIFIED IDEOGRAPH-6837}" * 6
    field = compose_field(analyzed(1, name=name + ".tif"))
    report = compose_report([dataclasses.replace(field, pictures=[])] * 12, specimen=name * 4, title=name)
    write_report(report, tmp_path / "wide.pdf")
    assert lowest_and_rightmost(tmp_path / "wide.pdf")[1] < PAGE[0] - 0.3


def write_font(path: Path, family: str, character: str) -> None:
    """A font with a square for one character."""
    pen = TTGlyphPen(None)
    pen.moveTo((100, 0))
    for corner in ((100, 700), (800, 700), (800, 0)):
        pen.lineTo(corner)
    pen.closePath()
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder([".notdef", "square"])
    font.setupCharacterMap({ord(character): "square"})
    font.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "square": pen.glyph()})
    font.setupHorizontalMetrics({".notdef": (900, 0), "square": (900, 100)})
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": family, "styleName": "Regular"})
    font.setupOS2()
    font.setupPost()
    font.save(path)


def test_pdf_takes_what_its_font_lacks_from_an_installed_one(tmp_path, monkeypatch):
    pdfium = pytest.importorskip("pypdfium2")
    write_font(tmp_path / "font.ttf", "Font of the test", "\N{CJK UNIFIED IDEOGRAPH-8BD5}")
    monkeypatch.setattr(fontManager, "ttflist", list(fontManager.ttflist))
    fontManager.addfont(tmp_path / "font.ttf")
    monkeypatch.setattr(report_pdf, "EAST_ASIAN_FONTS", ("A font that is not installed", "Font of the test"))
    specimen = "no. 1 \N{CJK UNIFIED IDEOGRAPH-8BD5}"
    report = compose_report([analyzed(1)], specimen=specimen)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Glyph")
        write_report(report, tmp_path / "report.pdf")
    document = pdfium.PdfDocument(tmp_path / "report.pdf")
    assert specimen in document[0].get_textpage().get_text_range()
    document.close()


def test_mixed_scales_and_bad_names_are_refused(report, tmp_path):
    with pytest.raises(ScaleError, match="have no scale"):
        compose_report([analyzed(1), analyzed(2, None)])
    with pytest.raises(MeasurementError, match="There is no field"):
        compose_report([])
    with pytest.raises(MeasurementError, match=r"neither \.pdf nor \.html"):
        write_report(report, tmp_path / "report.docx")
