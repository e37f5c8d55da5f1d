"""The same sweep by ``pipelines/sweep.py`` and by hydra-optuna-sweeper 1.3.0, and the latter's behaviour in case of failures.

    python -m benchmarks.sweep_against_hydra_optuna FOLDER time [--trials 20] [--epochs 6] [--rounds 1]
    python -m benchmarks.sweep_against_hydra_optuna FOLDER features

FOLDER is kept: it holds two environments of hydra-optuna-sweeper, with Optuna 2 (it pins ``optuna<3``); the second one has SQLAlchemy 1.4,
which Optuna 2 needs to store a study. A ``.pth`` file adds torch and the rest after the environment's own packages.

**time**: whole commands, in turn. Both train the same config, with the same logging to MLflow, from the same prepared data, every trial to
its last epoch; the space is learning rate and dropout, which do not change a trial's cost. The script for hydra-optuna-sweeper is written
below: it composes ``conf/train.yaml`` and trains in a run, as a trial of clickflow does. Its launchers are Hydra's basic one, one job after
the other in one process, and hydra-joblib-launcher, two processes and a barrier after every two jobs.

**features**: probes hydra-optuna-sweeper with a function that costs nothing.
"""

import argparse
import ast
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from sysconfig import get_path

import yaml
from benchmarks.sweep_command import SMALL, command, prepare, run, trials_of
from benchmarks.train import ROOT

PINNED = ["hydra-optuna-sweeper==1.3.0", "hydra-joblib-launcher==1.2.0"]
ALIKE = ["hydra-core", "omegaconf", "numpy", "scipy", "sqlalchemy"]
"""Packages that both sides have in the same version."""
TRAINING_SCRIPT = """
import hydra
from clickflow.config import validate
from clickflow.data.prepare import prepare
from clickflow.runs.config import RunConfig
from clickflow.runs.train import open_training_run, train_in
from clickflow.tracking.store import open_store
from clickflow.cli.search_path import CONF
from clickflow.cli.compose import plain

@hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")
def main(composed):
    config = validate(RunConfig, plain(composed))
    with open_training_run(open_store(config.tracking, config.home), config) as run:
        return train_in(run, config, prepare(config.data, config.protocol, config.home), figures=False).validation["gauc"]

main()
"""
FREE_SCRIPT = """
import time
from dataclasses import dataclass
import hydra
from hydra.core.config_store import ConfigStore

@dataclass
class Config:
    x: float = 0.0
    seconds: float = 0.0
    fails_above: float = 9.0

ConfigStore.instance().store("config", Config)

@hydra.main(version_base="1.3", config_path=None, config_name="config")
def main(config):
    time.sleep(config.seconds)
    if config.x > config.fails_above:
        raise RuntimeError("this trial breaks")
    return config.x

main()
"""


def make_environment(folder: Path, extra: Sequence[str] = ()) -> Path:
    """Make an environment of hydra-optuna-sweeper unless it exists, and return its Python."""
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        venv.create(folder, with_pip=True, clear=True)
        alike = [name for name in ALIKE if name != "sqlalchemy" or not extra]
        constraints = folder / "constraints.txt"
        constraints.write_text("".join(f"{name}=={version(name)}\n" for name in alike))
        run([str(python), "-m", "pip", "install", "-q", "-c", str(constraints), *PINNED, *extra])
        site = next((folder / "lib").glob("python*/site-packages"))
        (site / "project.pth").write_text("\n".join([get_path("purelib"), str(ROOT / "src"), str(ROOT)]) + "\n")
        (folder / "complete").touch()
    show = (
        "import optuna, sqlalchemy, hydra, torch; print(optuna.__version__, sqlalchemy.__version__, hydra.__version__, torch.__version__)"
    )
    versions = subprocess.run([python, "-c", show], check=True, text=True, capture_output=True).stdout.split()
    assert versions[0].startswith("2."), versions
    print("environment of hydra-optuna-sweeper: optuna {}, sqlalchemy {}, hydra {}, torch {}".format(*versions), flush=True)
    return python


