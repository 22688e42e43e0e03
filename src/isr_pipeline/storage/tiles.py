"""Where the tiles are: an index over the picture store; no pixel is copied."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from isr_pipeline.imaging.arrays import Picture
from isr_pipeline.imaging.colour import luma
from isr_pipeline.storage.atomic import read_manifest, write_once

TABLE = "tiles.parquet"
SCHEMA = pa.schema(
    [
        ("photograph", pa.dictionary(pa.int32(), pa.string())),
        ("split", pa.dictionary(pa.int32(), pa.string())),
        ("scale", pa.int16()),
        ("enlargement", pa.int16()),
        ("lr_y", pa.int32()),
        ("lr_x", pa.int32()),
        ("lr_height", pa.int32()),
        ("lr_width", pa.int32()),
        ("hr_y", pa.int32()),
        ("hr_x", pa.int32()),
        ("deviation", pa.float32()),
    ]
)
"""Columns of the index. Positions and sizes in pixels of the low-resolution (`lr_*`) and the
original (`hr_*`) picture; a tile of the original is `enlargement` times `lr_height`, `lr_width`.
`deviation` is the standard deviation of the original tile's luma in grey levels."""

ROWS_AT_A_TIME = 1_000_000


@dataclass(frozen=True)
class TileStream:
    """Index tables, a photograph's pair each, made when asked for.

    Attributes:
        digest: names the inputs and parameters that the index is made from.
        tables: data frames with the columns of `SCHEMA`.
        made_from: names the pictures, to be compared with them later.
    """

    digest: str
    tables: Iterable[pd.DataFrame]
    made_from: str = ""


def write_tiles(folder: Path, stream: TileStream) -> dict[str, Any] | None:
    """Write a tile index with constant memory, unless the folder holds it already.

    Returns:
        The manifest when it was written, None when nothing was to do.
    """

    def write(partial: Path) -> dict[str, Any]:
        tiles = 0
        with pq.ParquetWriter(partial / TABLE, SCHEMA) as writer:
            for table in stream.tables:
                writer.write_table(pa.Table.from_pandas(table, SCHEMA, preserve_index=False))
                tiles += len(table)
        return {"tiles": tiles, "made_from": stream.made_from}

    return write_once(folder, stream.digest, write)


def read_tiles(folder: Path) -> pd.DataFrame:
    """Load a tile index as written by `write_tiles`, 35 bytes a tile.

    Its `attrs["made_from"]` names the pictures that it was laid over.
    """
    # Each column of Arrow's is given up as soon as it is a column of Pandas'.
    tiles = pq.read_table(folder / TABLE).to_pandas(split_blocks=True, self_destruct=True)
    pa.default_memory_pool().release_unused()
    tiles.attrs["made_from"] = (read_manifest(folder) or {}).get("made_from", "")
    return tiles


def digest_tiles(tiles: pd.DataFrame) -> str:
    """SHA-256 over the rows of a tile index, in their order."""
    total = hashlib.sha256()
    for start in range(0, len(tiles), ROWS_AT_A_TIME):
        part = tiles.iloc[start : start + ROWS_AT_A_TIME]
        total.update(pd.util.hash_pandas_object(part, index=False).to_numpy())
    return total.hexdigest()


def axis_positions(
    lr_length: int,
    hr_length: int,
    size: int,
    stride: int,
    enlargement: int,
    maximum_misalignment: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Tile starts along one axis, on the low-resolution grid and on the original's.

    Where the original's length is `enlargement` times the low-resolution one, the two grids agree
    exactly. Where it is no multiple (800 rows at scale 6 have 133 low-resolution rows of 6.015),
    the original tile is laid so that the centres agree as well as whole pixels allow, and tiles
    that stay further apart than allowed are left out: nothing is resized.

    Args:
        lr_length: pixels of the low-resolution picture along the axis.
        hr_length: pixels of the original along the axis.
        size: of a tile, in low-resolution pixels.
        stride: between tiles, in low-resolution pixels. The last tile touches the end.
        enlargement: original pixels per low-resolution pixel within a tile.
        maximum_misalignment: in low-resolution pixels.

    Returns:
        Equally long arrays: starts in low-resolution pixels and in original pixels.
    """
    if lr_length < size or hr_length < size * enlargement:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    starts = np.unique(np.append(np.arange(0, lr_length - size, stride), lr_length - size))
    exact = (starts + size / 2) * (hr_length / lr_length) - size * enlargement / 2
    hr_starts = np.clip(np.rint(exact), 0, hr_length - size * enlargement).astype(np.int64)
    aligned = np.abs(hr_starts - exact) <= maximum_misalignment * enlargement + 1e-9
    return starts[aligned], hr_starts[aligned]


def tile_deviations(
    original: Picture, rows: NDArray[np.int64], columns: NDArray[np.int64], height: int, width: int
) -> NDArray[np.float32]:
    """Standard deviation of luma in each tile, by integral images.

    Args:
        original: `(height, width, 3)`, uint8.
        rows: starts of the tiles' rows.
        columns: starts of the tiles' columns.
        height: rows of a tile.
        width: columns of a tile.

    Returns:
        `(len(rows), len(columns))`, in grey levels.
    """
    # Around the mean, so that the difference of squares keeps its digits.
    grey = luma(original)
    sums, squares = cv2.integral2(grey - grey.mean(), sdepth=cv2.CV_64F, sqdepth=cv2.CV_64F)

    def window(table: NDArray[np.float64]) -> NDArray[np.float64]:
        top, bottom = table[rows], table[rows + height]
        return (
            bottom[:, columns + width]
            - bottom[:, columns]
            - top[:, columns + width]
            + top[:, columns]
        )

    mean, mean_square = (window(np.asarray(t)) / (height * width) for t in (sums, squares))
    return np.sqrt(np.maximum(mean_square - mean**2, 0)).astype(np.float32)
