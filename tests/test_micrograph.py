"""Reading files that other libraries wrote, and refusing what cannot be counted."""

import hashlib
import os
import struct
import sys
import warnings
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from grain_model import image_file
from grain_model.errors import ImageError
from grain_model.image_file import count_pages
from grain_model.micrograph import Micrograph, read_micrograph
from grain_model.pixels import to_rgb
from tests.drawn import draw_grid

RNG = np.random.default_rng(0)
RGB = np.repeat(np.repeat(RNG.integers(0, 256, (12, 16, 3), dtype=np.uint8), 8, axis=0), 8, axis=1)
GREY = RGB[..., 0].copy()
DEEP = GREY.astype(np.uint16) * 16 + 300
GREY_RGB = np.repeat(GREY[..., np.newaxis], 3, axis=2)


def write_tiff(path, pixels, **options):
    tifffile.imwrite(path, pixels, **options)
    return path


def save(path, image, **options):
    image.save(path, **options)
    return path


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.png", {}), ("a.bmp", {}), ("a.webp", {"lossless": True}), ("a.ppm", {}), ("a.tif", {}), ("misnamed.jpg", {})],
)
def test_lossless_files_keep_every_pixel(tmp_path, name, options):
    path = tmp_path / name
    Image.fromarray(RGB).save(path, format="PNG" if name == "misnamed.jpg" else None, **options)
    micrograph = read_micrograph(path)
    assert micrograph.pixels.dtype == np.uint8 and micrograph.name == name and micrograph.warnings == ()
    np.testing.assert_array_equal(micrograph.pixels, RGB)
    np.testing.assert_array_equal(read_micrograph(str(path)).pixels, RGB)


@pytest.mark.parametrize("name", ["a.jpg", "a.webp"])
def test_lossy_files(tmp_path, name):
    Image.fromarray(RGB).save(tmp_path / name, quality=95)
    difference = read_micrograph(tmp_path / name).pixels.astype(int) - RGB
    assert np.abs(difference).mean() < 12


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "lzw"},
        {"compression": "zlib", "predictor": True},
        {"compression": "zstd"},
        {"compression": "packbits"},
        {"tile": (32, 32), "compression": "deflate"},
        {"rowsperstrip": 7},
        {"bigtiff": True},
        {"byteorder": ">"},
        {"ome": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("pixels", [RGB, GREY], ids=["rgb", "grey"])
def test_tiff_storage(tmp_path, pixels, options):
    if pixels.ndim == 3:
        options = {"photometric": "rgb", **options}
    path = write_tiff(tmp_path / "a.tif", pixels, **options)
    np.testing.assert_array_equal(read_micrograph(path).pixels, RGB if pixels.ndim == 3 else GREY_RGB)


def test_tiff_with_a_plane_for_each_channel(tmp_path):
    path = write_tiff(tmp_path / "a.tif", RGB.transpose(2, 0, 1), photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read_micrograph(path).pixels, RGB)


def test_jpeg_inside_tiff(tmp_path):
    path = save(tmp_path / "a.tif", Image.fromarray(RGB), compression="jpeg", quality=95)
    assert np.abs(read_micrograph(path).pixels.astype(int) - RGB).mean() < 12


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.uint32, np.float32, np.float64])
def test_deep_tiff_is_scaled_by_its_own_range(tmp_path, dtype):
    path = write_tiff(tmp_path / "deep.tif", DEEP.astype(dtype))
    np.testing.assert_allclose(read_micrograph(path).pixels.astype(int), stretched(GREY), atol=1)


def test_deep_png(tmp_path):
    Image.fromarray(DEEP).save(tmp_path / "grey.png")
    np.testing.assert_allclose(read_micrograph(tmp_path / "grey.png").pixels.astype(int), stretched(GREY), atol=1)
    (tmp_path / "rgb.png").write_bytes(imagecodecs.png_encode(RGB.astype(np.uint16) * 8))
    read = read_micrograph(tmp_path / "rgb.png").pixels
    # Of 11 used bits the lower 8 alone hold the contrast: dropping them would leave eight grey levels.
    np.testing.assert_allclose(read.astype(int), stretched(RGB, channels=3), atol=1)


