import base64
import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import pytest
import tifffile
from PIL import Image

from conftest import PROJECT, made_photograph
from inference.exported import shaken_network
from isr_pipeline import tracking
from isr_pipeline.errors import ProjectError
from isr_pipeline.inference.upscaler import Upscaler
from isr_pipeline.serving import RefusedError, ServedNetwork


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A champion's folder, fetched from the registry and served: `ask(request)`."""
    folder = tmp_path_factory.mktemp("served")
    former = mlflow.get_tracking_uri()
    tracking.start_afresh()
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    try:
        experiment = mlflow.create_experiment("test", artifact_location=f"{folder}/artifacts")
        network = shaken_network("autoencoder", [2, 3])
        with mlflow.start_run(experiment_id=experiment):
            tracking.crown_champion("isr_test", network, {"new": True, "score": 30.0})
        model = mlflow.artifacts.download_artifacts(
            "models:/isr_test@champion", dst_path=str(folder / "model")
        )
    finally:
        mlflow.set_tracking_uri(former)
    files = {path.relative_to(model).as_posix() for path in (folder / "model").rglob("*.*")}
    assert not [name for name in files if name.endswith((".pkl", ".pickle"))]
    # Marked, so that the answers show that the folder's own code runs, not the installed package.
    code = folder / "model" / "code" / "isr_pipeline" / "serving" / "__init__.py"
    code.write_text(code.read_text().replace("is no picture: give", "is no picture here: give"))

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (folder / "server.log").open("w")
    environment = {key: v for key, v in os.environ.items() if key != "PYTHONPATH"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"  # for uvicorn
    options = f"-p {port} --host 127.0.0.1 --env-manager local".split()
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "models", "serve", "-m", model, *options],
        env={**environment, "ISR_MAXIMUM_MEGAPIXELS": "0.5", "DO_NOT_TRACK": "true"},
        cwd=folder,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )

    def ask(request):
        data = request if isinstance(request, bytes) else json.dumps(request).encode()
        http = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations", data, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(http, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    try:
        for _ in range(240):
            assert server.poll() is None, (folder / "server.log").read_text()
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5).close()
                break
            except OSError:
                time.sleep(0.5)
        yield SimpleNamespace(ask=ask, network=network, model=model)
    finally:
        with contextlib.suppress(ProcessLookupError):  # it ended by itself, which is said above
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(20)
        log.close()


def encoded(picture, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, kind)
    return base64.b64encode(buffer.getvalue()).decode()


def decoded(text):
    image = Image.open(io.BytesIO(base64.b64decode(text)))
    assert image.format == "PNG"
    return np.asarray(image)


def nearly_equal(result, expected):
    return result.shape == expected.shape and np.abs(result.astype(int) - expected).max() <= 1


def test_pictures_are_answered_by_larger_pictures(served):
    colour, grey = made_photograph(40, 61, 1), made_photograph(21, 30, 2)[..., 0]
    status, answer = served.ask({"inputs": [encoded(colour), encoded(grey)]})
    assert status == 200
    upscaler = Upscaler(served.network, 2)
    for text, picture in zip(answer["predictions"], (colour, grey), strict=True):
        assert nearly_equal(decoded(text), upscaler(picture))
    records = {"dataframe_records": [{"picture": encoded(colour)}], "params": {"scale": 3}}
    status, answer = served.ask(records)
    assert status == 200
    assert nearly_equal(decoded(answer["predictions"][0]), Upscaler(served.network, 3)(colour))


def test_what_does_not_enlarge_says_so_and_a_wrong_limit_is_named(monkeypatch, tmp_path):
    shaken_network("report_autoencoder", [1]).save(tmp_path / "network.keras")
    context = SimpleNamespace(artifacts={"network": tmp_path / "network.keras"})
    network = ServedNetwork()
    network.load_context(context)
    with pytest.raises(RefusedError, match="enlarges none"):
        network.predict(context, [], {"scale": 1})
    monkeypatch.setenv("ISR_MAXIMUM_MEGAPIXELS", "16MP")
    with pytest.raises(ProjectError, match="ISR_MAXIMUM_MEGAPIXELS is '16MP': give a number"):
        network.load_context(context)


