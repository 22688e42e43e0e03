"""EXIF data as raw directories: what is not understood is carried along unchanged.

EXIF is a TIFF file without a picture (CIPA DC-008, "Exif 2.32"): directories of entries, each a
tag, a type, a count and a value. Values are moved as bytes and never interpreted, so that nothing
is lost that this program has not heard of.
"""

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass

ORIENTATION = 0x0112
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
MAKER_NOTE = 0x927C
ICC_PROFILE, XMP, IPTC = 0x8773, 0x02BC, 0x83BB
EXIF_POINTER, GPS_POINTER, INTEROPERABILITY_POINTER = 0x8769, 0x8825, 0xA005
POINTERS = (EXIF_POINTER, GPS_POINTER, INTEROPERABILITY_POINTER)
WIDTHS, HEIGHTS = (0x0100, 0xA002), (0x0101, 0xA003)
"""Where a picture's size is noted: in the first directory and in EXIF's own."""
SUBJECTS = (0x9214, 0xA214)
"""EXIF's tags of where in the picture its subject is, in pixels: x, y, and its extent."""

DESCRIPTIVE = frozenset(
    {0x010D, 0x010E, 0x010F, 0x0110, ORIENTATION, 0x011D, 0x0131, 0x0132, 0x013B, 0x013C}
    | {IPTC, 0x8298, 0x4746, 0x4749, EXIF_POINTER, GPS_POINTER}
    | {0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F}
)
"""Tags of a TIFF file's directory that describe the photograph rather than the file's samples."""

SHAPE_NOTE = b'{"shape": ['
"""Begins the description in which tifffile notes the samples' shape, and reads it by."""

DEEPEST = 3
"""Directories within each other: the first, EXIF's, and that of interoperability."""

BYTE, SHORT, LONG = 1, 3, 4
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}


class ExifError(ValueError):
    """Bytes that are no directory."""


@dataclass(frozen=True)
class Entry:
    """One value of a directory.

    Attributes:
        kind: the value's type by TIFF's numbering.
        data: the value's bytes, in the directory's byte order.
        place: where in the file the value stands.
        below: the directory that the value points to, if it is a pointer.
    """

    kind: int
    data: bytes
    place: int = 0
    below: "Directory | None" = None


Directory = dict[int, Entry]


