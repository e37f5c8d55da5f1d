"""Arrow columns of raw ids and numbers -> what a model reads of them, for the rows of requests and of tables alike."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from clickflow.data.batches import jagged_ranges
from clickflow.data.schema import HISTORY, ITEM
from clickflow.serving.bundle import ServingBundle
from clickflow.serving.ids import IdTable
from clickflow.serving.items import ItemTable, Users
from clickflow.serving.raw_columns import NumberColumn, RawColumn, of_column


class Encoder:
    """Encodes raw rows for one model; a :class:`BadValue` names column and row of a value that does not fit."""

    def __init__(self, bundle: ServingBundle) -> None:
        self.items = ItemTable(bundle)
        self.max_history = bundle.max_history
        self._ids = {
            field.name: IdTable(bundle.vocabularies[field.name]["raw"], bundle.vocabularies[field.name]["index"].to_numpy())
            for field in bundle.schema.impression_fields
        }
        self._numbers = {field.name: NumberColumn(field) for field in bundle.schema.numeric if field.role != "item"}
        self.fields: dict[str, RawColumn] = {**self._ids, **self._numbers}

    def item(self, columns: Mapping[str, pa.Array]) -> Tensor:
        """(R,) rows of the item table that the column ``item`` names."""
        with of_column(ITEM):
            return self.items.ids(columns[ITEM])

    def users(self, columns: Mapping[str, pa.Array], num_rows: int, made: tuple[Tensor, Tensor] | None = None) -> Users:
        """Encode everything but the items of R rows.

        ``history`` is (H,) lists of item ids, oldest first, where null is an empty one; each of the fields is (R,). A field without a
        column is unknown (numeric: its mean) in every row. Histories that are ``made`` already are (N,) rows of the item table and
        (H + 1,) offsets.
        """
        unknown = torch.zeros(num_rows, dtype=torch.int64)
        history, offsets = self._history(columns[HISTORY]) if made is None else made
        found: dict[str, Tensor] = {}
        for name, field in self.fields.items():
            if name in columns:
                with of_column(name):
                    found[name] = field(columns[name])
        return Users(
            history,
            offsets,
            context=[found.get(name, unknown) for name in self._ids],
            numeric={name: found.get(name, unknown.float()) for name in self._numbers},
        )

    def _history(self, lists: pa.Array) -> tuple[Tensor, Tensor]:
        """(H,) lists -> (N,) rows of the item table and (H + 1,) offsets of the last ``max_history`` behaviours of each."""
        ids, bounds = flattened(lists)
        if np.diff(bounds).max(initial=0) > self.max_history:
            ends = torch.from_numpy(bounds[1:])
            positions, offsets = jagged_ranges(torch.maximum(torch.from_numpy(bounds[:-1]), ends - self.max_history), ends)
            ids, bounds = ids.take(pa.array(positions.numpy())), offsets.numpy()
        with of_column(HISTORY, bounds):
            return self.items.ids(ids), torch.from_numpy(bounds)


def flattened(lists: pa.Array) -> tuple[pa.Array, NDArray[np.int64]]:
    """(R,) lists, null being an empty one -> (N,) values of all, and (R + 1,) where each list begins."""
    if pa.types.is_null(lists.type):
        return lists[:0], np.zeros(len(lists) + 1, dtype=np.int64)
    lengths = pc.list_value_length(lists)
    lengths = np.asarray(lengths.fill_null(0) if lists.null_count else lengths)
    return lists.flatten(), np.concatenate([[0], lengths.cumsum(dtype=np.int64)])
