"""First rows of a file, read as those of a log are, with the types that fit them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from clickflow.data.guessing.text_format import format_of
from clickflow.data.sources.csv_files import CsvFile
from clickflow.data.sources.dialect import Dialect
from clickflow.data.sources.formats import kind_of
from clickflow.data.sources.json_files import JsonFile
from clickflow.data.sources.source import existing_file, reading
from clickflow.data.sources.texts import ColumnTypes, cleaned, with_point
from clickflow.errors import DataError

ROWS = 100_000


@dataclass(frozen=True)
class Sample:
    """Some rows of a table.

    Attributes:
        paths: its files, as the user typed them.
        options: how it is written: keys of the config that are not as by default.
        frame: the first rows, typed; missing values are null.
        is_whole: whether these are all rows of the first file.
        questions: what a person should look at.
    """

    paths: tuple[Path, ...]
    options: dict[str, Any]
    frame: pl.DataFrame
    is_whole: bool
    questions: tuple[str, ...] = field(default=())


def read_sample(path: Path, rows: int = ROWS) -> Sample:
    """Look at a file.

    Args:
        path: as typed.
        rows: how many rows are enough.

    Raises:
        DataError: no such file, an empty one, or one that cannot be read.
    """
    file = existing_file(path.expanduser(), "--from")
    with reading(str(path)):
        found = format_of(file)
    options = dict(found.options)
    kind = options.get("format") or kind_of(file)
    if kind == "csv" and options.get("header") is False:
        options["names"] = [f"column_{number + 1}" for number in range(_width(file, options))]
    dialect = Dialect.model_validate(options)
    with reading(str(path)):
        if kind == "parquet":
            lazy = pl.scan_parquet(file, glob=False, hive_partitioning=False)
            frame = lazy.head(rows + 1).collect()
        elif kind == "csv":
            frame = _texts(CsvFile(file, dialect), rows + 1, dialect)
        else:
            frame = _objects(JsonFile(file, dialect), rows + 1, dialect)
    if frame.is_empty():
        raise DataError(f"{path} = 0 rows: there is nothing to look at; write the file again with its rows.")
    return Sample((path,), options, frame.head(rows), frame.height <= rows, found.questions)


def _width(file: Path, options: dict[str, Any]) -> int:
    """Number of columns in a file without a header."""
    return len(CsvFile(file, Dialect.model_validate({**options, "header": True})).columns)


def _texts(reader: CsvFile, rows: int, dialect: Dialect) -> pl.DataFrame:
    if len(set(reader.columns)) < len(reader.columns):
        twice = sorted({name for name in reader.columns if reader.columns.count(name) > 1})
        raise DataError(f"{reader.file}, header: {', '.join(twice)} named twice; give each column a name of its own.")
    blocks = (block.frame for block in reader.blocks(reader.columns))
    texts = _first(blocks, rows, {column: pl.String() for column in reader.columns})
    texts = texts.with_columns(cleaned(column, dialect.null_values) for column in texts.columns)
    as_names, as_numbers = ColumnTypes(texts.columns, dialect.decimal), ColumnTypes((), dialect.decimal)
    as_names.add(texts)
    as_numbers.add(texts)

    def dtype(column: str) -> pl.DataType:
        """The type as an id has it, so that 007 stays a text; but 1e-5 is a number."""
        is_scientific = as_numbers.dtype(column) == pl.Float64 and bool(texts[column].str.contains("[eE]").any())
        return as_numbers.dtype(column) if is_scientific else as_names.dtype(column)

    return texts.with_columns(_typed(column, dtype(column), dialect.decimal) for column in texts.columns)


def _typed(column: str, dtype: pl.DataType, decimal: str) -> pl.Expr:
    values = with_point(pl.col(column), decimal) if dtype == pl.Float64 else pl.col(column)
    return values.cast(dtype)


def _objects(reader: JsonFile, rows: int, dialect: Dialect) -> pl.DataFrame:
    names = reader.names()
    frames = list(_enough((block.frame for block in reader.blocks(names)), rows))
    frame = pl.concat(frames, how="diagonal_relaxed").head(rows) if frames else pl.DataFrame()
    texts = [column for column, dtype in frame.schema.items() if dtype == pl.String]
    return frame.with_columns(cleaned(column, dialect.null_values) for column in texts)


def _first(frames: Iterator[pl.DataFrame], rows: int, schema: dict[str, pl.DataType]) -> pl.DataFrame:
    return pl.concat([pl.DataFrame(schema=schema), *_enough(frames, rows)]).head(rows)


def _enough(frames: Iterator[pl.DataFrame], rows: int) -> Iterator[pl.DataFrame]:
    """Frames until there are this many rows."""
    seen = 0
    for frame in frames:
        yield frame
        seen += frame.height
        if seen >= rows:
            return


def joined(samples: Sequence[Sample]) -> list[Sample]:
    """Tables of files: those with the same columns and written alike are parts of one."""
    tables: dict[tuple[Any, ...], Sample] = {}
    for one in samples:
        key = (tuple(one.frame.columns), tuple(one.frame.dtypes) if "names" in one.options else (), repr(one.options))
        first = tables.get(key)
        tables[key] = one if first is None else _with(first, one)
    return list(tables.values())


def _with(first: Sample, further: Sample) -> Sample:
    frame = pl.concat([first.frame, further.frame], how="vertical_relaxed")
    is_whole = first.is_whole and further.is_whole
    return Sample((*first.paths, *further.paths), first.options, frame, is_whole, first.questions)
