"""Columns of raw ids and numbers -> indices and floats, a whole column at a time.

:class:`~clickflow.tracking.encoding.RowEncoder` looks at every value by itself, since a request may hold anything. A column of a table has
one type, so nearly every fault is one of the type and found before the first row; what is left to look for in the values is done by Arrow
and numpy, in compiled code that lets other threads run.
"""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clickflow.tracking.encoding import EXACT_IN_FLOAT, boolean_ids

NUMBER = "a finite number; write one, or null where it is missing"
INTEGER_ID = "an integer id; the model was trained on integer ids; write integers"
TEXT_ID = "a text id; the model was trained on text ids; write texts"
LARGEST = 2**63 - 1  # of int64
VALUES_PER_ID = 0.25
"""Arrow's lookup hashes all known ids at each call: worth it for this many values an id or more."""


class BadValue(Exception):
    """A value that is not what its column holds."""

    def __init__(self, position: int, value: object, message: str) -> None:
        """Note where it stands.

        Args:
            position: in the array.
            value: as it stands there.
            message: what is wrong with it.
        """
        super().__init__(message)
        self.position = position
        self.value = value
        self.message = message


class IdTable:
    """Raw id -> index; 0 for an id that train has not seen, and for a missing one.

    Args:
        raw: (V,) ids, integers or texts; null for a row that stands for the unknown id.
        index: (V,) their indices.
    """

    def __init__(self, raw: pa.ChunkedArray, index: NDArray[np.integer[Any]]) -> None:
        self.is_integer = pa.types.is_integer(raw.type)
        self._is_boolean = bool(boolean_ids(raw))
        ids = raw.drop_null().cast(pa.int64() if self.is_integer else pa.large_string()).combine_chunks()
        self._ids = pc.utf8_lower(ids) if self._is_boolean else ids
        self._hashed = pd.Index(self._ids.to_numpy(zero_copy_only=False), dtype=np.int64 if self.is_integer else object)
        self._index = np.append(np.asarray(index)[np.asarray(raw.is_valid())], 0).astype(np.int64)  # the last one answers position -1

    def takes(self, dtype: pa.DataType) -> bool:
        """Whether a column of this type can hold such ids."""
        if pa.types.is_dictionary(dtype):
            return self.takes(dtype.value_type)
        if self.is_integer:
            return bool(pa.types.is_integer(dtype) or pa.types.is_floating(dtype) or pa.types.is_null(dtype))
        return bool(is_text(dtype) or pa.types.is_null(dtype) or (self._is_boolean and pa.types.is_boolean(dtype)))

    @property
    def expected(self) -> str:
        """What a column of such ids holds, for messages."""
        return INTEGER_ID if self.is_integer else TEXT_ID

    def known(self, ids: pa.Array, required: bool) -> NDArray[np.int64]:
        """(R,) positions of the ids among those of the table; -1 for an unknown or missing one.

        Raises:
            BadValue: a value that is no such id, or a missing one where each is required.
        """
        ids = ids.dictionary_decode() if pa.types.is_dictionary(ids.type) else ids
        ids = _from_floats(ids) if self.is_integer and pa.types.is_floating(ids.type) else ids
        if required and ids.null_count:
            raise BadValue(int(np.asarray(ids.is_null()).argmax()), None, "missing; every row needs one; drop the row")
        ids = _as_int64(ids) if self.is_integer else ids.cast(pa.large_string())
        if not self.is_integer:
            return self._known_texts(pc.utf8_lower(ids) if self._is_boolean else ids)
        positions: NDArray[np.int64] = self._hashed.get_indexer(ids.fill_null(0).to_numpy())
        if ids.null_count:
            positions[np.asarray(ids.is_null())] = -1
        return positions

    def __call__(self, ids: pa.Array, required: bool) -> NDArray[np.int64]:
        """(R,) raw ids -> (R,) indices.

        Raises:
            BadValue: a value that is no such id, or a missing one where each is required.
        """
        return self._index[self.known(ids, required)]

    def _known_texts(self, ids: pa.Array) -> NDArray[np.int64]:
        if len(ids) >= VALUES_PER_ID * len(self._ids):
            return np.asarray(pc.index_in(ids, value_set=self._ids).fill_null(-1)).astype(np.int64)
        encoded = ids.dictionary_encode()  # so that each distinct text becomes a Python object once
        positions = np.append(self._hashed.get_indexer(encoded.dictionary.to_numpy(zero_copy_only=False)), -1)
        return positions[np.asarray(encoded.indices.fill_null(len(positions) - 1))]


def is_text(dtype: pa.DataType) -> bool:
    """Whether a column of this type holds texts."""
    return bool(pa.types.is_string(dtype) or pa.types.is_large_string(dtype) or pa.types.is_string_view(dtype))


def is_number(dtype: pa.DataType) -> bool:
    """Whether a column of this type holds what a numeric field can be made of; booleans are 0 and 1, as in training."""
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal, pa.types.is_null)
    return any(test(dtype) for test in tests)


def numbers(values: pa.Array) -> NDArray[np.float64]:
    """(R,) numbers -> (R,) float64; NaN for a missing one.

    Raises:
        BadValue: an infinite number.
    """
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    result: NDArray[np.float64] = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    infinite = np.isinf(result)
    if infinite.any():
        position = int(infinite.argmax())
        raise BadValue(position, float(result[position]), f"not {NUMBER}")
    return result


def parsed_integers(texts: pa.Array) -> pa.Array:
    """Texts of a CSV as integers; ``7.0`` is one too, as pandas writes a column of integers with gaps.

    Raises:
        BadValue: a text that is no integer.
    """
    texts = pc.replace_substring_regex(pc.utf8_trim_whitespace(texts), r"\.0+$", "")
    _refuse_unless(pc.match_substring_regex(texts, r"^-?\d{1,38}$"), texts, f"not {INTEGER_ID}")
    try:
        return texts.cast(pa.int64())
    except pa.ArrowInvalid:  # beyond 64 bits
        return texts.cast(pa.decimal128(38))


def parsed_numbers(texts: pa.Array) -> pa.Array:
    """Texts of a CSV as float64.

    Raises:
        BadValue: a text that is no number.
    """
    texts = pc.utf8_trim_whitespace(texts)
    _refuse_unless(pc.match_substring_regex(texts, r"(?i)^([+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|nan)$"), texts, f"not {NUMBER}")
    return texts.cast(pa.float64())


def _refuse_unless(is_good: pa.Array, texts: pa.Array, message: str) -> None:
    good = np.asarray(is_good.fill_null(True))
    if not good.all():
        position = int(good.argmin())
        raise BadValue(position, texts[position].as_py(), message)


def _from_floats(ids: pa.Array) -> pa.Array:
    """Floats that are integers, as pandas writes a column of integers with gaps, as int64; null for NaN."""
    values = ids.cast(pa.float64()).to_numpy(zero_copy_only=False)
    missing = np.isnan(values)
    wrong = ~missing & ~((np.abs(values) < EXACT_IN_FLOAT) & (values == np.round(values)))
    if wrong.any():
        position = int(wrong.argmax())
        raise BadValue(position, float(values[position]), f"not {INTEGER_ID}")
    return pa.array(np.where(missing, 0, values).astype(np.int64), mask=missing)


def _as_int64(ids: pa.Array) -> pa.Array:
    """Integers of any width as int64; null for those beyond it, which no model knows."""
    if pa.types.is_uint64(ids.type) or pa.types.is_decimal(ids.type):
        ids = pc.if_else(pc.less_equal(pc.abs(ids), pa.scalar(LARGEST).cast(ids.type)), ids, None)
    return ids.cast(pa.int64())
