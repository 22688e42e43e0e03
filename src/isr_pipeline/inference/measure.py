"""Seconds and peak memory of networks, each measured in a process of its own.

A process that has loaded TensorFlow, other networks or a table of pictures says nothing about the
memory that one network needs. Each network and engine therefore gets a fresh process, which runs
this module. Those of a group stay open and take turns, one picture each a round, so that whatever
else the machine does meets all of them alike.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

from isr_pipeline.errors import ProjectError

EngineName = Literal["keras", "openvino"]


@dataclass(frozen=True)
class Job:
    """One network in one engine.

    Attributes:
        scale: the integer factor.
        engine: `keras` or `openvino`.
        height: of the low-resolution picture.
        width: of the low-resolution picture.
        path: of a `.keras` file, or None for shipped weights.
        weights: name of shipped weights' folder, or None for a path.
    """

    scale: int
    engine: EngineName
    height: int
    width: int
    path: str | None = None
    weights: str | None = None


@dataclass(frozen=True)
class Cost:
    """What a job took.

    Attributes:
        seconds: median over the rounds, for one picture; from arrays to arrays, without decoding.
        peak_mib: the largest memory that the process ever held, libraries included.
        precision: what the engine computed in, such as `float32`.
        trouble: why there are no figures; None when there are.
    """

    seconds: float | None
    peak_mib: float | None
    precision: str | None
    trouble: str | None = None


def measure(jobs: Sequence[Job], rounds: int, together: int) -> list[Cost]:
    """Measure jobs, `together` of them side by side.

    Args:
        jobs: what to measure.
        rounds: pictures that each job does after one to warm up.
        together: how many processes are open at a time; only one of them works.
    """
    costs: list[Cost] = []
    for first in range(0, len(jobs), together):
        costs += _side_by_side(jobs[first : first + together], rounds)
    return costs


def _side_by_side(jobs: Sequence[Job], rounds: int) -> list[Cost]:
    with ExitStack() as stack:
        workers = []
        for job in jobs:
            workers.append(_Worker(job, stack))
            workers[-1].warm_up()  # before the next one starts
        for _ in range(rounds):
            for worker in workers:
                worker.do_one()
        return [worker.finish() for worker in workers]


class _Worker:
    """The parent's end of a measuring process."""

    def __init__(self, job: Job, stack: ExitStack) -> None:
        self._errors = stack.enter_context(tempfile.TemporaryFile("w+"))  # noqa: SIM115
        self._process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", "isr_pipeline.inference.measure", json.dumps(asdict(job))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        )
        stack.callback(self._process.kill)
        self._seconds: list[float] = []
        self._alive = True

    def warm_up(self) -> None:
        self._precision = self._answer().get("precision")

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        self._alive = bool(line)
        return dict(json.loads(line)) if line else {}

    def do_one(self) -> None:
        if self._alive:
            self._send("go")
            self._seconds += self._answer().values()

    def finish(self) -> Cost:
        if self._alive:
            self._send("end")
            peak = self._answer().get("peak_mib")
            if peak is not None:
                return Cost(median(self._seconds), peak, self._precision)
        self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines() or [f"ended {self._process.returncode}"]
        return Cost(None, None, None, lines[-1][:200])

    def _send(self, word: str) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it died: the answer will be missing
            self._process.stdin.write(word + "\n")
            self._process.stdin.flush()


def peak_mib() -> float:
    """The largest resident memory of this process so far, in MiB.

    Not `ru_maxrss`, which on Linux a process inherits from the one that started it.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:  # not Linux
        import resource

        unit = 2**20 if sys.platform == "darwin" else 2**10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 2**10


def _work(job: Job) -> None:
    """The measuring process: answers each `go` with the seconds of a picture, then its memory."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer

    import numpy as np

    from isr_pipeline.inference.engines import open_engine

    engine = open_engine(_source(job), job.scale, engine=job.engine)
    low_res = np.random.default_rng(0).random((1, job.height, job.width, 3), np.float32)
    engine(low_res)
    answers.write(json.dumps({"precision": engine.precision}) + "\n")
    for word in sys.stdin:
        if word.strip() != "go":
            break
        began = time.perf_counter()
        engine(low_res)
        answers.write(json.dumps({"seconds": time.perf_counter() - began}) + "\n")
    answers.write(json.dumps({"peak_mib": peak_mib()}) + "\n")


def _source(job: Job) -> Any:
    if job.path is not None:
        return Path(job.path)
    from isr_pipeline import weights

    return weights.named(str(job.weights))


if __name__ == "__main__":
    try:
        _work(Job(**json.loads(sys.argv[1])))
    except ProjectError as problem:
        sys.exit(str(problem))
