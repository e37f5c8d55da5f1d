"""Workers as processes of this machine: started, replaced when they die, stopped together.

A worker reads its :class:`~clickflow.sweep.worker_spec.WorkerSpec` from a pipe. When this process dies the pipe closes, and the worker
stops. Each worker has its own session, so Ctrl-C in a terminal reaches this process only, which then stops the workers.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from optuna.trial import FrozenTrial

from clickflow.errors import EXIT_CODE_INTERRUPTED, TrainingError
from clickflow.sweep.trials import worker_of
from clickflow.sweep.worker_spec import WorkerSpec

STOP_SECONDS = 60.0
"""Longest time for a worker to close its run."""
COLLECT_SECONDS = 1.0
"""Longest wait for the exit code of a worker that is dead or silent."""
MAX_IDLE_DEATHS = 3
"""Workers in a row that fail before their first trial, before the sweep ends: no worker can start here."""
MAX_IDLE_KILLS = 20
"""The same for workers that are killed: a kill by hand says nothing, but the kernel may kill every worker for want of memory."""
LOG_LINES = 15


class LocalWorkers:
    """Worker processes of a command that reads its spec from its input; their logs are in the folder."""

    def __init__(self, command: Sequence[str], spec: WorkerSpec, num_workers: int, folder: Path) -> None:
        self._command = list(command)
        self._spec = spec
        self._slots: list[subprocess.Popen[str] | None] = [None] * num_workers
        self._folder = folder
        self._idle_deaths = 0
        self._causes: dict[int, str] = {}

    def cause_of(self, pid: int) -> str | None:
        """The end of a dead worker; None for any other process."""
        for process in self._slots:
            if process is not None and process.pid == pid:
                # Its end may be seen before it can be collected.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(COLLECT_SECONDS)
                    return _cause(process)
        return self._causes.get(pid)

    def start_missing(self, num_needed: int, trials: Sequence[FrozenTrial]) -> None:
        """Start as many workers as there is work for, and replace those that died; a TrainingError if none gets as far as a trial."""
        owners = (worker_of(trial) for trial in trials)
        with_trials = {owner.pid for owner in owners if owner is not None and owner.is_here}
        for place, process in enumerate(self._slots):
            if process is not None and process.poll() is not None:
                self._remove_ended(place, process, had_a_trial=process.pid in with_trials)
            if self._slots[place] is None and place < num_needed:
                self._slots[place] = self._start(place)

    def stop(self, publish_stop: Callable[[], None]) -> None:
        """Send each worker one SIGTERM and wait for its end; a worker that needs more than a minute is killed."""
        for process in filter(None, self._slots):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        self.wait()

    def wait(self) -> None:
        """Wait until the workers, which have nothing left to do, have ended."""
        for process in filter(None, self._slots):
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            _close_input(process)

    def _start(self, place: int) -> subprocess.Popen[str]:
        self._folder.mkdir(parents=True, exist_ok=True)
        threads = str(self._spec.threads)
        environment = os.environ | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "POLARS_MAX_THREADS": threads}
        with self._log(place).open("a") as log:
            process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=log, stderr=log, text=True, env=environment, start_new_session=True
            )
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died at once
            process.stdin.write(self._spec.model_dump_json() + "\n")
            process.stdin.flush()
        return process

    def _remove_ended(self, place: int, process: subprocess.Popen[str], *, had_a_trial: bool) -> None:
        self._causes[process.pid] = _cause(process)
        _close_input(process)
        self._slots[place] = None
        self._idle_deaths = 0 if had_a_trial or process.returncode == 0 else self._idle_deaths + 1
        if self._idle_deaths >= (MAX_IDLE_DEATHS if process.returncode > 0 else MAX_IDLE_KILLS):
            tail = "\n".join(self._log(place).read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:])
            raise TrainingError(
                f"{self._idle_deaths} workers in a row ended before their first trial ({_cause(process)}); "
                f"{self._log(place)} ends with:\n{tail or 'nothing'}"
            )

    def _log(self, place: int) -> Path:
        """Named after the start, too: several commands on one machine may run one study."""
        return self._folder / f"worker-{self._spec.start_id[:6]}-{place}.log"


def _close_input(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it died before it had read all
        process.stdin.close()


def read_worker_spec() -> WorkerSpec:
    """Read a worker's spec from its input; from now on, the end of the input ends the process."""
    spec = WorkerSpec.model_validate_json(sys.stdin.readline(), strict=False)
    threading.Thread(target=_stop_at_the_end_of_input, name="clickflow-lifeline", daemon=True).start()
    return spec


def _stop_at_the_end_of_input() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


def _cause(process: subprocess.Popen[str]) -> str:
    code = process.returncode
    if code == -signal.SIGKILL:
        return f"worker process {process.pid} was ended by SIGKILL (by hand, or by the kernel for want of memory)"
    if code < 0:
        return f"worker process {process.pid} was ended by {signal.Signals(-code).name}"
    if code == EXIT_CODE_INTERRUPTED:
        return "interrupted"
    return f"worker process {process.pid} ended with exit code {code}"
