"""Raw rows -> :class:`Batch`: the same indices that ``prepare`` made for training, from raw ids.

Ids are checked before they are looked up. An id of the wrong kind (1.5 or "7" where ids are integers) would otherwise be cast by someone on
the way, find another item or none, and give a probability that looks right.
"""

import math
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
from clickflow.serving.bundle import ServingBundle
from clickflow.serving.candidates import CandidateRows, list_rows, object_array, shortened

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
        self._has_negative = self.is_integer and bool((ids < 0).any())
        self._ids = pd.Index(ids)
        # pandas hashes at the first lookup: here, since of two requests at a time the second would see half a table.
        self._ids.get_indexer(self._ids[:1])
        self._index = np.append(np.asarray(index)[known], 0).astype(np.int64)  # the last one answers position -1

    def __call__(self, column: str, values: NDArray[Any], required: bool, rows: NDArray[np.int64] | None = None) -> Tensor:
        """(R,) raw ids -> (R,) int64 indices.

        Args:
            column: its name, for messages.
            values: raw ids.
            required: whether a missing id is an error.
            rows: the row of each id, for messages; None where there is one id a row.

        Raises:
            DataError: an id is not of the kind the model was trained on, is negative where no id of train is, or is missing where it is
                required.
        """
        missing = np.asarray(pd.isna(values), dtype=bool)
        if self._boolean:
            values = np.array([self._boolean_text(value) for value in values], dtype=object)
        if required and missing.any():
            raise _wrong(column, values, int(missing.argmax()), "missing; every candidate and behaviour needs an id; leave it out", rows)
        ids = _integers(column, values, missing, rows) if self.is_integer else _strings(column, values, missing, rows)
        if self.is_integer and not self._has_negative and len(ids) and ids.min() < 0:
            raise _wrong(
                column, values, int(ids.argmin()), "negative, but no id of the training data is; send ids as the log has them", rows
            )
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

    def encode(self, frame: pd.DataFrame, candidates: CandidateRows, first_row: int = 0) -> Batch:
        """Encode the C candidates of R raw rows.

        Args:
            frame: ``item``, ``history`` (a list of item ids a row, oldest first; null is an empty one) and any of the user and context
                fields, one value a row or a list with one for each candidate. A field without a column is unknown (numeric: its mean)
                in every row.
            candidates: of the column ``item``.
            first_row: number of the frame's first row, for messages.

        Raises:
            DataError: an id or number cannot be read; names the column.
        """
        rows = (np.arange(len(frame)) if candidates.rows is None else candidates.rows) + first_row
        names = [field.name for field in self._schema.impression_fields]
        names += [field.name for field in self._schema.numeric if field.role != "item"]
        columns = {name: candidates.spread(name, frame[name].to_numpy(), first_row) for name in names if name in frame}
        item = self._items(ITEM, candidates.items, required=True, rows=rows)
        history, offsets = self._history(frame[HISTORY].to_numpy(), first_row)
        context = [self._context(field.name, columns, rows) for field in self._schema.impression_fields]
        numeric = [self._numeric(field, columns, rows, item) for field in self._schema.numeric]
        return Batch(
            target=self._item_fields[:, item],
            history=self._item_fields[:, history],
            offsets=offsets,
            context=torch.stack(context) if context else torch.zeros(0, len(candidates), dtype=torch.int64),
            numeric=torch.stack(numeric, dim=1) if numeric else torch.zeros(len(candidates), 0),
            history_of=None if candidates.rows is None else torch.from_numpy(candidates.rows),
        )

    def _history(self, column: NDArray[Any], first_row: int) -> tuple[Tensor, Tensor]:
        """R lists -> (N,) item rows and (R + 1,) offsets."""
        is_list, is_missing = list_rows(column), pd.isna(column)
        histories = []
        for row, history in enumerate(column):
            if is_list is not None and is_list[row]:
                histories.append(history[-self._max_history :])
            elif is_missing[row]:
                histories.append([])
            else:
                where = f"column '{HISTORY}', row {first_row + row:,} = {shortened(history)}"
                raise DataError(f"{where}: not a list of item ids; send a list, oldest first, or [] where there are none")
        lengths = np.array([len(history) for history in histories], dtype=np.int64)
        flat = object_array(identifier for history in histories for identifier in history)
        rows = np.repeat(np.arange(first_row, first_row + len(column)), lengths)
        return self._items(HISTORY, flat, required=True, rows=rows), torch.from_numpy(np.append(0, lengths.cumsum()))

    def _context(self, name: str, columns: dict[str, NDArray[Any]], rows: NDArray[np.int64]) -> Tensor:
        if name not in columns:
            return torch.zeros(len(rows), dtype=torch.int64)
        return self._vocabularies[name](name, columns[name], required=False, rows=rows)

    def _numeric(self, field: NumericField, columns: dict[str, NDArray[Any]], rows: NDArray[np.int64], item: Tensor) -> Tensor:
        """(C,) standardised values; a missing one is 0, the mean."""
        if field.role == "item":
            return torch.from_numpy(self._item_numeric[field.name][item.numpy()])
        if field.name not in columns:
            return torch.zeros(len(rows))
        values = _floats(field.name, columns[field.name], rows)
        if np.isinf(values).any():
            where = int(np.isinf(values).argmax())
            raise _wrong(field.name, values, where, "not finite; send a number, or null where it is missing", rows)
        return torch.from_numpy(np.nan_to_num((values - field.mean) / field.std)).float()


