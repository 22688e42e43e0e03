"""How much memory there is, and how much of it to use."""

import re
from pathlib import Path

import psutil

from isr_pipeline.errors import ProjectError

CONTROL_GROUP = Path("/sys/fs/cgroup")
SHARE = 0.25
"""Of the free memory, where nobody says how much."""

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


def parse_bytes(text: str | int) -> int:
    """Bytes of an amount such as `800MB`, `1.5GiB` or `2g`.

    Raises:
        ProjectError: for anything else.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmg]?i?)b?\s*", str(text).lower())
    if found is None or found[2] not in _UNITS:
        raise ProjectError(f"'{text}' is no amount of memory: write 800MB or 1.5GiB")
    return int(float(found[1]) * _UNITS[found[2]])


def show_bytes(amount: float) -> str:
    """An amount of memory for people."""
    return f"{amount / 2**30:.2f} GiB" if amount >= 2**30 else f"{amount / 2**20:.0f} MiB"


def resident() -> int:
    """Memory that this process has now, in bytes."""
    return int(psutil.Process().memory_info().rss)


def free() -> int:
    """Memory that programs can still have: the machine's, or less in a container with a limit."""
    available = int(psutil.virtual_memory().available)
    group = CONTROL_GROUP
    try:
        limit = (group / "memory.max").read_text().strip()
        used = int((group / "memory.current").read_text())
        # Files' contents that nobody uses at the moment make room for programs.
        rows = (row.split() for row in (group / "memory.stat").read_text().splitlines())
        used -= next((int(row[1]) for row in rows if row[0] == "inactive_file"), 0)
        return available if limit == "max" else min(available, max(int(limit) - used, 0))
    except (OSError, ValueError):
        return available


def default_limit() -> int:
    """What this process may use: what it has, and a share of what is free."""
    return resident() + int(SHARE * free())
