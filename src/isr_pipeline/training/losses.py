"""Losses and metrics, in `keras.ops` alone. Pixels in [0, 1]."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

LUMA_WEIGHTS = (0.299, 0.587, 0.114)


@keras.saving.register_keras_serializable(package="isr_pipeline")
def charbonnier(hr: Any, sr: Any, epsilon: float = 1e-3) -> Any:
    """Charbonnier loss, a smooth L1 (Charbonnier et al. 1994; Lai et al. 2017, LapSRN)."""
    hr = ops.cast(hr, sr.dtype)
    return ops.mean(ops.sqrt(ops.square(hr - sr) + epsilon**2), axis=-1)


@keras.saving.register_keras_serializable(package="isr_pipeline")
def luma_absolute_error(hr: Any, sr: Any) -> Any:
    """Mean absolute error of which nine tenths are luma's (ITU-R BT.601) and one tenth RGB's.

    The eye sees detail in luma, and the field scores luma alone. In RGB a third of the gradient
    comes from blue, which both weigh least.
    """
    error = sr - ops.cast(hr, sr.dtype)
    luma = ops.sum(error * ops.convert_to_tensor(LUMA_WEIGHTS, dtype=error.dtype), axis=-1)
    return 0.9 * ops.abs(luma) + 0.1 * ops.mean(ops.abs(error), axis=-1)


def fourier(hr: Any, sr: Any) -> Any:
    """Mean modulus of the difference's orthonormal 2-D spectrum, a number for the whole batch.

    Small errors of fine detail, which the eye misses and L1 hardly weighs, stand beside the large
    ones of smooth regions (Cho et al. 2021, MIMO-UNet; used by SAFMN and its like).
    """
    error = ops.transpose(ops.cast(sr, "float32") - ops.cast(hr, "float32"), (0, 3, 1, 2))
    real, imaginary = ops.fft2((error, ops.zeros_like(error)))
    # Below the root, so that the gradient exists where the difference vanishes.
    modulus = ops.sqrt(ops.square(real) + ops.square(imaginary) + 1e-12)
    pixels = ops.cast(ops.shape(error)[2] * ops.shape(error)[3], "float32")
    return ops.mean(modulus) / ops.sqrt(pixels)


def choose_loss(name: str, fourier_weight: float) -> str | Callable[[Any, Any], Any]:
    """The loss to compile a model with: one of `LOSSES`, plus `fourier` times its weight."""
    pixel_loss = LOSSES[name]
    if fourier_weight == 0:
        return pixel_loss
    pixel = keras.losses.get(pixel_loss)

    def loss(hr: Any, sr: Any) -> Any:
        return ops.mean(pixel(hr, sr)) + fourier_weight * fourier(hr, sr)

    return loss


@keras.saving.register_keras_serializable(package="isr_pipeline")
def psnr(hr: Any, sr: Any) -> Any:
    """PSNR in dB of each tile of a batch, `(batch,)`; values clipped to [0, 1], not rounded.

    A tile without error counts as 100 dB. For training's progress only: scores that are reported
    come from `quality.protocol`.
    """
    sr = ops.clip(ops.cast(sr, "float32"), 0.0, 1.0)
    error = ops.mean(ops.square(ops.cast(hr, "float32") - sr), axis=(1, 2, 3))
    return -10.0 * ops.log(ops.maximum(error, 1e-10)) / ops.log(10.0)


LOSSES = {
    "mean_absolute_error": "mean_absolute_error",
    "mean_squared_error": "mean_squared_error",
    "charbonnier": charbonnier,
    "luma_absolute_error": luma_absolute_error,
}
METRICS = {"psnr": psnr, "accuracy": "categorical_accuracy"}
