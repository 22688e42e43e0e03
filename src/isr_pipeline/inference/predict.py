"""Super-resolving the whole pictures of an evaluation with a Keras network."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isr_pipeline.imaging.arrays import FloatPicture, Picture, from_unit, to_unit
from isr_pipeline.imaging.resampling import resize_bicubic
from isr_pipeline.inference.engines import open_engine
from isr_pipeline.inference.tiling import LARGEST_WINDOW, bands, multiple

if TYPE_CHECKING:
    import keras


class Predictor:
    """A network at one scale, applied to pictures of any size in windows.

    A result takes 3 bytes a pixel while it is made; 48 if it is brought to another size.

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
        exact = (low_res.shape[0] * self.scale, low_res.shape[1] * self.scale)
        if size is None or size == exact:
            return np.concatenate([from_unit(band) for band in self._bands(low_res)])
        return from_unit(resize_bicubic(self.predict(low_res), *size))

    def predict(self, low_res: NDArray[Any]) -> FloatPicture:
        """Super-resolve `(height, width, 3)`, uint8 or in [0, 1]; the result is not clipped."""
        return np.concatenate(list(self._bands(low_res)))

    def _bands(self, low_res: NDArray[Any]) -> Iterator[FloatPicture]:
        """The result's rows from top to bottom."""

        def work(top: int, bottom: int, left: int, right: int) -> FloatPicture:
            part = low_res[None, top:bottom, left:right]
            return self._engine(to_unit(part) if part.dtype == np.uint8 else part)[0]

        return bands(work, (low_res.shape[0], low_res.shape[1]), self._window, self._engine)
