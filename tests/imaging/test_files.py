"""Reading and writing are tested together: what goes out is what came in."""

import io
import json
import os
import struct
import subprocess
import sys
import textwrap
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps

from conftest import made_photograph
from imaging.test_decode import png_chunk
from imaging.test_exif import camera_exif
from isr_pipeline.imaging.decode import UnusablePictureError, decode_picture
from isr_pipeline.imaging.encode import (
    SUFFIXES,
    UnwritableError,
    fitted,
    held,
    open_writer,
    turned,
)
from isr_pipeline.imaging.exif import orientation_of, read_directory
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
    size, extras = (width, height), extras or Extras()
    writer = open_writer(path, file_format, size, channels, depth, extras, path.name)
    for first in range(0, height, band):
        writer.write(values[first : first + band])
    writer.close()
    return path.read_bytes()


def png(width, height, depth, colour, rows, *chunks):
    """A PNG file made by hand: kinds that Pillow cannot write."""
    header = png_chunk(b"IHDR", struct.pack(">LLBBBBB", width, height, depth, colour, 0, 0, 0))
    picture = png_chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    middle = b"".join(png_chunk(*c) for c in chunks)
    return b"\x89PNG\r\n\x1a\n" + header + middle + picture + png_chunk(b"IEND", b"")


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
    segment += struct.pack(">HH", 0xFFFE, 8) + b"second"
    data = encoded(Image.fromarray(RGB), "JPEG", comment=b"a comment", extra=segment)
    extras = read_picture(written(RGB, "JPEG", tmp_path, read_picture(data).extras)).extras
    assert (set(extras.comments), extras.iptc) == ({b"a comment", b"second"}, (caption,))
    gif = read_picture(encoded(Image.fromarray(RGB), "GIF", comment=b"by the sea"))
    assert gif.extras.comments == (b"by the sea",)

    chunks = [(b"gAMA", struct.pack(">L", 50000)), (b"tEXt", b"Title\0of it")]
    data = png(2, 1, 8, 2, [bytes(6)], *chunks)
    again = read_picture(written(RGB, "PNG", tmp_path, read_picture(data).extras)).extras
    assert list(again.chunks) == chunks


def as_shown(stored, orientation):
    """The EXIF standard's words: where the stored first row and column are seen."""
    return {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.swapaxes(0, 1),
        6: stored[::-1].swapaxes(0, 1),
        7: stored[::-1, ::-1].swapaxes(0, 1),
        8: stored[:, ::-1].swapaxes(0, 1),
    }[orientation]


def displayed(data, file_format, deep_colour):
    """What other programs show of a file, which turn it themselves."""
    if not deep_colour:
        with Image.open(io.BytesIO(data)) as image:
            values = np.asarray(ImageOps.exif_transpose(image))
        return values if values.ndim == 3 else values[..., None]
    # OpenCV turns a TIFF of whatever flags, a PNG unless all flags are set
    flags = cv2.IMREAD_UNCHANGED if file_format == "TIFF" else 6  # any depth, any colour
    return cv2.imdecode(np.frombuffer(data, np.uint8), flags)[..., ::-1]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("file_format", "channels", "kind"),
    [
        ("JPEG", 3, np.uint8),
        ("WEBP", 3, np.uint8),
        *(
            (name, channels, kind)
            for name in ("PNG", "TIFF")
            for channels in (1, 3)
            for kind in (np.uint8, np.uint16)
        ),
    ],
)
def test_every_orientation_is_shown_as_before(file_format, channels, kind, orientation, tmp_path):
    stored = RGB[..., :channels] * kind(257 if kind == np.uint16 else 1)
    exif = camera_exif(orientation=orientation)
    if kind == np.uint16 and channels == 3:  # Pillow writes none
        data = written(stored, file_format, tmp_path, Extras(exif=exif))
    else:
        image = Image.fromarray(stored.squeeze())
        options = {"lossless": True} if file_format == "WEBP" else {"quality": 95}
        data = encoded(image, file_format, exif=b"Exif\0\0" + exif, **options)
    wanted = as_shown(stored, orientation)
    deep_colour = kind == np.uint16 and channels == 3
    shown = displayed(data, file_format, deep_colour)
    assert shown.shape == wanted.shape
    assert np.abs(shown.astype(float) - wanted).mean() < 12  # 60 when turned wrongly

    header = read_header(data)
    assert (header.height, header.width) == stored.shape[:2]
    for target in ("JPEG", "PNG", "WEBP", "TIFF", "BMP"):
        picture = read_picture(data)
        values, extras = picture.samples, picture.extras
        if target != file_format:
            values, extras = turned(values, extras)
        values = fitted(values, *held(target, values.shape[2], values.dtype.itemsize))
        values = np.ascontiguousarray(values)
        result = written(values, target, tmp_path, extras)
        deep = deep_colour and target in ("PNG", "TIFF")
        after = displayed(result, target, deep).astype(float)
        assert after.shape[:2] == wanted.shape[:2], target
        scale = 257 if wanted.dtype == np.uint16 and after.max() < 256 else 1
        difference = np.abs(after - wanted.astype(float) / scale).mean()
        step = 257 if wanted.dtype == np.uint16 and scale == 1 else 1
        assert difference < 12 * step, target


