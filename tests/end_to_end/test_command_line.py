import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import mlflow

from end_to_end.conftest import ENVIRONMENT


def one_line(process):
    lines = process.stderr.strip().splitlines()
    errors = [line for line in lines if line.startswith("Error: ")]
    assert process.returncode != 0
    assert "Traceback" not in process.stderr
    assert len(errors) == 1, process.stderr
    return errors[0]


def test_training_on_an_unprepared_clone_says_what_to_run_first(empty_project):
    error = one_line(empty_project.kedro("run", "--pipelines=train", "--env=test"))
    assert "kedro run --pipelines=ingest,pair,tile --env=test" in error


def test_evaluating_a_prepared_clone_asks_only_for_what_is_missing(empty_project):
    assert empty_project.kedro("run", "--pipelines=prepare").returncode == 0
    error = one_line(empty_project.kedro("run", "--pipelines=evaluate"))
    assert error.endswith("kedro run --pipelines=train")


WRONG = {
    "train.epochs=many": ["train", "epochs", "integer"],
    "train.epcohs=3": ["'epcohs': is it epochs?"],
    "pair.scales=1": ["pair", "scales must be different integers from 2 up"],
    "train.network.name=subpixel": ["is made for one scale", "[2, 4, 6]"],
    "epochs=40": ["unknown parameter 'epochs'", "train"],
}


def test_a_wrong_parameter_fails_before_any_node_with_its_name(empty_project):
    def run(parameters):
        return empty_project.kedro("run", "--env=test", f"--params={parameters}")

    with ThreadPoolExecutor(2) as pool:  # each waits for its own process
        processes = list(pool.map(run, WRONG))  # the first two make MLflow's database at one time
    for parameters, process in zip(WRONG, processes, strict=True):
        assert process.returncode != 0, parameters
        assert "Traceback" not in process.stderr, process.stderr
        assert all(word in process.stderr for word in WRONG[parameters]), process.stderr
    assert not (empty_project.folder / "data").exists()


def test_a_setting_that_this_run_does_not_read_is_refused(empty_project):
    command = ("run", "--env=test", "--pipelines=tile,train", "--params=pair.scales=2")
    error = one_line(empty_project.kedro(*command))
    assert "'pair.scales' changes nothing in this run" in error
    assert "--pipelines (pair)" in error
    command = ("run", "--env=test", "--pipelines=tune", "--params=train.epochs=3")
    error = one_line(empty_project.kedro(*command))
    assert "train.epochs changes nothing in a search: tune.epochs is its own" in error


def test_what_to_run_first_can_be_run_as_it_is_said(empty_project):
    error = one_line(empty_project.kedro("run", "--env=photos", "--pipelines=train"))
    assert error.endswith("=ingest,pair,tile --env=photos --params=photos=<folder>")
    command = ("run", "--env=photos", "--pipelines=train", "--params=photos=mine")
    error = one_line(empty_project.kedro(*command))
    assert error.endswith("--env=photos --params=photos=mine")


def test_settings_in_a_folder_that_is_not_read_are_named(empty_project):
    (empty_project.folder / "conf" / "local" / "parameters_train.yml").write_text("train: {}")
    run = empty_project.kedro("run", "--env=test", "--pipelines=ingest")
    assert run.returncode == 0, run.stderr
    line = "conf/local is not read with --env=test: parameters_train.yml would have to be in"
    assert line in " ".join(run.stderr.split())


def test_wrong_names_of_environments_and_pipelines_are_one_line_with_the_right_ones(empty_project):
    error = one_line(empty_project.kedro("run", "--env=nosuch"))
    assert "there are base, local, photos" in error
    error = one_line(empty_project.kedro("run", "--env=test", "--pipelines=ingest,nosuch"))
    assert "'nosuch': there are benchmark, evaluate" in error


def test_an_error_is_one_line_from_a_folder_within_the_project_too(empty_project):
    (empty_project.folder / "notebooks").mkdir()
    command = "import os, sys; os.chdir('notebooks'); from kedro.framework.cli.cli import main; "
    command += "sys.argv = ['kedro', 'run', '--params=train.epoch=3']; main()"
    process = empty_project.python("-c", command)
    assert process.returncode != 0
    assert "Traceback" not in process.stderr
    assert process.stderr.splitlines()[-1] == "Error: train: there is no 'epoch': is it epochs?"


