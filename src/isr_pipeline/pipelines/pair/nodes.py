"""Pairing: which low-resolution picture belongs to which original, at which scale, for what."""

import itertools
import logging
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from isr_pipeline.errors import ProjectError
from isr_pipeline.imaging.arrays import Picture
from isr_pipeline.imaging.degradations import block_mean, code_digest, degrade
from isr_pipeline.imaging.resampling import imresize
from isr_pipeline.pipelines.pair.belonging import digest_pairs
from isr_pipeline.pipelines.pair.parameters import (
    AgreementParameters,
    PairParameters,
    SplitParameters,
)
from isr_pipeline.pipelines.pair.split import split_by_photograph, split_rows
from isr_pipeline.progress import map_in_order, threads_for
from isr_pipeline.quality.metrics import SSIM_SIDE, psnr
from isr_pipeline.sources.collection import PhotoCollection
from isr_pipeline.sources.kaggle_layout import foreign_partner
from isr_pipeline.storage.atomic import digest
from isr_pipeline.storage.pictures import PictureStream, StoredPicture

logger = logging.getLogger(__name__)

USABLE = "ok"
BYTES_A_PIXEL = 60
"""Memory that reducing, degrading or comparing takes at most for each pixel of an original.
Measured: up to 53 (reduced to nine tenths), 33 (compared with a partner of its size)."""


def pair_photographs(photo_index: pd.DataFrame, parameters: PairParameters) -> pd.DataFrame:
    """Pair every usable original with its partner at each scale.

    Returns:
        One row a pair, ordered by scale and then as in the index: `photograph`, `original` (the
        photograph that it is, or was reduced from), `reduction`, `scale`, `degradation`,
        `enlargement` (how much larger the original is than the stored
        low-resolution picture), `hr_path`, `hr_sha256`, `height`, `width` of the original,
        `lr_path` and `lr_sha256` (null where the partner is made), `status` and `reason`.
    """
    index = photo_index.reset_index(drop=True)
    originals = index[(index["scale"] == 1) & (index["status"] == USABLE)]
    partners = {
        (str(row.photograph), int(row.scale)): row
        for row in index[index["scale"] > 1].itertuples(index=False)
    }
    rows: list[dict[str, Any]] = []
    sizes = itertools.product(parameters.scales, parameters.reductions)
    for scale, reduction in sizes:
        for original in originals.itertuples(index=False):
            name = str(original.photograph)
            height, width = _reduced((int(original.height), int(original.width)), reduction)
            row: dict[str, Any] = {
                "photograph": name if reduction == 1 else f"{name}@{reduction:g}",
                "original": name,
                "reduction": reduction,
                "scale": scale,
                "degradation": parameters.degradation,
                "enlargement": 1 if parameters.low_res == "pixelated" else scale,
                "hr_path": original.path,
                "hr_sha256": original.sha256,
                "height": height,
                "width": width,
                "lr_path": None,
                "lr_sha256": None,
                "status": USABLE,
                "reason": None,
            }
            if parameters.partners == "files":
                row |= _partner(partners.get((str(original.photograph), scale)), original, scale)
            elif min(height, width) < math.lcm(*parameters.scales):
                row |= {"status": "too_small", "reason": "smaller than the scales' multiple"}
            if row["status"] == USABLE and reduction == 1:
                row |= _too_small_to_score(height, width, scale, parameters)
            rows.append(row)
    if not any(row["status"] == USABLE for row in rows):
        raise ProjectError(_none_usable(rows, parameters))
    pairs = pd.DataFrame(rows)
    _see_that_all_scales_have_pairs(pairs, parameters)
    return pairs


def _see_that_all_scales_have_pairs(pairs: pd.DataFrame, parameters: PairParameters) -> None:
    present = set(pairs.loc[pairs["status"] == USABLE, "scale"])
    missing = [scale for scale in parameters.scales if scale not in present]
    if missing:
        reason = pairs.loc[pairs["scale"] == missing[0], "reason"].iloc[0]
        raise ProjectError(
            f"no photograph has a usable low-resolution partner at scale {missing[0]} ({reason}): "
            "take it out of pair.scales, or set pair.partners to 'made'"
        )


def _none_usable(rows: list[dict[str, Any]], parameters: PairParameters) -> str:
    if rows and parameters.partners == "files":
        return (
            "no usable photograph has a usable low-resolution partner at scales "
            f"{parameters.scales}: set pair.partners to 'made', or add the files of low res/"
        )
    if not rows:
        return "there is no usable photograph: the catalog entry photo_index says why for each"
    multiple = math.lcm(*parameters.scales)
    largest = max(((row["width"], row["height"]) for row in rows), key=min)
    return (
        f"no photograph, of which the largest has {largest[0]}x{largest[1]} pixels at "
        f"pair.reductions {parameters.reductions}, has {multiple} pixels a side, the least that "
        f"scales {parameters.scales} divide: give larger ones, fewer scales or larger reductions"
    )


