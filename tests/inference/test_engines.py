import logging
import shutil
import subprocess
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from conftest import made_photograph
from inference.exported import shaken_network
from isr_pipeline import machine
from isr_pipeline.errors import ProjectError
from isr_pipeline.imaging.arrays import to_unit
from isr_pipeline.inference import engines
from isr_pipeline.inference.engines import KerasEngine, OpenVinoEngine, open_engine
from isr_pipeline.networks import build_network

pytest.importorskip("openvino", reason="the extra openvino is not installed")

FORMATS = ["openvino"]


@pytest.fixture(scope="module")
def subpixel(tmp_path_factory):
    from inference.exported import export

    return export(tmp_path_factory.mktemp("subpixel"), "subpixel", [2], FORMATS)


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory):
    from inference.exported import export

    return export(tmp_path_factory.mktemp("autoencoder"), "autoencoder", [2, 3], FORMATS)


def picture(height=61, width=83, seed=0):
    return to_unit(made_photograph(height, width, seed))[None]


def difference(a, b):
    """In grey levels, greatest and mean."""
    return np.abs(a - b).max() * 255, np.abs(a - b).mean() * 255


@pytest.mark.parametrize(("which", "scale"), [("subpixel", 2), ("autoencoder", 3)])
def test_the_engines_agree(which, scale, request):
    world = request.getfixturevalue(which)
    keras = open_engine(world.folder / "network.keras", scale, "keras")
    openvino = open_engine(world.folder / "network.keras", scale, "openvino", "float32")
    assert (keras.scale, keras.halo, keras.alignment) == (
        openvino.scale,
        openvino.halo,
        openvino.alignment,
    )
    assert keras.precision == openvino.precision == "float32"
    lr = picture()
    expected, result = keras(lr), openvino(lr)
    assert result.dtype == np.float32
    assert result.shape == (1, 61 * scale, 83 * scale, 3)
    greatest, mean = difference(expected, result)
    assert greatest < 0.25  # of half-precision weights
    assert mean < 0.05
    assert np.abs(expected - np.clip(np.repeat(np.repeat(lr, scale, 1), scale, 2), 0, 1)).max() > 0


def test_bfloat16_leaves_the_interpolated_picture_in_float32(subpixel):
    exact = OpenVinoEngine(subpixel.folder / "x2.xml", 2, "float32")
    try:
        fast = OpenVinoEngine(subpixel.folder / "x2.xml", 2, "bfloat16")
    except ProjectError:
        pytest.skip("this processor does not multiply bfloat16")
    assert fast.precision == "bfloat16"
    bright = np.full((1, 20, 24, 3), 0.9999, np.float32)  # between two bfloat16 numbers
    correction = exact(bright) - bright[0, 0, 0, 0]
    assert difference(exact(bright), fast(bright))[0] < 0.05 * np.abs(correction).max() * 255
    greatest, mean = difference(exact(picture()), fast(picture()))
    assert 0 < greatest < 1.5
    assert mean < 0.2


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(("which", "scale"), [("subpixel", 2), ("autoencoder", 3)])
def test_a_part_is_bit_for_bit_what_the_whole_gives(which, scale, precision, request):
    world = request.getfixturevalue(which)
    try:
        engine = OpenVinoEngine(world.folder / f"x{scale}.xml", scale, precision)
    except ProjectError:
        pytest.skip("this processor does not multiply bfloat16")
    lr = picture(131, 157, seed=4)[0]
    whole = engine(lr[None])[0]
    generator = np.random.default_rng(3)
    for _ in range(12):
        top, left = generator.integers(0, 120, 2) // engine.alignment * engine.alignment
        bottom, right = np.add((top, left), generator.integers(1, 60, 2))
        first_row, first_column = max(top - engine.halo, 0), max(left - engine.halo, 0)
        window = lr[first_row : bottom + engine.halo, first_column : right + engine.halo]
        part = engine(window[None])[0]
        expected = whole[top * scale : bottom * scale, left * scale : right * scale]
        part = part[(top - first_row) * scale :, (left - first_column) * scale :]
        assert np.array_equal(part[: expected.shape[0], : expected.shape[1]], expected)


def test_openvino_takes_no_more_threads_than_a_container_has_time_for(
    subpixel, tmp_path, monkeypatch
):
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    monkeypatch.setattr(machine, "CONTROL_GROUP", tmp_path)
    engine = OpenVinoEngine(subpixel.folder / "x2.xml", 2)
    compiled = engine._request.get_compiled_model()
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 1


def test_batches_threads_and_repeats_give_the_same(subpixel):
    engine = OpenVinoEngine(subpixel.folder / "x2.xml", 2, threads=2)
    pictures = [picture(seed=n) for n in range(4)]
    expected = [engine(lr) for lr in pictures]
    assert np.array_equal(engine(np.concatenate(pictures)), np.concatenate(expected))
    results: dict[int, np.ndarray] = {}
    threads = [
        threading.Thread(target=lambda n=n: results.__setitem__(n, engine(pictures[n])))
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(results[n], expected[n]) for n in range(4))


