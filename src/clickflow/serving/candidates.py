"""The candidates that the rows of a request name: one, or as many as ``item`` lists, which then share the row's history.

A recommender asks for some hundred candidates of one user at a time. Sent as a row each, the history would travel, be checked and be looked
up as many times; as a list it does so once, and the answer is a list in the same place.
"""

from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clickflow.data.schema import ITEM
from clickflow.errors import DataError
from clickflow.text import cut


class CandidateRows:
    """C candidates of R rows.

    Attributes:
        items: (C,) raw item ids, row after row.
        rows: (C,) int64, the row of each candidate; None where every row is one candidate.
    """

    def __init__(self, column: NDArray[Any]) -> None:
        """Take the ``item`` column, (R,) ids or lists of ids."""
        self._lists = list_rows(column)
        self.items, self.rows = column, None
        if self._lists is not None:
            counts = np.ones(len(column), dtype=np.int64)
            counts[self._lists] = [len(column[row]) for row in np.flatnonzero(self._lists)]
            self._counts = counts
            self.rows = np.repeat(np.arange(len(column)), counts)
            cells = (cell if is_list else (cell,) for cell, is_list in zip(column, self._lists, strict=True))
            self.items = object_array(chain.from_iterable(cells))

    def __len__(self) -> int:
        return len(self.items)

    def spread(self, name: str, column: NDArray[Any], first_row: int) -> NDArray[Any]:
        """(R,) values, one for all candidates of a row or a list with one for each -> (C,).

        Raises:
            DataError: a list where ``item`` is none, or of another length; names the column.
        """
        lists = list_rows(column)
        if lists is None:
            return column if self.rows is None else column[self.rows]
        values: list[Any] = []
        for row, value in enumerate(column):
            is_list_row = self._lists is not None and bool(self._lists[row])
            count = int(self._counts[row]) if is_list_row else 1
            if lists[row] and not is_list_row:
                where = f"column '{name}', row {first_row + row:,} = {shortened(value)}"
                raise DataError(f"{where}: a list, but column '{ITEM}' has one id there; send one value, or a list of ids as {ITEM}")
            if lists[row] and len(value) != count:
                where = f"column '{name}', row {first_row + row:,} = a list of {len(value):,}"
                raise DataError(f"{where}: column '{ITEM}' lists {count:,}; send one value for all, or one for each candidate")
            values.extend(value if lists[row] else [value] * count)
        return object_array(values)

    def gathered(self, preds: NDArray[np.float64]) -> list[Any] | NDArray[np.float64]:
        """(C,) one prediction a candidate -> (R,) one a row; a list of them where the row lists its candidates."""
        if self._lists is None:
            return preds
        parts = np.split(preds, self._counts.cumsum()[:-1])
        return [part.tolist() if is_list else float(part[0]) for part, is_list in zip(parts, self._lists, strict=True)]


def count_candidates(column: NDArray[Any]) -> int:
    """How many candidates a column ``item`` names.

    >>> count_candidates(object_array([1, [2, 3], []]))
    3
    """
    lists = list_rows(column)
    return len(column) if lists is None else len(column) - int(lists.sum()) + sum(len(candidates) for candidates in column[lists])


def list_rows(column: NDArray[Any]) -> NDArray[np.bool_] | None:
    """(R,) which cells are lists; None where none is.

    >>> list_rows(object_array([1, [2, 3]]))
    array([False,  True])
    """
    if column.dtype != object:
        return None
    lists = np.fromiter((isinstance(value, (list, tuple, np.ndarray)) for value in column), np.bool_, len(column))
    return lists if lists.any() else None


def object_array(values: Any) -> NDArray[np.object_]:
    """Values as they are: numpy's own conversion would make floats of [1, 2.5] and a matrix of lists of equal lengths."""
    flat = list(values)
    array = np.empty(len(flat), dtype=object)
    array[:] = flat
    return array


def shortened(value: Any) -> str:
    """A value for a message, which need not repeat a whole request.

    >>> shortened("x" * 100)
    "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…"
    """
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return cut(text, 37)
