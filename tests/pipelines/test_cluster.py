"""Sweeps whose workers are jobs of submitit, of a Slurm made of shell scripts, and tasks of a Ray with two nodes."""

import contextlib
import importlib.util
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace

import hydra
import psutil
import pytest
from hydra.core.plugins import Plugins
from mlflow import MlflowClient
from optuna.trial import TrialState
from tests.processes import still_alive
from tests.runs.small import SMALL

from clickflow.cli.cluster import Cluster, ClusterWorkers
from clickflow.cli.composer import prepared_sweep
from clickflow.cli.search_path import CONF, REPOSITORY
from clickflow.cli.sweep_arguments import into_space
from clickflow.errors import TrainingError
from clickflow.sweep.study_storage import open_storage
from clickflow.sweep.trials import is_surplus, retries, worker_of
from clickflow.sweep.worker_spec import WorkerSpec
from clickflow.tracking.owner import Owner

pytestmark = pytest.mark.slow

needs_submitit = pytest.mark.skipif(importlib.util.find_spec("submitit") is None, reason="needs pip install 'clickflow[slurm]'")
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs pip install 'clickflow[ray]'")

ENVIRONMENT = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
COMMANDS: list[subprocess.Popen] = []
MANY_EPOCHS = ["trainer.max_epochs=40", "trainer.patience=40", "sweep.pruner=none"]


@pytest.fixture(autouse=True)
def started():
    """Commands of a test; where it failed, they and theirs are ended here."""
    COMMANDS.clear()
    yield
    for process in COMMANDS:
        if process.poll() is None:
            family = psutil.Process(process.pid).children(recursive=True)
            for member in [psutil.Process(process.pid), *family]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.kill()
            process.communicate()


def start(home, *arguments, **environment):
    command = [sys.executable, str(REPOSITORY / "pipelines" / "sweep.py"), f"home={home}", *SMALL, "sweep.num_workers=2", *arguments]
    variables = os.environ | ENVIRONMENT | environment
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=home.parent, env=variables, start_new_session=True
    )
    COMMANDS.append(process)
    return process


def trials_of(home):
    with contextlib.suppress(KeyError, FileNotFoundError):  # not created yet
        storage = open_storage(None, home, "synthetic-din")
        return storage.get_all_trials(storage.get_study_id_from_name("synthetic-din"))
    return []


def wait_for(condition, process, seconds=120):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return found


def end(process, code=0):
    out, error = process.communicate(timeout=180)
    assert process.returncode == code, (out, error)
    assert "Traceback" not in error
    return out, error


def training(home, epochs=0.0):
    """Trials under way whose worker has given signs of life."""
    running = [trial for trial in trials_of(home) if trial.state == TrialState.RUNNING]
    return [trial for trial in running if trial.user_attrs.get("progress", {}).get("epochs", -1) > epochs]


