"""Writing that is seen whole or not at all, and work that is done once."""

import errno
import hashlib
import json
import os
import platform
import re
import secrets
import shutil
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, TextIO

import psutil

try:
    import fcntl
except ImportError:  # there is none on Windows
    fcntl = None  # type: ignore[assignment]

MANIFEST = "manifest.json"
_TEMPORARY = re.compile(r"\.(partial|former)\.([0-9a-f]{8})\.(\d+)\.[0-9a-f]{16}\.(.*)", re.DOTALL)
"""Temporary names: role, machine, process, chance, and the name (or its end) that is meant."""
_FORGOTTEN_S = 7 * 24 * 3600
"""Age at which what another machine, or a container that is no more, has left is cleared away."""


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` if the block ends well.

    No two writers are given the same, and nobody can foretell it to lay a link there. What killed
    processes of this machine left in the folder is cleared away.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep_once(path.parent.resolve())
    # The name keeps its ending, of which some writers make demands, and is never too long.
    partial = _beside(path, "partial", path.name[-40:])
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def replace_folder(folder: Path) -> Iterator[Path]:
    """Give an empty temporary folder beside `folder`; put it in its place if the block ends well.

    No two writers are given the same: of several at one time, the last to end is seen, and whole.
    What killed processes of this machine left is cleared away. A link to a folder stays a link.
    """
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    recover_folder(folder)
    _sweep(folder.parent)
    partial = _beside(folder, "partial", folder.name)
    partial.mkdir()
    try:
        yield partial
        _put_in_place(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _put_in_place(partial: Path, folder: Path) -> None:
    """Move the former folder aside, the new one to its place, and delete the former one."""
    while True:
        former = _beside(folder, "former", folder.name)
        try:
            with suppress(FileNotFoundError):  # the first, or another writer is between its moves
                folder.replace(former)
            partial.replace(folder)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                recover_folder(folder)
                raise
            # Another writer was faster: now its folder is the former one.
            _delete_former(former, folder)
        else:
            _delete_former(former, folder)
            return


def _delete_former(former: Path, folder: Path) -> None:
    """Delete it under another name, so that a former folder is whole as long as it is called so."""
    doomed = _beside(folder, "partial", folder.name)
    with suppress(OSError):
        former.replace(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def recover_folder(folder: Path) -> None:
    """Bring the former content back if a write ended between its two renames.

    Should the writer be alive and about to do the second, it will find the folder and begin anew.
    """
    folder = folder.resolve()
    if folder.exists():
        return
    with suppress(OSError):
        former = [
            path
            for path in folder.parent.iterdir()
            if (found := _TEMPORARY.fullmatch(path.name))
            and (found[1], found[4]) == ("former", folder.name)
        ]
        if former:
            max(former, key=lambda path: path.stat().st_mtime_ns).replace(folder)


def _beside(path: Path, role: str, name: str) -> Path:
    unique = f"{_machine()}.{os.getpid()}.{secrets.token_hex(8)}"
    return path.with_name(f".{role}.{unique}.{name}")


@lru_cache(maxsize=1)
def _machine() -> str:
    return f"{zlib.crc32(platform.node().encode()):08x}"


def _sweep(folder: Path) -> None:
    """Delete what processes that are no more have left, as far as one may."""
    paths: list[Path] = []
    with suppress(OSError):
        paths = list(folder.iterdir())
    for path in paths:
        found = _TEMPORARY.fullmatch(path.name)
        if found is None:
            continue
        with suppress(OSError):  # another process may sweep too
            if not _abandoned(path, machine=found[2], process=int(found[3])):
                continue
            if found[1] == "former":
                recover_folder(folder / found[4])
                _delete_former(path, folder / found[4])
            elif path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


_sweep_once = lru_cache(maxsize=1024)(_sweep)
"""For folders of thousands of files, each written by `replace_file`."""


def _abandoned(path: Path, machine: str, process: int) -> bool:
    written = path.lstat().st_mtime
    if machine != _machine():
        return time.time() - written > _FORGOTTEN_S
    try:  # a number is given again: a process that is younger has not written this
        return psutil.Process(process).create_time() > written + 60
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


@contextmanager
def only_one(lock: Path, wait: bool = False) -> Iterator[int | None]:
    """Keep other processes of this machine from a block that they enter by the same lock file.

    The lock ends with its process, however that ends. Where the system has no such locks, nobody
    is kept away.

    Args:
        lock: a file, there as long as somebody is in the block.
        wait: until nobody else is in the block.

    Yields:
        None, or the number of the process that is in the block already (0 if that is not known).
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with lock.open("a+") as file:
            if not _take(file, wait):
                file.seek(0)
                owner = file.read()
                break
            if not _is(file, lock):
                continue  # its owner has just left and deleted it
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            try:
                yield None
            finally:
                lock.unlink(missing_ok=True)
            return
    yield int(owner) if owner.isdecimal() else 0


def _take(file: TextIO, wait: bool) -> bool:
    """Whether a file could be locked, or nobody can here."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a disk without locks
        return True
    return True


def _is(file: TextIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


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
    """The manifest of a completely written folder, or None.

    A folder that lacks a file, or has one of another size than it was written with, is not
    complete.
    """
    recover_folder(folder)
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):  # no, or no readable, JSON
        return None
    if not isinstance(manifest, dict) or "digest" not in manifest:
        return None
    present = _sizes(folder)
    written = manifest.get("files", {})
    return manifest if all(present.get(name) == size for name, size in written.items()) else None


def _sizes(folder: Path) -> dict[str, int]:
    """Bytes of each file in a folder, but for the manifest."""
    return {
        str(path.relative_to(folder)): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / MANIFEST
    }


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
        manifest = {"digest": work_digest, **write(partial), "files": _sizes(partial)}
        (partial / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
    return manifest
