"""Reading any picture file into samples and everything else that it says, to be written again.

What becomes of the kinds of pictures:

- Greyscale and bilevel pictures become grey (1 channel), with alpha 2 channels.
- 8 and 16 bits a sample stay what they are. 32-bit and floating-point samples are refused.
- Palettes are looked up: RGB, or RGBA where entries are transparent.
- CMYK and YCCK are converted through their ICC profile to sRGB, which is then the profile; by the
  plain formula where they have none.
- A transparent colour (PNG's tRNS) becomes an alpha channel; premultiplied alpha is undone.
- Files of several pictures (animations, pages) are refused. The previews and gain maps that some
  cameras append to a JPEG are left out.
- Pixels lie as in the file: the orientation is in the EXIF data and stays there.
"""

import io
import struct
from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from isr_pipeline.imaging.decode import (
    UnusablePictureError,
    cmyk_to_rgb,
    correct_key,
    open_image,
    white_is_zero,
)
from isr_pipeline.imaging.exif import (
    ICC_PROFILE,
    X_RESOLUTION,
    XMP,
    Directory,
    ExifError,
    as_stored,
    descriptive_part,
    orientation_of,
    read_directory,
)
from isr_pipeline.imaging.profiles import fits
from isr_pipeline.quiet import no_warnings

Samples = NDArray[Any]
"""`(height, width, channel)`, uint8 or uint16; by channels grey, grey and alpha, RGB, RGBA."""

READ = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "DIB", "GIF")
"""Formats that are read, as Pillow names them."""

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
        iptc: Photoshop's resources with IPTC captions: payloads of JPEG APP13 segments.
        comment: a JPEG's.
        chunks: of a PNG that are copied as they are: type and content.
        lossless: of a WebP, whether it is stored without loss.
    """

    exif: bytes | None = None
    icc: bytes | None = None
    dpi: tuple[float, float] | None = None
    aspect: tuple[int, int] | None = None
    xmp: bytes | None = None
    iptc: tuple[bytes, ...] = ()
    comment: bytes | None = None
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    lossless: bool = False


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
    """

    width: int
    height: int
    channels: int
    depth: int
    format: str


def read_header(data: bytes, maximum_megapixels: float = 200.0) -> Header:
    """What a file claims to hold.

    Raises:
        UnusablePictureError: when it is no picture of the formats read here, holds several, or
            claims more than `maximum_megapixels`.
    """
    with _opened(data, maximum_megapixels) as image:
        depth = 2 if _is_deep(image, data) else 1
        return Header(*image.size, _channels(image, data), depth, _format(image))


def read_picture(data: bytes, maximum_megapixels: float = 200.0) -> PictureFile:
    """Decode a picture file by the module's rule.

    Args:
        data: the file's bytes.
        maximum_megapixels: pictures that claim more are refused before anything is unpacked.

    Raises:
        UnusablePictureError: when the bytes are no complete picture of a kind that is read here.
    """
    with _opened(data, maximum_megapixels) as image:
        extras = _extras(image, data)  # before loading, which drops some of it
        is_cmyk = image.mode in ("CMYK", "YCCK")
        image.info.pop("xmp", None)  # a TIFF is turned by what this says of its orientation
        correct_key(image)
        image.load()
        if _format(image) == "PNG":  # loading compares no checksums
            with Image.open(io.BytesIO(data)) as again:
                again.verify()
        deep = _is_deep(image, data)
        samples = _deep_samples(image, as_stored(data)) if deep else samples_of(image)
        icc = extras.icc
        if is_cmyk:
            icc = srgb_profile() if icc else None
        elif icc is not None and not fits(icc, samples.shape[2]):
            icc = None
        if icc is not extras.icc:
            extras = Extras(**{**vars(extras), "icc": icc})
        return PictureFile(samples, _format(image), extras)


def samples_of(image: Image.Image) -> Samples:
    """The samples of a Pillow image by the module's rule.

    Raises:
        UnusablePictureError: for 32-bit and floating-point samples and colour spaces that are
            not handled here.
    """
    if image.mode.startswith("I"):
        grey = np.asarray(image)
        if grey.min() < 0 or grey.max() > 65535:
            raise UnusablePictureError("unsupported", "32-bit integer samples")
        grey = grey.astype(np.uint16)[..., None]
        key = image.info.get("transparency")
        return grey if key is None else _with_key(grey, (key,))
    if image.mode in ("CMYK", "YCCK"):
        image = cmyk_to_rgb(image)
    modes = {"1": "L", "La": "LA", "RGBa": "RGBA", "PA": "RGBA", "RGBX": "RGB", "YCbCr": "RGB"}
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
    grey = image.mode in ("1", "L", "LA", "La", "I", "F") or image.mode.startswith("I;")
    if image.format == "PNG":  # 16-bit grey with alpha is RGBA to Pillow
        grey = data[25] in (0, 4)
    return (1 if grey else 3) + bool(image.has_transparency_data)


