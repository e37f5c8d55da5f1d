"""The contract of every source under every protocol that it can serve: in any log, no history knows the future of its impression.

The reference is a plain loop over the rows as the source reads them; it uses none of the vectorised code.
"""

import dataclasses
import gzip
import json
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from clickflow.config import validate
from clickflow.data.dataset import PreparedDataset
from clickflow.data.prepare import prepare
from clickflow.data.protocols import ImpressionsConfig, NextItemConfig, ProtocolConfig, RatingConfig
from clickflow.data.sources.amazon import AmazonConfig
from clickflow.data.sources.log import LogConfig
from clickflow.data.sources.movielens import MovieLensConfig
from clickflow.data.sources.raw import RawLog
from clickflow.data.sources.synthetic import SyntheticConfig
from clickflow.data.sources.union import DataConfig
from clickflow.data.validation import CheckedLog, check
from clickflow.errors import DataError

SPLITS = ("train", "validation", "test")
START = 1_400_000_000
Row = tuple[object, object, int, tuple[object, ...]]  # user, item, label, history


# Small logs in each source's own layout


def random_events(num_users: int = 30, num_items: int = 40, num_rows: int = 500) -> list[tuple[int, int, int, int]]:
    """Random events: user, item, timestamp (in days, so that many coincide) and a rating of 1 ... 5."""
    rng = np.random.default_rng(7)
    columns = (
        rng.integers(0, num_users, num_rows),
        rng.zipf(1.4, num_rows) % num_items,
        rng.integers(0, 40, num_rows),
        rng.integers(1, 6, num_rows),
    )
    return [(int(user), int(item), START + 86_400 * int(day), int(rating)) for user, item, day, rating in zip(*columns, strict=True)]


def synthetic(folder: Path) -> DataConfig:
    return SyntheticConfig(name="s", num_users=60, num_items=50, num_categories=10, num_impressions=600, mean_history=8.0)


def movielens(folder: Path) -> DataConfig:
    events = random_events()
    ratings = [f"{user},{item},{rating}.0,{timestamp}" for user, item, timestamp, rating in events]
    movies = [f"{item},Film {item} (1999),Drama" for item in sorted({item for _, item, _, _ in events})]
    (folder / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *ratings]) + "\n")
    (folder / "movies.csv").write_text("\n".join(["movieId,title,genres", *movies]) + "\n")
    return validate(MovieLensConfig, {"name": "ml", "source": "movielens", "edition": "latest_small", "path": str(folder)})


def amazon(folder: Path) -> DataConfig:
    events = random_events()
    with gzip.open(folder / "reviews_Toys_5.json.gz", "wt") as file:
        for user, item, timestamp, rating in events:
            review = {"reviewerID": f"A{user}", "asin": f"B{item}", "overall": float(rating), "unixReviewTime": timestamp}
            file.write(json.dumps(review) + "\n")
    with gzip.open(folder / "meta_Toys.json.gz", "wt") as file:
        for item in sorted({item for _, item, _, _ in events}):
            file.write(repr({"asin": f"B{item}", "categories": [["Toys", f"Sort {item % 3}"]]}) + "\n")
    return validate(AmazonConfig, {"name": "toys", "source": "amazon", "category": "Toys", "path": str(folder)})


