"""Ingestion: decode every file once, completely, and record what is usable and why not."""

import hashlib
import logging
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from isr_pipeline.errors import ProjectError
from isr_pipeline.imaging.arrays import Picture
from isr_pipeline.imaging.decode import BYTES_A_PIXEL, UnusablePictureError, decode_picture
from isr_pipeline.memory import MemoryGate, work_budget
from isr_pipeline.pipelines.ingest.copies import Thumbnail, find_copies
from isr_pipeline.pipelines.ingest.parameters import IngestParameters
from isr_pipeline.progress import map_in_order
from isr_pipeline.sources.collection import PhotoCollection, SourceError

logger = logging.getLogger(__name__)

USABLE = "ok"
NAMED = 5
"""Files that are left out and named in the log; all are in the index."""


def index_photographs(photographs: PhotoCollection, parameters: IngestParameters) -> pd.DataFrame:
    """Decode every file of the collection and describe it in a table.

    Returns:
        One row a file: `photograph`, `scale` and `path` of the collection; `status` (`ok`, or
        one word for why the file is not used) and `reason`; `bytes`, `sha256` of the file,
        `width`, `height`, `format`, `mode`, `rule` (conversions applied) and `pixels_sha256` of
        the decoded picture, as far as they are known.
    """
    gate = MemoryGate(work_budget())

    def describe(task: Any) -> dict[str, Any]:
        photograph, scale, path = str(task.photograph), int(task.scale), str(task.path)
        place = {"photograph": photograph, "scale": scale, "path": path}
        size = photographs.size(path)
        with gate.room(size):  # some headers are found by reading the whole file
            pixels = photographs.pixels(path)
        if pixels > parameters.maximum_megapixels * 1e6:  # it will be refused
            pixels = 0
        with gate.room(size + BYTES_A_PIXEL * pixels):
            return place | _describe_file(photographs, path, scale, parameters)

    files = photographs.files
    rows = list(
        map_in_order(
            describe,
            files.itertuples(index=False),
            total=len(files),
            description="decoding files",
            workers=parameters.workers,
        )
    )
    _mark_duplicates(rows)
    if parameters.leave_out_copies:
        _mark_copies(rows)
    columns = [
        *("photograph", "scale", "path", "status", "reason", "bytes", "sha256"),
        *("width", "height", "format", "mode", "rule", "pixels_sha256"),
    ]
    index = pd.DataFrame(rows, columns=columns)
    return index.astype({"bytes": "Int64", "width": "Int64", "height": "Int64"})


def summarise_ingestion(photo_index: pd.DataFrame) -> pd.DataFrame:
    """Count the files by kind and status, log it in one line, and insist on a usable photograph.

    Returns:
        `kind` (`original` or `partner`), `status`, `files` and an `example` with its reason.

    Raises:
        ProjectError: when no original is usable.
    """
    kind = photo_index["scale"].eq(1).map({True: "original", False: "partner"})
    summary = (
        photo_index.assign(
            kind=kind, example=photo_index["path"] + ": " + photo_index["reason"].fillna("")
        )
        .groupby(["kind", "status"], as_index=False)
        .agg(files=("path", "size"), example=("example", "first"))
    )
    summary["example"] = summary["example"].str.removesuffix(": ")
    counts = "; ".join(
        f"{name}s: "
        + ", ".join(f"{row.files} {row.status}" for row in group.itertuples(index=False))
        for name, group in summary.groupby("kind")
    )
    logger.info("%d files. %s", len(photo_index), counts)
    # Files that a list names and nobody has are no news: most have a part of the Kaggle data set.
    left_out = photo_index[~photo_index["status"].isin([USABLE, "missing"])]
    for row in left_out.head(NAMED).itertuples(index=False):
        logger.warning("Left out: %s: %s", row.path, row.reason or row.status)
    if len(left_out) > NAMED:
        logger.warning(
            "Left out: %d more; the catalog entry photo_index has all", len(left_out) - NAMED
        )
    if not ((photo_index["scale"] == 1) & (photo_index["status"] == USABLE)).any():
        reasons = Counter(photo_index.loc[photo_index["scale"] == 1, "status"]).most_common(3)
        raise ProjectError(
            f"none of {len(photo_index)} files is a usable photograph "
            f"({', '.join(f'{count} {status}' for status, count in reasons)}); "
            "the catalog entry photo_index says why for each"
        )
    return summary


def _describe_file(
    photographs: PhotoCollection, path: str, scale: int, parameters: IngestParameters
) -> dict[str, Any]:
    row: dict[str, Any] = {}
    try:
        data = photographs.read(path)
    except FileNotFoundError:
        return {"status": "missing", "reason": "no such file"}
    except (OSError, SourceError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return {"status": "unreadable", "reason": reason}
    except UnusablePictureError as error:
        return {"status": error.status, "reason": str(error)}
    row.update(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    try:
        picture = decode_picture(data, parameters.maximum_megapixels)
    except UnusablePictureError as error:
        return {**row, "status": error.status, "reason": str(error)}
    height, width = picture.pixels.shape[:2]
    row.update(
        width=width,
        height=height,
        format=picture.format,
        mode=picture.mode,
        rule=picture.rule,
        pixels_sha256=_pixels_sha256(picture.pixels),
    )
    if scale == 1 and min(height, width) < parameters.minimum_side:
        reason = f"{width}x{height}: the shorter side is under {parameters.minimum_side} pixels"
        return {**row, "status": "too_small", "reason": reason}
    if scale == 1 and parameters.leave_out_copies:
        row["thumbnail"] = Thumbnail.of(picture.pixels)
    return {**row, "status": USABLE, "reason": None}


def _pixels_sha256(pixels: Picture) -> str:
    result = hashlib.sha256("{1}x{0}".format(*pixels.shape).encode())
    result.update(np.ascontiguousarray(pixels).data)
    return result.hexdigest()


def _mark_duplicates(rows: list[dict[str, Any]]) -> None:
    """Let only the first of several equal originals stay usable: copies leak between splits.

    Of those with low-resolution files, if there are any: else these would have no original.
    """
    paired = _with_partners(rows)
    usable = [row for row in rows if row["scale"] == 1 and row["status"] == USABLE]
    first: dict[str, str] = {}
    for row in sorted(usable, key=lambda row: row["photograph"] not in paired):
        original = first.setdefault(row["pixels_sha256"], row["path"])
        if original != row["path"]:
            row.update(status="duplicate", reason=f"the same picture as {original}")


def _with_partners(rows: list[dict[str, Any]]) -> set[str]:
    return {row["photograph"] for row in rows if row["scale"] != 1 and row["status"] == USABLE}


def _mark_copies(rows: list[dict[str, Any]]) -> None:
    """Let only the largest of several originals that show the same stay usable.

    Of those with low-resolution files, if there are any: else these would have no original.
    """
    usable = [row for row in rows if row["scale"] == 1 and row["status"] == USABLE]
    paired = _with_partners(rows)
    first = [row["photograph"] in paired for row in usable]
    for copy, original in find_copies([row["thumbnail"] for row in usable], first).items():
        reason = f"shows the same as {usable[original]['path']}"
        usable[copy].update(status="duplicate", reason=reason)
