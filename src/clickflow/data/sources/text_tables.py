"""CSV and NDJSON files of one table as one lazy frame.

They are read twice: once to find the lines that are no rows and the types that fit all values, and once, block by block, when the frame
is collected. So a log larger than memory can be read, and no type is guessed from the first rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl
from polars.io.plugins import register_io_source

from clickflow.data.sources.csv_files import Block, CsvFile
from clickflow.data.sources.dialect import Dialect
from clickflow.data.sources.json_files import JsonFile
from clickflow.data.sources.parts import FILE, ROW, Needed, common, partition_values
from clickflow.data.sources.raw import RefusedLines
from clickflow.data.sources.source import reading
from clickflow.data.sources.texts import ColumnTypes, cleaned, token, token_type, tokens, with_point


class TextPart:
    """One file of the table.

    Attributes:
        label: its name in messages.
        names: names of its columns, for messages.
        partitions: columns that its folders give.
        present: needed columns that it has; of an NDJSON file known after :meth:`survey`.
        refused: positions of the lines that are no rows among its records, and the first complaint.
    """

    def __init__(self, file: Path, label: str, is_csv: bool, needed: Sequence[str], dialect: Dialect) -> None:
        self.label, self.needed = label, needed
        self.partitions = partition_values(file)
        self.reader: CsvFile | JsonFile
        with reading(label):
            self.reader = CsvFile(file, dialect) if is_csv else JsonFile(file, dialect)
            self.names = self.reader.columns if isinstance(self.reader, CsvFile) else self.reader.names()
        self.present = {column for column in needed if column in self.names} if is_csv else set()
        self.refused: list[int] = []
        self.first_refusal = ""

    @property
    def separator(self) -> str | None:
        """Of a CSV file."""
        return self.reader.separator if isinstance(self.reader, CsvFile) else None

    def survey(self) -> Iterator[pl.DataFrame]:
        """All rows, block by block, with the columns that the file has."""
        rows = 0
        for block in self._blocks(None):
            if block.refused and not self.refused:
                self.first_refusal = f"{self.label}, {block.refused[0][1]}"
            self.refused += [rows + position for position, _ in block.refused]
            rows += block.frame.height + len(block.refused)
            self.present |= set(block.frame.columns)
            yield block.frame

    def frames(self, dtypes: Mapping[str, pl.DataType]) -> Iterator[pl.DataFrame]:
        """All rows, with columns of these types; what a CSV file or a folder gives is text, everything else of the given type."""
        for block in self._blocks(dtypes):
            absent = [
                pl.lit(self.partitions.get(column), dtype=pl.String).alias(column) for column in dtypes if column not in block.frame.columns
            ]
            yield block.frame.with_columns(absent).select(*dtypes)

    def _blocks(self, dtypes: Mapping[str, pl.DataType] | None) -> Iterator[Block]:
        with reading(self.label):
            if isinstance(self.reader, CsvFile):
                wanted = self.needed if dtypes is None else dtypes
                yield from self.reader.blocks([column for column in wanted if column in self.present])
            elif dtypes is None:
                yield from self.reader.blocks(self.needed)
            else:
                read_as = {column: pl.String() if dtypes[column] == pl.Null else dtypes[column] for column in sorted(self.present)}
                yield from self.reader.blocks(list(read_as), read_as)


def survey(parts: Sequence[TextPart], needed: Mapping[str, Needed], dialect: Dialect) -> tuple[dict[str, pl.DataType], RefusedLines]:
    """Read all files once, for the types that fit all values and for the lines that are no rows.

    Raises:
        DataError: a file cannot be read, or a column's values have no common type.
    """
    texts = ColumnTypes([column for column, want in needed.items() if want.is_name], dialect.decimal)
    others: dict[str, pl.DataType] = {}
    for part in parts:
        for frame in part.survey():
            strings = [column for column in frame.columns if frame.schema[column] == pl.String]
            frame = frame.with_columns(cleaned(column, dialect.null_values) for column in strings)
            if isinstance(part.reader, CsvFile):
                texts.add(frame)
                continue
            for column, dtype in frame.schema.items():
                form = dtype if frame[column].null_count() < frame.height else pl.Null()
                others[column] = common({"": others.get(column, pl.Null()), part.label: form}, column, is_name=False)
        texts.add(pl.DataFrame({column: [part.partitions.get(column)] for column in needed if column not in part.present}, strict=False))
    dtypes = {
        column: common({"texts": texts.dtype(column, want.is_text), "values": others.get(column, pl.Null())}, column, want.is_name)
        for column, want in needed.items()
    }
    first = next((part.first_refusal for part in parts if part.refused), "")
    return dtypes, RefusedLines({part.label: part.refused for part in parts if part.refused}, first)


def lazy_frame(parts: Sequence[TextPart], dtypes: Mapping[str, pl.DataType], dialect: Dialect, numbered: bool) -> pl.LazyFrame:
    """The rows of all files; with :data:`FILE` if there are several, and with :data:`ROW` if they are to be numbered."""
    is_csv = isinstance(parts[0].reader, CsvFile)
    marked = [column for column, dtype in dtypes.items() if is_csv or dtype == pl.String] if dialect.null_values else []
    labels = pl.Enum([part.label for part in parts])
    schema = {**dtypes, **{token(column): token_type(dialect.null_values) for column in marked}}
    if len(parts) > 1:
        schema[FILE] = labels
    if numbered:
        schema[ROW] = pl.UInt32()

    def read(columns: list[str] | None, predicate: pl.Expr | None, rows: int | None, batch: int | None) -> Iterator[pl.DataFrame]:
        left = rows
        used = list(schema) if columns is None else [*columns, *([] if predicate is None else predicate.meta.root_names())]
        wanted = _wanted(parts, dtypes, used)
        companions = [tokens(column, dialect.null_values) for column in marked if token(column) in used]
        for part in parts:
            file = [pl.lit(part.label, dtype=labels).alias(FILE)] if len(parts) > 1 else []
            first_row = 0
            for texts in part.frames(wanted):
                values = [_typed(column, texts.schema[column], dtype, dialect) for column, dtype in wanted.items()]
                frame = texts.select(*values, *companions, *file)
                if numbered:
                    frame = frame.with_row_index(ROW, first_row)
                first_row += frame.height
                if left is not None:
                    frame, left = frame.head(left), max(0, left - frame.height)
                if predicate is not None:
                    frame = frame.filter(predicate)
                yield frame.select(*schema) if columns is None else frame.select(columns)
                if left == 0:
                    return

    return register_io_source(read, schema=schema)


def _wanted(parts: Sequence[TextPart], dtypes: Mapping[str, pl.DataType], used: Sequence[str]) -> Mapping[str, pl.DataType]:
    """The columns to parse: the used ones of CSV files. An NDJSON line is a row or not by all its needed columns."""
    wanted = {column: dtype for column, dtype in dtypes.items() if column in used or token(column) in used}
    # A file without any of the columns could not tell its number of rows.
    is_enough = all(isinstance(part.reader, CsvFile) and not part.present.isdisjoint(wanted) for part in parts)
    return wanted if is_enough else dtypes


def _typed(column: str, found: pl.DataType, dtype: pl.DataType, dialect: Dialect) -> pl.Expr:
    values = pl.col(column)
    if found == pl.String:
        values = cleaned(column, dialect.null_values)
        if dtype == pl.Float64:
            values = with_point(values, dialect.decimal)
    return values if found == dtype else values.cast(dtype)
