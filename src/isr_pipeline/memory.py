"""How much memory there is, and how much of it to use."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from isr_pipeline.errors import ProjectError
from isr_pipeline.machine import CONTROL_GROUP

_LIMITS = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
)
"""Where Linux's control groups, version 2 and 1, say what a container may use and does."""
SHARE = 0.25
"""Of the free memory, where nobody says how much."""

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_UNITS |= {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def parse_bytes(text: str | int) -> int:
    """Bytes of an amount such as `800MB`, `1.5GiB` or `2g`; a number alone is bytes.

    Raises:
        ProjectError: for anything else, and for a text of a small number alone.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?i?)b?\s*", str(text).lower())
    if found is None or found[2] not in _UNITS:
        raise ProjectError(f"'{text}' is no amount of memory: write 800MB or 1.5GiB")
    amount = int(float(found[1]) * _UNITS[found[2]])
    if isinstance(text, str) and not found[2] and amount < 10**6:
        raise ProjectError(f"'{text}' is {amount} bytes of memory: write 800MB or 1.5GiB")
    return amount


def show_bytes(amount: float) -> str:
    """An amount of memory for people."""
    return f"{amount / 2**30:.2f} GiB" if amount >= 2**30 else f"{amount / 2**20:.0f} MiB"


def resident() -> int:
    """Memory that this process has now, in bytes."""
    return int(psutil.Process().memory_info().rss)


def free() -> int:
    """Memory that programs can still have: the machine's, or less in a container with a limit."""
    available = int(psutil.virtual_memory().available)
    for limit, used, inactive in _LIMITS:
        try:
            most = (CONTROL_GROUP / limit).read_text().strip()
            taken = int((CONTROL_GROUP / used).read_text())
            # Files' contents that nobody uses at the moment make room for programs.
            statistics = (CONTROL_GROUP / used).with_name("memory.stat").read_text()
            rows = (row.split() for row in statistics.splitlines())
            taken -= next((int(row[1]) for row in rows if row[0] == inactive), 0)
            return available if most == "max" else min(available, max(int(most) - taken, 0))
        except (OSError, ValueError):
            continue
    return available


def default_limit() -> int:
    """What this process may use: what it has, and a share of what is free."""
    return resident() + int(SHARE * free())


def work_budget() -> int:
    """What the threads of one step may take together: half of what is free, at most 4 GB."""
    return min(4 * 10**9, free() // 2)


class MemoryGate:
    """Lets work in as long as all that is inside fits into a budget; one always may.

    Args:
        budget: bytes.
    """

    def __init__(self, budget: int) -> None:
        self._budget, self._used, self._open = budget, 0, True
        self._changed = threading.Condition()

    def take(self, cost: int, held: int = 0) -> bool:
        """Wait for room for `cost` in all, of which `held` was taken; False when it is closed."""

        def has_room() -> bool:
            others = self._used - held
            return not self._open or others == 0 or others + cost <= self._budget

        with self._changed:
            self._changed.wait_for(has_room)
            self._used += cost - held
            return self._open

    def give(self, cost: int) -> None:
        """Give back what was taken."""
        with self._changed:
            self._used -= cost
            self._changed.notify_all()

    def close(self) -> None:
        """Let nobody wait any longer."""
        with self._changed:
            self._open = False
            self._changed.notify_all()

    @contextmanager
    def room(self, cost: int) -> Iterator[None]:
        """Take room for a block."""
        self.take(cost)
        try:
            yield
        finally:
            self.give(cost)
