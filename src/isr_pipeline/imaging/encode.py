"""Writing picture files band by band, with everything that the original held.

PNG, TIFF and BMP are written as the rows come, so that a picture of any size needs the memory of
a band; JPEG and WebP need the whole picture (Pillow's encoders, 4 bytes a pixel and more).
"""

import logging
import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, Protocol

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import MAX_TEXT_CHUNK

from isr_pipeline.imaging.decode import keyword_of
from isr_pipeline.imaging.exif import (
    DESCRIPTIVE,
    ICC_PROFILE,
    LONG,
    ORIENTATION,
    RESOLUTION_UNIT,
    SHORT,
    X_RESOLUTION,
    XMP,
    Y_RESOLUTION,
    Directory,
    Entry,
    ExifError,
    byte_order,
    directory_bytes,
    directory_of,
    entry,
    exif_bytes,
    orientation_of,
    read_directory,
    turned_upright,
    with_size,
    within,
)
from isr_pipeline.imaging.files import (
    GAIN_MAP,
    MOVING,
    PHOTOSHOP,
    PHOTOSHOP_RESOURCES,
    REGIONS,
    XMP_TEXT,
    Extras,
    Samples,
)
from isr_pipeline.imaging.profiles import fitting

logger = logging.getLogger(__name__)

SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp", ".dib"),
}
"""Formats that are written, and the endings of their names, the usual one first."""

STRIP = 64
"""Rows that are worked on at a time where a picture is not needed whole."""
JPEG_QUALITY, WEBP_QUALITY = 95, 95
COMPRESSION = 2
"""Level of igzip (Intel's ISA-L) for PNG and TIFF: files as small as those of zlib's level 3, in
a seventh of the time. Two photographs of 1200x800 took 4 and 9 ms (zlib: 36 and 81) for 537 and
1,286 KB (527 and 1,310); drawn text came to 117 KB (112)."""
LARGEST_SIDE = {"JPEG": 65500, "WEBP": 16383, "PNG": 2**31 - 1, "TIFF": 2**31 - 1, "BMP": 32767}


def whole_picture_bytes(file_format: str, channels: int, lossless: bool) -> int:
    """Memory that an encoder takes for each pixel beyond the band, where it needs all of them.

    Measured with libwebp 1.6: 14.6 bytes a pixel for RGB with loss, 35 with alpha, 34 without loss.
    """
    if file_format == "WEBP":
        return 36 if lossless or channels in (2, 4) else 15
    return 4 if file_format == "JPEG" else 0


JPEG_ROOM = {"EXIF": 65527, "XMP": 65504, "comment": 65533}
"""Bytes of each that JPEG's segments hold."""
PROFILE_ROOM = {"JPEG": 255 * 65519, "PNG": MAX_TEXT_CHUNK}
"""Bytes of a colour profile that JPEG's segments hold, and with which Pillow still opens a PNG."""


TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
"""A PNG's chunks of text."""

HELD = MappingProxyType(
    {
        "JPEG": {"exif", "icc", "xmp", "iptc", "comments", "dpi", "aspect"},
        "PNG": {"exif", "icc", "xmp", "texts", "dpi", "aspect", "colours"},
        "WEBP": {"exif", "icc", "xmp"},
        "TIFF": {"exif", "icc", "xmp", "iptc", "dpi", "aspect"},
        "BMP": {"dpi"},
    }
)
"""What each format keeps beside the samples."""


class UnwritableError(ValueError):
    """A picture that a format cannot hold."""


class Writer(Protocol):
    """Takes the rows of a picture from top to bottom."""

    def write(self, rows: Samples) -> None:
        """Add rows: `(height, width, channel)`, of the announced width, channels and type."""

    def close(self) -> None:
        """Finish the file after the last row."""