def byte_order(data: bytes) -> str:
    """`<` or `>` as `struct` has it.

    Raises:
        ExifError: when the bytes do not begin like TIFF.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None:
        raise ExifError("no EXIF data")
    return order


def read_directory(data: bytes, offset: int | None = None) -> Directory:
    """Read the directory at an offset (the first one by default) with those below it.

    Of values with one tag the first counts, as for libtiff. Values that overlap others until all
    are longer than the data are left out, and so is a pointer to a directory above: the work is
    bounded by the data's length, whatever they say.

    Raises:
        ExifError: when an entry points outside the data or directories are nested too deeply.
    """
    order = byte_order(data)
    try:
        if offset is None:
            (offset,) = struct.unpack_from(order + "L", data, 4)
        return _Reader(data, order).read(offset, ())
    except struct.error as error:
        raise ExifError(f"damaged EXIF data: {error}") from None


class _Reader:
    def __init__(self, data: bytes, order: str) -> None:
        self._data, self._order = data, order
        self._room = len(data)  # for values

    def read(self, offset: int, above: tuple[int, ...]) -> Directory:
        """The directory at an offset, below those at others."""
        data, order = self._data, self._order
        if offset in above or len(above) >= DEEPEST:
            raise ExifError("directories within directories")
        (count,) = struct.unpack_from(order + "H", data, offset)
        directory: Directory = {}
        seen = set()
        for start in range(offset + 2, offset + 2 + 12 * count, 12):
            tag, kind, number = struct.unpack_from(order + "HHL", data, start)
            if tag in seen:
                continue
            seen.add(tag)
            length = _SIZES.get(kind, 0) * number
            place = start + 8
            if length > 4:
                (place,) = struct.unpack_from(order + "L", data, place)
            if kind not in _SIZES or place + length > len(data) or length > self._room:
                continue  # one damaged entry says nothing against the others
            self._room -= length
            below = None
            if tag in POINTERS and length == 4:
                (pointer,) = struct.unpack_from(order + "L", data, place)
                try:
                    below = self.read(pointer, (*above, offset))
                except (ExifError, struct.error):
                    continue
            directory[tag] = Entry(kind, data[place : place + length], place, below)
        return directory


def directory_bytes(directory: Directory, order: str, offset: int) -> bytes:
    """Write a directory, what it points to behind it, to stand at an (even) offset of a file."""
    entries, values = [], bytearray()
    begin = offset + 2 + 12 * len(directory) + 4
    for tag, entry in sorted(directory.items()):
        data = entry.data
        if entry.below is not None:
            data = struct.pack(order + "L", begin + len(values))
            values += directory_bytes(entry.below, order, begin + len(values))
        count = len(data) // _SIZES[entry.kind]
        if len(data) > 4:
            field = struct.pack(order + "L", begin + len(values))
            values += data + bytes(len(data) % 2)
        else:
            field = data.ljust(4, b"\0")
        entries.append(struct.pack(order + "HHL", tag, entry.kind, count) + field)
    return struct.pack(order + "H", len(entries)) + b"".join(entries) + bytes(4) + bytes(values)


def entry(kind: int, order: str, values: Iterable[int]) -> Entry:
    """An entry of SHORTs or LONGs."""
    values = list(values)
    return Entry(kind, struct.pack(f"{order}{len(values)}{'H' if kind == SHORT else 'L'}", *values))


def descriptive_part(tiff: bytes) -> bytes | None:
    """What a TIFF file says about the photograph, as EXIF data of its own; None without any."""
    try:
        order, directory = byte_order(tiff), read_directory(tiff)
    except ExifError:
        return None
    kept = {
        tag: entry
        for tag, entry in directory.items()
        if tag in DESCRIPTIVE and not entry.data.startswith(SHAPE_NOTE)
    }
    return exif_bytes(kept, order) if kept else None


def exif_bytes(directory: Directory, order: str) -> bytes:
    """EXIF data with a directory as its first."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(order + "L", 8) + directory_bytes(directory, order, 8)


def orientation_of(exif: bytes | None) -> int:
    """The orientation, 1 to 8; 1 where none is given."""
    if exif is None:
        return 1
    try:
        found = read_directory(exif).get(ORIENTATION)
        order = byte_order(exif)
    except ExifError:
        return 1
    if found is None or found.kind not in (BYTE, SHORT, LONG):
        return 1
    value = int.from_bytes(found.data, "little" if order == "<" else "big")
    return value if len(found.data) == _SIZES[found.kind] and value in range(1, 9) else 1


def as_stored(tiff: bytes) -> bytes:
    """A TIFF file that says that it is upright, for decoders that turn what says otherwise."""
    if orientation_of(tiff) == 1:
        return tiff
    place = read_directory(tiff)[ORIENTATION].place  # of the value, within its entry
    entry = struct.pack(byte_order(tiff) + "HLHH", SHORT, 1, 1, 0)
    return tiff[: place - 6] + entry + tiff[place + 4 :]


def directory_of(exif: bytes | None) -> Directory:
    """The first directory of EXIF data; an empty one where there are none that can be read."""
    try:
        return read_directory((exif or b"").removeprefix(b"Exif\0\0"))
    except ExifError:
        return {}


def within(exif: bytes, room: int) -> bytes | None:
    """EXIF data without its largest values, so that the others fit; None if none do.

    What is kept moves, so that a maker's note, which holds offsets, goes first.
    """
    if len(exif) <= room:
        return exif
    try:
        order, directory = byte_order(exif), read_directory(exif)
    except ExifError:
        return None

    def without(directory: Directory, limit: int) -> Directory:
        return {
            tag: Entry(e.kind, e.data, e.place, e.below and without(e.below, limit))
            for tag, e in directory.items()
            if tag != MAKER_NOTE and len(e.data) <= limit
        }

    limit = room
    while limit >= 4:
        smaller = exif_bytes(without(directory, limit), order)
        if len(smaller) <= room:
            return smaller
        limit //= 2
    return None


