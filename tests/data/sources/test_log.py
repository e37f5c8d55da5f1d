import gzip
import json
import re
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import polars as pl
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.data.whole_log import CheckedLog, check

from clickflow.config import validate
from clickflow.data.schema import FieldSpec
from clickflow.data.sources.log import LogConfig
from clickflow.data.sources.raw import RawLog
from clickflow.errors import ConfigError, DataError

COLUMNS = {"user": "visitor", "item": "sku", "timestamp": "when", "label": "clicked"}
CSV = "when,visitor,sku,clicked,shop\n1400000000,7,a,1,x\n1400000005,8,b,0,y\n"


def config(path: object, **more: object) -> LogConfig:
    return validate(LogConfig, {"name": "mine", "source": "log", "path": path, "columns": COLUMNS, **more})


def read(path: object, **more: object) -> RawLog:
    log = config(path, **more)
    return log.read(log.files(Path("nowhere")))


def checked(path: object, **more: object) -> CheckedLog:
    return check(read(path, **more), config(path, **more))


def write(path: Path, text: str = CSV) -> str:
    path.write_text(text)
    return str(path)


def test_a_csv_with_odd_column_names_becomes_canonical(tmp_path):
    log = checked(write(tmp_path / "clicks.csv"), context_fields={"store": {"column": "shop"}})
    assert log.interactions.to_dicts() == [
        {"user": 7, "item": "a", "timestamp": 1400000000, "label": 1, "store": "x"},
        {"user": 8, "item": "b", "timestamp": 1400000005, "label": 0, "store": "y"},
    ]
    assert log.raw.fields == (FieldSpec(name="store", role="context"),)
    assert log.raw.timestamp_unit == "seconds"
    assert log.raw.columns["user"] == "visitor"
    assert log.raw.origins == {"interactions": "clicks.csv"}
    assert log.items is None
    assert log.behaviours is None


