"""Pictures of any size through an engine, in windows whose seams nobody can find.

A window sees `halo` pixels beyond the part that is kept of it, as far as the network looks, and
ends where the picture ends: every kept sample is computed from exactly the numbers that the whole
picture would give it. Convolutions sum in an order that does not depend on the window's size, so
the result is equal bit for bit. Of Keras with TensorFlow this holds where that computes with
oneDNN, on processors with AVX-512; on others sums are rounded otherwise, by 1e-6 of the brightest.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

SMALLEST_SIDE = 8
"""Pictures with a shorter side are mirrored out to it: bicubic skips and poolings need some."""
LARGEST_WINDOW = 544
"""Windows do not grow beyond this side: more memory would make nothing faster."""
SMALLEST_PART = 32
"""Of a window's side that is kept, at least this much: less would be nearly all halo."""

FloatArray = NDArray[np.float32]
Array = NDArray[Any]


class Reach(Protocol):
    """What tiling has to know of what it tiles.

    Attributes:
        scale: the integer factor.
        halo: how many low-resolution pixels around one are looked at, at most; a multiple of
            `alignment`.
        alignment: windows begin at multiples of this.
    """

    @property
    def scale(self) -> int: ...
    @property
    def halo(self) -> int: ...
    @property
    def alignment(self) -> int: ...


class Enlarger(Reach, Protocol):
    """What enlarges a window: an engine, see `isr_pipeline.inference.engines.Engine`."""

    def __call__(self, lr: FloatArray) -> FloatArray:
        """`(batch, height, width, 3)` in [0, 1] to `(batch, s * height, s * width, 3)`."""
        ...


@dataclass(frozen=True)
class Span:
    """One window along an axis, in low-resolution pixels.

    Attributes:
        first: where the window begins.
        last: where it ends, exclusive.
        start: where the part that is kept begins.
        stop: where it ends, exclusive.
    """

    first: int
    last: int
    start: int
    stop: int


def spans(length: int, window: int, halo: int, alignment: int = 1) -> list[Span]:
    """Cut an axis into windows of nearly equal length that overlap by two halos.

    Args:
        length: of the axis.
        window: the longest window, at least `2 * halo + alignment`.
        halo: see `Reach`.
        alignment: see `Reach`.

    Returns:
        Spans whose kept parts are the whole axis, in order.
    """
    if length <= window:
        return [Span(0, length, 0, length)]
    kept = (window - 2 * halo) // alignment * alignment
    # The first and the last window have a halo on one side only.
    count = -(-(length - 2 * halo) // kept)
    kept = multiple(-(-(length - 2 * halo) // count), alignment)
    cuts = [0, *(halo + n * kept for n in range(1, count)), length]
    return [
        Span(max(start - halo, 0), min(stop + halo, length), start, stop)
        for start, stop in pairwise(cuts)
    ]


def multiple(value: int, alignment: int) -> int:
    """The next multiple of `alignment`."""
    return -(-value // alignment) * alignment


def smallest_window(halo: int, alignment: int) -> int:
    """Side of the smallest square window that keeps enough of itself."""
    return 2 * halo + multiple(SMALLEST_PART, alignment)


def largest_window(halo: int, alignment: int) -> int:
    """Side of the largest square window that makes anything faster."""
    return max(LARGEST_WINDOW, 2 * smallest_window(halo, alignment))


def window_for(budget: int, halo: int, alignment: int, bytes_a_pixel: float) -> int:
    """The longest side of a square window whose work fits into a memory budget.

    Args:
        budget: bytes.
        halo: see `Reach`.
        alignment: see `Reach`.
        bytes_a_pixel: what a low-resolution pixel of a window takes.

    Returns:
        At most `largest_window`; 0 if nothing fits.
    """
    affordable = int((max(budget, 0) / bytes_a_pixel) ** 0.5)
    side = min(affordable, largest_window(halo, alignment))
    return side if side >= smallest_window(halo, alignment) else 0


def longest_side(across: int, window: int) -> int:
    """How long windows may be along one axis of a picture that measures `across` on the other.

    Where a picture is narrower than a square window of side `window`, they are longer than it, so
    that their area is no more.
    """
    return window**2 // min(across, window)


def bands(
    work: Callable[[int, int, int, int], Array],
    size: tuple[int, int],
    window: int,
    reach: Reach,
) -> Iterator[Array]:
    """Do a picture in windows, and give the rows of the result from top to bottom.

    Args:
        work: `(top, bottom, left, right)` of a window to its result, `(scale * (bottom - top),
            scale * (right - left), channel)`.
        size: height and width of the low-resolution picture.
        window: side of a square window, see `longest_side`.
        reach: of the work.

    Yields:
        `(rows, scale * width, channel)`.
    """
    scale, halo, alignment = reach.scale, reach.halo, reach.alignment
    height, width = size
    wide = longest_side(height, window)
    for row in spans(height, longest_side(width, window), halo, alignment):
        band = None
        for column in spans(width, wide, halo, alignment):
            result = work(row.first, row.last, column.first, column.last)
            if band is None:
                shape = ((row.stop - row.start) * scale, width * scale, result.shape[2])
                band = np.empty(shape, result.dtype)
            band[:, column.start * scale : column.stop * scale] = result[
                (row.start - row.first) * scale : (row.stop - row.first) * scale,
                (column.start - column.first) * scale : (column.stop - column.first) * scale,
            ]
        assert band is not None
        yield band


def mirrored_out(picture: Array, alignment: int) -> Array:
    """A picture with its sides mirrored out to what networks need; cut the result to size."""
    wanted = max(SMALLEST_SIDE, alignment)
    missing = [max(wanted - length, 0) for length in picture.shape[:2]]
    if not any(missing):
        return picture
    return np.pad(picture, [(0, missing[0]), (0, missing[1]), (0, 0)], mode="symmetric")