def assert_complete(home, total):
    """The study and the store tell the same story, and no worker is left."""
    trials = [trial for trial in trials_of(home) if not is_surplus(trial)]
    finished = [trial for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    assert len(finished) == total
    client = MlflowClient(f"sqlite:///{home}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("synthetic").experiment_id])
    [parent] = [run for run in runs if run.data.tags.get("kind") == "sweep"]
    children = [run for run in runs if run is not parent]
    assert parent.info.status == "FINISHED"
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert {run.info.run_id for run in children if run.info.status == "FINISHED"} == {trial.user_attrs["run_id"] for trial in finished}
    assert "RUNNING" not in {run.info.status for run in children}
    assert_gone([worker_of(trial) for trial in trials])
    return trials


def assert_gone(workers: list[Owner], seconds=20):
    deadline = time.monotonic() + seconds
    while any(worker.is_alive() for worker in workers):
        assert time.monotonic() < deadline, "a worker is left"
        time.sleep(0.2)


@needs_submitit
def test_a_job_that_is_killed_is_replaced_and_its_trial_tried_again(tmp_path):
    home = tmp_path / "home"
    process = start(home, "hydra/launcher=submitit_local", "sweep.num_workers=1", "sweep.num_trials=2", "sweep.pruner=none")
    [victim] = wait_for(lambda: [trial for trial in trials_of(home) if "run_id" in trial.user_attrs], process)
    os.kill(worker_of(victim).pid, signal.SIGKILL)
    out, error = end(process)
    trials = assert_complete(home, 2)

    assert trials[victim.number].state == TrialState.FAIL
    assert [trial.params for trial in trials if retries(trial) == 1] == [victim.params]
    assert len({worker_of(trial).pid for trial in trials}) == 2
    assert error == ""
    assert "submitit" not in out, out
    assert re.search(r"clickflow train home=\S+ data\.", out), "what trains the best trial again is a plain command"


@needs_submitit
def test_ctrl_c_ends_the_jobs_and_the_sweep_carries_on_without_a_cluster(tmp_path):
    home = tmp_path / "home"
    settings = ["sweep.num_trials=1", *MANY_EPOCHS, "trainer.max_epochs=150", "trainer.patience=150"]  # longer than a job takes to end
    process = start(home, "hydra/launcher=submitit_local", *settings)
    [trial, *_] = wait_for(lambda: training(home), process)
    begin = time.monotonic()
    os.kill(process.pid, signal.SIGINT)
    end(process, code=130)
    print(f"ended {time.monotonic() - begin:.1f} s after Ctrl-C")
    assert_gone([worker_of(trial)], seconds=0.1)

    client = MlflowClient(f"sqlite:///{home}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("synthetic").experiment_id])
    assert {run.info.status for run in runs} == {"KILLED"}
    end(start(home, *settings))
    trials = assert_complete(home, 1)
    assert [(trial.params, retries(trial)) for trial in trials[1:]] == [(trials[0].params, 0)]


@pytest.fixture
def slurm(tmp_path):
    """What submitit needs of Slurm, for one machine: ``sbatch``, ``srun``, ``sacct``; scripts and process groups are kept in a folder."""
    folder, spool = tmp_path / "bin", tmp_path / "spool"
    folder.mkdir()
    spool.mkdir()
    commands = {
        "sbatch": f"""
            id=$((1000 + $(ls {spool} | grep -c script)))
            cp "$1" {spool}/$id.script
            SLURM_JOB_ID=$id SLURM_NTASKS=1 SLURM_PROCID=0 setsid bash {spool}/$id.script >/dev/null 2>&1 &
            echo $! > {spool}/$id.pid
            echo Submitted batch job $id
        """,
        "srun": """
            while [ "${1#--}" != "$1" ]; do
              case $1 in
                --output) out=$2; shift ;;
                --error) err=$2; shift ;;
              esac
              shift
            done
            out=${out//%j/$SLURM_JOB_ID}; out=${out//%t/0}
            err=${err//%j/$SLURM_JOB_ID}; err=${err//%t/0}
            exec "$@" >>"$out" 2>>"$err"
        """,
        "sacct": f"""
            echo "JobID|State|NodeList"
            for file in {spool}/*.pid; do
              kill -0 $(cat $file) 2>/dev/null && state=RUNNING || state=COMPLETED
              echo "$(basename $file .pid)|$state|here"
            done
        """,
    }
    for name, text in commands.items():
        (folder / name).write_text("#!/bin/bash\n" + textwrap.dedent(text))
        (folder / name).chmod(0o755)
    yield spool, f"{folder}:{os.environ['PATH']}"
    for file in spool.glob("*.pid"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(int(file.read_text()), signal.SIGKILL)


@needs_submitit
def test_slurm_gets_the_resources_asked_for_and_a_worker_whose_time_is_up_is_replaced(tmp_path, slurm):
    home, (spool, path) = tmp_path / "home", slurm
    settings = ["hydra.launcher.cpus_per_task=1", "hydra.launcher.timeout_min=90", "hydra.launcher.partition=long"]
    settings += [*MANY_EPOCHS, "trainer.max_epochs=20", "sweep.num_trials=1", "sweep.num_workers=1"]
    process = start(home, "cluster=slurm", *settings, PATH=path)
    [trial] = wait_for(lambda: training(home), process)
    os.kill(worker_of(trial).pid, signal.SIGUSR2)  # as Slurm does some time before the end
    out, error = end(process)
    trials = assert_complete(home, 1)

    scripts = [file.read_text() for file in sorted(spool.glob("*.script"))]
    assert len(scripts) == 2
    for line in ("--cpus-per-task=1", "--time=90", "--partition=long", "--mem=8GB", "--signal=USR2@120", "--job-name=clickflow"):
        assert all(f"#SBATCH {line}\n" in script for script in scripts)
    assert trials[trial.number].user_attrs["reason"] == "interrupted"
    assert [(again.params, retries(again)) for again in trials if again.user_attrs.get("retry_of") == trial.number] == [(trial.params, 0)]
    assert error == ""
    assert "cluster=slurm" not in out, "what trains the best trial again is a plain command"
    assert "trainer.num_threads=1" in out


@pytest.fixture
def ray_address(monkeypatch):
    """Of a Ray with two nodes of one processor each, and the process ids of their raylets."""
    from ray.cluster_utils import Cluster as RayCluster

    for key, value in ENVIRONMENT.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY / "src"))
    handler = signal.getsignal(signal.SIGTERM)
    cluster = RayCluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False, "object_store_memory": 80 << 20})
    processes = []
    try:
        cluster.add_node(num_cpus=1, object_store_memory=80 << 20)
        processes = psutil.Process().children(recursive=True)
        yield cluster.address, [node.all_processes["raylet"][0].process.pid for node in cluster.list_all_nodes()]
    finally:
        cluster.shutdown()
        signal.signal(signal.SIGTERM, handler)  # Ray sets its own
        still_alive(processes, 20)  # kills what is left: one of Ray's own agents may outlive its cluster by more than that


