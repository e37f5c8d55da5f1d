import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickflow.scoring import ids as module
from clickflow.scoring.ids import BadValue, IdTable, numbers

INTEGERS = {10: 1, 20: 2, 2**62 + 1: 3, -5: 4}
TEXTS = {"a": 1, "Ä": 2, "": 3, "007": 4}


def table(known):
    raw = pa.chunked_array([pa.array([None, *known])])
    return IdTable(raw, np.array([0, *known.values()]))


@given(st.lists(st.none() | st.sampled_from(list(INTEGERS)) | st.integers(-(2**63), 2**63 - 1)))
def test_integer_ids_are_those_of_a_dictionary(values):
    found = table(INTEGERS)(pa.array(values, pa.int64()), required=False)
    assert found.tolist() == [INTEGERS.get(value, 0) for value in values]


@pytest.mark.parametrize("values_per_id", [0, 10**6], ids=["hashed by Arrow", "distinct texts only"])
@given(values=st.lists(st.none() | st.sampled_from(list(TEXTS)) | st.text()))
def test_text_ids_are_those_of_a_dictionary(values, values_per_id):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "VALUES_PER_ID", values_per_id)
        found = table(TEXTS)(pa.array(values, pa.string()), required=False)
    assert found.tolist() == [TEXTS.get(value, 0) for value in values]


@pytest.mark.parametrize("dtype", [pa.int8(), pa.uint64(), pa.float32(), pa.float64(), "dictionary"], ids=str)
def test_a_number_of_any_type_that_is_an_integer_is_an_id(dtype):
    integers = pa.array([20, None, 11], pa.int64())
    column = integers.dictionary_encode() if dtype == "dictionary" else integers.cast(dtype)
    assert table(INTEGERS).takes(column.type)
    assert table(INTEGERS)(column, required=False).tolist() == [2, 0, 0]


@pytest.mark.parametrize("dtype", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())], ids=str)
def test_a_text_of_any_type_is_an_id(dtype):
    column = pa.array(["007", None, "7"]).cast(dtype)
    assert table(TEXTS).takes(dtype)
    assert table(TEXTS)(column, required=False).tolist() == [4, 0, 0]


def test_a_column_of_nothing_is_missing_everywhere():
    assert table(INTEGERS)(pa.nulls(2), required=False).tolist() == [0, 0]
    assert table(TEXTS)(pa.nulls(2), required=False).tolist() == [0, 0]


def test_booleans_are_ids_in_any_writing():
    lookup = table({"False": 1, "True": 2})
    assert lookup(pa.array([True, None, False]), required=False).tolist() == [2, 0, 1]
    assert lookup(pa.array(["TRUE", "maybe", "false"]), required=False).tolist() == [2, 0, 1]
    assert not table(TEXTS).takes(pa.bool_())


@pytest.mark.parametrize("dtype", [pa.string(), pa.bool_(), pa.timestamp("s"), pa.list_(pa.int64())], ids=str)
def test_integer_ids_are_not_taken_from_columns_of_other_types(dtype):
    assert not table(INTEGERS).takes(dtype)


@pytest.mark.parametrize("dtype", [pa.int64(), pa.float64(), pa.binary()], ids=str)
def test_text_ids_are_not_taken_from_columns_of_other_types(dtype):
    assert not table(TEXTS).takes(dtype)


def test_integers_are_parsed_from_texts():
    column = pa.array(["10", " 20 ", "-5", "20.0", None, str(2**62 + 1), "9"])
    assert table(INTEGERS)(column, required=False, is_text=True).tolist() == [1, 2, 4, 2, 0, 3, 0]


@pytest.mark.parametrize(
    ("column", "is_text", "value", "message"),
    [
        (pa.array([10, None]), False, None, "missing; every row needs one"),
        (pa.array([10.0, float("nan")]), False, None, "missing; every row needs one"),
        (pa.array([10, 1.5]), False, 1.5, "not an integer id; the model was trained on integer ids"),
        (pa.array([10, 2.0**53]), False, 2.0**53, "not an integer id"),
        (pa.array([10, float("inf")]), False, float("inf"), "not an integer id"),
        (pa.array([10, 2**63], pa.uint64()), False, 2**63, "larger than 64 bits hold"),
        (pa.array(["10", "x1"]), True, "x1", "not an integer id"),
        (pa.array(["10", "1.5"]), True, "1.5", "not an integer id"),
        (pa.array(["10", "9" * 40]), True, "9" * 40, "larger than 64 bits hold"),
    ],
)
def test_a_value_that_is_no_id_is_pointed_at(column, is_text, value, message):
    with pytest.raises(BadValue, match=f"^{message}") as caught:
        table(INTEGERS)(column, required=True, is_text=is_text)
    assert caught.value.position == 1
    assert caught.value.value == value


def test_numbers_are_read_from_every_numeric_type_and_from_texts():
    for column in (
        pa.array([1, None]),
        pa.array([True, None]),
        pa.array([1.0, float("nan")]),
        pa.array([1, None]).cast(pa.decimal128(38, 2)),
    ):
        np.testing.assert_array_equal(numbers(column), [1.0, np.nan])
    texts = pa.array(["1", "-2.5e3", ".5", " 7. ", "NaN", None])
    np.testing.assert_array_equal(numbers(texts, is_text=True), [1.0, -2500.0, 0.5, 7.0, np.nan, np.nan])


@pytest.mark.parametrize(
    ("column", "is_text"), [(pa.array([1.0, float("-inf")]), False), (pa.array(["1", "inf"]), True), (pa.array(["1", "old"]), True)]
)
def test_a_value_that_is_no_finite_number_is_pointed_at(column, is_text):
    with pytest.raises(BadValue, match=r"^not a finite number; write one, or null where it is missing") as caught:
        numbers(column, is_text)
    assert caught.value.position == 1


def test_a_negative_id_is_refused_where_the_log_has_none():
    ids = IdTable(pa.chunked_array([[3, 5, None]]), np.array([1, 2, 0]))
    with pytest.raises(BadValue, match=r"^negative, but no id of the training data is; send ids as the log has them") as caught:
        ids.canonical(pa.array([3, None, -5]), required=False)
    assert (caught.value.position, caught.value.value) == (2, -5)
    with_negative = IdTable(pa.chunked_array([[-1, 5]]), np.array([1, 2]))
    assert with_negative(pa.array([-1, -7, 5]), required=True).tolist() == [1, 0, 2]
