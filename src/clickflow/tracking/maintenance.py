"""What keeping a store in order needs of it: all its runs, deleting artifacts, statistics for its database.

Artifacts are deleted through MLflow's own repositories, never as files, so that a folder, S3 and a server's proxy are all the same here.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from mlflow.entities import FileInfo, LifecycleStage
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from clickflow.errors import TrackingError
from clickflow.tracking.search import get_run
from clickflow.tracking.store import SQLITE, Store, first_line, is_server

RUNS_PER_REQUEST = 1000
ANALYSIS_LIMIT = 1000
"""Rows of an index that SQLite looks at: on large tables a whole ANALYZE would keep trainings from writing for seconds."""


@dataclass(frozen=True)
class StoredRun:
    """A run as it was when it was found.

    Attributes:
        run_id: of the run.
        name: of the run.
        status: ``RUNNING``, ``FINISHED``, ``FAILED`` or ``KILLED``.
        tags: all of them.
        metrics: the last value of each.
        last_sign: when it started or, later, logged a metric; milliseconds since 1970.
        is_deleted: whether it was deleted, which MLflow only marks.
        artifact_uri: where its artifacts are.
    """

    run_id: str
    name: str
    status: str
    tags: dict[str, str]
    metrics: dict[str, float]
    last_sign: int
    is_deleted: bool
    artifact_uri: str = ""


def stored_runs(store: Store, condition: str) -> list[StoredRun]:
    """All runs of all experiments that meet a condition in MLflow's search language; deleted ones are left out.

    Raises:
        TrackingError: the store does not answer.
    """
    runs: list[StoredRun] = []
    token = None
    try:
        experiments = [experiment.experiment_id for experiment in store.client.search_experiments()]
        while experiments:
            page = store.client.search_runs(experiments, condition, max_results=RUNS_PER_REQUEST, page_token=token)
            runs += [_stored(run) for run in page]
            token = page.token
            if not token:
                break
    except MlflowException as error:
        raise TrackingError(f"tracking.uri = {store.uri}: runs cannot be searched ({first_line(error)}); check the store") from error
    return runs


def find_stored_run(store: Store, run_id: str) -> StoredRun | None:
    """A run, deleted ones among them; None where the store has no such run."""
    try:
        return _stored(get_run(store, run_id))
    except TrackingError:
        return None


def registered_run_ids(store: Store) -> set[str]:
    """Runs whose model has a version in the registry.

    Raises:
        TrackingError: the registry does not answer.
    """
    found: set[str] = set()
    token = None
    try:
        while True:
            versions = store.client.search_model_versions(page_token=token)
            for version in versions:
                run_id = version.run_id or (store.client.get_logged_model(version.model_id).source_run_id if version.model_id else None)
                found |= {str(run_id)} if run_id else set()
            token = versions.token
            if not token:
                return found
    except MlflowException as error:
        raise TrackingError(f"tracking.uri = {store.uri}: the registry cannot be read ({first_line(error)}); check the store") from error


def reaches_artifacts(store: Store, run: StoredRun) -> bool:
    """Whether a run's artifacts can be reached from here: those that a server keeps only through that server."""
    return is_server(store.uri) or not run.artifact_uri.startswith("mlflow-artifacts:")


def artifact_bytes(store: Store, run_id: str, folder: str) -> int:
    """Size of all files in a folder of a run's artifacts; 0 where there is none.

    Raises:
        TrackingError: the artifacts cannot be listed.
    """
    try:
        return sum(file.file_size or 0 for file in _files(store, run_id, folder))
    except (MlflowException, OSError) as error:
        raise TrackingError(f"run {run_id}: artifacts cannot be listed ({first_line(error)}); check the artifact store") from error


def delete_artifacts(store: Store, run_id: str, folder: str) -> None:
    """Delete a folder of a run's artifacts; nothing happens where there is none.

    Raises:
        TrackingError: they cannot be deleted.
    """
    uri = get_run(store, run_id).info.artifact_uri
    try:
        get_artifact_repository(uri, tracking_uri=store.uri).delete_artifacts(folder)  # type: ignore[no-untyped-call]
    except (MlflowException, OSError) as error:
        if artifact_bytes(store, run_id, folder) == 0:  # somebody else was faster
            return
        raise TrackingError(f"run {run_id}: artifact {folder} cannot be deleted ({first_line(error)}); check its permissions") from error


def can_analyze(store: Store) -> bool:
    """Whether the store's database is reached from here, and of a kind that is known."""
    return store.uri.startswith((SQLITE, "postgresql"))


def analyze(store: Store) -> None:
    """Renew the statistics by which the database plans its queries.

    Raises:
        TrackingError: the database refuses.
    """
    engine = create_engine(store.uri)
    try:
        with engine.begin() as connection:
            if store.uri.startswith(SQLITE):
                connection.execute(text(f"PRAGMA analysis_limit = {ANALYSIS_LIMIT}"))
            connection.execute(text("ANALYZE"))
    except SQLAlchemyError as error:
        raise TrackingError(f"tracking.uri = {store.uri}: ANALYZE failed ({first_line(error)}); try again when less is going on") from error
    finally:
        engine.dispose()


def _files(store: Store, run_id: str, folder: str) -> Iterator[FileInfo]:
    for entry in store.client.list_artifacts(run_id, folder):
        if entry.is_dir:
            yield from _files(store, run_id, entry.path)
        else:
            yield entry


def _stored(run: MlflowRun) -> StoredRun:
    info = run.info
    signs = [info.start_time, *(metric.timestamp for metric in run.data._metric_objs)]
    return StoredRun(
        info.run_id,
        str(info.run_name),
        str(info.status),
        dict(run.data.tags),
        dict(run.data.metrics),
        max(signs),
        info.lifecycle_stage == LifecycleStage.DELETED,
        str(info.artifact_uri),
    )