def test_the_example_of_the_documentation_works_as_written(tmp_path, monkeypatch):
    page = (Path(__file__).parents[3] / "docs" / "bring-your-data.md").read_text()
    clicks, products = re.findall(r"^```csv\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    [example] = re.findall(r"^ +```yaml\n(.*?)^ +```", page, re.DOTALL | re.MULTILINE)
    values = yaml.safe_load(example)
    del values["defaults"]  # resolved by Hydra before a config reads the rest
    (tmp_path / "shop").mkdir()
    write(tmp_path / "shop" / "clicks.csv", clicks)
    write(tmp_path / "shop" / "products.csv", products)
    monkeypatch.chdir(tmp_path)
    shop = validate(LogConfig, values)
    log = check(shop.read(shop.files(tmp_path)), shop)
    assert log.interactions.row(2) == (
        "v-12",
        "K-117",
        int(datetime(2024, 5, 1, 17, 3, 10, tzinfo=UTC).timestamp() * 1e6),
        0,
        "desktop",
        41.9,
    )
    assert log.items.rows() == [("K-117", "kettles", 24.9), ("K-200", "toasters", 39.0), ("K-305", "kettles", 19.5)]
    assert {field.name: (field.role, field.kind) for field in log.raw.fields} == {
        "device": ("context", "categorical"),
        "basket": ("context", "numeric"),
        "family": ("item", "categorical"),
        "price": ("item", "numeric"),
    }


def test_the_template_names_every_option_and_every_option_is_documented():
    root = Path(__file__).parents[3]
    template = yaml.safe_load((root / "conf" / "data" / "log.yaml").read_text())
    assert set(template) - {"defaults"} == set(LogConfig.model_fields)
    page = (root / "docs" / "bring-your-data.md").read_text()
    assert [name for name in LogConfig.model_fields if f"`{name}" not in page] == []


def test_nothing_is_collected_by_read_and_unused_columns_are_not_selected(tmp_path):
    raw = read(write(tmp_path / "clicks.csv"))
    assert isinstance(raw.interactions, pl.LazyFrame)
    assert "shop" not in raw.interactions.collect_schema()


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.tsv", "a.jsonl", "a.ndjson", "a.jsonl.gz", "a.parquet"])
def test_every_format_gives_the_same_log(tmp_path, name):
    table = pl.read_csv(CSV.encode())
    path = tmp_path / name
    if ".parquet" in name:
        table.write_parquet(path)
    else:
        text = table.write_ndjson() if "json" in name else table.write_csv(separator="\t" if ".tsv" in name else ",")
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    expected = {"user": [7, 8], "item": ["a", "b"], "timestamp": [1400000000, 1400000005], "label": [1, 0]}
    assert checked(str(path)).interactions.to_dict(as_series=False) == expected


def test_a_separator_can_be_chosen(tmp_path):
    path = write(tmp_path / "clicks.csv", CSV.replace(",", ";"))
    assert checked(path, separator=";").interactions.height == 2


@pytest.mark.parametrize("how", ["list", "glob", "folder"])
def test_several_files_follow_each_other(tmp_path, how):
    first, second = write(tmp_path / "1.csv"), write(tmp_path / "2.csv", CSV.replace("a,1", "c,1"))
    (tmp_path / "README").write_text("not data")
    path = {"list": [first, second], "glob": str(tmp_path / "*.csv"), "folder": str(tmp_path)}[how]
    log = config(path)
    assert log.files(tmp_path) == (Path(first), Path(second))
    assert checked(path).interactions["item"].to_list() == ["a", "b", "c", "b"]


def test_ids_that_are_texts_in_one_csv_are_texts_in_all(tmp_path):
    write(tmp_path / "1.csv")
    write(tmp_path / "2.csv", CSV.replace(",7,", ",u7,"))
    assert checked(str(tmp_path)).interactions["user"].to_list() == ["7", "8", "u7", "8"]


def test_ids_that_are_texts_in_one_parquet_are_texts_in_all(tmp_path):
    table = pl.read_csv(CSV.encode())
    table.write_parquet(tmp_path / "1.parquet")
    table.cast({"visitor": pl.String}).write_parquet(tmp_path / "2.parquet")
    assert checked(str(tmp_path)).interactions["user"].to_list() == ["7", "8", "7", "8"]


def test_one_text_among_a_million_integers_still_makes_texts_of_the_ids(tmp_path):
    rows = "".join(f"1400000000,{user},a,1,x\n" for user in range(20_000))
    log = checked(write(tmp_path / "clicks.csv", CSV + rows + "1400000000,last,a,1,x\n"))
    assert log.interactions["user"].dtype == pl.String
    assert log.interactions["user"][-1] == "last"


def test_64_bit_hashes_in_a_csv_stay_what_they_are(tmp_path):
    log = checked(write(tmp_path / "clicks.csv", CSV.replace(",7,", f",{2**64 - 1},")))
    assert log.interactions["user"].to_list() == [str(2**64 - 1), "8"]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    # Blank texts are missing, and lines that could each be a row are refused: test_csv_files.py.
    rows=st.lists(
        st.tuples(
            st.integers(-(2**63), 2**63 - 1),
            st.text("abcÄ\"'\n ", min_size=1).filter(str.strip) | st.text("abcÄ,\"' ", min_size=1).filter(str.strip),
            st.booleans(),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_what_was_written_comes_back_in_its_order(tmp_path, rows):
    frame = pl.DataFrame(rows, schema={"visitor": pl.Int64, "sku": pl.String, "clicked": pl.Boolean}, orient="row")
    frame = frame.with_columns(when=pl.int_range(pl.len()) + 1_400_000_000)
    frame.write_csv(tmp_path / "clicks.csv", quote_style="non_numeric")
    interactions = checked(str(tmp_path / "clicks.csv")).interactions
    assert interactions.select("user", "item", pl.col("label") == 1).rows() == rows


INSTANT = datetime(2024, 5, 31, 18, 0, 0, 250_000, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2024-05-31T18:00:00.250Z",
        "2024-05-31T18:00:00.250",
        "2024-05-31 18:00:00.25",
        "2024-05-31T20:00:00.250+02:00",
        "2024-05-31 20:00:00.250+0200",
    ],
)
def test_iso_8601_texts_need_no_option_and_become_microseconds(tmp_path, text):
    log = checked(write(tmp_path / "clicks.csv", CSV.replace("1400000000", text).replace("1400000005", text)))
    assert log.raw.timestamp_unit == "microseconds"
    assert log.interactions["timestamp"].unique().to_list() == [int(INSTANT.timestamp() * 1e6)]


def test_other_texts_are_read_by_their_format(tmp_path):
    path = write(tmp_path / "clicks.csv", CSV.replace("1400000000", "31.05.2024 18:00").replace("1400000005", "01.06.2024 00:00"))
    log = checked(path, timestamp_format="%d.%m.%Y %H:%M")
    assert log.interactions["timestamp"].diff().to_list() == [None, 6 * 3600 * 10**6]


@pytest.mark.parametrize(
    "value", [INSTANT.replace(tzinfo=None), INSTANT, INSTANT.astimezone(timezone(timedelta(hours=5))), date(2024, 5, 31)]
)
def test_date_and_datetime_columns_need_no_option(tmp_path, value):
    frame = pl.DataFrame({"visitor": [1], "sku": [2], "when": [value], "clicked": [True]})
    frame.write_parquet(tmp_path / "clicks.parquet")
    log = checked(str(tmp_path / "clicks.parquet"))
    expected = INSTANT if isinstance(value, datetime) else datetime(2024, 5, 31, tzinfo=UTC)
    assert log.raw.timestamp_unit == "microseconds"
    assert log.interactions["timestamp"].to_list() == [int(expected.timestamp() * 1e6)]


def test_whole_floats_are_timestamps_and_labels(tmp_path):
    path = write(tmp_path / "clicks.csv", CSV.replace("1400000000", "1400000000.0").replace(",1,x", ",1.0,x"))
    assert checked(path).interactions.select("timestamp", "label").rows() == [(1400000000, 1), (1400000005, 0)]


def test_a_date_column_is_not_a_position(tmp_path):
    frame = pl.DataFrame({"visitor": [1], "sku": [2], "when": [INSTANT], "clicked": [True]})
    frame.write_parquet(tmp_path / "clicks.parquet")
    with pytest.raises(DataError, match=r"column 'when' = Datetime.*: a clock, not a position; remove data\.timestamp_unit=order"):
        read(str(tmp_path / "clicks.parquet"), timestamp_unit="order")


def test_a_format_for_a_date_column_is_refused(tmp_path):
    frame = pl.DataFrame({"visitor": [1], "sku": [2], "when": [INSTANT], "clicked": [True]})
    frame.write_parquet(tmp_path / "clicks.parquet")
    with pytest.raises(DataError, match=r"column 'when' = Datetime.*: data\.timestamp_format = '%Y' is for texts and integers; remove it"):
        read(str(tmp_path / "clicks.parquet"), timestamp_format="%Y")


def with_item_columns(tmp_path: Path) -> str:
    lines = ["when,visitor,sku,clicked,cat,eur", "1400000000,7,a,1,,1.5", "1400000001,7,a,0,red,1.5", "1400000002,8,b,0,blue,"]
    return write(tmp_path / "clicks.csv", "\n".join([*lines, "1400000003,8,a,1,green,1.5"]))


def test_item_fields_from_the_log_are_columns_of_the_log(tmp_path):
    fields = {"kind": {"column": "cat"}, "price": {"column": "eur", "kind": "numeric"}}
    log = checked(with_item_columns(tmp_path), item_fields=fields)
    assert log.items is None
    assert log.interactions.select("item", "kind", "price").rows() == [
        ("a", None, 1.5),
        ("a", "red", 1.5),
        ("b", "blue", None),
        ("a", "green", 1.5),
    ]
    assert [(field.name, field.role, field.kind) for field in log.raw.fields] == [
        ("kind", "item", "categorical"),
        ("price", "item", "numeric"),
    ]


def test_item_fields_from_an_item_table(tmp_path):
    items = write(tmp_path / "items.csv", "id,colour\na,red\nb,blue\nc,grey\n")
    table = {"items": {"path": items, "column": "id"}, "item_fields": {"colour": {"column": "colour"}}}
    path = write(tmp_path / "clicks.csv")
    assert config(path, **table).files(tmp_path) == (Path(path), Path(items))
    log = checked(path, **table)
    assert log.items.rows() == [("a", "red"), ("b", "blue"), ("c", "grey")]
    assert log.raw.origins["items"] == "items.csv"
    assert log.counts["items_rows_read"] == 3


def test_behaviours_from_a_table_of_their_own(tmp_path):
    views = write(tmp_path / "views.jsonl", "\n".join(json.dumps({"u": 7, "i": "a", "t": 1399999999 + row}) for row in range(3)))
    table = {"behaviours": {"path": views, "columns": {"user": "u", "item": "i", "timestamp": "t"}}}
    log = checked(write(tmp_path / "clicks.csv"), **table)
    assert log.behaviours.rows() == [(7, "a", 1399999999), (7, "a", 1400000000), (7, "a", 1400000001)]
    assert log.raw.columns["behaviours.timestamp"] == "t"


def test_behaviours_with_another_sort_of_timestamp_are_refused(tmp_path):
    views = write(tmp_path / "views.csv", "u,i,t\n7,a,2014-05-13\n")
    table = {"behaviours": {"path": views, "columns": {"user": "u", "item": "i", "timestamp": "t"}}}
    with pytest.raises(DataError, match=r"views\.csv, column 't' = microseconds: the log's timestamps are seconds"):
        read(write(tmp_path / "clicks.csv"), **table)


def test_a_rating_column_is_kept_as_a_number(tmp_path):
    columns = {"user": "visitor", "item": "sku", "timestamp": "when", "rating": "clicked"}
    log = checked(write(tmp_path / "clicks.csv", CSV.replace("b,0", "b,3.5")), columns=columns)
    assert log.interactions["rating"].to_list() == [1.0, 3.5]


def test_all_missing_columns_are_named_with_the_nearest_and_the_existing_ones(tmp_path):
    columns = {"user": "visiter", "item": "article", "timestamp": "when"}
    with pytest.raises(DataError) as caught:
        read(write(tmp_path / "clicks.csv"), columns=columns)
    assert str(caught.value) == (
        "2 problems in the files:\n"
        "  clicks.csv, column 'visiter' (data.columns.user): no such column; did you mean visitor; "
        "the file has: when, visitor, sku, clicked, shop.\n"
        "  clicks.csv, column 'article' (data.columns.item): no such column; allowed: clicked, shop, sku, visitor, when."
    )


def test_all_columns_of_a_wrong_type_are_named_at_once(tmp_path):
    frame = pl.DataFrame({"visitor": [1.0], "sku": [[2]], "when": [True], "clicked": [date(2020, 1, 1)], "shop": [1.5]})
    frame.write_parquet(tmp_path / "clicks.parquet")
    fields = {"shop": {"column": "shop"}}
    with pytest.raises(DataError) as caught:
        read(str(tmp_path / "clicks.parquet"), context_fields=fields)
    header, *lines = str(caught.value).splitlines()
    assert header == "5 problems in clicks.parquet:"
    wanted = [
        "column 'visitor' = Float64: ids are integers or texts; integers with gaps become floats in pandas",
        "column 'sku' = List(Int64): ids are integers or texts; write the column as",
        "column 'when' = Boolean: timestamps are integers, dates, date-times or texts",
        "column 'clicked' = Date: a label is 0 (no click) or 1 (click)",
        "column 'shop' = Float64: a categorical field holds integers, texts or booleans; convert it, or set kind: numeric",
    ]
    for line, part in zip(lines, wanted, strict=True):
        assert part in line


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", r"a\.csv = 0 bytes: the file is empty"),
        ("a.parquet", b"PAR1 nonsense PAR1", r"a\.parquet: cannot be read as Parquet \(.*\); write the file again"),
        ("a.csv", b"when,visitor,sku,clicked\n1,2,\xff,1\n", r"a\.csv, line 2 = b'\\xff,1\\n': not utf-8; set encoding"),
        ("a.csv", b"when,visitor,sku,clicked\n1400000000,2,3,1\n1,2,3,1,5,6\n", r"a\.csv, line 3: 6 fields, and the file has 4 columns"),
        (
            "a.jsonl",
            b'{"when": 1400000000, "visitor": 1, "sku": 2, "clicked": 1}\n{broken\n',
            r"a\.jsonl, line 2 = '\{broken': not a JSON object",
        ),
        ("a.xlsx", b"x", r"data\.path = .*a\.xlsx: unknown format; allowed is one of \.parquet"),
    ],
)
def test_a_file_that_is_not_what_it_should_be(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        checked(str(tmp_path / name))


def test_a_parquet_cut_short_is_refused(tmp_path):
    pl.read_csv(CSV.encode()).write_parquet(tmp_path / "a.parquet")
    whole = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"a\.parquet: cannot be read as Parquet"):
        read(str(tmp_path / "a.parquet"))


