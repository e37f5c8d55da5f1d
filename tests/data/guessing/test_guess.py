"""What ``prepare --from`` makes of files whose right reading is known."""

import datetime as dt
import json
import random

import polars as pl
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.data.layouts.public_logs import LAYOUTS, make

from clickflow.data.guessing.config_text import config_text
from clickflow.data.guessing.guess import guess
from clickflow.errors import DataError

START = 1_500_000_000
RIGHT = {
    "criteo": {"timestamp": None, "label": "clicked"},
    "avazu": {"user": "device_id", "item": "C14", "timestamp": "hour", "label": "click"},
    "taobao": {"user": "user", "item": "item", "timestamp": "timestamp", "kind": "event"},
    "alimama": {"user": "user", "item": "adgroup_id", "timestamp": "time_stamp", "label": "clk"},
    "kuairand": {"user": "user_id", "item": "video_id", "timestamp": "time_ms", "label": "is_click"},
    "mind": {
        "user": "user",
        "timestamp": "timestamp",
        "history": "history",
        "candidates": {"column": "shown", "separator": " ", "label_separator": "-"},
    },
    "retailrocket": {"user": "visitorid", "item": "itemid", "timestamp": "timestamp", "kind": "event"},
    "yoochoose": {"user": "user", "item": "item", "timestamp": "timestamp"},
    "amazon_2018": {"user": "reviewerID", "item": "asin", "timestamp": "unixReviewTime", "rating": "overall"},
    "amazon_2023": {"user": "user_id", "item": "parent_asin", "timestamp": "timestamp", "rating": "rating"},
    "recbole": {"user": "user_id:token", "item": "item_id:token", "timestamp": "timestamp:float", "rating": "rating:float"},
}
HOW = {
    "criteo": {"format": "csv", "separator": "\t", "header": False, "timestamp_unit": "order"},
    "avazu": {"timestamp_format": "%y%m%d%H"},
    "taobao": {
        "header": False,
        "names": ["user", "item", "column_3", "event", "timestamp"],
        "where": {"event": ["buy", "cart", "fav", "pv"]},
    },
    "alimama": {},
    "kuairand": {"timestamp_unit": "milliseconds"},
    "mind": {"header": False, "timestamp_format": "%m/%d/%Y %I:%M:%S %p", "history_separator": " "},
    "retailrocket": {"timestamp_unit": "milliseconds"},
    "yoochoose": {"format": "csv", "header": False},
    "amazon_2018": {"format": "ndjson"},
    "amazon_2023": {"timestamp_unit": "milliseconds"},
    "recbole": {"format": "csv", "separator": "\t"},
}
DIALECT = ("format", "separator", "header", "quote", "decimal", "encoding", "timestamp_unit", "timestamp_format", "history_separator")


def looked_at(*paths):
    return guess(paths)


def write_csv(path, columns, separator=","):
    pl.DataFrame(columns).write_csv(path, separator=separator)
    return path


def clicks(rows=400, seed=0, **more):
    """A plain log of clicks and non-clicks."""
    rng = random.Random(seed)
    return {
        "user_id": [f"u{rng.randrange(40)}" for _ in range(rows)],
        "item_id": [rng.randrange(60) for _ in range(rows)],
        "timestamp": [START + rng.randrange(10**6) for _ in range(rows)],
        "clicked": [int(rng.random() < 0.3) for _ in range(rows)],
        **more,
    }


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_public_log_is_guessed_right(tmp_path, name):
    found = looked_at(*sorted(make(name, tmp_path).iterdir())).values
    assert {key: value for key, value in found["columns"].items() if key in RIGHT[name]} == RIGHT[name]
    assert set(found["columns"]) - set(RIGHT[name]) <= {"user", "item"}
    assert {key: found.get(key) for key in (*HOW[name], *DIALECT) if key in found} == HOW[name]


@pytest.mark.parametrize(
    ("name", "protocol"), [("avazu", "impressions"), ("mind", "impressions"), ("recbole", "rating"), ("yoochoose", "next_item")]
)
def test_the_protocol_follows_from_what_the_log_has(tmp_path, name, protocol):
    assert looked_at(*sorted(make(name, tmp_path).iterdir())).protocol == protocol


