"""The networks: every one takes small pictures and gives one output for each scale.

A network is a functional Keras model with the input `lr`, `(batch, height, width, 3)` in [0, 1],
and outputs `sr_x2`, `sr_x4`, ... of `scale` times its height and width, nominally in [0, 1] and
not clipped. All scales share one trunk.

Nothing here is imported before it is needed: Keras takes seconds to load.
"""

import importlib.util
import logging
import os
import sys
import zipfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isr_pipeline.errors import ProjectError
from isr_pipeline.quiet import quiet

if TYPE_CHECKING:
    import keras

Network = Any
"""A `keras.Model`. Kedro resolves the annotations of node functions when it validates parameters,
and Keras must not be imported for that."""

BACKENDS = ("tensorflow", "jax", "torch")
"""That Keras can train with."""

NETWORKS = ("autoencoder", "report_autoencoder", "subpixel")

SUBPIXEL_SIZES = {"tiny": (16, 4), "small": (32, 6), "medium": (48, 9)}
"""Features and residual blocks of `subpixel`."""

SUBPIXEL_ACTIVATIONS = ("relu", "leaky_relu")
"""Of the blocks of `subpixel`; Keras' leaky one passes a fifth of what is negative."""


def import_keras() -> None:
    """Import Keras and its backend without the backend's start-up messages.

    TensorFlow's C++ libraries write them before they read their own log level. What is written
    while the import fails is shown.

    Raises:
        ProjectError: when the backend that was asked for is not there.
    """
    logging.getLogger("tensorflow").addFilter(_is_no_advice_on_tracing)
    if "keras" in sys.modules:
        return
    check_backend()
    with quiet():
        import keras  # noqa: F401


def _is_no_advice_on_tracing(record: logging.LogRecord) -> bool:
    """TensorFlow warns of its own traces when the fifth network of a process is first called."""
    return "triggered tf.function retracing" not in str(record.msg)


def check_backend() -> None:
    """See that the backend which KERAS_BACKEND names is installed; it is not imported.

    Raises:
        ProjectError: when it is not, or there is none of that name.
    """
    backend = os.environ.get("KERAS_BACKEND")
    if not backend:
        return
    if backend not in BACKENDS:
        raise ProjectError(f"KERAS_BACKEND={backend}: there are {', '.join(BACKENDS)}")
    if importlib.util.find_spec(backend) is None:
        raise ProjectError(
            f"KERAS_BACKEND={backend} is not installed: pip install 'isr_pipeline[{backend}]'"
        )


def load_keras_file(path: str | Path) -> "keras.Model":
    """Load a network from a `.keras` file without executing anything in it (`safe_mode`).

    Raises:
        ProjectError: when the file is not there, damaged, or holds no network of ours.
    """
    path = Path(path)
    if not path.is_file():
        raise ProjectError(f"there is no network {path}")
    if not zipfile.is_zipfile(path):  # Keras would say that there is no file
        raise ProjectError(f"{path} is damaged, or no .keras file: write or fetch it again")
    import_keras()
    import keras

    import isr_pipeline.networks.layers  # noqa: F401  registers the layers

    try:
        network = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever zip, JSON, HDF5 and its layers do
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        raise ProjectError(f"{path} cannot be loaded as a network: {reason}") from error
    if not scales_of(network):
        raise ProjectError(
            f"{path} is no network of this project: it has no output such as {output_name(2)}"
        )
    return network


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
    if name == "subpixel":
        from isr_pipeline.networks.subpixel import subpixel

        return subpixel(scales, **sizes)
    raise ValueError(f"unknown network '{name}': choose one of {', '.join(NETWORKS)}")


def check_scales(name: str, scales: Collection[int]) -> None:
    """See whether a network can be built for factors.

    Args:
        name: one of `NETWORKS`.
        scales: as of `build_network`.

    Raises:
        ValueError: when it cannot, with what to do.
    """
    if name == "subpixel" and len(scales) != 1:
        raise ValueError(
            f"subpixel is made for one scale, not for {sorted(scales)}: set pair.scales to one, "
            "or take the autoencoder"
        )
    if name == "subpixel" and min(scales) < 2:
        raise ValueError(
            "subpixel enlarges, and pixelated pictures are as large as their originals: set "
            "pair.low_res to small, or take the report_autoencoder"
        )


def output_name(scale: int) -> str:
    """Name of the output at a scale."""
    return f"sr_x{scale}"


