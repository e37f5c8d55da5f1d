"""A sweep from its config to its result: checks, the study, the parent run, the workers, and the outcome.

Several coordinators, on several machines, may run one study: each starts its own workers and watches the trials of all.
"""

import contextlib
import os
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from optuna.trial import FrozenTrial, TrialState

from clickflow.data.prepare import Progress, prepare
from clickflow.errors import TrainingError
from clickflow.runs.run_dataset import log_dataset, refuse_one_class
from clickflow.sweep.config import SweepRunConfig
from clickflow.sweep.recovery import Recovery
from clickflow.sweep.shown.parent_run import log_outcome, log_progress, open_parent_run
from clickflow.sweep.space import Composer, SearchSpace
from clickflow.sweep.study import PARENT, READY, describe, describe_study, enqueue_grid, open_study, total
from clickflow.sweep.study_storage import open_storage, storage_faults, study_folder
from clickflow.sweep.trials import GIVEN_UP, REASON, THREADS, Counts, TrialStore, count, is_surplus
from clickflow.sweep.worker import STOP
from clickflow.sweep.worker_spec import WorkerSpec
from clickflow.tracking.names import DIRECTIONS_TAG, METRICS_TAG
from clickflow.tracking.run import Run
from clickflow.tracking.store import Store, open_store

WATCH_SECONDS = 0.5
MAX_GIVEN_UP = 5
"""Trials given up in a row before the sweep ends: the values are not the cause, then."""


class Workers(Protocol):
    """Workers of one coordinator: processes of this machine, or jobs of a cluster."""

    def cause_of(self, pid: int) -> str | None:
        """The end of a dead worker, if it is known."""

    def start_missing(self, num_needed: int, trials: Sequence[FrozenTrial]) -> None:
        """Start as many workers as there is work for, and replace those that died."""

    def wait(self) -> None:
        """Wait until the workers, which have nothing left to do, have ended."""

    def stop(self, publish_stop: Callable[[], None]) -> None:
        """Stop all workers and wait for their end; ``publish_stop`` writes a stop into the study, for workers that no signal reaches."""


@dataclass(frozen=True)
class Snapshot:
    """The state of a sweep at one moment, for display: its trials by number, without surplus ones."""

    trials: list[FrozenTrial]
    counts: Counts
    total: int  # number of finished trials at which the sweep is complete
    metrics: tuple[str, ...]
    directions: tuple[str, ...]


@dataclass(frozen=True)
class SweepResult:
    """The result of a sweep: its parent run and the best trial, or the Pareto front, with the searched values of each."""

    parent_run_id: str
    url: str
    counts: Counts
    best: list[FrozenTrial]
    values: list[dict[str, object]]
    threads: int
    """Torch threads with which the first trial of ``best`` was trained."""


OnSnapshot = Callable[[Snapshot], None]
StartWorkers = Callable[[WorkerSpec, Path], Workers]


