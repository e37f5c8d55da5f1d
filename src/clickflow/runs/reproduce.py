"""Train a run again from what it stores about itself, and compare every metric of the two.

The new run is the old one's child in MLflow and carries the tag ``kind = reproduction``. Like every tag ``kind``, it marks the run as no
candidate: comparisons and promotions choose among runs without it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from clickflow.config import validate
from clickflow.data.prepare import Progress
from clickflow.errors import TrackingError
from clickflow.runs.config import ReproduceConfig, RunConfig
from clickflow.runs.evaluate import EVALUATION, LoadedModel, evaluate_on, is_evaluated, refuse_unfit
from clickflow.runs.logged_config import CONFIG_FILE, read_config
from clickflow.runs.metric_differences import Difference, MetricDifferences, as_csv, compare_histories, first_difference, is_compared
from clickflow.runs.run_dataset import open_dataset
from clickflow.runs.run_environment import RunEnvironment, changes, same_machine
from clickflow.runs.train import PartOf, open_training_run, train_in
from clickflow.tracking.contents import History, fetched, metric_histories
from clickflow.tracking.lifecycle import resume_run
from clickflow.tracking.lineage import environment_report
from clickflow.tracking.names import DESCRIPTION_TAG, KIND_TAG, REPRODUCTION, RUN_NAME_TAG, THREADS_TAG, TRIAL_PRUNED, TRIAL_STATE_TAG
from clickflow.tracking.run import Run
from clickflow.tracking.search import FoundRun, read_run
from clickflow.tracking.store import Store, open_store

REPRODUCES_TAG, RESULT_TAG = "reproduces", "reproduction.result"
DEFAULT_TOLERANCE = 0.001
"""Tolerance if processor, threads or libraries differ; see docs/reproduce.md for what was measured."""


@dataclass(frozen=True)
class Reproduction:
    """The result of a reproduction: the new run, and all metrics that were compared."""

    run_id: str
    url: str
    changes: list[str]
    """Differences from the environment of the old run, one line each."""
    tolerance: float
    """The largest difference that agrees; 0 is identical."""
    metrics: list[MetricDifferences]
    first: Difference | None
    """The first difference beyond the tolerance; None if the runs agree."""

    @property
    def agrees(self) -> bool:
        """Whether every metric agrees."""
        return self.first is None

    @property
    def result(self) -> str:
        """The result in a word or two."""
        if not self.agrees:
            return "different"
        return "identical" if not any(metric.differences for metric in self.metrics) else f"within {self.tolerance:g}"


def reproduce(config: ReproduceConfig, progress: Progress = lambda stage: None) -> Reproduction:
    """Train a finished run again in a new run, evaluate that one if the old one was evaluated, and compare.

    Raises:
        TrackingError: the run does not exist, did not finish, is no training, or lacks its config.
        DataError: the data is not what the run was trained on; no run is opened.
    """
    store = open_store(config.tracking, config.home)
    old = read_run(store, config.run_id)
    _refuse(old)
    old_config = _config_here(store, old, config)
    dataset = open_dataset(old, old_config, old_config.home)
    then = RunEnvironment.of_run(old.tags, _environment(store, old.run_id))
    store = replace(store, experiment_id=store.experiment_id or old.experiment_id)
    part_of = PartOf(
        old.run_id,
        f"{old.tags.get(RUN_NAME_TAG, old.run_id[:12])} reproduced",
        {KIND_TAG: REPRODUCTION, REPRODUCES_TAG: old.run_id},
    )
    with _threads(old.tags.get(THREADS_TAG, "")), open_training_run(store, old_config, part_of) as run:
        trained = train_in(run, old_config, dataset, progress, figures=False)
    if is_evaluated(old):
        progress("evaluating on the test split")
        with resume_run(store, run.id, EVALUATION) as evaluated:
            evaluate_on(evaluated, LoadedModel(trained.model, old_config.trainer), dataset)
    progress("comparing every metric")
    with resume_run(store, run.id, REPRODUCTION) as new:
        now = RunEnvironment.of_run(new.found.tags, environment_report())
        tolerance = (0.0 if same_machine(then, now) else DEFAULT_TOLERANCE) if config.tolerance is None else config.tolerance
        metrics = compare_histories(_histories(store, old), _histories(store, new.found))
        found = Reproduction(run.id, run.url, changes(then, now), tolerance, metrics, first_difference(metrics, tolerance))
        _log(new, old.run_id, found)
    return found


def _config_here(store: Store, old: FoundRun, config: ReproduceConfig) -> RunConfig:
    """The old run's config, with the places of this machine."""
    values = read_config(store, old).model_dump(mode="json")
    _merge(values["data"], config.data.model_dump(mode="json", exclude_none=True))
    tracking = config.tracking.model_dump(mode="json", exclude={"experiment_name"})
    values |= {"home": str(config.home), "tracking": {**values["tracking"], **tracking}}
    return validate(RunConfig, values, f"{CONFIG_FILE} of run {config.run_id} with the keys given here")


def _environment(store: Store, run_id: str) -> str:
    with fetched(store, run_id, "environment.txt") as file:
        return file.read_text(encoding="utf-8")


def _refuse(old: FoundRun) -> None:
    refuse_unfit(old, "reproduced")
    if old.tags.get(TRIAL_STATE_TAG) == TRIAL_PRUNED:
        raise TrackingError(
            f"run_id = {old.run_id}: was pruned by its sweep, so how far it came depends on the other trials; name a trial whose tag "
            f"{TRIAL_STATE_TAG} is complete."
        )


def _merge(values: dict[str, Any], places: dict[str, Any]) -> None:
    """Replace a run's own places by the given ones."""
    for key, value in places.items():
        if not isinstance(value, dict):
            values[key] = value
        elif value:
            values[key] = {**(values.get(key) or {}), **value}


@contextmanager
def _threads(number: str) -> Iterator[None]:
    """Work with as many threads as the old run did, if it says; its config may not, and then another shell gives another result."""
    before = torch.get_num_threads()
    try:
        if number:
            torch.set_num_threads(int(number))
        yield
    finally:
        torch.set_num_threads(before)


def _histories(store: Store, run: FoundRun) -> dict[str, History]:
    return metric_histories(store, replace(run, metrics={name: value for name, value in run.metrics.items() if is_compared(name)}), "")


def _log(run: Run, old_run_id: str, found: Reproduction) -> None:
    """Log tags, the table, and a description that begins with the result of the reproduction."""
    run.set_tags({RESULT_TAG: found.result, "reproduction.tolerance": f"{found.tolerance:g}"})
    run.log_text(as_csv(found.metrics), "reproduction.csv")
    changes = "".join(f"\n* {line}" for line in found.changes)
    first = "" if found.first is None else f" First difference: `{found.first.metric}` at step {found.first.step}."
    heading = f"**Reproduction of run {old_run_id}: {found.result}** ({len(found.metrics)} metrics).{first} No candidate for anything."
    run.set_description(f"{heading}{changes}\n\n{run.found.tags.get(DESCRIPTION_TAG, '')}")