def check_network(network: "keras.Model", scales: Sequence[int]) -> None:
    """See that a network keeps what this module promises of all of them.

    Raises:
        ValueError: when an output is missing, is not made by a layer of its name (which saved
            networks are known by), or has another size than `scale` times the picture's; and for
            what `reach.reach_of` refuses.
    """
    import keras

    from isr_pipeline.networks.reach import reach_of

    outputs = network.output if isinstance(network.output, dict) else {}
    layers = {layer.name: layer for layer in network.layers}
    for name in map(output_name, scales):
        if name not in outputs or name not in layers or layers[name].output is not outputs[name]:
            raise ValueError(
                f"'{network.name}' must give a dictionary with '{name}', the output of a layer of "
                "that name"
            )
    height, width = 11, 13
    try:
        given = network(keras.Input((height, width, 3), batch_size=1))
    except ValueError as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"'{network.name}' cannot enlarge a picture of {width}x{height}: {reason}"
        ) from None
    for scale in scales:
        shape = tuple(given[output_name(scale)].shape)
        if shape != (1, height * scale, width * scale, 3):
            raise ValueError(
                f"'{network.name}' makes {shape[2]}x{shape[1]} with {shape[3]} channels at "
                f"x{scale} of {width}x{height}, not {width * scale}x{height * scale} with 3"
            )
        reach_of(network, scale)


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


def fold(network: "keras.Model") -> "keras.Model":
    """The network with every branched convolution folded into a plain one.

    Computes the same up to rounding, with fewer parameters and no layer of our own in its place.
    A network without branches is returned as it is.
    """
    import keras

    from isr_pipeline.networks.layers import RepConv2D

    branched = [layer for layer in network.layers if isinstance(layer, RepConv2D)]
    if not branched:
        return network

    def plain(layer: "keras.Layer") -> "keras.Layer":
        if isinstance(layer, RepConv2D):
            return layer.folded()
        return layer.__class__.from_config(layer.get_config())

    folded = keras.models.clone_model(network, clone_function=plain)
    for layer in network.layers:
        if isinstance(layer, RepConv2D):
            kernel = keras.ops.convert_to_numpy(layer.kernel())
            folded.get_layer(layer.name).set_weights(
                [kernel, keras.ops.convert_to_numpy(layer.bias)]
            )
        else:
            folded.get_layer(layer.name).set_weights(layer.get_weights())
    return folded


def _by_lasting_name(network: "keras.Model") -> dict[tuple[str, int, int], "keras.Layer"]:
    """The layers with weights by a name that is the same in every process.

    Returns:
        By name without Keras' counter (`conv2d`), place among those of that name, and how many
        they are.
    """
    counted: dict[str, list[tuple[int, keras.Layer]]] = {}
    for layer in network.layers:
        if layer.weights:
            kind, _, count = layer.name.rpartition("_")
            name, number = (kind, int(count)) if count.isdigit() else (layer.name, 0)
            counted.setdefault(name, []).append((number, layer))
    return {
        (name, place, len(layers)): layer
        for name, layers in counted.items()
        for place, (_, layer) in enumerate(sorted(layers, key=lambda item: item[0]))
    }


def warm_start(network: "keras.Model", trained: "keras.Model") -> list[str]:
    """Take over the weights of every layer that has the same name and shapes.

    Layers that Keras has named, `conv2d_7`, are the same if they are the same in number and order:
    its counter goes on from network to network in a process. The trained network may be folded
    while `network` has branches: its kernel then becomes the 3x3 branch, and the others begin at
    nothing.

    Returns:
        Names of the layers that were taken over.

    Raises:
        ValueError: when there is none.
    """
    import keras
    import numpy as np

    from isr_pipeline.networks.layers import RepConv2D

    taken = []
    sources = _by_lasting_name(trained)
    for name, layer in _by_lasting_name(network).items():
        source = sources.get(name)
        if source is None:
            continue
        weights = source.get_weights()
        if isinstance(layer, RepConv2D) and not isinstance(source, RepConv2D):
            kernel, bias = weights
            own = {w.name: keras.ops.convert_to_numpy(w) for w in layer.weights}
            own |= {"square": kernel, "bias": bias}
            own |= {name: np.zeros_like(own[name]) for name in ("point", "reduce")}
            weights = list(own.values())
        if [weight.shape for weight in weights] == [weight.shape for weight in layer.get_weights()]:
            layer.set_weights(weights)
            taken.append(layer.name)
    if not taken:
        raise ValueError(f"'{network.name}' has no layer in common with '{trained.name}'")
    return taken