def log_values(folder: Path, events: list[tuple[int, int, int, int]], columns: dict[str, str]) -> dict[str, object]:
    frame = pl.DataFrame(events, schema=dict.fromkeys(("who", "what", "when", "rating"), pl.Int64), orient="row")
    frame.with_columns(clicked=pl.col("rating") // 4, page=pl.col("when") // 86_400 % 7).write_parquet(folder / "log.parquet")
    mapped = {"user": "who", "item": "what", "timestamp": "when", **columns}
    return {"name": "mine", "source": "log", "path": str(folder / "log.parquet"), "columns": mapped}


def log_of_clicks(folder: Path) -> DataConfig:
    return validate(LogConfig, log_values(folder, random_events(), {}))


def log_with_labels(folder: Path) -> DataConfig:
    return validate(LogConfig, log_values(folder, random_events(), {"label": "clicked"}))


def log_with_lists(folder: Path) -> DataConfig:
    return validate(LogConfig, log_values(folder, random_events(), {"label": "clicked", "group": "page"}))


def log_with_candidates(folder: Path) -> DataConfig:
    """Rows that list up to five candidates each; some list none."""
    events = random_events()
    shown = [[f"{item}-{rating // 4}" for _, item, _, rating in events[at : at + at % 6]] for at in range(0, len(events), 3)]
    lists = {
        "who": [user for user, *_ in events[::3]],
        "when": [when for *_, when, _ in events[::3]],
        "shown": [" ".join(x) for x in shown],
    }
    pl.DataFrame(lists).write_parquet(folder / "log.parquet")
    columns = {"user": "who", "timestamp": "when", "candidates": {"column": "shown", "label_separator": "-"}}
    return validate(LogConfig, {"name": "mine", "source": "log", "path": str(folder / "log.parquet"), "columns": columns})


def log_with_ratings(folder: Path) -> DataConfig:
    return validate(LogConfig, log_values(folder, random_events(), {"rating": "rating"}))


def log_with_behaviours(folder: Path) -> DataConfig:
    (folder / "past").mkdir()
    past = log_values(folder / "past", random_events()[::3], {})
    return validate(
        LogConfig, log_values(folder, random_events(), {"label": "clicked"}) | {"behaviours": {k: past[k] for k in ("path", "columns")}}
    )


Source = Callable[[Path], DataConfig]
CASES: list[tuple[Source, ProtocolConfig]] = [
    (synthetic, ImpressionsConfig()),
    (synthetic, NextItemConfig()),
    (movielens, RatingConfig()),
    (movielens, RatingConfig(split="time")),
    (movielens, NextItemConfig()),
    (amazon, NextItemConfig()),
    (amazon, NextItemConfig(negatives="popularity")),
    (amazon, NextItemConfig(ties="position")),
    (amazon, NextItemConfig(split="time")),
    (log_with_labels, ImpressionsConfig(history_lag=3 * 86_400)),
    (log_of_clicks, NextItemConfig()),
    (log_with_labels, ImpressionsConfig()),
    (log_with_labels, NextItemConfig()),
    (log_with_lists, ImpressionsConfig()),
    (log_with_candidates, ImpressionsConfig()),
    (log_with_ratings, RatingConfig()),
    (log_with_behaviours, ImpressionsConfig()),
    (log_with_behaviours, NextItemConfig()),
]


@pytest.fixture(scope="module", params=CASES, ids=[f"{source.__name__}-{protocol.name}" for source, protocol in CASES])
def case(request, tmp_path_factory) -> tuple[DataConfig, ProtocolConfig, CheckedLog, PreparedDataset]:
    source, protocol = request.param
    folder = tmp_path_factory.mktemp(source.__name__)
    data = source(folder)
    log = check(data.read(data.files(folder)), data)
    return data, protocol, log, prepare(data, protocol, folder / "home")


# The reference


def behaviours_of(log: CheckedLog, protocol: ProtocolConfig) -> dict[object, list[tuple[int, object]]]:
    """(timestamp, item) of each user's behaviours, oldest first; events that are reported again are one under ``next_item``."""
    if log.behaviours is not None:
        rows = log.behaviours.select("user", "item", "timestamp").rows()
    elif "label" in log.interactions.columns:
        rows = [row[:3] for row in log.interactions.select("user", "item", "timestamp", "label").rows() if row[3]]
    else:
        rows = log.interactions.select("user", "item", "timestamp").rows()
    by_user: dict[object, list[tuple[int, object]]] = {}
    for user, item, timestamp in set(rows) if isinstance(protocol, NextItemConfig) else rows:
        by_user.setdefault(user, []).append((timestamp, item))
    return {user: sorted(own, key=lambda pair: pair[0]) for user, own in by_user.items()}


def expected_rows(log: CheckedLog, protocol: ProtocolConfig) -> list[Row]:
    """Every row of the log under a protocol, without sampled negatives; the items of a history are sorted."""
    past = behaviours_of(log, protocol)

    def history(user: object, timestamp: int) -> tuple[object, ...]:
        known = (item for moment, item in past.get(user, []) if moment < timestamp and timestamp - moment >= protocol.history_lag)
        return tuple(sorted(known))

    if isinstance(protocol, NextItemConfig):
        later = [(user, item, moment) for user, own in past.items() for moment, item in own if moment > own[0][0]]
        return [(user, item, 1, history(user, moment)) for user, item, moment in later]
    rows = []
    for row in log.interactions.iter_rows(named=True):
        label = int(row["rating"] >= protocol.threshold) if isinstance(protocol, RatingConfig) else row["label"]
        rows.append((row["user"], row["item"], label, history(row["user"], row["timestamp"])))
    return rows


def assert_oldest_first(history: tuple[object, ...], own: list[tuple[int, object]]) -> None:
    """A history is a user's behaviours from the first on; those of one moment may be in any order."""
    place = 0
    for moment in sorted({moment for moment, _ in own}):
        items = Counter(item for when, item in own if when == moment)
        part = Counter(history[place : place + items.total()])
        assert part == items or (part <= items and place + items.total() > len(history))
        place += items.total()


def prepared_rows(dataset: PreparedDataset, split: str) -> list[Row]:
    users, items = dataset.raw_users().to_list(), [None, *dataset.raw_items().to_list()]
    opened = dataset.split(split)
    past = [items[row] for row in opened.behaviours]
    columns = [opened.rows[name].tolist() for name in ("group", "item", "label", "history_start", "history_end")]
    return [(users[u], items[i], label, tuple(past[start:end])) for u, i, label, start, end in zip(*columns, strict=True)]


def without_sampled(rows: list[Row], protocol: ProtocolConfig) -> list[Row]:
    return [row for row in rows if row[2]] if isinstance(protocol, NextItemConfig) else rows


def assert_histories_are_right(log: CheckedLog, protocol: ProtocolConfig, dataset: PreparedDataset) -> None:
    rows = [row for split in SPLITS for row in prepared_rows(dataset, split)]
    past = behaviours_of(log, protocol)
    for user, _, _, history in rows:
        assert_oldest_first(history, past.get(user, []))
    found = Counter((user, item, label, tuple(sorted(history))) for user, item, label, history in without_sampled(rows, protocol))
    if isinstance(protocol, NextItemConfig) and protocol.ties == "position":
        lengths = {user: Counter(len(history) for owner, *_, history in found.elements() if owner == user) for user in past}
        assert lengths == {user: Counter(range(1, len(own))) for user, own in past.items()}
    else:
        assert found == Counter(expected_rows(log, protocol))
    if isinstance(protocol, NextItemConfig):
        own_items = {user: {item for _, item in own} for user, own in past.items()}
        histories = {(user, history) for user, _, _, history in found}
        for user, item, label, history in rows:
            assert label or item not in own_items[user]
            assert (user, tuple(sorted(history))) in histories


# The contract


class TestEverySourceAndProtocol:
    def test_histories_hold_what_came_before_and_nothing_else(self, case):
        _, protocol, log, dataset = case
        assert_histories_are_right(log, protocol, dataset)

    def test_splits_part_users_or_time_or_each_users_last_two(self, case):
        _, protocol, log, dataset = case
        rows = {split: without_sampled(prepared_rows(dataset, split), protocol) for split in SPLITS}
        if isinstance(protocol, NextItemConfig) and protocol.split == "leave_one_out":
            past = behaviours_of(log, protocol)
            # Items of a moment, latest moment first; by position each behaviour is a moment of its own.
            moments = {user: Counter(moment for moment, _ in own) for user, own in past.items()}
            sizes = {user: [own[moment] for moment in sorted(own)][:0:-1] for user, own in moments.items()}
            if protocol.ties == "position":
                sizes = {user: [1] * (own.total() - 1) for user, own in moments.items()}
            for place, split in enumerate(("test", "validation")):
                found = Counter(user for user, *_ in rows[split])
                assert found == Counter({user: own[place] for user, own in sizes.items() if len(own) > place})
        elif isinstance(protocol, RatingConfig) and protocol.split == "user":
            users = [{row[0] for row in rows[split]} for split in SPLITS]
            assert sum(len(group) for group in users) == len(set.union(*users))
        else:
            bounds = [dataset.manifest.splits[split] for split in SPLITS]
            assert bounds[0].last_timestamp < bounds[1].first_timestamp
            assert bounds[1].last_timestamp < bounds[2].first_timestamp

    def test_an_item_is_known_if_and_only_if_train_shows_it(self, case):
        _, protocol, _, dataset = case
        train = without_sampled(prepared_rows(dataset, "train"), protocol)
        shown = {item for _, item, _, _ in train} | {item for _, _, _, history in train for item in history}
        vocabulary = dataset.vocabulary("item")
        assert set(vocabulary["raw"]) == shown
        assert vocabulary["index"].to_list() == list(range(1, len(shown) + 1))
        assert vocabulary.sort(["count", "raw"], descending=[True, False])["index"].to_list() == vocabulary["index"].to_list()
        index = dict(dataset.items().select("raw", "index/item").rows())
        assert all((index[item] > 0) == (item in shown) for item in dataset.raw_items())
        # Every item that a model sees in training, sampled negatives included, has an embedding of its own.
        assert (dataset.split("train").take(slice(None), max_history=10_000).target[0] > 0).all()

    def test_batches_stay_inside_the_vocabularies(self, case):
        dataset = case[3]
        for split in SPLITS:
            batch = dataset.split(split).take(slice(None), max_history=20)
            for indices, fields in (
                (batch.target, dataset.schema.item_fields),
                (batch.history, dataset.schema.item_fields),
                (batch.context, dataset.schema.impression_fields),
            ):
                assert len(indices) == len(fields)
                for row, field in zip(indices, fields, strict=True):
                    assert not len(row) or (row.min() >= 0 and row.max() < field.vocabulary_size)
            assert set(batch.label.tolist()) <= {0.0, 1.0}
            assert batch.numeric.isfinite().all()
            assert batch.lengths.max() <= 20

    def test_preparing_again_elsewhere_gives_the_same_fingerprint(self, case, tmp_path):
        data, protocol, _, dataset = case
        again = prepare(data, protocol, tmp_path)
        assert again.manifest == dataset.manifest
        assert again.folder.name == dataset.folder.name


events = st.tuples(st.integers(0, 5), st.integers(0, 7), st.integers(START, START + 12), st.integers(1, 5))
# Users and items that every log has, so that few random logs leave a split empty or a user without items that are new to him.
BACKGROUND = [(user, 10 * user + item, START + 2 * item + user - 9, 4 + item % 2) for user in (9, 10, 11) for item in range(6)]


@pytest.mark.parametrize(
    ("protocol", "columns"),
    [
        (NextItemConfig(), {}),
        (NextItemConfig(history_lag=3), {}),
        (NextItemConfig(ties="position"), {}),
        (NextItemConfig(), {"label": "clicked"}),
        (RatingConfig(), {"rating": "rating"}),
        (RatingConfig(split="time"), {"rating": "rating"}),
        (ImpressionsConfig(), {"label": "clicked"}),
    ],
    ids=lambda value: value.name if hasattr(value, "name") else "-".join(value) or "clicks",
)
@given(log=st.lists(events, max_size=60))
@settings(max_examples=25)
def test_no_log_makes_a_history_hold_its_impression_or_anything_after_it(protocol, columns, log):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = validate(LogConfig, log_values(folder, [*log, *BACKGROUND], columns))
        try:
            dataset = prepare(data, protocol, folder / "home")
        except DataError as error:
            assume("would be empty" not in str(error) and "have no negative" not in str(error))
            raise
        assert_histories_are_right(check(data.read(data.files(folder)), data), protocol, dataset)


@pytest.mark.parametrize("case", CASES, ids=[f"{source.__name__}-{protocol.name}" for source, protocol in CASES])
def test_the_order_of_the_rows_in_the_files_changes_no_byte(case, tmp_path, monkeypatch):
    """Every source is asked for the same log twice, the second time with the rows of its tables shuffled as they are read."""
    source, protocol = case
    folder = tmp_path / "source"
    folder.mkdir()
    data = source(folder)
    first = prepare(data, protocol, tmp_path / "first")
    read = type(data).read

    def shuffled(self: DataConfig, files: tuple[Path, ...]) -> RawLog:
        raw = read(self, files)
        tables = {"interactions": raw.interactions, "items": raw.items, "behaviours": raw.behaviours}
        mixed = {
            name: frame.collect().sample(fraction=1.0, shuffle=True, seed=3).lazy() for name, frame in tables.items() if frame is not None
        }
        return dataclasses.replace(raw, **mixed)

    monkeypatch.setattr(type(data), "read", shuffled)
    second = prepare(data, protocol, tmp_path / "second")
    assert second.manifest == first.manifest


unlike = st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(START, START + 8), st.integers(1, 5), st.integers(0, 3) | st.none())


