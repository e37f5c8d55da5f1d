"""From a config to a file: what it holds, how it is carried on, and what is refused."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from tests.scoring.registered import register
from tests.serving.bundles import CASES, expected, make_bundle

from clickflow.cli.compose import composed_config
from clickflow.config import validate
from clickflow.errors import ConfigError, DataError, TrackingError
from clickflow.scoring import predict as module
from clickflow.scoring.config import PredictConfig
from clickflow.scoring.predict import predict
from clickflow.scoring.scorers import RowScorer
from clickflow.tracking.config import TrackingConfig
from clickflow.tracking.store import open_store

BATCH = 4


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(RowScorer, "rows_per_read", BATCH)


@pytest.fixture
def folder(tmp_path):
    write(tmp_path)
    return tmp_path


def write(folder, times=1):
    """Cases as a table; rows of columns with one type, so the cases of other types are left out."""
    cases = [case for name, case in CASES.items() if "boolean" not in name] * times
    names = ("item", "history", "city", "device", "age")
    columns = {name: [case.get(name) for case in cases] for name in names}
    pq.write_table(pa.table({"row": range(len(cases)), **columns}), folder / "rows.parquet")
    return cases


def config(folder, home, *overrides):
    given = ["model=models:/ctr@champion", f"input={folder / 'rows.parquet'}", f"output={folder / 'scores.parquet'}", f"home={home}"]
    return validate(PredictConfig, composed_config("predict", [*given, *overrides]))


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_every_row_gets_the_probability_that_the_model_gives_it(folder, home):
    said, done = [], []
    predicted = predict(config(folder, home), said.append, lambda rows, total: done.append((rows, total)))
    cases = write(folder)
    table = pq.read_table(folder / "scores.parquet")
    np.testing.assert_allclose(table["probability"], expected(make_bundle(), cases), rtol=1e-6)
    assert table.schema.names == ["row", "item", "city", "device", "age", "probability"]
    assert table["row"].to_pylist() == list(range(len(cases)))
    assert predicted.num_rows == predicted.num_scored == predicted.num_output_rows == len(cases)
    assert done == [(min(rows, len(cases)), len(cases)) for rows in range(BATCH, len(cases) + BATCH, BATCH)]
    assert said[0].startswith(f"model models:/ctr@champion is {predicted.model}, of run ")
    assert "fields that the input does not have, unknown in every row: is_new" in said


def test_the_columns_to_keep_can_be_named(folder, home):
    predict(config(folder, home, "keep=[history,row]"))
    assert pq.read_table(folder / "scores.parquet").schema.names == ["history", "row", "probability"]


def test_a_csv_gives_what_its_parquet_gives(folder, home):
    frame = pq.read_table(folder / "rows.parquet").to_pandas()
    frame["history"] = [" ".join(map(str, [] if ids is None else ids)) for ids in frame["history"]]
    frame.to_csv(folder / "rows.csv", index=False)
    predict(config(folder, home))
    predict(config(folder, home, f"input={folder / 'rows.csv'}", f"output={folder / 'again.parquet'}"))
    ours, theirs = pq.read_table(folder / "again.parquet"), pq.read_table(folder / "scores.parquet")
    np.testing.assert_allclose(ours["probability"], theirs["probability"], rtol=1e-6)
    assert ours["item"].to_pylist() == [str(item) for item in theirs["item"].to_pylist()]


def test_a_table_without_rows_gives_one(folder, home):
    pq.write_table(pq.read_table(folder / "rows.parquet").slice(0, 0), folder / "rows.parquet")
    assert predict(config(folder, home)).num_rows == 0
    assert pq.read_table(folder / "scores.parquet").num_rows == 0


def test_the_best_candidates_of_each_user_keep_the_users_columns(folder, home):
    pq.write_table(pa.table({"item": [10, 20, 999, 10]}), folder / "items.parquet")
    users = pq.read_table(folder / "rows.parquet").drop_columns("item")
    pq.write_table(users, folder / "users.parquet")
    said = []
    more = [f"input={folder / 'users.parquet'}", f"candidates={folder / 'items.parquet'}", "top_k=2", "exclude_history=true"]
    predicted = predict(config(folder, home, *more), said.append)
    table = pq.read_table(folder / "scores.parquet")
    assert table.schema.names == ["row", "city", "device", "age", "rank", "item", "probability"]
    assert predicted.num_output_rows == table.num_rows
    assert set(table["rank"].to_pylist()) == {1, 2}
    assert "3 candidates, 1 duplicate rows ignored" in said


START = 1_700_000_000


@pytest.fixture
def by_user(folder):
    """The cases as users at moments, with a table of behaviours that makes their histories; the cases."""
    cases = [case for case in CASES.values() if isinstance(case.get("age"), float) and "is_new" not in case]
    past = [(user, item, START + place) for user, case in enumerate(cases) for place, item in enumerate(case["history"] or [])]
    later = [(user, 10, START + 1_000) for user in range(len(cases))]
    names = ("user", "item", "timestamp")
    for name, rows in (("past", past + later), ("no past", later)):
        pq.write_table(pa.table(dict(zip(names, zip(*rows, strict=True), strict=True))), folder / f"{name}.parquet")
    columns = {name: [case[name] for case in cases] for name in ("item", "city", "device", "age")}
    pq.write_table(pa.table({"user": range(len(cases)), "timestamp": [START + 1_000] * len(cases), **columns}), folder / "rows.parquet")
    return cases


def test_histories_are_made_of_behaviours(folder, home, by_user):
    said = []
    predict(config(folder, home, f"behaviours.path={folder / 'past.parquet'}"), said.append)
    table = pq.read_table(folder / "scores.parquet")
    np.testing.assert_allclose(table["probability"], expected(make_bundle(), by_user), rtol=1e-6)
    assert table.schema.names == ["user", "timestamp", "item", "city", "device", "age", "probability"]
    assert any(sentence.startswith("the model was logged before models knew how their histories were made") for sentence in said)
    assert any(" behaviours of " in sentence for sentence in said)


def test_users_without_behaviours_have_empty_histories(folder, home, by_user):
    predict(config(folder, home, f"behaviours.path={folder / 'no past.parquet'}"))
    nothing = [case | {"history": []} for case in by_user]
    np.testing.assert_allclose(pq.read_table(folder / "scores.parquet")["probability"], expected(make_bundle(), nothing), rtol=1e-6)


def test_the_best_candidates_leave_out_what_is_in_a_made_history(folder, home, by_user):
    items = [10, 20, 30, 40, 999]
    pq.write_table(pa.table({"item": items}), folder / "items.parquet")
    pq.write_table(pq.read_table(folder / "rows.parquet").drop_columns("item"), folder / "users.parquet")
    more = [f"behaviours.path={folder / 'past.parquet'}", f"input={folder / 'users.parquet'}", f"candidates={folder / 'items.parquet'}"]
    predict(config(folder, home, *more, "top_k=5", "exclude_history=true"))
    found = pq.read_table(folder / "scores.parquet").to_pandas()
    for user, case in enumerate(by_user):
        left = [item for item in items if item not in (case["history"] or [])]
        rows = found[found["user"] == user]
        assert sorted(rows["item"]) == sorted(left)
        scores = dict(zip(left, expected(make_bundle(), [case | {"item": item} for item in left]), strict=True))
        np.testing.assert_allclose(rows["probability"], [scores[item] for item in rows["item"]], rtol=1e-6)


def test_other_behaviours_begin_anew(folder, home, by_user, monkeypatch):
    behaviours = f"behaviours.path={folder / 'past.parquet'}"
    stopped(folder, home, monkeypatch, BATCH, behaviours)
    pq.write_table(pq.read_table(folder / "past.parquet").slice(0, 3), folder / "past.parquet")
    said = []
    predict(config(folder, home, behaviours), said.append)
    assert any(sentence.startswith("starting over") and sentence.endswith("behaviours") for sentence in said)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("user", None, r"rows\.parquet, column 'user' \(columns\.user\): no such column"),
        ("timestamp", None, r"rows\.parquet, column 'timestamp' \(columns\.timestamp\): no such column"),
        ("user", [1, None], r"rows\.parquet, column 'user', row 2 = null: missing; without a history, a row needs the user"),
        ("user", [1.0, 1.5], r"rows\.parquet, column 'user', row 2 = 1\.5: not a user's id"),
        ("user", [True, False], r"rows\.parquet, column 'user' = bool: not a user's id: an integer or a text"),
        (
            "timestamp",
            [START, None],
            r"rows\.parquet, column 'timestamp', row 2 = null: missing; without a history, a row",
        ),
        ("timestamp", [START, 3], r"rows\.parquet, column 'timestamp', row 2 = 3: not between 1990 and 2100, read as seconds"),
        ("timestamp", ["2024-05-01", "soon"], r"rows\.parquet, column 'timestamp', row 2 = 'soon': not an ISO 8601 date-time"),
        ("timestamp", [[1], [2]], r"rows\.parquet, column 'timestamp' = List\(Int64\): timestamps are integers, dates"),
        ("history", [[10], [20]], r"rows\.parquet, column 'history': a history, and behaviours\.path makes histories too; leave out one"),
    ],
)
def test_rows_that_behaviours_cannot_make_a_history_for_are_named(folder, home, by_user, name, values, message):
    columns = {"user": [1, 2], "timestamp": [START, START], "item": [10, 20]} | {name: values}
    pq.write_table(pa.table({key: column for key, column in columns.items() if column is not None}), folder / "rows.parquet")
    with pytest.raises(DataError, match=message):
        predict(config(folder, home, f"behaviours.path={folder / 'past.parquet'}"))
    assert not (folder / "scores.parquet").exists()


class Stopped(RowScorer):
    """Is interrupted at one of its batches."""

    stop_at = 10**9

    def score(self, rows):
        if rows.first_row >= self.stop_at:
            raise KeyboardInterrupt
        return super().score(rows)


def stopped(folder, home, monkeypatch, stop_at, *overrides):
    with monkeypatch.context() as patch:
        patch.setattr(module, "RowScorer", Stopped)
        patch.setattr(Stopped, "stop_at", stop_at)
        said = []
        with pytest.raises(KeyboardInterrupt):
            predict(config(folder, home, *overrides), said.append)
        return said


@pytest.mark.parametrize("stop_at", [0, 4, 8, 32])
def test_an_interrupted_run_is_carried_on_to_the_same_bytes(folder, home, monkeypatch, stop_at):
    num_rows = len(write(folder, times=4))
    predict(config(folder, home, f"output={folder / 'undisturbed.parquet'}"))
    said = stopped(folder, home, monkeypatch, stop_at)
    assert said[-1] == f"{stop_at:,} rows are scored and kept; the same command carries on"
    assert files(folder) == [".scores.parquet.partial", "rows.parquet", "undisturbed.parquet"]
    predicted = predict(config(folder, home))
    assert (predicted.num_rows, predicted.num_scored) == (num_rows, num_rows - stop_at)
    assert (folder / "scores.parquet").read_bytes() == (folder / "undisturbed.parquet").read_bytes()
    assert files(folder) == ["rows.parquet", "scores.parquet", "undisturbed.parquet"]


def test_a_run_that_was_killed_several_times_is_carried_on_to_the_same_bytes(folder, home, monkeypatch):
    write(folder, times=4)
    predict(config(folder, home, f"output={folder / 'undisturbed.parquet'}"))
    for stop_at in (4, 12, 28):
        stopped(folder, home, monkeypatch, stop_at)
        with (folder / ".scores.parquet.partial" / "journal.bin").open("ab") as journal:
            journal.write(b"cut within a result"[:11])
    predict(config(folder, home))
    assert (folder / "scores.parquet").read_bytes() == (folder / "undisturbed.parquet").read_bytes()


def test_another_input_begins_anew_and_says_so(folder, home, monkeypatch):
    write(folder, times=2)
    stopped(folder, home, monkeypatch, 8)
    cases = write(folder, times=3)
    said = []
    assert predict(config(folder, home), said.append).num_scored == len(cases)
    assert any(sentence.startswith("starting over") and sentence.endswith("input") for sentence in said)


@pytest.mark.slow
def test_a_promotion_in_between_does_not_mix_models(folder, home, monkeypatch):
    moving, cases = "model=models:/moving@champion", write(folder, times=2)
    first = register(home, make_bundle(), "moving")

    def promote_while_scoring(rows, total):
        if rows == BATCH:
            other = make_bundle()
            for tensor in other.state_dict.values():
                tensor.copy_(tensor * 0.5)
            register(home, other, "moving")

    predicted = predict(config(folder, home, moving), progress=promote_while_scoring)
    assert predicted.model == f"models:/moving/{first}"
    np.testing.assert_allclose(pq.read_table(folder / "scores.parquet")["probability"], expected(make_bundle(), cases), rtol=1e-6)
    stopped(folder, home, monkeypatch, 8, moving, "overwrite=true")
    register(home, make_bundle(), "moving")
    said = []
    assert predict(config(folder, home, moving, "overwrite=true"), said.append).num_scored == len(cases)
    assert any(sentence.endswith("model") for sentence in said if sentence.startswith("starting over"))


def test_an_existing_output_is_replaced_only_when_that_is_wanted(folder, home):
    predict(config(folder, home))
    before = (folder / "scores.parquet").read_bytes()
    with pytest.raises(DataError, match="exists already; name another file, or set overwrite=true"):
        predict(config(folder, home))
    predict(config(folder, home, "overwrite=true", "keep=[row]"))
    assert (folder / "scores.parquet").read_bytes() != before


def test_the_number_of_threads_does_not_change_a_byte(folder, home):
    write(folder, times=4)
    outputs = []
    before = torch.get_num_threads()
    try:
        for num_threads in (1, 3):
            torch.set_num_threads(num_threads)
            predict(config(folder, home, "overwrite=true"))
            outputs.append((folder / "scores.parquet").read_bytes())
    finally:
        torch.set_num_threads(before)
    assert outputs[0] == outputs[1]


def test_a_fault_in_a_late_row_leaves_nothing_behind(folder, home):
    table = pq.read_table(folder / "rows.parquet")
    items = [*table["item"].to_pylist()[:-1], None]
    pq.write_table(table.set_column(1, "item", pa.array(items)), folder / "rows.parquet")
    with pytest.raises(DataError, match=rf"rows\.parquet, column 'item', row {len(items)} = null: missing"):
        predict(config(folder, home))
    assert files(folder) == ["rows.parquet"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["columns.item=itm"], r"rows\.parquet, column 'itm' \(columns\.item\): no such column; did you mean item\?"),
        (["columns.history=past"], r"rows\.parquet, column 'past' \(columns\.history\): no such column"),
        (["columns.fields={city: town}"], r"rows\.parquet, column 'town' \(columns\.fields\.city\): no such column"),
        (["keep=[user,row]"], r"rows\.parquet, column 'user' \(keep\): no such column"),
        (
            ["candidates={folder}/rows.parquet", "top_k=1", "columns.item=itm"],
            r"rows\.parquet, column 'itm' \(columns\.item\): no such column",
        ),
    ],
)
def test_a_column_that_is_not_there_is_named_before_the_model_is_looked_for(folder, tmp_path, overrides, message):
    overrides = [override.replace("{folder}", str(folder)) for override in overrides]
    with pytest.raises(DataError, match=message):
        predict(config(folder, tmp_path / "no store", *overrides))


@pytest.mark.parametrize(
    ("override", "error", "message"),
    [
        ("model=models:/ctr@nobody", TrackingError, "no such version or alias; ctr has versions: "),
        ("model=models:/nothing/1", TrackingError, "registered there: .*ctr"),
        ("input=nothing.parquet", DataError, "input = nothing.parquet: no such file"),
        ("columns.item=itm", DataError, r"column 'itm' \(columns\.item\): no such column; did you mean item\?"),
        ("columns.history=past", DataError, r"column 'past' \(columns\.history\): no such column"),
        ("columns.fields={town: city}", ConfigError, "columns.fields.town: the model has no such user or context field"),
        ("keep=[user]", DataError, r"column 'user' \(keep\): no such column"),
        ("output=nowhere/scores.parquet", DataError, "the folder nowhere does not exist"),
        ("output=scores.csv", ConfigError, r"output = scores\.csv: must end with \.parquet"),
        ("top_k=3", ConfigError, "candidates = null: required where top_k is set"),
        ("candidates=items.parquet", ConfigError, "top_k = null: required where candidates is set"),
        ("exclude_history=true", ConfigError, "exclude_history = true: only candidates can be left out"),
        ("top_k=0", ConfigError, "top_k = 0: must be greater than 0"),
        ("inputs=a", ConfigError, "inputs: unknown key; did you mean input"),
    ],
)
def test_what_cannot_be_done_is_refused_before_any_work(folder, home, override, error, message):
    with pytest.raises(error, match=message):
        predict(config(folder, home, override))
    assert files(folder) == ["rows.parquet"]


def test_the_output_is_not_the_input(folder, home):
    with pytest.raises(ConfigError, match="is the input too; name another file"):
        config(folder, home, f"output={folder / 'rows.parquet'}")


def test_a_column_that_the_output_adds_is_not_kept(folder, home):
    pq.write_table(pq.read_table(folder / "rows.parquet").rename_columns({"row": "probability"}), folder / "rows.parquet")
    with pytest.raises(DataError, match="column 'probability': the output has a column of that name"):
        predict(config(folder, home))
    predict(config(folder, home, "keep=[item]"))


def test_a_model_can_be_named_in_every_way(folder, home):
    client = open_store(TrackingConfig(), home).client
    version = client.get_model_version_by_alias("ctr", "champion")
    [model_id] = [output.model_id for output in client.get_run(version.run_id).outputs.model_outputs]
    for place, uri in enumerate(["models:/ctr@champion", f"models:/ctr/{version.version}", f"models:/{model_id}"]):
        predict(config(folder, home, f"model={uri}", f"output={folder / f'{place}.parquet'}"))
    contents = {(folder / f"{place}.parquet").read_bytes() for place in range(3)}
    assert len(contents) == 1
