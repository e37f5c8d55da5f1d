"""Order by user and time, and the as-of join, against plain loops."""

from collections import Counter
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from clickflow.data.behaviours import Behaviours, strictly_before, time_order

NUM_USERS = 4
# Few users, items and moments, so that ties, repeated events and users without behaviours are common.
events = st.tuples(st.integers(0, NUM_USERS - 1), st.integers(0, 5), st.integers(-3, 6))
logs = st.lists(events, min_size=1, max_size=40)
wide_logs = st.lists(st.tuples(st.integers(0, NUM_USERS - 1), st.just(0), st.integers(-(2**62), 2**62)), min_size=1, max_size=30)


def columns(log):
    return [np.array(column, np.int64) for column in zip(*log, strict=True)]


def ordered(log, seed=0):
    """The events of a log in order."""
    return [log[row] for row in time_order(*columns(log), NUM_USERS, seed)]


def behaviours_of(log):
    order = time_order(*columns(log), NUM_USERS, 0)
    group, item, timestamp = (column[order] for column in columns(log))
    return Behaviours.of(group, item, timestamp, order, NUM_USERS)


@given(logs)
def test_rows_are_in_order_by_user_and_time(log):
    found = ordered(log)
    assert [(user, moment) for user, _, moment in found] == sorted((user, moment) for user, _, moment in log)
    assert Counter(found) == Counter(log)


@given(wide_logs)
def test_the_order_holds_over_the_whole_range_of_64_bits(log):
    assert ordered(log) == sorted(log)


@given(st.data(), logs, st.integers(0, 3))
def test_the_order_of_the_file_changes_nothing(data, log, seed):
    assert ordered(log, seed) == ordered(data.draw(st.permutations(log)), seed)


@given(logs)
def test_equal_events_are_neighbours(log):
    found = ordered(log)
    changes = sum(one != other for one, other in pairwise(found))
    assert changes == len(set(log)) - 1


def test_the_order_within_a_moment_is_that_of_the_seed_and_not_of_the_items():
    baskets = [(user, item, 0) for user in range(500) for item in range(4)]
    orders = [time_order(*columns(baskets), 500, seed) for seed in (0, 1)]
    assert orders[0].tolist() != orders[1].tolist()
    for order in orders:
        counts = Counter(tuple(order[start : start + 4] % 4) for start in range(0, 2_000, 4))
        assert len(counts) == 24  # every order of four items occurs
        expected = 500 / 24
        assert sum((count - expected) ** 2 / expected for count in counts.values()) < 49.7  # 0.999 quantile of chi-square, 23 degrees


@given(logs)
def test_an_event_that_was_reported_again_is_one_event(log):
    kept = behaviours_of(log).without_repeats()
    found = list(zip(kept.group.tolist(), kept.item.tolist(), kept.timestamp.tolist(), strict=True))
    assert sorted(found) == sorted(set(log))
    assert [log[row] for row in kept.source_row] == found
    for user in range(NUM_USERS):
        assert set(kept.group[kept.starts[user] : kept.starts[user + 1]]) <= {user}


@given(logs)
def test_simultaneous_behaviours_are_counted(log):
    moments = Counter((user, moment) for user, _, moment in log)
    assert behaviours_of(log).num_simultaneous == sum(count for count in moments.values() if count > 1)


@given(wide_logs | logs, st.integers(0, NUM_USERS - 1), st.integers(-(2**62), 2**62) | st.integers(-4, 8))
def test_the_as_of_join_finds_the_end_of_what_is_strictly_earlier(log, user, timestamp):
    behaviours = behaviours_of(log)
    end = strictly_before(behaviours, np.array([user]), np.array([timestamp]))[0]
    assert end == behaviours.starts[user] + sum(owner == user and moment < timestamp for owner, _, moment in log)
