import base64
import io
import zipfile
from datetime import datetime
from types import SimpleNamespace

import numpy as np
import pytest
from kedro.io import DatasetError
from PIL import Image

from isr_pipeline import tracking, weights
from isr_pipeline.champion import Champion
from isr_pipeline.datasets import models
from isr_pipeline.datasets.models import ChampionDataset, InitialNetworkDataset, KerasModelDataset
from isr_pipeline.datasets.photographs import FolderDataset, KaggleDataset, SampleDataset
from isr_pipeline.datasets.stores import CheckpointsDataset, PictureStoreDataset, TileIndexDataset
from isr_pipeline.errors import ProjectError
from isr_pipeline.networks import build_network
from isr_pipeline.pipelines.pair.nodes import store_pictures
from isr_pipeline.pipelines.tile.nodes import index_tiles
from pipelines.conftest import pair_parameters, tile_parameters

SIZES = {"features": 4, "bottleneck_features": 4, "blocks": 0, "bottleneck_blocks": 0}


@pytest.fixture(scope="module")
def network():
    return build_network("autoencoder", [2], **SIZES)


def equal_weights(first, second):
    return all(
        np.array_equal(a, b) for a, b in zip(first.get_weights(), second.get_weights(), strict=True)
    )


def test_a_network_comes_back_as_it_was_saved(tmp_path, network):
    dataset = KerasModelDataset(str(tmp_path / "deep" / "network.keras"))
    assert not dataset.exists()
    dataset.save(network)
    assert dataset.exists()
    assert equal_weights(dataset.load(), network)
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["network.keras"]


def test_training_starts_from_nothing_or_a_file(tmp_path, network, caplog):
    assert InitialNetworkDataset(None).load() is None
    file = tmp_path / "network.keras"
    network.save(file)
    initial = InitialNetworkDataset(str(file)).load()
    assert equal_weights(initial.network, network)
    assert initial.trained_on == frozenset()
    assert "says what it was trained on" in caplog.text
    (tmp_path / "record.json").write_text('{"trained_on": ["b"]}')
    assert InitialNetworkDataset(str(file)).load().trained_on == {"b"}
    (tmp_path / "trained_on.json").write_text('["a", "c"]')
    assert InitialNetworkDataset(str(file)).load().trained_on == {"a", "c"}
    assert len(caplog.records) == 1
    with pytest.raises(DatasetError, match="neither a file nor one of the shipped weights"):
        InitialNetworkDataset("subpixel-huge_bicubic_x2").load()
    with pytest.raises(ProjectError, match=r"'subpixel-smal_bicubic_x2' .* is it subpixel-small_"):
        InitialNetworkDataset("subpixel-smal_bicubic_x2").check()
    shipped = InitialNetworkDataset("subpixel-tiny_bicubic_x2").load()
    assert shipped.trained_on == weights.named("subpixel-tiny_bicubic_x2").trained_on
    assert len(shipped.trained_on) == 199


def test_a_failed_save_leaves_the_former_network(tmp_path, network):
    dataset = KerasModelDataset(str(tmp_path / "network.keras"))
    dataset.save(network)

    class Unsavable:
        def save(self, path):
            path.write_bytes(b"half of it")
            raise OSError("no space left")

    with pytest.raises(DatasetError, match="no space left"):
        dataset.save(Unsavable())
    assert equal_weights(dataset.load(), network)
    assert [p.name for p in tmp_path.iterdir()] == ["network.keras"]


def test_a_network_with_code_in_it_is_not_loaded(tmp_path):
    import keras

    layers = [keras.Input((2,)), keras.layers.Lambda(lambda x: x * 2)]
    keras.Sequential(layers).save(tmp_path / "lambda.keras")
    with pytest.raises(DatasetError, match=r"(?i)unsafe|lambda"):
        KerasModelDataset(str(tmp_path / "lambda.keras")).load()


def test_a_saved_network_holds_no_pickle(tmp_path, network):
    KerasModelDataset(str(tmp_path / "network.keras")).save(network)
    with zipfile.ZipFile(tmp_path / "network.keras") as archive:
        assert {name.rpartition(".")[2] for name in archive.namelist()} == {"json", "h5"}


