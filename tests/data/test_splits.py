import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickflow.data.splits import TEST, TimeBounds, bounds_by_share, refuse_empty_splits, split_by_user
from clickflow.errors import DataError


def split_by_time(timestamps, validation, test):
    bounds = bounds_by_share(lambda: np.array_split(timestamps, 3), validation, test, TimeBounds(0, 0))
    return bounds.split(timestamps)


shares = st.floats(0.05, 0.45)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), shares, shares, st.integers(0, 3))
def test_no_user_is_in_two_splits(group, validation, test, seed):
    split = split_by_user(np.array(group), 10, validation, test, seed)
    for user in set(group):
        assert len({code for code, owner in zip(split, group, strict=True) if owner == user}) == 1


@pytest.mark.parametrize(("num_users", "expected"), [(100, [70, 10, 20]), (10, [7, 1, 2]), (4, [2, 1, 1]), (3, [1, 1, 1])])
def test_the_shares_are_of_users_and_at_least_one_user_each(num_users, expected):
    split = split_by_user(np.arange(num_users), num_users, 0.1, 0.2, seed=0)
    assert np.bincount(split).tolist() == expected


def test_the_seed_decides_which_users_go_where():
    def drawn(seed):
        return split_by_user(np.arange(50), 50, 0.1, 0.1, seed).tolist()

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


@given(st.lists(st.integers(-5, 20), min_size=1, max_size=60), shares, shares)
def test_time_never_runs_backwards_from_train_to_validation_to_test_and_no_moment_is_parted(timestamps, validation, test):
    split = split_by_time(np.array(timestamps), validation, test)
    of_moment: dict[int, set[int]] = {}
    for moment, code in zip(timestamps, split.tolist(), strict=True):
        of_moment.setdefault(moment, set()).add(code)
    assert all(len(codes) == 1 for codes in of_moment.values())
    in_time = [codes.pop() for _, codes in sorted(of_moment.items())]
    assert in_time == sorted(in_time)
    assert in_time[-1] == TEST


def test_fractions_count_as_they_are_written():
    """As binary floats, 1 - 0.05 - 0.15 is less than 0.8, and 0.15 of 10 rounds to 2."""
    assert np.bincount(split_by_time(np.arange(10), 0.15, 0.05)).tolist() == [8, 1, 1]
    assert np.bincount(split_by_user(np.arange(10), 10, 0.15, 0.05, seed=0)).tolist() == [8, 1, 1]


@pytest.mark.parametrize("num_rows", [10, 100, 1_000, 12_345])
def test_the_shares_are_of_rows_where_no_moment_repeats(num_rows):
    timestamp = np.random.default_rng(0).permutation(num_rows)
    counts = np.bincount(split_by_time(timestamp, 0.1, 0.2))
    np.testing.assert_allclose(counts, np.array([0.7, 0.1, 0.2]) * num_rows, atol=1)


def test_nothing_is_split_into_nothing():
    assert split_by_time(np.zeros(0, np.int64), 0.1, 0.1).tolist() == []


def test_an_empty_split_is_refused_with_the_sizes_of_all():
    message = (
        r"^data set mine: split validation would be empty \(train 2, validation 0, test 1\); every split needs at least one row; "
        r"bring more rows or users, or choose another protocol, protocol\.split, fractions or dates\.$"
    )
    with pytest.raises(DataError, match=message):
        refuse_empty_splits([2, 0, 1], "data set mine")
    with pytest.raises(DataError, match="split train and validation and test would be empty"):
        refuse_empty_splits([0, 0, 0], "data set mine")
    refuse_empty_splits([1, 1, 1], "data set mine")
