"""A Keras network as a file that runs without Keras: OpenVINO, ONNX, LiteRT.

Every file takes `(batch, height, width, 3)`, float32 in [0, 1], at least 2 pixels high and
wide, and gives the enlarged pictures, not clipped. `compare` says how far a file is from Keras.
"""

import importlib.util
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isr_pipeline.errors import ProjectError
from isr_pipeline.imaging.arrays import FloatPicture, to_unit
from isr_pipeline.imaging.resampling import BICUBIC_REACH, bicubic_phases
from isr_pipeline.inference.engines import (
    FACTS,
    NETWORK,
    NETWORK_SHA256,
    FloatBatch,
    OpenVinoEngine,
    file_sha256,
    import_openvino,
)
from isr_pipeline.networks import import_keras
from isr_pipeline.quiet import quiet
from isr_pipeline.storage.atomic import replace_file

if TYPE_CHECKING:
    import keras

SUFFIXES = {"openvino": ".xml", "onnx": ".onnx", "litert": ".tflite"}
"""File endings by format; an OpenVINO graph has its weights beside it in a `.bin`."""

_NEEDED = {
    "openvino": ("openvino",),
    "onnx": ("onnx", "tf2onnx", "onnxruntime"),
    "litert": ("ai_edge_litert",),
}
_SMALLEST_HALVED = 64  # constants with fewer numbers, such as biases, stay as they are


def check_installed(formats: Sequence[str]) -> None:
    """Raise a ProjectError that names the extra if a format's packages are not there."""
    missing = [
        package
        for name in formats
        for package in _NEEDED[name]
        if importlib.util.find_spec(package) is None
    ]
    if missing:
        raise ProjectError(
            f"exporting needs {', '.join(missing)}: pip install 'isr_pipeline[export]', "
            "or leave formats out of export.formats"
        )


def export_openvino(network: "keras.Model", scale: int, path: Path) -> None:
    """Write a network at one scale as an OpenVINO graph: `path`, `.xml`, and a `.bin` beside it.

    Weights are rounded to half precision. The interpolated picture is made by a transposed
    convolution, which OpenVINO leaves in float32 when it computes the others in bfloat16: their
    part, the correction, is small, and its errors are smaller still. The graph carries its scale,
    receptive radius and alignment, so that it can be tiled without the network. It is bound to the
    `network.keras` beside it, if one lies there: `engines.open_engine` takes it for no other.

    Raises:
        ProjectError: when the network has no output for the scale or OpenVINO is not installed.
    """
    check_installed(["openvino"])
    openvino = import_openvino()
    core = openvino.Core()
    plain = _plain(network, scale)
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw.xml"
        with quiet():
            plain.export(str(raw), format="openvino", verbose=False)
        model = core.read_model(raw)
        _interpolate_precisely(model, scale)
        _halve(model)
        model.outputs[0].tensor.set_names({f"sr_x{scale}"})
        for key, value in _facts(network, scale).items():
            model.set_rt_info(value, [FACTS, key])
        if path.with_name(NETWORK).is_file():
            model.set_rt_info(file_sha256(path.with_name(NETWORK)), [FACTS, NETWORK_SHA256])
        model.validate_nodes_and_infer_types()
        halved = Path(folder) / "halved.xml"
        openvino.save_model(model, halved, compress_to_fp16=False)
        del model  # lets go of the files that it was read from
        for suffix in (".bin", ".xml"):
            with replace_file(path.with_suffix(suffix)) as partial:
                partial.write_bytes(halved.with_suffix(suffix).read_bytes())


def export_onnx(network: "keras.Model", scale: int, path: Path) -> None:
    """Write a network at one scale as an `.onnx` file, with its facts among the properties.

    Raises:
        ProjectError: when the network has no output for the scale or packages are not installed.
    """
    check_installed(["onnx"])
    import onnx

    plain = _plain(network, scale)
    with replace_file(path) as partial, quiet():
        plain.export(str(partial), format="onnx", verbose=False)
        model = onnx.load(partial)
        facts = {f"{FACTS}.{key}": str(value) for key, value in _facts(network, scale).items()}
        onnx.helper.set_model_props(model, facts)
        for dimension, name in zip(
            model.graph.output[0].type.tensor_type.shape.dim,
            ("batch", "enlarged_height", "enlarged_width"),
            strict=False,
        ):
            dimension.dim_param = name
        onnx.save(model, partial)


