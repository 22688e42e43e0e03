"""Holding an enlarged picture's colour to that of the picture it came from.

Networks sharpen, and what a sharpened edge overshoots white or black by is cut off: the picture
becomes darker or lighter than it was, most of all where it is full of such edges, as text is. And
networks have small tints of their own. Both are seen in the mean over a neighbourhood, which
enlarging must not change, and are taken out there.

All sums run in an order that does not depend on a picture's size, so that parts of a picture give
the same numbers as the whole. This is also how it is done: in strips, each small enough for the
processor's cache and all of its cores at once, with every colour and every one of the samples that
a low-resolution pixel became in a plane of its own.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from isr_pipeline.inference.tiling import Span, spans
from isr_pipeline.machine import available_cores

RADIUS = 4
"""Low-resolution pixels around one over which the mean is held."""
REACH = 2 * RADIUS
"""How far away what changes a sample can be: two steps look at a neighbourhood each."""
LARGEST = 48 / 255
"""No sample is changed by more in the first step."""
NOTICED = 0.25 / 255
"""The second step leaves a lack below this as it is."""
STRIP = 112
"""Low-resolution rows of a strip."""

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
    result = np.empty(enlarged.shape, np.float32)
    low_planes = low_res.transpose(2, 0, 1)

    def strip(span: Span) -> None:
        rows = slice(scale * span.first, scale * span.last)
        samples = [np.clip(plane, 0, 1) for plane in _planes(enlarged[rows], scale)]
        _hold(samples, np.ascontiguousarray(low_planes[:, span.first : span.last]))
        rows = slice(scale * span.start, scale * span.stop)
        for target, plane in zip(_planes(result[rows], scale), samples, strict=True):
            target[...] = plane[:, span.start - span.first : span.stop - span.first]

    strips = spans(low_res.shape[0], STRIP, REACH)
    if len(strips) == 1:
        strip(strips[0])
    else:
        with ThreadPoolExecutor(min(available_cores(), len(strips))) as pool:
            list(pool.map(strip, strips))
    return result


def _planes(picture: FloatArray, scale: int) -> list[FloatArray]:
    """Views of one sample of each low-resolution pixel, `(channel, height, width)`; all of them."""
    channels_first = picture.transpose(2, 0, 1)
    return [
        channels_first[:, row::scale, column::scale]
        for row in range(scale)
        for column in range(scale)
    ]


def _hold(samples: list[FloatArray], low_res: FloatArray) -> None:
    """See `hold_mean`.

    Args:
        samples: `(channel, height, width)` in [0, 1], of each pixel's samples; changed in place.
        low_res: the same shape.
    """
    lacking = _neighbourhood(low_res - _mean(samples))
    # Samples that are full take no more: the others get their share too.
    bright = _share(plane >= 1 for plane in samples)
    dark = _share(plane <= 0 for plane in samples)
    room = np.maximum(1 - np.where(lacking > 0, bright, dark), np.float32(1 / 16))
    change = np.clip(lacking / room, -LARGEST, LARGEST)
    for plane in samples:
        plane += change
        np.clip(plane, 0, 1, out=plane)

    lacking = _neighbourhood(low_res - _mean(samples))
    noticed = np.abs(lacking) > NOTICED
    if noticed.any():  # where it is not, the step is exactly nothing
        between = _mean(4 * plane * (1 - plane) for plane in samples)
        room = np.maximum(_neighbourhood(between), np.float32(1e-3))
        change = np.where(noticed, np.clip(lacking / room, -0.25, 0.25), np.float32(0))
        for plane in samples:
            plane += change * (4 * plane * (1 - plane))
            np.clip(plane, 0, 1, out=plane)


def _mean(samples: Iterable[FloatArray | NDArray[np.bool_]]) -> FloatArray:
    """Mean of each low-resolution pixel's samples."""
    planes, count = iter(samples), 1
    total = next(planes).astype(np.float32)
    for plane in planes:
        total += plane
        count += 1
    total /= count
    return total


def _share(chosen: Iterable[NDArray[np.bool_]]) -> FloatArray:
    """Which share of the samples in a neighbourhood is chosen."""
    share = _mean(chosen)
    return _neighbourhood(share) if share.any() else share


def _neighbourhood(values: FloatArray) -> FloatArray:
    """Mean over 9x9 pixels of `(channel, height, width)`, the picture mirrored at its borders."""
    for axis in (1, 2):
        length = values.shape[axis]
        padding = [(RADIUS, RADIUS) if n == axis else (0, 0) for n in range(3)]
        values = np.pad(values, padding, mode="symmetric")
        pairs = _shifted_sum(values, 1, axis)
        fours = _shifted_sum(pairs, 2, axis)
        eights = _shifted_sum(fours, 4, axis)
        part = [slice(None)] * 3
        part[axis] = slice(0, length)
        last = list(part)
        last[axis] = slice(2 * RADIUS, 2 * RADIUS + length)
        values = (eights[tuple(part)] + values[tuple(last)]) / np.float32(2 * RADIUS + 1)
    return values


def _shifted_sum(values: FloatArray, shift: int, axis: int) -> FloatArray:
    first, second = [slice(None)] * 3, [slice(None)] * 3
    first[axis], second[axis] = slice(0, values.shape[axis] - shift), slice(shift, None)
    return values[tuple(first)] + values[tuple(second)]
