"""Layers of our own: registered, so that a saved network loads anywhere with `safe_mode`."""

from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from isr_pipeline.imaging.resampling import keys_cubic

REACH = 2
"""The bicubic kernel reaches this many low-resolution pixels beyond the one it is centred in."""


def bicubic_taps(scale: int) -> NDArray[np.float64]:
    """What each enlarged pixel takes of the small ones around, along one axis.

    Returns:
        `(scale, 2 * REACH + 1)`: for each of the `scale` pixels that one small pixel becomes.
    """
    phases = (np.arange(scale) + 0.5) / scale - 0.5
    offsets = np.arange(-REACH, REACH + 1)
    return keys_cubic(phases[:, None] - offsets[None, :])


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

    def __init__(self, scale: int, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"}, trainable=False)
        self.scale = scale
        taps = bicubic_taps(scale)
        kernel = np.einsum("ya,xb,cd->abcyxd", taps, taps, np.eye(3))
        self.kernel = kernel.reshape(2 * REACH + 1, 2 * REACH + 1, 3, 3 * scale**2).astype(
            "float32"
        )

    def call(self, pictures: Any) -> Any:
        x = pictures
        for axis in (1, 2):
            first, last = (
                (x[:, :REACH], x[:, -REACH:]) if axis == 1 else (x[:, :, :REACH], x[:, :, -REACH:])
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

    def call(self, inputs: Any) -> Any:
        pictures, reference = inputs
        shape = ops.shape(reference)
        return pictures[:, : shape[1], : shape[2]]

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        pictures, reference = input_shape
        return (*reference[:3], pictures[3])
