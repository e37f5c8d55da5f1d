"""A sweep whose workers are killed at random moments, against the same sweep undisturbed.

    python -m benchmarks.sweep_survival [--kills 50] [--seed 0]

The sweep is a grid of 30 points, run by two workers of one thread each. A killer sends SIGKILL to a random worker at random moments until
its kills are spent: while the worker imports, asks, trains, validates, writes a checkpoint or logs the model. The killer has one rule:
three workers in a row that die before their first trial end a sweep ("no worker can start here"), which is another test, so after two
such kills it lets a worker reach a trial. Then each claim is checked by counting in the study and in MLflow, and the value of every point
is compared bit by bit with that of the undisturbed sweep.
"""

import argparse
import math
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import psutil
from benchmarks.sweep_command import EXPERIMENT, command, environment, prepare, runs_of, sweep, trials_of
from benchmarks.train import ROOT
from optuna.trial import FrozenTrial, TrialState

from clickflow.sweep.trial_run import RETRY_TAG
from clickflow.sweep.trials import is_surplus, worker_of
from clickflow.tracking.config import TrackingConfig
from clickflow.tracking.store import open_store

DATA = ["data=synthetic", "data.num_users=6000", "data.num_items=2000", "data.num_impressions=60000"]
EPOCHS = 6
POINTS = 30
SETTINGS = [
    *DATA,
    "sweep=default",
    "model=din",
    "seed=range(0,10)",
    "optimizer.learning_rate=choice(1e-3, 3e-3, 1e-2)",
    "sweep.sampler=grid",
    "sweep.pruner=none",
    f"sweep.num_trials={POINTS}",
    "sweep.num_workers=2",
    "sweep.threads_per_worker=1",
    "sweep.max_retries=100",
    f"trainer.max_epochs={EPOCHS}",
    f"trainer.patience={EPOCHS}",
]
LEFT_ALONE, KILLED = "left-alone", "killed"
MAX_IDLE_KILLS = 2
"""Largest number of kills in a row of workers that have had no trial."""


class Killer:
    """Kills workers of a sweep.

    Args:
        sweep: process of the sweep.
        home: home folder that holds its study.
        seed: seed of the random moments.
        mean_seconds: mean time between two kills.
    """

    def __init__(self, sweep: subprocess.Popen[bytes], home: Path, seed: int, mean_seconds: float) -> None:
        self._sweep = psutil.Process(sweep.pid)
        self._home = home
        self._random = random.Random(seed)
        self._mean = mean_seconds
        self._idle_kills = 0
        self.ages: list[float] = []
        """Age in seconds of each killed worker."""

    def kill_one(self) -> None:
        """Wait for a random time and kill a random worker, if one may be killed."""
        time.sleep(self._random.uniform(0, 2 * self._mean))
        with_trials = {worker.pid for trial in self._trials() if (worker := worker_of(trial))}
        victims = [worker for worker in self._workers() if worker.pid in with_trials or self._idle_kills < MAX_IDLE_KILLS]
        if victims:
            victim = self._random.choice(victims)
            age = time.time() - victim.create_time()
            victim.kill()
            self._idle_kills = 0 if victim.pid in with_trials else self._idle_kills + 1
            self.ages.append(age)

    def _workers(self) -> list[psutil.Process]:
        """Worker processes in which Python has started; a process between fork and exec is still the sweep itself."""
        return [child for child in self._sweep.children() if "clickflow.cli.sweep_worker" in child.cmdline()]

    def _trials(self) -> list[FrozenTrial]:
        return trials_of(self._home, KILLED)


def run_under_fire(home: Path, num_kills: int, seed: int, mean_seconds: float) -> tuple[float, list[float]]:
    """Run the sweep while killing its workers, and return its seconds and the ages of the killed workers."""
    start = time.perf_counter()
    line = command(home, [*SETTINGS, f"sweep.study_name={KILLED}"])
    with Path(home / "output.txt").open("w") as output:
        process = subprocess.Popen(line, cwd=ROOT, env=environment(), stdout=output, stderr=subprocess.STDOUT)
    while not (home / "sweeps" / KILLED / "journal.log").exists():
        time.sleep(0.1)
    killer = Killer(process, home, seed, mean_seconds)
    while process.poll() is None and len(killer.ages) < num_kills:
        try:
            killer.kill_one()
        except (psutil.Error, KeyError):  # the worker has ended meanwhile, or the study does not exist yet
            continue
    if process.wait():
        sys.exit(f"the sweep ended with {process.returncode}:\n{(home / 'output.txt').read_text()[-4000:]}")
    return time.perf_counter() - start, killer.ages


def point_of(trial: FrozenTrial) -> str:
    """Point of the grid, as text."""
    return str(sorted(trial.params.items()))


