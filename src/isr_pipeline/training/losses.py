"""Losses and metrics, in `keras.ops` alone. Pixels in [0, 1]."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="isr_pipeline")
def charbonnier(hr: Any, sr: Any, epsilon: float = 1e-3) -> Any:
    """Charbonnier loss, a smooth L1 (Charbonnier et al. 1994; Lai et al. 2017, LapSRN)."""
    hr = ops.cast(hr, sr.dtype)
    return ops.mean(ops.sqrt(ops.square(hr - sr) + epsilon**2), axis=-1)


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
}
METRICS = {"psnr": psnr, "accuracy": "categorical_accuracy"}
