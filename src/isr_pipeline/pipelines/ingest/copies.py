"""Photographs that show the same thing: saved again in another format, quality or size.

Copies of one photograph in two splits would let a network be tested on what it has seen. They are
found by thumbnails of 16x16 means, which neither compression nor resizing changes by much: between
different photographs they differ several times as much as is allowed here. Cropped, turned and
recoloured copies are not found.
"""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from isr_pipeline.imaging.arrays import Picture

SIDE = 16
DISTANCE = 2.5
"""Grey levels, root mean square, that thumbnails of copies differ by at most."""
CONTRAST = 0.1
"""The same, as a share of the thumbnail's own standard deviation."""
ASPECT = 0.03
"""Relative difference of their ratios of width to height, at most."""
BLOCK = 1024

Thumbnail = NDArray[np.float32]


def thumbnail(pixels: Picture) -> Thumbnail:
    """Mean grey of each of 16x16 cells of a picture, row by row, in grey levels."""
    small = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return small.mean(axis=2, dtype=np.float32).ravel()


def find_copies(
    thumbnails: Sequence[Thumbnail], sizes: Sequence[tuple[int, int]]
) -> dict[int, int]:
    """Which photographs are copies of which.

    Args:
        thumbnails: see `thumbnail`.
        sizes: width and height of each photograph.

    Returns:
        For each copy the photograph that it is a copy of: of those that show the same, the one with
        the most pixels, or the first of several.
    """
    neighbours: dict[int, list[int]] = {}
    for one, other in _alike(thumbnails, sizes):
        neighbours.setdefault(one, []).append(other)
        neighbours.setdefault(other, []).append(one)
    copies: dict[int, int] = {}
    for number in sorted(neighbours, key=lambda n: (-sizes[n][0] * sizes[n][1], n)):
        originals = [other for other in sorted(neighbours[number]) if other not in copies]
        for other in originals if number not in copies else ():
            copies[other] = number
    return copies


def _alike(
    thumbnails: Sequence[Thumbnail], sizes: Sequence[tuple[int, int]]
) -> Iterator[tuple[int, int]]:
    """Pairs of photographs whose thumbnails are close."""
    if not thumbnails:
        return
    means = np.array([values.mean() for values in thumbnails])
    order = np.argsort(means, kind="stable")  # those with distant means need not be compared
    values = np.stack([thumbnails[n] for n in order]).astype(np.float64) - 128
    means, contrast, squares = means[order], values.std(axis=1), (values**2).sum(axis=1)
    aspect = np.array([sizes[n][0] / sizes[n][1] for n in order])
    for first in range(0, len(order), BLOCK):
        block = slice(first, first + BLOCK)
        last = int(np.searchsorted(means, means[block][-1] + DISTANCE, side="right"))
        others = slice(first, last)
        square = squares[block, None] + squares[others] - 2 * values[block] @ values[others].T
        distance = np.sqrt(np.maximum(square, 0) / SIDE**2)
        limit = np.minimum(DISTANCE, CONTRAST * np.minimum(contrast[block, None], contrast[others]))
        close = (distance <= limit) & (np.abs(aspect[block, None] / aspect[others] - 1) <= ASPECT)
        for row, column in np.argwhere(np.triu(close, 1)):
            yield int(order[first + row]), int(order[first + column])
