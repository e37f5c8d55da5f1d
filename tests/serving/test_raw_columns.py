from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from clickflow.data.schema import NumericField
from clickflow.serving.raw_columns import BadValue, NumberColumn, of_column

PLAIN = NumberColumn(NumericField(name="n", role="user", mean=0, std=1))


@pytest.mark.parametrize(
    "column",
    [pa.array([2, None]), pa.array([2.0, float("nan")]), pa.array([2, None]).cast(pa.decimal128(38, 2)), pa.array([2, None], pa.uint8())],
    ids=lambda column: str(column.type),
)
def test_numbers_of_every_type_are_read(column):
    assert PLAIN.takes(column.type)
    assert PLAIN(column).tolist() == [2.0, 0.0]


def test_booleans_are_numbers():
    assert PLAIN(pa.array([True, None, False])).tolist() == [1.0, 0.0, 0.0]
    assert PLAIN(PLAIN.array([True, 2.5, np.True_, None])).tolist() == [1.0, 2.5, 1.0, 0.0]


def test_numbers_are_standardised_and_a_missing_one_is_the_mean():
    column = NumberColumn(NumericField(name="age", role="user", mean=40, std=10))
    assert column(column.array([55, None, np.nan, pd.NA, 35.0])).tolist() == [1.5, 0.0, 0.0, 0.0, -0.5]


@pytest.mark.parametrize(
    ("values", "value"),
    [
        ([1.0, float("-inf")], float("-inf")),
        ([1, 10**400], float("inf")),
        ([1, "x"], "x"),
        ([None, "1"], "1"),
        ([None, [1]], [1]),
        ([1, Decimal("Infinity")], Decimal("Infinity")),
        ([None, pd.Timestamp(0)], pd.Timestamp(0)),
    ],
)
def test_a_value_that_is_no_finite_number_is_pointed_at(values, value):
    with pytest.raises(BadValue, match=r"^not a finite number; send one, or null where it is missing") as caught:
        PLAIN(PLAIN.array(values))
    assert (caught.value.position, caught.value.value) == (1, value)


def test_a_bad_value_of_a_list_is_one_of_its_row():
    for position, row in ((0, 0), (1, 0), (2, 2), (3, 3)):  # of rows with 2, 0, 1 and 2 values
        with pytest.raises(BadValue) as caught, of_column("history", np.array([0, 2, 2, 3, 5])):
            raise BadValue(position, "x", "wrong")
        assert (caught.value.column, caught.value.position) == ("history", row)
