"""How fast tiles reach training, beside what training takes and beside other ways to store them.

    .venv/bin/python benchmarks/feed.py                      # the embedded sample, 4 minutes
    .venv/bin/python benchmarks/feed.py --photos FOLDER --output table.md

Every figure is the median over rounds in which all contenders take turns, so that whatever else
the machine does meets all of them alike. Ratios are taken within a round.
"""

import argparse
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from itertools import count, islice, repeat
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from omegaconf import OmegaConf
from PIL import Image
from tqdm import tqdm

from isr_pipeline.imaging.arrays import Picture
from isr_pipeline.imaging.decode import UnusablePictureError, decode_picture
from isr_pipeline.imaging.degradations import degrade, encode_jpeg
from isr_pipeline.networks import build_network, import_keras
from isr_pipeline.pipelines.tile.nodes import index_tiles
from isr_pipeline.pipelines.tile.parameters import TileParameters
from isr_pipeline.sources.folder import list_folder
from isr_pipeline.sources.sample import sample_photographs
from isr_pipeline.storage.atomic import digest
from isr_pipeline.storage.pictures import (
    PIXELS,
    PictureStore,
    PictureStream,
    StoredPicture,
    write_pictures,
)
from isr_pipeline.storage.tiles import read_tiles, write_tiles
from isr_pipeline.training.parameters import TrainParameters

CONFIGURATION = Path(__file__).resolve().parents[1] / "conf" / "base"
SCALES = (2, 4, 6)
SIDE = 128
"""Of the tiles that the ways of storing compete with."""
BATCH = 32
"""Tiles of that side in a batch."""
MOST_PHOTOGRAPHS = 100
WARM_UP = 8
"""Batches (steps) that a measurement throws away: more than any contender makes ahead."""


@dataclass(frozen=True)
class Contender:
    """Something that is measured: `rate(seconds)` runs it so long and returns units a second."""

    name: str
    rate: Callable[[float], float]
    note: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each measurement (3)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each contender (3)")
    parser.add_argument("--photos", type=Path, help="folder of photographs; default: the sample")
    parser.add_argument("--output", type=Path, help="also write the tables to this file")
    arguments = parser.parse_args()
    began = time.perf_counter()

    import_keras()
    photographs = list(folder_photographs(arguments.photos) if arguments.photos else sample_photographs())
    with tempfile.TemporaryDirectory() as folder:
        text = report(photographs, Path(folder), arguments.seconds, arguments.rounds)
    text += f"\nThe whole run took {time.perf_counter() - began:.0f} s.\n"
    print(text, end="")
    if arguments.output:
        arguments.output.write_text(text)


def report(
    photographs: list[tuple[str, Picture]], folder: Path, seconds: float, rounds: int
) -> str:
    """Measure everything; the tables as Markdown."""
    tile = TileParameters.model_validate(settings("tile"))
    train = TrainParameters.model_validate(settings("train"))
    store, tiles = prepare(photographs, folder, tile)
    jpegs = [encode_jpeg(picture) for _, picture in photographs]
    megapixels = sum(picture.shape[0] * picture.shape[1] for _, picture in photographs) / 1e6

    training, feeding = training_contenders(train, tiles, store)
    storing, megabytes = storage_contenders(photographs, store, jpegs, folder)
    decoding = decoding_contenders(jpegs)
    rates = measure([*training, *feeding, *storing, *decoding], seconds, rounds)

    step = f"{train.batch_size} tiles of each scale {SCALES}"
    lines = [
        "Machine: " + machine(),
        "",
        f"Photographs: {len(photographs)}, {megapixels:.1f} megapixels. "
        f"Each figure: median of {rounds} rounds of {seconds:g} s.",
        "",
        f"**Feed beside training** ({train.network.name}, {step} in a step, {tile.size}x{tile.size} "
        "low-resolution pixels and their originals)",
        "",
        *table(
            ["", "steps/s", "tiles/s", "times training", "worst round"],
            [
                [
                    contender.name,
                    number(median(rates[contender.name]) / (train.batch_size * len(SCALES))),
                    number(median(rates[contender.name])),
                    *spread(rates[contender.name], rates[training[0].name]),
                ]
                for contender in [*training, *feeding]
            ],
        ),
        "",
        f"**Ways to store tiles** ({SIDE}x{SIDE}, shuffled, uint8 batches of {BATCH}, warm)",
        "",
        *table(
            ["", "tiles/s", "times ours", "MB", "how"],
            [
                [
                    contender.name,
                    number(median(rates[contender.name])),
                    spread(rates[contender.name], rates[storing[0].name])[0],
                    number(megabytes[contender.name]),
                    contender.note,
                ]
                for contender in storing
            ],
        ),
        "",
        "**Decoding the photographs** (JPEG, quality 95, 4:2:0, from memory)",
        "",
        *table(
            ["", "images/s", "megapixels/s", "times Pillow, one thread"],
            [
                [
                    contender.name,
                    number(median(rates[contender.name])),
                    number(median(rates[contender.name]) * megapixels / len(photographs)),
                    spread(rates[contender.name], rates[decoding[0].name])[0],
                ]
                for contender in decoding
            ],
        ),
    ]
    return "\n".join(lines) + "\n"


