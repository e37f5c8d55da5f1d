"""Every protocol against a plain loop over the log as given, since the contents of a history must never be wrong."""

from collections import Counter
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickflow.config import validate
from clickflow.data.behaviours import Behaviours, time_order
from clickflow.data.protocols import ImpressionsConfig, Interactions, NextItemConfig, RatingConfig
from clickflow.data.schema import TICKS_PER_SECOND
from clickflow.data.splits import NO_SPLIT, TEST, TRAIN, VALIDATION
from clickflow.errors import ConfigError, DataError

NUM_USERS = 4


class Event(NamedTuple):
    user: int
    item: int
    timestamp: int
    value: int


# Few users, items and moments, so that ties, repeated events and users without behaviours are common.
events = st.builds(Event, st.integers(0, NUM_USERS - 1), st.integers(0, 5), st.integers(-3, 6), st.integers(0, 5))
logs = st.lists(events, min_size=1, max_size=40)
lags = st.integers(0, 4)


def interactions_of(log, unit="seconds", split=None):
    user, item, timestamp, value = (np.array(column, np.int64) for column in zip(*log, strict=True))
    order = time_order(user, item, timestamp, NUM_USERS, 0)
    label, rating = (value >= 3).astype(np.uint8), value.astype(np.float64)
    given_split = None if split is None else np.array(split, np.uint8)[order]
    return Interactions(user[order], item[order], timestamp[order], order, unit, label[order], rating[order], given_split)


def behaviours_of(log, is_behaviour=lambda event: True):
    rows = interactions_of(log)
    chosen = np.array([is_behaviour(log[row]) for row in rows.source_row])
    return Behaviours.of(*(values[chosen] for values in (rows.group, rows.item, rows.timestamp, rows.source_row)), NUM_USERS)


def impressions_of(protocol, interactions, behaviours):
    """The impressions of a log that is a single part, with the split that the whole log decides."""
    found = protocol.impressions(interactions, behaviours)
    if found.split is None:
        rule = protocol.split_rule(NUM_USERS, lambda: [found.timestamp], interactions.unit)
        found = replace(found, split=rule(found.group, found.timestamp))
    return found


def is_click(event):
    return event.value >= 3


def earlier(log, user, timestamp, lag=0, is_behaviour=lambda event: True):
    """The behaviours that a history must hold: (item, timestamp), each as often as it happened."""
    known = (event for event in log if event.user == user and is_behaviour(event) and event.timestamp < timestamp)
    return Counter((event.item, event.timestamp) for event in known if timestamp - event.timestamp >= lag)


def histories(impressions, behaviours):
    """What each history holds, and that it is in order of time."""
    found = []
    for start, end in zip(impressions.history_start, impressions.history_end, strict=True):
        timestamp = behaviours.timestamp[start:end].tolist()
        assert timestamp == sorted(timestamp)
        found.append(Counter(zip(behaviours.item[start:end].tolist(), timestamp, strict=True)))
    return found


@given(logs, lags)
def test_next_item_makes_what_follows_a_users_first_moment_a_positive_with_all_that_is_strictly_before_it(log, lag):
    distinct = list({event[:3]: event for event in log}.values())
    behaviours = behaviours_of(log).without_repeats()
    impressions = impressions_of(NextItemConfig(history_lag=lag), interactions_of(log), behaviours)
    expected = Counter()
    for user in range(NUM_USERS):
        moments = sorted({event.timestamp for event in distinct if event.user == user})
        for event in distinct:
            if event.user == user and event.timestamp > moments[0]:
                from_end = len(moments) - moments.index(event.timestamp)
                split = {1: TEST, 2: VALIDATION}.get(from_end, TRAIN)
                history = earlier(distinct, user, event.timestamp, lag)
                expected[(user, event.item, event.timestamp, frozenset(history.items()), int(split))] += 1
    columns = (impressions.group, impressions.item, impressions.timestamp, impressions.split)
    rows = zip(*(column.tolist() for column in columns), histories(impressions, behaviours), strict=True)
    assert Counter((user, item, moment, frozenset(history.items()), split) for user, item, moment, split, history in rows) == expected
    assert impressions.label.all()
    assert all(
        log[row][:3] == (user, item, moment)
        for row, (user, item, moment) in zip(impressions.source_row, zip(*columns[:3], strict=True), strict=True)
    )


