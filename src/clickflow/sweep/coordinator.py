"""A sweep from its config to its result: checks, the study, the parent run around the workers, and what the parent shows at the end.

Several coordinators, on several machines, may work on one study: each starts workers of its own, and all of them watch all trials.
"""

import contextlib
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from optuna.trial import FrozenTrial, TrialState

from clickflow.config import flatten
from clickflow.data.prepare import Progress, prepare
from clickflow.errors import TrackingError, TrainingError, without_passwords
from clickflow.runs.logged_config import logged_values
from clickflow.runs.run_dataset import log_dataset, refuse_one_class
from clickflow.sweep.config import SweepRunConfig
from clickflow.sweep.recovery import Recovery
from clickflow.sweep.shown.parent_run import log_outcome, log_progress
from clickflow.sweep.space import Composer, SearchSpace
from clickflow.sweep.study import PARENT, READY, describe, describe_study, enqueue_grid, open_study, total
from clickflow.sweep.study_storage import open_storage, storage_faults, study_folder
from clickflow.sweep.trials import GIVEN_UP, REASON, THREADS, Counts, TrialStore, count, is_surplus
from clickflow.sweep.worker import STOP
from clickflow.sweep.worker_spec import WorkerSpec
from clickflow.tracking.lifecycle import open_run, reopen_run
from clickflow.tracking.lineage import lineage_tags
from clickflow.tracking.names import DIRECTIONS_TAG, KIND_TAG, METRICS_TAG
from clickflow.tracking.run import Run
from clickflow.tracking.search import read_run
from clickflow.tracking.store import Store, open_store

WATCH_SECONDS = 0.5
MAX_GIVEN_UP = 5
"""Trials given up one after the other, none finished between, before the sweep ends: what is wrong lies not in the values."""


class Workers(Protocol):
    """Those who train, wherever they are."""

    def cause_of(self, pid: int) -> str | None:
        """How a dead worker ended, where that is known."""

    def keep_up(self, num_needed: int, trials: Sequence[FrozenTrial]) -> None:
        """Start as many as there is work for, and others for those that died."""

    def wait(self) -> None:
        """Wait for workers that have nothing left to do."""

    def stop(self, tell: Callable[[], None]) -> None:
        """Tell all to stop and wait until they have; ``tell`` reaches, through the study, those that no signal reaches."""


@dataclass(frozen=True)
class Snapshot:
    """A sweep at a moment, for whoever shows it.

    Attributes:
        trials: all but surplus ones, by number.
        counts: of them by state.
        total: finished trials that the sweep comes to.
        metrics: of the objectives.
        directions: of the metrics.
    """

    trials: list[FrozenTrial]
    counts: Counts
    total: int
    metrics: tuple[str, ...]
    directions: tuple[str, ...]


@dataclass(frozen=True)
class SweepResult:
    """What a sweep leaves behind.

    Attributes:
        parent_run_id: of the run above the trials' runs.
        url: of its page.
        counts: trials by state.
        best: the best trial, or the Pareto front.
        values: searched key -> value of each of them.
        threads: of torch, with which the first of them was trained.
    """

    parent_run_id: str
    url: str
    counts: Counts
    best: list[FrozenTrial]
    values: list[dict[str, object]]
    threads: int


Watch = Callable[[Snapshot], None]
StartWorkers = Callable[[WorkerSpec, Path], Workers]


def sweep(
    config: SweepRunConfig,
    space: SearchSpace,
    composer: Composer,
    start_workers: StartWorkers,
    *,
    progress: Progress = lambda stage: None,
    watch: Watch = lambda snapshot: None,
) -> SweepResult:
    """Run a sweep, or carry on with it, until it has its total of finished trials.

    Args:
        config: of the sweep.
        space: what is searched, checked by :mod:`clickflow.sweep.check`.
        composer: of the trials' configs.
        start_workers: makes the workers; :class:`~clickflow.sweep.processes.LocalWorkers` or those of a cluster.
        progress: called with the name of each stage as it starts.
        watch: called twice a second with how far it is.

    Raises:
        ClickflowError: the data, the study or the store; before any trial where that can be known.
        TrainingError: trial after trial is given up, or no worker can start.
        KeyboardInterrupt: the sweep was interrupted; it carries on when it is started again.
    """
    with storage_faults(config.sweep.storage):
        return _sweep(config, space, composer, start_workers, progress, watch)


def _sweep(
    config: SweepRunConfig, space: SearchSpace, composer: Composer, start_workers: StartWorkers, progress: Progress, watch: Watch
) -> SweepResult:
    storage = open_storage(config.sweep.storage, config.home, config.sweep.study_name)
    store = open_store(config.tracking, config.home)
    dataset = prepare(config.data, config.protocol, config.home, progress)
    refuse_one_class(dataset)
    fingerprint = dataset.manifest.fingerprint
    description = describe(config, space, composer, fingerprint)
    progress("opening the study")
    study, is_new = open_study(storage, config, description)
    num_trials = total(config, space, composer)
    with _parent_run(store, config, study.user_attrs.get(PARENT)) as parent:
        parent.set_tags({METRICS_TAG: ",".join(config.sweep.metric), DIRECTIONS_TAG: ",".join(config.sweep.directions)})
        if is_new:
            log_dataset(parent, dataset)
            describe_study(study, description, parent.id)
        if config.sweep.is_grid:
            enqueue_grid(study, space, composer, num_trials)
        study.set_user_attr(READY, True)
        spec = WorkerSpec(
            config=config,
            space=space,
            overrides=tuple(composer.overrides),
            config_dir=composer.config_dir,
            parent_run_id=parent.id,
            dataset_folder=dataset.folder,
            fingerprint=fingerprint,
            total=num_trials,
            threads=_threads(config),
            start_id=uuid.uuid4().hex,
        )
        trial_store = TrialStore(study, storage, num_trials, is_grid=config.sweep.is_grid)
        workers = start_workers(spec, study_folder(config.home, config.sweep.study_name))
        _Coordinator(spec, trial_store, store, parent, workers, watch).run()
        progress("drawing the sweep's figures")
        best = log_outcome(parent, store, trial_store, spec, dataset.manifest.splits["validation"])
        values = [space.values(trial.params) for trial in best]
        threads = best[0].user_attrs.get(THREADS, spec.threads) if best else spec.threads
        return SweepResult(parent.id, parent.url, count(trial_store.trials()), best, values, threads)


