"""The feed: tiles from the picture store as batches, the same for every Keras backend."""

import queue
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from isr_pipeline.imaging.arrays import Picture
from isr_pipeline.storage.pictures import PictureStore

Batch = tuple[dict[str, Any], dict[str, Any]]
"""`{"lr_x2": (batch, height, width, 3), ...}` and `{"sr_x2": ...}`, float32 in [0, 1]: arrays, or
tensors that are on the device already."""


class Reader(Protocol):
    """Tiles of one of the network's scales: `TileReader`, or `device.DeviceReader`."""

    def __len__(self) -> int: ...

    def read(
        self, rows: NDArray[np.int64], flips: NDArray[np.int64] | None = None
    ) -> Sequence[Any]:
        """The low-resolution and the original half of a batch."""


MakeReader = Callable[[pd.DataFrame, PictureStore], Reader]
"""Makes a reader of rows of the tile index with one `enlargement`, and of the pictures."""


class TileReader:
    """Tiles of one of the network's scales, read straight into float batches.

    The table is taken apart once; a batch then costs little more than the arithmetic on its
    pixels.

    Args:
        tiles: rows of the tile index with one `enlargement`.
        pictures: the store that the index points into.
    """

    def __init__(self, tiles: pd.DataFrame, pictures: PictureStore) -> None:
        self.enlargement = int(tiles["enlargement"].iloc[0])
        self._pair, pairs = pairs_of(tiles)
        self._pictures: list[tuple[Picture, Picture]] = [
            (pictures.picture(photograph, scale), pictures.picture(photograph, 1))
            for photograph, scale in pairs
        ]
        places = ["lr_y", "lr_x", "lr_height", "lr_width", "hr_y", "hr_x"]
        self._places = tiles[places].to_numpy(np.int32)

    def __len__(self) -> int:
        return len(self._places)

    def read(
        self, rows: NDArray[np.int64], flips: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Read tiles of equal size.

        Args:
            rows: which tiles.
            flips: which of the eight symmetries of a square each gets; None for none.

        Returns:
            `(len(rows), height, width, 3)` in [0, 1], low-resolution and original.
        """
        height, width = self._places[rows[0], 2:4]
        factor = self.enlargement
        lr = np.empty((len(rows), height, width, 3), np.float32)
        hr = np.empty((len(rows), height * factor, width * factor, 3), np.float32)
        for number, row in enumerate(rows):
            low_res, original = self._pictures[self._pair[row]]
            y, x, height, width, hr_y, hr_x = self._places[row]
            flip = 0 if flips is None else int(flips[number])
            parts = (
                low_res[y : y + height, x : x + width],
                original[hr_y : hr_y + height * factor, hr_x : hr_x + width * factor],
            )
            for part, batch in zip(parts, (lr, hr), strict=True):
                # One pass from the mapped file to the batch; the same arithmetic as `to_unit`.
                np.divide(_flipped(part, flip), np.float32(255), out=batch[number])
        return lr, hr


class TileFeed:
    """Batches with tiles of every scale, in an order that the seed alone decides.

    Each scale's tiles are gone through in a new random order again and again. Batch number n is
    the same whether or not the batches before it were ever made, so that an interrupted training
    goes on with exactly the batches that would have come.

    Args:
        tiles: rows of one split of the tile index.
        pictures: the store that the index points into.
        batch_size: tiles of each scale in a batch.
        seed: of order and flips.
        augment: mirror and transpose at random, the eight symmetries of a square.
        make_reader: of what reads the tiles of a scale.
    """

    def __init__(
        self,
        tiles: pd.DataFrame,
        pictures: PictureStore,
        batch_size: int,
        seed: int,
        augment: bool,
        make_reader: MakeReader = TileReader,
    ) -> None:
        self.batch_size = batch_size
        self.seed = seed
        self.augment = augment
        self._readers = readers_by_scale(tiles, pictures, make_reader)
        self._orders: dict[tuple[int, int], NDArray[np.uint32]] = {}

    @property
    def scales(self) -> list[int]:
        """The network's scales: how much larger the original's tiles are."""
        return list(self._readers)

    @property
    def steps_per_pass(self) -> int:
        """Batches until every tile of the scale with the most tiles was seen."""
        most = max(len(reader) for reader in self._readers.values())
        return -(-most // self.batch_size)

    def batch(self, number: int) -> Batch:
        """Make one batch."""
        rows, flips = {}, {}
        for scale, reader in self._readers.items():
            rows[scale] = self._rows(scale, len(reader), number)
            if self.augment:
                generator = np.random.default_rng([self.seed, 1, scale, number])
                flips[scale] = generator.integers(8, size=self.batch_size)
        return make_batch(self._readers, rows, flips)

    def batches(self, first: int = 0, ahead: int = 4) -> "Batches":
        """Batches without end from number `first`, made a few steps ahead."""
        return Batches(self.batch, first, ahead)

    def _rows(self, scale: int, tiles: int, number: int) -> NDArray[np.int64]:
        positions = np.arange(number * self.batch_size, (number + 1) * self.batch_size)
        return np.array([self._order(scale, tiles, int(p) // tiles)[p % tiles] for p in positions])

    def _order(self, scale: int, tiles: int, turn: int) -> NDArray[np.uint32]:
        key = (scale, turn)
        if key not in self._orders:
            self._orders.pop((scale, turn - 2), None)
            numbers = np.arange(tiles, dtype=np.uint32)  # more tiles than that no memory holds
            np.random.default_rng([self.seed, 0, scale, turn]).shuffle(numbers)
            self._orders[key] = numbers
        return self._orders[key]


class Batches:
    """Batches without end, made by a thread a few steps ahead.

    Whoever takes them may be another thread (TensorFlow's), which waits for the next one while
    this one closes them: a generator could not be closed then.

    Args:
        make: makes the batch of a number.
        first: the number to begin with.
        ahead: how many are made before they are asked for.
    """

    def __init__(self, make: Callable[[int], Batch], first: int, ahead: int) -> None:
        self._made: queue.Queue[Batch | BaseException] = queue.Queue(ahead)
        self._closed = threading.Event()
        weakref.finalize(self, self._closed.set)  # the thread knows nothing of this object
        parts = (make, first, self._made, self._closed)
        self._maker = threading.Thread(target=_make_all, args=parts, name="tile feed", daemon=True)
        self._maker.start()

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        while not self._closed.is_set():
            try:
                item = self._made.get(timeout=0.1)
            except queue.Empty:
                continue
            if isinstance(item, BaseException):
                raise item
            return item
        raise StopIteration

    def close(self) -> None:
        """Make no more; whoever waits for one learns that there is none."""
        self._closed.set()
        self._maker.join()  # Python kills what still runs when it ends, amidst NumPy's work


def _make_all(
    make: Callable[[int], Batch],
    number: int,
    made: "queue.Queue[Batch | BaseException]",
    closed: threading.Event,
) -> None:
    while not closed.is_set():
        try:
            item: Batch | BaseException = make(number)
        except BaseException as error:  # handed over to whoever asks for the batch
            item = error
        while not closed.is_set():
            try:
                made.put(item, timeout=0.1)
                break
            except queue.Full:
                continue
        number += 1


def readers_by_scale(
    tiles: pd.DataFrame,
    pictures: PictureStore,
    make_reader: MakeReader = TileReader,
) -> dict[int, Reader]:
    """A reader for each of the network's scales, smallest first."""
    return {
        int(str(scale)): make_reader(table, pictures)
        for scale, table in tiles.groupby("enlargement", sort=True)
    }


def make_batch(
    readers: dict[int, Reader],
    rows: dict[int, NDArray[np.int64]],
    flips: dict[int, NDArray[np.int64]] | None = None,
) -> Batch:
    """Read tiles of each scale into one batch.

    Args:
        readers: of the network's scales.
        rows: which tiles of each; equally many, and of one size at each scale.
        flips: for each scale, which of the eight symmetries of a square each tile gets.
    """
    lr_batch, hr_batch = {}, {}
    for scale, reader in readers.items():
        lr_batch[f"lr_x{scale}"], hr_batch[f"sr_x{scale}"] = reader.read(
            rows[scale], (flips or {}).get(scale)
        )
    return lr_batch, hr_batch


def pairs_of(tiles: pd.DataFrame) -> tuple[NDArray[np.int32], list[tuple[str, int]]]:
    """The number of each tile's pair, and the photograph and scale of each pair."""
    pairs = tiles.groupby(["photograph", "scale"], observed=True, sort=False)
    numbers = pairs.ngroup().to_numpy(np.int32)
    heads = pairs.head(1)[["photograph", "scale"]]
    return numbers, [(str(p), int(str(s))) for p, s in heads.itertuples(index=False)]


def read_tile(pictures: PictureStore, tile: Any) -> tuple[Picture, Picture]:
    """Low-resolution and original pixels of one row of the tile index, as views of the store."""
    low_res = pictures.picture(tile.photograph, tile.scale)
    original = pictures.picture(tile.photograph, 1)
    hr_height, hr_width = tile.lr_height * tile.enlargement, tile.lr_width * tile.enlargement
    return (
        low_res[tile.lr_y : tile.lr_y + tile.lr_height, tile.lr_x : tile.lr_x + tile.lr_width],
        original[tile.hr_y : tile.hr_y + hr_height, tile.hr_x : tile.hr_x + hr_width],
    )


def _flipped(tile: Picture, flip: int) -> Picture:
    if flip & 1:
        tile = tile[::-1]
    if flip & 2:
        tile = tile[:, ::-1]
    if flip & 4:
        tile = tile.transpose(1, 0, 2)
    return tile
