"""Find runs and read what they hold, without opening them."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from mlflow.entities import Experiment, LifecycleStage, ViewType
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException

from clickflow.errors import TrackingError
from clickflow.text import first_line
from clickflow.tracking.location import NOT_THERE
from clickflow.tracking.store import Store

Answer = TypeVar("Answer")

RUNS_PER_REQUEST = 1000
BEST_RUNS_PER_REQUEST = 10  # more than one, since a sweep's parent, which has no model, carries its best trial's metrics


@dataclass(frozen=True)
class FoundRun:
    """A run as it was when it was found.

    Attributes:
        run_id: of the run.
        name: of the run.
        status: ``RUNNING``, ``FINISHED``, ``FAILED`` or ``KILLED``.
        tags: all of them.
        metrics: the last value of each.
        experiment_id: of its experiment.
        model_ids: of the models it logged, the first one first.
        artifact_uri: where its artifacts are.
        last_sign: when it started or, later, logged a metric; milliseconds since 1970.
        is_deleted: whether it was deleted, which MLflow only marks.
    """

    run_id: str
    name: str
    status: str
    tags: dict[str, str]
    metrics: dict[str, float]
    experiment_id: str
    model_ids: tuple[str, ...]
    artifact_uri: str
    last_sign: int
    is_deleted: bool


def search_runs(
    store: Store,
    condition: str,
    experiments: Sequence[str] | None = None,
    *,
    order: Sequence[str] = (),
    with_deleted: bool = False,
    runs_per_request: int = RUNS_PER_REQUEST,
) -> Iterator[FoundRun]:
    """Runs that meet a condition in MLflow's search language, asked for page by page.

    Args:
        store: where to look.
        condition: what to look for.
        experiments: their ids; None for all.
        order: as MLflow takes it.
        with_deleted: whether deleted runs, and those of deleted experiments, are among them.
        runs_per_request: how many to ask for at a time.

    Raises:
        TrackingError: the store does not answer.
    """
    view, token = ViewType.ALL if with_deleted else ViewType.ACTIVE_ONLY, None
    while True:
        with _asking(store, "runs cannot be searched"):
            places = list(experiments) if experiments is not None else [found.experiment_id for found in _experiments(store, view)]
            if not places:
                return
            page = store.client.search_runs(places, condition, view, runs_per_request, list(order), token)
        yield from map(_found, page)
        token = page.token
        if not token:
            return


def find_runs(store: Store, tags: Mapping[str, str], status: str | None = None) -> list[FoundRun]:
    """Runs of the store's experiment with all of these tags, the newest first.

    Args:
        store: where to look.
        tags: name -> value.
        status: of the runs; None for any.

    Raises:
        TrackingError: the store does not answer.
    """
    conditions = [*_tagged(tags), *([f"attributes.status = '{status}'"] if status else [])]
    return list(search_runs(store, " and ".join(conditions), [str(store.experiment_id)], order=["attributes.start_time DESC"]))


def last_values(store: Store, tags: Mapping[str, str], metric: str) -> dict[str, float]:
    """Run id -> last value of a metric, of all runs that have it and these tags: in every experiment, deleted ones too.

    Raises:
        TrackingError: the store does not answer.
    """
    condition = " and ".join([f"metrics.`{metric}` > 0", *_tagged(tags)])
    return {run.run_id: run.metrics[metric] for run in search_runs(store, condition, with_deleted=True)}


def best_runs(store: Store, experiment_id: str, metric: str) -> Iterator[FoundRun]:
    """Finished runs of an experiment that have a metric, the highest first, and of equal ones the oldest.

    The store sorts, and is asked for a few at a time. The condition on the metric leaves out no AUC, but without it SQLite joins every run
    with every metric of that name: 4 to 9 seconds for 10,000 runs instead of 0.1.

    Raises:
        TrackingError: the store does not answer.
    """
    condition = f"attributes.status = 'FINISHED' and metrics.`{metric}` >= 0"
    order = [f"metrics.`{metric}` DESC", "attributes.start_time ASC"]
    return search_runs(store, condition, [experiment_id], order=order, runs_per_request=BEST_RUNS_PER_REQUEST)


def ready_model(store: Store, run: FoundRun) -> str | None:
    """The id of the last model that a run logged completely; None where there is none.

    Raises:
        TrackingError: the store does not answer.
    """
    for model_id in reversed(run.model_ids):
        model = _or_none(store, f"the model of run {run.run_id} cannot be read", partial(store.client.get_logged_model, model_id))
        if model is not None and str(model.status) == "READY":
            return model_id
    return None


def experiments_with_finished_runs(store: Store) -> dict[str, str]:
    """Name -> id of every experiment in which a run finished.

    Raises:
        TrackingError: the store does not answer.
    """
    with _asking(store, "experiments cannot be searched"):
        return {
            str(experiment.name): str(experiment.experiment_id)
            for experiment in _experiments(store, ViewType.ACTIVE_ONLY)
            if store.client.search_runs([experiment.experiment_id], "attributes.status = 'FINISHED'", max_results=1)
        }


def experiment_name(store: Store, experiment_id: str) -> str:
    """What an experiment is called.

    Raises:
        TrackingError: the store does not answer.
    """
    with _asking(store, f"experiment {experiment_id} cannot be read"):
        return str(store.client.get_experiment(experiment_id).name)


def find_run(store: Store, run_id: str) -> FoundRun | None:
    """One run by its id, deleted ones among them; None where the store has no such run.

    Raises:
        TrackingError: the store does not answer.
    """
    run = _or_none(store, f"run {run_id} cannot be read", partial(store.client.get_run, run_id))
    return None if run is None else _found(run)


def read_run(store: Store, run_id: str) -> FoundRun:
    """One run by its id, deleted ones among them.

    Raises:
        TrackingError: there is no such run, or the store does not answer.
    """
    found = find_run(store, run_id)
    if found is None:
        raise TrackingError(f"run_id = {run_id}: no such run in {store.uri}; copy the id from the run's page")
    return found


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
    """Steps (P,) and values (P,) of every metric of a run whose name begins with ``prefix`` and holds a text; the prefix is taken off.

    In the order of the steps; of a step that was logged several times the last value comes last.

    Raises:
        TrackingError: the store does not answer.
    """
    histories = {}
    for name in sorted(run.metrics):
        if name.startswith(prefix) and containing in name:
            with _asking(store, f"metric {name} of run {run.run_id} cannot be read"):
                points = sorted(store.client.get_metric_history(run.run_id, name), key=lambda point: (point.step, point.timestamp))
            finite = [(point.step, point.value) for point in points if math.isfinite(point.value)]
            steps, values = np.array(finite, dtype=np.float64).reshape(-1, 2).T
            histories[name.removeprefix(prefix)] = (steps, values)
    return histories


def _tagged(tags: Mapping[str, str]) -> list[str]:
    return [f"tags.`{key}` = '{value}'" for key, value in tags.items()]


def _experiments(store: Store, view: int) -> Iterator[Experiment]:
    token = None
    while True:
        page = store.client.search_experiments(view, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


@contextmanager
def _asking(store: Store, what_failed: str) -> Iterator[None]:
    try:
        yield
    except MlflowException as error:
        raise TrackingError(f"tracking.uri = {store.uri}: {what_failed} ({first_line(error)}); check the store") from error


def _or_none(store: Store, what_failed: str, ask: Callable[[], Answer]) -> Answer | None:
    """The store's answer; None where what was asked for is not there."""
    with _asking(store, what_failed):
        try:
            return ask()
        except MlflowException as error:
            if error.error_code in NOT_THERE:
                return None
            raise


def _found(run: MlflowRun) -> FoundRun:
    info = run.info
    outputs = run.outputs.model_outputs if run.outputs else []
    return FoundRun(
        run_id=info.run_id,
        name=str(info.run_name),
        status=str(info.status),
        tags=dict(run.data.tags),
        metrics=dict(run.data.metrics),
        experiment_id=str(info.experiment_id),
        model_ids=tuple(output.model_id for output in outputs),
        artifact_uri=str(info.artifact_uri),
        last_sign=max([info.start_time, *(metric.timestamp for metric in run.data._metric_objs)]),
        is_deleted=info.lifecycle_stage == LifecycleStage.DELETED,
    )
