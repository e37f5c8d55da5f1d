"""A prepared dataset on disk: uncompressed Arrow files that are memory-mapped, and a manifest that reveals damage.

Columns are numpy arrays on both sides and one record batch per file, so reading maps them and copies nothing. There are two kinds of
SHA-256: those of the columns' values make the fingerprint and do not depend on the version of a library or of its hash; those of the files'
bytes are compared before a file is parsed, because a parser that meets a damaged file may do anything.
"""

import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import ipc

from clickflow.config import StrictConfig
from clickflow.data.schema import Schema
from clickflow.digests import digest_file
from clickflow.errors import DataError

FORMAT_VERSION = 2
MANIFEST = "manifest.json"

Arrays = Mapping[str, NDArray[Any]]


class SplitSummary(StrictConfig):
    """What ``prepare`` tells of one split."""

    rows: int
    positives: int
    users: int
    first_timestamp: int
    last_timestamp: int


class Manifest(StrictConfig):
    """Everything a prepared dataset says of itself."""

    format_version: int
    name: str
    protocol: dict[str, Any]
    source: dict[str, Any]
    fields: Schema
    timestamp_unit: str
    num_users: int
    num_items: int
    num_behaviours: int
    has_order: bool = True
    """Whether any user's behaviours happened at two different moments; a model of sequences needs that."""
    history_length_quantiles: dict[str, float]
    splits: dict[str, SplitSummary]
    counts: dict[str, int]
    """What was dropped or noted on the way, by name."""
    versions: dict[str, str]
    checksums: dict[str, str]
    """SHA-256 of the values of every column (``file.arrow:column``) and of every table of raw ids (``file.parquet``)."""
    files: dict[str, str]
    """SHA-256 of the bytes of every file, by its path in the folder."""
    fingerprint: str
    """SHA-256 over the checksums and the schema."""


def refuse_unwritable(folder: Path) -> None:
    """Raise DataError now if a folder could not be written later, after minutes of work."""
    _scratch(folder).rmdir()


def write_atomically(folder: Path, write: Callable[[Path], None]) -> None:
    """Write a folder beside its place and rename it into place: it is whole or absent.

    Raises:
        DataError: it cannot be written.
    """
    scratch = _scratch(folder)
    try:
        write(scratch)
        scratch.chmod(0o755)
        scratch.rename(folder)
    except OSError as error:
        # Another process may have prepared the same data meanwhile: its folder is equal to this one.
        if not (folder / MANIFEST).exists():
            raise _unwritable(folder, error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _scratch(folder: Path) -> Path:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise _unwritable(folder, error) from error


def write_columns(folder: Path, name: str, columns: Arrays) -> dict[str, str]:
    """Write ``<name>.arrow`` and return the checksum of each column."""
    table = pa.table({key: _as_arrow(np.ascontiguousarray(values)) for key, values in columns.items()})
    with pa.OSFile(str(folder / f"{name}.arrow"), "wb") as sink, ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return {f"{name}.arrow:{key}": digest(values) for key, values in columns.items()}


def read_columns(folder: Path, name: str) -> dict[str, NDArray[Any]]:
    """Map ``<name>.arrow``; the arrays are read-only views of the file."""
    table = _open_table(folder / f"{name}.arrow")
    return {key: table.column(key).chunk(0).to_numpy() if table.num_rows else np.zeros(0, np.int32) for key in table.column_names}


def write_frame(folder: Path, name: str, frame: pl.DataFrame) -> dict[str, str]:
    """Write ``<name>.parquet`` (vocabularies: small, with raw ids) and return its checksum."""
    path = folder / f"{name}.parquet"
    path.parent.mkdir(exist_ok=True)
    # Written in memory first: Polars reports a full disk with the same error of its own as a faulty frame.
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    path.write_bytes(buffer.getbuffer())
    return {f"{name}.parquet": digest_frame(frame)}


def read_frame(folder: Path, name: str) -> pl.DataFrame:
    """Read ``<name>.parquet``."""
    try:
        return pl.read_parquet(folder / f"{name}.parquet")
    except (OSError, pl.exceptions.PolarsError) as error:
        raise _damaged(folder, f"{name}.parquet cannot be read ({str(error).splitlines()[0]})") from error


def digest_source(path: Path) -> str:
    """SHA-256 of a source file.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return digest_file(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({_reason(error)}); check that it is there, its permissions and its disk.") from error


def digest(values: NDArray[Any]) -> str:
    """SHA-256 of a column's type, length and bytes."""
    state = hashlib.sha256(f"{values.dtype.str}:{len(values)}:".encode())
    state.update(np.ascontiguousarray(values).data)
    return state.hexdigest()


def digest_frame(frame: pl.DataFrame) -> str:
    """SHA-256 of a frame with strings in it."""
    state = hashlib.sha256()
    for column in frame.iter_columns():
        state.update(f"{column.name}:{column.dtype}:".encode())
        if column.dtype.is_numeric() and not column.null_count():
            state.update(column.to_numpy().data)
        else:
            state.update(json.dumps(column.to_list()).encode())
    return state.hexdigest()


def fingerprint(checksums: Mapping[str, str], fields: Schema) -> str:
    """SHA-256 over all checksums and the schema: equal data, equal fingerprint."""
    return hashlib.sha256(json.dumps([sorted(checksums.items()), fields.model_dump(mode="json")]).encode()).hexdigest()


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest; the last file of a prepared folder."""
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a prepared folder.

    Raises:
        DataError: it is missing, damaged, or of another format version.
    """
    try:
        values = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        version = values["format_version"]
        if version == FORMAT_VERSION:
            return Manifest.model_validate_json(json.dumps(values))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(folder, f"{MANIFEST} cannot be read ({str(error).splitlines()[0]})") from error
    raise DataError(
        f"{folder} = format version {version}: this clickflow reads version {FORMAT_VERSION}; remove the folder and prepare again."
    )


def verify(folder: Path, manifest: Manifest) -> None:
    """Compare every file with its checksum.

    Raises:
        DataError: a file is missing, truncated or changed.
    """
    if fingerprint(manifest.checksums, manifest.fields) != manifest.fingerprint:
        raise _damaged(folder, f"{MANIFEST} does not match its fingerprint")
    for name, expected in manifest.files.items():
        try:
            found = digest_file(folder / name)
        except OSError as error:
            raise _damaged(folder, f"{name} cannot be read ({_reason(error)})") from error
        if found != expected:
            raise _damaged(folder, f"{name} does not match its checksum")


def _as_arrow(values: NDArray[Any]) -> pa.Array:
    """The same memory as an Arrow array; ``pa.array`` would import pandas first, a third of a second."""
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, pa.py_buffer(values)])


def _open_table(path: Path) -> pa.Table:
    try:
        return ipc.open_file(pa.memory_map(str(path))).read_all()
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path.parent, f"{path.name} cannot be read ({str(error).splitlines()[0]})") from error


def _damaged(folder: Path, what: str) -> DataError:
    return DataError(
        f"prepared dataset {folder}: {what}; a prepared folder is never changed after it is made; remove it and prepare again."
    )


def _unwritable(folder: Path, error: OSError) -> DataError:
    return DataError(f"{folder}: cannot be written ({_reason(error)}); free some space or set home=FOLDER to a place that can be written.")


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)