def test_of_several_files_each_gets_its_place(tmp_path):
    folder = make("alimama", tmp_path)
    found = looked_at(*sorted(folder.iterdir())).values
    assert found["path"] == str(folder / "raw_sample.csv")
    assert found["items"] == {"path": str(folder / "ad_feature.csv"), "column": "adgroup_id"}
    assert found["users"] == {"path": str(folder / "user_profile.csv"), "column": "userid"}
    assert found["behaviours"] == {
        "path": str(folder / "behavior_log.csv"),
        "columns": {"user": "user", "item": ["cate", "brand"], "timestamp": "time_stamp", "kind": "btag"},
        "item_fields": {"cate_id": "cate", "brand": "brand"},
    }
    assert found["item_fields"]["price"] == {"column": "price", "kind": "numeric"}
    assert found["user_fields"]["age_level"] == {"column": "age_level", "kind": "categorical"}


def test_of_two_tables_of_users_the_one_that_knows_more_of_them_is_taken(tmp_path):
    profile = {"userid": [f"u{number}" for number in range(40)], "age": [number % 7 for number in range(40)]}
    asked = {"user": [f"u{number}" for number in range(26)], "item": [number % 20 for number in range(26)]}
    files = [write_csv(tmp_path / f"{name}.csv", table) for name, table in (("a_rows", asked), ("log", clicks()), ("profile", profile))]
    assert looked_at(*files).values["users"] == {"path": str(tmp_path / "profile.csv"), "column": "userid"}


def test_what_is_known_only_after_a_click_is_left_out(tmp_path):
    left_out = looked_at(*sorted(make("kuairand", tmp_path).iterdir())).left_out["log_standard_4_08_to_4_21_1k.csv"]
    assert {"is_like", "long_view", "play_time_ms"} <= set(left_out)
    assert left_out["date"] == "another moment"


def test_a_column_that_gives_the_label_away_is_left_out(tmp_path):
    table = clicks()
    table["state"] = ["green" if label else "grey" for label in table["clicked"]]
    found = looked_at(write_csv(tmp_path / "log.csv", table))
    assert "state" in found.left_out["log.csv"]
    assert "context_fields" not in found.values


def test_fields_are_of_the_item_the_user_or_the_situation(tmp_path):
    table = clicks()
    table["brand"] = [f"b{item % 7}" for item in table["item_id"]]
    table["age"] = [20 + int(user[1:]) for user in table["user_id"]]
    table["device"] = [["phone", "desktop"][number % 2] for number in range(400)]
    table["price"] = [float(1 + item) + 0.5 for item in table["item_id"]]
    table["row"] = list(range(400))
    table["shop"] = ["main"] * 400
    found = looked_at(write_csv(tmp_path / "log.csv", table))
    assert found.values["item_fields"] == {
        "brand": {"column": "brand", "kind": "categorical"},
        "price": {"column": "price", "kind": "numeric"},
    }
    assert found.values["user_fields"] == {"age": {"column": "age", "kind": "numeric"}}
    assert found.values["context_fields"] == {"device": {"column": "device", "kind": "categorical"}}
    assert found.left_out["log.csv"] == {"row": "another value in every row", "shop": "one value in all rows"}


def test_two_columns_that_may_be_the_user_make_a_question(tmp_path):
    table = clicks()
    table["visitor_id"] = [f"v{int(user[1:]) // 2}" for user in table["user_id"]]
    [question] = looked_at(write_csv(tmp_path / "log.csv", table)).questions
    assert question == "columns.user: 'user_id' is the likeliest; or is it 'visitor_id'?"


@pytest.mark.parametrize(
    ("outcomes", "protocol", "column"),
    [
        (["0", "1"], "impressions", "label"),
        (["-1", "1"], "impressions", "label"),
        (["no", "yes"], "impressions", "label"),
        (["false", "true"], "impressions", "label"),
        (["1", "2", "3", "4", "5"], "next_item", None),
    ],
)
def test_a_label_has_two_values_that_say_no_and_yes(tmp_path, outcomes, protocol, column):
    table = clicks()
    table["clicked"] = [outcomes[number % len(outcomes)] for number in range(400)]
    found = looked_at(write_csv(tmp_path / "log.csv", table))
    assert found.protocol == protocol
    assert (column is None) == ("label" not in found.values["columns"])