def sweep(
    config: SweepRunConfig,
    space: SearchSpace,
    composer: Composer,
    start_workers: StartWorkers,
    *,
    progress: Progress = lambda stage: None,
    on_snapshot: OnSnapshot = lambda snapshot: None,
) -> SweepResult:
    """Run a sweep, or continue it, until it has its total of finished trials.

    The space has been checked by :mod:`clickflow.sweep.check`. ``start_workers`` creates
    :class:`~clickflow.sweep.processes.LocalWorkers`, or those of a cluster. ``progress`` is called with the name of each stage as it
    starts, ``on_snapshot`` twice a second.

    Raises:
        ClickflowError: the data, the study or the store cannot be used; before the first trial where possible.
        TrainingError: trial after trial is given up, or no worker can start.
        KeyboardInterrupt: the sweep was interrupted; it continues when it is started again.
    """
    with storage_faults(config.sweep.storage):
        storage = open_storage(config.sweep.storage, config.home, config.sweep.study_name)
        store = open_store(config.tracking, config.home)
        dataset = prepare(config.data, config.protocol, config.home, progress)
        refuse_one_class(dataset)
        fingerprint = dataset.manifest.fingerprint
        description = describe(config, space, composer, fingerprint)
        progress("opening the study")
        study, is_new = open_study(storage, config, description)
        num_trials = total(config, space, composer)
        with open_parent_run(store, config, study.user_attrs.get(PARENT)) as parent:
            parent.set_tags({METRICS_TAG: ",".join(config.sweep.metric), DIRECTIONS_TAG: ",".join(config.sweep.directions)})
            if is_new:
                log_dataset(parent, dataset)
                describe_study(study, description, parent.id)
            if config.sweep.is_grid:
                enqueue_grid(study, space, composer, num_trials)
            study.set_user_attr(READY, True)
            share = max(1, (os.cpu_count() or 1) // config.sweep.num_workers)  # of this machine's cores
            spec = WorkerSpec(
                config=config,
                space=space,
                overrides=tuple(composer.overrides),
                config_dir=composer.config_dir,
                parent_run_id=parent.id,
                dataset_folder=dataset.folder,
                fingerprint=fingerprint,
                total=num_trials,
                threads=config.sweep.threads_per_worker or config.trainer.num_threads or share,
                start_id=uuid.uuid4().hex,
            )
            trial_store = TrialStore(study, storage, num_trials, is_grid=config.sweep.is_grid)
            workers = start_workers(spec, study_folder(config.home, config.sweep.study_name))
            _Coordinator(spec, trial_store, store, parent, workers, on_snapshot).run()
            progress("drawing the sweep's figures")
            best = log_outcome(parent, store, trial_store, spec, dataset.manifest.splits["validation"])
            values = [space.values(trial.params) for trial in best]
            threads = best[0].user_attrs.get(THREADS, spec.threads) if best else spec.threads
            return SweepResult(parent.id, parent.url, count(trial_store.trials()), best, values, threads)


class _Coordinator:
    """Keeps workers running and the states of trials true until the sweep is complete."""

    def __init__(
        self, spec: WorkerSpec, trial_store: TrialStore, store: Store, parent: Run, workers: Workers, on_snapshot: OnSnapshot
    ) -> None:
        self._spec = spec
        self._trial_store = trial_store
        self._parent = parent
        self._workers = workers
        self._on_snapshot = on_snapshot
        self._recovery = Recovery(trial_store, spec, store)
        self._ended = {trial.number for trial in trial_store.trials() if trial.state.is_finished()}
        self._given_up: list[str] = []

    def run(self) -> None:
        """Run until the sweep is complete; however it ends, no worker of this process and no trial of theirs is left running."""
        self._recovery.recover()  # trials that an earlier start left running
        try:
            while (num_left := self._trial_store.num_left) > 0:
                self._workers.start_missing(num_left, self._trial_store.trials())
                self._recovery.recover(self._workers.cause_of)
                self._report()
                time.sleep(WATCH_SECONDS)
            self._workers.wait()
        except BaseException as error:
            self._stop(is_interrupt=isinstance(error, KeyboardInterrupt))
            raise
        self._report()
        if count(self._trial_store.trials()).finished == 0:
            raise TrainingError("\n".join(["every trial was given up:", *self._given_up]))

    def _report(self) -> None:
        """Report the trials that ended since the last call."""
        trials = [trial for trial in self._trial_store.trials() if not is_surplus(trial)]
        sweep_config = self._spec.config.sweep
        self._on_snapshot(Snapshot(trials, count(trials), self._trial_store.total, sweep_config.metric, sweep_config.directions))
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
                "\n".join([f"{len(self._given_up)} trials in a row were given up; the cause may be outside their values:", *self._given_up])
            )

    def _stop(self, *, is_interrupt: bool) -> None:
        for step in (
            lambda: self._workers.stop(self._publish_stop),
            lambda: self._recovery.recover(self._workers.cause_of, is_interrupt=is_interrupt),
            lambda: log_progress(self._parent, self._trial_store, self._spec),
        ):
            with contextlib.suppress(Exception):  # the reason for the end matters more
                step()

    def _publish_stop(self) -> None:
        stopped = self._trial_store.study.user_attrs.get(STOP, [])
        self._trial_store.study.set_user_attr(STOP, [*stopped, self._spec.start_id])
