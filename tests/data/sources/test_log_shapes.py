"""Ids of several columns, rows without a time, user tables, and item fields of the behaviours, as a log has them."""

import random
from collections import Counter
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
LINES = ("user,item,time,cate,brand", f"1,a,{START},7,x", f"1,b,{START + 1},8,y", f"2,a,{START + 2},7,x")


def config(path: object, **more: object) -> LogConfig:
    return validate(LogConfig, {"name": "mine", "source": "log", "path": str(path), "columns": COLUMNS, **more})


def checked(path: object, **more: object) -> CheckedLog:
    log = config(path, **more)
    return check(log.read(log.files(Path("nowhere"))), log)


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def log(tmp_path):
    return write(tmp_path / "log.csv", *LINES)


# Ids of several columns


def test_an_item_may_be_named_by_several_columns(log):
    joined = checked(log, columns={**COLUMNS, "item": ["cate", "brand"]})
    assert joined.interactions["item"].to_list() == ["7|x", "8|y", "7|x"]
    assert joined.raw.columns["item"] == "cate, brand"


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pairs=st.lists(st.tuples(*[st.text("a|\\b7", min_size=1, max_size=4)] * 2), min_size=2, max_size=20))
def test_joined_ids_are_equal_only_if_all_values_are(tmp_path, pairs):
    frame = pl.DataFrame(pairs, schema=["cate", "brand"], orient="row").with_columns(user=pl.lit(1), time=START)
    frame.write_parquet(tmp_path / "log.parquet")
    items = checked(tmp_path / "log.parquet", columns={**COLUMNS, "item": ["cate", "brand"]}).interactions["item"].to_list()
    assert len(dict(zip(pairs, items, strict=True))) == len(set(pairs)) == len(set(items))
    assert all(items[pairs.index(pair)] == item for pair, item in zip(pairs, items, strict=True))


def test_a_joined_id_that_lacks_a_value_is_missing(tmp_path):
    path = write(tmp_path / "log.csv", *LINES, f"2,a,{START},NULL,x")
    with pytest.raises(DataError, match=r"log\.csv, column 'cate, brand', row 4 = null: missing, and every row needs an item"):
        checked(path, columns={**COLUMNS, "item": ["cate", "brand"]})


def test_joined_ids_of_all_tables_are_alike_whatever_their_types(tmp_path):
    frame = pl.DataFrame({"user": [1], "cate": [2**63], "brand": [7], "time": [START]}, schema_overrides={"cate": pl.UInt64})
    frame.write_parquet(tmp_path / "log.parquet")
    past = write(tmp_path / "past.csv", "user,cate,brand,time", f"1,{2**63},7,{START - 9}", f"1,x,07,{START - 8}")
    items = write(tmp_path / "items.csv", "cate,brand,colour", f"{2**63},7,red")
    columns = {**COLUMNS, "item": ["cate", "brand"]}
    log = checked(
        tmp_path / "log.parquet",
        columns=columns,
        behaviours={"path": str(past)},
        items={"path": str(items), "column": ["cate", "brand"]},
        item_fields={"colour": {"column": "colour"}},
        on_missing_items="unknown",
    )
    assert log.interactions["item"].to_list() == log.items["item"].to_list() == [f"{2**63}|7"]
    assert log.behaviours["item"].to_list() == [f"{2**63}|7", "x|07"]


def test_columns_of_an_id_that_are_no_ids_are_refused(tmp_path):
    pl.DataFrame({"user": [1], "cate": [1.5], "brand": [7], "time": [START]}).write_parquet(tmp_path / "log.parquet")
    with pytest.raises(DataError, match="column 'cate' = Float64: ids are integers or texts"):
        checked(tmp_path / "log.parquet", columns={**COLUMNS, "item": ["cate", "brand"]})


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ([], r"columns\.item = \[\]: must be a column or a list of different columns"),
        (["cate", "cate"], r"columns\.item = \['cate', 'cate'\]: must be a column or a list of different columns"),
        (["cate", "user"], r"columns\.item = user: is the user column too"),
    ],
)
def test_impossible_columns_of_an_id_are_refused(item, message):
    with pytest.raises(ConfigError, match=message):
        config("a.csv", columns={**COLUMNS, "item": item})


