"""Item fields taken from the log: the earliest value by time, of train where train has one."""

import random

import polars as pl
import pytest

from clickflow.config import validate
from clickflow.data.prepare import prepare
from clickflow.data.protocols import ImpressionsConfig, NextItemConfig, RatingConfig
from clickflow.data.sources.log import LogConfig

START = 1_700_000_000


def prepared(folder, frame, protocol, **more):
    frame.write_parquet(folder / "log.parquet")
    columns = {name: name for name in ("user", "item", "timestamp", "label", "rating") if name in frame.columns}
    fields = {"brand": {"column": "brand"}, "price": {"column": "price", "kind": "numeric"}}
    values = {"name": "mine", "source": "log", "path": str(folder / "log.parquet"), "columns": columns, "item_fields": fields}
    return prepare(validate(LogConfig, values | more), protocol, folder / "home")


def brands(dataset):
    """Brand of each item, None if unknown."""
    names = [None, *dataset.vocabulary("brand")["raw"].to_list()]
    return {raw: names[index] for raw, index in dataset.items().select("raw", "index/brand").rows() if raw is not None}


def changing(num_rows=200, changes_at=180):
    """Item 7 is relabelled late; item 8 has no brand at first."""
    row = pl.int_range(num_rows, eager=True)
    return pl.DataFrame(
        {
            "user": row % 9,
            "item": row % 2 + 7,
            "timestamp": START + row * 60,
            "label": (row % 3 == 0).cast(pl.Int8),
            "rating": (row % 5 + 1).cast(pl.Float64),
            "brand": pl.select(
                pl.when(row % 2 == 1)
                .then(pl.when(row > 9).then(pl.lit("late")))
                .otherwise(pl.when(row < changes_at).then(pl.lit("old")).otherwise(pl.lit("new")))
            ).to_series(),
            "price": (row % 2).cast(pl.Float64),
        }
    )


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("protocol", [ImpressionsConfig(), RatingConfig(split="time")], ids=lambda protocol: protocol.name)
def test_a_value_that_only_the_test_period_has_never_reaches_train(tmp_path, protocol, newest_first):
    frame = changing().drop("rating" if protocol.name == "impressions" else "label")
    dataset = prepared(tmp_path, frame.reverse() if newest_first else frame, protocol)
    assert brands(dataset) == {7: "old", 8: "late"}
    assert dataset.manifest.counts["items_with_conflicting_fields"] == 1


def test_a_value_of_train_wins_over_an_earlier_one_of_another_split(tmp_path):
    """Users are split, so the rows of validation and test may be earlier than all of train."""
    frame = changing(changes_at=100).drop("label")
    dataset = prepared(tmp_path, frame, RatingConfig(validation_fraction=0.4, test_fraction=0.4, seed=2))
    train_users = set(dataset.raw_users().gather(dataset.split("train").rows["group"]))
    of_train = frame.filter(pl.col("user").is_in(list(train_users)) & (pl.col("item") == 7)).sort("timestamp")
    assert brands(dataset)[7] == of_train["brand"][0]


def test_behaviours_of_train_count_under_next_item(tmp_path):
    """Each user's first event is no row of train, but its histories hold it."""
    frame = pl.DataFrame({"user": [0] * 5 + [1] * 5, "item": [7, 1, 2, 3, 4, 5, 6, 8, 9, 7], "timestamp": range(START, START + 10)})
    frame = frame.with_columns(brand=pl.format("b{}", pl.int_range(10)), price=pl.lit(1.0))
    dataset = prepared(tmp_path, frame, NextItemConfig())
    assert brands(dataset)[7] == "b0"


def test_an_earliest_missing_value_is_no_value(tmp_path):
    dataset = prepared(tmp_path, changing().drop("rating"), ImpressionsConfig())
    assert brands(dataset)[8] == "late"


def test_items_that_only_the_behaviour_table_knows_have_unknown_fields(tmp_path):
    past = pl.DataFrame({"user": [0], "item": [99], "timestamp": [START - 60]})
    past.write_parquet(tmp_path / "past.parquet")
    table = {"path": str(tmp_path / "past.parquet"), "columns": {name: name for name in ("user", "item", "timestamp")}}
    dataset = prepared(tmp_path, changing().drop("rating"), ImpressionsConfig(), behaviours=table)
    assert brands(dataset)[99] is None
    assert dataset.manifest.counts["items_without_fields"] == 1


