import struct

import numpy as np
import pytest
from PIL import Image

from isr_pipeline.imaging.encode import turned
from isr_pipeline.imaging.exif import (
    EXIF_POINTER,
    ExifError,
    byte_order,
    descriptive_part,
    exif_bytes,
    orientation_of,
    read_directory,
    turned_upright,
    with_size,
)
from isr_pipeline.imaging.files import Extras


def camera_exif(order="II", orientation=6, width=40, height=30) -> bytes:
    """EXIF data as a camera writes it, with a maker's note and a place."""
    exif = Image.Exif()
    exif.endian = "<" if order == "II" else ">"
    exif[0x010F], exif[0x0110], exif[0x0112] = "Maker", "Model 1", orientation
    exif.get_ifd(0x8769).update(
        {0x829A: (1, 250), 0x9003: "2026:11:23 10:00:00", 0x927C: b"\x00maker's own\xff" * 3}
        | {0xA002: width, 0xA003: height}
    )
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.5), 3: "E", 4: (13.0, 24.0, 1.0)})
    return exif.tobytes().removeprefix(b"Exif\0\0")


def read_by_pillow(data: bytes) -> Image.Exif:
    exif = Image.Exif()
    exif.load(data)
    return exif


@pytest.mark.parametrize("order", ["II", "MM"])
def test_sizes_are_corrected_and_nothing_else_moves(order):
    data = camera_exif(order)
    corrected = with_size(data, 80, 70_000)
    assert len(corrected) == len(data)
    assert sum(a != b for a, b in zip(data, corrected, strict=True)) <= 20
    before, after = read_by_pillow(data), read_by_pillow(corrected)
    taken = after.get_ifd(0x8769)
    assert (taken[0xA002], taken[0xA003]) == (80, 70_000)  # the second needs a longer type
    assert taken[0x927C] == before.get_ifd(0x8769)[0x927C]
    assert after.get_ifd(0x8825) == before.get_ifd(0x8825)
    assert dict(after) == dict(before)


def test_the_orientation_is_changed_only_when_asked():
    data = camera_exif()
    assert orientation_of(data) == 6
    assert orientation_of(with_size(data, 8, 8)) == 6
    assert orientation_of(turned_upright(data, 8, 8)) == 1
    assert orientation_of(None) == 1


@pytest.mark.parametrize("order", ["II", "MM"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_subject_stays_where_it_is_in_the_picture(order, orientation):
    exif = Image.Exif()
    exif.endian = "<" if order == "II" else ">"
    exif[0x0112] = orientation
    exif.get_ifd(0x8769).update({0xA002: 80, 0xA003: 40, 0x9214: (10, 5, 8, 4), 0xA214: (10, 5)})
    stored = np.zeros((40, 80, 1), np.uint8)
    stored[5, 10] = 1
    extras = Extras(exif=exif.tobytes().removeprefix(b"Exif\0\0"))
    samples, extras = turned(stored, extras)
    ((y, x),) = np.argwhere(samples[..., 0])
    taken = read_by_pillow(extras.exif).get_ifd(0x8769)
    assert taken[0xA214] == (x, y)
    assert taken[0x9214] == (x, y, *((8, 4) if orientation < 5 else (4, 8)))
    height, width = samples.shape[:2]
    larger = read_by_pillow(with_size(extras.exif, 3 * width, 3 * height)).get_ifd(0x8769)
    assert (larger[0xA002], larger[0xA214]) == (3 * width, (3 * x, 3 * y))


def test_data_without_a_place_for_a_second_directory_are_turned_too():
    entries = struct.pack("<HHHLHH", 1, 0x0112, 3, 1, 6, 0)
    ending = b"II*\0\10\0\0\0" + entries
    assert orientation_of(turned_upright(ending, 8, 8)) == 1
    text = struct.pack("<HHHLL", 2, 0x010E, 2, 8, 34) + entries[2:] + b"ABCDEFG\0"
    turned_text = turned_upright(b"II*\0\10\0\0\0" + text, 8, 8)
    assert turned_text.endswith(b"ABCDEFG\0")
    assert orientation_of(turned_text) == 1


@pytest.mark.parametrize("order", ["II", "MM"])
def test_directories_are_written_as_they_were_read(order):
    data = camera_exif(order)
    again = exif_bytes(read_directory(data), byte_order(data))
    before, after = read_by_pillow(data), read_by_pillow(again)
    for below in (0x8769, 0x8825):
        assert after.get_ifd(below) == before.get_ifd(below)
    assert after[0x0110] == "Model 1"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"II*\0",
        b"JUNK" + bytes(40),
        b"II*\0" + struct.pack("<L", 4_000_000_000),
        b"II*\0" + struct.pack("<LH", 8, 60_000) + bytes(30),
        # a directory that holds itself
        b"II*\0" + struct.pack("<LHHHLLL", 8, 1, EXIF_POINTER, 4, 1, 8, 0),
    ],
)
def test_damaged_data_is_refused_or_left_as_it_is(data):
    assert with_size(data, 5, 5) == data
    assert orientation_of(data) == 1
    if not data.startswith(b"II*\0" + struct.pack("<LHH", 8, 1, EXIF_POINTER)):
        with pytest.raises(ExifError):
            read_directory(data)


def test_what_a_tiff_says_of_its_samples_is_not_taken_along(tmp_path):
    path = tmp_path / "a.tif"
    Image.new("RGB", (4, 3)).save(path, tiffinfo={0x010E: "a title", 0x013B: "somebody"})
    kept = read_directory(descriptive_part(path.read_bytes()))
    assert set(kept) == {0x010E, 0x013B}


def crafted(entries) -> bytes:
    rows = b"".join(struct.pack("<HHLL", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<LH", 8, len(entries)) + rows + bytes(4)


def test_pointers_to_many_places_cost_no_more_than_one_reading():
    # Each entry points to a directory that begins within this one. Followed one by one, to three
    # depths, a thousand of them are a thousand million entries.
    data = crafted([(EXIF_POINTER, 4, 1, 8 + 12 * place) for place in range(1000)])
    assert count_of_entries(read_directory(data)) <= 3
    assert len(with_size(data, 5, 5)) == len(data)


def count_of_entries(directory) -> int:
    return len(directory) + sum(count_of_entries(e.below) for e in directory.values() if e.below)


def test_values_that_overlap_take_no_more_memory_than_the_data():
    data = crafted([(tag, 7, 10_000, 0) for tag in range(1, 4000)])
    kept = read_directory(data)
    assert 0 < sum(len(entry.data) for entry in kept.values()) <= len(data)


def test_of_two_values_with_one_tag_the_first_counts():
    assert orientation_of(crafted([(0x0112, 3, 1, 6), (0x0112, 3, 1, 8)])) == 6
