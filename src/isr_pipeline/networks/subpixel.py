"""The network with the best quality for its cost: plain convolutions and a pixel shuffle."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from isr_pipeline.networks import (
    SUBPIXEL_ACTIVATIONS,
    SUBPIXEL_SIZES,
    check_scales,
    output_name,
)
from isr_pipeline.networks.layers import BicubicUpsampling, RepConv2D


def subpixel(
    scales: Sequence[int], size: str, branches: bool, activation: str = "relu"
) -> keras.Model:
    """Residual 3x3 convolutions on the small picture, a pixel shuffle, an interpolation skip.

    Blocks are those of EDSR (Lim et al. 2017) without scaling: no normalisation, no attention, no
    pooling, nothing that looks at the whole picture, so that it can be done exactly in tiles. A
    last convolution makes the `scale**2` sub-pixels of every pixel (Shi et al. 2016, ESPCN), which
    are added to the interpolated input. It starts at zero, and so does every block's residual
    (Zhang et al. 2019, Fixup): a fresh network is bicubic interpolation, and no block's noise
    disturbs the others before it has learned something. Branches start at random in the blocks:
    all at zero, they learn slowly with Adam.

    Args:
        scales: the integer factor of the output; one, because all of the capacity is for it.
        size: one of `networks.SUBPIXEL_SIZES`.
        branches: train every convolution as parallel branches; `networks.fold` makes them one.
        activation: inside the blocks, one of `networks.SUBPIXEL_ACTIVATIONS`. Units of `relu` can
            die (`networks.dead_units`), in a long training of `medium` whole blocks of them; those
            of `leaky_relu` cannot, but Adam loses its way with them at high learning rates.

    Returns:
        A model from `lr`, `(batch, height, width, 3)` in [0, 1], to a dictionary of `sr_x<scale>`.

    Raises:
        ValueError: for more than one scale, one that does not enlarge, an unknown size or
            activation.
    """
    check_scales("subpixel", scales)
    (scale,) = scales
    if size not in SUBPIXEL_SIZES:
        raise ValueError(f"unknown size '{size}': choose one of {', '.join(SUBPIXEL_SIZES)}")
    if activation not in SUBPIXEL_ACTIVATIONS:
        known = ", ".join(SUBPIXEL_ACTIVATIONS)
        raise ValueError(f"unknown activation '{activation}': choose one of {known}")
    features, blocks = SUBPIXEL_SIZES[size]

    def conv(filters: int, name: str, zero: bool = False, activation: str | None = None) -> Any:
        if branches:
            return RepConv2D(filters, activation=activation, zero=zero, name=name)
        initial = "zeros" if zero else "glorot_uniform"
        return layers.Conv2D(
            filters,
            3,
            padding="same",
            activation=activation,
            kernel_initializer=initial,
            name=name,
        )

    lr = keras.Input((None, None, 3), name="lr")
    x = conv(features, "first")(lr)
    for number in range(1, blocks + 1):
        residual = conv(features, f"block{number}_a", activation=activation)(x)
        residual = conv(features, f"block{number}_b", zero=not branches)(residual)
        x = layers.Add(name=f"block{number}")([x, residual])
    # The scale is in the name: a network of another scale takes over every layer but this one.
    residual = ops.depth_to_space(conv(3 * scale**2, f"subpixels_x{scale}", zero=True)(x), scale)
    interpolated = BicubicUpsampling(scale, name=f"bicubic_x{scale}")(lr)
    name = output_name(scale)
    output = layers.Add(name=name, dtype="float32")([interpolated, residual])
    return keras.Model(lr, {name: output}, name="subpixel")


def activation_of(network: keras.Model) -> str | None:
    """The activation in the blocks of a `subpixel` network, also a loaded one; None for others."""
    layer = next((layer for layer in network.layers if layer.name == "block1_a"), None)
    if layer is None:
        return None
    return str(keras.activations.serialize(keras.activations.get(layer.activation)))
