"""Reading any picture file as 8-bit RGB, completely, or saying why not.

The rule for pictures that are not 8-bit RGB (training pictures are; see `DecodedPicture.rule`):

- EXIF orientation is applied to the pixels.
- Grey and bilevel pictures get three equal channels; palettes are looked up.
- 16-bit samples keep their high byte; 12-bit ones are spread over 16 bits before.
- CMYK and YCCK are converted through the embedded ICC profile to sRGB, or by the plain formula
  where there is none.
- Alpha is composited over white; a fully opaque alpha channel is dropped.
- Of an animation or multi-page file, the first frame is taken.
"""

import io
import struct
import threading
import zlib
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import MAX_TEXT_CHUNK, PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from isr_pipeline.imaging.arrays import Picture
from isr_pipeline.imaging.exif import ExifError, byte_order, read_directory
from isr_pipeline.quiet import no_warnings

NEW_SUBFILE_TYPE, PLANAR_CONFIGURATION, SUB_DIRECTORIES, DNG_VERSION = 254, 284, 330, 50706
"""TIFF tags that tell a camera's raw file."""
TILE_WIDTH, TILE_LENGTH = 322, 323
LARGEST_TILE = 1 << 22
"""Pixels of a TIFF's tile that are unpacked at most where the picture itself is smaller."""

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "DIB", "GIF", "PPM", "JPEG2000")
"""Formats that are decoded, as Pillow names them. Not among them are formats that Pillow hands to
another program, such as PostScript."""

BYTES_A_PIXEL = 40
"""Memory that decoding takes at most, beyond the file. Measured: up to 35 (WebP with alpha), 32
(16-bit grey with a transparent value), 6 (a JPEG that is turned)."""

