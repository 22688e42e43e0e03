import threading
import time

import pytest

from isr_pipeline import progress
from isr_pipeline.progress import map_in_order, threads_for


def test_results_come_in_order_whoever_finishes_first():
    def slow_for_even(number):
        time.sleep(0.01 if number % 2 == 0 else 0)
        return number * number

    results = list(map_in_order(slow_for_even, range(20), 20, "squares", workers=4))
    assert results == [n * n for n in range(20)]


def test_only_a_few_results_wait_for_a_slow_consumer():
    made = []
    results = map_in_order(made.append, range(1000), 1000, "items", workers=2)
    next(results)
    time.sleep(0.05)
    assert len(made) <= 7
    results.close()


def test_work_is_done_in_several_threads():
    barrier = threading.Barrier(3, timeout=5)
    assert len(list(map_in_order(lambda _: barrier.wait(), range(3), 3, "x", workers=3))) == 3


def test_an_error_reaches_the_consumer():
    with pytest.raises(ZeroDivisionError):
        list(map_in_order(lambda n: 1 // n, [1, 0, 1], 3, "x", workers=2))


def test_threads_are_as_many_as_memory_and_processors_allow(monkeypatch):
    monkeypatch.setattr(progress, "available_cores", lambda: 8)
    monkeypatch.setattr(progress, "work_budget", lambda: 4_000_000_000)
    assert [threads_for(bytes_each) for bytes_each in (0, 1e9, 5e9)] == [8, 4, 1]
