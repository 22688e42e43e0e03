"""What a network costs: parameters and multiply-adds."""

import math

import keras
import pandas as pd

from isr_pipeline.networks import at_scale
from isr_pipeline.networks.layers import BicubicUpsampling, RepConv2D


def describe_layers(network: keras.Model, scale: int, side: int = 96) -> pd.DataFrame:
    """Table of a network's layers at one scale.

    Args:
        network: with an output for the scale.
        scale: the factor.
        side: of the square low-resolution picture that the multiply-adds are counted on; even,
            so that poolings divide it.

    Returns:
        `layer`, `type`, `output` (shape for that picture), `parameters`, and
        `multiply_adds_per_pixel`: multiply-adds for each *output* pixel of the network.
        Counted are convolutions and dense layers; additions, activations and resampling by copying
        are not.
    """
    lr = keras.Input((side, side, 3), name="lr")
    fixed = keras.models.clone_model(at_scale(network, scale), input_tensors=lr)
    rows = []
    for layer in fixed.operations:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        shape = tuple(layer.output.shape[1:])
        rows.append(
            {
                "layer": layer.name,
                "type": type(layer).__name__,
                "output": "x".join(str(length) for length in shape),
                "parameters": layer.count_params() if isinstance(layer, keras.layers.Layer) else 0,
                "multiply_adds_per_pixel": _multiply_adds(layer) / (side * scale) ** 2,
            }
        )
    return pd.DataFrame(rows)


def multiply_adds_per_pixel(network: keras.Model, scale: int) -> float:
    """Multiply-adds for each output pixel at a scale, borders left aside."""
    return float(describe_layers(network, scale)["multiply_adds_per_pixel"].sum())


def _multiply_adds(layer: keras.Operation) -> float:
    if isinstance(layer, keras.layers.Conv2DTranspose):
        return math.prod(layer.input.shape[1:3]) * math.prod(layer.kernel.shape)
    if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D | keras.layers.Dense):
        return math.prod(layer.output.shape[1:3]) * math.prod(layer.kernel.shape)
    if isinstance(layer, keras.layers.SeparableConv2D):
        kernels = math.prod(layer.depthwise_kernel.shape) + math.prod(layer.pointwise_kernel.shape)
        return math.prod(layer.output.shape[1:3]) * kernels
    if isinstance(layer, RepConv2D):  # as the one convolution that it is once it is folded
        return math.prod(layer.output.shape[1:3]) * math.prod(layer.square.shape)
    if isinstance(layer, BicubicUpsampling):
        # Counted as the separable filter that it is, 5 taps along each axis.
        return 2 * 5 * math.prod(layer.output.shape[1:])
    return 0.0
