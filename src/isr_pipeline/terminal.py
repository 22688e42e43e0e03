"""Standard error for people: when its other end is gone, the work goes on unseen."""

import sys
from contextlib import suppress
from typing import Any


class _StandardError:
    """The present `sys.stderr`, which may be closed, or none at all in a service.

    What raised within tqdm would leave its lock taken, and the next who shows something waiting.
    """

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError, AttributeError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError, AttributeError):
            sys.stderr.flush()

    def isatty(self) -> bool:
        try:
            return sys.stderr.isatty()
        except (OSError, ValueError, AttributeError):
            return False

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)


STANDARD_ERROR = _StandardError()


def say(line: str) -> None:
    """Write a line."""
    STANDARD_ERROR.write(line + "\n")
    STANDARD_ERROR.flush()