def test_a_rating_is_taken_where_no_label_is(tmp_path):
    table = clicks()
    table["stars"] = [number % 5 + 1 for number in range(400)]
    del table["clicked"]
    found = looked_at(write_csv(tmp_path / "log.csv", table))
    assert (found.protocol, found.values["columns"]["rating"]) == ("rating", "stars")


def test_shown_and_clicked_as_events_make_a_label(tmp_path):
    table = clicks()
    table["event"] = ["click" if label else "impression" for label in table.pop("clicked")]
    found = looked_at(write_csv(tmp_path / "log.csv", table))
    assert found.protocol == "impressions"
    assert found.values["columns"]["label"] == {"column": "event", "positive": ["click"], "negative": ["impression"]}


def test_events_are_known_however_they_are_written(tmp_path):
    table = clicks()
    table["event"] = ["Click" if label else "No Click" for label in table.pop("clicked")]
    found = looked_at(write_csv(tmp_path / "log.csv", table))
    assert found.values["columns"]["label"] == {"column": "event", "positive": ["Click"], "negative": ["No Click"]}


def test_events_that_take_others_back_do_not_count(tmp_path):
    table = clicks()
    table["event_type"] = [["view", "cart", "remove_from_cart", "purchase"][number % 4] for number in range(400)]
    del table["clicked"]
    found = looked_at(write_csv(tmp_path / "log.csv", table))
    assert found.values["where"] == {"event_type": ["cart", "purchase", "view"]}
    assert any(question.startswith("where:") for question in found.questions)


def test_a_split_and_a_list_are_recognised(tmp_path):
    table = clicks()
    table["split"] = ["train" if number < 300 else "valid" if number < 350 else "test" for number in range(400)]
    table["request_id"] = [f"{user}-{time // 10**5}" for user, time in zip(table["user_id"], table["timestamp"], strict=True)]
    columns = looked_at(write_csv(tmp_path / "log.csv", table)).values["columns"]
    assert (columns["split"], columns["group"]) == ("split", "request_id")


def test_list_columns_are_candidates_and_a_history(tmp_path):
    rng = random.Random(0)
    shown = [rng.sample(range(50), 5) for _ in range(200)]
    pl.DataFrame(
        {
            "user_id": [number % 20 for number in range(200)],
            "impression_time": [dt.datetime(2024, 5, 1) + dt.timedelta(minutes=number) for number in range(200)],
            "article_ids_inview": shown,
            "article_ids_clicked": [[one[0]] for one in shown],
            "history": [rng.choices(range(50), k=number % 4) for number in range(200)],
        }
    ).write_parquet(tmp_path / "behaviors.parquet")
    found = looked_at(tmp_path / "behaviors.parquet")
    assert found.protocol == "impressions"
    assert found.values["columns"] == {
        "user": "user_id",
        "timestamp": "impression_time",
        "history": "history",
        "candidates": {"column": "article_ids_inview", "clicked": "article_ids_clicked"},
    }


def test_a_history_of_joined_ids_is_one(tmp_path):
    rng = random.Random(0)
    table = clicks(hist=["^".join(map(str, rng.choices(range(60), k=1 + number % 5))) for number in range(400)])
    found = looked_at(write_csv(tmp_path / "log.csv", table))
    assert (found.values["columns"]["history"], found.values["history_separator"]) == ("hist", "^")


def test_beside_a_ready_made_history_there_are_neither_kinds_nor_other_behaviours(tmp_path):
    rng = random.Random(0)
    past = ["^".join(map(str, rng.choices(range(60), k=1 + number % 5))) for number in range(400)]
    events = [["view", "buy"][number % 2] for number in range(400)]
    log = write_csv(tmp_path / "log.csv", clicks(hist=past, event_type=events))
    views = {key: values for key, values in clicks().items() if key in ("user_id", "item_id", "timestamp")}
    found = looked_at(log, write_csv(tmp_path / "views.csv", views))
    assert found.values["columns"]["history"] == "hist"
    assert "kind" not in found.values["columns"]
    assert "behaviours" not in found.values


