"""Reading any picture file into samples and everything else that it says, to be written again.

What becomes of the kinds of pictures:

- Greyscale and bilevel pictures become grey (1 channel), with alpha 2 channels.
- 8 and 16 bits a sample stay what they are, 12 become 16. 32-bit, signed and floating-point
  samples are refused.
- Palettes are looked up: RGB, or RGBA where entries are transparent.
- CMYK and YCCK are converted through their ICC profile to sRGB, which is then the profile; by the
  plain formula where they have none.
- A transparent colour (PNG's tRNS) becomes an alpha channel; premultiplied alpha is undone.
- Files of several pictures (animations, pages) are refused. The previews and gain maps that some
  cameras append to a JPEG are left out.
- Pixels lie as in the file: the orientation is in the EXIF data and stays there.
"""

import io
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from isr_pipeline.imaging.decode import (
    PLANAR_CONFIGURATION,
    UnusablePictureError,
    cmyk_to_rgb,
    correct_key,
    deep_grey,
    has_deep_planes,
    is_big_tiff,
    is_grey,
    open_image,
    packed_text,
    png_chunks,
    tiff_tags,
    verify_png,
    without_long_texts,
)
from isr_pipeline.imaging.exif import (
    ICC_PROFILE,
    ORIENTATION,
    X_RESOLUTION,
    XMP,
    as_stored,
    descriptive_part,
    directory_of,
)
from isr_pipeline.imaging.profiles import fits
from isr_pipeline.quiet import no_warnings

Samples = NDArray[Any]
"""`(height, width, channel)`, uint8 or uint16; by channels grey, grey and alpha, RGB, RGBA."""

RESULTS = ".isr-results"
"""Hidden file of a folder of enlarged pictures that lies within a folder of photographs."""
READ = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "DIB", "GIF")
"""Formats that are read, as Pillow names them."""

SAMPLES_PER_PIXEL = 277
PHOTOSHOP_RESOURCES, PHOTOSHOP_LAYERS = 34377, 37724
"""TIFF tags."""
PHOTOSHOP = b"Photoshop 3.0\0"
"""How JPEG's segments with Photoshop's resources begin."""
EXTENDED_XMP = b"http://ns.adobe.com/xmp/extension/\0"
"""How JPEG's segments begin with what its XMP segment has no room for."""
XMP_TEXT = b"XML:com.adobe.xmp\0"
"""How a PNG's text with XMP begins."""

TEXT_ROOM = 1 << 26
"""Bytes that a compressed text is unpacked to, at most."""
MOVING = re.compile(rb"((?:MotionPhoto|MicroVideo)\W{1,3})1")
"""Where XMP says that a film is appended to the picture."""
GAIN_MAP = re.compile(
    rb"""\shdrgm:\w{1,40}=(?:"[^"]{0,200}"|'[^']{0,200}')"""
    rb"|<hdrgm:(\w{1,40})>[^<]{0,200}</hdrgm:\1>"
    rb"|<rdf:li\b[^<>]{0,300}>\s{0,100}<Container:Item\b[^<>]{0,300}"
    rb"""Item:Semantic=["']GainMap["'][^<>]{0,300}/>\s{0,100}</rdf:li>"""
)
"""What XMP says of a gain map behind the picture ("Ultra HDR Image Format v1.1", Android)."""
REGIONS = re.compile(
    rb"(?s)mwg-rs:AppliedToDimensions(?:[^>]{0,300}/>|.{0,600}?</mwg-rs:AppliedToDimensions>)"
)
"""Where XMP has the picture's size beside regions, such as faces (Metadata Working Group, 2.0)."""

PNG_COPIED = frozenset(
    {b"cHRM", b"gAMA", b"sRGB", b"cICP", b"tEXt", b"zTXt", b"iTXt", b"tIME", b"mDCV", b"cLLI"}
)
"""PNG chunks that hold for a larger picture as they are."""


@dataclass(frozen=True)
class Extras:
    """What a picture file holds beside its samples.

    Attributes:
        exif: EXIF data from its TIFF header on.
        icc: the ICC profile that the samples are meant in.
        dpi: horizontal and vertical resolution.
        aspect: horizontal and vertical resolution in no unit, where they differ: pixels that are
            not square.
        xmp: XMP packet.
        extended_xmp: more of it: payloads of JPEG APP1 segments.
        iptc: Photoshop's resources with IPTC captions: payloads of JPEG APP13 segments.
        comments: of a JPEG or GIF.
        chunks: of a PNG that are copied as they are: type and content.
        lossless: of a WebP, whether it is stored without loss.
        left_out: what no larger picture keeps of it, for people.
    """

    exif: bytes | None = None
    icc: bytes | None = None
    dpi: tuple[float, float] | None = None
    aspect: tuple[int, int] | None = None
    xmp: bytes | None = None
    extended_xmp: tuple[bytes, ...] = ()
    iptc: tuple[bytes, ...] = ()
    comments: tuple[bytes, ...] = ()
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    lossless: bool = False
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class PictureFile:
    """A picture file in memory.

    Attributes:
        samples: `(height, width, channel)`, uint8 or uint16; see `Samples`.
        format: `JPEG`, `PNG`, `WEBP`, `TIFF`, `BMP` or `GIF`.
        extras: what is to be kept beside them.
    """

    samples: Samples
    format: str
    extras: Extras = field(default_factory=Extras)


