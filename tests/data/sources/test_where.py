"""Rows that count by the values of their columns, clicks by events, and behaviours among the log's own rows."""

import random
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.data.whole_log import CheckedLog, check

from clickflow.config import validate
from clickflow.data.sources.log import LogConfig
from clickflow.errors import ConfigError, DataError

START = 1_700_000_000
COLUMNS = {"user": "user", "item": "item", "timestamp": "time"}
EVENTS = ("view", "cart", "buy", "refund")
LINES = ("user,item,time,event,shop", f"1,a,{START},view,1", f"1,b,{START + 1},buy,2", f"2,a,{START + 2},cart,1", f"2,b,{START + 3},view,")


def config(path: object, **more: object) -> LogConfig:
    return validate(LogConfig, {"name": "mine", "source": "log", "path": str(path), "columns": COLUMNS, **more})


def checked(path: object, **more: object) -> CheckedLog:
    log = config(path, **more)
    return check(log.read(log.files(Path("nowhere"))), log)


@pytest.fixture
def events(tmp_path):
    return write(tmp_path / "events.csv", LINES)


def write(path: Path, lines) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("values", ["view", ["view"], ["cart", "view", "cart"]])
def test_rows_of_other_values_are_left_out_and_counted(events, values):
    log = checked(events, where={"event": values})
    wanted = 3 if "cart" in values else 2
    assert log.interactions.height == wanted
    assert (log.counts["rows_read"], log.counts["left_out_by_where"]) == (4, 4 - wanted)


def test_all_conditions_must_hold_and_null_is_a_missing_value(events):
    assert checked(events, where={"event": "view", "shop": 1}).interactions["user"].to_list() == [1]
    assert checked(events, where={"event": "view", "shop": None}).interactions["user"].to_list() == [2]
    assert checked(events, where={"event": ["view", "buy"], "shop": [2, None]}).interactions["user"].to_list() == [1, 2]


@pytest.mark.parametrize(
    ("series", "value", "rows"),
    [
        (pl.Series([1, 2, None]), 1, [0]),
        (pl.Series([1, 2, None]), [None, "2"], [1, 2]),
        (pl.Series([1.0, 2.5, None]), [1, "2.5"], [0, 1]),
        (pl.Series([1.0, float("nan"), None]), None, [1, 2]),
        (pl.Series([True, False, None]), True, [0]),
        (pl.Series(["True", "FALSE", "truth"]), True, [0]),
        (pl.Series(["True", "FALSE", "truth"]), ["false", "truth"], [1, 2]),
        (pl.Series(["a", "b", "a"], dtype=pl.Categorical), "a", [0, 2]),
        (pl.Series(["007", "7", "0"]), 7, [1]),
        (pl.Series([2**64 - 1, 1, 2], dtype=pl.UInt64), 2**64 - 1, [0]),
    ],
)
def test_values_are_compared_as_texts_whatever_the_type_of_the_column(tmp_path, series, value, rows):
    frame = pl.DataFrame({"user": [1, 2, 3], "item": [1, 2, 3], "time": [START] * 3, "mark": series})
    frame.write_parquet(tmp_path / "log.parquet")
    assert checked(tmp_path / "log.parquet", where={"mark": value}).interactions["user"].to_list() == [row + 1 for row in rows]


def test_bad_rows_of_other_events_cost_nothing_and_messages_count_rows_of_the_file(tmp_path):
    lines = [*LINES, "NULL,x,never,refund,1", ",,,refund,1"]
    log = checked(write(tmp_path / "events.csv", lines), where={"event": ["view", "buy"]})
    assert (log.interactions.height, log.counts["left_out_by_where"]) == (3, 3)
    two = [*lines, f",a,{START},view,1"]
    with pytest.raises(DataError, match=r"^events\.csv, column 'user', row 7 = null: missing, and every row needs a user"):
        checked(write(tmp_path / "events.csv", two), where={"event": ["view", "buy"]})


