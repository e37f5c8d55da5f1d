"""Histories that rows bring with them against a loop over the rows of the file."""

import io
import json
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from tests.data.row_lists import SPLITS, START, Row, assert_contradictions, checked, config, prepared_rows

from clickflow.cli.result_tables import print_dataset
from clickflow.config import validate
from clickflow.data.dataset import PreparedDataset
from clickflow.data.given_histories import CLICKS_ENDING_HISTORY
from clickflow.data.prepare import prepare
from clickflow.data.protocols import ImpressionsConfig, RatingConfig
from clickflow.data.sources.log import LogConfig
from clickflow.errors import ConfigError, DataError
from clickflow.runs.config import PrepareConfig

COLUMNS = {"item": "item", "label": "label", "history": "past", "split": "part"}
LISTED = {"candidates": {"column": "shown", "label_separator": "-"}, "history": "past", "split": "part"}
SCHEMA = {
    "user": pl.Int64,
    "time": pl.Int64,
    "item": pl.Int64,
    "label": pl.Int64,
    "past": pl.List(pl.Int64),
    "part": pl.String,
}
Entry = tuple[int, int, int, int, list[int | None] | None, str]

past = st.one_of(st.none(), st.lists(st.one_of(st.none(), st.integers(0, 5)), max_size=4))
entry = st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 5), st.integers(0, 1), past, st.sampled_from(SPLITS))
of_each_split = st.tuples(st.lists(entry), past, past, past).map(
    lambda drawn: drawn[0] + [(3, 0, 1, 1, own, split) for own, split in zip(drawn[1:], SPLITS, strict=True)]
)


def frame_of(entries: list[Entry], written: str = "lists") -> pl.DataFrame:
    frame = pl.DataFrame(entries, schema=SCHEMA, orient="row").with_columns(pl.col("time") + START)
    if written == "lists":
        return frame
    texts = pl.col("past").list.eval(pl.element().cast(pl.String).fill_null("NULL")).list.join("^")
    return frame.with_columns(texts)


def prepared(folder: Path, frame: pl.DataFrame, columns: dict[str, object] = COLUMNS, **more: object) -> PreparedDataset:
    return prepare(config(folder, frame, columns, **more), ImpressionsConfig(), folder / "home")


def expected(entries: list[Entry]) -> Counter[Row]:
    return Counter(
        (split, user, item, label, tuple(old for old in own or [] if old is not None)) for user, _, item, label, own, split in entries
    )


@pytest.mark.parametrize(("written", "separator"), [("lists", None), ("texts", "^")])
@settings(max_examples=40)
@given(entries=of_each_split)
def test_each_row_has_the_history_that_it_brings(written, separator, entries):
    with tempfile.TemporaryDirectory() as folder:
        dataset = prepared(Path(folder), frame_of(entries, written), history_separator=separator)
        assert Counter(prepared_rows(dataset)) == expected(entries)
        counts = dataset.manifest.counts
        different = {(user, history) for _, user, _, _, history in expected(entries)}
        assert counts["different_histories"] == len(different)
        assert dataset.manifest.num_behaviours == sum(len(history) for _, history in different)
        ends = sum(bool(label and history and history[-1] == item) for *_, item, label, history in expected(entries).elements())
        assert counts[CLICKS_ENDING_HISTORY] == ends
        if written == "lists":
            assert counts["missing_items_in_histories"] == sum((own or []).count(None) for *_, own, _ in entries)


def random_entries(num_rows: int = 300) -> list[Entry]:
    rng = np.random.default_rng(4)
    return [
        (
            int(rng.integers(0, 9)),
            int(rng.integers(0, 30)),
            int(rng.zipf(1.4) % 30),
            int(rng.random() < 0.3),
            (rng.zipf(1.4, rng.integers(0, 5)) % 40).tolist(),
            SPLITS[int(rng.integers(0, 3))],
        )
        for _ in range(num_rows)
    ]


@pytest.mark.parametrize("shuffle", [1, 2])
def test_the_order_of_the_rows_changes_no_byte(tmp_path, shuffle):
    frame = frame_of(random_entries())
    alike = pl.concat([frame, frame.head(20), frame.head(10).with_columns(past=pl.Series([[1, 2]] * 10))])
    one = prepared(tmp_path / "one", alike)
    other = prepared(tmp_path / "other", alike.sample(fraction=1.0, shuffle=True, seed=shuffle))
    assert one.manifest.fingerprint == other.manifest.fingerprint
    assert one.manifest.files == other.manifest.files


def test_the_candidates_of_a_list_share_one_stored_history(tmp_path):
    shown = " ".join(f"{item}-{item % 2}" for item in range(50))
    rows = [(user, START + time, shown, list(range(20)), split) for user in (1, 2) for time, split in enumerate(SPLITS)]
    frame = pl.DataFrame(rows, schema=["user", "time", "shown", "past", "part"], orient="row")
    dataset = prepared(tmp_path, frame, LISTED)
    assert dataset.manifest.num_behaviours == 2 * 20
    assert Counter(prepared_rows(dataset)) == Counter(
        (split, user, item, item % 2, tuple(range(20))) for split in SPLITS for user in (1, 2) for item in range(50)
    )


