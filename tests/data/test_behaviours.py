"""Order by user and time, and the as-of join, against plain loops."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from clickflow.data.behaviours import Behaviours, IdNumbers, split_mix, strictly_before, time_order
from clickflow.data.id_numbers import id_numbers

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


@given(st.lists(events, min_size=1, max_size=40), st.sets(st.integers(0, 5)), st.integers(0, 2))
def test_events_of_a_moment_have_one_order_in_every_log_that_holds_them(log, left_out, seed):
    """Whatever else a log holds, and whatever codes its ids have there."""

    def order_of(log, unit="seconds", ticks=1):
        users, items = (sorted({f"{event[place]}" for event in log}) for place in (0, 1))
        codes = [(users.index(f"{user}"), items.index(f"{item}"), moment * ticks) for user, item, moment in log]
        numbers = IdNumbers(id_numbers(pa.array(users)), id_numbers(pa.array(items)), unit)
        order = [log[row] for row in time_order(*columns(codes), len(users), seed, lambda: numbers)]
        return sorted(order, key=lambda event: (event[0], event[2]))  # stable: the order within a moment stays

    some = [event for event in log if event[1] not in left_out] or log
    assert order_of(some) == [event for event in order_of(log) if event in set(some)]
    assert order_of(log) == order_of(log, "milliseconds", 1000)


def test_numbers_of_ids_are_those_of_their_texts_and_differ():
    texts = pa.array(["", "a", "b", "ab", "ba", "é", "7", "a" * 300])
    numbers = id_numbers(texts)

    def fnv(text):
        value = 0xCBF29CE484222325
        for byte in text.encode():
            value = (value ^ byte) * 0x100000001B3 % 2**64
        return value

    plain = np.array([fnv(text) for text in texts.to_pylist()], np.uint64)
    assert numbers.tolist() == split_mix(plain).tolist()
    assert len(set(numbers.tolist())) == len(texts)
    assert id_numbers(pa.array([7])).tolist() == [numbers[6]]
    assert id_numbers(texts.slice(1, 3)).tolist() == numbers[1:4].tolist()
    assert id_numbers(pa.array([], pa.int64())).tolist() == []