@pytest.mark.parametrize(
    ("protocol", "columns"),
    [
        (NextItemConfig(), {}),
        (NextItemConfig(ties="position", negatives="popularity"), {}),
        (NextItemConfig(split="time"), {}),
        (RatingConfig(), {"rating": "rating"}),
        (ImpressionsConfig(), {"label": "clicked"}),
        (ImpressionsConfig(), {"label": "clicked", "group": "price"}),
    ],
    ids=lambda value: value.name if hasattr(value, "name") else "-".join(value) or "clicks",
)
@given(st.data(), st.lists(unlike, max_size=60), st.sampled_from(["keep", "drop"]))
@settings(max_examples=25)
def test_a_log_in_another_order_gives_the_same_fingerprint(protocol, columns, data, log, duplicates):
    def prepared(rows: list[tuple[int, ...]], folder: Path) -> PreparedDataset:
        folder.mkdir()
        values = log_values(folder, [row[:4] for row in rows], columns)
        frame = pl.read_parquet(folder / "log.parquet")
        fields = {"price": [row[4] for row in rows], "device": [row[3] for row in rows]}
        frame.with_columns(pl.Series(name, column, pl.Int64) for name, column in fields.items()).write_parquet(folder / "log.parquet")
        own = {
            "item_fields": {"price": {"column": "price", "kind": "numeric"}, "brand": {"column": "device"}},
            "context_fields": {"device": {"column": "device"}, "amount": {"column": "price", "kind": "numeric"}},
        }
        return prepare(validate(LogConfig, values | own | {"duplicates": duplicates}), protocol, folder / "home")

    with tempfile.TemporaryDirectory() as name:
        log = [*log, *((*row, None) for row in BACKGROUND)]
        try:
            first = prepared(log, Path(name) / "first")
        except DataError as error:
            assume("would be empty" not in str(error) and "have no negative" not in str(error))
            raise
        second = prepared(data.draw(st.permutations(log)), Path(name) / "second")
        assert second.manifest == first.manifest
