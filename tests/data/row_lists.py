"""Small logs whose rows hold lists, and what a plain loop makes of a prepared folder's rows."""

from pathlib import Path

import polars as pl
import pytest
from tests.data.whole_log import CheckedLog, check

from clickflow.config import validate
from clickflow.data.dataset import PreparedDataset
from clickflow.data.sources.log import LogConfig
from clickflow.errors import ConfigError

SPLITS = ("train", "validation", "test")
START = 1_700_000_000
Row = tuple[str, object, object, int, tuple[object, ...]]
"""Split, user, item, label, history."""


def config(folder: Path, frame: pl.DataFrame | str, columns: dict[str, object], **more: object) -> LogConfig:
    """The config of a log that is written to Parquet, or of a CSV text."""
    folder.mkdir(exist_ok=True)
    path = folder / ("log.csv" if isinstance(frame, str) else "log.parquet")
    if isinstance(frame, str):
        path.write_text(frame)
    else:
        frame.write_parquet(path)
    mapped = {"user": "user", "timestamp": "time", **columns}
    return validate(LogConfig, {"name": "mine", "source": "log", "path": str(path), "columns": mapped, **more})


def assert_contradictions(columns: dict[str, object], more: dict[str, object], message: str) -> None:
    """Assert that a log's config is refused before any file is opened."""
    values = {"name": "mine", "source": "log", "path": "x.csv", "columns": {"user": "user", "timestamp": "time", **columns}, **more}
    with pytest.raises(ConfigError, match=message):
        validate(LogConfig, values)


def checked(data: LogConfig) -> CheckedLog:
    return check(data.read(data.files(Path("nowhere"))), data)


def prepared_rows(dataset: PreparedDataset) -> list[Row]:
    users, items = dataset.raw_users().to_list(), [None, *dataset.raw_items().to_list()]
    found: list[Row] = []
    for split in SPLITS:
        opened = dataset.split(split)
        past = [items[row] for row in opened.behaviours]
        columns = [opened.rows[name].tolist() for name in ("group", "item", "label", "history_start", "history_end")]
        found += [(split, users[u], items[i], label, tuple(past[start:end])) for u, i, label, start, end in zip(*columns, strict=True)]
    return found
