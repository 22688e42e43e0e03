"""Holding an enlarged picture's colour to that of the picture it came from.

Networks sharpen, and what a sharpened edge overshoots white or black by is cut off: the picture
becomes darker or lighter than it was, most of all where it is full of such edges, as text is. And
networks have small tints of their own. Both are seen in the mean over a neighbourhood, which
enlarging must not change, and are taken out there.

All sums run in an order that does not depend on a picture's size, so that parts of a picture give
the same numbers as the whole.
"""

import numpy as np
from numpy.typing import NDArray

RADIUS = 4
"""Low-resolution pixels around one over which the mean is held."""
REACH = 2 * RADIUS
"""How far away what changes a sample can be: neighbours have neighbourhoods of their own."""
LARGEST = 24 / 255
"""No sample is changed by more."""

FloatArray = NDArray[np.float32]


def hold_mean(enlarged: FloatArray, low_res: FloatArray) -> FloatArray:
    """Bring the mean over each neighbourhood of 9x9 low-resolution pixels back to the input's.

    What is lacking is added to the samples that have room for it, the same to all of them.

    Args:
        enlarged: `(scale * height, scale * width, channel)`, not clipped.
        low_res: `(height, width, channel)` in [0, 1].

    Returns:
        As `enlarged`, in [0, 1]. On photographs the mean is the input's within 0.3 grey
        levels; where nearly all samples are black or white, as in dithers, there may be no
        room for what is lacking.
    """
    scale = enlarged.shape[0] // low_res.shape[0]
    result = np.asarray(np.clip(enlarged, 0, 1), np.float32)
    lacking = _neighbourhood(low_res - _blocks(result, scale))
    # Samples that are full take no more: the others get their share too.
    full = np.where(lacking > 0, _blocks(result >= 1, scale), _blocks(result <= 0, scale))
    room = np.maximum(1 - _neighbourhood(full), np.float32(1 / 16))
    change = np.clip(lacking / room, -LARGEST, LARGEST)
    for row in range(scale):
        for column in range(scale):
            result[row::scale, column::scale] += change
    np.clip(result, 0, 1, out=result)
    return result


def _blocks(values: NDArray[np.generic], scale: int) -> FloatArray:
    """Mean of each low-resolution pixel's samples."""
    total = np.zeros(
        (values.shape[0] // scale, values.shape[1] // scale, values.shape[2]), np.float32
    )
    for row in range(scale):
        for column in range(scale):
            total += values[row::scale, column::scale]
    total /= scale**2
    return total


def _neighbourhood(values: FloatArray) -> FloatArray:
    """Mean over `2 * RADIUS + 1` pixels along both axes, the picture mirrored at its borders."""
    for axis in (0, 1):
        length = values.shape[axis]
        padding = [(RADIUS, RADIUS) if n == axis else (0, 0) for n in range(values.ndim)]
        values = np.pad(values, padding, mode="symmetric")
        pairs = _shifted_sum(values, 1, axis)
        fours = _shifted_sum(pairs, 2, axis)
        eights = _shifted_sum(fours, 4, axis)
        part = [slice(None)] * values.ndim
        part[axis] = slice(0, length)
        last = list(part)
        last[axis] = slice(2 * RADIUS, 2 * RADIUS + length)
        values = (eights[tuple(part)] + values[tuple(last)]) / np.float32(2 * RADIUS + 1)
    return values


def _shifted_sum(values: FloatArray, shift: int, axis: int) -> FloatArray:
    first, second = [slice(None)] * values.ndim, [slice(None)] * values.ndim
    first[axis], second[axis] = slice(0, values.shape[axis] - shift), slice(shift, None)
    return values[tuple(first)] + values[tuple(second)]
