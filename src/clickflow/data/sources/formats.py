"""Parquet, CSV and NDJSON files, one or many, as one lazy frame."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from clickflow.config import suggest
from clickflow.data.sources import text_tables
from clickflow.data.sources.dialect import Dialect, Format
from clickflow.data.sources.parts import FILE, ROW, Needed, common, converted, partition_values, plain
from clickflow.data.sources.raw import RefusedLines
from clickflow.data.sources.source import existing_file, several
from clickflow.data.sources.texts import ColumnTypes, cleaned, tokens
from clickflow.errors import DataError
from clickflow.text import first_line

PARQUET = (".parquet", ".pq")
CSV = (".csv", ".csv.gz", ".tsv", ".tsv.gz")
NDJSON = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")
SUFFIXES: dict[Format, tuple[str, ...]] = {"parquet": PARQUET, "csv": CSV, "ndjson": NDJSON}
SHOWN: dict[Format, str] = {"parquet": "Parquet", "csv": "CSV", "ndjson": "NDJSON"}
ALLOWED = f"one of {', '.join((*PARQUET, *CSV, *NDJSON))}"
REMOTE = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+:/")
NAME_CHARACTERS = 60


class Table(NamedTuple):
    """A table as it can be read, and the lines of its files that are no rows."""

    frame: pl.LazyFrame
    refused: RefusedLines


def expand(paths: Sequence[Path], key: str, kind: Format | None = None) -> tuple[Path, ...]:
    """The files that paths name: each path is a file, a glob, or a folder (all its files of a known format, in all its folders).

    Args:
        paths: as configured.
        key: the config's key, for messages.
        kind: format of the files; None: as their names say.

    Raises:
        DataError: nothing there, an empty file, an unknown format, several formats in one table, or an object store.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        for file in _expand_one(path.expanduser(), key, kind):
            found.setdefault(file.resolve(), file)  # a file that is named twice, or by two globs, is read once
    files = tuple(found.values())
    kinds = {kind or kind_of(file, key) for file in files}
    if len(kinds) > 1:
        mixed = " and ".join(sorted(SHOWN[kind] for kind in kinds))
        raise DataError(f"{key} = {', '.join(map(str, paths))}: mixes {mixed} files; a table must have a single format.")
    return files


def kind_of(file: Path, key: str = "") -> Format:
    """The format that a file's name says.

    Raises:
        DataError: it says none.
    """
    for kind, suffixes in SUFFIXES.items():
        if file.name.lower().endswith(suffixes):
            return kind
    raise DataError(f"{key} = {file}: unknown format; allowed is {ALLOWED}; set format: csv, ndjson or parquet, or convert the file.")


def scan(files: Sequence[Path], needed: Mapping[str, Needed], dialect: Dialect, numbered: bool = False) -> Table:
    """Scan the needed columns of all files, one file after the other; with :data:`~.parts.FILE` if there are several.

    Args:
        files: files of one format.
        needed: column -> what is wanted of it.
        dialect: how the files are written.
        numbered: add :data:`~.parts.ROW`.

    Raises:
        DataError: a file cannot be parsed, lacks a column, or has it in a type that contradicts the other files.
    """
    kind = dialect.format or kind_of(files[0])
    if kind == "parquet":
        return Table(_scan_parquet(files, needed, dialect, numbered), RefusedLines())
    names = list(needed)
    parts = [text_tables.TextPart(file, label, kind == "csv", names, dialect) for file, label in zip(files, labels(files), strict=True)]
    if kind == "csv":
        _refuse_absent(parts, needed)
    dtypes, refused = text_tables.survey(parts, needed, dialect)
    _refuse_absent(parts, needed)
    return Table(text_tables.lazy_frame(parts, dtypes, dialect, numbered), refused)


def labels(files: Sequence[Path]) -> list[str]:
    """Labels of the files in messages: the name, or the path if two files share a name."""
    names = [file.name for file in files]
    return names if len(set(names)) == len(names) else [str(file) for file in files]


def _expand_one(path: Path, key: str, kind: Format | None) -> list[Path]:
    if REMOTE.match(str(path)):
        raise DataError(f"{key} = {path}: an address, and only local files are read; copy the files here first, and give their folder.")
    if path.is_dir():
        found = _folder(path, kind)
        if not found:
            raise DataError(f"{key} = {path}: a folder without data files; it must hold {ALLOWED}, or set format.")
    elif any(character in str(path) for character in "*?[") and not path.exists():
        anchor = Path(path.anchor)
        matches = sorted(match for match in anchor.glob(str(path.relative_to(anchor))) if match.name[0] != "." or path.name[0] == ".")
        found = [file for match in matches for file in ([match] if match.is_file() else _folder(match, kind))]
        if not found:
            raise DataError(f"{key} = {path}: matches no file; a relative path starts at {Path.cwd()}.")
    else:
        found = [path]
    return [existing_file(file, key) for file in found]


