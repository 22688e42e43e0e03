import numpy as np
import pandas as pd
import pytest

from conftest import made_photograph
from isr_pipeline.storage.tiles import (
    SCHEMA,
    TileStream,
    axis_positions,
    read_tiles,
    tile_deviations,
    write_tiles,
)


def positions(lr_length, hr_length, size, stride, enlargement, misalignment=0.1):
    pair = axis_positions(lr_length, hr_length, size, stride, enlargement, misalignment)
    return tuple(starts.tolist() for starts in pair)


@pytest.mark.parametrize(
    ("lr_length", "size", "stride", "starts"),
    [
        (48, 16, 16, [0, 16, 32]),
        (50, 16, 20, [0, 20, 34]),
        (50, 16, 16, [0, 16, 32, 34]),
        (16, 16, 4, [0]),
        (17, 16, 4, [0, 1]),
        (20, 7, 100, [0, 13]),
        (9, 3, 2, [0, 2, 4, 6]),
    ],
)
@pytest.mark.parametrize("enlargement", [1, 2, 3, 4, 6])
def test_on_exact_multiples_the_grids_agree_and_the_last_tile_touches_the_end(
    lr_length, size, stride, starts, enlargement
):
    lr, hr = positions(lr_length, lr_length * enlargement, size, stride, enlargement, 0.0)
    assert lr == starts
    assert hr == [start * enlargement for start in starts]
    assert lr[-1] + size == lr_length
    assert hr[-1] + size * enlargement == lr_length * enlargement


@pytest.mark.parametrize("size", [15, 16, 24, 48, 133])
@pytest.mark.parametrize("bound", [0.0, 0.02, 0.05, 0.1, 0.5])
@pytest.mark.parametrize(
    ("lr_length", "hr_length", "enlargement"),
    [(133, 800, 6), (133, 799, 6), (199, 1199, 6), (299, 1197, 4), (399, 799, 2)],
)
def test_on_other_sizes_tiles_are_as_close_as_whole_pixels_allow(
    lr_length, hr_length, enlargement, size, bound
):
    lr, hr = positions(lr_length, hr_length, size, 5, enlargement, bound)
    kept = dict(zip(lr, hr, strict=True))
    for start in [*range(0, lr_length - size, 5), lr_length - size]:
        centre = (start + size / 2) * hr_length / lr_length
        last = hr_length - size * enlargement
        offsets = [abs(place + size * enlargement / 2 - centre) for place in range(last + 1)]
        smallest = min(offsets) / enlargement
        if start in kept:
            assert offsets[kept[start]] / enlargement == pytest.approx(smallest, abs=1e-9)
            assert smallest <= bound + 1e-9
        else:
            assert smallest > bound


def test_800_rows_at_scale_6_lose_tiles_only_to_a_strict_bound():
    every, _ = positions(133, 800, 24, 1, 6, 0.1)
    assert every == list(range(133 - 24 + 1))
    some, _ = positions(133, 800, 24, 1, 6, 0.02)
    assert 0 < len(some) < len(every)


def test_tiles_lie_within_both_pictures_and_rise():
    lr, hr = (np.array(starts) for starts in positions(133, 800, 24, 7, 6, 0.5))
    assert lr[0] == hr[0] == 0
    assert np.all(np.diff(lr) > 0)
    assert np.all(np.diff(hr) > 0)
    assert lr[-1] + 24 == 133
    assert hr[-1] + 24 * 6 <= 800


@pytest.mark.parametrize(
    ("lr_length", "hr_length"), [(15, 90), (16, 95), (0, 0), (15, 1000), (1000, 95)]
)
def test_a_picture_smaller_than_a_tile_has_none(lr_length, hr_length):
    lr, hr = axis_positions(lr_length, hr_length, 16, 8, 6, 1.0)
    assert (lr.tolist(), hr.tolist()) == ([], [])
    assert lr.dtype == hr.dtype == np.int64


def luma_by_hand(picture):
    red, green, blue = (picture[..., channel].astype(np.float64) for channel in range(3))
    return (65.481 * red + 128.553 * green + 24.966 * blue) / 255 + 16


@pytest.mark.parametrize(("height", "width"), [(1, 1), (8, 8), (16, 24), (60, 80)])
def test_deviations_are_numpys_of_each_tiles_luma(height, width):
    picture = made_photograph(60, 80, seed=5)
    rows = np.unique(np.linspace(0, 60 - height, 4).astype(np.int64))
    columns = np.unique(np.linspace(0, 80 - width, 5).astype(np.int64))
    grey = luma_by_hand(picture)
    expected = [[grey[y : y + height, x : x + width].std() for x in columns] for y in rows]
    found = tile_deviations(picture, rows, columns, height, width)
    assert found.shape == (len(rows), len(columns))
    assert found.dtype == np.float32
    assert np.allclose(found, expected, atol=1e-3)


