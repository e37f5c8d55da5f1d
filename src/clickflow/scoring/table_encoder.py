"""Rows of a table -> what a model reads of them: what :class:`~clickflow.serving.encoding.RowEncoder` is for requests.

Faults are named by file, column and row, as the user's table has them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from clickflow.config import suggest
from clickflow.data.batches import jagged_ranges
from clickflow.data.schema import NumericField
from clickflow.data.sources.source import several
from clickflow.errors import ConfigError, DataError
from clickflow.scoring.config import ColumnsConfig
from clickflow.scoring.ids import NUMBER, BadValue, IdTable, is_number, numbers
from clickflow.scoring.input_tables import InputTable, TableRows
from clickflow.scoring.items import ItemTable, Users
from clickflow.serving.bundle import ServingBundle


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

    def __init__(self, bundle: ServingBundle, table: InputTable, columns: ColumnsConfig, history_separator: str) -> None:
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
        table.refuse_absent(
            {columns.history: "columns.history"} | {column: f"columns.fields.{name}" for name, column in columns.fields.items()}
        )
        self.fields = {name: column for name in names if (column := columns.fields.get(name, name)) in table.schema.names}
        """Field of the model -> its column, for those that the table has."""
        self.absent = [name for name in names if name not in self.fields]
        """Fields of the model that the table does not have: unknown in every row."""
        if not table.is_text:
            self._refuse_types(table)

    @property
    def item_column(self) -> str:
        """The column of the items to score."""
        return self._columns.item

    @property
    def user_columns(self) -> list[str]:
        """The other columns that are read."""
        return list(dict.fromkeys([self._columns.history, *self.fields.values()]))

    def encode(self, rows: TableRows) -> tuple[Tensor, Users]:
        """R rows with an item each: (R,) int64 rows of the items' table, and the users.

        Raises:
            DataError: a value cannot be read; names file, column and row.
        """
        item = read_column(rows, self.item_column, lambda column: self.items.ids(column, True, self._is_text))
        return torch.from_numpy(item), self.users(rows)

    def users(self, rows: TableRows) -> Users:
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
            numeric={field.name: self._numeric(field, rows) for field in self._numbers},
        )

    def history_among(self, rows: TableRows, ids: IdTable) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the items of whole histories stand among some ids.

        Returns:
            (N,) positions, -1 for an item that is not among them, and (R + 1,) where each row's begin.

        Raises:
            DataError: a value cannot be read; names file, column and row.
        """
        column, bounds = self._lists(rows)
        row_of = lambda position: int(np.searchsorted(bounds, position, side="right")) - 1  # noqa: E731
        return read_column(rows, self._columns.history, lambda _: ids.known(ids.canonical(column, True, self._is_text)), row_of), bounds

    def _history(self, rows: TableRows) -> tuple[Tensor, Tensor]:
        """(N,) rows of the items' table and (R + 1,) offsets of the last ``max_history`` behaviours of each row."""
        ids, bounds = self._lists(rows)
        starts, ends = torch.from_numpy(bounds[:-1]), torch.from_numpy(bounds[1:])
        positions, offsets = jagged_ranges(torch.maximum(starts, ends - self._max_history), ends)
        if len(positions) < len(ids):
            ids = ids.take(pa.array(positions.numpy()))
        row_of = lambda position: int(torch.searchsorted(offsets, position, right=True)) - 1  # noqa: E731
        history = read_column(rows, self._columns.history, lambda _: self.items.ids(ids, True, self._is_text), row_of)
        return torch.from_numpy(history), offsets

    def _lists(self, rows: TableRows) -> tuple[pa.Array, NDArray[np.int64]]:
        """(N,) raw ids of whole histories, row after row, and (R + 1,) where each row's begin."""
        column = rows.batch.column(self._columns.history)
        if self._is_text:
            text = pc.utf8_trim_whitespace(column)
            column = pc.split_pattern(pc.if_else(pc.equal(text, ""), None, text), self._separator)
        if pa.types.is_null(column.type):
            return pa.nulls(0), np.zeros(len(column) + 1, dtype=np.int64)
        lengths = np.asarray(pc.list_value_length(column).fill_null(0))
        return column.flatten(), np.concatenate([[0], lengths.cumsum(dtype=np.int64)])

    def _context(self, name: str, rows: TableRows) -> Tensor:
        """(R,) indices of a categorical field."""
        if name not in self.fields:
            return torch.zeros(len(rows.batch), dtype=torch.int64)
        table = self._vocabularies[name]
        return torch.from_numpy(read_column(rows, self.fields[name], lambda column: table(column, False, self._is_text)))

    def _numeric(self, field: NumericField, rows: TableRows) -> Tensor:
        """(R,) standardised values; a missing one is 0, the mean."""
        if field.name not in self.fields:
            return torch.zeros(len(rows.batch))
        values = read_column(rows, self.fields[field.name], lambda column: numbers(column, self._is_text))
        return torch.from_numpy(np.nan_to_num((values - field.mean) / field.std)).float()

    def _refuse_types(self, table: InputTable) -> None:
        """Look at the columns' types, before any row is read."""
        problems = []

        def look(column: str, fits: Callable[[pa.DataType], bool], expected: str) -> None:
            if column in table.schema.names and not fits(found := table.schema.field(column).type):
                problems.append(f"{table.name}, column '{column}' = {found}: not {expected}.")

        ids = self.items.ids
        look(self.item_column, ids.takes, ids.expected)
        look(self._columns.history, lambda dtype: _is_list_of(dtype, ids.takes), f"a list of items, each {ids.expected}")
        for name, column in self.fields.items():
            if name in self._vocabularies:
                look(column, self._vocabularies[name].takes, self._vocabularies[name].expected)
            else:
                look(column, is_number, NUMBER)
        if problems:
            raise several(problems, table.key)


def read_column(
    rows: TableRows, name: str, convert: Callable[[pa.Array], NDArray[Any]], row_of: Callable[[int], int] = int
) -> NDArray[Any]:
    """Convert a column.

    Args:
        rows: rows of a table.
        name: of the column.
        convert: raises :class:`BadValue` at a value that it cannot read.
        row_of: position of such a value -> its row among these.

    Raises:
        DataError: a value cannot be read; names file, column and row.
    """
    try:
        return convert(rows.batch.column(name))
    except BadValue as fault:
        row = rows.first_row + row_of(fault.position) + 1
        value = "null" if fault.value is None else repr(fault.value)
        raise DataError(f"{rows.file}, column '{name}', row {row:,} = {value}: {fault.message}") from fault


def _is_list_of(dtype: pa.DataType, fits: Callable[[pa.DataType], bool]) -> bool:
    if pa.types.is_null(dtype):
        return True
    is_list = pa.types.is_list(dtype) or pa.types.is_large_list(dtype) or pa.types.is_fixed_size_list(dtype)
    return is_list and fits(dtype.value_type)
