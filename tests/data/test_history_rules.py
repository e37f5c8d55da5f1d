"""What a trained model keeps of its protocol."""

import pytest

from clickflow.data.history_rules import HistoryRules

NEXT_ITEM, IMPRESSIONS = {"name": "next_item", "seed": 3, "ties": "exclude", "history_lag": 5}, {"name": "impressions", "history_lag": 5}

DROPPING = {"timestamp_unit": "seconds", "duplicates": "drop"}


@pytest.mark.parametrize(
    ("protocol", "source", "rules"),
    [
        (NEXT_ITEM, {}, HistoryRules(history_lag=5, timestamp_unit="microseconds", merges_identical=True, seed=3)),
        (NEXT_ITEM | {"ties": "position"}, {"timestamp_unit": "order"}, HistoryRules(
            history_lag=5, timestamp_unit="order", merges_identical=True, by_position=True, seed=3
        )),
        (IMPRESSIONS, {"timestamp_unit": "milliseconds"}, HistoryRules(history_lag=5, timestamp_unit="milliseconds")),
        ({"name": "rating", "seed": 7}, {"timestamp_unit": "seconds"}, HistoryRules()),
        (IMPRESSIONS, {"timestamp_unit": "seconds", "duplicates": "drop"}, HistoryRules(history_lag=5, merges_identical=True)),
        (IMPRESSIONS, {"timestamp_unit": "seconds", "duplicates": "drop", "columns": {"group": "page"}}, HistoryRules(history_lag=5)),
        (IMPRESSIONS, DROPPING | {"columns": {"kind": "event"}}, HistoryRules(history_lag=5)),
        (IMPRESSIONS, DROPPING | {"columns": {"candidates": {"column": "shown"}}}, HistoryRules(history_lag=5)),
        (IMPRESSIONS, DROPPING | {"columns": {"group": "page"}, "behaviours": {"columns": {"kind": None}}}, HistoryRules(
            history_lag=5, merges_identical=True
        )),
        (IMPRESSIONS, DROPPING | {"columns": {}, "behaviours": {"columns": {"kind": "event"}}}, HistoryRules(history_lag=5)),
        (IMPRESSIONS, {"timestamp_unit": "seconds", "columns": {"history": "past"}}, HistoryRules(history_lag=5, ready_made=True)),
    ],
)  # fmt: skip
def test_they_are_those_of_protocol_and_source(protocol, source, rules):
    assert HistoryRules.of(protocol, source, "microseconds") == rules