def test_an_orientation_in_a_tiffs_xmp_alone_turns_nothing(tmp_path):
    xmp = b'<rdf:Description tiff:Orientation="6"/>'
    data = written(RGB, "TIFF", tmp_path, Extras(xmp=xmp))
    place = read_directory(data)[0x0112].place - 8
    data = data[:place] + b"\x0d\x01" + data[place + 2 :]  # another tag in the orientation's place
    picture = read_picture(data)
    assert np.array_equal(picture.samples, RGB)
    assert picture.extras.xmp == xmp


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turning_the_samples_shows_the_same_picture(orientation):
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


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_transparent_grey_of_few_bits_becomes_alpha(bits):
    row = bytes([(1 << (8 - bits))])  # the first pixel is 1, those after it are 0
    data = png(2 if bits < 8 else 1, 1, bits, 0, [row], (b"tRNS", b"\0\1"))
    assert read_picture(data).samples[0, 0, 1] == 0
    assert (read_picture(data).samples[0, 1:, 1] == 255).all()


def test_cmyk_goes_through_its_profile_or_the_plain_formula():
    cmyk = Image.fromarray(RGB).convert("CMYK")
    plain = read_picture(encoded(cmyk, "TIFF"))
    assert plain.extras.icc is None
    assert np.array_equal(plain.samples, np.asarray(cmyk.convert("RGB")))


def test_a_profile_of_another_colour_space_is_not_kept():
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    data = encoded(Image.fromarray(RGB), "PNG", icc_profile=lab)
    assert read_picture(data).extras.icc is None


def grey_profile(gamma):
    curve = struct.pack(">4s4xLH2x", b"curv", 1, round(gamma * 256))
    white = struct.pack(">4s4x3L", b"XYZ ", 0xF6D6, 0x10000, 0xD32D)
    begin = 132 + 24
    table = struct.pack(">L4sLL4sLL", 2, b"wtpt", begin, 20, b"kTRC", begin + 20, len(curve))
    header = struct.pack(
        ">L4sL4s4s4s12s4s28s3L48s",
        *(begin + 20 + len(curve), b"", 0x02400000, b"mntr", b"GRAY", b"XYZ ", b"", b"acsp"),
        *(b"", 0xF6D6, 0x10000, 0xD32D, b""),
    )
    return header + table + white + curve


@pytest.mark.parametrize("gamma", [1.0, 1.8])
@pytest.mark.parametrize("target", ["WEBP", "TIFF"])
def test_a_grey_profile_becomes_one_of_rgb_with_the_samples(gamma, target, tmp_path):
    """Three equal channels are as light as the grey's profile has it."""
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    profile = grey_profile(gamma)
    picture = read_picture(encoded(Image.fromarray(ramp), "PNG", icc_profile=profile))
    rgb = fitted(picture.samples, 3, 1)
    extras = Extras(icc=picture.extras.icc, lossless=True)
    again = read_picture(written(rgb, target, tmp_path, extras)).extras.icc
    assert again is not None
    opened, srgb = ImageCms.ImageCmsProfile(io.BytesIO(again)), ImageCms.createProfile("sRGB")
    shown = ImageCms.profileToProfile(Image.fromarray(rgb), opened, srgb, outputMode="RGB")
    light = (ramp[..., None] / 255.0) ** gamma
    wanted = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(np.asarray(shown) - 255 * wanted).max() <= 1.2


