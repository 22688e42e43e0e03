"""How fast tiles reach training: beside what training takes, and beside other ways to store them.

    .venv/bin/python benchmarks/feed.py
    .venv/bin/python benchmarks/feed.py --photos FOLDER --output tables.md

All contenders take turns in every round, so that whatever else the machine does meets all of them
alike. Figures are medians over the rounds; ratios are taken within a round.
"""

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from itertools import count, islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from omegaconf import OmegaConf
from PIL import Image
from tqdm import tqdm

from isr_pipeline.imaging.arrays import Picture
from isr_pipeline.imaging.decode import UnusablePictureError, decode_picture
from isr_pipeline.imaging.degradations import degrade, encode_jpeg
from isr_pipeline.imaging.recipe_names import Degradation
from isr_pipeline.machine import describe_machine
from isr_pipeline.networks import import_keras
from isr_pipeline.pipelines.tile.nodes import index_tiles
from isr_pipeline.pipelines.tile.parameters import TileParameters
from isr_pipeline.sources.folder import list_folder
from isr_pipeline.sources.sample import sample_photographs
from isr_pipeline.storage.atomic import digest
from isr_pipeline.storage.pictures import (
    PictureStore,
    PictureStream,
    StoredPicture,
    write_pictures,
)
from isr_pipeline.storage.tiles import read_tiles, write_tiles
from isr_pipeline.training.parameters import TrainParameters

CONFIGURATION = Path(__file__).resolve().parents[1] / "conf" / "base"
SCALES = (2, 4, 6)
DEGRADATION: Degradation = "unsplash"
SIDE = 128  # of the tiles that the ways to store compete with
BATCH = 32  # such tiles in a batch
MOST_PHOTOGRAPHS = 100  # of a folder; they are kept in memory
WARM_UP = 8  # batches that a measurement throws away: more than any contender makes ahead

Photographs = list[tuple[str, Picture]]


@dataclass(frozen=True)
class Contender:
    """What is measured: `rate(seconds)` works for so long and returns units per second."""

    name: str
    rate: Callable[[float], float]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="of a measurement (3)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each (3)")
    parser.add_argument("--photos", type=Path, help="a folder of photographs (the sample)")
    parser.add_argument("--output", type=Path, help="a file to write the tables to as well")
    arguments = parser.parse_args()

    began = time.perf_counter()
    import_keras()
    photographs = list(
        folder_photographs(arguments.photos) if arguments.photos else oriented_sample()
    )
    with tempfile.TemporaryDirectory() as folder:
        text = compare(photographs, Path(folder), arguments.seconds, arguments.rounds)
    text += f"\nThe whole run took {time.perf_counter() - began:.0f} s.\n"
    print(text, end="")
    if arguments.output:
        arguments.output.write_text(text)


def compare(photographs: Photographs, folder: Path, seconds: float, rounds: int) -> str:
    """Measure every contender against the others of its group; the tables as Markdown."""
    tile = TileParameters.model_validate(settings("tile"))
    train = TrainParameters.model_validate(settings("train"))
    store, tiles = prepare(photographs, folder, tile)
    megapixels = sum(picture.size for _, picture in photographs) / 3e6
    a_step = train.batch_size * len(SCALES)

    def rows(contenders: list[Contender], *units: float) -> list[list[Any]]:
        """Name, median rate in each unit and ratios to the first contender; all take turns."""
        rates = measure(contenders, seconds, rounds)
        return [
            [contender.name, *(unit * median(own) for unit in units), *ratios(own, rates[0])]
            for contender, own in zip(contenders, rates, strict=True)
        ]

    load = OtherLoad()
    # Training comes last: TensorFlow leaves the memory allocator slower for large arrays.
    decode_rows = rows(decode_contenders(photographs), len(photographs) / megapixels, 1)
    storage_rows = rows(storage_contenders(photographs, folder), 1)
    for row in storage_rows:
        row.append(folder_size(folder / row[0]) / 1e6)
    feed_rows = rows(feed_contenders(train, tiles, store), 1 / a_step, 1)
    return "\n".join(
        [
            f"{machine()}; {len(photographs)} pictures, {megapixels:.1f} megapixels; "
            f"medians of {rounds} rounds of {seconds:g} s,\nwhile other processes took "
            f"{load.fraction():.0%} of the processors.\n",
            f"Feed beside training: `{train.network.name}`, {train.batch_size} tiles of each scale "
            f"{SCALES} in a step,\na tile being {tile.size}x{tile.size} low-resolution pixels and "
            f"their original; {len(tiles):,} tiles in the index.\n",
            *table(["", "steps/s", "tiles/s", "x training", "(all rounds)"], feed_rows),
            f"\nWays to store: {SIDE}x{SIDE} tiles in random order, uint8 batches of {BATCH}.\n",
            *table(["", "tiles/s", "x ours", "(all rounds)", "MB on disk"], storage_rows),
            "\nDecoding the photographs: JPEG, quality 95, 4:2:0, from memory.\n",
            *table(
                ["", "images/s", "megapixels/s", "x Pillow, 1 thread", "(all rounds)"], decode_rows
            ),
            "",
        ]
    )


