"""Parquet, CSV and NDJSON files, one or many, as one lazy frame.

The types of a CSV or NDJSON file are inferred over all its rows, not over the first hundred: otherwise a column of ids would be
integers or texts depending on where in the file the first text is.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

import polars as pl

from clickflow.config import suggest
from clickflow.data.sources.columns import FILE
from clickflow.data.sources.source import existing_file, several, unreadable
from clickflow.errors import DataError
from clickflow.text import first_line

PARQUET = (".parquet", ".pq")
CSV = (".csv", ".csv.gz", ".tsv", ".tsv.gz")
NDJSON = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")
NOT_AS_WRITTEN = r"^-?0\d|^-0$"
"""Texts that Polars infers as integers and that would not come back from them: ``007``, ``-0``. It leaves ``+7`` and `` 7`` texts."""
NAME_CHARACTERS = 60
ALLOWED = f"one of {', '.join((*PARQUET, *CSV, *NDJSON))}"


def expand(paths: Sequence[Path], key: str) -> tuple[Path, ...]:
    """The files that paths name: each path is a file, a glob, or a folder (all its files of a known format).

    Args:
        paths: as configured.
        key: the config's key, for messages.

    Raises:
        DataError: nothing there, an empty file, an unknown format, or several formats in one table.
    """
    files = tuple(file for path in paths for file in _expand_one(path.expanduser(), key))
    formats = {_kind(file, key) for file in files}
    if len(formats) > 1:
        mixed = " and ".join(sorted(formats))
        raise DataError(f"{key} = {', '.join(map(str, paths))}: mixes {mixed} files; a table must have a single format.")
    return files


def scan(files: Sequence[Path], needed: dict[str, str], separator: str, texts: Collection[str] = ()) -> pl.LazyFrame:
    """Scan the needed columns of all files, one file after the other; with :data:`~.columns.FILE` if there are several.

    Args:
        files: files of one format.
        needed: column -> the config's key that names it.
        separator: separator of the columns of a CSV; a ``.tsv`` has tabs.
        texts: columns of a CSV that are read as text even if they look like numbers.

    Raises:
        DataError: a file cannot be parsed, lacks a column, or has it in a type that contradicts the other files.
    """
    as_texts: dict[str, pl.DataType] = dict.fromkeys(texts, pl.String()) if _kind(files[0], "") == "CSV" else {}
    frames = [_open(file, separator, as_texts) for file in files]
    problems = [line for file, frame in zip(files, frames, strict=True) for line in _absent(file, frame, needed, separator)]
    if problems:
        raise several(problems, "the files")
    if mixed := _texts_somewhere(frames, needed):
        if _kind(files[0], "") == "Parquet":
            found = ", ".join(f"{file.name}: {frame.collect_schema()[mixed[0]]}" for file, frame in zip(files, frames, strict=True))
            raise DataError(f"column '{mixed[0]}' = {found}: texts in one file and not in another; write it with one type.")
        frames = [_open(file, separator, as_texts | dict.fromkeys(mixed, pl.String())) for file in files]
    selected = [_select(file, frame, list(needed)) for file, frame in zip(files, frames, strict=True)]
    if len(files) == 1:
        return selected[0]
    names = pl.Enum(labels(files))
    marked = [frame.with_columns(pl.lit(name, dtype=names).alias(FILE)) for frame, name in zip(selected, labels(files), strict=True)]
    frame = pl.concat(marked, how="vertical_relaxed")
    try:
        frame.collect_schema()
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{', '.join(labels(files))}: columns of different types ({first_line(error)}); write them alike.") from error
    return frame


def not_as_written(files: Sequence[Path], frame: pl.LazyFrame, columns: Collection[str], separator: str) -> set[str]:
    """Columns of a CSV that were inferred as integers although their texts differ: ``007`` and ``7`` would become one id.

    Args:
        files: as given to :func:`scan`.
        frame: as returned by :func:`scan`.
        columns: columns to check; integer columns are read once more, the others not at all.
        separator: as given to :func:`scan`.

    Raises:
        DataError: a file cannot be parsed.
    """
    schema = frame.collect_schema()
    integers = sorted(column for column in set(columns) if schema[column].is_integer())
    if _kind(files[0], "") != "CSV" or not integers:
        return set()
    tables = [pl.scan_csv(file, separator=_separator(file, separator), infer_schema=False, glob=False) for file in files]
    texts = pl.concat([table.select(integers) for table in tables])
    try:
        found = texts.select(pl.col(integers).str.contains(NOT_AS_WRITTEN).any()).collect(engine="streaming")
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise unreadable(", ".join(labels(files)), error) from error
    return {column for column in integers if found[column].item()}


def labels(files: Sequence[Path]) -> list[str]:
    """Labels of the files in messages: the name, or the path if two files share a name."""
    names = [file.name for file in files]
    return names if len(set(names)) == len(names) else [str(file) for file in files]


def _expand_one(path: Path, key: str) -> list[Path]:
    if path.is_dir():
        found = sorted(file for file in path.iterdir() if file.name.lower().endswith((*PARQUET, *CSV, *NDJSON)))
        if not found:
            raise DataError(f"{key} = {path}: a folder without data files; it must hold {ALLOWED}.")
    elif any(character in str(path) for character in "*?[") and not path.exists():
        anchor = Path(path.anchor)
        found = sorted(file for file in anchor.glob(str(path.relative_to(anchor))) if file.is_file())
        if not found:
            raise DataError(f"{key} = {path}: matches no file; a relative path starts at {Path.cwd()}.")
    else:
        found = [path]
    return [existing_file(file, key) for file in found]


def _kind(file: Path, key: str) -> str:
    name = file.name.lower()
    for suffixes, kind in ((PARQUET, "Parquet"), (CSV, "CSV"), (NDJSON, "NDJSON")):
        if name.endswith(suffixes):
            return kind
    raise DataError(f"{key} = {file}: unknown format; allowed is {ALLOWED}; rename or convert the file.")


def _open(file: Path, separator: str, overrides: dict[str, pl.DataType]) -> pl.LazyFrame:
    kind = _kind(file, "")
    if kind != "Parquet" and _is_parquet(file):
        raise DataError(f"{file.name}: this is a Parquet file; name it .parquet.")
    try:
        if kind == "Parquet":
            frame = pl.scan_parquet(file, glob=False)
        elif kind == "CSV":
            separator = _separator(file, separator)
            frame = pl.scan_csv(file, separator=separator, schema_overrides=overrides, infer_schema_length=None, glob=False)
        else:
            # No glob=False here: a name with brackets would have to be escaped, and Polars offers no way to.
            frame = pl.scan_ndjson(file, schema_overrides=overrides, infer_schema_length=None)
        frame.collect_schema()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise DataError(f"{file.name}: cannot be read as {kind} ({first_line(error)}); write the file again.") from error
    return frame


def _is_parquet(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(4) == b"PAR1"


def _separator(file: Path, separator: str) -> str:
    return "\t" if file.name.lower().endswith((".tsv", ".tsv.gz")) else separator


def _select(file: Path, frame: pl.LazyFrame, columns: list[str]) -> pl.LazyFrame:
    """Select columns of a file. Polars reports a CSV line with too many fields only if it reads all columns, so a CSV is read whole."""
    if _kind(file, "") != "CSV":
        return frame.select(columns)
    found = frame.collect_schema()
    schema = {column: found[column] for column in columns}
    return frame.map_batches(lambda rows: rows.select(columns), schema=schema, streamable=True, projection_pushdown=False)


def _absent(file: Path, frame: pl.LazyFrame, needed: dict[str, str], separator: str) -> list[str]:
    present = frame.collect_schema().names()
    # A file of another format than its name says has column names of control characters, or one as long as a line.
    shown = [repr(name)[1:-1][:NAME_CHARACTERS] for name in present]
    is_single = len(present) == 1 and _kind(file, "") == "CSV"
    hint = f"; the file has a single column: is data.separator ({_separator(file, separator)!r}) right?" if is_single else "."
    return [
        f"{file.name}, column '{column}' (data.{key}): no such column; {suggest(column, shown).removesuffix('?')}"
        + (f"; the file has: {', '.join(shown)}" if suggest(column, shown).endswith("?") else "")
        + hint
        for column, key in needed.items()
        if column not in present
    ]


def _texts_somewhere(frames: Sequence[pl.LazyFrame], needed: dict[str, str]) -> list[str]:
    """Columns that are texts in some of the files but not in all."""
    dtypes = {column: [frame.collect_schema()[column] for frame in frames] for column in needed}
    return [column for column, found in dtypes.items() if pl.String in found and any(dtype != pl.String for dtype in found)]