def test_a_slip_in_mlflows_settings_is_one_line(empty_project):
    settings = empty_project.folder / "conf" / "local" / "mlflow.yml"
    settings.write_text("tracking: {experimnt: {name: mine}}")
    error = one_line(empty_project.kedro("run", "--pipelines=ingest"))
    assert error == "Error: mlflow.yml: tracking.experimnt: Extra inputs are not permitted"


def test_photos_without_a_folder_says_how_to_name_one(empty_project):
    error = one_line(empty_project.kedro("run", "--env=photos"))
    assert "--params=photos=<folder>" in error


def test_a_folder_that_is_not_there_is_named(empty_project):
    error = one_line(empty_project.kedro("run", "--env=photos", "--params=photos=/no/such"))
    assert "/no/such" in error


def test_unsplash_without_data_and_credentials_says_what_to_fetch(empty_project):
    error = one_line(empty_project.kedro("run", "--env=unsplash"))
    assert "quadeer15sh/image-super-resolution-from-unsplash" in error
    assert "image_data.csv" in error


def test_neither_listing_nor_ingesting_imports_tensorflow(empty_project):
    code = """
import sys
from pathlib import Path
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
bootstrap_project(Path.cwd())
assert "train" in dict(pipelines)
loaded = {"tensorflow", "keras", "jax", "torch"} & set(sys.modules)
assert not loaded, f"listing loaded {loaded}"
with KedroSession.create(Path.cwd(), env="test") as session:
    session.run(pipeline_names=["ingest"])
loaded = {"tensorflow", "keras", "jax", "torch"} & set(sys.modules)
assert not loaded, f"ingesting loaded {loaded}"
print("clean")
"""
    process = empty_project.python("-c", code)
    assert process.stdout.strip().endswith("clean"), process.stderr


def test_a_run_that_a_person_stops_is_recorded_as_killed_and_goes_on(run_project):
    options = ("--env=test", "--pipelines=train", "--params=train.epochs=500")
    process = subprocess.Popen(
        [sys.executable, "-m", "kedro", "run", *options],
        cwd=run_project.folder,
        env={**ENVIRONMENT, "HOME": str(run_project.folder)},
        stderr=subprocess.PIPE,
        text=True,
        # What is started in the background, as this suite may be, ignores Control-C otherwise.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    for line in process.stderr:
        if "epoch 3/500" in line:
            process.send_signal(signal.SIGINT)
            break
    assert "the same command goes on after epoch" in process.stderr.read()
    assert process.wait() != 0
    client = mlflow.MlflowClient(f"sqlite:///{run_project.folder}/mlflow.db")
    experiment = client.get_experiment_by_name("isr_pipeline_test")
    runs = client.search_runs([experiment.experiment_id], order_by=["start_time DESC"])
    assert runs[0].info.status == "KILLED"
    assert list(run_project.path("06_models", "checkpoints").glob("*/state/state.json"))


def test_a_tracking_server_that_is_away_costs_one_warning_and_no_run(empty_project):
    run = empty_project.kedro(
        "run", "--env=test", "--pipelines=ingest", MLFLOW_TRACKING_URI="http://127.0.0.1:9"
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr.count("WARNING") == 1
    assert "http://127.0.0.1:9 is away" in run.stderr
    assert "Traceback" not in run.stderr
    assert (empty_project.folder / "data/02_intermediate/test/photo_index.parquet").is_file()


def test_a_tracking_server_that_breaks_costs_one_warning_and_no_run(empty_project):
    """A server that answers everything with an error, as one in trouble does."""
    import http.server
    import threading

    class Broken(http.server.BaseHTTPRequestHandler):
        def answer(self):
            self.send_response(500)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = answer  # noqa: N815

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Broken)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        run = empty_project.kedro(
            "run",
            "--env=test",
            "--pipelines=ingest",
            MLFLOW_TRACKING_URI=f"http://127.0.0.1:{server.server_port}",
        )
    finally:
        server.shutdown()
    assert run.returncode == 0, run.stderr
    assert run.stderr.count("tracking is lost") == 1
    assert "Traceback" not in run.stderr
    assert (empty_project.folder / "data/02_intermediate/test/photo_index.parquet").is_file()
