import hashlib
import logging
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.whole_log import CheckedLog, check

from clickflow.config import validate
from clickflow.data.sources.log import LogConfig
from clickflow.data.sources.raw import RawLog
from clickflow.errors import DataError

GOOD = 1_400_000_000
HEADER = "visitor,sku,timestamp,clicked"
COLUMNS = {"user": "visitor", "item": "sku", "timestamp": "timestamp", "label": "clicked"}
NO_LABEL = (
    "not 0 (no click) or 1 (click), -1/1, true/false or yes/no (for other values set data.columns.label: {column: clicked, positive: […]})"
)
DROP = "set data.on_bad_rows=drop (drops are counted and logged)."


def checked(folder: Path, rows: Sequence[str], header: str = HEADER, **more: object) -> CheckedLog:
    (folder / "clicks.csv").write_text("\n".join([header, *rows]) + "\n")
    values = {"name": "mine", "source": "log", "path": str(folder / "clicks.csv"), "columns": COLUMNS, "max_bad_share": 1.0, **more}
    config = validate(LogConfig, values)
    return check(config.read(config.files(folder)), config)


def refusal(*arguments: object, **more: object) -> str:
    with pytest.raises(DataError) as caught:
        checked(*arguments, **more)
    return str(caught.value)


def rows(count: int) -> list[str]:
    return [f"{number},i{number % 7},{GOOD + number},{number % 2}" for number in range(count)]


def test_a_good_log_passes_with_its_rows_in_their_order(tmp_path):
    log = checked(tmp_path, rows(5))
    assert log.interactions["user"].to_list() == [0, 1, 2, 3, 4]
    assert log.counts == {"rows_read": 5, "duplicate_rows": 0}


def test_the_message_names_file_column_row_value_and_remedy(tmp_path):
    bad = rows(2_000)
    bad[1_203] = "7,i1,n/a,1"
    assert refusal(tmp_path, bad) == (
        "clicks.csv, column 'timestamp', row 1,204 = 'n/a': not an integer (Unix seconds); "
        "fix the row or set data.on_bad_rows=drop (drops are counted and logged)."
    )


def test_further_rows_with_the_same_fault_are_counted(tmp_path):
    bad = [*rows(3), *["1,a,soon,1"] * 3]
    assert "row 4 = 'soon': not an integer (Unix seconds) (and so in 2 more rows); fix the rows or" in refusal(tmp_path, bad)


def test_the_row_is_counted_in_its_own_file(tmp_path):
    (tmp_path / "1.csv").write_text("\n".join([HEADER, *rows(10)]))
    (tmp_path / "2.csv").write_text("\n".join([HEADER, *rows(3), "1,a,,1"]))
    config = validate(LogConfig, {"name": "mine", "source": "log", "path": str(tmp_path), "columns": COLUMNS})
    with pytest.raises(DataError, match=r"^2\.csv, column 'timestamp', row 4 = null: missing, and every row needs a timestamp"):
        check(config.read(config.files(tmp_path)), config)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (f",a,{GOOD},1", "column 'visitor', row 3 = null: missing, and every row needs a user; fix the row or " + DROP),
        (f"1,,{GOOD},1", "column 'sku', row 3 = null: missing, and every row needs an item; "),
        ("1,a,,1", "column 'timestamp', row 3 = null: missing, and every row needs a timestamp; "),
        (f"1,a,{GOOD},", "column 'clicked', row 3 = null: missing, and every row needs a label; "),
        ("1,a,-5,1", "column 'timestamp', row 3 = -5: a time before 1970; "),
        ("1,a,9000000000,1", "column 'timestamp', row 3 = 9000000000: in the future (seconds, more than a day after now); "),
    ],
)
def test_a_bad_row_is_refused_or_dropped(tmp_path, caplog, row, message):
    text = refusal(tmp_path, [*rows(2), row, *rows(1)])
    assert text.startswith(f"clicks.csv, {message}")

    with caplog.at_level(logging.WARNING, logger="clickflow"):
        log = checked(tmp_path, [*rows(2), row, *rows(1)], on_bad_rows="drop")
    assert log.interactions["user"].to_list() == [0, 1, 0]
    assert log.interactions.null_count().sum_horizontal().item() == 0
    assert log.counts["bad_rows_dropped"] == 1
    assert "dropped 1 of 4 rows" in caplog.text
    assert message.removesuffix(DROP).removesuffix("fix the row or ").removesuffix("; ") in caplog.text
    assert "set data.on_bad_rows=drop" not in caplog.text


