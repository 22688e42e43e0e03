"""Tiling: where in the stored pictures training and validation look."""

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from isr_pipeline.errors import ProjectError
from isr_pipeline.pipelines.pair.belonging import check_pictures, pairs_for_tiles
from isr_pipeline.pipelines.tile.parameters import TileParameters
from isr_pipeline.storage.atomic import digest
from isr_pipeline.storage.pictures import PictureStore
from isr_pipeline.storage.tiles import TileStream, axis_positions, tile_deviations

logger = logging.getLogger(__name__)


def index_tiles(
    pairs: pd.DataFrame, pictures: PictureStore, parameters: TileParameters
) -> TileStream:
    """Lay tiles over every training and validation pair.

    Returns:
        The tile index, to be made when the one on disk was made from something else.

    Raises:
        ProjectError: when the pictures are of other pairs.
    """
    check_pictures(pairs, pictures)
    usable = pairs_for_tiles(pairs)
    columns = ["photograph", "scale", "enlargement", "split"]
    work = digest(
        "tiles", 2, pictures.digest, usable[columns].to_numpy().tolist(), parameters.model_dump()
    )

    def tables() -> Iterator[pd.DataFrame]:
        bar = tqdm(total=len(usable), desc="indexing tiles", disable=None, leave=False)
        kept = flat = 0
        scales = sorted({int(scale) for scale in usable["enlargement"]})
        laid = {(split, scale): 0 for split in ("train", "val") for scale in scales}
        with bar:
            for pair in usable.itertuples(index=False):
                table = _tiles_of(pair, pictures, parameters)
                if pair.split == "train":
                    detailed = table[table["deviation"] >= (parameters.drop_flat_below or 0)]
                    flat += len(table) - len(detailed)
                    table = _spread(detailed, parameters.maximum_per_pair)
                kept += len(table)
                laid[str(pair.split), int(pair.enlargement)] += len(table)
                bar.update()
                yield table
        for (split, scale), count in laid.items():
            if count == 0:
                here = usable[(usable["split"] == split) & (usable["enlargement"] == scale)]
                if here.empty:
                    raise ProjectError(
                        f"no pair of split {split} has scale {scale}: change split.seed or the "
                        "shares of split.*, or take the scale out of pair.scales"
                    )
                raise ProjectError(
                    f"no {split} tile at scale {scale}: its pictures are smaller than tile.size "
                    "times the scale, or flat; lower tile.size or tile.drop_flat_below, or take "
                    "the scale out of pair.scales"
                )
        logger.info(
            "%d tiles (%d train, %d val); %d flat ones left out",
            kept,
            *(sum(n for (s, _), n in laid.items() if s == split) for split in ("train", "val")),
            flat,
        )

    return TileStream(work, tables(), pictures.digest)


def _spread(table: pd.DataFrame, most: int) -> pd.DataFrame:
    if len(table) <= most:
        return table
    return table.iloc[np.linspace(0, len(table) - 1, most).round().astype(int)]


def _tiles_of(pair: Any, pictures: PictureStore, parameters: TileParameters) -> pd.DataFrame:
    photograph, scale, enlargement = str(pair.photograph), int(pair.scale), int(pair.enlargement)
    lr_size, hr_size = pictures.size(photograph, scale), pictures.size(photograph, 1)
    size = lr_size if parameters.size is None else (parameters.size, parameters.size)
    stride = parameters.stride if pair.split == "train" else max(size)
    (lr_rows, hr_rows), (lr_columns, hr_columns) = (
        axis_positions(
            lr_size[axis],
            hr_size[axis],
            size[axis],
            stride,
            enlargement,
            parameters.maximum_misalignment,
        )
        for axis in (0, 1)
    )
    deviations = np.empty(0, np.float32)
    if len(hr_rows) and len(hr_columns):
        deviations = tile_deviations(
            pictures.picture(photograph, 1),
            hr_rows,
            hr_columns,
            size[0] * enlargement,
            size[1] * enlargement,
        ).ravel()
    count = (len(lr_rows), len(lr_columns))
    return pd.DataFrame(
        {
            "photograph": photograph,
            "split": str(pair.split),
            "scale": scale,
            "enlargement": enlargement,
            "lr_y": np.repeat(lr_rows, count[1]),
            "lr_x": np.tile(lr_columns, count[0]),
            "lr_height": size[0],
            "lr_width": size[1],
            "hr_y": np.repeat(hr_rows, count[1]),
            "hr_x": np.tile(hr_columns, count[0]),
            "deviation": deviations,
        }
    )
