"""Assignment of rows to train, validation and test; vectorised, and a function of the log and a seed."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import floor

import numpy as np
from numpy.typing import NDArray

from clickflow.data.arrays import ByteArray, IntArray
from clickflow.data.order_statistics import order_statistics
from clickflow.errors import DataError

SPLITS = ("train", "validation", "test")
TRAIN, VALIDATION, TEST = np.uint8(0), np.uint8(1), np.uint8(2)
NO_SPLIT = np.uint8(3)
"""Code of rows outside the window of a split by time: they are in histories only."""


def last_two(places: IntArray, starts: IntArray, group: IntArray) -> ByteArray:
    """Per user: the last place = test, the second last = validation, the rest = train.

    Args:
        places: (N,) where a behaviour is in the sorted log: its row, or the first row of its moment.
        starts: (U + 1,) range of each user's behaviours.
        group: (N,) user of each behaviour.

    >>> last_two(np.array([0, 1, 1, 3, 4, 5]), np.array([0, 4, 6]), np.array([0, 0, 0, 0, 1, 1])).tolist()
    [0, 1, 1, 2, 1, 2]
    """
    last = places[starts[1:] - 1]
    second_last = places[last - 1]  # of another user, if there is one place only
    return np.where(places == last[group], TEST, np.where(places == second_last[group], VALIDATION, TRAIN))


def split_by_user(group: IntArray, num_users: int, validation_fraction: float, test_fraction: float, seed: int) -> ByteArray:
    """Whole users to each split, drawn by seed: (R,) groups -> (R,) codes. Fractions are of users, at least one each."""
    num_kept, validation_begins = _bounds(num_users, validation_fraction, test_fraction)
    num_test = max(1, num_users - validation_begins)
    num_validation = max(1, validation_begins - num_kept)
    of_user = np.full(num_users, TRAIN)
    order = np.random.default_rng(seed).permutation(num_users)
    of_user[order[:num_test]] = TEST
    of_user[order[num_test : num_test + num_validation]] = VALIDATION
    return of_user[group]


@dataclass(frozen=True)
class TimeBounds:
    """A split by time: latest rows = test, those before = validation. Rows of one moment are never separated.

    Attributes:
        validation_from: first moment of validation.
        test_from: first moment of test.
        train_from: rows before this moment get ``NO_SPLIT``.
        test_until: rows from this moment on get ``NO_SPLIT``.
    """

    validation_from: int
    test_from: int
    train_from: int | None = None
    test_until: int | None = None

    def split(self, timestamp: IntArray) -> ByteArray:
        """(R,) moments -> (R,) codes."""
        codes = np.where(timestamp >= self.test_from, TEST, np.where(timestamp >= self.validation_from, VALIDATION, TRAIN))
        return np.where(self.are_inside(timestamp), codes, NO_SPLIT).astype(np.uint8)

    def are_inside(self, timestamp: IntArray) -> NDArray[np.bool_]:
        """(R,) whether moments are neither before nor after all splits."""
        inside = np.ones(len(timestamp), bool)
        if self.train_from is not None:
            inside &= timestamp >= self.train_from
        if self.test_until is not None:
            inside &= timestamp < self.test_until
        return inside


def bounds_by_share(
    blocks: Callable[[], Iterable[IntArray]], validation_fraction: float, test_fraction: float, window: TimeBounds
) -> TimeBounds:
    """The moments at which validation and test begin, so that they have their shares of the rows within a window.

    Args:
        blocks: gives the moments of all rows, block by block, as often as it is called.
        validation_fraction: share of validation.
        test_fraction: share of test.
        window: where train begins and test ends.
    """

    def inside() -> Iterator[IntArray]:
        return (block[window.are_inside(block)] for block in blocks())

    num_rows = sum(map(len, inside()))
    if not num_rows:
        return window
    ranks = [min(num_rows - 1, bound) for bound in _bounds(num_rows, validation_fraction, test_fraction)]
    validation_from, test_from = order_statistics(inside, ranks)
    return replace(window, validation_from=validation_from, test_from=test_from)


def _bounds(num_rows: int, validation_fraction: float, test_fraction: float) -> tuple[int, int]:
    """Find where validation and test begin among rows in order.

    Fractions count as they are written: as binary floats, 1 - 0.05 - 0.15 is less than 0.8.
    """
    validation, test = Fraction(str(validation_fraction)), Fraction(str(test_fraction))
    return floor(num_rows * (1 - test - validation)), floor(num_rows * (1 - test))


def refuse_empty_splits(counts: Sequence[int], what: str) -> None:
    """Raise DataError unless every split has a row."""
    empty = [name for name, count in zip(SPLITS, counts, strict=True) if count == 0]
    if empty:
        sizes = ", ".join(f"{name} {count:,}" for name, count in zip(SPLITS, counts, strict=True))
        raise DataError(
            f"{what}: split {' and '.join(empty)} would be empty ({sizes}); every split needs at least one row; "
            "bring more rows or users, or choose another protocol, protocol.split, fractions or dates."
        )
