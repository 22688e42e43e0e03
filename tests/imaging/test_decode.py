import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from conftest import made_photograph
from isr_pipeline.imaging.decode import UnusablePictureError, decode_picture, format_of

PICTURE = made_photograph(40, 60, seed=0)
WHITE, RED = [255, 255, 255], [255, 0, 0]
UPRIGHT = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].transpose(1, 0, 2),
    8: lambda stored: np.rot90(stored, 1),
}


def encoded(picture, file_format="PNG", **options):
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def oriented(picture, file_format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if file_format == "WEBP" else {}
    return encoded(picture, file_format, exif=exif, **options)


def png_chunk(name, content):
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )


def png(width, height, samples, bits=8, colour=0, extra=b""):
    """A PNG file by hand; `samples` with a filter byte before each row."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + extra
        + png_chunk(b"IDAT", zlib.compress(samples))
        + png_chunk(b"IEND", b"")
    )


def palette_picture(**options):
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "L")
    image = Image.frombytes("P", (3, 1), image.tobytes())
    image.putpalette([*RED, 0, 255, 0, 0, 0, 255])
    return encoded(image, "PNG", **options)


def grey_cmyk_profile():
    """An ICC profile in which every ink only darkens: cyan is a grey, not (0, 255, 255)."""
    inks = np.array(list(np.ndindex(2, 2, 2, 2)))
    lightness = (1 - inks[:, 3]) * (1 - inks[:, :3].sum(axis=1) / 3)
    grid = np.stack([np.rint(255 * lightness), np.full(16, 128), np.full(16, 128)], axis=1)
    identity = np.arange(256, dtype=np.uint8).tobytes()
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0])
    lut += struct.pack(">9i", *(np.eye(3, dtype=int) * 65536).ravel())
    lut += identity * 4 + grid.astype(np.uint8).tobytes() + identity * 3
    text = b"text\0\0\0\0none\0\0\0\0"
    description = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"grey\0" + bytes(78) + b"\0"
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    tags = {b"desc": description, b"cprt": text, b"wtpt": white, b"A2B0": lut}
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        place = 128 + 4 + 12 * len(tags) + len(body)
        table += name + struct.pack(">II", place, len(content))
        body += content
    header = struct.pack(
        ">I4sI4s4s4s", 128 + len(table + body), b"lcms", 0x02400000, b"prtr", b"CMYK", b"Lab "
    )
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    header += struct.pack(">3i", 63190, 65536, 54061)
    return header + bytes(128 - len(header)) + table + body


def status_of(data, **options):
    with pytest.raises(UnusablePictureError) as caught:
        decode_picture(data, **options)
    return caught.value.status


def test_a_plain_picture_comes_back_bit_for_bit_with_nothing_done_to_it():
    result = decode_picture(encoded(PICTURE))
    assert np.array_equal(result.pixels, PICTURE)
    assert result.pixels.dtype == np.uint8
    assert (result.format, result.mode, result.rule) == ("PNG", "RGB", "")


@pytest.mark.parametrize("file_format", ["BMP", "TIFF", "PNG", "WEBP"])
def test_lossless_formats_are_exact_and_named(file_format):
    result = decode_picture(oriented(PICTURE, file_format, 1))
    assert np.array_equal(result.pixels, PICTURE)
    assert (result.format, result.mode, result.rule) == (file_format, "RGB", "")


@pytest.mark.parametrize("options", [{}, {"quality": 95}, {"progressive": True}])
def test_a_jpeg_decodes_to_what_opencv_decodes_it_to(options):
    data = encoded(PICTURE, "JPEG", **options)
    result = decode_picture(data)
    theirs = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(result.pixels, theirs[..., ::-1])
    assert (result.format, result.mode, result.rule) == ("JPEG", "RGB", "")


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "WEBP"])
def test_exif_orientation_turns_the_pixels_upright(file_format, orientation):
    result = decode_picture(oriented(PICTURE, file_format, orientation))
    assert np.array_equal(result.pixels, UPRIGHT[orientation](PICTURE))


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation_of_a_jpeg_turns_the_pixels_it_decodes_to(orientation):
    stored = decode_picture(encoded(PICTURE, "JPEG")).pixels
    result = decode_picture(oriented(PICTURE, "JPEG", orientation))
    assert np.array_equal(result.pixels, UPRIGHT[orientation](stored))


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_the_rule_says_when_an_orientation_was_applied(file_format, orientation):
    rule = decode_picture(oriented(PICTURE, file_format, orientation)).rule
    assert rule == ("" if orientation == 1 else "EXIF orientation applied")


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_an_orientation_that_does_not_exist_changes_nothing(orientation):
    result = decode_picture(oriented(PICTURE, "PNG", orientation))
    assert np.array_equal(result.pixels, PICTURE)
    assert result.rule == ""


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_unreadable_exif_does_not_make_a_whole_picture_unusable(file_format):
    options = {"lossless": True} if file_format == "WEBP" else {}
    header = b"Exif\0\0" if file_format == "JPEG" else b""
    data = encoded(PICTURE, file_format, exif=header + b"no such thing", **options)
    plain = encoded(PICTURE, file_format, **options)
    assert np.array_equal(decode_picture(data).pixels, decode_picture(plain).pixels)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "BMP"])
def test_grey_gets_three_equal_channels(file_format):
    grey = PICTURE[..., 0]
    result = decode_picture(encoded(grey, file_format))
    assert np.array_equal(result.pixels, np.repeat(grey[..., None], 3, axis=2))
    assert (result.mode, result.rule) == ("L", "grey to RGB")


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "BMP"])
def test_bilevel_becomes_black_and_white(file_format):
    on = PICTURE[..., 0] > 128
    result = decode_picture(encoded(Image.fromarray(on), file_format))
    assert np.array_equal(result.pixels, np.repeat(on[..., None], 3, axis=2) * np.uint8(255))
    assert (result.mode, result.rule) == ("1", "grey to RGB")


def test_a_palette_is_looked_up():
    result = decode_picture(palette_picture())
    assert result.pixels.tolist() == [[RED, [0, 255, 0], [0, 0, 255]]]
    assert (result.mode, result.rule) == ("P", "palette to RGB")


def test_a_transparent_palette_entry_becomes_white():
    result = decode_picture(palette_picture(transparency=1))
    assert result.pixels.tolist() == [[RED, WHITE, [0, 0, 255]]]
    assert result.rule == "palette to RGB, alpha over white"


def test_a_half_transparent_palette_entry_is_mixed_with_white():
    # Alpha 51 of 255 is a fifth: 0.2 * 0 + 0.8 * 255.
    result = decode_picture(palette_picture(transparency=bytes([255, 51, 255])))
    assert result.pixels.tolist() == [[RED, [204, 255, 204], [0, 0, 255]]]


@pytest.mark.parametrize(
    ("pixel", "expected"),
    [
        ((200, 100, 50, 255), (200, 100, 50)),
        ((200, 100, 50, 0), (255, 255, 255)),
        ((200, 100, 50, 51), (244, 224, 214)),
        ((0, 0, 0, 102), (153, 153, 153)),
    ],
)
@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "WEBP"])
def test_alpha_is_composited_over_white(file_format, pixel, expected):
    options = {"lossless": True, "exact": True} if file_format == "WEBP" else {}
    picture = np.array([[pixel, (9, 9, 9, 128)]], np.uint8)
    result = decode_picture(encoded(picture, file_format, **options))
    assert np.abs(result.pixels[0, 0].astype(int) - expected).max() <= 1
    assert (result.mode, result.rule) == ("RGBA", "alpha over white")


def test_grey_alpha_is_composited_over_white():
    # Alpha 51 of 255 is a fifth: 0.2 * 100 + 0.8 * 255.
    picture = Image.frombytes("LA", (3, 1), bytes([100, 51, 100, 255, 100, 0]))
    result = decode_picture(encoded(picture))
    assert result.pixels.tolist() == [[[224] * 3, [100] * 3, WHITE]]
    assert (result.mode, result.rule) == ("LA", "alpha over white")


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_an_opaque_alpha_channel_is_dropped(mode):
    image = Image.fromarray(PICTURE).convert(mode)
    result = decode_picture(encoded(image))
    assert np.array_equal(result.pixels, np.asarray(image.convert("RGB")))
    assert (result.mode, result.rule) == (mode, "")


def test_a_transparent_colour_of_an_rgb_picture_becomes_white():
    result = decode_picture(encoded(np.array([[RED, [1, 2, 3]]], np.uint8), transparency=(1, 2, 3)))
    assert result.pixels.tolist() == [[RED, WHITE]]


def test_cmyk_without_a_profile_takes_the_plain_formula():
    inks = np.array([[[255, 0, 0, 0], [0, 255, 255, 0], [0, 0, 0, 155], [0, 0, 0, 0]]], np.uint8)
    result = decode_picture(encoded(Image.fromarray(inks, "CMYK"), "TIFF"))
    assert result.pixels.tolist() == [[[0, 255, 255], RED, [100] * 3, WHITE]]
    assert (result.mode, result.rule) == ("CMYK", "CMYK to RGB")


def test_a_cmyk_jpeg_has_the_colours_of_the_original():
    flat = np.full((16, 16, 3), (200, 120, 40), np.uint8)
    result = decode_picture(encoded(Image.fromarray(flat).convert("CMYK"), "JPEG", quality=100))
    assert np.abs(result.pixels.astype(int) - flat).max() <= 2
    assert (result.format, result.mode, result.rule) == ("JPEG", "CMYK", "CMYK to RGB")


def test_cmyk_goes_through_its_own_profile():
    cyan = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    red, green, blue = decode_picture(
        encoded(cyan, "TIFF", icc_profile=grey_cmyk_profile())
    ).pixels[4, 4]
    # L* = 66.7 is a luminance of ((66.7 + 16) / 116)^3 = 0.362, which sRGB writes as 162.
    assert abs(int(red) - 162) <= 3
    assert max(red, green, blue) - min(red, green, blue) <= 2


@pytest.mark.parametrize(
    "profile",
    [b"no profile at all" * 20, ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()],
    ids=["broken", "of another colour space"],
)
def test_cmyk_with_an_unusable_profile_takes_the_plain_formula(profile):
    red = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    result = decode_picture(encoded(red, "TIFF", icc_profile=profile))
    assert result.pixels[4, 4].tolist() == RED


SAMPLES = np.array([[0x0000, 0x00FF, 0x1234], [0x8000, 0xFE01, 0xFFFF]], np.uint16)
HIGH_BYTES = [[0x00, 0x00, 0x12], [0x80, 0xFE, 0xFF]]


@pytest.mark.parametrize(
    ("data", "mode"),
    [
        (encoded(SAMPLES, "PNG"), "I;16"),
        (encoded(SAMPLES, "TIFF"), "I;16"),
        (encoded(SAMPLES.astype(">u2"), "TIFF"), "I;16B"),
        (encoded(SAMPLES.astype(np.int32), "TIFF"), "I"),
    ],
    ids=["png", "tiff", "big-endian tiff", "tiff of 32 bits within 16"],
)
def test_sixteen_bit_grey_keeps_its_high_byte(data, mode):
    result = decode_picture(data)
    assert result.pixels[..., 0].tolist() == HIGH_BYTES
    assert np.ptp(result.pixels, axis=2).max() == 0
    assert (result.mode, result.rule) == (mode, "16-bit high byte, grey to RGB")


def test_sixteen_bit_grey_whose_zero_is_white_is_no_negative():
    turned = 65535 - SAMPLES
    data = encoded(turned, "TIFF", tiffinfo={262: 0, 274: 3})
    with Image.open(io.BytesIO(data)) as image:
        assert (image.mode, image.tag_v2[262]) == ("I;16", 0)
    assert decode_picture(data).pixels[..., 0].tolist() == [row[::-1] for row in HIGH_BYTES[::-1]]


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"RIFF\0\0\0\0WEBPVP8 ", "WEBP"),
        (b"RIFF\0\0\0\0AVI LIST", None),
        (b"\0\0\0\x20ftypisom", None),
        (b"\xff\xd8\xff\xe0", "JPEG"),
        (b"MM\0*", "TIFF"),
        (b"", None),
    ],
)
def test_a_files_first_bytes_say_what_it_may_be(head, name):
    assert format_of(head) == name


def test_sixteen_bit_colour_keeps_its_high_byte():
    samples = b"".join(b"\0" + row.astype(">u2").tobytes() for row in SAMPLES)
    result = decode_picture(png(1, 2, samples, bits=16, colour=2))
    assert result.pixels.tolist() == [[HIGH_BYTES[0]], [HIGH_BYTES[1]]]


def test_a_transparent_sixteen_bit_grey_becomes_white():
    data = encoded(Image.fromarray(SAMPLES), "PNG", transparency=0x1234)
    assert decode_picture(data).pixels[0].tolist() == [[0] * 3, [0] * 3, WHITE]


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros((4, 4), np.float32),
        np.full((4, 4), 65536, np.int32),
        np.full((4, 4), -1, np.int32),
    ],
    ids=["float", "more than 16 bits", "negative"],
)
def test_float_and_32_bit_samples_are_unsupported(samples):
    assert status_of(encoded(samples, "TIFF")) == "unsupported"


@pytest.mark.parametrize("file_format", ["TIFF", "PNG", "WEBP"])
def test_only_the_first_frame_is_taken(file_format):
    options = {"lossless": True} if file_format == "WEBP" else {}
    others = [Image.fromarray(PICTURE[::-1].copy()), Image.fromarray(255 - PICTURE)]
    data = encoded(PICTURE, file_format, save_all=True, append_images=others, **options)
    result = decode_picture(data)
    assert np.array_equal(result.pixels, PICTURE)
    assert result.rule == "first of 3 frames"


def test_later_pages_may_have_other_sizes_and_modes():
    others = [Image.new("L", (7, 5)), Image.new("1", (300, 2))]
    result = decode_picture(encoded(PICTURE, "TIFF", save_all=True, append_images=others))
    assert np.array_equal(result.pixels, PICTURE)


def test_an_empty_file_is_empty():
    assert status_of(b"") == "empty"


@pytest.mark.parametrize(
    "data",
    [
        b"not a picture at all",
        b"<html><body>404</body></html>",
        bytes(1000),
        b"%PDF-1.4\n",
        b"\xff",
    ],
)
def test_other_bytes_are_not_an_image(data):
    assert status_of(data) == "not_an_image"


@pytest.mark.parametrize("share", [0.5, 0.6, 0.75, 0.9, 0.99])
@pytest.mark.parametrize(
    ("file_format", "options"),
    [("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("TIFF", {}), ("BMP", {})],
)
def test_a_file_cut_within_its_pixels_is_truncated(file_format, options, share):
    data = encoded(PICTURE, file_format, **options)
    assert status_of(data[: int(len(data) * share)]) == "truncated"


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF", "BMP", "WEBP"])
def test_no_cut_anywhere_gives_other_pixels_silently(file_format):
    data = encoded(PICTURE, file_format)
    whole = decode_picture(data).pixels
    wrong = []
    for length in range(0, len(data), 7):
        try:
            pixels = decode_picture(data[:length]).pixels
        except UnusablePictureError:
            continue
        if not np.array_equal(pixels, whole):
            wrong.append(length)
    assert wrong == []


def test_a_png_with_an_overwritten_body_is_corrupt():
    data = bytearray(encoded(PICTURE))
    middle = len(data) // 2
    data[middle : middle + 50] = b"\xff" * 50
    assert status_of(bytes(data)) == "corrupt"


def test_no_flipped_byte_in_a_png_gives_other_pixels_silently():
    data = encoded(PICTURE)
    wrong = []
    for position in range(data.index(b"IDAT") + 4, len(data) - 12, 3):
        flipped = bytearray(data)
        flipped[position] ^= 0x55
        try:
            pixels = decode_picture(bytes(flipped)).pixels
        except UnusablePictureError:
            continue
        if not np.array_equal(pixels, PICTURE):
            wrong.append(position)
    assert wrong == []


def test_a_broken_header_of_a_known_format_is_corrupt():
    assert status_of(b"\x89PNG\r\n\x1a\n" + b"\0\0\0\x0dIHDRxx") == "corrupt"


@pytest.mark.parametrize(("width", "height"), [(100_000, 100_000), (2**31 - 1, 2**31 - 1)])
def test_a_few_bytes_that_claim_a_huge_picture_are_too_large(width, height):
    assert status_of(png(width, height, b"\0")) == "too_large"


def test_the_limit_is_taken_before_anything_is_unpacked():
    bomb = png(3000, 3000, b"\0")
    with pytest.raises(UnusablePictureError, match="3000x3000 is 9 megapixels; the limit is 5"):
        decode_picture(bomb, maximum_megapixels=5)
    assert status_of(bomb, maximum_megapixels=5) == "too_large"
    assert status_of(bomb, maximum_megapixels=9) == "truncated"


@pytest.mark.parametrize(("megapixels", "status"), [(190, "truncated"), (201, "too_large")])
def test_the_limit_is_200_megapixels_and_no_other(megapixels, status):
    assert status_of(png(10_000, megapixels * 100, b"\0")) == status


@pytest.mark.parametrize("bits", [2, 4])
def test_a_transparent_grey_of_few_bits_becomes_white(bits):
    row = bytes([0, 1 << (8 - bits)])  # one line: its first pixel is 1, the next 0
    key = png_chunk(b"tRNS", b"\0\1")
    decoded = decode_picture(png(2, 1, row, bits=bits, extra=key))
    assert decoded.pixels.tolist() == [[[255] * 3, [0] * 3]]


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_deep_grey_tiff_is_turned_once(orientation):
    values = np.arange(6, dtype=np.uint16).reshape(2, 3) << 8
    exif = Image.Exif()
    exif[0x0112] = orientation
    grey = Image.fromarray(values)
    as_png = ImageOps.exif_transpose(Image.open(io.BytesIO(encoded(grey, "PNG", exif=exif))))
    shown = decode_picture(encoded(grey, "TIFF", exif=exif)).pixels[..., 0]
    assert np.array_equal(shown, np.asarray(as_png) >> 8)
