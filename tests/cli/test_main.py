"""The console command as a process: what it answers, what it does not import for that, and how it ends on a signal."""

import gc as garbage
import importlib
import os
import signal
import subprocess
import sys

import pytest

from clickflow.cli.commands import COMMANDS
from clickflow.cli.search_path import REPOSITORY
from clickflow.errors import EXIT_CODE_INTERRUPTED, interrupt

HEAVY = ("torch", "mlflow", "scipy", "pytorch_lightning", "optuna", "matplotlib", "pyarrow", "pandas", "requests")
CONTRADICTION = ["schedule=plateau", "schedule.patience=10", "trainer.patience=3"]
ANSWERED_AT_ONCE = [
    *([name, "--help"] for name in COMMANDS),
    *([name, "modle=din"] for name in COMMANDS),
    *([name, "model.embeding_dim=3"] for name in ("train", "sweep", "compare", "demo")),
    *([name, *CONTRADICTION] for name in ("train", "sweep", "compare", "demo")),
    ["sweep", "model.dropout=interval(0.0, 2.0)"],
    ["compare", "compare.only=[DIM]"],
]
READING = "· train: reading the config …"
ANSWER_ALL = f"""
import sys
from clickflow.cli.main import main

for arguments in {ANSWERED_AT_ONCE!r}:
    sys.argv[1:] = arguments
    try:
        main()
    except SystemExit as end:
        assert end.code == (None if "--help" in arguments else 2), (arguments, end.code)
    else:
        raise AssertionError(arguments)
print("imported:", [name for name in {HEAVY!r} if name in sys.modules])
"""
INTERRUPTED_AT = """
import os, runpy, signal, sys

_, module, number, script = sys.argv[:4]

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            os.kill(os.getpid(), signal.Signals[number])

sys.meta_path.insert(0, Finder())
sys.argv[:] = sys.argv[3:]
if script.endswith(".py"):
    runpy.run_path(script, run_name="__main__")
else:
    runpy.run_module("clickflow", run_name="__main__")
"""
"""Sends itself a signal when a module is looked for: ``python -c … MODULE SIGNAL clickflow|SCRIPT ARGUMENTS``."""


def clickflow(*arguments, **environment):
    command = [sys.executable, "-m", "clickflow", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=os.environ | environment)


def test_all_commands_are_listed_with_a_line_each():
    done = clickflow("--help", COLUMNS="80")
    assert done.returncode == 0
    assert clickflow(COLUMNS="80").stdout == done.stdout
    assert [line.split()[0] for line in done.stdout.splitlines() if line[:2] == "  " and line[2] != " "] == list(COMMANDS)
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_an_unknown_command_is_answered_with_the_nearest():
    done = clickflow("tran", "model=din")
    assert (done.returncode, done.stderr) == (2, "clickflow tran: no such command; did you mean train?\n")
    done = clickflow("xyz")
    assert done.stderr.startswith("clickflow xyz: no such command; allowed: prepare, train,")


def test_help_and_faults_of_every_command_are_answered_before_anything_heavy_is_imported():
    done = subprocess.run([sys.executable, "-c", ANSWER_ALL], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "imported: []"
    assert done.stderr.count("modle: unknown key; did you mean model?") >= 3
    assert "Traceback" not in done.stderr


def test_a_pipe_that_is_closed_early_is_no_error():
    command = f"{sys.executable} -m clickflow train --help | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("train: prepare if needed, train one model, log everything to MLflow\n", "")


@pytest.mark.parametrize(
    ("module", "number"),
    [
        ("clickflow.cli.commands", "SIGINT"),
        ("hydra", "SIGINT"),
        ("clickflow.runs.config", "SIGTERM"),
        pytest.param("torch.nn", "SIGINT", marks=pytest.mark.slow),
        pytest.param("mlflow.tracking", "SIGTERM", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("program", [["clickflow", "train"], [str(REPOSITORY / "pipelines" / "train.py")]])
def test_a_signal_during_imports_ends_with_one_line(module, number, program, tmp_path):
    command = [sys.executable, "-c", INTERRUPTED_AT, module, number, *program, f"home={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (EXIT_CODE_INTERRUPTED, "\ninterrupted\n")
    assert done.stdout.startswith(f"{READING}\n") or module == "clickflow.cli.commands"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["modle=din"], ["--config-dir", "nosuch"]])
def test_a_command_says_what_it_does_before_it_does_it(arguments):
    done = clickflow("train", *arguments)
    assert (done.stdout, done.stderr.partition(":")[0]) == (f"{READING}\n", "ConfigError")


@pytest.mark.parametrize("arguments", [["--help"], ["--cfg=job"], ["--info", "searchpath"], ["-sc", "query=bash"]])
def test_an_answer_that_another_program_may_read_has_no_other_line(arguments):
    done = clickflow("train", *arguments)
    assert done.returncode == 0
    assert done.stdout.strip()
    assert READING not in done.stdout


def test_only_what_python_has_loaded_is_imported_before_a_signal_is_handled():
    loaded = "import re, signal, sys; before = {*sys.modules}; import clickflow.cli.main; print(*sorted({*sys.modules} - before))"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["clickflow", "clickflow.cli", "clickflow.cli.main"]


def test_a_signal_is_an_exception_again_once_a_story_runs(monkeypatch):
    from clickflow.cli import launch as door
    from clickflow.pipelines import gc

    handlers = []
    monkeypatch.setattr(sys, "argv", ["clickflow"])
    monkeypatch.setattr(gc, "main", lambda config, console: handlers.extend(map(signal.getsignal, (signal.SIGINT, signal.SIGTERM))))
    door.launch("gc", [])
    assert handlers == [signal.default_int_handler, interrupt]


def test_garbage_is_collected_again_once_a_story_is_loaded(monkeypatch):
    while_loading = []
    loaded = importlib.import_module

    def load(name, *package):  # other packages import with it too
        if name == "clickflow.pipelines.gc":
            while_loading.append(garbage.isenabled())
        return loaded(name, *package)

    monkeypatch.setattr(importlib, "import_module", load)
    assert COMMANDS["gc"].pipeline is not None
    assert while_loading == [False]
    assert garbage.isenabled()
