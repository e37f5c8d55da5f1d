"""Sweeps as a user starts them: what they leave in MLflow, how they carry on, and what they survive."""

import contextlib
import csv
import io
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient
from tests.postgres import running_postgres
from tests.processes import still_alive
from tests.runs.small import SMALL

from clickflow.cli.launch import launch
from clickflow.cli.search_path import REPOSITORY

pytestmark = pytest.mark.slow

RATE = "optimizer.learning_rate=tag(log, interval(1e-4, 1e-2))"
NUM_EPOCHS = 12
MANY_EPOCHS = [f"trainer.max_epochs={NUM_EPOCHS}", f"trainer.patience={NUM_EPOCHS}", "sweep.pruner=none", "sweep.threads_per_worker=1"]
FIXED = ["optimizer.learning_rate=0.003", "model.embedding_dim=8", "model.attention_input=product", "model.attention_hidden_units=[40,20]"]
ONE_POINT = ["sweep.sampler=grid", "model.dropout=choice(0.1, 0.2)", "sweep.num_trials=1", *FIXED]


def command(pipeline, home, *arguments):
    return [sys.executable, str(REPOSITORY / "pipelines" / f"{pipeline}.py"), f"home={home}", *SMALL, *arguments]


def run(home, *arguments, pipeline="sweep"):
    done = subprocess.run(command(pipeline, home, *arguments), capture_output=True, text=True, timeout=300, check=False, cwd=home.parent)
    print(done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done


class Runs:
    """What a store holds of a sweep."""

    def __init__(self, home):
        self.client = MlflowClient(f"sqlite:///{home}/mlflow.db")
        experiment = self.client.get_experiment_by_name("synthetic")
        found = self.client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"])
        self.parents = [run for run in found if run.data.tags.get("kind") == "sweep"]
        self.children = [run for run in found if "trial.number" in run.data.tags]

    @property
    def finished(self):
        return [run for run in self.children if run.info.status == "FINISHED"]

    def statuses(self):
        return sorted(run.info.status for run in self.children)

    def text(self, run, artifact, folder):
        return Path(self.client.download_artifacts(run.info.run_id, artifact, str(folder))).read_text()


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep over models, by two workers."""
    home = tmp_path_factory.mktemp("swept") / "home"
    done = run(home, "sweep=models", "sweep.num_trials=6", "sweep.num_workers=2", RATE)
    assert done.returncode == 0
    runs = Runs(home)  # seen here, because a test below carries on
    assert len(runs.finished) == len(runs.children) == 6
    return home, done.stdout


class TestASweep:
    def test_all_trials_stand_below_one_finished_parent(self, swept):
        runs = Runs(swept[0])
        [parent] = runs.parents
        assert {run.data.tags["mlflow.parentRunId"] for run in runs.children} == {parent.info.run_id}
        assert {run.info.status for run in [parent, *runs.children]} == {"FINISHED"}

    def test_children_carry_number_state_data_their_own_params_and_the_best_metric(self, swept):
        for child in Runs(swept[0]).children:
            number = int(child.data.tags["trial.number"])
            assert child.info.run_name == f"trial {number}"
            assert child.data.metrics["trial_number"] == number
            assert child.data.tags["trial.state"] in ("complete", "pruned")
            assert child.data.tags["dataset.fingerprint"]
            assert child.data.params["trial.model"] == child.data.params["model.name"]
            assert float(child.data.params["trial.optimizer.learning_rate"]) == float(child.data.params["optimizer.learning_rate"])
            assert ("trial.model.evolution" in child.data.params) == (child.data.params["model.name"] == "dien")
            assert 0 < child.data.metrics["best/gauc"] < 1

    def test_the_parent_carries_the_best_trial(self, swept):
        runs = Runs(swept[0])
        [parent] = runs.parents
        complete = [child for child in runs.children if child.data.tags["trial.state"] == "complete"]
        best = max(complete, key=lambda child: child.data.metrics["best/gauc"])
        assert parent.data.tags["best.run_id"] == best.info.run_id
        assert parent.data.tags["best.trial"] == best.data.tags["trial.number"]
        assert parent.data.tags["best.optimizer.learning_rate"] == best.data.params["optimizer.learning_rate"]
        assert parent.data.metrics["best/gauc"] == best.data.metrics["best/gauc"]

    def test_the_parent_has_table_figures_and_a_page_that_works_offline(self, swept, tmp_path):
        runs = Runs(swept[0])
        [parent] = runs.parents
        rows = list(csv.DictReader(io.StringIO(runs.text(parent, "trials.csv", tmp_path))))
        assert [row["run_id"] for row in rows] == [
            run.info.run_id for run in sorted(runs.children, key=lambda run: int(run.data.tags["trial.number"]))
        ]
        figures = {Path(entry.path).name for entry in runs.client.list_artifacts(parent.info.run_id, "figures")}
        assert figures == {"roc.png", "pr.png"}
        page = runs.text(parent, "sweep.html", tmp_path)
        for figure in ("History of", "Parallel coordinates", " by ", "ROC curves"):
            assert re.search(rf"<h2>[^<]*{figure}", page)
        assert not re.search(r"<script[^>]+src=", page)

    def test_the_printed_command_trains_the_best_trial_again_to_the_same_value(self, swept):
        home, out = swept
        [line] = [line.strip() for line in out.splitlines() if "clickflow train" in line]
        train = [sys.executable, "-m", *shlex.split(line)]
        done = subprocess.run(train, capture_output=True, text=True, cwd=home.parent, check=False)
        assert done.returncode == 0, done.stderr
        runs = Runs(home)
        [parent] = runs.parents
        [again] = runs.client.search_runs([parent.info.experiment_id], "attributes.run_name LIKE '%seed0'")
        assert again.data.metrics["best/gauc"] == parent.data.metrics["best/gauc"]

    def test_the_printed_command_promotes_the_best_trial(self, swept):
        home, out = swept
        [line] = [line.strip() for line in out.splitlines() if "clickflow promote" in line]
        done = subprocess.run([sys.executable, "-m", *shlex.split(line)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        runs = Runs(home)
        version = runs.client.get_model_version_by_alias("ctr", "champion")
        assert version.run_id == runs.parents[0].data.tags["best.run_id"]

    def test_the_same_command_finds_nothing_left_to_do_and_a_larger_total_carries_on(self, swept):
        home, _ = swept
        assert "carrying on: 6 of 6" in run(home, "sweep=models", "sweep.num_trials=6", "sweep.num_workers=2", RATE).stdout
        assert len(Runs(home).children) == 6
        assert run(home, "sweep=models", "sweep.num_trials=7", "sweep.num_workers=1", RATE).returncode == 0
        runs = Runs(home)
        assert len(runs.finished) == len(runs.children) == 7
        assert len(runs.parents) == 1

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ([RATE.replace("1e-2", "1e-3")], r"sweep\.space\.optimizer\.learning_rate: interval .* in the study, .* asked for"),
            ([RATE, "data.seed=5"], r"data fingerprint: \w+ in the study, \w+ asked for"),
            ([RATE, "trainer.batch_size=128"], r"trainer\.batch_size \(model=\w+\): 256 in the study, 128 asked for"),
        ],
    )
    def test_another_space_other_data_and_other_settings_are_refused_with_the_difference(self, swept, changes, message, refused):
        home, _ = swept
        assert re.search(message, refused(home, "sweep=models", "sweep.num_trials=20", *changes))
        assert Runs(home).parents[0].info.status == "FINISHED"


@pytest.fixture
def refused(monkeypatch, capsys):
    """What a command line is refused with, in this process."""

    def run_in_process(home, *arguments):
        monkeypatch.setattr(sys, "argv", ["sweep.py"])
        with pytest.raises(SystemExit) as end:
            launch("sweep", [f"home={home}", *SMALL, *arguments])
        assert end.value.code == 2
        return capsys.readouterr().err

    return run_in_process


def start(home, *arguments):
    return subprocess.Popen(command("sweep", home, *arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for(condition, process, seconds=120):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def checkpoints(home):
    return list((home / "checkpoints").glob("*/last.ckpt"))


def workers_of(process):
    with contextlib.suppress(psutil.NoSuchProcess):
        return [child for child in psutil.Process(process.pid).children() if "clickflow.cli.sweep_worker" in child.cmdline()]
    return []


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The value of one long trial that nothing befell."""
    home = tmp_path_factory.mktemp("undisturbed") / "home"
    assert run(home, *MANY_EPOCHS, *ONE_POINT).returncode == 0
    [child] = Runs(home).children
    return child.data.metrics["best/gauc"]


def first_steps(runs, child):
    return sorted(point.step for point in runs.client.get_metric_history(child.info.run_id, "val/gauc"))


def test_a_killed_worker_costs_its_trial_which_goes_on_from_its_checkpoint_to_the_same_value(tmp_path, undisturbed):
    home = tmp_path / "home"
    process = start(home, *MANY_EPOCHS, *ONE_POINT)
    wait_for(lambda: checkpoints(home), process)
    [worker] = workers_of(process)
    worker.kill()
    out, _ = process.communicate(timeout=200)
    assert process.returncode == 0, out
    runs = Runs(home)
    [failed, again] = runs.children
    assert failed.info.status == "FAILED"
    assert "SIGKILL" in failed.data.tags["error"]
    assert again.info.status == "FINISHED"
    assert again.data.tags["trial.retry_of"] == "0"
    assert again.data.metrics["best/gauc"] == undisturbed
    steps = first_steps(runs, again)
    assert len(steps) == len(set(steps)) == NUM_EPOCHS  # the curve is whole, and no point is there twice
    assert "was ended by SIGKILL" in out


def test_ctrl_c_ends_cleanly_and_the_next_start_carries_on(tmp_path, undisturbed):
    home = tmp_path / "home"
    process = start(home, *MANY_EPOCHS, *ONE_POINT)
    wait_for(lambda: checkpoints(home), process)
    workers = workers_of(process)
    os.kill(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 130, out
    assert not any(worker.is_running() for worker in workers)
    runs = Runs(home)
    assert runs.statuses() == ["KILLED"]
    assert runs.parents[0].info.status == "KILLED"
    assert run(home, *MANY_EPOCHS, *ONE_POINT).returncode == 0
    runs = Runs(home)
    assert runs.statuses() == ["FINISHED", "KILLED"]
    assert runs.finished[0].data.metrics["best/gauc"] == undisturbed
    assert runs.parents[0].info.status == "FINISHED"


def test_a_killed_command_takes_its_workers_along_and_they_close_their_runs(tmp_path):
    home = tmp_path / "home"
    process = start(home, *MANY_EPOCHS, *ONE_POINT)
    wait_for(lambda: checkpoints(home), process)
    workers = workers_of(process)
    process.kill()
    process.communicate()
    assert not still_alive(workers, 60)
    assert Runs(home).statuses() == ["KILLED"]


def test_trials_that_cannot_be_trained_are_given_up_and_in_the_end_the_sweep(tmp_path):
    home = tmp_path / "home"
    done = run(home, "optimizer=sgd", "optimizer.learning_rate=interval(1e30, 1e31)", "sweep.num_trials=9")
    assert done.returncode == 2
    assert re.search(r"TrainingError: \d trials in a row were given up.*\n  trial \d: TrainingError: .*training diverged", done.stderr)
    runs = Runs(home)
    assert set(runs.statuses()) <= {"FAILED", "KILLED"}
    assert runs.parents[0].info.status == "FAILED"


def test_several_metrics_give_a_pareto_front(tmp_path):
    home = tmp_path / "home"
    several = ["sweep.metric=[val/gauc,num_parameters]", "sweep.pruner=none", "sweep.sampler=random"]
    done = run(home, *several, "model.embedding_dim=choice(2, 4, 8)", "sweep.num_trials=4", "trainer.max_epochs=1")
    assert done.returncode == 0
    assert "Pareto front" in done.stdout
    runs = Runs(home)
    values = {run.data.tags["trial.number"]: (run.data.metrics["best/gauc"], -run.data.metrics["num_parameters"]) for run in runs.children}
    front = {
        one
        for one, value in values.items()
        if not any(all(a >= b for a, b in zip(other, value, strict=True)) and other != value for other in values.values())
    }
    shown = re.search(r"┃\s+((?:┃\s+trial \d\s+)+)┃", done.stdout)
    assert set(re.findall(r"trial (\d)", shown[1])) == front


def test_workers_of_several_machines_share_a_study_in_postgresql(tmp_path):
    home = tmp_path / "home"
    with running_postgres() as uri:
        shared = [f"sweep.storage={uri}", "sweep.num_trials=6", "sweep.num_workers=1", "trainer.max_epochs=1", "trainer.num_threads=1"]
        commands = [start(home, *shared) for _ in range(2)]
        outs = [process.communicate(timeout=250)[0] for process in commands]
    assert [process.returncode for process in commands] == [0, 0], outs
    runs = Runs(home)
    assert len(runs.parents) == 1
    assert runs.parents[0].info.status == "FINISHED"
    # A number that two workers asked for at once may have been given back.
    assert len({run.data.tags["trial.number"] for run in runs.finished}) == len(runs.children) == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model.droput=interval(0.0, 0.5)"], r"ConfigError: .*\n.*model\.droput: unknown key; did you mean dropout\?"),
        (["model.dropout=interval(0.5, 0.1)"], r"sweep\.space\.model\.dropout = interval\(0\.5, 0\.1\)"),
        (["optimizer.learning_rate=tag(log, interval(0, 0.1))"], r"a log range that includes 0"),
        (["model=choice(din, dine)"], r"dine: no such config; did you mean din\?"),
        (["sweep.metric=val/gac"], r"sweep\.metric\.0 = 'val/gac'"),
        (["sweep.storage=postgresql+psycopg://me:secret@127.0.0.1:1/x"], r"TrackingError: sweep\.storage = .*me:\*\*\*@.*cannot be opened"),
        (["-m", "model=base,din"], r"-m: a sweep makes its own trials"),
        (["sweep.sampler=grid", "model.dropout=interval(0.0, 0.5)"], r"model\.dropout = interval\(0\.0, 0\.5\): has no grid"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_before_any_trial(tmp_path, arguments, message, refused):
    home = tmp_path / "home"
    assert re.search(message, refused(home, *arguments))
    assert not (home / "mlflow.db").exists()
