"""Open an MLflow store and create its experiment once, even when several processes ask for it at the same time.

Several processes that are the first to use a new SQLite file leave half of MLflow's schema behind, so everything that may create something
happens under a file lock. The kernel releases the lock of a process that is killed. All later calls go through the store's
:class:`MlflowClient` with explicit ids: MLflow's fluent API keeps one global active run and experiment, and opens a second run in "Default"
when it is called at the wrong moment.
"""

import contextlib
import errno
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.tracking.registry import UnsupportedModelRegistryStoreURIException
from sqlalchemy import create_engine

from clickflow.errors import TrackingError
from clickflow.text import first_line
from clickflow.tracking.config import TrackingConfig

SQLITE = "sqlite:///"
LOCAL_UI = "http://127.0.0.1:5000"
"""Port on which ``make ui`` shows the local store."""
MODEL_TRAINING = {"mlflow.experimentKind": "custom_model_development"}  # else the UI greets with its pages for language models
ALLOWED = "allowed: sqlite:///…, postgresql://…, mysql://…, mssql://…, http(s)://…, or null for the local store"
SQLITE_MAGIC = b"SQLite format 3\0"
# MLflow's client waits up to four minutes for a server that restarts. That is right during a run; at its start the user is waiting.
# Two attempts of 4 seconds and at most 1 second between them end within 10 seconds.
PATIENCE = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "4",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
}
CONNECT_SECONDS = 5


@dataclass(frozen=True)
class Store:
    """An open MLflow store, by its absolute tracking URI."""

    uri: str
    client: MlflowClient
    experiment_id: str | None
    """The experiment in which runs are opened; None where the config names none."""

    def page(self, path: str) -> str:
        """The URL of one of MLflow's pages: on the server, or in the UI over the local store."""
        server = self.uri.rstrip("/") if is_server(self.uri) else LOCAL_UI
        return f"{server}/#/{path}"


def open_store(config: TrackingConfig, home: Path) -> Store:
    """Open the store of a config; create the database and the experiment if they are missing and the config names an experiment.

    The home folder has the local store and its artifacts; it is created if needed, and untouched for an ``http(s)`` URI.

    Raises:
        TrackingError: the store cannot be reached (for a server within 10 seconds) or written, or the experiment was deleted
            or keeps its artifacts elsewhere than the config says.
    """
    if "MLFLOW_LOGGING_LEVEL" not in os.environ:  # at INFO, every first use of a store prints its migrations
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        # Prints the traceback of each database error that it raises too; the user gets it as one message.
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL + 1)
    uri = _absolute_uri(config.uri, home)
    artifacts = _artifact_location(config, uri, home)
    if config.experiment_name is None and uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).exists():
        # A command that only reads existing runs creates no store: a mistyped URI would give an empty one.
        raise TrackingError(f"tracking.uri = {uri}: no store is there; train a model first, or correct tracking.uri or home")
    with _creation_lock(uri, home), keep_environment(PATIENCE):
        try:
            _check_database(uri)
            _create_database(uri)
            client = MlflowClient(uri)
            experiment_id = _experiment(client, config, uri, artifacts)
        except TrackingError:
            raise
        except Exception as error:  # the drivers of databases and networks have exceptions of their own
            raise TrackingError(f"tracking.uri = {uri}: {_what_is_wrong(uri, error)}") from error
    return Store(uri, client, experiment_id)


def _check_database(uri: str) -> None:
    """Connect once: MLflow tries for minutes when no database answers."""
    if uri.startswith("postgresql"):
        engine = create_engine(uri, connect_args={"connect_timeout": CONNECT_SECONDS})
        try:
            engine.connect().close()
        finally:
            engine.dispose()


def _create_database(uri: str) -> None:
    """Make MLflow's schema in another file than an empty one and rename it: half a schema, as Ctrl-C leaves it, cannot be opened again."""
    database = Path(uri.removeprefix(SQLITE))
    if uri.startswith(SQLITE) and database.stat().st_size == 0:
        with TemporaryDirectory(dir=database.parent, prefix=f".{database.name}.") as scratch:
            made = Path(scratch) / database.name
            MlflowClient(f"{SQLITE}{made}").search_experiments(max_results=1)
            made.replace(database)


def is_server(uri: str) -> bool:
    """Whether the URI is an MLflow server's, rather than a database's that this process opens itself.

    >>> is_server("http://127.0.0.1:5000"), is_server("sqlite:///mlflow.db")
    (True, False)
    """
    return uri.startswith(("http://", "https://", "databricks"))


def _absolute_uri(uri: str | None, home: Path) -> str:
    if uri is None:
        return f"{SQLITE}{home.absolute() / 'mlflow.db'}"
    if uri.startswith(SQLITE):  # a relative path would follow the working directory
        return f"{SQLITE}{Path(uri.removeprefix(SQLITE)).absolute()}"
    if uri.startswith("file:") or (":" not in uri and not is_server(uri)):
        raise TrackingError(f"tracking.uri = {uri}: not a tracking URI (MLflow no longer writes plain folders); {ALLOWED}")
    return uri


