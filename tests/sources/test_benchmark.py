import numpy as np
import pytest
from PIL import Image

from conftest import made_photograph
from isr_pipeline.errors import ProjectError
from isr_pipeline.sources.benchmark import from_kaggle_layout, list_benchmark, list_benchmarks
from isr_pipeline.sources.kaggle_layout import FOLDER, list_kaggle_layout, write_kaggle_layout


def write(path, picture=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = np.zeros((24, 24, 3), np.uint8) if picture is None else picture
    Image.fromarray(picture).save(path)


def test_the_standard_layout_with_either_name_of_the_small_pictures(tmp_path):
    for name in ("baby", "bird", "head"):
        write(tmp_path / "HR" / f"{name}.png")
    write(tmp_path / "LR_bicubic" / "X2" / "baby.png")
    write(tmp_path / "LR_bicubic" / "X2" / "birdx2.png")
    write(tmp_path / "LR_bicubic" / "X2" / "stranger.png")
    (tmp_path / "HR" / "Thumbs.db").write_bytes(b"no picture")
    (tmp_path / "LR_bicubic" / "Xtra").mkdir()
    found = list_benchmark("Set", tmp_path)
    assert (found.name, found.degradation) == ("Set", "bicubic")
    rows = found.photographs.files.to_numpy().tolist()
    assert rows == [
        ["baby", 1, "HR/baby.png"],
        ["bird", 1, "HR/bird.png"],
        ["head", 1, "HR/head.png"],
        ["baby", 2, "LR_bicubic/X2/baby.png"],
        ["bird", 2, "LR_bicubic/X2/birdx2.png"],
    ]


def test_of_a_kaggle_layout_only_what_is_there(tmp_path):
    pictures = [(name, made_photograph(48, 60, seed=0)) for name in ("1", "2", "3")]
    write_kaggle_layout(tmp_path, pictures, (2, 4))
    (tmp_path / FOLDER / "low res" / "2_2.jpg").unlink()
    (tmp_path / FOLDER / "high res" / "3.jpg").unlink()
    found = list_benchmark("real", tmp_path)
    assert found.degradation == "unsplash"
    rows = set(found.photographs.files[["photograph", "scale"]].itertuples(index=False, name=None))
    assert rows == {("1", 1), ("1", 2), ("1", 4), ("2", 1), ("2", 4)}


def test_a_kaggle_layout_without_originals_is_refused(tmp_path):
    write_kaggle_layout(tmp_path, [("1", made_photograph(48, 60, seed=0))], (2,))
    (tmp_path / FOLDER / "high res" / "1.jpg").unlink()
    with pytest.raises(ProjectError, match=r"'real'.* holds no 'high res' picture"):
        from_kaggle_layout("real", list_kaggle_layout(tmp_path))


def test_what_is_wrong_with_a_folder_is_said_with_the_key(tmp_path):
    with pytest.raises(ProjectError, match=r"no folder .*absent: correct benchmark.folders.Set5"):
        list_benchmark("Set5", tmp_path / "absent")
    with pytest.raises(ProjectError, match=r"neither HR/ nor a Kaggle layout: correct .*\.Set5"):
        list_benchmark("Set5", tmp_path)
    (tmp_path / "HR").mkdir()
    with pytest.raises(ProjectError, match="HR holds no picture"):
        list_benchmark("Set5", tmp_path)


@pytest.mark.parametrize("place", ["HR", "LR_bicubic/X2"])
def test_two_files_of_one_photograph_are_refused(tmp_path, place):
    for name in ("HR/a.png", f"{place}/b.jpg", f"{place}/b.png"):
        write(tmp_path / name)
    with pytest.raises(ProjectError, match=rf"'Set5': .*{place} holds b.jpg and b.png, two files"):
        list_benchmark("Set5", tmp_path)


def test_the_sets_below_a_folder(tmp_path):
    for name in ("Set5", "BSD100"):
        write(tmp_path / name / "HR" / "a.png")
    (tmp_path / "notes").mkdir()
    assert list_benchmarks(tmp_path) == {
        "BSD100": tmp_path / "BSD100",
        "Set5": tmp_path / "Set5",
    }
    with pytest.raises(ProjectError, match=r"no benchmark set in .*notes"):
        list_benchmarks(tmp_path / "notes")