def test_joined_categories_are_a_field_with_a_remark(tmp_path):
    table = clicks(genres=[["Drama", "Drama|War", "War"][number % 3] for number in range(400)])
    found = looked_at(write_csv(tmp_path / "log.csv", table))
    assert found.values["context_fields"] == {"genres": {"column": "genres", "kind": "categorical"}}
    assert found.remarks == ["log.csv: genres: several values in one text, which count as one category"]


def test_three_files_named_by_their_splits_are_the_splits(tmp_path):
    paths = [write_csv(tmp_path / f"{name}.csv", clicks(seed=seed)) for seed, name in enumerate(("test", "train", "valid"))]
    found = looked_at(*paths).values
    assert (found["path"], found["validation_path"], found["test_path"]) == (str(paths[1]), str(paths[2]), str(paths[0]))


def test_files_of_equal_columns_are_one_log(tmp_path):
    paths = [write_csv(tmp_path / f"{day}.csv", clicks(seed=day)) for day in (1, 2)]
    found = looked_at(*paths)
    assert found.values["path"] == list(map(str, paths))
    assert found.looked_at == [f"{paths[0]}, {paths[1]}: 800 rows"]


def test_another_table_says_where_it_is_written_unlike_the_log(tmp_path):
    log = write_csv(tmp_path / "log.csv", clicks(), separator=";")
    items = write_csv(tmp_path / "items.csv", {"item_id": list(range(60)), "brand": [f"b{item % 7}" for item in range(60)]})
    found = looked_at(log, items).values
    assert found["separator"] == ";"
    assert found["items"] == {"path": str(items), "separator": ",", "column": "item_id"}


def test_a_log_of_which_only_the_beginning_is_read_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("clickflow.data.guessing.sample.ROWS", 50)
    monkeypatch.setattr("clickflow.data.guessing.sample.read_sample.__defaults__", (50,))
    path = write_csv(tmp_path / "log.csv", clicks())
    assert looked_at(path).looked_at == [f"{path}: the first 50 rows"]


NAMES = {
    "user": ["user_id", "userId", "uid", "visitorid", "customer_id", "reviewerID", "member", "USER", "client-id"],
    "item": ["item_id", "itemid", "asin", "iid", "newsId", "product_id", "sku", "video_id", "MovieID", "article id"],
    "timestamp": ["timestamp", "time", "ts", "event_time", "created_at", "unixTime", "Date", "click_time"],
    "label": ["click", "is_click", "clicked", "label", "clk", "Label", "target"],
}
names = st.fixed_dictionaries({role: st.sampled_from(choices) for role, choices in NAMES.items()})


def times(style, rows, rng):
    seconds = [START + rng.randrange(10**6) for _ in range(rows)]
    if style in ("seconds", "milliseconds"):
        return [one * (1000 if style == "milliseconds" else 1) for one in seconds]
    return [dt.datetime.fromtimestamp(one, dt.UTC).strftime(style) for one in seconds]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=names,
    order=st.permutations(range(7)),
    style=st.sampled_from(["seconds", "milliseconds", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%d.%m.%Y %H:%M", "%Y%m%d"]),
    separator=st.sampled_from([",", ";", "\t", "|"]),
    ids=st.sampled_from(["{}", "u{}", "{:08x}"]),
    seed=st.integers(0, 99),
)
def test_any_order_and_any_usual_name_of_the_columns_is_guessed_right(tmp_path, names, order, style, separator, ids, seed):
    rng = random.Random(seed)
    rows = 200
    values = [
        (names["user"], [ids.format(rng.randrange(30)) for _ in range(rows)]),
        (names["item"], [rng.randrange(50) for _ in range(rows)]),
        (names["timestamp"], times(style, rows, rng)),
        (names["label"], [int(rng.random() < 0.4) for _ in range(rows)]),
        ("device", [rng.choice(["phone", "desktop", "tablet"]) for _ in range(rows)]),
        ("price", [round(rng.lognormvariate(3, 1), 2) for _ in range(rows)]),
        ("row_number", list(range(rows))),
    ]
    path = write_csv(tmp_path / "log.csv", dict(values[place] for place in order), separator)
    found = looked_at(path)
    assert found.values["columns"] == names
    assert found.values.get("separator", ",") == separator
    assert found.values.get("timestamp_unit", "seconds") == (style if style == "milliseconds" else "seconds")
    assert found.values.get("timestamp_format") == (style if style in ("%d.%m.%Y %H:%M", "%Y%m%d") else None)
    assert found.values["context_fields"]["price"]["kind"] == "numeric"
    assert found.left_out["log.csv"] == {"row_number": "another value in every row"}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(column=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12), seed=st.integers(0, 9))
