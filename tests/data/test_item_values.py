"""Item fields taken from the log: the earliest value by time, of train where train has one."""

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
