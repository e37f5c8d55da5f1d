"""Files as people have them: every row of them is read as an independent reader reads it, or the file is refused with its place."""

import gzip
import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.data.sources.odd_files import complaint, make, tables_complaint
from tests.data.whole_log import CheckedLog, check

from clickflow.config import validate
from clickflow.data.sources.log import LogConfig
from clickflow.errors import ConfigError, DataError

GOOD = 1_700_000_000
COLUMNS = {"user": "user", "item": "item", "timestamp": "ts", "label": "label"}


def read(path: object, **more: object) -> CheckedLog:
    values = {"name": "odd", "source": "log", "path": str(path), "columns": COLUMNS, "on_bad_rows": "drop", "max_bad_share": 0.5}
    config = validate(LogConfig, values | more)
    return check(config.read(config.files(Path("nowhere"))), config)


def written(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def lines(rows: Sequence[str], separator: str = ",") -> str:
    return "".join(f"{row}\n" for row in (separator.join(COLUMNS[key] for key in ("user", "item", "timestamp", "label")), *rows))


@pytest.mark.parametrize("seed", range(150))
def test_a_random_file_is_read_as_an_independent_reader_reads_it_or_refused(tmp_path, seed):
    assert complaint(make(seed, tmp_path)) is None


@pytest.mark.parametrize("seed", range(60))
def test_tables_with_ids_and_times_of_several_types_fit_together(tmp_path, seed):
    assert tables_complaint(seed, tmp_path) is None


@pytest.mark.slow
def test_thousands_of_random_files_are_read_right_or_refused(tmp_path):
    wrong = {}
    for seed in range(10_000, 12_000):
        folder = tmp_path / str(seed)
        folder.mkdir()
        wrong[seed] = complaint(make(seed, folder))
    assert {seed: what for seed, what in wrong.items() if what} == {}


# Rows that a quote swallows


def searches(rows: int, quoted: int, closing: int, column: int = 4) -> str:
    """A table of searches, in which the text of one row opens a quote and that of another closes it."""
    table = [[str(row % 9), str(row % 7), str(GOOD + row), str(row % 2), f"q{row}"] for row in range(rows)]
    table[quoted][column] = '"smart tv'
    table[closing][column] = 'tv 27"'
    return "".join("\t".join(row) + "\n" for row in (["user", "item", "ts", "label", "query"], *table))


@pytest.mark.parametrize("closing", [51, 150, 299])
def test_a_quote_that_would_swallow_rows_is_refused_with_its_line(tmp_path, closing):
    path = written(tmp_path / "clicks.tsv", searches(300, 50, closing))
    message = (
        rf"clicks\.tsv, line 52 = .*\"smart tv.*: a quote opens here and closes in line {closing + 2}, and each line between has the 5 fi"
    )
    with pytest.raises(DataError, match=message):
        read(path)
    log = read(path, quote=None, context_fields={"query": {"column": "query"}})
    assert log.interactions.height == log.counts["rows_read"] == 300
    assert log.interactions["query"][50] == '"smart tv'


@pytest.mark.parametrize("text", ['"smart tv', '"smart" tv', '""smart'])
def test_a_quote_that_does_not_end_with_its_field_is_refused_with_its_line(tmp_path, text):
    rows = [f"{row},{row},{GOOD},1" for row in range(9)]
    rows[4] = f"{text},4,{GOOD},1"
    with pytest.raises(DataError, match=r"clicks\.csv, line 6 = '.*: a quoted text that does not end where a field ends"):
        read(written(tmp_path / "clicks.csv", lines(rows)))
    log = read(written(tmp_path / "clicks.csv", lines(rows)), quote="")
    assert log.interactions["user"][4] == text


def test_a_quote_inside_a_text_is_part_of_it(tmp_path):
    log = read(written(tmp_path / "clicks.csv", lines([f'19" rack,"say ""hi""",{GOOD},1', f'"a\nb",",",{GOOD},0'])))
    assert log.interactions.select("user", "item").rows() == [('19" rack', 'say "hi"'), ("a\nb", ",")]


@pytest.mark.parametrize(
    ("line", "fields"), [("10,1", "2 fields"), ("10,1,2,3,4,5", "6 fields"), ('"10","1,2"', "2 fields"), ("10", "1 field")]
)
def test_lines_in_are_rows_and_refused_lines(tmp_path, line, fields, caplog):
    rows = [f"{row},{row},{GOOD + row},1" for row in range(40)]
    rows[10] = line
    path = written(tmp_path / "clicks.csv", lines([*rows[:5], "", *rows[5:], "", ""]))
    log = read(path)
    assert log.interactions["user"].to_list() == [row for row in range(40) if row != 10]
    assert (log.counts["rows_read"], log.counts["bad_rows_dropped"]) == (40, 1)
    assert log.counts["dropped: clicks.csv, lines that are no rows"] == 1
    told = f"clicks.csv, line 13: {fields}, and the file has 4 columns"
    assert told in caplog.text
    with pytest.raises(DataError, match=f"{told}; fix the row or set data.on_bad_rows=drop"):
        read(path, on_bad_rows="error")


def test_rows_after_a_refused_line_keep_their_number(tmp_path):
    path = written(tmp_path / "clicks.csv", lines([f"1,a,{GOOD},1", "1,a", f"1,b,{GOOD},1", f"1,c,{GOOD},x", f"1,d,{GOOD},1"]))
    with pytest.raises(DataError, match=r"column 'label', row 4 = 'x': not 0"):
        read(path, on_bad_rows="error")


# Ways to write a CSV


def test_a_file_without_a_header_gets_its_names_from_the_config(tmp_path):
    path = written(tmp_path / "UserBehavior.csv", "".join(f"{row},{row % 9},{row % 3},pv,{GOOD + row}\n" for row in range(300)))
    columns = {"user": "user", "item": "item", "timestamp": "ts"}
    names = ["user", "item", "category", "event", "ts"]
    log = read(path, columns=columns, header=False, names=names)
    assert (log.interactions.height, log.interactions["user"][0]) == (300, 0)
    with pytest.raises(DataError, match=r"no such column; .*; is that a row\? Set data\.header: false and data\.names"):
        read(path, columns=columns)
    with pytest.raises(DataError, match=r"UserBehavior\.csv, line 1 = 5 fields: names has 3; name each column"):
        read(path, columns=columns, header=False, names=["user", "item", "ts"])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"header": False}, r"names = \[\]: a file without a header needs the names of all its columns"),
        ({"names": ["a", "b"]}, r"names = \['a', 'b'\]: names are for files without a header"),
        ({"header": False, "names": ["a", "a"]}, r"names = \['a'\]: named twice"),
        ({"encoding": "utf8x"}, r"encoding = utf8x: no encoding of that name"),
        ({"encoding": "base64"}, r"encoding = base64: no encoding of that name"),
        ({"quote": ","}, r"quote = ,: is the separator too"),
        ({"items": {"path": "i.csv", "column": "id", "header": False}, "item_fields": {"a": {"column": "a"}}}, r"items\.names = \[\]"),
    ],
)
def test_contradictory_options_are_refused(more, message):
    with pytest.raises(ConfigError, match=message):
        read("clicks.csv", **more)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be", "latin-1", "cp1252"])
