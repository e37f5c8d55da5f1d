"""Behaviours sorted by (user, time), and the as-of join that ends a history.

The order is a function of what the rows say, never of where a file has them: rows of one user and one moment are shuffled by a seed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from clickflow.data.arrays import IntArray


@dataclass(frozen=True)
class Behaviours:
    """N behaviours in the order of :func:`time_order`.

    Attributes:
        group: (N,) user; where rows bring their own histories, the number of the history.
        item: (N,).
        timestamp: (N,).
        source_row: (N,) row of the table that each behaviour came from.
        starts: (U + 1,) range of each user's behaviours, or of each history's.
    """

    group: IntArray
    item: IntArray
    timestamp: IntArray
    source_row: IntArray
    starts: IntArray

    @classmethod
    def of(cls, group: IntArray, item: IntArray, timestamp: IntArray, source_row: IntArray, num_users: int) -> "Behaviours":
        """Take rows that are in the order of :func:`time_order` already."""
        return cls(group, item, timestamp, source_row, np.searchsorted(group, np.arange(num_users + 1)))

    def without_repeats(self) -> "Behaviours":
        """Each event once: an equal user, item and moment is the same event, reported again."""
        kept = self.is_new_moment.copy()
        kept[1:] |= np.diff(self.item) != 0
        if kept.all():
            return self
        num_users = len(self.starts) - 1
        return Behaviours.of(self.group[kept], self.item[kept], self.timestamp[kept], self.source_row[kept], num_users)

    @cached_property
    def is_new_moment(self) -> NDArray[np.bool_]:
        """(N,) whether a behaviour is the first of its user and moment."""
        is_new = np.ones(len(self.group), bool)
        is_new[1:] = (np.diff(self.group) != 0) | (np.diff(self.timestamp) != 0)
        return is_new

    @cached_property
    def moment_starts(self) -> IntArray:
        """(N,) first behaviour of the same user and moment."""
        starts = np.flatnonzero(self.is_new_moment)
        return np.repeat(starts, np.diff(np.append(starts, len(self.group))))

    @property
    def num_simultaneous(self) -> int:
        """Behaviours whose moment is also that of another one of the same user."""
        is_new = np.append(self.is_new_moment, True)
        return int((~(is_new[:-1] & is_new[1:])).sum())


def time_order(group: IntArray, item: IntArray, timestamp: IntArray, num_users: int, seed: int) -> IntArray:
    """Order of rows by (user, time), shuffled by a seed within a moment.

    Args:
        group: (R,) user of each row, 0 ... U - 1.
        item: (R,) item of each row.
        timestamp: (R,).
        num_users: U.
        seed: seed of the shuffle, which also knows user, item and moment, but not the position of a row.

    Returns:
        (R,) rows in order. Rows that agree in user, item and moment are neighbours, in the order given.
    """
    moment, num_moments = _clock(timestamp, num_users)
    key = group * num_moments + moment(timestamp)
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    repeats = np.append(False, np.diff(ordered) == 0)
    tied = np.flatnonzero(repeats | np.append(repeats[1:], False))
    rows = order[tied]
    shuffled = np.lexsort((item[rows], _mixed(key[rows], item[rows], seed), ordered[tied]))
    order[tied] = rows[shuffled]
    return order


def strictly_before(behaviours: Behaviours, group: IntArray, timestamp: IntArray) -> IntArray:
    """One past a user's last behaviour that is strictly earlier than a moment: an as-of join by one binary search.

    Args:
        behaviours: sorted by (group, timestamp).
        group: (R,) user of each row.
        timestamp: (R,).

    Returns:
        (R,) row of ``behaviours``, not before the start of the user's own.
    """
    moment, num_moments = _clock(behaviours.timestamp, len(behaviours.starts) - 1)
    key = behaviours.group * num_moments + moment(behaviours.timestamp)
    return np.searchsorted(key, group * num_moments + moment(timestamp))


def _mixed(key: IntArray, item: IntArray, seed: int) -> NDArray[np.uint64]:
    """(R,) pseudo-random numbers from (user and moment, item, seed): two rounds of SplitMix64 (Steele et al., 2014)."""
    with np.errstate(over="ignore"):
        mixed = _split_mix(key.astype(np.uint64) + np.uint64(seed) * np.uint64(0xD1342543DE82EF95))
        return _split_mix(mixed ^ item.astype(np.uint64))


def _split_mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _clock(timestamp: IntArray, num_users: int) -> tuple[Callable[[IntArray], IntArray], int]:
    """Small numbers 0 ... M - 1 for moments, so that (user, moment) fits into one integer and sorts fast.

    Args:
        timestamp: (N,) the moments that need distinct numbers; other moments may share a number with a neighbour, in order.
        num_users: number of users that the integer must leave room for.

    Returns:
        a function from (R,) timestamps to (R,) numbers, and M.
    """
    if not len(timestamp):
        return np.zeros_like, 1
    first, last = int(timestamp.min()), int(timestamp.max())
    if (last - first + 2) * num_users < 2**63:
        return lambda moments: np.clip(moments, first, last) - first + (moments > last), last - first + 2
    ordered = np.sort(timestamp)
    return lambda moments: np.searchsorted(ordered, moments), len(ordered) + 1