def test_a_parquet_with_damaged_pages_is_refused_by_the_check(tmp_path):
    table = pl.read_csv(CSV.encode())
    table.write_parquet(tmp_path / "a.parquet", compression="zstd")
    content = bytearray((tmp_path / "a.parquet").read_bytes())
    content[4:60] = b"\xff" * 56
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.parquet: cannot be read \(.*\); repair the file or write it again"):
        checked(str(tmp_path / "a.parquet"))


def test_a_missing_file_is_reported_with_its_nearest_neighbour(tmp_path):
    write(tmp_path / "clicks.csv")
    with pytest.raises(DataError, match=r"data\.path = .*click\.csv: no such file; did you mean .*clicks\.csv\?"):
        config(str(tmp_path / "click.csv")).files(tmp_path)


def test_a_missing_file_far_from_all_others_is_reported_with_those_that_exist(tmp_path):
    write(tmp_path / "clicks.csv")
    with pytest.raises(DataError, match=r"in .* there is: clicks\.csv\."):
        config(str(tmp_path / "xyz.parquet")).files(tmp_path)


def test_a_missing_folder_is_reported_with_the_start_of_relative_paths(tmp_path):
    with pytest.raises(DataError, match=r"the folder .*nowhere does not exist either; a relative path starts at"):
        config(str(tmp_path / "nowhere" / "a.csv")).files(tmp_path)


