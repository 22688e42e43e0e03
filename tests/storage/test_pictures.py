import pickle

import numpy as np
import pytest

from conftest import made_photograph
from isr_pipeline.errors import ProjectError
from isr_pipeline.storage.pictures import (
    INDEX,
    PIXELS,
    PictureStore,
    PictureStream,
    StoredPicture,
    write_pictures,
)

PICTURES = {
    ("7", 1): made_photograph(31, 47, seed=1),
    ("7", 2): made_photograph(15, 23, seed=2),
    ("a/ü.jpg", 1): made_photograph(64, 3, seed=3),
    ("a/ü.jpg", 6): np.array([[[1, 2, 3]]], np.uint8),
}


def stream(pictures, digest="one"):
    return PictureStream(digest, (StoredPicture(*key, pixels) for key, pixels in pictures.items()))


@pytest.fixture
def store(tmp_path):
    write_pictures(tmp_path / "store", stream(PICTURES))
    return PictureStore(tmp_path / "store")


def test_pictures_of_any_size_come_back_bit_for_bit(store):
    for key, pixels in PICTURES.items():
        assert np.array_equal(store.picture(*key), pixels)
        assert store.size(*key) == pixels.shape[:2]


def test_a_store_lists_its_pictures_in_order_and_knows_its_digest(store):
    assert list(store) == list(PICTURES)
    assert len(store) == 4
    assert store.digest == "one"


def test_each_pixel_is_stored_once_and_nothing_else(store):
    expected = b"".join(pixels.tobytes() for pixels in PICTURES.values())
    assert (store.folder / PIXELS).read_bytes() == expected


def test_an_open_store_is_what_it_was_when_its_folder_is_written_anew(store):
    other = {key: 255 - pixels for key, pixels in PICTURES.items()}
    write_pictures(store.folder, stream(other, digest="two"))
    for key, pixels in PICTURES.items():
        assert np.array_equal(store.picture(*key), pixels)
    assert PictureStore(store.folder).digest == "two"


def test_a_store_that_is_replaced_while_it_is_opened_is_refused(store, monkeypatch):
    manifests = [{"digest": "one"}, {"digest": "two"}]
    monkeypatch.setattr("isr_pipeline.storage.pictures.read_manifest", lambda _: manifests.pop(0))
    with pytest.raises(ProjectError, match=r"has just written .*store anew: run again"):
        PictureStore(store.folder)


def test_a_copy_of_a_store_reads_the_same_file(store):
    data = pickle.dumps(store)
    assert len(data) < 1000
    assert np.array_equal(pickle.loads(data).pixels, store.pixels)


def test_a_store_whose_pixels_are_cut_short_is_written_anew(tmp_path):
    write_pictures(tmp_path / "store", stream(PICTURES))
    pixels = tmp_path / "store" / "pixels.bin"
    whole = pixels.read_bytes()
    pixels.write_bytes(whole[:-1])
    with pytest.raises(FileNotFoundError, match="no complete picture store"):
        PictureStore(tmp_path / "store")
    assert write_pictures(tmp_path / "store", stream(PICTURES)) is not None
    assert pixels.read_bytes() == whole


def test_the_manifest_counts_pictures_and_bytes(tmp_path):
    manifest = write_pictures(tmp_path / "store", stream(PICTURES))
    size = 3 * (31 * 47 + 15 * 23 + 64 * 3 + 1)
    assert manifest["digest"] == "one"
    assert (manifest["pictures"], manifest["bytes"]) == (4, size)


def test_pictures_are_views_of_the_file_that_cannot_be_written(store):
    picture = store.picture("7", 1)
    assert np.shares_memory(picture, store.picture("7", 1))
    assert not picture.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        picture[0, 0] = 0


