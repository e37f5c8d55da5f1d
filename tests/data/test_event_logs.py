"""Events of several kinds in one file, prepared: the same data set as from files of their own, with the kinds beside the behaviours."""

import random
from collections import Counter

import polars as pl
import pytest

from clickflow.config import validate
from clickflow.data.prepare import prepare
from clickflow.data.protocols import ImpressionsConfig, NextItemConfig
from clickflow.data.schema import KIND
from clickflow.data.sources.log import LogConfig
from clickflow.errors import ConfigError, DataError

START = 1_700_000_000
COLUMNS = {"user": "user", "item": "item", "timestamp": "time"}
LABEL = {"column": "event", "positive": ["buy"], "negative": ["view"]}


def events(num_rows=400, seed=0):
    """Few users and moments, so that one event is often an impression and a behaviour, and moments are shared."""
    rng = random.Random(seed)
    rows = [(rng.randrange(8), rng.randrange(60), START + rng.randrange(150), rng.choice(["view", "buy", "cart"])) for _ in range(num_rows)]
    frame = pl.DataFrame(rows, schema=["user", "item", "time", "event"], orient="row").unique(["user", "item", "time"], maintain_order=True)
    return frame.with_columns(category=pl.col("item") % 3)


def prepared(folder, frame, protocol, name="events", **more):
    folder.mkdir(exist_ok=True)
    frame.write_parquet(folder / f"{name}.parquet")
    values = {"name": "mine", "source": "log", "path": str(folder / f"{name}.parquet"), "columns": COLUMNS}
    return prepare(validate(LogConfig, values | more), protocol, folder / "home")