@pytest.mark.parametrize("form", ["csv", "parquet", "jsonl"])
def test_a_folder_may_stand_for_the_column(tmp_path, form):
    for day in ("05", "06"):
        (tmp_path / f"day={day}").mkdir()
        frame = pl.DataFrame({"user": [1, 2], "item": [int(day), 7], "time": [START] * 2})
        path = tmp_path / f"day={day}" / f"part.{form}"
        {"csv": frame.write_csv, "jsonl": frame.write_ndjson, "parquet": frame.write_parquet}[form](path)
    log = checked(tmp_path, where={"day": "06"})
    assert log.interactions.rows() == [(1, 6, START), (2, 7, START)]
    assert (log.counts["rows_read"], log.counts["left_out_by_where"]) == (4, 2)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_rows_are_counted_in_their_own_file_though_others_are_left_out(tmp_path, form):
    for number, user in enumerate([2, None]):
        frame = pl.DataFrame({"user": [1, 1, user], "item": [1] * 3, "time": [START] * 3, "event": ["cart", "cart", "view"]})
        if form == "csv":
            write(tmp_path / f"{number}.csv", [*frame.write_csv().splitlines()[:2], "broken", *frame.write_csv().splitlines()[2:]])
        else:
            frame.write_parquet(tmp_path / f"{number}.parquet")
    row = 4 if form == "csv" else 3
    with pytest.raises(DataError, match=rf"1\.{form}, column 'user', row {row} = null: missing"):
        checked(tmp_path, where={"event": "view"})


def test_every_line_is_a_row_or_refused_or_left_out(tmp_path):
    lines = [*LINES, "ragged", f",a,{START},view,1"]
    log = checked(write(tmp_path / "events.csv", lines), where={"event": "view"}, on_bad_rows="drop", max_bad_share=1.0)
    counts = log.counts
    assert counts["rows_read"] == len(lines) - 1
    assert counts["rows_read"] == log.interactions.height + counts["bad_rows_dropped"] + counts["left_out_by_where"]


def test_a_blank_value_is_answered_with_null(events):
    with pytest.raises(DataError, match=r"= '': a blank text is a missing value; write null for it"):
        checked(events, where={"event": ["view", ""]})


def test_a_value_that_no_row_has_is_refused_with_the_values_of_the_column(events):
    with pytest.raises(DataError) as caught:
        checked(events, where={"event": ["veiw", "buy", "love"], "shop": 9})
    event, shop = ("events.csv, column 'event' (data.where.event)", "events.csv, column 'shop' (data.where.shop)")
    assert str(caught.value).splitlines() == [
        "3 problems in events.csv:",
        f"  {event} = veiw: no row has this value; did you mean view; the column has: view, buy, cart.",
        f"  {event} = love: no row has this value; the column has: view, buy, cart.",
        f"  {shop} = 9: no row has this value; the column has: 1, 2.",
    ]


def test_many_values_are_shown_in_part(tmp_path):
    lines = [LINES[0], *(f"1,a,{START},e{number},1" for number in range(12))]
    with pytest.raises(DataError, match=r"the column has: e0, e1, e10, e11, e2, e3, e4, e5, e6, e7 and 2 more\."):
        checked(write(tmp_path / "events.csv", lines), where={"event": "zzz"})


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"event": None}, r"data\.where\.event\) = null: no row lacks a value; remove null"),
        ({"shop": "NULL"}, r"data\.where\.shop\) = NULL: stands for a missing value \(data\.null_values\); write null for it"),
        ({"event": "cart", "shop": 2}, r"events\.csv: no row meets data\.where\.event = cart and data\.where\.shop = 2 at once"),
        ({"evnt": "cart"}, r"events\.csv, column 'evnt' \(data\.where\.evnt\): no such column; did you mean event"),
    ],
)
def test_conditions_that_cannot_be_met_are_refused(events, where, message):
    with pytest.raises(DataError, match=message):
        checked(events, where=where)


