"""Whose history, and at which moment: values of ``user`` and ``timestamp`` in rows to score.

Users are compared as texts, so that 7 and "7" are one user, whichever of them a log, a table or a request writes.
"""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clickflow.data.arrays import IntArray
from clickflow.data.schema import TICKS_PER_SECOND, TimestampUnit
from clickflow.serving.raw_columns import refuse

USER_ID = "a user's id: an integer or a text"
NO_USER = "missing; without a history, a row needs the user whose behaviours make it"
NO_MOMENT = "missing; without a history, a row needs the moment that its behaviours must precede"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST, LATEST = (int((datetime(year, 1, 1, tzinfo=UTC) - EPOCH).total_seconds()) * 10**6 for year in (1990, 2100))
LARGEST_EXACT = 2.0**53


def takes_users(dtype: pa.DataType) -> bool:
    """Whether an Arrow type can hold ids of users."""
    if pa.types.is_dictionary(dtype):
        return takes_users(dtype.value_type)
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return pa.types.is_null(dtype) or any(test(dtype) for test in tests)


def user_texts(values: pa.Array) -> pa.Array:
    """(R,) ids of users, of a type that :func:`takes_users` -> (R,) texts; a BadValue if one is missing or no id."""
    values = values.dictionary_decode() if pa.types.is_dictionary(values.type) else values
    refuse(np.asarray(values.is_null(nan_is_null=True)), values, NO_USER)
    if pa.types.is_floating(values.type):  # as pandas has integers in a column with gaps
        numbers: NDArray[np.float64] = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
        refuse((np.abs(numbers) >= LARGEST_EXACT) | (numbers != np.round(numbers)), values, f"not {USER_ID}")
        values = values.cast(pa.int64())
    texts = values.cast(pa.large_string())
    refuse(np.asarray(pc.equal(texts, "")), values, NO_USER)
    return texts


def user_text(value: Any) -> str:
    """One id of a user, as text; the text of a ValueError says why it is none."""
    if isinstance(value, str) and value:
        return value.encode(errors="backslashreplace").decode()
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        raise ValueError(NO_USER)
    is_whole = isinstance(value, (float, np.floating)) and float(value).is_integer() and abs(float(value)) < LARGEST_EXACT
    if is_whole or (isinstance(value, (int, np.integer)) and not isinstance(value, bool)):
        return str(int(value))
    raise ValueError(f"not {USER_ID}")


def moment(value: Any, unit: TimestampUnit) -> int:
    """One timestamp -> microseconds since 1970, or a position; the text of a ValueError says why it is none.

    >>> moment(1714557600, "seconds"), moment("2024-05-01T12:00+02:00", "seconds"), moment(3, "order")
    (1714557600000000, 1714557600000000, 3)
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        raise ValueError(NO_MOMENT)
    is_float = isinstance(value, (float, np.floating)) and math.isfinite(value)
    is_whole = (isinstance(value, (int, np.integer)) and not isinstance(value, bool)) or (is_float and float(value).is_integer())
    if unit == "order":
        if is_whole and 0 <= value < 2**63:
            return int(value)
        raise ValueError("not a position; the model's log is in an order without a clock: send an integer")
    found = None
    if is_whole or is_float:
        ticks = 10**6 // TICKS_PER_SECOND[unit]
        found = int(value) * ticks if is_whole else round(value * ticks)
    elif isinstance(value, str):
        found = _microseconds(value)
    if found is None:
        raise ValueError(f"neither a number (Unix {unit}) nor an ISO 8601 date-time; send one of them")
    if not EARLIEST <= found < LATEST:
        raise ValueError(f"not between 1990 and 2100, read as Unix {unit}; send {unit}, or an ISO 8601 date-time")
    return found


def implausible(moments: IntArray) -> NDArray[np.bool_]:
    """(R,) whether each, in microseconds since 1970, is a number of another unit rather than a moment."""
    return (moments < EARLIEST) | (moments >= LATEST)


def _microseconds(text: str) -> int | None:
    """Microseconds of an ISO 8601 date-time, which is UTC unless it says otherwise."""
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return ((found if found.tzinfo else found.replace(tzinfo=UTC)) - EPOCH) // timedelta(microseconds=1)
