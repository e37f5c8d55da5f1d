"""Mean and spread of groups against those of all numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickflow.data.moments import GroupMoments

values = st.lists(st.tuples(st.integers(0, 4), st.floats(-1e6, 1e6)), max_size=50)


@given(values)
def test_mean_and_spread_are_those_of_all_numbers(rows):
    rows = sorted(rows, key=lambda row: row[0])
    group, number = np.array([row[0] for row in rows], np.int64), np.array([row[1] for row in rows], np.float64)
    mean, std = GroupMoments.of(number, group).mean_and_std()
    largest = np.abs(number).max(initial=0)
    assert mean == pytest.approx(number.mean() if len(rows) else 0, abs=1e-9 * (largest or 1))
    if len(rows) and number.std() > 1e-6 * largest:
        assert std == pytest.approx(number.std(), rel=1e-6)


@given(values, st.data())
def test_where_the_groups_are_cut_changes_no_bit(rows, data):
    rows = sorted(rows, key=lambda row: row[0])
    group, number = np.array([row[0] for row in rows], np.int64), np.array([row[1] for row in rows], np.float64)
    cut = int(np.searchsorted(group, data.draw(st.integers(0, 5))))
    parts = [GroupMoments.of(number[part], group[part]) for part in (slice(cut), slice(cut, None))]
    assert GroupMoments.together(parts).mean_and_std() == GroupMoments.of(number, group).mean_and_std()


def test_repeated_values_count_as_often_as_they_occur():
    mean, std = GroupMoments.of_repeated(np.array([1.0, 4.0]), np.array([3, 1])).mean_and_std()
    assert (mean, std) == (pytest.approx(1.75), pytest.approx(np.std([1, 1, 1, 4])))


def test_large_numbers_stay_finite_and_a_constant_has_a_spread_of_one():
    number = np.arange(8) * 1e200
    mean, std = GroupMoments.of(number, np.arange(8) // 3).mean_and_std()
    assert (mean, std) == (pytest.approx(3.5e200), pytest.approx(1e200 * np.arange(8).std()))
    assert GroupMoments.of(np.full(5, 0.1), np.arange(5)).mean_and_std() == (pytest.approx(0.1), 1.0)
    assert GroupMoments.of(np.zeros(3), np.arange(3)).mean_and_std() == (0.0, 1.0)
    assert GroupMoments.of(np.zeros(0), np.zeros(0, np.int64)).mean_and_std() == (0.0, 1.0)
