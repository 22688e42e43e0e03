import math

import numpy as np
import pandas as pd
import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from kedro_datasets.pandas import ParquetDataset
from PIL import Image

from conftest import made_photograph
from isr_pipeline.datasets.stores import PictureStoreDataset
from isr_pipeline.errors import ProjectError
from isr_pipeline.imaging.degradations import block_mean, degrade
from isr_pipeline.imaging.resampling import imresize
from isr_pipeline.pipelines.evaluate.nodes import scored_pairs
from isr_pipeline.pipelines.ingest.nodes import index_photographs
from isr_pipeline.pipelines.pair.nodes import (
    assert_no_leak,
    check_partners,
    pair_photographs,
    split_photographs,
    store_pictures,
)
from isr_pipeline.pipelines.pair.pipeline import create_pipeline
from isr_pipeline.sources.folder import list_folder
from isr_pipeline.sources.kaggle_layout import FOLDER, list_kaggle_layout, write_kaggle_layout
from isr_pipeline.storage.pictures import PictureStore, write_pictures
from pipelines.conftest import ingest_parameters, pair_parameters, split_parameters


def checked(folder, **changes):
    photographs = list_kaggle_layout(folder)
    parameters = pair_parameters(**changes)
    index = index_photographs(photographs, ingest_parameters())
    return check_partners(pair_photographs(index, parameters), photographs, parameters)


@pytest.fixture
def own_folder(tmp_path):
    photographs = [(str(n), made_photograph(120, 144, seed=n)) for n in range(3)]
    write_kaggle_layout(tmp_path / "data", photographs, (2, 4))
    return tmp_path / "data"


def test_partners_of_the_data_sets_own_recipe_agree_bit_for_bit(world):
    assert (world.pairs["status"] == "ok").all()
    assert np.isinf(world.pairs["agreement_psnr"]).all()


def test_pairs_come_by_scale_and_then_by_photograph(world):
    assert world.pairs["scale"].tolist() == [2] * 6 + [4] * 6 + [6] * 6
    assert world.pairs["photograph"].tolist() == [str(n) for n in range(1, 7)] * 3


def test_a_partner_that_shows_another_photograph_is_foreign(own_folder):
    low = own_folder / FOLDER / "low res"
    (low / "0_2.jpg").write_bytes((low / "1_2.jpg").read_bytes())
    pairs = checked(own_folder, scales=[2, 4]).set_index(["photograph", "scale"])
    assert pairs.loc[("0", 2), "status"] == "foreign"
    assert "something else" in pairs.loc[("0", 2), "reason"]
    assert pairs["status"].drop(("0", 2)).eq("ok").all()


def test_a_scale_without_partners_is_an_error(own_folder):
    with pytest.raises(ProjectError, match=r"at scale 3 \(no file at scale 3 is listed\)"):
        checked(own_folder, scales=[2, 3])


def test_partners_that_were_made_otherwise_are_an_error_and_not_left_out_one_by_one(own_folder):
    low = own_folder / FOLDER / "low res"
    files = [low / f"{n}_2.jpg" for n in range(3)]
    contents = [path.read_bytes() for path in files]
    for path, content in zip(files, [*contents[1:], contents[0]], strict=True):
        path.write_bytes(content)
    with pytest.raises(ProjectError, match=r"3 of 3 low-resolution files.*pair\.degradation"):
        checked(own_folder, scales=[2])


def test_partners_of_two_scales_that_changed_names_are_foreign(own_folder):
    low = own_folder / FOLDER / "low res"
    (low / "2_2.jpg").rename(low / "x")
    (low / "2_4.jpg").rename(low / "2_2.jpg")
    (low / "x").rename(low / "2_4.jpg")
    pairs = checked(own_folder, scales=[2, 4]).set_index(["photograph", "scale"])
    assert pairs.loc[("2", 2), "status"] == "foreign"
    assert pairs.loc[("2", 4), "status"] == "foreign"


def test_a_partner_of_impossible_size_is_foreign_and_the_sizes_are_named(own_folder):
    path = own_folder / FOLDER / "low res" / "0_2.jpg"
    Image.open(path).resize((100, 100)).save(path)
    pairs = checked(own_folder, scales=[2, 4]).set_index(["photograph", "scale"])
    assert pairs.loc[("0", 2), "status"] == "foreign"
    assert "100x100" in pairs.loc[("0", 2), "reason"]
    assert "144x120" in pairs.loc[("0", 2), "reason"]