def boolean_ids(raw: pa.ChunkedArray) -> dict[str, str]:
    """``true`` and ``false`` -> how a vocabulary of nothing else writes them; empty for any other vocabulary.

    >>> boolean_ids(pa.chunked_array([["True", "False", None]])), boolean_ids(pa.chunked_array([["true", "tv"]]))
    ({'true': 'True', 'false': 'False'}, {})
    """
    ids = raw.drop_null().to_pylist()
    texts = {str(identifier).lower(): identifier for identifier in ids}
    return texts if texts.keys() <= {"true", "false"} and len(texts) == len(ids) else {}


def _floats(column: str, values: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Numbers and booleans, as in training, -> float64; a missing one is NaN."""
    if values.dtype.kind in "iufb":
        return values.astype(np.float64)
    numbers = np.full(len(values), np.nan)
    for place in np.flatnonzero(~np.asarray(pd.isna(values), dtype=bool)):
        if not isinstance(values[place], (int, float, np.number, np.bool_)):
            raise _wrong(column, values, int(place), "not a number; send a number, or null where it is missing", rows)
        try:
            numbers[place] = values[place]
        except OverflowError:  # JSON's integers have no end
            numbers[place] = np.inf
    return numbers


def _integers(column: str, values: NDArray[Any], missing: NDArray[np.bool_], rows: NDArray[np.int64] | None) -> NDArray[np.int64]:
    if values.dtype.kind == "i" or set(map(type, values)) <= {int}:
        try:
            return values.astype(np.int64)
        except OverflowError:  # the loop finds which one it is
            pass
    ids = np.zeros(len(values), dtype=np.int64)
    for place in np.flatnonzero(~missing):
        if not _is_integral(values[place]):
            is_integer = isinstance(values[place], (int, np.integer)) and not isinstance(values[place], bool)
            what = "beyond 64 bits" if is_integer else "not an integer id"
            raise _wrong(column, values, int(place), f"{what}; the model was trained on integer ids; send integers", rows)
        ids[place] = int(values[place])
    return ids


def _is_integral(value: Any) -> bool:
    """A column of integers with a gap in it arrives as floats, so 3.0 is an id; True, 1.5 and what 64 bits cannot hold are none."""
    if isinstance(value, (float, np.floating)):
        return math.isfinite(value) and float(value).is_integer() and abs(float(value)) < EXACT_IN_FLOAT
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and -(2**63) <= int(value) < 2**63


def _strings(column: str, values: NDArray[Any], missing: NDArray[np.bool_], rows: NDArray[np.int64] | None) -> NDArray[np.object_]:
    ids = values.astype(object)
    if set(map(type, ids)) <= {str}:
        return ids
    for place in np.flatnonzero(~missing):
        if not isinstance(ids[place], str):
            raise _wrong(column, values, int(place), "not a string id; the model was trained on string ids; send strings", rows)
    ids[missing] = ""
    return ids


def _wrong(column: str, values: NDArray[Any], place: int, message: str, rows: NDArray[np.int64] | None) -> DataError:
    row = place if rows is None else int(rows[place])
    return DataError(f"column '{column}', row {row:,} = {shortened(values[place])}: {message}")
