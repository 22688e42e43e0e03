"""The same training on each Keras backend that is installed, each in a process of its own."""

import importlib.util
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

TRAIN = """
    import json, sys
    from pathlib import Path
    import numpy as np
    from isr_pipeline.networks import import_keras
    import_keras()
    import keras
    from isr_pipeline.storage.pictures import PictureStore
    from isr_pipeline.storage.tiles import read_tiles
    from isr_pipeline.training.checkpoints import Checkpoints
    from isr_pipeline.training.device import device_reader
    from isr_pipeline.training.feed import TileFeed
    from isr_pipeline.training.fit import fit_network
    from isr_pipeline.training.parameters import TrainParameters

    tiles, pictures, parameters, folder = map(Path, sys.argv[1:])
    values = json.loads(parameters.read_text())

    class Interruption(Exception):
        pass

    def fit(folder, stop=None, **changes):
        def on_epoch(epoch, figures):
            if epoch == stop:
                raise Interruption
        return fit_network(
            read_tiles(tiles), PictureStore(pictures), TrainParameters(**{**values, **changes}),
            Checkpoints(folder), on_epoch,
        )

    def batch(*reader):
        table = read_tiles(tiles)
        return TileFeed(table, PictureStore(pictures), 8, 0, True, *reader).batch(3)

    halves = zip(batch(), batch(device_reader(PictureStore(pictures))))
    unlike = max(
        np.abs(host[name] - keras.ops.convert_to_numpy(device[name])).max()
        for name, (host, device) in zip(("lr_x2", "sr_x2"), halves)
    )
    whole = fit(folder / "whole")
    try:
        fit(folder / "cut", stop=2)
    except Interruption:
        resumed = fit(folder / "cut")
    difference = max(
        np.abs(a - b).max()
        for a, b in zip(whole.network.get_weights(), resumed.network.get_weights())
    )
    device = fit(folder / "device", feed="device")  # without a GPU, auto is the host
    whole.network.save(folder / "network.keras")
    print(json.dumps({
        "backend": keras.backend.backend(),
        "facts": whole.facts,
        "loss": whole.history["val_loss"].tolist(),
        "resumed_after": resumed.facts["resumed_after"],
        "difference": float(difference),
        "unlike": float(unlike),
        "device_loss": device.history["val_loss"].tolist(),
    }))
"""
APPLY = """
    import json, sys
    from pathlib import Path
    import numpy as np
    from isr_pipeline.networks import load_keras_file  # with safe_mode

    folder, result = map(Path, sys.argv[1:])
    lr = np.random.default_rng(0).random((1, 13, 10, 3), dtype=np.float32)
    outputs = {}
    for path in sorted(folder.glob("*/network.keras")):
        for name, sr in load_keras_file(path).predict(lr, verbose=0).items():
            outputs[f"{path.parent.name} {name}"] = sr
    import keras
    print(keras.backend.backend())
    np.savez(result, **outputs)
"""
BACKENDS = ("tensorflow", "jax", "torch")


def process(backend: str, script: str, *arguments: Path) -> str:
    # One thread: the threads of several libraries on few, busy processors wait for one another.
    environment = {**os.environ, "KERAS_BACKEND": backend, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def installed() -> list[str]:
    return [name for name in BACKENDS if importlib.util.find_spec(name) is not None]


@pytest.fixture(scope="module")
def trained(world, tmp_path_factory):
    """A network of each installed backend, of one scale for speed, and what its training told."""
    from isr_pipeline.storage.tiles import TileStream, write_tiles
    from pipelines.conftest import train_parameters

    folder = tmp_path_factory.mktemp("backends")
    write_tiles(
        folder / "tiles", TileStream("the world's", iter([world.tiles[world.tiles["scale"] == 2]]))
    )
    parameters = train_parameters(
        precision="auto", epochs=2, steps_per_epoch=12, learning_rate__peak=0.004, average=0.8
    )
    (folder / "parameters.json").write_text(parameters.model_dump_json())
    told = {}
    for backend in installed():
        paths = [folder / "tiles", world.pictures.folder, folder / "parameters.json"]
        (folder / backend).mkdir()
        told[backend] = json.loads(process(backend, TRAIN, *paths, folder / backend))
    return folder, told


def of(backend, told):
    if backend not in told:
        pytest.skip(f"{backend} is not installed (pip install -e .[{backend}])")
    return told[backend]


@pytest.mark.parametrize("backend", BACKENDS)
def test_training_lowers_the_loss(trained, backend):
    told = of(backend, trained[1])
    assert told["backend"] == told["facts"]["backend"] == backend
    assert told["loss"][-1] < told["loss"][0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_interrupted_training_ends_like_one_that_was_not(trained, backend):
    told = of(backend, trained[1])
    assert told["resumed_after"] == 1
    assert told["difference"] < 1e-6


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_device_cuts_the_same_tiles_and_trains_on_them(trained, backend):
    told = of(backend, trained[1])
    assert told["unlike"] < 1e-6  # compilers divide by 255 in ways of their own
    assert told["device_loss"][-1] < told["device_loss"][0]


def test_a_network_of_any_backend_loads_in_every_other_and_does_the_same(trained, tmp_path):
    folder, told = trained
    if len(told) < 2:
        pytest.skip(f"only {', '.join(told)} is installed (pip install -e .[jax,torch])")
    outputs = {}
    for backend in told:
        assert process(backend, APPLY, folder, tmp_path / f"{backend}.npz") == backend
        outputs[backend] = np.load(tmp_path / f"{backend}.npz")
    first, *others = outputs.values()
    assert set(first) == {f"{backend} sr_x2" for backend in told}
    for name in first:
        assert all(np.allclose(first[name], other[name], atol=1e-5) for other in others), name
