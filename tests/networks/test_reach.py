import keras
import numpy as np
import pytest
from keras import layers, ops

from isr_pipeline.networks import at_scale
from isr_pipeline.networks.cost import multiply_adds_per_pixel
from isr_pipeline.networks.layers import BicubicUpsampling
from isr_pipeline.networks.reach import reach_of


def network_of(body):
    """A network of somebody's own for x2, with all weights positive, so that nothing cancels."""
    lr = keras.Input((None, None, 3), name="lr")
    skip = BicubicUpsampling(2)(lr)
    residual = ops.depth_to_space(layers.Conv2D(12, 1, name="subpixels")(body(lr)), 2)
    output = layers.Add(name="sr_x2")([skip, residual])
    network = keras.Model(lr, {"sr_x2": output}, name="own")
    generator = np.random.default_rng(0)
    network.set_weights([generator.uniform(0.05, 0.1, w.shape) for w in network.get_weights()])
    return network


def measured_radius(network, most):
    """How far from the middle a change of the picture reaches the four middle values."""
    predict = at_scale(network, 2)
    side = 2 * most + 4
    rows = np.full((1 + side, side, side, 3), 0.5, np.float32)
    for place in range(side):
        rows[1 + place, place] += 0.25
    farthest = 0
    for pictures in (rows, rows.transpose(0, 2, 1, 3)):
        before, *after = np.asarray(predict(pictures))
        # At a place that poolings and strides of up to 4 lay their grid on, and at those beside it.
        for middle in range(most, most + 4):
            window = np.s_[2 * middle : 2 * middle + 2, 2 * middle : 2 * middle + 2]
            for place, sr in enumerate(after):
                if np.abs(sr[window] - before[window]).max() > 1e-6:
                    farthest = max(farthest, abs(place - middle))
    return farthest


def conv(size, **kwargs):
    return layers.Conv2D(4, size, padding="same", **kwargs)


def two_branches(lr):
    return layers.Concatenate()([conv(5)(lr), conv(3)(conv(3)(conv(3)(lr)))])


def applied_twice(lr):
    shared = layers.Conv2D(3, 3, padding="same")
    return shared(shared(lr))


def nested(lr):
    inner = keras.Input((None, None, 3))
    return keras.Model(inner, conv(5)(conv(3)(inner)))(lr)


def nearest_skip(lr):
    # The enlarged branch is made before the other's convolutions.
    large = layers.UpSampling2D(2, interpolation="nearest")(lr)
    small = conv(3)(conv(3)(conv(3)(lr)))
    return layers.Concatenate()([ops.space_to_depth(large, 2), small])


def split_channels(lr):
    x = conv(3)(lr)
    first, second = ops.split(x, 2, axis=-1)
    return ops.concatenate([layers.Conv2D(2, 5, padding="same")(first), second, x[..., :2]], -1)


@pytest.mark.parametrize(
    ("body", "radius"),
    [
        (lambda lr: conv(3)(layers.ReLU()(conv(3)(lr))), 2),
        (lambda lr: layers.DepthwiseConv2D(7, padding="same")(lr), 3),
        (lambda lr: layers.SeparableConv2D(4, 5, padding="same")(lr), 2),
        (lambda lr: conv(3, dilation_rate=4)(lr), 4),
        (lambda lr: conv(2)(conv(2)(conv(2)(lr))), 3),
        (lambda lr: layers.Dense(8, activation="gelu")(lr) * 0.5 + 1.0, 2),
        (lambda lr: ops.sigmoid(conv(9)(lr)), 4),
        (two_branches, 3),
        (applied_twice, 2),
        (nested, 3),
        (nearest_skip, 3),
        (split_channels, 3),
    ],
)
def test_the_radius_is_what_a_changed_pixel_reaches(body, radius):
    network = network_of(body)
    assert measured_radius(network, 8) == reach_of(network, 2).radius == radius
    assert reach_of(network, 2).alignment == 1


@pytest.mark.parametrize(
    "body",
    [
        lambda lr: layers.Conv2DTranspose(4, 2, strides=2)(conv(4, strides=2)(lr)),
        lambda lr: layers.UpSampling2D(4)(conv(3)(layers.MaxPooling2D(4)(lr))),
        lambda lr: layers.UpSampling2D(2, interpolation="bilinear")(
            layers.AveragePooling2D(2)(conv(3)(lr))
        ),
        lambda lr: layers.UpSampling2D(2)(layers.MaxPooling2D(3, 2, padding="same")(lr)),
    ],
)
def test_with_a_coarser_grid_the_radius_is_not_exceeded(body):
    network = network_of(body)
    assert 0 < measured_radius(network, 18) <= reach_of(network, 2).radius <= 18
    assert reach_of(network, 2).alignment == 8


def test_a_grid_of_more_than_eight_pixels_is_kept():
    def five_times(lr):
        x = conv(3)(lr)
        for _ in range(4):
            x = layers.AveragePooling2D(2)(x)
        return layers.UpSampling2D(16)(x)

    assert reach_of(network_of(five_times), 2).alignment == 16
    thirds = network_of(lambda lr: layers.UpSampling2D(3)(layers.MaxPooling2D(3)(lr)))
    assert reach_of(thirds, 2).alignment == 24


def attention(lr):
    x = conv(3)(lr)
    weights = layers.GlobalAveragePooling2D(keepdims=True)(x)
    return x * layers.Dense(4, activation="sigmoid", name="weights")(weights)


@pytest.mark.parametrize(
    ("body", "layer"),
    [
        (attention, "GlobalAveragePooling2D"),
        (lambda lr: lr * ops.mean(lr, axis=(1, 2), keepdims=True), "Mean"),
        (lambda lr: lr[:, 1:], "GetItem"),
        (lambda lr: ops.concatenate([lr, lr], axis=1), "Concatenate"),
        (lambda lr: layers.Softmax(axis=[1, 2])(lr), "Softmax"),
        (lambda lr: layers.LayerNormalization(axis=[1, 2, 3])(conv(3)(lr)), "LayerNormalization"),
        (lambda lr: layers.GroupNormalization(2)(conv(3)(lr)), "GroupNormalization"),
    ],
)
def test_what_looks_at_the_whole_picture_is_named(body, layer):
    lr = keras.Input((24, 24, 3), name="lr")
    outputs = layers.Conv2D(3, 1, name="sr_x2")(body(lr))
    with pytest.raises(ValueError, match=rf"\({layer}\) looks at the whole picture, or how far"):
        reach_of(keras.Model(lr, {"sr_x2": outputs}), 2)


def test_a_layer_of_ones_own_says_how_far_it_looks():
    class Blur(layers.Layer):
        def call(self, x):
            return ops.average_pool(x, 5, 1, padding="same")

    with pytest.raises(ValueError, match="make it a layer with an attribute `reach`"):
        reach_of(network_of(lambda lr: Blur()(lr)), 2)
    Blur.reach = 2
    network = network_of(lambda lr: conv(3)(Blur()(lr)))
    assert measured_radius(network, 8) == reach_of(network, 2).radius == 3


def test_multiply_adds_of_depthwise_separable_and_dense_layers_are_counted():
    network = network_of(
        lambda lr: layers.Dense(16)(
            layers.SeparableConv2D(8, 3, padding="same")(
                layers.DepthwiseConv2D(5, padding="same")(lr)
            )
        )
    )
    by_hand = 25 * 3 + (9 * 3 + 3 * 8) + 8 * 16 + 16 * 12 + 2 * 5 * 12
    assert multiply_adds_per_pixel(network, 2) == pytest.approx(by_hand / 4)