HEAD_BYTES = 16
"""How much of a file `format_of` looks at."""
_MAGIC = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"RIFF": "WEBP",
    **dict.fromkeys((b"II", b"MM"), "TIFF"),
    b"BM": "BMP",
    # A bitmap without its file header begins with the size of the other one.
    **{size.to_bytes(4, "little"): "BMP" for size in (12, 16, 40, 52, 56, 64, 108, 124)},
    b"GIF8": "GIF",
    **dict.fromkeys((b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  "), "JPEG2000"),
    **{b"P%c" % kind: "PPM" for kind in b"0123456fy"},
}
"""How files of each format begin that may be a picture; whether they are one is seen later."""


class UnusablePictureError(ValueError):
    """A file that cannot be used as a picture.

    Attributes:
        status: one word for tables: `empty`, `not_an_image`, `truncated`, `corrupt`,
            `too_large` or `unsupported`.
    """

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class DecodedPicture:
    """A decoded file: its pixels and what was done to get them.

    Attributes:
        pixels: `(height, width, 3)`, uint8 RGB, upright.
        format: the file's format as Pillow names it, such as `JPEG`.
        mode: the file's own pixel mode as Pillow names it, such as `RGB`, `CMYK` or `I;16`.
        rule: the conversions applied, separated by commas; empty for a plain RGB picture.
    """

    pixels: Picture
    format: str
    mode: str
    rule: str


def is_grey(mode: str) -> bool:
    """Whether pictures of a mode of Pillow's have one channel, with or without alpha."""
    return mode in ("1", "L", "LA", "La", "I", "F") or mode.startswith("I;")


def decode_picture(data: bytes, maximum_megapixels: float = 200.0) -> DecodedPicture:
    """Decode a whole picture file to upright 8-bit RGB by the module's rule.

    Args:
        data: the file's bytes.
        maximum_megapixels: pictures that claim more are refused before anything is unpacked
            (decompression bombs).

    Raises:
        UnusablePictureError: when the bytes are no complete, supported picture.
    """
    data, _ = without_long_texts(data)
    with no_warnings(), open_image(data, FORMATS, maximum_megapixels) as image:
        file_format, mode = image.format or "unknown", image.mode
        if has_deep_planes(image):
            raise UnusablePictureError("unsupported", "16-bit samples in a plane each")
        correct_key(image)
        orientation = _orientation(image)  # before loading, which drops a TIFF's
        image.load()
        pixels, rule = _to_rgb(image, orientation)
        if file_format == "PNG":
            verify_png(data)
    return DecodedPicture(pixels, file_format, mode, rule)


def format_of(head: bytes) -> str | None:
    """The format of the file that begins so, if it can be a picture.

    Args:
        head: its first `HEAD_BYTES` bytes.
    """
    found = next((name for magic, name in _MAGIC.items() if head.startswith(magic)), None)
    return None if found == "WEBP" and head[8:12] != b"WEBP" else found  # but a film or a sound


def png_chunks(data: bytes, wanted: Set[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Types and contents of a PNG's chunks of the wanted types, in the file's order."""
    for kind, start, end in _chunk_places(data):
        if kind in wanted:
            yield kind, data[start + 8 : end - 4]


def _chunk_places(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Type, start and end of each chunk of a PNG, length and checksum included."""
    position = 8
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">L4s", data, position)
        yield kind, position, position + 12 + length
        position += 12 + length


def without_long_texts(data: bytes) -> tuple[bytes, list[str]]:
    """A PNG without the compressed texts that are longer than Pillow unpacks (1 MiB).

    Such as the history that some programs write into XMP. Other files come back as they are.

    Returns:
        The file, and the keywords of the texts that it no longer has.
    """
    if format_of(data[:HEAD_BYTES]) != "PNG":
        return data, []
    kept, keywords, rest = [], [], 0
    for kind, start, end in _chunk_places(data):
        if kind in (b"zTXt", b"iTXt"):
            content = data[start + 8 : end - 4]
            if _is_long(kind, content):
                kept.append(data[rest:start])
                keywords.append(keyword_of(content))
                rest = end
    return (b"".join([*kept, data[rest:]]) if kept else data), keywords


def keyword_of(content: bytes) -> str:
    """The keyword that a PNG's text begins with, for people."""
    return ascii(content[:79].partition(b"\0")[0].decode("latin-1"))[1:-1]


def packed_text(kind: bytes, content: bytes) -> tuple[bool, bytes]:
    """Whether the text in a zTXt or iTXt chunk is compressed, and the text as it stands there.

    Raises:
        ValueError, IndexError: for a damaged one.
    """
    _, _, rest = content.partition(b"\0")
    if kind == b"zTXt":
        return True, rest[1:]
    _, _, text = rest[2:].split(b"\0", 2)
    return rest[0] != 0, text


def _is_long(kind: bytes, content: bytes) -> bool:
    try:
        compressed, text = packed_text(kind, content)
        if not compressed:
            return False
        return len(zlib.decompressobj().decompress(text, MAX_TEXT_CHUNK + 1)) > MAX_TEXT_CHUNK
    except (IndexError, ValueError, zlib.error):
        return False  # damaged: Pillow's to judge


def verify_png(data: bytes) -> None:
    """Compare a PNG's checksums, which loading does not.

    Args:
        data: see `without_long_texts`.

    Raises:
        SyntaxError, OSError: of Pillow's, where one is wrong or the file ends early.
    """
    with open_header(io.BytesIO(data), ("PNG",)) as image:
        image.verify()


_opening = threading.Lock()


def open_header(file: BinaryIO, formats: tuple[str, ...]) -> Image.Image:
    """Pillow's `Image.open` without its limit of pixels: whoever calls this has one.

    The limit (`Image.MAX_IMAGE_PIXELS`) stays what it is for the rest of the process.
    """
    with _opening:
        kept, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(file, formats=formats)
        finally:
            Image.MAX_IMAGE_PIXELS = kept


@contextmanager
def open_image(
    data: bytes, formats: tuple[str, ...], maximum_megapixels: float
) -> Iterator[Image.Image]:
    """Open a picture without unpacking it, after looking at its header.

    Whatever a decoder raises within the block becomes an `UnusablePictureError`.

    Args:
        data: the file's bytes.
        formats: that are looked for, as Pillow names them.
        maximum_megapixels: pictures that claim more are refused (decompression bombs).

    Raises:
        UnusablePictureError: when the bytes are no picture of these formats, or too large.
    """
    if not data:
        raise UnusablePictureError("empty", "the file has 0 bytes")
    try:
        image = open_header(io.BytesIO(without_long_texts(data)[0]), formats)
    except UnidentifiedImageError:
        if data[:4] in (b"II*\0", b"MM\0*") or is_big_tiff(data):
            raise UnusablePictureError("unsupported", _kind_of_tiff(data)) from None
        raise UnusablePictureError("not_an_image", "no picture format that is read here") from None
    except (OSError, ValueError, SyntaxError, OverflowError, EOFError) as error:
        if format_of(data[:HEAD_BYTES]) == "WEBP":  # libwebp says nothing more
            raise UnusablePictureError("corrupt", "the file is cut off or damaged") from None
        raise UnusablePictureError("corrupt", f"unreadable header: {error}") from None
    with image:
        megapixels = image.width * image.height / 1e6
        if megapixels > maximum_megapixels:
            raise UnusablePictureError(
                "too_large",
                f"{image.width}x{image.height} is {round(megapixels, 2):g} megapixels; "
                f"the limit is {round(maximum_megapixels, 2):g}",
            )
        try:
            if _is_raw(data, tiff_tags(image)):
                raise UnusablePictureError("unsupported", "a camera's raw file: develop it first")
            if image.mode in ("LA", "La") and tiff_tags(image).get(PLANAR_CONFIGURATION) == 2:
                raise UnusablePictureError("unsupported", "grey and alpha in a plane each")
            _check_tiles(image)
            yield image
        except UnusablePictureError:
            raise
        except Exception as error:  # Pillow's decoders raise whatever their format raises
            status = "truncated" if "truncated" in str(error).lower() else "corrupt"
            text = str(error) or type(error).__name__
            if text.startswith("decoder error"):  # and a number
                text = "the samples are damaged or cut off"
            reason = f"the file is cut off ({text})" if status == "truncated" else text
            raise UnusablePictureError(status, reason) from None


def is_big_tiff(data: bytes) -> bool:
    """Whether a file is a TIFF with offsets of 64 bits."""
    return data[:4] in (b"II+\0", b"MM\0+")


def _check_tiles(image: Image.Image) -> None:
    """Refuse a TIFF's tiles that take much more memory than the picture that they show.

    Raises:
        UnusablePictureError: for such.
    """
    tags = tiff_tags(image)
    width, height = tags.get(TILE_WIDTH, 0), tags.get(TILE_LENGTH, 0)
    if width * height > max(LARGEST_TILE, 4 * image.width * image.height):
        raise UnusablePictureError(
            "too_large",
            f"tiles of {width}x{height} pixels in a picture of {image.width}x{image.height}",
        )


def _kind_of_tiff(data: bytes) -> str:
    """What a TIFF holds that Pillow does not read."""
    try:
        order, directory = byte_order(data), read_directory(data)
        bits, count = directory[0x0102].data, directory[0x0115].data
    except ExifError:
        return "a kind of TIFF that is not read, cut off or damaged"
    except KeyError:
        return "a kind of TIFF that is not read"
    if bits == struct.pack(order + "HH", 16, 16) and count[:2] == struct.pack(order + "H", 2):
        return "16-bit grey with alpha in a TIFF"
    return "a kind of TIFF that is not read"


def has_deep_planes(image: Image.Image) -> bool:
    """Whether a TIFF has a plane of 16-bit samples for each channel, which Pillow takes for 8."""
    tags = tiff_tags(image)
    bits = tags.get(258, (1,))
    return tags.get(PLANAR_CONFIGURATION) == 2 and len(bits) > 1 and max(bits) > 8


def correct_key(image: Image.Image) -> None:
    """Make a PNG's transparent grey of 2 or 4 bits one of 8, as its samples will be.

    Args:
        image: opened and not loaded yet.
    """
    if isinstance(image, PngImageFile) and image.mode == "L" and image.tile:
        step = {"L;2": 85, "L;4": 17}.get(str(image.tile[0].args), 1)
        if "transparency" in image.info:
            image.info["transparency"] *= step


def _is_raw(data: bytes, tags: Mapping[int, Any]) -> bool:
    """Whether a TIFF is a camera's, whose first picture is but a preview."""
    reduced = tags.get(NEW_SUBFILE_TYPE) in (1, 3, 5, 7)
    canon = bool(tags) and data[8:10] == b"CR"
    return canon or DNG_VERSION in tags or (reduced and SUB_DIRECTORIES in tags)


def tiff_tags(image: Image.Image) -> Mapping[int, Any]:
    """The tags of a TIFF's directory; none of other files."""
    return image.tag_v2 if isinstance(image, TiffImageFile) else {}


def deep_grey(image: Image.Image, tags: Mapping[int, Any]) -> NDArray[np.uint16]:
    """The samples of one of Pillow's integer modes, 0 to 65535 from dark to bright.

    Pillow turns what is white at zero if it has 8 bits, and leaves 12 bits as they are.

    Args:
        image: loaded.
        tags: of the file that it came from, see `tiff_tags`.

    Raises:
        UnusablePictureError: for signed samples below 0 and those beyond 16 bits.
    """
    samples = np.asarray(image)
    if samples.min() < 0 or samples.max() > 65535:
        raise UnusablePictureError("unsupported", "signed or 32-bit integer samples")
    if tags.get(258) == (12,):
        samples = samples << 4 | samples >> 8  # bits repeated: 4095 becomes 65535
    samples = samples.astype(np.uint16, copy=False)
    return np.uint16(65535) - samples if tags.get(262) == 0 else samples


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # unreadable EXIF data says nothing against the pixels
        return 1


def _to_rgb(image: Image.Image, orientation: int) -> tuple[Picture, str]:
    rules = []
    tags = tiff_tags(image)  # before it is turned, which leaves them behind
    if getattr(image, "n_frames", 1) > 1:
        rules.append(f"first of {getattr(image, 'n_frames', 1)} frames")
    if orientation in range(2, 9):
        image = ImageOps.exif_transpose(image)
        rules.append("EXIF orientation applied")

    if image.mode.startswith("I"):
        samples = deep_grey(image, tags)
        grey = Image.fromarray((samples >> 8).astype(np.uint8))
        if "transparency" in image.info:
            opaque = samples != image.info["transparency"]
            grey.putalpha(Image.fromarray(opaque.astype(np.uint8) * np.uint8(255)))
        image = grey
        rules.append("16-bit high byte")
    if image.mode == "F":
        raise UnusablePictureError("unsupported", "floating-point samples")

    if image.mode in ("CMYK", "YCCK"):
        image = cmyk_to_rgb(image)
        rules.append("CMYK to RGB")
    if image.mode == "La":  # Pillow's only way from there
        image = image.convert("LA")
    if image.mode in ("L", "1") or (image.mode == "LA" and "16-bit high byte" in rules):
        rules.append("grey to RGB")
    if image.mode == "P":
        rules.append("palette to RGB")

    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        with_alpha = image.convert("RGBA")
        alpha = np.asarray(with_alpha)[..., 3]
        if alpha.min() < 255:
            white = Image.new("RGBA", with_alpha.size, "white")
            with_alpha = Image.alpha_composite(white, with_alpha)
            rules.append("alpha over white")
        image = with_alpha
    pixels = np.array(image.convert("RGB"), np.uint8)
    return pixels, ", ".join(rules)


def cmyk_to_rgb(image: Image.Image) -> Image.Image:
    """CMYK through the embedded profile to sRGB, or by the plain formula without one."""
    profile = image.info.get("icc_profile")
    if profile:
        try:
            converted = ImageCms.profileToProfile(
                image,
                ImageCms.ImageCmsProfile(io.BytesIO(profile)),
                ImageCms.createProfile("sRGB"),
                outputMode="RGB",
            )
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError):
            pass  # a broken profile: the plain formula is what viewers fall back to
    return image.convert("RGB")