# The data.


def settings(name: str) -> dict[str, Any]:
    """The parameters of a pipeline as `conf/base` has them."""
    loaded = OmegaConf.to_container(OmegaConf.load(CONFIGURATION / f"parameters_{name}.yml"))
    return loaded[name]


def folder_photographs(folder: Path) -> Iterator[tuple[str, Picture]]:
    """The first readable photographs of a folder that are large enough for tiles of every scale."""
    collection = list_folder(folder)

    def readable() -> Iterator[tuple[str, Picture]]:
        for path in collection.files["path"]:
            try:
                picture = decode_picture(collection.read(path)).pixels
            except UnusablePictureError:
                continue
            if min(picture.shape[:2]) >= 2 * SIDE:
                yield path, picture

    return islice(readable(), MOST_PHOTOGRAPHS)


def prepare(
    photographs: list[tuple[str, Picture]], folder: Path, parameters: TileParameters
) -> tuple[PictureStore, pd.DataFrame]:
    """Write the picture store and the tile index, with the project's own functions."""

    def pictures() -> Iterator[StoredPicture]:
        for name, picture in photographs:
            yield StoredPicture(name, 1, picture)
            for scale in SCALES:
                yield StoredPicture(name, scale, degrade(picture, scale, "unsplash"))

    names = [name for name, _ in photographs]
    write_pictures(folder / "pictures", PictureStream(digest(names), pictures()))
    store = PictureStore(folder / "pictures")
    pairs = pd.DataFrame(
        {
            "photograph": name,
            "scale": scale,
            "enlargement": scale,
            "split": "val" if name == names[-1] else "train",
            "status": "ok",
        }
        for scale in SCALES
        for name in names
    )
    write_tiles(folder / "tiles", index_tiles(pairs, store, parameters))
    tiles = read_tiles(folder / "tiles")
    return store, tiles[tiles["split"] == "train"]


# The contenders.


def training_contenders(
    parameters: TrainParameters, tiles: pd.DataFrame, store: PictureStore
) -> tuple[list[Contender], list[Contender]]:
    """Training from one batch in memory and from the feed, and the feed alone; in tiles/s."""
    from isr_pipeline.training.feed import TileFeed

    def feed() -> TileFeed:
        return TileFeed(tiles, store, parameters.batch_size, parameters.seed, parameters.augment)

    model = compiled_model(parameters)
    a_step = parameters.batch_size * len(SCALES)
    fixed = feed().batch(0)
    alone, threaded = feed(), feed()
    numbered = (alone.batch(number) for number in count())
    batches = threaded.batches()
    return (
        [
            Contender(
                "training, one batch from memory",
                lambda seconds: a_step * fit_rate(model, repeat(fixed), seconds),
            ),
            Contender(
                "training, from the feed",
                lambda seconds: a_step * fit_rate(model, feed().batches(), seconds),
            ),
        ],
        [
            Contender(
                "feed alone, `batch(n)`",
                lambda seconds: a_step * stream_rate(numbered, seconds),
            ),
            Contender(
                "feed alone, `batches()`",
                lambda seconds: a_step * stream_rate(batches, seconds),
            ),
        ],
    )


def compiled_model(parameters: TrainParameters) -> Any:
    """The configured network, ready to be fitted as `training.fit` fits it."""
    import keras

    from isr_pipeline.training.fit import training_model
    from isr_pipeline.training.losses import LOSSES, METRICS
    from isr_pipeline.training.precision import choose_precision

    keras.utils.set_random_seed(parameters.seed)
    keras.config.set_dtype_policy(choose_precision(parameters.precision))
    network = build_network(parameters.network.name, SCALES, **parameters.network.sizes)
    model = training_model(network, list(SCALES))
    keras.config.set_dtype_policy("float32")
    average = parameters.average
    model.compile(
        keras.optimizers.Adam(
            parameters.learning_rate.peak, use_ema=average is not None, ema_momentum=average or 0.99
        ),
        loss=dict.fromkeys(model.output_names, LOSSES[parameters.loss]),
        metrics={
            name: [METRICS[metric] for metric in parameters.metrics] for name in model.output_names
        },
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )
    return model