def show_deaths(trials: Sequence[FrozenTrial]) -> None:
    """Print how far the killed trials were and how many were resumed."""
    failed = [trial for trial in trials if trial.state == TrialState.FAIL and not is_surplus(trial)]
    where = Counter(
        "before the first validation" if not done else "after the last one" if done == EPOCHS else "between"
        for done in (len(trial.intermediate_values) for trial in failed)
    )
    print(f"trials that died: {len(failed)}; {', '.join(f'{number} {word}' for word, number in where.most_common())}")


def show_resumed(home: Path, trials: Sequence[FrozenTrial]) -> None:
    """Print how many runs resumed: such a run validated fewer times by itself than there are epochs and took over the earlier points."""
    client = open_store(TrackingConfig(experiment_name=EXPERIMENT), home).client
    retried = [run for run in runs_of(home, KILLED)[1] if RETRY_TAG in run.tags and run.status == "FINISHED"]
    with_epochs = {trial.number for trial in trials if trial.state == TrialState.FAIL and trial.intermediate_values}
    spared, missing = [], []
    for run in retried:
        start = client.get_run(run.run_id).info.start_time
        points = client.get_metric_history(run.run_id, "val/gauc")
        spared.append(EPOCHS - sum(point.timestamp >= start for point in points))
        missing.append(EPOCHS - len({point.step for point in points}))
    could = sum(int(run.tags[RETRY_TAG]) in with_epochs for run in retried)
    print(
        f"retried runs that finished: {len(retried)}, of which {sum(map(bool, spared))} resumed from a checkpoint "
        f"({could} were of trials that had validated), sparing {sum(spared)} epochs; "
        f"{sum(map(bool, missing))} lack {sum(missing)} points of val/gauc that died with their workers"
    )


def check(home: Path) -> bool:
    """Print each claim and whether it holds."""
    alone = {point_of(trial): trial.value for trial in trials_of(home, LEFT_ALONE) if trial.state == TrialState.COMPLETE}
    trials = trials_of(home, KILLED)
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    values = {point_of(trial): trial.value for trial in complete}
    parents, runs = runs_of(home, KILLED)
    states = Counter(run.status for run in runs)
    by_trial = {trial.number: trial.user_attrs.get("run_id") for trial in complete}
    best = max(value for value in values.values() if value is not None)
    claims = {
        f"finished trials: {len(complete)} of {POINTS}": len(complete) == POINTS,
        f"points finished: {len(values)}, each once": len(values) == len(complete) == POINTS,
        f"trials running or waiting: {sum(not trial.state.is_finished() for trial in trials)}": all(t.state.is_finished() for t in trials),
        f"runs left RUNNING: {states['RUNNING']} (trials' runs: {dict(states)})": states["RUNNING"] == 0,
        f"runs FINISHED: {states['FINISHED']}, each the run of its trial": states["FINISHED"] == POINTS
        and sorted(run.run_id for run in runs if run.status == "FINISHED") == sorted(map(str, by_trial.values())),
        f"parent runs: {[run.status for run in parents]}": [run.status for run in parents] == ["FINISHED"],
        f"best value {best!r}, undisturbed {max(map(float, filter(None, alone.values())))!r}": best == max(filter(None, alone.values())),
        f"points with exactly the value of the undisturbed sweep: {sum(values[p] == alone[p] for p in values)}": values == alone,
        f"checkpoints left in the home folder: {len(left := list((home / 'checkpoints').glob('*/*')))}": not left,
    }
    print("\n".join(f"{'ok  ' if holds else 'FAIL'} {claim}" for claim, holds in claims.items()))
    for point in sorted(values):
        if values[point] != alone.get(point):
            print(f"     {point}: {values[point]!r}, undisturbed {alone.get(point)!r}")
    return all(claims.values())


def main() -> None:
    """Run both sweeps, then check; exit code 1 if a claim fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--mean-seconds", type=float, default=4.5, help="mean time between two kills")
    parser.add_argument("--keep", type=Path, help="home folder to keep")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = given.keep or Path(folder)
        prepare(home, DATA)
        alone = sweep(home, LEFT_ALONE, SETTINGS)
        print(f"undisturbed: {alone.seconds:.0f} s, {alone.trial_seconds * 2 / POINTS:.1f} s per trial", flush=True)
        seconds, ages = run_under_fire(home, given.kills, given.seed, given.mean_seconds)
        third = math.ceil(len(ages) / 3)
        print(f"under fire: {seconds:.0f} s, {len(ages)} kills of workers aged {min(ages):.1f} to {max(ages):.1f} s", end="")
        print(f" (a third below {sorted(ages)[third - 1]:.1f} s)")
        trials = trials_of(home, KILLED)
        show_deaths(trials)
        show_resumed(home, trials)
        all_hold = check(home)
    sys.exit(0 if all_hold and len(ages) == given.kills else 1)


if __name__ == "__main__":
    main()