def race(folder: Path, num_trials: int, epochs: int, rounds: int) -> None:
    """Time the commands in turn."""
    python = make_environment(folder / "as-installed")
    script = folder / "training.py"
    script.write_text(TRAINING_SCRIPT)
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        prepare(home, SMALL)
        shared = [*SMALL, "model=din", f"trainer.max_epochs={epochs}", f"trainer.patience={epochs}"]
        space = ["optimizer.learning_rate=tag(log, interval(3e-4, 1e-2))", "model.dropout=interval(0.0, 0.5)"]
        other = [
            str(python),
            str(script),
            "-m",
            f"home={home}",
            *shared,
            *space,
            "hydra/sweeper=optuna",
            "hydra.sweeper.direction=maximize",
        ]
        other += [f"hydra.sweeper.n_trials={num_trials}", "hydra.sweeper.sampler.seed=0", "trainer.progress_bar=false"]
        ours = [*shared, *space, "sweep=default", f"sweep.num_trials={num_trials}", "sweep.threads_per_worker=1"]
        joblib = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweeper.n_jobs=2", "trainer.num_threads=1"]
        arms = {
            "hydra-optuna-sweeper, 1 thread": [*other, "hydra.sweeper.n_jobs=1", "trainer.num_threads=1"],
            "hydra-optuna-sweeper, joblib, 2 jobs of 1 thread": [*other, *joblib],
        }
        for workers in (1, 2):
            for pruner in ("none", "median"):
                name = f"pipelines/sweep.py, {workers} of 1 thread, pruner {pruner}"
                arms[name] = command(home, [*ours, f"sweep.num_workers={workers}", f"sweep.pruner={pruner}"])
        seconds: dict[str, list[float]] = {name: [] for name in arms}
        notes: dict[str, list[str]] = {name: [] for name in arms}
        for index in range(rounds):
            for number, (name, line) in enumerate(arms.items()):
                study = f"race-{number}-{index}"
                is_ours = name.startswith("pipelines")
                where = f"sweep.study_name={study}" if is_ours else f"hydra.sweep.dir={home / study}"
                seconds[name].append(run([*line, where]))
                notes[name].append(ours_found(home, study) if is_ours else other_found(home / study, num_trials, epochs))
                print(f"{name}: {seconds[name][-1]:.1f} s, {notes[name][-1]}", flush=True)
    first = statistics.median(next(iter(seconds.values())))
    print("\n| | whole command | times the first line | trained |\n|---|---|---|---|")
    for name, values in seconds.items():
        print(f"| {name} | {statistics.median(values):.0f} s | {statistics.median(values) / first:.2f} | {notes[name][0]} |")


def ours_found(home: Path, study: str) -> str:
    trials = trials_of(home, study)
    best = max(trial.value for trial in trials if trial.value is not None)
    return f"{len(trials)} trials, {sum(len(trial.intermediate_values) for trial in trials)} epochs, best {best:.4f}"


def other_found(folder: Path, num_trials: int, epochs: int) -> str:
    best = yaml.safe_load((folder / "optimization_results.yaml").read_text())["best_value"]
    return f"{num_trials} trials, {num_trials * epochs} epochs, best {best:.4f}"


