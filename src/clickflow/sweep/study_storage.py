"""Where a study lies: a journal file on one machine, a database for several.

The journal is locked by the kernel's own file lock, because Optuna's lock files stay behind when their owner is killed: everyone would wait
for half a minute, at every death.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from clickflow.errors import TrackingError
from clickflow.tracking.store import first_line, remedy

ALLOWED = "allowed: null for a journal file in the home folder, or postgresql+psycopg://user:password@host/database"
PATIENCE_SECONDS = 5
"""How long a database may take to answer."""
CREATION_KEY = 0x636C69636B666C6F
"""Any number that others do not lock."""


class KernelLock(BaseJournalFileLock):
    """The kernel's lock on a file beside the journal; let go when its owner dies, however it dies.

    Whoever gets it cuts off what a write on a full disk left of a line: nobody could read the journal once more was appended to that.

    Args:
        journal: the file that is protected.
    """

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._file: IO[bytes] | None = None

    def acquire(self) -> bool:
        """Wait for the lock."""
        file = self._journal.with_name(f"{self._journal.name}.lock").open("ab")
        fcntl.flock(file, fcntl.LOCK_EX)
        self._file = file
        self._cut_off_half_a_line()
        return True

    def release(self) -> None:
        """Let it go."""
        assert self._file is not None
        self._file.close()
        self._file = None

    def _cut_off_half_a_line(self) -> None:
        with self._journal.open("r+b") as journal:
            end = journal.seek(0, os.SEEK_END)
            if end == 0:
                return
            journal.seek(end - 1)
            if journal.read(1) != b"\n":
                journal.seek(0)
                journal.truncate(journal.read().rfind(b"\n") + 1)


def open_storage(uri: str | None, home: Path, study_name: str) -> BaseStorage:
    """Open, or make, the storage of a study.

    Args:
        uri: of a database; None for a journal file.
        home: folder below which the journal lies, in ``sweeps/<study name>``.
        study_name: of the study.

    Raises:
        TrackingError: the storage cannot be reached or written; of a database within about ten seconds.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # the sweep has lines of its own
    return _journal(home, study_name) if uri is None else _database(uri)


@contextmanager
def storage_faults(uri: str | None) -> Iterator[None]:
    """Tell a storage that fails while it is in use as one message.

    Args:
        uri: as given to :func:`open_storage`.

    Raises:
        TrackingError: the storage failed.
    """
    try:
        yield
    except (SQLAlchemyError, StorageInternalError, json.JSONDecodeError) as error:
        shown = "null" if uri is None else make_url(uri).render_as_string(hide_password=True)
        raise TrackingError(
            f"sweep.storage = {shown}: failed while it was in use ({first_line(error)}); once it answers again, the same command carries on"
        ) from error


def study_folder(home: Path, study_name: str) -> Path:
    """Folder of a study's journal and its workers' logs."""
    return home / "sweeps" / study_name


def _journal(home: Path, study_name: str) -> BaseStorage:
    journal = study_folder(home, study_name) / "journal.log"
    try:
        journal.parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(str(journal), lock_obj=KernelLock(journal)))
    except OSError as error:
        advice = remedy(error, "set home=FOLDER or sweep.storage to a place that can be written")
        raise TrackingError(f"sweep.storage = {journal}: cannot be written ({error.strerror}); {advice}") from error
    except Exception as error:  # damaged lines raise what they happen to break
        raise TrackingError(
            f"sweep.storage = {journal}: is no journal of a study ({first_line(error)}); bring it back from a copy, or "
            "set sweep.study_name to a new name"
        ) from error


def _database(uri: str) -> BaseStorage:
    try:
        url = make_url(uri)
    except ArgumentError as error:
        raise TrackingError(f"sweep.storage = {uri}: no database URI; {ALLOWED}") from error
    shown = url.render_as_string(hide_password=True)
    if url.get_backend_name() == "sqlite":
        raise TrackingError(f"sweep.storage = {shown}: SQLite fails under several workers; {ALLOWED}")
    if url.get_backend_name() != "postgresql":
        raise TrackingError(f"sweep.storage = {shown}: not a database that sweeps are kept in; {ALLOWED}")
    options = {"connect_args": {"connect_timeout": PATIENCE_SECONDS}, "pool_pre_ping": True}
    try:
        engine = create_engine(url, **options)
        try:
            with engine.connect() as connection:
                # Of several processes that make the tables at once all but one would fail.
                connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": CREATION_KEY})
                return RDBStorage(uri, engine_kwargs=options)  # the lock goes with the connection
        finally:
            engine.dispose()
    except ModuleNotFoundError as error:
        raise TrackingError(f"sweep.storage = {shown}: its driver is missing ({error}); pip install 'clickflow[postgres]'") from error
    except Exception as error:  # each driver has errors of its own
        advice = "start the database, correct the URI, or set sweep.storage=null for a journal file"
        raise TrackingError(f"sweep.storage = {shown}: cannot be opened ({first_line(error)}); {advice}") from error
