"""The rows of a table are encoded like those of a request."""

from dataclasses import fields

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from tests.serving.bundles import make_bundle, raw

from clickflow.data.sources.dialect import Dialect
from clickflow.errors import ConfigError, DataError
from clickflow.scoring.config import ColumnsConfig
from clickflow.scoring.input_tables import open_table
from clickflow.scoring.table_encoder import TableEncoder
from clickflow.serving.candidates import CandidateRows
from clickflow.serving.encoder import Encoder

ROWS = {
    "item": [10, 20, 999, 50, 40],
    "history": [[20, 30], [], [40, 40, 999, 20, 10], None, [30]],
    "city": [7, None, 8, 9, 7],
    "device": ["tv", "phone", None, "radio", "tv"],
    "is_new": [True, None, False, True, False],
    "age": [55.0, None, 40.0, 33.5, 20.0],
}


def rows_of(as_string):
    history = [None if ids is None else [raw(item, as_string) for item in ids] for ids in ROWS["history"]]
    return ROWS | {"item": [raw(item, as_string) for item in ROWS["item"]], "history": history}


def encoded(path, as_string=False, columns=None, separator=" ", **more):
    bundle, table = make_bundle(as_string), open_table(path, "input", Dialect())
    encoder = TableEncoder(bundle, table, columns or ColumnsConfig(), separator)
    (rows,) = table.rows([encoder.item_column, *encoder.user_columns], 100)
    return encoder.items.batch(*encoder.encode(rows))


def parquet(folder, rows):
    pq.write_table(pa.table(rows), folder / "rows.parquet")
    return folder / "rows.parquet"


def csv(folder, rows, separator=" "):
    frame = pd.DataFrame(rows).astype({"city": "Int64"})
    frame["history"] = [None if ids is None else separator.join(map(str, ids)) for ids in rows["history"]]
    frame.to_csv(folder / "rows.csv", index=False)
    return folder / "rows.csv"


def assert_equal(batch, expected):
    for field in fields(batch):
        ours, theirs = getattr(batch, field.name), getattr(expected, field.name)
        assert (ours is None and theirs is None) or torch.equal(ours, theirs), field.name


@pytest.mark.parametrize("as_string", [False, True], ids=["integer ids", "string ids"])
@pytest.mark.parametrize("write", [parquet, csv])
def test_a_table_is_encoded_as_a_request_of_its_rows_is(tmp_path, as_string, write):
    rows = rows_of(as_string)
    frame = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in rows.items()})
    expected = CandidateRows(frame).encoded(Encoder(make_bundle(as_string)))
    assert_equal(encoded(write(tmp_path, rows), as_string), expected)


def test_columns_may_have_names_of_their_own(tmp_path):
    renamed = {"item": "sku", "history": "seen", "age": "user age", "city": "town"}
    path = parquet(tmp_path, {renamed.get(name, name): values for name, values in ROWS.items()})
    columns = ColumnsConfig(item="sku", history="seen", fields={"age": "user age", "city": "town"})
    assert_equal(encoded(path, columns=columns), encoded(parquet(tmp_path, ROWS)))


def test_ids_of_a_csv_history_may_stand_apart_by_another_text(tmp_path):
    expected = encoded(parquet(tmp_path, ROWS))
    assert_equal(encoded(csv(tmp_path, ROWS, "|"), separator="|"), expected)


def test_fields_without_a_column_are_unknown(tmp_path):
    few = {name: ROWS[name] for name in ("item", "history")}
    unknown = few | {"city": [None] * 5, "device": [None] * 5, "is_new": [None] * 5, "age": [None] * 5}
    assert_equal(encoded(parquet(tmp_path, few)), encoded(parquet(tmp_path, unknown)))


@pytest.mark.parametrize(
    "history",
    [
        pa.array([[10, 20, 30, 40], None, [999]], pa.large_list(pa.int32())),
        pa.array([[10.0, 20.0, 30.0, 40.0], None, [999.0]]),
        pa.array([[1, 2], [10, 20, 30, 40], None, [999]], pa.list_(pa.int64())).slice(1),
    ],
    ids=["large_list", "floats", "slice"],
)
def test_lists_of_any_kind_are_histories(tmp_path, history):
    expected = encoded(parquet(tmp_path, {"item": [10, 20, 30], "history": [[20, 30, 40], [], [999]]}))
    assert_equal(encoded(parquet(tmp_path, {"item": [10, 20, 30], "history": history})), expected)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("item", [10, None, 20, 10, 10], r"column 'item', row 2 = null: missing; every candidate and behaviour needs an id"),
        ("item", [10, 1.5, 20, 10, 10], r"column 'item', row 2 = 1.5: not an integer id; the model was trained on integer ids"),
        ("item", ["10"] * 5, r"column 'item' = string: not an integer id"),
        ("history", [[], [10], [20, None, 10], [], []], r"column 'history', row 3 = null: missing"),
        ("history", [[], [10], [], [20, 1.5], []], r"column 'history', row 4 = 1.5: not an integer id"),
        ("history", [["10"]] * 5, r"column 'history' = list<element: string>: not a list of items, each an integer id"),
        ("history", [10] * 5, r"column 'history' = int64: not a list of items"),
        ("city", ["7"] * 5, r"column 'city' = string: not an integer id"),
        ("city", [7, 7.5, None, 7, 7], r"column 'city', row 2 = 7.5: not an integer id"),
        ("device", [3] * 5, r"column 'device' = int64: not a string id; the model was trained on string ids"),
        ("age", ["old"] * 5, r"column 'age' = string: not a finite number"),
        ("age", [1.0, 2.0, float("inf"), 1.0, 1.0], r"column 'age', row 3 = inf: not a finite number"),
    ],
)
def test_what_cannot_be_read_is_named_by_file_column_and_row(tmp_path, column, value, message):
    with pytest.raises(DataError, match=rf"^rows\.parquet, {message}"):
        encoded(parquet(tmp_path, ROWS | {column: value}))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("item", "x7", r"column 'item', row 2 = 'x7': not an integer id"),
        ("item", "", r"column 'item', row 2 = null: missing"),
        ("history", "10  20", r"column 'history', row 2 = '': not an integer id"),
        ("history", "10,20", r"column 'history', row 2 = '10,20': not an integer id"),
        ("age", "old", r"column 'age', row 2 = 'old': not a finite number"),
    ],
)
def test_what_cannot_be_parsed_is_named_by_file_column_and_row(tmp_path, column, value, message):
    rows = {"item": ["10", "20"], "history": ["10 20", ""], "age": ["3", ""]}
    rows[column][1] = value
    pd.DataFrame(rows).to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(DataError, match=rf"^rows\.csv, {message}"):
        encoded(tmp_path / "rows.csv")


def test_all_columns_of_wrong_types_are_listed(tmp_path):
    with pytest.raises(DataError, match=r"(?s)^2 problems in input:.*'item' = string.*'age' = string"):
        encoded(parquet(tmp_path, ROWS | {"item": ["a"] * 5, "age": ["b"] * 5}))


def test_a_field_that_the_model_does_not_have_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"^columns\.fields\.agee: the model has no such user or context field; did you mean age\?"):
        encoded(parquet(tmp_path, ROWS), columns=ColumnsConfig(fields={"agee": "x"}))
    with pytest.raises(DataError, match=r"column 'x' \(columns\.fields\.age\): no such column"):
        encoded(parquet(tmp_path, ROWS), columns=ColumnsConfig(fields={"age": "x"}))