@given(logs)
def test_by_position_every_behaviour_but_a_users_first_is_a_positive_and_its_history_is_all_before_it(log):
    behaviours = behaviours_of(log).without_repeats()
    impressions = impressions_of(NextItemConfig(ties="position"), interactions_of(log), behaviours)
    expected = []
    for user in range(NUM_USERS):
        rows = [row for row, owner in enumerate(behaviours.group) if owner == user]
        for position in range(1, len(rows)):
            split = {1: TEST, 2: VALIDATION}.get(len(rows) - position, TRAIN)
            expected.append((rows[0], rows[position], int(behaviours.item[rows[position]]), int(split)))
    columns = (impressions.history_start, impressions.history_end, impressions.item, impressions.split)
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == expected
    # No event is in its own history, however often it was reported.
    for group, item, moment, history in zip(
        impressions.group, impressions.item, impressions.timestamp, histories(impressions, behaviours), strict=True
    ):
        assert (item, moment) not in history, (group, item, moment)


@given(logs, st.sampled_from(["user", "time"]), lags)
def test_a_ratings_history_is_what_the_user_rated_strictly_before(log, split, lag):
    behaviours = behaviours_of(log)
    impressions = impressions_of(RatingConfig(threshold=4.0, split=split, history_lag=lag), interactions_of(log), behaviours)
    assert sorted(impressions.source_row.tolist()) == list(range(len(log)))
    for row, label, item, history in zip(
        impressions.source_row, impressions.label, impressions.item, histories(impressions, behaviours), strict=True
    ):
        assert label == (log[row].value >= 4)
        assert item == log[row].item
        assert history == earlier(log, log[row].user, log[row].timestamp, lag)


@given(logs, lags)
def test_an_impressions_history_is_what_the_user_clicked_strictly_before(log, lag):
    behaviours = behaviours_of(log, is_click)
    impressions = impressions_of(ImpressionsConfig(history_lag=lag), interactions_of(log), behaviours)
    rows = impressions.source_row.tolist()
    assert sorted(rows) == list(range(len(log)))
    assert impressions.label.tolist() == [int(is_click(log[row])) for row in rows]
    expected = [earlier(log, log[row].user, log[row].timestamp, lag, is_click) for row in rows]
    assert histories(impressions, behaviours) == expected


@given(logs, logs)
def test_behaviours_of_a_table_of_their_own_serve_ratings_and_impressions_alike(log, past):
    behaviours = behaviours_of(past)
    for protocol in (ImpressionsConfig(), RatingConfig()):
        impressions = impressions_of(protocol, interactions_of(log), behaviours)
        rows = impressions.source_row.tolist()
        assert histories(impressions, behaviours) == [earlier(past, log[row].user, log[row].timestamp) for row in rows]
        assert impressions.item.tolist() == [log[row].item for row in rows]


@pytest.mark.parametrize(
    ("unit", "start", "shown"),
    [
        ("seconds", 1_714_521_600, r"1714521600 \(2024-05-01T00:00\) to 1714521602 \(2024-05-01T00:00\)"),
        ("order", 5, "5 to 7"),
    ],
)
def test_dates_that_leave_a_split_without_rows_are_refused_with_the_times_of_the_log(unit, start, shown):
    protocol = ImpressionsConfig(validation_from=3, test_from=4)
    message = (
        rf"^protocol: validation_from = 3, test_from = 4: leaves a split without rows; rows are from {shown}; choose dates between them"
    )
    with pytest.raises(DataError, match=message):
        protocol.refuse_dates_without_rows([0, 0, 3], start, start + 2, unit)
    protocol.refuse_dates_without_rows([1, 1, 1], start, start + 2, unit)
    ImpressionsConfig().refuse_dates_without_rows([0, 0, 3], start, start + 2, unit)


@given(logs, st.sampled_from([NextItemConfig(split="time"), RatingConfig(split="time"), ImpressionsConfig()]))
def test_dates_split_every_protocol_alike(log, protocol):
    dated = protocol.model_copy(update={"train_from": -2, "validation_from": 1, "test_from": 3, "test_until": 5})
    log = [*log, *(Event(0, 9, moment, 3) for moment in (-4, -1, 1, 3))]  # so that no split is empty
    behaviours = behaviours_of(log).without_repeats()
    impressions = impressions_of(dated, interactions_of(log), behaviours)

    def split_of(moment):
        if not -2 <= moment < 5:
            return NO_SPLIT
        return TRAIN if moment < 1 else VALIDATION if moment < 3 else TEST

    assert impressions.split.tolist() == [split_of(moment) for moment in impressions.timestamp]


