"""Histories made of a table of behaviours are those that ``prepare`` made of the log; what cannot be used is refused."""

from itertools import pairwise

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from tests.serving.bundles import make_bundle

from clickflow.config import validate
from clickflow.data.history_rules import HistoryRules
from clickflow.data.prepare import prepare
from clickflow.data.protocols import ImpressionsConfig, NextItemConfig, RatingConfig
from clickflow.data.sources.log import LogConfig
from clickflow.errors import ConfigError, DataError
from clickflow.scoring.behaviours import BEFORE_THERE_WERE_RULES, BY_POSITION, read_behaviours
from clickflow.serving.behaviour_table import FOLDER_VARIABLE, BehaviourTable, given_behaviours
from clickflow.serving.bundle import ServingBundle
from clickflow.serving.config import BehavioursConfig
from clickflow.serving.ids import IdTable

START = 1_700_000_000
COLUMNS = {"user": "user", "item": "item", "timestamp": "timestamp"}


def bundle_with(rules, as_string=False):
    bundle = make_bundle(as_string)
    return ServingBundle(**{**vars(bundle), "histories": rules})


def read(path, rules=None, as_string=False, said=None, **options):
    bundle = bundle_with(rules, as_string)
    items = IdTable(bundle.items["raw"], np.arange(len(bundle.items)))
    config = validate(BehavioursConfig, {"path": str(path), **options})
    return read_behaviours(config, bundle, items, [].append if said is None else said.append)


def histories(table, users, moments, most=None):
    """Lists of raw ids."""
    places, bounds = table.histories(table.find(pa.array(users, pa.large_string())), np.array(moments), most)
    ids = table.items.take(pa.array(places)).to_pylist()
    return [ids[start:end] for start, end in pairwise(bounds)]


