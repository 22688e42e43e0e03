"""The one place where pictures change between uint8 and float."""

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""An RGB picture at rest: `(height, width, 3)`, uint8."""

FloatPicture = NDArray[np.float32]
"""A picture in arithmetic: `(height, width, 3)`, float32; the docstring says the range."""


def to_uint8(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Clip to [0, 255], round half to even and cast.

    Args:
        values: grey levels of any shape, nominally in [0, 255].
    """
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def to_unit(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Grey levels 0..255 to float32 in [0, 1], the range inside networks."""
    return picture.astype(np.float32) / np.float32(255)


def from_unit(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """A network's output (nominally [0, 1]) to uint8: clipped, rounded, cast."""
    return to_uint8(np.asarray(values, np.float32) * np.float32(255))
