"""The sweep in a terminal of 80 columns and in a pipe, from a recorded moment."""

import io

import optuna
import pytest
from optuna.trial import TrialState
from rich.console import Console

from clickflow.cli import sweep_console
from clickflow.cli.sweep_console import SweepConsole, print_best
from clickflow.sweep.coordinator import Snapshot, SweepResult
from clickflow.sweep.trials import PROGRESS, REASON, WORKER, count

GAUC, UP = ("val/gauc",), ("maximize",)
PROGRESS_OF_3 = {"epochs": 1.5, "max_epochs": 6, "rows_per_second": 12345, "seconds": 30.0, "value": 0.7123}


def trial(number, state, value=None, validations=0, **attributes):
    made = optuna.trial.create_trial(
        state=state, value=value, user_attrs=attributes, intermediate_values=dict.fromkeys(range(1, validations + 1), value)
    )
    made.number = number
    return made


def worker(pid):
    return {"host": "here", "pid": pid, "started": 1}


TRIALS = [
    trial(0, TrialState.COMPLETE, 0.75, worker=worker(7)),
    trial(1, TrialState.PRUNED, 0.61, validations=2, worker=worker(8)),
    trial(2, TrialState.FAIL, worker=worker(8), reason="TrainingError: training diverged"),
    trial(3, TrialState.RUNNING, worker=worker(7), progress=PROGRESS_OF_3),
    trial(4, TrialState.RUNNING, worker=worker(8)),
]


def snapshot(trials=TRIALS, metrics=GAUC, directions=UP, total=8):
    return Snapshot(trials, count(trials), total, metrics, directions)


def console(*, is_terminal):
    return Console(file=io.StringIO(), width=80, force_terminal=is_terminal, color_system=None)


@pytest.fixture
def clock(monkeypatch):
    """Seconds since the console was made."""
    seconds = [0.0]
    monkeypatch.setattr(sweep_console.time, "monotonic", lambda: 100 + seconds[0])
    return seconds


def test_the_attributes_are_those_that_workers_write():
    assert (WORKER, PROGRESS, REASON) == ("worker", "progress", "reason")


def test_in_a_pipe_there_is_one_line_for_each_trial_that_ended_and_no_other():
    piped = console(is_terminal=False)
    with SweepConsole(piped).watching() as show:
        show(snapshot([trial(0, TrialState.RUNNING, worker=worker(7))]))
        show(snapshot())
        show(snapshot())
    assert piped.file.getvalue().splitlines() == [
        "trial 0 complete: val/gauc 0.7500  (best val/gauc 0.7500 by trial 0)",
        "trial 1 pruned after 2 validations: val/gauc 0.6100  (best val/gauc 0.7500 by trial 0)",
        "trial 2 failed: TrainingError: training diverged",
    ]


def test_in_a_terminal_there_are_a_headline_and_a_line_for_each_worker_within_80_columns(clock):
    terminal = console(is_terminal=True)
    show = SweepConsole(terminal)
    with show.watching():
        show(snapshot([]))
        clock[0] = 120.0
        show(snapshot())
        shown = terminal.file.getvalue()
    for line in (
        "2 of 8 finished · 1 pruned · 1 failed · 2 running · best val/gauc 0.7500 by",
        "  worker 1  trial 3    epoch 1.5 of 6  val/gauc 0.7123  12,345 rows/s  about",
        "  worker 2  trial 4    starting",
    ):
        assert line in shown
    assert "about 6 min left" in " ".join(shown.split())  # 60 seconds each, and 6 trials are left
    assert "about 2 min left" in " ".join(shown.split())  # of the trial: 20 seconds an epoch, and 4.5 are left


def test_a_sweep_that_carries_on_says_so_and_does_not_show_earlier_trials_again():
    piped = console(is_terminal=False)
    show = SweepConsole(piped)
    show(snapshot())
    assert piped.file.getvalue() == "carrying on: 2 of 8 trials are finished\n"


@pytest.mark.parametrize(
    ("progress", "shown"),
    [
        (PROGRESS_OF_3 | {"epochs": 0.0}, "starting"),
        (PROGRESS_OF_3 | {"epochs": 6.0}, "validating and logging"),
        (PROGRESS_OF_3 | {"value": None}, "epoch 1.5 of 6  12,345 rows/s  about 2 min left"),
    ],
)
def test_a_worker_shows_what_its_trial_does(progress, shown):
    running = snapshot([trial(0, TrialState.RUNNING, worker=worker(7), progress=progress)])
    assert SweepConsole(console(is_terminal=False)).worker_lines(running) == [f"  worker 1  trial 0    {shown}"]


def test_a_worker_keeps_its_number_while_others_come_and_go():
    show = SweepConsole(console(is_terminal=False))
    show.worker_lines(snapshot())
    assert show.worker_lines(snapshot(TRIALS[4:])) == ["  worker 2  trial 4    starting"]


def test_the_best_is_the_lowest_where_less_is_better():
    trials = [trial(0, TrialState.COMPLETE, 0.5), trial(1, TrialState.COMPLETE, 0.4)]
    assert sweep_console.best_so_far(snapshot(trials, ("val/log_loss",), ("minimize",))) == "val/log_loss 0.4000 by trial 1"
    assert sweep_console.best_so_far(snapshot(trials)) == "val/gauc 0.5000 by trial 0"


def test_the_result_is_a_table_of_the_best_trial_whose_values_are_whole():
    piped = console(is_terminal=False)
    values = [{"model.attention_hidden_units": [80, 40], "optimizer.learning_rate": 0.00123456}]
    print_best(piped, SweepResult("parent", "url", count(TRIALS), TRIALS[:1], values, 1), GAUC)
    first, *table = piped.file.getvalue().splitlines()
    assert first == "2 trials: 1 complete, 1 pruned; 1 attempt failed or interrupted"
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in table if line.startswith("│")]
    assert cells == [["val/gauc", "0.7500"], ["model.attention_hidden_units", "[80, 40]"], ["optimizer.learning_rate", "0.00123456"]]


def test_without_a_complete_trial_there_is_no_best_one():
    piped = console(is_terminal=False)
    print_best(piped, SweepResult("parent", "url", count(TRIALS[1:2]), [], [], 1), GAUC)
    assert piped.file.getvalue().splitlines() == [
        "1 trial: 0 complete, 1 pruned",
        "no trial is complete, so there is no best one",
    ]