def random_events(seed, num_rows, num_items):
    """Few values of a brand per item, many of them missing; moments are shared."""
    rng = random.Random(seed)
    rows = [
        (rng.randrange(6), rng.randrange(num_items), START + rng.randrange(60), rng.choice([None, None, "x", "y", "z"]))
        for _ in range(num_rows)
    ]
    return pl.DataFrame(rows, schema={"user": pl.Int64, "item": pl.Int64, "timestamp": pl.Int64, "brand": pl.String}, orient="row")


def earliest_brand(events, item):
    """Of train first, then by time, then by name; None if no event tells one."""
    known = [(not in_train, time, brand) for one, time, brand, in_train in events if one == item and brand is not None]
    return min(known)[2] if known else None


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("has_table", [False, True])
@pytest.mark.parametrize("protocol", [ImpressionsConfig(), NextItemConfig(split="time")], ids=lambda protocol: protocol.name)
def test_item_fields_of_log_and_behaviours_are_those_of_a_plain_loop(tmp_path, protocol, has_table, seed):
    """The item table first; else the earliest value, of train where train has one, in the log (without an item table) or the behaviours."""
    frame = (
        random_events(seed, 120, 25).with_columns(label=pl.int_range(pl.len()) % 2, price=pl.lit(1.0)).unique(["user", "item", "timestamp"])
    )
    past = random_events(seed + 100, 150, 40).unique(["user", "item", "timestamp"], keep="any")
    past.write_parquet(tmp_path / "past.parquet")
    more = {
        "behaviours": {
            "path": str(tmp_path / "past.parquet"),
            "columns": {name: name for name in ("user", "item", "timestamp")},
            "item_fields": {"brand": "brand"},
        },
        "on_missing_items": "unknown",
    }
    table = {item: [None, "t", "u"][item % 3] for item in range(0, 30, 2)}
    if has_table:
        pl.DataFrame({"id": list(table), "brand": list(table.values()), "price": [1.0] * len(table)}).write_parquet(
            tmp_path / "items.parquet"
        )
        more["items"] = {"path": str(tmp_path / "items.parquet"), "column": "id"}
    dataset = prepared(tmp_path, frame, protocol, **more)
    train_end = dataset.manifest.splits["train"].last_timestamp
    last_of_user = last_train_moment(past if protocol.name == "next_item" else frame, train_end, protocol)
    log = [] if has_table else [(item, time, brand, is_train_row(protocol, time, train_end)) for _, item, time, brand, *_ in frame.rows()]
    behaved = [
        (item, time, brand, is_train_behaviour(protocol, user, time, past, last_of_user, train_end))
        for user, item, time, brand in past.rows()
    ]
    found = brands(dataset)
    for item in found:
        expected = table[item] if has_table and item in table else earliest_brand([*log, *behaved], item)
        # A value that no history or target of train holds is unknown to the vocabulary.
        assert found[item] in (expected, None)
        assert found[item] == expected or expected not in dataset.vocabulary("brand")["raw"]


def last_train_moment(rows, train_end, protocol):
    """User -> moment of the user's last impression of train."""
    users, times = rows["user"].to_list(), rows["timestamp"].to_list()
    first = {user: min(time for one, time in zip(users, times, strict=True) if one == user) for user in users}
    last = {}
    for user, time in zip(users, times, strict=True):
        is_impression = time <= train_end and (protocol.name == "impressions" or time > first[user])
        if is_impression:
            last[user] = max(time, last.get(user, 0))
    return last


def is_train_row(protocol, time, train_end):
    return protocol.name == "impressions" and time <= train_end


def is_train_behaviour(protocol, user, time, past, last_of_user, train_end):
    """In a history of train, or a target of next_item."""
    return time < last_of_user.get(user, 0) or (protocol.name == "next_item" and time == last_of_user.get(user))
