"""Behaviours sorted by (user, time), and the as-of join that ends a history.

The order is a function of what the rows say, never of where a file has them: rows of one user and one moment are shuffled by a seed. What
builds histories for a trained model uses this module too, so it does without Polars.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from clickflow.data.arrays import IntArray
from clickflow.data.schema import TICKS_PER_SECOND, TimestampUnit


class SortedByUser(Protocol):
    """Columns of N behaviours that a search by user and time needs: ``timestamp`` (N,), ``starts`` (U + 1,)."""

    @property
    def timestamp(self) -> IntArray:
        """(N,) ascending within a user."""

    @property
    def starts(self) -> IntArray:
        """(U + 1,) range of each user's behaviours."""


class IdNumbers(NamedTuple):
    """Numbers that the raw ids alone decide, so that a moment's rows have one order in every log that holds them.

    Attributes:
        user: (U,) of each user.
        item: (I,) of each item.
        unit: unit of the timestamps; an order by seconds is that by microseconds.
    """

    user: NDArray[np.uint64]
    item: NDArray[np.uint64]
    unit: TimestampUnit


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


def time_order(
    group: IntArray, item: IntArray, timestamp: IntArray, num_users: int, seed: int, numbers: Callable[[], IdNumbers] | None = None
) -> IntArray:
    """Order of rows by (user, time), shuffled by a seed within a moment.

    Args:
        group: (R,) user of each row, 0 ... U - 1.
        item: (R,) item of each row, 0 ... I - 1.
        timestamp: (R,).
        num_users: U.
        seed: seed of the shuffle, which also knows user, item and moment, but not the position of a row.
        numbers: called where rows share a moment; None where the codes are the raw ids.

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
    if len(rows):
        users, items, moments = group[rows].astype(np.uint64), item[rows].astype(np.uint64), timestamp[rows]
        if numbers is not None:
            known = numbers()
            users, items = known.user[group[rows]], known.item[item[rows]]
            moments = moments if known.unit == "order" else moments * (10**6 // TICKS_PER_SECOND[known.unit])
        order[tied] = rows[np.lexsort((item[rows], _mixed(users, moments.astype(np.uint64), items, seed), ordered[tied]))]
    return order


def known_before(timestamp: IntArray, history_lag: int, unit: TimestampUnit) -> IntArray:
    """The moments before which a behaviour must be, to be known at others.

    Args:
        timestamp: (R,) those others.
        history_lag: age in seconds (positions, where the unit is order) from which on a behaviour is known.
        unit: unit of the timestamps.

    Returns:
        (R,) what is as old as the lag is known, but never what is simultaneous.
    """
    lag = history_lag if unit == "order" else history_lag * TICKS_PER_SECOND[unit]
    return timestamp - max(0, lag - 1)


def strictly_before(behaviours: SortedByUser, group: IntArray, timestamp: IntArray) -> IntArray:
    """One past a user's last behaviour that is strictly earlier than a moment: an as-of join by bisection, of all rows at once.

    Args:
        behaviours: sorted by (group, timestamp).
        group: (R,) user of each row.
        timestamp: (R,).

    Returns:
        (R,) row of ``behaviours``, not before the start of the user's own.
    """
    low, high = behaviours.starts[group], behaviours.starts[group + 1]
    last = max(0, len(behaviours.timestamp) - 1)
    for _ in range(int((high - low).max(initial=0)).bit_length()):
        middle = (low + high) // 2
        is_earlier = (low < high) & (behaviours.timestamp[np.minimum(middle, last)] < timestamp)
        low, high = np.where(is_earlier, middle + 1, low), np.where(is_earlier, high, middle)
    return low


def _mixed(user: NDArray[np.uint64], moment: NDArray[np.uint64], item: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """(R,) pseudo-random numbers from (user, moment, item, seed): rounds of SplitMix64 (Steele et al., 2014)."""
    with np.errstate(over="ignore"):
        mixed = split_mix(user + np.uint64(seed) * np.uint64(0xD1342543DE82EF95))
        return split_mix(split_mix(mixed ^ moment) ^ item)


def split_mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """(R,) numbers -> (R,) numbers of which each bit depends on all of theirs; different ones stay different."""
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
