"""One trial: its run in the run store, its training, its final state."""

import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from clickflow.data.dataset import PreparedDataset
from clickflow.errors import ConfigError, DataError, TrackingError, TrainingError
from clickflow.runs.config import RunConfig
from clickflow.runs.train import PartOf, TrainedRun, open_training_run, train_in
from clickflow.sweep.space import Composer
from clickflow.sweep.trials import RETRY_OF, RUN_ID, Failure, TrialStore
from clickflow.sweep.worker_spec import WorkerSpec
from clickflow.text import first_line
from clickflow.tracking import names
from clickflow.tracking.contents import fetch_artifact
from clickflow.tracking.run import Run
from clickflow.tracking.search import FoundRun
from clickflow.tracking.store import Store
from clickflow.training.checkpoints import read_progress
from clickflow.training.watching import Pruned

RETRY_TAG = "trial.retry_of"
CURVES = ("train/", "val/", "epoch", "gradient_norm/", "activation_norm/")
"""Metrics (or their prefixes) that a resumed training continues."""


class TrialLost(Exception):
    """The trial was failed by another process, for which its worker counted as dead."""


@dataclass(frozen=True)
class WorkerContext:
    """The things that all trials of a worker share."""

    spec: WorkerSpec
    trial_store: TrialStore
    store: Store
    dataset: PreparedDataset
    composer: Composer


class TrialWatcher:
    """Reports a training to the study, and ends it when the pruner decides so or the trial is lost."""

    def __init__(self, trial: optuna.Trial, metrics: tuple[str, ...], num_validations: int) -> None:
        self.flush: Callable[[], None] = lambda: None  # writes what was logged so far into the run store
        self.epochs = 0.0  # completed so far, with fractions
        self.rows_per_second = 0.0
        self.values: dict[int, float] = {}  # number of the validation -> first metric, if validations measure it
        self.lost = False  # set by the heartbeat when another process has ended the trial
        self._trial = trial
        self._metric = metrics[0]
        self._is_reported = len(metrics) == 1
        self._num_validations = num_validations

    def after_step(self, epochs: float, rows_per_second: float) -> None:
        """Keep the progress for the next heartbeat; raises TrialLost if another process has ended the trial."""
        self.epochs, self.rows_per_second = epochs, rows_per_second
        if self.lost:
            raise TrialLost

    def after_validation(self, number: int, metrics: Mapping[str, float]) -> None:
        """Report the metric to the study; raises Pruned if the pruner ends the trial."""
        self.flush()  # the steps of the next checkpoint must be logged even if the process dies right after it
        if self._metric in metrics:
            self.report(number, metrics[self._metric])
            # Pruning after the last validation would save nothing.
            if self._is_reported and number < self._num_validations and self._trial.should_prune():
                raise Pruned

    def report(self, number: int, value: float) -> None:
        """Report the value of a validation to the study."""
        self.values[number] = value
        if self._is_reported:
            self._trial.report(value, number)


def run_trial(context: WorkerContext, trial: optuna.Trial, config: RunConfig, values: Mapping[str, Any], watcher: TrialWatcher) -> None:
    """Train a running trial, with its searched values, in a child run of the sweep's, and tell its final state.

    Raises:
        Exception: the training ended without a result; the run has its status, the caller has to fail the trial.
    """
    frozen = context.trial_store.trials()[trial.number]
    retry_of = frozen.user_attrs.get(RETRY_OF)
    tags = {
        names.TRIAL_NUMBER_TAG: str(trial.number),
        names.TRIAL_STATE_TAG: names.TRIAL_RUNNING,
        names.STUDY_TAG: context.spec.config.sweep.study_name,
    }
    tags |= {} if retry_of is None else {RETRY_TAG: str(retry_of)}
    params = {f"trial.{key}": value for key, value in values.items()}
    part_of = PartOf(context.spec.parent_run_id, f"trial {trial.number}", tags, params)
    with open_training_run(context.store, config, part_of) as run, tempfile.TemporaryDirectory() as scratch:
        context.trial_store.set_user_attrs(trial.number, **{RUN_ID: run.id})
        run.log_metrics({"trial_number": trial.number}, step=0)
        checkpoint = None if retry_of is None else _carry_on(context, run, context.trial_store.trials()[retry_of], watcher, Path(scratch))
        watcher.flush = run.flush
        try:
            trained = train_in(run, config, context.dataset, watcher=watcher, resume_from=checkpoint, figures=False)
        except Pruned:
            state, results = TrialState.PRUNED, None
            _log_pruned(run, context.spec, watcher)
        except BaseException as error:
            run.set_tags({names.TRIAL_STATE_TAG: names.TRIAL_FAILED if isinstance(error, Exception) else names.TRIAL_INTERRUPTED})
            raise
        else:
            state, results = TrialState.COMPLETE, _results(context.spec.config.sweep.metric, trained)
        run.set_tags({names.TRIAL_STATE_TAG: names.TRIAL_COMPLETE if state == TrialState.COMPLETE else names.TRIAL_PRUNED})
    context.trial_store.tell(trial.number, state, results)


def failure_of(error: Exception) -> Failure:
    """Why a trial failed; an error that the same values would raise again is final."""
    if isinstance(error, TrialLost):
        return Failure("its worker counted as dead")
    is_disk = isinstance(error.__cause__, OSError)  # which may have space again
    return Failure(first_line(error), is_final=isinstance(error, ConfigError | DataError | TrainingError) and not is_disk)


def results_of_run(metrics: tuple[str, ...], run: FoundRun) -> list[float] | None:
    """The objective values of a finished trial, from its run; None if one is missing."""
    logged = [names.logged_name(metric) for metric in metrics]
    return [run.metrics[name] for name in logged] if all(name in run.metrics for name in logged) else None


def _results(metrics: tuple[str, ...], trained: TrainedRun) -> list[float]:
    values = [trained.validation[name.removeprefix("val/")] if name.startswith("val/") else trained.costs[name] for name in metrics]
    for name, value in zip(metrics, values, strict=True):
        if not math.isfinite(value):
            raise TrainingError(f"sweep.metric = {name}: is {value}; a trial needs a finite value; choose another metric")
    return values


def _log_pruned(run: Run, spec: WorkerSpec, watcher: TrialWatcher) -> None:
    [direction] = spec.config.sweep.directions
    [metric] = spec.config.sweep.metric
    best = (max if direction == "maximize" else min)(watcher.values.values())
    run.log_metrics({names.logged_name(metric): best}, step=0)
    run.set_description(f"pruned after validation {max(watcher.values)}: best {metric} {best:.4f}")


def _carry_on(context: WorkerContext, run: Run, failed: FrozenTrial, watcher: TrialWatcher, scratch: Path) -> Path | None:
    """Fetch the last checkpoint of a failed trial and copy what it had logged until then; None if there is no checkpoint."""
    run_id = failed.user_attrs.get(RUN_ID, "")
    try:
        folder = fetch_artifact(context.store, run_id, "checkpoints", scratch / run_id)
        step, num_validations = read_progress(folder / "last.ckpt")
    except (TrackingError, TrainingError):  # it has none; the attempt before it may have one
        before = failed.user_attrs.get(RETRY_OF)
        return None if before is None else _carry_on(context, run, context.trial_store.trials()[before], watcher, scratch)
    run.copy_metrics(run_id, CURVES, step)
    for number in range(1, num_validations + 1):
        if number in failed.intermediate_values:
            watcher.report(number, failed.intermediate_values[number])
    return folder / "last.ckpt"
