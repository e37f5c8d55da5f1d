"""Every protocol against a plain loop over the log as given, since the contents of a history must never be wrong."""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickflow.config import validate
from clickflow.data.protocols import (
    Behaviours,
    ImpressionsConfig,
    Interactions,
    NextItemConfig,
    RatingConfig,
    sort_behaviours,
    strictly_before,
)
from clickflow.data.splits import TEST, TRAIN, VALIDATION
from clickflow.errors import ConfigError

NUM_USERS = 4


class Event(NamedTuple):
    user: int
    item: int
    timestamp: int
    value: int


# Few users, items and moments, so that ties, repeated events and users without behaviours are common.
events = st.builds(Event, st.integers(0, NUM_USERS - 1), st.integers(0, 5), st.integers(-3, 6), st.integers(0, 5))
logs = st.lists(events, min_size=1, max_size=40)
wide_events = st.builds(Event, st.integers(0, NUM_USERS - 1), st.just(0), st.integers(-(2**62), 2**62), st.just(1))


def interactions_of(log: list[Event]) -> Interactions:
    user, item, timestamp, value = (np.array(column, np.int64) for column in zip(*log, strict=True))
    return Interactions(user, item, timestamp, label=(value >= 3).astype(np.uint8), rating=value.astype(np.float64))


def sorted_behaviours(log: list[Event], rows: list[int] | None = None) -> Behaviours:
    rows = list(range(len(log))) if rows is None else rows
    columns = [np.array([getattr(log[row], name) for row in rows], np.int64) for name in ("user", "item", "timestamp")]
    return sort_behaviours(*columns, np.array(rows, np.int64), NUM_USERS)


def clicks(log: list[Event]) -> list[int]:
    return [row for row, event in enumerate(log) if event.value >= 3]


def in_order(log: list[Event], rows: list[int], user: int) -> list[int]:
    """Rows of a user by time, and in the order of the log within a moment."""
    return sorted((row for row in rows if log[row].user == user), key=lambda row: log[row].timestamp)


def earlier(log: list[Event], rows: list[int], user: int, timestamp: int) -> list[int]:
    return [row for row in in_order(log, rows, user) if log[row].timestamp < timestamp]


def histories(impressions, behaviours: Behaviours) -> list[list[int]]:
    """Rows of the log in the history of each impression."""
    ranges = zip(impressions.history_start, impressions.history_end, strict=True)
    return [behaviours.source_row[start:end].tolist() for start, end in ranges]


@given(logs)
def test_behaviours_are_sorted_by_user_and_time_with_ties_in_the_order_of_the_log(log):
    behaviours = sorted_behaviours(log)
    expected = [row for user in range(NUM_USERS) for row in in_order(log, list(range(len(log))), user)]
    assert behaviours.source_row.tolist() == expected
    assert behaviours.item.tolist() == [log[row].item for row in expected]
    for user in range(NUM_USERS):
        assert set(behaviours.group[behaviours.starts[user] : behaviours.starts[user + 1]]) <= {user}
    assert behaviours.starts[-1] == len(log)


@given(st.lists(wide_events, min_size=1, max_size=30))
def test_sorting_holds_over_the_whole_range_of_64_bits(log):
    expected = [row for user in range(NUM_USERS) for row in in_order(log, list(range(len(log))), user)]
    assert sorted_behaviours(log).source_row.tolist() == expected


@given(logs)
def test_next_item_makes_every_behaviour_but_a_users_first_a_positive_whose_history_is_all_before_it(log):
    behaviours = sorted_behaviours(log)
    impressions = NextItemConfig().impressions(interactions_of(log), behaviours)
    expected = []
    for user in range(NUM_USERS):
        rows = in_order(log, list(range(len(log))), user)
        for position in range(1, len(rows)):
            left = len(rows) - position
            split = {1: TEST, 2: VALIDATION}.get(left, TRAIN)
            expected.append((rows[position], user, log[rows[position]].item, rows[:position], 1, int(split)))
    found = zip(
        impressions.source_row.tolist(),
        impressions.group.tolist(),
        impressions.item.tolist(),
        histories(impressions, behaviours),
        impressions.label.tolist(),
        impressions.split.tolist(),
        strict=True,
    )
    assert list(found) == expected


@given(logs, st.sampled_from(["user", "time"]))
def test_a_ratings_history_is_what_the_user_rated_strictly_before(log, split):
    behaviours = sorted_behaviours(log)
    impressions = RatingConfig(threshold=4.0, split=split).impressions(interactions_of(log), behaviours)
    everything = list(range(len(log)))
    assert sorted(impressions.source_row.tolist()) == everything
    for row, label, item, history in zip(
        impressions.source_row, impressions.label, impressions.item, histories(impressions, behaviours), strict=True
    ):
        assert label == (log[row].value >= 4)
        assert item == log[row].item
        assert history == earlier(log, everything, log[row].user, log[row].timestamp)


@given(logs)
def test_an_impressions_history_is_what_the_user_clicked_strictly_before(log):
    behaviours = sorted_behaviours(log, clicks(log))
    impressions = ImpressionsConfig().impressions(interactions_of(log), behaviours)
    assert impressions.source_row.tolist() == list(range(len(log)))
    assert impressions.label.tolist() == [int(event.value >= 3) for event in log]
    assert histories(impressions, behaviours) == [earlier(log, clicks(log), event.user, event.timestamp) for event in log]


@given(logs, logs)
def test_behaviours_of_a_table_of_their_own_serve_ratings_and_impressions_alike(log, past):
    behaviours = sorted_behaviours(past)
    everything = list(range(len(past)))
    for protocol in (ImpressionsConfig(), RatingConfig()):
        impressions = protocol.impressions(interactions_of(log), behaviours)
        expected = {row: earlier(past, everything, event.user, event.timestamp) for row, event in enumerate(log)}
        assert dict(zip(impressions.source_row.tolist(), histories(impressions, behaviours), strict=True)) == expected
        assert impressions.item.tolist() == [log[row].item for row in impressions.source_row]


@given(st.lists(wide_events, min_size=1, max_size=30), st.integers(0, NUM_USERS - 1), st.integers(-(2**62), 2**62))
def test_the_as_of_join_holds_over_the_whole_range_of_64_bits(log, user, timestamp):
    behaviours = sorted_behaviours(log)
    end = strictly_before(behaviours, np.array([user]), np.array([timestamp]))[0]
    count = len(earlier(log, list(range(len(log))), user, timestamp))
    assert end == behaviours.starts[user] + count


def test_shares_that_leave_nothing_to_train_on_are_refused():
    message = r"validation_fraction = 0\.5 leaves no train rows beside test_fraction = 0\.5; their sum must be below 1"
    for protocol in (RatingConfig, ImpressionsConfig):
        with pytest.raises(ConfigError, match=message):
            validate(protocol, {"validation_fraction": 0.5, "test_fraction": 0.5})
