import os

import pandas as pd
import pytest

from isr_pipeline.errors import ProjectError
from isr_pipeline.sources.collection import PhotoCollection, SourceError, is_inside

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
    (root / "a" / "b.jpg").write_bytes(b"inside")
    (tmp_path / "x").write_bytes(b"outside")
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
    assert collection.read("a/b.jpg") == b"inside"


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
    assert collection.read("link.jpg") == b"inside"


def test_the_root_itself_may_be_reached_through_a_link(collection, tmp_path):
    (tmp_path / "alias").symlink_to(collection.root)
    linked = PhotoCollection(tmp_path / "alias", collection.files, "linked")
    assert linked.read("a/b.jpg") == b"inside"


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
