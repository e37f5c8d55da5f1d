"""Cost of the sampled negatives of ``next_item`` for users who know nearly the whole catalogue, beside ordinary users.

    python benchmarks/negatives.py

A crawler, or an id that stands for everybody without an account, acts on nearly every item, so nearly every draw is one of its own items.
"""

import time

import numpy as np

from clickflow.data.arrays import IntArray
from clickflow.data.next_item_negatives import NegativeSampler

NUM_ITEMS = 50_000
NUM_ROWS = 1_000_000
ROWS_OF_THE_CRAWLER = 50_000


def microseconds_per_row(known: int, *, popularity: bool) -> tuple[float, float]:
    """CPU microseconds per row of a crawler who knows some items, and of users with 50 behaviours each."""
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(1, NUM_ROWS // 50 + 1), 50)
    items = np.minimum(rng.zipf(1.3, NUM_ROWS), NUM_ITEMS) - 1
    own_keys = np.sort(np.concatenate([np.arange(known), users * NUM_ITEMS + items]))
    weights = np.bincount(items, minlength=NUM_ITEMS) + 1 if popularity else np.ones(NUM_ITEMS, np.int64)

    def cost(group: IntArray) -> float:
        start = time.process_time()
        NegativeSampler(weights, (0,)).draw(group, own_keys)
        return (time.process_time() - start) / len(group) * 1e6

    return cost(np.zeros(ROWS_OF_THE_CRAWLER, np.int64)), cost(users)


def main() -> None:
    for popularity in (False, True):
        for share in (0.5, 0.99, 1.0):
            known = min(NUM_ITEMS - 1, round(NUM_ITEMS * share))
            crawler, ordinary = microseconds_per_row(known, popularity=popularity)
            draw = "popularity" if popularity else "uniform"
            print(f"{draw}, {known:,} of {NUM_ITEMS:,} items known: {crawler:.2f} µs per row; ordinary users {ordinary:.2f} µs")


if __name__ == "__main__":
    main()
