import importlib.util

import pandas as pd
import pytest
from kedro.framework.project import configure_project, pipelines
from kedro.io import DataCatalog, MemoryDataset

from isr_pipeline.before_run import check_run
from isr_pipeline.datasets.photographs import KaggleDataset
from isr_pipeline.errors import ProjectError
from isr_pipeline.pipelines.benchmark.parameters import BenchmarkParameters
from isr_pipeline.pipelines.export.parameters import ExportParameters
from isr_pipeline.pipelines.upscale.parameters import UpscaleParameters
from pipelines.conftest import (
    changed,
    default_parameters,
    evaluate_parameters,
    train_parameters,
)
from test_configuration import loader


def checked(names, parameters, **entries):
    """Check a run of pipelines whose inputs are all there."""
    configure_project("isr_pipeline")
    pipeline = sum((pipelines[name] for name in names), start=pipelines["tile"] - pipelines["tile"])
    there = {name: MemoryDataset("there") for name in pipeline.inputs()}
    there |= {f"params:{key}": MemoryDataset(p, "assign") for key, p in parameters.items()}
    return check_run(loader("test"), {}, pipeline, DataCatalog({**there, **entries}))


def parameters_of(model, room, **changes):
    return model(**changed(default_parameters(room)[room], **changes))


BENCHMARK = parameters_of(BenchmarkParameters, "benchmark")
EXPORT = parameters_of(ExportParameters, "export")


def split_of(split):
    pairs = {"reduction": [1.0], "status": ["ok"], "split": [split], "scale": [2]}
    return MemoryDataset(pd.DataFrame(pairs))


def test_a_split_without_a_picture_is_noticed_before_training():
    rooms = {"train": train_parameters(), "evaluate": evaluate_parameters()}
    assert checked(["train", "evaluate"], rooms, pairs=split_of("test")) == rooms
    with pytest.raises(ProjectError, match="no usable pair is in split 'test'"):
        checked(["train", "evaluate"], rooms, pairs=split_of("val"))


def test_a_data_set_that_is_not_there_is_noticed_before_training(tmp_path, monkeypatch):
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("kagglehub.config.get_kaggle_credentials", lambda: None)
    rooms = {"train": train_parameters(), "evaluate": evaluate_parameters()}
    photographs = KaggleDataset(str(tmp_path / "unsplash"))
    with pytest.raises(ProjectError, match="there are no Kaggle credentials"):
        checked(["train", "evaluate"], rooms, pairs=split_of("test"), photographs=photographs)


def test_packages_for_exporting_are_looked_for_before_training(monkeypatch):
    rooms = {"export": EXPORT}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ProjectError, match="exporting needs"):
        checked(["export"], rooms)


def test_folders_of_test_sets_are_looked_for_before_anything_is_timed(tmp_path):
    missing = parameters_of(
        BenchmarkParameters, "benchmark", folders={"Set5": str(tmp_path / "none")}
    )
    with pytest.raises(ProjectError, match="there is no folder"):
        checked(["benchmark"], {"benchmark": missing})
    assert checked(["benchmark"], {"benchmark": BENCHMARK})["benchmark"] == BENCHMARK


def test_upscaling_does_not_run_beside_the_choice_of_a_champion():
    upscale = parameters_of(UpscaleParameters, "upscale", input="photos")
    rooms = {"evaluate": evaluate_parameters(), "upscale": upscale}
    with pytest.raises(ProjectError, match="run it afterwards"):
        checked(["evaluate", "upscale"], rooms, pairs=split_of("test"))
    assert checked(["upscale"], {"upscale": upscale}) == {"upscale": upscale}


def test_a_benchmark_waits_for_the_champion_of_its_run():
    configure_project("isr_pipeline")
    names = [node.name for node in (pipelines["evaluate"] + pipelines["benchmark"]).nodes]
    assert names.index("choose_champion") < names.index("load_benchmark_models")
