"""Iterative back-projection: make an enlarged picture reduce to the picture it came from.

Irani and Peleg 1991, "Improving resolution by image registration": what the reduced result lacks
of the input is enlarged and added to it, a few times. Reduction is the linear part of the
degradation: antialiased bicubic, or the data set's bilinear without antialiasing.

All sums run in an order that does not depend on a picture's size, so that parts of a picture give
the same numbers as the whole.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from isr_pipeline.imaging.resampling import BICUBIC_REACH, bicubic_phases, keys_cubic

ITERATIONS = 3
REACH = 4
"""Low-resolution pixels that one iteration looks around: 2 to reduce and 2 to enlarge."""

FloatArray = NDArray[np.float32]
Taps = tuple[tuple[int, float], ...]


def back_project(enlarged: FloatArray, low_res: FloatArray, degradation: str) -> FloatArray:
    """Correct an enlarged picture.

    Args:
        enlarged: `(scale * height, scale * width, channel)`, nominally in [0, 1].
        low_res: `(height, width, channel)` in [0, 1].
        degradation: what the low-resolution picture is taken to be made with; `unsplash` reduces
            bilinearly, all others antialiased bicubic.

    Returns:
        As `enlarged`, in [0, 1].
    """
    scale = enlarged.shape[0] // low_res.shape[0]
    down = _bilinear(scale) if degradation == "unsplash" else _antialiased(scale)
    result = np.clip(enlarged, 0, 1)
    for _ in range(ITERATIONS):
        reduced = _reduce(_reduce(result, down, scale, 0), down, scale, 1)
        difference = low_res - reduced
        result += _enlarge(_enlarge(difference, scale, 0), scale, 1)
        np.clip(result, 0, 1, out=result)
    return result


@lru_cache
def _antialiased(scale: int) -> Taps:
    """Offsets from a block's first sample, and weights, of the bicubic kernel widened to it."""
    centre = (scale - 1) / 2
    offsets = np.arange(-2 * scale, 3 * scale)
    weights = keys_cubic((offsets - centre) / scale)
    return _taps(offsets, weights)


@lru_cache
def _bilinear(scale: int) -> Taps:
    """The one or two samples in a block's middle."""
    middle = [(scale - 1) // 2, scale // 2]
    return _taps(np.unique(middle), np.ones(len(set(middle))))


@lru_cache
def _phases(scale: int) -> tuple[Taps, ...]:
    """For each sample of a block, offsets in pixels from the block's and weights."""
    offsets = np.arange(-BICUBIC_REACH, BICUBIC_REACH + 1)
    return tuple(_taps(offsets, weights) for weights in bicubic_phases(scale))


def _taps(offsets: NDArray[np.int64], weights: NDArray[np.float64]) -> Taps:
    weights = weights / weights.sum()
    return tuple(
        (int(o), float(w)) for o, w in zip(offsets, weights, strict=True) if abs(w) > 1e-12
    )


def _mirrored(values: FloatArray, margin: int, axis: int) -> FloatArray:
    padding = [(margin, margin) if n == axis else (0, 0) for n in range(values.ndim)]
    return np.pad(values, padding, mode="symmetric")


def _along(axis: int, part: slice) -> tuple[slice, ...]:
    return (slice(None),) * axis + (part,)


def _reduce(values: FloatArray, taps: Taps, scale: int, axis: int) -> FloatArray:
    length, margin = values.shape[axis], 2 * scale
    source = _mirrored(values, margin, axis)
    return sum(
        source[_along(axis, slice(margin + offset, margin + offset + length, scale))]
        * np.float32(weight)
        for offset, weight in taps
    )  # type: ignore[return-value]


def _enlarge(values: FloatArray, scale: int, axis: int) -> FloatArray:
    length, margin = values.shape[axis], BICUBIC_REACH
    source = _mirrored(values, margin, axis)
    shape = [n * scale if a == axis else n for a, n in enumerate(values.shape)]
    result = np.empty(shape, np.float32)
    for phase, taps in enumerate(_phases(scale)):
        result[_along(axis, slice(phase, None, scale))] = sum(
            source[_along(axis, slice(margin + offset, margin + offset + length))]
            * np.float32(weight)
            for offset, weight in taps
        )
    return result
