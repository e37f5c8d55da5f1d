"""The life of a trial in the study: taken by a worker, finished or failed, tried again.

Whoever tells a trial's end first has told it: the storage refuses a second end. Everything else here follows from the study alone, so any
process may do it, in any order, as often as it likes.
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
"""Optuna's own system attribute of an enqueued trial."""


@dataclass(frozen=True)
class Counts:
    """Trials by state; surplus ones are not counted."""

    complete: int
    pruned: int
    failed: int
    running: int
    waiting: int

    @property
    def finished(self) -> int:
        """Those that count towards the total."""
        return self.complete + self.pruned


@dataclass(frozen=True)
class Failure:
    """Why a trial ended without a value.

    Attributes:
        reason: for a person.
        is_final: whether the same values would fail again.
        is_interrupt: whether somebody ended it on purpose: it goes on at the next start, and that is no retry.
    """

    reason: str
    is_final: bool = False
    is_interrupt: bool = False


def count(trials: Sequence[FrozenTrial]) -> Counts:
    """Trials by state."""
    states = Counter(trial.state for trial in trials if not is_surplus(trial))
    names = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING, TrialState.WAITING)
    return Counts(*(states[name] for name in names))


def is_surplus(trial: FrozenTrial) -> bool:
    """Whether a worker took the trial and gave it back at once."""
    return bool(trial.user_attrs.get(SURPLUS))


def worker_of(trial: FrozenTrial) -> Owner | None:
    """Who took a trial; None where it was not written down yet."""
    values = trial.user_attrs.get(WORKER)
    return None if values is None else Owner(**values)


class TrialStore:
    """A study with what a worker or a watching process writes into it.

    Args:
        study: the study.
        storage: in which it is.
        total: finished trials that the sweep comes to.
        is_grid: whether all trials were put into the study beforehand.
    """

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
        """Finished trials that the sweep comes to; a trial that was given up is made up for by another, but not in a grid."""
        return self._total - sum(bool(trial.user_attrs.get(GIVEN_UP)) for trial in self.trials()) if self.is_grid else self._total

    @property
    def num_left(self) -> int:
        """Trials that are left to finish; 0 or less when the sweep is complete."""
        return self.total - count(self.trials()).finished

    def take(self, worker: Owner) -> optuna.Trial | None:
        """Take a trial, a waiting one first; None where nothing is to be taken now.

        Two workers may ask at once and both see the last place free. Trial numbers are given one after the other, so the one with the
        higher number knows of the other one, and gives its trial back.

        Args:
            worker: who takes it.
        """
        now = count(self.trials())
        if now.finished + now.running >= self.total or (self.is_grid and now.waiting == 0):
            return None
        trial = self.study.ask()
        trial.set_user_attr(WORKER, asdict(worker))
        trials = self.trials()
        taken = trials[trial.number]
        if _is_needless(taken, trials) or (self.is_grid and not has_params(taken)):
            self._give_back(taken)
            return None
        if sum(other.state != TrialState.FAIL for other in trials[: trial.number]) < self.total:
            return trial
        if has_params(taken):  # a waiting one, which is needed when a trial before it fails
            self._put_back(taken, retries(taken), taken.user_attrs.get(RETRY_OF))
        self._give_back(taken)
        return None

    def note(self, number: int, **attributes: Any) -> None:
        """Set user attributes of a trial that has not ended.

        Raises:
            UpdateFinishedTrialError: it has ended.
        """
        trial_id = self.storage.get_trial_id_from_study_id_trial_number(self._study_id, number)
        for key, value in attributes.items():
            self.storage.set_trial_user_attr(trial_id, key, value)

    def finish(self, number: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Tell the end of a trial; whether this call told it."""
        try:
            self.study.tell(number, list(values) if values is not None else None, state=state)
        except (ValueError, UpdateFinishedTrialError):
            if self.study.trials[number].state.is_finished():
                return False
            raise
        return True

    def fail(self, trial: FrozenTrial, failure: Failure, max_retries: int) -> bool:
        """Tell that a trial failed, and put it back to be tried again; whether this call did.

        Args:
            trial: as it is now.
            failure: why.
            max_retries: how often its values may be tried again.
        """
        trials = self.trials()
        if trials[trial.number].state.is_finished():
            return False
        given_up = not failure.is_interrupt and (failure.is_final or retries(trial) >= max_retries)
        with contextlib.suppress(UpdateFinishedTrialError):
            self.note(trial.number, **{REASON: failure.reason, GIVEN_UP: given_up})
        # First put back, then failed: who dies in between loses nothing, and what is put back twice is taken once.
        if not given_up and has_params(trial) and not _is_put_back(trial.number, trials):
            self._put_back(trial, retries(trial) + (not failure.is_interrupt), trial.number)
        return self.finish(trial.number, TrialState.FAIL)

    def _give_back(self, trial: FrozenTrial) -> None:
        self.note(trial.number, **{SURPLUS: True})
        self.finish(trial.number, TrialState.FAIL)

    def _put_back(self, trial: FrozenTrial, num_retries: int, retry_of: int | None) -> None:
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
    """Whether a trial has values already, or they are laid down for it."""
    return bool(trial.params) or FIXED_PARAMS in trial.system_attrs


def retries(trial: FrozenTrial) -> int:
    """How often the trial's values were tried before."""
    return int(trial.user_attrs.get(RETRIES, 0))


def _is_put_back(number: int, trials: Sequence[FrozenTrial]) -> bool:
    return any(other.user_attrs.get(RETRY_OF) == number and not is_surplus(other) for other in trials)


def _is_needless(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> bool:
    """Whether what a trial was put in for is done or under way: two processes may have put in the same."""
    retry_of = trial.user_attrs.get(RETRY_OF)
    before = trials[: trial.number]
    if retry_of is not None:
        return trials[retry_of].state in FINISHED or _is_put_back(retry_of, before)
    point = trial.system_attrs.get(FIXED_PARAMS)
    return point is not None and any(other.state != TrialState.FAIL and other.system_attrs.get(FIXED_PARAMS) == point for other in before)