@given(st.data(), logs, st.sampled_from([NextItemConfig(), NextItemConfig(ties="position"), RatingConfig(), ImpressionsConfig()]))
def test_a_split_that_the_log_names_is_taken_as_it_is(data, log, protocol):
    named = data.draw(st.lists(st.sampled_from([0, 1, 2]), min_size=len(log), max_size=len(log)))
    impressions = impressions_of(protocol, interactions_of(log, split=named), behaviours_of(log).without_repeats())
    assert impressions.split.tolist() == [named[row] for row in impressions.source_row]


@pytest.mark.parametrize(
    ("unit", "moment", "tick"),
    [
        ("seconds", "2024-05-01", 1_714_521_600),
        ("milliseconds", "2024-05-01T00:00:01+02:00", 1_714_514_401_000),
        ("microseconds", "2024-05-01 00:00:00.5", 1_714_521_600_500_000),
        ("order", 17, 17),
    ],
)
def test_a_date_is_read_in_the_unit_of_the_log(unit, moment, tick):
    late = 18 if unit == "order" else 1_900_000_000 * TICKS_PER_SECOND[unit]
    log = [Event(0, 0, tick - 1, 3), Event(0, 1, tick, 3), Event(0, 2, late, 3)]
    protocol = validate(ImpressionsConfig, {"validation_from": moment, "test_from": moment + 1 if unit == "order" else "2030-01-01"})
    impressions = impressions_of(protocol, interactions_of(log, unit), behaviours_of(log))
    assert impressions.split.tolist() == [TRAIN, VALIDATION, TEST]


def test_a_lag_is_in_seconds_whatever_the_unit():
    log = [Event(0, 0, 0, 3), Event(0, 1, 59_999, 3), Event(0, 2, 60_000, 3)]
    behaviours = behaviours_of(log)
    ends = [
        impressions_of(ImpressionsConfig(history_lag=lag), interactions_of(log, "milliseconds"), behaviours).history_end.tolist()
        for lag in (0, 60, 61)
    ]
    assert ends == [[0, 1, 2], [0, 0, 1], [0, 0, 0]]


def test_a_date_where_timestamps_are_positions_is_refused():
    log = [Event(0, 0, 1, 3), Event(0, 1, 2, 3)]
    protocol = ImpressionsConfig(validation_from="2024-05-01", test_from="2024-06-01")
    message = r"^protocol: 2024-05-01 is a date, but data\.timestamp_unit is order, a position without a clock; write a position\.$"
    with pytest.raises(DataError, match=message):
        impressions_of(protocol, interactions_of(log, "order"), behaviours_of(log))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"test_from": "2024-05-01"},
            r"test_from = 2024-05-01 without validation_from: a split by dates needs both; set validation_from too",
        ),
        ({"validation_from": 5}, r"validation_from = 5 without test_from: a split by dates needs both; set test_from too"),
        (
            {"validation_from": "2024-05-02", "test_from": "2024-05-01"},
            r"test_from = 2024-05-01: must be after validation_from = 2024-05-02",
        ),
        (
            {"validation_from": 5, "test_from": "2024-05-01"},
            r"test_from = 2024-05-01, but validation_from = 5; write both as dates or both as",
        ),
        (
            {"validation_from": "1 May", "test_from": "2024-05-01"},
            r"validation_from = .?1 May.?: must be a date or date-time such as 2024-05-31 or",
        ),
        ({"train_from": 9, "test_until": 8}, r"test_until = 8: must be after train_from = 9"),
    ],
)
def test_dates_that_make_no_split_are_refused(values, message):
    for protocol, more in ((ImpressionsConfig, {}), (RatingConfig, {"split": "time"}), (NextItemConfig, {"split": "time"})):
        with pytest.raises(ConfigError, match=message):
            validate(protocol, values | more)


@pytest.mark.parametrize("protocol", [RatingConfig, NextItemConfig])
def test_dates_without_a_split_by_time_are_refused(protocol):
    message = r"validation_from = 5: a date splits by time, but split = \w+; set protocol\.split=time or remove the date"
    with pytest.raises(ConfigError, match=message):
        validate(protocol, {"validation_from": 5, "test_from": 6})


def test_a_lag_goes_by_time_and_not_by_position():
    message = r"history_lag = 60: a lag is a time, but ties = position goes by position; set ties=exclude"
    with pytest.raises(ConfigError, match=message):
        validate(NextItemConfig, {"ties": "position", "history_lag": 60})


def test_shares_that_leave_nothing_to_train_on_are_refused():
    message = r"validation_fraction = 0\.5 leaves no train rows beside test_fraction = 0\.5; their sum must be below 1"
    for protocol in (RatingConfig, ImpressionsConfig, NextItemConfig):
        with pytest.raises(ConfigError, match=message):
            validate(protocol, {"validation_fraction": 0.5, "test_fraction": 0.5})