def test_a_column_of_lists_has_no_single_values_to_compare(tmp_path):
    pl.DataFrame({"user": [1], "item": [1], "time": [START], "tags": [["a"]]}).write_parquet(tmp_path / "log.parquet")
    with pytest.raises(DataError, match=r"column 'tags' \(data\.where\.tags\) = List\(String\): several values per row"):
        checked(tmp_path / "log.parquet", where={"tags": "a"})


@pytest.mark.parametrize("value", [[], {}, {"a": 1}, [["a"]]])
def test_a_condition_that_is_no_value_is_refused(value):
    with pytest.raises(ConfigError, match=r"where\.event = .*: must be a value or a list of values"):
        config("a.csv", where={"event": value})


def test_conditions_survive_the_json_that_a_sweeps_worker_reads():
    log = config("a.csv", where={"event": ["view", None, 1, True, 2.5]}, behaviours={"where": {"event": "buy"}})
    assert log.where == {"event": ("view", None, "1", "true", "2.5")}
    assert LogConfig.model_validate_json(log.model_dump_json(), strict=False) == log


def test_the_other_tables_have_conditions_too(tmp_path, events):
    write(tmp_path / "items.csv", ["id,lang,colour", "a,en,red", "a,de,rot", "b,en,blue", "b,de,blau"])
    write(tmp_path / "users.csv", ["id,valid,age", "1,true,30", "1,false,31", "2,true,40"])
    log = checked(
        events,
        items={"path": str(tmp_path / "items.csv"), "column": "id", "where": {"lang": "en"}},
        item_fields={"colour": {"column": "colour"}},
        users={"path": str(tmp_path / "users.csv"), "column": "id", "where": {"valid": True}},
        user_fields={"age": {"column": "age", "kind": "numeric"}},
        behaviours={"path": str(events), "where": {"event": "buy"}},
    )
    assert log.items.rows() == [("a", "red"), ("b", "blue")]
    assert log.interactions.select("user", "age").rows() == [(1, 30.0), (1, 30.0), (2, 40.0), (2, 40.0)]
    assert log.behaviours.rows() == [(1, "b", START + 1)]
    names = ("items_left_out_by_where", "users_left_out_by_where", "behaviours_left_out_by_where")
    assert [log.counts[name] for name in names] == [2, 1, 3]


@pytest.mark.parametrize(
    ("texts", "labels"),
    [
        (["0", "1"], [0, 1]),
        (["-1", "1"], [0, 1]),
        (["-1.0", "1.0"], [0, 1]),
        (["0.0", "1.0"], [0, 1]),
        (["True", "false"], [1, 0]),
        (["yes", "No"], [1, 0]),
        (["y", "N"], [1, 0]),
        (["T", "f"], [1, 0]),
    ],
)
def test_labels_are_read_as_logs_write_them(tmp_path, texts, labels):
    lines = ["user,item,time,label", *(f"1,a,{START},{text}" for text in texts)]
    path = write(tmp_path / "log.csv", lines)
    assert checked(path, columns={**COLUMNS, "label": "label"}).interactions["label"].to_list() == labels


@pytest.mark.parametrize("dtype", [pl.Int8, pl.Int64, pl.Float32, pl.String])
def test_minus_one_beside_zero_is_refused_since_one_of_them_may_be_no_label(tmp_path, dtype):
    frame = pl.DataFrame({"user": [1] * 3, "item": [1] * 3, "time": [START] * 3, "label": [0, -1, 1]}).cast({"label": dtype})
    frame.write_parquet(tmp_path / "log.parquet")
    message = r"column 'label', row 2 = .*: a second value of no click, beside 0; name both in data\.columns\.label"
    with pytest.raises(DataError, match=message):
        checked(tmp_path / "log.parquet", columns={**COLUMNS, "label": "label"})


def test_labels_by_events_leave_out_what_is_no_impression(events):
    label = {"column": "event", "positive": "buy", "negative": ["view"]}
    log = checked(events, columns={**COLUMNS, "label": label})
    assert log.interactions.select("item", "label").rows() == [("a", 0), ("b", 1), ("b", 0)]
    assert (log.counts["rows_read"], log.counts["no_impressions"]) == (4, 1)
    assert "left_out_by_where" not in log.counts


