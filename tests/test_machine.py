import math
import os
import sys

import pytest

from isr_pipeline import machine
from isr_pipeline.machine import available_cores, command_line, core_quota, describe_machine


@pytest.mark.parametrize(
    "program", ["/a/.venv/bin/kedro", "python -m kedro", "/a/site-packages/kedro/__main__.py"]
)
def test_the_command_is_what_one_would_type(monkeypatch, program):
    monkeypatch.setattr(sys, "argv", [program, "run", "--params=a=1 2"])
    assert command_line() == "kedro run '--params=a=1 2'"


@pytest.mark.parametrize(
    ("files", "quota", "cores"),
    [
        ({}, math.inf, 8),
        ({"cpu.max": "max 100000"}, math.inf, 8),
        ({"cpu.max": "150000 100000"}, 1.5, 2),
        ({"cpu.max": "20000 100000"}, 0.2, 1),
        ({"cpu.max": "1600000 100000"}, 16, 8),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, math.inf, 8),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3, 3),
    ],
)
def test_a_containers_share_of_the_cores(files, quota, cores, tmp_path, monkeypatch):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    monkeypatch.setattr(machine, "CONTROL_GROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert (core_quota(), available_cores()) == (quota, cores)


def test_the_machine_in_one_line(monkeypatch):
    monkeypatch.setenv("PATH", "")  # no GPU to be found
    cores, memory = available_cores(), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 1 <= cores <= os.cpu_count()
    described = describe_machine()
    assert described.startswith(f"{cores} cores of ")
    assert described.endswith(f", {memory / 2**30:.0f} GiB")
    assert "\n" not in described


@pytest.mark.parametrize(
    ("script", "gpus"),
    [
        ("echo 'NVIDIA H200'; echo 'NVIDIA H200'", ", 2 x NVIDIA H200"),
        ("echo 'NVIDIA T4'", ", NVIDIA T4"),
        ("exit 9", ""),
    ],
)
def test_the_machine_names_its_gpus(tmp_path, monkeypatch, script, gpus):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert describe_machine().partition(" GiB")[2] == gpus