@pytest.mark.parametrize("name", ["clicks.csv", "clicks.csv.gz"])
def test_encodings(tmp_path, encoding, name):
    path = written(tmp_path / name, lines([f"é,{row},{GOOD},1" for row in range(9)]).encode(encoding))
    needs_option = encoding in ("utf-16-le", "utf-16-be", "latin-1", "cp1252")
    if needs_option:
        with pytest.raises(DataError, match=r"clicks\.csv.*, line [12] = b'.*: not (a text in )?utf-8.*; set encoding"):
            read(path)
    assert read(path, **({"encoding": encoding} if needs_option else {})).interactions["user"].to_list() == ["é"] * 9


def test_decimal_commas_separators_and_any_name_of_a_file(tmp_path):
    text = lines([f"1;a;{GOOD},25;1;1,5", f"2;b;{GOOD + 1};0;2", f"3;b;{GOOD + 1};0;1.5"], ";").replace("label\n", "label;price\n")
    fields = {"context_fields": {"price": {"column": "price", "kind": "numeric"}}}
    log = read(written(tmp_path / "clicks.inter", text), format="csv", separator=";", decimal=",", **fields)
    assert log.interactions["price"].to_list() == [1.5, 2.0, None]
    assert log.interactions["timestamp"].to_list() == [GOOD * 10**6 + 250_000, *[(GOOD + 1) * 10**6] * 2]
    with pytest.raises(DataError, match=r"unknown format; allowed is .*; set format: csv, ndjson or parquet"):
        read(tmp_path / "clicks.inter")


