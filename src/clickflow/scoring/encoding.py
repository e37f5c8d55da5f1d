"""Rows of a table -> :class:`Batch`, for one model: what :class:`~clickflow.tracking.encoding.RowEncoder` is for requests.

Faults are named by file, column and row, as the user's table has them.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from clickflow.config import suggest
from clickflow.data.batches import Batch, jagged_ranges
from clickflow.data.schema import ITEM
from clickflow.data.sources.base import several
from clickflow.errors import ConfigError, DataError
from clickflow.scoring.config import ColumnsConfig
from clickflow.scoring.ids import NUMBER, BadValue, IdTable, is_number, numbers, parsed_integers, parsed_numbers
from clickflow.scoring.tables import Rows, Table
from clickflow.tracking.bundle import ServingBundle


class Users(NamedTuple):
    """What the model reads of R rows besides their items.

    Attributes:
        history: (N,) rows of the items' table, row after row.
        offsets: (R + 1,) int64, where each row's history begins.
        context: (C, R) int64, as in :class:`Batch`.
        numeric: (R,) float32 standardised values of each user and context field, by name.
    """

    history: Tensor
    offsets: Tensor
    context: Tensor
    numeric: dict[str, Tensor]


class TableEncoder:
    """Encodes the rows of a table.

    Args:
        bundle: the model.
        table: what is scored; only its columns are looked at.
        columns: how it calls what the model reads.
        history_separator: between the ids of a history in a CSV.

    Raises:
        DataError: a column is missing or of a type that cannot hold what it should.
        ConfigError: ``columns.fields`` names a field that the model does not have.
    """

    def __init__(self, bundle: ServingBundle, table: Table, columns: ColumnsConfig, history_separator: str) -> None:
        self._schema, self._max_history = bundle.schema, bundle.max_history
        self._is_text, self._separator = table.is_text, history_separator
        self._columns = columns
        self.items = ItemTable(bundle)
        self._vocabularies = {
            field.name: IdTable(bundle.vocabularies[field.name]["raw"], bundle.vocabularies[field.name]["index"].to_numpy())
            for field in self._schema.impression_fields
        }
        self._numbers = [field for field in self._schema.numeric if field.role != "item"]
        names = [*self._vocabularies, *(field.name for field in self._numbers)]
        for name in columns.fields:
            if name not in names:
                raise ConfigError(f"columns.fields.{name}: the model has no such user or context field; {suggest(name, names)}")
        table.refuse_absent({columns.history: "columns.history"} | {column: f"columns.fields.{name}" for name, column in columns.fields.items()})
        self.fields = {name: column for name in names if (column := columns.fields.get(name, name)) in table.schema.names}
        """Field of the model -> its column, for those that the table has."""
        self.absent = [name for name in names if name not in self.fields]
        """Fields of the model that the table does not have: unknown in every row."""
        if not table.is_text:
            self._refuse_types(table)

    @property
    def columns(self) -> list[str]:
        """The columns that are read, but for the item's."""
        return list(dict.fromkeys([self._columns.history, *self.fields.values()]))

    def encode(self, rows: Rows) -> Batch:
        """B rows with a history and an item each.

        Raises:
            DataError: a value cannot be read; names file, column and row.
        """
        item = torch.from_numpy(self._read(rows, self._columns.item, lambda column: self.items.rows(column, self._is_text)))
        return self.items.batch(item, self.users(rows))

    def users(self, rows: Rows) -> Users:
        """R rows with a history each.

        Raises:
            DataError: a value cannot be read; names file, column and row.
        """
        history, offsets = self._history(rows)
        context = [self._context(name, rows) for name in self._vocabularies]
        return Users(
            history=history,
            offsets=offsets,
            context=torch.stack(context) if context else torch.zeros(0, len(rows.batch), dtype=torch.int64),
            numeric={field.name: self._numeric(field.name, field.mean, field.std, rows) for field in self._numbers},
        )

    def histories(self, rows: Rows) -> tuple[pa.Array, NDArray[np.int64]]:
        """Raw ids of the whole histories of R rows, (N,), and where each row's begin, (R + 1,)."""
        column = rows.batch.column(self._columns.history)
        if self._is_text:
            text = pc.utf8_trim_whitespace(column)
            column = pc.split_pattern(pc.if_else(pc.equal(text, ""), None, text), self._separator)
        if pa.types.is_null(column.type):
            return pa.nulls(0), np.zeros(len(column) + 1, dtype=np.int64)
        lengths = np.asarray(pc.list_value_length(column).fill_null(0))
        return column.flatten(), np.concatenate([[0], lengths.cumsum(dtype=np.int64)])

    def _history(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """(N,) rows of the items' table and (R + 1,) offsets of the last ``max_history`` behaviours of each row."""
        ids, bounds = self.histories(rows)
        starts, ends = torch.from_numpy(bounds[:-1]), torch.from_numpy(bounds[1:])
        positions, offsets = jagged_ranges(torch.maximum(starts, ends - self._max_history), ends)
        if len(positions) < len(ids):
            ids = ids.take(pa.array(positions.numpy()))
        row_of = lambda position: int(torch.searchsorted(offsets, position, right=True)) - 1  # noqa: E731
        history = self._read(rows, self._columns.history, lambda _: self.items.rows(ids, self._is_text), row_of)
        return torch.from_numpy(history), offsets

    def _context(self, name: str, rows: Rows) -> Tensor:
        """(R,) indices of a categorical field."""
        if name not in self.fields:
            return torch.zeros(len(rows.batch), dtype=torch.int64)
        table = self._vocabularies[name]
        parse = parsed_integers if self._is_text and table.is_integer else _as_it_is
        return torch.from_numpy(self._read(rows, self.fields[name], lambda column: table(parse(column), required=False)))

    def _numeric(self, name: str, mean: float, std: float, rows: Rows) -> Tensor:
        """(R,) standardised values; a missing one is 0, the mean."""
        if name not in self.fields:
            return torch.zeros(len(rows.batch))
        parse = parsed_numbers if self._is_text else _as_it_is
        values = self._read(rows, self.fields[name], lambda column: numbers(parse(column)))
        return torch.from_numpy(np.nan_to_num((values - mean) / std)).float()

    def _read(
        self,
        rows: Rows,
        column: str,
        convert: Callable[[pa.Array], NDArray[Any]],
        row_of: Callable[[int], int] = int,
    ) -> NDArray[Any]:
        """Convert a column; a fault of a value becomes an error that names it."""
        try:
            return convert(rows.batch.column(column))
        except BadValue as fault:
            row = rows.first_row + row_of(fault.position) + 1
            value = "null" if fault.value is None else repr(fault.value)
            raise DataError(f"{rows.file}, column '{column}', row {row:,} = {value}: {fault.message}") from fault

    def _refuse_types(self, table: Table) -> None:
        """Look at the columns' types, before any row is read."""
        problems = []

        def look(column: str, fits: Callable[[pa.DataType], bool], expected: str) -> None:
            if column in table.schema.names and not fits(found := table.schema.field(column).type):
                problems.append(f"{table.name}, column '{column}' = {found}: not {expected}.")

        ids = self.items.ids
        look(self._columns.item, ids.takes, ids.expected)
        look(self._columns.history, lambda dtype: _is_list_of(dtype, ids.takes), f"a list of items, each {ids.expected}")
        for name, column in self.fields.items():
            if name in self._vocabularies:
                look(column, self._vocabularies[name].takes, self._vocabularies[name].expected)
            else:
                look(column, is_number, NUMBER)
        if problems:
            raise several(problems, table.key)


class ItemTable:
    """The items of a model: raw id -> row -> its fields."""

    def __init__(self, bundle: ServingBundle) -> None:
        items = bundle.items
        self.ids = IdTable(items["raw"], np.arange(len(items)))
        self._schema = bundle.schema
        fields = [items[f"index/{field.name}"].to_numpy().astype(np.int64) for field in self._schema.item_fields]
        self._fields = torch.from_numpy(np.stack(fields))  # (F, I)
        self._numeric = {
            field.name: torch.from_numpy(items[f"numeric/{field.name}"].to_numpy().astype(np.float32))
            for field in self._schema.numeric
            if field.role == "item"
        }

    def rows(self, ids: pa.Array, is_text: bool) -> NDArray[np.int64]:
        """(R,) raw ids, none of them missing -> (R,) rows of this table; 0 for an unknown item.

        Raises:
            BadValue: a missing id, or none of the kind that the model was trained on.
        """
        return self.ids(parsed_integers(ids) if is_text and self.ids.is_integer else ids, required=True)

    def batch(self, item: Tensor, users: Users) -> Batch:
        """The batch of B items (rows of this table), each with the user of its place."""
        numeric = [users.numeric[f.name] if f.role != "item" else self._numeric[f.name][item] for f in self._schema.numeric]
        return Batch(
            target=self._fields[:, item],
            history=self._fields[:, users.history],
            offsets=users.offsets,
            context=users.context,
            numeric=torch.stack(numeric, dim=1) if numeric else torch.zeros(len(item), 0),
        )


def _as_it_is(column: pa.Array) -> pa.Array:
    return column


def _is_list_of(dtype: pa.DataType, fits: Callable[[pa.DataType], bool]) -> bool:
    if pa.types.is_null(dtype):
        return True
    is_list = pa.types.is_list(dtype) or pa.types.is_large_list(dtype) or pa.types.is_fixed_size_list(dtype)
    return is_list and fits(dtype.value_type)
