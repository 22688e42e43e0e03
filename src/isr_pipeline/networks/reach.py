"""How far a network looks: what a part of a picture needs around it to be done like the whole."""

import math
from fractions import Fraction
from typing import Any, NamedTuple

import keras
from keras import layers

from isr_pipeline.networks import at_scale

_EACH_ALONE = (
    layers.Activation,
    layers.BatchNormalization,
    layers.Dense,
    layers.Dropout,
    layers.ELU,
    layers.GaussianNoise,
    layers.Identity,
    layers.InputLayer,
    layers.LeakyReLU,
    layers.PReLU,
    layers.ReLU,
    layers.Rescaling,
    layers.SpatialDropout2D,
    # several pictures, pixel by pixel
    layers.Add,
    layers.Average,
    layers.Maximum,
    layers.Minimum,
    layers.Multiply,
    layers.Subtract,
)
"""Layers whose pixels see nothing of each other."""

_EACH_ALONE_OPERATIONS = {
    *("Absolute", "Add", "Clip", "Divide", "Exp", "Gelu", "HardSigmoid", "HardSilu"),
    *("LeakyRelu", "Maximum", "Minimum", "Multiply", "Negative", "Power", "Relu", "Relu6"),
    *("Sigmoid", "Silu", "Softplus", "Sqrt", "Square", "Subtract", "Tanh", "TrueDivide"),
}
"""Functions of `keras.ops`, of which a model's graph keeps the class name, that do the same."""

_ALONG_CHANNELS = frozenset({"Concatenate", "Split", "Softmax", "LayerNormalization"})
"""Those that do if their axis is the channels'."""


class _View(NamedTuple):
    """What one value of a tensor has seen.

    Attributes:
        radius: of low-resolution pixels around its own, at most.
        step: low-resolution pixels from one value to the next.
        grid: pixels after which all the steps on the way here fall on a pixel together.
    """

    radius: Fraction = Fraction(0)
    step: Fraction = Fraction(1)
    grid: int = 1


class Reach(NamedTuple):
    """What a part of a picture needs, in low-resolution pixels, to be done like the whole.

    Attributes:
        radius: how many around one the network looks at, at most.
        alignment: parts must begin at multiples of this: 1 where every output pixel is computed
            alike; 8 (or more, if need be) where poolings or strides lay a grid, which must fall as
            it does on the whole picture.
    """

    radius: int
    alignment: int


def reach_of(network: keras.Model, scale: int) -> Reach:
    """Follow a network's graph at a scale, to see how far it looks.

    Layers of Keras are known here; a layer of anybody else's says how far it looks by an attribute
    `reach`, in pixels of its input.

    Raises:
        ValueError: for a layer that looks at the whole picture, or of which it is not known.
    """
    view = _through(at_scale(network, scale), _View())
    return Reach(math.ceil(view.radius), 1 if view.grid == 1 else math.lcm(8, view.grid))


def _through(model: keras.Model, entering: _View) -> _View:
    """What the output of a model has seen whose inputs have seen `entering`."""
    seen: dict[int, tuple[Any, _View]] = {}  # by identity; the tensor is kept, so that it is unique

    def follow(layer: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = layer(*args, **kwargs)
        incoming = [
            seen[id(x)][1] if id(x) in seen else entering
            for x in keras.tree.flatten((args, kwargs))
            if isinstance(x, keras.KerasTensor)
        ]
        view = _beyond(layer, args, _farthest(incoming))
        for output in keras.tree.flatten(outputs):
            seen[id(output)] = (output, view)
        return outputs

    followed = keras.models.clone_model(model, call_function=follow)
    return _farthest([seen[id(x)][1] for x in followed.outputs])


def _farthest(views: list[_View]) -> _View:
    radii, steps, grids = zip(*views, strict=True)
    return _View(max(radii), max(steps), math.lcm(*grids))


def _beyond(layer: Any, args: tuple[Any, ...], view: _View) -> _View:
    """What the values of a layer's output have seen, if those of its input have seen `view`."""
    radius, step, grid = view
    match layer:
        case layers.Conv2DTranspose():
            step /= max(layer.strides)
            radius += (max(layer.kernel_size) - 1) * step
        case layers.Conv2D() | layers.DepthwiseConv2D() | layers.SeparableConv2D():
            width = (max(layer.kernel_size) - 1) * max(layer.dilation_rate)
            stride = max(layer.strides)
            # An even kernel, and with strides any, reaches farther to one side than to the other.
            radius += (width if stride > 1 else math.ceil(width / 2)) * step
            step *= stride
        case layers.MaxPooling2D() | layers.AveragePooling2D():
            radius += (max(layer.pool_size) - 1) * step
            step *= max(layer.strides)
        case layers.UpSampling2D():
            if layer.interpolation == "nearest":
                step /= max(layer.size)
                radius += (max(layer.size) - 1) * step
            else:
                radius += {"bilinear": 1, "bicubic": 2}.get(layer.interpolation, 5) * step
                step /= max(layer.size)
        case keras.Model():
            return _through(layer, view)
        case _ if isinstance(reach := getattr(layer, "reach", None), int | float):
            radius += Fraction(reach) * step
        case _ if type(layer).__name__ == "DepthToSpace":
            step /= layer.block_size
        case _ if type(layer).__name__ == "SpaceToDepth":
            radius += (layer.block_size - 1) * step
            step *= layer.block_size
        case _ if not (_sees_each_alone(layer) or _is_slice_of_channels(layer, args)):
            raise ValueError(
                f"layer '{layer.name}' ({type(layer).__name__}) looks at the whole picture, or how "
                "far it looks is not known, so that pictures could not be done in parts: leave it "
                "out, or make it a layer with an attribute `reach`, in pixels of its input"
            )
    # Steps of 2/3, as after pooling by four what was enlarged by six, fall on every second pixel.
    return _View(radius, step, math.lcm(grid, step.numerator))


def _is_slice_of_channels(layer: Any, args: tuple[Any, ...]) -> bool:
    """Whether it is `x[..., 8:16]`, say."""
    if type(layer).__name__ != "GetItem" or len(args) < 2 or not isinstance(args[1], tuple):
        return False
    *others, last = args[1]
    whole = all(part is Ellipsis or part == slice(None) for part in others)
    return whole and isinstance(last, slice) and (Ellipsis in others or len(others) == 3)


def _sees_each_alone(layer: Any) -> bool:
    if isinstance(layer, _EACH_ALONE):
        return True
    name = type(layer).__name__
    if name in _ALONG_CHANNELS:
        axis = getattr(layer, "axis", None)
        return axis in (-1, 3, [-1], [3])
    return not isinstance(layer, keras.layers.Layer) and name in _EACH_ALONE_OPERATIONS