def test_an_empty_text_is_a_missing_id_in_parquet_too(tmp_path):
    pl.DataFrame({"u": ["x", ""], "i": ["a", "b"], "t": [GOOD, GOOD]}).write_parquet(tmp_path / "a.parquet")
    columns = {"user": "u", "item": "i", "timestamp": "t"}
    config = validate(LogConfig, {"name": "mine", "source": "log", "path": str(tmp_path / "a.parquet"), "columns": columns})
    with pytest.raises(DataError, match=r"column 'u', row 2 = null: missing, and every row needs a user"):
        check(config.read(config.files(tmp_path)), config)


def test_all_kinds_of_faults_are_reported_at_once_and_dropped_together(tmp_path):
    bad = [*rows(2), f",a,{GOOD},7", "1,b,x,1", "1,c,-1,1", *rows(2)]
    header, *lines = refusal(tmp_path, bad).splitlines()
    assert header == "4 problems in the log:"
    assert [line.split("'")[1] for line in lines] == ["visitor", "timestamp", "clicked", "timestamp"]
    assert checked(tmp_path, bad, on_bad_rows="drop").counts["bad_rows_dropped"] == 3


def test_dropping_everything_is_an_error(tmp_path):
    assert "clicks.csv: no row is left after dropping bad ones; the first of them: clicks.csv, column" in refusal(
        tmp_path, ["1,a,,1", "2,b,,1"], on_bad_rows="drop"
    )


def test_a_log_with_nothing_but_a_header_is_refused(tmp_path):
    assert refusal(tmp_path, []) == "clicks.csv = 0 rows: there is nothing in it but column names; write it again with its rows."


def test_a_row_of_a_day_ahead_may_be_a_clock_that_is_ahead(tmp_path):
    now = int(time.time())
    assert checked(tmp_path, [f"1,a,{now + 3600},1"]).interactions.height == 1
    assert "in the future" in refusal(tmp_path, [f"1,a,{now + 3 * 86_400},1"])


@pytest.mark.parametrize("drop", ["error", "drop"])
@pytest.mark.parametrize(
    ("unit", "factor", "looks", "remedy"),
    [
        ("seconds", 10**3, "milliseconds", "set data.timestamp_unit=milliseconds"),
        ("seconds", 10**6, "microseconds", "set data.timestamp_unit=microseconds"),
        ("milliseconds", 1, "seconds", "set data.timestamp_unit=seconds"),
        ("milliseconds", 10**9, "nanoseconds", "; convert the column."),
    ],
)
def test_another_unit_in_all_rows_is_refused_with_its_name(tmp_path, unit, factor, looks, remedy, drop):
    text = refusal(tmp_path, [f"1,a,{(GOOD + row) * factor},1" for row in range(5)], timestamp_unit=unit, on_bad_rows=drop)
    assert f"row 1 = {GOOD * factor}: all timestamps look like {looks}, not {unit}" in text
    assert remedy in text


@pytest.mark.parametrize(
    ("unit", "factor", "other", "looks"), [("seconds", 1, 10**3, "milliseconds"), ("milliseconds", 10**3, 1, "seconds")]
)
def test_mixed_units_are_refused_with_their_share(tmp_path, unit, factor, other, looks):
    mixed = [f"1,a,{GOOD * factor},1", f"1,b,{GOOD * other},1", f"1,c,{GOOD * factor},0"]
    text = refusal(tmp_path, mixed, timestamp_unit=unit, on_bad_rows="drop")
    assert f"row 2 = {GOOD * other}: mixed units: 1 of 3 rows look like {looks}, not {unit}; convert the column to one unit." in text


