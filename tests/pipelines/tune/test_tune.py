import keras
import mlflow
import pandas as pd
import pytest
import yaml
from kedro.config import OmegaConfigLoader
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner

from conftest import PROJECT
from isr_pipeline.datasets.studies import StudyDataset
from isr_pipeline.errors import ProjectError
from isr_pipeline.pipelines.pair.nodes import split_photographs
from isr_pipeline.pipelines.tune import nodes
from isr_pipeline.pipelines.tune.nodes import choose_best, plot_search, search_parameters
from isr_pipeline.pipelines.tune.pipeline import create_pipeline
from isr_pipeline.storage.atomic import only_one
from isr_pipeline.training import precision
from isr_pipeline.training.checkpoints import Checkpoints
from isr_pipeline.training.parameters import TrainParameters
from isr_pipeline.training.search import StudyFile
from pipelines.conftest import split_parameters, train_parameters, tune_parameters

SPACE = {
    "learning_rate.peak": {"low": 1e-4, "high": 1e-2, "log": True},
    "loss": {"choices": ["mean_absolute_error", "charbonnier"]},
}


def test_the_pipeline_runs_from_a_catalog_and_its_result_is_a_parameters_file(
    world, tmp_path, run, monkeypatch
):
    read = set()
    picture = type(world.pictures).picture
    monkeypatch.setattr(
        type(world.pictures), "picture", lambda s, name, *a: read.add(name) or picture(s, name, *a)
    )

    def memory(value):
        return MemoryDataset(value, copy_mode="assign")

    catalog = DataCatalog(
        {
            "tiles": memory(world.tiles),
            "pairs": memory(world.pairs),
            "pictures": memory(world.pictures),
            "study": StudyDataset(str(tmp_path / "study.db")),
            "initial_network": memory(None),
            "tuning_checkpoints": memory(Checkpoints(tmp_path / "checkpoints")),
            "params:train": memory(train_parameters()),
            "params:tune": memory(tune_parameters(space=SPACE, trials=2, epochs=2)),
        }
    )
    outputs = SequentialRunner().run(create_pipeline(), catalog)
    assert set(outputs) == {
        "tuned_parameters",
        "tuning_metrics",
        "tuning_history",
        "tuning_slices",
    }
    trials = StudyFile(tmp_path / "study.db").latest()
    assert len(trials) == 2
    assert trials.loc[0, "learning_rate.peak"] == 0.001
    assert trials["val_psnr"].between(20, 50).all()
    tested = set(world.pairs.loc[world.pairs["split"] == "test", "photograph"].astype(str))
    assert read
    assert not read & tested
    assert not list((tmp_path / "checkpoints").rglob("*.h5"))

    nested = mlflow.search_runs(
        [run.info.experiment_id], f"tags.mlflow.parentRunId = '{run.info.run_id}'"
    ).sort_values("tags.mlflow.runName")
    assert nested["tags.mlflow.runName"].tolist() == ["trial 0", "trial 1"]
    assert nested["params.train.learning_rate.peak"].astype(float).tolist() == pytest.approx(
        trials["learning_rate.peak"].tolist()
    )
    steps = mlflow.MlflowClient().get_metric_history(nested.iloc[1]["run_id"], "val/psnr_x2")
    assert [point.step for point in steps] == [1, 2]

    (tmp_path / "local").mkdir()
    text = outputs["tuned_parameters"].load()
    (tmp_path / "local" / "parameters_train.yml").write_text(text)
    loader = OmegaConfigLoader(
        str(tmp_path),
        base_env=str(PROJECT / "conf" / "base"),
        default_run_env="local",
        merge_strategy={"parameters": "soft"},
    )
    best = trials.loc[trials["val_psnr"].idxmax()]
    accepted = TrainParameters(**loader["parameters"]["train"])
    assert accepted.learning_rate.peak == best["learning_rate.peak"]
    assert accepted.loss == best["loss"]
    assert accepted.epochs == 20
    assert f"{best['val_psnr']:.2f} dB" in text

    shown = StudyDataset(str(tmp_path / "study.db")).preview()
    assert shown["data"][0][shown["columns"].index("trial")] == best["trial"]


def test_searches_of_other_backends_or_precisions_are_others(monkeypatch):
    monkeypatch.setattr(precision, "_cpu_has_bfloat16", lambda: False)
    common = {"precision": "auto", "loss": "charbonnier"}
    here = nodes._with_arithmetic(common)
    assert here == {"precision": "float32", "loss": "charbonnier", "backend": "tensorflow"}
    assert "precision" not in nodes._with_arithmetic({"loss": "charbonnier"})  # it varies
    monkeypatch.setattr(precision, "_cpu_has_bfloat16", lambda: True)
    assert nodes._with_arithmetic(common) != here
    assert nodes._with_arithmetic({**common, "precision": "float32"}) == here
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    assert nodes._with_arithmetic({**common, "precision": "float32"}) != here


def test_a_trial_is_pruned_inside_the_real_training_and_leaves_nothing(world, tmp_path, run):
    """A fresh network is bicubic interpolation; learning rates like these only spoil it."""
    tune = tune_parameters(
        space={"learning_rate.peak": {"choices": [1e-12, 0.03, 0.04, 0.05]}},
        trials=2,
        epochs=3,
        startup_trials=1,
        warmup_epochs=1,
    )
    trials = search_parameters(
        world.tiles,
        world.pairs,
        world.pictures,
        StudyFile(tmp_path / "study.db"),
        Checkpoints(tmp_path / "checkpoints"),
        None,
        train_parameters(learning_rate__peak=1e-12, average=None, steps_per_epoch=8),
        tune,
    )
    assert trials["state"].tolist() == ["complete", "pruned"]
    assert trials["epochs"].tolist() == [3, 1]
    assert not list((tmp_path / "checkpoints").rglob("trial_*"))
    runs = mlflow.search_runs([run.info.experiment_id], "tags.mlflow.runName LIKE 'trial %'")
    status = dict(zip(runs["tags.mlflow.runName"], runs["status"], strict=True))
    assert status == {"trial 0": "FINISHED", "trial 1": "KILLED"}
    assert mlflow.active_run().info.run_id == run.info.run_id


