"""Photographs that show the same thing: saved again in another format, quality or size.

Copies of one photograph in two splits would let a network be tested on what it has seen. They are
looked for by the means of 16x16 cells, which neither compression nor resizing changes by much, and
confirmed by the details of 64x64 cells: pages of text, grain and the like may be equal in the one
and are not in the other. Cropped, turned and recoloured copies are not found, nor those of pictures
without details.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from isr_pipeline.imaging.arrays import Picture

COARSE, FINE = 16, 64
"""Cells a side."""
DISTANCE = 2.5
"""Grey levels, root mean square, by which the coarse means of copies differ at most."""
CONTRAST = 0.1
"""The same, as a share of their own standard deviation."""
CORRELATION = 0.93
"""Of how the fine means differ from those around them, at least."""
FAINTEST = 0.3
"""Grey levels, root mean square, of those differences: fainter ones tell nothing apart."""
COLOUR = 8
"""As `DISTANCE`, of the coarse means of each colour, which compression changes by more."""
ASPECT = 0.03
"""Relative difference of their ratios of width to height, at most."""
BLOCK = 1024


@dataclass(frozen=True)
class Thumbnail:
    """What is kept of a photograph to find its copies by.

    Attributes:
        size: its width and height.
        coarse: `(256, 3)` means of 16x16 cells of each colour, in grey levels.
        fine: `(64, 64)` means of the grey, in grey levels.
    """

    size: tuple[int, int]
    coarse: NDArray[np.float32]
    fine: NDArray[np.float16]

    @classmethod
    def of(cls, pixels: Picture) -> "Thumbnail":
        """That of `(height, width, 3)`, uint8."""
        size = (pixels.shape[1], pixels.shape[0])
        # In two steps: the first, which sees all pixels, takes no memory for fractions of levels.
        some = tuple(min(side, 8 * FINE) for side in size)
        cells = cv2.resize(pixels, some, interpolation=cv2.INTER_AREA).astype(np.float32)
        cells = cv2.resize(cells, (FINE, FINE), interpolation=cv2.INTER_AREA)
        side = FINE // COARSE
        coarse = cells.reshape(COARSE, side, COARSE, side, 3).mean(axis=(1, 3))
        return cls(size, coarse.reshape(-1, 3), cells.mean(axis=2).astype(np.float16))

    @property
    def pixels(self) -> int:
        """How many the photograph has."""
        return self.size[0] * self.size[1]

    def shows_the_same(self, other: "Thumbnail") -> bool:
        """Whether colours and details agree, of two whose coarse means of grey do."""
        if float(((self.coarse - other.coarse) ** 2).mean()) > COLOUR**2:
            return False
        one, two = self._detail(), other._detail()
        strengths = float(np.sqrt((one**2).mean())), float(np.sqrt((two**2).mean()))
        if min(strengths) < FAINTEST:
            return False
        return float((one * two).mean()) / (strengths[0] * strengths[1]) >= CORRELATION

    def _detail(self) -> NDArray[np.float32]:
        fine = self.fine.astype(np.float32)
        return fine - cv2.blur(fine, (3, 3))


def find_copies(thumbnails: Sequence[Thumbnail], first: Sequence[bool]) -> dict[int, int]:
    """Which photographs are copies of which.

    Args:
        thumbnails: of the photographs.
        first: which of them go before others that show the same, whatever their size.

    Returns:
        For each copy the photograph that it is a copy of: of those that show the same, the one with
        the most pixels, or the first of several.
    """
    neighbours: dict[int, list[int]] = {}
    for one, other in _alike(thumbnails):
        if thumbnails[one].shows_the_same(thumbnails[other]):
            neighbours.setdefault(one, []).append(other)
            neighbours.setdefault(other, []).append(one)
    copies: dict[int, int] = {}
    for number in sorted(neighbours, key=lambda n: (not first[n], -thumbnails[n].pixels, n)):
        if number not in copies:
            copies |= {other: number for other in neighbours[number] if other not in copies}
    return copies


def _alike(thumbnails: Sequence[Thumbnail]) -> Iterator[tuple[int, int]]:
    """Pairs of photographs whose coarse means are close."""
    if not thumbnails:
        return
    coarse = np.stack([t.coarse.mean(axis=1, dtype=np.float64) for t in thumbnails])
    order = np.argsort(coarse.mean(axis=1), kind="stable")  # distant means need not be compared
    coarse = coarse[order]
    means, contrast = coarse.mean(axis=1), coarse.std(axis=1)
    squares = (coarse**2).sum(axis=1)
    aspect = np.array([thumbnails[n].size[0] / thumbnails[n].size[1] for n in order])
    for start in range(0, len(order), BLOCK):
        block = slice(start, start + BLOCK)
        last = int(np.searchsorted(means, means[block][-1] + DISTANCE, side="right"))
        others = slice(start, last)
        square = squares[block, None] + squares[others] - 2 * coarse[block] @ coarse[others].T
        distance = np.sqrt(np.maximum(square, 0) / coarse.shape[1])
        limit = np.minimum(DISTANCE, CONTRAST * np.minimum(contrast[block, None], contrast[others]))
        close = (distance <= limit) & (np.abs(aspect[block, None] / aspect[others] - 1) <= ASPECT)
        for row, column in np.argwhere(np.triu(close, 1)):
            yield int(order[start + row]), int(order[start + column])
