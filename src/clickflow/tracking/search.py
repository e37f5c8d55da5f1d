"""Find runs and read what they hold, without opening them."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mlflow.entities import Run as MlflowRun
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException

from clickflow.errors import TrackingError
from clickflow.tracking.location import NOT_THERE
from clickflow.tracking.store import Store, first_line

RUNS_PER_REQUEST = 1000
BEST_RUNS_PER_REQUEST = 10  # more than one, since a sweep's parent, which has no model, carries its best trial's metrics


@dataclass(frozen=True)
class FoundRun:
    """A run as it was when it was found.

    Attributes:
        run_id: of the run.
        status: ``RUNNING``, ``FINISHED``, ``FAILED`` or ``KILLED``.
        tags: all of them.
        metrics: the last value of each.
        experiment_id: of its experiment.
        model_ids: of the models it logged, the first one first.
    """

    run_id: str
    status: str
    tags: dict[str, str]
    metrics: dict[str, float]
    experiment_id: str
    model_ids: tuple[str, ...]


def find_runs(store: Store, tags: Mapping[str, str], status: str | None = None) -> list[FoundRun]:
    """Runs of the store's experiment with all of these tags, the newest first.

    Args:
        store: where to look.
        tags: name -> value.
        status: of the runs; None for any.

    Raises:
        TrackingError: the store does not answer.
    """
    conditions = [f"tags.`{key}` = '{value}'" for key, value in tags.items()]
    conditions += [f"attributes.status = '{status}'"] if status else []
    try:
        runs = store.client.search_runs([str(store.experiment_id)], " and ".join(conditions), order_by=["attributes.start_time DESC"])
    except MlflowException as error:
        raise TrackingError(f"tracking.uri = {store.uri}: runs cannot be searched ({first_line(error)}); check the store") from error
    return [_found(run) for run in runs]


def last_values(store: Store, tags: Mapping[str, str], metric: str) -> dict[str, float]:
    """Run id -> last value of a metric, of all runs that have it and these tags: in every experiment, deleted ones too.

    Raises:
        TrackingError: the store does not answer.
    """
    conditions = [f"metrics.`{metric}` > 0", *(f"tags.`{key}` = '{value}'" for key, value in tags.items())]
    client, values, token = store.client, {}, None
    try:
        experiments = [str(found.experiment_id) for found in client.search_experiments(ViewType.ALL)]
        while True:
            found = client.search_runs(experiments, " and ".join(conditions), ViewType.ALL, RUNS_PER_REQUEST, page_token=token)
            values.update({run.info.run_id: float(run.data.metrics[metric]) for run in found})
            token = found.token
            if not token:
                return values
    except MlflowException as error:
        raise TrackingError(f"tracking.uri = {store.uri}: runs cannot be searched ({first_line(error)}); check the store") from error


def best_runs(store: Store, experiment_id: str, metric: str) -> Iterator[FoundRun]:
    """Finished runs of an experiment that have a metric, the highest first; the store sorts, and is asked for a few at a time.

    The condition on the metric leaves out no AUC, but without it SQLite joins every run with every metric of that name: 6 to 9 seconds for
    10,000 runs instead of 0.1.

    Raises:
        TrackingError: the store does not answer.
    """
    condition, order, token = f"attributes.status = 'FINISHED' and metrics.`{metric}` >= 0", [f"metrics.`{metric}` DESC"], None
    while True:
        try:
            found = store.client.search_runs(
                [experiment_id], condition, max_results=BEST_RUNS_PER_REQUEST, order_by=order, page_token=token
            )
        except MlflowException as error:
            raise TrackingError(f"tracking.uri = {store.uri}: runs cannot be searched ({first_line(error)}); check the store") from error
        yield from map(_found, found)
        token = found.token
        if not token:
            return


def ready_model(store: Store, run: FoundRun) -> str | None:
    """The id of the last model that a run logged completely; None where there is none."""
    for model_id in reversed(run.model_ids):
        try:
            if str(store.client.get_logged_model(model_id).status) == "READY":
                return model_id
        except MlflowException as error:
            if error.error_code not in NOT_THERE:  # else it was deleted
                raise TrackingError(f"run_id = {run.run_id}: its model cannot be read ({first_line(error)}); check the store") from error
    return None


def experiments_with_finished_runs(store: Store) -> dict[str, str]:
    """Name -> id of every experiment in which a run finished.

    Raises:
        TrackingError: the store does not answer.
    """
    try:
        return {
            str(experiment.name): str(experiment.experiment_id)
            for experiment in store.client.search_experiments()
            if store.client.search_runs([experiment.experiment_id], "attributes.status = 'FINISHED'", max_results=1)
        }
    except MlflowException as error:
        raise TrackingError(f"tracking.uri = {store.uri}: experiments cannot be searched ({first_line(error)}); check the store") from error


def experiment_name(store: Store, experiment_id: str) -> str:
    """What an experiment is called."""
    return str(store.client.get_experiment(experiment_id).name)


def get_run(store: Store, run_id: str) -> MlflowRun:
    """A run as MLflow has it.

    Raises:
        TrackingError: there is no such run.
    """
    try:
        return store.client.get_run(run_id)
    except MlflowException as error:
        raise TrackingError(f"run_id = {run_id}: no such run in {store.uri}; copy the id from the run's page") from error


def read_run(store: Store, run_id: str) -> FoundRun:
    """One run by its id.

    Raises:
        TrackingError: there is no such run.
    """
    return _found(get_run(store, run_id))


def fetch_artifact(store: Store, run_id: str, artifact: str, to: Path) -> Path:
    """Copy an artifact, a file or a folder, into the folder ``to`` (made if needed).

    Raises:
        TrackingError: the run has no such artifact.
    """
    to.mkdir(parents=True, exist_ok=True)
    try:
        return Path(store.client.download_artifacts(run_id, artifact, str(to)))
    except (MlflowException, OSError) as error:
        raise TrackingError(f"run {run_id}: artifact {artifact} cannot be fetched ({first_line(error)}); look at the run's page") from error


def metric_histories(store: Store, run: FoundRun, prefix: str, containing: str = "") -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Steps (P,) and values (P,) of every metric of a run whose name begins with ``prefix`` and holds a text; the prefix is taken off."""
    histories = {}
    for name in sorted(run.metrics):
        if name.startswith(prefix) and containing in name:
            points = store.client.get_metric_history(run.run_id, name)
            finite = [(point.step, point.value) for point in points if math.isfinite(point.value)]
            steps, values = np.array(finite, dtype=np.float64).reshape(-1, 2).T
            histories[name.removeprefix(prefix)] = (steps, values)
    return histories


def _found(run: MlflowRun) -> FoundRun:
    outputs = run.outputs.model_outputs if run.outputs else []
    return FoundRun(
        run.info.run_id,
        str(run.info.status),
        dict(run.data.tags),
        dict(run.data.metrics),
        str(run.info.experiment_id),
        tuple(output.model_id for output in outputs),
    )
