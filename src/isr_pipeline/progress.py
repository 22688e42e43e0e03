"""Work on many items with threads, constant memory and a progress bar."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from tqdm import tqdm

from isr_pipeline.machine import available_cores
from isr_pipeline.memory import work_budget

Item = TypeVar("Item")
Result = TypeVar("Result")


def threads_for(bytes_each: float) -> int:
    """As many threads as there are processors and as fit into memory, at least one.

    Args:
        bytes_each: memory that one thread's work takes.
    """
    return max(1, min(available_cores(), int(work_budget() / max(bytes_each, 1))))


def map_in_order(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    total: int,
    description: str,
    workers: int = 0,
) -> Iterator[Result]:
    """Apply a function to items in threads and yield the results in order.

    At most two results a thread wait to be taken, so that memory stays constant however slow the
    consumer is. Picture decoding and hashing release Python's lock, so threads do run in parallel.

    Args:
        function: called with one item.
        items: what to work on.
        total: how many items there are, for the bar.
        description: the bar's label.
        workers: threads; 0 for one a processor.
    """
    threads = workers or available_cores()
    waiting: deque[Future[Result]] = deque()
    with (
        ThreadPoolExecutor(threads) as pool,
        tqdm(total=total, desc=description, mininterval=1, leave=False, disable=None) as bar,
    ):
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= 3 * threads:
                yield waiting.popleft().result()
                bar.update()
        while waiting:
            yield waiting.popleft().result()
            bar.update()
