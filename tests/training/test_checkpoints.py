import json
import os
import platform
import subprocess
import sys

import psutil
import pytest

from isr_pipeline.errors import ProjectError
from isr_pipeline.training.checkpoints import Checkpoints


@pytest.fixture
def other():
    """A process that has no part in this, but lives."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def claim_for(checkpoints, process, node=None):
    created = psutil.Process(process.pid).create_time()
    checkpoints.folder.parent.mkdir(parents=True, exist_ok=True)
    claim = [node or platform.node(), process.pid, created]
    checkpoints.folder.with_name(f"{checkpoints.folder.name}.process.json").write_text(
        json.dumps(claim)
    )


def test_two_processes_are_not_at_one_training(tmp_path, other):
    checkpoints = Checkpoints(tmp_path / "store").of("a" * 64)
    claim_for(checkpoints, other)
    refused = pytest.raises(ProjectError, match=f"process {other.pid} is at this very training")
    with refused, checkpoints.claimed():
        raise AssertionError
    with Checkpoints(tmp_path / "store").of("b" * 64).claimed():
        pass  # another training is nobody's
    other.kill()
    other.wait()
    with checkpoints.claimed():
        pass
    assert not list((tmp_path / "store").iterdir())


def test_a_claim_ends_with_its_block_even_by_an_error(tmp_path):
    checkpoints = Checkpoints(tmp_path / "one")
    with pytest.raises(ZeroDivisionError), checkpoints.claimed():
        checkpoints.forget()
        assert [path.name for path in tmp_path.iterdir()] == ["one.process.json"]
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


def test_a_claim_of_a_number_that_another_process_has_now_is_none(tmp_path, other):
    checkpoints = Checkpoints(tmp_path / "one")
    claim_for(checkpoints, other)
    claim = tmp_path / "one.process.json"
    node, number, created = json.loads(claim.read_text())
    for content in ([node, number, created - 60], ["elsewhere", number, created], "{", []):
        claim.write_text(json.dumps(content))
        with checkpoints.claimed():
            assert json.loads(claim.read_text())[1] == os.getpid()