def test_two_processes_are_not_at_one_search(world, tmp_path, monkeypatch):
    locks = []
    monkeypatch.setattr(nodes, "run_search", lambda *_: locks.extend(tmp_path.glob("*.lock")))

    def search():
        search_parameters(
            world.tiles,
            world.pairs,
            world.pictures,
            StudyFile(tmp_path / "study.db"),
            Checkpoints(tmp_path),
            None,
            train_parameters(),
            tune_parameters(),
        )

    search()
    assert len(locks) == 1
    assert not locks[0].exists()
    with only_one(locks[0]), pytest.raises(ProjectError, match="is at this very search"):
        search()


def test_wrong_spaces_and_tiles_of_another_split_are_refused_before_any_work(world, tmp_path):
    def search(pairs, **changes):
        search_parameters(
            world.tiles,
            pairs,
            world.pictures,
            StudyFile(tmp_path / "study.db"),
            Checkpoints(tmp_path),
            None,
            train_parameters(),
            tune_parameters(**changes),
        )

    with pytest.raises(ProjectError, match="'speed' is no value of train now"):
        search(world.pairs, space={"speed": {"choices": [1]}})
    other = split_photographs(world.pairs.drop(columns="split"), split_parameters(seed=12))
    with pytest.raises(ProjectError, match="kedro run --pipelines=tile first"):
        search(other)
    assert not list(tmp_path.iterdir())


def table(**columns):
    return pd.DataFrame(
        {
            "trial": [0, 1, 2],
            "state": ["complete", "complete", "pruned"],
            "val_psnr": [30.0, 31.0, 33.0],
            "epochs": [2, 2, 1],
            "seconds": [1.0, 1.0, 0.5],
            **columns,
        }
    )


def test_the_best_complete_trial_is_written_in_the_types_of_train():
    tune = tune_parameters(
        space={
            "average": {"choices": [None, 0.9]},
            "augment": {"choices": [True, False]},
            "batch_size": {"choices": [2, 4]},
            "network.autoencoder.features": {"low": 8, "high": 32, "step": 8},
        }
    )
    trials = table(
        **{
            "average": [0.9, None, None],
            "augment": [True, False, True],
            "batch_size": [2, 4.0, None],
            "network.autoencoder.features": [8, 16.0, None],
        }
    )
    text, metrics = choose_best(trials, train_parameters(average=0.9), tune)
    chosen = yaml.safe_load(text)["train"]
    assert repr(chosen) == repr(
        {
            "network": {
                "name": "autoencoder",
                "autoencoder": {
                    "features": 16,
                    "bottleneck_features": 8,
                    "blocks": 1,
                    "bottleneck_blocks": 1,
                },
            },
            "average": None,
            "augment": False,
            "batch_size": 4,
        }
    )
    assert metrics["tune"] == {
        "best_val_psnr": 31.0,
        "best_trial": 1,
        "trials": 3,
        "pruned": 1,
        "present_val_psnr": 30.0,
    }
    assert "The parameters before: 30.00 dB" in text
    failed = trials.assign(trial=[1, 2, 3]).astype({"average": object})
    failed = pd.concat([failed.iloc[2:].assign(trial=0, state="fail"), failed], ignore_index=True)
    assert "before: 30.00 dB" in choose_best(failed, train_parameters(average=0.9), tune)[0]


def test_the_file_names_the_network_that_was_chosen_for_this_run_alone():
    trials = table(batch_size=[2, 4, 2])
    tune = tune_parameters(space={"batch_size": {"choices": [2, 4]}})
    train = train_parameters(network__name="subpixel", network__subpixel__size="tiny")
    chosen = yaml.safe_load(choose_best(trials, train, tune)[0])["train"]
    assert chosen["network"] == {
        "name": "subpixel",
        "subpixel": {"size": "tiny", "branches": False, "activation": "auto"},
    }
    assert chosen["batch_size"] == 4


def test_without_a_complete_trial_there_is_no_best():
    trials = table(state=["pruned"] * 3, batch_size=[2, 2, 2])
    with pytest.raises(ProjectError, match=r"raise tune.trials or tune.minutes"):
        choose_best(trials, train_parameters(), tune_parameters())


def test_plots_show_every_trial_and_every_parameter(tmp_path):
    trials = table(
        **{"learning_rate.peak": [1e-3, 2e-3, 4e-3], "loss": ["charbonnier", "charbonnier", "b"]}
    )
    history, slices = plot_search(trials, tune_parameters(space=SPACE))
    shown = [c.get_offsets() for c in history.axes[0].collections]
    assert [len(points) for points in shown] == [2, 1]
    assert list(history.axes[0].lines[0].get_ydata()) == [30.0, 31.0]
    titles = {axes.get_title(): axes for axes in slices.axes if axes.get_title()}
    assert set(titles) == {"learning_rate.peak", "loss"}
    assert titles["learning_rate.peak"].get_xscale() == "log"
    slices.savefig(tmp_path / "slices.png")
