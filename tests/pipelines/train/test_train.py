import pytest
from kedro.io import DataCatalog, DatasetError, MemoryDataset
from kedro.runner import SequentialRunner
from kedro_datasets.json import JSONDataset

from isr_pipeline.errors import ProjectError
from isr_pipeline.initial_network import InitialNetwork
from isr_pipeline.networks import build_network
from isr_pipeline.pipelines.pair.nodes import split_photographs
from isr_pipeline.pipelines.train.nodes import (
    describe_network,
    forget_checkpoints,
    train_network,
)
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
            "training_facts": JSONDataset(filepath=str(tmp_path / "facts.json")),
        }
    )
    outputs = SequentialRunner().run(create_pipeline(), catalog)
    tested = set(world.pairs.loc[world.pairs["split"] == "test", "hr_sha256"])
    used = set(outputs["trained_on"].load())
    assert used == set(world.pairs["hr_sha256"]) - tested
    table = outputs["network_layers"].load()
    assert table["parameters"].sum() > 0
    assert outputs["learning_curves"].load().axes
    facts = catalog.load("training_facts")
    assert facts["train_tiles"] > 0
    assert (facts["network"], facts["degradation"]) == ("autoencoder", "unsplash")
    assert not list(tmp_path.rglob("*.h5"))  # all is saved, and the checkpoints are gone


@pytest.mark.parametrize("scales", [[2], [2, 3, 4, 6]])
def test_the_title_of_the_layers_counts_their_parameters_and_fits_its_picture(scales):
    sizes = {"features": 48, "bottleneck_features": 64, "blocks": 1, "bottleneck_blocks": 1}
    network = build_network("autoencoder", scales, **sizes)
    table, figure = describe_network(network)
    title = figure.axes[0].title
    assert f"at x2: {table['parameters'].sum():,} parameters" in title.get_text()
    all_of_them = f"({network.count_params():,} parameters for x2 x3 x4 x6 together)"
    assert (all_of_them in title.get_text()) is (len(scales) > 1)
    figure.draw_without_rendering()
    extent = title.get_window_extent()
    assert extent.x0 > 0
    assert extent.x1 < figure.bbox.x1
    assert extent.y1 < figure.bbox.y1


def test_checkpoints_stay_until_everything_is_saved(world, tmp_path):
    class Full(MemoryDataset):
        def save(self, data):
            raise OSError("no space left")

    inputs = {
        "tiles": world.tiles,
        "pairs": world.pairs,
        "pictures": world.pictures,
        "checkpoints": Checkpoints(tmp_path),
        "initial_network": None,
        "params:train": train_parameters(epochs=1),
    }
    given = {name: MemoryDataset(v, copy_mode="assign") for name, v in inputs.items()}
    given["training_facts"] = facts = JSONDataset(filepath=str(tmp_path / "facts.json"))
    with pytest.raises(DatasetError, match="no space left"):
        SequentialRunner().run(create_pipeline(), DataCatalog({**given, "trained_on": Full()}))
    SequentialRunner().run(create_pipeline(), DataCatalog(given))
    assert facts.load()["resumed_after"] == 1


def test_checkpoints_of_a_training_that_time_ended_stay(world, tmp_path):
    def left(**changes):
        checkpoints = Checkpoints(tmp_path)
        parameters = train_parameters(epochs=2, **changes)
        rooms = (world.tiles, world.pairs, world.pictures, checkpoints, None, parameters)
        _, history, facts, _ = train_network(*rooms)
        forget_checkpoints(checkpoints, facts)
        return len(history), facts["ended_by"], any(tmp_path.rglob("*.h5"))

    assert left(maximum_minutes=1e-6) == (1, "its time limit", True)
    assert left() == (2, "its epochs", False)


def test_what_the_initial_network_was_trained_on_counts(world, tmp_path):
    def trained(initial):
        parameters = train_parameters(epochs=1)
        checkpoints = Checkpoints(tmp_path)
        rooms = (world.tiles, world.pairs, world.pictures, checkpoints, initial, parameters)
        network, _, _, used = train_network(*rooms)
        return network, used

    network, used = trained(None)
    seen = InitialNetwork(network, frozenset(["a" * 64]))
    assert trained(seen)[1] == sorted([*used, "a" * 64])
    tested = world.pairs.loc[world.pairs["split"] == "test", "hr_sha256"]
    with pytest.raises(ProjectError, match="was trained on 1 of the test photographs"):
        trained(InitialNetwork(network, frozenset([tested.iloc[0]])))


def test_tiles_and_pictures_of_another_making_are_refused(world, tmp_path):
    def train(tiles, pairs):
        parameters = train_parameters(epochs=1)
        train_network(tiles, pairs, world.pictures, Checkpoints(tmp_path), None, parameters)

    other = world.pairs.assign(degradation="bicubic")
    with pytest.raises(ProjectError, match=r"pictures belong to other pairs.*=pair,tile first"):
        train(world.tiles, other)
    tiles = world.tiles.copy()
    tiles.attrs["made_from"] = "another store"
    with pytest.raises(ProjectError, match="kedro run --pipelines=tile first"):
        train(tiles, world.pairs)


def test_tiles_of_another_split_are_refused(world, tmp_path):
    other = split_photographs(world.pairs.drop(columns="split"), split_parameters(seed=12))
    assert not other["split"].equals(world.pairs["split"])
    with pytest.raises(ProjectError, match="kedro run --pipelines=tile first"):
        train_network(
            world.tiles, other, world.pictures, Checkpoints(tmp_path), None, train_parameters()
        )
