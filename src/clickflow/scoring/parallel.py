"""Several threads that work on a stream and give results in its order.

Threads and not processes: torch, Arrow and numpy let other threads run while they compute, and threads share the model. Torch computes each
batch in one thread, since a batch split among threads waits for the slowest at every layer.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

WAITING_PER_THREAD = 2
"""Items read ahead, which bounds memory."""


def in_order(items: Iterable[Item], work: Callable[[Item], Result], num_threads: int) -> Iterator[tuple[Item, Result]]:
    """Yield each item with its result, in the order of the items, which are read in the calling thread.

    An error of ``work`` is raised at its item's turn. Leaving the iterator drops the work that has not begun.

    >>> list(in_order([3, 1, 2], lambda item: item * 10, num_threads=2))
    [(3, 30), (1, 10), (2, 20)]
    """
    threads_before = torch.get_num_threads()
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    pool = ThreadPoolExecutor(num_threads, "score", initializer=torch.set_num_threads, initargs=(1,))
    try:
        for item in items:
            waiting.append((item, pool.submit(work, item)))
            if len(waiting) > WAITING_PER_THREAD * num_threads:
                done, future = waiting.popleft()
                yield done, future.result()
        while waiting:
            done, future = waiting.popleft()
            yield done, future.result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads_before)
