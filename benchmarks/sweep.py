"""The cost of a trial beyond its training, and the gain from a second worker.

    python -m benchmarks.sweep overhead [--size small|electronics] [--trials 21]
    python -m benchmarks.sweep workers [--trials 20] [--rounds 1]

**overhead**: one worker of one thread, pruner median, trials that differ in their seeds only. A trial's overhead is the time from its start
to the start of the worker's next trial, minus the time of bare fits of the same config: in the worker itself, just before each trial's
own ``fit``, the same ``fit`` (with validations and checkpoints) runs on a copy of the model without a watcher and with a sink that
discards metrics. So a trial here trains twice, and overhead = gap - 2 x bare fit. It includes the work of the sweep and of MLflow inside
the fit, and the machine's noise between two long fits; `outside the fit` = gap - bare fit - fit excludes both.
The first trial is left out because it warms the worker up, the last one because no trial follows it. The parts are timed by wrapping the
functions in this benchmark's workers only.

**workers**: the same sweep of equal trials (a grid of seeds, pruner none) by one worker of one thread and by two, in turn. Two times are
taken: that of the whole command, with start-up and the parent's figures, and that from the start of the first trial to the end of the last.
"""

import argparse
import contextlib
import copy
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.sweep_command import SMALL, Finished, prepare, spread, sweep
from benchmarks.train import SHAPE

SIZES = {
    "small": [*SMALL, "model=din", "trainer.max_epochs=2"],
    "electronics": [*SHAPE, "data.name=synthetic", "trainer.max_epochs=1"],
}
TIMES = "SWEEP_TIMES"
"""Environment variable with the file to which a timed worker writes one line per trial."""
PARTS = {  # name -> the wrapped function, named by its caller's module; no part contains another
    "choose the values and compose": "clickflow.sweep.worker._trial_config",
    "log the data set": "clickflow.runs.train.log_dataset",
    "build the model": "clickflow.models.config.DINConfig.build",
    "move the checkpoints": "clickflow.runs.train.keep_checkpoints",
    "validate at the best weights": "clickflow.runs.train.score",
    "log curves and predictions": "clickflow.runs.train.log_split",
    "measure latency": "clickflow.runs.train._costs",
    "log the model": "clickflow.runs.train.log_model",
    "tell": "clickflow.sweep.trials.TrialStore.tell",
    "take a trial": "clickflow.sweep.trials.TrialStore.ask",
}


class Stopwatch:
    """Seconds of each part of the current trial."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seconds: defaultdict[str, float] = defaultdict(float)

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time the block as a part."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[name] += time.perf_counter() - start

    def wrap(self, name: str, path: str) -> None:
        """Time every call of a function or method."""
        owner, function = owner_of(path)
        plain = getattr(owner, function)

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.part(name):
                return plain(*args, **kwargs)

        setattr(owner, function, timed)

    def end_trial(self) -> None:
        """Write the trial's line."""
        with self._file.open("a") as file:
            file.write(json.dumps(self._seconds) + "\n")
        self._seconds.clear()


def owner_of(path: str) -> tuple[Any, str]:
    """Owner of ``package.module.Class.method`` and the method's name."""
    import importlib

    owner, name = path.rsplit(".", 1)
    try:
        return importlib.import_module(owner), name
    except ModuleNotFoundError:
        module, cls = owner.rsplit(".", 1)
        return getattr(importlib.import_module(module), cls), name


def worker() -> None:
    """Run a sweep's worker with a stopwatch and a bare fit before each of its fits."""
    import clickflow.sweep.trial_run as trial_run
    import clickflow.training.fit as training
    from clickflow.cli.sweep_worker import main

    watch = Stopwatch(Path(os.environ[TIMES]))
    for name, path in PARTS.items():
        watch.wrap(name, path)
    fit, open_training_run, run_trial = training.fit, trial_run.open_training_run, trial_run.run_trial

    def fit_twice(model: Any, *args: Any, folder: Path, sink: Any, watcher: Any, **kwargs: Any) -> Any:
        with tempfile.TemporaryDirectory() as scratch, watch.part("bare fit"):
            fit(copy.deepcopy(model), *args, folder=Path(scratch), sink=forget, **kwargs)
        with watch.part("fit"):
            return fit(model, *args, folder=folder, sink=sink, watcher=watcher, **kwargs)

    @contextlib.contextmanager
    def open_timed(*args: Any) -> Iterator[Any]:
        with contextlib.ExitStack() as stack:
            with watch.part("open the run"):
                run = stack.enter_context(open_training_run(*args))
            yield run
            with watch.part("close the run"):
                stack.close()

    def run_timed(*args: Any) -> None:
        run_trial(*args)
        watch.end_trial()

    import clickflow.sweep.worker as sweep_worker

    training.fit, trial_run.open_training_run, sweep_worker.run_trial = fit_twice, open_timed, run_timed
    main()


