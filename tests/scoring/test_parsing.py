import numpy as np
import pyarrow as pa
import pytest

from clickflow.data.schema import NumericField
from clickflow.scoring.parsing import parsed, parsed_lists
from clickflow.serving.ids import IdTable
from clickflow.serving.raw_columns import BadValue, NumberColumn

INTEGERS = IdTable(pa.chunked_array([[1, -5]]), np.array([1, 2]))
STRINGS = IdTable(pa.chunked_array([["a"]]), np.array([1]))
NUMBERS = NumberColumn(NumericField(name="n", role="user", mean=0, std=1))


def test_integers_are_parsed_from_texts():
    column = pa.array(["10", " 20 ", "-5", "20.0", None, str(2**62 + 1), "9"])
    assert parsed(column, INTEGERS).to_pylist() == [10, 20, -5, 20, None, 2**62 + 1, 9]


def test_numbers_are_parsed_from_texts():
    found = parsed(pa.array(["1", "-2.5e3", ".5", " 7. ", "NaN", None]), NUMBERS)
    np.testing.assert_array_equal(found.to_numpy(zero_copy_only=False), [1.0, -2500.0, 0.5, 7.0, np.nan, np.nan])


def test_strings_stay_as_they_are():
    assert parsed(pa.array([" a", "1", None]), STRINGS).to_pylist() == [" a", "1", None]


def test_lists_are_parsed_from_texts():
    texts = pa.array([" 1|2 ", "", None, "3"])
    assert parsed_lists(texts, "|", "history", INTEGERS).to_pylist() == [[1, 2], [], [], [3]]
    assert parsed_lists(texts, "|", "history", STRINGS).to_pylist() == [["1", "2"], [], [], ["3"]]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (INTEGERS, "x1", "not an integer id; the model was trained on integer ids"),
        (INTEGERS, "1.5", "not an integer id"),
        (INTEGERS, "9" * 40, "beyond 64 bits"),
        (NUMBERS, "inf", "not a finite number; send one, or null where it is missing"),
        (NUMBERS, "old", "not a finite number"),
    ],
)
def test_a_text_that_cannot_be_parsed_is_pointed_at(column, value, message):
    with pytest.raises(BadValue, match=f"^{message}") as caught:
        parsed(pa.array(["1", value]), column)
    assert (caught.value.position, caught.value.value) == (1, value)


def test_a_text_of_a_list_that_cannot_be_parsed_is_pointed_at_by_row():
    with pytest.raises(BadValue, match=r"^not an integer id") as caught:
        parsed_lists(pa.array(["1 2", "", "1 x"]), " ", "history", INTEGERS)
    assert (caught.value.column, caught.value.position, caught.value.value) == ("history", 2, "x")