def test_a_grey_profile_without_a_curve_is_not_put_into_colour(tmp_path, caplog):
    broken = grey_profile(2.0).replace(b"kTRC", b"none")
    data = written(RGB, "PNG", tmp_path, Extras(icc=broken))
    assert b"iCCP" not in data
    assert caplog.messages == [
        "x.png: PNG cannot hold all of its ICC profile: what does not fit is left out"
    ]


def test_a_profile_with_which_a_png_could_not_be_opened_is_left_out(tmp_path, caplog):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for size, kept in ((2**20, True), (2**20 + 1, False)):
        profile = struct.pack(">L", size) + profile[4:].ljust(size - 4, b"\0")[: size - 4]
        data = written(RGB, "PNG", tmp_path, Extras(icc=profile))
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), RGB)
        assert (read_picture(data).extras.icc == profile) is kept
        assert bool(caplog.messages) is not kept


def test_what_a_jpeg_has_no_room_for_is_left_out_with_a_word(tmp_path, caplog):
    exif = Image.Exif()
    exif[0x010F], exif[0x0112], exif[0x010E] = "Maker", 6, "words " * 12_000
    exif.get_ifd(0x8769).update({0x9003: "2026:11:23 10:00:00", 0x927C: b"note" * 9})
    extras = Extras(
        exif=exif.tobytes().removeprefix(b"Exif\0\0"),
        xmp=b"<x>" + b" " * 70_000,
        comments=(b"c" * 70_000,),
        dpi=(70_000.0, 70_000.0),
    )
    data = written(RGB, "JPEG", tmp_path, extras)
    assert caplog.messages == [
        "x.jpg: JPEG cannot hold all of its XMP, comment, EXIF, resolution: "
        "what does not fit is left out"
    ]
    with Image.open(io.BytesIO(data)) as image:
        kept = image.getexif()
        assert (kept[0x010F], kept[0x0112]) == ("Maker", 6)
        assert kept.get_ifd(0x8769) == {0x9003: "2026:11:23 10:00:00"}
        assert 0x010E not in kept
    for file_format in ("PNG", "TIFF", "WEBP"):
        again = read_picture(written(RGB, file_format, tmp_path, extras)).extras
        assert (again.xmp, orientation_of(again.exif)) == (extras.xmp, 6)
        assert len(again.exif) > 70_000
    missing = {"PNG": "comment:", "TIFF": "comment:", "WEBP": "comment, resolution:"}
    for (file_format, words), message in zip(missing.items(), caplog.messages[1:], strict=True):
        assert f"{file_format} cannot hold all of its {words}" in message


def test_what_a_format_does_not_keep_is_named(tmp_path, caplog):
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    full = Extras(
        exif=exif.tobytes().removeprefix(b"Exif\0\0"),
        icc=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        dpi=(300.0, 300.0),
        xmp=b"<x/>",
        iptc=(b"Photoshop 3.0\0",),
        comments=(b"by the sea",),
        chunks=(
            (b"tEXt", b"Author\0Ada"),
            (b"tIME", b"\7\xea\1\1\0\0\0"),
        ),
    )
    exif.update({0x011A: 300.0, 0x011B: 300.0, 0x0128: 2})
    resolution = exif.tobytes().removeprefix(b"Exif\0\0")
    named = {
        "JPEG": "texts (Author)",
        "PNG": "IPTC, comment",
        "WEBP": "IPTC, comment, texts (Author), resolution",
        "TIFF": "comment, texts (Author)",
        "BMP": "EXIF, ICC profile, XMP, IPTC, comment, texts (Author)",
    }
    for file_format, missing in named.items():
        written(RGB, file_format, tmp_path, full)
        assert f"{file_format} cannot hold all of its {missing}: what" in caplog.messages[-1]
        plain = Extras(dpi=(300.0, 300.0), exif=resolution if file_format == "WEBP" else None)
        written(RGB, file_format, tmp_path, plain)
    assert len(caplog.messages) == len(named)


