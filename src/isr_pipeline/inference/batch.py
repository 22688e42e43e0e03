"""Many picture files, enlarged with all hands busy.

Reading, the network and writing run at the same time, each in a thread of its own, with as many
pictures under way as memory allows. Every file is written under a temporary name and renamed when
it is whole: what exists is finished, and an interrupted batch goes on where it stopped.
"""

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import numpy as np
from tqdm import tqdm

from isr_pipeline.errors import ProjectError
from isr_pipeline.imaging import encode
from isr_pipeline.imaging.decode import (
    HEAD_BYTES,
    UnusablePictureError,
    format_of,
    open_header,
)
from isr_pipeline.imaging.files import (
    READ,
    Extras,
    Header,
    PictureFile,
    Samples,
    read_header,
    read_picture,
)
from isr_pipeline.inference.plan import FORMATS, Task, open_regular, shown
from isr_pipeline.inference.tiling import largest_window, longest_side
from isr_pipeline.inference.upscaler import Upscaler
from isr_pipeline.memory import MemoryGate, show_bytes
from isr_pipeline.quiet import no_warnings
from isr_pipeline.storage.atomic import replace_file
from isr_pipeline.terminal import STANDARD_ERROR

logger = logging.getLogger(__name__)

DONE, KEPT, FAILED = "done", "kept", "failed"
AHEAD = 4
"""How many decoded pictures wait for the network, and how many enlarged ones to be written."""
MAXIMUM_MEGAPIXELS = 500.0
"""Pictures that claim more are refused before they are unpacked."""


@dataclass(frozen=True)
class Outcome:
    """What became of a file.

    Attributes:
        source: the picture.
        target: its result.
        status: `done`, `kept` (the result was there already) or `failed`.
        reason: of a failure, one line.
        width: of the result in pixels; 0 unless done.
        height: of the result.
    """

    source: Path
    target: Path
    status: str
    reason: str = ""
    width: int = 0
    height: int = 0


