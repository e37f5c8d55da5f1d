"""Histories of the rows of a table, from their users and timestamps and a table of behaviours."""

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from clickflow.data.arrays import IntArray
from clickflow.data.schema import TIMESTAMP, USER
from clickflow.data.sources.columns import Selection
from clickflow.data.sources.dialect import Dialect
from clickflow.data.sources.parts import converted, plain
from clickflow.data.sources.texts import ColumnTypes, cleaned
from clickflow.data.sources.timestamps import timestamps
from clickflow.errors import DataError
from clickflow.scoring.behaviours import as_behaviours, unit_of
from clickflow.scoring.config import ColumnsConfig
from clickflow.scoring.input_tables import TableRows
from clickflow.serving.behaviour_table import BehaviourTable
from clickflow.serving.config import BehavioursConfig
from clickflow.serving.raw_columns import BadValue, of_column, refuse
from clickflow.serving.user_moments import NO_MOMENT, implausible, user_texts


class RowHistories:
    """Makes the histories of rows; any thread may call it.

    Args:
        table: the behaviours.
        config: unit and format of timestamps, in the behaviours and in the rows.
        columns: the rows' names for user and timestamp.
        dialect: how the files of the rows are written.
    """

    def __init__(self, table: BehaviourTable, config: BehavioursConfig, columns: ColumnsConfig, dialect: Dialect) -> None:
        self.items = table.items
        """Ids of the items, in the form of the model's."""
        self._table, self._columns, self._dialect = table, columns, dialect
        self._unit, self._format = unit_of(config, table.rules), config.timestamp_format

    def __call__(self, rows: TableRows, most: int | None = None) -> tuple[NDArray[np.int32], IntArray]:
        """Make the histories of R rows, each of at most ``most`` behaviours: positions among the items, and (R + 1,) where each begins.

        Raises:
            DataError: the timestamps are of another kind than the behaviours'.
            BadValue: a row has no user or no timestamp, or one that cannot be read.
        """
        with of_column(USER):
            user = self._table.find(user_texts(rows.batch.column(self._columns.user)))
        with of_column(TIMESTAMP):
            moment = self._moments(rows.batch.column(self._columns.timestamp), rows.file)
        return self._table.histories(user, moment, most)

    def _moments(self, values: pa.Array, file: str) -> IntArray:
        """(R,) timestamps -> (R,) microseconds since 1970, or positions; read as those of a log are."""
        column, decimal = self._columns.timestamp, self._dialect.decimal
        given = pl.DataFrame({column: pl.from_arrow(values)})
        frame = given.select(converted(column, given.schema[column], plain(given.schema[column])))
        if frame.schema[column] == pl.String:
            frame = frame.select(cleaned(column, self._dialect.null_values))
            types = ColumnTypes([], decimal)
            types.add(frame)
            if types.dtype(column) == pl.Int64:
                frame = frame.cast(pl.Int64)
        try:
            found = timestamps(Selection(frame.lazy(), file), column, self._unit, self._format, decimal)
        except DataError as error:
            raise as_behaviours(error, self._table.rules) from error
        canonical = found.canonical(self._unit, as_microseconds=self._unit != "order")
        moments = frame.select(canonical.expression).to_series()
        if moments.null_count():
            position = moments.is_null().arg_max()
            assert position is not None
            wrong = NO_MOMENT if frame[column][position] is None else f"not {canonical.expected or 'a timestamp'}"
            raise BadValue(position, given[column][position], wrong)
        result: IntArray = moments.to_numpy().astype(np.int64)
        if self._unit != "order":
            wrong = f"not between 1990 and 2100, read as {self._unit}; convert the column, or set behaviours.timestamp_unit or _format"
            refuse(implausible(result), values, wrong)
        return result