def test_without_negative_every_other_row_was_not_clicked(events):
    log = checked(events, columns={**COLUMNS, "label": {"column": "event", "positive": ["buy"]}}, where={"event": ["buy", "cart"]})
    assert log.interactions["label"].to_list() == [1, 0]
    assert "no_impressions" not in log.counts


def test_an_event_of_the_label_that_no_row_has_is_refused(events):
    label = {"column": "event", "positive": "bay", "negative": "cart"}
    with pytest.raises(DataError) as caught:
        checked(events, columns={**COLUMNS, "label": label}, where={"event": ["view", "buy"]})
    event = "  events.csv, column 'event' (data.columns.label"
    assert str(caught.value).splitlines()[1:] == [
        f"{event}.positive) = bay: no row has this value; did you mean buy; the column has: view, buy.",
        f"{event}.negative) = cart: no row has this value; the column has: view, buy.",
    ]


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ({"column": "e", "negative": "view"}, r"columns\.label\.negative = view: without positive; name the values of a click too"),
        ({"column": "e", "positive": ["a", 1], "negative": ["b", "1"]}, r"columns\.label\.negative = 1: is positive too"),
        ({"column": "e", "positive": []}, r"columns\.label\.positive = \[\]: must be a value or a list of values"),
        ({"positive": "buy"}, r"columns\.label\.column: required, but not given"),
        ({"column": "user", "positive": "1"}, r"columns\.label = user: is the user column too"),
    ],
)
def test_labels_that_contradict_themselves_are_refused(label, message):
    with pytest.raises(ConfigError, match=message):
        config("a.csv", columns={**COLUMNS, "label": label})


def test_a_field_that_is_the_event_of_the_label_is_refused():
    with pytest.raises(ConfigError, match=r"context_fields\.what\.column = event: is columns\.label too, so the model would be given"):
        config(
            "a.csv",
            columns={**COLUMNS, "label": {"column": "event", "positive": "buy"}},
            context_fields={"what": {"column": "event"}},
        )


def test_behaviours_may_be_rows_of_the_log_itself(events):
    label = {"column": "event", "positive": "buy", "negative": "cart"}
    log = checked(events, columns={**COLUMNS, "label": label}, behaviours={"where": {"event": ["view", "buy"]}})
    assert log.interactions.select("user", "item", "label").rows() == [(1, "b", 1), (2, "a", 0)]
    assert log.behaviours.select("user", "item").rows() == [(1, "a"), (1, "b"), (2, "b")]
    assert (log.counts["no_impressions"], log.counts["behaviours_left_out_by_where"]) == (2, 1)


def test_a_fault_that_log_and_behaviours_share_is_told_once_and_counted_for_each(tmp_path):
    path = write(tmp_path / "events.csv", [*LINES, f",a,{START},buy,1", "ragged"])
    shared = {"where": {"event": ["buy", "view"]}, "behaviours": {"where": {"event": "buy"}}}
    with pytest.raises(DataError) as caught:
        checked(path, max_bad_share=1.0, **shared)
    assert str(caught.value).count("row 5 = null: missing, and every row needs a user") == 1
    log = checked(path, on_bad_rows="drop", max_bad_share=1.0, **shared)
    assert log.counts["dropped: events.csv (interactions), user missing"] == 1
    assert log.counts["dropped: events.csv (behaviours), user missing"] == 1
    assert (log.interactions.height, log.behaviours.height) == (3, 1)


@pytest.mark.parametrize(
    ("behaviours", "message"),
    [
        ({"separator": ";"}, r"behaviours\.separator = ;: the behaviours are in the log's own files; set separator of the log, or name"),
        ({"header": False, "names": ["a", "b"]}, r"behaviours\.names = \['a', 'b'\]: the behaviours are in the log's own files"),
        ({"columns": {"user": "u", "item": "u", "timestamp": "t"}}, r"behaviours\.columns\.item = u: is the user column too"),
    ],
)
def test_behaviours_of_the_log_that_are_written_otherwise_are_refused(behaviours, message):
    with pytest.raises(ConfigError, match=message):
        config("a.csv", behaviours=behaviours)


