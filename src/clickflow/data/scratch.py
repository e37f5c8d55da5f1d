"""Rows on their way through preparing: in memory while they are few, in files of a scratch folder once they are many.

The files are read in pieces and never mapped: mapped pages count as the memory of a process. They live as long as the preparing.
"""

import pickle
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import ipc

BLOCK_BYTES = 1 << 24
T = TypeVar("T")
RowProgress = Callable[[int, int | None], None]
"""Takes the rows that are done, and of how many if that is known."""


@dataclass(frozen=True)
class Scratch:
    """Place where rows wait.

    Attributes:
        folder: folder for files.
        limit_bytes: rows of a table that stay in memory; also how many are worked on at a time.
        report: told of rows as they are done.
    """

    folder: Path = Path()
    limit_bytes: int = sys.maxsize
    report: RowProgress = lambda done, total: None


IN_MEMORY = Scratch()
"""For logs of which it is known that they fit."""


class FrameSpool:
    """Frames of one schema, in the order given."""

    def __init__(self, file: Path, limit_bytes: int) -> None:
        """Start without a row.

        Args:
            file: where they go when there are many.
            limit_bytes: how many may stay in memory.
        """
        self._file, self._limit_bytes = file, limit_bytes
        self._frames: list[pl.DataFrame] = []
        self._writer: Any = None
        self.schema = pl.Schema()
        self.num_rows = 0
        self.num_bytes = 0

    def append(self, frame: pl.DataFrame) -> None:
        """Add rows."""
        self.schema = frame.schema
        self.num_rows += frame.height
        self.num_bytes += int(frame.estimated_size())
        self._frames.append(frame)
        if self.num_bytes > self._limit_bytes:
            self._flush()

    def frames(self) -> Iterator[pl.DataFrame]:
        """All rows, piece by piece; nothing may be added afterwards."""
        if self._writer is None:
            yield from self._frames
            return
        self._writer.close()
        with pa.OSFile(str(self._file)) as source:
            reader = ipc.open_file(source)
            for batch in range(reader.num_record_batches):
                yield cast(pl.DataFrame, pl.from_arrow(reader.get_batch(batch)))

    def whole(self) -> pl.DataFrame:
        """All rows at once."""
        frames = list(self.frames())
        return pl.concat(frames, rechunk=True) if len(frames) != 1 else frames[0].rechunk()

    def discard(self) -> None:
        """Give memory and disk back."""
        self._frames = []
        if self._writer is not None:
            self._writer.close()
            self._file.unlink(missing_ok=True)

    def _flush(self) -> None:
        for frame in self._frames:
            table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())  # texts of a part without those of the other parts
            if self._writer is None:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                self._writer = ipc.new_file(str(self._file), table.schema)
            self._writer.write_table(table)
        self._frames = []


class ColumnSpool:
    """One column of a file to be, in pieces of one type."""

    def __init__(self, file: Path | None, dtype: Any = None) -> None:
        """Start without a value; ``file`` is where they go, None to keep them in memory."""
        self._file, self._pieces = file, list[NDArray[Any]]()
        self._dtype: np.dtype[Any] | None = None if dtype is None else np.dtype(dtype)
        self._length = 0
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of all values."""
        assert self._dtype is not None
        return self._dtype

    def __len__(self) -> int:
        return self._length

    def append(self, values: NDArray[Any]) -> None:
        """Add values."""
        self._dtype = self._dtype or values.dtype
        assert self._dtype == values.dtype
        self._length += len(values)
        contiguous = np.ascontiguousarray(values)
        if self._file is None:
            self._pieces.append(contiguous)
        else:
            with self._file.open("ab") as file:
                file.write(contiguous.data)

    def blocks(self) -> Iterator[NDArray[Any]]:
        """All values, piece by piece."""
        if self._file is None:
            yield from self._pieces
            return
        with self._file.open("rb") as file:
            while len(block := np.fromfile(file, self.dtype, BLOCK_BYTES // self.dtype.itemsize)):
                yield block


class TableSpool:
    """The columns of a file to be."""

    def __init__(self, folder: Path | None) -> None:
        """Start without columns; ``folder`` is where they go, None to keep them in memory."""
        self._folder = folder
        self.columns: dict[str, ColumnSpool] = {}

    def append(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Add rows; all pieces have the same columns."""
        for place, (name, values) in enumerate(columns.items()):
            if name not in self.columns:
                self.columns[name] = ColumnSpool(None if self._folder is None else self._folder / str(place))
            self.columns[name].append(values)


class Shelf(Generic[T]):
    """One object per part of a log."""

    def __init__(self, folder: Path | None) -> None:
        """Start empty; ``folder`` is where the objects go, None to keep them in memory."""
        self._folder, self._kept = folder, dict[int, T]()
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def put(self, part: int, value: T) -> None:
        """Put an object down."""
        if self._folder is None:
            self._kept[part] = value
            return
        with (self._folder / str(part)).open("wb") as file:
            pickle.dump(value, file, protocol=pickle.HIGHEST_PROTOCOL)

    def get(self, part: int) -> T:
        """An object that was put down."""
        if self._folder is None:
            return self._kept[part]
        with (self._folder / str(part)).open("rb") as file:
            return cast(T, pickle.load(file))