def test_a_config_is_written_as_it_was_typed_and_read_again():
    plain = config("a.csv", columns={**COLUMNS, "label": "clicked"})
    assert plain.model_dump(mode="json")["columns"] | COLUMNS | {"label": "clicked"} == plain.model_dump(mode="json")["columns"]
    label = {"column": "event", "positive": ["buy"], "negative": None}
    joined = config("a.csv", columns={**COLUMNS, "item": ["cate", "brand"], "label": label})
    assert joined.model_dump(mode="json")["columns"]["item"] == ["cate", "brand"]
    assert joined.model_dump(mode="json")["columns"]["label"] == label
    for one in (plain, joined):
        assert LogConfig.model_validate_json(one.model_dump_json(), strict=False) == one
        assert validate(LogConfig, one.model_dump(mode="json")) == one


# Rows without a time


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_without_a_time_the_position_in_the_files_is_the_order(tmp_path, form):
    names = random.Random(3).sample(range(30), 30)
    for number, name in enumerate(names):
        frame = pl.DataFrame({"user": [1, 2], "item": [2 * number, 2 * number + 1], "event": ["view", "buy"]})
        path = tmp_path / f"{name:02}.{form}"
        frame.write_csv(path) if form == "csv" else frame.write_parquet(path)
    config = validate(
        LogConfig,
        {
            "name": "mine",
            "source": "log",
            "path": [str(tmp_path / f"{name:02}.{form}") for name in names],
            "columns": {"user": "user", "item": "item", "timestamp": None},
            "timestamp_unit": "order",
            "where": {"event": "buy"},
            "behaviours": {},
        },
    )
    log = check(config.read(config.files(tmp_path)), config)
    assert log.interactions.select("item", "timestamp").rows() == [(place, place) for place in range(1, 60, 2)]
    assert log.behaviours.select("item", "timestamp").rows() == [(place, place) for place in range(60)]
    assert log.raw.timestamp_unit == "order"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {},
            r"columns\.timestamp = null: the position of a row is an order and no clock, but timestamp_unit is seconds; set timestamp_unit",
        ),
        (
            {"timestamp_unit": "order", "behaviours": {"path": "b.csv"}},
            r"behaviours\.path = b\.csv: positions in different files cannot be compared; name timestamp columns, or leave out path",
        ),
        (
            {"timestamp_unit": "order", "behaviours": {"columns": COLUMNS}},
            r"behaviours\.columns\.timestamp = time: columns\.timestamp is null; name a column for both, or for neither",
        ),
    ],
)
def test_positions_that_are_no_times_are_refused(more, message):
    with pytest.raises(ConfigError, match=message):
        config("a.csv", columns={**COLUMNS, "timestamp": None}, **more)


def test_a_log_with_times_and_behaviours_without_is_refused():
    behaviours = {"columns": {**COLUMNS, "timestamp": None}}
    message = r"behaviours\.columns\.timestamp = null: columns\.timestamp is time; name a column for both, or for neither"
    with pytest.raises(ConfigError, match=message):
        config("a.csv", timestamp_unit="order", behaviours=behaviours)


# User tables


def users(folder: Path, *lines: str) -> dict[str, object]:
    table = {"path": str(write(folder / "users.csv", "id,age,town", *lines)), "column": "id"}
    return {"users": table, "user_fields": {"age": {"column": "age", "kind": "numeric"}, "town": {"column": "town"}}}


def test_user_fields_come_from_the_user_table(tmp_path, log):
    found = checked(log, **users(tmp_path, "2,30,Ulm", "1,,Bern", "3,9,Graz"))
    assert found.interactions.select("user", "age", "town").rows() == [(1, None, "Bern"), (1, None, "Bern"), (2, 30.0, "Ulm")]
    assert found.counts["users_rows_read"] == 3
    assert config(log, **users(tmp_path, "1,2,3")).files(tmp_path) == (log, tmp_path / "users.csv")


def test_a_user_table_that_lacks_users_is_refused_or_they_become_unknown(tmp_path, log):
    table = users(tmp_path, "1,30,Ulm")
    with pytest.raises(DataError) as caught:
        checked(log, **table)
    assert str(caught.value) == (
        "users.csv, column 'id': lacks 1 user of the log, such as 2; "
        "add them or set data.on_missing_users=unknown (their fields become index 0 = unknown)."
    )
    found = checked(log, on_missing_users="unknown", **table)
    assert found.interactions["town"].to_list() == ["Ulm", "Ulm", None]
    assert found.counts["users_without_fields"] == 1


def test_a_user_of_the_behaviours_alone_needs_no_fields(tmp_path, log):
    past = write(tmp_path / "past.csv", LINES[0], f"9,a,{START},7,x")
    assert checked(log, behaviours={"path": str(past)}, **users(tmp_path, "1,30,Ulm", "2,30,Ulm")).behaviours["user"].to_list() == [9]


