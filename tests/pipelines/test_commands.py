"""The commands as a user types them, each in a process of its own."""

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from clickflow.cli.search_path import REPOSITORY

pytestmark = pytest.mark.slow

SMALL = ["data.num_users=300", "data.num_items=200", "data.num_categories=10", "data.num_impressions=4000", "trainer.batch_size=256"]
QUICK = [*SMALL, "trainer.max_epochs=1", "tracking.log_system_metrics=false"]


def command(pipeline: str, home: Path, *arguments: str) -> list[str]:
    return [sys.executable, str(REPOSITORY / "pipelines" / f"{pipeline}.py"), f"home={home}", *arguments]


def run(pipeline: str, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command(pipeline, home, *arguments), capture_output=True, text=True, timeout=300, check=False, cwd=home.parent)
    print(done.stdout, done.stderr)
    return done


def runs(home: Path, experiment: str = "synthetic"):
    client = MlflowClient(f"sqlite:///{home}/mlflow.db")
    found = client.get_experiment_by_name(experiment)
    return client.search_runs([found.experiment_id]) if found else []


def test_train_then_evaluate_by_the_commands_it_prints(tmp_path):
    home = tmp_path / "home"
    done = run("train", home, *QUICK)
    assert done.returncode == 0
    assert "epoch 1: rows/s" in done.stdout
    assert "synthetic, protocol impressions" in done.stdout
    assert "users 300, items 200, behaviours" in done.stdout
    assert "Traceback" not in done.stderr
    [trained] = runs(home)
    [line] = [line for line in done.stdout.splitlines() if "clickflow evaluate" in line]
    [evaluate] = re.findall("clickflow evaluate .*(?= or )", line)
    done = subprocess.run([sys.executable, "-m", *shlex.split(evaluate)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0
    for words in ("oracle", "95 % interval", "history length", "has been opened 1 time, by 1 run", f"run {trained.info.run_id}"):
        assert words in done.stdout
    [evaluated] = runs(home)
    assert re.search(rf"│ AUC +│ {evaluated.data.metrics['test/auc']:.4f} │", done.stdout)


def test_a_grid_trains_every_combination(tmp_path):
    home = tmp_path / "home"
    done = run("train", home, "-m", "model=base,din", "seed=0,1", *QUICK)
    assert done.returncode == 0
    assert done.stdout.count("synthetic, protocol impressions") == 1, "what was prepared is shown once"
    [parent] = [found for found in runs(home) if found.data.tags.get("kind") == "grid"]
    children = [found for found in runs(home) if found.info.run_id != parent.info.run_id]
    assert {found.info.run_name for found in children} == {"base-seed0", "base-seed1", "din-seed0", "din-seed1"}
    assert {found.data.tags["mlflow.parentRunId"] for found in children} == {parent.info.run_id}
    assert {found.info.status for found in runs(home)} == {"FINISHED"}
    assert {found.data.params["grid.seed"] for found in children} == {"0", "1"}


def test_a_job_of_a_grid_that_fails_costs_that_job_only(tmp_path):
    home = tmp_path / "home"
    done = run("train", home, "-m", "optimizer=sgd", "optimizer.learning_rate=1e30,0.1", *QUICK)
    assert done.returncode == 2
    assert "TrainingError" in done.stderr
    [parent] = [found for found in runs(home) if found.data.tags.get("kind") == "grid"]
    assert parent.info.status == "FAILED"
    jobs = {found.info.run_name: found.info.status for found in runs(home) if found.info.run_id != parent.info.run_id}
    assert jobs == {"din-seed0 learning_rate=1e+30": "FAILED", "din-seed0 learning_rate=0.1": "FINISHED"}
    assert "1 of the grid's 2 runs did not finish" in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130)])
def test_an_interrupt_ends_with_a_killed_run(tmp_path, number, code):
    home = tmp_path / "home"
    many = ["trainer.max_epochs=1000", "trainer.patience=1000", "tracking.log_system_metrics=false", *SMALL]
    process = subprocess.Popen(command("train", home, *many), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        for line in process.stdout:
            if "epoch 2:" in line:
                break
        os.kill(process.pid, number)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == code, err
    [found] = runs(home)
    assert found.info.status == "KILLED"
    assert "Traceback" not in err


def test_the_demo_shows_that_attention_wins(tmp_path):
    home = tmp_path / "home"
    size = ["data.num_users=4000", "data.num_items=2000", "data.num_categories=50", "data.num_impressions=80000", "trainer.max_epochs=2"]
    done = run("demo", home, *size)
    assert done.returncode == 0
    base, din = (next(found for found in runs(home) if found.data.tags["model"] == model) for model in ("base", "din"))
    assert din.data.metrics["test/auc"] > base.data.metrics["test/auc"] + 0.02
    assert din.data.metrics["test/auc"] < din.data.metrics["test/oracle_auc"]
    for word in ("RelaImpr", "rows/s", "best possible", "clickflow ui", "is the first champion", "click probabilities by models:/demo-"):
        assert word in done.stdout
