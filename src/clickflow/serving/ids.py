"""Raw ids -> the indices that ``prepare`` gave them for training.

Ids are checked before they are looked up. An id of the wrong kind (1.5 or "7" where ids are integers) would otherwise be cast on the way,
find another item or none, and give a probability that looks right.
"""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from clickflow.serving.raw_columns import BadValue, RawColumn, refuse

INTEGER_ID = "an integer id; the model was trained on integer ids; send integers"
STRING_ID = "a string id; the model was trained on string ids; send strings"
TOO_LARGE = "beyond 64 bits; ids that large must be strings, in training too"
MISSING = "missing; every candidate and behaviour needs an id; leave it out"
NEGATIVE = "negative, but no id of the training data is; send ids as the log has them"
LARGEST = 2**63 - 1  # of int64
EXACT_IN_FLOAT = 2.0**53  # from here on a float64 no longer tells neighbouring integers apart
VALUES_PER_ID = 0.25
"""Arrow's lookup hashes all known ids at each call: worth it for this many values per id or more."""


class IdTable(RawColumn):
    """Raw id -> index; 0 for an id that train has not seen, and for a missing one.

    A boolean field was stored as the strings ``true`` and ``false``; there booleans are looked up as these, and strings in any case.
    ``raw`` (V,), integers or strings, is null for the unknown id; ``required`` is whether each value must be there.
    """

    def __init__(self, raw: pa.ChunkedArray, index: NDArray[np.integer[Any]], required: bool = False) -> None:
        self.required = required
        self.is_integer = pa.types.is_integer(raw.type)
        self.dtype, self.expected = (pa.int64(), INTEGER_ID) if self.is_integer else (pa.large_string(), STRING_ID)
        ids = raw.drop_null().cast(self.dtype).combine_chunks()
        self._is_boolean = _are_booleans(ids)
        self._ids = pc.utf8_lower(ids) if self._is_boolean else ids
        self._has_negative = self.is_integer and bool(len(ids)) and pc.min(ids).as_py() < 0
        self._hashed = pd.Index(self._ids.to_numpy(zero_copy_only=False), dtype=np.int64 if self.is_integer else object)
        # pandas hashes at the first lookup: here, since of two threads the second would see half a table.
        self._hashed.get_indexer(self._hashed[:1])
        self._index = np.append(np.asarray(index)[np.asarray(raw.is_valid())], 0).astype(np.int64)  # the last one answers position -1

    def takes(self, dtype: pa.DataType) -> bool:
        """Whether an array of this type can hold such ids."""
        if pa.types.is_dictionary(dtype):
            return self.takes(dtype.value_type)
        if self.is_integer:
            return bool(pa.types.is_integer(dtype) or pa.types.is_floating(dtype) or pa.types.is_null(dtype))
        is_string = pa.types.is_string(dtype) or pa.types.is_large_string(dtype) or pa.types.is_string_view(dtype)
        return bool(is_string or pa.types.is_null(dtype) or (self._is_boolean and pa.types.is_boolean(dtype)))

    def plain(self, value: Any) -> int | str:
        """Convert one Python value: of floats only integers, of booleans only those of a boolean field."""
        is_boolean = isinstance(value, (bool, np.bool_))
        if self.is_integer and not is_boolean:
            if isinstance(value, (int, np.integer)):
                if -LARGEST - 1 <= int(value) <= LARGEST:
                    return int(value)
                raise ValueError(TOO_LARGE)
            if isinstance(value, (float, np.floating)) and float(value).is_integer() and abs(float(value)) < EXACT_IN_FLOAT:
                return int(value)
        if not self.is_integer and (isinstance(value, str) or (is_boolean and self._is_boolean)):
            return str(value).encode(errors="backslashreplace").decode()  # half a surrogate pair is no Unicode, and no id of train
        raise ValueError(f"not {self.expected}")

    def canonical(self, ids: pa.Array) -> pa.Array:
        """(R,) ids of a type that :meth:`takes` -> as int64 or large_string, like the known ones; null for a missing one.

        Raises:
            BadValue: a value is no such id, is negative where no id of train is, or is missing where each is required.
        """
        ids = ids.dictionary_decode() if pa.types.is_dictionary(ids.type) else ids
        ids = _integers(ids) if self.is_integer else ids.cast(self.dtype)
        if self.is_integer and not self._has_negative and len(ids) > ids.null_count and pc.min(ids).as_py() < 0:
            refuse(np.asarray(pc.less(ids, 0).fill_null(False)), ids, NEGATIVE)
        if self.required and ids.null_count:
            raise BadValue(int(np.asarray(ids.is_null()).argmax()), None, MISSING)
        return pc.utf8_lower(ids) if self._is_boolean else ids

    def known(self, ids: pa.Array) -> NDArray[np.int64]:
        """(R,) canonical ids -> (R,) positions among those of the table; -1 for an unknown or missing one."""
        if not self.is_integer:
            return self._known_strings(ids)
        filled = ids.fill_null(0) if ids.null_count else ids
        positions: NDArray[np.int64] = self._hashed.get_indexer(filled.to_numpy())
        if ids.null_count:
            positions[np.asarray(ids.is_null())] = -1
        return positions

    def __call__(self, values: pa.Array) -> Tensor:
        """(R,) ids as :meth:`canonical` takes them -> (R,) int64 indices."""
        return torch.from_numpy(self._index[self.known(self.canonical(values))])

    def _known_strings(self, ids: pa.Array) -> NDArray[np.int64]:
        if len(ids) >= VALUES_PER_ID * len(self._ids):
            found: NDArray[np.int32] = np.asarray(pc.index_in(ids, value_set=self._ids).fill_null(-1))
            return found.astype(np.int64)
        encoded = ids.dictionary_encode()  # so that each distinct string becomes a Python object once
        positions = np.append(self._hashed.get_indexer(encoded.dictionary.to_numpy(zero_copy_only=False)), -1)
        found_strings: NDArray[np.int64] = positions[np.asarray(encoded.indices.fill_null(len(positions) - 1))]
        return found_strings


def _are_booleans(ids: pa.Array) -> bool:
    """Whether these ids are ``true`` and ``false`` in one spelling each, and nothing else.

    >>> [_are_booleans(pa.array(ids)) for ids in (["True", "False"], ["true"], ["true", "tv"], ["true", "True"])]
    [True, True, False, False]
    """
    lowered = {str(identifier).lower() for identifier in ids.slice(0, 3).to_pylist()}
    return 0 < len(ids) == len(lowered) and lowered <= {"true", "false"}


def _integers(ids: pa.Array) -> pa.Array:
    """Integers of any width as int64; also floats that are integers, as pandas has them in a column with gaps; null for NaN."""
    if pa.types.is_floating(ids.type):
        values = ids.cast(pa.float64()).to_numpy(zero_copy_only=False)
        missing = np.isnan(values)
        refuse(~missing & ~((np.abs(values) < EXACT_IN_FLOAT) & (values == np.round(values))), ids, f"not {INTEGER_ID}")
        return pa.array(np.where(missing, 0, values).astype(np.int64), mask=missing)
    if pa.types.is_uint64(ids.type):
        refuse(np.asarray(ids.fill_null(0)) > LARGEST, ids, TOO_LARGE)
    return ids.cast(pa.int64())