def test_a_truly_small_partner_is_taken_too(own_folder):
    path = own_folder / FOLDER / "low res" / "0_2.jpg"
    small = block_mean(np.asarray(Image.open(path)), 2)
    Image.fromarray(small).save(path, quality=98)
    pairs = checked(own_folder, scales=[2, 4]).set_index(["photograph", "scale"])
    assert pairs.loc[("0", 2), "status"] == "ok"


def test_a_flat_grey_partner_of_a_detailed_photograph_is_foreign(own_folder):
    path = own_folder / FOLDER / "low res" / "0_2.jpg"
    Image.fromarray(np.full((120, 144, 3), 128, np.uint8)).save(path)
    pairs = checked(own_folder, scales=[2, 4]).set_index(["photograph", "scale"])
    assert pairs.loc[("0", 2), "status"] == "foreign"


def test_missing_and_broken_partners_are_recorded(own_folder):
    low = own_folder / FOLDER / "low res"
    (low / "0_2.jpg").unlink()
    (low / "1_4.jpg").write_bytes(b"")
    pairs = checked(own_folder, scales=[2, 4]).set_index(["photograph", "scale"])
    assert pairs.loc[("0", 2), "status"] == "partner_missing"
    assert pairs.loc[("1", 4), "status"] == "partner_empty"
    assert pairs.loc[("0", 4), "status"] == "ok"


def test_no_usable_pair_is_an_error_with_the_remedy(own_folder):
    index = index_photographs(list_kaggle_layout(own_folder), ingest_parameters())
    with pytest.raises(ProjectError, match=r"pair\.partners to 'made'"):
        pair_photographs(index, pair_parameters(scales=[3]))


def test_photographs_too_small_to_be_reduced_are_an_error_with_the_remedy(own_folder):
    index = index_photographs(list_folder(own_folder / FOLDER / "high res"), ingest_parameters())
    parameters = pair_parameters(
        partners="made", low_res="small", resize=None, scales=[2, 4], reductions=[0.01]
    )
    with pytest.raises(ProjectError, match=r"reductions \[0.01\].* 4 pixels a side.* scales"):
        pair_photographs(index, parameters)
    with pytest.raises(ProjectError, match="no usable photograph: the catalog entry photo_index"):
        pair_photographs(index.assign(status="corrupt"), parameters)


def test_a_file_that_changed_since_ingestion_is_named(own_folder):
    photographs = list_kaggle_layout(own_folder)
    parameters = pair_parameters(scales=[2])
    index = index_photographs(photographs, ingest_parameters())
    path = own_folder / FOLDER / "high res" / "1.jpg"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(ProjectError, match=r"high res/1\.jpg has changed"):
        check_partners(pair_photographs(index, parameters), photographs, parameters)


