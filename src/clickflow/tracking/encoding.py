"""Raw rows -> :class:`Batch`: the same indices that ``prepare`` made for training, from raw ids.

Ids are checked before they are looked up. An id of the wrong kind (1.5 or "7" where ids are integers) would otherwise be cast by someone on
the way, find another item or none, and give a probability that looks right.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from clickflow.data.batches import Batch
from clickflow.data.schema import HISTORY, ITEM, NumericField
from clickflow.errors import DataError
from clickflow.tracking.bundle import ServingBundle

EXACT_IN_FLOAT = 2.0**53  # from here on a float64 no longer tells neighbouring integers apart


class IdLookup:
    """Raw id -> index; 0 for an id that train has not seen, and for a missing one where that is allowed.

    A boolean field was stored as the texts ``true`` and ``false``; there booleans are looked up as these, and texts in any case.

    Args:
        raw: (V,) ids, integers or strings; null for a row that stands for the unknown id.
        index: (V,) their indices.
    """

    def __init__(self, raw: pa.ChunkedArray, index: NDArray[np.integer[Any]]) -> None:
        self.is_integer = pa.types.is_integer(raw.type)
        known = ~np.asarray(raw.is_null())
        self._boolean = boolean_ids(raw)
        ids = np.array(raw.drop_null().to_pylist(), dtype=np.int64 if self.is_integer else object)
        self._ids = pd.Index(ids)  # hashes once, at the first lookup
        self._index = np.append(np.asarray(index)[known], 0).astype(np.int64)  # the last one answers position -1

    def __call__(self, column: str, values: NDArray[Any], required: bool) -> Tensor:
        """(R,) raw ids -> (R,) int64 indices.

        Args:
            column: its name, for messages.
            values: raw ids.
            required: whether a missing id is an error.

        Raises:
            DataError: an id is not of the kind the model was trained on, or is missing where it is required.
        """
        missing = np.asarray(pd.isna(values), dtype=bool)
        if self._boolean:
            values = np.array([self._boolean_text(value) for value in values], dtype=object)
        if required and missing.any():
            raise _wrong(column, values, int(missing.argmax()), "missing; every row needs one; drop the row")
        ids = _integers(column, values, missing) if self.is_integer else _strings(column, values, missing)
        index = self._index[self._ids.get_indexer(ids)]
        index[missing] = 0
        return torch.from_numpy(index)

    def _boolean_text(self, value: Any) -> Any:
        """``True``, ``"True"`` -> the id as stored; whatever is no boolean stays as it is, to be looked up or refused like any other."""
        return self._boolean.get(str(value).lower(), value) if isinstance(value, (bool, np.bool_, str)) else value


class RowEncoder:
    """Turns frames of raw rows into batches for one model."""

    def __init__(self, bundle: ServingBundle) -> None:
        self._schema = bundle.schema
        self._max_history = bundle.max_history
        items = bundle.items
        self._items = IdLookup(items["raw"], np.arange(len(items)))
        fields = [items[f"index/{field.name}"].to_numpy().astype(np.int64) for field in self._schema.item_fields]
        self._item_fields = torch.from_numpy(np.stack(fields))  # (F, I)
        self._item_numeric = {
            field.name: items[f"numeric/{field.name}"].to_numpy().astype(np.float32)
            for field in self._schema.numeric
            if field.role == "item"
        }
        self._vocabularies = {
            field.name: IdLookup(bundle.vocabularies[field.name]["raw"], bundle.vocabularies[field.name]["index"].to_numpy())
            for field in self._schema.impression_fields
        }

    def encode(self, frame: pd.DataFrame) -> Batch:
        """Encode B raw rows.

        Args:
            frame: ``item``, ``history`` (a list of item ids a row, oldest first; null is an empty one) and any of the user and context
                fields. A field without a column is unknown (numeric: its mean) in every row.

        Raises:
            DataError: an id or number cannot be read; names the column.
        """
        item = self._items(ITEM, frame[ITEM].to_numpy(), required=True)
        history, offsets = self._history(frame[HISTORY])
        context = [self._context(field.name, frame) for field in self._schema.impression_fields]
        numeric = [self._numeric(field, frame, item) for field in self._schema.numeric]
        return Batch(
            target=self._item_fields[:, item],
            history=self._item_fields[:, history],
            offsets=offsets,
            context=torch.stack(context) if context else torch.zeros(0, len(frame), dtype=torch.int64),
            numeric=torch.stack(numeric, dim=1) if numeric else torch.zeros(len(frame), 0),
        )

    def _history(self, column: Sequence[Sequence[Any]]) -> tuple[Tensor, Tensor]:
        """B lists -> (N,) item rows and (B + 1,) offsets."""
        rows = [[] if pd.api.types.is_scalar(ids) and pd.isna(ids) else list(ids)[-self._max_history :] for ids in column]
        offsets = torch.tensor([0, *(len(row) for row in rows)]).cumsum(0)
        flat = np.empty(int(offsets[-1]), dtype=object)  # filled, not converted: numpy would make floats of [1, 2.5]
        flat[:] = [identifier for row in rows for identifier in row]
        return self._items(HISTORY, flat, required=True), offsets

    def _context(self, name: str, frame: pd.DataFrame) -> Tensor:
        if name not in frame:
            return torch.zeros(len(frame), dtype=torch.int64)
        return self._vocabularies[name](name, frame[name].to_numpy(), required=False)

    def _numeric(self, field: NumericField, frame: pd.DataFrame, item: Tensor) -> Tensor:
        """(B,) standardised values; a missing one is 0, the mean."""
        if field.role == "item":
            return torch.from_numpy(self._item_numeric[field.name][item.numpy()])
        if field.name not in frame:
            return torch.zeros(len(frame))
        values = _floats(field.name, frame[field.name].to_numpy())
        if np.isinf(values).any():
            raise _wrong(field.name, values, int(np.isinf(values).argmax()), "not finite; send a number, or null where it is missing")
        return torch.from_numpy(np.nan_to_num((values - field.mean) / field.std)).float()


def boolean_ids(raw: pa.ChunkedArray) -> dict[str, str]:
    """``true`` and ``false`` -> how a vocabulary of nothing else writes them; empty for any other vocabulary.

    >>> boolean_ids(pa.chunked_array([["True", "False", None]])), boolean_ids(pa.chunked_array([["true", "tv"]]))
    ({'true': 'True', 'false': 'False'}, {})
    """
    ids = raw.drop_null().to_pylist()
    texts = {str(identifier).lower(): identifier for identifier in ids}
    return texts if texts.keys() <= {"true", "false"} and len(texts) == len(ids) else {}


def _floats(column: str, values: NDArray[Any]) -> NDArray[np.float64]:
    """Numbers and booleans, as in training, -> float64; a missing one is NaN."""
    if values.dtype.kind in "iufb":
        return values.astype(np.float64)
    numbers = np.full(len(values), np.nan)
    for row in np.flatnonzero(~np.asarray(pd.isna(values), dtype=bool)):
        if not isinstance(values[row], (int, float, np.number, np.bool_)):
            raise _wrong(column, values, int(row), "not a number; send a number, or null where it is missing")
        numbers[row] = values[row]
    return numbers


def _integers(column: str, values: NDArray[Any], missing: NDArray[np.bool_]) -> NDArray[np.int64]:
    if values.dtype.kind in "iu":
        return values.astype(np.int64)
    ids = np.zeros(len(values), dtype=np.int64)
    for row in np.flatnonzero(~missing):
        if not _is_integral(values[row]):
            raise _wrong(column, values, int(row), "not an integer id; the model was trained on integer ids; send integers")
        ids[row] = int(values[row])
    return ids


def _is_integral(value: Any) -> bool:
    """A column of integers with a gap in it arrives as floats, so 3.0 is an id; True and 1.5 are none."""
    if isinstance(value, (float, np.floating)):
        return math.isfinite(value) and float(value).is_integer() and abs(float(value)) < EXACT_IN_FLOAT
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _strings(column: str, values: NDArray[Any], missing: NDArray[np.bool_]) -> NDArray[np.object_]:
    ids = values.astype(object)
    for row in np.flatnonzero(~missing):
        if not isinstance(ids[row], str):
            raise _wrong(column, values, int(row), "not a string id; the model was trained on string ids; send strings")
    ids[missing] = ""
    return ids


def _wrong(column: str, values: NDArray[Any], row: int, message: str) -> DataError:
    value = values[row].item() if isinstance(values[row], np.generic) else values[row]
    where = f"column '{column}', row {row:,}" if column != HISTORY else f"column '{column}'"
    return DataError(f"{where} = {value!r}: {message}")