def with_size(exif: bytes, width: int, height: int) -> bytes:
    """EXIF data of a picture that was enlarged: its size and its subject's place corrected.

    Nothing moves, so that a camera maker's own notes, which hold offsets, stay readable.
    """

    def grow(place: list[int], former_width: int) -> list[int]:
        exact = former_width and width % former_width == 0
        return [value * (width // former_width) for value in place] if exact else place

    return _corrected(exif, _sizes(width, height), grow)


def turned_upright(exif: bytes, width: int, height: int) -> bytes:
    """EXIF data of a picture whose samples were turned as they are to be shown.

    Its orientation, size and subject's place are corrected in place; the thumbnail, which was not
    turned, is left out.

    Args:
        exif: of the picture as it was stored.
        width: of the turned one.
        height: of the turned one.
    """
    orientation = orientation_of(exif)

    def turn(place: list[int], _: int) -> list[int]:
        x, y, *extent = place
        if orientation >= 5:
            x, y, extent = y, x, extent[::-1]
        if orientation in (3, 4, 7, 8):
            y = height - 1 - y
        if orientation in (2, 3, 6, 7):
            x = width - 1 - x
        return [x, y, *extent]

    changes = {**_sizes(width, height), ORIENTATION: 1}
    return _without_thumbnail(_corrected(exif, changes, turn))


def _sizes(width: int, height: int) -> dict[int, int]:
    """A picture's size by the tags that note it."""
    return {**dict.fromkeys(WIDTHS, width), **dict.fromkeys(HEIGHTS, height)}


def _corrected(
    exif: bytes, changes: dict[int, int], place: Callable[[list[int], int], list[int]]
) -> bytes:
    """EXIF data with other numbers in it.

    Args:
        exif: the data; what is damaged stays as it is.
        changes: numbers by tag.
        place: makes a place in the new picture of one in the former, whose width it is given, or 0.
    """
    try:
        order, directory = byte_order(exif), read_directory(exif)
    except ExifError:
        return exif
    result = bytearray(exif)

    def correct(directory: Directory) -> None:
        for tag, found in directory.items():
            if found.below is not None:
                correct(found.below)
            elif tag in SUBJECTS and found.kind == SHORT and 4 <= len(found.data) <= 8:
                kind = f"{order}{len(found.data) // 2}H"
                values = place(list(struct.unpack(kind, found.data)), _width(directory, order))
                if all(0 <= value < 1 << 16 for value in values):
                    struct.pack_into(kind, result, found.place, *values)
            elif tag in changes and found.kind in (BYTE, SHORT, LONG) and len(found.data) <= 4:
                value = changes[tag]
                if found.kind == SHORT and value < 1 << 16:
                    struct.pack_into(order + "H", result, found.place, value)
                else:  # a value of 4 bytes stands in the entry itself, its type 6 bytes before
                    struct.pack_into(order + "HLL", result, found.place - 6, LONG, 1, value)

    correct(directory)
    return bytes(result)


def _width(directory: Directory, order: str) -> int:
    """The width that EXIF says the picture has; 0 if it says none."""
    found = directory.get(WIDTHS[1])
    if found is None or found.kind not in (SHORT, LONG):
        return 0
    return int.from_bytes(found.data, "little" if order == "<" else "big")


def _without_thumbnail(exif: bytes) -> bytes:
    """EXIF data without its second directory, whose place stands behind the first one's entries."""
    try:
        order, directory = byte_order(exif), read_directory(exif)
    except ExifError:
        return exif
    (first,) = struct.unpack_from(order + "L", exif, 4)
    (count,) = struct.unpack_from(order + "H", exif, first)
    end = first + 2 + 12 * count
    values = [range(e.place, e.place + len(e.data)) for e in directory.values() if len(e.data) > 4]
    if len(exif) < end + 4 or any(v.start < end + 4 and end < v.stop for v in values):
        return exif  # some writers leave that out
    return exif[:end] + bytes(4) + exif[end + 4 :]
