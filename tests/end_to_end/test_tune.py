"""A search from the command line, and training with what it found."""

import json
import shutil

import pandas as pd


def test_what_a_search_finds_is_taken_by_the_next_training(run_project):
    search = run_project.kedro("run", "--env=test", "--pipelines=tune")
    assert search.returncode == 0, search.stderr
    folder = run_project.path("08_reporting", "tuned")
    trials = pd.read_csv(folder / "trials.csv")
    assert len(trials) == 2
    names = {"trials.csv", "metrics.json", "parameters_tuned.yml", "history.png", "slices.png"}
    assert {path.name for path in folder.iterdir()} == names
    best = trials.loc[trials["val_psnr"].idxmax()]
    assert json.loads((folder / "metrics.json").read_text())["tune"]["best_trial"] == best["trial"]

    mine = run_project.folder / "conf" / "mine"
    mine.mkdir()
    (mine / "globals.yml").write_text("source: test\n")
    shutil.copy(folder / "parameters_tuned.yml", mine)
    options = ["epochs=1", "steps_per_epoch=2", "validation_tiles=2", "precision=float32"]
    train = run_project.kedro(
        "run",
        "--env=mine",
        "--pipelines=train",
        f"--params={','.join(f'train.{option}' for option in options)}",
        MLFLOW_TRACKING_URI=f"sqlite:///{mine}/mlflow.db",
    )
    assert train.returncode == 0, train.stderr
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{mine}/mlflow.db")
    run = client.search_runs([e.experiment_id for e in client.search_experiments()])[0]
    assert float(run.data.params["train.learning_rate.peak"]) == best["learning_rate.peak"]
    assert int(run.data.params["train.batch_size"]) == best["batch_size"]
