"""What a network costs: parameters and multiply-adds."""

import math

import keras
import pandas as pd

from isr_pipeline.imaging.resampling import BICUBIC_REACH
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
        Counted are convolutions; additions, activations and resampling by copying are not.
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


def receptive_radius(network: keras.Model, scale: int) -> int:
    """How many low-resolution pixels around one the network looks at, at most.

    Counted along all layers as if they stood in one row, which no path through the network exceeds.
    """
    radius, jump = 0.0, 1.0  # jump: low-resolution pixels from one position to the next
    for layer in at_scale(network, scale).layers:
        if isinstance(layer, keras.layers.Conv2DTranspose):
            jump /= layer.strides[0]
            radius += (layer.kernel_size[0] - 1) * jump
        elif isinstance(layer, keras.layers.Conv2D):
            radius += (layer.kernel_size[0] - 1) * jump / (1 if layer.strides[0] > 1 else 2)
            jump *= layer.strides[0]
        elif isinstance(layer, keras.layers.MaxPooling2D):
            radius += (layer.pool_size[0] - 1) * jump
            jump *= layer.pool_size[0]
        elif isinstance(layer, keras.layers.UpSampling2D):
            jump /= layer.size[0]
            radius += (layer.size[0] - 1) * jump
        elif isinstance(layer, RepConv2D):
            radius += jump
        elif isinstance(layer, BicubicUpsampling):
            radius += BICUBIC_REACH
    return math.ceil(radius)


def alignment(network: keras.Model, scale: int) -> int:
    """Parts of a picture must begin at multiples of this, in low-resolution pixels.

    1 where every output pixel is computed alike; 8 where poolings or strides lay a grid, which
    must fall as it does on the whole picture.
    """
    strided = (
        layer
        for layer in at_scale(network, scale).layers
        if isinstance(layer, keras.layers.MaxPooling2D)
        or (isinstance(layer, keras.layers.Conv2D) and layer.strides[0] > 1)
    )
    return 8 if any(strided) else 1


def _multiply_adds(layer: keras.Operation) -> float:
    if isinstance(layer, keras.layers.Conv2DTranspose):
        return math.prod(layer.input.shape[1:3]) * math.prod(layer.kernel.shape)
    if isinstance(layer, keras.layers.Conv2D):
        return math.prod(layer.output.shape[1:3]) * math.prod(layer.kernel.shape)
    if isinstance(layer, RepConv2D):  # as the one convolution that it is once it is folded
        return math.prod(layer.output.shape[1:3]) * math.prod(layer.square.shape)
    if isinstance(layer, BicubicUpsampling):
        # Counted as the separable filter that it is, 5 taps along each axis.
        return 2 * 5 * math.prod(layer.output.shape[1:])
    return 0.0
