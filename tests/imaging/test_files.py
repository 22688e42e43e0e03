"""Reading and writing are tested together: what goes out is what came in."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from conftest import made_photograph
from imaging.test_exif import camera_exif
from isr_pipeline.imaging.decode import UnusablePictureError
from isr_pipeline.imaging.encode import (
    SUFFIXES,
    UnwritableError,
    fitted,
    held,
    open_writer,
    turned,
)
from isr_pipeline.imaging.exif import orientation_of
from isr_pipeline.imaging.files import Extras, read_header, read_picture, srgb_profile

RGB = made_photograph(37, 53, seed=4)


def samples(channels, kind):
    """Samples of every channel count and depth, in which all bits are used."""
    values = np.random.default_rng(channels).integers(0, np.iinfo(kind).max + 1, (37, 53, channels))
    return values.astype(kind)


def written(values, file_format, folder, extras=None, band=10):
    path = folder / f"x{SUFFIXES[file_format][0]}"
    height, width, channels = values.shape
    depth = values.dtype.itemsize
    writer = open_writer(path, file_format, (width, height), channels, depth, extras or Extras())
    for first in range(0, height, band):
        writer.write(values[first : first + band])
    writer.close()
    return path.read_bytes()


def png(width, height, depth, colour, rows, *chunks):
    """A PNG file made by hand: kinds that Pillow cannot write."""

    def chunk(kind, content):
        check = struct.pack(">L", zlib.crc32(kind + content))
        return struct.pack(">L", len(content)) + kind + content + check

    header = chunk(b"IHDR", struct.pack(">LLBBBBB", width, height, depth, colour, 0, 0, 0))
    picture = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    middle = b"".join(chunk(*c) for c in chunks)
    return b"\x89PNG\r\n\x1a\n" + header + middle + picture + chunk(b"IEND", b"")


def encoded(image, file_format, **options):
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_png_and_tiff_hold_every_kind(channels, kind, file_format, tmp_path):
    values = samples(channels, kind)
    values = fitted(values, *held(file_format, channels, values.dtype.itemsize))
    channels = values.shape[2]
    data = written(values, file_format, tmp_path)
    header = read_header(data)
    assert (header.width, header.height) == (53, 37)
    assert (header.channels, header.depth) == (channels, values.dtype.itemsize)
    assert np.array_equal(read_picture(data).samples, values)


@pytest.mark.parametrize(("channels", "kind"), [(1, np.uint16), (3, np.uint8), (3, np.uint16)])
@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_another_program_reads_the_same_samples(channels, kind, file_format, tmp_path):
    values = samples(channels, kind)
    data = np.frombuffer(written(values, file_format, tmp_path), np.uint8)
    read = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    assert np.array_equal(read if channels == 1 else read[..., ::-1], values.squeeze())


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_bmp_is_written_without_loss(channels, tmp_path):
    values = samples(channels, np.uint8)
    data = written(values, "BMP", tmp_path, Extras(dpi=(300.0, 300.0)))
    picture = read_picture(data)
    assert np.array_equal(picture.samples, values)
    assert picture.extras.dpi == pytest.approx((300, 300), abs=0.02)


@pytest.mark.parametrize(("file_format", "channels"), [("JPEG", 1), ("JPEG", 3), ("WEBP", 4)])
def test_lossy_formats_stay_close(file_format, channels, tmp_path):
    values = np.concatenate([RGB, np.full((37, 53, 1), 200, np.uint8)], axis=2)[..., :channels]
    read = read_picture(written(np.ascontiguousarray(values), file_format, tmp_path)).samples
    assert read.shape == values.shape
    assert np.abs(read.astype(int) - values).mean() < 8  # WebP halves the colours' resolution


def test_a_lossless_webp_stays_lossless(tmp_path):
    lossless = read_picture(encoded(Image.fromarray(RGB), "WEBP", lossless=True))
    assert lossless.extras.lossless
    assert np.array_equal(
        read_picture(written(RGB, "WEBP", tmp_path, lossless.extras)).samples, RGB
    )
    assert not read_picture(encoded(Image.fromarray(RGB), "WEBP", quality=80)).extras.lossless


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_everything_beside_the_samples_is_kept(file_format, tmp_path):
    profile = srgb_profile()
    options = {"exif": b"Exif\0\0" + camera_exif(), "icc_profile": profile, "dpi": (240, 240)}
    if file_format in ("JPEG", "WEBP"):
        options["xmp"] = b"<x:xmpmeta>words</x:xmpmeta>"
    original = encoded(Image.fromarray(RGB), file_format, **options)
    extras = read_picture(original).extras
    values = np.repeat(np.repeat(RGB, 2, 0), 2, 1)
    result = written(values, file_format, tmp_path, extras)
    with Image.open(io.BytesIO(original)) as before, Image.open(io.BytesIO(result)) as after:
        assert after.info["icc_profile"] == profile
        if file_format != "WEBP":  # has no resolution
            assert after.info["dpi"] == pytest.approx((240, 240), abs=0.1)
        if "xmp" in options:
            assert after.info["xmp"] == options["xmp"]
        old, new = before.getexif(), after.getexif()
        assert (new[0x010F], new[0x0112]) == ("Maker", 6)
        assert new.get_ifd(0x8825) == old.get_ifd(0x8825)
        taken = new.get_ifd(0x8769)
        assert taken[0x927C] == old.get_ifd(0x8769)[0x927C]
        assert (taken[0xA002], taken[0xA003]) == (106, 74)
    again = read_picture(result).extras
    assert orientation_of(again.exif) == 6


def test_comments_captions_and_colour_chunks_are_kept(tmp_path):
    caption = b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x05hello\0"
    segment = struct.pack(">HH", 0xFFED, len(caption) + 2) + caption
    data = encoded(Image.fromarray(RGB), "JPEG", comment=b"a comment", extra=segment)
    extras = read_picture(written(RGB, "JPEG", tmp_path, read_picture(data).extras)).extras
    assert (extras.comment, extras.iptc) == (b"a comment", (caption,))

    chunks = [(b"gAMA", struct.pack(">L", 50000)), (b"tEXt", b"Title\0of it")]
    data = png(2, 1, 8, 2, [bytes(6)], *chunks)
    again = read_picture(written(RGB, "PNG", tmp_path, read_picture(data).extras)).extras
    assert list(again.chunks) == chunks


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turning_the_samples_shows_the_same_picture(orientation):
    from PIL import ImageOps

    exif = camera_exif(orientation=orientation)
    data = encoded(Image.fromarray(RGB), "PNG", exif=b"Exif\0\0" + exif)
    picture = read_picture(data)
    values, extras = turned(picture.samples, picture.extras)
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(values, np.asarray(ImageOps.exif_transpose(image)))
    assert orientation_of(extras.exif) == 1


def test_grey_and_bilevel_stay_grey_and_palettes_are_looked_up():
    grey = Image.fromarray(RGB).convert("L")
    assert read_picture(encoded(grey, "JPEG")).samples.shape == (37, 53, 1)
    bilevel = read_picture(encoded(grey.convert("1"), "TIFF")).samples
    assert bilevel.shape == (37, 53, 1)
    assert set(np.unique(bilevel)) == {0, 255}
    palette = Image.fromarray(RGB).quantize(16)
    looked_up = read_picture(encoded(palette, "PNG")).samples
    assert np.array_equal(looked_up, np.asarray(palette.convert("RGB")))
    clear = read_picture(encoded(palette, "PNG", transparency=3)).samples
    assert np.array_equal(clear[..., 3] == 0, np.asarray(palette) == 3)


def test_a_transparent_colour_becomes_alpha_in_every_depth():
    grey = read_picture(png(2, 1, 8, 0, [bytes([7, 9])], (b"tRNS", b"\0\7"))).samples
    assert grey.tolist() == [[[7, 0], [9, 255]]]
    row = struct.pack(">2H", 700, 900)
    deep = read_picture(png(2, 1, 16, 0, [row], (b"tRNS", struct.pack(">H", 900)))).samples
    assert deep.tolist() == [[[700, 65535], [900, 0]]]
    row, key = struct.pack(">6H", 1, 2, 3, 4, 5, 6), struct.pack(">3H", 1, 2, 3)
    colour = read_picture(png(2, 1, 16, 2, [row], (b"tRNS", key)))
    assert colour.samples.tolist() == [[[1, 2, 3, 0], [4, 5, 6, 65535]]]


def test_cmyk_goes_through_its_profile_or_the_plain_formula():
    cmyk = Image.fromarray(RGB).convert("CMYK")
    plain = read_picture(encoded(cmyk, "TIFF"))
    assert plain.extras.icc is None
    assert np.array_equal(plain.samples, np.asarray(cmyk.convert("RGB")))


def test_a_profile_of_another_colour_space_is_not_kept():
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    data = encoded(Image.fromarray(RGB), "PNG", icc_profile=lab)
    assert read_picture(data).extras.icc is None


def test_premultiplied_alpha_is_undone(tmp_path):
    values = samples(4, np.uint16)
    values[..., 3] |= 0x8000
    light = np.rint(values[..., :3] * (values[..., 3:] / 65535)).astype(np.uint16)
    data = bytearray(written(np.concatenate([light, values[..., 3:]], 2), "TIFF", tmp_path))
    entry = data.index(struct.pack("<HHLH", 0x0152, 3, 1, 2))
    data[entry + 8] = 1  # associated instead of unassociated
    read = read_picture(bytes(data)).samples
    assert np.abs(read.astype(int) - values).max() <= 2


def test_a_camera_jpeg_with_an_appended_preview_is_one_picture():
    file = io.BytesIO()
    small = Image.fromarray(RGB[:8, :8])
    Image.fromarray(RGB).save(file, "MPO", save_all=True, append_images=[small])
    picture = read_picture(file.getvalue())
    assert (picture.format, picture.samples.shape) == ("JPEG", RGB.shape)


def frames(file_format):
    others = [Image.fromarray(255 - RGB)]
    return encoded(Image.fromarray(RGB), file_format, save_all=True, append_images=others)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "0 bytes"),
        (b"no picture at all", "no picture format"),
        (frames("GIF"), "animated"),
        (frames("PNG"), "animated"),
        (frames("WEBP"), "animated"),
        (frames("TIFF"), "2 pages"),
        (encoded(Image.fromarray(RGB), "JPEG")[:-400], "truncated"),
        (encoded(Image.fromarray(RGB), "PNG")[:-400], "trunc|PNG"),
        (encoded(Image.new("F", (3, 3)), "TIFF"), "floating-point"),
        (encoded(Image.fromarray(np.full((2, 2), 1 << 20, np.int32)), "TIFF"), "32-bit"),
        (png(60_000, 60_000, 8, 2, [bytes(8)]), "3600 megapixels; the limit is 200"),
    ],
)
def test_what_is_not_enlarged_says_why(data, words):
    with pytest.raises(UnusablePictureError, match=words):
        read_picture(data)


def test_a_damaged_deep_png_is_not_read_in_part(tmp_path):
    data = written(samples(3, np.uint16), "PNG", tmp_path)
    with pytest.raises(UnusablePictureError):
        read_picture(data[:-1500])


def test_formats_that_hold_less_are_given_less():
    values = samples(4, np.uint16)
    assert held("JPEG", 4, 2) == (3, 1)
    assert held("WEBP", 2, 1) == (4, 1)
    white = fitted(np.concatenate([values[..., :3], 0 * values[..., :1]], axis=2), 3, 1)
    assert (white == 255).all()
    deep = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    assert np.array_equal(fitted(deep, 1, 1), np.rint(deep / 257))


def test_a_picture_too_large_for_a_format_is_refused_before_it_is_made(tmp_path):
    with pytest.raises(UnwritableError, match="16383"):
        open_writer(tmp_path / "x.webp", "WEBP", (20_000, 10), 3, 1, Extras())
    with pytest.raises(UnwritableError, match="4 GiB"):
        open_writer(tmp_path / "x.tif", "TIFF", (40_000, 40_000), 3, 1, Extras())
    assert not list(tmp_path.iterdir())