@dataclass(frozen=True)
class Header:
    """What a file claims to hold, before it is unpacked.

    Attributes:
        width: in pixels.
        height: in pixels.
        channels: 1 to 4, as in `Samples`.
        depth: bytes a sample, 1 or 2.
        format: as of `PictureFile`.
        working: bytes a pixel that `read_picture` takes beyond the samples, at most (measured).
        lossless: as of `Extras`.
    """

    width: int
    height: int
    channels: int
    depth: int
    format: str
    working: int
    lossless: bool


def read_header(data: bytes, maximum_megapixels: float = 200.0) -> Header:
    """What a file claims to hold.

    Raises:
        UnusablePictureError: when it is no picture of the formats read here, holds several, or
            claims more than `maximum_megapixels`.
    """
    with _opened(data, maximum_megapixels) as image:
        depth = 2 if _is_deep(image, data) else 1
        channels = _channels(image, data)
        if depth == 2:
            working = 16
        elif image.format == "WEBP":
            working = 13 + channels
        else:  # Pillow's image, its bytes, and a conversion
            working = {"CMYK": 12, "YCCK": 12, "P": 9}.get(image.mode, 5 + channels)
        return Header(*image.size, channels, depth, _format(image), working, _is_lossless(data))


def read_picture(data: bytes, maximum_megapixels: float = 200.0) -> PictureFile:
    """Decode a picture file by the module's rule.

    Args:
        data: the file's bytes.
        maximum_megapixels: pictures that claim more are refused before anything is unpacked.

    Raises:
        UnusablePictureError: when the bytes are no complete picture of a kind that is read here.
    """
    data, long_texts = without_long_texts(data)
    with _opened(data, maximum_megapixels) as image:
        extras = _extras(image, data, long_texts)  # before loading, which drops some of it
        is_cmyk = image.mode in ("CMYK", "YCCK")
        turned = is_big_tiff(data) and tiff_tags(image).get(ORIENTATION, 1) != 1
        if turned and has_deep_planes(image):  # which nobody turns
            raise UnusablePictureError("unsupported", "16-bit planes of a BigTIFF that is turned")
        image.info.pop("xmp", None)  # a TIFF is turned by what this says of its orientation
        correct_key(image)
        image.load()
        if _format(image) == "PNG":
            verify_png(data)
        deep = _is_deep(image, data)
        samples = _deep_samples(image, as_stored(data)) if deep else samples_of(image)
        icc = extras.icc
        if is_cmyk:
            icc = srgb_profile() if icc else None
        elif icc is not None and not fits(icc, samples.shape[2]):
            icc = None
        if icc is not extras.icc:
            lost = () if is_cmyk else ("a colour profile for other channels",)
            extras = replace(extras, icc=icc, left_out=(*extras.left_out, *lost))
        return PictureFile(samples, _format(image), extras)


def samples_of(image: Image.Image) -> Samples:
    """The samples of a Pillow image by the module's rule.

    Raises:
        UnusablePictureError: for 32-bit and floating-point samples and colour spaces that are
            not handled here.
    """
    if image.mode.startswith("I"):
        grey = deep_grey(image, tiff_tags(image))[..., None]
        key = image.info.get("transparency")
        return grey if key is None else _with_key(grey, (key,))
    if image.mode in ("CMYK", "YCCK"):
        image = cmyk_to_rgb(image)
    if image.mode == "La":  # Pillow's only way from there
        image = image.convert("LA")
    modes = {"1": "L", "RGBa": "RGBA", "PA": "RGBA", "RGBX": "RGB", "YCbCr": "RGB"}
    mode = modes.get(image.mode, image.mode)
    if mode == "P":
        mode = "RGBA" if image.has_transparency_data else "RGB"
    elif mode in ("L", "RGB") and "transparency" in image.info:
        mode = "LA" if mode == "L" else "RGBA"
    if mode not in ("L", "LA", "RGB", "RGBA"):
        kind = "floating-point" if mode == "F" else mode
        raise UnusablePictureError("unsupported", f"{kind} samples")
    if mode == "LA" and image.mode != "LA":
        image = image.convert("RGBA")  # looks transparent levels up; has no way to LA
        return np.asarray(image)[..., [0, 3]]
    samples = np.asarray(image if image.mode == mode else image.convert(mode), np.uint8)
    return samples if samples.ndim == 3 else samples[..., None]


