"""From a test set to pairs of a small picture and the truth, by a protocol."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from isr_pipeline.errors import ProjectError
from isr_pipeline.imaging.arrays import Picture, to_uint8
from isr_pipeline.imaging.decode import UnusablePictureError, decode_picture
from isr_pipeline.imaging.degradations import block_mean, degrade, encode_jpeg
from isr_pipeline.imaging.resampling import enlarge_nearest, resize_bicubic
from isr_pipeline.quality.metrics import SSIM_SIDE
from isr_pipeline.sources.benchmark import BenchmarkSet
from isr_pipeline.sources.kaggle_layout import foreign_partner

INPUT, BICUBIC, LANCZOS = "input as it is", "bicubic", "Lanczos"


@dataclass(frozen=True)
class BenchmarkPair:
    """A small picture and what it was made of.

    Attributes:
        photograph: the picture's name in its set.
        scale: the integer factor.
        low_res: `(height, width, 3)`, uint8.
        truth: `(scale * height, scale * width, 3)`, uint8; for `unsplash`, whose originals are
            not cropped, up to `scale - 1` pixels more.
        as_it_is: the input at the truth's size without interpolation: the data set's own
            pixelated file where there is one, else the nearest neighbours.
    """

    photograph: str
    scale: int
    low_res: Picture
    truth: Picture
    as_it_is: Picture

    def baselines(self) -> dict[str, Picture]:
        """What is there without a network, by name, at the truth's size."""
        height, width = self.truth.shape[:2]
        lanczos = Image.fromarray(self.low_res).resize((width, height), Image.Resampling.LANCZOS)
        return {
            INPUT: self.as_it_is,
            BICUBIC: to_uint8(resize_bicubic(self.low_res, height, width)),
            LANCZOS: np.asarray(lanczos, np.uint8),
        }


def photographs_of(test_set: BenchmarkSet, protocol: str, scale: int) -> list[str]:
    """Names of the pictures of a set that a protocol uses at a scale.

    Where the set brings low-resolution files of the protocol at that scale, those pictures that
    have one; else all, whose small pictures are then made.
    """
    files = test_set.photographs.files
    originals = files.loc[files["scale"] == 1, "photograph"]
    if not _brings(test_set, protocol, scale):
        return list(originals)
    with_partner = set(files.loc[files["scale"] == scale, "photograph"])
    return [name for name in originals if name in with_partner]


def open_pair(
    test_set: BenchmarkSet, photograph: str, scale: int, protocol: str, seed: int
) -> BenchmarkPair:
    """Read a picture and read or make its small one.

    For every protocol but `unsplash` the original is cropped at the bottom and right to a multiple
    of the scale before it is reduced, as the field does.

    Args:
        test_set: which has it.
        photograph: its name.
        scale: the integer factor.
        protocol: `jpeg70`, or the degradation.
        seed: of the `realistic` degradation.

    Raises:
        ProjectError: when a file cannot be used, naming it.
    """
    truth = _read(test_set, photograph, 1)
    if min(truth.shape[:2]) < SSIM_SIDE + 3 * scale:  # within both borders, and the crop
        raise ProjectError(
            f"benchmark set '{test_set.name}': {_path(test_set, photograph, 1)} is "
            f"{truth.shape[1]}x{truth.shape[0]}: too small to be scored at scale {scale}; remove "
            "it from the set"
        )
    own = _path(test_set, photograph, scale) if _brings(test_set, protocol, scale) else None
    if protocol == "unsplash":
        pixelated = None if own is None else _read(test_set, photograph, scale)
        low_res = degrade(truth, scale, "unsplash") if pixelated is None else pixelated
        if pixelated is not None and pixelated.shape == truth.shape:
            low_res = block_mean(pixelated, scale)
            return BenchmarkPair(photograph, scale, low_res, truth, pixelated)
        original = str(_path(test_set, photograph, 1))
        reason = foreign_partner(str(own), low_res.shape[:2], original, truth.shape[:2], scale)
        if reason:
            raise ProjectError(f"benchmark set '{test_set.name}': {reason}: remove it")
        as_it_is = enlarge_nearest(low_res, *truth.shape[:2])
        return BenchmarkPair(photograph, scale, low_res, truth, as_it_is)
    height, width = (length // scale * scale for length in truth.shape[:2])
    truth = truth[:height, :width]
    if own is not None:
        low_res = _read(test_set, photograph, scale)
    elif protocol == "jpeg70":
        reduced = degrade(truth, scale, "bicubic")
        low_res = decode_picture(encode_jpeg(reduced, quality=70)).pixels
    else:
        low_res = degrade(truth, scale, protocol, seed)
    if (low_res.shape[0] * scale, low_res.shape[1] * scale) != (height, width):
        raise ProjectError(
            f"{own} is {low_res.shape[1]}x{low_res.shape[0]}, which is not 1/{scale} of its "
            f"original's {width}x{height}: remove it, and one is made"
        )
    as_it_is = enlarge_nearest(low_res, *truth.shape[:2])
    return BenchmarkPair(photograph, scale, low_res, truth, as_it_is)


def _brings(test_set: BenchmarkSet, protocol: str, scale: int) -> bool:
    files = test_set.photographs.files
    return test_set.degradation == protocol and bool((files["scale"] == scale).any())


def _path(test_set: BenchmarkSet, photograph: str, scale: int) -> str | None:
    files = test_set.photographs.files
    rows = files[(files["photograph"] == photograph) & (files["scale"] == scale)]
    return None if rows.empty else str(rows["path"].iloc[0])


def _read(test_set: BenchmarkSet, photograph: str, scale: int) -> Picture:
    path = _path(test_set, photograph, scale)
    try:
        return decode_picture(test_set.photographs.read(str(path))).pixels
    except (UnusablePictureError, OSError) as error:
        raise unusable_file(test_set, str(path), error) from None


def unusable_file(test_set: BenchmarkSet, path: str, error: Exception) -> ProjectError:
    """What is to be said of a file that should be a picture of a set."""
    return ProjectError(
        f"benchmark set '{test_set.name}': {path} cannot be used ({error}): mend it or remove it"
    )
