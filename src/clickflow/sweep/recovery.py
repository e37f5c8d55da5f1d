"""Recovery of trials whose worker died: their run is closed with the reason, and they are retried, or told if the run had finished.

A worker of this machine is dead when its process is gone. Any worker counts as dead when it has sent no heartbeat for two minutes by the
clock of the process that watches, so the machines' clocks need not agree.
"""

import time
from collections.abc import Callable
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from clickflow.runs.kept_checkpoints import checkpoint_folder, keep_checkpoints
from clickflow.sweep.trial_run import results_of_run
from clickflow.sweep.trials import PROGRESS, Failure, TrialStore, worker_of
from clickflow.sweep.worker_spec import WorkerSpec
from clickflow.tracking import names
from clickflow.tracking.lifecycle import closing_dead_run
from clickflow.tracking.search import FoundRun, find_runs
from clickflow.tracking.store import Store

CauseOf = Callable[[int], str | None]

SILENCE_SECONDS = 120.0
"""Without a heartbeat, before a worker counts as dead."""
UNCLAIMED_SECONDS = 20.0
"""Longest time that a running trial may have no worker; it is recorded milliseconds after the trial's start."""


class Recovery:
    """Watches the running trials of a study."""

    def __init__(self, trial_store: TrialStore, spec: WorkerSpec, store: Store) -> None:
        self._trial_store = trial_store
        self._spec = spec
        self._store = store
        self._seen: dict[int, tuple[Any, float]] = {}

    def recover(self, cause_of: CauseOf = lambda pid: None, *, is_interrupt: bool = False) -> list[int]:
        """End the trials of dead workers, and return the numbers of those that this call ended.

        ``cause_of`` says how a worker ended, by its process id; ``is_interrupt`` whether workers were stopped on purpose.
        """
        running = [trial for trial in self._trial_store.trials() if trial.state == TrialState.RUNNING]
        return [trial.number for trial in running if self._is_orphan(trial) and self._end(trial, cause_of, is_interrupt)]

    def _is_orphan(self, trial: FrozenTrial) -> bool:
        worker = worker_of(trial)
        if worker is not None and worker.is_here and not worker.is_alive():
            return True
        sign = trial.user_attrs.get(PROGRESS)
        seen, since = self._seen.get(trial.number, (None, 0.0))
        if trial.number not in self._seen or seen != sign:
            self._seen[trial.number] = (sign, time.monotonic())
            return False
        return time.monotonic() - since > (UNCLAIMED_SECONDS if worker is None else SILENCE_SECONDS)

    def _end(self, trial: FrozenTrial, cause_of: CauseOf, is_interrupt: bool) -> bool:
        study_name = self._spec.config.sweep.study_name
        tags = {names.PARENT_TAG: self._spec.parent_run_id, names.STUDY_TAG: study_name, names.TRIAL_NUMBER_TAG: str(trial.number)}
        runs = find_runs(self._store, tags)
        finished = next((run for run in runs if run.status == "FINISHED"), None)
        if finished is not None and self._take_over(trial, finished):
            return True
        failure = Failure(self._reason(trial, cause_of), is_interrupt=is_interrupt)
        for run in runs:
            self._close(run, failure)
        return self._trial_store.fail(trial, failure, self._spec.config.sweep.max_retries)

    def _close(self, run: FoundRun, failure: Failure) -> None:
        """Close a run and log its checkpoints; a worker may also have died after its run's end, while it moved them."""
        home = self._spec.config.home
        if run.status == "RUNNING":
            status, reason = ("KILLED", names.TRIAL_INTERRUPTED) if failure.is_interrupt else ("FAILED", names.TRIAL_FAILED)
            with closing_dead_run(self._store, run.run_id, status, failure.reason) as dead:
                dead.set_tags({names.TRIAL_STATE_TAG: reason})
                keep_checkpoints(dead, home)
        elif run.status != "FINISHED" and checkpoint_folder(home, run.run_id).exists():
            with closing_dead_run(self._store, run.run_id, run.status, run.tags.get(names.ERROR_TAG, failure.reason)) as dead:
                keep_checkpoints(dead, home)

    def _take_over(self, trial: FrozenTrial, run: FoundRun) -> bool:
        """Tell a trial whose worker died after the run had ended; returns whether this call did."""
        if run.tags.get(names.TRIAL_STATE_TAG) != names.TRIAL_COMPLETE:
            return self._trial_store.tell(trial.number, TrialState.PRUNED)
        results = results_of_run(self._spec.config.sweep.metric, run)
        return results is not None and self._trial_store.tell(trial.number, TrialState.COMPLETE, results)

    def _reason(self, trial: FrozenTrial, cause_of: CauseOf) -> str:
        worker = worker_of(trial)
        if worker is None:
            return "its worker died before it was recorded"
        if not worker.is_here or worker.is_alive():
            return f"no heartbeat of its worker on {worker.host} for {SILENCE_SECONDS:.0f} seconds"
        return cause_of(worker.pid) or f"worker process {worker.pid} died"
