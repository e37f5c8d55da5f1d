"""The value at a rank among numbers that are too many to be sorted: exact, by counting in ever finer bins."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from clickflow.data.arrays import IntArray

BINS = 1 << 22
"""A month in seconds takes one round."""


def order_statistics(blocks: Callable[[], Iterable[IntArray]], ranks: Sequence[int]) -> list[int]:
    """The numbers at some places of the sorted order.

    Args:
        blocks: gives all numbers, block by block, as often as it is called.
        ranks: places, counted from 0; smaller than the number of numbers.

    >>> order_statistics(lambda: [np.array([5, 1]), np.array([3])], [0, 2])
    [1, 5]
    """
    filled = [(int(block.min()), int(block.max())) for block in blocks() if len(block)]
    low, high = min(first for first, _ in filled), max(last for _, last in filled)
    found = [_Searched(rank, low, high - low + 1) for rank in ranks]
    while any(one.width > 1 for one in found):
        counts = {(one.low, one.width): np.zeros(min(BINS, one.width), np.int64) for one in found if one.width > 1}
        for block in blocks():
            for (low, width), count in counts.items():
                # Differences of 64-bit numbers need 64 bits without a sign.
                place = block.astype(np.uint64) - np.uint64(low % 2**64)
                place = place[place < np.uint64(width)] if width < 2**64 else place
                bins = (place // np.uint64(_bin_size(width))).astype(np.int64)
                count += np.bincount(bins, minlength=len(count))
        for one in found:
            if one.width > 1:
                one.narrow(counts[one.low, one.width])
    return [one.low for one in found]


class _Searched:
    """A number known to be one of ``low ... low + width - 1``, ``rank`` numbers of that range before it."""

    def __init__(self, rank: int, low: int, width: int) -> None:
        self.rank, self.low, self.width = rank, low, width

    def narrow(self, count: IntArray) -> None:
        """Keep the bin that holds it."""
        size = _bin_size(self.width)
        before = np.cumsum(count)
        place = int(np.searchsorted(before, self.rank, side="right"))
        self.rank -= int(before[place] - count[place])
        self.low, self.width = self.low + place * size, min(size, self.width - place * size)


def _bin_size(width: int) -> int:
    return -(-width // BINS)
