import numpy as np
import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner

from isr_pipeline.datasets.stores import TileIndexDataset
from isr_pipeline.errors import ProjectError
from isr_pipeline.imaging.degradations import degrade
from isr_pipeline.pipelines.tile.nodes import index_tiles
from isr_pipeline.pipelines.tile.pipeline import create_pipeline
from isr_pipeline.quality.metrics import psnr
from isr_pipeline.storage.tiles import read_tiles, write_tiles
from isr_pipeline.training.feed import read_tile
from pipelines.conftest import tile_parameters


def indexed(world, folder, **changes):
    write_tiles(folder, index_tiles(world.pairs, world.pictures, tile_parameters(**changes)))
    return read_tiles(folder)


def test_tiles_lie_on_the_scale_grid_where_the_size_is_a_multiple(world):
    exact = world.tiles[world.tiles["photograph"].isin(["1", "3", "5"])]
    assert len(exact)
    assert (exact["hr_y"] == exact["lr_y"] * exact["scale"]).all()
    assert (exact["hr_x"] == exact["lr_x"] * exact["scale"]).all()


def test_the_two_halves_of_a_tile_show_the_same_thing(world):
    for tile in world.tiles.sample(60, random_state=0).itertuples():
        lr, hr = read_tile(world.pictures, tile)
        assert hr.shape == (lr.shape[0] * tile.scale, lr.shape[1] * tile.scale, 3)
        if tile.deviation > 5:
            assert psnr(degrade(hr, tile.scale, "unsplash"), lr) > 25


def test_training_tiles_cover_every_pixel_of_their_pictures(world, tmp_path):
    tiles = indexed(world, tmp_path / "t", size=16, drop_flat_below=None, maximum_misalignment=0.5)
    for (photograph, scale), group in tiles[tiles["split"] == "train"].groupby(
        ["photograph", "scale"], observed=True
    ):
        covered = np.zeros(world.pictures.size(photograph, scale), bool)
        for tile in group.itertuples():
            covered[tile.lr_y : tile.lr_y + 16, tile.lr_x : tile.lr_x + 16] = True
        assert covered.all()


def test_validation_tiles_do_not_overlap_but_at_the_end(world):
    group = world.tiles[(world.tiles["split"] == "val") & (world.tiles["scale"] == 2)]
    starts = np.unique(group["lr_y"])
    assert (np.diff(starts)[:-1] >= 16).all()


def test_flat_tiles_are_dropped_from_training_only(world, tmp_path):
    everything = indexed(world, tmp_path / "a", size=16, drop_flat_below=None)
    detailed = indexed(world, tmp_path / "b", size=16, drop_flat_below=30.0)
    train = everything["split"] == "train"
    assert (detailed["split"] == "val").sum() == (~train).sum()
    expected = (everything.loc[train, "deviation"] >= 30.0).sum()
    assert 0 < expected < train.sum()
    assert (detailed["split"] == "train").sum() == expected


def test_a_pair_with_more_tiles_keeps_as_many_as_allowed_spread_over_the_picture(world, tmp_path):
    tiles = indexed(world, tmp_path / "t", size=16, maximum_per_pair=10, drop_flat_below=None)
    train = tiles[tiles["split"] == "train"]
    counts = train.groupby(["photograph", "scale"], observed=True).size()
    assert counts.max() == 10
    one = train[(train["scale"] == 2) & (train["photograph"] == train["photograph"].iloc[0])]
    height = world.pictures.size(one["photograph"].iloc[0], 2)[0]
    assert one["lr_y"].min() == 0
    assert one["lr_y"].max() == height - 16


def test_whole_pictures_when_there_is_no_size(world, tmp_path):
    tiles = indexed(world, tmp_path / "t", size=None, maximum_misalignment=0.5)
    usable = world.pairs["split"].isin(["train", "val"]).sum()
    assert len(tiles) == usable
    assert (tiles["lr_y"] == 0).all()


def test_tiles_that_do_not_fit_are_an_error_naming_the_key(world, tmp_path):
    with pytest.raises(ProjectError, match=r"lower tile\.size"):
        indexed(world, tmp_path / "t", size=500)
    assert not (tmp_path / "t").exists()


def test_a_scale_without_a_tile_in_a_split_is_an_error_naming_both(world, tmp_path):
    # 168 rows have 28 low-resolution rows at scale 6 and 42 at scale 4
    with pytest.raises(ProjectError, match=r"no (train|val) tile at scale 6"):
        indexed(world, tmp_path / "t", size=40, maximum_misalignment=0.5)


def test_done_once_redone_for_a_changed_parameter_and_clean_after_an_interruption(
    world, tmp_path, caplog
):
    folder = tmp_path / "tiles"

    def run(**changes):
        catalog = DataCatalog(
            {
                "pairs": MemoryDataset(world.pairs),
                "pictures": MemoryDataset(world.pictures, copy_mode="assign"),
                "params:tile": MemoryDataset(tile_parameters(**changes), copy_mode="assign"),
                "tiles": TileIndexDataset(str(folder)),
            }
        )
        SequentialRunner().run(create_pipeline(), catalog)
        return (folder / "tiles.parquet").stat().st_mtime_ns

    first = run(size=16)
    assert run(size=16) == first
    second = run(size=12)
    assert second != first
    (folder / "manifest.json").unlink()  # as if the writing had been cut off
    assert run(size=12) != second
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tiles"]