def test_a_champion_comes_back_with_its_record(tmp_path, network):
    dataset = ChampionDataset(str(tmp_path / "champion"), "nobody")
    assert dataset.load() is None
    assert dataset.optional
    dataset.save(Champion(network, {"score": 30.5, "new": True}))
    champion = dataset.load()
    assert champion.record.pop("crowned").endswith("+00:00")
    assert champion.record == {"score": 30.5, "new": True, "registry": None}
    assert equal_weights(champion.network, network)


def test_a_damaged_record_is_named(tmp_path):
    (tmp_path / "record.json").write_text('{"psnr')
    with pytest.raises(DatasetError, match=r"record\.json is damaged: remove"):
        ChampionDataset(str(tmp_path), "nobody").load()


def test_a_registry_that_has_lost_the_champion_learns_of_it_again(tmp_path, network, run):
    folder = ChampionDataset(str(tmp_path / "champion"), "isr_known")
    folder.save(Champion(network, {"score": 30.0, "test_digest": "same", "new": True}))
    assert folder.load().record["version"] == 1
    emptied = ChampionDataset(str(tmp_path / "champion"), "isr_emptied")
    stays = emptied.load()
    emptied.save(Champion(stays.network, {**stays.record, "new": False}))
    assert emptied.load().record["version"] == 1


@pytest.mark.parametrize(
    ("score", "test_digest", "stays"),
    [(31.0, "same", True), (29.0, "same", False), (29.0, "other", True)],
)
def test_a_champion_crowned_while_the_server_was_away_is_not_forgotten(
    tmp_path, network, run, monkeypatch, score, test_digest, stays
):
    dataset = ChampionDataset(str(tmp_path / "champion"), "isr_lost")
    dataset.save(Champion(network, {"score": 30.0, "test_digest": "same", "new": True}))
    assert dataset.load().record["version"] == 1
    with monkeypatch.context() as away:
        away.setattr(tracking, "_lost", {"lost"})
        away.setattr(models, "datetime", SimpleNamespace(now=lambda zone: datetime.max))
        record = {"score": score, "test_digest": test_digest, "new": True}
        dataset.save(Champion(network, record))
        assert dataset.load().record["score"] == score
    assert (dataset.load().record["score"] == score) == stays
    if not stays:
        return
    dataset.save(Champion(network, {**dataset.load().record, "new": False}))
    assert dataset.load().record["score"] == score
    dataset.save(Champion(network, {"score": 32.0, "test_digest": "same", "new": True}))
    assert dataset.load().record["score"] == 32.0


def test_stores_previews_are_a_picture_and_a_table(world, tmp_path):
    pictures = PictureStoreDataset(str(tmp_path / "pictures"))
    assert not pictures.exists()
    pictures.save(store_pictures(world.pairs, world.photographs, pair_parameters()))
    assert pictures.exists()
    shown = Image.open(io.BytesIO(base64.b64decode(pictures.preview())))
    assert len(shown.convert("L").getcolors()) > 50
    tiles = TileIndexDataset(str(tmp_path / "tiles"))
    tiles.save(index_tiles(world.pairs, pictures.load(), tile_parameters(size=16)))
    preview = tiles.preview(nrows=3)
    assert len(preview["data"]) == 3
    assert "lr_y" in preview["columns"]


def test_the_kaggle_layout_is_read_where_it_lies(kaggle_folder):
    photographs = KaggleDataset(str(kaggle_folder)).load()
    assert photographs.files["photograph"].nunique() == 6
    assert len(photographs.files) == 24


def test_the_sample_is_written_when_first_loaded(tmp_path):
    dataset = SampleDataset(str(tmp_path / "sample"))
    assert dataset.exists()
    photographs = dataset.load()
    assert photographs.files["photograph"].nunique() == 7
    assert len(list((tmp_path / "sample").rglob("*.jpg"))) == 28


def test_a_folder_must_be_named():
    with pytest.raises(DatasetError, match=r"--params=photos=<folder>") as caught:
        FolderDataset(None).load()
    assert isinstance(caught.value.__cause__, ProjectError)


@pytest.mark.parametrize("kind", [SampleDataset, KaggleDataset, FolderDataset, CheckpointsDataset])
def test_nothing_is_saved_into_a_source(kind, tmp_path):
    with pytest.raises(DatasetError):
        kind(str(tmp_path)).save("anything")
