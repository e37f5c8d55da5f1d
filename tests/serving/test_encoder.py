"""Arrow columns against dictionaries; that requests and tables give the same batches is stated in tests/scoring/test_table_encoder.py."""

import pyarrow as pa
import pytest
import torch
from tests.serving.bundles import CITIES, ITEMS, MAX_HISTORY, make_bundle

from clickflow.serving.encoder import Encoder, flattened
from clickflow.serving.raw_columns import BadValue

ROW_OF = {item: row for row, item in enumerate(ITEMS)}
HISTORIES = [[20, 30], None, [], [40, 999, 10, 20]]


@pytest.fixture(scope="module")
def encoder():
    return Encoder(make_bundle())


def test_items_are_rows_of_the_item_table(encoder):
    assert encoder.item({"item": pa.array([10, 999, 50])}).tolist() == [ROW_OF[10], 0, ROW_OF[50]]


def test_histories_are_cut_to_the_latest_behaviours(encoder):
    users = encoder.users({"history": pa.array(HISTORIES)}, 4)
    last = [[] if history is None else history[-MAX_HISTORY:] for history in HISTORIES]
    assert users.history.tolist() == [ROW_OF.get(item, 0) for history in last for item in history]
    assert users.offsets.diff().tolist() == [len(history) for history in last]


def test_fields_are_indices_and_standardised_numbers(encoder):
    users = encoder.users({"history": pa.nulls(3), "city": pa.array([9, 8, None]), "age": pa.array([55, None, 40])}, 3)
    assert [field.tolist() for field in users.context] == [[CITIES[9], 0, 0], [0, 0, 0], [0, 0, 0]]
    assert users.numeric["age"].tolist() == [1.5, 0.0, 0.0]
    assert users.numeric["age"].dtype == torch.float32


def test_fields_without_a_column_are_unknown(encoder):
    users = encoder.users({"history": pa.nulls(2)}, 2)
    assert [field.tolist() for field in users.context] == [[0, 0]] * 3
    assert users.numeric["age"].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("columns", "column", "row", "value"),
    [
        ({"history": [[10], [], [10, 20, None]]}, "history", 2, None),
        ({"history": [[10, 20, 30, 40, 10], [], [1.5]]}, "history", 2, 1.5),  # the row is that of the whole table, not of a cut list
        ({"city": [7, 9, -7]}, "city", 2, -7),
        ({"age": [1.0, float("inf"), 2.0]}, "age", 1, float("inf")),
    ],
)
def test_a_wrong_value_is_named_by_column_and_row(encoder, columns, column, row, value):
    arrays = {"history": pa.nulls(3)} | {name: pa.array(values) for name, values in columns.items()}
    with pytest.raises(BadValue) as caught:
        encoder.users(arrays, 3)
    assert (caught.value.column, caught.value.position, caught.value.value) == (column, row, value)


@pytest.mark.parametrize("dtype", [pa.list_(pa.int64()), pa.large_list(pa.int32()), pa.list_(pa.int64(), 2)], ids=str)
def test_lists_of_every_type_are_flattened(dtype):
    values, bounds = flattened(pa.array([[1, 2], None, [3, 4], [5, 6]], dtype).slice(1))
    assert (values.to_pylist(), bounds.tolist()) == ([3, 4, 5, 6], [0, 0, 2, 4])
