"""From files to a prepared folder and back to raw ids: contents, time and place of preparing, and failures."""

import errno
import hashlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from clickflow import digests
from clickflow.config import validate
from clickflow.data import manifest as manifest_file
from clickflow.data import prepare as preparing
from clickflow.data import storage
from clickflow.data.dataset import PreparedDataset
from clickflow.data.prepare import prepare
from clickflow.data.protocols import ImpressionsConfig, NextItemConfig, RatingConfig
from clickflow.data.sources.log import LogConfig
from clickflow.data.sources.synthetic import SyntheticConfig
from clickflow.errors import ConfigError, DataError

START = 1_700_000_000
SPLITS = ("train", "validation", "test")


def write_log(folder: Path, frame: pl.DataFrame, **more: object) -> LogConfig:
    """Write a Parquet log to a folder and return the config that reads it."""
    folder.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(folder / "log.parquet")
    columns = {name: name for name in ("user", "item", "timestamp", "label", "rating") if name in frame.columns}
    return validate(LogConfig, {"name": "mine", "source": "log", "path": str(folder / "log.parquet"), "columns": columns, **more})


def clicks(num_rows: int = 300, num_users: int = 20, num_items: int = 30, *, texts: bool = False, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame(
        {
            "user": rng.integers(0, num_users, num_rows),
            "item": rng.zipf(1.5, num_rows) % num_items,
            "timestamp": START + rng.integers(0, 100, num_rows) * 3600,
            "label": rng.integers(0, 2, num_rows),
        }
    )
    return frame.with_columns(pl.format("u{}", "user"), pl.format("i{}", "item")) if texts else frame


def raw_rows(dataset: PreparedDataset, split: str) -> list[tuple[object, object, int, tuple[object, ...]]]:
    """(user, item, label, history) of each row of a split, in raw ids; the items of a history are sorted."""
    users, items = dataset.raw_users().to_list(), [None, *dataset.raw_items().to_list()]
    opened = dataset.split(split)
    columns = [opened.rows[name].tolist() for name in ("group", "item", "label", "history_start", "history_end")]
    past = [items[row] for row in opened.behaviours]
    return [(users[u], items[i], label, tuple(sorted(past[start:end]))) for u, i, label, start, end in zip(*columns, strict=True)]


def all_rows(dataset: PreparedDataset) -> list[tuple[object, object, int, tuple[object, ...]]]:
    return [row for split in SPLITS for row in raw_rows(dataset, split)]


def contents(folder: Path) -> dict[str, tuple[str, int]]:
    """SHA-256 and modification time of every file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns) for path in files}


# When and where


def test_preparing_twice_does_nothing_the_second_time(tmp_path):
    log = write_log(tmp_path, clicks())
    stages: list[str] = []
    first = prepare(log, ImpressionsConfig(), tmp_path / "home", stages.append)
    assert stages == ["looking for the source", "reading", "sorting and splitting", "counting items and fields", "writing"]
    before = contents(tmp_path)
    stages.clear()
    again = prepare(log, ImpressionsConfig(), tmp_path / "home", stages.append)
    assert stages == ["looking for the source", "checking what is prepared"]
    assert again == first
    assert contents(tmp_path) == before


def test_another_protocol_config_or_source_never_shares_a_folder(tmp_path):
    log = write_log(tmp_path / "a", clicks())
    other = write_log(tmp_path / "b", clicks(seed=1))
    dropping = write_log(tmp_path / "a", clicks(), duplicates="drop")
    runs = [
        (log, ImpressionsConfig()),
        (log, ImpressionsConfig(test_fraction=0.2)),
        (log, NextItemConfig()),
        (log, NextItemConfig(seed=1)),
        (dropping, ImpressionsConfig()),
        (other, ImpressionsConfig()),
    ]
    assert len({prepare(data, protocol, tmp_path / "home").folder for data, protocol in runs}) == len(runs)


def test_the_same_content_has_the_same_fingerprint_in_any_folder(tmp_path):
    datasets = [prepare(write_log(tmp_path / place, clicks()), NextItemConfig(), tmp_path / place / "home") for place in ("a", "b")]
    assert datasets[0].folder.name == datasets[1].folder.name
    assert datasets[0].manifest == datasets[1].manifest


def test_moving_a_file_from_the_log_to_the_behaviour_table_prepares_anew(tmp_path):
    for number in range(3):
        clicks(seed=number).write_parquet(tmp_path / f"{number}.parquet")
    columns = {name: name for name in ("user", "item", "timestamp")}

    def prepared(log: list[int], past: list[int]) -> PreparedDataset:
        paths = [[str(tmp_path / f"{number}.parquet") for number in group] for group in (log, past)]
        values = {"name": "mine", "source": "log", "path": paths[0], "columns": {**columns, "label": "label"}}
        config = validate(LogConfig, {**values, "behaviours": {"path": paths[1], "columns": columns}})
        return prepare(config, ImpressionsConfig(), tmp_path / "home")

    assert prepared([0, 1], [2]).folder != prepared([0], [1, 2]).folder


def test_a_folder_that_stands_for_a_column_prepares_anew_when_it_is_renamed(tmp_path):
    for day, part in {"day=2024-05-01": clicks()[:150], "day=2024-05-02": clicks()[150:]}.items():
        (tmp_path / "log" / day).mkdir(parents=True)
        part.write_parquet(tmp_path / "log" / day / "0.parquet")
    columns = {name: name for name in ("user", "item", "timestamp", "label")}
    values = {"name": "mine", "source": "log", "path": str(tmp_path / "log"), "columns": columns}
    config = validate(LogConfig, values | {"context_fields": {"day": {"column": "day"}}})
    first = prepare(config, ImpressionsConfig(), tmp_path / "home")
    (tmp_path / "log" / "day=2024-05-02").rename(tmp_path / "log" / "day=2024-05-03")
    again = prepare(config, ImpressionsConfig(), tmp_path / "home")
    assert again.folder != first.folder


@pytest.mark.slow
def test_two_processes_preparing_the_same_at_once_both_get_it(tmp_path):
    script = (
        "import sys; from pathlib import Path\n"
        "from clickflow.data.prepare import prepare; from clickflow.data.protocols import ImpressionsConfig\n"
        "from clickflow.data.sources.synthetic import SyntheticConfig\n"
        "log = SyntheticConfig(name='s', num_users=500, num_items=100, num_categories=9, num_impressions=9_000)\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "print(prepare(log, ImpressionsConfig(), Path(sys.argv[1])).manifest.fingerprint)\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    workers = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], **pipes) for _ in range(2)]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    fingerprints = {worker.communicate("go\n")[0] for worker in workers}
    assert [worker.returncode for worker in workers] == [0, 0]
    assert len(fingerprints) == 1
    assert len(list((tmp_path / "datasets").iterdir())) == 1


def test_the_second_of_two_writers_takes_the_folder_of_the_first(tmp_path, monkeypatch):
    log, home = write_log(tmp_path, clicks()), tmp_path / "home"
    write_manifest = manifest_file.write_manifest

    def meanwhile(folder, manifest):
        monkeypatch.undo()
        prepare(log, ImpressionsConfig(), home)
        write_manifest(folder, manifest)

    monkeypatch.setattr(manifest_file, "write_manifest", meanwhile)
    prepare(log, ImpressionsConfig(), home)
    assert len(list((home / "datasets").iterdir())) == 1


def test_the_source_files_are_left_as_they_are(tmp_path):
    items = pl.DataFrame({"item": range(30), "category": [f"c{item % 4}" for item in range(30)]})
    (tmp_path / "source").mkdir()
    items.write_parquet(tmp_path / "source" / "items.parquet")
    clicks(100, seed=1).write_parquet(tmp_path / "source" / "past.parquet")
    log = write_log(
        tmp_path / "source",
        clicks(),
        items={"path": str(tmp_path / "source" / "items.parquet"), "column": "item"},
        item_fields={"category": {"column": "category"}},
        behaviours={"path": str(tmp_path / "source" / "past.parquet"), "columns": {n: n for n in ("user", "item", "timestamp")}},
    )
    before = contents(tmp_path / "source")
    prepare(log, ImpressionsConfig(), tmp_path / "home")
    assert contents(tmp_path / "source") == before


def test_what_was_just_written_is_not_hashed_again_and_its_manifest_is_true(tmp_path, monkeypatch):
    hashed, digest_file = [], digests.digest_file
    for module in (digests, storage):
        monkeypatch.setattr(module, "digest_file", lambda path: hashed.append(path) or digest_file(path))
    log = write_log(tmp_path, clicks())
    prepared = prepare(log, ImpressionsConfig(), tmp_path / "home")
    assert not [path for path in hashed if tmp_path / "home" in path.parents]
    opened = PreparedDataset.open(prepared.folder)  # compares every file with the digest that was computed on its way
    assert opened == prepared
    written = {path.relative_to(prepared.folder).as_posix() for path in prepared.folder.rglob("*") if path.is_file()}
    assert written - {manifest_file.MANIFEST} == set(opened.manifest.files)
    assert [path for path in hashed if prepared.folder in path.parents] == [prepared.folder / name for name in opened.manifest.files]


# When it cannot be written


def test_a_full_disk_leaves_nothing_half_written(tmp_path, monkeypatch):
    log, home = write_log(tmp_path, clicks()), tmp_path / "home"
    write_columns = storage.write_columns

    def full(folder, name, columns):
        if name == "validation":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write_columns(folder, name, columns)

    with monkeypatch.context() as patched:
        patched.setattr(storage, "write_columns", full)
        with pytest.raises(DataError, match=r"cannot be written \(No space left on device\); free some space or set home=FOLDER"):
            prepare(log, ImpressionsConfig(), home)
    assert list((home / "datasets").iterdir()) == []
    undisturbed = prepare(log, ImpressionsConfig(), tmp_path / "another home")
    assert prepare(log, ImpressionsConfig(), home).manifest == undisturbed.manifest


def test_an_interrupt_leaves_nothing_half_written(tmp_path, monkeypatch):
    def interrupted(folder, manifest):
        raise KeyboardInterrupt

    monkeypatch.setattr(manifest_file, "write_manifest", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare(write_log(tmp_path, clicks()), ImpressionsConfig(), tmp_path / "home")
    assert list((tmp_path / "home" / "datasets").iterdir()) == []


@pytest.mark.parametrize("part_bytes", [preparing.PART_BYTES, 20_000])
@pytest.mark.parametrize("limit", [100, 2_000, 20_000])
def test_a_write_that_the_system_refuses_leaves_nothing_half_written(tmp_path, monkeypatch, limit, part_bytes):
    """The libraries raise their real errors: no file may grow beyond a limit, which the tables of ids, the columns or the parts reach."""
    monkeypatch.setattr(preparing, "PART_BYTES", part_bytes)
    log = write_log(tmp_path, clicks(6_000, num_users=3_000, num_items=1_000))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(DataError, match=r"cannot be written \(.*File too large.*\); free some space"):
            prepare(log, ImpressionsConfig(), tmp_path / "home")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list((tmp_path / "home" / "datasets").iterdir()) == []


def test_an_interrupt_between_parts_leaves_nothing_half_written(tmp_path, monkeypatch):
    monkeypatch.setattr(preparing, "PART_BYTES", 1_000)
    reported = []

    def interrupted(done, total):
        reported.append((done, total))
        if len(reported) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(write_log(tmp_path, clicks()), ImpressionsConfig(), tmp_path / "home", report=interrupted)
    assert list((tmp_path / "home" / "datasets").iterdir()) == []
    assert reported[1] == (300, None)
    assert reported[-1][0] < reported[-1][1] == 300


def test_a_read_only_disk_is_reported_as_such(tmp_path, monkeypatch):
    def read_only(**_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(tempfile, "mkdtemp", read_only)
    with pytest.raises(DataError, match=r"cannot be written \(Read-only file system\)"):
        prepare(write_log(tmp_path, clicks()), ImpressionsConfig(), tmp_path / "home")


@pytest.mark.parametrize("in_the_way", ["home", "home/datasets"])
def test_a_file_in_place_of_a_folder_is_reported_and_left_alone(tmp_path, in_the_way):
    file = tmp_path / in_the_way
    file.parent.mkdir(exist_ok=True)
    file.write_text("mine")
    with pytest.raises(DataError, match=r"cannot be written \((File exists|Not a directory)\)"):
        prepare(write_log(tmp_path, clicks()), ImpressionsConfig(), tmp_path / "home")
    assert file.read_text() == "mine"


def test_a_source_that_cannot_be_opened_is_reported(tmp_path, monkeypatch):
    log = write_log(tmp_path, clicks())
    monkeypatch.setattr(LogConfig, "files", lambda self, downloads: (tmp_path / "gone.parquet",))
    with pytest.raises(DataError, match=r"gone\.parquet: cannot be read \(No such file or directory\); "):
        prepare(log, ImpressionsConfig(), tmp_path / "home")


def test_a_damaged_prepared_folder_is_refused_by_prepare(tmp_path):
    log = write_log(tmp_path, clicks())
    folder = prepare(log, ImpressionsConfig(), tmp_path / "home").folder
    (folder / "train.arrow").unlink()
    with pytest.raises(DataError, match=r"train\.arrow cannot be read .*; remove it and prepare again"):
        prepare(log, ImpressionsConfig(), tmp_path / "home")
    shutil.rmtree(folder)
    assert prepare(log, ImpressionsConfig(), tmp_path / "home").folder == folder


# What is prepared


@pytest.mark.parametrize("texts", [False, True])
def test_impressions_keep_their_users_items_labels_and_histories(tmp_path, texts):
    frame = clicks(texts=texts)
    dataset = prepare(write_log(tmp_path, frame), ImpressionsConfig(), tmp_path / "home")
    rows = frame.rows()
    past = [row for row in rows if row[3]]
    expected = [(u, i, label, tuple(sorted(b[1] for b in past if b[0] == u and b[2] < t))) for u, i, t, label in rows]
    assert Counter(all_rows(dataset)) == Counter(expected)
    assert dataset.manifest.num_users == frame["user"].n_unique()
    assert dataset.manifest.num_items == frame["item"].n_unique()
    assert sum(split.positives for split in dataset.manifest.splits.values()) == frame["label"].sum()


def test_the_manifest_summarises_each_split(tmp_path):
    frame = clicks()
    manifest = prepare(write_log(tmp_path, frame), ImpressionsConfig(validation_fraction=0.2), tmp_path / "home").manifest
    in_time = frame.sort("timestamp")
    bounds = [(split.first_timestamp, split.last_timestamp) for split in manifest.splits.values()]
    assert [first for first, _ in bounds] == sorted(first for first, _ in bounds)
    assert (bounds[0][0], bounds[-1][1]) == (in_time["timestamp"][0], in_time["timestamp"][-1])
    for split, (first, last) in zip(manifest.splits.values(), bounds, strict=True):
        own = frame.filter(pl.col("timestamp").is_between(first, last))
        assert (split.rows, split.positives, split.users) == (own.height, own["label"].sum(), own["user"].n_unique())
    assert manifest.num_behaviours == frame["label"].sum()
    assert manifest.timestamp_unit == "seconds"


def test_next_item_on_a_log_with_labels_takes_the_clicks_only(tmp_path):
    frame = clicks()
    dataset = prepare(write_log(tmp_path, frame), NextItemConfig(), tmp_path / "home")
    clicked = frame.filter(pl.col("label") == 1)
    distinct = clicked.unique()
    later = distinct.filter(pl.col("timestamp") > pl.col("timestamp").min().over("user"))
    positives = Counter((user, item) for user, item, label, _ in all_rows(dataset) if label)
    assert positives == Counter(later.select("user", "item").rows())
    assert dataset.manifest.num_behaviours == distinct.height
    own = set(clicked.select("user", "item").rows())
    assert all(((user, item) in own) == bool(label) for user, item, label, _ in all_rows(dataset))


def test_next_item_takes_a_behaviour_table_of_its_own(tmp_path):
    past = clicks(200, seed=5)
    past.write_parquet(tmp_path / "past.parquet")
    table = {"path": str(tmp_path / "past.parquet"), "columns": {name: name for name in ("user", "item", "timestamp")}}
    dataset = prepare(write_log(tmp_path, clicks(), behaviours=table), NextItemConfig(), tmp_path / "home")
    distinct = past.unique(subset=["user", "item", "timestamp"])
    assert dataset.manifest.num_behaviours == distinct.height
    later = distinct.filter(pl.col("timestamp") > pl.col("timestamp").min().over("user"))
    positives = Counter((user, item) for user, item, label, _ in all_rows(dataset) if label)
    assert positives == Counter(later.select("user", "item").rows())

    with_field = write_log(tmp_path, clicks(), behaviours=table, context_fields={"hour": {"column": "timestamp"}})
    with pytest.raises(DataError, match=r"^data set mine: next_item takes its rows from the behaviour table, which has no user or context"):
        prepare(with_field, NextItemConfig(), tmp_path / "home")


def test_each_positive_is_followed_by_its_negative_with_the_same_history(tmp_path):
    dataset = prepare(write_log(tmp_path, clicks().drop("label")), NextItemConfig(), tmp_path / "home")
    for split in SPLITS:
        rows = raw_rows(dataset, split)
        assert [label for _, _, label, _ in rows] == [1, 0] * (len(rows) // 2)
        assert [(user, history) for user, _, _, history in rows[::2]] == [(user, history) for user, _, _, history in rows[1::2]]


@pytest.mark.parametrize("negatives", ["uniform", "popularity"])
def test_train_negatives_are_items_of_train_and_the_others_of_the_whole_log(tmp_path, negatives):
    frame = clicks(num_items=200, num_rows=400).drop("label")
    dataset = prepare(write_log(tmp_path, frame), NextItemConfig(negatives=negatives), tmp_path / "home")
    known = set(dataset.vocabulary("item")["raw"])
    assert {item for _, item, label, _ in raw_rows(dataset, "train") if not label} <= known
    beyond = {item for _, item, label, _ in raw_rows(dataset, "test") if not label} - known
    assert beyond or negatives == "popularity"
    assert known < set(frame["item"])


def test_a_positive_of_a_user_who_knows_the_whole_catalogue_stays_without_a_negative(tmp_path):
    knows_all = {"user": [1] * 6, "item": [1, 2, 3, 1, 2, 3]}
    others = {"user": [2 + n // 4 for n in range(400)], "item": [1, 2, 1, 2] * 100}
    frame = pl.DataFrame({name: knows_all[name] + others[name] for name in ("user", "item")})
    frame = frame.with_columns(timestamp=START + pl.int_range(frame.height))
    dataset = prepare(write_log(tmp_path, frame), NextItemConfig(), tmp_path / "home")
    assert Counter((user == 1, label) for user, _, label, _ in all_rows(dataset)) == {(True, 1): 5, (False, 1): 300, (False, 0): 300}
    assert {item for user, item, label, _ in all_rows(dataset) if user != 1 and not label} == {3}
    assert dataset.manifest.counts["positives_without_negative"] == 5


def test_a_log_whose_users_know_the_whole_catalogue_is_refused(tmp_path):
    frame = pl.DataFrame({"user": [1] * 6 + [2] * 4, "item": [1, 2, 3, 1, 2, 3, 1, 2, 1, 2], "timestamp": range(START, START + 10)})
    message = r"^data set mine: 5 of 8 positives have no negative, since their users acted on every item; at most 5% may; leave out users"
    with pytest.raises(DataError, match=message):
        prepare(write_log(tmp_path, frame), NextItemConfig(), tmp_path / "home")
    assert not list((tmp_path / "home" / "datasets").iterdir())


def test_ratings_become_labels_by_the_threshold_and_users_stay_whole(tmp_path):
    frame = clicks().rename({"label": "rating"}).with_columns(pl.col("rating").cast(pl.Float64) * 2 + 3)
    dataset = prepare(write_log(tmp_path, frame), RatingConfig(threshold=4.5), tmp_path / "home")
    assert Counter((user, item, label) for user, item, label, _ in all_rows(dataset)) == Counter(
        (user, item, int(rating >= 4.5)) for user, item, _, rating in frame.rows()
    )
    users = [{user for user, *_ in raw_rows(dataset, split)} for split in SPLITS]
    assert len(users[0] | users[1] | users[2]) == sum(len(group) for group in users)
    assert [len(group) for group in users] == [16, 2, 2]


def test_ratings_with_a_behaviour_table_of_their_own_keep_their_labels(tmp_path):
    past = clicks(100, seed=5)
    past.write_parquet(tmp_path / "past.parquet")
    table = {"path": str(tmp_path / "past.parquet"), "columns": {name: name for name in ("user", "item", "timestamp")}}
    frame = clicks().rename({"label": "rating"})
    dataset = prepare(write_log(tmp_path, frame, behaviours=table), RatingConfig(threshold=1), tmp_path / "home")
    before = past.rows()
    expected = [(u, i, rating, tuple(sorted(b[1] for b in before if b[0] == u and b[2] < t))) for u, i, t, rating in frame.rows()]
    assert Counter(all_rows(dataset)) == Counter(expected)


def test_a_user_with_one_behaviour_is_counted_and_has_no_next_item(tmp_path):
    lonely = pl.DataFrame({"user": [99], "item": [1], "timestamp": [START], "label": [1]})
    frame = pl.concat([clicks(), lonely])
    by_protocol = {p.name: prepare(write_log(tmp_path, frame), p, tmp_path / "home") for p in (NextItemConfig(), ImpressionsConfig())}
    assert by_protocol["next_item"].manifest.counts["users_with_one_behaviour"] == 1
    assert 99 not in {user for user, *_ in all_rows(by_protocol["next_item"])}
    assert [row for row in all_rows(by_protocol["impressions"]) if row[0] == 99] == [(99, 1, 1, ())]


def test_a_log_without_any_click_has_empty_histories(tmp_path):
    frame = clicks().with_columns(label=pl.lit(0))
    dataset = prepare(write_log(tmp_path, frame), ImpressionsConfig(), tmp_path / "home")
    assert dataset.manifest.num_behaviours == 0
    assert len(dataset.split("train").take(slice(0, 50), max_history=10).history[0]) == 0


@pytest.mark.parametrize(
    ("rows", "protocol", "empty"),
    [
        ([(1, 1, 0), (1, 2, 1)], NextItemConfig(), "train and validation"),
        ([(1, 1, 0), (2, 2, 1)], NextItemConfig(), "train and validation and test"),
        ([(1, 1, 0), (2, 2, 0), (3, 3, 0)], ImpressionsConfig(), "train and validation"),
        ([(1, 1, 0), (2, 2, 0)], RatingConfig(), "train"),
    ],
)
def test_a_split_without_rows_is_refused_and_nothing_is_written(tmp_path, rows, protocol, empty):
    outcome = {"next_item": {}, "impressions": {"label": 1}, "rating": {"rating": 5}}[protocol.name]
    frame = pl.DataFrame([{"user": user, "item": item, "timestamp": START + time, **outcome} for user, item, time in rows])
    with pytest.raises(DataError, match=f"^data set mine: split {empty} would be empty"):
        prepare(write_log(tmp_path, frame), protocol, tmp_path / "home")
    assert not list((tmp_path / "home" / "datasets").iterdir())


def test_vocabularies_know_what_train_saw_and_nothing_else(tmp_path):
    frame = clicks(num_items=200, num_rows=400)
    dataset = prepare(write_log(tmp_path, frame), ImpressionsConfig(), tmp_path / "home")
    # A train row shows a model its target and its history. A behaviour of several histories counts once.
    train_end = dataset.manifest.splits["train"].last_timestamp
    seen: Counter[object] = Counter()
    for user in frame["user"].unique():
        own = frame.filter(pl.col("user") == user)
        targets = own.filter(pl.col("timestamp") <= train_end)
        seen.update(targets["item"])
        if targets.height:
            seen.update(own.filter((pl.col("label") == 1) & (pl.col("timestamp") < targets["timestamp"].max()))["item"])
    assert dict(dataset.vocabulary("item").select("raw", "count").rows()) == dict(seen)
    unseen = set(frame["item"]) - set(seen)
    assert unseen
    assert dataset.manifest.counts["items_unseen_in_train"] == len(unseen)
    index = dict(dataset.items().select("raw", "index/item").rows())
    assert {item for item, row in index.items() if row == 0} == unseen | {None}
    assert {index[raw]: raw for raw in seen} == dict(dataset.vocabulary("item").select("index", "raw").rows())


# Fields


def full_log(folder: Path, **more: object) -> LogConfig:
    """Log with every kind of field, each with missing values."""
    rng = np.random.default_rng(3)
    # No two rows of one moment, so that the order of the prepared rows is known.
    frame = clicks(texts=True).with_columns(timestamp=START + 3600 * pl.Series(rng.permutation(300)))

    def gappy(values: pl.Series) -> pl.Series:
        return values.set(pl.Series(rng.random(len(values)) < 0.2), None)

    number = rng.normal(50, 10, frame.height)
    frame = frame.with_columns(
        gappy(pl.Series("country", [f"c{user[1:]}" for user in frame["user"]])),
        gappy(pl.Series("age", rng.integers(18, 80, frame.height))),
        gappy(pl.Series("position", rng.integers(1, 6, frame.height))),
        gappy(pl.Series("price", number)),
    )
    names = [f"i{number}" for number in range(30)]
    items = pl.DataFrame({"sku": names}).with_columns(
        gappy(pl.Series("brand", [f"b{number % 5}" for number in range(30)])), gappy(pl.Series("weight", rng.gamma(2.0, 3.0, 30)))
    )
    folder.mkdir(parents=True, exist_ok=True)
    items.write_parquet(folder / "items.parquet")
    return write_log(
        folder,
        frame,
        items={"path": str(folder / "items.parquet"), "column": "sku"},
        item_fields={"brand": {"column": "brand"}, "weight": {"column": "weight", "kind": "numeric"}},
        user_fields={"country": {"column": "country"}, "age": {"column": "age", "kind": "numeric"}},
        context_fields={"position": {"column": "position"}, "price": {"column": "price", "kind": "numeric"}},
        **more,
    )


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """The raw log, the raw item table and the prepared dataset of a log with every kind of field."""
    folder = tmp_path_factory.mktemp("full")
    dataset = prepare(full_log(folder), ImpressionsConfig(), folder / "home")
    return pl.read_parquet(folder / "log.parquet"), pl.read_parquet(folder / "items.parquet"), dataset


def source_rows(frame: pl.DataFrame, dataset: PreparedDataset, split: str) -> pl.DataFrame:
    """The rows of the log that make up a split, in its order where no user has two rows at one moment."""
    bounds = dataset.manifest.splits[split]
    return frame.filter(pl.col("timestamp").is_between(bounds.first_timestamp, bounds.last_timestamp)).sort("user", "timestamp")


@pytest.mark.parametrize("name", ["country", "position"])
def test_a_categorical_field_is_indexed_by_its_frequency_in_train(full, name):
    frame, _, dataset = full
    counts = Counter(value for value in source_rows(frame, dataset, "train")[name] if value is not None)
    ranked = sorted(counts, key=lambda value: (-counts[value], value))
    assert dataset.vocabulary(name)["raw"].to_list() == ranked
    for split in SPLITS:
        expected = [ranked.index(value) + 1 if value in counts else 0 for value in source_rows(frame, dataset, split)[name]]
        assert dataset.split(split).rows[f"index/{name}"].tolist() == expected
    field = next(field for field in dataset.schema.categorical if field.name == name)
    assert field.vocabulary_size == len(ranked) + 1


@pytest.mark.parametrize("name", ["age", "price"])
def test_a_numeric_field_is_standardised_by_its_mean_and_spread_in_train(full, name):
    frame, _, dataset = full
    known = source_rows(frame, dataset, "train")[name].drop_nulls().to_numpy()
    for split in SPLITS:
        values = source_rows(frame, dataset, split)[name].cast(pl.Float64).fill_null(known.mean()).to_numpy()
        np.testing.assert_allclose(dataset.split(split).rows[f"numeric/{name}"], (values - known.mean()) / known.std(), atol=1e-5)


def test_item_fields_count_as_often_as_their_items_occur_in_train(full):
    _, items, dataset = full
    occurs = dict(dataset.vocabulary("item").select("raw", "count").rows())
    brand, weight = (dict(items.select("sku", name).rows()) for name in ("brand", "weight"))
    counts = Counter()
    for item, count in occurs.items():
        counts[brand[item]] += count
    counts.pop(None)
    assert dict(dataset.vocabulary("brand").select("raw", "count").rows()) == counts
    pairs = [(weight[item], count) for item, count in occurs.items() if weight[item] is not None]
    values, times = np.array(pairs).T
    mean = np.average(values, weights=times)
    std = np.average((values - mean) ** 2, weights=times) ** 0.5
    table = dataset.items()
    index = dict(dataset.vocabulary("brand").select("raw", "index").rows())
    for row in table.iter_rows(named=True):
        assert row["index/brand"] == index.get(brand.get(row["raw"]), 0)
        number = weight.get(row["raw"])
        assert row["numeric/weight"] == pytest.approx(0 if number is None else (number - mean) / std, abs=1e-5)


def test_next_item_takes_user_and_context_fields_from_the_behaviour_itself(tmp_path):
    log = full_log(tmp_path)
    frame = pl.read_parquet(tmp_path / "log.parquet").filter(pl.col("label") == 1)
    dataset = prepare(log, NextItemConfig(), tmp_path / "home")
    expected, found = Counter(), Counter()
    for (user,), own in frame.group_by("user"):
        later = own.filter(pl.col("timestamp") > pl.col("timestamp").min())
        expected.update((user, item, position) for item, position in later.select("item", "position").iter_rows())
    raw = [None, *dataset.vocabulary("position")["raw"]]
    for split in SPLITS:
        index = dataset.split(split).rows["index/position"].tolist()
        assert index[::2] == index[1::2]
        found.update((user, item, raw[i]) for (user, item, *_), i in zip(raw_rows(dataset, split)[::2], index[::2], strict=True))
    assert found == expected


def test_next_item_fits_user_and_context_fields_on_train(tmp_path):
    frame = pl.DataFrame({"user": [n // 6 for n in range(60)], "item": range(60), "timestamp": range(START, START + 60)})
    place = pl.Series("place", ["first", "second", "third", "fourth", "validation", "test"] * 10)
    log = write_log(
        tmp_path,
        frame.with_columns(place, number=pl.int_range(60) % 6),
        context_fields={"place": {"column": "place"}, "number": {"column": "number", "kind": "numeric"}},
    )
    dataset = prepare(log, NextItemConfig(), tmp_path / "home")
    assert dict(dataset.vocabulary("place").select("raw", "count").rows()) == {"second": 10, "third": 10, "fourth": 10}
    for split in ("validation", "test"):
        assert set(dataset.split(split).rows["index/place"].tolist()) == {0}
    field = dataset.schema.numeric[0]
    assert (field.mean, field.std) == (pytest.approx(2), pytest.approx((2 / 3) ** 0.5))


def test_a_field_that_is_constant_or_never_there_in_train_says_nothing(tmp_path):
    frame = clicks().sort("timestamp").with_row_index("row")
    late = pl.col("row") >= 270
    frame = frame.with_columns(
        constant=pl.when(late).then(pl.lit(0.7)).otherwise(pl.lit(0.1)),
        absent=pl.when(late).then(pl.lit(5.0)),
        huge=pl.col("row").cast(pl.Float64) * 1e200,
        word=pl.when(late).then(pl.lit("late")),
    )
    numbers = {name: {"column": name, "kind": "numeric"} for name in ("constant", "absent", "huge")}
    log = write_log(tmp_path, frame, context_fields={**numbers, "word": {"column": "word"}})
    dataset = prepare(log, ImpressionsConfig(), tmp_path / "home")
    train, test = dataset.split("train").rows, dataset.split("test").rows
    np.testing.assert_allclose(train["numeric/constant"], 0, atol=1e-6)
    np.testing.assert_allclose(test["numeric/constant"], 0.6, atol=1e-6)
    assert train["numeric/absent"].tolist() == [0.0] * len(train["label"])
    assert test["numeric/absent"].tolist() == [5.0] * len(test["label"])
    assert train["numeric/huge"].std() == pytest.approx(1, abs=1e-4)
    assert test["index/word"].tolist() == [0] * len(test["label"])


def test_an_item_that_the_item_table_lacks_is_refused_or_unknown_by_choice(tmp_path):
    log = full_log(tmp_path)
    items = pl.read_parquet(tmp_path / "items.parquet").filter(pl.col("sku") != "i1")
    items.write_parquet(tmp_path / "items.parquet")
    with pytest.raises(
        DataError, match=r"items\.parquet, column 'sku': lacks 1 item of the log, such as 'i1'; add them or set data\.on_mis"
    ):
        prepare(log, ImpressionsConfig(), tmp_path / "home")
    lenient = log.model_copy(update={"on_missing_items": "unknown"})
    table = prepare(lenient, ImpressionsConfig(), tmp_path / "home").items().filter(pl.col("raw") == "i1")
    assert table.select("index/brand", "numeric/weight").row(0) == (0, 0.0)
    assert table["index/item"][0] > 0


def test_true_probabilities_stay_with_their_impressions(tmp_path):
    log = SyntheticConfig(name="s", num_users=100, num_items=50, num_categories=5, num_impressions=1_000)
    dataset = prepare(log, ImpressionsConfig(), tmp_path)
    frame = log.read(()).interactions.collect()
    for split in SPLITS:
        expected = Counter(source_rows(frame, dataset, split).select("user", "item", "true_probability").rows())
        rows = raw_rows(dataset, split)
        probabilities = dataset.split(split).true_probability().tolist()
        assert Counter((user, item, p) for (user, item, *_), p in zip(rows, probabilities, strict=True)) == expected
    assert prepare(log, NextItemConfig(), tmp_path).split("train").true_probability() is None


# The order of the file


def baskets() -> pl.DataFrame:
    """Random items, eight at each of six moments per user: nothing tells which item of a basket came first."""
    rng = np.random.default_rng(0)
    rows = [(user, int(item), START + 86_400 * day) for user in range(100) for day in range(6) for item in rng.permutation(300)[:8]]
    return pl.DataFrame(rows, schema=["user", "item", "timestamp"], orient="row")


@pytest.mark.parametrize("ties", ["exclude", "position"])
def test_a_file_that_is_sorted_by_item_tells_nothing_about_the_next_item(tmp_path, ties):
    frame, protocol = baskets(), NextItemConfig(ties=ties)
    by_item = prepare(write_log(tmp_path / "sorted", frame.sort("user", "timestamp", "item")), protocol, tmp_path / "home")
    by_chance = prepare(write_log(tmp_path / "shuffled", frame.sample(fraction=1.0, shuffle=True, seed=1)), protocol, tmp_path / "home")
    assert by_item.manifest.fingerprint == by_chance.manifest.fingerprint
    split = by_item.split("train")
    positives = split.rows["label"] == 1
    raw = np.array(by_item.raw_items())
    target = raw[split.rows["item"][positives] - 1]
    latest = raw[split.behaviours[split.rows["history_end"][positives] - 1] - 1]
    # In the file's order the next item of a basket would be the larger one nearly always; five standard errors around one half.
    assert abs((target > latest).mean() - 0.5) < 2.5 / len(target) ** 0.5


def test_the_summary_counts_behaviours_that_share_a_moment(tmp_path):
    manifest = prepare(write_log(tmp_path, baskets()), NextItemConfig(), tmp_path / "home").manifest
    assert manifest.counts["behaviours_sharing_a_moment"] == manifest.num_behaviours == 4_800


@pytest.mark.parametrize("ties", ["exclude", "position"])
def test_an_event_that_was_exported_twice_is_not_in_its_own_history(tmp_path, ties):
    once = baskets().unique(subset=["user", "timestamp"], maintain_order=True)
    dataset = prepare(write_log(tmp_path / "twice", pl.concat([once, once])), NextItemConfig(ties=ties), tmp_path / "home")
    assert dataset.manifest.counts["identical_events_merged"] == once.height
    assert dataset.manifest.counts["duplicate_rows"] == once.height
    expected = prepare(write_log(tmp_path / "once", once), NextItemConfig(ties=ties), tmp_path / "home")
    assert dataset.manifest.fingerprint == expected.manifest.fingerprint


# Splits that the log brings


def three_parts(frame: pl.DataFrame) -> dict[str, pl.DataFrame]:
    return {"train": frame[:200], "validation": frame[200:250], "test": frame[250:]}


@pytest.mark.parametrize("protocol", [ImpressionsConfig(), NextItemConfig(), NextItemConfig(ties="position")], ids=str)
def test_a_log_in_three_files_or_with_a_column_of_splits_keeps_its_splits(tmp_path, protocol):
    frame = clicks()
    parts = three_parts(frame.unique(maintain_order=True))
    names = {"train": "Train", "validation": "valid", "test": "test "}
    marked = pl.concat(part.with_columns(part=pl.lit(names[name])) for name, part in parts.items())
    by_column = write_log(tmp_path / "column", marked)
    by_column = by_column.model_copy(update={"columns": by_column.columns.model_copy(update={"split": "part"})})
    for name, part in parts.items():
        part.write_parquet(tmp_path / f"{name}.parquet")
    by_files = by_column.model_copy(
        update={
            "path": (tmp_path / "train.parquet",),
            "validation_path": (tmp_path / "validation.parquet",),
            "test_path": (tmp_path / "test.parquet",),
            "columns": by_column.columns.model_copy(update={"split": None}),
        }
    )
    datasets = [prepare(config, protocol, tmp_path / "home") for config in (by_column, by_files)]
    assert datasets[0].manifest.fingerprint == datasets[1].manifest.fingerprint
    for name, part in parts.items():
        given = Counter(part.select("user", "item", "label").rows())
        found = Counter(
            (user, item, label) for user, item, label, _ in raw_rows(datasets[0], name) if label or protocol.name != "next_item"
        )
        assert found == given if protocol.name == "impressions" else found <= given


def test_an_unknown_split_is_refused_with_its_row(tmp_path):
    frame = clicks().with_columns(part=pl.Series(["train"] * 299 + ["holdout"]))
    config = write_log(tmp_path, frame)
    config = config.model_copy(update={"columns": config.columns.model_copy(update={"split": "part"})})
    message = r"log\.parquet, column 'part', row 300 = 'holdout': not train, validation \(valid, val, dev\) or test; fix the row or set"
    with pytest.raises(DataError, match=message):
        prepare(config, ImpressionsConfig(), tmp_path / "home")


def test_next_item_with_a_behaviour_table_takes_no_splits_of_the_log(tmp_path):
    clicks(200, seed=5).write_parquet(tmp_path / "past.parquet")
    table = {"path": str(tmp_path / "past.parquet"), "columns": {name: name for name in ("user", "item", "timestamp")}}
    config = write_log(tmp_path, clicks().with_columns(part=pl.lit("train")), behaviours=table)
    config = config.model_copy(update={"columns": config.columns.model_copy(update={"split": "part"})})
    with pytest.raises(DataError, match=r"^data set mine: next_item takes its rows from the behaviour table, which names no splits"):
        prepare(config, NextItemConfig(), tmp_path / "home")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"validation_path": "v.csv"},
            r"validation_path = v\.csv without test_path: a log that comes split has three parts; set test_path too",
        ),
        ({"test_path": "t.csv"}, r"test_path = t\.csv without validation_path: a log that comes split has three parts"),
        (
            {"validation_path": "v.csv", "test_path": "t.csv", "columns": {"user": "u", "item": "i", "timestamp": "t", "split": "s"}},
            r"columns\.split = s: each split has files of its own already; remove one of them",
        ),
    ],
)
def test_splits_that_are_named_by_halves_or_twice_are_refused(values, message):
    columns = {"user": "u", "item": "i", "timestamp": "t"}
    with pytest.raises(ConfigError, match=message):
        validate(LogConfig, {"name": "mine", "source": "log", "path": "a.csv", "columns": columns} | values)