def open_writer(
    path: Path,
    file_format: str,
    size: tuple[int, int],
    channels: int,
    depth: int,
    extras: Extras,
    name: str,
) -> Writer:
    """Begin a picture file.

    Args:
        path: the file; whoever wants it whole or not at all gives a temporary name.
        file_format: one of `SUFFIXES`, that holds these samples (see `held`).
        size: width and height in pixels.
        channels: 1 to 4, as in `files.Samples`.
        depth: bytes a sample, 1 or 2.
        extras: to be kept; EXIF's and XMP's notes of the picture's size are corrected. What the
            format has no room for is left out, with a warning in the log.
        name: how that warning calls the picture.

    Raises:
        UnwritableError: when the format has no room for a picture of this size.
    """
    width, height = size
    if max(size) > LARGEST_SIDE[file_format]:
        raise UnwritableError(
            f"{file_format} holds at most {LARGEST_SIDE[file_format]} pixels a side, "
            f"the result has {width}x{height}: choose --format png"
        )
    raw = width * height * channels * depth
    if file_format in ("TIFF", "BMP") and raw >= 1 << 32:
        raise UnwritableError(
            f"{file_format} holds at most 4 GiB, the result has {raw / 2**30:.1f} GiB: "
            "choose --format png"
        )
    if extras.exif is not None:
        extras = replace(extras, exif=with_size(extras.exif, width, height))
    if extras.xmp is not None:
        extras = replace(extras, xmp=_xmp_with_size(extras.xmp, width, height))
    if extras.left_out:
        logger.warning("%s: left out: %s", name, ", ".join(extras.left_out))
    extras, missing = holding(extras, file_format, channels)
    if missing:
        text = "%s: %s cannot hold all of its %s: what does not fit is left out"
        logger.warning(text, name, file_format, ", ".join(missing))
    if file_format in ("JPEG", "WEBP"):
        return _WholeWriter(path, file_format, size, channels, extras)
    kinds: dict[str, Callable[..., Writer]] = {
        "PNG": _PngWriter,
        "TIFF": _TiffWriter,
        "BMP": _BmpWriter,
    }
    return kinds[file_format](path.open("wb"), size, channels, depth, extras)


def held(file_format: str, channels: int, depth: int) -> tuple[int, int]:
    """Channels and bytes a sample that a format keeps of a picture's.

    JPEG, WebP and BMP hold 8 bits, JPEG no alpha, WebP no grey; 16-bit grey with alpha is written
    to TIFF as RGBA, because hardly a program reads it there.
    """
    if (file_format, channels, depth) == ("TIFF", 2, 2):
        return 4, 2
    if file_format in ("PNG", "TIFF"):
        return channels, depth
    if file_format == "JPEG":
        return (1 if channels < 3 else 3), 1
    if file_format == "BMP" and channels == 1:
        return 1, 1
    return (3 if channels % 2 else 4), 1


def fitted(samples: Samples, channels: int, depth: int) -> Samples:
    """Samples as a format holds them: alpha over white, 16 bits rounded to 8, grey to RGB."""
    deeper = depth == 1 and samples.dtype == np.uint16
    if samples.shape[2] == channels and not deeper:
        return samples
    result = np.empty((*samples.shape[:2], channels), np.uint8 if deeper else samples.dtype)
    for first in range(0, len(samples), STRIP):  # a picture in floating point takes much memory
        strip = samples[first : first + STRIP]
        result[first : first + STRIP] = _fitted(strip, channels, deeper)
    return result


def _fitted(samples: Samples, channels: int, deeper: bool) -> Samples:
    present = samples.shape[2]
    if present % 2 == 0 and channels % 2 == 1:
        top = np.float32(65535 if samples.dtype == np.uint16 else 255)
        alpha = samples[..., -1:].astype(np.float32) / top
        over = samples[..., :-1] * alpha + top * (1 - alpha)
        samples, present = np.rint(over).astype(samples.dtype), present - 1
    if deeper:
        samples = ((samples.astype(np.uint32) * 255 + 32895) >> 16).astype(np.uint8)
    if present < 3 <= channels:
        samples = samples[..., [0, 0, 0, 1][:channels]]
    return samples


