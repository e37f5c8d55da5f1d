import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickflow.serving import ids as module
from clickflow.serving.ids import IdTable
from clickflow.serving.raw_columns import BadValue

INTEGERS = {10: 1, 20: 2, 2**62 + 1: 3, -5: 4}
STRINGS = {"a": 1, "Ä": 2, "": 3, "007": 4}


def table(known, required=False):
    raw = pa.chunked_array([pa.array([None, *known])])
    return IdTable(raw, np.array([0, *known.values()]), required)


def indices(known, values, required=False):
    """Of Python values, by way of Arrow."""
    ids = table(known, required)
    return ids(ids.array(values)).tolist()


@given(st.lists(st.none() | st.sampled_from(list(INTEGERS)) | st.integers(-(2**63), 2**63 - 1)))
def test_integer_ids_are_those_of_a_dictionary(values):
    expected = [INTEGERS.get(value, 0) for value in values]
    assert table(INTEGERS)(pa.array(values, pa.int64())).tolist() == expected
    assert indices(INTEGERS, values) == expected


@pytest.mark.parametrize("values_per_id", [0, 10**6], ids=["hashed by Arrow", "distinct strings only"])
@given(values=st.lists(st.none() | st.sampled_from(list(STRINGS)) | st.text()))
def test_string_ids_are_those_of_a_dictionary(values, values_per_id):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "VALUES_PER_ID", values_per_id)
        found = table(STRINGS)(pa.array(values, pa.string()))
    assert found.tolist() == [STRINGS.get(value, 0) for value in values]


@pytest.mark.parametrize("dtype", [pa.int8(), pa.uint64(), pa.float32(), pa.float64(), "dictionary"], ids=str)
def test_a_number_of_any_type_that_is_an_integer_is_an_id(dtype):
    integers = pa.array([20, None, 11], pa.int64())
    column = integers.dictionary_encode() if dtype == "dictionary" else integers.cast(dtype)
    assert table(INTEGERS).takes(column.type)
    assert table(INTEGERS)(column).tolist() == [2, 0, 0]


@pytest.mark.parametrize("dtype", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())], ids=str)
def test_a_string_of_any_type_is_an_id(dtype):
    column = pa.array(["007", None, "7"]).cast(dtype)
    assert table(STRINGS).takes(dtype)
    assert table(STRINGS)(column).tolist() == [4, 0, 0]


def test_a_column_of_nothing_is_missing_everywhere():
    assert table(INTEGERS)(pa.nulls(2)).tolist() == [0, 0]
    assert table(STRINGS)(pa.nulls(2)).tolist() == [0, 0]


def test_booleans_are_ids_in_any_writing():
    lookup = table({"False": 1, "True": 2})
    assert lookup(pa.array([True, None, False])).tolist() == [2, 0, 1]
    assert lookup(pa.array(["TRUE", "maybe", "false"])).tolist() == [2, 0, 1]
    assert indices({"False": 1, "True": 2}, [True, "FALSE", None, np.True_, "maybe"]) == [2, 1, 0, 2, 0]
    assert not table(STRINGS).takes(pa.bool_())


@pytest.mark.parametrize("dtype", [pa.string(), pa.bool_(), pa.timestamp("s"), pa.list_(pa.int64())], ids=str)
def test_integer_ids_are_not_taken_from_columns_of_other_types(dtype):
    assert not table(INTEGERS).takes(dtype)


@pytest.mark.parametrize("dtype", [pa.int64(), pa.float64(), pa.binary()], ids=str)
def test_string_ids_are_not_taken_from_columns_of_other_types(dtype):
    assert not table(STRINGS).takes(dtype)


def test_values_of_several_types_that_are_integers_are_ids():
    """Arrow refuses to mix integers beyond 2^53 with floats, and takes neither half a surrogate pair nor numpy's strings beside None."""
    assert indices(INTEGERS, [2**62 + 1, 20.0, np.int8(10), np.float32(20), None, float("nan"), pd.NA]) == [3, 2, 1, 2, 0, 0, 0]
    assert indices(INTEGERS, np.array([20, np.nan])) == [2, 0]
    assert indices(STRINGS, ["a", "\ud800", np.str_("007")]) == [1, 0, 4]


NOT_AN_INTEGER = "not an integer id; the model was trained on integer ids; send integers"


@pytest.mark.parametrize(
    ("values", "value", "message"),
    [
        ([10, 1.5], 1.5, NOT_AN_INTEGER),
        ([10, 2.0**53], 2.0**53, NOT_AN_INTEGER),
        ([2**60, 2.0**60], 2.0**60, NOT_AN_INTEGER),
        ([10, float("inf")], float("inf"), NOT_AN_INTEGER),
        ([10, "10"], "10", NOT_AN_INTEGER),
        ([None, "10"], "10", NOT_AN_INTEGER),
        ([10, True], True, NOT_AN_INTEGER),
        ([None, np.True_], np.True_, NOT_AN_INTEGER),
        ([10, [10]], [10], NOT_AN_INTEGER),
        ([10, {"a": 1}], {"a": 1}, NOT_AN_INTEGER),
        ([10, 2**63], 2**63, "beyond 64 bits; ids that large must be strings, in training too"),
        ([10, -(2**63) - 1], -(2**63) - 1, "beyond 64 bits"),
        (np.array([10, 2**63], np.uint64), 2**63, "beyond 64 bits"),
    ],
)
def test_a_value_that_is_no_integer_id_is_pointed_at(values, value, message):
    with pytest.raises(BadValue, match=f"^{message}") as caught:
        indices(INTEGERS, values)
    assert caught.value.position == 1
    assert caught.value.value == value


@pytest.mark.parametrize("value", [3, 1.5, True, ["a"], b"a"])
def test_a_value_that_is_no_string_id_is_pointed_at(value):
    for values in (["a", value], [None, value]):
        with pytest.raises(BadValue, match=r"^not a string id; the model was trained on string ids; send strings") as caught:
            indices(STRINGS, values)
        assert (caught.value.position, caught.value.value) == (1, value)


def test_the_smallest_integer_of_64_bits_is_an_id():
    assert indices({-(2**63): 1}, [-(2**63), 1.0]) == [1, 0]


def test_large_ids_in_a_column_with_gaps_are_refused_rather_than_rounded():
    known = {2**53: 1, 2**53 + 2: 2}
    assert indices(known, np.array([2**53 + 2, 2**53 + 1]), required=True) == [2, 0]
    with pytest.raises(BadValue, match=f"^{NOT_AN_INTEGER}") as caught:
        indices(known, np.array([2**53 + 1, np.nan]))
    assert (caught.value.position, caught.value.value) == (0, 2.0**53)


@pytest.mark.parametrize("values", [[10, None], [10, float("nan")], np.array([10, np.nan])])
def test_a_missing_id_is_pointed_at_where_each_is_required(values):
    assert indices(INTEGERS, values) == [1, 0]
    with pytest.raises(BadValue, match=r"^missing; every candidate and behaviour needs an id; leave it out") as caught:
        indices(INTEGERS, values, required=True)
    assert (caught.value.position, caught.value.value) == (1, None)


def test_a_negative_id_is_refused_where_the_log_has_none():
    with pytest.raises(BadValue, match=r"^negative, but no id of the training data is; send ids as the log has them") as caught:
        indices({3: 1, 5: 2}, [3, None, -5])
    assert (caught.value.position, caught.value.value) == (2, -5)
    assert indices({-1: 1, 5: 2}, [-1, -7, 5]) == [1, 0, 2]
