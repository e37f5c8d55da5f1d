"""The rows of a table -> what a model reads of them.

:class:`~clickflow.serving.encoder.Encoder` does the encoding; here columns get their names, texts of a CSV are parsed, and faults are named
by file, column and row, as in the user's table.
"""

import contextlib
from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from torch import Tensor

from clickflow.config import suggest
from clickflow.data.schema import HISTORY, ITEM
from clickflow.errors import ConfigError, DataError
from clickflow.scoring.config import ColumnsConfig
from clickflow.scoring.input_tables import InputTable, TableRows
from clickflow.scoring.parsing import parsed, parsed_lists
from clickflow.serving.bundle import ServingBundle
from clickflow.serving.encoder import Encoder, flattened
from clickflow.serving.items import Users
from clickflow.serving.raw_columns import BadValue, RawColumn, of_column, shortened


class TableEncoder:
    """Encodes the rows of a table; a DataError names file, column and row of a value that cannot be read.

    Raises:
        DataError: a column is missing or of a type that cannot hold what it should.
        ConfigError: ``columns.fields`` names a field that the model does not have.
    """

    def __init__(self, bundle: ServingBundle, table: InputTable, columns: ColumnsConfig, history_separator: str) -> None:
        self._encoder = Encoder(bundle)
        self.items = self._encoder.items
        self._is_text, self._separator = table.is_text, history_separator
        fields = self._encoder.fields
        for name in columns.fields:
            if name not in fields:
                raise ConfigError(f"columns.fields.{name}: the model has no such user or context field; {suggest(name, list(fields))}")
        table.refuse_absent(
            {columns.history: "columns.history"} | {column: f"columns.fields.{name}" for name, column in columns.fields.items()}
        )
        names = {name: columns.fields.get(name, name) for name in fields}
        self.fields = {name: column for name, column in names.items() if column in table.schema.names}
        """Field of the model -> its column, for those that the table has."""
        self.absent = [name for name in fields if name not in self.fields]
        """Fields of the model that the table does not have: unknown in every row."""
        self._names = {ITEM: columns.item, HISTORY: columns.history, **self.fields}
        self.item_column, self.user_columns = columns.item, list(dict.fromkeys([columns.history, *self.fields.values()]))
        ids = self.items.ids
        expected = [(columns.item, ids.takes, ids.expected)]
        expected.append((columns.history, lambda dtype: _is_list_of(dtype, ids), f"a list of items, each {ids.expected}"))
        table.refuse_types([*expected, *((column, fields[name].takes, fields[name].expected) for name, column in self.fields.items())])

    def encode(self, rows: TableRows) -> tuple[Tensor, Users]:
        """R rows with an item each: (R,) int64 rows of the item table, and the users."""
        with located(rows, self._names):
            return self._encoder.item({ITEM: self._column(rows, ITEM, self.items.ids)}), self.users(rows)

    def users(self, rows: TableRows) -> Users:
        """R rows with a history each."""
        with located(rows, self._names):
            columns = {name: self._column(rows, name, self._encoder.fields[name]) for name in self.fields}
            return self._encoder.users({HISTORY: self._histories(rows), **columns}, len(rows.batch))

    def history_among(self, rows: TableRows, candidates: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Positions (N,) of the items of whole histories among canonical ids of candidates, -1 if absent, and (R + 1,) where rows begin."""
        with located(rows, self._names):
            values, bounds = flattened(self._histories(rows))
            with of_column(HISTORY, bounds):
                found = pc.index_in(self.items.ids.canonical(values), value_set=candidates)
        return np.asarray(found.fill_null(-1)).astype(np.int64), bounds

    def _column(self, rows: TableRows, name: str, kind: RawColumn) -> pa.Array:
        values = rows.batch.column(self._names[name])
        with of_column(name):
            return parsed(values, kind) if self._is_text else values

    def _histories(self, rows: TableRows) -> pa.Array:
        lists = rows.batch.column(self._names[HISTORY])
        return parsed_lists(lists, self._separator, HISTORY, self.items.ids) if self._is_text else lists


@contextlib.contextmanager
def located(rows: TableRows, names: Mapping[str, str]) -> Iterator[None]:
    """Name the file, column and row of a BadValue; ``names`` is what the model reads -> the table's name for it."""
    try:
        yield
    except BadValue as fault:
        where = f"{rows.file}, column '{names[fault.column]}', row {rows.first_row + fault.position + 1:,}"
        raise DataError(f"{where} = {shortened(fault.value)}: {fault.message}") from fault


def _is_list_of(dtype: pa.DataType, column: RawColumn) -> bool:
    if pa.types.is_null(dtype):
        return True
    is_list = pa.types.is_list(dtype) or pa.types.is_large_list(dtype) or pa.types.is_fixed_size_list(dtype)
    return is_list and column.takes(dtype.value_type)
