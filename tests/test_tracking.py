import http.server
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from isr_pipeline import tracking
from isr_pipeline.errors import ProjectError
from isr_pipeline.networks import build_network

SIZES = {"features": 4, "bottleneck_features": 4, "blocks": 0, "bottleneck_blocks": 0}


def logged(run):
    return mlflow.MlflowClient().get_run(run.info.run_id)


def test_parameters_are_flattened_and_tables_left_out(run):
    tracking.log_parameters({"a": {"b": {"c": 1}, "d": [2, 4]}, "e": None, "rows": [{"x": 1}]})
    assert logged(run).data.params == {"a.b.c": "1", "a.d": "[2, 4]", "e": "None"}


def test_names_that_mlflow_does_not_allow_are_changed_and_cost_nothing(run, caplog):
    tracking.log_parameters({"folders": {"my [old] set": "/a", "Größe": 1}})
    tracking.log_metrics({"a [b]": {"x2": 1.0}})
    data = logged(run).data
    assert data.params == {"folders.my _old_ set": "/a", "folders.Größe": "1"}
    assert data.metrics == {"a _b_/x2": 1.0}
    assert not caplog.text


def test_what_mlflow_does_not_take_costs_itself_alone(run, caplog):
    tracking.log_parameters({"a": 1})
    tracking.log_parameters({"a": 2})  # a parameter never changes
    assert "it is left out" in caplog.text
    assert not tracking.is_lost()
    tracking.log_parameters({"b": 2})
    assert logged(run).data.params == {"a": "1", "b": "2"}


def test_figures_of_an_epoch_are_grouped(run):
    tracking.log_epoch(3, {"train_loss": 0.5, "val_psnr_x2": 30.0, "seconds": 2.0})
    metrics = logged(run).data.metrics
    assert metrics == {"train/loss": 0.5, "val/psnr_x2": 30.0, "epoch/seconds": 2.0}
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "train/loss")
    assert [point.step for point in history] == [3]


def test_nested_metrics_are_joined_and_words_skipped(run):
    tracking.log_metrics({"test": {"x2": {"gain_db": 1.5, "status": "ok"}}})
    assert logged(run).data.metrics == {"test/x2/gain_db": 1.5}


def test_tables_with_gaps_and_figures_are_artifacts(run):
    tracking.log_table("scores", pd.DataFrame({"a": [1.0, np.nan], "b": ["x", None]}))
    tracking.log_figure("curve", Figure())
    table = mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/tables/scores.json")
    assert table == {"columns": ["a", "b"], "data": [[1.0, "x"], [None, None]]}
    names = {a.path for a in mlflow.MlflowClient().list_artifacts(run.info.run_id, "figures")}
    assert names == {"figures/curve.png"}


def test_a_data_set_is_named_with_its_digest(run):
    table = pd.DataFrame({"photograph": ["1", "2"], "scale": [2, 4], "nothing": [None, None]})
    tracking.log_data_set("pairs", table, "sample", "train_network")
    inputs = logged(run).inputs.dataset_inputs
    assert inputs[0].dataset.name == "pairs"
    assert "photograph" in inputs[0].dataset.schema


def test_a_champion_is_registered_and_found_again_and_the_alias_moves(run, tmp_path):
    assert tracking.find_champion("isr_test", tmp_path) is None
    network = build_network("autoencoder", [2], **SIZES)
    for score in (30.0, 31.0):
        record = {"score": score, "test_digest": "abc", "new": True}
        with mlflow.start_run(nested=True, experiment_id=run.info.experiment_id):
            tracking.register_network("isr_test", network)
            tracking.crown_champion("isr_test", network, record)
    path, record = tracking.find_champion("isr_test", tmp_path)
    assert (path.suffix, path.is_relative_to(tmp_path)) == (".keras", True)
    assert record.pop("registry") == tracking.registry()
    assert record == {"score": 31.0, "test_digest": "abc", "new": True, "version": 2}
    with mlflow.start_run(nested=True, experiment_id=run.info.experiment_id):
        tracking.register_network("isr_test", network)  # one that does not win
    assert tracking.find_champion("isr_test", tmp_path)[1]["version"] == 2
    assert len(mlflow.MlflowClient().search_model_versions("name='isr_test'")) == 3
    version = mlflow.MlflowClient().get_model_version("isr_test", "1")
    assert version.tags["score"] == "30.0000"
    assert version.aliases == []
    runs = mlflow.search_runs([run.info.experiment_id], "tags.champion = 'yes'")
    new = mlflow.MlflowClient().get_model_version("isr_test", "2")
    assert runs["run_id"].tolist() == [new.run_id]


