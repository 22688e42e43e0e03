import pandas as pd
import pytest
from PIL import Image

from conftest import made_photograph
from isr_pipeline.sources.kaggle_layout import write_kaggle_layout


def test_the_real_part_of_the_data_set_goes_all_the_way(empty_project, unsplash_folder):
    run = empty_project.kedro(
        "run",
        "--env=unsplash",
        f"--params=unsplash={unsplash_folder},train.epochs=1,train.steps_per_epoch=3,"
        "train.validation_tiles=8,tile.stride=32",
    )
    assert run.returncode == 0, run.stderr
    assert "originals: 1212 missing, 42 ok; partners: 3642 missing, 120 ok" in run.stderr
    assert len(run.stderr.splitlines()) < 45
    scores = pd.read_csv(empty_project.path("08_reporting", "scores.csv", "unsplash"))
    scores = scores.set_index(["scale", "method"])
    # Known of the data set, over all its pictures: the order of input, bicubic, and what they are.
    for scale, (low, high) in {2: (28, 40), 4: (24, 36), 6: (22, 34)}.items():
        bicubic = scores.loc[(scale, "bicubic"), "psnr_rgb"]
        assert low < bicubic < high
        assert scores.loc[(scale, "input as it is"), "gain_db"] == pytest.approx(-1.5, abs=1)


def test_anybodys_folder_goes_all_the_way_whatever_lies_in_it(tmp_path_factory):
    from end_to_end.conftest import Project

    project = Project(tmp_path_factory.mktemp("photos"))
    folder = project.folder / "my pictures"
    (folder / "summer 2024").mkdir(parents=True)
    for number, suffix in enumerate(("jpg", "png", "webp", "tif", "bmp")):
        picture = Image.fromarray(made_photograph(240 + number, 320, seed=number))
        picture.save(folder / "summer 2024" / f"{number}.{suffix}")
    (folder / "notes.txt").write_text("not a picture")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    (folder / "empty.png").write_bytes(b"")
    run = project.kedro(
        "run",
        "--env=photos",
        f"--params=photos={folder},train.epochs=1,"
        "train.steps_per_epoch=2,train.validation_tiles=2,tile.stride=32",
    )
    assert run.returncode == 0, run.stderr
    index = pd.read_parquet(project.path("02_intermediate", "photo_index.parquet", "photos"))
    assert (index["status"] == "ok").sum() == 5
    assert set(index["status"]) >= {"ok", "not_an_image", "empty"}
    scores = pd.read_csv(project.path("08_reporting", "scores.csv", "photos"))
    assert set(scores["protocol"]) == {"realistic"}


def test_the_reports_environment_prints_its_table_and_labels_the_leak(tmp_path_factory):
    from end_to_end.conftest import Project

    project = Project(tmp_path_factory.mktemp("report"))
    photographs = [(str(n), made_photograph(96, 144, seed=n)) for n in range(1, 8)]
    write_kaggle_layout(project.folder / "data set", photographs, (2, 4, 6))
    settings = project.folder / "conf" / "report" / "parameters.yml"
    settings.write_text(settings.read_text().replace("[800, 1200]", "[96, 144]"))
    run = project.kedro(
        "run",
        "--env=report",
        f"--params=unsplash={project.folder / 'data set'},train.epochs=1,train.steps_per_epoch=2",
    )
    assert run.returncode == 0, run.stderr
    assert "In the report's own terms" in run.stderr
    table = pd.read_csv(project.path("08_reporting", "report_comparison.csv", "report"))
    table = table.set_index("method")
    assert table.loc["the report, epoch 10", "val_loss"] == 0.00077
    assert table.loc["this run", ["loss", "accuracy", "val_loss", "val_accuracy"]].notna().all()
    assert table.loc["this run", "note"] == "LEAKS: 3 of 3 photographs took part in training"
    assert table.loc["bicubic", "val_loss"] < table.loc["input as it is", "val_loss"]
    scores = pd.read_csv(project.path("08_reporting", "scores.csv", "report"))
    assert set(scores["protocol"]) == {"report"}
    assert set(scores["scale"]) == {2}  # int(0.15 * 21) rows, the first, are all of scale 2
