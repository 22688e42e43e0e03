import threading

import keras
import numpy as np
import pytest

from isr_pipeline.training.device import device_reader
from isr_pipeline.training.feed import TileFeed, TileReader, read_tile


@pytest.fixture
def train_tiles(world):
    return world.tiles[world.tiles["split"] == "train"]


def feed(world, tiles, **changes):
    settings = {"batch_size": 3, "seed": 5, "augment": True, **changes}
    return TileFeed(tiles, world.pictures, **settings)


def test_a_batch_holds_every_scale_in_its_own_size(world, train_tiles):
    lr, hr = feed(world, train_tiles).batch(0)
    assert {name: x.shape for name, x in lr.items()} == {
        f"lr_x{s}": (3, 16, 16, 3) for s in (2, 4, 6)
    }
    assert {name: x.shape for name, x in hr.items()} == {
        f"sr_x{s}": (3, 16 * s, 16 * s, 3) for s in (2, 4, 6)
    }
    assert lr["lr_x2"].dtype == np.float32
    assert 0 <= lr["lr_x2"].min() < lr["lr_x2"].max() <= 1


def test_batches_depend_on_seed_and_number_alone(world, train_tiles):
    first, again = feed(world, train_tiles), feed(world, train_tiles)
    later = again.batch(7)
    assert np.array_equal(first.batch(7)[0]["lr_x4"], later[0]["lr_x4"])
    other = feed(world, train_tiles, seed=6).batch(7)
    assert not np.array_equal(other[0]["lr_x4"], later[0]["lr_x4"])


def test_the_thread_yields_what_batch_makes_from_any_start(world, train_tiles):
    source = feed(world, train_tiles)
    batches = source.batches(first=2)
    for number in (2, 3, 4):
        assert np.array_equal(next(batches)[1]["sr_x2"], source.batch(number)[1]["sr_x2"])
    batches.close()
    assert "tile feed" not in {thread.name for thread in threading.enumerate()}


def test_one_pass_shows_every_tile_once(world, train_tiles):
    tiles = train_tiles[train_tiles["scale"] == 2].iloc[:12]
    source = feed(world, tiles, augment=False)
    assert source.steps_per_pass == 4
    seen = np.concatenate([source.batch(n)[0]["lr_x2"] for n in range(4)])
    expected = [read_tile(world.pictures, t)[0] / np.float32(255) for t in tiles.itertuples()]
    key = np.ndarray.tobytes
    assert sorted(map(key, seen)) == sorted(map(key, expected))


def test_flips_keep_both_halves_together(world, train_tiles):
    tiles = train_tiles[train_tiles["scale"] == 2].iloc[:1]
    source = feed(world, tiles, batch_size=1)
    seen = set()
    for number in range(60):
        lr, hr = source.batch(number)
        small = hr["sr_x2"][0].reshape(16, 2, 16, 2, 3).mean((1, 3))
        assert np.abs(small - lr["lr_x2"][0]).mean() < 0.04
        seen.add(lr["lr_x2"][0].tobytes())
    assert len(seen) == 8


def test_an_error_in_the_thread_reaches_the_training(world, train_tiles, monkeypatch):
    source = feed(world, train_tiles)

    def fail(number):
        raise OSError("the disk is gone")

    monkeypatch.setattr(source, "batch", fail)
    batches = source.batches()
    with pytest.raises(OSError, match="the disk is gone"):
        next(batches)
    batches.close()


def test_tiles_of_a_picture_that_is_not_stored_are_refused_at_once(world, train_tiles):
    with pytest.raises(KeyError, match="nobody"):
        feed(world, train_tiles.assign(photograph="nobody"))


@pytest.mark.parametrize("augment", [False, True])
def test_the_device_cuts_the_same_batches(world, train_tiles, augment):
    host = feed(world, train_tiles, augment=augment, batch_size=16)
    on_device = device_reader(world.pictures)
    device = feed(world, train_tiles, augment=augment, batch_size=16, make_reader=on_device)
    assert device.scales == host.scales == [2, 4, 6]
    assert device.steps_per_pass == host.steps_per_pass
    for number in (0, 9):
        for expected, cut in zip(host.batch(number), device.batch(number), strict=True):
            assert set(cut) == set(expected)
            for name, tiles in cut.items():
                assert keras.ops.is_tensor(tiles)
                assert np.abs(np.asarray(tiles) - expected[name]).max() < 1e-6


def test_the_device_cuts_tiles_that_are_not_square(world, train_tiles):
    tiles = train_tiles[train_tiles["scale"] == 2].assign(lr_height=8, lr_width=12)
    readers = (
        TileReader(tiles, world.pictures),
        device_reader(world.pictures)(tiles, world.pictures),
    )
    rows = np.arange(0, len(tiles), 7)
    expected, cut = (reader.read(rows, np.arange(len(rows)) % 4) for reader in readers)
    assert cut[1].shape == (len(rows), 16, 24, 3)
    for host, device in zip(expected, cut, strict=True):
        assert np.abs(np.asarray(device) - host).max() < 1e-6
    with pytest.raises(ValueError, match="only square tiles"):
        readers[1].read(rows, np.full(len(rows), 4))


def test_the_device_refuses_tiles_of_several_sizes(world, train_tiles):
    tiles = train_tiles[train_tiles["scale"] == 2].copy()
    tiles.loc[tiles.index[0], "lr_width"] = 12
    with pytest.raises(ValueError, match="one size"):
        device_reader(world.pictures)(tiles, world.pictures)


def test_the_device_holds_a_store_once(world, train_tiles, monkeypatch):
    tiles = train_tiles[train_tiles["scale"] == 2]
    first = device_reader(world.pictures)(tiles, world.pictures)
    monkeypatch.setattr("isr_pipeline.training.device.DevicePictures", None)  # would fail
    again = device_reader(world.pictures)(tiles, world.pictures)
    rows = np.arange(3)
    assert np.array_equal(*(np.asarray(reader.read(rows)[1]) for reader in (first, again)))
