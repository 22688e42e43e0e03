import io
import time
import warnings

import numpy as np
import pandas as pd
import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from PIL import Image

from conftest import made_photograph
from isr_pipeline.errors import ProjectError
from isr_pipeline.imaging.decode import BYTES_A_PIXEL, decode_picture
from isr_pipeline.pipelines.ingest import nodes
from isr_pipeline.pipelines.ingest.nodes import index_photographs, summarise_ingestion
from isr_pipeline.pipelines.ingest.pipeline import create_pipeline
from isr_pipeline.sources.collection import PhotoCollection
from isr_pipeline.sources.folder import list_folder
from pipelines.conftest import ingest_parameters


def encoded(picture, file_format="PNG", **options):
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, file_format, **options)
    return buffer.getvalue()


GOOD = encoded(made_photograph(120, 130, seed=1))
JPEG = encoded(made_photograph(120, 130, seed=2), "JPEG")

BAD_FILES = [
    ("empty.jpg", b"", "empty", "0 bytes"),
    ("text.jpg", b"not a picture at all", "not_an_image", "no picture format"),
    ("cut.jpg", JPEG[: len(JPEG) // 2], "truncated", "truncated"),
    ("cut.png", GOOD[: len(GOOD) // 2], "truncated", "truncated"),
    ("small.png", encoded(made_photograph(40, 200, seed=3)), "too_small", "200x40"),
    ("bomb.png", encoded(np.zeros((3000, 3000, 3), np.uint8)), "too_large", "9 megapixels"),
    ("float.tif", encoded(np.zeros((120, 120), np.float32), "TIFF"), "unsupported", "floating"),
]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "nested").mkdir()
    (tmp_path / "nested" / "good.png").write_bytes(GOOD)
    return tmp_path


def status_of(index: pd.DataFrame, path: str) -> tuple[str, str]:
    row = index.set_index("path").loc[path]
    return row["status"], row["reason"]


@pytest.mark.parametrize(("name", "data", "status", "reason"), BAD_FILES, ids=lambda v: str(v)[:12])
def test_a_bad_file_is_recorded_with_its_reason_and_the_good_one_stays(
    folder, name, data, status, reason
):
    (folder / name).write_bytes(data)
    index = index_photographs(list_folder(folder), ingest_parameters(maximum_megapixels=5.0))
    found, why = status_of(index, name)
    assert found == status
    assert reason in why
    assert status_of(index, "nested/good.png")[0] == "ok"


def test_the_second_of_two_equal_pictures_is_a_duplicate_even_in_another_format(folder):
    (folder / "nested" / "zcopy.bmp").write_bytes(encoded(made_photograph(120, 130, seed=1), "BMP"))
    index = index_photographs(list_folder(folder), ingest_parameters())
    assert status_of(index, "nested/good.png")[0] == "ok"
    status, reason = status_of(index, "nested/zcopy.bmp")
    assert status == "duplicate"
    assert "nested/good.png" in reason


def test_a_smaller_copy_is_a_duplicate_of_the_photograph_whatever_it_is_called(folder):
    large = Image.fromarray(made_photograph(480, 520, seed=5))
    large.save(folder / "nested" / "z.png")
    large.resize((260, 240), Image.Resampling.LANCZOS).save(folder / "a.jpg", quality=80)
    large.rotate(180).save(folder / "turned.png")
    index = index_photographs(list_folder(folder), ingest_parameters())
    assert status_of(index, "a.jpg") == ("duplicate", "shows the same as nested/z.png")
    for name in ("nested/z.png", "nested/good.png", "turned.png"):
        assert status_of(index, name)[0] == "ok"
    kept = index_photographs(list_folder(folder), ingest_parameters(leave_out_copies=False))
    assert status_of(kept, "a.jpg")[0] == "ok"
    assert list(kept.columns) == list(index.columns)


def test_files_are_decoded_together_only_as_far_as_memory_allows(folder, monkeypatch):
    for number in range(8):
        (folder / f"{number}.png").write_bytes(GOOD)
    photographs = list_folder(folder)
    inside, most = [], []

    def watched(data, limit):
        inside.append(data)
        most[-1] = max(most[-1], len(inside))
        time.sleep(0.02)
        inside.pop()
        return decode_picture(data, limit)

    monkeypatch.setattr(nodes, "decode_picture", watched)
    for room in (1.5, 3.5):
        most.append(0)
        cost = photographs.size("0.png") + BYTES_A_PIXEL * photographs.pixels("0.png")
        budget = room * cost
        monkeypatch.setattr(nodes, "work_budget", lambda budget=budget: budget)
        index_photographs(photographs, ingest_parameters(workers=8))
    assert most == [1, 3]


def test_warnings_are_as_they_were_after_many_threads(folder):
    for number in range(20):
        (folder / f"{number}.png").write_bytes(GOOD)
    before = list(warnings.filters)
    index_photographs(list_folder(folder), ingest_parameters(workers=8))
    assert warnings.filters == before


def test_a_file_that_went_away_is_missing(folder):
    photographs = list_folder(folder)
    (folder / "nested" / "good.png").unlink()
    assert status_of(index_photographs(photographs, ingest_parameters()), "nested/good.png") == (
        "missing",
        "no such file",
    )


def test_a_file_without_permission_is_unreadable(as_anybody):
    for name in ("good.png", "locked.png"):
        (as_anybody / name).write_bytes(GOOD)
    (as_anybody / "locked.png").chmod(0)
    index = index_photographs(list_folder(as_anybody), ingest_parameters())
    assert status_of(index, "locked.png")[0] == "unreadable"
    assert status_of(index, "good.png")[0] == "ok"


def test_a_directory_in_a_files_place_is_unreadable(folder):
    (folder / "dir.jpg").mkdir()
    files = pd.DataFrame({"photograph": ["dir"], "scale": 1, "path": ["dir.jpg"]})
    index = index_photographs(PhotoCollection(folder, files, "x"), ingest_parameters())
    assert status_of(index, "dir.jpg")[0] == "unreadable"


def test_a_link_out_of_the_folder_is_unreadable(folder, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "secret.png"
    outside.write_bytes(GOOD)
    (folder / "link.png").symlink_to(outside)
    status, reason = status_of(
        index_photographs(list_folder(folder), ingest_parameters()), "link.png"
    )
    assert status == "unreadable"
    assert "leaves the folder" in reason


def test_the_index_describes_the_upright_picture(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = made_photograph(100, 150, seed=4)
    (folder / "turned.jpg").write_bytes(encoded(picture, "JPEG", exif=exif))
    index = index_photographs(list_folder(folder), ingest_parameters()).set_index("path")
    row = index.loc["turned.jpg"]
    assert (row["width"], row["height"]) == (100, 150)
    assert row["rule"] == "EXIF orientation applied"
    assert row["bytes"] == (folder / "turned.jpg").stat().st_size


def test_the_pipeline_runs_from_a_catalog(folder):
    (folder / "empty.jpg").write_bytes(b"")
    catalog = DataCatalog(
        {
            "photographs": MemoryDataset(list_folder(folder), copy_mode="assign"),
            "params:ingest": MemoryDataset(ingest_parameters(), copy_mode="assign"),
            "ingestion_summary": MemoryDataset(),
        }
    )
    SequentialRunner().run(create_pipeline(), catalog)
    summary = catalog.load("ingestion_summary").set_index(["kind", "status"])
    assert summary.loc[("original", "ok"), "files"] == 1
    assert summary.loc[("original", "empty"), "example"] == "empty.jpg: the file has 0 bytes"


def test_no_usable_photograph_is_an_error_that_counts(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"")
    (tmp_path / "b.jpg").write_bytes(b"text")
    index = index_photographs(list_folder(tmp_path), ingest_parameters())
    with pytest.raises(ProjectError, match="none of 2 files is a usable photograph") as caught:
        summarise_ingestion(index)
    assert "1 empty" in str(caught.value)
    assert "1 not_an_image" in str(caught.value)


def test_the_first_files_that_are_left_out_are_named(caplog, tmp_path):
    for number in range(8):
        (tmp_path / f"{number}.png").write_bytes(GOOD if number == 0 else b"text")
    index = index_photographs(list_folder(tmp_path), ingest_parameters())
    with caplog.at_level("INFO", logger="isr_pipeline"):
        summarise_ingestion(index)
    assert caplog.text.count("Left out: ") == 6
    assert "Left out: 1.png: no picture format" in caplog.text
    assert "Left out: 2 more" in caplog.text


def test_thousands_of_missing_files_make_one_line(caplog, tmp_path):
    (tmp_path / "1.png").write_bytes(GOOD)
    files = pd.DataFrame(
        {
            "photograph": [str(n) for n in range(1, 3001)],
            "scale": 1,
            "path": [f"{n}.png" for n in range(1, 3001)],
        }
    )
    index = index_photographs(PhotoCollection(tmp_path, files, "x"), ingest_parameters())
    with caplog.at_level("INFO", logger="isr_pipeline"):
        summarise_ingestion(index)
    assert len(caplog.records) == 1
    assert "3000 files. originals: 2999 missing, 1 ok" in caplog.text