@needs_ray
def test_workers_are_on_both_nodes_of_a_ray_cluster_and_a_killed_one_is_restarted(tmp_path, ray_address):
    home, (address, raylets) = tmp_path / "home", ray_address
    process = start(
        home, "cluster=ray", f"hydra.launcher.ray.init.address={address}", "sweep.num_trials=4", *MANY_EPOCHS, "trainer.max_epochs=15"
    )
    on_node, victim = {raylet: set() for raylet in raylets}, None
    while process.poll() is None:
        for raylet, seen in on_node.items():
            seen |= {child.pid for child in psutil.Process(raylet).children()}
        if victim is None and all(seen & {worker_of(trial).pid for trial in training(home)} for seen in on_node.values()):
            victim = training(home)[0]
            os.kill(worker_of(victim).pid, signal.SIGKILL)
        time.sleep(0.2)
    out, error = end(process)
    trials = assert_complete(home, 4)
    workers = {worker_of(trial).pid for trial in trials}

    assert len(on_node) == 2
    assert [trial.params for trial in trials if retries(trial) == 1] == [victim.params]
    assert all(workers & seen for seen in on_node.values())
    assert workers <= set().union(*on_node.values())
    assert error == ""
    said_by_ray = [line for line in out.splitlines() if "raylet" in line]
    assert any(words in said_by_ray[0] for words in (f"Worker PID: {worker_of(victim).pid} ", "Task _run_job failed"))
    assert len(said_by_ray) <= 2, "of a worker that dies, in words of Ray's own, and nothing else"


@needs_ray
@needs_submitit
@pytest.mark.parametrize(
    ("overrides", "threads"),
    [
        (["hydra/launcher=submitit_local"], None),
        (["hydra/launcher=submitit_local", "hydra.launcher.cpus_per_task=2"], 2),
        (["hydra/launcher=submitit_slurm"], 1),
        (["cluster=slurm"], 4),
        (["cluster=slurm", "hydra.launcher.cpus_per_task=3"], 3),
        (["hydra/launcher=ray"], 1),
        (["cluster=ray", "hydra.launcher.ray.remote.num_cpus=2"], 2),
        (["cluster=ray", "hydra.launcher.ray.remote.num_cpus=0.5"], 1),
    ],
)
def test_a_worker_has_as_many_threads_as_its_job_has_processors(overrides, threads):
    assert Cluster(context=None, config=composed(*overrides)).threads_per_worker == threads


def composed(*overrides):
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose("sweep", overrides=[*overrides], return_hydra_config=True)


@needs_ray
@needs_submitit
@pytest.mark.parametrize("name", [file.stem for file in (CONF / "cluster").glob("*.yaml")])
def test_every_cluster_composes_to_a_launcher_of_its_own(name):
    expected = {"local": "BasicLauncher", "ray": "RayLauncher", "slurm": "SlurmLauncher"}
    assert Cluster(context=None, config=composed(f"cluster={name}")).name == expected[name]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cluster=ray"], r"hydra/launcher = ray: no such config; pip install 'clickflow\[ray\]'"),
        (["cluster=slurm"], r"hydra/launcher = submitit_slurm: no such config; pip install 'clickflow\[slurm\]'"),
    ],
)
def test_a_missing_plugin_is_named_with_what_installs_it(tmp_path, arguments, message):
    (tmp_path / "hydra_plugins").mkdir()
    (tmp_path / "hydra_plugins" / "__init__.py").touch()  # hides those that are installed
    process = start(tmp_path / "home", *arguments, PYTHONPATH=os.pathsep.join([str(tmp_path), str(REPOSITORY / "src")]))
    _, error = end(process, code=2)
    assert re.fullmatch(f"ConfigError: {message}\n", error)
    assert not (tmp_path / "home").exists()