def stretched(grey: np.ndarray, channels: int = 1) -> np.ndarray:
    """Grey levels stretched to their 0.1st and 99.9th percentile, as integers (H, W, 3)."""
    low, high = np.percentile(grey, (0.1, 99.9))
    levels = np.clip((grey - low) / (high - low) * 255, 0, 255)
    return levels if channels == 3 else np.repeat(levels[..., np.newaxis], 3, axis=2)


def test_every_container_of_one_picture_reads_alike(tmp_path):
    for source in (RGB, Image.fromarray(RGB), RGB / 255, np.dstack([RGB, np.full(GREY.shape, 255, np.uint8)])):
        micrograph = read_micrograph(source)
        np.testing.assert_array_equal(micrograph.pixels, RGB)
        assert (micrograph.name, micrograph.um_per_pixel, micrograph.scale_source) == ("image", None, None)
    for grey in (GREY, GREY[..., np.newaxis], Image.fromarray(GREY)):
        np.testing.assert_array_equal(read_micrograph(grey).pixels, GREY_RGB)
    np.testing.assert_array_equal(read_micrograph(GREY > 100).pixels, np.where(GREY_RGB > 100, 255, 0))


def test_reading_does_not_change_or_share_the_callers_array():
    source = RGB.copy()
    read_micrograph(source)
    np.testing.assert_array_equal(source, RGB)


def test_palette_bilevel_and_cmyk(tmp_path):
    palette = Image.fromarray(RGB).quantize(64)
    expected = np.asarray(palette.convert("RGB"))
    for name in ("p.png", "p.tif", "p.gif", "p.bmp"):
        np.testing.assert_array_equal(read_micrograph(save(tmp_path / name, palette)).pixels, expected)
    bilevel = Image.fromarray(GREY > 100)
    for name in ("b.png", "b.tif"):
        read = read_micrograph(save(tmp_path / name, bilevel)).pixels
        np.testing.assert_array_equal(read, np.where(GREY_RGB > 100, 255, 0))
    cmyk = Image.fromarray(RGB).convert("CMYK")
    np.testing.assert_array_equal(read_micrograph(save(tmp_path / "c.tif", cmyk)).pixels, RGB)
    assert np.abs(read_micrograph(save(tmp_path / "c.jpg", cmyk, quality=95)).pixels.astype(int) - RGB).mean() < 15


def test_white_is_zero(tmp_path):
    path = write_tiff(tmp_path / "a.tif", 255 - GREY, photometric="miniswhite")
    np.testing.assert_array_equal(read_micrograph(path).pixels, GREY_RGB)


def test_transparent_pixels_lie_on_white_with_a_warning(tmp_path):
    alpha = np.full(GREY.shape, 255, np.uint8)
    alpha[:8, :8] = 0
    rgba, expected = np.dstack([RGB, alpha]), RGB.copy()
    expected[:8, :8] = 255
    grey_alpha = Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(alpha)])
    sources = [
        rgba,
        save(tmp_path / "a.png", Image.fromarray(rgba)),
        write_tiff(tmp_path / "a.tif", rgba, photometric="rgb", extrasamples=["unassalpha"]),
    ]
    for source in sources:
        micrograph = read_micrograph(source)
        np.testing.assert_array_equal(micrograph.pixels, expected)
        assert micrograph.warnings == ("The image has transparent pixels; they were laid on white.",)
    assert (read_micrograph(save(tmp_path / "la.png", grey_alpha)).pixels[:8, :8] == 255).all()


@pytest.mark.parametrize(("image", "clear"), [(Image.fromarray(GREY), 7), (Image.fromarray(RGB), (1, 2, 3))])
def test_a_level_or_colour_that_a_png_names_as_transparent_lies_on_white(tmp_path, image, clear):
    image = image.copy()
    image.paste(clear, (0, 0, 8, 8))
    micrograph = read_micrograph(save(tmp_path / "a.png", image, transparency=clear))
    assert (micrograph.pixels[:8, :8] == 255).all()
    assert micrograph.warnings == ("The image has transparent pixels; they were laid on white.",)