def _folder(folder: Path, kind: Format | None) -> list[Path]:
    """All data files in a folder and its folders; of a known format, unless the format is given."""
    suffixes = ("",) if kind else (*PARQUET, *CSV, *NDJSON)
    return sorted(file for file in folder.rglob("*") if file.is_file() and _is_data(file.relative_to(folder), suffixes))


def _is_data(file: Path, suffixes: tuple[str, ...]) -> bool:
    """Whether a file of a folder holds rows: dot files do not, nor what Spark puts beside them (``_SUCCESS``, ``_metadata``)."""
    return not any(part.startswith((".", "_")) for part in file.parts) and file.name.lower().endswith(suffixes)


class _ParquetPart(NamedTuple):
    label: str
    frame: pl.LazyFrame
    schema: pl.Schema
    partitions: dict[str, str | None]

    @property
    def names(self) -> list[str]:
        return self.schema.names()

    @property
    def present(self) -> set[str]:
        return set(self.schema)

    @property
    def separator(self) -> None:
        return None


def _scan_parquet(files: Sequence[Path], needed: Mapping[str, Needed], dialect: Dialect, numbered: bool) -> pl.LazyFrame:
    parts = [_parquet_part(file, label) for file, label in zip(files, labels(files), strict=True)]
    _refuse_absent(parts, needed)
    folders = ColumnTypes([column for column, want in needed.items() if want.is_name], dialect.decimal)
    for column in needed:
        values = [part.partitions.get(column) for part in parts if column not in part.schema]
        folders.add(pl.DataFrame({column: values}, schema={column: pl.String}))
    forms: dict[str, pl.DataType] = {}
    problems = []
    for column, want in needed.items():
        found = {part.label: plain(part.schema[column]) for part in parts if column in part.schema}
        try:
            forms[column] = common({**found, "its folders": folders.dtype(column)}, column, want.is_name)
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise several(problems, "the files")
    names = pl.Enum([part.label for part in parts])
    frames = []
    for part in parts:
        columns = [
            converted(column, part.schema[column], form)
            if column in part.schema
            else pl.lit(part.partitions.get(column), dtype=pl.String).cast(form).alias(column)
            for column, form in forms.items()
        ]
        file = [pl.lit(part.label, dtype=names).alias(FILE)] if len(parts) > 1 else []
        frame = part.frame.select(*columns, *file)
        frames.append(frame.with_row_index(ROW) if numbered else frame)
    texts = [column for column, form in forms.items() if form == pl.String]
    companions = [tokens(column, dialect.null_values) for column in texts] if dialect.null_values else []
    frame = frames[0] if len(frames) == 1 else pl.concat(frames)
    return frame.with_columns(*(cleaned(column, dialect.null_values) for column in texts), *companions) if texts else frame


def _parquet_part(file: Path, label: str) -> _ParquetPart:
    try:
        frame = pl.scan_parquet(file, glob=False, hive_partitioning=False)
        schema = frame.collect_schema()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise DataError(f"{label}: cannot be read as Parquet ({first_line(error)}); write the file again.") from error
    return _ParquetPart(label, frame, schema, partition_values(file))


def _refuse_absent(parts: Sequence[text_tables.TextPart | _ParquetPart], needed: Mapping[str, Needed]) -> None:
    """Refuse columns that no file has, columns of events that one of them lacks, and columns that share their name.

    Raises:
        DataError: all of them, with the nearest name.
    """
    problems = []
    for column, want in needed.items():
        lacking = [part for part in parts if column not in part.present and column not in part.partitions]
        if lacking and not (want.is_optional and len(lacking) < len(parts)):
            problems += [_absent(part, column, want.key) for part in (lacking[:1] if want.is_optional else lacking)]
        problems += [
            f"{part.label}, column '{column}' (data.{want.key}): {count} columns have this name; give each a name of its own."
            for part in parts
            if (count := part.names.count(column)) > 1
        ]
    if problems:
        raise several(problems, "the files")


def _absent(part: text_tables.TextPart | _ParquetPart, column: str, key: str) -> str:
    # A file of another format than its name says has column names of control characters, or one as long as a line.
    shown = [repr(name)[1:-1][:NAME_CHARACTERS] for name in (*part.names, *part.partitions)]
    hint = "."
    if part.separator and len(part.names) == 1:
        hint = f"; the file has a single column: is data.separator ({part.separator!r}) right?"
    elif part.separator and all(re.fullmatch(r"-?[\d.]+|\W*", name) for name in part.names[:2]):
        hint = "; is that a row? Set data.header: false and data.names."
    nearest = suggest(column, shown)
    listed = f"; the file has: {', '.join(shown)}" if nearest.endswith("?") else ""
    return f"{part.label}, column '{column}' (data.{key}): no such column; {nearest.removesuffix('?')}{listed}{hint}"
