"""Which picture files are enlarged to where."""

import logging
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import BinaryIO

from isr_pipeline.errors import ProjectError
from isr_pipeline.imaging import encode
from isr_pipeline.imaging.decode import HEAD_BYTES, UnusablePictureError, format_of
from isr_pipeline.imaging.files import RESULTS

logger = logging.getLogger(__name__)

FORMATS = {suffix: name for name, suffixes in encode.SUFFIXES.items() for suffix in suffixes}
_READABLE = {*FORMATS, ".gif"}
_PICTURES = {*_READABLE, ".avif", ".heic", ".heif", ".jp2", ".jxl", ".psd", ".svg"}


@dataclass(frozen=True)
class Task:
    """One file to enlarge.

    Attributes:
        source: the picture.
        target: where the result goes.
        problem: why it is not to be touched; empty for a usual one.
    """

    source: Path
    target: Path
    problem: str = ""


def shown(path: Path | str) -> str:
    """A path for people: control characters and what is no text as escapes."""
    text = str(path).encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def open_regular(path: Path) -> BinaryIO:
    """A file for reading; what is none, such as a pipe, is refused without waiting for it."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    file = os.fdopen(os.open(path, flags), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise UnusablePictureError("unsupported", "no regular file")
    return file


def plan(inputs: Sequence[Path], output: Path, file_format: str | None = None) -> list[Task]:
    """Find the pictures and give each a place in the output folder.

    Folders are searched to their depths, without hidden files, the output folder and the results of
    earlier runs (`mark_results`); their structure is kept. Of several folders each gets a folder
    of its own. A single picture may go to a file: `output` then ends like one.

    Args:
        inputs: files and folders.
        output: the folder for the results.
        file_format: of the results, one of `encode.SUFFIXES`; as the name of each file says by
            default. GIF becomes PNG.

    What lies in the folders and is not taken for a picture is counted in the log.

    Raises:
        ProjectError: when an input is not there or cannot be looked at, there is no picture, or
            the output folder is an input folder or cannot be a folder, or is named like a picture
            that cannot be written.
    """
    for path in inputs:
        try:
            path.lstat()
        except FileNotFoundError:
            if str(path).startswith(("http:/", "https:/")):
                raise ProjectError("web addresses are not read: save the picture first") from None
            raise ProjectError(f"there is no {shown(path)}: name a picture or a folder") from None
        except OSError as error:
            raise ProjectError(f"{shown(path)}: {error.strerror}") from None
    folders = [path for path in inputs if _is_folder(path)]
    named = FORMATS.get(output.suffix.lower())
    to_file = len(inputs) == 1 and not folders and named is not None and not _is_folder(output)
    if not to_file and not output.exists() and output.suffix.lower() in _PICTURES:
        single = len(inputs) == 1 and not folders
        reason = "cannot be written in that format" if single else "is named like one picture"
        raise ProjectError(
            f"{shown(output)} {reason}: name a folder for the results"
            + (f", or end it in {', '.join(sorted(FORMATS))} (-o)" if single else " (-o)")
        )
    blocking = in_the_way(output.parent if to_file else output)
    if blocking is not None:
        raise ProjectError(f"{shown(blocking)} is a file: name a folder for the results (-o)")
    if to_file:
        if file_format not in (None, named):
            raise ProjectError(f"{shown(output)} is named as {named}, --format is {file_format}")
        return _checked([Task(inputs[0], output)], output.parent)
    names = _distinct([_real(folder).name for folder in folders])
    found: dict[Path, tuple[Path, Path, str]] = {}
    others: Counter[str] = Counter()
    for path in inputs:
        if _is_folder(path):
            if _real(path) == _real(output):
                raise ProjectError(
                    f"{shown(output)} is an input folder: name another for the results (-o)"
                )
            below = Path(names[folders.index(path)]) if len(folders) > 1 else Path()
            for source, problem in _pictures_in(path, output, others):
                found.setdefault(
                    _identity(source), (source, below / source.relative_to(path), problem)
                )
        else:
            found.setdefault(_identity(path), (path, Path(path.name), ""))
    if not found:
        raise ProjectError(
            f"no picture in {', '.join(shown(path) for path in inputs)}: "
            f"files ending in {', '.join(sorted(_READABLE))} are taken"
        )
    if others:
        kinds = ", ".join(f"{count} {kind}" for kind, count in others.most_common(8))
        more = ", ..." if len(others) > 8 else ""
        logger.warning("Left out as no pictures: %s%s", kinds, more)
    wanted = [
        (source, place.parent / _result_name(source, file_format), problem)
        for source, place, problem in found.values()
    ]
    targets = _without_collisions([(source, place) for source, place, _ in wanted])
    tasks = [
        Task(source, output / target, problem)
        for (source, _, problem), target in zip(wanted, targets, strict=True)
    ]
    return _checked(tasks, output)


def mark_results(inputs: Sequence[Path], output: Path) -> None:
    """Make the output folder, with a mark, if it is new or empty and lies among the inputs.

    Args:
        inputs: files and folders, as given to `plan`.
        output: a folder; a file's name is let alone.
    """
    if len(inputs) == 1 and not _is_folder(inputs[0]) and output.suffix.lower() in FORMATS:
        return
    folders = [path if _is_folder(path) else path.parent for path in inputs]
    if any(_is_among(output, folder) for folder in folders):
        with suppress(OSError):  # whoever writes there says why
            output.mkdir(parents=True, exist_ok=True)
            if not any(output.iterdir()):
                text = "Written by isr upscale, which leaves this folder out.\n"
                (output / RESULTS).write_text(text)


def _is_among(output: Path, folder: Path) -> bool:
    return _real(output) != _real(folder) and _real(output).is_relative_to(_real(folder))


def in_the_way(folder: Path) -> Path | None:
    """What is no folder and keeps `folder` from being one: itself or one above it."""
    for path in (folder, *folder.parents):
        if _is_folder(path):
            return None
        if os.path.lexists(path):
            return path
    return None


def _is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112  what may not be looked at is none


def _is_link(path: Path) -> bool:
    return os.path.islink(path)  # noqa: PTH114  as above


def _real(path: Path) -> Path:
    """A path without links. Those in a circle lead to themselves; `resolve` may raise for them."""
    return Path(os.path.realpath(path))


def _identity(path: Path) -> Path:
    return _real(path.parent) / path.name


def _pictures_in(folder: Path, output: Path, others: Counter[str]) -> Iterator[tuple[Path, str]]:
    """Picture files below a folder, each with a problem if it has one; `others` counts the rest."""
    root, results = _real(folder), _real(output)
    unreadable: list[OSError] = []
    for directory, folders, names in os.walk(folder, onerror=unreadable.append):
        here = Path(directory)
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and _real(here / name) != results
        )
        for name in [name for name in folders if os.path.lexists(here / name / RESULTS)]:
            logger.warning("Left out as results: %s (name it to have it)", shown(here / name))
            folders.remove(name)
        for name in sorted(names + [n for n in folders if _is_link(here / n)]):
            path = here / name
            if name.startswith("."):
                continue
            if name in names and path.suffix.lower() not in _READABLE:
                others[shown(path.suffix.lower()) or "without ending"] += 1
                continue
            if _is_link(path) and not _real(path).is_relative_to(root):
                yield path, f"a link out of {shown(folder)}: name the file itself to have it"
            elif name in names:
                yield path, ""
    for error in unreadable:
        yield Path(error.filename), f"the folder cannot be read: {error.strerror}"


def _result_name(source: Path, file_format: str | None) -> str:
    present = FORMATS.get(source.suffix.lower())
    if file_format is None and present is None and source.suffix.lower() != ".gif":
        try:
            with open_regular(source) as file:
                file_format = format_of(file.read(HEAD_BYTES))
        except (OSError, UnusablePictureError):
            file_format = None
        if file_format is None:
            return source.name  # whoever reads it again says why
    if present is not None and file_format in (None, present):
        return source.name
    stem = source.stem if source.suffix.lower() in _READABLE else source.name
    return stem + encode.SUFFIXES.get(file_format or "PNG", (".png",))[0]


def _casefolded(path: Path) -> str:
    return str(path).casefold()


def _distinct(names: list[str]) -> list[str]:
    """Names made different by a number, whatever their case."""
    taken: set[str] = set()
    result = []
    for name in names:
        stem, dot, suffix = name.rpartition(".")
        tried, number = name, 1
        while tried.casefold() in taken:
            number += 1
            tried = f"{stem}_{number}.{suffix}" if dot else f"{name}_{number}"
        taken.add(tried.casefold())
        result.append(tried)
    return result


def _without_collisions(wanted: list[tuple[Path, Path]]) -> list[Path]:
    """Places of results that all differ: by the original's ending, its folder, or a number."""
    rivals_for: dict[str, list[Path]] = {}
    for source, place in wanted:
        rivals_for.setdefault(_casefolded(place), []).append(source)
    places = []
    for source, place in wanted:
        rivals = rivals_for[_casefolded(place)]
        if len(rivals) > 1:
            endings = {rival.suffix.casefold() for rival in rivals}
            if len(endings) == len(rivals):
                place = place.with_name(f"{place.stem}_{source.suffix[1:]}{place.suffix}")
            else:
                place = place.parent / _real(source).parent.name / place.name
        places.append(place)
    return [Path(name) for name in _distinct([str(place) for place in places])]