def test_clicks_of_the_log_are_no_behaviours(tmp_path):
    dataset = prepared(tmp_path, frame_of([(1, time, time, 1, [], split) for time, split in enumerate(SPLITS)]))
    assert dataset.manifest.num_behaviours == 0
    assert not dataset.manifest.has_order


def test_an_item_of_a_train_history_is_known_and_one_of_a_test_history_is_not(tmp_path):
    entries: list[Entry] = [
        (1, 0, 1, 1, [7], "train"),
        (1, 1, 1, 0, [7, 8], "validation"),
        (1, 2, 1, 0, [9], "test"),
    ]
    dataset = prepared(tmp_path, frame_of(entries))
    assert sorted(dataset.vocabulary("item")["raw"]) == [1, 7]
    assert sorted(dataset.raw_items()) == [1, 7, 8, 9]
    assert dataset.manifest.has_order


def test_ratings_may_bring_their_histories_too(tmp_path):
    entries = [(user, time, time, 3 + time % 3, [time], "train") for user in range(10) for time in range(3)]
    columns = {"item": "item", "rating": "label", "history": "past"}
    data = config(tmp_path, frame_of(entries), columns)
    rows = prepared_rows(prepare(data, RatingConfig(), tmp_path / "home"))
    assert Counter(row[1:] for row in rows) == Counter((user, time, int(3 + time % 3 >= 4), (time,)) for user, time, *_ in entries)


# Fields and ids


def test_items_of_histories_have_the_fields_of_the_item_table(tmp_path):
    (tmp_path / "items.csv").write_text("id,shop\n1,a\n7,b\n")
    table = {"items": {"path": str(tmp_path / "items.csv"), "column": "id"}, "item_fields": {"shop": {"column": "shop"}}}
    entries = [(1, time, 1, time % 2, [7, 8], split) for time, split in enumerate(SPLITS)]
    with pytest.raises(DataError, match=r"items\.csv, column 'id': lacks 1 item of the log, such as 8; add them or"):
        prepared(tmp_path, frame_of(entries), **table)
    dataset = prepared(tmp_path, frame_of(entries), **table, on_missing_items="unknown")
    shops = {None: 0} | dict(dataset.vocabulary("shop").select("raw", "index").rows())
    fields = dict(zip(dataset.raw_items().to_list(), dataset.items()["index/shop"].to_list()[1:], strict=True))
    assert fields == {1: shops["a"], 7: shops["b"], 8: 0}


def test_without_an_item_table_items_have_the_fields_of_rows_where_they_are_targets(tmp_path):
    entries = [(1, time, 1, time % 2, [1, 7], split) for time, split in enumerate(SPLITS)]
    frame = frame_of(entries).with_columns(shop=pl.lit("a"))
    dataset = prepared(tmp_path, frame, item_fields={"shop": {"column": "shop"}})
    fields = dict(zip(dataset.raw_items().to_list(), dataset.items()["index/shop"].to_list()[1:], strict=True))
    assert fields == {1: 1, 7: 0}
    assert dataset.manifest.counts["items_without_fields"] == 1


@pytest.mark.parametrize("written", ["lists", "texts"])
def test_ids_of_histories_and_of_targets_have_one_type(tmp_path, written):
    entries = [(1, time, 1, time % 2, [1, 7], split) for time, split in enumerate(SPLITS)]
    frame = frame_of(entries, written).with_columns(item=pl.Series(["1", "x", "1"]))
    log = checked(config(tmp_path, frame, COLUMNS, history_separator=None if written == "lists" else "^"))
    assert log.histories is not None
    assert log.histories["given history"].to_list() == [["1", "7"]]
    integers = checked(config(tmp_path, frame_of(entries, written), COLUMNS, history_separator=None if written == "lists" else "^"))
    assert integers.histories is not None
    assert integers.histories["given history"].to_list() == [[1, 7]]


def test_lists_of_several_files_and_types_are_one_column(tmp_path):
    one = frame_of([(1, time, 1, time % 2, [1, 7], split) for time, split in enumerate(SPLITS)])
    one.cast({"past": pl.List(pl.Int32)}).write_parquet(tmp_path / "1.parquet")
    one.with_columns(past=pl.Series([["1"], ["x"], []], dtype=pl.List(pl.Categorical))).write_parquet(tmp_path / "2.parquet")
    one.with_columns(past=pl.Series([[], [], []], dtype=pl.List(pl.Null))).write_parquet(tmp_path / "3.parquet")
    mapped = {"user": "user", "timestamp": "time", **COLUMNS}
    data = validate(LogConfig, {"name": "mine", "source": "log", "path": str(tmp_path), "columns": mapped})
    found = checked(data).histories
    assert found is not None
    assert found["given history"].to_list() == [[], ["1"], ["1", "7"], ["x"]]


def test_a_text_of_one_number_is_a_history_of_one_item(tmp_path):
    text = f"user,time,item,label,past\n1,{START},5,1,6\n1,{START},5,1,\n"
    log = checked(config(tmp_path, text, {"item": "item", "label": "label", "history": "past"}, history_separator="."))
    assert log.histories is not None
    assert log.histories["given history"].to_list() == [[], [6]]


