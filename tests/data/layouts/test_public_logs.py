"""Public logs in their own layouts, by the YAML of docs/public-logs.md: what is prepared is what a plain loop over the files gives."""

import csv
import gzip
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.data.layouts.prepared_rows import Event, counted, earlier, next_items, of
from tests.data.layouts.public_logs import LAYOUTS, ROWS, make

from clickflow.cli.compose import compose, plain
from clickflow.config import validate
from clickflow.data.prepare import prepare
from clickflow.runs.config import PrepareConfig

PAGE = Path(__file__).parents[3] / "docs" / "public-logs.md"
YAMLS = {re.search(r"^name: (\w+)$", text, re.MULTILINE)[1]: text for text in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)}


def prepared(name, folder, monkeypatch):
    """The files of a layout and its config in a working folder, prepared as ``clickflow prepare data=NAME`` does it."""
    make(name, folder)
    (folder / "conf" / "data").mkdir(parents=True)
    (folder / "conf" / "data" / f"{name}.yaml").write_text(YAMLS[name])
    monkeypatch.chdir(folder)
    config = validate(PrepareConfig, plain(compose("prepare", [f"data={name}"], None)))
    return prepare(config.data, config.protocol, folder / "home")


def table(file, separator=",", quoting=csv.QUOTE_MINIMAL):
    with file.open(newline="") as stream:
        return list(csv.reader(stream, delimiter=separator, quoting=quoting))


def records(file, separator=","):
    header, *rows = table(file, separator)
    return [dict(zip(header, row, strict=True)) for row in rows]


def objects(file):
    text = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    return [json.loads(line) for line in text.splitlines()]


def seconds(text, text_format):
    return datetime.strptime(text, text_format).replace(tzinfo=UTC).timestamp()


def fields_by_item(dataset, field):
    """Raw value of an item field by raw item, without those that train never saw."""
    names = dict(dataset.vocabulary(field).select("index", "raw").iter_rows())
    return {item: names[index] for item, index in dataset.items().select("raw", f"index/{field}").iter_rows() if index}


def clicks(events):
    return [event for event in events if event.label]


def test_every_layout_has_a_config_on_the_page():
    assert set(YAMLS) == set(LAYOUTS)


def test_criteo(tmp_path, monkeypatch):
    dataset = prepared("criteo", tmp_path, monkeypatch)
    rows = table(tmp_path / "criteo" / "train.txt", "\t")
    events = [Event(row[28] or None, row[16] or None, place, int(row[0])) for place, row in enumerate(rows)]
    assert len(of(dataset)) == ROWS
    assert counted(of(dataset)) == counted(earlier(events, clicks(events)))
    assert [field.name for field in dataset.schema.numeric] == ["count_1", "count_2"]


def test_avazu(tmp_path, monkeypatch):
    dataset = prepared("avazu", tmp_path, monkeypatch)
    rows = records(tmp_path / "avazu" / "train.csv")
    events = [Event(row["device_ip"], int(row["C14"]), seconds(row["hour"], "%y%m%d%H"), int(row["click"])) for row in rows]
    assert counted(of(dataset)) == counted(earlier(events, clicks(events)))
    campaigns = {int(row["C14"]): int(row["C17"]) for row in rows}
    found = fields_by_item(dataset, "campaign")
    assert found
    assert found.items() <= campaigns.items()


def test_taobao(tmp_path, monkeypatch):
    dataset = prepared("taobao", tmp_path, monkeypatch)
    rows = [row for row in table(tmp_path / "taobao" / "UserBehavior.csv") if row[3] in ("pv", "buy")]
    events = [Event(int(row[0]), int(row[1]), int(row[4])) for row in rows]
    positives = [row for row in of(dataset) if row[2] == 1]
    assert counted(positives) == counted(next_items(events))
    assert fields_by_item(dataset, "category").items() <= {int(row[1]): int(row[2]) for row in rows}.items()
    assert dataset.manifest.counts["left_out_by_where"] == ROWS - len(rows) > 0


def test_alimama(tmp_path, monkeypatch):
    dataset = prepared("alimama", tmp_path, monkeypatch)
    folder = tmp_path / "alimama"
    events = [
        Event(int(row["user"]), row["adgroup_id"], int(row["time_stamp"]), int(row["clk"])) for row in records(folder / "raw_sample.csv")
    ]
    actions = records(folder / "behavior_log.csv")
    past = [Event(int(row["user"]), (row["cate"], row["brand"]), int(row["time_stamp"])) for row in actions]
    categories = fields_by_item(dataset, "category")
    expected = earlier(events, past)
    found = of(dataset)
    assert counted((user, item, label, ()) for user, item, label, _ in found) == counted((*row[:3], ()) for row in expected)
    known = set(categories.values())
    assert known == {int(row["cate"]) for row in actions}

    def by_category(rows, category_of):
        return counted((user, item, label, tuple(category_of(one) for one in history)) for user, item, label, history in rows)

    assert by_category(found, categories.get) == by_category(expected, lambda pair: int(pair[0]))