def test_no_scale_is_two(served):
    asked = {"inputs": [encoded(made_photograph(20, 30, 1))], "params": {"scale": None}}
    status, answer = served.ask(asked)
    assert status == 200
    assert decoded(answer["predictions"][0]).shape == (40, 60, 3)


def test_a_served_network_needs_what_its_requirements_name_and_nothing_more(served, tmp_path):
    deep = np.random.default_rng(0).integers(0, 65536, (9, 8, 3), np.uint16)
    tifffile.imwrite(tmp_path / "planes.tif", deep.transpose(2, 0, 1), planarconfig="separate")
    code = f"""
        import base64, re, sys, tomllib
        from importlib.metadata import PackageNotFoundError, packages_distributions, requires

        def names(lines):
            return {{re.match(r"[A-Za-z0-9_.-]+", line)[0].lower() for line in lines}}

        def has(name):
            try:
                return requires(name) or []
            except PackageNotFoundError:  # for another system
                return []

        with open({str(PROJECT / "pyproject.toml")!r}, "rb") as file:
            ours = names(tomllib.load(file)["project"]["dependencies"])
        with open({served.model + "/requirements.txt"!r}) as file:
            given, new = set(), names(file) | {{"mlflow"}}
        while new:
            given |= new
            needed = [n for name in new for n in has(name)]
            new = names(n for n in needed if "extra ==" not in n) - given
        absent = {{
            module
            for module, parts in packages_distributions().items()
            if {{p.lower() for p in parts}} & (ours - given)
        }}
        assert {{"kedro", "skimage", "kagglehub"}} <= absent

        class Absent:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in absent:
                    raise ModuleNotFoundError(name)

        sys.meta_path.insert(0, Absent())
        import mlflow
        with open({str(tmp_path / "planes.tif")!r}, "rb") as file:
            text = base64.b64encode(file.read()).decode()
        (answer,) = mlflow.pyfunc.load_model({served.model!r}).predict([text])
        assert base64.b64decode(answer).startswith(b"\\x89PNG")
    """
    environment = {key: v for key, v in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_arrays_are_answered_by_arrays(served):
    picture = made_photograph(12, 15, 3)
    status, answer = served.ask({"inputs": picture.tolist()})
    assert status == 200
    expected = Upscaler(served.network, 2)(picture)
    assert nearly_equal(np.array(answer["predictions"]), expected)
    status, answer = served.ask({"inputs": (picture[None] / 255).tolist()})
    assert status == 200
    fractions = np.array(answer["predictions"])
    assert fractions.shape == (1, 24, 30, 3)
    assert nearly_equal(np.rint(fractions[0] * 255), expected)


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"inputs": ["no base64 at all!"]}, "is not base64"),
        ({"inputs": [base64.b64encode(b"text").decode()]}, "cannot be used: no picture format"),
        ({"inputs": [encoded(made_photograph(40, 40, 1))[:400]]}, "cannot be used: "),
        ({"inputs": [encoded(np.zeros((800, 800), np.uint8))]}, "the limit is 0.5"),
        ({"inputs": np.zeros((2, 3, 4), int).tolist()}, "is no picture here: give"),
        ({"inputs": [[[1, 2, 300]]]}, "whole numbers must be from 0 to 255"),
        ({"inputs": [[[0.5, 0.5, 1.5]]]}, "fractions must be in"),
        ({"dataframe_records": [{"photo": "x"}]}, 'has no "picture"'),
        ({"inputs": [], "params": {"scale": 5}}, "not by 5"),
        ({"inputs": [], "params": {"scale": 1}}, "not by 1"),
        ({"inputs": [encoded(np.zeros((500, 500), np.uint8))], "params": {"scale": 3}}, "0.22"),
        ({"inputs": [[[1, 2], [3]]]}, ""),
        (b"{", ""),
    ],
)
def test_what_cannot_be_answered_is_a_400_with_a_reason(served, request_, reason):
    status, answer = served.ask(request_)
    assert status == 400
    assert answer["message"]
    assert reason in answer["message"]
    assert "Traceback" not in answer["message"]
    assert not reason or len(answer["message"]) < 200
    assert served.ask({"inputs": [encoded(np.zeros((8, 8), np.uint8))]})[0] == 200