def test_other_tables_have_the_options_of_the_log_or_their_own(tmp_path):
    clicks = written(tmp_path / "clicks.dat", lines([f"1|a|{GOOD}|1"], "|"))
    items = written(tmp_path / "items.dat", "a|3,5\nb|2\n")
    views = written(tmp_path / "views.csv", f"who;what;when\n1;a;{GOOD - 9}\n")
    log = read(
        clicks,
        format="csv",
        separator="|",
        decimal=",",
        items={"path": str(items), "column": "id", "format": "csv", "header": False, "names": ["id", "price"]},
        item_fields={"price": {"column": "price", "kind": "numeric"}},
        behaviours={"path": str(views), "columns": {"user": "who", "item": "what", "timestamp": "when"}, "separator": ";"},
    )
    assert log.items.rows() == [("a", 3.5), ("b", 2.0)]
    assert log.behaviours.rows() == [(1, "a", GOOD - 9)]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r\r\n"])
def test_line_ends(tmp_path, ending):
    text = lines([f'1,"a",{GOOD},1', f"2,b,{GOOD},0"]).replace("\n", ending)
    assert read(written(tmp_path / "clicks.csv", text)).interactions["label"].to_list() == [1, 0]


def test_two_columns_of_one_name_are_refused_if_they_are_needed(tmp_path):
    path = written(tmp_path / "clicks.csv", f"user,user,item,ts,label,x,x\n1,2,a,{GOOD},1,7,8\n")
    with pytest.raises(DataError, match=r"clicks\.csv, column 'user' \(data\.columns\.user\): 2 columns have this name"):
        read(path)
    path = written(tmp_path / "clicks.csv", f"user,item,ts,label,x,x\n1,a,{GOOD},1,7,8\n")
    assert read(path).interactions.height == 1


# Times


def test_dates_that_are_integers_are_read_by_their_format(tmp_path):
    path = written(tmp_path / "clicks.csv", lines([f"{row},{row},141021{row:02},{row % 2}" for row in range(24)]))
    hours = [datetime(2014, 10, 21, hour, tzinfo=UTC) for hour in range(24)]
    log = read(path, timestamp_format="%y%m%d%H")
    assert log.interactions["timestamp"].to_list() == [int(hour.timestamp() * 1e6) for hour in hours]
    with pytest.raises(DataError, match=r"row 1 = 14102100: all times are before 1990, .*; set data\.timestamp_format for dates that are"):
        read(path)


