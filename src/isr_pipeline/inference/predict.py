"""Super-resolving the whole pictures of an evaluation with a Keras network."""

from typing import TYPE_CHECKING

import numpy as np

from isr_pipeline.imaging.arrays import FloatPicture, Picture, from_unit, to_unit
from isr_pipeline.imaging.resampling import resize_bicubic
from isr_pipeline.inference.engines import open_engine
from isr_pipeline.inference.tiling import LARGEST_WINDOW, bands, multiple

if TYPE_CHECKING:
    import keras


class Predictor:
    """A network at one scale, applied to pictures of any size in windows: memory is bounded.

    Args:
        network: with an output for the scale.
        scale: the integer factor.
        window: side in low-resolution pixels above which a picture is done in windows.
    """

    def __init__(self, network: "keras.Model", scale: int, window: int = LARGEST_WINDOW) -> None:
        self.scale = scale
        self._engine = open_engine(network, scale, "keras")
        halo, alignment = self._engine.halo, self._engine.alignment
        self._window = max(window, multiple(4 * halo, alignment))

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

        def work(top: int, bottom: int, left: int, right: int) -> FloatPicture:
            return self._engine(low_res[None, top:bottom, left:right])[0]

        size = (low_res.shape[0], low_res.shape[1])
        return np.concatenate(list(bands(work, size, self._window, self._engine)))
