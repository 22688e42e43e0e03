import hashlib
import os
import tracemalloc

import numpy as np
import pandas as pd
import pytest

from conftest import made_photograph
from isr_pipeline.errors import ProjectError
from isr_pipeline.imaging.decode import UnusablePictureError, decode_picture
from isr_pipeline.imaging.degradations import encode_jpeg
from isr_pipeline.sources.collection import PhotoCollection, SourceError, is_inside

PICTURE = encode_jpeg(made_photograph(40, 60, seed=1))
OUTSIDE = [
    "../x",
    "/x",
    "C:\\x",
    "C:x",
    "c:/x",
    "a/../../x",
    "a/../b",
    "a/..",
    "..",
    "..\\x",
    "a\\..\\..\\x",
    "\\\\x",
    "\\x",
    "//server/share/x",
    "a\0b",
]


@pytest.fixture
def collection(tmp_path):
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    (root / "a" / "b.jpg").write_bytes(PICTURE)
    (tmp_path / "x").write_bytes(PICTURE)
    return PhotoCollection(root, pd.DataFrame(), "test")


@pytest.mark.parametrize("path", ["x", "a/b.jpg", "a/./b.jpg", "..x", "a..b/c", "...", "ü ñ.jpg"])
def test_plain_relative_paths_are_inside(path):
    assert is_inside(path)


@pytest.mark.parametrize("path", OUTSIDE)
def test_paths_that_could_leave_on_any_system_are_not_inside(path):
    assert not is_inside(path)


@pytest.mark.parametrize("path", OUTSIDE)
def test_reading_outside_is_refused(collection, path):
    with pytest.raises(SourceError, match="leaves the folder"):
        collection.read(path)


def test_reading_inside_gives_the_bytes(collection):
    assert collection.read("a/b.jpg") == PICTURE


def test_a_source_error_is_one_that_the_command_line_shows():
    assert issubclass(SourceError, ProjectError)


@pytest.mark.parametrize("target", ["../x", "{tmp}/x", "../../../etc/passwd"])
def test_a_link_that_leaves_the_folder_is_refused(collection, tmp_path, target):
    (collection.root / "link.jpg").symlink_to(target.format(tmp=tmp_path))
    with pytest.raises(SourceError, match=r"'link\.jpg' leaves the folder"):
        collection.read("link.jpg")


def test_a_file_below_a_linked_folder_outside_is_refused(collection, tmp_path):
    (collection.root / "elsewhere").symlink_to(tmp_path)
    with pytest.raises(SourceError, match="leaves the folder"):
        collection.read("elsewhere/x")


def test_a_link_within_the_folder_is_followed(collection):
    (collection.root / "link.jpg").symlink_to("a/b.jpg")
    assert collection.read("link.jpg") == PICTURE


def test_the_root_itself_may_be_reached_through_a_link(collection, tmp_path):
    (tmp_path / "alias").symlink_to(collection.root)
    linked = PhotoCollection(tmp_path / "alias", collection.files, "linked")
    assert linked.read("a/b.jpg") == PICTURE


def test_a_missing_file_is_missing(collection):
    with pytest.raises(FileNotFoundError):
        collection.read("a/c.jpg")


@pytest.mark.parametrize("path", ["a", ".", ""])
def test_a_folder_is_no_file(collection, path):
    with pytest.raises(IsADirectoryError):
        collection.read(path)


def test_a_pipe_is_refused_instead_of_waited_for(collection):
    os.mkfifo(collection.root / "pipe.jpg")
    with pytest.raises(OSError, match="not a regular file"):
        collection.read("pipe.jpg")


def test_a_link_to_itself_is_one_unreadable_file(collection):
    (collection.root / "loop.jpg").symlink_to("loop.jpg")
    with pytest.raises((OSError, SourceError)):
        collection.read("loop.jpg")


def test_of_a_film_nothing_but_its_beginning_is_read(collection):
    film = collection.root / "film.avi"
    with film.open("wb") as file:
        file.write(b"RIFF\0\0\0\0AVI LIST")
        file.truncate(2**28)
    tracemalloc.start()
    try:
        with pytest.raises(UnusablePictureError, match="no picture format") as caught:
            collection.read("film.avi")
        assert caught.value.status == "not_an_image"
        assert collection.size("film.avi") == 0
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_an_empty_file_is_read(collection):
    (collection.root / "empty.jpg").touch()
    assert collection.read("empty.jpg") == b""
    assert collection.size("empty.jpg") == 0


def test_size_and_pixels_are_known_without_decoding(collection):
    assert (collection.size("a/b.jpg"), collection.pixels("a/b.jpg")) == (len(PICTURE), 40 * 60)
    (collection.root / "cut.jpg").write_bytes(PICTURE[:20])
    assert (collection.size("cut.jpg"), collection.pixels("cut.jpg")) == (20, 0)
    (collection.root / "text").write_bytes(b"no picture")
    for refused in ("text", "absent.jpg", "../x", "a"):
        assert (collection.size(refused), collection.pixels(refused)) == (0, 0)


def test_an_ingested_file_is_decoded_while_it_is_the_same(collection):
    sha256 = hashlib.sha256(PICTURE).hexdigest()
    pixels = collection.picture("a/b.jpg", sha256)
    np.testing.assert_array_equal(pixels, decode_picture(PICTURE).pixels)
    path = collection.root / "a" / "b.jpg"
    again = r"since it was ingested: run kedro run --pipelines=ingest,pair,tile again"
    for other in (PICTURE + b"x", b"", b"no picture"):
        path.write_bytes(other)
        with pytest.raises(ProjectError, match=rf"a/b\.jpg has changed {again}"):
            collection.picture("a/b.jpg", sha256)
    path.unlink()
    with pytest.raises(ProjectError, match=rf"a/b\.jpg is gone {again}"):
        collection.picture("a/b.jpg", sha256)
    path.mkdir()
    with pytest.raises(ProjectError, match=r"a/b\.jpg cannot be read any more"):
        collection.picture("a/b.jpg", sha256)
