"""A log that is prepared in many small parts against the same log in one: no byte may differ, and no message."""

import contextlib
import hashlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clickflow.config import validate
from clickflow.data import log_parts, validation
from clickflow.data import prepare as preparing
from clickflow.data.prepare import prepare
from clickflow.data.protocols import ImpressionsConfig, NextItemConfig, ProtocolConfig, RatingConfig
from clickflow.data.sources.log import LogConfig
from clickflow.errors import DataError

START = 1_700_000_000
PROTOCOLS: list[ProtocolConfig] = [
    NextItemConfig(),
    NextItemConfig(seed=3, negatives="popularity"),
    NextItemConfig(ties="position"),
    NextItemConfig(history_lag=2),
    NextItemConfig(split="time"),
    NextItemConfig(split="time", validation_fraction=0.3, test_fraction=0.2),
    RatingConfig(),
    RatingConfig(split="time", seed=1),
    ImpressionsConfig(),
    ImpressionsConfig(history_lag=3),
    validate(
        ImpressionsConfig, {"train_from": START + 3, "validation_from": START + 12, "test_from": START + 20, "test_until": START + 28}
    ),
]


def random_log(seed: int, folder: Path, protocol: ProtocolConfig, options: set[str]) -> LogConfig:
    """A log with ties, repeated rows, users of one row and one who has a third of all rows."""
    rng = np.random.default_rng(seed)
    size = int(rng.integers(30, 150))
    user = np.where(rng.random(size) < 0.3, 7, rng.integers(0, 25, size))
    item = rng.zipf(1.3, size) % 40
    frame = pl.DataFrame({"user": user, "item": item, "timestamp": START + rng.integers(0, 30, size)})
    if "texts" in options:
        frame = frame.with_columns(pl.format("u{}", "user"), pl.format("i{}", "item"))
    if protocol.name != "next_item" or "labels" in options:
        frame = frame.with_columns(label=pl.Series(rng.integers(0, 2, size)), rating=pl.Series(rng.integers(1, 11, size) / 2))
    device = pl.Series(rng.choice(["phone", "tv", "a|b|c", "x|y"], size))
    frame = frame.with_columns(
        device=pl.when(pl.Series(rng.random(size) < 0.9)).then(device),
        price=pl.when(pl.Series(rng.random(size) < 0.8)).then(pl.Series(rng.lognormal(0, 3, size))),
        category=pl.Series(item % 5) + pl.Series((rng.random(size) < 0.1).astype(int)),
        weight=pl.Series(item * 1.5 + (rng.random(size) < 0.1)),
        request=pl.when(pl.Series(rng.random(size) < 0.9)).then(pl.Series(rng.integers(0, 25, size))),
        kind=pl.when(pl.Series(rng.random(size) < 0.9)).then(pl.Series(rng.choice(["view", "buy", "cart"], size))),
        split=pl.Series(rng.choice(["train", "val", "test"], size, p=[0.6, 0.2, 0.2])),
    )
    frame = pl.concat([frame, frame.sample(size // 5, seed=seed)])
    frame = pl.concat([frame[: size // 2], frame[size // 2 :]]).sample(fraction=1.0, shuffle=True, seed=seed)
    text = pl.col("timestamp").cast(pl.String)
    if "bad rows" in options:
        bad = pl.Series(rng.random(frame.height))
        frame = frame.with_columns(
            user=pl.when(bad > 0.05).then("user"),
            timestamp=pl.when(bad > 0.9).then(pl.lit("soon")).when(bad > 0.85).then(pl.lit("-5")).otherwise(text),
            price=pl.when(bad > 0.95).then(pl.lit("dear")).otherwise(pl.col("price").cast(pl.String)),
        )
    columns = {name: name for name in ("user", "item", "timestamp")}
    values: dict[str, Any] = {
        "name": "mine",
        "source": "log",
        "path": str(folder / "log"),
        "max_bad_share": 0.9,
        "on_bad_rows": "drop" if "drop" in options else "error",
        "duplicates": "drop" if "duplicates" in options else "keep",
        "columns": dict(columns),
        "context_fields": {"device": {"column": "device"}, "price": {"column": "price", "kind": "numeric"}},
        "item_fields": {"category": {"column": "category"}, "weight": {"column": "weight", "kind": "numeric"}},
    }
    for name, option in (("request", "lists"), ("split", "split")):
        if option in options:
            values["columns"]["group" if name == "request" else name] = name
    for name in {"next_item": ["label"] if "labels" in options else [], "rating": ["rating"], "impressions": ["label"]}[protocol.name]:
        values["columns"][name] = name
    if protocol.name == "impressions" and "rows of lists" in options:
        frame = with_row_lists(frame, rng)
        values["columns"] = {name: column for name, column in values["columns"].items() if name not in ("item", "label")}
        values["columns"] |= {"history": "past", "candidates": {"column": "shown", "separator": " ", "label_separator": "-"}}
        values |= {"history_separator": " ", "item_fields": {}}
        options = options - {"items", "behaviours"}
    (folder / "log").mkdir()
    cut = frame.height // 3
    for number, part in enumerate([frame[:cut], frame[cut:]] if "files" in options else [frame]):
        part.write_csv(folder / "log" / f"{number}.csv") if "csv" in options else part.write_parquet(folder / "log" / f"{number}.parquet")
    if "items" in options:
        items = (
            frame.select("item")
            .unique()
            .sort("item")
            .with_columns(category=pl.lit("c"), weight=pl.Series(np.arange(frame["item"].n_unique())))
        )
        items.write_parquet(folder / "items.parquet")
        values["items"] = {"path": str(folder / "items.parquet"), "column": "item"}
        values["on_missing_items"] = "unknown"
    if "users" in options:
        users = frame.select("user").drop_nulls().unique().sort("user")[1:].with_row_index("age")
        users.write_parquet(folder / "users.parquet")
        values |= {"users": {"path": str(folder / "users.parquet"), "column": "user"}, "on_missing_users": "unknown"}
        values["user_fields"] = {"age": {"column": "age", "kind": "numeric"}}
    if "kinds" in options and "behaviours" not in options and "rows of lists" not in options:
        values["columns"]["kind"] = "kind"
    if "behaviours" in options:
        past = frame.select("user", "item", "timestamp", "kind", "category").sample(fraction=0.7, seed=seed)
        past.write_parquet(folder / "past.parquet")
        values["behaviours"] = {"path": str(folder / "past.parquet"), "columns": columns | ({"kind": "kind"} if "kinds" in options else {})}
        if "behaviour fields" in options:
            values["behaviours"]["item_fields"] = {"category": "category"}
        if protocol.name == "next_item":
            del values["context_fields"]
            values["columns"].pop("split", None)
    return validate(LogConfig, values)


def with_row_lists(frame: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Rows that hold lists of candidates and histories; a user's histories repeat."""
    items = frame["item"].cast(pl.String).unique().sort().to_list()
    shown = [" ".join(f"{one}-{rng.integers(0, 2)}" for one in rng.choice(items, rng.integers(0, 4))) for _ in range(frame.height)]
    past = [" ".join(rng.choice(items[:3], rng.integers(0, 3))) for _ in range(frame.height)]
    return frame.drop("item", "label", "rating").with_columns(shown=pl.Series(shown), past=pl.Series(past))


def outcome(log: LogConfig, protocol: ProtocolConfig, home: Path) -> object:
    """SHA-256 of every file that is prepared, or the message."""
    try:
        folder = prepare(log, protocol, home).folder
    except DataError as error:
        return str(error).replace(str(home), "")
    assert not list(home.glob("datasets/.*"))
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()
    }


OPTIONS = (
    *("texts", "labels", "lists", "split", "bad rows", "drop", "duplicates", "files", "csv", "items", "behaviours", "rows of lists"),
    *("users", "kinds", "behaviour fields"),
)


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: f"{protocol.name}-{protocol.model_dump(exclude_defaults=True)}")
@given(seed=st.integers(0, 10**6), options=st.sets(st.sampled_from(OPTIONS)), part_bytes=st.sampled_from([1, 700, 3_000]))
@settings(max_examples=8)
def test_where_parts_end_changes_no_byte_and_no_message(protocol, seed, options, part_bytes):
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        log = random_log(seed, folder, protocol, options)
        whole = outcome(log, protocol, folder / "whole")
        patch.setattr(preparing, "PART_BYTES", part_bytes)
        patch.setattr(validation, "PIECE_ROWS", 7)
        assert outcome(log, protocol, folder / "parts") == whole


def test_the_logs_above_are_mostly_prepared_and_in_several_parts(tmp_path, monkeypatch):
    """A comparison of messages alone would show little."""
    parts = []
    make = preparing.LogParts
    monkeypatch.setattr(preparing, "LogParts", lambda *arguments: parts.append(make(*arguments)) or parts[-1])
    monkeypatch.setattr(preparing, "PART_BYTES", 700)
    prepared = 0
    for seed in range(10):
        for number, protocol in enumerate((NextItemConfig(), RatingConfig(), ImpressionsConfig())):
            folder = tmp_path / f"{seed}-{number}"
            folder.mkdir()
            with contextlib.suppress(DataError):
                prepare(random_log(seed, folder, protocol, {"labels", "lists", "texts"}), protocol, folder / "home")
                prepared += 1
    assert prepared >= 20
    assert min(map(len, parts)) >= 3


def test_a_log_of_many_users_has_no_more_parts_than_files_may_be_open():
    starts = log_parts._first_users(np.ones(10_000, np.int64), num_bytes=10**12, limit_bytes=10**6)
    assert len(starts) - 1 == log_parts.MAX_PARTS
    assert (np.diff(starts) > 0).all()