def check_partners(
    candidate_pairs: pd.DataFrame, photographs: PhotoCollection, parameters: PairParameters
) -> pd.DataFrame:
    """Look into each low-resolution file, whether it shows its original.

    The file's small picture is compared with the original degraded by the same recipe; the real
    data set's partners agree bit for bit.

    Returns:
        The pairs with `agreement_psnr` in dB (infinite for bit equality, null where nothing was
        to compare), and `status` `foreign` with a reason where the file does not belong.

    Raises:
        ProjectError: when most files do not belong, or all of a scale's.
    """
    pairs = candidate_pairs.copy()
    pairs["agreement_psnr"] = np.nan
    to_check = pairs[(pairs["status"] == USABLE) & pairs["lr_path"].notna()]
    groups = list(to_check.groupby("hr_path", sort=False))

    def check(group: tuple[Any, pd.DataFrame]) -> list[tuple[Any, dict[str, Any]]]:
        original = photographs.picture(str(group[0]), str(group[1]["hr_sha256"].iloc[0]))
        results = []
        for pair in group[1].itertuples():
            low_res = photographs.picture(str(pair.lr_path), str(pair.lr_sha256))
            expected = degrade(original, int(pair.scale), parameters.degradation)
            results.append(
                (pair.Index, _agreement(low_res, expected, int(pair.scale), parameters.agreement))
            )
        return results

    workers = _threads(to_check) if len(to_check) else 1
    for results in map_in_order(check, groups, len(groups), "checking partners", workers):
        for row, findings in results:
            for column, value in findings.items():
                pairs.loc[row, column] = value
    checked = pairs.loc[to_check.index]
    foreign = int((checked["status"] == "foreign").sum())
    if 2 * foreign > len(checked):
        raise ProjectError(
            f"{foreign} of {len(checked)} low-resolution files do not show their originals reduced "
            f"by '{parameters.degradation}' (median {checked['agreement_psnr'].median():.1f} dB): "
            "set pair.degradation to what made them, or pair.partners to 'made'"
        )
    _see_that_all_scales_have_pairs(pairs, parameters)
    usable = int((pairs["status"] == USABLE).sum())
    refused = pairs.loc[pairs["status"] != USABLE, "status"].value_counts()
    logger.info(
        "%d pairs of %d photographs are usable%s",
        usable,
        pairs.loc[pairs["status"] == USABLE, "original"].nunique(),
        "".join(f"; {count} {status}" for status, count in refused.items()),
    )
    return pairs


def split_photographs(checked_pairs: pd.DataFrame, parameters: SplitParameters) -> pd.DataFrame:
    """Give every usable pair its split; pairs that are not usable get none.

    Returns:
        The pairs with `split`: `train`, `val`, `test` or null.
    """
    pairs = checked_pairs.copy()
    usable = pairs[pairs["status"] == USABLE]
    if parameters.method == "photograph":
        splits = split_by_photograph(sorted(usable["original"].unique()), parameters)
        pairs["split"] = usable["original"].map(splits)
        assert_no_leak(pairs)
    else:
        pairs["split"] = split_rows(usable, parameters)
    counts = pairs.groupby("split")["original"].agg(["nunique", "size"])
    logger.info(
        "Split by %s: %s",
        parameters.method,
        ", ".join(
            f"{row.Index} {row.nunique} photographs ({row.size} pairs)"
            for row in counts.rename_axis("split").itertuples()
        ),
    )
    return pairs


def store_pictures(
    pairs: pd.DataFrame, photographs: PhotoCollection, parameters: PairParameters
) -> PictureStream:
    """Decode every usable pair into the picture store: originals once, low-resolution small.

    Returns:
        The pictures, to be made when the store turns out not to hold them already.
    """
    usable = pairs[pairs["status"] == USABLE]
    columns = ["photograph", "scale", "reduction", "hr_path", "hr_sha256", "lr_path", "lr_sha256"]
    settings = parameters.model_dump(exclude={"agreement"})
    kind = "pictures" if parameters.low_res == "small" else "pictures of one size"
    work = digest(kind, code_digest(), usable[columns].to_numpy().tolist(), settings)
    groups = list(usable.groupby("photograph", sort=False))

    def load(group: tuple[Any, pd.DataFrame]) -> list[StoredPicture]:
        photograph, rows = str(group[0]), group[1]
        original = photographs.picture(rows["hr_path"].iloc[0], rows["hr_sha256"].iloc[0])
        original = _prepare_original(original, float(rows["reduction"].iloc[0]), parameters)
        pictures = [StoredPicture(photograph, 1, original)]
        for row in rows.itertuples(index=False):
            if row.lr_path is None or pd.isna(row.lr_path):
                low_res = degrade(original, int(row.scale), parameters.degradation)
            else:
                low_res = photographs.picture(row.lr_path, row.lr_sha256)
                if parameters.low_res == "pixelated":
                    low_res = _resize_nearest(low_res, original.shape[:2])
                elif low_res.shape == original.shape:
                    low_res = block_mean(low_res, int(row.scale))
            pictures.append(StoredPicture(photograph, int(row.scale), low_res))
        return pictures

    def pictures() -> Iterator[StoredPicture]:
        for loaded in map_in_order(load, groups, len(groups), "storing pictures", _threads(usable)):
            yield from loaded

    room = _room_for(usable, parameters.resize)
    return PictureStream(work, pictures(), room, digest_pairs(pairs))