@pytest.mark.parametrize(
    ("extras", "missing"),
    [
        (Extras(dpi=(300.0, 300.0)), "resolution"),
        (Extras(aspect=(1, 2)), "shape of the pixels"),
        (Extras(chunks=((b"cICP", b"\x09\x10\0\1"),)), "colour space"),
        (Extras(chunks=((b"cICP", b"\x01\x0d\0\1"),)), None),
        (Extras(chunks=((b"gAMA", (100_000).to_bytes(4, "big")),)), "colour space"),
        (Extras(chunks=((b"gAMA", (45_455).to_bytes(4, "big")),)), None),
        (Extras(chunks=((b"gAMA", (50_000).to_bytes(4, "big")), (b"sRGB", b"\0"))), None),
    ],
)
def test_resolution_and_colour_space_that_a_webp_does_not_keep_are_named(
    tmp_path, caplog, extras, missing
):
    written(RGB, "PNG", tmp_path, extras)
    assert not caplog.messages
    written(RGB, "WEBP", tmp_path, extras)
    text = "x.webp: WEBP cannot hold all of its {}: what does not fit is left out"
    assert caplog.messages == ([text.format(missing)] if missing else [])


def test_a_resolution_is_written_only_if_one_was_read(tmp_path):
    plain = Image.fromarray(RGB)
    exif = b"Exif\0\0" + camera_exif()
    for data in (
        written(RGB, "TIFF", tmp_path),
        encoded(plain, "PNG"),
        encoded(plain, "JPEG", exif=exif),
    ):
        extras = read_picture(data).extras
        assert (extras.dpi, extras.aspect) == (None, None)
        tiff = read_directory(written(RGB, "TIFF", tmp_path, extras))
        assert 0x011A not in tiff


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF"])
def test_pixels_that_are_not_square_stay_so(file_format, tmp_path):
    data = written(RGB, file_format, tmp_path, Extras(aspect=(4, 3)))
    with Image.open(io.BytesIO(data)) as image:
        found = {
            "JPEG": lambda: (image.info["jfif_unit"], *image.info["jfif_density"]),
            "PNG": lambda: (0, *image.info["aspect"]),
            "TIFF": lambda: (0, *image.info["resolution"]),
        }[file_format]()
        assert found == (0, 4, 3)
        assert "dpi" not in image.info
    extras = read_picture(data).extras
    assert (extras.aspect, extras.dpi) == ((4, 3), None)
    turned_extras = turned(RGB, Extras(exif=camera_exif(), aspect=(4, 3)))[1]
    assert turned_extras.aspect == (3, 4)


def test_exif_behind_a_pngs_picture_is_found(tmp_path):
    data = written(RGB, "PNG", tmp_path, Extras(exif=camera_exif()))
    begin = data.index(b"eXIf") - 4
    end = begin + 12 + int.from_bytes(data[begin : begin + 4], "big")
    moved = data[:begin] + data[end:-12] + data[begin:end] + data[-12:]
    assert orientation_of(read_picture(moved).extras.exif) == 6


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


def deep_grey_alpha_tiff():
    shorts = {256: (1,), 257: (1,), 258: (16, 16), 259: (1,), 262: (1,), 273: (8,), 277: (2,)}
    shorts |= {278: (1,), 279: (4,), 338: (2,)}
    entries = b"".join(
        struct.pack("<HHL4s", tag, 3, len(values), struct.pack(f"<{len(values)}H", *values))
        for tag, values in shorts.items()
    )
    return b"II*\0" + struct.pack("<L4sH", 12, b"abcd", len(shorts)) + entries + bytes(4)


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
        (deep_grey_alpha_tiff(), "16-bit grey with alpha"),
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
        open_writer(tmp_path / "x.webp", "WEBP", (20_000, 10), 3, 1, Extras(), "x")
    with pytest.raises(UnwritableError, match="4 GiB"):
        open_writer(tmp_path / "x.tif", "TIFF", (40_000, 40_000), 3, 1, Extras(), "x")
    assert not list(tmp_path.iterdir())


def written_by_tifffile(values, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, values, **options)
    return file.getvalue()


@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "predictor": True}])
@pytest.mark.parametrize(("kind", "extra"), [(np.uint8, []), (np.uint16, []), (np.uint16, [2])])
def test_a_plane_for_each_channel_is_read(kind, extra, options):
    values = samples(3 + len(extra), kind)
    planes = np.moveaxis(values, -1, 0)
    data = written_by_tifffile(
        planes, photometric="rgb", planarconfig="separate", extrasamples=extra, **options
    )
    assert np.array_equal(read_picture(data).samples, values)
    if kind is np.uint8:
        assert np.array_equal(decode_picture(data).pixels, values[..., :3])
    else:  # Pillow takes the planes for 8-bit ones
        with pytest.raises(UnusablePictureError, match="16-bit samples in a plane each"):
            decode_picture(data)


