"""A small world: made photographs in the Kaggle layout, carried through the rooms."""

from types import SimpleNamespace

import pytest
import yaml

from conftest import PROJECT, made_photograph
from isr_pipeline.pipelines.evaluate.parameters import EvaluateParameters
from isr_pipeline.pipelines.ingest.nodes import index_photographs
from isr_pipeline.pipelines.ingest.parameters import IngestParameters
from isr_pipeline.pipelines.pair.nodes import (
    check_partners,
    pair_photographs,
    split_photographs,
    store_pictures,
)
from isr_pipeline.pipelines.pair.parameters import PairParameters, SplitParameters
from isr_pipeline.pipelines.tile.nodes import index_tiles
from isr_pipeline.pipelines.tile.parameters import TileParameters
from isr_pipeline.sources.kaggle_layout import list_kaggle_layout, write_kaggle_layout
from isr_pipeline.storage.pictures import PictureStore, write_pictures
from isr_pipeline.storage.tiles import read_tiles, write_tiles
from isr_pipeline.training.parameters import TrainParameters
from isr_pipeline.training.search_space import TuneParameters


def default_parameters(room: str) -> dict:
    """A room's defaults, from the one place where they stand."""
    return yaml.safe_load((PROJECT / "conf" / "base" / f"parameters_{room}.yml").read_text())


def changed(values: dict, **changes) -> dict:
    """Nested dictionaries with some keys changed: `a__b=1` changes `values["a"]["b"]`."""
    result = {k: changed(v) if isinstance(v, dict) else v for k, v in values.items()}
    for path, value in changes.items():
        *groups, key = path.split("__")
        target = result
        for group in groups:
            target = target[group]
        target[key] = value
    return result


def ingest_parameters(**changes) -> IngestParameters:
    return IngestParameters(**changed(default_parameters("ingest")["ingest"], **changes))


def pair_parameters(**changes) -> PairParameters:
    return PairParameters(**changed(default_parameters("pair")["pair"], **changes))


def split_parameters(**changes) -> SplitParameters:
    return SplitParameters(**changed(default_parameters("pair")["split"], **changes))


def tile_parameters(**changes) -> TileParameters:
    return TileParameters(**changed(default_parameters("tile")["tile"], **changes))


def train_parameters(**changes) -> TrainParameters:
    tiny = {
        "network__autoencoder": {
            "features": 8,
            "bottleneck_features": 8,
            "blocks": 1,
            "bottleneck_blocks": 1,
        },
        "precision": "float32",
        "batch_size": 2,
        "epochs": 2,
        "steps_per_epoch": 4,
        "validation_tiles": 4,
        "learning_rate__warmup_steps": 2,
    }
    return TrainParameters(**changed(default_parameters("train")["train"], **{**tiny, **changes}))


def evaluate_parameters(**changes) -> EvaluateParameters:
    return EvaluateParameters(**changed(default_parameters("evaluate")["evaluate"], **changes))


def tune_parameters(**changes) -> TuneParameters:
    return TuneParameters(**changed(default_parameters("tune")["tune"], **changes))


@pytest.fixture(scope="session")
def kaggle_folder(tmp_path_factory):
    """Six made photographs of two sizes, one of them no multiple of any scale."""
    folder = tmp_path_factory.mktemp("kaggle") / "data"
    photographs = [
        (str(n), made_photograph(*((168, 216) if n % 2 else (175, 221)), seed=n))
        for n in range(1, 7)
    ]
    write_kaggle_layout(folder, photographs, (2, 4, 6))
    return folder


@pytest.fixture(scope="session")
def world(kaggle_folder, tmp_path_factory):
    """Everything that stands prepared before training."""
    folder = tmp_path_factory.mktemp("world")
    photographs = list_kaggle_layout(kaggle_folder)
    index = index_photographs(photographs, ingest_parameters())
    parameters = pair_parameters()
    pairs = check_partners(pair_photographs(index, parameters), photographs, parameters)
    pairs = split_photographs(pairs, split_parameters())
    write_pictures(folder / "pictures", store_pictures(pairs, photographs, parameters))
    pictures = PictureStore(folder / "pictures")
    write_tiles(folder / "tiles", index_tiles(pairs, pictures, tile_parameters(size=16)))
    return SimpleNamespace(
        photographs=photographs,
        index=index,
        pairs=pairs,
        pictures=pictures,
        tiles=read_tiles(folder / "tiles"),
    )
