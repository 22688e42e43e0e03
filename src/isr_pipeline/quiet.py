"""Keeping the chatter of libraries off the screen."""

import os
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from isr_pipeline.terminal import STANDARD_ERROR

_screen = threading.RLock()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what C++ and Python alike write to standard error off the screen.

    What was written before a failure is shown. One thread at a time: the file is the process's.
    """
    with _screen, tempfile.TemporaryFile() as chatter:
        STANDARD_ERROR.flush()
        try:
            kept = os.dup(2)
        except OSError:  # closed: nothing is seen anyway
            yield
            return
        os.dup2(chatter.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(kept, 2)
            chatter.seek(0)
            STANDARD_ERROR.write(chatter.read().decode(errors="replace"))
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


_lock = threading.Lock()
_ignoring: "list[warnings.catch_warnings[None]]" = []
_blocks = 0


@contextmanager
def no_warnings() -> Iterator[None]:
    """Ignore warnings while any thread is in such a block.

    Python's `catch_warnings` is for one thread alone: of two that overlap, the later one leaves the
    other's filter behind.
    """
    global _blocks
    with _lock:
        if not _blocks:
            _ignoring.append(warnings.catch_warnings())
            _ignoring[0].__enter__()
            warnings.simplefilter("ignore")
        _blocks += 1
    try:
        yield
    finally:
        with _lock:
            _blocks -= 1
            if not _blocks:
                _ignoring.pop().__exit__(None, None, None)