@pytest.mark.parametrize("dtype", [pl.Int64, pl.Int32, pl.Float64, pl.String, pl.Decimal(12, 0)])
def test_integer_dates_of_any_type_are_read_by_their_format(tmp_path, dtype):
    days = pl.Series("ts", ["090501", "240531"]) if dtype == pl.String else pl.Series("ts", [90501, 240531]).cast(dtype)
    pl.DataFrame([pl.Series("user", [1, 2]), pl.Series("item", [1, 2]), days, pl.Series("label", [0, 1])]).write_parquet(
        tmp_path / "a.parquet"
    )
    found = read(tmp_path / "a.parquet", timestamp_format="%y%m%d").interactions["timestamp"]
    assert found.cast(pl.Datetime("us")).dt.date().to_list() == [date(2009, 5, 1), date(2024, 5, 31)]


@pytest.mark.parametrize("text_format", ["%", "%Q", "abc"])
def test_a_format_that_fits_nothing_is_refused(tmp_path, text_format):
    with pytest.raises(DataError, match=f"not a date-time of the format '{text_format}'|cannot be read"):
        read(written(tmp_path / "clicks.csv", lines([f"1,a,{GOOD},1"])), timestamp_format=text_format)


@pytest.mark.parametrize("dtype", [pl.Float64, pl.String, pl.Decimal(18, 3)])
def test_fractions_of_a_second_are_kept(tmp_path, dtype):
    stamps = pl.Series("ts", [f"{GOOD}.25", f"{GOOD}.5", f"{GOOD + 1}"]).cast(dtype)
    pl.DataFrame([pl.Series("user", [1, 2, 3]), pl.Series("item", [1, 2, 3]), stamps, pl.Series("label", [0, 1, 1])]).write_parquet(
        tmp_path / "a.parquet"
    )
    views = written(tmp_path / "views.csv", f"user,item,ts\n1,1,{GOOD}\n")
    log = read(tmp_path / "a.parquet", behaviours={"path": str(views), "columns": {"user": "user", "item": "item", "timestamp": "ts"}})
    assert log.interactions["timestamp"].to_list() == [GOOD * 10**6 + 250_000, GOOD * 10**6 + 500_000, (GOOD + 1) * 10**6]
    assert log.behaviours["timestamp"].to_list() == [GOOD * 10**6]
    assert log.raw.timestamp_unit == "microseconds"


def test_the_order_of_the_rows_does_not_decide_how_times_are_read(tmp_path):
    texts = [f"2024-05-{1 + row % 28:02}" for row in range(2000)] + ["2024-05-31T10:00:00.5Z", "2024-05-31 10:00"]
    rows = [f"{row},{row},{text},1" for row, text in enumerate(texts)]
    first = read(written(tmp_path / "1.csv", lines(rows))).interactions
    last = read(written(tmp_path / "2.csv", lines(rows[::-1]))).interactions
    assert first.height == 2002
    assert first.sort("user").equals(last.sort("user"))


# Parts of a table


def part(path: Path, **columns: pl.Series) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    given = {"user": pl.Series([1, 2]), "item": pl.Series([1, 2]), "ts": pl.Series([GOOD, GOOD]), "label": pl.Series([0, 1])}
    pl.DataFrame([series.alias(name) for name, series in (given | columns).items() if series is not None]).write_parquet(path)


CAMPAIGN = {"context_fields": {"campaign": {"column": "campaign"}}}


@pytest.mark.parametrize(
    ("other", "wanted"),
    [
        (pl.Series([None, None]), [None, None]),
        (pl.Series(["mail", "web"], dtype=pl.Categorical), ["mail", "web"]),
        (pl.Series([b"mail", b"web"]), ["mail", "web"]),
        (pl.Series([1, 2]), ["1", "2"]),
        (None, [None, None]),
    ],
    ids=["without a value", "dictionary", "binary", "integers", "newer column"],
)
@pytest.mark.parametrize("is_first", [True, False])
def test_parts_may_have_a_column_in_other_types(tmp_path, other, wanted, is_first):
    names = ("b.parquet", "a.parquet") if is_first else ("a.parquet", "b.parquet")
    part(tmp_path / names[0], campaign=pl.Series(["mail", "mail"]))
    part(tmp_path / names[1], campaign=other)
    found = read(tmp_path, **CAMPAIGN).interactions["campaign"].to_list()
    assert found == ([*wanted, "mail", "mail"] if is_first else ["mail", "mail", *wanted])