# What the contenders work on


def settings(pipeline: str) -> dict[str, Any]:
    """The parameters of a pipeline as `conf/base` has them."""
    path = CONFIGURATION / f"parameters_{pipeline}.yml"
    loaded: Any = OmegaConf.to_container(OmegaConf.load(path))
    return loaded[pipeline]


def oriented_sample() -> Iterator[tuple[str, Picture]]:
    """The embedded sample in its eight orientations: more than fits into a processor's cache."""
    for name, picture in sample_photographs():
        for turns in range(4):
            turned = np.rot90(picture, turns)
            yield f"{name} {turns}", np.ascontiguousarray(turned)
            yield f"{name} {turns} mirrored", np.ascontiguousarray(turned[:, ::-1])


def folder_photographs(folder: Path) -> Iterator[tuple[str, Picture]]:
    """The first photographs of a folder that are large enough for tiles of every scale."""
    collection = list_folder(folder)

    def usable() -> Iterator[tuple[str, Picture]]:
        for path in collection.files["path"]:
            try:
                picture = decode_picture(collection.read(path)).pixels
            except UnusablePictureError:
                continue
            if min(picture.shape[:2]) >= 2 * SIDE:
                yield path, picture

    return islice(usable(), MOST_PHOTOGRAPHS)


def prepare(
    photographs: Photographs, folder: Path, parameters: TileParameters
) -> tuple[PictureStore, pd.DataFrame]:
    """Store pictures and index their tiles as the pipelines do; the tiles of split `train`."""
    names = [name for name, _ in photographs]
    if len(names) < 2:
        sys.exit(f"needs two photographs of {2 * SIDE} pixels a side at least: name another folder")

    def pictures() -> Iterator[StoredPicture]:
        for name, original in photographs:
            yield StoredPicture(name, 1, original)
            for scale in SCALES:
                yield StoredPicture(name, scale, degrade(original, scale, DEGRADATION))

    write_pictures(folder / "pictures", PictureStream(digest(names), pictures()))
    store = PictureStore(folder / "pictures")
    pairs = pd.DataFrame(
        [(name, scale, scale, "ok") for scale in SCALES for name in names],
        columns=["photograph", "scale", "enlargement", "status"],
    )
    # Nobody validates here, but an index without validation tiles is refused.
    pairs["split"] = np.where(pairs["photograph"] == names[-1], "val", "train")
    write_tiles(folder / "tiles", index_tiles(pairs, store, parameters))
    tiles = read_tiles(folder / "tiles")
    return store, tiles[tiles["split"] == "train"]


# Feed beside training


