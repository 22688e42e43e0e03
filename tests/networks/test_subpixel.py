import keras
import numpy as np
import pytest
from keras import ops

from isr_pipeline.networks import (
    SUBPIXEL_SIZES,
    at_scale,
    build_network,
    fold,
    scales_of,
    warm_start,
)
from isr_pipeline.networks.cost import multiply_adds_per_pixel
from isr_pipeline.networks.dead_units import dead_units
from isr_pipeline.networks.layers import RepConv2D
from isr_pipeline.networks.reach import reach_of
from isr_pipeline.networks.subpixel import activation_of

TINY = {"features": 4, "bottleneck_features": 6, "blocks": 1, "bottleneck_blocks": 1}
MOST_PARAMETERS = {"tiny": 25_000, "small": 150_000, "medium": 420_000}


def randomised(network, seed=1):
    generator = np.random.default_rng(seed)
    network.set_weights([generator.normal(0, 0.1, w.shape) for w in network.get_weights()])
    return network


def subpixel(scale=2, size="tiny", branches=True):
    return build_network("subpixel", [scale], size=size, branches=branches)


@pytest.mark.parametrize("size", SUBPIXEL_SIZES)
def test_sizes_keep_their_promise_and_branches_cost_nothing_once_folded(size):
    branched, plain = subpixel(size=size), subpixel(size=size, branches=False)
    assert fold(branched).count_params() == plain.count_params() <= MOST_PARAMETERS[size]
    assert branched.count_params() > 2 * plain.count_params()
    for network in (branched, fold(branched)):
        assert multiply_adds_per_pixel(network, 2) == multiply_adds_per_pixel(plain, 2)
        assert reach_of(network, 2).radius == reach_of(plain, 2).radius


@pytest.mark.parametrize(
    ("scale", "size"), [(3, "small"), (4, "small"), (6, "small"), (4, "medium")]
)
def test_sizes_keep_it_at_larger_scales(scale, size):
    assert subpixel(scale, size, branches=False).count_params() <= MOST_PARAMETERS[size]


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize(("channels", "filters"), [(3, 8), (8, 8), (8, 12)])
def test_a_folded_kernel_computes_what_the_three_branches_sum_up_to(channels, filters, zero):
    layer = RepConv2D(filters, zero=zero)
    pictures = np.random.default_rng(0).normal(size=(2, 9, 7, channels)).astype("float32")
    assert bool(np.abs(layer(pictures)).max() == 0) is zero
    generator = np.random.default_rng(1)
    layer.set_weights([generator.normal(0, 0.3, w.shape) for w in layer.get_weights()])

    def conv(x, kernel):
        return ops.conv(x, ops.convert_to_tensor(kernel), padding="same")

    wide = conv(conv(pictures, layer.widen), layer.reduce)
    expected = conv(pictures, layer.square) + conv(pictures, layer.point) + wide + layer.bias
    assert np.abs(expected).max() > 3
    assert np.allclose(layer(pictures), expected, atol=2e-5)


def test_folding_a_network_changes_nothing_beyond_rounding():
    network = randomised(subpixel(3))
    folded = fold(network)
    assert not any(isinstance(layer, RepConv2D) for layer in folded.layers)
    assert scales_of(folded) == [3]
    picture = np.random.default_rng(0).random((1, 19, 14, 3), np.float32)
    before, after = at_scale(network, 3)(picture), at_scale(folded, 3)(picture)
    assert np.abs(before).max() > 1
    assert np.allclose(before, after, atol=1e-5 * np.abs(before).max())
    assert fold(folded) is folded


@pytest.mark.parametrize(
    ("folded_source", "branches"), [(True, True), (False, True), (True, False)]
)
def test_warm_start_takes_over_everything_but_the_last_layer(folded_source, branches):
    trained = randomised(subpixel(2))
    source = fold(trained) if folded_source else trained
    network = subpixel(4, branches=branches)
    taken = warm_start(network, source)
    assert "first" in taken
    assert "block4_b" in taken
    assert not any("subpixels" in name for name in taken)
    picture = np.random.default_rng(0).random((1, 12, 12, 3), np.float32)
    features = [
        keras.Model(n.inputs, n.get_layer("block4").output)(picture) for n in (network, trained)
    ]
    assert np.allclose(*features, atol=1e-5 * np.abs(features[0]).max())


