"""Users and moments of rows, one by one as requests have them and in columns."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from clickflow.serving.raw_columns import BadValue
from clickflow.serving.user_moments import moment, user_text, user_texts

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
MICROSECONDS = int(NOON.timestamp()) * 10**6


@pytest.mark.parametrize(
    ("value", "unit"),
    [
        (MICROSECONDS // 10**6, "seconds"),
        (MICROSECONDS // 10**6 + 0.0, "seconds"),
        (MICROSECONDS // 10**3, "milliseconds"),
        (np.int64(MICROSECONDS), "microseconds"),
        ("2024-05-01T12:00:00", "seconds"),
        ("2024-05-01 12:00Z", "microseconds"),
        (" 2024-05-01T14:00:00+02:00 ", "milliseconds"),
    ],
)
def test_a_moment_is_a_number_of_the_models_unit_or_a_date_time(value, unit):
    assert moment(value, unit) == MICROSECONDS


def test_fractions_of_a_moment_count():
    assert moment(MICROSECONDS / 10**6 + 0.25, "seconds") == moment("2024-05-01T12:00:00.25", "seconds") == MICROSECONDS + 250_000


def test_a_position_is_an_integer():
    assert (moment(3, "order"), moment(3.0, "order")) == (3, 3)


@pytest.mark.parametrize(
    ("value", "unit", "message"),
    [
        (None, "seconds", "^missing; without a history, a row needs the moment"),
        (float("nan"), "seconds", "^missing"),
        ("soon", "seconds", r"^neither a number \(Unix seconds\) nor an ISO 8601 date-time"),
        (True, "seconds", "^neither a number"),
        (float("inf"), "seconds", "^neither a number"),
        ([1], "seconds", "^neither a number"),
        (MICROSECONDS, "seconds", "^not between 1990 and 2100, read as Unix seconds"),
        (10**400, "seconds", "^not between 1990 and 2100"),
        (3, "seconds", "^not between 1990 and 2100"),
        ("2024-05-01", "order", "^not a position; the model's log is in an order without a clock"),
        (1.5, "order", "^not a position"),
        (-1, "order", "^not a position"),
        (10**400, "order", "^not a position"),
    ],
)
def test_what_is_no_moment_is_refused(value, unit, message):
    with pytest.raises(ValueError, match=message):
        moment(value, unit)


def test_users_are_texts_whatever_their_type():
    assert [user_text(value) for value in (7, np.int64(7), 7.0, "7")] == ["7"] * 4
    for column in ([7], [7.0], ["7"], pa.array(["7"]).dictionary_encode()):
        assert user_texts(pa.array(column) if isinstance(column, list) else column).to_pylist() == ["7"]


@pytest.mark.parametrize("value", [1.5, True, [7], 2.0**60], ids=str)
def test_what_is_no_user_is_refused(value):
    with pytest.raises(ValueError, match=r"^not a user's id: an integer or a text"):
        user_text(value)


@pytest.mark.parametrize("value", [None, "", float("nan")], ids=str)
def test_a_user_who_is_missing_is_refused(value):
    with pytest.raises(ValueError, match=r"^missing; without a history, a row needs the user"):
        user_text(value)
    with pytest.raises(BadValue, match=r"^missing; without a history, a row needs the user"):
        user_texts(pa.array([value]))