def feed_contenders(
    parameters: TrainParameters, tiles: pd.DataFrame, store: PictureStore
) -> list[Contender]:
    """Training from memory, which everything is compared with; from the feed; the feed alone."""
    from isr_pipeline.training.feed import TileFeed

    def feed() -> TileFeed:
        return TileFeed(tiles, store, parameters.batch_size, parameters.seed, parameters.augment)

    a_step = parameters.batch_size * len(SCALES)
    model = compiled_model(parameters)
    fixed, alone = feed().batch(0), feed()
    one_by_one = (alone.batch(number) for number in count())
    made_ahead = feed().batches()

    def from_the_feed(seconds: float) -> float:
        batches = feed().batches()
        try:
            return a_step * fit_rate(model, (batch for batch in batches), seconds)
        finally:
            batches.close()

    return [
        Contender(
            "training, one batch kept in memory",
            lambda seconds: a_step * fit_rate(model, (fixed for _ in count()), seconds),
        ),
        Contender("training from the feed", from_the_feed),
        Contender("feed alone, `batch(n)`", lambda s: a_step * stream_rate(one_by_one, s)),
        Contender("feed alone, `batches()`", lambda s: a_step * stream_rate(made_ahead, s)),
    ]


def compiled_model(parameters: TrainParameters) -> Any:
    """The configured network, compiled as `training.fit` does it."""
    import keras

    from isr_pipeline.training.fit import (
        build_for_training,
        compile_for_training,
        training_model,
    )
    from isr_pipeline.training.precision import choose_precision

    keras.utils.set_random_seed(parameters.seed)
    scales = list(SCALES)
    network = build_for_training(parameters, scales, choose_precision(parameters.precision))
    model = training_model(network, scales)
    compile_for_training(model, parameters, steps=parameters.steps_per_epoch or 1000)
    return model


def fit_rate(model: Any, batches: Any, seconds: float) -> float:
    """Steps per second of `model.fit`, without the first."""
    import keras

    class Stopwatch(keras.callbacks.Callback):
        """Ends the training when the time is over."""

        def __init__(self) -> None:
            super().__init__()
            self.steps, self.began, self.ended = -WARM_UP, 0.0, 0.0

        def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
            self.steps, self.ended = self.steps + 1, time.perf_counter()
            if self.steps == 0:
                self.began = self.ended
            self.model.stop_training = self.steps > 0 and self.ended - self.began >= seconds

    stopwatch = Stopwatch()
    model.fit(batches, steps_per_epoch=10**6, callbacks=[stopwatch], shuffle=False, verbose=0)
    batches.close()
    return stopwatch.steps / (stopwatch.ended - stopwatch.began)


# Ways to store


def storage_contenders(photographs: Photographs, folder: Path) -> list[Contender]:
    """The same tiles, stored in several ways, each in a folder of the contender's name."""
    ways: dict[str, Callable[[Photographs, Path], Iterator[NDArray[np.uint8]]]] = {
        "pictures in one memory-mapped file (ours)": from_store,
        "array in RAM": from_memory,
        "TFRecord of raw tiles, `tf.data`": from_records,
        "JPEG pictures, decoded once for all their tiles": from_jpeg_pictures,
        "JPEG pictures, decoded for each tile": from_jpeg_tiles,
        "one PNG file per tile": from_png_files,
        "Parquet of PNG": from_parquet,
    }

    def contender(name: str, way: Callable[..., Iterator[NDArray[np.uint8]]]) -> Contender:
        (folder / name).mkdir()
        batches = way(photographs, folder / name)
        return Contender(name, lambda seconds: BATCH * stream_rate(batches, seconds))

    return [contender(name, way) for name, way in ways.items()]


def from_store(photographs: Photographs, folder: Path) -> Iterator[NDArray[np.uint8]]:
    """Slices of the picture store."""
    originals = (StoredPicture(name, 1, picture) for name, picture in photographs)
    write_pictures(folder / "pictures", PictureStream("", originals))
    store, places = PictureStore(folder / "pictures"), tile_places(photographs)
    names = [name for name, _ in photographs]

    def tiles() -> Iterator[Picture]:
        for number in in_random_order(len(places)):
            photo, y, x = places[number]
            yield store.picture(names[photo], 1)[y : y + SIDE, x : x + SIDE]

    return batched(tiles())


def from_memory(photographs: Photographs, folder: Path) -> Iterator[NDArray[np.uint8]]:
    """Elements of one array `(tiles, SIDE, SIDE, 3)`."""
    array = np.stack(cut(photographs))
    order = in_random_order(len(array))
    return (array[list(islice(order, BATCH))] for _ in count())