def test_a_user_that_contradicts_itself_is_refused_or_the_row_that_sorts_first_counts(tmp_path, log):
    table = users(tmp_path, "1,30,Ulm", "2,40,Bern", "1,30,Graz")
    table = users(tmp_path)
    write(tmp_path / "users.csv", "id,age", "1,2")
    with pytest.raises(DataError, match=r"users\.csv, column 'town' \(data\.user_fields\.town\.column\): no such column"):
        checked(log, **table)


def test_a_user_table_without_user_fields_is_refused():
    with pytest.raises(ConfigError, match="users = a user table without user_fields: nothing would be read from it"):
        config("a.csv", users={"path": "u.csv", "column": "id"})


def test_a_column_of_a_user_table_may_be_called_like_the_outcome():
    fields = {"user_fields": {"rate": {"column": "clicked", "kind": "numeric"}}, "users": {"path": "u.csv", "column": "id"}}
    assert config("a.csv", columns={**COLUMNS, "label": "clicked"}, **fields).users.column == "id"


# Item fields of the behaviours


def test_item_fields_of_the_behaviours_have_the_type_of_those_of_the_log(tmp_path, log):
    past = write(tmp_path / "past.csv", "user,item,time,c,price", f"1,z,{START - 9},none,2.5", f"1,y,{START - 9},,")
    found = checked(
        log,
        item_fields={"category": {"column": "cate"}},
        behaviours={"path": str(past), "columns": COLUMNS, "item_fields": {"category": "c"}},
    )
    assert found.interactions["category"].to_list() == ["7", "8", "7"]
    assert found.behaviours.select("item", "category").rows() == [("z", "none"), ("y", None)]


def test_items_that_only_the_behaviours_describe_are_not_missing(tmp_path, log):
    items = write(tmp_path / "items.csv", "id,cate", "a,7")
    past = write(tmp_path / "past.csv", "user,item,time,c", f"1,b,{START - 9},8", f"1,z,{START - 9},9", f"1,y,{START - 9},")
    table = {"items": {"path": str(items), "column": "id"}, "item_fields": {"category": {"column": "cate"}}}
    with pytest.raises(DataError, match=r"items\.csv, column 'id': lacks 1 item of the log, such as 'y'"):
        checked(log, **table, behaviours={"path": str(past), "columns": COLUMNS, "item_fields": {"category": "c"}})
    with pytest.raises(DataError, match=r"items\.csv, column 'id': lacks 3 items of the log, such as 'b', 'y', 'z'"):
        checked(log, **table, behaviours={"path": str(past), "columns": COLUMNS})


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"item_fields": {"category": {"column": "c"}}, "behaviours": {"path": "b.csv", "item_fields": {"categorie": "c"}}},
            r"behaviours\.item_fields\.categorie is no field of item_fields; did you mean category\?",
        ),
        (
            {"behaviours": {"path": "b.csv", "item_fields": {"category": "c"}}},
            r"behaviours\.item_fields\.category is no field of item_fields",
        ),
        (
            {
                "columns": {**COLUMNS, "label": {"column": "event", "positive": "buy"}},
                "item_fields": {"what": {"column": "c"}},
                "behaviours": {"item_fields": {"what": "event"}},
            },
            r"behaviours\.item_fields\.what = event: is columns\.label too, so the model would be given the answer",
        ),
    ],
)
def test_item_fields_of_the_behaviours_that_contradict_the_log_are_refused(more, message):
    with pytest.raises(ConfigError, match=message):
        config("a.csv", **more)


def test_behaviours_of_the_log_have_its_item_fields_unless_others_are_named(log):
    fields = {"category": {"column": "cate"}}
    assert "category" in checked(log, item_fields=fields, behaviours={}).behaviours.columns
    assert "category" not in checked(log, item_fields=fields, behaviours={"item_fields": {}}).behaviours.columns


# Public layouts


def test_taobao_user_behaviour(tmp_path):
    """User, item, category, kind and second, without a header."""
    rows = [(row % 5, row % 11, row % 11 % 3, ("pv", "pv", "cart", "buy")[row % 4], START + row) for row in range(80)]
    path = write(tmp_path / "UserBehavior.csv", *(",".join(map(str, row)) for row in rows))
    log = checked(
        path,
        header=False,
        names=["user", "item", "category", "behavior", "timestamp"],
        columns={
            "user": "user", "item": "item", "timestamp": "timestamp", "kind": "behavior",
            "label": {"column": "behavior", "positive": ["buy", "cart"], "negative": ["pv"]},
        },
        item_fields={"category": {"column": "category"}},
        behaviours={"where": {"behavior": ["pv", "cart"]}},
    )  # fmt: skip
    assert log.interactions.select("user", "item", "timestamp", "label", "category").rows() == [
        (user, item, time, int(kind != "pv"), category) for user, item, category, kind, time in rows
    ]
    assert log.behaviours.select("user", "item", "timestamp", "behaviour kind", "category").rows() == [
        (user, item, time, kind, category) for user, item, category, kind, time in rows if kind != "buy"
    ]