def write(path, rows, columns=("user", "item", "timestamp")):
    path.write_text("\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def random_log(seed, num_moments):
    """A log with ties and repeated events."""
    draw = np.random.default_rng(seed)
    columns = {
        "user": draw.integers(0, 12, 300),
        "item": draw.integers(100, 130, 300),
        "timestamp": START + draw.integers(0, num_moments, 300),
    }
    return pl.DataFrame(columns | {"label": draw.integers(0, 2, 300), "rating": draw.integers(1, 6, 300)})


def histories_of(dataset):
    """User -> the different histories of its rows in all splits, by plain loops."""
    items, users = [None, *dataset.raw_items()], dataset.raw_users().cast(pl.String)
    found = {}
    for name in ("train", "validation", "test"):
        split = dataset.split(name)
        for group, start, end in zip(*(split.rows[key] for key in ("group", "history_start", "history_end")), strict=True):
            found.setdefault(users[int(group)], set()).add(tuple(items[item] for item in split.behaviours[start:end]))
    return found


@pytest.mark.parametrize("as_text", [False, True], ids=["integer ids", "text ids"])
@pytest.mark.parametrize(
    ("protocol", "outcome", "duplicates"),
    [
        (NextItemConfig(split="time", seed=5), {}, "keep"),
        (NextItemConfig(split="time", history_lag=3), {}, "keep"),
        (ImpressionsConfig(history_lag=2), {"label": "label"}, "keep"),
        (ImpressionsConfig(), {"label": "label"}, "drop"),
        (RatingConfig(split="time"), {"rating": "rating"}, "keep"),
    ],
    ids=["next_item", "next_item with a lag", "impressions with a lag", "impressions without duplicates", "rating"],
)
def test_histories_are_those_of_the_prepared_log(tmp_path, protocol, outcome, duplicates, as_text):
    for seed, num_moments in enumerate((6, 25, 400)):
        log = random_log(seed, num_moments)
        if as_text:
            log = log.with_columns(pl.format("u{}", "user").alias("user"), pl.format("i{}", "item").alias("item"))
        folder = tmp_path / f"{seed}"
        folder.mkdir()
        log.write_parquet(folder / "log.parquet")
        log.sample(fraction=1, shuffle=True, seed=1).write_csv(folder / "past.csv")
        values = {"name": "random", "path": str(folder / "log.parquet"), "columns": COLUMNS | outcome, "duplicates": duplicates}
        dataset = prepare(validate(LogConfig, values), protocol, folder / "home")
        manifest = dataset.manifest
        rules = HistoryRules.of(manifest.protocol, manifest.source, manifest.timestamp_unit)
        table = read(folder / "past.csv", rules, as_string=as_text, where={"label": 1} if "label" in outcome else {})

        expected = histories_of(dataset)
        for user, moments in log.group_by(pl.col("user").cast(pl.String)).agg(pl.col("timestamp").unique().sort()).iter_rows():
            asked = moments[1:] if protocol.name == "next_item" else moments  # where a user has no past, there is no row
            found = histories(table, [user] * len(asked), [moment * 10**6 for moment in asked])
            assert {tuple(history) for history in found} == expected.get(user, set())


def test_a_history_is_what_is_strictly_earlier_and_the_last_of_it(tmp_path):
    rows = [("a", 10, START), ("a", 20, START + 5), ("b", 30, START), ("a", 999, START + 3)]
    table = read(write(tmp_path / "t.csv", rows), HistoryRules())
    moments = [(START + seconds) * 10**6 for seconds in (0, 3, 5, 6, 6)]
    assert histories(table, ["a"] * 4 + ["b"], moments) == [[], [10], [10, 999], [10, 999, 20], [30]]
    assert histories(table, ["a", "nobody"], moments[3:], most=2) == [[999, 20], []]
    lagging = read(tmp_path / "t.csv", HistoryRules(history_lag=3))
    assert histories(lagging, ["a"] * 4, moments[:4]) == [[], [10], [10], [10, 999]]


def test_a_table_that_was_written_is_mapped_as_it_was(tmp_path, monkeypatch):
    rules = HistoryRules(history_lag=3, merges_identical=True, seed=7)
    table = read(write(tmp_path / "t.csv", [(7, 10, START), (8, 20, START + 1), (7, 10, START)]), rules)
    assert len(table.item) == 2
    table.write(tmp_path)
    assert histories(BehaviourTable.open(tmp_path), ["7", "8", "9"], [(START + 9) * 10**6] * 3) == [[10], [20], []]

    ids = IdTable(make_bundle().items["raw"], np.arange(6))
    assert given_behaviours(rules, ids) is None
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    assert given_behaviours(rules, ids).rules == rules
    for other, of_items in ((None, ids), (rules, IdTable(make_bundle(True).items["raw"], np.arange(6)))):
        with pytest.raises(
            DataError, match=rf"^{FOLDER_VARIABLE} = .*: made for another model, whose histories or ids are of another kind"
        ):
            given_behaviours(other, of_items)
    (tmp_path / "users.arrow").write_bytes(b"")
    with pytest.raises(DataError, match=r"^behaviours in .*: cannot be read \(.*\); start clickflow serve again"):
        BehaviourTable.open(tmp_path)


def test_a_table_of_any_form_is_read_as_a_log_is(tmp_path):
    past = [(7, 10, "2024-05-01T00:00:00Z"), (7, 20, "2024-05-02T00:00:00Z")]
    columns = ("visitor", "sku", "when")
    mapping = dict(zip(COLUMNS, columns, strict=True))
    write(tmp_path / "a.csv", past, columns)
    (tmp_path / "a.ssv").write_text("\n".join(f"{user};{item};{when[:10].replace('-', '')}" for user, item, when in past))
    pl.DataFrame(past, columns, orient="row").write_ndjson(tmp_path / "a.jsonl")
    pl.DataFrame(past, columns, orient="row").with_columns(pl.col("when").str.to_datetime(time_zone="UTC")).write_parquet(
        tmp_path / "a.parquet"
    )
    no_header = {"format": "csv", "separator": ";", "header": False, "names": list(columns), "timestamp_format": "%Y%m%d"}
    for name, options in (("a.csv", {}), ("a.jsonl", {}), ("a.parquet", {}), ("a.ssv", no_header), ("a.p*", {})):
        table = read(tmp_path / name, HistoryRules(), columns=mapping, **options)
        assert histories(table, ["7", "7"], [1_714_600_000 * 10**6, 1_714_700_000 * 10**6]) == [[10], [10, 20]], name


def test_what_is_worth_to_know_is_said(tmp_path):
    path, said = write(tmp_path / "t.csv", [("a", 10, START), ("", 20, START), ("b", "", START)]), []
    read(path, None, said=said, on_bad_rows="drop", max_bad_share=0.7)
    assert said == [BEFORE_THERE_WERE_RULES, "behaviours: 2 bad rows dropped of 3", "1 behaviour of 1 user, 0.0 MiB"]
    read(write(path, [("a", 10, START)]), HistoryRules(by_position=True), said=said)
    assert said[-2] == BY_POSITION


@pytest.mark.parametrize(
    ("rows", "options", "rules", "error", "message"),
    [
        (
            [("a", 10, START), ("", 10, START), *[("b", 20, START)] * 20],
            {},
            {},
            DataError,
            r"^t\.csv, column 'user', row 2 = null: missing.*set behaviours\.on_bad_rows=drop",
        ),
        ([("a", 10, "soon")], {}, {}, DataError, r"^t\.csv, column 'timestamp', row 1 = 'soon': not an integer \(Unix seconds\)"),
        ([("a", 10, START * 1000)], {}, {}, DataError, "look like milliseconds, not seconds; set behaviours.timestamp_unit=milliseconds"),
        ([("a", 10, 3)], {}, {}, DataError, r"all times are before 1990.* \(20240531 is %Y%m%d\), or convert the column\.$"),
        (
            [("a", "x1", START)],
            {},
            {},
            DataError,
            r"^t\.csv, column 'item' = texts, such as 'x1': not an integer id; the model was trained",
        ),
        ([("a", -1, START)], {}, {}, DataError, "^behaviours, an item = -1: negative, but no id of the training data is"),
        ([("a", 10, START), (1, 2)], {}, {}, DataError, r"^t\.csv, line 3: 2 fields, and the file has 3 columns"),
        ([], {}, {}, DataError, r"^t\.csv = 0 rows"),
        (
            [("a", 10, 1)],
            {"columns": {"user": "usr"}},
            {},
            DataError,
            r"column 'usr' \(behaviours\.columns\.user\): no such column; did you mean user;",
        ),
        ([("a", 10, "2024-05-01")], {}, {"timestamp_unit": "order"}, DataError, r"row 1 = '2024-05-01': not an integer \(position\)"),
        (
            [("a", 10, 1)],
            {"timestamp_unit": "order"},
            {},
            ConfigError,
            r"^behaviours\.timestamp_unit = order: the model was trained on times",
        ),
        (
            [("a", 10, 1)],
            {"timestamp_unit": "seconds"},
            {"timestamp_unit": "order"},
            ConfigError,
            r"^behaviours\.timestamp_unit = seconds: the model was trained on positions",
        ),
        (
            [("a", 10, 1)],
            {"timestamp_format": "%Y"},
            {"timestamp_unit": "order"},
            ConfigError,
            r"^behaviours\.timestamp_format = %Y: a clock, but the model was trained on positions",
        ),
        (
            [("a", 10, 1)],
            {},
            {"ready_made": True},
            ConfigError,
            r"^behaviours\.path = .*t\.csv: the model was trained on histories that came",
        ),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path, rows, options, rules, error, message):
    path = write(tmp_path / "t.csv", rows)
    with pytest.raises(error, match=message) as caught:
        read(path, HistoryRules(**rules), **options)
    assert "data." not in str(caught.value).replace("training data", "")


def test_dates_where_the_model_has_positions_are_refused(tmp_path):
    pl.DataFrame({"user": [1], "item": [10], "timestamp": [START]}).with_columns(pl.from_epoch("timestamp")).write_parquet(
        tmp_path / "t.parquet"
    )
    with pytest.raises(DataError, match=r"column 'timestamp' = Datetime.*: a clock, not a position; give positions, as in training"):
        read(tmp_path / "t.parquet", HistoryRules(timestamp_unit="order"))


def test_a_format_contradicts_an_order():
    with pytest.raises(ConfigError, match=r"timestamp_format = %Y: a clock, but timestamp_unit is order"):
        validate(BehavioursConfig, {"path": "t.csv", "timestamp_format": "%Y", "timestamp_unit": "order"})
