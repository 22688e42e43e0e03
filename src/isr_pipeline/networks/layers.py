"""Layers of our own: registered, so that a saved network loads anywhere with `safe_mode`."""

from typing import Any

import keras
import numpy as np
from keras import ops

from isr_pipeline.imaging.resampling import BICUBIC_REACH, bicubic_phases


@keras.saving.register_keras_serializable(package="isr_pipeline")
class BicubicUpsampling(keras.layers.Layer):
    """Enlarge by an integer factor with bicubic interpolation: `imaging.resize_bicubic`, in ops.

    A fixed convolution makes all `scale**2` phases at once, a pixel shuffle lays them out. The
    picture is mirrored at its borders, as MATLAB's `imresize` does. Always computes in float32.

    Args:
        scale: the integer factor, at least 1.

    Input `(batch, height, width, 3)`, height and width at least 2; output
    `(batch, scale * height, scale * width, 3)`.
    """

    reach = BICUBIC_REACH

    def __init__(self, scale: int, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"}, trainable=False)
        self.scale = scale
        taps = bicubic_phases(scale)
        kernel = np.einsum("ya,xb,cd->abcyxd", taps, taps, np.eye(3))
        length = 2 * BICUBIC_REACH + 1
        self.kernel = kernel.reshape(length, length, 3, 3 * scale**2).astype("float32")

    def call(self, pictures: Any) -> Any:
        x, reach = pictures, BICUBIC_REACH
        for axis in (1, 2):
            first, last = (
                (x[:, :reach], x[:, -reach:]) if axis == 1 else (x[:, :, :reach], x[:, :, -reach:])
            )
            x = ops.concatenate([ops.flip(first, axis), x, ops.flip(last, axis)], axis)
        x = ops.conv(x, ops.convert_to_tensor(self.kernel), padding="valid")
        return ops.depth_to_space(x, self.scale) if self.scale > 1 else x

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        batch, height, width, channels = input_shape
        return (
            batch,
            None if height is None else height * self.scale,
            None if width is None else width * self.scale,
            channels,
        )

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.pop("trainable", None)
        config.pop("dtype", None)
        return {**config, "scale": self.scale}


@keras.saving.register_keras_serializable(package="isr_pipeline")
class CropToMatch(keras.layers.Layer):
    """Cut the bottom and right of the first input to the size of the second.

    Poolings round odd sizes up; after upsampling this brings them back to the skip's size.
    """

    reach = 0

    def call(self, inputs: Any) -> Any:
        pictures, reference = inputs
        shape = ops.shape(reference)
        return pictures[:, : shape[1], : shape[2]]

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        pictures, reference = input_shape
        return (*reference[:3], pictures[3])


@keras.saving.register_keras_serializable(package="isr_pipeline")
class RepConv2D(keras.layers.Layer):
    """A 3x3 convolution trained as three parallel branches, folded into one kernel.

    The branches are a 3x3 convolution, a 1x1 convolution and a 1x1 convolution that widens,
    followed by a 3x3 one (Ding et al. 2021, RepVGG and DBB; Zhang et al. 2021, ECBSR). They are
    linear and without bias in between, so that their sum is one 3x3 convolution. The kernels are
    summed, not the branches' outputs (Hu et al. 2022, OREPA): training costs hardly more than the
    plain convolution, and what is trained is exactly what is folded.

    Args:
        filters: output channels.
        expansion: channels of the widened branch, as a multiple of `filters`.
        activation: name of the activation, or None.
        zero: start with all-zero output, as a residual branch's last convolution does.

    Input `(batch, height, width, channels)`, output `(batch, height, width, filters)`; zero padded.
    """

    reach = 1

    def __init__(
        self,
        filters: int,
        expansion: int = 2,
        activation: str | None = None,
        zero: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.expansion = expansion
        self.activation = activation
        self.zero = zero

    def build(self, input_shape: tuple[Any, ...]) -> None:
        channels, wide = input_shape[-1], self.expansion * self.filters
        initial = "zeros" if self.zero else "glorot_uniform"

        def weight(name: str, shape: tuple[int, ...], initializer: Any) -> Any:
            # Summed in float32 whatever the layer computes in: see `kernel`.
            return self.add_weight(
                shape=shape, initializer=initializer, name=name, autocast=False, dtype="float32"
            )

        self.square = weight("square", (3, 3, channels, self.filters), initial)
        self.point = weight("point", (1, 1, channels, self.filters), "zeros")
        self.widen = weight("widen", (1, 1, channels, wide), "glorot_uniform")
        small = keras.initializers.VarianceScaling(0.1, "fan_in")
        self.reduce = weight("reduce", (3, 3, wide, self.filters), "zeros" if self.zero else small)
        self.bias = weight("bias", (self.filters,), "zeros")

    def kernel(self) -> Any:
        """The one kernel that the branches amount to, `(3, 3, channels, filters)`, float32."""
        point = ops.pad(ops.convert_to_tensor(self.point), ((1, 1), (1, 1), (0, 0), (0, 0)))
        wide = ops.einsum("ie,yxeo->yxio", ops.convert_to_tensor(self.widen)[0, 0], self.reduce)
        return ops.convert_to_tensor(self.square) + point + wide

    def call(self, pictures: Any) -> Any:
        dtype = pictures.dtype
        x = ops.conv(pictures, ops.cast(self.kernel(), dtype), padding="same")
        x = x + ops.cast(self.bias, dtype)
        return x if self.activation is None else keras.activations.get(self.activation)(x)

    def folded(self) -> keras.layers.Conv2D:
        """The plain convolution that computes the same; its weights are set once it is built."""
        return keras.layers.Conv2D(
            self.filters, 3, padding="same", activation=self.activation, name=self.name
        )

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "expansion": self.expansion,
            "activation": self.activation,
            "zero": self.zero,
        }