def test_retailrocket(tmp_path):
    """Events in milliseconds with the visitor, and properties of items, one per line."""
    rows = [(START * 1000 + row, row % 5, ("view", "view", "addtocart")[row % 3], row % 7, "") for row in range(60)]
    events = write(tmp_path / "events.csv", "timestamp,visitorid,event,itemid,transactionid", *(",".join(map(str, row)) for row in rows))
    properties = [(START * 1000, item, name, value) for item in range(7) for name, value in (("categoryid", item % 3), ("790", "n277.2 x"))]
    path = write(tmp_path / "item_properties.csv", "timestamp,itemid,property,value", *(",".join(map(str, row)) for row in properties))
    log = checked(
        events,
        columns={
            "user": "visitorid", "item": "itemid", "timestamp": "timestamp", "kind": "event",
            "label": {"column": "event", "positive": "addtocart"},
        },
        timestamp_unit="milliseconds",
        items={"path": str(path), "column": "itemid", "where": {"property": ["categoryid"]}},
        item_fields={"category": {"column": "value"}},
        behaviours={"where": {"event": "view"}},
    )  # fmt: skip
    assert log.items.rows() == [(item, str(item % 3)) for item in range(7)]
    assert log.counts["items_left_out_by_where"] == 7
    assert Counter(log.interactions["label"]) == Counter({0: 40, 1: 20})
    assert log.behaviours.height == 40


def test_alimama_display_ads(tmp_path):
    """Impressions of ads with an ad table and a user table; behaviours know category and brand, but no ad."""
    clicks = [(row % 4, START + 500 + row, row % 6, "430548_1007", 1 - row % 2, row % 2) for row in range(40)]
    sample = write(tmp_path / "raw_sample.csv", "user,time_stamp,adgroup_id,pid,nonclk,clk", *(",".join(map(str, row)) for row in clicks))
    ads = [(ad, ad % 3, 100 + ad, ad, "NULL" if ad == 5 else ad % 2, 9.5) for ad in range(6)]
    ad_feature = write(
        tmp_path / "ad_feature.csv", "adgroup_id,cate_id,campaign_id,customer,brand,price", *(",".join(map(str, row)) for row in ads)
    )
    people = [(user, 3, 1 + user % 2, user % 7) for user in range(4)]
    profile = write(
        tmp_path / "user_profile.csv", "userid,cms_segid,final_gender_code,age_level", *(",".join(map(str, row)) for row in people)
    )
    past = [(row % 4, START + row, ("pv", "cart", "fav", "buy")[row % 4], row % 3, row % 2) for row in range(60)]
    behavior_log = write(tmp_path / "behavior_log.csv", "user,time_stamp,btag,cate,brand", *(",".join(map(str, row)) for row in past))
    log = checked(
        sample,
        columns={"user": "user", "item": "adgroup_id", "timestamp": "time_stamp", "label": "clk"},
        items={"path": str(ad_feature), "column": "adgroup_id"},
        item_fields={
            "category": {"column": "cate_id"}, "brand": {"column": "brand"}, "price": {"column": "price", "kind": "numeric"},
        },
        users={"path": str(profile), "column": "userid"},
        user_fields={"gender": {"column": "final_gender_code"}, "age": {"column": "age_level"}},
        behaviours={
            "path": str(behavior_log),
            "where": {"btag": ["pv", "buy"]},
            "columns": {"user": "user", "item": ["cate", "brand"], "timestamp": "time_stamp", "kind": "btag"},
            "item_fields": {"category": "cate", "brand": "brand"},
        },
    )  # fmt: skip
    assert log.interactions.select("user", "item", "label", "gender", "age").rows() == [
        (user, str(ad), click, 1 + user % 2, user % 7) for user, _, ad, _, _, click in clicks
    ]
    assert log.behaviours.select("user", "item", "behaviour kind", "category", "brand").rows() == [
        (user, f"{cate}|{brand}", kind, cate, brand) for user, _, kind, cate, brand in past if kind in ("pv", "buy")
    ]
    assert log.items.select("item", "category", "brand").rows() == [
        (str(ad), cate, None if brand == "NULL" else brand) for ad, cate, _, _, brand, _ in ads
    ]
