"""Whole pictures in one flat file of bytes, each pixel stored once, read by memory mapping."""

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from isr_pipeline.errors import ProjectError
from isr_pipeline.imaging.arrays import Picture
from isr_pipeline.memory import show_bytes
from isr_pipeline.storage.atomic import read_manifest, write_once

PIXELS = "pixels.bin"
INDEX = "index.parquet"


class StoredPicture(NamedTuple):
    """A picture on its way into a store; `scale` is 1 for the original."""

    photograph: str
    scale: int
    pixels: Picture


@dataclass(frozen=True)
class PictureStream:
    """Pictures to be stored, made one by one when asked for.

    Attributes:
        digest: names the inputs and parameters that the pictures are made from.
        pictures: the pictures, in order.
        bytes: room that the pictures take at most, as far as it is known beforehand.
        made_from: names what the pictures show, to be compared with it later.
    """

    digest: str
    pictures: Iterable[StoredPicture]
    bytes: int = 0
    made_from: str = ""


def write_pictures(folder: Path, stream: PictureStream) -> dict[str, Any] | None:
    """Write a store with constant memory, unless the folder holds it already.

    Returns:
        The manifest when it was written, None when nothing was to do.

    Raises:
        ProjectError: before anything is written, when the disk has no room for the pictures.
        ValueError: for a picture that is not uint8 RGB.
    """

    def write(partial: Path) -> dict[str, Any]:
        free = shutil.disk_usage(partial).free
        if stream.bytes > free:
            raise ProjectError(
                f"the pictures take {show_bytes(stream.bytes)} and {folder.parent} has "
                f"{show_bytes(free)} left: free some room, or use fewer photographs"
            )
        rows: list[tuple[str, int, int, int, int]] = []
        offset = 0
        with (partial / PIXELS).open("wb") as file:
            for photograph, scale, pixels in stream.pictures:
                if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
                    raise ValueError(
                        f"photograph {photograph}, scale {scale}: a store takes uint8 RGB, "
                        f"not {pixels.dtype} {pixels.shape}"
                    )
                file.write(np.ascontiguousarray(pixels).data)
                rows.append((photograph, scale, pixels.shape[0], pixels.shape[1], offset))
                offset += pixels.size
        index = pd.DataFrame(rows, columns=["photograph", "scale", "height", "width", "offset"])
        index.to_parquet(partial / INDEX)
        return {"pictures": len(rows), "bytes": offset, "made_from": stream.made_from}

    return write_once(folder, stream.digest, write)


class PictureStore:
    """An opened store: any picture as a read-only view of the mapped file.

    Args:
        folder: as written by `write_pictures`.

    Raises:
        FileNotFoundError: when the folder holds no completely written store.
        ProjectError: when another process wrote another one while this one was opened.
    """

    def __init__(self, folder: Path) -> None:
        manifest = read_manifest(folder)
        if manifest is None:
            raise FileNotFoundError(f"no complete picture store in {folder}")
        self.folder = folder
        self.digest: str = manifest["digest"]
        self.made_from: str = manifest.get("made_from", "")
        index = pd.read_parquet(folder / INDEX)
        self._places = {
            (str(row.photograph), int(row.scale)): (
                int(row.offset),
                int(row.height),
                int(row.width),
            )
            for row in index.itertuples()
        }
        # Mapped now: a folder that is replaced later leaves this store what it is.
        self._pixels: NDArray[np.uint8] = (
            np.memmap(folder / PIXELS, np.uint8, mode="r")
            if self._places
            else np.empty(0, np.uint8)  # which cannot be mapped
        )
        if read_manifest(folder) != manifest:
            raise ProjectError(f"another process has just written {folder} anew: run again")

    def __reduce__(self) -> tuple[type["PictureStore"], tuple[Path]]:
        return PictureStore, (self.folder,)  # its pixels are not copied with it

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The pixels of all pictures, row after row, `(pixels, 3)`, read-only."""
        return self._pixels.reshape(-1, 3)

    def first_pixel(self, photograph: str, scale: int) -> int:
        """The index in `pixels` where a picture begins."""
        return self._places[photograph, scale][0] // 3

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[tuple[str, int]]:
        """The `(photograph, scale)` of every picture, in the order of storage."""
        return iter(self._places)

    def size(self, photograph: str, scale: int) -> tuple[int, int]:
        """Height and width of a picture."""
        return self._places[photograph, scale][1:]

    def picture(self, photograph: str, scale: int) -> Picture:
        """A picture as a read-only `(height, width, 3)` view; nothing is copied.

        Args:
            photograph: its id.
            scale: 1 for the original, else the scale of the low-resolution partner.
        """
        offset, height, width = self._places[photograph, scale]
        return self._pixels[offset : offset + height * width * 3].reshape(height, width, 3)
