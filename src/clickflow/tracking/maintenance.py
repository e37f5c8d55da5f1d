"""Maintenance of a store for a clean-up: registered runs, deletion of artifacts, statistics for the database.

Artifacts are deleted through MLflow's own repositories, never as files, so that a folder, S3 and a server's proxy are treated alike. Each
function raises a TrackingError if the store refuses.
"""

from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from clickflow.errors import TrackingError
from clickflow.text import first_line
from clickflow.tracking.search import FoundRun, all_pages, asking, read_run
from clickflow.tracking.store import SQLITE, Store, is_server, store_faults

VERSIONS_PER_REQUEST = 10_000
ANALYSIS_LIMIT = 1000
"""Rows of an index that SQLite looks at: on large tables a full ANALYZE would keep trainings from writing for seconds."""


def registered_run_ids(store: Store) -> set[str]:
    """Ids of the runs whose model has a version in the registry."""
    with asking(store, "the registry cannot be read"):
        versions = all_pages(store.client.search_model_versions, VERSIONS_PER_REQUEST)
        # A version that was registered without its run may still name the logged model.
        run_ids = [one.run_id or (store.client.get_logged_model(one.model_id).source_run_id if one.model_id else None) for one in versions]
        return {str(run_id) for run_id in run_ids if run_id}


def reaches_artifacts(store: Store, run: FoundRun) -> bool:
    """Whether a run's artifacts can be reached from here; those that a server keeps are reached only through that server."""
    return is_server(store.uri) or not run.artifact_uri.startswith("mlflow-artifacts:")


def artifact_bytes(store: Store, run_id: str, folder: str) -> int:
    """Size of all files in a folder of a run's artifacts; 0 if there is no such folder."""
    with store_faults(f"run {run_id}: artifacts cannot be listed", "check the artifact store"):
        entries = store.client.list_artifacts(run_id, folder)
    return sum(artifact_bytes(store, run_id, entry.path) if entry.is_dir else entry.file_size or 0 for entry in entries)


def delete_artifacts(store: Store, run_id: str, folder: str) -> None:
    """Delete a folder of a run's artifacts; nothing happens if there is no such folder."""
    uri = read_run(store, run_id).artifact_uri
    try:
        get_artifact_repository(uri, tracking_uri=store.uri).delete_artifacts(folder)  # type: ignore[no-untyped-call]
    except (MlflowException, OSError) as error:
        if artifact_bytes(store, run_id, folder) == 0:  # somebody else was faster
            return
        raise TrackingError(f"run {run_id}: artifact {folder} cannot be deleted ({first_line(error)}); check its permissions") from error


def can_analyze(store: Store) -> bool:
    """Whether the store's database can be reached from here, and is of a supported kind."""
    return store.uri.startswith((SQLITE, "postgresql"))


def analyze(store: Store) -> None:
    """Renew the statistics with which the database plans its queries."""
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