def test_kuairand(tmp_path, monkeypatch):
    dataset = prepared("kuairand", tmp_path, monkeypatch)
    folder = tmp_path / "kuairand"
    rows = records(folder / "log_standard_4_08_to_4_21_1k.csv")
    events = [Event(int(row["user_id"]), int(row["video_id"]), int(row["time_ms"]), int(row["is_click"])) for row in rows]
    assert of(dataset)[0] in earlier(events, clicks(events))
    assert counted(of(dataset)) == counted(earlier(events, clicks(events)))
    authors = {int(row["video_id"]): int(row["author_id"]) for row in records(folder / "video_features_basic_1k.csv")}
    found = fields_by_item(dataset, "author")
    assert found
    assert found.items() <= authors.items()
    assert {field.name: field.role for field in dataset.schema.numeric} == {"registered_days": "user", "duration": "item"}


def test_mind(tmp_path, monkeypatch):
    dataset = prepared("mind", tmp_path, monkeypatch)
    expected = []
    for _, user, _, history, shown in table(tmp_path / "mind" / "behaviors.tsv", "\t", csv.QUOTE_NONE):
        for one in shown.split(" "):
            item, _, label = one.rpartition("-")
            expected.append((user, item, int(label), tuple(history.split())))
    assert sorted(of(dataset), key=str) == sorted(expected, key=str)  # a history that is given keeps its order
    news = {row[0]: row[1] for row in table(tmp_path / "mind" / "news.tsv", "\t", csv.QUOTE_NONE)}
    assert fields_by_item(dataset, "category").items() <= news.items()
    assert dataset.manifest.splits["train"].lists > 0


def test_retailrocket(tmp_path, monkeypatch):
    dataset = prepared("retailrocket", tmp_path, monkeypatch)
    folder = tmp_path / "retailrocket"
    events = [Event(int(row["visitorid"]), int(row["itemid"]), int(row["timestamp"])) for row in records(folder / "events.csv")]
    assert counted(row for row in of(dataset) if row[2]) == counted(next_items(events))
    properties = [row for part in (1, 2) for row in records(folder / f"item_properties_part{part}.csv")]
    categories = {int(row["itemid"]): int(row["value"]) for row in properties if row["property"] == "categoryid"}
    found = fields_by_item(dataset, "category")
    assert found
    assert {item: int(value) for item, value in found.items()}.items() <= categories.items()


def test_yoochoose(tmp_path, monkeypatch):
    dataset = prepared("yoochoose", tmp_path, monkeypatch)
    rows = table(tmp_path / "yoochoose" / "yoochoose-clicks.dat")
    events = [Event(int(row[0]), int(row[2]), seconds(row[1], "%Y-%m-%dT%H:%M:%S.%fZ")) for row in rows]
    expected = next_items(events)
    positives = [row for row in of(dataset) if row[2]]
    assert sorted(positives, key=str) == sorted(expected, key=str)  # no two clicks of a session are in one moment


@pytest.mark.parametrize(
    ("name", "user", "item", "time", "rating"),
    [
        ("amazon_2018", "reviewerID", "asin", "unixReviewTime", "overall"),
        ("amazon_2023", "user_id", "parent_asin", "timestamp", "rating"),
    ],
)
def test_amazon(tmp_path, monkeypatch, name, user, item, time, rating):
    dataset = prepared(name, tmp_path, monkeypatch)
    [reviews, products] = sorted((tmp_path / name).iterdir())
    events = [Event(row[user], row[item], row[time], int(row[rating] >= 4)) for row in objects(reviews)]
    assert counted(of(dataset)) == counted(earlier(events, events))
    categories = {row[item]: row.get("main_cat", row.get("main_category")) for row in objects(products)}
    found = fields_by_item(dataset, "category")
    assert found
    assert found.items() <= categories.items()


def test_recbole(tmp_path, monkeypatch):
    dataset = prepared("recbole", tmp_path, monkeypatch)
    rows = records(tmp_path / "recbole" / "ml-100k.inter", "\t")
    events = [
        Event(int(row["user_id:token"]), int(row["item_id:token"]), int(row["timestamp:float"]), int(float(row["rating:float"]) >= 4))
        for row in rows
    ]
    assert counted(of(dataset)) == counted(earlier(events, events))
    assert [field.name for field in dataset.schema.categorical if field.role == "user"][-1:] == ["occupation"]
