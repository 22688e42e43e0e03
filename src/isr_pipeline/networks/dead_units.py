"""Units that have died: channels that a ReLU never lets through."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from isr_pipeline.networks.layers import RepConv2D

CLIPPED = (layers.Conv2D, layers.Conv2DTranspose, layers.Dense, layers.Activation, RepConv2D)
"""Layers that end in an activation of their own."""


def dead_units(network: keras.Model, batches: Iterable[Any]) -> dict[str, tuple[int, int]]:
    """Count the channels behind each ReLU that are zero in every pixel of every picture.

    No gradient reaches them any more: a training that goes on does not revive them ("dying ReLU",
    Lu et al. 2020). A few are usual; a layer of them computes nothing.

    Args:
        network: with the input `lr`.
        batches: of pictures such as the network is for, `(batch, height, width, 3)` in [0, 1].

    Returns:
        Dead channels and all channels of every layer that has dead ones, by its name.
    """
    clipped = [layer for layer in network.layers if _ends_in_relu(layer)]
    if not clipped:
        return {}
    outputs = {layer.name: ops.amax(layer.output, axis=(0, 1, 2)) for layer in clipped}
    model = keras.Model(network.inputs[0], outputs)
    lives = {name: np.zeros(output.shape, bool) for name, output in outputs.items()}
    for pictures in batches:
        for name, largest in model(pictures).items():
            lives[name] |= ops.convert_to_numpy(largest > 0)
    dead = {name: (int(np.count_nonzero(~alive)), len(alive)) for name, alive in lives.items()}
    return {name: counts for name, counts in dead.items() if counts[0]}


def _ends_in_relu(layer: keras.Layer) -> bool:
    if isinstance(layer, layers.ReLU):
        return not layer.negative_slope
    if not isinstance(layer, CLIPPED):
        return False
    return keras.activations.get(layer.activation) is keras.activations.relu
