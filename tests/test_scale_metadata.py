"""Scales as other programs write them, read back."""

import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from grain_model.errors import ScaleError
from grain_model.micrograph import read_micrograph
from grain_model.scale_metadata import in_um

FIELD = np.random.default_rng(0).integers(0, 255, (120, 160), dtype=np.uint8)

FEI_TEXT = (
    "[User]\r\nDate=01/02/2024\r\n[{section}]\r\nPixelWidth={x}\r\nPixelHeight={y}\r\n"
    "[Image]\r\nResolutionX=160\r\nResolutionY={rows}\r\n"
)
ZEISS_TEXT = (
    "1\r\n0\r\n0\r\n4.2e-08\r\nDP_MAG\r\nMag = 1.00 K X\r\nAP_PIXEL_SIZE\r\nPixel Size = 99 nm\r\n"
    "AP_IMAGE_PIXEL_SIZE\r\nImage Pixel Size = {size}\r\nAP_WD\r\nWD = 8.5 mm\r\n"
)
PHENOM_TEXT = (
    '<?xml version="1.0"?>\r\n<FeiImage xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
    '<databarHeight>64</databarHeight><pixelWidth unit="{unit}">{size}</pixelWidth>'
    '<pixelHeight unit="{unit}">{size}</pixelHeight></FeiImage>'
)
JEOL_TEXT = (
    "$CM_FORMAT JEOL-SEM\r\n$CM_MAG 1000\r\n$CM_FULL_SIZE 160 {rows}\r\n"
    "$$SM_MICRON_BAR {bar}\r\n$$SM_MICRON_MARKER {marker}\r\n"
)


def scale_of(path):
    micrograph = read_micrograph(path)
    assert micrograph.warnings == ()
    return micrograph.um_per_pixel, micrograph.scale_source


def with_text_tag(path, code, text):
    # Microscopes also write the 96 dpi of a screen, which must not win.
    options = {"resolution": (96, 96), "resolutionunit": "INCH", "metadata": None}
    tifffile.imwrite(path, FIELD, extratags=[(code, 2, 0, text.encode("cp1252"), True)], **options)
    return path


def with_phenom_text(path, text):
    if path.suffix == ".tif":
        return with_text_tag(path, 34683, text)
    Image.fromarray(FIELD).save(path, comment=text.encode())
    return path