def _deep_samples(image: Image.Image, data: bytes) -> Samples:
    """16-bit samples: Pillow has them for grey alone, the others are OpenCV's to read."""
    tags = image.tag_v2 if image.format == "TIFF" else {}  # type: ignore[attr-defined]
    if image.mode.startswith("I"):
        samples = samples_of(image)
        return np.uint16(65535) - samples if white_is_zero(image) else samples
    if image.mode == "CMYK":
        raise UnusablePictureError("unsupported", "16-bit CMYK samples")
    import cv2

    read = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if read is None or read.dtype != np.uint16 or read.shape[:2] != image.size[::-1]:
        raise UnusablePictureError("unsupported", "16-bit samples in a layout that is not read")
    if read.ndim == 2:
        read = read[..., None]
    wanted = _channels(image, data)
    order = {1: [0], 2: [0, -1], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[wanted]
    if wanted == 4 and read.shape[2] == 3:
        key = image.info["transparency"]
        return _with_key(np.ascontiguousarray(read[..., ::-1]), key)
    samples = np.ascontiguousarray(read[..., order], np.uint16)
    if tags.get(338) == (1,):  # premultiplied ("associated") alpha
        alpha = samples[..., -1:].astype(np.float64)
        colour = samples[..., :-1] * (65535 / np.maximum(alpha, 1))
        samples[..., :-1] = np.minimum(np.rint(colour), 65535)
    return samples


def _with_key(samples: NDArray[np.uint16], key: tuple[int, ...]) -> NDArray[np.uint16]:
    opaque = (samples != np.array(key, np.uint16)).any(axis=2, keepdims=True)
    return np.concatenate([samples, opaque * np.uint16(65535)], axis=2)


def _extras(image: Image.Image, data: bytes) -> Extras:
    info, file_format = image.info, _format(image)
    exif = info.get("exif")
    if file_format == "PNG" and exif is None:  # may stand behind the picture
        exif = next((content for _, content in _png_chunks(data, {b"eXIf"})), None)
    xmp = info.get("xmp")
    icc = info.get("icc_profile")
    if file_format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        exif, xmp, icc = descriptive_part(data), tags.get(XMP), tags.get(ICC_PROFILE, icc)
    dpi, aspect = _resolution(image)
    iptc = [payload for name, payload in getattr(image, "applist", []) if name == "APP13"]
    return Extras(
        exif=exif.removeprefix(b"Exif\0\0") if isinstance(exif, bytes) and exif else None,
        icc=icc if isinstance(icc, bytes) and icc else None,
        dpi=dpi,
        aspect=aspect,
        xmp=xmp.encode() if isinstance(xmp, str) else xmp or None,
        iptc=tuple(iptc),
        comment=info.get("comment") if file_format == "JPEG" else None,
        chunks=tuple(_png_chunks(data, PNG_COPIED)) if file_format == "PNG" else (),
        lossless=file_format == "WEBP" and b"VP8L" in (data[12:16], _webp_picture(data)),
    )


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
        if info.get("jfif_unit", 0) == 0 and X_RESOLUTION not in _directory(info.get("exif")):
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


def _directory(exif: bytes | None) -> Directory:
    try:
        return read_directory((exif or b"").removeprefix(b"Exif\0\0"))
    except ExifError:
        return {}


def _png_chunks(data: bytes, wanted: Set[bytes]) -> Iterator[tuple[bytes, bytes]]:
    position = 8
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">L4s", data, position)
        if kind in wanted:
            yield kind, data[position + 8 : position + 8 + length]
        position += 12 + length


def _webp_picture(data: bytes) -> bytes:
    """The type of the chunk with the picture in an extended WebP file."""
    position = 12
    while position + 8 <= len(data):
        kind, length = struct.unpack_from("<4sL", data, position)
        if kind in (b"VP8 ", b"VP8L"):
            return bytes(kind)
        position += 8 + length + length % 2
    return b""


def orientation(extras: Extras) -> int:
    """How a picture is to be turned when shown: EXIF's 1 to 8."""
    return orientation_of(extras.exif)