def from_records(photographs: Photographs, folder: Path) -> Iterator[NDArray[np.uint8]]:
    """A TFRecord of raw bytes, shuffled by a buffer and made ahead on all cores by `tf.data`."""
    import tensorflow as tf

    path = str(folder / "tiles.tfrecord")
    with tf.io.TFRecordWriter(path) as writer:
        for tile in cut(photographs):
            writer.write(tile.tobytes())
    batches = (
        tf.data.TFRecordDataset(path)
        .repeat()
        .shuffle(1024)
        .batch(BATCH, drop_remainder=True)
        .map(
            lambda raw: tf.reshape(tf.io.decode_raw(raw, tf.uint8), (BATCH, SIDE, SIDE, 3)),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        .prefetch(4)
    )
    return batches.as_numpy_iterator()


def from_jpeg_pictures(photographs: Photographs, folder: Path) -> Iterator[NDArray[np.uint8]]:
    """Pictures in random order, all tiles of each together: less of a shuffle than the others."""
    paths = write_files(map(encode_jpeg, pictures_of(photographs)), folder)
    places = pd.DataFrame(tile_places(photographs), columns=["photo", "y", "x"])
    by_photo = {int(str(photo)): rows.to_numpy()[:, 1:] for photo, rows in places.groupby("photo")}

    def tiles() -> Iterator[Picture]:
        for photo in in_random_order(len(paths)):
            picture = decode_opencv(paths[photo].read_bytes())
            for y, x in by_photo[photo]:
                yield picture[y : y + SIDE, x : x + SIDE]

    return batched(tiles())


def from_jpeg_tiles(photographs: Photographs, folder: Path) -> Iterator[NDArray[np.uint8]]:
    """Tiles in random order, each from its whole picture."""
    paths = write_files(map(encode_jpeg, pictures_of(photographs)), folder)
    places = tile_places(photographs)

    def tiles() -> Iterator[Picture]:
        for number in in_random_order(len(places)):
            photo, y, x = places[number]
            yield decode_opencv(paths[photo].read_bytes())[y : y + SIDE, x : x + SIDE]

    return batched(tiles())


def from_png_files(photographs: Photographs, folder: Path) -> Iterator[NDArray[np.uint8]]:
    """A file for each tile."""
    paths = write_files(map(encode_png, cut(photographs)), folder)
    return batched(
        decode_opencv(paths[number].read_bytes()) for number in in_random_order(len(paths))
    )


def from_parquet(photographs: Photographs, folder: Path) -> Iterator[NDArray[np.uint8]]:
    """Row groups in random order, their rows too: less of a shuffle than the others."""
    pngs = pa.table({"png": [encode_png(tile) for tile in cut(photographs)]})
    pq.write_table(pngs, folder / "tiles.parquet", row_group_size=BATCH, compression="none")
    file = pq.ParquetFile(folder / "tiles.parquet", memory_map=True)

    def tiles() -> Iterator[Picture]:
        for group in in_random_order(file.num_row_groups):
            column = file.read_row_group(group)["png"]
            for row in np.random.default_rng().permutation(len(column)):
                yield decode_opencv(column[int(row)].as_buffer())

    return batched(tiles())


def tile_places(photographs: Photographs) -> list[tuple[int, int, int]]:
    """Number of the photograph, row and column of every tile; they do not overlap."""
    return [
        (photo, y, x)
        for photo, (_, picture) in enumerate(photographs)
        for y in range(0, picture.shape[0] - SIDE + 1, SIDE)
        for x in range(0, picture.shape[1] - SIDE + 1, SIDE)
    ]


def cut(photographs: Photographs) -> list[Picture]:
    pictures = pictures_of(photographs)
    return [pictures[photo][y : y + SIDE, x : x + SIDE] for photo, y, x in tile_places(photographs)]


def pictures_of(photographs: Photographs) -> list[Picture]:
    return [picture for _, picture in photographs]


def in_random_order(length: int) -> Iterator[int]:
    """The numbers below `length` in a random order, then in another, without end."""
    generator = np.random.default_rng(0)
    while True:
        yield from generator.permutation(length).tolist()


def batched(tiles: Iterator[Picture]) -> Iterator[NDArray[np.uint8]]:
    return (np.stack(list(islice(tiles, BATCH))) for _ in count())


def encode_png(tile: Picture) -> bytes:
    return cv2.imencode(".png", tile[..., ::-1])[1].tobytes()


def write_files(contents: Iterable[bytes], folder: Path) -> list[Path]:
    paths = []
    for number, content in enumerate(contents):
        paths.append(folder / str(number))
        paths[-1].write_bytes(content)
    return paths


def folder_size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


# Decoding


def decode_contenders(photographs: Photographs) -> list[Contender]:
    """Pillow and OpenCV, on one thread and on two; in megapixels per second."""
    jpegs = [encode_jpeg(picture) for picture in pictures_of(photographs)]

    def contender(name: str, decode: Callable[[bytes], Picture], threads: int) -> Contender:
        def all_at_once() -> Iterator[float]:
            with ThreadPoolExecutor(threads) as pool:
                while True:
                    yield sum(picture.size for picture in pool.map(decode, jpegs)) / 3e6

        passes = all_at_once()
        megapixels = next(passes)
        return Contender(
            f"{name}, {threads} thread{'s' if threads > 1 else ''}",
            lambda seconds: megapixels * stream_rate(passes, seconds, warm_up=1),
        )

    return [
        contender(name, decode, threads)
        for threads in (1, 2)
        for name, decode in (("Pillow", decode_pillow), ("OpenCV", decode_opencv))
    ]


def decode_pillow(data: bytes) -> Picture:
    return np.asarray(Image.open(BytesIO(data)).convert("RGB"))


def decode_opencv(data: Any) -> Picture:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB))


