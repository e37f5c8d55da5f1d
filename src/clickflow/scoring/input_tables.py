"""Parquet and CSV files, one or many, as one stream of record batches in the order of their rows.

Only the batch in hand is in memory, or the block of a CSV. Parquet is read through a small buffer, page by page, since a row group may be
as large as the file. ``pyarrow.dataset`` decodes whole row groups instead (1,394 MiB against 137 MiB for a row group of 6 million rows) and
ends a batch with each of them. Where a file is cut into batches depends on the file alone, so that a run that is carried on sees the
batches of the one that was cut short. A CSV has no types: all its columns are texts. It is read as that of a log is: every line is a row or
is refused.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from clickflow.config import suggest
from clickflow.data.sources.csv_files import CsvFile
from clickflow.data.sources.dialect import Dialect
from clickflow.data.sources.formats import CSV, PARQUET, expand, kind_of, labels
from clickflow.data.sources.source import reading, several, unreadable
from clickflow.errors import DataError

READ_BUFFER_BYTES = 1 << 20


class TableRows(NamedTuple):
    """Some rows of a table."""

    batch: pa.RecordBatch
    file: str
    first_row: int  # number of rows before them in the file


@dataclass(frozen=True)
class InputTable(ABC):
    """Files of one format with the same columns, read one after the other; messages name the config's key."""

    files: tuple[Path, ...]
    schema: pa.Schema
    key: str
    dialect: Dialect

    @property
    def num_rows(self) -> int | None:
        """Number of rows; None where only reading would tell."""
        return None

    @property
    def is_text(self) -> bool:
        """Whether all columns are texts, to be parsed."""
        return isinstance(self, CsvTable)

    @property
    def name(self) -> str:
        """Name of the files in messages."""
        return ", ".join(labels(self.files)[:3]) + (", …" if len(self.files) > 3 else "")

    @property
    def state(self) -> list[list[Any]]:
        """Path, size in bytes and time of change (ns) of each file: equal as long as nobody changes them."""
        return state_of(self.files)

    def refuse_absent(self, columns: dict[str, str]) -> None:
        """Raise a DataError that names each absent one of some columns, given by column -> the config's key for it."""
        absent = {column: key for column, key in columns.items() if column not in self.schema.names}
        single = "; it has a single column: is separator right?" if self.is_text and len(self.schema) == 1 else ""
        problems = [
            f"{self.name}, column '{column}' ({key}): no such column; {suggest(column, self.schema.names)}{single}"
            for column, key in absent.items()
        ]
        if problems:
            raise several(problems, self.key)

    def refuse_types(self, expected: Sequence[tuple[str, Callable[[pa.DataType], bool], str]]) -> None:
        """Raise a DataError for columns of a wrong type, given by column, test of its type and what it should hold."""
        types = {} if self.is_text else dict(zip(self.schema.names, self.schema.types, strict=True))
        problems = [
            f"{self.name}, column '{column}' = {types[column]}: not {what}."
            for column, fits, what in expected
            if column in types and not fits(types[column])
        ]
        if problems:
            raise several(problems, self.key)

    def rows(self, columns: Sequence[str], rows_per_batch: int) -> Iterator[TableRows]:
        """Read some columns, in this order; a DataError if a file cannot be read to its end."""
        for file, label in zip(self.files, labels(self.files), strict=True):
            first_row = 0
            try:
                with reading(label):
                    for batch in self._batches(file, columns, rows_per_batch):
                        yield TableRows(batch.select(list(columns)), label, first_row)
                        first_row += len(batch)
            except pa.ArrowException as error:
                raise unreadable(label, error) from error

    @abstractmethod
    def _batches(self, file: Path, columns: Sequence[str], rows_per_batch: int) -> Iterator[pa.RecordBatch]: ...


class ParquetTable(InputTable):
    """Parquet files."""

    @property
    def num_rows(self) -> int:
        """Number of rows, from the files' footers."""
        return sum(pq.read_metadata(file).num_rows for file in self.files)

    def _batches(self, file: Path, columns: Sequence[str], rows_per_batch: int) -> Iterator[pa.RecordBatch]:
        with pq.ParquetFile(file, buffer_size=READ_BUFFER_BYTES, pre_buffer=False) as parquet:
            yield from parquet.iter_batches(rows_per_batch, columns=list(columns), use_threads=False)


class CsvTable(InputTable):
    """CSV files; an empty text is a missing value."""

    def _batches(self, file: Path, columns: Sequence[str], rows_per_batch: int) -> Iterator[pa.RecordBatch]:
        schema = pa.schema([(name, pa.string()) for name in columns])
        for block in CsvFile(file, self.dialect).blocks(columns):
            if block.refused:
                raise DataError(f"{file.name}, {block.refused[0][1]}; every line must be a row: fix the line.")
            texts = block.frame.with_columns(pl.when(pl.col(name) != "").then(pl.col(name)).alias(name) for name in columns)
            yield from texts.to_arrow().cast(schema).combine_chunks().to_batches(rows_per_batch)


def state_of(files: Sequence[Path]) -> list[list[Any]]:
    """Path, size in bytes and time of change (ns) of each file: equal as long as nobody changes them."""
    stats = [(file, file.stat()) for file in files]
    return [[str(file.resolve()), stat.st_size, stat.st_mtime_ns] for file, stat in stats]


def open_table(path: Path, key: str, dialect: Dialect) -> InputTable:
    """Open the files that a path means: a file, a glob, or a folder; a ``.tsv`` has tabs for the separator.

    Raises:
        DataError: there is no file, its content is not what its suffix says, or files have different columns.
    """
    files = expand([path], key, dialect.format)
    kind = dialect.format or kind_of(files[0], key)
    if kind == "parquet":
        return ParquetTable(files, _one_schema(files, lambda file: pq.read_schema(file).remove_metadata()), key, dialect)
    if kind == "csv":
        return CsvTable(files, _one_schema(files, lambda file: _csv_schema(file, dialect)), key, dialect)
    raise DataError(f"{key} = {files[0]}: NDJSON; allowed is one of {', '.join((*PARQUET, *CSV))}; convert the file.")


def _csv_schema(file: Path, dialect: Dialect) -> pa.Schema:
    return pa.schema([(name, pa.string()) for name in CsvFile(file, dialect).columns])


def _one_schema(files: Sequence[Path], read: Callable[[Path], pa.Schema]) -> pa.Schema:
    """The columns that all files share, in the order of the first."""
    schemas = []
    for file in files:
        try:
            with reading(file.name):
                schemas.append(read(file))
        except pa.ArrowException as error:
            raise unreadable(file.name, error) from error
    first = schemas[0]
    twice = sorted({name for name in first.names if first.names.count(name) > 1})
    if twice:
        raise DataError(f"{files[0].name}, column '{twice[0]}': occurs twice; give each column a name of its own.")
    for file, schema in zip(files[1:], schemas[1:], strict=True):
        for field in first:
            found = schema.field(field.name).type if schema.names.count(field.name) == 1 else "no such column"
            if found != field.type:
                raise DataError(
                    f"{file.name}, column '{field.name}' = {found}: it is {field.type} in {files[0].name}; "
                    "all files of a table need the same columns."
                )
    return first