def forget(*args: Any, **kwargs: Any) -> None:
    """Discard metrics."""


def command_with_timed_workers() -> None:
    """Run ``pipelines/sweep.py`` with workers that have stopwatches."""
    import clickflow.pipelines.sweep as pipeline
    from clickflow.cli.main import run

    pipeline.WORKER[:] = [sys.executable, "-m", "benchmarks.sweep", "worker"]
    run("sweep")


def overhead(size: str, num_trials: int) -> None:
    """Print the overhead of trials and its parts."""
    shape = SIZES[size]
    settings = [
        "sweep=default",
        f"seed=range(0,{num_trials})",
        "sweep.sampler=grid",
        f"sweep.num_trials={num_trials}",
        "sweep.threads_per_worker=1",
    ]
    with tempfile.TemporaryDirectory() as folder:
        home, times = Path(folder), Path(folder) / "times.jsonl"
        os.environ[TIMES] = str(times)
        prepare(home, [setting for setting in shape if setting.startswith("data")])
        done = sweep(home, "overhead", [*shape, *settings], ("-m", "benchmarks.sweep", "timed"))
        parts = [json.loads(line) for line in times.read_text().splitlines()]
    starts = [trial.datetime_start for trial in done.trials]
    gaps = [(after - start).total_seconds() for start, after in itertools.pairwise(starts)]
    # A line holds the parts since the line before: those of its trial, and the time to ask the study for it.
    rows = list(zip(gaps, parts, strict=False))[1:]
    print(f"{size}: {len(rows)} trials, bare fit {spread([part['bare fit'] for _, part in rows])} s")
    show("overhead per trial", [gap - 2 * part["bare fit"] for gap, part in rows])
    show("outside the fit", [gap - part["bare fit"] - part["fit"] for gap, part in rows])
    show("fit, more than the bare fit", [part["fit"] - part["bare fit"] for _, part in rows])
    names = ["open the run", *PARTS, "close the run"]
    for name in names:
        show(name, [part.get(name, 0.0) for _, part in rows])
    show("all else", [gap - part["bare fit"] - part["fit"] - sum(part.get(name, 0.0) for name in names) for gap, part in rows])


def show(name: str, seconds: list[float]) -> None:
    print(f"  {name:32} median {statistics.median(seconds):6.3f} s, min {min(seconds):6.3f}, max {max(seconds):6.3f}", flush=True)


def workers(num_trials: int, rounds: int, epochs: int) -> None:
    """Print the times of one worker and of two."""
    done: dict[int, list[Finished]] = {1: [], 2: []}
    settings = [*SMALL, "model=din", "sweep=default", f"seed=range(0,{num_trials})", "sweep.sampler=grid", f"sweep.num_trials={num_trials}"]
    settings += ["sweep.pruner=none", "sweep.threads_per_worker=1", f"trainer.max_epochs={epochs}", f"trainer.patience={epochs}"]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        prepare(home, SMALL)
        for index in range(rounds):
            for number in (1, 2):
                finished = sweep(home, f"workers-{number}-{index}", [*settings, f"sweep.num_workers={number}"])
                done[number].append(finished)
                trial = statistics.median(trial.duration.total_seconds() for trial in finished.trials if trial.duration)
                print(
                    f"workers: {number}, trials: {len(finished.trials)}: command {finished.seconds:6.1f} s, "
                    f"first start to last end {finished.trial_seconds:6.1f} s, a trial {trial:.2f} s",
                    flush=True,
                )
    kinds: dict[str, Callable[[Finished], float]] = {"command": lambda f: f.seconds, "trials": lambda f: f.trial_seconds}
    for kind, seconds in kinds.items():
        ratio = statistics.median(map(seconds, done[2])) / statistics.median(map(seconds, done[1]))
        print(f"{kind}: two workers take {ratio:.3f} times as long as one")


def main() -> None:
    """Read the command line."""
    if sys.argv[1:2] == ["worker"]:
        worker()
    elif sys.argv[1:2] == ["timed"]:
        del sys.argv[1]
        command_with_timed_workers()
    else:
        parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("what", choices=["overhead", "workers"])
        parser.add_argument("--size", choices=list(SIZES), default="small")
        parser.add_argument("--trials", type=int, default=20)
        parser.add_argument("--rounds", type=int, default=1)
        parser.add_argument("--epochs", type=int, default=10, help="epochs of each trial of `workers`")
        given = parser.parse_args()
        if given.what == "overhead":
            overhead(given.size, given.trials)
        else:
            workers(given.trials, given.rounds, given.epochs)


if __name__ == "__main__":
    main()
