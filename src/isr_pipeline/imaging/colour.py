"""Colour transforms."""

import numpy as np
from numpy.typing import NDArray


def luma(rgb: NDArray[np.generic]) -> NDArray[np.float64]:
    """Studio-range luma Y of ITU-R BT.601, as MATLAB's `rgb2ycbcr` gives it, not rounded.

    Args:
        rgb: `(..., 3)`, grey levels in [0, 255].

    Returns:
        `(...)`, float64 in [16, 235].
    """
    weights = np.array([65.481, 128.553, 24.966]) / 255
    return np.asarray(rgb, np.float64) @ weights + 16