@pytest.mark.parametrize(
    ("size", "unit", "um"), [(0.25, "µm", 0.25), (250, "nm", 0.25), (0.00025, "mm", 0.25), (2.5, "Å", 0.00025)]
)
def test_ome(tmp_path, size, unit, um):
    path = tmp_path / "field.ome.tif"
    metadata = {"axes": "YX", "PhysicalSizeX": size, "PhysicalSizeY": size}
    if unit != "µm":
        metadata |= {"PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}
    tifffile.imwrite(path, FIELD, ome=True, metadata=metadata)
    scale, source = scale_of(path)
    assert scale == pytest.approx(um) and source == "OME"


def test_ome_without_a_size(tmp_path):
    tifffile.imwrite(tmp_path / "field.ome.tif", FIELD, ome=True)
    assert scale_of(tmp_path / "field.ome.tif") == (None, None)


@pytest.mark.parametrize("sizes", [(0.5, 5.0), (0.5, None, 5.0)])
def test_ome_with_several_images(tmp_path, sizes):
    path = tmp_path / "fields.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as tiff:
        for size in sizes:
            axes = {"axes": "ZYX"} | ({"PhysicalSizeX": size, "PhysicalSizeY": size} if size else {})
            tiff.write(np.stack([FIELD, FIELD]), photometric="minisblack", metadata=axes)
    read = [read_micrograph(path, page=page).um_per_pixel for page in range(2 * len(sizes))]
    assert read == [size for size in sizes for _ in range(2)]


OME_IMAGE = '<Image><Pixels PhysicalSizeX="{size}">{planes}</Pixels></Image>'


@pytest.mark.parametrize(
    ("sizes", "planes", "um"),
    [
        # Images in other files of the set; the second is this file's.
        ((0.5, 5), ('<TiffData IFD="0"><UUID>a</UUID></TiffData>', '<TiffData IFD="0"><UUID>b</UUID></TiffData>'), 5),
        # Without any numbers all pages are meant, and nothing tells which image this is.
        ((0.5, 5), ("<TiffData/>", "<TiffData/>"), None),
        ((0.5, 0.5), ("", ""), 0.5),
        ((0.5, 5), ('<TiffData IFD="x"/>', ""), None),
    ],
)
def test_ome_that_tells_pages_in_other_ways(tmp_path, sizes, planes, um):
    images = "".join(OME_IMAGE.format(size=size, planes=held) for size, held in zip(sizes, planes, strict=True))
    tifffile.imwrite(tmp_path / "set.tif", FIELD, description=f'<OME UUID="b">{images}</OME>', metadata=None)
    assert read_micrograph(tmp_path / "set.tif").um_per_pixel == um


@pytest.mark.parametrize(
    ("unit", "um"), [("um", 0.4), ("micron", 0.4), ("\\u00B5m", 0.4), ("nm", 0.0004), ("mm", 400.0), ("pixel", None)]
)
def test_imagej(tmp_path, unit, um):
    path = tmp_path / "field.tif"
    tifffile.imwrite(path, FIELD, imagej=True, resolution=(2.5, 2.5), metadata={"unit": unit})
    scale, source = scale_of(path)
    assert scale == (None if um is None else pytest.approx(um)) and source == (None if um is None else "ImageJ")


@pytest.mark.parametrize(("unit", "per_unit"), [("inch", 72), ("cm", 28.346), ("cm", 300 / 2.54)])
def test_imagej_that_hands_on_a_printers_resolution(tmp_path, unit, per_unit):
    tifffile.imwrite(tmp_path / "a.tif", FIELD, imagej=True, resolution=(per_unit,) * 2, metadata={"unit": unit})
    assert scale_of(tmp_path / "a.tif") == (None, None)


def test_imagej_with_a_fine_scale_in_cm(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", FIELD, imagej=True, resolution=(25_000, 25_000), metadata={"unit": "cm"})
    assert scale_of(tmp_path / "a.tif") == (pytest.approx(0.4), "ImageJ")


@pytest.mark.parametrize(("code", "section"), [(34680, "Scan"), (34682, "Scan"), (34682, "EScan")])
def test_fei(tmp_path, code, section):
    text = FEI_TEXT.format(section=section, x="3.125e-008", y="3.125e-008", rows=120)
    scale, source = scale_of(with_text_tag(tmp_path / "fei.tif", code, text))
    assert scale == pytest.approx(0.03125) and source == "FEI"


def test_fei_states_where_its_strip_begins(tmp_path):
    text = FEI_TEXT.format(section="Scan", x="1e-7", y="1e-7", rows=110)
    assert read_micrograph(with_text_tag(tmp_path / "fei.tif", 34682, text)).footer_top == 110


@pytest.mark.parametrize(("size", "unit", "um"), [("0.694952", "um", 0.694952), ("26.75", "nm", 0.02675)])
@pytest.mark.parametrize("name", ["phenom.tif", "phenom.jpg"])
def test_phenom(tmp_path, name, size, unit, um):
    text = PHENOM_TEXT.format(size=size, unit=unit)
    path = with_phenom_text(tmp_path / name, text)
    assert scale_of(path) == (pytest.approx(um), "Phenom")


def test_phenom_without_a_length_that_is_known(tmp_path):
    for number, (told, text) in enumerate(
        [
            ("parsec", PHENOM_TEXT.format(size="1", unit="parsec")),
            ("mismatched tag", "<FeiImage><pixelWidth></FeiImage>"),
            (None, "<FeiImage><databarHeight>64</databarHeight></FeiImage>"),
            (None, "<FeiImage><pixelWidth unit='um'>1"),
        ]
    ):
        micrograph = read_micrograph(with_phenom_text(tmp_path / f"{number}.jpg", text))
        assert micrograph.um_per_pixel is None
        assert told in micrograph.warnings[0] if told else micrograph.warnings == ()


@pytest.mark.parametrize(("size", "um"), [("42.5 nm", 0.0425), ("1.25 µm", 1.25), ("2.791 pm", 2.791e-6)])
def test_zeiss(tmp_path, size, um):
    scale, source = scale_of(with_text_tag(tmp_path / "zeiss.tif", 34118, ZEISS_TEXT.format(size=size)))
    assert scale == pytest.approx(um) and source == "Zeiss"


@pytest.mark.parametrize(("side", "expected"), [(2.5e-7, (0.25, "Zeiss LSM")), (0.0, (None, None))])
def test_zeiss_lsm(tmp_path, side, expected):
    layout = np.dtype([(name, kind) for name, kind in tifffile.TIFF.CZ_LSMINFO])
    block = np.zeros(1, layout)
    block["MagicNumber"], block["StructureSize"] = 67127628, layout.itemsize
    block["VoxelSizeX"], block["VoxelSizeY"] = side, side
    tag = (34412, 7, layout.itemsize, block.tobytes(), True)
    with tifffile.TiffWriter(tmp_path / "field.lsm", byteorder="<") as file:
        file.write(FIELD, extratags=[tag], metadata=None)
        file.write(FIELD[::4, ::4], subfiletype=1, metadata=None)  # a thumbnail, as these files have
    assert scale_of(tmp_path / "field.lsm") == expected


def write_metamorph(path, side, unit, is_calibrated):
    text = unit.encode() + b"\0"
    values = struct.pack("<II", round(side * 1000), 1000) + struct.pack("<I", len(text)) + text
    numbers = (1, 2, 3, 4, 5, 6, 7, 8)
    tags = [(33628, 4, 8, numbers, True), (33629, 5, 3, (1, 1, 0, 0, 0, 0), True)]
    tifffile.imwrite(path, FIELD, extratags=tags, metadata=None, byteorder="<")
    content, end = path.read_bytes(), path.stat().st_size
    # Pairs of an id and a value, or a value's place in the file, here at its end: that there is a scale, its x and y
    # and their unit.
    written = struct.pack("<8I", 3, is_calibrated, 4, end, 5, end, 6, end + 8)
    content = content.replace(struct.pack("<8I", *numbers), written)
    # MetaMorph counts pairs in the first tag, and in the second planes, of which each has three fractions.
    for tag, kind, count, planes in ((33628, 4, 8, 4), (33629, 5, 3, 1)):
        content = content.replace(struct.pack("<HHI", tag, kind, count), struct.pack("<HHI", tag, kind, planes))
    path.write_bytes(content + values)
    return path


@pytest.mark.parametrize(
    ("unit", "is_calibrated", "expected"),
    [("um", 1, (0.645, "MetaMorph")), ("nm", 1, (0.000645, "MetaMorph")), ("um", 0, (None, None))],
)
def test_metamorph(tmp_path, unit, is_calibrated, expected):
    scale, source = scale_of(write_metamorph(tmp_path / "field.stk", 0.645, unit, is_calibrated))
    assert (scale and pytest.approx(scale), source) == expected


@pytest.mark.parametrize(("stated", "expected"), [("MPP = 0.2520", (0.252, "Aperio")), ("AppMag = 20", (None, None))])
def test_aperio(tmp_path, stated, expected):
    description = f"Aperio Image Library v11.2.1 |{stated}|Filename = 7"
    tifffile.imwrite(tmp_path / "field.svs", FIELD, description=description, metadata=None)
    assert scale_of(tmp_path / "field.svs") == expected


def write_olympus(path, x, y):
    # What Olympus' SIS software writes: a block of its own that points to the calibration, here at the file's end.
    block = struct.pack("<4s6xhhhhh6x32sHhhI", b"SIS0", 0, 0, 1, 0, 100, b"field", 1, 1, 1, 0)
    options = {"resolution": (96, 96), "resolutionunit": "INCH", "metadata": None}
    tifffile.imwrite(path, FIELD, extratags=[(33560, 7, len(block), block, True)], **options)
    content = path.read_bytes().replace(block, block[:-4] + struct.pack("<I", path.stat().st_size))
    path.write_bytes(content + struct.pack("<10xhdd8xd2x34s32s", -9, x, y, 500.0, b"DP27", b"RGB"))
    return path


def test_olympus(tmp_path):
    scale, source = scale_of(write_olympus(tmp_path / "olympus.tif", 129.5, 129.5))
    assert scale == pytest.approx(0.1295) and source == "Olympus"


def test_a_tag_of_olympus_that_points_to_nothing_says_nothing(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", FIELD, extratags=[(33560, "I", 1, 8, True)], metadata=None)
    assert scale_of(tmp_path / "a.tif") == (None, None)


def test_olympus_without_a_calibration(tmp_path):
    assert scale_of(write_olympus(tmp_path / "olympus.tif", 0.0, 0.0)) == (None, None)


@pytest.mark.parametrize("suffix", [".tif", ".jpg", ".bmp"])
@pytest.mark.parametrize(("bar", "marker", "um"), [(40, "10um", 0.25), (100, "500nm", 0.005), (50, "0.1mm", 2.0)])
def test_jeol_sidecar(tmp_path, suffix, bar, marker, um):
    Image.fromarray(FIELD).save(tmp_path / f"jeol{suffix}", dpi=(96, 96))
    (tmp_path / "jeol.txt").write_text(JEOL_TEXT.format(rows=110, bar=bar, marker=marker))
    micrograph = read_micrograph(tmp_path / f"jeol{suffix}")
    assert micrograph.um_per_pixel == pytest.approx(um) and micrograph.scale_source == "JEOL"
    assert micrograph.footer_top == 110


@pytest.mark.parametrize("size", [(80, 60), (80, 55), (320, 220), (159, 120)])
@pytest.mark.parametrize("maker", ["JEOL", "FEI"])
def test_a_resized_or_cut_picture_does_not_have_the_originals_scale(tmp_path, maker, size):
    path = tmp_path / "field.tif"
    fei = FEI_TEXT.format(section="Scan", x="2.5e-7", y="2.5e-7", rows=110).encode()
    tifffile.imwrite(
        path,
        np.resize(FIELD, size[::-1]),
        extratags=[(34682, 2, 0, fei, True)] if maker == "FEI" else (),
        metadata=None,
    )
    if maker == "JEOL":
        path.with_suffix(".txt").write_text(JEOL_TEXT.format(rows=110, bar=40, marker="10um"))
    micrograph = read_micrograph(path)
    assert (micrograph.um_per_pixel, micrograph.scale_source, micrograph.footer_top) == (None, None, None)
    (warning,) = micrograph.warnings
    assert f"0.25 um per pixel ({maker}) for a picture 160 px wide, and this one is {size[0]} px wide" in warning
    assert f"{0.25 * 160 / size[0]:.5g} if" in warning and "0.25 if" in warning
    assert read_micrograph(path, 0.9).um_per_pixel == 0.9
    assert "0.9 um per pixel is used, and is neither" in read_micrograph(path, 0.9).warnings[0]
    for right in (0.25, 0.25 * 160 / size[0]):
        assert read_micrograph(path, right).warnings == ()


@pytest.mark.parametrize(
    "text", ["Notes on this sample.", JEOL_TEXT.format(rows=110, bar=0, marker="10um"), "$$SM_MICRON_BAR 50", ""]
)
def test_other_text_files_are_no_sidecars(tmp_path, text):
    Image.fromarray(FIELD).save(tmp_path / "field.tif")
    (tmp_path / "field.txt").write_text(text)
    assert scale_of(tmp_path / "field.tif") == (None, None)


@pytest.mark.parametrize("dpi", [1, 72, 96, 100, 150, 200, 254, 300, 600, 1200, 2400, 4800])
def test_a_printers_resolution_is_no_scale(tmp_path, dpi):
    tifffile.imwrite(tmp_path / "inch.tif", FIELD, resolution=(dpi, dpi), resolutionunit="INCH")
    tifffile.imwrite(tmp_path / "cm.tif", FIELD, resolution=(dpi / 2.54,) * 2, resolutionunit="CENTIMETER")
    Image.fromarray(FIELD).save(tmp_path / "pil.tif", dpi=(dpi, dpi))
    Image.fromarray(FIELD).save(tmp_path / "pil.png", dpi=(dpi, dpi))
    for name in ("inch.tif", "cm.tif", "pil.tif", "pil.png"):
        assert scale_of(tmp_path / name) == (None, None)


@pytest.mark.parametrize(("unit", "per_um"), [("INCH", 25400), ("CENTIMETER", 10000)])
def test_a_microscopes_resolution_is_a_scale(tmp_path, unit, per_um):
    tifffile.imwrite(tmp_path / "fine.tif", FIELD, resolution=(per_um / 0.37,) * 2, resolutionunit=unit)
    scale, source = scale_of(tmp_path / "fine.tif")
    assert scale == pytest.approx(0.37, rel=1e-4) and source == "TIFF resolution"


def test_a_resolution_without_unit_is_no_scale(tmp_path):
    tifffile.imwrite(tmp_path / "none.tif", FIELD, resolution=(50000, 50000), resolutionunit="NONE")
    assert scale_of(tmp_path / "none.tif") == (None, None)


def test_a_given_scale_wins_and_contradiction_is_told(tmp_path):
    path = tmp_path / "field.ome.tif"
    tifffile.imwrite(path, FIELD, ome=True, metadata={"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5})
    agreeing = read_micrograph(path, 0.52)
    assert (agreeing.um_per_pixel, agreeing.scale_source, agreeing.warnings) == (0.52, "given", ())
    contradicting = read_micrograph(path, 0.53)
    assert (contradicting.um_per_pixel, contradicting.scale_source) == (0.53, "given")
    (warning,) = contradicting.warnings
    assert "0.53" in warning and "0.5 (OME)" in warning and "+6 %" in warning


def test_pixels_that_are_not_square(tmp_path):
    path = tmp_path / "field.ome.tif"
    tifffile.imwrite(path, FIELD, ome=True, metadata={"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.32})
    micrograph = read_micrograph(path)
    assert micrograph.um_per_pixel == pytest.approx(0.4)
    assert "not square: 0.5 x 0.32 um" in micrograph.warnings[0]
    given = read_micrograph(path, 0.4)
    assert "not square" in given.warnings[0] and len(given.warnings) == 1


def test_a_scale_can_be_changed_and_taken_back(tmp_path):
    path = tmp_path / "field.ome.tif"
    tifffile.imwrite(path, FIELD, ome=True, metadata={"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5})
    wrong = read_micrograph(path).with_scale(5)
    assert "+900 %" in wrong.warnings[0]
    mended = wrong.with_scale(0.5)
    assert (mended.um_per_pixel, mended.scale_source, mended.warnings) == (0.5, "given", ())
    own = wrong.with_scale(None)
    assert (own.um_per_pixel, own.scale_source, own.warnings) == (0.5, "OME", ())


@pytest.mark.parametrize("scale", [0, -1, float("nan"), float("inf"), "wide"])
def test_a_scale_has_to_be_a_positive_length(scale):
    with pytest.raises(ScaleError, match="positive"):
        read_micrograph(FIELD, scale)


def test_a_given_scale_without_another():
    micrograph = read_micrograph(FIELD, 0.25)
    assert (micrograph.um_per_pixel, micrograph.scale_source) == (0.25, "given")


@pytest.mark.parametrize(
    ("length", "unit", "um"),
    [(2, "nm", 0.002), ("3", "μm", 3), (1, "inch", 25400), (1, "pixel", None), (-1, "um", None)],
)
def test_units(length, unit, um):
    assert in_um(length, unit) == (None if um is None else pytest.approx(um))


@pytest.mark.parametrize(
    ("length", "unit", "um"),
    [
        (2, "micrometer", 2),
        (2, "Micrometres", 2),
        (300, "nanometers", 0.3),
        (1, "inches", 25400),
        ("0,5", "µm", 0.5),
        ("5,0e-07", "m", 0.5),
        (50, "\ufffdm", 50),
        (None, "um", None),
        (1, "", None),
    ],
)
def test_units_as_people_and_programs_write_them(length, unit, um):
    assert in_um(length, unit) == (None if um is None else pytest.approx(um))


@pytest.mark.parametrize(("length", "unit"), [(1, "furlong"), ("about 5", "um"), (5, "ms"), ("1,234", "nm")])
def test_a_length_that_is_not_understood_is_not_passed_over(length, unit):
    with pytest.raises(ValueError, match="is no length that is known"):
        in_um(length, unit)


def test_a_stated_scale_that_is_not_understood_is_told(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", FIELD, imagej=True, resolution=(2.5, 2.5), metadata={"unit": "furlong", "axes": "YX"}
    )
    micrograph = read_micrograph(tmp_path / "a.tif")
    assert micrograph.um_per_pixel is None
    assert "ImageJ: 0.4 'furlong' is no length that is known" in micrograph.warnings[0]
    tifffile.imwrite(tmp_path / "b.tif", FIELD, description="<OME><Pixels></OME>", metadata=None)
    assert "not understood (OME" in read_micrograph(tmp_path / "b.tif").warnings[0]


def test_what_is_not_understood_is_no_matter_where_a_scale_is_given_and_told_where_another_is_read(tmp_path):
    path = tmp_path / "a.tif"
    options = {"resolution": (50_800, 50_800), "metadata": {"unit": "furlong", "axes": "YX"}}
    tifffile.imwrite(path, FIELD, imagej=True, resolutionunit="INCH", **options)
    micrograph = read_micrograph(path)
    if micrograph.um_per_pixel is not None:
        assert "That of its TIFF resolution is used" in micrograph.warnings[0]
    assert read_micrograph(path, 0.5).warnings == () == micrograph.with_scale(0.5).warnings


def test_images_of_one_scale_and_other_widths_keep_it(tmp_path):
    pixels = '<Image><Pixels SizeX="{}" PhysicalSizeX="0.5" PhysicalSizeY="0.5"/></Image>'
    xml = f"<OME>{pixels.format(160)}{pixels.format(80)}</OME>"
    tifffile.imwrite(tmp_path / "a.ome.tif", FIELD, description=xml, metadata=None)
    assert scale_of(tmp_path / "a.ome.tif") == (0.5, "OME")


def test_a_picture_that_is_stored_lying_keeps_its_scale(tmp_path):
    xml = '<OME><Image><Pixels SizeX="160" PhysicalSizeX="0.5" PhysicalSizeY="0.5"/></Image></OME>'
    turned = [(274, 3, 1, 6, True)]
    tifffile.imwrite(tmp_path / "a.ome.tif", FIELD, description=xml, metadata=None, extratags=turned)
    assert read_micrograph(tmp_path / "a.ome.tif").pixels.shape[:2] == (160, 120)
    assert scale_of(tmp_path / "a.ome.tif") == (0.5, "OME")


def retyped(path, code, kind, value):
    """Writes another type and value into a tag whose value is stored in the tag itself."""
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        tag = tiff.pages.first.tags[code]
    struct.pack_into("<HI4s", data, tag.offset + 2, kind, 1, value)
    path.write_bytes(data)


@pytest.mark.parametrize(("kind", "value"), [(11, struct.pack("<f", 50_800)), (4, struct.pack("<I", 50_800))])
def test_a_resolution_of_another_type_is_read(tmp_path, kind, value):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, FIELD, resolution=(1, 1), resolutionunit="INCH", metadata=None)
    for code in (282, 283):
        retyped(path, code, kind, value)
    assert scale_of(path) == (pytest.approx(0.5), "TIFF resolution")


def test_a_resized_ome_or_zeiss_picture_does_not_have_the_originals_scale(tmp_path):
    ome = tmp_path / "field.ome.tif"
    metadata = {"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    tifffile.imwrite(ome, np.tile(FIELD, (1, 2)), ome=True, metadata=metadata)
    with tifffile.TiffFile(ome) as tiff:
        xml = tiff.ome_metadata
    tifffile.imwrite(tmp_path / "small.ome.tif", FIELD, description=xml, metadata=None)
    stored = "DP_IMAGE_STORE\r\nStore resolution = 320 * 240\r\n"
    zeiss = with_text_tag(tmp_path / "zeiss.tif", 34118, ZEISS_TEXT.format(size="500 nm") + stored)
    for path, source in ((tmp_path / "small.ome.tif", "OME"), (zeiss, "Zeiss")):
        micrograph = read_micrograph(path)
        assert micrograph.um_per_pixel is None
        assert f"0.5 um per pixel ({source}) for a picture 320 px wide" in micrograph.warnings[0]


@pytest.mark.parametrize(("columns", "um"), [(1024, 0.1), (2048, None)])
def test_the_pixel_of_zeiss_screen_is_that_of_a_picture_as_wide(tmp_path, columns, um):
    text = "0\r\nAP_PIXEL_SIZE\r\nPixel Size = 100 nm\r\nDP_IMAGE_STORE\r\nStore resolution = 2048 * 1536\r\n"
    picture = np.tile(FIELD, (1, 13))[:, :columns]
    tifffile.imwrite(tmp_path / "a.tif", picture, extratags=[(34118, 2, 0, text.encode(), True)], metadata=None)
    micrograph = read_micrograph(tmp_path / "a.tif")
    assert micrograph.um_per_pixel == (um and pytest.approx(um))
    assert um or "Right is 0.05 if all of it was resized" in micrograph.warnings[0]


@pytest.mark.parametrize("code, text", [(34118, ZEISS_TEXT), (34682, FEI_TEXT)])
def test_each_page_has_the_scale_that_its_maker_wrote_into_it(tmp_path, code, text):
    written = (text.format(size=f"{100 * n} nm", section="Scan", x=f"{n}e-7", y=f"{n}e-7", rows=120) for n in (1, 5))
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        for content in written:
            tiff.write(FIELD, extratags=[(code, 2, 0, content.encode("cp1252"), True)], metadata=None)
        tiff.write(FIELD, metadata=None)
    scales = [read_micrograph(tmp_path / "a.tif", page=page).um_per_pixel for page in range(3)]
    assert scales == pytest.approx([0.1, 0.5, 0.1])


@pytest.mark.parametrize("code, text", [(34118, ZEISS_TEXT), (34682, FEI_TEXT)])
def test_text_in_an_encoding_of_east_asia_hides_no_scale(tmp_path, code, text):
    content = (
        text.format(size="500 nm", section="Scan", x="5e-7", y="5e-7", rows=120) + "[User]\r\nUserText=試料番号\r\n"
    )
    extra = [(code, 2, 0, content.encode("cp932"), True)]
    tifffile.imwrite(tmp_path / "a.tif", FIELD, extratags=extra, metadata=None)
    assert scale_of(tmp_path / "a.tif")[0] == pytest.approx(0.5)


@pytest.mark.parametrize("dpi", [72, 96, 300])
@pytest.mark.parametrize("maker", ["OME", "ImageJ"])
def test_a_printers_resolution_is_no_scale_in_um_either(tmp_path, maker, dpi):
    um, path = 25_400 / dpi, tmp_path / "a.tif"
    if maker == "OME":
        tifffile.imwrite(path, FIELD, ome=True, metadata={"axes": "YX", "PhysicalSizeX": um, "PhysicalSizeY": um})
    else:
        tifffile.imwrite(path, FIELD, imagej=True, resolution=(1 / um,) * 2, metadata={"unit": "micron"})
    micrograph = read_micrograph(path)
    assert micrograph.um_per_pixel is None
    assert f"not understood ({maker}: {um:.5g} um are {dpi} dots per inch" in micrograph.warnings[0]


def test_a_pixel_of_a_metre_is_told(tmp_path):
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, FIELD, ome=True, metadata={"axes": "YX", "PhysicalSizeX": 1e6, "PhysicalSizeY": 1e6})
    assert "hardly a microscope's" in read_micrograph(path).warnings[0]
    assert "hardly" not in read_micrograph(path, 0.5).warnings[0]


@pytest.mark.parametrize(("text", "um"), [("Image Pixel Size = 0,5 µm", 0.5), ("Image Pixel Size = 5.0e-07 m", 0.5)])
def test_zeiss_in_other_notations(tmp_path, text, um):
    header = ZEISS_TEXT.format(size="500 nm").replace("Image Pixel Size = 500 nm", text)
    assert scale_of(with_text_tag(tmp_path / "a.tif", 34118, header)) == (pytest.approx(um), "Zeiss")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("blanks", ["", " ", "  "])
def test_jeol_with_an_empty_line_before_what_is_read(tmp_path, end, blanks):
    Image.fromarray(FIELD).save(tmp_path / "a.bmp")
    lines = ["$CM_TITLE" + blanks, "$CM_FULL_SIZE 320 240", "$$SM_FILM_NUMBER" + blanks, "$$SM_MICRON_BAR 100"]
    (tmp_path / "a.txt").write_bytes(end.join([*lines, "$$SM_MICRON_MARKER 50um", ""]).encode())
    micrograph = read_micrograph(tmp_path / "a.bmp")
    assert "0.5 um per pixel (JEOL) for a picture 320 px wide" in micrograph.warnings[0]


def test_jeol_in_the_encoding_of_windows(tmp_path):
    Image.fromarray(FIELD).save(tmp_path / "a.bmp")
    text = JEOL_TEXT.format(rows=120, bar=100, marker="50µm")
    for encoding in ("latin-1", "utf-8"):
        (tmp_path / "a.txt").write_bytes(text.encode(encoding))
        assert scale_of(tmp_path / "a.bmp") == (pytest.approx(0.5), "JEOL")


@pytest.mark.parametrize("suffix", [".tif", ".jpg", ".bmp"])
def test_hitachi_sidecar(tmp_path, suffix):
    Image.fromarray(FIELD).save(tmp_path / f"a{suffix}")
    text = "[SemImageFile]\r\nInstructName=SU5000\r\nDataSize=160x120\r\nPixelSize=496.0938\r\nMicronMarker=20000\r\n"
    for encoding in ("utf-8", "utf-16", "utf-16-le"):
        (tmp_path / "a.txt").write_bytes(text.encode(encoding))
        assert scale_of(tmp_path / f"a{suffix}") == (pytest.approx(0.4960938), "Hitachi")


@pytest.mark.parametrize("name", ["a.hdr", "a-png.hdr"])
def test_tescan_header(tmp_path, name):
    Image.fromarray(FIELD).save(tmp_path / "a.png")
    text = "[MAIN]\nDevice=VEGA3\nPixelSizeX=2.5e-007\nPixelSizeY=2.5e-007\n[SEM]\nHV=20000.0\n"
    (tmp_path / name).write_text(text)
    assert scale_of(tmp_path / "a.png") == (pytest.approx(0.25), "Tescan")
    Image.open(tmp_path / "a.png").save(tmp_path / "a.bmp")
    assert scale_of(tmp_path / "a.png") == (pytest.approx(0.25), "Tescan")
    Image.open(tmp_path / "a.png").reduce(2).save(tmp_path / "a.jpg")
    micrograph = read_micrograph(tmp_path / "a.png")
    assert micrograph.um_per_pixel is None and "pictures of several sizes share" in micrograph.warnings[0]