def test_ids_are_decimals_dictionaries_or_bytes(tmp_path):
    part(tmp_path / "1.parquet", user=pl.Series([Decimal(7), Decimal(8)], dtype=pl.Decimal(10, 0)), item=pl.Series([b"x", b"y"]))
    assert read(tmp_path).interactions.select("user", "item").rows() == [(7, "x"), (8, "y")]
    part(tmp_path / "2.parquet", user=pl.Series(["u", "v"], dtype=pl.Categorical), item=pl.Series(["x", "y"], dtype=pl.Enum(["x", "y"])))
    assert read(tmp_path).interactions["user"].to_list() == ["7", "8", "u", "v"]


def test_types_that_do_not_belong_together_are_named(tmp_path):
    part(tmp_path / "1.parquet", user=pl.Series([1.5, 2.5]))
    part(tmp_path / "2.parquet", user=pl.Series(["a", "b"]), ts=pl.Series([datetime(2024, 5, 1), datetime(2024, 5, 2)]))
    with pytest.raises(DataError) as caught:
        read(tmp_path)
    assert "column 'user' = 1.parquet: Float64, 2.parquet: String: of several types; write it with one type in all files." in str(
        caught.value
    )
    assert "column 'ts' = 1.parquet: Int64, 2.parquet: Datetime" in str(caught.value)


def test_dates_of_several_types_are_one_clock(tmp_path):
    part(tmp_path / "1.parquet", ts=pl.Series([date(2024, 5, 1), date(2024, 5, 2)]))
    part(tmp_path / "2.parquet", ts=pl.Series([datetime(2024, 5, 1, 2, tzinfo=UTC)] * 2, dtype=pl.Datetime("ns", "Europe/Berlin")))
    moments = read(tmp_path).interactions["timestamp"].cast(pl.Datetime("us", "UTC")).to_list()
    assert moments == [datetime(2024, 5, day, hour, tzinfo=UTC) for day, hour in ((1, 0), (2, 0), (1, 2), (1, 2))]


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_folders_give_columns_and_hidden_files_are_not_read(tmp_path, kind):
    for day in ("2024-05-01", "2024-05-02", "__HIVE_DEFAULT_PARTITION__"):
        folder = tmp_path / "log" / f"day={day}" / "shop=a%2Fb"
        frame = pl.DataFrame({"user": [1], "item": [2], "ts": [GOOD], "label": [1]})
        folder.mkdir(parents=True)
        text = frame.write_csv() if kind == "csv" else frame.write_ndjson()
        written(folder / f"part-0.{kind}", text) if kind != "parquet" else frame.write_parquet(folder / "part-0.parquet")
        written(folder / f".part-0.{kind}.crc", b"x")
        written(folder / f"._part-0.{kind}", b"x")
    written(tmp_path / "log" / f"_metadata.{kind}", b"x")
    fields = {"context_fields": {"day": {"column": "day"}, "shop": {"column": "shop"}}}
    found = read(tmp_path / "log", **fields).interactions.select("day", "shop").rows()
    assert found == [("2024-05-01", "a/b"), ("2024-05-02", "a/b"), (None, "a/b")]


def test_integers_in_the_names_of_folders_are_integers(tmp_path):
    for hour in (7, 10):
        part(tmp_path / f"hour={hour}" / "a.parquet")
    found = read(tmp_path, context_fields={"hour": {"column": "hour", "kind": "numeric"}}).interactions["hour"]
    assert found.to_list() == [10.0, 10.0, 7.0, 7.0]


