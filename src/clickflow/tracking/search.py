"""Find runs, experiments and logged models, without opening them.

Each function raises a TrackingError if the store does not answer.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from mlflow.entities import Experiment, LifecycleStage, ViewType
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from mlflow.utils import get_results_from_paginated_fn

from clickflow.errors import TrackingError
from clickflow.tracking.location import NOT_THERE
from clickflow.tracking.store import Store, store_faults

Answer = TypeVar("Answer")

RUNS_PER_REQUEST = EXPERIMENTS_PER_REQUEST = 1000
MIN_ID_LENGTH = 6
SHORT_ID = re.compile(f"[0-9a-f]{{{MIN_ID_LENGTH},31}}")
IDS_SHOWN = 5
BEST_RUNS_PER_REQUEST = 10  # more than one, since a sweep's parent, which has no model, carries its best trial's metrics


@dataclass(frozen=True)
class FoundRun:
    """A run as it was when it was found, with the last value of each metric."""

    run_id: str
    name: str
    status: str
    """``RUNNING``, ``FINISHED``, ``FAILED`` or ``KILLED``."""
    tags: dict[str, str]
    metrics: dict[str, float]
    experiment_id: str
    model_ids: tuple[str, ...]
    artifact_uri: str
    last_sign: int
    """Time when it started or, later, logged a metric; milliseconds since 1970."""
    is_deleted: bool
    """MLflow only marks a run as deleted."""


def search_runs(
    store: Store, condition: str, experiments: Sequence[str] | None = None, *, order: Sequence[str] = (), with_deleted: bool = False
) -> list[FoundRun]:
    """All runs of some experiments (of all by default) that meet a condition in MLflow's search language.

    ``with_deleted`` adds deleted runs and those of deleted experiments.
    """
    view = ViewType.ALL if with_deleted else ViewType.ACTIVE_ONLY
    with asking(store, "runs cannot be searched"):
        places = list(experiments) if experiments is not None else [found.experiment_id for found in _experiments(store, view)]
        if not places:
            return []
        search = partial(store.client.search_runs, places, condition, view, order_by=list(order))
        found: list[MlflowRun] = all_pages(search, RUNS_PER_REQUEST)
    return [found_run(run) for run in found]


def find_runs(store: Store, tags: Mapping[str, str], status: str | None = None) -> list[FoundRun]:
    """Runs of the store's experiment with all of these tags and this status (any by default), the newest first."""
    conditions = [*_tagged(tags), *([f"attributes.status = '{status}'"] if status else [])]
    return search_runs(store, " and ".join(conditions), [str(store.experiment_id)], order=["attributes.start_time DESC"])


def last_values(store: Store, tags: Mapping[str, str], metric: str) -> dict[str, float]:
    """Run id -> last value of a metric, of all runs that have it and these tags: in every experiment, deleted ones too."""
    condition = " and ".join([f"metrics.`{metric}` > 0", *_tagged(tags)])
    return {run.run_id: run.metrics[metric] for run in search_runs(store, condition, with_deleted=True)}


def best_runs(store: Store, experiment_id: str, metric: str) -> Iterator[FoundRun]:
    """Finished runs of an experiment that have a metric, the highest value first, and the oldest first among equal ones.

    The store sorts the runs and is asked for a few at a time, since the first one usually is the answer. The condition on the metric
    excludes no AUC, but without it SQLite joins every run with every metric of that name: 4 to 9 seconds for 10,000 runs instead of 0.1.
    """
    condition = f"attributes.status = 'FINISHED' and metrics.`{metric}` >= 0"
    order = [f"metrics.`{metric}` DESC", "attributes.start_time ASC"]
    token = None
    while True:
        with asking(store, "runs cannot be searched"):
            page = store.client.search_runs([experiment_id], condition, ViewType.ACTIVE_ONLY, BEST_RUNS_PER_REQUEST, order, token)
        yield from map(found_run, page)
        token = page.token
        if not token:
            return


def ready_model(store: Store, run: FoundRun) -> str | None:
    """The id of the last model that a run logged completely; None where there is none."""
    for model_id in reversed(run.model_ids):
        model = _or_none(store, f"the model of run {run.run_id} cannot be read", partial(store.client.get_logged_model, model_id))
        if model is not None and str(model.status) == "READY":
            return model_id
    return None


def experiments_with_finished_runs(store: Store) -> dict[str, str]:
    """Name -> id of every experiment in which a run finished."""
    with asking(store, "experiments cannot be searched"):
        return {
            str(experiment.name): str(experiment.experiment_id)
            for experiment in _experiments(store, ViewType.ACTIVE_ONLY)
            if store.client.search_runs([experiment.experiment_id], "attributes.status = 'FINISHED'", max_results=1)
        }


def experiment_name(store: Store, experiment_id: str) -> str:
    """The name of an experiment."""
    with asking(store, f"experiment {experiment_id} cannot be read"):
        return str(store.client.get_experiment(experiment_id).name)


def find_run(store: Store, run_id: str) -> FoundRun | None:
    """One run by its id, deleted ones among them; None where the store has no such run."""
    run = _or_none(store, f"run {run_id} cannot be read", partial(store.client.get_run, run_id))
    return None if run is None else found_run(run)


def read_run(store: Store, run_id: str) -> FoundRun:
    """One run by its id, or by at least its first 6 characters if no other id begins with them; deleted ones among them.

    Raises a TrackingError if there is no such run, or if there are several.
    """
    found = find_run(store, run_id)
    if found is not None:
        return found
    begins = search_runs(store, f"attributes.run_id LIKE '{run_id}%'", with_deleted=True) if SHORT_ID.fullmatch(run_id) else []
    match [run for run in begins if not run.is_deleted] or begins:
        case [run]:
            return run
        case []:
            what_to_do = f"copy the id, or its first {MIN_ID_LENGTH} characters or more, from the run's page"
            raise TrackingError(f"run_id = {run_id}: no such run in {store.uri}; {what_to_do}")
        case several:
            ids = ", ".join(f"{run.run_id} ({run.name})" for run in several[:IDS_SHOWN])
            more = f" and {len(several) - IDS_SHOWN} more" if len(several) > IDS_SHOWN else ""
            raise TrackingError(f"run_id = {run_id}: {len(several)} runs begin with it: {ids}{more}; write more characters of one")


def _tagged(tags: Mapping[str, str]) -> list[str]:
    return [f"tags.`{key}` = '{value}'" for key, value in tags.items()]


def _experiments(store: Store, view: int) -> list[Experiment]:
    return all_pages(partial(store.client.search_experiments, view), EXPERIMENTS_PER_REQUEST)


def all_pages(search: Callable[..., Any], number: int) -> list[Any]:
    """All that one of MLflow's searches finds, a number of results at a time."""
    found: list[Any] = get_results_from_paginated_fn(lambda number, token: search(max_results=number, page_token=token), number)  # type: ignore[no-untyped-call]
    return found


def asking(store: Store, what_failed: str) -> AbstractContextManager[None]:
    """Turn MLflow's exceptions into one message that names the store and what was asked of it."""
    return store_faults(f"tracking.uri = {store.uri}: {what_failed}", "check the store")


def _or_none(store: Store, what_failed: str, ask: Callable[[], Answer]) -> Answer | None:
    """The store's answer; None where what was asked for is not there."""
    with asking(store, what_failed):
        try:
            return ask()
        except MlflowException as error:
            if error.error_code in NOT_THERE:
                return None
            raise


def found_run(run: MlflowRun) -> FoundRun:
    """A run of MLflow's in plain values."""
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
