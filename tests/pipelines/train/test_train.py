import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner

from isr_pipeline.errors import ProjectError
from isr_pipeline.pipelines.pair.nodes import split_photographs
from isr_pipeline.pipelines.train.nodes import train_network
from isr_pipeline.pipelines.train.pipeline import create_pipeline
from isr_pipeline.training.checkpoints import Checkpoints
from pipelines.conftest import split_parameters, train_parameters


def test_the_pipeline_runs_from_a_catalog(world, tmp_path):
    def memory(value):
        return MemoryDataset(value, copy_mode="assign")

    catalog = DataCatalog(
        {
            "tiles": memory(world.tiles),
            "pairs": memory(world.pairs),
            "pictures": memory(world.pictures),
            "checkpoints": memory(Checkpoints(tmp_path)),
            "initial_network": memory(None),
            "params:train": memory(train_parameters(epochs=1)),
        }
    )
    outputs = SequentialRunner().run(create_pipeline(), catalog)
    tested = set(world.pairs.loc[world.pairs["split"] == "test", "hr_sha256"])
    used = set(outputs["trained_on"].load())
    assert used == set(world.pairs["hr_sha256"]) - tested
    table = outputs["network_layers"].load()
    assert table["parameters"].sum() > 0
    assert outputs["learning_curves"].load().axes
    assert outputs["training_facts"].load()["train_tiles"] > 0


def test_tiles_of_another_split_are_refused(world, tmp_path):
    other = split_photographs(world.pairs.drop(columns="split"), split_parameters(seed=12))
    assert not other["split"].equals(world.pairs["split"])
    with pytest.raises(ProjectError, match="kedro run --pipelines=tile first"):
        train_network(
            world.tiles, other, world.pictures, Checkpoints(tmp_path), None, train_parameters()
        )