# Measuring and showing


def measure(contenders: list[Contender], seconds: float, rounds: int) -> list[NDArray[np.float64]]:
    """For each contender its rates, one a round; all take turns."""
    rates = np.empty((len(contenders), rounds))
    with tqdm(total=rates.size, disable=None, leave=False) as bar:
        for number in range(rounds):
            for place, contender in enumerate(contenders):
                bar.set_description(contender.name)
                rates[place, number] = contender.rate(seconds)
                bar.update()
    return list(rates)


class OtherLoad:
    """The fraction of the processors that other processes have used since this was made."""

    def __init__(self) -> None:
        self._began = self._now()

    def fraction(self) -> float:
        seconds, mine, everybody = np.subtract(self._now(), self._began)
        return max(0.0, float((everybody - mine) / (seconds * (os.cpu_count() or 1))))

    def _now(self) -> tuple[float, float, float]:
        mine, everybody = psutil.Process().cpu_times(), psutil.cpu_times()
        return time.time(), mine.user + mine.system, everybody.user + everybody.system


def stream_rate(stream: Iterator[Any], seconds: float, warm_up: int = WARM_UP) -> float:
    """Items per second of an endless stream, without the first."""
    for _ in range(warm_up):
        next(stream)
    began, items = time.perf_counter(), 0
    while (passed := time.perf_counter() - began) < seconds:
        next(stream)
        items += 1
    return items / passed


def median(values: NDArray[np.float64]) -> float:
    return statistics.median(values.tolist())


def ratios(values: NDArray[np.float64], reference: NDArray[np.float64]) -> list[Any]:
    """Median ratio, and its range over the rounds."""
    each = values / reference
    return [median(each), f"{number(each.min())} to {number(each.max())}"]


def number(value: float) -> str:
    """Three digits, or as many as stand before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}"


def table(head: list[str], rows: list[list[Any]]) -> list[str]:
    """Lines of a Markdown table."""
    cells = [[cell if isinstance(cell, str) else number(cell) for cell in row] for row in rows]
    alignment = ["---", *["---:"] * (len(head) - 1)]
    return [f"| {' | '.join(row)} |" for row in [head, alignment, *cells]]


def machine() -> str:
    """Processor, memory, GPUs and versions in one line."""
    import tensorflow as tf

    return f"{describe_machine()}; Python {platform.python_version()}, TensorFlow {tf.__version__}"


if __name__ == "__main__":
    main()
