"""Columns of raw ids and numbers -> indices and floats, a whole column at a time.

:class:`~clickflow.serving.encoding.RowEncoder` looks at every value by itself, since a request may hold anything. A column of a table has
one type, so nearly every fault is one of the type and found before the first row; what is left to look for in the values is done by Arrow
and numpy, in compiled code that lets other threads run.
"""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clickflow.serving.encoding import EXACT_IN_FLOAT, boolean_ids

NUMBER = "a finite number; write one, or null where it is missing"
INTEGER_ID = "an integer id; the model was trained on integer ids; write integers"
TEXT_ID = "a text id; the model was trained on text ids; write texts"
LARGEST = 2**63 - 1  # of int64
TOO_LARGE = "larger than 64 bits hold; ids that large must be texts, in training too"
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
        self._has_negative = self.is_integer and bool(len(ids)) and pc.min(ids).as_py() < 0
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

    def canonical(self, ids: pa.Array, required: bool, is_text: bool = False) -> pa.Array:
        """(R,) ids of any type that :meth:`takes` -> as int64 or large_string, as the known ones are; null for a missing one.

        Args:
            ids: as the table has them.
            required: whether a missing one is a fault.
            is_text: texts of a CSV, to be parsed.

        Raises:
            BadValue: a value that is no such id, a negative one where no id of train is, or a missing one where each is required.
        """
        ids = ids.dictionary_decode() if pa.types.is_dictionary(ids.type) else ids
        parsed = _parsed_integers if is_text else _integers
        ids = parsed(ids) if self.is_integer else ids.cast(pa.large_string())
        if self.is_integer and not self._has_negative and len(ids) > ids.null_count and pc.min(ids).as_py() < 0:
            position = int(np.asarray(pc.less(ids, 0).fill_null(False)).argmax())
            raise BadValue(position, ids[position].as_py(), "negative, but no id of the training data is; send ids as the log has them")
        if required and ids.null_count:
            raise BadValue(int(np.asarray(ids.is_null()).argmax()), None, "missing; every row needs one; drop the row")
        return pc.utf8_lower(ids) if self._is_boolean else ids

    def known(self, ids: pa.Array) -> NDArray[np.int64]:
        """(R,) canonical ids -> (R,) positions among those of the table; -1 for an unknown or missing one."""
        if not self.is_integer:
            return self._known_texts(ids)
        positions: NDArray[np.int64] = self._hashed.get_indexer(ids.fill_null(0).to_numpy())
        if ids.null_count:
            positions[np.asarray(ids.is_null())] = -1
        return positions

    def __call__(self, ids: pa.Array, required: bool, is_text: bool = False) -> NDArray[np.int64]:
        """(R,) ids as :meth:`canonical` takes them -> (R,) indices.

        Raises:
            BadValue: a value that is no such id, or a missing one where each is required.
        """
        return self._index[self.known(self.canonical(ids, required, is_text))]

    def _known_texts(self, ids: pa.Array) -> NDArray[np.int64]:
        if len(ids) >= VALUES_PER_ID * len(self._ids):
            found: NDArray[np.int32] = np.asarray(pc.index_in(ids, value_set=self._ids).fill_null(-1))
            return found.astype(np.int64)
        encoded = ids.dictionary_encode()  # so that each distinct text becomes a Python object once
        positions = np.append(self._hashed.get_indexer(encoded.dictionary.to_numpy(zero_copy_only=False)), -1)
        found_texts: NDArray[np.int64] = positions[np.asarray(encoded.indices.fill_null(len(positions) - 1))]
        return found_texts


def is_text(dtype: pa.DataType) -> bool:
    """Whether a column of this type holds texts."""
    return bool(pa.types.is_string(dtype) or pa.types.is_large_string(dtype) or pa.types.is_string_view(dtype))


def is_number(dtype: pa.DataType) -> bool:
    """Whether a column of this type holds what a numeric field can be made of; booleans are 0 and 1, as in training."""
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal, pa.types.is_null)
    return any(test(dtype) for test in tests)


def numbers(values: pa.Array, is_text: bool = False) -> NDArray[np.float64]:
    """(R,) numbers, or texts of a CSV -> (R,) float64; NaN for a missing one.

    Raises:
        BadValue: an infinite number, or a text that is no number.
    """
    if is_text:
        values = pc.utf8_trim_whitespace(values)
        _refuse(~_matches(values, r"(?i)^([+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|nan)$"), values, f"not {NUMBER}")
    elif pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    result: NDArray[np.float64] = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    _refuse(np.isinf(result), values, f"not {NUMBER}")
    return result


def _parsed_integers(texts: pa.Array) -> pa.Array:
    """Texts as int64; ``7.0`` is one too, as pandas writes a column of integers with gaps."""
    whole = pc.replace_substring_regex(pc.utf8_trim_whitespace(texts), r"\.0+$", "")
    _refuse(~_matches(whole, r"^-?\d+$"), texts, f"not {INTEGER_ID}")
    try:
        return whole.cast(pa.int64())
    except pa.ArrowInvalid:
        beyond = [text is not None and not -LARGEST <= int(text) <= LARGEST for text in whole.to_pylist()]
        _refuse(np.array(beyond), texts, TOO_LARGE)
        raise


def _integers(ids: pa.Array) -> pa.Array:
    """Integers of any width, and floats that are integers, as pandas has them in a column with gaps, as int64; null for NaN."""
    if pa.types.is_floating(ids.type):
        values = ids.cast(pa.float64()).to_numpy(zero_copy_only=False)
        missing = np.isnan(values)
        _refuse(~missing & ~((np.abs(values) < EXACT_IN_FLOAT) & (values == np.round(values))), ids, f"not {INTEGER_ID}")
        return pa.array(np.where(missing, 0, values).astype(np.int64), mask=missing)
    if pa.types.is_uint64(ids.type):
        _refuse(np.asarray(ids.fill_null(0)) > LARGEST, ids, TOO_LARGE)
    return ids.cast(pa.int64())


def _matches(texts: pa.Array, pattern: str) -> NDArray[np.bool_]:
    """(R,) whether each text matches; true for a missing one."""
    return np.asarray(pc.match_substring_regex(texts, pattern).fill_null(True))


def _refuse(is_bad: NDArray[np.bool_], values: pa.Array, message: str) -> None:
    if is_bad.any():
        position = int(is_bad.argmax())
        raise BadValue(position, values[position].as_py(), message)
