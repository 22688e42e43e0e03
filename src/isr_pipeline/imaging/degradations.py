"""How a small picture is made from a large one.

`unsplash` is the recipe of the Kaggle data set "Image Super Resolution - from Unsplash": bilinear
reduction without antialiasing, enlarged again with nearest neighbours ("pixelated"), stored as a
JPEG of quality 95. It reproduces the data set's files bit for bit. `bicubic` is the literature's
antialiased bicubic reduction.
"""

from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from isr_pipeline.imaging.arrays import Picture, to_uint8
from isr_pipeline.imaging.decode import decode_picture
from isr_pipeline.imaging.resampling import imresize

Degradation = Literal["unsplash", "bicubic"]
DEGRADATIONS: tuple[str, ...] = get_args(Degradation)


def pixelate(high_res: Picture, scale: int) -> Picture:
    """Reduce with OpenCV's bilinear resize, enlarge with nearest neighbours to the same size.

    Args:
        high_res: `(height, width, 3)`; height and width at least `scale`.
        scale: the integer factor.

    Returns:
        `(height, width, 3)`, uint8.
    """
    height, width = high_res.shape[:2]
    _check_size(height, width, scale)
    small = cv2.resize(high_res, (width // scale, height // scale), interpolation=cv2.INTER_LINEAR)
    enlarged = cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)
    return np.asarray(enlarged, np.uint8)


def encode_jpeg(picture: Picture) -> bytes:
    """Encode with OpenCV's default JPEG settings (quality 95, 4:2:0), as the data set was."""
    written, data = cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]))
    if not written:
        raise ValueError(f"OpenCV could not encode a picture of shape {picture.shape} as JPEG")
    return bytes(data.tobytes())


def cell_starts(size: int, cells: int) -> NDArray[np.intp]:
    """First pixel of each cell when `cells` samples are enlarged to `size` with `INTER_NEAREST`.

    Asks OpenCV itself, so that sizes that are no multiple are split exactly as in the files.
    """
    owner = cv2.resize(
        np.arange(cells, dtype=np.float32)[None], (size, 1), interpolation=cv2.INTER_NEAREST
    )[0]
    return np.flatnonzero(np.diff(owner, prepend=-1.0))


def block_mean(pixelated: Picture, scale: int) -> Picture:
    """Recover the small picture from a pixelated one: the mean of each cell, rounded.

    Args:
        pixelated: `(height, width, 3)`.
        scale: the factor that it was pixelated with.

    Returns:
        `(height // scale, width // scale, 3)`, uint8.
    """
    height, width = pixelated.shape[:2]
    _check_size(height, width, scale)
    rows, columns = cell_starts(height, height // scale), cell_starts(width, width // scale)
    sums = np.add.reduceat(pixelated.astype(np.float32), rows, axis=0)
    sums = np.add.reduceat(sums, columns, axis=1)
    area = np.diff(rows, append=height)[:, None] * np.diff(columns, append=width)[None, :]
    return to_uint8(sums / area[..., None].astype(np.float32))


def degrade(high_res: Picture, scale: int, degradation: Degradation) -> Picture:
    """Make the small picture of `high_res`.

    Args:
        high_res: `(height, width, 3)`.
        scale: the integer factor, at least 2.
        degradation: `unsplash` or `bicubic` (see the module).

    Returns:
        `(height // scale, width // scale, 3)`, uint8.
    """
    height, width = high_res.shape[:2]
    _check_size(height, width, scale)
    if degradation == "bicubic":
        cropped = high_res[: height // scale * scale, : width // scale * scale]
        return imresize(cropped, height // scale, width // scale)
    if degradation == "unsplash":
        pixelated = decode_picture(encode_jpeg(pixelate(high_res, scale))).pixels
        return block_mean(pixelated, scale)
    raise ValueError(
        f"unknown degradation '{degradation}': choose one of {', '.join(DEGRADATIONS)}"
    )


def _check_size(height: int, width: int, scale: int) -> None:
    if min(height, width) < scale:
        raise ValueError(f"a picture of {width}x{height} is too small for scale {scale}")