rows = st.lists(
    st.tuples(
        st.integers(0, 3), st.sampled_from("abc"), st.integers(0, 5), st.sampled_from((*EVENTS, "")), st.sampled_from(["1", "2", ""])
    ),
    min_size=1,
    max_size=30,
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), rows=rows, form=st.sampled_from(["csv", "jsonl", "parquet"]))
def test_rows_labels_and_behaviours_are_those_of_a_plain_loop(tmp_path, data, rows, form):
    """Whatever is chosen by where, by label and for the behaviours, or refused because a value is not there."""
    frame = pl.DataFrame(rows, schema={"user": int, "item": str, "time": int, "event": str, "shop": str}, orient="row")
    frame = frame.with_columns(pl.col("time") + START, *(pl.when(pl.col(name) != "").then(name).alias(name) for name in ("event", "shop")))
    path = tmp_path / f"log{random.random()}.{form}"
    {"csv": frame.write_csv, "jsonl": frame.write_ndjson, "parquet": frame.write_parquet}[form](path)
    table = frame.rows(named=True)

    def some(values, at_most=4):
        return data.draw(st.lists(st.sampled_from(values), min_size=1, max_size=at_most, unique=True))

    held = {
        name: [*frame[name].unique(maintain_order=True), *data.draw(st.sampled_from([[], [], [], ["love"]]))] for name in ("event", "shop")
    }
    where = {name: some(held[name]) for name in data.draw(st.sampled_from([(), ("event",), ("shop",), ("event", "shop")]))}
    kept = [row for row in table if all(holds(row[name], values) for name, values in where.items())]
    events = [*dict.fromkeys(row["event"] for row in kept), *data.draw(st.sampled_from([[], [], [], ["love"]]))] or ["buy"]
    positive = some(events, at_most=2)
    others = [value for value in events if value not in positive]
    negative = some(others) if others and data.draw(st.booleans()) else None
    own = some(held["event"]) if data.draw(st.booleans()) else None
    more = {
        "where": where,
        "columns": {**COLUMNS, "label": {"column": "event", "positive": positive, "negative": negative}},
        "behaviours": None if own is None else {"where": {"event": own}},
    }

    def is_complete(name, values, rows):
        return all(any(holds(row[name], [value]) for row in rows) for value in values)

    are_there = all(is_complete(name, values, table) for name, values in where.items())
    if (
        not are_there
        or not kept
        or not is_complete("event", [*positive, *(negative or [])], kept)
        or not is_complete("event", own or [], table)
    ):
        with pytest.raises(DataError, match="no row has this value" if kept or not are_there else r"no row meets data\.where\..* at once"):
            checked(path, **more)
        return
    log = checked(path, **more)
    impressions = [row for row in kept if negative is None or holds(row["event"], positive) or holds(row["event"], negative)]
    found = log.interactions.select(pl.col("user", "item").cast(pl.String), "timestamp", "label").rows()
    assert found == [(str(row["user"]), row["item"], row["time"], int(holds(row["event"], positive))) for row in impressions]
    assert log.counts["rows_read"] == len(table)
    assert log.counts.get("left_out_by_where", 0) == len(table) - len(kept)
    assert log.counts.get("no_impressions", 0) == len(kept) - len(impressions)
    if own is not None:
        past = [row for row in table if holds(row["event"], own)]
        behaved = log.behaviours.select(pl.col("user", "item").cast(pl.String), "timestamp").rows()
        assert behaved == [(str(row["user"]), row["item"], row["time"]) for row in past]
        assert log.counts["behaviours_left_out_by_where"] == len(table) - len(past)


def holds(value, values):
    return any(value is None if one is None else value is not None and value == str(one) for one in values)
