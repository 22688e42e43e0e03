import json
import re

import mlflow
import pandas as pd
import pytest
from PIL import Image


@pytest.fixture(scope="module")
def client(run_project):
    return mlflow.MlflowClient(f"sqlite:///{run_project.folder}/mlflow.db")


@pytest.fixture(scope="module")
def first_run(client):
    experiment = client.get_experiment_by_name("isr_pipeline_test")
    return client.search_runs([experiment.experiment_id], order_by=["start_time ASC"])[0]


def artifacts(client, run, folder):
    return {item.path for item in client.list_artifacts(run.info.run_id, folder)}


def test_the_screen_is_ours_alone(run_project):
    lines = [line for line in run_project.run.stderr.splitlines() if line.strip()]
    foreign = ("Traceback", "Warning", "WARNING", "oneDNN", "absl", "cuda", "deprecat", "retracing")
    ours = "no better than bicubic interpolation"  # after two epochs
    assert not [n for n in lines if any(word in n for word in foreign) and ours not in n]
    assert re.search(r"x2\s+network", run_project.run.stderr)
    assert "Where to look next" in run_project.run.stderr
    assert "isr upscale <picture> --model champion:test" in run_project.run.stderr
    assert str(run_project.path("08_reporting", "comparison_panels.png")) in run_project.run.stderr


def test_every_arrow_left_its_file(run_project):
    for layer, names in {
        "02_intermediate": ["photo_index.parquet"],
        "03_primary": ["pairs.parquet", "pictures/manifest.json"],
        "05_model_input": ["tiles/manifest.json"],
        "06_models": ["network.keras", "champion/network.keras", "champion/record.json"],
        "07_model_output": ["picture_scores.parquet"],
        "08_reporting": ["scores.csv", "training_history.csv", "report_comparison.csv"],
    }.items():
        for name in names:
            assert run_project.path(layer, name).is_file(), name


@pytest.mark.parametrize(
    "name", ["comparison_panels", "learning_curves", "epoch_times", "network_table"]
)
def test_figures_are_pictures_with_something_on_them(run_project, name):
    picture = Image.open(run_project.path("08_reporting", f"{name}.png")).convert("L")
    assert min(picture.size) > 150
    assert len(picture.getcolors()) > 20


def test_the_sample_was_read_from_the_kaggle_layout(run_project):
    index = pd.read_parquet(run_project.path("02_intermediate", "photo_index.parquet"))
    assert len(index) == 28
    assert (index["status"] == "ok").all()
    root = run_project.folder / "data/01_raw/sample/Image Super Resolution - Unsplash"
    assert (root / "image_data.csv").read_bytes().startswith(b"low_res,high_res\r\n")


def test_parameters_are_logged_flattened(first_run):
    parameters = first_run.data.params
    assert parameters["train.learning_rate.schedule"] == "cosine"
    assert parameters["train.network.autoencoder.features"] == "8"
    assert parameters["pair.scales"] == "[2, 4, 6]"
    assert first_run.info.run_name == "autoencoder"
    assert not [name for name in parameters if name in ("train", "pair", "tile")]


def test_metrics_came_by_epoch_in_groups(client, first_run):
    history = client.get_metric_history(first_run.info.run_id, "val/psnr_x2")
    assert [point.step for point in history] == [1, 2]
    assert {"train/loss", "val/loss", "epoch/seconds", "test/x2/gain_db"} <= set(
        first_run.data.metrics
    )


def test_figures_tables_and_lineage_are_logged(client, first_run):
    assert "figures/comparison_panels.png" in artifacts(client, first_run, "figures")
    assert "tables/picture_scores.json" in artifacts(client, first_run, "tables")
    inputs = first_run.inputs.dataset_inputs
    assert [item.dataset.name for item in inputs] == ["test pairs"]
    assert inputs[0].dataset.digest