def test_a_run_left_open_is_killed_and_nobody_elses(run):
    client = mlflow.MlflowClient()
    tracking.kill_owned_run()
    assert mlflow.active_run() is not None
    nested = {"nested": True, "experiment_id": run.info.experiment_id}
    ours = mlflow.start_run(**nested)
    tracking.own_active_run()
    inner = mlflow.start_run(**nested)
    tracking.kill_owned_run()
    for ended in (ours, inner):
        assert client.get_run(ended.info.run_id).info.status == "KILLED"
    assert mlflow.active_run().info.run_id == run.info.run_id
    tracking.kill_owned_run()
    assert mlflow.active_run() is not None


def test_registries_are_named_without_passwords_and_by_their_place(run, monkeypatch):
    def name(uri):
        monkeypatch.setattr(mlflow, "get_registry_uri", lambda: uri)
        return tracking.registry()

    names = {name(f"http://{who}host:5000{end}") for who in ("", "me:secret@") for end in ("", "/")}
    assert len(names) == 1
    assert name("http://host:5001") not in names


def test_without_an_open_run_nothing_is_done(tmp_path):
    tracking.log_metrics({"a": 1.0})
    assert tracking.find_champion("isr_test", tmp_path) is None


def test_the_first_failure_is_one_warning_and_nothing_more_is_tried(run, caplog):
    calls = []

    @tracking.forgiving
    def send():
        calls.append(1)
        raise ConnectionError("http://me:p@ss@host:5/api is away\nwith details")

    send()
    send()
    assert len(calls) == 1
    assert tracking.is_lost()
    assert len(caplog.records) == 1
    assert "tracking is lost (http://host:5/api is away)" in caplog.text
    tracking.log_metrics({"a": 1.0})
    assert logged(run).data.metrics == {}


@pytest.mark.parametrize(
    ("variable", "configured", "expected"),
    [
        (None, None, "sqlite:////project/mlflow.db"),
        (None, "sqlite:////elsewhere.db", "sqlite:////elsewhere.db"),
        ("sqlite:////mine.db", "sqlite:////elsewhere.db", "sqlite:////mine.db"),
        ("http://me:secret@127.0.0.1:9", None, "sqlite:////project/mlflow.db"),
    ],
)
def test_where_runs_are_recorded(monkeypatch, caplog, variable, configured, expected):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if variable:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", variable)
    tracking.start_afresh()
    for _ in range(2):  # said once
        assert tracking.tracking_uri(configured, Path("/project")) == expected
    assert "secret" not in caplog.text
    assert len(caplog.records) == (variable is not None and variable.startswith("http"))


@pytest.mark.parametrize("address", ["http://localhost:70000", "http://"])
def test_an_address_that_is_none_is_a_server_that_is_away(monkeypatch, caplog, address):
    tracking.start_afresh()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    assert tracking.tracking_uri(None, Path("/project")) == "sqlite:////project/mlflow.db"
    assert f"{address} is away" in caplog.text