def contents(dataset):
    """The bytes of all files but the manifest, which also names the config."""
    files = sorted(path for path in dataset.folder.rglob("*") if path.is_file() and path.name != "manifest.json")
    return {str(path.relative_to(dataset.folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("protocol", [ImpressionsConfig(), NextItemConfig()], ids=lambda protocol: protocol.name)
def test_behaviours_among_the_log_are_those_of_a_file_of_their_own(tmp_path, protocol):
    frame, fields = events(), {"category": {"column": "category"}}
    columns = {**COLUMNS, "label": LABEL, "kind": "event"}
    one = prepared(tmp_path / "one", frame, protocol, columns=columns, item_fields=fields, behaviours={"where": {"event": ["view", "buy"]}})

    past = frame.filter(pl.col("event").is_in(["view", "buy"]))
    past.write_parquet(tmp_path / "past.parquet")
    shown = frame.filter(pl.col("event") != "cart").with_columns(clicked=(pl.col("event") == "buy").cast(pl.Int8)).drop("event")
    table = {"path": str(tmp_path / "past.parquet"), "columns": {**COLUMNS, "kind": "event"}, "item_fields": {"category": "category"}}
    columns = {**COLUMNS, "label": "clicked"}
    two = prepared(tmp_path / "two", shown, protocol, columns=columns, item_fields=fields, behaviours=table)
    assert one.manifest.fingerprint == two.manifest.fingerprint
    assert contents(one) == contents(two)
    assert one.folder.name != two.folder.name


def test_an_event_that_is_impression_and_behaviour_is_never_in_its_own_history(tmp_path):
    frame = events()
    columns = {**COLUMNS, "label": LABEL}
    dataset = prepared(tmp_path, frame, ImpressionsConfig(), columns=columns, behaviours={"where": {"event": ["view", "buy"]}})
    items, users = [None, *dataset.raw_items()], dataset.raw_users()
    found = Counter()
    for name in ("train", "validation", "test"):
        split = dataset.split(name)
        for group, item, label, start, end in zip(
            *(split.rows[column] for column in ("group", "item", "label", "history_start", "history_end")), strict=True
        ):
            history = tuple(sorted(items[one] for one in split.behaviours[start:end]))
            found[users[int(group)], items[item], int(label), history] += 1
    rows = [row for row in frame.rows(named=True) if row["event"] in ("view", "buy")]
    expected = Counter(
        (
            row["user"],
            row["item"],
            int(row["event"] == "buy"),
            tuple(sorted(past["item"] for past in rows if past["user"] == row["user"] and past["time"] < row["time"])),
        )
        for row in rows
    )
    assert found == expected


def test_clicks_by_events_are_the_behaviours_where_nothing_else_is_said(tmp_path):
    frame = events()
    dataset = prepared(tmp_path, frame, ImpressionsConfig(), columns={**COLUMNS, "label": LABEL})
    assert dataset.manifest.num_behaviours == frame.filter(pl.col("event") == "buy").height
    assert dataset.manifest.counts["no_impressions"] == frame.filter(pl.col("event") == "cart").height


def kinds_by_event(dataset):
    """How often each (item, kind) occurs among the behaviours."""
    items = [None, *dataset.raw_items()]
    kinds = [None, *dataset.vocabulary(KIND)["raw"]]
    behaviours = dataset.split("train").behaviours
    return Counter((items[item], kinds[kind]) for item, kind in zip(behaviours, dataset.behaviour_kinds(), strict=True))


@pytest.mark.parametrize("own", [False, True])
def test_each_behaviour_keeps_its_kind_through_sorting(tmp_path, own):
    frame = events()
    more = {"behaviours": {"where": {"event": ["view", "buy", "cart"]}}} if own else {}
    columns = {**COLUMNS, "kind": "event", "label": {"column": "event", "positive": ["buy", "cart"], "negative": "view"}}
    dataset = prepared(tmp_path, frame.sample(fraction=1, shuffle=True, seed=1), ImpressionsConfig(), columns=columns, **more)
    past = frame if own else frame.filter(pl.col("event") != "view")
    assert kinds_by_event(dataset) == Counter(past.select("item", "event").rows())
    counted = {f"kind: {kind}": count for kind, count in Counter(past["event"]).items()}
    assert {name: count for name, count in dataset.manifest.counts.items() if name.startswith("kind: ")} == counted
    assert list(counted.values()) != []


def test_kinds_are_numbered_by_their_frequency_in_the_histories_of_train_and_others_are_unknown(tmp_path):
    frame = pl.DataFrame(
        {
            "user": [1] * 40,
            "item": [row % 5 for row in range(40)],
            "time": [START + row for row in range(40)],
            "event": [*(["view", "view", "buy"] * 13)[:38], "late", None],
            "label": [0, 1] * 20,
        }
    )
    columns = {**COLUMNS, "label": "label"}
    dataset = prepared(tmp_path, frame, ImpressionsConfig(), columns=columns, behaviours={"columns": {**COLUMNS, "kind": "event"}})
    table = dataset.vocabulary(KIND)
    in_train = frame["event"].head(dataset.manifest.splits["train"].rows - 1)
    assert dict(table.select("raw", "count").rows()) == dict(Counter(in_train))
    assert table["raw"].to_list() == ["view", "buy"]
    kinds = dataset.behaviour_kinds()
    assert kinds.dtype == "uint8"
    assert kinds.tolist() == [{"view": 1, "buy": 2}.get(event, 0) for event in frame["event"]]
    assert dataset.manifest.counts["kind: (missing)"] == 1


def test_events_that_differ_in_kind_only_are_one_positive_of_the_kind_that_sorts_first(tmp_path):
    rows = [(user, item, START + item, kind) for user in range(6) for item in range(user, user + 5) for kind in ("view", "buy")]
    frame = pl.DataFrame(rows, schema=["user", "item", "time", "event"], orient="row")
    frames = (frame, frame.reverse())
    columns = {**COLUMNS, "kind": "event"}
    datasets = [prepared(tmp_path / str(number), one, NextItemConfig(), columns=columns) for number, one in enumerate(frames)]
    assert datasets[0].manifest.fingerprint == datasets[1].manifest.fingerprint
    assert datasets[0].manifest.num_behaviours == 30
    assert datasets[0].manifest.counts["kind: buy"] == 30
    assert datasets[0].manifest.counts["identical_events_merged"] == 30


def test_a_view_and_a_purchase_at_one_moment_are_no_duplicates(tmp_path):
    frame = events()
    both = pl.concat([frame.with_columns(event=pl.lit("view")), frame.with_columns(event=pl.lit("buy"))])
    columns = {**COLUMNS, "kind": "event", "label": {"column": "event", "positive": ["view", "buy"]}}
    dataset = prepared(tmp_path, both, ImpressionsConfig(), columns=columns, duplicates="drop")
    assert (dataset.manifest.counts["duplicate_rows"], dataset.manifest.num_behaviours) == (0, both.height)


def test_a_log_without_kinds_has_no_column_of_kinds(tmp_path):
    dataset = prepared(tmp_path, events(), NextItemConfig())
    assert dataset.behaviour_kinds() is None
    assert "behaviours.arrow:item" in dataset.manifest.checksums
    assert not any(KIND in name for name in (*dataset.manifest.checksums, *dataset.manifest.files))


def test_a_column_of_too_many_kinds_is_refused(tmp_path):
    frame = events().with_columns(event=pl.int_range(pl.len()))
    with pytest.raises(DataError, match=r"events\.parquet, column 'event' = \d+ kinds: a behaviour has one of at most 255 kinds"):
        prepared(tmp_path, frame, NextItemConfig(), columns={**COLUMNS, "kind": "event"})


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"columns": {**COLUMNS, "kind": "item"}}, r"columns\.item = item: is the kind column too"),
        (
            {"columns": {**COLUMNS, "kind": "event"}, "behaviours": {"path": "b.csv", "columns": COLUMNS}},
            r"columns\.kind = event: the behaviours have columns of their own; name behaviours\.columns\.kind",
        ),
    ],
)
def test_kinds_that_nothing_would_be_read_from_are_refused(more, message):
    with pytest.raises(ConfigError, match=message):
        validate(LogConfig, {"name": "mine", "source": "log", "path": "a.csv", "columns": COLUMNS} | more)