def export_litert(network: "keras.Model", scale: int, path: Path) -> None:
    """Write a network at one scale as a `.tflite` file of LiteRT's own operations.

    Raises:
        ProjectError: when the network has no output for the scale or packages are not installed.
    """
    check_installed(["litert"])
    from tensorflow import lite

    plain = _with_channels_known(_plain(network, scale))
    with replace_file(path) as partial, quiet():
        plain.export(
            str(partial),
            format="litert",
            verbose=False,
            target_spec={"supported_ops": [lite.OpsSet.TFLITE_BUILTINS]},
        )


EXPORTERS: dict[str, Callable[["keras.Model", int, Path], None]] = {
    "openvino": export_openvino,
    "onnx": export_onnx,
    "litert": export_litert,
}


def check_pictures() -> list[FloatPicture]:
    """A real photograph in two sizes, one of them odd: `(height, width, 3)` in [0, 1]."""
    from skimage import data

    photograph = to_unit(data.astronaut())
    return [photograph[:96, 180:308], photograph[60:121, 200:275]]


def compare(
    network: "keras.Model", scale: int, path: Path, pictures: Sequence[FloatPicture]
) -> dict[str, tuple[float, float]]:
    """How far an exported file is from Keras in float32.

    Args:
        network: what was exported.
        scale: the factor.
        path: the file; its ending says the format.
        pictures: `(height, width, 3)` in [0, 1].

    Returns:
        By what the file is computed in, `float32` and what else OpenVINO would choose here:
        greatest and mean absolute difference over all pictures, in grey levels of 255.
    """
    reference = _plain(network, scale)
    expected = [np.asarray(reference(lr[None]), np.float32) for lr in pictures]
    result = {}
    for precision, run in _runners(path, scale).items():
        differences = [
            np.abs(run(lr[None]) - sr) * 255 for lr, sr in zip(pictures, expected, strict=True)
        ]
        result[precision] = (
            float(max(difference.max() for difference in differences)),
            float(np.mean([difference.mean() for difference in differences])),
        )
    return result


def _runners(path: Path, scale: int) -> dict[str, Callable[[FloatBatch], FloatBatch]]:
    if path.suffix == ".xml":
        exact, usual = OpenVinoEngine(path, scale, "float32"), OpenVinoEngine(path, scale)
        return {usual.precision: usual, exact.precision: exact}
    if path.suffix == ".onnx":
        return {"float32": _onnx_runner(path)}
    return {"float32": _litert_runner(path)}


def _onnx_runner(path: Path) -> Callable[[FloatBatch], FloatBatch]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda lr: session.run(None, {session.get_inputs()[0].name: lr})[0]


def _litert_runner(path: Path) -> Callable[[FloatBatch], FloatBatch]:
    from ai_edge_litert.interpreter import Interpreter

    with quiet():
        interpreter = Interpreter(str(path))
    place, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

    def run(lr: FloatBatch) -> FloatBatch:
        with quiet():
            interpreter.resize_tensor_input(place["index"], lr.shape)
            interpreter.allocate_tensors()
        interpreter.set_tensor(place["index"], np.ascontiguousarray(lr))
        interpreter.invoke()
        return interpreter.get_tensor(result["index"])

    return run


def _plain(network: "keras.Model", scale: int) -> "keras.Model":
    """The network at one scale, folded, in float32, called once as exporting wants it."""
    import_keras()
    import keras

    from isr_pipeline.networks import at_scale, fold, scales_of
    from isr_pipeline.networks.precision import in_float32

    if keras.backend.backend() != "tensorflow":
        raise ProjectError(
            "exporting needs Keras on TensorFlow: run it without KERAS_BACKEND "
            f"(now {keras.backend.backend()})"
        )
    if scale not in scales_of(network):
        raise ProjectError(
            f"the network '{network.name}' enlarges by {scales_of(network)}, not by {scale}"
        )
    plain = at_scale(in_float32(fold(network)), scale)
    plain(np.zeros((1, 16, 16, 3), np.float32))
    return plain


