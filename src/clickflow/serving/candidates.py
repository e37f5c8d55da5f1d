"""The rows of a request as Arrow columns: each row names one candidate, or as many as ``item`` lists, which then share its history.

A recommender asks for some hundred candidates of one user at a time. Sent as one row each, the history would travel, be checked and be
looked up as many times; with a list of candidates it does so once, and the answer is a list in the same place.
"""

from collections.abc import Callable, Sequence
from itertools import chain, pairwise
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from numpy.typing import NDArray

from clickflow.data.batches import Batch
from clickflow.data.schema import HISTORY, ITEM, TIMESTAMP, USER
from clickflow.errors import DataError
from clickflow.serving.behaviour_table import BehaviourTable
from clickflow.serving.encoder import Encoder
from clickflow.serving.raw_columns import BadValue, of_column, shortened
from clickflow.serving.user_moments import moment, user_text


class CandidateRows:
    """C candidates of R rows.

    Args:
        frame: ``item`` (an id or a list of ids), ``history`` (a list of item ids, oldest first; null is an empty one) and any user and
            context fields (one value, or a list with one value for each candidate of the row).
        first_row: number of the frame's first row, for messages.
        behaviours: a row without a history has that of its ``user`` at its ``timestamp``.
    """

    def __init__(self, frame: pd.DataFrame, first_row: int = 0, behaviours: BehaviourTable | None = None) -> None:
        self._frame, self._first_row, self._behaviours = frame, first_row, behaviours
        column = frame[ITEM].to_numpy()
        self._lists = list_rows(column)
        self._items, self._rows = column, None
        if self._lists is not None:
            self._counts = np.ones(len(column), dtype=np.int64)
            self._counts[self._lists] = [len(cell) for cell in column[self._lists]]
            self._rows = np.repeat(np.arange(len(column)), self._counts)
            self._items = list(chain.from_iterable(cell if is_list else (cell,) for cell, is_list in zip(column, self._lists, strict=True)))

    def __len__(self) -> int:
        return len(self._items)

    def encoded(self, encoder: Encoder) -> Batch:
        """Make the batch of all candidates; a DataError names column and row of an id or a number that cannot be read."""
        try:
            columns = self._columns(encoder)
            history_of = None if self._rows is None else torch.from_numpy(self._rows)
            return encoder.items.batch(encoder.item(columns), encoder.users(columns, len(self)), history_of)
        except BadValue as fault:
            row = fault.position if self._rows is None or fault.column == HISTORY else int(self._rows[fault.position])
            raise self._wrong(fault.column, row, fault.value, fault.message) from None

    def gathered(self, preds: NDArray[np.float64]) -> list[Any] | NDArray[np.float64]:
        """(C,) predictions -> (R,) one for each row; a list of them where the row lists its candidates."""
        if self._lists is None:
            return preds
        parts = np.split(preds, self._counts.cumsum()[:-1])
        return [part.tolist() if is_list else float(part[0]) for part, is_list in zip(parts, self._lists, strict=True)]

    def _columns(self, encoder: Encoder) -> dict[str, pa.Array]:
        """Convert the columns that the model reads; all have C values, except ``history``, which has R lists."""
        columns = {}
        with of_column(ITEM):
            columns[ITEM] = encoder.items.ids.array(self._items)
        columns[HISTORY] = self._histories(encoder)
        for name, field in encoder.fields.items():
            if name in self._frame:
                with of_column(name):
                    columns[name] = field.array(self._spread(name))
        return columns

    def _histories(self, encoder: Encoder) -> pa.Array:
        """(R,) lists of the last ids that the model can read."""
        if HISTORY not in self._frame and self._behaviours is None and len(self._frame):
            raise self._wrong(HISTORY, 0, None, "missing; send a list of item ids, oldest first, or [] where there are none")
        column = self._frame[HISTORY].to_numpy() if HISTORY in self._frame else np.full(len(self._frame), None)
        lists, missing = list_rows(column), pd.isna(column)
        made = self._made_histories(np.flatnonzero(missing), encoder.max_history)
        histories: list[Sequence[Any]] = []
        for row, history in enumerate(column):
            if lists is not None and lists[row]:
                histories.append(history[-encoder.max_history :])
            elif missing[row]:
                histories.append(made.get(row, ()))
            else:
                raise self._wrong(HISTORY, row, history, "not a list of item ids; send a list, oldest first, or [] where there are none")
        bounds = np.cumsum([0, *map(len, histories)])
        with of_column(HISTORY, bounds):
            return pa.LargeListArray.from_arrays(pa.array(bounds), encoder.items.ids.array(list(chain.from_iterable(histories))))

    def _made_histories(self, rows: NDArray[np.intp], max_history: int) -> dict[int, list[Any]]:
        """Row -> its history, for rows without one of their own; none where there are no behaviours."""
        if self._behaviours is None or not len(rows):
            return {}
        unit = self._behaviours.rules.timestamp_unit
        users = pa.array(self._read(USER, rows, user_text), pa.large_string())
        moments = np.array(self._read(TIMESTAMP, rows, lambda value: moment(value, unit)), np.int64)
        places, bounds = self._behaviours.histories(self._behaviours.find(users), moments, max_history)
        ids = self._behaviours.items.take(pa.array(places)).to_pylist()
        return {int(row): ids[start:end] for row, (start, end) in zip(rows, pairwise(bounds), strict=True)}

    def _read(self, name: str, rows: NDArray[np.intp], read: Callable[[Any], Any]) -> list[Any]:
        """Values of some rows; a DataError names the row of one that cannot be read."""
        column = self._frame[name].to_numpy() if name in self._frame else np.full(len(self._frame), None)
        values = []
        for row in rows:
            try:
                values.append(read(column[row]))
            except ValueError as error:
                value = column[row]
                raise self._wrong(name, int(row), None if isinstance(value, float) and np.isnan(value) else value, str(error)) from None
        return values

    def _spread(self, name: str) -> Any:
        """(C,) values of a field, from one for all candidates of a row or a list with one for each."""
        column = self._frame[name].to_numpy()
        lists = list_rows(column)
        if lists is None:
            return column if self._rows is None else column[self._rows]
        values: list[Any] = []
        for row, value in enumerate(column):
            is_list_row = self._lists is not None and bool(self._lists[row])
            count = int(self._counts[row]) if is_list_row else 1
            if lists[row] and not is_list_row:
                raise self._wrong(
                    name, row, value, f"a list, but column '{ITEM}' has one id there; send one value, or a list of ids as {ITEM}"
                )
            if lists[row] and len(value) != count:
                where = f"column '{name}', row {self._first_row + row:,} = a list of {len(value):,}"
                raise DataError(f"{where}: column '{ITEM}' lists {count:,}; send one value for all, or one for each candidate")
            values.extend(value if lists[row] else [value] * count)
        return values

    def _wrong(self, column: str, row: int, value: object, message: str) -> DataError:
        return DataError(f"column '{column}', row {self._first_row + row:,} = {shortened(value)}: {message}")


def count_candidates(column: NDArray[Any]) -> int:
    """Count the candidates that a column ``item`` names.

    >>> count_candidates(pd.Series([1, [2, 3], []]).to_numpy())
    3
    """
    lists = list_rows(column)
    return len(column) if lists is None else len(column) - int(lists.sum()) + sum(len(candidates) for candidates in column[lists])


def list_rows(column: NDArray[Any]) -> NDArray[np.bool_] | None:
    """(R,) which cells are lists; None where none is.

    >>> list_rows(pd.Series([1, [2, 3]]).to_numpy())
    array([False,  True])
    """
    if column.dtype != object:
        return None
    lists = np.fromiter((isinstance(value, (list, tuple, np.ndarray)) for value in column), np.bool_, len(column))
    return lists if lists.any() else None
