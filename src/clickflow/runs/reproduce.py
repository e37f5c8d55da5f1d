"""Train a run again from what it says of itself, and hold every metric of the two against each other.

The new run is the old one's child in MLflow and carries the tag ``kind = reproduction``. As every tag ``kind`` does, it says that the run
is no candidate: whoever chooses among trainings, for a table or for promotion, takes runs without it.
"""

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from clickflow.config import validate
from clickflow.data.dataset import PreparedDataset
from clickflow.errors import TrackingError
from clickflow.runs.config import EvaluateConfig, ReproduceConfig, RunConfig
from clickflow.runs.evaluate import REPRODUCTION, evaluate, open_dataset, read_config, refuse_parent
from clickflow.runs.metric_differences import (
    Difference,
    Histories,
    MetricDifferences,
    as_csv,
    compare_histories,
    first_difference,
    is_compared,
)
from clickflow.runs.run_environment import RunEnvironment, changes, same_machine
from clickflow.runs.train import PartOf, Progress, open_training_run, train_in
from clickflow.tracking.lifecycle import KIND_TAG, TRIAL_PRUNED, TRIAL_STATE_TAG, resume_run
from clickflow.tracking.lineage import THREADS_TAG, environment_report
from clickflow.tracking.run import DESCRIPTION_TAG, Run
from clickflow.tracking.search import FoundRun, metric_histories, read_run
from clickflow.tracking.store import Store, open_store

REPRODUCES_TAG, RESULT_TAG = "reproduces", "reproduction.result"
DEFAULT_TOLERANCE = 0.001
"""Where machine, threads or libraries differ; see docs/reproduce.md for what was measured."""


@dataclass(frozen=True)
class Reproduction:
    """What came of it.

    Attributes:
        run_id: of the new run.
        url: of its page.
        changes: what is different from the environment of the old run, one line each.
        tolerance: with which it was judged; 0 is identical.
        metrics: all that were compared.
        first: the first difference beyond the tolerance; None where the runs agree.
    """

    run_id: str
    url: str
    changes: list[str]
    tolerance: float
    metrics: list[MetricDifferences]
    first: Difference | None

    @property
    def agrees(self) -> bool:
        """Whether every metric does."""
        return self.first is None

    @property
    def result(self) -> str:
        """In a word or two."""
        if not self.agrees:
            return "different"
        return "identical" if not any(metric.differences for metric in self.metrics) else f"within {self.tolerance:g}"


def reproduce(config: ReproduceConfig, progress: Progress = lambda stage: None) -> Reproduction:
    """Train a finished run again in a new run, evaluate that if the old one was, and compare.

    Raises:
        TrackingError: there is no such run, it did not finish, it is no training, or it lacks its config.
        DataError: the data is not what it was trained on; no run is opened.
    """
    store = open_store(config.tracking, config.home)
    old = read_run(store, config.run_id)
    _refuse(old)
    old_config, dataset, environment = _read(store, config)
    store = replace(store, experiment_id=store.experiment_id or old.experiment_id)
    part_of = PartOf(
        config.run_id,
        f"{old.tags.get('mlflow.runName', config.run_id[:12])} reproduced",
        {KIND_TAG: REPRODUCTION, REPRODUCES_TAG: config.run_id},
    )
    with _threads(old.tags.get(THREADS_TAG, "")), open_training_run(store, old_config, part_of) as run:
        train_in(run, old_config, dataset, progress, figures=False)
    if old.tags.get("evaluation.status") == "FINISHED":
        progress("evaluating on the test split")
        evaluate(EvaluateConfig(run_id=run.id, home=config.home, tracking=config.tracking))
    progress("comparing every metric")
    with resume_run(store, run.id, REPRODUCTION) as new:
        now = RunEnvironment.of_run(new.tags, environment_report())
        then = RunEnvironment.of_run(old.tags, environment)
        tolerance = (0.0 if same_machine(then, now) else DEFAULT_TOLERANCE) if config.tolerance is None else config.tolerance
        metrics = compare_histories(_histories(store, config.run_id), _histories(store, run.id))
        found = Reproduction(run.id, run.url, changes(then, now), tolerance, metrics, first_difference(metrics, tolerance))
        _log(new, config.run_id, found)
    return found


def _read(store: Store, config: ReproduceConfig) -> tuple[RunConfig, PreparedDataset, str]:
    """The old run's config with the caller's places, its data, and its environment."""
    with closing(Run(store, config.run_id)) as old, tempfile.TemporaryDirectory() as scratch:
        values = read_config(old, Path(scratch)).model_dump(mode="json")
        _merge(values["data"], config.data.model_dump(mode="json", exclude_none=True))
        tracking = config.tracking.model_dump(mode="json", exclude={"experiment_name"})
        values |= {"home": str(config.home), "tracking": {**values["tracking"], **tracking}}
        here = validate(RunConfig, values, f"config.yaml of run {config.run_id} with the keys given here")
        return here, open_dataset(old, here, here.home), old.download("environment.txt", Path(scratch)).read_text(encoding="utf-8")


def _refuse(old: FoundRun) -> None:
    tags = old.tags
    refuse_parent(old.run_id, tags)
    if old.status != "FINISHED":
        raise TrackingError(f"run_id = {old.run_id}: its status is {old.status}; only a FINISHED run can be reproduced; train it again.")
    if tags.get(TRIAL_STATE_TAG) == TRIAL_PRUNED:
        raise TrackingError(
            f"run_id = {old.run_id}: was pruned by its sweep, so how far it came depends on the other trials; name a trial whose tag "
            f"{TRIAL_STATE_TAG} is complete."
        )


def _merge(values: dict[str, Any], places: dict[str, Any]) -> None:
    """Put the given places over a run's own."""
    for key, value in places.items():
        if not isinstance(value, dict):
            values[key] = value
        elif value:
            values[key] = {**(values.get(key) or {}), **value}


@contextmanager
def _threads(number: str) -> Iterator[None]:
    """Work with as many threads as the old run, if it says; its config need not, and then another shell is another result."""
    before = torch.get_num_threads()
    try:
        if number:
            torch.set_num_threads(int(number))
        yield
    finally:
        torch.set_num_threads(before)


def _histories(store: Store, run_id: str) -> Histories:
    run = read_run(store, run_id)
    return metric_histories(store, replace(run, metrics={name: value for name, value in run.metrics.items() if is_compared(name)}), "")


def _log(run: Run, old_run_id: str, found: Reproduction) -> None:
    """Tags, the table, and a description that says what the run is before what it holds."""
    run.set_tags({RESULT_TAG: found.result, "reproduction.tolerance": f"{found.tolerance:g}"})
    run.log_text(as_csv(found.metrics), "reproduction.csv")
    changes = "".join(f"\n* {line}" for line in found.changes)
    first = "" if found.first is None else f" First difference: `{found.first.metric}` at step {found.first.step}."
    heading = f"**Reproduction of run {old_run_id}: {found.result}** ({len(found.metrics)} metrics).{first} No candidate for anything."
    run.set_description(f"{heading}{changes}\n\n{run.tags.get(DESCRIPTION_TAG, '')}")