def _checked(tasks: list[Task], output: Path) -> list[Task]:
    """The tasks, with their problems: no result may lie elsewhere or replace an original."""
    results = _real(output)
    originals: dict[tuple[int, int], Path] = {}
    for task in tasks:
        with suppress(OSError):  # whoever reads it says why
            originals[_node(task.source)] = task.source

    @cache
    def place(folder: Path) -> tuple[Path | None, bool]:
        return in_the_way(folder), _real(folder).is_relative_to(results)

    def problem(task: Task) -> str:
        target = shown(task.target)
        blocking, is_within = place(task.target.parent)
        if blocking is not None:
            return f"its place {target} cannot be: {shown(blocking)} is a file"
        if _is_folder(task.target):
            return f"its place {target} is a folder"
        if not is_within:
            return f"its place {target} is reached by a link out of the output folder"
        try:
            original = originals.get(_node(task.target))
        except OSError:
            return ""  # nothing is there
        if original == task.source:
            return "the result would replace the picture itself: name another folder (-o)"
        if original is not None:
            return f"the result would replace {shown(original)}: name another folder (-o)"
        return ""

    return [task if task.problem else replace(task, problem=problem(task)) for task in tasks]


def _node(path: Path) -> tuple[int, int]:
    """What a file is, whatever it is called."""
    found = path.stat()
    return found.st_dev, found.st_ino
