"""An output that is made in a folder of its own and then renamed, and that can be carried on after an interrupt.

Scores cost time, so they are kept: a journal holds a fixed number of bytes for each row of the input. The Parquet file itself cannot be
appended to; it is written anew from the journal, at the speed of reading the input. The last digits of a score depend on the rows that
share its batch. Batches are cut alike each time, so that carrying on gives the same bytes as a run without an interrupt.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from clickflow.errors import DataError, system_reason

ROWS_PER_ROW_GROUP = 1 << 17
MANIFEST, JOURNAL, PARQUET, LOCK = "manifest.json", "journal.bin", "output.parquet", "lock"


class OutputError(DataError):
    """The output cannot be written; what has been scored is kept."""


class PartialOutput(AbstractContextManager["PartialOutput"]):
    """A Parquet file in the making; leaving it releases the folder, so that another process can carry on.

    The journal holds one ``record`` for each row of the input. The identity is all that the scores depend on; a journal of another one is
    thrown away.

    Raises:
        OutputError: the folder cannot be written, or another process is writing it.
    """

    def __init__(self, output: Path, record: np.dtype[Any], identity: dict[str, Any]) -> None:
        self.output = output
        self.folder = partial_folder(output)
        self._record = record
        self._identity = json.loads(json.dumps(identity))
        with self._writing():
            self.folder.mkdir(exist_ok=True)
            self._lock = self._locked()
            self._journal = (self.folder / JOURNAL).open("a+b")
            self.changed = self._what_changed()
            """Parts of the identity that changed since the journal was begun; empty where it can be carried on or there is none."""
            if self.changed or not (self.folder / MANIFEST).exists():
                self._journal.truncate(0)
                (self.folder / MANIFEST).write_text(json.dumps(self._identity, indent=1), encoding="utf-8")
            self._journal.seek(0)

    @property
    def num_recorded(self) -> int:
        """Rows in the journal."""
        return (self.folder / JOURNAL).stat().st_size // self._record.itemsize

    def replay(self, num_rows: int) -> NDArray[Any] | None:
        """Read the next rows of the journal; None once it does not hold all of them."""
        place = self._journal.tell()
        recorded = self._journal.read(num_rows * self._record.itemsize)
        if num_rows and len(recorded) == num_rows * self._record.itemsize:
            return np.frombuffer(recorded, dtype=self._record)
        self._journal.truncate(place)
        return None

    def record(self, results: NDArray[Any]) -> None:
        """Append the results of the next rows to the journal."""
        with self._writing():
            self._journal.write(results.astype(self._record, copy=False).tobytes())
            self._journal.flush()

    @contextlib.contextmanager
    def writer(self, schema: pa.Schema) -> Iterator[Callable[[pa.RecordBatch], None]]:
        """Yield the function that writes rows; at the end the finished file is there and nothing else is left.

        Raises:
            OutputError: it cannot be written; the journal stays, to be carried on with.
        """
        path = self.folder / PARQUET
        waiting: list[pa.RecordBatch] = []

        def write(batch: pa.RecordBatch) -> None:
            waiting.append(batch)
            if sum(map(len, waiting)) >= ROWS_PER_ROW_GROUP:
                parquet.write_table(pa.Table.from_batches(waiting, schema))
                waiting.clear()

        try:
            with self._writing(), pq.ParquetWriter(path, schema) as parquet:
                yield write
                if waiting:
                    parquet.write_table(pa.Table.from_batches(waiting, schema))
            with self._writing():
                with path.open("rb") as file:
                    os.fsync(file.fileno())  # so that the output's name never means an incomplete file
                path.replace(self.output)
            self.discard()
        finally:
            path.unlink(missing_ok=True)

    def __exit__(self, *error: object) -> None:
        self._journal.close()
        self._lock.release()

    def discard(self) -> None:
        """Remove the folder with all that has been recorded."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _locked(self) -> FileLock:
        """A lock on the folder; the kernel releases it even when this process is killed."""
        lock = FileLock(self.folder / LOCK, blocking=False, thread_local=False)
        try:
            lock.acquire()
        except Timeout:
            raise OutputError(f"output = {self.output}: another process is writing it; wait for it, or name another file") from None
        return lock

    def _what_changed(self) -> list[str]:
        try:
            before = json.loads((self.folder / MANIFEST).read_text(encoding="utf-8"))
            return [name for name, value in self._identity.items() if before.get(name) != value]
        except FileNotFoundError:
            return []
        except (ValueError, AttributeError):  # the manifest was being written
            return ["manifest"]

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"output = {self.output}: cannot be written ({system_reason(error)}); free some space or mend the folder, "
                "and the same command carries on"
            ) from error


def partial_folder(output: Path) -> Path:
    """The folder in which an output is made."""
    return output.with_name(f".{output.name}.partial")


def refuse_output(output: Path, overwrite: bool) -> None:
    """Refuse, by a DataError, a place where an output cannot be made."""
    if output.is_dir():
        raise DataError(f"output = {output}: is a folder; name a file in it, as in {output / 'scores.parquet'}")
    if not output.parent.is_dir():
        raise DataError(f"output = {output}: the folder {output.parent} does not exist; make it, or name another")
    if output.exists() and not overwrite:
        raise DataError(f"output = {output}: exists already; name another file, or set overwrite=true to replace it")
