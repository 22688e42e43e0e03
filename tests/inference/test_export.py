import numpy as np
import pytest

from inference.exported import export, shaken_network
from isr_pipeline.errors import ProjectError
from isr_pipeline.inference import export as exporting
from isr_pipeline.inference.export import EXPORTERS, check_installed, check_pictures, compare

for _package in ("openvino", "onnx", "tf2onnx", "onnxruntime", "ai_edge_litert"):
    pytest.importorskip(_package, reason="the extra export is not installed")

SUFFIXES = (".xml", ".onnx", ".tflite")


@pytest.mark.parametrize(
    ("name", "scale", "policy"),
    [
        ("subpixel", 3, "float32"),
        ("autoencoder", 4, "mixed_bfloat16"),
        ("report_autoencoder", 2, "float32"),
        ("report_residual", 2, "float32"),  # interpolates for two users
    ],
)
def test_every_format_gives_what_keras_gives_in_float32(name, scale, policy, tmp_path):
    import keras

    keras.config.set_dtype_policy(policy)
    try:
        network = export(tmp_path, name, [scale], list(EXPORTERS)).network
    finally:
        keras.config.set_dtype_policy("float32")
    pictures = check_pictures()
    assert {p.shape[:2] for p in pictures} == {(96, 128), (61, 75)}
    for suffix in SUFFIXES:
        file = tmp_path / f"x{scale}{suffix}"
        differences = compare(network, scale, file, pictures)
        assert set(differences) <= {"float32", "bfloat16" if suffix == ".xml" else ""}
        greatest, mean = differences["float32"]
        assert greatest < (0.25 if suffix == ".xml" else 0.005), (suffix, greatest)
        assert mean <= greatest
    halved, whole = (tmp_path / f"x{scale}{suffix}" for suffix in (".bin", ".onnx"))
    if name == "report_autoencoder":
        assert halved.stat().st_size < 0.51 * whole.stat().st_size
    if name in ("subpixel", "autoencoder"):  # correction and interpolation are shuffled as one
        assert (tmp_path / f"x{scale}.xml").read_text().count('type="DepthToSpace"') == 1
    assert not list(tmp_path.glob(".partial*"))


def test_a_flat_picture_stays_as_bright_as_it_is(tmp_path):
    """Weights of the interpolation in half precision would not sum to 1."""
    from isr_pipeline.inference.engines import OpenVinoEngine
    from isr_pipeline.networks import build_network

    network = build_network("subpixel", [3], size="tiny", branches=False)
    EXPORTERS["openvino"](network, 3, tmp_path / "x3.xml")
    flat = np.full((1, 12, 14, 3), 0.777, np.float32)
    enlarged = OpenVinoEngine(tmp_path / "x3.xml", 3, "float32")(flat)
    assert np.abs(enlarged - flat[0, 0, 0, 0]).max() < 1e-6


def test_the_interpolated_picture_is_in_float32_when_the_rest_is_not(tmp_path):
    from isr_pipeline.inference.engines import OpenVinoEngine
    from isr_pipeline.networks import build_network

    network = build_network("subpixel", [2], size="tiny", branches=False)  # corrects nothing yet
    EXPORTERS["openvino"](network, 2, tmp_path / "x2.xml")
    try:
        rounded = OpenVinoEngine(tmp_path / "x2.xml", 2, "bfloat16")
    except ProjectError as error:
        pytest.skip(str(error))
    picture = np.random.default_rng(0).random((1, 30, 34, 3), np.float32)
    exact = OpenVinoEngine(tmp_path / "x2.xml", 2, "float32")
    assert np.abs(rounded(picture) - exact(picture)).max() < 1e-6


def test_what_is_missing_is_named_with_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(exporting._NEEDED, "onnx", ("onnx", "no_such_package"))
    with pytest.raises(ProjectError, match=r"needs no_such_package: .*isr_pipeline\[export\]"):
        check_installed(["onnx"])
    with pytest.raises(ProjectError, match=r"enlarges by \[3\], not by 2"):
        EXPORTERS["litert"](shaken_network("subpixel", [3]), 2, tmp_path / "x2.tflite")