def test_auto_takes_the_graph_beside_the_network(subpixel, tmp_path, monkeypatch):
    file = subpixel.folder / "network.keras"
    assert open_engine(file, 2).name == "openvino"
    assert open_engine(subpixel.folder / "x2.xml", 2).name == "openvino"
    assert open_engine(subpixel.network, 2).name == "keras"
    for graph in subpixel.folder.glob("x2.*"):  # beside another network it is not its own
        (tmp_path / graph.name).write_bytes(graph.read_bytes())
    shaken_network("subpixel", [2], seed=7).save(tmp_path / "network.keras")
    assert open_engine(tmp_path / "network.keras", 2).name == "keras"
    with pytest.raises(ProjectError, match=r"no OpenVINO graph of .*network\.keras"):
        open_engine(tmp_path / "network.keras", 2, "openvino")
    (tmp_path / "network.keras").write_bytes(file.read_bytes())
    assert open_engine(tmp_path / "network.keras", 2).name == "openvino"
    (tmp_path / "network.keras").unlink()
    with pytest.raises(ProjectError, match=r"there is no network .*network\.keras"):
        open_engine(tmp_path / "network.keras", 2)
    (tmp_path / "x2.xml").unlink()
    alone = tmp_path / "alone.keras"
    alone.write_bytes(file.read_bytes())
    assert open_engine(alone, 2).name == "keras"
    card = SimpleNamespace(id="card", scales=[2], path=subpixel.folder.__truediv__)
    assert open_engine(card, 2).name == "openvino"
    monkeypatch.setattr(engines, "openvino_is_installed", lambda: False)
    assert open_engine(card, 2).name == "keras"
    for source in (file, card):
        with pytest.raises(ProjectError, match=r"pip install 'isr_pipeline\[openvino\]'"):
            open_engine(source, 2, "openvino")


def test_what_cannot_be_run_is_said(subpixel, autoencoder, tmp_path):
    with pytest.raises(ProjectError, match=r"enlarges by \[2\], not by 4"):
        open_engine(subpixel.network, 4)
    with pytest.raises(ProjectError, match="enlarges by 2, not by 3"):
        open_engine(subpixel.folder / "x2.xml", 3)
    with pytest.raises(ProjectError, match=r"no OpenVINO graph of .* for scale 4"):
        open_engine(autoencoder.folder / "network.keras", 4, "openvino")
    with pytest.raises(ProjectError, match=r"is no \.keras file"):
        open_engine(subpixel.folder / "x2.xml", 2, "keras")
    with pytest.raises(ProjectError, match="was not trained in bfloat16"):
        open_engine(subpixel.network, 2, "keras", "bfloat16")
    broken = tmp_path / "x2.xml"
    broken.write_text("<net/>")
    with pytest.raises(ProjectError, match=r"there is no .*x2\.bin"):
        open_engine(broken, 2)
    broken.with_suffix(".bin").write_bytes(b"")
    with pytest.raises(ProjectError, match="is no graph that isr_pipeline exported"):
        open_engine(broken, 2)


@pytest.mark.parametrize("left", [None, b"cut off"])
def test_an_exported_network_whose_weights_are_lost_is_run_by_keras(
    subpixel, tmp_path, caplog, left
):
    for name in ("network.keras", "x2.xml", "x2.bin"):
        shutil.copy(subpixel.folder / name, tmp_path / name)
    (tmp_path / "x2.bin").unlink() if left is None else (tmp_path / "x2.bin").write_bytes(left)
    assert open_engine(tmp_path / "network.keras", 2).name == "keras"
    assert "Keras enlarges meanwhile" in caplog.text
    with pytest.raises(ProjectError, match=r"x2\.(bin|xml)"):
        open_engine(tmp_path / "network.keras", 2, "openvino")


def test_keras_computes_a_mixed_network_as_it_was_trained_or_in_float32():
    import keras

    from inference.exported import shaken_network

    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = shaken_network("subpixel", [2])
    finally:
        keras.config.set_dtype_policy("float32")
    trained, exact = KerasEngine(network, 2), KerasEngine(network, 2, "float32")
    assert (trained.precision, exact.precision) == ("bfloat16", "float32")
    assert KerasEngine(network, 2, "bfloat16").precision == "bfloat16"
    assert 0 < difference(trained(picture()), exact(picture()))[0] < 2


def test_openvino_needs_neither_keras_nor_tensorflow_and_reports_to_nobody(subpixel):
    script = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from isr_pipeline.inference.engines import open_engine\n"
        f"engine = open_engine(Path({str(subpixel.folder / 'network.keras')!r}), 2)\n"
        "assert engine(np.zeros((1, 20, 30, 3), np.float32)).shape == (1, 40, 60, 3)\n"
        "print(engine.name, *sorted({'keras', 'tensorflow', 'mlflow', 'kedro'} & set(sys.modules)),"
        " sys.modules['openvino_telemetry'])"
    )
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert process.stdout.split() == ["openvino", "None"], process.stderr
    assert process.stderr == ""


def test_a_network_that_looks_at_the_whole_picture_is_refused():
    import keras

    lr = keras.Input((None, None, 3), name="lr")
    mean = keras.layers.GlobalAveragePooling2D(keepdims=True, name="squeeze")(lr)
    large = keras.layers.UpSampling2D(2, name="sr_x2")(lr * mean)
    with pytest.raises(ProjectError, match=r"network 'own': layer 'squeeze' .* whole picture"):
        KerasEngine(keras.Model(lr, {"sr_x2": large}, name="own"), 2)


def test_many_networks_in_one_process_cause_no_advice_on_tracing(caplog):
    logging.getLogger("tensorflow").addHandler(caplog.handler)
    try:
        for _ in range(6):
            network = build_network("subpixel", [2], size="tiny", branches=False)
            KerasEngine(network, 2)(np.zeros((1, 8, 8, 3), np.float32))
    finally:
        logging.getLogger("tensorflow").removeHandler(caplog.handler)
    assert "retracing" not in caplog.text
