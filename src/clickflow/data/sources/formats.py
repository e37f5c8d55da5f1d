"""Parquet, CSV and NDJSON files, one or many, as one lazy frame.

The types of a CSV or NDJSON file are inferred over all its rows, not over the first hundred: otherwise a column of ids would be
integers or texts depending on where in the file the first text stands.
"""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from clickflow.config import suggest
from clickflow.data.sources.base import existing_file, several
from clickflow.data.sources.columns import FILE
from clickflow.errors import DataError

PARQUET = (".parquet", ".pq")
CSV = (".csv", ".csv.gz", ".tsv", ".tsv.gz")
NDJSON = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")
ALLOWED = f"one of {', '.join((*PARQUET, *CSV, *NDJSON))}"


def expand(paths: Sequence[Path], key: str) -> tuple[Path, ...]:
    """The files that paths stand for: each is a file, a glob, or a folder (all its files of a known format).

    Args:
        paths: as configured.
        key: the config's key, for messages.

    Raises:
        DataError: nothing there, an empty file, an unknown format, or several formats in one table.
    """
    files = tuple(file for path in paths for file in _expand_one(path.expanduser(), key))
    formats = {_kind(file, key) for file in files}
    if len(formats) > 1:
        raise DataError(
            f"{key} = {', '.join(str(path) for path in paths)}: mixes {' and '.join(sorted(formats))} files; one table has one format."
        )
    return files


def scan(files: Sequence[Path], needed: dict[str, str], separator: str) -> pl.LazyFrame:
    """The needed columns of all files, one file after the other; with :data:`~.columns.FILE` where there are several.

    Args:
        files: of one format.
        needed: column -> the config's key that names it.
        separator: between the columns of a CSV; a ``.tsv`` has tabs.

    Raises:
        DataError: a file cannot be parsed, lacks a column, or has it as a type that does not go with the other files.
    """
    frames = [_open(file, separator, {}) for file in files]
    problems = [line for file, frame in zip(files, frames, strict=True) for line in _absent(file.name, frame, needed)]
    if problems:
        raise several(problems, "the files")
    if texts := _texts_somewhere(frames, needed):
        if _kind(files[0], "") == "Parquet":
            found = ", ".join(f"{file.name}: {frame.collect_schema()[texts[0]]}" for file, frame in zip(files, frames, strict=True))
            raise DataError(f"column '{texts[0]}' = {found}: texts in one file and not in another; write it with one type.")
        frames = [_open(file, separator, dict.fromkeys(texts, pl.String())) for file in files]
    selected = [frame.select(list(needed)) for frame in frames]
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


def labels(files: Sequence[Path]) -> list[str]:
    """How messages call the files: by name, by path where two share a name."""
    names = [file.name for file in files]
    return names if len(set(names)) == len(names) else [str(file) for file in files]


def first_line(error: BaseException) -> str:
    """Polars' own message without its advice, which names options this program does not have."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


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
    try:
        if kind == "Parquet":
            frame = pl.scan_parquet(file, glob=False)
        elif kind == "CSV":
            tabs = file.name.lower().endswith((".tsv", ".tsv.gz"))
            separator = "\t" if tabs else separator
            frame = pl.scan_csv(file, separator=separator, schema_overrides=overrides, infer_schema_length=None, glob=False)
        else:
            # No glob=False here: a name with brackets would have to be escaped, and Polars offers no way to.
            frame = pl.scan_ndjson(file, schema_overrides=overrides, infer_schema_length=None)
        frame.collect_schema()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise DataError(f"{file.name}: cannot be read as {kind} ({first_line(error)}); write the file again.") from error
    return frame


def _absent(name: str, frame: pl.LazyFrame, needed: dict[str, str]) -> list[str]:
    present = frame.collect_schema().names()
    return [
        f"{name}, column '{column}' (data.{key}): no such column; {suggest(column, present).removesuffix('?')}"
        + (f"; the file has: {', '.join(present)}" if suggest(column, present).endswith("?") else "")
        + "."
        for column, key in needed.items()
        if column not in present
    ]


def _texts_somewhere(frames: Sequence[pl.LazyFrame], needed: dict[str, str]) -> list[str]:
    """Columns that are texts in some of the files only."""
    dtypes = {column: [frame.collect_schema()[column] for frame in frames] for column in needed}
    return [column for column, found in dtypes.items() if pl.String in found and any(dtype != pl.String for dtype in found)]