def worker_spec(arguments, config_dir=None, **config):
    prepared = prepared_sweep(into_space(arguments), config_dir)
    return WorkerSpec(
        config=prepared.config.model_copy(update=config),
        space=prepared.space,
        overrides=tuple(prepared.composer.overrides),
        config_dir=config_dir,
        parent_run_id="parent",
        dataset_folder=Path(".clickflow/datasets/synthetic"),
        fingerprint="abc",
        total=1,
        threads=1,
        start_id="start",
    )


@pytest.mark.parametrize("config_dir", [None, "more"])
def test_a_worker_in_another_folder_composes_the_same_configs_and_has_the_same_home(tmp_path, monkeypatch, config_dir):
    here, there = tmp_path / "here", tmp_path / "there"
    for file, width in {"conf/model/wide.yaml": 3, "more/model/wider.yaml": 5}.items():
        (here / file).parent.mkdir(parents=True)
        (here / file).write_text(f"defaults: [base, _self_]\nembedding_dim: {width}\n")
    there.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr("clickflow.cli.compose.REPOSITORY", here)  # as when it runs from a wheel
    model = "wide" if config_dir is None else "wider"
    given = [f"model={model}", "sweep=base", "optimizer.learning_rate=0.1", "model.dropout=interval(0.0, 0.5)"]
    spec = worker_spec(given, config_dir, home=Path(".clickflow"))
    tasks, seen = [], []

    def launcher(task_function, **given):
        tasks.append(task_function)
        return JobsThatFail()

    def work(told, composer):
        seen.append((told.config.home, told.dataset_folder, composer.compose({})))

    monkeypatch.setattr("clickflow.cli.cluster.work", work)
    monkeypatch.setattr(Plugins.instance(), "instantiate_launcher", launcher)
    workers = ClusterWorkers(Cluster(context=None, config=composed()), spec)
    workers.start_missing(1, [])
    workers.wait()
    monkeypatch.chdir(there)
    monkeypatch.setattr("clickflow.cli.compose.REPOSITORY", there)
    handler = signal.getsignal(signal.SIGUSR2)
    try:
        assert tasks[0](None) is None
    finally:
        signal.signal(signal.SIGUSR2, handler)

    [(home, dataset_folder, config)] = seen
    assert home == config.home == here / ".clickflow"
    assert dataset_folder == here / ".clickflow/datasets/synthetic"
    assert config.model.embedding_dim == (3 if config_dir is None else 5)


class JobsThatFail:
    def launch(self, job_overrides, initial_job_idx):
        return [SimpleNamespace(return_value="DataError: data set clicks: every machine needs the same source files")]


def test_jobs_that_never_come_to_a_trial_end_the_sweep_with_their_reason(tmp_path, monkeypatch):
    workers = ClusterWorkers(None, worker_spec([f"home={tmp_path}", "sweep.num_workers=1"]))
    monkeypatch.setattr(workers, "_launcher", JobsThatFail)

    for _ in range(3):
        workers.start_missing(2, [])
        workers.wait()
    with pytest.raises(TrainingError, match=r"3 workers in a row ended before their first trial; .*\nDataError: data set clicks: every"):
        workers.start_missing(2, [])


def test_slurm_and_ray_must_be_reachable_before_anything_is_done(tmp_path):
    refused = {
        "cluster=slurm": "hydra/launcher = submitit_slurm: this machine has no srun; start the sweep on a login node of the cluster",
        "cluster=ray hydra.launcher.ray.init.address=127.0.0.1:1": "hydra.launcher.ray.init.address = 127.0.0.1:1: Ray cannot be used (",
    }
    pytest.importorskip("submitit")
    pytest.importorskip("ray")
    for arguments, message in refused.items():
        _, error = end(start(tmp_path / "home", *arguments.split(), PATH=str(Path(sys.executable).parent)), code=2)
        assert error.startswith(f"ConfigError: {message}")
    assert not (tmp_path / "home").exists()