def _artifact_location(config: TrackingConfig, uri: str, home: Path) -> str | None:
    if config.artifact_location is None:
        return None if is_server(uri) else (home.absolute() / "artifacts").as_uri()
    is_path = ":" not in config.artifact_location
    return Path(config.artifact_location).absolute().as_uri() if is_path else config.artifact_location


@contextlib.contextmanager
def _creation_lock(uri: str, home: Path) -> Iterator[None]:
    """Keep other processes of this machine out while a database may be created; a server needs no such lock."""
    if is_server(uri):
        yield
        return
    database = Path(uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) else home / "database"
    with contextlib.ExitStack() as stack:
        try:
            database.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(database.with_name(f".{database.name}.lock")))
            if uri.startswith(SQLITE):
                _check_sqlite_file(database)
        except OSError as error:
            advice = remedy(error, "the database and its folder must be writable; free the place, or set home or tracking.uri to another")
            raise TrackingError(f"tracking.uri = {uri}: cannot be written ({error.strerror}); {advice}") from error
        yield


def _check_sqlite_file(database: Path) -> None:
    """Open the file as MLflow will: MLflow retries for over a minute on a file that it cannot open."""
    with database.open("ab"), database.open("rb") as file:
        start = file.read(len(SQLITE_MAGIC))
    if start and start != SQLITE_MAGIC:
        raise TrackingError(f"tracking.uri = {SQLITE}{database}: the file is not an SQLite database; set tracking.uri to another path")


@contextlib.contextmanager
def keep_environment(values: dict[str, str]) -> Iterator[None]:
    """Set environment variables, which MLflow reads at each use, within the block; restore their values afterwards."""
    before = {key: os.environ.get(key) for key in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value


def _experiment(client: MlflowClient, config: TrackingConfig, uri: str, artifacts: str | None) -> str | None:
    name = config.experiment_name
    if name is None:
        client.search_experiments(max_results=1)  # find out now whether the store answers
        return None
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            return str(client.create_experiment(name, artifact_location=artifacts, tags=MODEL_TRAINING))
        except MlflowException as error:
            experiment = client.get_experiment_by_name(name)
            if experiment is None:  # else another machine was faster
                raise error
    if experiment.lifecycle_stage == "deleted":
        raise TrackingError(
            f"tracking.experiment_name = {name}: an experiment of this name was deleted and still holds the name; restore it with "
            f"`MLFLOW_TRACKING_URI={uri} mlflow experiments restore --experiment-id {experiment.experiment_id}` or choose another name"
        )
    if config.artifact_location is not None and artifacts != experiment.artifact_location:
        raise TrackingError(
            f"tracking.artifact_location = {config.artifact_location}: experiment {name} keeps its artifacts at "
            f"{experiment.artifact_location}, and that is fixed; set it to that or to null, or choose another experiment_name"
        )
    return str(experiment.experiment_id)


def _what_is_wrong(uri: str, error: Exception) -> str:
    if isinstance(error, UnsupportedModelRegistryStoreURIException):
        return f"MLflow knows no such kind of store; {ALLOWED}"
    if not is_server(uri):
        advice = remedy(error, "check the URI and the database driver, or set tracking.uri=null")
        return f"the store cannot be opened ({first_line(error)}); {advice}"
    if "Max retries exceeded" in str(error) or "timed out" in str(error):
        return "no MLflow server answers there; start one with `mlflow server`, correct the address, or set tracking.uri=null"
    if "error code 401" in str(error):
        return "the server wants another user or password; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD in the environment"
    if "error code 403" in str(error):
        return "the server knows this user, but does not allow this; ask its administrator, or set MLFLOW_TRACKING_USERNAME to another"
    return f"the answer is not what an MLflow server gives ({first_line(error)}); correct the address, or set tracking.uri=null"


@contextlib.contextmanager
def store_faults(what_failed: str, advice: str) -> Iterator[None]:
    """Turn what a store or its artifacts raise into one message."""
    try:
        yield
    except (MlflowException, OSError) as error:
        raise TrackingError(f"{what_failed} ({first_line(error)}); {remedy(error, advice)}") from error


def remedy(error: BaseException, otherwise: str) -> str:
    """Advice about a failed write: free space on a full disk; ``otherwise`` for any other failure.

    >>> remedy(OSError(errno.ENOSPC, "No space left on device"), "check the store")
    'disk full: free some space'
    """
    is_full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    # MLflow passes the database's and its server's errors on as text only.
    is_full = is_full or any(sign in str(error) for sign in ("disk is full", "No space left on device"))
    return "disk full: free some space" if is_full else otherwise