def test_any_name_of_a_column_comes_back_from_the_yaml(tmp_path, column, seed):
    rows = [
        {"user_id": f"u{number % 20}", "item_id": number % 30, "timestamp": START + number, "click": number % 2}
        | {column: f"x{number % 3}"}
        for number in range(100)
    ]
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = looked_at(path)
    text = config_text("mine", found, "clickflow prepare")
    read = yaml.safe_load(text)
    plain = json.loads(json.dumps(found.values).replace("${", "\\\\${"))
    assert {key: value for key, value in read.items() if key not in ("defaults", "name", "source")} == plain


def test_a_table_without_two_ids_is_no_log(tmp_path):
    path = write_csv(tmp_path / "prices.csv", {"price": [1.5, 2.5, 3.5], "weight": [0.1, 0.2, 0.3]})
    with pytest.raises(DataError, match=r"prices\.csv: no two columns could be a user and an item \(ids that recur"):
        looked_at(path)


def test_user_fields_of_the_log_are_context_where_users_have_a_table(tmp_path):
    table = clicks()
    table["age"] = [20 + int(user[1:]) for user in table["user_id"]]
    log = write_csv(tmp_path / "log.csv", table)
    users = write_csv(
        tmp_path / "users.csv", {"user_id": [f"u{number}" for number in range(40)], "city": [f"c{one % 9}" for one in range(40)]}
    )
    found = looked_at(log, users).values
    assert found["user_fields"] == {"city": {"column": "city", "kind": "categorical"}}
    assert found["context_fields"] == {"age": {"column": "age", "kind": "numeric"}}


def test_a_table_that_lacks_items_of_the_log_makes_them_unknown_and_asks(tmp_path):
    table = clicks()
    log = write_csv(tmp_path / "log.csv", table)
    items = write_csv(tmp_path / "items.csv", {"item_id": list(range(45)), "brand": [f"b{item % 7}" for item in range(45)]})
    found = looked_at(log, items)
    assert found.values["on_missing_items"] == "unknown"
    known = sum(item < 45 for item in set(table["item_id"])) / len(set(table["item_id"]))
    assert found.questions == [f"items.csv: knows {known:.1%} of the log's items; the others get unknown fields; is that right?"]


def test_a_table_without_a_field_is_left_out(tmp_path):
    log = write_csv(tmp_path / "log.csv", clicks())
    found = looked_at(log, write_csv(tmp_path / "items.csv", {"item_id": list(range(60))}))
    assert "items" not in found.values
    assert found.remarks == ["items.csv: no column of it could be a field"]


def test_positions_cannot_split_impressions_by_time_so_the_order_of_the_rows_does(tmp_path):
    table = clicks()
    table["timestamp"] = [number // 3 for number in range(400)]
    found = looked_at(write_csv(tmp_path / "log.csv", table))
    assert found.values["columns"]["timestamp"] is None
    assert found.values["timestamp_unit"] == "order"
    assert found.questions == [
        "columns.timestamp: 'timestamp' is no time since 1970, so the order of the rows counts; is it the order of the events?"
    ]
    assert found.left_out["log.csv"] == {"timestamp": "another moment"}
    del table["clicked"]
    found = looked_at(write_csv(tmp_path / "log.csv", table))
    assert (found.values["columns"]["timestamp"], found.values["timestamp_unit"]) == ("timestamp", "order")
