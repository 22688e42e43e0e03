"""A collection of photographs in a folder: what should be there, and safe reading of it."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import pandas as pd

from isr_pipeline.errors import ProjectError
from isr_pipeline.imaging.arrays import Picture
from isr_pipeline.imaging.decode import (
    FORMATS,
    HEAD_BYTES,
    UnusablePictureError,
    decode_picture,
    format_of,
    open_header,
)
from isr_pipeline.quiet import no_warnings

MAXIMUM_BYTES = 2 * 2**30  # of a file; what is larger is no photograph but a film
COLUMNS = ("photograph", "scale", "path")


class SourceError(ProjectError):
    """A source of photographs that cannot be used."""


@dataclass(frozen=True)
class PhotoCollection:
    """Files that belong to photographs, below one folder.

    Attributes:
        root: the folder that `path` is relative to.
        files: a table with one row a file: `photograph` (its id), `scale` (1 for the
            high-resolution original, 2, 4, ... for a low-resolution partner) and `path`
            (relative, with forward slashes).
        name: how messages call the collection.
    """

    root: Path
    files: pd.DataFrame
    name: str

    def read(self, path: str) -> bytes:
        """Read one file of the collection.

        Raises:
            SourceError: when the path leaves the folder (also through a symbolic link).
            UnusablePictureError: when the file does not begin as pictures do; it is not read on.
            OSError: when the file is missing or cannot be read.
        """
        with self._open(path) as file:
            head = file.read(HEAD_BYTES)
            if head and format_of(head) is None:
                raise UnusablePictureError("not_an_image", "no picture format that is read here")
            file.seek(0)
            return file.read()

    def picture(self, path: str, sha256: str) -> Picture:
        """Decode a file that ingestion found usable.

        Raises:
            ProjectError: when it is not the file any more that it was then, or is gone.
        """
        try:
            data = self.read(path)
            problem = "" if hashlib.sha256(data).hexdigest() == sha256 else "has changed"
        except UnusablePictureError:
            problem = "has changed"
        except FileNotFoundError:
            problem = "is gone"
        except OSError as error:
            problem = f"cannot be read any more ({error.strerror or error})"
        if problem:
            raise ProjectError(
                f"{path} {problem} since it was ingested: "
                "run kedro run --pipelines=ingest,pair,tile again"
            )
        # The index has refused what is too large; what it took is not refused again.
        return decode_picture(data, maximum_megapixels=float("inf")).pixels

    def size(self, path: str) -> int:
        """Bytes of a file; 0 for what `read` refuses."""
        try:
            with self._open(path) as file:
                if format_of(file.read(HEAD_BYTES)) is None:
                    return 0
                return os.fstat(file.fileno()).st_size
        except (OSError, SourceError):
            return 0

    def pixels(self, path: str) -> int:
        """How many pixels a file claims to hold; 0 for what is no picture."""
        try:
            with (
                self._open(path) as file,
                no_warnings(),
                open_header(file, FORMATS) as image,
            ):
                return image.width * image.height
        except Exception:  # Pillow raises whatever the format's reader raises
            return 0

    def _open(self, path: str) -> BinaryIO:
        root = self.root.resolve()
        try:
            target = (root / path).resolve() if is_inside(path) else None
        except RuntimeError:  # as pathlib calls it before Python 3.13
            raise SourceError(f"'{path}' is a link that leads to itself") from None
        if target is None or not target.is_relative_to(root):
            raise SourceError(f"'{path}' leaves the folder {self.root}")
        if target.exists() and not target.is_file():
            raise IsADirectoryError(f"'{path}' is not a regular file")
        size = target.stat().st_size
        if size > MAXIMUM_BYTES:
            raise SourceError(f"'{path}' has {size / 1e9:.1f} GB: too large for a photograph")
        return target.open("rb")


def is_inside(path: str) -> bool:
    """Whether a relative path stays below its folder, whatever the operating system."""
    pure = PurePosixPath(path.replace("\\", "/"))
    has_drive = len(path) > 1 and path[1] == ":"
    return not (pure.is_absolute() or has_drive or ".." in pure.parts or "\0" in path)