@pytest.mark.parametrize("drop", ["error", "drop"])
def test_a_log_wholly_before_1990_is_refused(tmp_path, drop):
    text = refusal(tmp_path, ["1,a,14102100,1", "1,b,14102101,0"], on_bad_rows=drop)
    assert text == (
        "clicks.csv, column 'timestamp', row 1 = 14102100: all times are before 1990, read as seconds since 1970; "
        "set data.timestamp_format for dates that are integers (20240531 is %Y%m%d), data.timestamp_unit=order for positions, "
        "or convert the column."
    )
    assert checked(tmp_path, ["1,a,14102100,1", f"1,b,{GOOD},0"]).interactions.height == 2


def test_any_positions_are_taken_as_they_are(tmp_path):
    small = ["1,a,0,1", "1,b,5,0"]
    assert checked(tmp_path, small, timestamp_unit="order").interactions["timestamp"].to_list() == [0, 5]
    large = ["1,a,0,1", f"1,b,{10**17},0"]
    assert checked(tmp_path, large, timestamp_unit="order").interactions["timestamp"].to_list() == [0, 10**17]
    assert "row 1 = -1: a negative position" in refusal(tmp_path, ["1,a,-1,1"], timestamp_unit="order")


def test_texts_that_are_not_date_times_are_quoted(tmp_path):
    dates = ["1,a,2024-05-31 18:00:00,1", "1,a,yesterday,1"]
    assert "row 2 = 'yesterday': not an ISO 8601 date-time like the others of its column" in refusal(tmp_path, dates)
    assert "row 1 = '2024-05-31 18:00:00': not a date-time of the format '%d/%m/%Y' (and so in 1 more row)" in refusal(
        tmp_path, dates, timestamp_format="%d/%m/%Y"
    )


HOUR = {"context_fields": {"hour": {"column": "hour", "kind": "numeric"}}}


@pytest.mark.parametrize("drop", ["error", "drop"])
def test_an_unreadable_value_of_a_numeric_field_costs_the_value_and_not_the_row(tmp_path, caplog, drop):
    values = ["", "nan", "7", "late", "inf"]
    lines = [f"1,a,{GOOD},1,{value}" for value in values]
    with caplog.at_level(logging.WARNING, logger="clickflow"):
        log = checked(tmp_path, lines, f"{HEADER},hour", on_bad_rows=drop, **HOUR)
    assert log.interactions["hour"].to_list() == [None, None, 7.0, None, None]
    assert log.counts["unreadable: hour"] == 2
    assert log.counts["missing: hour"] == 4
    wanted = "clicks.csv, column 'hour', row 4 = 'late': not a finite number (and so in 1 more row); such values count as missing"
    assert [record.message for record in caplog.records] == [wanted]


@pytest.mark.parametrize("drop", ["error", "drop"])
@pytest.mark.parametrize("value", ["late", "inf", "1,5"])
def test_a_field_with_many_unreadable_values_is_refused_with_what_to_do(tmp_path, drop, value):
    lines = [f"1,a,{GOOD},1,7", f'1,b,{GOOD},1,"{value}"']
    assert refusal(tmp_path, lines, f"{HEADER},hour", on_bad_rows=drop, max_bad_share=0.05, **HOUR) == (
        f"clicks.csv, column 'hour', row 2 = {'inf' if value == 'inf' else repr(value)}: not a finite number; "
        "1 of 2 values cannot be read, and data.max_bad_share=0.05 is the most that count as missing; "
        "set kind: categorical, decimal or null_values, or remove the field."
    )


