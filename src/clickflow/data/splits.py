"""Assignment of rows to train, validation and test; vectorised, and a function of the log and a seed."""

from fractions import Fraction
from math import floor

import numpy as np

from clickflow.data.arrays import ByteArray, IntArray
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


def split_by_time(
    timestamp: IntArray,
    validation_fraction: float,
    test_fraction: float,
    *,
    train_from: int | None = None,
    validation_from: int | None = None,
    test_from: int | None = None,
    test_until: int | None = None,
) -> ByteArray:
    """Latest rows = test, those before = validation. Rows of one moment are never separated.

    Args:
        timestamp: (R,).
        validation_fraction: share of validation, unless there are dates.
        test_fraction: share of test, unless there are dates.
        train_from: rows before this moment get ``NO_SPLIT``.
        validation_from: first moment of validation, in place of the fractions.
        test_from: first moment of test; given if and only if ``validation_from`` is.
        test_until: rows from this moment on get ``NO_SPLIT``.

    Returns:
        (R,) codes.
    """
    outside = np.zeros(len(timestamp), bool)
    if train_from is not None:
        outside |= timestamp < train_from
    if test_until is not None:
        outside |= timestamp >= test_until
    if validation_from is None or test_from is None:
        ordered = np.sort(timestamp[~outside])
        if not len(ordered):
            return np.full(len(timestamp), NO_SPLIT)
        validation_from, test_from = (
            ordered[min(len(ordered) - 1, bound)] for bound in _bounds(len(ordered), validation_fraction, test_fraction)
        )
    codes = np.where(timestamp >= test_from, TEST, np.where(timestamp >= validation_from, VALIDATION, TRAIN))
    return np.where(outside, NO_SPLIT, codes).astype(np.uint8)


def _bounds(num_rows: int, validation_fraction: float, test_fraction: float) -> tuple[int, int]:
    """Where validation and test begin among rows in order.

    Fractions count as they are written: as binary floats, 1 - 0.05 - 0.15 is less than 0.8.
    """
    validation, test = Fraction(str(validation_fraction)), Fraction(str(test_fraction))
    return floor(num_rows * (1 - test - validation)), floor(num_rows * (1 - test))


def refuse_empty_splits(split: ByteArray, what: str) -> None:
    """Raise DataError unless every split has a row."""
    counts = np.bincount(split, minlength=len(SPLITS))
    empty = [name for name, count in zip(SPLITS, counts, strict=False) if count == 0]
    if empty:
        sizes = ", ".join(f"{name} {count:,}" for name, count in zip(SPLITS, counts, strict=False))
        raise DataError(
            f"{what}: split {' and '.join(empty)} would be empty ({sizes}); every split needs at least one row; "
            "bring more rows or users, or choose another protocol, protocol.split, fractions or dates."
        )