def test_planes_of_a_turned_big_tiff_are_refused():
    planes = np.moveaxis(samples(3, np.uint16), -1, 0)
    options = {"photometric": "rgb", "planarconfig": "separate", "bigtiff": True}
    assert read_picture(written_by_tifffile(planes, **options)).samples.shape[2] == 3
    turned = written_by_tifffile(planes, **options, extratags=[(274, 3, 1, 3, True)])
    with pytest.raises(UnusablePictureError, match="BigTIFF that is turned"):
        read_picture(turned)


def test_a_tile_far_larger_than_its_picture_is_refused():
    data = written_by_tifffile(RGB, photometric="rgb", tile=(4096, 2048), compression="zlib")
    for read in (read_picture, read_header, decode_picture):
        with pytest.raises(UnusablePictureError, match="tiles of 2048x4096 pixels in a picture of"):
            read(data)
    data = written_by_tifffile(RGB, photometric="rgb", tile=(1024, 1024), compression="zlib")
    assert np.array_equal(read_picture(data).samples, RGB)


@pytest.mark.parametrize("kind", [1, 2, 7])  # BYTE, ASCII, UNDEFINED
def test_xmp_of_any_type_is_read(kind, tmp_path):
    xmp = b"<x>of a camera</x>"
    data = written_by_tifffile(
        RGB, photometric="rgb", metadata=None, extratags=[(700, kind, len(xmp), xmp, True)]
    )
    picture = read_picture(data)
    assert np.array_equal(picture.samples, RGB)
    assert (picture.extras.xmp or b"").rstrip(b"\0") == (b"" if kind == 2 else xmp)
    written(RGB, "TIFF", tmp_path, picture.extras)


def test_a_profile_for_other_channels_is_left_out_with_a_word():
    data = encoded(Image.fromarray(RGB).convert("L"), "JPEG", icc_profile=srgb_profile())
    extras = read_picture(data).extras
    assert extras.icc is None
    assert extras.left_out == ("a colour profile for other channels",)


def test_a_resolution_that_exif_does_not_hold_is_missed_in_a_webp(tmp_path, caplog):
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    for stands_there in (False, True):
        if stands_there:
            exif.update({0x011A: 300.0, 0x011B: 300.0, 0x0128: 2})
        data = encoded(Image.fromarray(RGB), "JPEG", dpi=(300, 300), exif=exif)
        written(RGB, "WEBP", tmp_path, read_picture(data).extras)
    assert caplog.messages == [
        "x.webp: WEBP cannot hold all of its resolution: what does not fit is left out"
    ]


@pytest.mark.parametrize("file_format", ["WEBP", "TIFF"])
def test_what_is_cut_off_is_called_so(file_format):
    data = encoded(Image.fromarray(RGB), file_format, compression="tiff_lzw", lossless=True)
    with pytest.raises(UnusablePictureError, match="cut off"):
        read_picture(data[: len(data) * 3 // 4])


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}])
def test_grey_and_alpha_in_a_plane_each_are_refused(options):
    planes = np.moveaxis(samples(2, np.uint8), -1, 0)
    data = written_by_tifffile(
        planes,
        photometric="minisblack",
        planarconfig="separate",
        extrasamples=["unassalpha"],
        **options,
    )
    for read in (read_picture, decode_picture):
        with pytest.raises(UnusablePictureError, match="grey and alpha in a plane each"):
            read(data)


def test_twelve_bits_become_sixteen():
    values = np.array([[0, 1, 2048, 4095]], np.uint16)
    packed = np.array([0x00, 0x00, 0x01, 0x80, 0x0F, 0xFF], np.uint8)
    entries = {256: 4, 257: 1, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: 6}
    rows = [struct.pack("<HHLHH", tag, 3, 1, value, 0) for tag, value in entries.items()]
    directory = struct.pack("<H", len(rows)) + b"".join(rows) + bytes(4)
    data = b"II*\0" + struct.pack("<L", 14) + packed.tobytes() + directory
    picture = read_picture(data)
    assert picture.samples[0, :, 0].tolist() == [(v << 4) + (v >> 8) for v in values[0].tolist()]
    assert decode_picture(data).pixels[0, :, 0].tolist() == [0, 0, 128, 255]


