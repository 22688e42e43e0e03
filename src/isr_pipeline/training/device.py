"""Tiles cut by the GPU itself, so that it does not wait for the processor to cut them."""

from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import keras
import numpy as np
import pandas as pd
from keras import ops
from numpy.typing import NDArray

from isr_pipeline.storage.pictures import PictureStore
from isr_pipeline.training.feed import pairs_of

PIXEL_LIMIT = 2**31
"""A store must have fewer pixels: they are indexed with 32 bits."""


class DevicePictures:
    """All pixels of a picture store in the GPU's memory, and the cutting of tiles there.

    A tile's place is the index of its first pixel and the strides to the pixel below and to the one
    on its right. Flips and transposes are free: they only change start and strides.

    Args:
        pictures: the store, of fewer than `PIXEL_LIMIT` pixels.
    """

    def __init__(self, pictures: PictureStore) -> None:
        self._pixels = ops.convert_to_tensor(pictures.pixels)
        self._cut: Callable[..., Any] = _cut
        if keras.backend.backend() == "jax":
            import jax

            self._cut = jax.jit(_cut, static_argnames=("height", "width"))

    def cut(self, places: NDArray[np.int32], height: int, width: int) -> Any:
        """Cut tiles.

        Args:
            places: `(batch, 3)`: first pixel, stride downwards, stride to the right.
            height: of the tiles.
            width: of the tiles.

        Returns:
            A tensor of the Keras backend, `(batch, height, width, 3)`, float32 in [0, 1].
        """
        return self._cut(self._pixels, ops.convert_to_tensor(places), height=height, width=width)


class DeviceReader:
    """`feed.TileReader` with the tiles on the device; they must be of one size.

    Args:
        tiles: rows of the tile index with one `enlargement`.
        pictures: the store that the index points into.
        on_device: the same store's pixels.

    Raises:
        ValueError: for tiles of several sizes.
    """

    def __init__(
        self, tiles: pd.DataFrame, pictures: PictureStore, on_device: DevicePictures
    ) -> None:
        if tiles[["lr_height", "lr_width"]].nunique().max() > 1:
            raise ValueError("the device cuts tiles of one size alone")
        self._on_device = on_device
        pair, pairs = pairs_of(tiles)
        first_tile = tiles.iloc[0]
        self._halves = []
        for side in ("lr", "hr"):
            factor = 1 if side == "lr" else int(first_tile["enlargement"])
            keys = [(photograph, scale if side == "lr" else 1) for photograph, scale in pairs]
            # 32 bits hold them: see PIXEL_LIMIT.
            first = np.array([pictures.first_pixel(*key) for key in keys], np.int32)[pair]
            width = np.array([pictures.size(*key)[1] for key in keys], np.int32)[pair]
            first += tiles[f"{side}_y"].to_numpy() * width + tiles[f"{side}_x"].to_numpy()
            size = int(first_tile["lr_height"]) * factor, int(first_tile["lr_width"]) * factor
            self._halves.append((first, width, size))

    def __len__(self) -> int:
        return len(self._halves[0][0])

    def read(self, rows: NDArray[np.int64], flips: NDArray[np.int64] | None = None) -> list[Any]:
        """Read tiles: see `feed.TileReader.read`."""
        flips = np.zeros(len(rows), np.int64) if flips is None else flips
        height, width = self._halves[0][2]
        if height != width and (flips & 4).any():
            raise ValueError("only square tiles can be transposed")
        return [
            self._on_device.cut(_places(first[rows], widths[rows], size, flips), *size)
            for first, widths, size in self._halves
        ]


def device_reader(pictures: PictureStore) -> Callable[[pd.DataFrame, PictureStore], DeviceReader]:
    """Put a store's pixels into the device's memory; what makes readers of them.

    They stay there for as long as the store is open: all trials of a search share them.
    """
    if pictures not in _ON_DEVICE:
        _ON_DEVICE[pictures] = DevicePictures(pictures)
    return partial(DeviceReader, on_device=_ON_DEVICE[pictures])


_ON_DEVICE: WeakKeyDictionary[PictureStore, DevicePictures] = WeakKeyDictionary()


def _places(
    first: NDArray[np.int32],
    width: NDArray[np.int32],
    size: tuple[int, int],
    flips: NDArray[np.int64],
) -> NDArray[np.int32]:
    """The places of tiles of whole pictures' `width` whose top left pixels are `first`."""
    upside_down, mirrored, transposed = flips & 1, flips >> 1 & 1, flips >> 2 & 1
    start = first + upside_down * (size[0] - 1) * width + mirrored * (size[1] - 1)
    below, right = (1 - 2 * upside_down) * width, 1 - 2 * mirrored
    steps = np.where(transposed, (right, below), (below, right))
    return np.stack([start, *steps], axis=1).astype(np.int32)


def _cut(pixels: Any, places: Any, height: int, width: int) -> Any:
    first, below, right = (places[:, number, None, None] for number in range(3))
    rows = ops.arange(height, dtype="int32")[None, :, None]
    columns = ops.arange(width, dtype="int32")[None, None, :]
    return (
        ops.cast(ops.take(pixels, first + rows * below + columns * right, axis=0), "float32") / 255
    )