def test_few_unreadable_values_of_few_are_missing_and_many_are_refused(tmp_path):
    lines = [f"{row},a,{GOOD},1,{'late' if row < 10 else 7}" for row in range(30)]
    assert checked(tmp_path, lines, f"{HEADER},hour", max_bad_share=0.05, **HOUR).counts["unreadable: hour"] == 10
    lines[10] = f"10,a,{GOOD},1,late"
    assert "11 of 30 values cannot be read" in refusal(tmp_path, lines, f"{HEADER},hour", max_bad_share=0.05, **HOUR)


@pytest.mark.parametrize(("bad", "is_dropped"), [(5, True), (6, False)])
def test_no_more_than_max_bad_share_of_the_rows_is_dropped(tmp_path, bad, is_dropped):
    lines = [*rows(100 - bad), *["7,i1,n/a,1"] * bad]
    wanted = (
        "clicks.csv, column 'timestamp', row 95 = 'n/a': not an integer (Unix seconds) (and so in 5 more rows); fix the rows: 6 of 100 "
    )
    wanted += "rows are bad, and data.max_bad_share=0.05 is the most that data.on_bad_rows=drop drops; check the options of the column, or "
    wanted += "raise it if these rows are no loss."
    if is_dropped:
        log = checked(tmp_path, lines, on_bad_rows="drop", max_bad_share=0.05)
        assert log.counts["dropped: clicks.csv, timestamp not an integer (Unix seconds)"] == bad == log.counts["bad_rows_dropped"]
        assert "set data.on_bad_rows=drop" in refusal(tmp_path, lines, max_bad_share=0.05)
    else:
        assert refusal(tmp_path, lines, on_bad_rows="drop", max_bad_share=0.05) == wanted
        assert refusal(tmp_path, lines, max_bad_share=0.05) == wanted


@pytest.mark.parametrize("text", ["NULL", "\\N", "NA", " NA ", "", "  "])
def test_a_text_that_stands_for_nothing_is_no_user(tmp_path, caplog, text):
    lines = [*rows(5), *[f"{text},i1,{GOOD},1"] * 2]
    shown = repr(text.strip()) if text.strip() else "null"
    assert f"clicks.csv, column 'visitor', row 6 = {shown}: missing, and every row needs a user (and so in 1 more row)" in refusal(
        tmp_path, lines
    )
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="clickflow"):
        log = checked(tmp_path, lines, on_bad_rows="drop")
    assert log.interactions["user"].to_list() == [0, 1, 2, 3, 4]
    told = f"clicks.csv, column 'visitor': 2 rows have {shown}, which is no value (data.null_values)"
    assert [record.message for record in caplog.records if "null_values" in record.message] == ([told] if text.strip() else [])
    if text.strip():
        assert log.counts["no value: visitor"] == 2
        taken = checked(tmp_path, lines, null_values=[]).interactions["user"]
        assert taken.to_list() == ["0", "1", "2", "3", "4", text, text]


def test_null_values_can_be_chosen_and_hold_for_every_column(tmp_path):
    log = checked(tmp_path, [f"1,a,{GOOD},1,3", f"1,b,{GOOD},1,-"], f"{HEADER},hour", null_values=["-"], **HOUR)
    assert log.interactions["hour"].to_list() == [3.0, None]
    assert "unreadable: hour" not in log.counts


@pytest.mark.parametrize(
    ("genres", "is_told"), [(["a|b", "c|d", "e"], True), (["[1, 2]", "[3]", "[]"], True), (["a", "b", "c|d|e"], False)]
)
def test_texts_that_join_several_values_are_pointed_out(tmp_path, caplog, genres, is_told):
    fields = {"context_fields": {"genre": {"column": "genre"}}}
    lines = [f'1,a,{GOOD},1,"{genre}"' for genre in [*genres, *["e"] * 2]]
    with caplog.at_level(logging.WARNING, logger="clickflow"):
        checked(tmp_path, lines, f"{HEADER},genre", **fields)
    assert ("field genre:" in caplog.text and "hold several values" in caplog.text) == is_told