def holding(extras: Extras, file_format: str, channels: int) -> tuple[Extras, list[str]]:
    """Extras as a format holds them beside samples of so many channels, and what is missing."""
    texts = [content for name, content in extras.chunks if name in TEXTS]
    keywords = map(keyword_of, texts)
    present = {
        "EXIF": ("exif", extras.exif),
        "ICC profile": ("icc", extras.icc),
        "XMP": ("xmp", extras.xmp),
        "IPTC": ("iptc", extras.iptc),
        "comment": ("comments", extras.comments),
        f"texts ({'; '.join(dict.fromkeys(keywords))})": ("texts", texts),
        "resolution": ("dpi", extras.dpi),
        "shape of the pixels": ("aspect", extras.aspect),
        "colour space": ("colours", _names_colours(extras)),
    }
    if X_RESOLUTION in directory_of(extras.exif) and "exif" in HELD[file_format]:
        del present["resolution"]  # stands there as well
    missing = [
        name for name, (key, value) in present.items() if value and key not in HELD[file_format]
    ]
    if extras.extended_xmp and file_format != "JPEG":
        missing.append("XMP")
    icc = extras.icc
    if icc is not None and "icc" in HELD[file_format]:
        icc = held_profile(icc, file_format, channels)
        if icc is None:
            missing.append("ICC profile")
    extras = replace(extras, icc=icc)
    if file_format != "JPEG":
        return extras, missing
    if len(extras.xmp or b"") > JPEG_ROOM["XMP"]:
        extras = replace(extras, xmp=None)
        missing.append("XMP")
    if any(len(comment) > JPEG_ROOM["comment"] for comment in extras.comments):
        extras = replace(extras, comments=())
        missing.append("comment")
    if extras.exif is not None and len(extras.exif) > JPEG_ROOM["EXIF"]:
        extras = replace(extras, exif=within(extras.exif, JPEG_ROOM["EXIF"]))
        missing.append("EXIF")
    if extras.dpi is not None and max(extras.dpi) >= 65535.5:
        extras = replace(extras, dpi=None)
        missing.append("resolution")
    return extras, missing


def held_profile(icc: bytes, file_format: str, channels: int) -> bytes | None:
    """A colour profile as a format holds it beside so many channels; None where it has no way."""
    fits = fitting(icc, channels)
    if fits is None or len(fits) > PROFILE_ROOM.get(file_format, len(fits)):
        return None
    return fits


def _names_colours(extras: Extras) -> bool:
    """Whether a PNG says, other than by a profile, that its colours are not sRGB's."""
    chunks = dict(extras.chunks)
    if b"cICP" in chunks:
        return chunks[b"cICP"][:2] != b"\1\15"  # primaries and transfer of sRGB
    if extras.icc is not None or b"sRGB" in chunks or b"gAMA" not in chunks:
        return False
    return abs(int.from_bytes(chunks[b"gAMA"], "big") - 45455) > 500


def _xmp_with_size(xmp: bytes, width: int, height: int) -> bytes:
    """XMP with its notes of the picture's size corrected.

    It no longer tells of what stood behind the picture, a film or a gain map.
    """
    sizes = {b"exif:PixelXDimension|tiff:ImageWidth": width}
    sizes[b"exif:PixelYDimension|tiff:ImageLength"] = height
    for names, size in sizes.items():
        xmp = re.sub(rb"((?:%s)\W{1,3})\d+" % names, rb"\g<1>%d" % size, xmp)
    xmp = _grown(xmp, rb"GPano:CroppedAreaImageWidthPixels", rb"GPano:\w+Pixels", width)
    xmp = REGIONS.sub(lambda found: _grown(found[0], rb"stDim:w", rb"stDim:[wh]", width), xmp)
    return MOVING.sub(rb"\g<1>0", GAIN_MAP.sub(b"", xmp))


