"""Work on a stream by several threads, with the results in the order of the stream.

Threads and not processes: torch, Arrow and numpy let other threads run while they compute, and threads share the model. One thread of torch
for each batch, since a batch split among threads waits for the slowest at every layer.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

WAITING_PER_THREAD = 2
"""Items read ahead; bounds memory."""


def in_order(items: Iterable[Item], work: Callable[[Item], Result], num_threads: int) -> Iterator[tuple[Item, Result]]:
    """Each item with its result, in the order of the items, which are read in the calling thread.

    An error of ``work`` is raised where its item's turn has come. Leaving the iterator drops what has not been begun.

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