def everything(folder, frame, **more):
    """A log of events with each kind of table."""
    folder.mkdir(exist_ok=True)
    frame.select("item", "category").unique().filter(pl.col("item") % 4 > 0).sample(fraction=1, shuffle=True).write_csv(
        folder / "items.csv"
    )
    pl.DataFrame({"user": range(8), "age": range(20, 28)}).sample(fraction=1, shuffle=True).write_csv(folder / "users.csv")
    return prepared(
        folder,
        frame,
        ImpressionsConfig(),
        columns={**COLUMNS, "label": LABEL, "kind": "event"},
        where={"event": ["view", "buy", "cart"]},
        items={"path": str(folder / "items.csv"), "column": "item"},
        item_fields={"category": {"column": "category"}},
        users={"path": str(folder / "users.csv"), "column": "user"},
        user_fields={"age": {"column": "age"}},
        behaviours={"where": {"event": ["view", "cart"]}, "item_fields": {"category": "category"}},
        on_missing_items="unknown",
        **more,
    )


def test_equal_rows_in_another_order_make_the_same_data_set(tmp_path):
    frame = pl.concat([events(), events(seed=1).with_columns(event=pl.lit("refund"))])
    shuffled = frame.sample(fraction=1, shuffle=True, seed=5)
    assert contents(everything(tmp_path / "1", frame)) == contents(everything(tmp_path / "2", shuffled))


def test_user_fields_of_a_table_are_those_of_the_log(tmp_path):
    frame = events().with_columns(age=pl.col("user") + 20)
    one = everything(tmp_path / "one", frame)
    columns = {**COLUMNS, "label": LABEL, "kind": "event"}
    two = prepared(
        tmp_path / "two",
        frame,
        ImpressionsConfig(),
        columns=columns,
        item_fields={"category": {"column": "category"}},
        user_fields={"age": {"column": "age"}},
        behaviours={"where": {"event": ["view", "cart"]}},
    )
    assert one.manifest.fingerprint == two.manifest.fingerprint


def test_the_position_of_a_row_is_its_time_in_the_prepared_data_set(tmp_path):
    frame = events().drop("time").filter(pl.col("event") == "view")
    columns = {"user": "user", "item": "item", "timestamp": None}
    dataset = prepared(tmp_path / "1", frame, NextItemConfig(), columns=columns, timestamp_unit="order")
    numbered = frame.with_row_index("time")
    again = prepared(tmp_path / "2", numbered, NextItemConfig(), columns=COLUMNS, timestamp_unit="order")
    assert dataset.manifest.fingerprint == again.manifest.fingerprint
    assert dataset.manifest.counts["behaviours_sharing_a_moment"] == 0


def test_a_folder_that_was_prepared_without_kinds_opens(tmp_path):
    dataset = prepared(tmp_path, events(), NextItemConfig())
    assert type(dataset).open(dataset.folder).behaviour_kinds() is None


def test_kinds_are_read_again_from_the_folder(tmp_path):
    dataset = prepared(tmp_path, events(), NextItemConfig(), columns={**COLUMNS, "kind": "event"})
    again = type(dataset).open(dataset.folder)
    assert again.behaviour_kinds().tolist() == dataset.behaviour_kinds().tolist()
    assert sum(again.vocabulary(KIND)["count"]) == sum(dataset.behaviour_kinds() > 0) - untrained(again)


def untrained(dataset):
    """Behaviours of known kinds that no history of train holds."""
    train = dataset.split("train").rows
    held = {row for start, end in zip(train["history_start"], train["history_end"], strict=True) for row in range(start, end)}
    return sum(kind > 0 and row not in held for row, kind in enumerate(dataset.behaviour_kinds()))
