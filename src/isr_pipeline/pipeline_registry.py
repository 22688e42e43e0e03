"""The pipelines by name, listed rather than found, so that compositions are plain to see."""

from kedro.pipeline import Pipeline

from isr_pipeline.pipelines.benchmark.pipeline import create_pipeline as benchmark
from isr_pipeline.pipelines.evaluate.pipeline import create_pipeline as evaluate
from isr_pipeline.pipelines.export.pipeline import create_pipeline as export
from isr_pipeline.pipelines.ingest.pipeline import create_pipeline as ingest
from isr_pipeline.pipelines.pair.pipeline import create_pipeline as pair
from isr_pipeline.pipelines.results.pipeline import create_pipeline as results
from isr_pipeline.pipelines.ship.pipeline import create_pipeline as ship
from isr_pipeline.pipelines.tile.pipeline import create_pipeline as tile
from isr_pipeline.pipelines.train.pipeline import create_pipeline as train
from isr_pipeline.pipelines.tune.pipeline import create_pipeline as tune
from isr_pipeline.pipelines.upscale.pipeline import create_pipeline as upscale

PREPARE = "prepare"


def register_pipelines() -> dict[str, Pipeline]:
    """All pipelines; without a name, `ingest` to `evaluate` run, the others are asked for."""
    rooms = {
        "ingest": ingest(),
        "pair": pair(),
        "tile": tile(),
        "train": train(),
        "evaluate": evaluate(),
    }
    return {
        **rooms,
        "tune": tune(),
        "benchmark": benchmark(),
        "results": results(),
        "ship": ship(),
        "export": export(),
        "upscale": upscale(),
        PREPARE: rooms["ingest"] + rooms["pair"] + rooms["tile"],
        "__default__": sum(rooms.values(), Pipeline([])),
    }
