import os

import pytest

from isr_pipeline.imaging.files import RESULTS
from isr_pipeline.sources.collection import COLUMNS, SourceError
from isr_pipeline.sources.folder import list_folder


def fill(folder, *paths):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(b"BM" + path.encode())


def listed(folder):
    return list_folder(folder).files["path"].tolist()


def test_nested_files_are_listed_in_order_with_their_path_as_id(tmp_path):
    fill(tmp_path, "b.jpg", "a/2.png", "a/1.png", "a/deep/er/x.tif", "no suffix", "notes.txt")
    collection = list_folder(tmp_path)
    paths = ["a/1.png", "a/2.png", "a/deep/er/x.tif", "b.jpg", "no suffix", "notes.txt"]
    assert collection.root == tmp_path
    assert collection.name == str(tmp_path)
    assert tuple(collection.files.columns) == COLUMNS
    assert collection.files["path"].tolist() == paths
    assert collection.files["photograph"].tolist() == paths
    assert collection.files["scale"].tolist() == [1] * 6


def test_every_listed_path_can_be_read(tmp_path):
    fill(tmp_path, "a b/ü.jpg", "c/d.jpg")
    collection = list_folder(tmp_path)
    assert [collection.read(path) for path in collection.files["path"]] == [
        "BMa b/ü.jpg".encode(),
        b"BMc/d.jpg",
    ]


def test_hidden_files_and_folders_are_left_out(tmp_path):
    fill(tmp_path, "a.jpg", ".DS_Store", ".cache/b.jpg", "c/.hidden.jpg", "c/.git/d/e.jpg", "c/f")
    assert listed(tmp_path) == ["a.jpg", "c/f"]


def test_a_hidden_folder_may_itself_be_the_source(tmp_path):
    fill(tmp_path, ".photos/a.jpg")
    assert listed(tmp_path / ".photos") == ["a.jpg"]


def test_links_to_folders_are_not_followed(tmp_path):
    fill(tmp_path, "photos/a.jpg", "elsewhere/b.jpg")
    (tmp_path / "photos" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos" / "circle").symlink_to(tmp_path / "photos")
    assert listed(tmp_path / "photos") == ["a.jpg"]


def test_a_missing_folder_is_refused_by_name(tmp_path):
    with pytest.raises(SourceError, match=r"the folder .*nowhere is not there"):
        list_folder(tmp_path / "nowhere")


def test_a_file_is_no_folder(tmp_path):
    fill(tmp_path, "a.jpg")
    with pytest.raises(SourceError, match=r"the folder .*a\.jpg is a file"):
        list_folder(tmp_path / "a.jpg")


@pytest.mark.parametrize("content", [[], [".hidden"], [".git/config"]])
def test_a_folder_without_a_file_to_see_is_refused_by_name(tmp_path, content):
    (tmp_path / "photos" / "empty").mkdir(parents=True)
    fill(tmp_path / "photos", *content)
    with pytest.raises(SourceError, match=r"photos holds no file"):
        list_folder(tmp_path / "photos")


def test_a_file_name_that_is_no_text_is_listed_with_escapes(tmp_path):
    fill(tmp_path, "good.jpg")
    (tmp_path / os.fsdecode(b"bad\xff.jpg")).write_bytes(b"")
    assert listed(tmp_path) == ["bad\\udcff.jpg", "good.jpg"]


def test_a_folder_that_cannot_be_looked_into_is_named(as_anybody, caplog):
    fill(as_anybody, "a.jpg", "locked/b.jpg", "open/c.jpg")
    (as_anybody / "locked").chmod(0)
    assert listed(as_anybody) == ["a.jpg", "open/c.jpg"]
    assert caplog.messages == [
        f"{as_anybody / 'locked'}: Permission denied; what it holds is left out"
    ]


def test_enlarged_pictures_within_the_folder_are_no_photographs(tmp_path, caplog):
    for name in ("a.jpg", "larger/a.jpg", "b/c.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "larger" / RESULTS).write_text("")
    assert listed(tmp_path) == ["a.jpg", "b/c.jpg"]
    assert f"Left out, as results of isr upscale: {tmp_path / 'larger'}" in caplog.text
    assert listed(tmp_path / "larger") == ["a.jpg"]  # named itself, it is wanted