def test_the_model_is_logged_with_signature_and_pins_and_is_champion(client, run_project):
    version = client.get_model_version_by_alias("isr_pipeline_test", "champion")
    record = mlflow.artifacts.load_dict(
        f"{client.get_run(version.run_id).info.artifact_uri}/champion_record.json"
    )
    saved = json.loads(run_project.path("06_models", "champion/record.json").read_text())
    assert record == saved
    mlflow.set_tracking_uri(f"sqlite:///{run_project.folder}/mlflow.db")
    info = mlflow.models.get_model_info("models:/isr_pipeline_test@champion")
    assert [(spec.name, spec.default) for spec in info.signature.params] == [("scale", 2)]
    folder = mlflow.artifacts.download_artifacts("models:/isr_pipeline_test@champion")
    requirements = (run_project.folder / folder / "requirements.txt").read_text().split()
    assert all("==" in line for line in requirements)
    assert any(line.startswith("tensorflow==") for line in requirements)
    assert not any(line.startswith("isr_pipeline") for line in requirements)  # it goes with it


def test_a_second_run_does_no_work_twice_and_compares_with_the_champion(
    run_project, client, first_run
):
    again = run_project.kedro("run", "--env=test", "--params=train.epochs=1")
    assert again.returncode == 0, again.stderr
    second = client.search_runs([first_run.info.experiment_id], order_by=["start_time DESC"])[0]
    assert second.info.run_name == "autoencoder epochs=1"
    assert "The pictures are stored already: nothing to do" in again.stderr
    assert "The tiles are indexed already: nothing to do" in again.stderr
    assert re.search(r"The champion stays: |A new champion: ", again.stderr)
    versions = client.search_model_versions("name='isr_pipeline_test'")
    assert len(versions) == 2  # every trained network is registered, only winners have a score
    scores = {int(v.version): float(v.tags["score"]) for v in versions if "score" in v.tags}
    champion = client.get_model_version_by_alias("isr_pipeline_test", "champion")
    assert scores[int(champion.version)] == max(scores.values())


def test_training_runs_alone_from_what_is_prepared(run_project):
    done = run_project.kedro("run", "--pipeline=train", "--env=test", "--params=train.epochs=1")
    assert done.returncode == 0, done.stderr
    assert "Trained 1 epochs" in done.stderr
    assert "isr upscale <picture> --model data/06_models/test/network.keras" in done.stderr
    assert "deprecated" not in done.stderr
    assert "Traceback" not in done.stderr


def test_the_champion_is_exported_and_enlarges_without_tensorflow(run_project, client):
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    run = run_project.kedro("run", "--pipelines=export", "--env=test")
    assert run.returncode == 0, run.stderr
    assert "Traceback" not in run.stderr
    folder = run_project.path("06_models", "exported")
    assert {"x2.xml", "x4.bin", "x6.xml", "network.keras", "record.json"} <= {
        path.name for path in folder.iterdir()
    }
    table = pd.read_csv(run_project.path("08_reporting", "export_differences.csv"))
    exact = table[table["precision"] == "float32"]
    assert list(exact["scale"]) == [2, 4, 6]
    assert exact["max_difference"].max() < 0.5
    experiment = client.get_experiment_by_name("isr_pipeline_test")
    latest = client.search_runs([experiment.experiment_id], order_by=["start_time DESC"])[0]
    assert artifacts(client, latest, "exported") >= {"exported/x2.xml", "exported/x2.bin"}
    assert artifacts(client, latest, "tables") == {"tables/export_differences.json"}

    script = (
        "import sys, numpy as np; from isr_pipeline import Upscaler\n"
        "upscaler = Upscaler('champion', scale=2)\n"
        "print(upscaler(np.zeros((30, 40, 3), np.uint8)).shape, upscaler.description)\n"
        "assert not {'keras', 'tensorflow'} & set(sys.modules)"
    )
    used = run_project.python("-c", script)
    assert used.returncode == 0, used.stderr
    assert used.stdout.startswith("(60, 80, 3)")
    assert "openvino" in used.stdout
