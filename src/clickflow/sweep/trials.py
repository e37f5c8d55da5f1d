"""The trials of a study shared by several processes: asked for, told, failed, retried.

The first process that tells a trial's end wins: the storage refuses a second end. Everything else here follows from the study alone, so
any process may do it, in any order and repeatedly.
"""

import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from clickflow.tracking.owner import Owner

# User attributes of a trial.
WORKER, PROGRESS, RUN_ID, REASON, SURPLUS = "worker", "progress", "run_id", "reason", "surplus"
RETRY_OF, RETRIES, GIVEN_UP, THREADS = "retry_of", "retries", "given_up", "threads"

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
FIXED_PARAMS = "fixed_params"
"""System attribute in which Optuna keeps the values of an enqueued trial."""


@dataclass(frozen=True)
class Counts:
    """Numbers of trials by state, without surplus ones."""

    complete: int
    pruned: int
    failed: int
    running: int
    waiting: int

    @property
    def finished(self) -> int:
        """Trials that count towards the sweep's total."""
        return self.complete + self.pruned


@dataclass(frozen=True)
class Failure:
    """Why a trial ended without a value."""

    reason: str
    is_final: bool = False
    """Whether the same values would fail again."""
    is_interrupt: bool = False
    """Whether it was ended on purpose; it continues at the next start, which does not count as a retry."""


def count(trials: Sequence[FrozenTrial]) -> Counts:
    """Count trials by state."""
    states = Counter(trial.state for trial in trials if not is_surplus(trial))
    names = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING, TrialState.WAITING)
    return Counts(*(states[name] for name in names))


def is_surplus(trial: FrozenTrial) -> bool:
    """Whether the trial was one too many: a worker asked for it and failed it at once."""
    return bool(trial.user_attrs.get(SURPLUS))


def worker_of(trial: FrozenTrial) -> Owner | None:
    """The process that runs a trial; None as long as it is not recorded."""
    values = trial.user_attrs.get(WORKER)
    return None if values is None else Owner(**values)


class TrialStore:
    """A study as workers and coordinators write to it; the trials of a grid were all enqueued beforehand."""

    def __init__(self, study: Study, storage: BaseStorage, total: int, *, is_grid: bool) -> None:
        self.study = study
        self.storage = storage
        self.is_grid = is_grid
        self._total = total
        self._study_id = storage.get_study_id_from_name(study.study_name)

    def trials(self) -> list[FrozenTrial]:
        """All trials, by number; for reading only."""
        return self.study.get_trials(deepcopy=False)

    @property
    def total(self) -> int:
        """Number of finished trials at which the sweep is complete; in a grid, a trial that was given up is not replaced by another."""
        return self._total - sum(bool(trial.user_attrs.get(GIVEN_UP)) for trial in self.trials()) if self.is_grid else self._total

    @property
    def num_left(self) -> int:
        """Number of trials left to finish; 0 or less when the sweep is complete."""
        return self.total - count(self.trials()).finished

    def ask(self, worker: Owner) -> optuna.Trial | None:
        """Ask for a trial to run, an enqueued one first; None where there is none to run now.

        Two workers may ask at once and both see room for one more trial. Trial numbers are unique and ascending, so the worker with the
        higher number sees the other trial and marks its own as surplus.
        """
        now = count(self.trials())
        if now.finished + now.running >= self.total or (self.is_grid and now.waiting == 0):
            return None
        trial = self.study.ask()
        trial.set_user_attr(WORKER, asdict(worker))
        trials = self.trials()
        taken = trials[trial.number]
        if _is_needless(taken, trials) or (self.is_grid and not has_params(taken)):
            self._mark_surplus(taken)
            return None
        if sum(other.state != TrialState.FAIL for other in trials[: trial.number]) < self.total:
            return trial
        if has_params(taken):  # an enqueued one, which is needed if an earlier trial fails
            self._enqueue_again(taken, retries(taken), taken.user_attrs.get(RETRY_OF))
        self._mark_surplus(taken)
        return None

    def set_user_attrs(self, number: int, **attributes: Any) -> None:
        """Set user attributes of a trial; an UpdateFinishedTrialError if it is finished."""
        trial_id = self.storage.get_trial_id_from_study_id_trial_number(self._study_id, number)
        for key, value in attributes.items():
            self.storage.set_trial_user_attr(trial_id, key, value)

    def tell(self, number: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Set a trial's final state; returns whether this call did, and not another one before it."""
        try:
            self.study.tell(number, list(values) if values is not None else None, state=state)
        except (ValueError, UpdateFinishedTrialError):
            if self.study.trials[number].state.is_finished():
                return False
            raise
        return True

    def fail(self, trial: FrozenTrial, failure: Failure, max_retries: int) -> bool:
        """Fail a trial and enqueue a retry, if its values were retried less often than this; returns whether this call did."""
        trials = self.trials()
        if trials[trial.number].state.is_finished():
            return False
        given_up = not failure.is_interrupt and (failure.is_final or retries(trial) >= max_retries)
        with contextlib.suppress(UpdateFinishedTrialError):
            self.set_user_attrs(trial.number, **{REASON: failure.reason, GIVEN_UP: given_up})
        # First enqueued, then failed: a process that dies in between loses nothing, and a retry that is enqueued twice runs once.
        if not given_up and has_params(trial) and not _is_enqueued_again(trial.number, trials):
            self._enqueue_again(trial, retries(trial) + (not failure.is_interrupt), trial.number)
        return self.tell(trial.number, TrialState.FAIL)

    def _mark_surplus(self, trial: FrozenTrial) -> None:
        self.set_user_attrs(trial.number, **{SURPLUS: True})
        self.tell(trial.number, TrialState.FAIL)

    def _enqueue_again(self, trial: FrozenTrial, num_retries: int, retry_of: int | None) -> None:
        fixed = {FIXED_PARAMS: trial.system_attrs[FIXED_PARAMS]} if FIXED_PARAMS in trial.system_attrs else {}
        self.study.add_trial(
            optuna.trial.create_trial(
                state=TrialState.WAITING,
                params=trial.params,
                distributions=trial.distributions,
                user_attrs={} if retry_of is None else {RETRY_OF: retry_of, RETRIES: num_retries},
                system_attrs=fixed,
            )
        )


def has_params(trial: FrozenTrial) -> bool:
    """Whether a trial has values, or is enqueued with some."""
    return bool(trial.params) or FIXED_PARAMS in trial.system_attrs


def retries(trial: FrozenTrial) -> int:
    """Earlier retries of the trial's values."""
    return int(trial.user_attrs.get(RETRIES, 0))


def _is_enqueued_again(number: int, trials: Sequence[FrozenTrial]) -> bool:
    return any(other.user_attrs.get(RETRY_OF) == number and not is_surplus(other) for other in trials)


def _is_needless(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> bool:
    """Whether another trial already does what this one was enqueued for: two processes may have enqueued the same."""
    retry_of = trial.user_attrs.get(RETRY_OF)
    before = trials[: trial.number]
    if retry_of is not None:
        return trials[retry_of].state in FINISHED or _is_enqueued_again(retry_of, before)
    point = trial.system_attrs.get(FIXED_PARAMS)
    return point is not None and any(other.state != TrialState.FAIL and other.system_attrs.get(FIXED_PARAMS) == point for other in before)
