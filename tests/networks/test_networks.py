import importlib.util
import subprocess
import sys
import zipfile
from typing import get_args

import keras
import numpy as np
import pytest

from isr_pipeline.errors import ProjectError
from isr_pipeline.imaging.resampling import resize_bicubic
from isr_pipeline.networks import (
    NETWORKS,
    at_scale,
    build_network,
    check_backend,
    check_network,
    load_keras_file,
    scales_of,
)
from isr_pipeline.networks.cost import describe_layers, multiply_adds_per_pixel
from isr_pipeline.networks.layers import BicubicUpsampling, CropToMatch
from isr_pipeline.networks.reach import reach_of
from isr_pipeline.training.parameters import NetworkParameters

DEFAULT = {"features": 48, "bottleneck_features": 64, "blocks": 1, "bottleneck_blocks": 1}
TINY = {"features": 4, "bottleneck_features": 4, "blocks": 1, "bottleneck_blocks": 1}
SMALLEST = {
    "autoencoder": TINY,
    "report_autoencoder": {},
    "subpixel": {"size": "tiny", "branches": True},
}
REPORT_PARAMETERS = [1792, 36928, 73856, 147584, 295168, 295040, 147584, 73792, 36928, 1731]


@pytest.fixture
def picture():
    return np.random.default_rng(0).random((1, 23, 17, 3), np.float32)


def randomised(network):
    generator = np.random.default_rng(1)
    network.set_weights([generator.normal(0, 0.1, w.shape) for w in network.get_weights()])
    return network


def test_the_reports_network_has_its_parameters_layer_by_layer():
    network = build_network("report_autoencoder", [2])
    convolutions = [x for x in network.layers if isinstance(x, keras.layers.Conv2D)]
    assert [layer.count_params() for layer in convolutions] == REPORT_PARAMETERS
    assert network.count_params() == 1_110_403
    assert all(layer.kernel_size == (3, 3) for layer in convolutions)
    assert all(layer.activation is keras.activations.relu for layer in convolutions)
    assert all(
        isinstance(layer.kernel_initializer, keras.initializers.GlorotUniform)
        for layer in convolutions
    )
    assert [x.rate for x in network.layers if isinstance(x, keras.layers.Dropout)] == [0.3]


def test_the_reports_network_shares_one_core_among_the_scales():
    assert build_network("report_autoencoder", [2, 4, 6]).count_params() == 1_110_403


def test_the_reports_network_costs_335_thousand_multiply_adds_per_pixel_at_every_scale():
    network = build_network("report_autoencoder", [2, 6])
    assert multiply_adds_per_pixel(network, 2) == 335_232
    assert multiply_adds_per_pixel(network, 6) == 335_232
    assert multiply_adds_per_pixel(network, 2) * 800 * 1200 == pytest.approx(322e9, rel=0.01)


def test_the_default_network_stays_below_30_thousand_multiply_adds_per_pixel():
    network = build_network("autoencoder", [2, 3, 4, 6], **DEFAULT)
    for scale in (2, 3, 4, 6):
        assert multiply_adds_per_pixel(network, scale) <= 30_000


def test_multiply_adds_agree_with_a_count_by_hand():
    # scale 2, per low-resolution pixel: stem, two blocks of two convolutions, halving, a block at
    # a quarter of the pixels, doubling, twelve subpixels, bicubic 10 taps for 12 values
    f, b = 48, 64
    by_hand = (
        9 * 3 * f
        + 4 * 9 * f * f
        + 4 * f * b / 4
        + 2 * 9 * b * b / 4
        + 4 * b * f / 4
        + 9 * f * 12
        + 2 * 5 * 12
    )
    network = build_network("autoencoder", [2], **DEFAULT)
    assert multiply_adds_per_pixel(network, 2) == pytest.approx(by_hand / 4)


def test_parameters_in_the_layer_table_add_up():
    network = build_network("autoencoder", [4], **DEFAULT)
    assert describe_layers(network, 4)["parameters"].sum() == network.count_params()


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 6])
def test_a_fresh_autoencoder_is_bicubic_interpolation(picture, scale):
    network = at_scale(build_network("autoencoder", [scale], **TINY), scale)
    expected = resize_bicubic(picture[0], 23 * scale, 17 * scale)
    assert np.abs(np.asarray(network(picture))[0] - expected).max() < 1e-6


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("report_autoencoder", {"residual": True}), ("subpixel", SMALLEST["subpixel"])],
)
def test_other_residual_networks_begin_there_too(picture, name, sizes):
    network = at_scale(build_network(name, [3], **sizes), 3)
    expected = resize_bicubic(picture[0], 23 * 3, 17 * 3)
    assert np.abs(np.asarray(network(picture))[0] - expected).max() < 1e-6