@pytest.mark.parametrize("name", ["autoencoder", "report_autoencoder"])
def test_layers_that_keras_named_are_taken_over_in_their_order(name):
    sizes = {"autoencoder": TINY, "report_autoencoder": {"residual": True}}[name]
    trained, network = (build_network(name, [2], **sizes) for _ in range(2))
    assert {layer.name for layer in trained.layers} != {layer.name for layer in network.layers}
    trained = randomised(trained)
    warm_start(network, trained)
    picture = np.random.default_rng(0).random((1, 16, 12, 3), np.float32)
    outputs = [at_scale(n, 2)(picture) for n in (network, trained)]
    assert np.array_equal(*outputs)
    assert np.abs(outputs[0]).max() > 0.1


def test_warm_start_from_a_stranger_is_refused():
    with pytest.raises(ValueError, match="no layer in common"):
        warm_start(subpixel(), build_network("report_autoencoder", [2]))


@pytest.mark.parametrize("branches", [False, True])
def test_a_fresh_network_is_interpolation(branches):
    network = subpixel(branches=branches)
    picture = np.random.default_rng(0).random((1, 9, 12, 3), np.float32)
    interpolated = network.get_layer("bicubic_x2")(picture)
    assert np.array_equal(at_scale(network, 2)(picture), interpolated)


def test_the_blocks_of_a_fresh_network_pass_their_input_on():
    network = subpixel(branches=False)
    picture = np.random.default_rng(0).random((1, 9, 12, 3), np.float32)
    names = ("first", *(f"block{number}" for number in range(1, 5)))
    first, *blocks = keras.Model(
        network.inputs, [network.get_layer(name).output for name in names]
    )(picture)
    assert np.abs(first).max() > 0.01
    assert all(np.array_equal(first, block) for block in blocks)


@pytest.mark.parametrize("branches", [False, True])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
def test_the_activation_is_that_of_the_blocks_and_known_after_folding(activation, branches):
    network = build_network("subpixel", [2], size="tiny", branches=branches, activation=activation)
    assert activation_of(network) == activation_of(fold(network)) == activation
    network = fold(randomised(network))
    picture = np.random.default_rng(0).random((1, 9, 12, 3), np.float32)
    inside = keras.Model(network.inputs, network.get_layer("block2_a").output)(picture)
    assert (np.min(inside) < 0) == (activation == "leaky_relu")
    assert activation_of(build_network("report_autoencoder", [2])) is None


def test_dead_units_are_those_that_no_picture_gets_through():
    network = build_network("subpixel", [2], size="tiny", branches=False, activation="relu")
    network.set_weights([np.abs(w) for w in randomised(network).get_weights()])
    pictures = np.random.default_rng(0).random((3, 2, 16, 16, 3), np.float32)
    assert dead_units(network, pictures) == {}
    layer = network.get_layer("block3_a")
    kernel, bias = layer.get_weights()
    bias[[1, 4, 5]] = -1e12
    layer.set_weights([kernel, bias])
    assert dead_units(network, pictures) == {"block3_a": (3, 16)}
    leaky = build_network("subpixel", [2], size="tiny", branches=False, activation="leaky_relu")
    leaky.set_weights(network.get_weights())
    assert dead_units(leaky, pictures) == {}


def test_a_unit_that_one_picture_of_many_gets_through_lives():
    lr = keras.Input((None, None, 3), name="lr")
    network = keras.Model(lr, keras.layers.ReLU()(keras.layers.Conv2D(3, 1, name="mix")(lr) - 0.5))
    network.get_layer("mix").set_weights([np.eye(3)[None, None], np.zeros(3)])
    dark = np.zeros((1, 4, 4, 3), np.float32)
    light = dark.copy()
    light[0, 2, 1, 0] = 1
    (name,) = dead_units(network, [dark])
    assert dead_units(network, [dark]) == {name: (3, 3)}
    assert dead_units(network, [dark, light]) == {name: (2, 3)}


def test_one_scale_and_known_sizes_only():
    with pytest.raises(ValueError, match=r"one scale, not for \[2, 4\]"):
        build_network("subpixel", [2, 4], size="tiny", branches=True)
    with pytest.raises(ValueError, match="choose one of tiny, small, medium"):
        build_network("subpixel", [2], size="huge", branches=True)
    with pytest.raises(ValueError, match="choose one of relu, leaky_relu"):
        build_network("subpixel", [2], size="tiny", branches=True, activation="swish")
