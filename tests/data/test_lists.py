"""Lists of a prepared log against a loop over its rows."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.data.whole_log import check

from clickflow.config import validate
from clickflow.data.dataset import LIST_ID, PreparedDataset
from clickflow.data.predictions import read_lists, write_predictions
from clickflow.data.prepare import prepare
from clickflow.data.protocols import ImpressionsConfig, NextItemConfig
from clickflow.data.sources.log import LogConfig
from clickflow.errors import ConfigError, DataError

START = 1_700_000_000
COLUMNS = {"user": "user", "item": "item", "timestamp": "timestamp", "label": "label", "group": "request"}


def requests(num_requests: int = 200, size: int = 5) -> pl.DataFrame:
    """Requests of one user and moment each; request 3 also has rows of other users, and of another time."""
    rng = np.random.default_rng(0)
    request = np.repeat(np.arange(num_requests), size)
    user = rng.integers(0, 20, num_requests)[request]
    moment = START + 3600 * rng.permutation(num_requests)[request]
    user[request == 3], moment[request == 3] = np.arange(size), START + 3600 * num_requests * np.arange(size) // size
    columns = {"user": user, "item": rng.integers(0, 50, len(user)), "timestamp": moment, "label": rng.integers(0, 2, len(user))}
    return pl.DataFrame(columns | {"request": request}).sample(fraction=1.0, shuffle=True, seed=1)


def config(folder: Path, frame: pl.DataFrame, **more: object) -> LogConfig:
    folder.mkdir(exist_ok=True)
    frame.write_parquet(folder / "log.parquet")
    return validate(LogConfig, {"name": "mine", "source": "log", "path": str(folder / "log.parquet"), "columns": COLUMNS, **more})


def prepared(folder: Path, frame: pl.DataFrame, **more: object) -> PreparedDataset:
    return prepare(config(folder, frame, **more), ImpressionsConfig(), folder / "home")


def lists(dataset: PreparedDataset) -> set[tuple[str, frozenset[tuple[int, int, int]]]]:
    """(split, its rows as user, item and label) of every list, lists that are no list among them one by one."""
    users, items = dataset.raw_users().to_list(), [None, *dataset.raw_items().to_list()]
    found = set()
    for split in ("train", "validation", "test"):
        columns = dataset.split(split).rows
        rows = [(users[u], items[i], label) for u, i, label in zip(*(columns[name] for name in ("group", "item", "label")), strict=True)]
        of_list: dict[int, list[tuple[int, int, int]]] = {}
        for number, row in zip(columns[LIST_ID].tolist(), rows, strict=True):
            of_list.setdefault(number, []).append(row)
        found |= {(split, frozenset(own)) for number, own in of_list.items() if number >= 0}
    return found


def expected_lists(frame: pl.DataFrame, dataset: PreparedDataset) -> set[tuple[str, frozenset[tuple[int, int, int]]]]:
    first = {name: split.first_timestamp for name, split in dataset.manifest.splits.items()}
    of_list: dict[tuple[str, object], list[tuple[int, int, int]]] = {}
    for row in frame.iter_rows(named=True):
        split = max((name for name in first if row["timestamp"] >= first[name]), key=first.__getitem__)
        if row["request"] is not None:
            of_list.setdefault((split, row["request"]), []).append((row["user"], row["item"], row["label"]))
    return {(split, frozenset(own)) for (split, _), own in of_list.items()}


@pytest.mark.parametrize("kind", ["integers", "texts", "hashes", "some missing"])
def test_rows_are_in_the_lists_that_the_log_names(tmp_path, kind):
    frame = requests()
    frame = {
        "integers": frame,
        "texts": frame.with_columns(pl.format("r-{}", "request")),
        "hashes": frame.with_columns(request=pl.lit(2**64 - 1, pl.UInt64) - pl.col("request")),
        "some missing": frame.with_columns(request=pl.when(pl.col("request") % 4 > 0).then("request")),
    }[kind]
    dataset = prepared(tmp_path, frame)
    assert lists(dataset) == expected_lists(frame, dataset)
    counts, splits = dataset.manifest.counts, dataset.manifest.splits.values()
    assert counts["rows_without_list"] == frame["request"].null_count()
    assert counts["lists_of_several_users"] == 1
    assert counts["lists_in_several_splits"] == 1
    assert [split.lists for split in splits] == [len({own for name, own in lists(dataset) if name == of}) for of in dataset.manifest.splits]
    batch = dataset.split("test").take(slice(None), max_history=5)
    assert batch.list_id.tolist() == dataset.split("test").rows[LIST_ID].tolist()
    assert batch.part(3, 9).list_id.tolist() == batch.list_id[3:9].tolist()


def test_predictions_have_the_lists_beside_them(tmp_path):
    dataset = prepared(tmp_path, requests())
    rows = dataset.split("test").rows
    write_predictions(tmp_path / "preds.parquet", dataset, "test", np.zeros(len(rows["label"]), np.float32))
    assert read_lists(tmp_path / "preds.parquet").tolist() == rows[LIST_ID].tolist()
    dataset = prepared(tmp_path, requests(), columns={**COLUMNS, "group": None})
    write_predictions(tmp_path / "preds.parquet", dataset, "test", np.zeros(len(rows["label"]), np.float32))
    assert read_lists(tmp_path / "preds.parquet") is None


def test_a_log_that_names_no_lists_has_no_such_column(tmp_path):
    frame = requests()
    dataset = prepared(tmp_path, frame, columns={**COLUMNS, "group": None})
    assert LIST_ID not in dataset.split("test").rows
    assert dataset.split("test").take(slice(None), max_history=5).list_id is None
    assert [split.lists for split in dataset.manifest.splits.values()] == [None] * 3
    assert "rows_without_list" not in dataset.manifest.counts
    # Lists add a column and change none of the others.
    others = prepared(tmp_path / "lists", frame).manifest.checksums
    assert {name: digest for name, digest in others.items() if not name.endswith(f":{LIST_ID}")} == dataset.manifest.checksums


def test_a_folder_whose_manifest_knows_no_lists_is_still_read(tmp_path):
    dataset = prepared(tmp_path, requests(), columns={**COLUMNS, "group": None})
    file = dataset.folder / "manifest.json"
    values = json.loads(file.read_text())
    for split in values["splits"].values():
        del split["lists"]
    del values["source"]["columns"]["group"]
    file.write_text(json.dumps(values))
    assert PreparedDataset.open(dataset.folder).manifest.splits == dataset.manifest.splits


def test_rows_that_are_drawn_are_in_no_list(tmp_path):
    dataset = prepare(config(tmp_path, requests()), NextItemConfig(), tmp_path / "home")
    assert LIST_ID not in dataset.split("test").rows


def test_the_same_row_in_two_lists_is_no_duplicate(tmp_path):
    frame = pl.concat([requests(), requests().with_columns(request=pl.col("request") + 1_000)])
    log = config(tmp_path, frame, duplicates="drop")
    found = check(log.read(log.files(tmp_path)), log)
    assert found.interactions.height == frame.unique().height
    assert found.counts["duplicate_rows"] == frame.height - frame.unique().height


def test_leading_zeros_of_a_csv_make_two_lists(tmp_path):
    (tmp_path / "log.csv").write_text("user,item,timestamp,label,request\n1,2,1700000000,1,7\n1,3,1700000000,0,007\n1,3,1700000000,0,\n")
    log = validate(LogConfig, {"name": "mine", "source": "log", "path": str(tmp_path / "log.csv"), "columns": COLUMNS})
    found = check(log.read(log.files(tmp_path)), log)
    assert found.interactions["given list"].to_list() == ["7", "007", None]


def test_a_column_that_cannot_name_lists_is_refused(tmp_path):
    log = config(tmp_path, requests().with_columns(pl.col("request").cast(pl.Float64)))
    with pytest.raises(DataError, match="column 'request' = Float64: ids are integers or texts"):
        log.read(log.files(tmp_path))
    with pytest.raises(ConfigError, match=r"columns\.group = user: is the user column too; name another column"):
        config(tmp_path, requests(), columns={**COLUMNS, "group": "user"})