def test_a_glob_without_a_match_a_folder_without_data_and_mixed_formats_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"\*\.csv: matches no file"):
        config(str(tmp_path / "*.csv")).files(tmp_path)
    with pytest.raises(DataError, match="a folder without data files; it must hold one of"):
        config(str(tmp_path)).files(tmp_path)
    write(tmp_path / "a.csv")
    write(tmp_path / "b.jsonl", "{}")
    with pytest.raises(DataError, match="mixes CSV and NDJSON files; a table must have a single format"):
        config(str(tmp_path)).files(tmp_path)


def test_a_file_that_is_named_twice_is_read_once(tmp_path):
    file = write(tmp_path / "clicks.csv")
    again = str(tmp_path / "." / "sub" / ".." / "clicks.csv")
    (tmp_path / "sub").mkdir()
    assert len(config([file, again, str(tmp_path / "*.csv")]).files(tmp_path)) == 1


def test_two_splits_have_no_file_in_common(tmp_path):
    files = {name: write(tmp_path / f"{name}.csv") for name in ("a", "b")}
    with pytest.raises(DataError, match=r"data\.test_path = .*a\.csv: is a file of data\.path too; .*name another one"):
        config(files["a"], validation_path=files["b"], test_path=files["a"]).files(tmp_path)


def test_a_file_under_the_key_of_another_table_is_named_by_that_key(tmp_path):
    table = {"items": {"path": str(tmp_path / "i.csv"), "column": "id"}, "item_fields": {"colour": {"column": "colour"}}}
    with pytest.raises(DataError, match=r"data\.items\.path = .*i\.csv: no such file"):
        config(write(tmp_path / "clicks.csv"), **table).files(tmp_path)