def test_identical_rows_are_kept_and_counted_or_dropped(tmp_path):
    twice = [f"1,a,{GOOD},1", f"2,b,{GOOD},1", f"1,a,{GOOD},1", f"1,a,{GOOD},1", f"1,a,{GOOD},0"]
    kept = checked(tmp_path, twice)
    assert (kept.interactions.height, kept.counts["duplicate_rows"]) == (5, 2)
    dropped = checked(tmp_path, twice, duplicates="drop")
    assert sorted(dropped.interactions.select("user", "label").rows()) == [(1, 0), (1, 1), (2, 1)]
    assert dropped.counts["duplicate_rows_dropped"] == 2


events = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), st.integers(0, 1)), min_size=1, max_size=40)


@settings(deadline=None)
@given(events=events)
def test_duplicates_are_counted_as_a_plain_counter_counts_them(events):
    frame = pl.DataFrame(events, schema=["user", "item", "timestamp", "label"], orient="row")
    config = validate(LogConfig, {"name": "mine", "source": "log", "path": "a.csv", "columns": COLUMNS, "duplicates": "drop"})
    log = check(RawLog(interactions=frame.lazy(), timestamp_unit="order"), config)
    assert log.counts["duplicate_rows"] == sum(count - 1 for count in Counter(events).values())
    assert sorted(log.interactions.rows()) == sorted(set(events))


def item_table(folder: Path, lines: Sequence[str]) -> dict[str, object]:
    (folder / "items.csv").write_text("\n".join(["id,colour", *lines]))
    return {"items": {"path": str(folder / "items.csv"), "column": "id"}, "item_fields": {"colour": {"column": "colour"}}}


def test_an_item_table_that_lacks_items_is_refused_or_they_become_unknown(tmp_path):
    table = item_table(tmp_path, ["i1,red", "i2,blue"])
    assert refusal(tmp_path, rows(14), **table) == (
        "items.csv, column 'id': lacks 5 items of the log, such as 'i0', 'i3', 'i4', 'i5', 'i6'; "
        "add them or set data.on_missing_items=unknown (their fields become index 0 = unknown)."
    )
    log = checked(tmp_path, rows(14), on_missing_items="unknown", **table)
    assert log.counts["items_without_fields"] == 5
    assert log.interactions.height == 14
    assert log.items["item"].to_list() == ["i1", "i2"]


def test_an_item_with_two_identical_rows_is_counted(tmp_path):
    log = checked(tmp_path, ["1,a,1400000005,1"], **item_table(tmp_path, ["a,red", "b,blue", "a,red"]))
    assert log.items.rows() == [("a", "red"), ("b", "blue")]
    assert log.counts["items_duplicate_rows"] == 1


@pytest.mark.parametrize("lines", [["a,red", "b,blue", "a,", "b,blue"], ["a,", "b,blue", "b,blue", "a,red"]])
def test_an_item_that_contradicts_itself_is_refused_or_the_row_that_sorts_first_counts(tmp_path, lines):
    table = item_table(tmp_path, lines)
    row = lines.index("a,") + 1
    assert f"items.csv, column 'colour', row {row} = null: contradicts another row of the same item; fix the row or" in refusal(
        tmp_path, ["1,a,1400000005,1"], **table
    )
    log = checked(tmp_path, ["1,a,1400000005,1"], on_bad_rows="drop", **table)
    assert log.items.rows() == [("a", "red"), ("b", "blue")]
    assert log.counts["items_bad_rows_dropped"] == 1


def test_an_item_table_with_a_missing_id_or_no_rows_is_refused(tmp_path):
    assert "items.csv, column 'id', row 2 = null: missing" in refusal(
        tmp_path, ["1,a,1400000005,1"], **item_table(tmp_path, ["a,red", ",blue"])
    )
    assert refusal(tmp_path, ["1,a,1400000005,1"], **item_table(tmp_path, [])).startswith("items.csv = 0 rows")