def test_small_pictures_are_the_block_means_of_the_files_whatever_their_size(world):
    for pair in world.pairs.itertuples():
        low_res_file = world.photographs.read(pair.lr_path)
        expected = block_mean(np.asarray(Image.open(_bytes(low_res_file))), pair.scale)
        stored = world.pictures.picture(pair.photograph, pair.scale)
        assert stored.shape == (pair.height // pair.scale, pair.width // pair.scale, 3)
        assert np.array_equal(stored, expected)


def test_originals_are_stored_once_and_unchanged(world):
    assert len(world.pictures) == 6 + 18
    original = np.asarray(Image.open(_bytes(world.photographs.read("high res/2.jpg"))))
    assert np.array_equal(world.pictures.picture("2", 1), original)


@pytest.mark.parametrize("degradation", ["unsplash", "bicubic"])
def test_made_partners_cover_exactly_the_stored_original(tmp_path, degradation):
    for n in range(3):
        Image.fromarray(made_photograph(125, 151, seed=n)).save(tmp_path / f"{n}.png")
    photographs = list_folder(tmp_path)
    parameters = pair_parameters(degradation=degradation, partners="made")
    index = index_photographs(photographs, ingest_parameters())
    pairs = check_partners(pair_photographs(index, parameters), photographs, parameters)
    write_pictures(tmp_path / "store", store_pictures(pairs, photographs, parameters))
    store = PictureStore(tmp_path / "store")
    original = store.picture("0.png", 1)
    assert original.shape == (120, 144, 3)  # multiples of 12
    for scale in (2, 4, 6):
        expected = degrade(original, scale, degradation)
        assert np.array_equal(store.picture("0.png", scale), expected)


def test_reduced_originals_are_pairs_of_their_own_in_their_originals_split(tmp_path):
    for n in range(8):
        Image.fromarray(made_photograph(130, 170, seed=n)).save(tmp_path / f"{n}.png")
    photographs = list_folder(tmp_path)
    parameters = pair_parameters(
        partners="made", degradation="bicubic", scales=[2, 3], reductions=[1.0, 0.5]
    )
    index = index_photographs(photographs, ingest_parameters())
    pairs = check_partners(pair_photographs(index, parameters), photographs, parameters)
    pairs = split_photographs(pairs, split_parameters())
    assert len(pairs) == 8 * 2 * 2
    assert pairs.groupby("original")["split"].nunique().max() == 1
    reduced = pairs[pairs["photograph"] == "0.png@0.5"]
    assert reduced[["height", "width"]].to_numpy().tolist() == [[65, 85]] * 2
    write_pictures(tmp_path / "store", store_pictures(pairs, photographs, parameters))
    store = PictureStore(tmp_path / "store")
    whole = np.asarray(Image.open(tmp_path / "0.png"))
    half = imresize(whole, 65, 85)[:60, :84]  # multiples of 6
    assert np.array_equal(store.picture("0.png@0.5", 1), half)
    assert np.array_equal(store.picture("0.png@0.5", 3), degrade(half, 3, "bicubic"))
    scored = scored_pairs(pairs, "test")
    assert set(scored["photograph"]) == set(scored["original"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reductions": [0.0]}, "different fractions"),
        ({"reductions": [1.0, 2.0]}, "different fractions"),
        ({"reductions": [0.5], "partners": "files"}, "need partners 'made'"),
    ],
)
def test_wrong_reductions_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        pair_parameters(**{"partners": "made", **changes})


@pytest.mark.parametrize(("written", "meant"), [("2 4", [2, 4]), (3, [3]), ([2, 6], [2, 6])])
def test_scales_can_be_written_on_the_command_line(written, meant):
    assert pair_parameters(scales=written).scales == meant


def test_the_reports_way_stores_the_files_as_they_are_resized_with_nearest(own_folder, tmp_path):
    photographs = list_kaggle_layout(own_folder)
    parameters = pair_parameters(scales=[2, 4], low_res="pixelated", resize=[60, 72])
    index = index_photographs(photographs, ingest_parameters())
    pairs = pair_photographs(index, parameters)
    assert (pairs["enlargement"] == 1).all()
    write_pictures(tmp_path / "store", store_pictures(pairs, photographs, parameters))
    low_res_file = Image.open(own_folder / FOLDER / "low res" / "0_4.jpg")
    expected = low_res_file.resize((72, 60), Image.Resampling.NEAREST)
    stored = PictureStore(tmp_path / "store").picture("0", 4)
    assert np.array_equal(stored, np.asarray(expected))


def test_a_small_partner_is_stored_as_large_as_its_original_in_the_reports_way(
    own_folder, tmp_path
):
    path = own_folder / FOLDER / "low res" / "0_2.jpg"
    small = block_mean(np.asarray(Image.open(path)), 2)
    Image.fromarray(small).save(path, quality=98)
    small = np.asarray(Image.open(path))
    parameters = pair_parameters(scales=[2, 4], low_res="pixelated")
    pairs = checked(own_folder, scales=[2, 4], low_res="pixelated")
    stream = store_pictures(pairs, list_kaggle_layout(own_folder), parameters)
    write_pictures(tmp_path / "store", stream)
    stored = PictureStore(tmp_path / "store").picture("0", 2)
    assert np.array_equal(stored, small.repeat(2, axis=0).repeat(2, axis=1))


def test_pictures_that_cannot_be_scored_are_too_small(own_folder):
    Image.fromarray(made_photograph(16, 144, seed=9)).save(own_folder / FOLDER / "high res/0.jpg")
    index = index_photographs(list_kaggle_layout(own_folder), ingest_parameters(minimum_side=12))
    made = {"partners": "made", "reductions": [1.0, 0.5]}
    pairs = pair_photographs(index, pair_parameters(scales=[2, 4], **made))
    found = pairs.set_index(["photograph", "scale"])["status"]
    assert found["0", 2] == "ok"  # 16 less twice 2 are 12
    assert found["0", 4] == "too_small"
    assert found["0@0.5", 4] == "ok"  # never scored
    odd = pair_photographs(index, pair_parameters(scales=[2, 5], **made))
    assert odd.set_index(["photograph", "scale"])["status"]["0", 2] == "too_small"  # cropped to 10


def test_the_pipeline_runs_from_a_catalog_and_the_second_time_stores_nothing(
    world, tmp_path, caplog
):
    def run():
        catalog = DataCatalog(
            {
                "photographs": MemoryDataset(world.photographs, copy_mode="assign"),
                "photo_index": MemoryDataset(world.index),
                "params:pair": MemoryDataset(pair_parameters(), copy_mode="assign"),
                "params:split": MemoryDataset(split_parameters(), copy_mode="assign"),
                "pairs": ParquetDataset(filepath=str(tmp_path / "pairs.parquet")),
                "pictures": PictureStoreDataset(str(tmp_path / "store")),
            }
        )
        SequentialRunner().run(create_pipeline(), catalog)
        return catalog

    pairs = run().load("pairs")
    assert set(pairs["split"]) == {"train", "val", "test"}
    before = (tmp_path / "store" / "pixels.bin").stat().st_mtime_ns
    with caplog.at_level("INFO", logger="isr_pipeline"):
        run()
    assert "nothing to do" in caplog.text
    assert (tmp_path / "store" / "pixels.bin").stat().st_mtime_ns == before


def test_room_is_reckoned_for_pictures_of_another_size(own_folder, tmp_path):
    parameters = pair_parameters(scales=[2, 4], low_res="pixelated", resize=[240, 288])
    photographs = list_kaggle_layout(own_folder)
    pairs = pair_photographs(index_photographs(photographs, ingest_parameters()), parameters)
    stream = store_pictures(pairs, photographs, parameters)
    assert write_pictures(tmp_path / "store", stream)["bytes"] == stream.bytes


def test_a_store_that_does_not_fit_on_the_disk_is_refused_before_work(world, tmp_path, monkeypatch):
    stream = store_pictures(world.pairs, world.photographs, pair_parameters())
    actual = write_pictures(tmp_path / "fits", stream)["bytes"]
    assert actual <= stream.bytes <= 1.1 * actual
    nearly_full = type("Usage", (), {"free": stream.bytes - 1})
    monkeypatch.setattr("shutil.disk_usage", lambda path: nearly_full)
    with pytest.raises(ProjectError, match="left: free some room"):
        write_pictures(
            tmp_path / "full", store_pictures(world.pairs, world.photographs, pair_parameters())
        )
    assert not (tmp_path / "full").exists()


def test_a_changed_parameter_makes_the_store_anew(world, tmp_path):
    first = store_pictures(world.pairs, world.photographs, pair_parameters())
    again = store_pictures(world.pairs, world.photographs, pair_parameters())
    other = store_pictures(world.pairs, world.photographs, pair_parameters(low_res="pixelated"))
    assert first.digest == again.digest != other.digest


def test_changed_code_of_a_degradation_makes_the_store_anew(world, monkeypatch):
    first = store_pictures(world.pairs, world.photographs, pair_parameters())
    monkeypatch.setattr("isr_pipeline.pipelines.pair.nodes.code_digest", lambda: "of other code")
    changed = store_pictures(world.pairs, world.photographs, pair_parameters())
    assert changed.digest != first.digest


def test_a_leak_is_refused():
    pairs = pd.DataFrame({"original": ["a", "a", "b"], "split": ["train", "test", None]})
    with pytest.raises(ProjectError, match="several splits, first a"):
        assert_no_leak(pairs)


def test_the_real_data_sets_partners_agree_bit_for_bit(unsplash_folder):
    photographs = list_kaggle_layout(unsplash_folder)
    wanted = photographs.files["photograph"].isin([str(n) for n in range(1, 11)])
    photographs = type(photographs)(photographs.root, photographs.files[wanted], "part")
    parameters = pair_parameters()
    index = index_photographs(photographs, ingest_parameters())
    pairs = check_partners(pair_photographs(index, parameters), photographs, parameters)
    assert len(pairs) == 30
    assert all(math.isinf(value) for value in pairs["agreement_psnr"])


def _bytes(data):
    import io

    return io.BytesIO(data)