def test_contradictory_choices_are_all_listed_before_any_file_is_opened():
    with pytest.raises(ConfigError) as caught:
        config(
            "nowhere.csv",
            columns={"user": "u", "item": "u", "timestamp": "t", "label": "l", "rating": "r"},
            item_fields={"label": {"column": "c"}},
            user_fields={"age": {"column": "a"}, "home town": {"column": "h"}},
            context_fields={"age": {"column": "a"}},
            timestamp_unit="order",
            timestamp_format="%Y",
        )
    assert str(caught.value).splitlines() == [
        "6 problems in the composed config:",
        "  item_fields.label is a name the pipeline uses itself; give the field another one",
        "  user_fields.home town is not a valid field name: letters, digits and _ only, no digit first; rename the field",
        "  context_fields.age is named in user_fields too; every field needs a name of its own",
        "  columns.item = u: is the user column too; name another column",
        "  columns.rating = r: there is a label column already; a log has a label or a rating, remove one of them",
        "  timestamp_format = %Y: a clock, but timestamp_unit is order; remove one of them",
    ]


def test_an_item_table_without_item_fields_is_refused():
    with pytest.raises(ConfigError, match="items = an item table without item_fields"):
        config("a.csv", items={"path": "i.csv", "column": "id"})


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"path": 5}, r"path = 5: must be a path or a list of paths"),
        ({"path": []}, r"path = \[\]: must be a path or a list of paths"),
        ({"name": "My Clicks"}, r"name = 'My Clicks'"),
        ({"context_fields": {"hour": {"kind": "numeric"}}}, r"context_fields\.hour\.column: required"),
        ({"timestamp_unit": "minutes"}, r"timestamp_unit = 'minutes': must be"),
        ({"timestampunit": "order"}, r"timestampunit: unknown key; did you mean timestamp_unit"),
    ],
)
def test_impossible_values_are_refused_with_what_is_allowed(more, message):
    with pytest.raises(ConfigError, match=message):
        config(more.pop("path", "a.csv"), **more)