@lru_cache(maxsize=1)
def srgb_profile() -> bytes:
    """An ICC profile of sRGB."""
    return bytes(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())


@contextmanager
def _opened(data: bytes, maximum_megapixels: float) -> Iterator[Image.Image]:
    """Open a picture; what its decoder raises within the block becomes `UnusablePictureError`."""
    with no_warnings(), open_image(as_stored(data), READ, maximum_megapixels) as image:
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format != "MPO":
            kind = "pages" if image.format == "TIFF" else "frames: animated files"
            raise UnusablePictureError("unsupported", f"{frames} {kind} are not upscaled")
        yield image


def _format(image: Image.Image) -> str:
    return {"MPO": "JPEG", "DIB": "BMP"}.get(str(image.format), str(image.format))


def _is_deep(image: Image.Image, data: bytes) -> bool:
    if image.mode.startswith("I"):
        return True
    if image.format == "PNG":
        return data[24] == 16
    if image.format == "TIFF":
        bits = tuple(image.tag_v2.get(258, (1,)))  # type: ignore[attr-defined]
        return bits[0] == 16
    return False


def _channels(image: Image.Image, data: bytes) -> int:
    grey = is_grey(image.mode)
    if image.format == "PNG":  # 16-bit grey with alpha is RGBA to Pillow
        grey = data[25] in (0, 4)
    return (1 if grey else 3) + bool(image.has_transparency_data)


def _deep_samples(image: Image.Image, data: bytes) -> Samples:
    """16-bit samples: Pillow has them for grey alone, the others are OpenCV's to read."""
    tags = tiff_tags(image)
    if image.mode.startswith("I"):
        return samples_of(image)
    if image.mode == "CMYK":
        raise UnusablePictureError("unsupported", "16-bit CMYK samples")
    planar = tags.get(PLANAR_CONFIGURATION) == 2
    read = _planes(data) if planar else _interleaved(data)
    if read is None or read.dtype != np.uint16 or read.shape[:2] != image.size[::-1]:
        raise UnusablePictureError("unsupported", "16-bit samples in a layout that is not read")
    wanted = _channels(image, data)
    if wanted == 4 and read.shape[2] == 3:
        return _with_key(read, image.info["transparency"])
    samples = np.ascontiguousarray(read[..., [0, -1] if wanted == 2 else slice(wanted)])
    if tags.get(338) == (1,):  # premultiplied ("associated") alpha
        for row in samples:  # a whole picture in floating point takes much memory
            alpha = np.maximum(row[:, -1:].astype(np.float64), 1)
            row[:, :-1] = np.minimum(np.rint(row[:, :-1] * (65535 / alpha)), 65535)
    return samples


def _interleaved(data: bytes) -> Samples | None:
    """`(height, width, channel)` in the file's order."""
    import cv2

    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # of tags it does not know
    try:
        read = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    finally:
        cv2.utils.logging.setLogLevel(level)
    if read is None:
        return None
    if read.ndim == 2:
        return np.asarray(read[..., None])
    return np.asarray(read[..., [2, 1, 0, *range(3, read.shape[2])]])


def _planes(data: bytes) -> Samples | None:
    """The same of a TIFF that has a plane for each channel, which OpenCV takes for mixed."""
    import tifffile

    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            return np.moveaxis(file.pages[0].asarray(), 0, -1)
    except (ValueError, tifffile.TiffFileError):  # a compression that needs another library
        return None


def _with_key(samples: NDArray[np.uint16], key: tuple[int, ...]) -> NDArray[np.uint16]:
    opaque = (samples != np.array(key, np.uint16)).any(axis=2, keepdims=True)
    return np.concatenate([samples, opaque * np.uint16(65535)], axis=2)