def test_the_preview_of_a_raw_file_is_no_photograph():
    preview = {"subfiletype": 1, "photometric": "rgb"}
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(RGB[:8, :8], subifds=1, **preview)
        writer.write(samples(1, np.uint16)[..., 0], photometric="cfa", subfiletype=0)
    dng = written_by_tifffile(RGB, photometric="rgb", extratags=[(50706, 1, 4, b"\1\4\0\0")])
    for data in (file.getvalue(), dng):
        for read in (read_picture, read_header, decode_picture):
            with pytest.raises(UnusablePictureError, match="raw file: develop it first"):
                read(data)


def test_a_description_stays_but_no_note_of_the_smaller_pictures_shape(tmp_path, caplog):
    for description, kept in ((None, ""), ("a harbour", "a harbour")):
        data = written_by_tifffile(RGB, photometric="rgb", description=description)
        larger = np.repeat(RGB, 2, axis=0)
        result = written(larger, "TIFF", tmp_path, read_picture(data).extras)
        with tifffile.TiffFile(io.BytesIO(result)) as file:
            assert file.pages[0].description == kept
            assert np.array_equal(file.asarray(), larger)
    assert not caplog.text  # tifffile's complaint of another shape


def test_pillows_limit_of_pixels_stays_what_it_is(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    data = encoded(Image.fromarray(RGB), "PNG")
    assert read_picture(data).samples.shape == RGB.shape
    assert Image.MAX_IMAGE_PIXELS == 100


def test_what_no_larger_picture_keeps_is_named(tmp_path, caplog):
    four = np.concatenate([RGB, RGB[..., :1]], axis=2)
    unknown = written_by_tifffile(four, photometric="rgb", extrasamples=["unspecified"])
    layers = [(37724, 7, 9, b"Adobe...\0")]
    gain = b'<x hdrgm:Version="1.0"/>'
    data = {
        "a channel without a meaning": unknown,
        "Photoshop's layers": written_by_tifffile(RGB, photometric="rgb", extratags=layers),
        "what a BigTIFF says": written_by_tifffile(RGB, photometric="rgb", bigtiff=True),
        "the film": encoded(
            Image.fromarray(RGB), "JPEG", xmp=b'<x GCamera:MotionPhoto="1" MicroVideoOffset="9"/>'
        ),
        "the gain map": encoded(Image.fromarray(RGB), "JPEG", xmp=gain),
    }
    for what, content in data.items():
        picture = read_picture(content)
        assert picture.samples.shape == RGB.shape
        caplog.clear()
        result = written(picture.samples, picture.format, tmp_path, picture.extras)
        assert f"left out: {what}" in caplog.text
        assert b'MotionPhoto="1"' not in result
        assert b"hdrgm" not in result


def test_xmp_tells_no_more_of_a_gain_map_and_still_of_the_rest(tmp_path):
    item = b'<rdf:li rdf:parseType="Resource"> <Container:Item Item:Semantic="%s" %s/></rdf:li>'
    primary, gain_map = (
        item % (b"Primary", b'Item:Mime="image/jpeg"'),
        item % (b"GainMap", b'Item:Length="42"'),
    )
    xmp = (
        b'<x xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0" a="b">'
        b"<hdrgm:GainMapMax>2.5</hdrgm:GainMapMax>" + primary + b"\n" + gain_map + b"</x>"
    )
    data = encoded(Image.fromarray(RGB), "JPEG", xmp=xmp)
    result = written(RGB, "JPEG", tmp_path, read_picture(data).extras)
    assert read_picture(result).extras.xmp == (
        b'<x xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" a="b">' + primary + b"\n</x>"
    )


@pytest.mark.parametrize("nested", [False, True])
def test_the_size_beside_regions_grows_and_that_of_a_page_does_not(tmp_path, nested):
    height, width = RGB.shape[:2]

    def xmp(factor):
        size = (width * factor, height * factor)
        inner = (
            b"<mwg-rs:AppliedToDimensions rdf:parseType='Resource'><stDim:w>%d</stDim:w>"
            b"<stDim:h>%d</stDim:h></mwg-rs:AppliedToDimensions>"
            if nested
            else b'<mwg-rs:AppliedToDimensions stDim:h="%d" stDim:unit="pixel" stDim:w="%d"/>'
        ) % (size if nested else size[::-1])
        page = b'<xmpTPg:MaxPageSize stDim:w="%d" stDim:h="11"/>' % width
        return b"<x>" + page + inner + b'<mwg-rs:Area stArea:w="0.5"/></x>'

    data = encoded(Image.fromarray(RGB), "JPEG", xmp=xmp(1))
    larger = np.repeat(np.repeat(RGB, 3, axis=0), 3, axis=1)
    result = written(larger, "JPEG", tmp_path, read_picture(data).extras)
    assert read_picture(result).extras.xmp == xmp(3)


@pytest.mark.parametrize("behind", [False, True])
def test_a_text_with_which_a_png_could_not_be_opened_is_left_out(behind, tmp_path, caplog):
    """Workflows and histories that other programs pack into texts, longer than Pillow unpacks."""
    plain = encoded(Image.fromarray(RGB), "PNG")
    place = len(plain) - 12 if behind else 33  # before IEND, or behind IHDR
    rooms = {b"fits": 2**20, b"long": 2**20 + 1}
    heads = {b"zTXt": b"\0\0", b"iTXt": b"\0\1\0\0\0"}
    texts = [
        png_chunk(kind, keyword + head + zlib.compress(b"a" * size))
        for kind, head in heads.items()
        for keyword, size in rooms.items()
    ]
    texts.append(png_chunk(b"iTXt", b"plain\0\0\0\0\0" + b"a" * (2**20 + 1)))  # not compressed
    data = plain[:place] + b"".join(texts) + plain[place:]

    picture = read_picture(data)
    assert np.array_equal(picture.samples, RGB)
    assert np.array_equal(decode_picture(data).pixels, RGB)
    keywords = [content.partition(b"\0")[0] for _, content in picture.extras.chunks]
    assert keywords == [b"fits", b"fits", b"plain"]
    result = written(RGB, "PNG", tmp_path, picture.extras)
    assert caplog.messages == [
        "x.png: left out: a text of over 1 MiB (long), a text of over 1 MiB (long)"
    ]
    assert read_picture(result).extras.chunks == picture.extras.chunks

    spoiled = bytearray(data)
    spoiled[plain.index(b"IDAT") + 20 + (0 if behind else len(data) - len(plain))] ^= 1
    with pytest.raises(UnusablePictureError):
        read_picture(bytes(spoiled))


def test_xmp_is_found_behind_a_pngs_picture_and_tells_the_new_size(tmp_path):
    plain = encoded(Image.fromarray(RGB), "PNG")
    xmp = b'<x exif:PixelXDimension="5" tiff:ImageLength="6"><exif:PixelYDimension>7</x>'
    head = b"XML:com.adobe.xmp\0"
    for text in (head + bytes(4) + xmp, head + b"\1\0\0\0" + zlib.compress(xmp)):
        data = plain[:-12] + png_chunk(b"iTXt", text) + plain[-12:]
        picture = read_picture(data)
        assert picture.extras.xmp == xmp
        for file_format in ("PNG", "JPEG", "WEBP", "TIFF"):
            result = written(picture.samples, file_format, tmp_path, picture.extras)
            assert read_picture(result).extras.xmp == (
                b'<x exif:PixelXDimension="53" tiff:ImageLength="37"><exif:PixelYDimension>37</x>'
            )
    damaged = plain[:-12] + png_chunk(b"iTXt", head + b"\1\0\0\0" + b"no deflate") + plain[-12:]
    assert read_picture(damaged).extras.xmp is None


def test_places_in_the_picture_grow_with_it(tmp_path):
    exif = Image.Exif()
    taken = exif.get_ifd(0x8769)
    height, width = RGB.shape[:2]
    taken.update({0xA002: width, 0xA003: height, 0x9214: (30, 20, 10, 10), 0xA214: (30, 20)})
    xmp = b'<x GPano:FullPanoWidthPixels="%d" GPano:CroppedAreaImageWidthPixels="%d">' % (
        2 * width,
        width,
    )
    xmp += b"<GPano:CroppedAreaTopPixels>7</GPano:CroppedAreaTopPixels></x>"
    data = encoded(Image.fromarray(RGB), "JPEG", exif=exif, xmp=xmp)
    larger = np.repeat(np.repeat(RGB, 2, axis=0), 2, axis=1)
    result = written(larger, "JPEG", tmp_path, read_picture(data).extras)
    again = Image.open(io.BytesIO(result)).getexif().get_ifd(0x8769)
    assert (again[0xA002], again[0x9214]) == (2 * width, (60, 40, 20, 20))
    assert again[0xA214] == (60, 40)
    assert read_picture(result).extras.xmp == (
        b'<x GPano:FullPanoWidthPixels="%d" GPano:CroppedAreaImageWidthPixels="%d">'
        % (4 * width, 2 * width)
        + b"<GPano:CroppedAreaTopPixels>14</GPano:CroppedAreaTopPixels></x>"
    )


def test_a_picture_that_is_turned_keeps_no_thumbnail_that_is_not(tmp_path):
    directories = [(0x0112, 6, 26), (0x0100, 16, 0)]  # tag, value, where the next one is
    exif = b"Exif\0\0II*\0\10\0\0\0" + b"".join(
        struct.pack("<HHHLHHL", 1, tag, 3, 1, value, 0, after) for tag, value, after in directories
    )
    data = encoded(Image.fromarray(RGB), "JPEG", exif=exif)
    original = read_picture(data)
    assert original.extras.exif[22:26] == struct.pack("<L", 26)
    samples, extras = turned(original.samples, original.extras)
    again = read_picture(written(samples, "WEBP", tmp_path, extras)).extras
    assert orientation_of(again.exif) == 1
    assert again.exif[22:26] == bytes(4)


def test_extended_xmp_and_photoshops_resources_are_carried_along(tmp_path, caplog):
    resources = b"8BIM\4\4\0\0\0\0\0\x10\x1c\2x\0\x0bhello world" + bytes(70000)
    tiff = written_by_tifffile(RGB, photometric="rgb", extratags=[(34377, 7, None, resources)])
    extras = read_picture(tiff).extras
    assert len(extras.iptc) == 2  # a segment of JPEG holds 64 KB
    jpeg = read_picture(written(RGB, "JPEG", tmp_path, extras)).extras
    assert jpeg.iptc == extras.iptc
    again = Image.open(io.BytesIO(written(RGB, "TIFF", tmp_path, jpeg))).tag_v2[34377]
    assert again == resources
    more = b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 40 + b"more"
    segment = struct.pack(">HH", 0xFFE1, len(more) + 2) + more
    with_more = read_picture(encoded(Image.fromarray(RGB), "JPEG", extra=segment)).extras
    assert with_more.extended_xmp == (more,)
    kept = read_picture(written(RGB, "JPEG", tmp_path, with_more)).extras
    assert kept.extended_xmp == (more,)
    assert not caplog.text
    written(RGB, "PNG", tmp_path, with_more)
    assert "PNG cannot hold all of its XMP" in caplog.text


def test_a_picture_takes_no_more_memory_than_is_reckoned(tmp_path):
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("the peak of a process can be measured anew on Linux alone")
    values = np.tile(made_photograph(200, 200, seed=1), (10, 10, 1))
    rgb = Image.fromarray(values)
    with_alpha = rgb.copy()
    with_alpha.putalpha(200)
    deep = np.concatenate([values, values[..., :1]], axis=2).astype(np.uint16) * 257
    associated = {"photometric": "rgb", "extrasamples": ["assocalpha"]}
    files = {
        "rgb": encoded(rgb, "JPEG"),
        "cmyk": encoded(rgb.convert("CMYK"), "JPEG"),
        "palette": encoded(rgb.quantize(), "PNG"),
        "grey": encoded(rgb.convert("L"), "PNG"),
        "webp": encoded(rgb, "WEBP", method=0),
        "webp with alpha": encoded(with_alpha, "WEBP", method=0),
        "deep, premultiplied": written_by_tifffile(deep, **associated),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    script = """
        import json, sys
        from pathlib import Path
        import cv2, psutil
        from isr_pipeline.imaging.files import read_header, read_picture
        from isr_pipeline.inference.measure import peak_mib

        told = {}
        for path in sorted(Path(sys.argv[1]).iterdir()):
            data = path.read_bytes()
            read_picture(data)  # what is loaded once
            Path("/proc/self/clear_refs").write_text("5")
            before = psutil.Process().memory_info().rss
            read_picture(data)
            told[path.name] = peak_mib() * 2**20 - before
        print(json.dumps(told))
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)]
    returning = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}  # what is freed is given back
    done = subprocess.run(command, capture_output=True, check=True, text=True, env=returning)
    told = json.loads(done.stdout)
    for name, data in files.items():
        header = read_header(data)
        reckoned = header.channels * header.depth + header.working
        measured = told[name] / (header.width * header.height)
        assert reckoned / 2.5 < measured < reckoned + 1, name