class _Coordinator:
    """Keeps workers at work and trials truthful until the sweep is complete."""

    def __init__(self, spec: WorkerSpec, trial_store: TrialStore, store: Store, parent: Run, workers: Workers, watch: Watch) -> None:
        self._spec = spec
        self._trial_store = trial_store
        self._parent = parent
        self._workers = workers
        self._watch = watch
        self._recovery = Recovery(trial_store, spec, store)
        self._ended = {trial.number for trial in trial_store.trials() if trial.state.is_finished()}
        self._given_up: list[str] = []

    def run(self) -> None:
        """Until the sweep is complete; however it ends, no worker of this process and no trial of theirs is left running."""
        self._recovery.recover()  # what an earlier start left
        try:
            while (num_left := self._trial_store.num_left) > 0:
                self._workers.keep_up(num_left, self._trial_store.trials())
                self._recovery.recover(self._workers.cause_of)
                self._notice()
                time.sleep(WATCH_SECONDS)
            self._workers.wait()
        except BaseException as error:
            self._stop(is_interrupt=isinstance(error, KeyboardInterrupt))
            raise
        self._notice()
        if count(self._trial_store.trials()).finished == 0:
            raise TrainingError("\n".join(["every trial was given up:", *self._given_up]))

    def _notice(self) -> None:
        """Tell of trials that ended since the last look."""
        trials = [trial for trial in self._trial_store.trials() if not is_surplus(trial)]
        sweep_config = self._spec.config.sweep
        self._watch(Snapshot(trials, count(trials), self._trial_store.total, sweep_config.metric, sweep_config.directions))
        ended = [trial for trial in trials if trial.state.is_finished() and trial.number not in self._ended]
        for trial in ended:
            self._ended.add(trial.number)
            if trial.state != TrialState.FAIL:
                self._given_up.clear()
            elif trial.user_attrs.get(GIVEN_UP):
                self._given_up.append(f"  trial {trial.number}: {trial.user_attrs.get(REASON)}")
        if ended:
            if self._parent.status != "RUNNING":  # another coordinator of this study ended
                self._parent.restart()
            log_progress(self._parent, self._trial_store, self._spec)
        if len(self._given_up) >= MAX_GIVEN_UP:
            raise TrainingError(
                "\n".join(
                    [f"{len(self._given_up)} trials in a row were given up; what is wrong may lie outside the values:", *self._given_up]
                )
            )

    def _stop(self, *, is_interrupt: bool) -> None:
        for step in (
            lambda: self._workers.stop(self._tell_to_stop),
            lambda: self._recovery.recover(self._workers.cause_of, is_interrupt=is_interrupt),
            lambda: log_progress(self._parent, self._trial_store, self._spec),
        ):
            with contextlib.suppress(Exception):  # why it ends matters more
                step()

    def _tell_to_stop(self) -> None:
        stopped = self._trial_store.study.user_attrs.get(STOP, [])
        self._trial_store.study.set_user_attr(STOP, [*stopped, self._spec.start_id])


@contextlib.contextmanager
def _parent_run(store: Store, config: SweepRunConfig, run_id: str | None) -> Iterator[Run]:
    """The run above the trials' runs: a new one, or the study's."""
    if run_id is not None:
        try:
            read_run(store, run_id)
        except TrackingError as error:
            raise TrackingError(
                f"sweep.study_name = {config.sweep.study_name}: the study's parent run cannot be opened ({error}); bring it back, or set "
                "sweep.study_name to a new name"
            ) from error
        with reopen_run(store, run_id) as run:
            yield run
        return
    values = _shown_values(config)
    tags = {
        KIND_TAG: "sweep",
        "sweep.study": config.sweep.study_name,
        "data": config.data.name,
        "protocol": config.protocol.name,
        **lineage_tags(Path(__file__).parent),
    }
    name = f"sweep-{config.sweep.study_name}"
    with open_run(store, name=name, params=flatten(values), tags=tags, log_system_metrics=False) as run:
        run.log_dict(values, "config.yaml")
        yield run


def _shown_values(config: SweepRunConfig) -> dict[str, object]:
    """The config without the databases' passwords."""
    values = logged_values(config)
    if config.sweep.storage is not None:
        values["sweep"]["storage"] = without_passwords(config.sweep.storage)
    return values


def _threads(config: SweepRunConfig) -> int:
    return config.sweep.threads_per_worker or config.trainer.num_threads or max(1, (os.cpu_count() or 1) // config.sweep.num_workers)
