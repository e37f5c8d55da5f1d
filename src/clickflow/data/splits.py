"""Assignment of rows to train, validation and test; vectorised, and a function of the log and a seed."""

import numpy as np

from clickflow.data.arrays import ByteArray, IntArray
from clickflow.errors import DataError

SPLITS = ("train", "validation", "test")
TRAIN, VALIDATION, TEST = np.uint8(0), np.uint8(1), np.uint8(2)


def last_two(rows: IntArray, ends: IntArray) -> ByteArray:
    """Per user: last behaviour = test, second last = validation, rest = train.

    Args:
        rows: (R,) row of each behaviour in the sorted log.
        ends: (R,) one past the last row of the same user.

    >>> last_two(np.array([1, 2, 3, 5]), np.array([4, 4, 4, 6])).tolist()
    [0, 1, 2, 2]
    """
    from_end = ends - rows
    return np.where(from_end == 1, TEST, np.where(from_end == 2, VALIDATION, TRAIN)).astype(np.uint8)


def split_by_user(group: IntArray, num_users: int, validation_fraction: float, test_fraction: float, seed: int) -> ByteArray:
    """Whole users to each split, drawn by seed: (R,) groups -> (R,) codes. Fractions are of users and rounded, at least one each."""
    num_test = max(1, round(num_users * test_fraction))
    num_validation = max(1, round(num_users * validation_fraction))
    of_user = np.full(num_users, TRAIN)
    order = np.random.default_rng(seed).permutation(num_users)
    of_user[order[:num_test]] = TEST
    of_user[order[num_test : num_test + num_validation]] = VALIDATION
    return of_user[group]


def split_by_time(timestamp: IntArray, validation_fraction: float, test_fraction: float) -> ByteArray:
    """Latest rows = test, those before = validation: (R,) timestamps -> (R,) codes. Rows of one moment are never separated."""
    if not len(timestamp):
        return np.zeros(0, np.uint8)
    ordered = np.sort(timestamp)
    num_rows = len(ordered)
    test_from = ordered[min(num_rows - 1, int(num_rows * (1 - test_fraction)))]
    validation_from = ordered[int(num_rows * (1 - test_fraction - validation_fraction))]
    return np.where(timestamp >= test_from, TEST, np.where(timestamp >= validation_from, VALIDATION, TRAIN)).astype(np.uint8)


def refuse_empty_splits(split: ByteArray, what: str) -> None:
    """Raise DataError unless every split has a row."""
    counts = np.bincount(split, minlength=3)
    empty = [name for name, count in zip(SPLITS, counts, strict=True) if count == 0]
    if empty:
        sizes = ", ".join(f"{name} {count:,}" for name, count in zip(SPLITS, counts, strict=True))
        raise DataError(
            f"{what}: split {' and '.join(empty)} would be empty ({sizes}); every split needs at least one row; "
            "bring more rows or users, or choose another protocol, protocol.split or fractions."
        )
