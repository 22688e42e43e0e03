import os
import sys

import pytest

from isr_pipeline.machine import available_cores, command_line, describe_machine


@pytest.mark.parametrize(
    "program", ["/a/.venv/bin/kedro", "python -m kedro", "/a/site-packages/kedro/__main__.py"]
)
def test_the_command_is_what_one_would_type(monkeypatch, program):
    monkeypatch.setattr(sys, "argv", [program, "run", "--params=a=1 2"])
    assert command_line() == "kedro run '--params=a=1 2'"


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
