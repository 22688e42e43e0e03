import multiprocessing
import os
import subprocess
import sys

import pytest

from isr_pipeline.errors import ProjectError
from isr_pipeline.training.checkpoints import Checkpoints

HOLD = """
import sys, time
from pathlib import Path
from isr_pipeline.training.checkpoints import Checkpoints
with Checkpoints(Path(sys.argv[1])).claimed():
    print("claimed", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def other(tmp_path):
    """A process that is at a training in `tmp_path / "store" / "aaa"`."""
    command = [sys.executable, "-c", HOLD, tmp_path / "store" / "aaa"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "claimed\n"
    yield process
    process.kill()
    process.wait()


def test_two_processes_are_not_at_one_training(tmp_path, other):
    checkpoints = Checkpoints(tmp_path / "store").of("aaa")
    refused = pytest.raises(ProjectError, match=f"process {other.pid} is at this very search")
    with refused, checkpoints.claimed("search"):
        raise AssertionError
    with Checkpoints(tmp_path / "store").of("bbb").claimed():
        pass  # another training is nobody's
    other.kill()
    other.wait()
    with checkpoints.claimed():
        pass
    assert not list((tmp_path / "store").iterdir())


def test_a_claim_ends_with_its_block_even_by_an_error_and_outlives_forgetting(tmp_path):
    checkpoints = Checkpoints(tmp_path / "one")
    with pytest.raises(ZeroDivisionError), checkpoints.claimed():
        checkpoints.forget()
        assert [path.name for path in tmp_path.iterdir()] == ["one.lock"]
        assert (tmp_path / "one.lock").read_text() == str(os.getpid())
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


def claim_at_one_time(folder, barrier, alone, most):
    for _ in range(40):
        barrier.wait()
        try:
            with Checkpoints(folder).claimed():
                with alone.get_lock():
                    alone.value += 1
                    most.value = max(most.value, alone.value)
                with alone.get_lock():
                    alone.value -= 1
        except ProjectError:
            pass


def test_of_processes_that_begin_at_one_time_one_has_the_claim(tmp_path):
    context = multiprocessing.get_context("fork")
    barrier, alone, most = context.Barrier(3), context.Value("i", 0), context.Value("i", 0)
    arguments = (tmp_path / "one", barrier, alone, most)
    processes = [context.Process(target=claim_at_one_time, args=arguments) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert most.value == 1
