"""What a network computes in, and the same network in float32."""

from typing import Any

import keras

TRAINED = "mixed_bfloat16"
"""The policy of layers that keep float32 weights and compute in bfloat16."""


def precision_of(network: keras.Model) -> str:
    """`bfloat16` when any convolution computes in it, else `float32`."""
    computed = {
        layer.compute_dtype for layer in network.layers if isinstance(layer, keras.layers.Layer)
    }
    return "bfloat16" if "bfloat16" in computed else "float32"


def in_float32(network: keras.Model) -> keras.Model:
    """The network with the same weights, every layer computing in float32."""
    if precision_of(network) == "float32":
        return network
    plain = network.__class__.from_config(_without_mixing(network.get_config()))
    plain.set_weights(network.get_weights())
    return plain


def _without_mixing(config: Any) -> Any:
    """A configuration with every mixed policy replaced."""
    if isinstance(config, dict):
        return {key: _without_mixing(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return type(config)(_without_mixing(value) for value in config)
    return "float32" if config == TRAINED else config