def test_blank_items_of_a_text_are_none(tmp_path):
    text = f"user,time,item,label,past\n1,{START},a,1,a  NULL b \n1,{START},a,1,\\N\n"
    log = checked(config(tmp_path, text, {"item": "item", "label": "label", "history": "past"}, history_separator=" "))
    assert log.histories is not None
    assert log.histories["given history"].to_list() == [[], ["a", "b"]]
    assert log.counts["missing_items_in_histories"] == 1


def test_histories_of_an_ndjson_file_are_lists(tmp_path):
    rows = [{"user": 1, "time": START, "item": 5, "label": 1, "past": own} for own in ([], [1, None, 2], None)]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    mapped = {"user": "user", "timestamp": "time", "item": "item", "label": "label", "history": "past"}
    log = checked(validate(LogConfig, {"name": "mine", "source": "log", "path": str(tmp_path / "log.jsonl"), "columns": mapped}))
    assert log.histories is not None
    assert log.histories["given history"].to_list() == [[], [1, 2]]


# What is said


def printed(dataset: PreparedDataset) -> str:
    out = io.StringIO()
    print_dataset(Console(file=out, width=80), dataset, None)
    return out.getvalue()


def test_the_summary_warns_of_clicks_that_end_their_own_history(tmp_path):
    entries = [(1, time, 7, time % 2, [1, 7], split) for time, split in enumerate(SPLITS * 2)]
    text = printed(prepared(tmp_path, frame_of(entries)))
    assert "beware: the histories of 3 clicked rows (100.0% of the clicks) end with the clicked item;" in text
    assert "share their moment" not in text
    assert "users with one behaviour" not in text


def test_the_summary_does_not_warn_without_such_a_click(tmp_path):
    entries = [(1, time, 7, time % 2, [7, 1], split) for time, split in enumerate(SPLITS * 2)]
    assert "end with the clicked item" not in printed(prepared(tmp_path, frame_of(entries)))


# Faults


def test_a_text_needs_a_separator(tmp_path):
    frame = frame_of([(1, 0, 1, 1, [1, 2], "train")], "texts")
    with pytest.raises(
        DataError, match=r"column 'past' = String: a history is a list; set data.history_separator for texts such as a\^b\^c"
    ):
        checked(config(tmp_path, frame, COLUMNS))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[0.5]], r"column 'past' = Float64: ids are integers or texts"),
        ([[[1]]], r"column 'past' = List\(Int64\): ids are integers or texts"),
        ([1], r"column 'past' = Int64: must hold lists of ids, or texts with a separator; convert the column"),
    ],
)
def test_columns_that_hold_no_histories_are_refused(tmp_path, values, message):
    frame = frame_of([(1, 0, 1, 1, [1], "train")]).with_columns(past=pl.Series(values))
    with pytest.raises(DataError, match=message):
        checked(config(tmp_path, frame, COLUMNS, history_separator=" "))


TABLE = {"path": "past.csv", "columns": {"user": "u", "item": "i", "timestamp": "t"}}


@pytest.mark.parametrize(
    ("columns", "more", "message"),
    [
        (COLUMNS, {"behaviours": TABLE}, r"behaviours = a table, but columns.history = past gives each row its own history; remove one"),
        ({"item": "item"}, {"history_separator": "^"}, r"history_separator = '\^': there is no history to separate; name columns.history"),
        (COLUMNS, {"history_separator": ""}, r"history_separator = '': must not be empty"),
        (COLUMNS | {"kind": "event"}, {}, r"columns.kind = event: the behaviours in columns.history = past have no kind; remove one"),
        (COLUMNS | {"history": "item"}, {}, r"columns.history = item: is the item column too"),
    ],
)
def test_contradicting_choices_are_refused(columns, more, message):
    assert_contradictions(columns, more, message)


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        ({"name": "next_item"}, r"data.columns.history = past: gives each row its own history, but protocol.name = next_item"),
        ({"name": "next_item", "ties": "position"}, r"data.columns.history = past: gives each row its own history"),
        (
            {"name": "impressions", "history_lag": 60},
            r"protocol.history_lag = 60: the behaviours in data.columns.history = past have no time",
        ),
    ],
)
def test_protocols_that_need_the_time_of_behaviours_are_refused(protocol, message):
    data = {"name": "mine", "source": "log", "path": "x.csv", "columns": {"user": "user", "timestamp": "time", **COLUMNS}}
    with pytest.raises(ConfigError, match=message):
        validate(PrepareConfig, {"data": data, "protocol": protocol, "home": "."})


def test_a_list_in_brackets_is_no_text_of_ids(tmp_path):
    lines = ["user,item,time,label,past", *(f'{user},1,{START},1,"[3, {user}]"' for user in range(3))]
    log = config(tmp_path, "\n".join(lines) + "\n", {"item": "item", "label": "label", "history": "past"}, history_separator=", ")
    with pytest.raises(DataError, match=r"column 'past' = '\[3, 0\]': a list in brackets; write its ids with a separator"):
        checked(log)