def _with_channels_known(plain: "keras.Model") -> "keras.Model":
    """The same network with nearest-neighbour upsampling done by a pixel shuffle of copies.

    Keras's own repeats pixels by reshaping to a size that is known only when it runs, from which
    the LiteRT converter cannot tell how many channels the next convolution has.
    """
    import keras
    from keras import ops

    def replacement(layer: "keras.Layer") -> "keras.Layer":
        if not isinstance(layer, keras.layers.UpSampling2D):
            return layer
        factor = layer.size[0]
        pictures = keras.Input(layer.input.shape[1:])
        copies = ops.concatenate([pictures] * factor**2, axis=-1)
        return keras.Model(pictures, ops.depth_to_space(copies, factor), name=layer.name)

    if not any(isinstance(layer, keras.layers.UpSampling2D) for layer in plain.layers):
        return plain
    return keras.models.clone_model(plain, clone_function=replacement)


def _facts(network: "keras.Model", scale: int) -> dict[str, int]:
    from isr_pipeline.networks import fold
    from isr_pipeline.networks.reach import reach_of

    return {"scale": scale, **reach_of(fold(network), scale)._asdict()}


def _interpolate_precisely(model: Any, scale: int) -> None:
    """Make a transposed convolution of the one in `BicubicUpsampling`, which sums the same.

    The picture is mirrored at its borders by one operation. Where a correction is added to the
    interpolated picture and both have just been shuffled from channels to pixels, they are added
    before, which saves a shuffle and reads less. A graph without such a layer is left as it is.
    """
    from openvino import opset13 as ops

    length = 2 * BICUBIC_REACH + 1
    shape = [3 * scale**2, 3, length, length]
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Convolution" and list(node.input(1).get_shape()) == shape:
            break
    else:
        return
    taps = bicubic_phases(scale)[:, ::-1]  # (scale, length), one row for each phase
    kernel = np.einsum("py,qx,cd->cpqdyx", taps, taps, np.eye(3)).reshape(3, -1, length, length)
    channels_first = ops.transpose(model.inputs[0].node, np.array([0, 3, 1, 2]))
    reach = np.array([0, 0, BICUBIC_REACH, BICUBIC_REACH])
    mirrored = ops.pad(channels_first, reach, reach, "symmetric")
    interpolated = ops.convolution_backprop_data(
        mirrored, ops.constant(kernel.astype(np.float32)), [1, 1], None, *[[length - 1] * 2] * 2
    )
    interpolated.set_friendly_name("interpolation")
    _replace(node, interpolated)
    _add_before_the_shuffle(interpolated)


def _add_before_the_shuffle(interpolated: Any) -> None:
    """Turn `shuffle(interpolated) + shuffle(other)` into `shuffle(interpolated + other)`."""
    from openvino import opset13 as ops

    node, kinds, before = interpolated, [], []
    for kind in ("DepthToSpace", "Add"):
        users = [user.get_node() for user in node.output(0).get_target_inputs()]
        node = users[0]
        if len(users) > 1 or node.get_type_name() != kind:
            return
    for value in node.input_values():
        shuffle = value.get_node()
        if shuffle.get_type_name() != "DepthToSpace":
            return
        kinds.append(shuffle.get_attributes())
        before.append(shuffle.input_value(0))
    if kinds[0] == kinds[1]:
        _replace(
            node, ops.depth_to_space(ops.add(*before), kinds[0]["mode"], kinds[0]["block_size"])
        )


def _replace(former: Any, node: Any) -> None:
    for user in former.output(0).get_target_inputs():
        user.replace_source_output(node.output(0))


def _halve(model: Any) -> None:
    """Store weights in half precision, all but the interpolation's, whose sum must stay 1."""
    import openvino
    from openvino import opset13 as ops

    for node in model.get_ordered_ops():
        if node.get_type_name() != "Constant" or node.get_element_type() != openvino.Type.f32:
            continue
        consumers = node.output(0).get_target_inputs()
        names = {consumer.get_node().get_friendly_name() for consumer in consumers}
        if node.data.size < _SMALLEST_HALVED or "interpolation" in names:
            continue
        half = ops.constant(node.data.astype(np.float16))
        whole = ops.convert(half, openvino.Type.f32)
        _replace(node, whole)
