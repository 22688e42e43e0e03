import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from isr_pipeline import memory
from isr_pipeline.errors import ProjectError


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("800MB", 800_000_000),
        ("1.5GiB", 3 * 2**29),
        ("2g", 2_000_000_000),
        (" 64 KiB", 65536),
        ("2TB", 2 * 10**12),
        (4096, 4096),
    ],
)
def test_amounts_are_understood(text, amount):
    assert memory.parse_bytes(text) == amount


@pytest.mark.parametrize("text", ["", "much", "-1GB", "1.5.2GB", "3 parsec", "i", "5"])
def test_what_is_no_amount_is_named(text):
    with pytest.raises(ProjectError, match=r"no amount of memory|'5' is 5 bytes"):
        memory.parse_bytes(text)


def test_the_default_leaves_most_of_the_free_memory():
    assert memory.resident() < memory.default_limit() < memory.resident() + 0.3 * memory.free()


@pytest.mark.parametrize(
    ("limit", "inactive", "expected"),
    [(2**20, 0, 2**18), (2**20, 2**18, 2**19), (2**19, 0, 0), ("max", 0, None)],
)
def test_a_containers_limit_counts_without_the_files_that_it_keeps_in_memory(
    limit, inactive, expected, tmp_path, monkeypatch
):
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.current").write_text(f"{3 * 2**18}\n")
    (tmp_path / "memory.stat").write_text(f"anon 5\ninactive_file {inactive}\n")
    monkeypatch.setattr(memory, "CONTROL_GROUP", tmp_path)
    available = SimpleNamespace(available=2**30)
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: available)
    assert memory.free() == (2**30 if expected is None else expected)


def test_the_limit_of_an_older_control_group_counts_too(tmp_path, monkeypatch):
    group = tmp_path / "memory"
    group.mkdir()
    (group / "memory.limit_in_bytes").write_text(f"{2**20}\n")
    (group / "memory.usage_in_bytes").write_text(f"{3 * 2**18}\n")
    (group / "memory.stat").write_text(f"cache 5\ntotal_inactive_file {2**18}\n")
    monkeypatch.setattr(memory, "CONTROL_GROUP", tmp_path)
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: SimpleNamespace(available=2**30))
    assert memory.free() == 2**19
    (group / "memory.limit_in_bytes").write_text("9223372036854771712\n")  # none
    assert memory.free() == 2**30


@pytest.mark.parametrize(("free", "budget"), [(10**12, 4 * 10**9), (10**9, 5 * 10**8)])
def test_a_steps_threads_take_half_of_what_is_free_at_most(free, budget, monkeypatch):
    monkeypatch.setattr(memory, "free", lambda: free)
    assert memory.work_budget() == budget


def test_a_gate_lets_in_what_fits_and_one_that_does_not_alone():
    gate = memory.MemoryGate(100)
    inside, most, lock = [], [0, 0], threading.Lock()

    def work(cost):
        with gate.room(cost):
            with lock:
                inside.append(cost)
                most[0] = max(most[0], sum(c for c in inside if c < 100))
                most[1] = max(most[1], len(inside) if 150 in inside else 0)
            time.sleep(0.005)
            with lock:
                inside.remove(cost)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [40, 30, 150, 60, 20, 50, 150, 10] * 4))
    assert 60 < most[0] <= 100
    assert most[1] == 1


def test_a_gate_takes_back_the_room_of_work_that_fails():
    gate = memory.MemoryGate(100)
    with pytest.raises(ZeroDivisionError), gate.room(80):
        raise ZeroDivisionError
    with gate.room(80):
        pass
