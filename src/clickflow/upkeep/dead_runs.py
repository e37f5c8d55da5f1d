"""Find runs with the status RUNNING whose process is dead.

Whether a process lives can only be asked on its own machine. A process of another machine is taken for dead only after a silence that the
user has set. Parents of living runs and children of living sweeps are left alone: a sweep watches its children itself.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clickflow.tracking.names import KIND_TAG, PARENT_TAG
from clickflow.tracking.owner import Owner
from clickflow.tracking.search import FoundRun

MILLISECONDS_PER_HOUR = 3_600_000


@dataclass(frozen=True)
class Liveness:
    """Whether a run with the status RUNNING is dead, and why it is so or in doubt; no reason if its process is known to live."""

    run: FoundRun
    is_dead: bool
    reason: str


def find_dead_runs(running: Sequence[FoundRun], silent_hours: float | None) -> list[Liveness]:
    """Judge all runs with the status RUNNING; after so many silent hours one without a known process is taken for dead (None: never)."""
    verdicts = {run.run_id: _alone(run, silent_hours) for run in running}
    while True:  # a living run keeps its parent alive, and a living sweep its children, and so on
        kept = [verdict for verdict in verdicts.values() if verdict.is_dead and _lives_by_others(verdict.run, verdicts)]
        if not kept:
            return list(verdicts.values())
        for verdict in kept:
            verdicts[verdict.run.run_id] = Liveness(verdict.run, False, "")


def process_lives(tags: Mapping[str, str]) -> bool | None:
    """Whether the process that opened a run lives; None if that cannot be known here."""
    owner = Owner.of_run(tags)
    return owner.is_alive() if owner is not None and owner.is_here else None


def hours_of_silence(run: FoundRun) -> float:
    """Hours since a run's last sign of life, by this machine's clock."""
    return (time.time() * 1000 - run.last_sign) / MILLISECONDS_PER_HOUR


def _alone(run: FoundRun, silent_hours: float | None) -> Liveness:
    """Judge a run by its own process and silence."""
    owner = Owner.of_run(run.tags)
    lives = process_lives(run.tags)
    if lives is not None:
        return Liveness(run, not lives, "" if lives else f"its process {owner.pid if owner else ''} died")
    where = "does not say which process works on it" if owner is None else f"is worked on by process {owner.pid} on {owner.host}"
    hours = hours_of_silence(run)
    if silent_hours is not None and hours > silent_hours:
        return Liveness(run, True, f"no sign of life for {hours:.0f} hours; it {where}")
    return Liveness(run, False, f"{where}; last sign of life {hours:.1f} hours ago")


def _lives_by_others(run: FoundRun, verdicts: Mapping[str, Liveness]) -> bool:
    parent = verdicts.get(run.tags.get(PARENT_TAG, ""))
    if parent is not None and not parent.is_dead and parent.run.tags.get(KIND_TAG) == "sweep":
        return True
    return any(not other.is_dead and other.run.tags.get(PARENT_TAG) == run.run_id for other in verdicts.values())
