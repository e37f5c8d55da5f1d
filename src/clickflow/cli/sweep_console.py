"""A sweep in a terminal: a line for each trial that ends, below them one live line for each worker."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from clickflow.cli.tables import print_table
from clickflow.sweep.coordinator import Snapshot, SweepResult
from clickflow.sweep.shown.table import STATES
from clickflow.sweep.shown.view import readable
from clickflow.sweep.trials import PROGRESS, REASON, WORKER

WIDTH = 160
"""Columns that the table of a Pareto front may take."""


class SweepConsole:
    """Shows a sweep while it is on: in a terminal the workers' lines are kept up to date, elsewhere only ended trials are printed."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._start = time.monotonic()
        self._workers: dict[str, str] = {}
        self._shown: set[int] | None = None
        self._num_before = 0

    @contextmanager
    def watching(self) -> Iterator["SweepConsole"]:
        """Keep the live lines on the screen meanwhile."""
        if not self._console.is_terminal:
            yield self
            return
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            self._live = live
            try:
                yield self
            finally:
                self._live = None

    def __call__(self, snapshot: Snapshot) -> None:
        """Show a moment."""
        if self._shown is None:  # trials of earlier starts
            self._shown = {trial.number for trial in snapshot.trials if trial.state.is_finished()}
            self._num_before = snapshot.counts.finished
            if self._shown:
                self._console.print(f"carrying on: {snapshot.counts.finished} of {snapshot.total} trials are finished")
        for trial in snapshot.trials:
            if trial.state.is_finished() and trial.number not in self._shown:
                self._shown.add(trial.number)
                self._console.print(ended_line(snapshot, trial.number), soft_wrap=True)
        if self._live is not None:
            self._live.update(Group(Text(self.headline(snapshot)), *(Text(line) for line in self.worker_lines(snapshot))), refresh=True)

    def headline(self, snapshot: Snapshot) -> str:
        """The sweep's progress, its best, and the time left."""
        counts = snapshot.counts
        others = {"pruned": counts.pruned, "failed": counts.failed, "running": counts.running}
        parts = [f"{counts.finished} of {snapshot.total} finished", *(f"{number} {word}" for word, number in others.items() if number)]
        best = best_so_far(snapshot)
        parts += [f"best {best}"] if best else []
        here = counts.finished - self._num_before
        if here and counts.finished < snapshot.total:
            left = (time.monotonic() - self._start) / here * (snapshot.total - counts.finished)
            parts.append(f"about {duration(left)} left")
        return " · ".join(parts)

    def worker_lines(self, snapshot: Snapshot) -> list[str]:
        """One line per worker, in the order in which they came."""
        running = {}
        for trial in snapshot.trials:
            worker = trial.user_attrs.get(WORKER)
            if worker is not None:
                key = f"{worker['host']}:{worker['pid']}"
                self._workers.setdefault(key, f"worker {len(self._workers) + 1}")
                if trial.state.name == "RUNNING":
                    running[key] = trial
        shown = [(label, running[key]) for key, label in self._workers.items() if key in running]
        return [f"  {label}  trial {trial.number:<4} {_progress(snapshot, trial.user_attrs.get(PROGRESS))}" for label, trial in shown]


def ended_line(snapshot: Snapshot, number: int) -> str:
    """The end of a trial."""
    trial = next(trial for trial in snapshot.trials if trial.number == number)
    state = STATES[trial.state]
    if state == "failed":
        return f"trial {number} failed: {trial.user_attrs.get(REASON, 'unknown reason')}"
    values = ", ".join(f"{metric} {value:.4f}" for metric, value in zip(snapshot.metrics, trial.values or [], strict=False))
    number_of = len(trial.intermediate_values)
    epochs = f" after {number_of} validation{'s' if number_of > 1 else ''}" if state == "pruned" else ""
    best = best_so_far(snapshot)
    return f"trial {number} {state}{epochs}: {values}" + (f"  (best {best})" if best else "")


def best_so_far(snapshot: Snapshot) -> str:
    """The best value and its trial; with several metrics how many trials nothing beats is a matter for the end."""
    complete = [trial for trial in snapshot.trials if trial.state.name == "COMPLETE"]
    if not complete or len(snapshot.metrics) > 1:
        return ""
    best = (max if snapshot.directions[0] == "maximize" else min)(complete, key=lambda trial: trial.values[0])
    return f"{snapshot.metrics[0]} {best.values[0]:.4f} by trial {best.number}"


def print_best(console: Console, result: SweepResult, metrics: Sequence[str]) -> None:
    """The best trial, or the Pareto front, with its values."""
    counts = result.counts
    failed = f"; {counts.failed} attempt{'s' * (counts.failed > 1)} failed or interrupted" if counts.failed else ""
    console.print(f"{counts.finished} trial{'s' * (counts.finished != 1)}: {counts.complete} complete, {counts.pruned} pruned{failed}")
    if not result.best:
        console.print("no trial is complete, so there is no best one")
        return
    title = "best trial" if len(result.best) == 1 else f"Pareto front, {len(result.best)} trials"
    columns = [(f"trial {trial.number}", trial, values) for trial, values in zip(result.best, result.values, strict=True)]
    measured = [
        {"": metric} | {label: f"{trial.values[position]:,.4f}" for label, trial, _ in columns} for position, metric in enumerate(metrics)
    ]
    keys = dict.fromkeys(key for values in result.values for key in values)
    searched = [{"": key} | {label: readable(values[key]) for label, _, values in columns if key in values} for key in keys]
    print_table(console, title, [*measured, None, *searched], left=[""], width=WIDTH)


def duration(seconds: float) -> str:
    """A time as one says it.

    >>> duration(8), duration(95), duration(4000)
    ('8 s', '2 min', '1.1 h')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def _progress(snapshot: Snapshot, progress: dict[str, float] | None) -> str:
    if progress is None or not progress["epochs"]:
        return "starting"
    if progress["epochs"] >= progress["max_epochs"]:
        return "validating and logging"
    parts = [f"epoch {progress['epochs']:.1f} of {progress['max_epochs']}"]
    if progress["value"] is not None:
        parts.append(f"{snapshot.metrics[0]} {progress['value']:.4f}")
    parts.append(f"{progress['rows_per_second']:,} rows/s")
    left = progress["seconds"] / progress["epochs"] * (progress["max_epochs"] - progress["epochs"])
    parts.append(f"about {duration(left)} left")
    return "  ".join(parts)
