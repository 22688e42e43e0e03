"""The geometric self-ensemble."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
_ROWS, _COLUMNS = -3, -2


def self_ensemble(
    super_resolve: Callable[[FloatArray], FloatArray], low_res: FloatArray
) -> FloatArray:
    """Mean of the results for the eight flips and quarter turns of a picture, each turned back.

    Timofte, Rothe & Van Gool 2016, "Seven ways to improve example-based single image super
    resolution"; the literature marks it with a plus (EDSR+). It costs eight times as much.

    Args:
        super_resolve: from `(..., height, width, 3)` to `(..., scale * height, scale * width, 3)`.
        low_res: `(..., height, width, 3)` in [0, 1]: a picture or a batch of them.

    Returns:
        `(..., scale * height, scale * width, 3)`, not clipped.
    """
    total: FloatArray | None = None
    for turns in range(4):
        for flipped in (False, True):
            view = np.flip(low_res, _COLUMNS) if flipped else low_res
            view = np.rot90(view, turns, (_ROWS, _COLUMNS))
            result = super_resolve(np.ascontiguousarray(view))
            result = np.rot90(result, -turns, (_ROWS, _COLUMNS))
            result = np.flip(result, _COLUMNS) if flipped else result
            total = result.copy() if total is None else total + result
    assert total is not None
    return total / np.float32(8)
