"""The rows of a table -> what a model reads of them.

:class:`~clickflow.serving.encoder.Encoder` does the encoding; here columns get their names, texts of a CSV are parsed, and faults are named
by file, column and row, as in the user's table.
"""

import contextlib
from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from clickflow.config import suggest
from clickflow.data.schema import HISTORY, ITEM, TIMESTAMP, USER
from clickflow.errors import ConfigError, DataError
from clickflow.scoring.config import ColumnsConfig
from clickflow.scoring.input_tables import InputTable, TableRows
from clickflow.scoring.parsing import parsed, parsed_lists, without_null_values
from clickflow.scoring.row_histories import RowHistories
from clickflow.serving.bundle import ServingBundle
from clickflow.serving.encoder import Encoder, flattened
from clickflow.serving.items import Users
from clickflow.serving.raw_columns import BadValue, RawColumn, of_column, shortened
from clickflow.serving.user_moments import USER_ID, takes_users


class TableEncoder:
    """Encodes the rows of a table; a DataError names file, column and row of a value that cannot be read.

    Raises:
        DataError: a column is missing or of a type that cannot hold what it should.
        ConfigError: ``columns.fields`` names a field that the model does not have.
    """

    def __init__(
        self,
        bundle: ServingBundle,
        table: InputTable,
        columns: ColumnsConfig,
        history_separator: str,
        histories: RowHistories | None = None,
    ) -> None:
        self._encoder = Encoder(bundle)
        self.items = self._encoder.items
        self._table, self._separator = table, history_separator
        fields = self._encoder.fields
        for name in columns.fields:
            if name not in fields:
                raise ConfigError(f"columns.fields.{name}: the model has no such user or context field; {suggest(name, list(fields))}")
        makers = makers_of_histories(columns, histories is not None)
        table.refuse_absent(
            {column: f"columns.{name}" for name, column in makers.items()}
            | {column: f"columns.fields.{name}" for name, column in columns.fields.items()}
        )
        names = {name: columns.fields.get(name, name) for name in fields}
        self.fields = {name: column for name, column in names.items() if column in table.schema.names}
        """Field of the model -> its column, for those that the table has."""
        self.absent = [name for name in fields if name not in self.fields]
        """Fields of the model that the table does not have: unknown in every row."""
        self._names = {ITEM: columns.item, **makers, **self.fields}
        self.item_column, self.user_columns = columns.item, list(dict.fromkeys([*makers.values(), *self.fields.values()]))
        ids = self.items.ids
        expected = [(columns.item, ids.takes, ids.expected)]
        if histories is None:
            expected.append((columns.history, lambda dtype: _is_list_of(dtype, ids), f"a list of items, each {ids.expected}"))
        else:
            expected.append((columns.user, takes_users, USER_ID))
        table.refuse_types([*expected, *((column, fields[name].takes, fields[name].expected) for name, column in self.fields.items())])
        self._histories_of = histories
        if histories is not None:
            self._item_rows = self.items.ids(histories.items)

    def encode(self, rows: TableRows) -> tuple[Tensor, Users]:
        """R rows with an item each: (R,) int64 rows of the item table, and the users."""
        with located(rows, self._names):
            return self._encoder.item({ITEM: self._column(rows, ITEM, self.items.ids)}), self.users(rows)

    def users(self, rows: TableRows) -> Users:
        """R rows with a history each, or with one that is made of behaviours."""
        with located(rows, self._names):
            columns = {name: self._column(rows, name, self._encoder.fields[name]) for name in self.fields}
            if self._histories_of is None:
                return self._encoder.users({HISTORY: self._histories(rows), **columns}, len(rows.batch))
            places, bounds = self._histories_of(rows, self._encoder.max_history)
            made = self._item_rows[torch.from_numpy(places)], torch.from_numpy(bounds)
            return self._encoder.users(columns, len(rows.batch), made)

    def history_among(self, rows: TableRows, candidates: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Positions (N,) of the items of whole histories among canonical ids of candidates, -1 if absent, and (R + 1,) where rows begin."""
        with located(rows, self._names):
            if self._histories_of is None:
                values, bounds = flattened(self._histories(rows))
                with of_column(HISTORY, bounds):
                    found = pc.index_in(self.items.ids.canonical(values), value_set=candidates)
            else:
                places, bounds = self._histories_of(rows)
                found = pc.index_in(self._histories_of.items.take(pa.array(places)), value_set=candidates)
        return np.asarray(found.fill_null(-1)).astype(np.int64), bounds

    def _column(self, rows: TableRows, name: str, kind: RawColumn) -> pa.Array:
        values, dialect = rows.batch.column(self._names[name]), self._table.dialect
        with of_column(name):
            return parsed(without_null_values(values, dialect), kind, dialect.decimal) if self._table.is_text else values

    def _histories(self, rows: TableRows) -> pa.Array:
        lists = rows.batch.column(self._names[HISTORY])
        if not self._table.is_text:
            return lists
        return parsed_lists(without_null_values(lists, self._table.dialect), self._separator, HISTORY, self.items.ids)


def makers_of_histories(columns: ColumnsConfig, from_behaviours: bool) -> dict[str, str]:
    """Sources of a row's history -> the table's name for it."""
    return {USER: columns.user, TIMESTAMP: columns.timestamp} if from_behaviours else {HISTORY: columns.history}


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