@pytest.mark.parametrize("outcome", ["label", "rating"])
@pytest.mark.parametrize("group", ["item_fields", "user_fields", "context_fields"])
def test_a_field_that_is_the_outcome_is_refused(outcome, group):
    columns = {"user": "u", "item": "i", "timestamp": "t", outcome: "target"}
    message = rf"{group}\.x\.column = target: is columns\.{outcome} too, so the model would be given the answer; remove the field"
    with pytest.raises(ConfigError, match=message):
        config("nowhere.csv", columns=columns, **{group: {"x": {"column": "target"}}})


def test_a_column_of_an_item_table_may_be_called_like_the_outcome():
    field = {"item_fields": {"mean": {"column": "clicked", "kind": "numeric"}}, "items": {"path": "items.csv", "column": "sku"}}
    assert config("nowhere.csv", **field).item_fields["mean"].column == "clicked"


@pytest.mark.parametrize("odd", ["007", "-07", "00"])
def test_ids_and_categories_that_differ_in_writing_only_stay_apart_in_all_tables(tmp_path, odd):
    clicks = write(tmp_path / "clicks.csv", f"when,visitor,sku,clicked,shop\n1400000000,{odd},{odd},1,{odd}\n1400000005,7,7,0,7\n")
    products = write(tmp_path / "products.csv", f"product,family\n7,1\n{odd},{odd}\n")
    views = write(tmp_path / "views.csv", "who,what,at\n7,7,1400000000\n")
    log = checked(
        clicks,
        context_fields={"store": {"column": "shop"}},
        items={"path": products, "column": "product"},
        item_fields={"family": {"column": "family"}},
        behaviours={"path": views, "columns": {"user": "who", "item": "what", "timestamp": "at"}},
    )
    assert log.interactions.select("user", "item", "store").rows() == [(odd, odd, odd), ("7", "7", "7")]
    assert sorted(log.items.rows()) == sorted([("7", "1"), (odd, odd)])
    assert log.behaviours.select("user", "item").rows() == [("7", "7")]


