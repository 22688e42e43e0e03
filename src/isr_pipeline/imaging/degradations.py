"""How a small picture is made from a large one.

`unsplash` is the recipe of the Kaggle data set "Image Super Resolution - from Unsplash": bilinear
reduction without antialiasing, enlarged again with nearest neighbours ("pixelated"), stored as a
JPEG of quality 95. It reproduces the data set's files bit for bit. `bicubic` is the literature's
antialiased bicubic reduction. `realistic` is what a picture from a camera or from the web has been
through: a little blur, some resize kernel, noise, JPEG.
"""

import hashlib
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from isr_pipeline.imaging import resampling
from isr_pipeline.imaging.arrays import Picture, to_uint8
from isr_pipeline.imaging.decode import decode_picture
from isr_pipeline.imaging.recipe_names import DEGRADATIONS
from isr_pipeline.imaging.resampling import imresize

_KERNELS = (
    Image.Resampling.BICUBIC,
    Image.Resampling.BILINEAR,
    Image.Resampling.BOX,
    Image.Resampling.LANCZOS,
)


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


def encode_jpeg(picture: Picture, quality: int = 95) -> bytes:
    """Encode as JPEG with 4:2:0 chroma; the quality is OpenCV's default, which the data set has."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    written, data = cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), options)
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


def realistic(high_res: Picture, scale: int, generator: np.random.Generator) -> Picture:
    """Reduce a picture as the wild does, one random draw of everything.

    In this order, simpler than Real-ESRGAN's (Wang et al. 2021) and milder, because what it takes
    for noise and texture is lost:

    - blur, in half of the draws: a Gaussian whose two deviations are each 0.1 to 0.5 pixels of the
      small picture, turned at random (a lens, a demosaiced sensor, a resize before);
    - reduction with an antialiasing kernel: bicubic in half of the draws, else bilinear, box or
      Lanczos;
    - noise, in half of the draws: Gaussian, deviation up to 5 grey levels, part of it common to the
      three channels;
    - JPEG with quality 50 to 98, in five of six draws.

    Args:
        high_res: `(height, width, 3)`, sizes multiples of the scale.
        scale: the integer factor.
        generator: where the draw comes from.

    Returns:
        `(height // scale, width // scale, 3)`, uint8.
    """
    height, width = (size // scale for size in high_res.shape[:2])
    picture = high_res
    if generator.random() < 0.5:
        deviations = generator.uniform(0.1, 0.5, 2) * scale
        picture = _blur(picture, deviations, generator.uniform(0, np.pi))
    kernel = generator.choice(len(_KERNELS), p=[0.5, 0.2, 0.15, 0.15])
    reduced = Image.fromarray(picture).resize((width, height), _KERNELS[kernel])
    picture = np.asarray(reduced)
    if generator.random() < 0.5:
        deviation, shared = generator.uniform(0, 5), generator.random()
        noise = np.sqrt(shared) * generator.standard_normal((height, width, 1))
        noise = noise + np.sqrt(1 - shared) * generator.standard_normal((height, width, 3))
        picture = to_uint8(picture + (deviation * noise).astype(np.float32))
    if generator.random() < 5 / 6:
        quality = int(generator.integers(50, 99))
        picture = decode_picture(encode_jpeg(picture, quality)).pixels
    return picture


def _blur(picture: Picture, deviations: NDArray[np.float64], angle: float) -> Picture:
    reach = int(np.ceil(3 * deviations.max()))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    along = x * np.cos(angle) + y * np.sin(angle)
    across = y * np.cos(angle) - x * np.sin(angle)
    kernel = np.exp(-0.5 * ((along / deviations[0]) ** 2 + (across / deviations[1]) ** 2))
    blurred = cv2.filter2D(picture, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT)
    return np.asarray(blurred, np.uint8)


def _by_bicubic(high_res: Picture, scale: int, _: int) -> Picture:
    cropped = _cropped(high_res, scale)
    return imresize(cropped, cropped.shape[0] // scale, cropped.shape[1] // scale)


def _by_realistic(high_res: Picture, scale: int, seed: int) -> Picture:
    own = zlib.crc32(high_res.tobytes())
    return realistic(_cropped(high_res, scale), scale, np.random.default_rng([seed, scale, own]))


def _by_unsplash(high_res: Picture, scale: int, _: int) -> Picture:
    pixelated = decode_picture(encode_jpeg(pixelate(high_res, scale))).pixels
    return block_mean(pixelated, scale)


RECIPES: MappingProxyType[str, Callable[[Picture, int, int], Picture]] = MappingProxyType(
    {"realistic": _by_realistic, "bicubic": _by_bicubic, "unsplash": _by_unsplash}
)
"""What makes the small picture, by the names in `recipe_names`.

Each takes the original, `(height, width, 3)` of any size from `scale` on, the scale and a seed, and
returns `(height // scale, width // scale, 3)`, uint8; the same every time for the same three.
"""


def degrade(high_res: Picture, scale: int, degradation: str, seed: int = 0) -> Picture:
    """Make the small picture of `high_res`.

    Args:
        high_res: `(height, width, 3)`.
        scale: the integer factor, at least 2.
        degradation: one of `RECIPES`, such as `bicubic`.
        seed: of `realistic`, whose draw depends on it and on the picture's own pixels.

    Returns:
        `(height // scale, width // scale, 3)`, uint8.

    Raises:
        ValueError: for another degradation, and a picture of fewer pixels a side than the scale.
    """
    if degradation not in RECIPES:
        raise ValueError(
            f"unknown degradation '{degradation}': choose one of {', '.join(DEGRADATIONS)}"
        )
    height, width = high_res.shape[:2]
    _check_size(height, width, scale)
    return RECIPES[degradation](high_res, scale, seed)


@cache
def code_digest() -> str:
    """Of the code of this module and of reductions: pictures made by other code are others."""
    sources = [
        Path(str(file)).read_text(encoding="utf-8") for file in (__file__, resampling.__file__)
    ]
    return hashlib.sha256("".join(sources).encode()).hexdigest()


def _cropped(high_res: Picture, scale: int) -> Picture:
    """Without what is left over at the bottom and right when the scale divides."""
    height, width = (size // scale * scale for size in high_res.shape[:2])
    return high_res[:height, :width]


def _check_size(height: int, width: int, scale: int) -> None:
    if min(height, width) < scale:
        raise ValueError(f"a picture of {width}x{height} is too small for scale {scale}")
