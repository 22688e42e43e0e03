"""The default network: the report's idea, done right."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from isr_pipeline.networks import output_name
from isr_pipeline.networks.layers import BicubicUpsampling, CropToMatch


def autoencoder(
    scales: Sequence[int],
    features: int,
    bottleneck_features: int,
    blocks: int,
    bottleneck_blocks: int,
) -> keras.Model:
    """A convolutional encoder and decoder with skip additions, one trunk for every scale.

    As in the report, the picture is encoded, halved, encoded again, enlarged and decoded, and
    what was before the halving is added. Unlike there, all of it happens on the *small* picture;
    blocks are residual without normalisation (Lim et al. 2017, EDSR); each scale has one
    convolution and a pixel shuffle (Shi et al. 2016, ESPCN) whose result is added to the
    interpolated input (Kim et al. 2016, VDSR). These last convolutions start at zero, so that a
    fresh network is exactly bicubic interpolation, and the output is linear: it cannot die.

    Args:
        scales: integer factors of the outputs.
        features: channels at the small picture's size.
        bottleneck_features: channels at half that size.
        blocks: residual blocks in the encoder, and as many in the decoder.
        bottleneck_blocks: residual blocks at half size.

    Returns:
        A model from `lr`, `(batch, height, width, 3)` in [0, 1], to a dictionary of `sr_x<scale>`.
    """
    lr = keras.Input((None, None, 3), name="lr")

    x = skip = _encode(_conv(features)(lr), features, blocks)
    x = layers.Conv2D(bottleneck_features, 2, strides=2, padding="same", name="halve")(x)
    for _ in range(bottleneck_blocks):
        x = _residual_block(x, bottleneck_features)
    x = layers.Conv2DTranspose(features, 2, strides=2, padding="same", name="double")(x)
    x = layers.Add(name="skip")([CropToMatch()([x, skip]), skip])
    x = _encode(x, features, blocks)

    outputs = {}
    for scale in scales:
        residual = _conv(3 * scale**2, kernel_initializer="zeros", name=f"subpixels_x{scale}")(x)
        if scale > 1:
            residual = ops.depth_to_space(residual, scale)
        interpolated = BicubicUpsampling(scale, name=f"bicubic_x{scale}")(lr)
        name = output_name(scale)
        outputs[name] = layers.Add(name=name, dtype="float32")([interpolated, residual])
    return keras.Model(lr, outputs, name="autoencoder")


def _conv(filters: int, **kwargs: Any) -> layers.Conv2D:
    return layers.Conv2D(filters, 3, padding="same", **kwargs)


def _residual_block(x: Any, features: int) -> Any:
    residual = _conv(features)(_conv(features, activation="relu")(x))
    return layers.Add()([x, residual])


def _encode(x: Any, features: int, blocks: int) -> Any:
    for _ in range(blocks):
        x = _residual_block(x, features)
    return x