@dataclass
class Batch:
    """What became of all files.

    Attributes:
        outcomes: in the order in which they were finished.
        seconds: from beginning to end.
        busy: seconds that `decode`, `network` and `encode` worked, each in its own thread.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    seconds: float = 0.0
    busy: dict[str, float] = field(
        default_factory=lambda: {"decode": 0.0, "network": 0.0, "encode": 0.0}
    )

    @property
    def failed(self) -> list[Outcome]:
        """The files that have no result, sorted by name."""
        return sorted((o for o in self.outcomes if o.status == FAILED), key=lambda o: o.source)

    @property
    def megapixels(self) -> float:
        """Millions of pixels that were written."""
        return sum(o.width * o.height for o in self.outcomes) / 1e6

    def summary(self) -> str:
        """One line on all files."""
        count = Counter(outcome.status for outcome in self.outcomes)
        done = f"{count[DONE]} enlarged"
        if count[DONE]:
            rate = self.megapixels / self.seconds
            done += f" ({self.megapixels:.1f} MP in {self.seconds:.1f} s, {rate:.1f} MP/s)"
        again = "by name and size, whatever made them: --overwrite does them again"
        kept = f"{count[KEPT]} already there ({again})" if count[KEPT] else ""
        failed = f"{count[FAILED]} failed" if count[FAILED] else ""
        return ", ".join(part for part in (done, kept, failed) if part)


def upscale_files(
    tasks: Sequence[Task],
    upscaler: Upscaler,
    overwrite: bool = False,
    report: Callable[[str], None] | None = None,
) -> Batch:
    """Enlarge files; one that fails is reported and left out, the others go on.

    Args:
        tasks: see `plan`.
        upscaler: the network.
        overwrite: do again what has a result; otherwise it is kept.
        report: called with a line for each failure; by default it goes to standard error.

    Raises:
        KeyboardInterrupt: when interrupted, after the threads have stopped and temporary files
            are gone.
    """
    return _Run(tasks, upscaler, overwrite, report or _to_standard_error).go()


def _to_standard_error(line: str) -> None:
    tqdm.write(line, file=STANDARD_ERROR)  # above the progress bar


def _stored_size(path: Path) -> tuple[int, int]:
    """The longer and the shorter side of a picture file, from its header."""
    with open_regular(path) as file, no_warnings():
        try:
            with open_header(file, READ) as image:
                return max(image.size), min(image.size)
        except Exception as error:  # Pillow raises whatever the format's reader raises
            raise UnusablePictureError("not_an_image", f"unreadable header: {error}") from None


def is_result(source: Path, target: Path, scale: int) -> bool:
    """Whether `target` can be `source` enlarged: by its size and by being no older.

    The age of a source that is dated in the future, as by a camera's clock, says nothing.

    Raises:
        UnusablePictureError: when the source is no picture.
        OSError: when it cannot be read.
    """
    if target.stat().st_mtime_ns < source.stat().st_mtime_ns <= time.time_ns():
        return False
    longer, shorter = _stored_size(source)
    try:
        return _stored_size(target) == (scale * longer, scale * shorter)
    except UnusablePictureError:
        return False


def check_room(upscaler: Upscaler, what: str, held: int) -> None:
    """See whether what is to be enlarged fits into the memory.

    Raises:
        ProjectError: when the smallest window has no room beside `held` bytes.
    """
    if upscaler.window(held) == 0:
        raise ProjectError(
            f"{what} needs {show_bytes(upscaler.needed(held))} of memory, "
            f"{show_bytes(upscaler.max_memory)} are allowed: raise max_memory (--max-memory)"
        )


def read_whole(path: Path, most: float = float("inf")) -> bytes:
    """The bytes of a file that begins as pictures do.

    Args:
        path: the file.
        most: bytes that there is room for; a file that has more has grown since it was measured.

    Raises:
        UnusablePictureError: when it is no regular file, no picture, or changed while it was read.
        OSError: when it cannot be read.
    """
    with open_regular(path) as file:
        before = os.fstat(file.fileno())
        head = file.read(HEAD_BYTES)
        if head and format_of(head) is None:
            raise UnusablePictureError("not_an_image", "no picture format that is read here")
        file.seek(0)
        data = file.read(before.st_size) if before.st_size <= most else b""
        after = os.fstat(file.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or (
        len(data) != after.st_size
    ):
        raise UnusablePictureError(
            "changed", "the file changed while it was read: run again when it is finished"
        )
    return data


@dataclass
class _Job:
    task: Task
    samples: Samples
    extras: Extras
    file_format: str
    cost: int
    bands: "Queue[Any]" = field(default_factory=lambda: Queue(2))
    failed: bool = False


class _InterruptedError(Exception):
    """Travels to the writer in place of the rows that will not come."""


class _Run:
    def __init__(
        self,
        tasks: Sequence[Task],
        upscaler: Upscaler,
        overwrite: bool,
        report: Callable[[str], None],
    ) -> None:
        self._tasks, self._upscaler, self._overwrite = tasks, upscaler, overwrite
        self._report = report
        self._gate = MemoryGate(upscaler.allowance - upscaler.reserve)
        self._decoded: Queue[_Job | None] = Queue(AHEAD)
        self._to_write: Queue[_Job | None] = Queue(AHEAD)
        self._stopped = False  # nothing more is begun
        self._abandoned = False  # nothing more is finished
        self._all_written = threading.Event()  # an interrupted `join` takes threads for ended
        self._batch = Batch()
        self._lock = threading.Lock()
        self._began = time.perf_counter()
        self._written = 0.0

    def go(self) -> Batch:
        self._bar = tqdm(
            total=len(self._tasks),
            desc="enlarging",
            unit="picture",
            disable=None,
            bar_format="{desc} {percentage:3.0f}%|{bar}|{postfix} {elapsed}<{remaining}",
            file=STANDARD_ERROR,
        )
        reader = threading.Thread(target=self._read_all, name="decode", daemon=True)
        writer = threading.Thread(target=self._write_all, name="encode", daemon=True)
        reader.start()
        writer.start()
        try:
            try:
                while (job := self._decoded.get()) is not None:
                    self._enlarge(job)
            except BaseException:
                self._stop(reader)
                raise
            finally:  # what is enlarged is written, unless one interrupts that as well
                self._to_write.put(None)
                self._all_written.wait()
                writer.join()
        except BaseException:
            self._abandoned = True
            self._all_written.wait()
            raise
        finally:
            self._bar.close()
        self._batch.seconds = time.perf_counter() - self._began
        return self._batch

    def _stop(self, reader: threading.Thread) -> None:
        self._stopped = True
        self._gate.close()
        while reader.is_alive():
            try:
                self._decoded.get(timeout=0.05)
            except Empty:
                continue

    def _read_all(self) -> None:
        try:
            for task in self._tasks:
                job = None if self._stopped else self._read(task)
                if job is not None:
                    self._decoded.put(job)
        finally:
            self._decoded.put(None)

    def _read(self, task: Task) -> _Job | None:
        cost = 0
        try:
            if task.problem:
                raise ProjectError(task.problem)
            size = task.source.stat().st_size
            check_room(self._upscaler, f"a file of {size:,} bytes", size)
            if task.target.is_file() and not self._overwrite:
                if not is_result(task.source, task.target, self._upscaler.scale):
                    raise ProjectError(
                        f"{shown(task.target)} was made from another picture or scale: "
                        "--overwrite does it again"
                    )
                self._finish(task, KEPT)
                return None
            if not self._gate.take(size):
                return None
            cost = size
            data = read_whole(task.source, size)
            header = read_header(data, MAXIMUM_MEGAPIXELS)
            file_format = FORMATS.get(task.target.suffix.lower(), header.format)
            needed = self._cost(header, file_format, size)
            check_room(self._upscaler, f"{header.width}x{header.height}", needed)
            if not self._gate.take(needed, cost):
                return None
            cost = needed
            began = time.perf_counter()
            picture = read_picture(data, MAXIMUM_MEGAPIXELS)
            samples, extras = prepared(picture, file_format)
            self._batch.busy["decode"] += time.perf_counter() - began
            return _Job(task, samples, extras, file_format, cost)
        except Exception as error:
            self._gate.give(cost)
            self._finish(task, FAILED, _reason(error))
            return None

    def _cost(self, header: Header, file_format: str, size: int) -> int:
        """Memory that a picture takes from its reading to its writing, at most."""
        scale = self._upscaler.scale
        pixels, depth = header.width * header.height, header.depth
        enlarged = pixels * scale**2
        # Some bands wait, one is made and one is written; small pictures are one band.
        window = largest_window(self._upscaler.halo, self._upscaler.alignment)
        rows = min(header.height, longest_side(header.width, window))
        band = rows * header.width * scale**2
        decoding = pixels * header.working
        lossless = file_format == header.format == "WEBP" and header.lossless
        whole = encode.whole_picture_bytes(file_format, header.channels, lossless)
        writing = min(4 * band, enlarged) * header.channels * depth + enlarged * whole
        return size + pixels * header.channels * depth + max(decoding, writing)

    def _enlarge(self, job: _Job) -> None:
        try:
            self._to_write.put(job)
            # Others are inside as long as all leave the reserve; a larger picture is alone.
            held = max(job.cost, self._upscaler.allowance - self._upscaler.reserve)
            bands = self._upscaler.bands(job.samples, held - job.samples.nbytes)
            while not job.failed:
                began = time.perf_counter()
                band = next(bands, None)
                self._batch.busy["network"] += time.perf_counter() - began
                job.bands.put(band)
                if band is None:
                    return
        except Exception as error:
            job.bands.put(error)
        except BaseException:
            job.bands.put(_InterruptedError("interrupted"))
            raise

    def _write_all(self) -> None:
        try:
            while (job := self._next(self._to_write)) is not None:
                self._try_to_write(job)
        except _InterruptedError:
            pass
        finally:
            self._all_written.set()

    def _try_to_write(self, job: _Job) -> None:
        try:
            self._write(job)
        except _InterruptedError:
            pass
        except Exception as error:
            job.failed = True
            reason = _reason(error)
            if isinstance(error, OSError):
                reason = f"{shown(job.task.target)}: {reason}"
            self._finish(job.task, FAILED, reason)
            self._drain(job)
        finally:
            self._gate.give(job.cost)

    def _next(self, queue: "Queue[Any]") -> Any:
        """What comes next in a queue; raises `_InterruptedError` when the work is abandoned."""
        while not self._abandoned:
            try:
                return queue.get(timeout=0.1)
            except Empty:
                continue
        raise _InterruptedError("abandoned")

    def _drain(self, job: _Job) -> None:
        """Take what the network still gives, so that it is not kept waiting."""
        while not job.bands.empty():
            job.bands.get_nowait()

    def _write(self, job: _Job) -> None:
        height, width, channels = job.samples.shape
        size = (width * self._upscaler.scale, height * self._upscaler.scale)
        with replace_file(job.task.target) as partial:
            writer = encode.open_writer(
                partial,
                job.file_format,
                size,
                channels,
                job.samples.dtype.itemsize,
                job.extras,
                shown(job.task.source),
            )
            while (band := self._next(job.bands)) is not None:
                if isinstance(band, BaseException):
                    raise band
                began = time.perf_counter()
                writer.write(band)
                self._batch.busy["encode"] += time.perf_counter() - began
                self._progress(len(band) / size[1], band.shape[0] * band.shape[1])
            began = time.perf_counter()
            writer.close()
            self._batch.busy["encode"] += time.perf_counter() - began
            if self._abandoned:
                raise _InterruptedError("abandoned")
        self._finish(job.task, DONE, "", size)

    def _progress(self, part: float, pixels: int) -> None:
        with self._lock:
            self._written += pixels
            self._bar.update(part)

    def _finish(
        self, task: Task, status: str, reason: str = "", size: tuple[int, int] = (0, 0)
    ) -> None:
        with self._lock:
            self._batch.outcomes.append(Outcome(task.source, task.target, status, reason, *size))
            number = len(self._batch.outcomes)
            rate = self._written / 1e6 / max(time.perf_counter() - self._began, 1e-9)
            self._bar.set_postfix_str(
                f"{number} of {len(self._tasks)} pictures, {rate:.1f} MP/s", refresh=False
            )
            self._bar.update(number - self._bar.n)
            if status == FAILED:
                self._report(f"{shown(task.source)}: {reason}")


def prepared(picture: PictureFile, file_format: str) -> tuple[Samples, Extras]:
    """Samples and extras as the format of the result holds them."""
    samples, extras = picture.samples, picture.extras
    if file_format != picture.format:
        samples, extras = encode.turned(samples, extras)
    channels, depth = encode.held(file_format, samples.shape[2], samples.dtype.itemsize)
    return np.ascontiguousarray(encode.fitted(samples, channels, depth)), extras


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, MemoryError):
        return "not enough memory: lower max_memory (--max-memory)"
    known = isinstance(error, UnusablePictureError | ProjectError | encode.UnwritableError)
    text = str(error) if known else f"{type(error).__name__}: {error}"
    return " ".join(text.split())
