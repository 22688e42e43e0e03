"""A collection of photographs in a folder: what should be there, and safe reading of it."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd

from isr_pipeline.errors import ProjectError

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
            OSError: when the file is missing or cannot be read.
        """
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
        return target.read_bytes()


def is_inside(path: str) -> bool:
    """Whether a relative path stays below its folder, whatever the operating system."""
    pure = PurePosixPath(path.replace("\\", "/"))
    has_drive = len(path) > 1 and path[1] == ":"
    return not (pure.is_absolute() or has_drive or ".." in pure.parts or "\0" in path)
