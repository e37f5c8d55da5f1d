"""``pipelines/sweep.py`` as a user runs it, timed from outside, and its results in the study and in MLflow.

The benchmarks of sweeps share this module.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
from benchmarks.train import ROOT
from optuna.trial import FrozenTrial, TrialState

from clickflow.sweep.study_storage import open_storage
from clickflow.tracking.config import TrackingConfig
from clickflow.tracking.names import PARENT_TAG
from clickflow.tracking.search import FoundRun, find_runs
from clickflow.tracking.store import open_store

SMALL = ["data=synthetic", "data.num_users=3000", "data.num_items=2000", "data.num_impressions=30000"]
"""A log whose epoch takes about one second on one thread."""
EXPERIMENT = "synthetic"


@dataclass(frozen=True)
class Finished:
    """A finished sweep.

    Attributes:
        seconds: time of the whole command, from the start of its process to its end.
        trials: trials of the study, by number.
    """

    seconds: float
    trials: list[FrozenTrial]

    @property
    def trial_seconds(self) -> float:
        """Seconds from the start of the first trial to the end of the last one."""
        starts = [trial.datetime_start for trial in self.trials if trial.datetime_start]
        ends = [trial.datetime_complete for trial in self.trials if trial.datetime_complete]
        return (max(ends) - min(starts)).total_seconds()

    @property
    def num_epochs(self) -> int:
        """Number of validations of all trials, one per epoch."""
        return sum(len(trial.intermediate_values) for trial in self.trials)

    @property
    def best(self) -> float:
        """Largest value of a complete trial."""
        return max(trial.value for trial in self.trials if trial.state == TrialState.COMPLETE and trial.value is not None)


def environment() -> dict[str, str]:
    """Environment in which the project is found from any folder and each command chooses its own threads."""
    chosen = {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    return {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"} | chosen


def command(home: Path, overrides: Sequence[str], script: Sequence[str] = ("pipelines/sweep.py",)) -> list[str]:
    """A sweep's command line."""
    return [sys.executable, *script, f"home={home}", *overrides]


def run(line: Sequence[str]) -> float:
    """Run a command without showing its output and return its seconds.

    Raises:
        RuntimeError: the command failed; contains its output.
    """
    start = time.perf_counter()
    done = subprocess.run(line, cwd=ROOT, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"{' '.join(line)} ended with {done.returncode}:\n{done.stdout[-4000:]}")
    return seconds


def prepare(home: Path, data: Sequence[str]) -> None:
    """Prepare the log and create the MLflow store beforehand, so that no sweep's time includes them."""
    run([sys.executable, "pipelines/prepare.py", f"home={home}", *data])
    open_store(TrackingConfig(experiment_name=EXPERIMENT), home)


def sweep(home: Path, name: str, overrides: Sequence[str], script: Sequence[str] = ("pipelines/sweep.py",)) -> Finished:
    """Run a sweep under a study name of its own."""
    seconds = run(command(home, [*overrides, f"sweep.study_name={name}"], script))
    return Finished(seconds, trials_of(home, name))


def trials_of(home: Path, name: str) -> list[FrozenTrial]:
    """Trials of a study, by number."""
    return optuna.load_study(study_name=name, storage=open_storage(None, home, name)).get_trials()


def runs_of(home: Path, name: str) -> tuple[list[FoundRun], list[FoundRun]]:
    """The runs of a study: those of its parent, and those of its trials."""
    found = find_runs(open_store(TrackingConfig(experiment_name=EXPERIMENT), home), {"sweep.study": name})
    return [run for run in found if PARENT_TAG not in run.tags], [run for run in found if PARENT_TAG in run.tags]


def spread(values: Sequence[float]) -> str:
    """Median, minimum and maximum as text."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"
