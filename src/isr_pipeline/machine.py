"""Which machine and which command a figure comes from, in words."""

import math
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

CONTROL_GROUP = Path("/sys/fs/cgroup")
"""Where Linux says what a container may use."""


def describe_machine() -> str:
    """The processor, the cores that this process may use, memory and GPUs (NVIDIA's), in one line.

    GPUs are named whether or not they are used.
    """
    parts = [f"{available_cores()} cores of {_processor()}", f"{_memory_gib():.0f} GiB", *_gpus()]
    return ", ".join(parts)


def available_cores() -> int:
    """Cores that this process may use, which a container often limits; a part of one is one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return math.ceil(min(cores or 1, core_quota()))


def core_quota() -> float:
    """How many cores' time a container may use, such as of `docker run --cpus`; else infinite.

    Processes see all cores nevertheless, and are stopped for a while when the time is used up.
    """
    for version in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            files = " ".join((CONTROL_GROUP / name).read_text() for name in version)
            quota, period = (float(word) for word in files.split())
        except (OSError, ValueError):  # `max`: no quota
            continue
        return quota / period if quota > 0 and period > 0 else math.inf
    return math.inf


def load_average() -> float:
    """How many processes wanted a core in the last minute; nan where nobody knows."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")


def command_line() -> str:
    """The command that started this process, as one would type it: `kedro run ...`."""
    program = Path(sys.argv[0])
    name = program.parent.name if program.name == "__main__.py" else program.name
    return shlex.join([name.removeprefix("python -m "), *sys.argv[1:]])


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _gpus() -> list[str]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    query = [program, "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    counts = Counter(done.stdout.splitlines())
    return [name if count == 1 else f"{count} x {name}" for name, count in counts.items()]


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
