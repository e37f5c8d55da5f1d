"""Bars of rows that are done, with rows/s and the time that is left; on a terminal only."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

PATIENCE_SECONDS = 5.0
"""Work that is done by then gets no bar."""


class RowsPerSecond(ProgressColumn):
    """Speed of the work."""

    def render(self, task: Task) -> Text:
        """The rate of the last half minute."""
        return Text(f"{task.speed or 0:,.0f} rows/s")


def row_columns() -> tuple[ProgressColumn, ...]:
    """The parts of a bar."""
    return TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), RowsPerSecond(), TimeRemainingColumn()


class StageBar:
    """A bar for each stage of a command that takes its time; use it as a context, whose end takes the bar away."""

    def __init__(self, console: Console | None = None) -> None:
        """Choose the terminal; None: standard error."""
        self._console = console or Console(stderr=True)
        self._bar: Progress | None = None
        self._stage, self._began = "", time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._stop()

    def stage(self, name: str) -> None:
        """Begin a stage."""
        self._stop()
        self._stage, self._began = name, time.monotonic()

    def rows(self, done: int, total: int | None) -> None:
        """Show the rows that the stage has done."""
        if not self._console.is_terminal or time.monotonic() - self._began < PATIENCE_SECONDS:
            return
        if self._bar is None:
            self._bar = Progress(*row_columns(), console=self._console, transient=True)
            self._bar.start()
            self._bar.add_task(self._stage, total=total)
        [task] = self._bar.task_ids
        self._bar.update(task, completed=done, total=total)

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
