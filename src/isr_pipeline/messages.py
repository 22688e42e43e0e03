"""Errors as people read them: one line that says what to do."""

import errno
import os
import re
import shlex
import sys
import textwrap
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from kedro.framework.project import pipelines
from kedro.io import DatasetError
from kedro.validation.exceptions import ParameterValidationError

from isr_pipeline.configuration import READ_WITH, ConfigLoader
from isr_pipeline.errors import ProjectError

NO_PLACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)
"""What a system says that lets nothing be written, or read, there."""
_options: list[str] = []
"""See `remember_options`."""
NAMES_ARE_LOOKED_UP_IN = ("kedro.framework.session.session", "kedro.pipeline.pipeline")
"""Kedro's modules that raise a ValueError for names of pipelines, nodes and datasets."""


def remember_options(run_params: dict[str, Any], loader: ConfigLoader) -> None:
    """Keep what a command must say beside its pipelines to work on what this run works on."""
    environment = run_params.get("env")
    _options.clear()
    if environment not in (None, "local", "base"):
        _options.append(f" --env={environment}")
    given = {key: value for key, value in (loader.runtime_params or {}).items() if key in READ_WITH}
    if environment in ("photos", "weights"):
        given = {"photos": "<folder>", **given}
    if given:
        option = "--params=" + ",".join(f"{key}={value}" for key, value in given.items())
        _options.append(f" {option if '<' in option else shlex.quote(option)}")


def with_options(text: str) -> str:
    """A text whose commands have the options that this run has."""
    return re.sub(
        r"(kedro run --pipelines=[\w,]+)(?![\w,]| --)", lambda m: m[1] + "".join(_options), text
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def one_line_for_people(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    """`sys.excepthook` that shows what a person can mend as one line, and else the traceback."""
    for link in _chain(error):
        if isinstance(link, ProjectError):
            print(f"Error: {with_options(str(link))}", file=sys.stderr)
            return
        if isinstance(link, OSError) and link.errno in NO_PLACE:
            where = f": {link.filename}" if link.filename else ""
            print(f"Error: {os.strerror(link.errno).lower()}{where}", file=sys.stderr)
            return
        if isinstance(link, ParameterValidationError):
            print(f"Error: {wrong_parameters(str(link))}", file=sys.stderr)
            return
    if isinstance(error, AttributeError) and "module 'kedro.runner' has no" in str(error):
        known = "SequentialRunner, ParallelRunner, ThreadRunner"
        print(f"Error: --runner={error.name}: there are {known}", file=sys.stderr)
        return
    damaged = _damaged_file(error)
    if damaged:
        print(f"Error: {with_options(damaged)}", file=sys.stderr)
        return
    if isinstance(error, ValueError) and _module_of(traceback) in NAMES_ARE_LOOKED_UP_IN:
        text = " ".join(str(error).split())
        if "find the pipeline" in text:
            known = ", ".join(sorted(name for name in pipelines if name != "__default__"))
            text = f"{text.partition('. ')[0]}: there are {known}"
        print(f"Error: {text}", file=sys.stderr)
        return
    sys.__excepthook__(kind, error, traceback)


def _damaged_file(error: BaseException) -> str:
    """What to say of a catalog entry's file that is not of its format; empty for other errors."""
    first = error
    while first.__cause__ is not None:
        first = first.__cause__
    found = re.match(r"(\w+): Failed while loading .*?filepath=[^']*'([^']+)'", str(error))
    if not isinstance(error, DatasetError) or not isinstance(first, ValueError) or not found:
        return ""
    name, path = found.groups()
    makers = [known for known, other in pipelines.items() if name in other.all_outputs()]
    rooms = [known for known in makers if known not in ("__default__", "prepare")]
    remedy = f"and run kedro run --pipelines={rooms[0]}" if rooms else "or bring it back"
    reason = textwrap.shorten(str(first).replace(path, ""), 100, placeholder=" ...")
    return f"{name}: {path} is damaged ({reason}): remove it {remedy}"


def wrong_parameters(text: str) -> str:
    """What Kedro and pydantic say of wrong parameters, in one line with their whole names.

    Args:
        text: of a `ParameterValidationError`: a line for each group of parameters, below it a line
            for each of them that is wrong, and below that, indented, what is wrong with it.
    """
    found, group, name = [], "", ""
    for line in text.splitlines():
        heading = re.match(r"- Parameter '([^']+)':", line)
        if heading:
            group = name = heading[1]
        elif line.startswith("  ") and not line.lstrip().startswith("For further information"):
            wrong = line.strip().removeprefix("Value error, ").partition(" [type=")[0]
            found.append(f"{name}: {wrong[0].lower()}{wrong[1:]}")
        elif group and line and not line[0].isspace():
            name = f"{group}.{line}"
    return "; ".join(found) or text


def _module_of(traceback: TracebackType | None) -> str | None:
    """The module in which an error was raised."""
    frame = None
    while traceback is not None:
        frame, traceback = traceback.tb_frame, traceback.tb_next
    return None if frame is None else frame.f_globals.get("__name__")