def fit_rate(model: Any, batches: Iterator[Any], seconds: float) -> float:
    """Steps a second of `model.fit`, the first ones left out."""
    import keras

    class Stopwatch(keras.callbacks.Callback):
        began = ended = 0.0
        steps = 0

        def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
            self.ended = time.perf_counter()
            self.steps = batch + 1 - WARM_UP
            if self.steps == 0:
                self.began = self.ended
            elif self.steps > 0 and self.ended - self.began >= seconds:
                self.model.stop_training = True

    watch = Stopwatch()
    model.fit(batches, steps_per_epoch=10**9, callbacks=[watch], shuffle=False, verbose=0)
    if hasattr(batches, "close"):
        batches.close()
    return watch.steps / (watch.ended - watch.began)


def storage_contenders(
    photographs: list[tuple[str, Picture]],
    store: PictureStore,
    jpegs: list[bytes],
    folder: Path,
) -> tuple[list[Contender], dict[str, float]]:
    """The same tiles, stored in several ways and read in random order; and their megabytes."""
    places = [
        (photo, y, x)
        for photo, (_, picture) in enumerate(photographs)
        for y in range(0, picture.shape[0] - SIDE + 1, SIDE)
        for x in range(0, picture.shape[1] - SIDE + 1, SIDE)
    ]
    names = [name for name, _ in photographs]
    pixels = [picture for _, picture in photographs]
    cut = [cut_tile(pixels[photo], y, x) for photo, y, x in places]
    array = np.stack(cut)
    pngs = [cv2.imencode(".png", tile[..., ::-1])[1].tobytes() for tile in cut]

    def from_store() -> Iterator[Picture]:
        for place in shuffled(len(places)):
            photo, y, x = places[place]
            yield cut_tile(store.picture(names[photo], 1), y, x)

    def from_jpeg_each() -> Iterator[Picture]:
        for place in shuffled(len(places)):
            photo, y, x = places[place]
            yield cut_tile(decode(jpegs[photo]), y, x)

    of_photo: dict[int, list[tuple[int, int]]] = {}
    for photo, y, x in places:
        of_photo.setdefault(photo, []).append((y, x))

    def from_jpeg_once() -> Iterator[Picture]:
        for photo in shuffled(len(jpegs)):
            picture = decode(jpegs[photo])
            for y, x in of_photo[photo]:
                yield cut_tile(picture, y, x)

    png_folder = folder / "png"
    png_folder.mkdir()
    for place, png in enumerate(pngs):
        (png_folder / f"{place}.png").write_bytes(png)

    def from_png_files() -> Iterator[Picture]:
        for place in shuffled(len(places)):
            yield decode((png_folder / f"{place}.png").read_bytes())

    parquet = folder / "tiles_png.parquet"
    pq.write_table(pa.table({"png": pngs}), parquet, row_group_size=BATCH, compression="none")
    opened = pq.ParquetFile(parquet, memory_map=True)

    def from_parquet() -> Iterator[Picture]:
        for group in shuffled(opened.num_row_groups):
            column = opened.read_row_group(group)["png"]
            for row in np.random.default_rng().permutation(len(column)):
                yield decode(column[int(row)].as_buffer())

    records = folder / "tiles.tfrecord"

    def from_ram() -> Iterator[NDArray[np.uint8]]:
        order = shuffled(len(array))
        while True:
            yield array[list(islice(order, BATCH))]

    streams: list[tuple[str, Iterator[Any], float, str]] = [
        (
            "picture store, memory-mapped (ours)",
            batched(from_store()),
            sum(picture.nbytes for picture in pixels),
            "slices of the whole pictures; tiles may overlap at no cost",
        ),
        ("array in RAM", from_ram(), array.nbytes, "must fit"),
        (
            "TFRecord, raw",
            from_records(cut, records),
            records.stat().st_size,
            "`tf.data` on all cores, shuffle buffer of 1024",
        ),
        (
            "whole JPEG, decoded once for all its tiles",
            batched(from_jpeg_once()),
            sum(map(len, jpegs)),
            "a photograph's tiles come together; pixels lossy",
        ),
        (
            "whole JPEG, decoded for each tile",
            batched(from_jpeg_each()),
            sum(map(len, jpegs)),
            "shuffled like ours; pixels lossy",
        ),
        (
            "one PNG file per tile",
            batched(from_png_files()),
            sum(map(len, pngs)),
            f"{len(pngs)} files",
        ),
        (
            "Parquet of PNG",
            batched(from_parquet()),
            parquet.stat().st_size,
            f"shuffled row groups of {BATCH}",
        ),
    ]
    contenders = [
        Contender(name, lambda seconds, stream=stream: BATCH * stream_rate(stream, seconds), note)
        for name, stream, _, note in streams
    ]
    return contenders, {name: size / 1e6 for name, _, size, _ in streams}