@pytest.mark.parametrize("odd", ["007", "+7", " 7", "7 ", "-0"])
def test_ids_that_are_written_differently_are_different(tmp_path, odd):
    clicks = write(tmp_path / "clicks.csv", f"when,visitor,sku,clicked\n1400000000,{odd},{odd},1\n1400000005,7,0,0\n")
    assert checked(clicks).interactions.select("user", "item").rows() == [(odd, odd), ("7", "0")]


def test_ids_as_texts_in_the_item_table_only_make_texts_of_those_of_the_log(tmp_path):
    clicks = write(tmp_path / "clicks.csv", "when,visitor,sku,clicked\n1400000000,3,7,1\n")
    products = write(tmp_path / "products.csv", "product,family\n7,1\n007,2\n")
    log = checked(clicks, items={"path": products, "column": "product"}, item_fields={"family": {"column": "family"}})
    assert log.interactions.select("user", "item").rows() == [(3, "7")]


@pytest.mark.parametrize("line", ["1400000001,8,b,0,y,6,7", "1400000001,8,b,0,y,"])
def test_a_line_with_too_many_fields_is_refused_though_the_surplus_is_not_used(tmp_path, line):
    with pytest.raises(DataError, match=r"clicks\.csv, line 4: [67] fields, and the file has 5 columns"):
        checked(write(tmp_path / "clicks.csv", f"{CSV}{line}\n"))


def test_a_csv_of_a_single_column_is_reported_with_its_separator(tmp_path):
    with pytest.raises(DataError, match=r"no such column; .*; the file has a single column: is data\.separator \(','\) right\?"):
        read(write(tmp_path / "clicks.csv", CSV.replace(",", ";")))


@pytest.mark.parametrize("name", ["clicks.csv", "clicks.jsonl"])
def test_a_parquet_file_under_another_name_is_reported_as_such(tmp_path, name):
    pl.read_csv(CSV.encode()).write_parquet(tmp_path / name)
    with pytest.raises(DataError, match=rf"^{re.escape(name)}: this is a Parquet file; name it \.parquet, or set format: parquet\.$"):
        read(str(tmp_path / name))


def test_odd_column_names_are_printable_and_short_in_messages(tmp_path):
    with pytest.raises(DataError) as caught:
        read(write(tmp_path / "clicks.csv", f"\x1b[31m,{'x' * 90}\n1,2\n"))
    assert r"\x1b[31m" in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert "x" * 61 not in str(caught.value)


def test_paths_survive_the_json_that_a_sweeps_worker_reads():
    values = {"source": "log", "name": "clicks", "path": "a.csv", "columns": {"user": "u", "item": "i", "timestamp": "t"}}
    for path in ("a.csv", ["a.csv", "b.csv"]):
        config = LogConfig.model_validate(values | {"path": path})
        assert LogConfig.model_validate_json(config.model_dump_json(), strict=False) == config
        assert all(isinstance(one, Path) for one in config.path)