@pytest.mark.parametrize("value", [0, 1, 128, 255])
def test_an_alpha_channel_of_one_value_says_nothing(value):
    micrograph = read_micrograph(np.dstack([RGB, np.full(GREY.shape, value, np.uint8)]))
    np.testing.assert_array_equal(micrograph.pixels, RGB)
    assert not micrograph.warnings


def test_opacity_of_8_bit_pictures_in_wider_integers_is_that_of_8_bit():
    rgba = np.dstack([RGB, np.full(GREY.shape, 255, np.uint8)])
    assert np.ptp(read_micrograph(rgba.astype(np.int64)).pixels) > 200


def test_a_cube_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    cube = np.zeros((40, 40, 400), np.uint8)
    tifffile.imwrite(tmp_path / "cube.tif", cube, photometric="minisblack", planarconfig="contig", compression="zlib")
    monkeypatch.setattr(tifffile.TiffPage, "asarray", None)
    with pytest.raises(ImageError, match="Export the channels or slices"):
        read_micrograph(tmp_path / "cube.tif")


def test_further_channels_that_are_not_alpha_are_left_out(tmp_path):
    stacked = np.dstack([RGB, np.zeros_like(GREY)])
    path = write_tiff(tmp_path / "a.tif", stacked, photometric="rgb", extrasamples=["unspecified"])
    np.testing.assert_array_equal(read_micrograph(path).pixels, RGB)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_tags_turn_the_picture_upright(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.fromarray(RGB)
    upright = Image.open(save(tmp_path / "a.png", picture, exif=exif))
    expected = np.asarray(ImageOps.exif_transpose(upright))
    np.testing.assert_array_equal(read_micrograph(tmp_path / "a.png").pixels, expected)
    np.testing.assert_array_equal(read_micrograph(upright).pixels, expected)
    path = write_tiff(
        tmp_path / "a.tif", RGB, photometric="rgb", extratags=[(274, 3, 1, orientation, True)], metadata=None
    )
    np.testing.assert_array_equal(read_micrograph(path).pixels, expected)


def test_multi_page_tiff_reads_the_first_and_says_how_to_choose(tmp_path):
    path = write_tiff(tmp_path / "stack.tif", np.stack([GREY, 255 - GREY, GREY // 2]), photometric="minisblack")
    first = read_micrograph(path)
    np.testing.assert_array_equal(first.pixels, GREY_RGB)
    assert "3 pages" in first.warnings[0] and "page=N" in first.warnings[0]
    second = read_micrograph(path, page=1)
    np.testing.assert_array_equal(second.pixels, 255 - GREY_RGB)
    # Who chose a page knows of the others.
    assert second.warnings == () == read_micrograph(path, page=0).warnings
    assert (first.name, second.name) == ("stack.tif", "stack.tif, page 1")
    assert count_pages(path) == 3 and count_pages(tmp_path / "none.tif") == 1
    with pytest.raises(ImageError, match="no page 3"):
        read_micrograph(path, page=3)
    Image.fromarray(DEEP.astype(np.uint16)).save(tmp_path / "deep.png")
    for single in (tmp_path / "deep.png", GREY_RGB):
        with pytest.raises(ImageError, match="no page 1. The image has 1"):
            read_micrograph(single, page=1)


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_what_pillow_finds_large_is_read_without_its_warning(tmp_path, monkeypatch, depth):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", GREY.size - 1)
    path = tmp_path / "large.png"
    path.write_bytes(imagecodecs.png_encode(DEEP.astype(depth)))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert read_micrograph(path).pixels.shape == GREY_RGB.shape and count_pages(path) == 1
    assert not told


def test_a_name_that_looks_like_a_page_is_a_name(tmp_path):
    path = write_tiff(tmp_path / "scan, page 2.tif", GREY).rename(tmp_path / "scan, page 2")
    read = read_micrograph(path)
    assert (read.file, read.page, read.name, read.stem) == ("scan, page 2", 0, "scan, page 2", "scan, page 2")
    stack = write_tiff(tmp_path / "stack.tif", np.stack([GREY, GREY]), photometric="minisblack")
    assert read_micrograph(stack, page=1).stem == "stack-page1"


def test_what_a_camera_puts_beside_the_picture_is_no_page(tmp_path):
    path = tmp_path / "camera.jpg"
    picture = Image.fromarray(GREY_RGB)
    picture.save(path, format="MPO", save_all=True, append_images=[picture.resize((40, 40))])
    with Image.open(path) as opened:
        assert opened.format == "MPO" and opened.n_frames == 2
    assert count_pages(path) == 1 and read_micrograph(path).warnings == ()


def test_reduced_copies_are_not_pages(tmp_path):
    with tifffile.TiffWriter(tmp_path / "pyramid.tif") as tiff:
        tiff.write(RGB, photometric="rgb", metadata=None)
        tiff.write(RGB[::2, ::2], photometric="rgb", subfiletype=1, metadata=None)
    micrograph = read_micrograph(tmp_path / "pyramid.tif")
    assert micrograph.warnings == () and micrograph.pixels.shape == RGB.shape


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
def test_animations_give_their_first_frame(tmp_path, name):
    frames = [Image.fromarray(grey) for grey in (GREY, 255 - GREY)]
    options = {} if name == "a.gif" else {"lossless": True} if name == "a.webp" else {"default_image": False}
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **options)
    micrograph = read_micrograph(tmp_path / name)
    np.testing.assert_array_equal(micrograph.pixels, GREY_RGB)
    assert "2 frames" in micrograph.warnings[0]
    np.testing.assert_array_equal(read_micrograph(tmp_path / name, page=1).pixels, 255 - GREY_RGB)


def test_a_constant_picture_is_allowed():
    for constant in (np.full((40, 40), 9, np.uint8), np.full((40, 40), 9000, np.uint16), np.full((40, 40), 0.5)):
        assert len(np.unique(read_micrograph(constant).pixels)) == 1


def test_a_thin_but_long_picture_is_allowed(tmp_path):
    path = save(tmp_path / "long.png", Image.new("L", (40_000, 40), 90))
    assert read_micrograph(path).pixels.shape == (40, 40_000, 3)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def huge_tiff(path):
    """A TIFF of 40 000 x 40 000 px as a hole in a sparse file."""
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        tiff.write(np.zeros((64, 64), np.uint8), metadata=None)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        for tag in ("ImageWidth", "ImageLength"):
            tiff.pages[0].tags[tag].overwrite(40_000)
    return path


PNG = bytes(imagecodecs.png_encode(RGB))
DEEP_PNG = bytes(imagecodecs.png_encode(RGB.astype(np.uint16)))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.png", b"", "is empty"),
        ("text.png", b"This is a text, renamed.", "no image that can be read"),
        ("page.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no image that can be read"),
        ("doc.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n", "no image that can be read"),
        ("cut.png", PNG[: len(PNG) // 2], "damaged or cut off"),
        ("deep-cut.png", DEEP_PNG[: len(DEEP_PNG) // 2], "damaged or cut off"),
        ("header.png", PNG[:40], "damaged or cut off|no image that can be read"),
        ("noise.tif", b"II*\0" + bytes(range(256)), "damaged or cut off"),
        ("short.tif", b"II*\0", "damaged or cut off"),
        ("bomb.png", png_header(40_000, 40_000), "too many pixels|million pixels"),
        ("large.png", png_header(22_000, 20_000), "too many pixels|million pixels"),
        ("narrow.png", png_header(31, 4000), "31 px on its shorter side"),
        ("dot.png", png_header(1, 1), "At least 32 px"),
    ],
)
def test_bad_files(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError, match=words):
        read_micrograph(tmp_path / name)


@pytest.mark.parametrize("options", [{}, {"compression": "lzw"}, {"tile": (32, 32)}], ids=str)
def test_a_tiff_that_was_cut_off(tmp_path, options):
    path = write_tiff(tmp_path / "cut.tif", np.tile(RGB, (8, 8, 1)), photometric="rgb", **options)
    content = path.read_bytes()
    for part in (0.2, 0.5, 0.9):
        path.write_bytes(content[: int(part * len(content))])
        with pytest.raises(ImageError, match="damaged or cut off"):
            read_micrograph(path)


@pytest.mark.parametrize("compression", ["tiff_lzw", "jpeg"])
def test_a_compressed_tiff_without_the_package_that_unpacks_it(tmp_path, monkeypatch, compression):
    path = save(tmp_path / "a.tif", Image.fromarray(RGB), compression=compression)
    plain = save(tmp_path / "plain.tif", Image.fromarray(RGB))
    # tifffile looks for the package once, when it is imported.
    for name in [name for name in sys.modules if name.partition(".")[0] == "tifffile"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(ImageError, match="imagecodecs is missing.*`pip install imagecodecs`.*without compression"):
        read_micrograph(path)
    np.testing.assert_array_equal(read_micrograph(plain).pixels, RGB)


def test_a_tiff_that_claims_too_many_pixels(tmp_path):
    with pytest.raises(ImageError, match="1600 million pixels"):
        read_micrograph(huge_tiff(tmp_path / "huge.tif"))


PACKED = [{"compression": name, "rowsperstrip": 512} for name in ("jpeg", "jpeg2000", "png", "webp")]


@pytest.mark.parametrize("options", [*PACKED, {"tile": (512, 512)}], ids=str)
def test_a_tiff_that_unpacks_to_more_than_it_states(tmp_path, options):
    path = write_tiff(tmp_path / "bomb.tif", np.zeros((512, 512, 3), np.uint8), metadata=None, **options)
    assert read_micrograph(path, max_pixels=512 * 512).pixels.shape == (512, 512, 3)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        for tag in ("ImageWidth", "ImageLength"):
            tiff.pages[0].tags[tag].overwrite(64)
    with pytest.raises(ImageError, match="packed in pieces of 512 x 512 px"):
        read_micrograph(path, max_pixels=100_000)


def test_a_tiff_whose_tiles_are_deep(tmp_path):
    path = write_tiff(tmp_path / "deep.tif", GREY, tile=(128, 128), extratags=[(32999, 4, 1, 9, True)], metadata=None)
    depth = struct.Struct("<HHI")
    path.write_bytes(path.read_bytes().replace(depth.pack(32999, 4, 1), depth.pack(32998, 4, 1)))
    with pytest.raises(ImageError, match="packed in pieces"):
        read_micrograph(path, max_pixels=8 * 128 * 128)


def test_jpegs_in_a_tiff_of_12_bits_and_of_two_channels_and_without_a_piece(tmp_path):
    grey = np.tile(GREY, (2, 2))[:128, :128]
    for pixels, options in ((grey.astype(np.uint16) << 4, {"bitspersample": 12}), (np.dstack([grey, grey]), {})):
        packed = imagecodecs.jpeg_encode(pixels, level=95, **options)
        path = write_tiff(
            *(tmp_path / "a.tif", iter([packed, b""])),
            shape=(128, 256, *pixels.shape[2:]),
            dtype=pixels.dtype,
            compression="jpeg",
            tile=(128, 128),
            photometric="minisblack",
            extrasamples=[0] * (pixels.ndim - 2),
            metadata=None,
            **options,
        )
        assert read_micrograph(path).pixels.shape == (128, 256, 3)


def test_a_tiff_that_is_packed_without_a_bound(tmp_path):
    path = write_tiff(tmp_path / "a.tif", GREY, compression="jpegxl")
    with pytest.raises(ImageError, match="JPEGXL.*not unpacked here.*without compression"):
        read_micrograph(path)


def test_a_tiff_of_very_many_pages(tmp_path, monkeypatch):
    monkeypatch.setattr(image_file, "MAX_PAGES", 2)
    path = write_tiff(tmp_path / "stack.tif", np.stack([GREY] * 3), photometric="minisblack")
    with pytest.raises(ImageError, match="3 pages. At most 2"):
        read_micrograph(path)


@pytest.mark.parametrize(("name", "stem"), [("...png", "image"), ("..png", "image"), ("a.b.png", "a.b"), (".a", "a")])
def test_no_name_leads_out_of_the_folder_of_its_results(name, stem):
    assert Micrograph(RGB, file=name).stem == stem


def test_a_jpeg_that_was_cut_off(tmp_path):
    path = save(tmp_path / "cut.jpg", Image.fromarray(RGB))
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(ImageError, match="damaged or cut off"):
        read_micrograph(path)


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(ImageError, match="no file"):
        read_micrograph(tmp_path / "missing.png")
    with pytest.raises(ImageError, match="is a folder"):
        read_micrograph(tmp_path)


def test_a_file_of_no_pixels_but_a_valid_frame(tmp_path):
    (tmp_path / "hollow.png").write_bytes(png_header(64, 64))
    with pytest.raises(ImageError, match="damaged or cut off"):
        read_micrograph(tmp_path / "hollow.png")


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (np.full((40, 40), np.nan), "1600 of 1600 values are NaN"),
        (np.where(np.eye(40) > 0, np.inf, 0.5), "40 of 1600 values"),
        (np.zeros((1, 1), np.uint8), "1 px on its shorter side"),
        (np.zeros((31, 400), np.uint8), "31 px on its shorter side"),
        (np.zeros((0, 0), np.uint8), "no pixel"),
        (np.zeros((40, 40, 2), np.uint8), r"\(40, 40, 2\)"),
        (np.zeros((3, 40, 40), np.uint8), "its channels last"),
        (np.zeros((2, 40, 40, 3), np.uint8), "Pass one picture"),
        (np.zeros(40, np.uint8), r"\(40,\)"),
        (np.zeros((40, 40), complex), "complex128"),
        (np.full((40, 40), "a"), "Grey levels"),
        (np.broadcast_to(np.uint8(0), (40_000, 40_000)), "1600 million pixels"),
        (np.ma.masked_less(np.tile(np.arange(40, dtype=np.uint8), (40, 1)), 9), "masked in part"),
    ],
)
def test_bad_arrays(pixels, words):
    with pytest.raises(ImageError, match=words):
        read_micrograph(pixels)


@pytest.mark.parametrize("source", [None, 5, [[1, 2], [3, 4]], b"abc"])
def test_other_objects_are_refused(source):
    with pytest.raises(ImageError, match="path, a PIL image or a numpy array"):
        read_micrograph(source)


@pytest.mark.parametrize(
    "source, words",
    [
        ("https://example.com/steel.png", "the address 'https://example.com/steel.png'"),
        ("data:image/png;base64," + "A" * 9000, "the address 'data:image/png;base64,AAA"),
        ("A" * 9000, "'A{60}' is no path"),
    ],
)
def test_texts_that_are_no_paths_are_refused_in_short(source, words):
    with pytest.raises(ImageError, match=words) as raised:
        read_micrograph(source)
    assert len(str(raised.value)) < 250


@pytest.mark.parametrize("page", ["1", 1.0, True])
def test_a_page_is_a_whole_number(tmp_path, page):
    path = write_tiff(tmp_path / "stack.tif", np.stack([GREY, GREY]), photometric="minisblack")
    with pytest.raises(ImageError, match=f"The page is {page!r}"):
        read_micrograph(path, page=page)
    assert read_micrograph(path, page=np.int64(1)).page == 1


def test_a_micrograph_is_shown_without_its_pixels():
    assert repr(read_micrograph(GREY, 0.5)) == (
        f"Micrograph('image', {GREY.shape[1]} x {GREY.shape[0]} px, scale 0.5 µm per pixel (given))"
    )


def test_messages_have_three_sentences(tmp_path):
    """What was wrong, what is expected, how to put it right."""
    (tmp_path / "text.png").write_text("text")
    for source in (tmp_path, tmp_path / "missing.png", tmp_path / "text.png", np.zeros((2, 2)), None):
        with pytest.raises(ImageError) as raised:
            read_micrograph(source)
        assert str(raised.value).replace(os.fspath(tmp_path), "").count(". ") >= 2


def test_to_rgb_of_large_deep_pictures_goes_in_slices():
    deep = np.arange(5_000 * 1_000, dtype=np.float64).reshape(5_000, 1_000)
    levels = to_rgb(deep)
    assert levels.shape == (5_000, 1_000, 3) and levels[0, 0, 0] == 0 and levels[-1, -1, 0] == 255
    assert (np.diff(levels[..., 0].ravel().astype(int)) >= 0).all()


def test_all_channels_of_a_large_deep_picture_set_its_range():
    # Of these many values every third one would be looked at: those of one channel.
    deep = np.random.default_rng(1).integers(0, 1000, (2000, 2000, 3), dtype=np.uint16) * np.uint16([1, 20, 60])
    levels = to_rgb(deep)
    assert (levels == 255).mean(axis=(0, 1)).max() < 0.01 and levels[..., 0].max() < 10


def test_letters_as_bright_as_16_bits_can_be_do_not_darken_a_picture_of_12_bits():
    picture = np.random.default_rng(2).integers(0, 4096, (300, 300), dtype=np.uint16)
    with_strip = np.vstack([picture, np.zeros((40, 300), np.uint16)])
    with_strip[310:330, 20:200:7] = 65_535
    np.testing.assert_allclose(to_rgb(with_strip)[:300].astype(int), to_rgb(picture), atol=2)
    assert (to_rgb(with_strip)[310:330, 20:200:7] == 255).all()
    # Where half of the picture is that bright, it is the picture.
    assert to_rgb(np.where(picture > 1000, 65_535, picture).astype(np.uint16))[0].max() == 255


@pytest.mark.parametrize(
    ("dtype", "no_data", "low", "high"),
    [("float32", -9999, 0, 1), ("int16", -32_768, 100, 3000), ("uint16", 0, 20_000, 22_000), ("uint16", 65_535, 0, 50)],
)
def test_pixels_without_data_leave_the_others_half_of_the_grey_levels(dtype, no_data, low, high):
    picture = np.random.default_rng(2).uniform(low, high, (300, 300)).astype(dtype)
    picture[:60, :80] = no_data
    levels = to_rgb(picture)[60:]
    assert int(levels.max()) - int(levels.min()) >= 126


def test_few_bits_a_pixel_reach_from_black_to_white(tmp_path):
    levels = GREY // 16
    packed = levels[:, ::2] << 4 | levels[:, 1::2]
    write_tiff(tmp_path / "a.tif", packed, photometric="minisblack", metadata=None, software=False)
    data = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        tags = tiff.pages.first.tags
        width, bits, photometric = (tags[code].offset for code in (256, 258, 262))
    for white, expected in ((1, levels * 17), (0, 255 - levels * 17)):
        struct.pack_into("<HIHH", data, width + 2, 3, 1, GREY.shape[1], 0)
        struct.pack_into("<HIHH", data, bits + 2, 3, 1, 4, 0)
        struct.pack_into("<HIHH", data, photometric + 2, 3, 1, white, 0)
        (tmp_path / "b.tif").write_bytes(data)
        np.testing.assert_array_equal(read_micrograph(tmp_path / "b.tif").pixels[..., 0], expected)


def test_floats_where_white_is_zero(tmp_path):
    path = write_tiff(tmp_path / "a.tif", 1 - GREY.astype(np.float32) / 255, photometric="miniswhite")
    np.testing.assert_allclose(read_micrograph(path).pixels.astype(int), GREY_RGB, atol=1)


def test_a_palette_of_8_bits_a_colour(tmp_path):
    palette = np.stack([np.arange(256)] * 3).astype(np.uint16)
    path = write_tiff(tmp_path / "a.tif", GREY, photometric="palette", colormap=palette)
    np.testing.assert_array_equal(read_micrograph(path).pixels, GREY_RGB)


def test_lab_colours_are_refused(tmp_path):
    path = write_tiff(tmp_path / "a.tif", RGB, photometric="cielab")
    with pytest.raises(ImageError, match=r"CIE L\*a\*b\*"):
        read_micrograph(path)


def test_a_file_is_told_from_others_by_its_bytes(tmp_path):
    path = tmp_path / "steel.png"
    Image.fromarray(GREY).save(path)
    assert read_micrograph(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert read_micrograph(GREY).sha256 is None


@pytest.mark.parametrize("share", [0.5, 0.97])
def test_a_tiff_that_is_cut_off_inside_of_a_jpeg_is_refused(tmp_path, share):
    path = tmp_path / "steel.tif"
    tifffile.imwrite(path, draw_grid(6, 8), compression="jpeg", rowsperstrip=512)
    content = path.read_bytes()
    with tifffile.TiffFile(path) as tiff:
        (start,), (length,) = tiff.pages.first.dataoffsets, tiff.pages.first.databytecounts
    assert start + length == len(content)
    path.write_bytes(content[: start + int(share * length)])
    with pytest.raises(ImageError, match="damaged or cut off"):
        read_micrograph(path)


def test_planes_behind_one_page_are_told(tmp_path):
    path = tmp_path / "stack.tif"
    stack = {"imagej": True, "truncate": True, "photometric": "minisblack"}
    tifffile.imwrite(path, np.stack([GREY] * 5), **stack)
    assert "5 planes in one page; the first was read" in read_micrograph(path).warnings[0]
    tifffile.imwrite(path, GREY, **stack)
    assert read_micrograph(path).warnings == ()


def test_a_second_channel_of_grey_levels_is_told(tmp_path):
    path = tmp_path / "two.tif"
    tifffile.imwrite(path, np.dstack([GREY, GREY]), photometric="minisblack", planarconfig="contig")
    assert "two channels of grey levels" in read_micrograph(path).warnings[0]


def test_ycbcr_without_jpeg(tmp_path):
    path, rgb = tmp_path / "steel.tif", np.dstack([GREY, GREY[::-1], GREY[:, ::-1]])
    tifffile.imwrite(path, np.asarray(Image.fromarray(rgb).convert("YCbCr")), photometric="ycbcr")
    difference = np.abs(read_micrograph(path).pixels.astype(int) - rgb)
    assert difference.max() <= 3


def test_a_pil_image_that_cannot_be_decoded(tmp_path):
    path = tmp_path / "steel.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:1000])
    with Image.open(path) as image, pytest.raises(ImageError, match="PIL image cannot be decoded"):
        read_micrograph(image)


def test_a_name_that_is_as_long_as_can_be_has_no_texts_beside_it(tmp_path):
    path = tmp_path / ("x" * 251 + ".png")
    Image.fromarray(GREY).save(path)
    assert read_micrograph(path).warnings == ()


@pytest.mark.parametrize("compression", [None, "lzw"])
def test_a_tiff_that_states_too_large_counts_of_bytes_is_read(tmp_path, compression):
    path = tmp_path / "steel.tif"
    tifffile.imwrite(path, GREY, compression=compression)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tiff.pages.first.tags["StripByteCounts"].overwrite(2 * GREY.size)
    assert np.array_equal(read_micrograph(path).pixels[..., 0], GREY)


def test_a_picture_beyond_the_pages_of_a_tiff_is_told(tmp_path):
    """As in the raw files of cameras, whose first page is a small copy."""
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(np.zeros((60, 80), np.uint8), subifds=1, subfiletype=1, metadata=None)
        tiff.write(np.zeros((480, 640), np.uint8), metadata=None)
    micrograph = read_micrograph(tmp_path / "a.tif")
    assert micrograph.pixels.shape[:2] == (60, 80) and "reduced copies" in micrograph.warnings[0]


def test_a_frame_that_its_owner_chose_keeps_its_number(tmp_path):
    frames = [Image.fromarray(draw_grid(3, columns)) for columns in (3, 4, 5)]
    frames[0].save(tmp_path / "stack.tif", save_all=True, append_images=frames[1:])
    with Image.open(tmp_path / "stack.tif") as stack:
        stack.seek(1)
        micrograph = read_micrograph(stack)
    assert (micrograph.page, micrograph.stem) == (1, "stack-page1")