def test_pictures_that_are_not_contiguous_are_stored_as_they_look(tmp_path):
    whole = PICTURES["7", 1]
    pictures = {("crop", 1): whole[3:20, 5:9], ("turned", 1): whole.transpose(1, 0, 2)[::-1]}
    write_pictures(tmp_path / "store", stream(pictures))
    opened = PictureStore(tmp_path / "store")
    for key, pixels in pictures.items():
        assert np.array_equal(opened.picture(*key), pixels)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 5, 3), np.float32),
        np.zeros((4, 5, 3), np.int16),
        np.zeros((4, 5), np.uint8),
        np.zeros((4, 5, 4), np.uint8),
        np.zeros((1, 4, 5, 3), np.uint8),
    ],
    ids=lambda pixels: f"{pixels.dtype}{pixels.shape}",
)
def test_what_is_no_picture_is_refused_with_its_photograph_and_leaves_nothing(tmp_path, pixels):
    pictures = {**PICTURES, ("bad one", 4): pixels}
    message = rf"photograph bad one, scale 4: .* not {pixels.dtype} \({pixels.shape[0]}, "
    with pytest.raises(ValueError, match=message):
        write_pictures(tmp_path / "store", stream(pictures))
    assert list(tmp_path.iterdir()) == []


def test_a_store_is_written_once_and_its_pictures_not_even_made_again(tmp_path):
    def unwanted():
        pytest.fail("the pictures were asked for")
        yield

    write_pictures(tmp_path / "store", stream(PICTURES))
    assert write_pictures(tmp_path / "store", PictureStream("one", unwanted())) is None
    assert len(PictureStore(tmp_path / "store")) == 4


def test_a_store_is_written_again_for_another_digest(tmp_path):
    write_pictures(tmp_path / "store", stream(PICTURES))
    write_pictures(tmp_path / "store", stream({("b", 1): PICTURES["7", 2]}, "two"))
    opened = PictureStore(tmp_path / "store")
    assert (opened.digest, list(opened)) == ("two", [("b", 1)])
    assert np.array_equal(opened.picture("b", 1), PICTURES["7", 2])


def test_an_open_store_outlives_its_replacement(store):
    before = store.picture("7", 1)
    write_pictures(store.folder, stream({("b", 1): 255 - PICTURES["7", 1]}, "two"))
    assert np.array_equal(before, PICTURES["7", 1])


def test_an_interrupted_write_keeps_the_former_store(tmp_path):
    def breaking_off():
        yield StoredPicture("b", 1, PICTURES["7", 2])
        raise KeyboardInterrupt

    write_pictures(tmp_path / "store", stream(PICTURES))
    with pytest.raises(KeyboardInterrupt):
        write_pictures(tmp_path / "store", PictureStream("two", breaking_off()))
    assert np.array_equal(PictureStore(tmp_path / "store").picture("7", 2), PICTURES["7", 2])


def test_pictures_that_do_not_fit_on_the_disk_are_refused_before_anything_is_written(tmp_path):
    def unwanted():
        pytest.fail("the pictures were asked for")
        yield

    write_pictures(tmp_path / "store", stream(PICTURES))
    with pytest.raises(ProjectError, match=r"take 931322574\.62 GiB and .* has [0-9.]+ GiB left"):
        write_pictures(tmp_path / "store", PictureStream("two", unwanted(), bytes=10**18))
    assert PictureStore(tmp_path / "store").digest == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_an_empty_store_can_be_opened(tmp_path):
    assert write_pictures(tmp_path / "store", stream({}))["pictures"] == 0
    assert list(PictureStore(tmp_path / "store")) == []


def test_a_store_without_its_manifest_is_incomplete(store):
    (store.folder / "manifest.json").unlink()
    assert (store.folder / PIXELS).exists()
    assert (store.folder / INDEX).exists()
    with pytest.raises(FileNotFoundError, match="no complete picture store in"):
        PictureStore(store.folder)


def test_a_missing_store_is_incomplete(tmp_path):
    with pytest.raises(FileNotFoundError, match="no complete picture store in"):
        PictureStore(tmp_path / "nowhere")


def test_an_unknown_picture_is_a_key_error(store):
    with pytest.raises(KeyError):
        store.picture("7", 4)