def test_the_residual_form_of_the_reports_network_has_its_parameters():
    network = build_network("report_autoencoder", [2, 4], residual=True)
    assert network.count_params() == 1_110_403
    last = [x for x in network.layers if isinstance(x, keras.layers.Conv2D)][-1]
    assert last.activation is keras.activations.linear


@pytest.mark.parametrize("scale", [2, 3, 4, 6])
def test_the_bicubic_layer_equals_imaging_at_the_borders_too(picture, scale):
    out = np.asarray(BicubicUpsampling(scale)(picture))[0]
    assert np.abs(out - resize_bicubic(picture[0], 23 * scale, 17 * scale)).max() < 1e-6


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [(2, 2), (3, 5), (8, 8), (13, 7)])
def test_every_network_takes_any_size(name, size):
    for scale in (2, 3):
        network = build_network(name, [scale], **SMALLEST[name])
        output = at_scale(network, scale)(np.zeros((1, *size, 3), np.float32))
        assert output.shape == (1, size[0] * scale, size[1] * scale, 3)


def test_an_odd_size_changes_nothing_but_the_border():
    network = at_scale(randomised(build_network("autoencoder", [2], **TINY)), 2)
    large = np.random.default_rng(2).random((1, 48, 48, 3), np.float32)
    even, odd = np.asarray(network(large)), np.asarray(network(large[:, :47, :47]))
    inside = (slice(None), slice(0, 60), slice(0, 60))
    assert np.abs(even[inside] - odd[inside]).max() < 1e-5


def test_a_file_that_is_no_network_of_ours_is_named(tmp_path):
    whole = tmp_path / "whole.keras"
    build_network("subpixel", [2], size="tiny", branches=False).save(whole)
    cut = tmp_path / "cut.keras"
    cut.write_bytes(whole.read_bytes()[:-500])
    with pytest.raises(ProjectError, match=r"cut\.keras is damaged, or no \.keras file"):
        load_keras_file(cut)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(cut, "w") as target:
        for name in ("metadata.json", "config.json"):
            target.writestr(name, source.read(name))
        target.writestr("model.weights.h5", b"no weights")
    with pytest.raises(
        ProjectError, match=r"cut\.keras cannot be loaded as a network: ."
    ) as caught:
        load_keras_file(cut)
    assert "\n" not in str(caught.value)
    foreign = tmp_path / "foreign.keras"
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)]).save(foreign)
    with pytest.raises(ProjectError, match=r"foreign\.keras is no network of this project"):
        load_keras_file(foreign)
    unsafe = tmp_path / "unsafe.keras"
    keras.Sequential([keras.Input((4,)), keras.layers.Lambda(lambda x: x + 1)]).save(unsafe)
    with pytest.raises(ProjectError, match=r"unsafe\.keras cannot be loaded .*ambda"):
        load_keras_file(unsafe)
    with pytest.raises(ProjectError, match=r"there is no network .*nothing\.keras"):
        load_keras_file(tmp_path / "nothing.keras")


