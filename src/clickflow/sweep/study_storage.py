"""The storage of a study: a journal file on one machine, a database for several."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from clickflow.errors import TrackingError
from clickflow.text import first_line
from clickflow.tracking.store import remedy

ALLOWED = "allowed: null for a journal file in the home folder, or postgresql+psycopg://user:password@host/database"
CONNECT_SECONDS = 5
"""Longest time for a database to answer."""
GRACE_SECONDS = 5
"""Time that the journal's lock outlives a process that was killed while it held it; a write takes milliseconds."""
CREATION_KEY = 0x636C69636B666C6F
"""Key of the advisory lock; any number that nobody else locks."""


class JournalLock(JournalFileOpenLock):
    """Optuna's lock, whose new holder repairs the journal.

    A process that is killed while it writes, or that meets a full disk, leaves half a line; appending to that would make the journal
    unreadable.
    """

    def __init__(self, journal: Path) -> None:
        super().__init__(str(journal), grace_period=GRACE_SECONDS)
        self._journal = journal

    def acquire(self) -> bool:
        """Wait for the lock, then remove half a line from the end of the journal."""
        super().acquire()
        with self._journal.open("r+b") as journal:
            end = journal.seek(0, os.SEEK_END)
            journal.seek(max(end - 1, 0))
            if journal.read(1) not in (b"", b"\n"):
                journal.seek(0)
                journal.truncate(journal.read().rfind(b"\n") + 1)
        return True

    def release(self) -> None:
        """Release the lock; a holder that was slower than the grace period has lost it already, but has written its lines."""
        with contextlib.suppress(RuntimeError):
            super().release()


def open_storage(uri: str | None, home: Path, study_name: str) -> BaseStorage:
    """Open the storage of a study, or create it: a database, or without a URI a journal file in ``sweeps/<study name>`` of the home.

    Raises:
        TrackingError: the storage cannot be reached or written; a database is given about ten seconds.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # the sweep prints its own lines
    return _journal(home, study_name) if uri is None else _database(uri)


@contextlib.contextmanager
def storage_faults(uri: str | None) -> Iterator[None]:
    """Turn the failure of a storage in use into one message, a TrackingError."""
    try:
        yield
    except (SQLAlchemyError, StorageInternalError, json.JSONDecodeError) as error:
        shown = "null" if uri is None else make_url(uri).render_as_string(hide_password=True)
        raise TrackingError(
            f"sweep.storage = {shown}: failed while it was in use ({first_line(error)}); once it answers again, the same command carries on"
        ) from error


def study_folder(home: Path, study_name: str) -> Path:
    """The folder of a study's journal and of its workers' logs."""
    return home / "sweeps" / study_name


def _journal(home: Path, study_name: str) -> BaseStorage:
    journal = study_folder(home, study_name) / "journal.log"
    try:
        journal.parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(str(journal), lock_obj=JournalLock(journal)))
    except OSError as error:
        advice = remedy(error, "set home=FOLDER or sweep.storage to a place that can be written")
        raise TrackingError(f"sweep.storage = {journal}: cannot be written ({error.strerror}); {advice}") from error
    except Exception as error:  # damaged lines may raise anything
        raise TrackingError(
            f"sweep.storage = {journal}: is not a study's journal ({first_line(error)}); bring it back from a copy, or "
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
    options = {"connect_args": {"connect_timeout": CONNECT_SECONDS}, "pool_pre_ping": True}
    try:
        engine = create_engine(url, **options)
        try:
            with engine.connect() as connection:
                # Of several processes that create the tables at once, all but one would fail.
                connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": CREATION_KEY})
                return RDBStorage(uri, engine_kwargs=options)  # the lock ends with the connection
        finally:
            engine.dispose()
    except ModuleNotFoundError as error:
        raise TrackingError(f"sweep.storage = {shown}: its driver is missing ({error}); pip install 'clickflow[postgres]'") from error
    except Exception as error:  # each driver has its own errors
        advice = "start the database, correct the URI, or set sweep.storage=null for a journal file"
        raise TrackingError(f"sweep.storage = {shown}: cannot be opened ({first_line(error)}); {advice}") from error
