"""Anybody's folder of photographs, nested, with any mix of formats."""

import logging
import os
from pathlib import Path

import pandas as pd

from isr_pipeline.imaging.files import RESULTS
from isr_pipeline.sources.collection import COLUMNS, PhotoCollection, SourceError

logger = logging.getLogger(__name__)


def check_folder(folder: Path) -> None:
    """See that there is a folder.

    Raises:
        SourceError: when there is none.
    """
    if not folder.is_dir():
        problem = "is a file" if folder.exists() else "is not there"
        raise SourceError(f"the folder {folder} {problem}: give one that holds photographs")


def list_folder(folder: Path) -> PhotoCollection:
    """List every file below `folder` as a high-resolution photograph.

    Whether a file is a picture is for decoding to find out, not for its name. Hidden files and
    folders are left out, and so are folders of enlarged pictures (`RESULTS`), which would stand in
    other splits than their originals; links to folders are not followed. A photograph's id is its
    path.

    Raises:
        SourceError: when the folder does not exist or holds no file.
    """
    check_folder(folder)
    paths = []

    def left_out(error: OSError) -> None:
        logger.warning("%s: %s; what it holds is left out", error.filename, error.strerror)

    for directory, folders, names in os.walk(folder, onerror=left_out):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        marked = [n for n in folders if os.path.lexists(Path(directory) / n / RESULTS)]
        for name in marked:
            logger.warning("Left out, as results of isr upscale: %s", Path(directory) / name)
            folders.remove(name)
        paths += [
            (Path(directory) / name).relative_to(folder).as_posix()
            for name in names
            if not name.startswith(".")
        ]
    if not paths:
        raise SourceError(f"the folder {folder} holds no file: put photographs into it")
    paths.sort()
    # A name that is no text is written with escapes: the file will count as missing, by that name.
    paths = [path.encode("utf-8", "backslashreplace").decode() for path in paths]
    paths.sort()
    for path in paths:
        try:
            path.encode()
        except UnicodeEncodeError:
            raise SourceError(f"the file name {path!a} in {folder} is no text: rename it") from None
    table = pd.DataFrame({"photograph": paths, "scale": 1, "path": paths}, columns=list(COLUMNS))
    return PhotoCollection(folder, table, str(folder))