@pytest.mark.parametrize("pattern", ["", "*.parquet", "clicks*"])
def test_a_glob_and_a_folder_leave_hidden_files_out_and_take_folders(tmp_path, pattern):
    part(tmp_path / "clicks.parquet" / "part-0.parquet")
    part(tmp_path / "clicks-2.parquet")
    written(tmp_path / ".clicks.parquet", b"x")
    assert read(tmp_path / pattern).interactions.height == 4


@pytest.mark.parametrize("dtype", [pl.Time, pl.Duration])
def test_times_that_are_no_moment_are_refused(tmp_path, dtype):
    part(tmp_path / "1.parquet", ts=pl.Series([1, 2]).cast(dtype))
    part(tmp_path / "2.parquet")
    with pytest.raises(DataError, match=r"column 'ts' = (1\.parquet: )?(Time|Duration)"):
        read(tmp_path)
    with pytest.raises(DataError, match=r"column 'ts' = (Time|Duration).*: timestamps are integers, dates, date-times or texts"):
        read(tmp_path / "1.parquet")


def test_a_null_value_may_be_named_twice(tmp_path):
    log = read(written(tmp_path / "clicks.csv", lines([f"-,a,{GOOD},1", f"1,a,{GOOD},1"])), null_values=["-", "", "-"])
    assert log.interactions["user"].to_list() == [1]


@pytest.mark.parametrize("path", ["s3://bucket/log/*.parquet", "gs://bucket/log", "https://example.org/clicks.csv", "hdfs://node/log"])
def test_an_object_store_is_refused_with_what_to_do(path):
    with pytest.raises(DataError, match=r"an address, and only local files are read; copy the files here first"):
        read(path)


# Missing and unreadable values


@pytest.mark.parametrize("name", ["clicks.csv", "clicks.parquet", "clicks.jsonl"])
def test_users_without_an_account_are_no_user(tmp_path, name, caplog):
    frame = pl.DataFrame({"user": ["NULL", "7", "\\N", " ", "", "NA", "8"], "item": range(7), "ts": [GOOD] * 7, "label": [1] * 7})
    if name.endswith("parquet"):
        frame.write_parquet(tmp_path / name)
    else:
        written(tmp_path / name, frame.write_csv() if name.endswith("csv") else frame.write_ndjson())
    log = read(tmp_path / name, max_bad_share=0.9)
    assert log.interactions["user"].cast(pl.String).to_list() == ["7", "8"]
    assert log.interactions["user"].dtype == (pl.Int64 if name.endswith("csv") else pl.String)
    assert f"{name}, column 'user': 3 rows have 'NA', 'NULL', '\\\\N', which is no value (data.null_values)" in caplog.text
    assert log.counts["no value: user"] == 3
    with pytest.raises(DataError, match=r"column 'user', row 1 = 'NULL': missing, and every row needs a user \(and so in 4 more rows\)"):
        read(tmp_path / name, on_bad_rows="error")


@pytest.mark.parametrize("drop", ["error", "drop"])
def test_an_unreadable_value_of_an_item_costs_that_value_and_not_the_item(tmp_path, drop, caplog):
    clicks = written(tmp_path / "clicks.csv", lines([f"1,{row % 40},{GOOD + row},1" for row in range(80)]))
    years = "".join(f"{row}\t{'unknown' if row == 7 else 1990 + row}\n" for row in range(40))
    items = written(tmp_path / "items.tsv", "id\tyear\n" + years + "7\tunknown\n")
    table = {"items": {"path": str(items), "column": "id"}, "item_fields": {"year": {"column": "year", "kind": "numeric"}}}
    log = read(clicks, on_bad_rows=drop, max_bad_share=0.04, **table)
    assert dict(log.items.rows())[7] is None
    assert (log.items.height, log.interactions.height, log.counts["unreadable: year"]) == (40, 80, 2)
    assert (
        "items.tsv, column 'year', row 8 = 'unknown': not a finite number (and so in 1 more row); such values count as missing"
        in caplog.text
    )
    assert "lacks" not in caplog.text


