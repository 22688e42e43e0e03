"""Super-resolving whole pictures with a Keras network."""

from typing import TYPE_CHECKING

import numpy as np

from isr_pipeline.imaging.arrays import FloatPicture, Picture, from_unit, to_unit
from isr_pipeline.imaging.resampling import resize_bicubic
from isr_pipeline.networks import at_scale

if TYPE_CHECKING:
    import keras

ALIGNMENT = 8
"""Parts begin at multiples of this, so that poolings fall as they do on the whole picture."""


class Predictor:
    """A network at one scale, applied to pictures of any size.

    Args:
        network: with an output for the scale.
        scale: the integer factor.
        part: side in low-resolution pixels above which a picture is done in parts, so that memory
            stays bounded; a multiple of `ALIGNMENT`.
    """

    def __init__(self, network: "keras.Model", scale: int, part: int = 512) -> None:
        self.scale = scale
        self.part = part
        from isr_pipeline.networks.cost import receptive_radius

        self._model = at_scale(network, scale)
        # What a part sees around it reaches as far as the network looks: parts and whole agree.
        self.halo = -(-receptive_radius(network, scale) // ALIGNMENT) * ALIGNMENT

    def __call__(self, low_res: Picture, size: tuple[int, int] | None = None) -> Picture:
        """Super-resolve a picture.

        Args:
            low_res: `(height, width, 3)`, uint8 RGB.
            size: height and width of the result, if not exactly `scale` times the input's: where
                the original was no multiple of the scale, the result is brought to its size.

        Returns:
            `(scale * height, scale * width, 3)` or of `size`, uint8.
        """
        result = self.predict(to_unit(low_res))
        if size is not None and size != result.shape[:2]:
            result = resize_bicubic(result, *size)
        return from_unit(result)

    def predict(self, low_res: FloatPicture) -> FloatPicture:
        """Super-resolve `(height, width, 3)` in [0, 1]; the result is not clipped."""
        height, width = low_res.shape[:2]
        if max(height, width) <= self.part + 2 * self.halo:
            return self._run(low_res)
        result = np.empty((height * self.scale, width * self.scale, 3), np.float32)
        for top in range(0, height, self.part):
            for left in range(0, width, self.part):
                bottom, right = min(top + self.part, height), min(left + self.part, width)
                first_row, first_column = max(top - self.halo, 0), max(left - self.halo, 0)
                part = self._run(
                    low_res[first_row : bottom + self.halo, first_column : right + self.halo]
                )
                rows = slice((top - first_row) * self.scale, (bottom - first_row) * self.scale)
                columns = slice(
                    (left - first_column) * self.scale, (right - first_column) * self.scale
                )
                result[
                    top * self.scale : bottom * self.scale, left * self.scale : right * self.scale
                ] = part[rows, columns]
        return result

    def _run(self, low_res: FloatPicture) -> FloatPicture:
        return np.asarray(self._model.predict_on_batch(low_res[None])[0], np.float32)