def test_an_unreadable_number_of_an_item_field_is_reported_with_its_row_in_the_log(tmp_path):
    fields = {"item_fields": {"price": {"column": "price", "kind": "numeric"}}}
    text = refusal(tmp_path, ["1,a,1400000005,1,2.5", "1,b,1400000005,1,cheap"], f"{HEADER},price", max_bad_share=0.05, **fields)
    assert text.startswith("clicks.csv, column 'price', row 2 = 'cheap': not a finite number;")


def test_a_missing_item_id_is_reported_once_although_item_fields_come_from_the_log(tmp_path):
    fields = {"item_fields": {"price": {"column": "price", "kind": "numeric"}}}
    assert refusal(tmp_path, ["1,a,1400000005,1,2.5", "1,,1400000005,1,1"], f"{HEADER},price", **fields).startswith(
        "clicks.csv, column 'sku', row 2 = null"
    )
    log = checked(tmp_path, ["1,a,1400000005,1,2.5", "1,,1400000005,1,1"], f"{HEADER},price", on_bad_rows="drop", **fields)
    assert log.interactions.select("item", "price").rows() == [("a", 2.5)]


def test_ids_of_all_tables_are_brought_to_one_type(tmp_path):
    log = checked(tmp_path, ["1,a,1400000005,1", "2,1,1400000006,1"], **item_table(tmp_path, ["1,red"]), on_missing_items="unknown")
    assert log.interactions["item"].to_list() == ["a", "1"]
    assert log.items.rows() == [("1", "red")]
    assert log.counts["items_without_fields"] == 1
    log = checked(tmp_path, ["1,a,1400000005,1"], **behaviour_table(tmp_path, ["u1,a,1400000003", "1,a,1400000003"]))
    assert (log.interactions["user"].to_list(), log.behaviours["user"].to_list()) == (["1"], ["u1", "1"])


def behaviour_table(folder: Path, lines: Sequence[str]) -> dict[str, object]:
    (folder / "views.csv").write_text("\n".join(["who,what,when", *lines]))
    columns = {"user": "who", "item": "what", "timestamp": "when"}
    return {"behaviours": {"path": str(folder / "views.csv"), "columns": columns}}


def test_a_behaviour_table_is_checked_like_the_log(tmp_path):
    assert refusal(tmp_path, ["1,a,1400000005,1"], **behaviour_table(tmp_path, ["1,a,1400000003", ",a,1400000003"])).startswith(
        "views.csv, column 'who', row 2 = null: missing, and every row needs a user"
    )
    log = checked(tmp_path, ["1,a,1400000005,1"], duplicates="drop", **behaviour_table(tmp_path, ["1,a,1400000003", "1,a,1400000003"]))
    assert log.behaviours.rows() == [(1, "a", 1400000003)]
    assert log.counts["behaviours_duplicate_rows"] == 1


def test_no_check_changes_the_source_files(tmp_path):
    bad = [*rows(5), "1,a,x,7", *rows(5)]
    refusal(tmp_path, bad)
    before = hashlib.sha256((tmp_path / "clicks.csv").read_bytes()).hexdigest()
    checked(tmp_path, bad, on_bad_rows="drop", duplicates="drop")
    assert hashlib.sha256((tmp_path / "clicks.csv").read_bytes()).hexdigest() == before
    assert [path.name for path in tmp_path.iterdir()] == ["clicks.csv"]


def test_a_log_without_names_of_a_file_still_gets_a_message(tmp_path):
    frame = pl.DataFrame({"user": [1, None], "item": [1, 2], "timestamp": [1, 2]})
    config = validate(LogConfig, {"name": "mine", "source": "log", "path": "a.csv", "columns": COLUMNS})
    with pytest.raises(DataError, match="interactions, column 'user', row 2 = null: missing"):
        check(RawLog(interactions=frame.lazy()), config)