def _grown(xmp: bytes, of_width: bytes, names: bytes, width: int) -> bytes:
    """XMP whose numbers of pixels have grown as the one of the width has, if by a whole factor."""
    found = re.search(of_width + rb"\W{1,3}(\d{1,9})", xmp)
    former = int(found[1]) if found else 0
    if former == 0 or width % former:
        return xmp
    return re.sub(
        rb"(%s\W{1,3})(\d{1,9})" % names,
        lambda found: found[1] + b"%d" % (int(found[2]) * (width // former)),
        xmp,
    )


def turned(samples: Samples, extras: Extras) -> tuple[Samples, Extras]:
    """Samples as they are to be shown, and extras that say so: for another format than before."""
    orientation = orientation_of(extras.exif)
    if orientation == 1:
        return samples, extras
    if orientation >= 5:
        samples = samples.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    assert extras.exif is not None
    height, width = samples.shape[:2]
    dpi = extras.dpi[::-1] if extras.dpi and orientation >= 5 else extras.dpi
    aspect = extras.aspect[::-1] if extras.aspect and orientation >= 5 else extras.aspect
    exif = turned_upright(extras.exif, width, height)
    xmp = extras.xmp
    if xmp is not None:
        xmp = re.sub(rb"(tiff:Orientation\W{1,3})[2-8]", rb"\g<1>1", xmp)
    return samples, replace(extras, exif=exif, dpi=dpi, aspect=aspect, xmp=xmp)


class _WholeWriter:
    """JPEG and WebP: rows are pasted into a Pillow image that is saved at the end."""

    def __init__(
        self, path: Path, file_format: str, size: tuple[int, int], channels: int, extras: Extras
    ) -> None:
        self._path, self._format, self._extras = path, file_format, extras
        self._image = Image.new({1: "L", 3: "RGB", 4: "RGBA"}[channels], size)
        self._row = 0

    def write(self, rows: Samples) -> None:
        squeezed = rows[..., 0] if rows.shape[2] == 1 else rows
        band = Image.fromarray(np.ascontiguousarray(squeezed))
        self._image.paste(band, (0, self._row))
        self._row += rows.shape[0]

    def close(self) -> None:
        extras = self._extras
        options: dict[str, Any] = {}
        if extras.icc is not None:
            options["icc_profile"] = extras.icc
        if extras.exif is not None:
            options["exif"] = b"Exif\0\0" + extras.exif
        if extras.xmp is not None:
            options["xmp"] = extras.xmp
        if self._format == "JPEG":
            options |= {"quality": JPEG_QUALITY, "subsampling": 0}
            if extras.dpi is not None:
                options["dpi"] = extras.dpi
            elif extras.aspect is not None:
                options["dpi"] = extras.aspect  # the unit is corrected below
            segments = [(0xFFE1, data) for data in extras.extended_xmp]
            segments += [(0xFFED, data) for data in extras.iptc]
            segments += [(0xFFFE, data) for data in extras.comments]
            options["extra"] = b"".join(
                struct.pack(">HH", marker, len(data) + 2) + data for marker, data in segments
            )
        else:
            options |= {"lossless": extras.lossless, "exact": True, "method": 4}
            options["quality"] = 75 if extras.lossless else WEBP_QUALITY  # lossless: the effort
        self._image.save(self._path, self._format, **options)
        if self._format == "JPEG" and extras.dpi is None and extras.aspect is not None:
            with self._path.open("r+b") as file:  # begins with JFIF's segment
                file.seek(13)
                file.write(b"\0")


class _PngWriter:
    """PNG, third edition (W3C, 2025): each row filtered by what leaves the smallest sum."""

    COLOUR = MappingProxyType({1: 0, 2: 4, 3: 2, 4: 6})  # by channels

    def __init__(
        self, file: BinaryIO, size: tuple[int, int], channels: int, depth: int, extras: Extras
    ) -> None:
        self._file, self._step, self._depth = file, channels * depth, depth
        self._above = np.zeros(size[0] * self._step, np.uint8)
        self._zip = isal_zlib.compressobj(COMPRESSION)
        file.write(b"\x89PNG\r\n\x1a\n")
        kind = (8 * depth, self.COLOUR[channels], 0, 0, 0)
        self._chunk(b"IHDR", struct.pack(">LLBBBBB", *size, *kind))
        behind = [(name, data) for name, data in extras.chunks if name in (*TEXTS, b"tIME")]
        for name, content in extras.chunks:
            if name not in (*TEXTS, b"tIME"):  # what says how colours are meant goes first
                self._chunk(name, content)
        if extras.icc is not None:
            self._chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(extras.icc))
        if extras.dpi is not None:
            self._chunk(b"pHYs", struct.pack(">LLB", *(round(v / 0.0254) for v in extras.dpi), 1))
        elif extras.aspect is not None:
            self._chunk(b"pHYs", struct.pack(">LLB", *extras.aspect, 0))
        if extras.exif is not None:
            self._chunk(b"eXIf", extras.exif)
        for name, content in behind:
            self._chunk(name, content)
        if extras.xmp is not None:
            self._chunk(b"iTXt", XMP_TEXT + bytes(4) + extras.xmp)

    def write(self, rows: Samples) -> None:
        big = rows.astype(">u2") if self._depth == 2 else rows
        lines = np.ascontiguousarray(big).view(np.uint8).reshape(rows.shape[0], -1)
        for first in range(0, len(lines), STRIP):  # the filters' temporaries stay in the cache
            packed = self._zip.compress(self._filtered(lines[first : first + STRIP]))
            if packed:
                self._chunk(b"IDAT", packed)

    def close(self) -> None:
        self._chunk(b"IDAT", self._zip.flush())
        self._chunk(b"IEND", b"")
        self._file.close()

    def _filtered(self, lines: NDArray[np.uint8]) -> bytes:
        above = np.concatenate([self._above[None], lines[:-1]])
        self._above = lines[-1].copy()
        left, corner = np.zeros_like(lines), np.zeros_like(lines)
        left[:, self._step :] = lines[:, : -self._step]
        corner[:, self._step :] = above[:, : -self._step]
        # Paeth's predictor: whichever of left, above and corner is nearest to l + a - c. Where l
        # and a lie on one side of c, c is the farthest.
        to_left, to_above = _apart(above, corner), _apart(left, corner)
        one_side = _mask((left > corner) == (above > corner))
        to_corner = _apart(to_left, to_above) | one_side
        paeth = corner ^ (_mask(to_above <= to_corner) & (above ^ corner))
        paeth ^= _mask((to_left <= to_above) & (to_left <= to_corner)) & (paeth ^ left)
        candidates = {0: lines, 1: lines - left, 2: lines - above, 4: lines - paeth}
        sums = [
            np.abs(c.view(np.int8)).view(np.uint8).astype(np.float32).sum(1)
            for c in candidates.values()
        ]
        best = np.argmin(sums, axis=0)
        result = np.empty((lines.shape[0], 1 + lines.shape[1]), np.uint8)
        for number, (name, candidate) in enumerate(candidates.items()):
            chosen = best == number
            result[chosen, 0] = name
            result[chosen, 1:] = candidate[chosen]
        return result.tobytes()

    def _chunk(self, kind: bytes, content: bytes) -> None:
        self._file.write(struct.pack(">L", len(content)) + kind + content)
        self._file.write(struct.pack(">L", zlib.crc32(content, zlib.crc32(kind))))


def _apart(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Absolute differences, in bytes throughout: NumPy does many of them at a time."""
    return np.maximum(first, second) - np.minimum(first, second)


def _mask(chosen: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """255 where chosen, else 0."""
    return np.negative(chosen.view(np.uint8))


class _TiffWriter:
    """TIFF 6.0: deflated strips with horizontal differences, the directory at the end."""

    def __init__(
        self, file: BinaryIO, size: tuple[int, int], channels: int, depth: int, extras: Extras
    ) -> None:
        self._file, self._size, self._channels, self._depth = file, size, channels, depth
        self._extras = extras
        self._directory: Directory = {}
        self._order = "<"
        if extras.exif is not None:
            try:
                self._order, found = byte_order(extras.exif), read_directory(extras.exif)
                self._directory = {tag: e for tag, e in found.items() if tag in DESCRIPTIVE}
            except ExifError:
                pass  # what cannot be read cannot be moved
        self._file.write(exif_bytes({}, self._order)[:8])
        self._pending: list[Samples] = []
        self._strips: list[tuple[int, int]] = []

    def write(self, rows: Samples) -> None:
        self._pending.append(rows)
        while sum(len(part) for part in self._pending) >= STRIP:
            rows = np.concatenate(self._pending) if len(self._pending) > 1 else self._pending[0]
            full = len(rows) // STRIP * STRIP
            for first in range(0, full, STRIP):
                self._strip(rows[first : first + STRIP])
            self._pending = [rows[full:].copy()]

    def _strip(self, rows: Samples) -> None:
        differences = rows.copy()
        differences[:, 1:] -= rows[:, :-1]
        ordered = differences.astype(f"{self._order}u{self._depth}")
        packed = isal_zlib.compress(ordered.tobytes(), COMPRESSION)
        place = self._file.tell()
        if place + len(packed) >= 1 << 32:
            raise UnwritableError("TIFF holds at most 4 GiB: choose --format png")
        self._strips.append((place, len(packed)))
        self._file.write(packed + bytes(len(packed) % 2))

    def close(self) -> None:
        rest = [part for part in self._pending if len(part)]
        if rest:
            self._strip(np.concatenate(rest))
        order, extras = self._order, self._extras
        (width, height), channels = self._size, self._channels
        alpha = channels % 2 == 0
        directory = self._directory
        shorts = {
            0x0102: [8 * self._depth] * channels,
            0x0103: [8],  # Adobe's deflate
            0x0106: [1 if channels < 3 else 2],
            0x0115: [channels],
            0x011C: [1],
            0x013D: [2],  # horizontal differencing
            **({0x0152: [2]} if alpha else {}),  # unassociated alpha
        }
        longs = {
            0x0100: [width],
            0x0101: [height],
            0x0111: [place for place, _ in self._strips],
            0x0116: [STRIP],
            0x0117: [length for _, length in self._strips],
        }
        directory |= {tag: entry(SHORT, order, values) for tag, values in shorts.items()}
        directory |= {tag: entry(LONG, order, values) for tag, values in longs.items()}
        if ORIENTATION not in directory:
            directory[ORIENTATION] = entry(SHORT, order, [1])
        if extras.dpi is not None:
            resolution, unit = [(round(value * 1000), 1000) for value in extras.dpi], 2  # inches
        elif extras.aspect is not None:
            resolution, unit = [(value, 1) for value in extras.aspect], 1
        else:
            resolution, unit = [], 1
        for tag, value in zip((X_RESOLUTION, Y_RESOLUTION), resolution, strict=False):
            directory[tag] = Entry(5, struct.pack(order + "LL", *value))
            directory[RESOLUTION_UNIT] = entry(SHORT, order, [unit])
        if extras.icc is not None:
            directory[ICC_PROFILE] = Entry(7, extras.icc)
        if extras.xmp is not None:
            directory[XMP] = Entry(1, extras.xmp)
        resources = b"".join(
            segment.removeprefix(PHOTOSHOP)
            for segment in extras.iptc
            if segment.startswith(PHOTOSHOP)
        )
        if resources:
            directory[PHOTOSHOP_RESOURCES] = Entry(1, resources)
        begin = self._file.tell()
        self._file.write(directory_bytes(directory, order, begin))
        self._file.seek(4)
        self._file.write(struct.pack(order + "L", begin))
        self._file.close()


class _BmpWriter:
    """Windows bitmap, rows from the bottom up; with alpha by a version 4 header's masks."""

    def __init__(
        self, file: BinaryIO, size: tuple[int, int], channels: int, depth: int, extras: Extras
    ) -> None:
        self._file, self._bottom = file, size[1]
        self._line = (size[0] * channels + 3) // 4 * 4
        header = 108 if channels == 4 else 40
        palette = b"".join(bytes([v, v, v, 0]) for v in range(256)) if channels == 1 else b""
        self._start = 14 + header + len(palette)
        total = self._start + self._line * size[1]
        dots = [round(v / 0.0254) for v in extras.dpi] if extras.dpi else [0, 0]
        file.write(struct.pack("<2sLLL", b"BM", total, 0, self._start))
        compression = 3 if channels == 4 else 0  # bit fields
        bits, pixels = 8 * channels, self._line * size[1]
        colours = 256 if palette else 0
        file.write(
            struct.pack(
                "<LllHHLLllLL", header, *size, 1, bits, compression, pixels, *dots, colours, 0
            )
        )
        if channels == 4:
            masks = struct.pack("<LLLL", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
            file.write(masks + b"BGRs" + bytes(48))
        file.write(palette)

    def write(self, rows: Samples) -> None:
        if rows.shape[2] >= 3:
            rows = rows[..., [2, 1, 0, 3][: rows.shape[2]]]
        lines = np.zeros((rows.shape[0], self._line), np.uint8)
        flat = rows.reshape(rows.shape[0], -1)
        lines[:, : flat.shape[1]] = flat
        self._bottom -= rows.shape[0]
        self._file.seek(self._start + self._bottom * self._line)
        self._file.write(lines[::-1].tobytes())

    def close(self) -> None:
        self._file.close()