class Probe:
    """Runs hydra-optuna-sweeper on a function that costs nothing.

    Args:
        python: interpreter of its environment.
        folder: folder for the study and the output.
    """

    def __init__(self, python: Path, folder: Path) -> None:
        self._python = python
        self._folder = folder
        self._script = folder / "free.py"
        self._script.write_text(FREE_SCRIPT)

    def start(self, name: str, arguments: Sequence[str], *, stored: bool = True) -> subprocess.Popen[str]:
        """Start a sweep, or continue the stored one of this name."""
        line = [str(self._python), str(self._script), "-m", "hydra/sweeper=optuna", f"hydra.sweep.dir={self._folder / name}", *arguments]
        line += ["hydra.sweeper.sampler.seed=0", "hydra.sweeper.direction=maximize"]
        line += [f"hydra.sweeper.storage='{self._uri(name)}'", f"hydra.sweeper.study_name={name}"] if stored else []
        return subprocess.Popen(line, cwd=self._folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def run(self, name: str, arguments: Sequence[str], *, stored: bool = True) -> tuple[int, str, float]:
        """Run a sweep and return exit code, output and seconds."""
        start = time.perf_counter()
        process = self.start(name, arguments, stored=stored)
        output = process.communicate()[0]
        return process.returncode, output, time.perf_counter() - start

    def states(self, name: str) -> dict[str, int]:
        """Number of trials of a stored study, by state."""
        return dict(Counter(state for state, _ in self.trials(name)))

    def trials(self, name: str) -> list[tuple[str, float]]:
        """State and ``x`` of each trial."""
        code = (
            f"import optuna; study = optuna.load_study(study_name={name!r}, storage={self._uri(name)!r}); "
            "print([(trial.state.name, trial.params.get('x')) for trial in study.trials])"
        )
        shown = subprocess.run([self._python, "-c", code], check=True, text=True, capture_output=True, cwd=self._folder).stdout
        return list(ast.literal_eval(shown))

    def _uri(self, name: str) -> str:
        return f"sqlite:///{self._folder / name}.db"


def features(folder: Path) -> None:
    """Print the result of each probe."""
    installed, helped = make_environment(folder / "as-installed"), make_environment(folder / "sqlalchemy-1", ["sqlalchemy<2"])
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        probes: dict[str, Callable[[Probe], str]] = {
            "carries on to a total": carrying_on,
            "a killed process": killed,
            "a trial that breaks": breaking,
            "two jobs at once, basic launcher": two_jobs,
            "two jobs at once, joblib launcher": barrier,
            "range(0,3)": ends_of_ranges,
        }
        print(f"a stored study, as installed: {storing(Probe(installed, work))}", flush=True)
        for name, probe in probes.items():
            print(f"{name}: {probe(Probe(helped, work))}", flush=True)
    source = next((folder / "as-installed" / "lib").glob("python*/site-packages/hydra_plugins/hydra_optuna_sweeper"))
    text = "\n".join(file.read_text() for file in source.glob("*.py"))
    for word in ("pruner", "report(", "should_prune", "heartbeat", "retry", "enqueue_trial", "MLflow", "custom_search_space", "direction"):
        print(f"its source mentions {word!r} {len(re.findall(re.escape(word), text, re.IGNORECASE))} times")


def storing(probe: Probe) -> str:
    code, output, _ = probe.run("stored", ["x=interval(0,1)", "hydra.sweeper.n_trials=2"])
    return f"exit code {code}, {next(iter(output.strip().splitlines()[-1:]), '')!r}" if code else "works"


def carrying_on(probe: Probe) -> str:
    for _ in range(2):
        assert probe.run("total", ["x=interval(0,1)", "hydra.sweeper.n_trials=3", "hydra.sweeper.n_jobs=1"])[0] == 0
    return f"n_trials=3, the command given twice: {len(probe.trials('total'))} trials"


def killed(probe: Probe) -> str:
    arguments = ["x=interval(0,1)", "seconds=2", "hydra.sweeper.n_trials=4", "hydra.sweeper.n_jobs=1"]
    process = probe.start("killed", arguments)
    while True:
        time.sleep(0.5)
        try:
            if any(state == "COMPLETE" for state, _ in probe.trials("killed")):
                break
        except subprocess.CalledProcessError:  # no study yet
            assert process.poll() is None, process.communicate()
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    after_the_kill = probe.states("killed")
    probe.run("killed", ["x=interval(0,1)", "seconds=0", "hydra.sweeper.n_trials=4", "hydra.sweeper.n_jobs=1"])
    return f"{after_the_kill} after SIGKILL in the second of 4 trials, {probe.states('killed')} after the same command again"


def breaking(probe: Probe) -> str:
    arguments = ["x=interval(0,1)", "fails_above=0.5", "hydra.sweeper.n_trials=8", "hydra.sweeper.n_jobs=1"]
    code = probe.run("breaking", arguments)[0]
    tolerant = probe.run("tolerant", [*arguments, "hydra.sweeper.max_failure_rate=1"])[0]
    return (
        f"exit code {code} and {probe.states('breaking')} of 8; with max_failure_rate=1 exit code {tolerant}, {probe.states('tolerant')}, "
        "none tried again"
    )


def two_jobs(probe: Probe) -> str:
    arguments = ["x=interval(0,1)", "hydra.sweeper.n_trials=4", "hydra.sweeper.n_jobs=2"]
    seconds = [probe.run("jobs", [*arguments, f"seconds={each}"], stored=False)[2] for each in (0, 3)]
    return f"n_jobs=2, 4 trials of 3 s take {seconds[1] - seconds[0]:.1f} s"


def barrier(probe: Probe) -> str:
    arguments = [
        "x=interval(0,1)",
        "hydra.sweeper.n_trials=4",
        "hydra.sweeper.n_jobs=2",
        "hydra/launcher=joblib",
        "hydra.launcher.n_jobs=2",
    ]
    seconds = [probe.run("barrier", [*arguments, f"seconds=choice({each})"], stored=False)[2] for each in (0, 3)]
    return f"n_jobs=2, 4 trials of 3 s take {seconds[1] - seconds[0]:.1f} s; its source launches a batch and waits for all of it"


def ends_of_ranges(probe: Probe) -> str:
    assert probe.run("range", ["x=range(0,3)", "hydra.sweeper.n_trials=20"])[0] == 0
    return f"tries {sorted({x for _, x in probe.trials('range')})}; Hydra's own grid tries [0, 1, 2]"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("what", choices=["time", "features"])
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=1)
    given = parser.parse_args()
    folder = given.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    if given.what == "time":
        race(folder, given.trials, given.epochs, given.rounds)
    else:
        features(folder)


if __name__ == "__main__":
    sys.exit(main())