def test_an_item_with_a_bad_row_is_not_told_to_be_missing_too(tmp_path):
    clicks = written(tmp_path / "clicks.csv", lines([f"1,a,{GOOD},1"]))
    items = written(tmp_path / "items.csv", "id,family\na,red\na,blue\n")
    table = {"items": {"path": str(items), "column": "id"}, "item_fields": {"family": {"column": "family"}}}
    with pytest.raises(DataError) as caught:
        read(clicks, on_bad_rows="error", **table)
    assert str(caught.value).count("\n") == 0
    assert "row 1 = 'red': contradicts another row of the same item" in str(caught.value)


def test_an_empty_log_with_an_item_table_is_refused(tmp_path):
    items = written(tmp_path / "items.csv", "id,family\na,red\n")
    table = {"items": {"path": str(items), "column": "id"}, "item_fields": {"family": {"column": "family"}}}
    with pytest.raises(DataError, match=r"^clicks\.csv = 0 rows: there is nothing in it but column names"):
        read(written(tmp_path / "clicks.csv", lines([])), **table)


# Damaged files

ROW = json.dumps({"user": "u1", "item": "7", "ts": GOOD, "label": 1})


@pytest.mark.parametrize(
    ("name", "content", "more", "message"),
    [
        (
            "é0.tsv",
            '"user"\t"item"\t"ts"\t"label"\n"u6"\t"u7"\t"1700000000"\t"0"\n"',
            {},
            "é0.tsv, line 3 = '\"': a quoted text that does not",
        ),
        ("l0.csv", '"user","item","ts","label"\n"', {}, "l0.csv, line 2 = '\"': a quoted text that does not"),
        ("a*b.tsv", '"user"\t"item"\t"ts"\t"label"\n""u3"\t"u7"\t"1700000000"\t"1"\n', {}, r"a\*b.tsv, line 2 = .*: a quoted text"),
        (
            "l [1].csv.gz",
            '"user","item","ts","label"\r\n""9223372036854775811","5","1700992623","0.0"\r\n',
            {},
            r"l \[1\].csv.gz, line 2 = ",
        ),
        (
            "l0.tsv",
            '"user"\t"item"\t"ts"\t"label"\n"1"\t"a"\t"1700000000"\t"0N\t"x"\n',
            {},
            "l0.tsv, line 2 = .*: a quoted text that does not",
        ),
        (
            "%41.csv",
            f'user,item,ts,label\n1,a,{GOOD},1\r"\n2,b,{GOOD},1\n',
            {},
            "%41.csv, line 2 = .*: a carriage return in the middle of a text",
        ),
        (
            "l0.csv",
            b'"user","item","ts","label"\n"u1","005","17001970\x834000000","0"\n',
            {},
            r"l0.csv, line 2 = b'\\x834000000'.*: not utf-8",
        ),
        ("a.tsv", b'\n\n"user"\t"item"\t"ts"\t"label"\n"-4\xb2"\t"7"\t"1700000000"\t"0"\n', {}, r"a.tsv, line 4 = b'\\xb2.*: not utf-8"),
        ("l0.jsonl.gz", f"{ROW}\nnull\n", {"on_bad_rows": "error"}, "l0.jsonl.gz, line 2 = 'null': not a JSON object"),
        ("l0.ndjson", f'{ROW}\n{{"user":1,"user":2}}\n', {"on_bad_rows": "error"}, "l0.ndjson, line 2 = .*: not a JSON object .two values"),
        ("l0.ndjson", f'{ROW}\n{{"user":"\\ud800"}}\n', {"on_bad_rows": "error"}, "l0.ndjson, line 2 = .*: not a JSON object"),
        ("l0.ndjson", f"{ROW}\n{'[' * 100_000}\n", {"on_bad_rows": "error"}, "l0.ndjson, line 2 = .*: not a JSON object"),
        (
            "l0.csv",
            lines([f"1,2,2023-11-2{row},1" for row in range(9)] + ["1,2,2023-11-20,1,extra"]),
            {"on_bad_rows": "error"},
            "l0.csv, line 11: 5 f",
        ),
        ("l0.csv", lines([f"1,2,{GOOD},1"]).replace("\n", "\r"), {}, "l0.csv, line 1: its lines end with carriage returns only"),
        ("l0.csv", b"PK\x03\x04xxxxxxxxxxx", {}, "l0.csv: this is a zip archive; unpack it"),
        ("l0.csv.gz", b"", {}, "l0.csv.gz = 0 rows: the file is blank"),
        ("l0.csv", b"\n\n", {}, "l0.csv = 0 rows: the file is blank"),
    ],
)
def test_a_damaged_text_file_is_refused_with_file_and_line(tmp_path, name, content, more, message):
    with pytest.raises(DataError, match=message):
        read(written(tmp_path / name, content), **more)