def _threads(pairs: pd.DataFrame) -> int:
    """For decoding the largest original with its partners, or for pictures that wait in line."""
    pixels = pairs["height"] * pairs["width"] / pairs["reduction"] ** 2
    return threads_for(BYTES_A_PIXEL * float(pixels.max()))


def _room_for(usable: pd.DataFrame, resize: list[int] | None) -> int:
    """Bytes of the originals, once each, and of their low-resolution pictures, rounded up."""
    pixels = usable["height"] * usable["width"]
    if resize is not None:
        pixels = pd.Series(math.prod(resize), index=usable.index)
    originals = pixels[~usable["photograph"].duplicated()].sum()
    return int(3 * (originals + (pixels / usable["enlargement"] ** 2).sum()))


def assert_no_leak(pairs: pd.DataFrame) -> None:
    """Raise if a photograph stands in more than one split, whole or reduced."""
    crossing = pairs.dropna(subset="split").groupby("original")["split"].nunique()
    crossing = crossing[crossing > 1]
    if len(crossing):
        raise ProjectError(
            f"{len(crossing)} photographs stand in several splits, first {crossing.index[0]}"
        )


def _partner(partner: Any, original: Any, scale: int) -> dict[str, Any]:
    """What a partner's row in the index says of the pair, before looking into the file."""
    if partner is None:
        return {"status": "partner_missing", "reason": f"no file at scale {scale} is listed"}
    found = {"lr_path": partner.path, "lr_sha256": partner.sha256}
    if partner.status != USABLE:
        return found | {"status": f"partner_{partner.status}", "reason": partner.reason}
    size = (int(partner.height), int(partner.width))
    expected = (int(original.height), int(original.width))
    reason = foreign_partner(partner.path, size, original.path, expected, scale)
    return found | {"status": "foreign", "reason": reason} if reason else found


def _too_small_to_score(
    height: int, width: int, scale: int, parameters: PairParameters
) -> dict[str, Any]:
    side = min(height, width) if parameters.resize is None else min(parameters.resize)
    if parameters.partners == "made":  # and cropped
        side -= side % math.lcm(*parameters.scales)
    if side - 2 * scale >= SSIM_SIDE:
        return {}
    return {"status": "too_small", "reason": f"too small to be scored at scale {scale}"}


def _agreement(
    low_res: Picture, expected: Picture, scale: int, parameters: AgreementParameters
) -> dict[str, Any]:
    is_small = low_res.shape == expected.shape
    found = low_res if is_small else block_mean(low_res, scale)
    likeness = psnr(expected, found)
    if likeness >= 40:
        return {"agreement_psnr": likeness}
    deviations = found.std(), expected.std()
    correlation = (
        float(np.corrcoef(found.ravel(), expected.ravel())[0, 1]) if min(deviations) > 0 else 0.0
    )
    least = parameters.small if is_small else parameters.pixelated
    if likeness >= least and correlation >= parameters.correlation:
        return {"agreement_psnr": likeness}
    return {
        "agreement_psnr": likeness,
        "status": "foreign",
        "reason": f"it shows something else than its original: {likeness:.1f} dB, "
        f"correlation {correlation:.2f}",
    }


def _reduced(size: tuple[int, int], reduction: float) -> tuple[int, int]:
    return round(size[0] * reduction), round(size[1] * reduction)


def _prepare_original(original: Picture, reduction: float, parameters: PairParameters) -> Picture:
    if reduction < 1:
        original = imresize(original, *_reduced(original.shape[:2], reduction))
    if parameters.partners == "made":
        # Cropped so that every scale divides it: the small picture then covers exactly the same
        # part of the scene.
        multiple = math.lcm(*parameters.scales)
        height, width = (size // multiple * multiple for size in original.shape[:2])
        return original[:height, :width]
    return _resize_nearest(original, parameters.resize or original.shape[:2])


def _resize_nearest(picture: Picture, size: Sequence[int]) -> Picture:
    if picture.shape[:2] == tuple(size):
        return picture
    resized = Image.fromarray(picture).resize((size[1], size[0]), Image.Resampling.NEAREST)
    return np.asarray(resized)
