"""A prepared dataset on disk: uncompressed Arrow files that are memory-mapped, and a manifest that reveals damage.

Columns are numpy arrays on both sides and one record batch per file, so reading maps them and copies nothing. There are two kinds of
SHA-256: those of the columns' values make the fingerprint and do not depend on the version of a library or of its hash; those of the files'
bytes are compared before a file is parsed, because a parser that meets a damaged file may do anything.
"""

import hashlib
import io
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import ipc

from clickflow.data.manifest import MANIFEST, Manifest, damaged, fingerprint
from clickflow.data.scratch import ColumnSpool
from clickflow.digests import digest_file, first_difference
from clickflow.errors import DataError, system_reason


def refuse_unwritable(folder: Path) -> None:
    """Raise DataError now if a folder could not be written later, after minutes of work."""
    _scratch(folder).rmdir()


def write_atomically(folder: Path, write: Callable[[Path], Manifest]) -> Manifest | None:
    """Write a folder beside its place and rename it into place: it is whole or absent.

    Returns:
        what ``write`` returned; None if another process prepared the same data meanwhile, whose folder is equal.

    Raises:
        DataError: it cannot be written.
    """
    scratch = _scratch(folder)
    try:
        manifest = write(scratch)
        scratch.chmod(0o755)
        scratch.rename(folder)
    except OSError as error:
        if not (folder / MANIFEST).exists():
            raise _unwritable(folder, error) from error
        return None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return manifest


def _scratch(folder: Path) -> Path:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise _unwritable(folder, error) from error


@dataclass(frozen=True)
class Written:
    """The SHA-256 of what was written, computed on its way to the disk, so that nothing is read again.

    Attributes:
        checksums: of the values of columns and tables, as in :attr:`Manifest.checksums`.
        files: of the bytes of files, as in :attr:`Manifest.files`.
    """

    checksums: dict[str, str]
    files: dict[str, str]

    def __or__(self, other: "Written") -> "Written":
        return Written(self.checksums | other.checksums, self.files | other.files)


class _HashedFile(io.FileIO):
    """A new file that computes the SHA-256 of its bytes while they are written.

    Columns that are not in memory have a stand-in: where Arrow writes that, their own values are written, block by block.
    """

    def __init__(self, path: Path, columns: Mapping[int, ColumnSpool]) -> None:
        """Open the file; ``columns`` are those with a stand-in, by its address."""
        super().__init__(path, "wb")
        self.state = hashlib.sha256()
        self._columns = columns

    def write(self, data: Any) -> int:
        """Write all of the data, or of the column that it stands for."""
        column = self._columns.get(getattr(data, "address", 0))
        if column is None:
            return self._write_all(data)
        return sum(self._write_all(block.data) for block in column.blocks())

    def _write_all(self, data: Any) -> int:
        """Write all of the data; the system may take only a part at a time."""
        remaining = memoryview(data).cast("B")
        size = len(remaining)
        self.state.update(remaining)
        while len(remaining):
            remaining = remaining[super().write(remaining) :]
        return size


def write_columns(folder: Path, name: str, columns: Mapping[str, NDArray[Any] | ColumnSpool]) -> Written:
    """Write ``<name>.arrow``; a column may be larger than memory."""
    spools = {key: _spooled(values) for key, values in columns.items()}
    # Arrow writes memory only. Pages of zeros that nobody reads take none, so a column's stand-in can have its length.
    stand_ins = {key: _as_arrow(np.zeros(len(spool), spool.dtype)) for key, spool in spools.items()}
    table = pa.table(stand_ins)
    addresses = {array.buffers()[1].address: spools[key] for key, array in stand_ins.items() if len(array)}
    with _HashedFile(folder / f"{name}.arrow", addresses) as file:
        with pa.PythonFile(file, "w") as sink, ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        digests = {f"{name}.arrow:{key}": _digest(spool) for key, spool in spools.items()}
        return Written(digests, {f"{name}.arrow": file.state.hexdigest()})


def read_columns(folder: Path, name: str) -> dict[str, NDArray[Any]]:
    """Map ``<name>.arrow``; the arrays are read-only views of the file."""
    table = _open_table(folder / f"{name}.arrow")
    return {key: table.column(key).chunk(0).to_numpy() if table.num_rows else np.zeros(0, np.int32) for key in table.column_names}


def write_frame(folder: Path, name: str, frame: pl.DataFrame) -> Written:
    """Write ``<name>.parquet``: a vocabulary or another small table of raw ids."""
    path = folder / f"{name}.parquet"
    path.parent.mkdir(exist_ok=True)
    # Written in memory first: Polars reports a full disk with the same error of its own as a faulty frame.
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    path.write_bytes(buffer.getbuffer())
    return Written({f"{name}.parquet": digest_frame(frame)}, {f"{name}.parquet": hashlib.sha256(buffer.getbuffer()).hexdigest()})


def read_frame(folder: Path, name: str) -> pl.DataFrame:
    """Read ``<name>.parquet``."""
    try:
        return pl.read_parquet(folder / f"{name}.parquet")
    except (OSError, pl.exceptions.PolarsError) as error:
        raise damaged(folder, f"{name}.parquet cannot be read ({str(error).splitlines()[0]})") from error


def digest_source(path: Path) -> str:
    """SHA-256 of a source file.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return digest_file(path)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({system_reason(error)}); check that it is there, its permissions and its disk."
        ) from error


def digest(values: NDArray[Any]) -> str:
    """SHA-256 of a column's type, length and bytes."""
    return _digest(_spooled(values))


def _digest(column: ColumnSpool) -> str:
    state = hashlib.sha256(f"{column.dtype.str}:{len(column)}:".encode())
    for block in column.blocks():
        state.update(block.data)
    return state.hexdigest()


def _spooled(values: NDArray[Any] | ColumnSpool) -> ColumnSpool:
    if isinstance(values, ColumnSpool):
        return values
    column = ColumnSpool(None)
    column.append(values)
    return column


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


def verify(folder: Path, manifest: Manifest) -> None:
    """Compare every file with its checksum.

    Raises:
        DataError: a file is missing, truncated or changed.
    """
    if fingerprint(manifest.checksums, manifest.fields) != manifest.fingerprint:
        raise damaged(folder, f"{MANIFEST} does not match its fingerprint")
    if difference := first_difference(folder, manifest.files):
        raise damaged(folder, " ".join(difference))


def _as_arrow(values: NDArray[Any]) -> pa.Array:
    """The same memory as an Arrow array; ``pa.array`` would import pandas first, a third of a second."""
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, pa.py_buffer(values)])


def _open_table(path: Path) -> pa.Table:
    try:
        return ipc.open_file(pa.memory_map(str(path))).read_all()
    except (OSError, pa.ArrowException) as error:
        raise damaged(path.parent, f"{path.name} cannot be read ({str(error).splitlines()[0]})") from error


def _unwritable(folder: Path, error: OSError) -> DataError:
    return DataError(
        f"{folder}: cannot be written ({system_reason(error)}); free some space or set home=FOLDER to a place that can be written."
    )
