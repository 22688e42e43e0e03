"""The networks: every one takes small pictures and gives one output for each scale.

A network is a functional Keras model with the input `lr`, `(batch, height, width, 3)` in [0, 1],
and outputs `sr_x2`, `sr_x4`, ... of `scale` times its height and width, nominally in [0, 1] and
not clipped. All scales share one trunk.

Nothing here is imported before it is needed: Keras takes seconds to load.
"""

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

Network = Any
"""A `keras.Model`. Kedro resolves the annotations of node functions when it validates parameters,
and Keras must not be imported for that."""

NETWORKS = ("autoencoder", "report_autoencoder")


def import_keras() -> None:
    """Import Keras and its backend without the backend's start-up messages.

    TensorFlow's C++ libraries write them before they read their own log level. What is written
    while the import fails is shown.
    """
    if "keras" in sys.modules:
        return
    kept = os.dup(2)
    with tempfile.TemporaryFile() as chatter:
        os.dup2(chatter.fileno(), 2)
        try:
            import keras  # noqa: F401
        except BaseException:
            os.dup2(kept, 2)
            chatter.seek(0)
            sys.stderr.write(chatter.read().decode(errors="replace"))
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def load_keras_file(path: Path) -> "keras.Model":
    """Load a network from a `.keras` file without executing anything in it (`safe_mode`)."""
    import_keras()
    import keras

    import isr_pipeline.networks.layers  # noqa: F401  registers the layers

    return keras.models.load_model(path, compile=False, safe_mode=True)


def build_network(name: str, scales: Sequence[int], **sizes: Any) -> "keras.Model":
    """Build a network with fresh weights.

    Args:
        name: one of `NETWORKS`.
        scales: integer factors of the outputs; 1 keeps the size (the report's pixelated input).
        sizes: the network's own arguments.

    Raises:
        ValueError: for an unknown name.
    """
    if name == "autoencoder":
        from isr_pipeline.networks.autoencoder import autoencoder

        return autoencoder(scales, **sizes)
    if name == "report_autoencoder":
        from isr_pipeline.networks.report_autoencoder import report_autoencoder

        return report_autoencoder(scales, **sizes)
    raise ValueError(f"unknown network '{name}': choose one of {', '.join(NETWORKS)}")


def output_name(scale: int) -> str:
    """Name of the output at a scale."""
    return f"sr_x{scale}"


def scales_of(network: "keras.Model") -> list[int]:
    """The scales that a network, also a loaded one, has outputs for."""
    names = [layer.name for layer in network.layers]
    return sorted(int(name[4:]) for name in names if name.startswith("sr_x") and name[4:].isdigit())


def at_scale(network: "keras.Model", scale: int) -> "keras.Model":
    """The part of a network that makes one scale; the weights are shared, not copied.

    Raises:
        ValueError: when the network was not built for the scale.
    """
    import keras

    if scale not in scales_of(network):
        raise ValueError(
            f"the network '{network.name}' has no output for scale {scale}, "
            f"only {scales_of(network)}"
        )
    output = network.get_layer(output_name(scale)).output
    return keras.Model(network.inputs[0], output, name=f"{network.name}_x{scale}")
