"""Worker processes: replaced when they die, and not for ever where none can start."""

import sys

import pytest

from clickflow.errors import TrainingError
from clickflow.sweep import processes
from clickflow.sweep.processes import LocalWorkers


class WorkerSpec:
    """What a worker process needs of a worker spec."""

    threads = 1
    start_id = "abcdefgh"

    def model_dump_json(self):
        return "{}"


def workers(tmp_path, code, num_workers=1):
    return LocalWorkers([sys.executable, "-c", code], WorkerSpec(), num_workers, tmp_path / "logs")


def start_missing(local, times):
    for _ in range(times):
        local.start_missing(9, [])
        local.wait()


def test_workers_that_fail_before_any_trial_end_the_sweep_with_the_end_of_their_log(tmp_path):
    local = workers(tmp_path, "import sys; print('no such module'); sys.exit(2)")
    with pytest.raises(TrainingError, match=r"3 workers in a row ended before their first trial \(.*exit code 2\);(.|\n)*no such module"):
        start_missing(local, 9)


def test_workers_that_are_killed_are_replaced_more_often_but_not_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "MAX_IDLE_KILLS", 5)
    local = workers(tmp_path, "import os; os.kill(os.getpid(), 9)")
    start_missing(local, 5)
    with pytest.raises(TrainingError, match=r"5 workers in a row .*SIGKILL \(by hand, or by the kernel for want of memory\)(.|\n)*nothing"):
        start_missing(local, 1)


def test_how_a_worker_ended_is_known_as_soon_as_it_is_dead(tmp_path):
    local = workers(tmp_path, "import sys; sys.exit(7)")
    local.start_missing(9, [])
    [process] = local._slots
    process.wait()
    assert local.cause_of(process.pid) == f"worker process {process.pid} ended with exit code 7"
    assert local.cause_of(1) is None
    local.wait()


def test_no_more_workers_are_started_than_there_are_trials_left(tmp_path):
    local = workers(tmp_path, "import sys; sys.stdin.read()", num_workers=3)
    local.start_missing(2, [])
    assert [process is not None for process in local._slots] == [True, True, False]
    told = []
    local.stop(lambda: told.append(True))
    assert told == []  # a signal is enough, and a second one would break into how they end
    assert all(process is None or process.returncode == -15 for process in local._slots)
