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
"""How far away what changes a sample can be: two steps look at a neighbourhood each."""
LARGEST = 48 / 255
"""No sample is changed by more in the first step."""
NOTICED = 0.25 / 255
"""The second step leaves a lack below this as it is."""

FloatArray = NDArray[np.float32]


def hold_mean(enlarged: FloatArray, low_res: FloatArray) -> FloatArray:
    """Bring the mean over each neighbourhood of 9x9 low-resolution pixels back to the input's.

    First what is lacking is added to the samples that have room for it, the same to all of them.
    Where that was cut off again, as in text and dithers, a tone curve then moves the samples
    between black and white, `v + c * 4 v (1 - v)` with `|c|` at most 1/4, where it is still
    monotone: edges shift a little, black and white stay what they are.

    Args:
        enlarged: `(scale * height, scale * width, channel)`, not clipped.
        low_res: `(height, width, channel)` in [0, 1].

    Returns:
        As `enlarged`, in [0, 1]. The whole picture's mean is the input's within 0.5 grey levels on
        photographs, text, line art and dithers; on lone pixels of white on black within 1.3.
    """
    scale = enlarged.shape[0] // low_res.shape[0]
    result = np.asarray(np.clip(enlarged, 0, 1), np.float32)
    lacking = _neighbourhood(low_res - _blocks(result, scale))
    # Samples that are full take no more: the others get their share too.
    bright, dark = (_neighbourhood(_blocks(full, scale)) for full in (result >= 1, result <= 0))
    room = np.maximum(1 - np.where(lacking > 0, bright, dark), np.float32(1 / 16))
    _add(result, np.clip(lacking / room, -LARGEST, LARGEST), scale)
    np.clip(result, 0, 1, out=result)

    lacking = _neighbourhood(low_res - _blocks(result, scale))
    noticed = np.abs(lacking) > NOTICED
    if noticed.any():  # where it is not, the step is exactly nothing
        between = 4 * result * (1 - result)
        room = np.maximum(_neighbourhood(_blocks(between, scale)), np.float32(1e-3))
        _add(result, np.where(noticed, np.clip(lacking / room, -0.25, 0.25), 0), scale, between)
        np.clip(result, 0, 1, out=result)
    return result


def _add(
    result: FloatArray, change: FloatArray, scale: int, weights: FloatArray | None = None
) -> None:
    """Add a change for each low-resolution pixel to its samples, in place."""
    for row in range(scale):
        for column in range(scale):
            part = (slice(row, None, scale), slice(column, None, scale))
            result[part] += change if weights is None else change * weights[part]


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