@pytest.mark.parametrize("end", [30, 60, -4])
def test_a_compressed_file_cut_short_is_refused(tmp_path, end):
    text = lines([f"{row},{row * 7919 % 1000},{GOOD + row * row},{row % 2}" for row in range(500)])
    (tmp_path / "l0.csv.gz").write_bytes(gzip.compress(text.encode())[:end])
    with pytest.raises(DataError, match=r"l0\.csv\.gz: cannot be read \(EOFError: Compressed file ended"):
        read(tmp_path / "l0.csv.gz")


def test_lines_that_are_no_objects_are_dropped_and_whole_numbers_of_any_length_are_kept(tmp_path):
    big = [10**25, 10**25 + 1]
    rows = [json.dumps({"user": number, "item": "a", "ts": GOOD, "label": 1}) for number in big]
    log = read(written(tmp_path / "l0.jsonl", "\n".join(["null", *rows, "7", "", rows[0]])))
    assert log.interactions["user"].to_list() == [str(big[0]), str(big[1]), str(big[0])]
    assert (log.counts["rows_read"], log.counts["bad_rows_dropped"]) == (5, 2)


def test_parquet_types_that_polars_does_not_know_are_refused(tmp_path):
    columns = {"user": [1], "item": [2], "ts": [GOOD], "label": pa.array([Decimal(1)], pa.decimal256(40, 0))}
    pq.write_table(pa.table(columns), tmp_path / "l0.parquet")
    with pytest.raises(DataError, match=r"l0\.parquet: cannot be read"):
        read(tmp_path / "l0.parquet")


@pytest.mark.parametrize("seed", range(30))
def test_a_parquet_file_with_changed_bytes_is_read_or_refused(tmp_path, seed):
    part(tmp_path / "l0.parquet", user=pl.Series(["a", "b"]))
    content = bytearray((tmp_path / "l0.parquet").read_bytes())
    at = seed * len(content) // 30
    content[at : at + 3] = b"\xff\x00\x7f"
    (tmp_path / "l0.parquet").write_bytes(content)
    with suppress(DataError):  # and nothing else
        assert read(tmp_path / "l0.parquet").counts["rows_read"] == 2


def test_two_parquet_columns_of_one_name_are_refused(tmp_path):
    columns = [pa.array([1]), pa.array([2]), pa.array([3]), pa.array([GOOD]), pa.array([1])]
    pq.write_table(pa.table(columns, names=["user", "user", "item", "ts", "label"]), tmp_path / "l0.parquet")
    with pytest.raises(DataError, match=r"l0\.parquet: cannot be read as Parquet \(.*user"):
        read(tmp_path / "l0.parquet")


def test_lists_are_no_field(tmp_path):
    part(tmp_path / "l0.parquet", campaign=pl.Series([["a"], ["b", "c"]]))
    with pytest.raises(
        DataError, match=r"column 'campaign' = List\(String\): several values per row, and a field has one; write one of them"
    ):
        read(tmp_path, **CAMPAIGN)