def _extras(image: Image.Image, data: bytes, long_texts: Sequence[str]) -> Extras:
    info, file_format = image.info, _format(image)
    exif = info.get("exif")
    if file_format == "PNG" and exif is None:  # may stand behind the picture
        exif = next((content for _, content in png_chunks(data, {b"eXIf"})), None)
    xmp = info.get("xmp")
    icc = info.get("icc_profile")
    segments = getattr(image, "applist", [])  # a JPEG's
    iptc = [payload for name, payload in segments if name == "APP13"]
    extended = [payload for name, payload in segments if payload.startswith(EXTENDED_XMP)]
    comments = [payload for name, payload in segments if name == "COM"]
    if file_format == "GIF" and info.get("comment"):
        comments = [info["comment"]]
    if file_format == "TIFF":
        tags = tiff_tags(image)
        exif, xmp, icc = descriptive_part(data), tags.get(XMP), tags.get(ICC_PROFILE, icc)
        if not isinstance(xmp, bytes):  # Pillow has those of other types than BYTE in a tuple
            xmp = next((part for part in xmp or () if isinstance(part, bytes)), None)
        iptc = _in_segments(tags.get(PHOTOSHOP_RESOURCES))
    chunks = tuple(png_chunks(data, PNG_COPIED)) if file_format == "PNG" else ()
    if xmp is None:  # a PNG's may stand behind the picture
        xmp = next((_text(content) for _, content in chunks if content.startswith(XMP_TEXT)), None)
    dpi, aspect = _resolution(image)
    return Extras(
        exif=exif.removeprefix(b"Exif\0\0") if isinstance(exif, bytes) and exif else None,
        icc=icc if isinstance(icc, bytes) and icc else None,
        dpi=dpi,
        aspect=aspect,
        xmp=xmp.encode() if isinstance(xmp, str) else xmp or None,
        extended_xmp=tuple(extended),
        iptc=tuple(iptc),
        comments=tuple(comments),
        chunks=tuple(chunk for chunk in chunks if not chunk[1].startswith(XMP_TEXT)),
        lossless=_is_lossless(data),
        left_out=(
            *_left_out(image, data, xmp),
            *(f"a text of over 1 MiB ({key})" for key in long_texts),
        ),
    )


def _left_out(image: Image.Image, data: bytes, xmp: Any) -> Iterator[str]:
    """What a file has that a larger picture has not, for people."""
    tags = tiff_tags(image)
    if image.format == "MPO":
        yield "the pictures behind the first"
    if isinstance(xmp, bytes) and MOVING.search(xmp):
        yield "the film"
    if image.format != "MPO" and isinstance(xmp, bytes) and GAIN_MAP.search(xmp):
        yield "the gain map"
    if tags.get(SAMPLES_PER_PIXEL, 1) > len(set(image.getbands()) - {"X"}):
        yield "a channel without a meaning"
    if PHOTOSHOP_LAYERS in tags:
        yield "Photoshop's layers"
    if is_big_tiff(data):
        yield "what a BigTIFF says of the photograph"


def _in_segments(resources: Any) -> list[bytes]:
    """Photoshop's resources as the payloads of JPEG segments."""
    if isinstance(resources, tuple):  # Pillow knows the tag, and not that it has many bytes
        resources = resources[0]
    if not isinstance(resources, bytes):
        return []
    room = 65533 - len(PHOTOSHOP)
    starts = range(0, len(resources), room)
    return [PHOTOSHOP + resources[start : start + room] for start in starts]


def _text(content: bytes) -> bytes | None:
    """The text in a PNG's iTXt chunk; None if it is damaged."""
    try:
        compressed, text = packed_text(b"iTXt", content)
        return zlib.decompressobj().decompress(text, TEXT_ROOM) if compressed else text
    except (IndexError, ValueError, zlib.error):
        return None


def _resolution(
    image: Image.Image,
) -> tuple[tuple[float, float] | None, tuple[int, int] | None]:
    """Resolution in dots per inch, and without a unit, as far as the file says so itself."""
    info, dpi, ratio = image.info, image.info.get("dpi"), None
    if image.format == "TIFF":
        if X_RESOLUTION not in image.tag_v2:  # type: ignore[attr-defined]
            return None, None  # Pillow says 1
        ratio = info.get("resolution") if dpi is None else None
    elif _format(image) == "JPEG":
        if info.get("jfif_unit") == 0:
            ratio = info["jfif_density"]
        if info.get("jfif_unit", 0) == 0 and X_RESOLUTION not in directory_of(info.get("exif")):
            dpi = None  # Pillow says 72
    elif image.format == "PNG":
        ratio = info.get("aspect")
    aspect = None
    if ratio is not None and all(0 < value < 1e6 for value in ratio) and ratio[0] != ratio[1]:
        parts = (Fraction(float(ratio[0])) / Fraction(float(ratio[1]))).limit_denominator(1000)
        if 0 < parts.numerator < 1 << 16:
            aspect = parts.numerator, parts.denominator
    if dpi is None or aspect is not None:
        return None, aspect
    dpi = float(dpi[0]), float(dpi[1])
    return (dpi if all(0 < value < 1e6 for value in dpi) else None), None


def _is_lossless(data: bytes) -> bool:
    """Whether a file is a WebP that is stored without loss."""
    return data[8:12] == b"WEBP" and b"VP8L" in (data[12:16], _webp_picture(data))


def _webp_picture(data: bytes) -> bytes:
    """The type of the chunk with the picture in an extended WebP file."""
    position = 12
    while position + 8 <= len(data):
        kind, length = struct.unpack_from("<4sL", data, position)
        if kind in (b"VP8 ", b"VP8L"):
            return bytes(kind)
        position += 8 + length + length % 2
    return b""