@pytest.mark.parametrize("name", NETWORKS)
def test_a_saved_network_loads_in_a_fresh_process_with_safe_mode(tmp_path, name, picture):
    scales = [4] if name == "subpixel" else [2, 4]
    network = randomised(build_network(name, scales, **SMALLEST[name]))
    network.save(tmp_path / "network.keras")
    np.save(tmp_path / "lr.npy", picture)
    code = (
        "import sys, numpy as np; from pathlib import Path;"
        "from isr_pipeline.networks import load_keras_file;"
        "from isr_pipeline.networks import at_scale;"
        "folder = Path(sys.argv[1]); network = load_keras_file(folder / 'network.keras');"
        "np.save(folder / 'sr.npy', at_scale(network, 4)(np.load(folder / 'lr.npy')))"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True, capture_output=True)
    expected = np.asarray(at_scale(network, 4)(picture))
    assert np.abs(np.load(tmp_path / "sr.npy") - expected).max() < 1e-5


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("autoencoder", TINY),
        ("autoencoder", TINY | {"bottleneck_blocks": 4}),
        ("report_autoencoder", {}),
        ("report_autoencoder", {"residual": True}),
        ("subpixel", {"size": "tiny", "branches": True}),
        ("subpixel", {"size": "small", "branches": False}),
    ],
)
def test_nothing_beyond_the_receptive_radius_reaches_a_pixel(name, sizes):
    network = randomised(build_network(name, [2], **sizes))
    radius = reach_of(network, 2).radius
    predict = at_scale(network, 2)
    side = 2 * radius + 17
    picture = np.random.default_rng(3).random((1, side, side, 3), np.float32)
    changed = 1 - picture
    middle = slice(side // 2 - radius, side // 2 + radius + 1)
    changed[:, middle, middle] = picture[:, middle, middle]
    centre = slice(2 * (side // 2), 2 * (side // 2) + 2)
    both = [np.asarray(predict(x))[0, centre, centre] for x in (picture, changed)]
    assert np.abs(both[0] - both[1]).max() <= 1e-6 * np.abs(both[0]).max()


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_keeps_what_is_promised(name):
    scales = [2] if name == "subpixel" else [1, 2, 3, 4, 6]
    check_network(build_network(name, scales, **SMALLEST[name]), scales)


def test_the_networks_that_can_be_chosen_are_those_that_can_be_built():
    fields = {*NetworkParameters.model_fields} - {"name"}
    names = get_args(NetworkParameters.model_fields["name"].annotation)
    assert fields == {*names} == {*NETWORKS} == {*SMALLEST}


def own(outputs, side=None, **kwargs):
    lr = keras.Input((side, side, 3), name="lr")
    large = keras.layers.UpSampling2D(2)(lr)
    sizes = {"filters": 3, "kernel_size": 3, "padding": "same", "name": "sr_x2"} | kwargs
    last = keras.layers.Conv2D(**sizes)(large)
    return keras.Model(lr, outputs(last), name="own")


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (lambda: own(lambda x: x), "'own' must give a dictionary with 'sr_x2', the output of"),
        (lambda: own(lambda x: {"x2": x}), "must give a dictionary with 'sr_x2'"),
        (lambda: own(lambda x: {"sr_x2": x}, name="last"), "must give a dictionary with 'sr_x2'"),
        (lambda: own(lambda x: {"sr_x2": x * 2}), "the output of a layer of that name"),
        (lambda: own(lambda x: {"sr_x2": x}, padding="valid"), "makes 24x20 .* not 26x22"),
        (lambda: own(lambda x: {"sr_x2": x}, filters=4), "with 4 channels at x2"),
        (lambda: own(lambda x: {"sr_x2": x}, side=32), "cannot enlarge a picture of 13x11"),
    ],
)
def test_a_network_of_ones_own_that_breaks_a_promise_is_told(network, words):
    with pytest.raises(ValueError, match=words):
        check_network(network(), [2])


def test_a_scale_that_was_not_built_is_named():
    network = build_network("autoencoder", [2, 4], **TINY)
    assert scales_of(network) == [2, 4]
    with pytest.raises(ValueError, match="no output for scale 3"):
        at_scale(network, 3)


def test_an_unknown_network_is_an_error_that_lists_the_known():
    with pytest.raises(ValueError, match="autoencoder, report_autoencoder"):
        build_network("gan", [2])


def test_crop_to_match_cuts_bottom_and_right():
    pictures, reference = np.arange(32.0).reshape(1, 4, 4, 2), np.zeros((1, 3, 2, 5))
    assert np.array_equal(CropToMatch()([pictures, reference]), pictures[:, :3, :2])


@pytest.mark.parametrize(
    ("backend", "words"),
    [
        ("jaxx", "KERAS_BACKEND=jaxx: there are tensorflow, jax, torch"),
        ("torch", r"KERAS_BACKEND=torch is not installed: pip install 'isr_pipeline\[torch\]'"),
    ],
)
def test_a_backend_that_is_not_there_is_named(monkeypatch, backend, words):
    monkeypatch.setenv("KERAS_BACKEND", backend)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ProjectError, match=words):
        check_backend()