def test_deviation_by_hand():
    # Half black (16), half white (235): half the difference.
    picture = np.zeros((4, 8, 3), np.uint8)
    picture[:, 4:] = 255
    found = tile_deviations(picture, np.array([0]), np.array([0, 2, 4]), 4, 4)
    assert found[0].tolist() == pytest.approx([0, 109.5, 0], abs=1e-3)


@pytest.mark.parametrize("level", [0, 1, 128, 255])
def test_a_flat_tile_of_a_large_picture_deviates_by_nothing(level):
    picture = np.random.default_rng(0).integers(0, 256, (800, 1200, 3), np.uint8)
    picture[700:, 1100:] = level
    found = tile_deviations(picture, np.array([700, 760]), np.array([1100, 1150]), 40, 50)
    assert np.all(np.isfinite(found))
    assert found.max() < 0.01


def table(photograph, split, count):
    return pd.DataFrame(
        {
            "photograph": photograph,
            "split": split,
            "scale": 6,
            "enlargement": 6,
            "lr_y": np.arange(count) * 3,
            "lr_x": np.arange(count) * 5,
            "lr_height": 16,
            "lr_width": 24,
            "hr_y": np.arange(count) * 18 + 70_000,
            "hr_x": np.arange(count) * 30,
            "deviation": np.linspace(0.5, 60, count).astype(np.float32),
        }
    )


TABLES = [table("1", "train", 5), table("ü/2.jpg", "test", 3), table("3", "train", 1)]


def test_tiles_come_back_as_they_were_written(tmp_path):
    manifest = write_tiles(tmp_path / "tiles", TileStream("one", iter(TABLES)))
    assert (manifest["digest"], manifest["tiles"]) == ("one", 9)
    found = read_tiles(tmp_path / "tiles")
    assert list(found.columns) == SCHEMA.names
    expected = pd.concat(TABLES, ignore_index=True)
    for column in SCHEMA.names:
        assert found[column].tolist() == expected[column].tolist()


def test_tiles_are_stored_in_the_types_of_the_schema(tmp_path):
    write_tiles(tmp_path / "tiles", TileStream("one", TABLES))
    found = read_tiles(tmp_path / "tiles")
    assert found.dtypes.astype(str).to_dict() == {
        "photograph": "category",
        "split": "category",
        "scale": "int16",
        "enlargement": "int16",
        **dict.fromkeys(["lr_y", "lr_x", "lr_height", "lr_width", "hr_y", "hr_x"], "int32"),
        "deviation": "float32",
    }


def test_columns_are_found_by_name_whatever_their_order(tmp_path):
    turned = TABLES[0][SCHEMA.names[::-1]].assign(further=1)
    write_tiles(tmp_path / "tiles", TileStream("one", [turned]))
    found = read_tiles(tmp_path / "tiles")
    assert list(found.columns) == SCHEMA.names
    assert found["hr_y"].tolist() == TABLES[0]["hr_y"].tolist()


def test_an_index_may_be_empty(tmp_path):
    assert write_tiles(tmp_path / "tiles", TileStream("one", []))["tiles"] == 0
    found = read_tiles(tmp_path / "tiles")
    assert (len(found), list(found.columns)) == (0, SCHEMA.names)


def test_tiles_are_written_once_for_each_digest(tmp_path):
    def unwanted():
        pytest.fail("the tables were asked for")
        yield

    write_tiles(tmp_path / "tiles", TileStream("one", TABLES))
    assert write_tiles(tmp_path / "tiles", TileStream("one", unwanted())) is None
    assert write_tiles(tmp_path / "tiles", TileStream("two", TABLES[:1]))["tiles"] == 5
    assert len(read_tiles(tmp_path / "tiles")) == 5


@pytest.mark.parametrize("column", ["deviation", "photograph", "hr_x"])
def test_a_table_without_a_column_leaves_the_former_index(tmp_path, column):
    write_tiles(tmp_path / "tiles", TileStream("one", TABLES))
    tables = [TABLES[0], TABLES[1].drop(columns=column)]
    with pytest.raises(KeyError, match=column):
        write_tiles(tmp_path / "tiles", TileStream("two", tables))
    assert len(read_tiles(tmp_path / "tiles")) == 9
    assert [path.name for path in tmp_path.iterdir()] == ["tiles"]