def test_a_server_is_reached_as_mlflow_reaches_it(monkeypatch):
    """Through a proxy: the host itself is unknown here."""

    class Proxy(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking.invalid")
    try:
        assert tracking.tracking_uri(None, Path("/project")) == "http://tracking.invalid"
    finally:
        server.shutdown()


def test_a_server_keeps_the_files_of_runs_where_it_keeps_all():
    assert tracking.artifact_location("http://server:5000", Path("/project")) is None
    for database in ("sqlite:////project/mlflow.db", "sqlite:////elsewhere.db"):
        assert tracking.artifact_location(database, Path("/project")) == "/project/mlartifacts"


def test_a_process_that_is_asked_to_end_leaves_no_run_open(tmp_path):
    database = f"sqlite:///{tmp_path}/mlflow.db"
    code = f"""
        import os, signal, time
        import mlflow
        from isr_pipeline import tracking

        mlflow.set_tracking_uri("{database}")
        mlflow.start_run()
        tracking.own_active_run()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 143, done.stderr
    (run,) = mlflow.MlflowClient(database).search_runs(["0"])
    assert run.info.status == "KILLED"


def test_files_that_go_where_the_project_was_are_named(run, tmp_path, caplog):
    mlflow.end_run()
    former, project = tmp_path / "former", tmp_path / "project"
    former.mkdir()
    mlflow.set_tracking_uri(tracking.own_database(former))
    mlflow.create_experiment("moved", f"{former}/mlartifacts")
    mlflow.set_experiment("moved")
    with mlflow.start_run():
        tracking.see_where_files_go(former)
    former.rename(project)
    mlflow.set_tracking_uri(tracking.own_database(project))
    mlflow.set_experiment("moved")
    with mlflow.start_run():
        tracking.see_where_files_go(project)
        tracking.see_where_files_go(tmp_path / "another")  # whose database this is not
    (said,) = (r.getMessage() for r in caplog.records if r.name == "isr_pipeline.tracking")
    assert f"in {former}/mlartifacts, where" in said


def test_runs_are_seen_where_they_were_recorded(monkeypatch, tmp_path):
    monkeypatch.setattr(mlflow, "get_tracking_uri", lambda: "https://me:secret@runs.example/a")
    assert tracking.how_to_see_runs() == "https://runs.example/a"
    uri = tracking.own_database(tmp_path / "my folder")
    monkeypatch.setattr(mlflow, "get_tracking_uri", lambda: uri)
    assert tracking.how_to_see_runs() == f"mlflow ui --backend-store-uri '{uri}'"


@pytest.mark.parametrize("uri", ["localhost:5733", "runs.example:80/mlflow"])
def test_a_server_without_its_protocol_is_refused_before_anything_is_done(
    tmp_path, monkeypatch, uri
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(ProjectError, match=f"{uri} has no protocol: write http://{uri}"):
        tracking.tracking_uri(None, tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(ProjectError, match="has no protocol"):
        tracking.tracking_uri(uri, tmp_path)
    for fine in ("sqlite:///a:1.db", "postgresql://host:5432/runs", "databricks://profile"):
        assert tracking.tracking_uri(fine, tmp_path) == fine


def test_a_champion_whose_run_is_gone_for_good_is_none(run, tmp_path, caplog):
    network = build_network("autoencoder", [2], **SIZES)
    record = {"score": 30.0, "test_digest": "abc", "new": True}
    with mlflow.start_run(nested=True, experiment_id=run.info.experiment_id) as crowned:
        tracking.crown_champion("isr_test", network, record)
    client = mlflow.MlflowClient()
    client.delete_run(crowned.info.run_id)
    client._tracking_client.store._hard_delete_run(crowned.info.run_id)  # as `mlflow gc` does it
    assert tracking.find_champion("isr_test", tmp_path / "1") is None
    assert "version 1 has lost the run that says how it scored: ignored" in caplog.text
    assert not tracking.is_lost()
    tracking.crown_champion("isr_test", network, {**record, "new": False})
    assert tracking.find_champion("isr_test", tmp_path / "2")[1]["version"] == 2
    assert logged(run).data.tags["champion"] == "kept"  # this run's own figures are another's


def test_which_run_is_open(run):
    assert tracking.is_open(run.info.run_id)
    assert not tracking.is_open(None)
    with mlflow.start_run(nested=True, experiment_id=run.info.experiment_id) as inner:
        assert tracking.is_open(inner.info.run_id)
        assert not tracking.is_open(run.info.run_id)
