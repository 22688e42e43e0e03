"""Writing that is seen whole or not at all, and work that is done once."""

import hashlib
import json
import os
import platform
import re
import secrets
import shutil
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import psutil

MANIFEST = "manifest.json"
_PARTIAL = re.compile(r"\.partial\.([0-9a-f]{8})\.(\d+)\.[0-9a-f]{16}\..*", re.DOTALL)
"""Temporary names: machine, process, chance, and the end of the name that is meant."""


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` if the block ends well.

    No two writers are given the same, and nobody can foretell it to lay a link there. What killed
    processes of this machine left in the folder is cleared away.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path.parent.resolve())
    # The name keeps its ending, of which some writers make demands, and is never too long.
    unique = f"{_machine()}.{os.getpid()}.{secrets.token_hex(8)}"
    partial = path.with_name(f".partial.{unique}.{path.name[-40:]}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@lru_cache(maxsize=1)
def _machine() -> str:
    return f"{zlib.crc32(platform.node().encode()):08x}"


@lru_cache(maxsize=1024)  # a process looks once into each folder
def _sweep(folder: Path) -> None:
    """Delete the temporary files of processes that are no more, as far as one may."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = _PARTIAL.fullmatch(entry.name)
            if found and found[1] == _machine() and not psutil.pid_exists(int(found[2])):
                (folder / entry.name).unlink(missing_ok=True)


@contextmanager
def replace_folder(folder: Path) -> Iterator[Path]:
    """Give an empty temporary folder beside `folder`; put it in its place if the block ends well.

    What an interrupted write left behind is cleared away by the next one. A link to a folder stays
    a link.
    """
    folder = folder.resolve()
    recover_folder(folder)
    partial, former = _beside(folder, "partial"), _beside(folder, "former")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        if folder.exists():
            folder.replace(former)
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        recover_folder(folder)


def recover_folder(folder: Path) -> None:
    """Bring the former content back if a write ended between its two renames."""
    folder = folder.resolve()
    former = _beside(folder, "former")
    if former.is_dir() and not folder.exists():
        former.replace(folder)
    shutil.rmtree(former, ignore_errors=True)


def _beside(folder: Path, role: str) -> Path:
    return folder.with_name(f".{folder.name}.{role}")


def digest(*parts: Any) -> str:
    """SHA-256 over the JSON of the parts: equal for equal content, in any process.

    Raises:
        TypeError: for what has no JSON, such as a set, which has no order to rely on.
    """

    def plain(value: Any) -> str:
        if isinstance(value, Path):
            return str(value)
        raise TypeError(f"a {type(value).__name__} cannot be digested: {value!r}")

    text = json.dumps(parts, sort_keys=True, default=plain, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a completely written folder, or None."""
    recover_folder(folder)
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):  # no, or no readable, JSON
        return None
    return manifest if isinstance(manifest, dict) and "digest" in manifest else None


def write_once(
    folder: Path, work_digest: str, write: Callable[[Path], dict[str, Any]]
) -> dict[str, Any] | None:
    """Do the work that fills a folder, unless the folder already holds exactly its result.

    Args:
        folder: the folder to fill.
        work_digest: names the inputs and parameters of the work.
        write: fills the folder it is given and returns facts for the manifest.

    Returns:
        The manifest when the work was done, None when nothing was to do.
    """
    present = read_manifest(folder)
    if present is not None and present["digest"] == work_digest:
        return None
    with replace_folder(folder) as partial:
        manifest = {"digest": work_digest, **write(partial)}
        (partial / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
    return manifest
