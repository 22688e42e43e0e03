"""What holds for the project as a whole."""

import inspect
import subprocess
import sys
import tomllib
from itertools import chain
from typing import get_type_hints

import pytest
from kedro.config import OmegaConfigLoader
from kedro.pipeline import Pipeline

from conftest import PROJECT
from isr_pipeline.parameters import Parameters
from isr_pipeline.pipeline_registry import register_pipelines
from isr_pipeline.pipelines.benchmark.parameters import BenchmarkParameters, LiteratureParameters
from isr_pipeline.pipelines.evaluate.parameters import EvaluateParameters
from isr_pipeline.pipelines.export.parameters import ExportParameters
from isr_pipeline.pipelines.ingest.parameters import IngestParameters
from isr_pipeline.pipelines.pair.parameters import PairParameters, SplitParameters
from isr_pipeline.pipelines.ship.parameters import ShipParameters
from isr_pipeline.pipelines.tile.parameters import TileParameters
from isr_pipeline.pipelines.upscale.parameters import UpscaleParameters
from isr_pipeline.training.parameters import TrainParameters
from isr_pipeline.training.search_space import TuneParameters

MODELS = {
    "ingest": IngestParameters,
    "pair": PairParameters,
    "split": SplitParameters,
    "tile": TileParameters,
    "train": TrainParameters,
    "evaluate": EvaluateParameters,
    "tune": TuneParameters,
    "export": ExportParameters,
    "ship": ShipParameters,
    "upscale": UpscaleParameters,
    "benchmark": BenchmarkParameters,
    "literature": LiteratureParameters,
}
NODES = list(sum(register_pipelines().values(), Pipeline([])).nodes)


def parameters_of(environment):
    loader = OmegaConfigLoader(
        str(PROJECT / "conf"),
        base_env="base",
        default_run_env=environment,
        merge_strategy={"parameters": "soft"},
    )
    return {name: model(**loader["parameters"][name]) for name, model in MODELS.items()}


@pytest.mark.parametrize("environment", ["base", "unsplash", "photos", "report", "test"])
def test_every_environment_has_valid_parameters(environment):
    parameters = parameters_of(environment)
    assert isinstance(parameters["train"], TrainParameters)


def test_the_reports_environment_is_the_reports():
    parameters = parameters_of("report")
    train = parameters["train"]
    assert train.network.name == "report_autoencoder"
    assert (train.loss, train.metrics) == ("mean_squared_error", ["accuracy"])
    assert (train.batch_size, train.epochs, train.steps_per_epoch) == (4, 10, None)
    assert (train.learning_rate.peak, train.learning_rate.schedule) == (0.001, "constant")
    assert train.learning_rate.warmup_steps == 0
    assert train.average is None
    assert not train.augment
    callbacks = train.callbacks
    assert callbacks.checkpoint.monitor == "val_loss"
    assert callbacks.early_stopping.model_dump() == {"monitor": "val_loss", "patience": 9}
    assert callbacks.reduce_learning_rate.model_dump() == {
        "monitor": "val_loss",
        "patience": 5,
        "factor": 0.2,
        "minimum": 1e-8,
    }
    assert (parameters["pair"].low_res, parameters["pair"].resize) == ("pixelated", [800, 1200])
    assert (parameters["split"].method, parameters["split"].validation) == ("rows", 0.15)
    assert parameters["tile"].size is None
    assert parameters["evaluate"].split == "val"


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.name)
def test_kedro_can_validate_the_parameters_of_every_node(node):
    """An annotation that does not resolve would switch validation off with only a warning."""
    hints = get_type_hints(node.func)
    names = list(inspect.signature(node.func).parameters)
    for name, source in zip(names, node.inputs, strict=True):
        if source.startswith("params:"):
            assert issubclass(hints[name], Parameters)


def test_nodes_are_named_verb_object_after_their_functions():
    assert all(node.name == node.func.__name__ for node in NODES)


def test_rooms_depend_only_downwards():
    linter = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    process = subprocess.run(
        [sys.executable, "-c", linter], cwd=PROJECT, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stdout
    assert "4 kept, 0 broken" in process.stdout


def test_the_constraints_pin_every_dependency_without_an_address():
    lines = (PROJECT / "constraints.txt").read_text().split()
    assert all(line.count("==") == 1 and "/" not in line and "@" not in line for line in lines)
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines}
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    names = {item.split(">")[0].split("~")[0].split("<")[0].strip().lower() for item in wanted}
    assert {name.replace("_", "-") for name in names} <= pinned
