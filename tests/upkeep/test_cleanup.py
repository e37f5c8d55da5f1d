"""Cleaning up: the dead are closed, the living left alone, and nothing anyone needs is deleted."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

from clickflow.cli.search_path import REPOSITORY
from clickflow.errors import TrackingError
from clickflow.runs.kept_checkpoints import checkpoint_folder, fetch_best_checkpoint
from clickflow.tracking import maintenance
from clickflow.tracking.config import TrackingConfig
from clickflow.tracking.lifecycle import open_run
from clickflow.tracking.owner import Owner
from clickflow.tracking.search import read_run
from clickflow.tracking.store import open_store
from clickflow.upkeep import cleanup as cleanup_module
from clickflow.upkeep.cleanup import clean
from clickflow.upkeep.config import CleanupConfig

ME = Owner.here()
DEAD = Owner(ME.host, ME.pid, ME.started - 1000)
ELSEWHERE = Owner("elsewhere-1", 1, 0.0)
DAY = 86_400_000


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory):
    home = tmp_path_factory.mktemp("empty")
    open_store(TrackingConfig(experiment_name="any"), home)
    return home


class Home:
    """A home with a store of its own, and what is needed to fill it."""

    def __init__(self, path):
        self.path = path
        self.store = open_store(TrackingConfig(experiment_name="e"), path)
        self.client = self.store.client

    def run(self, owner, status="RUNNING", **tags):
        tags = {key.replace("__", "."): value for key, value in tags.items()} | (owner.tags if owner else {})
        created = self.client.create_run(self.store.experiment_id, start_time=1_000, tags=tags)
        if status != "RUNNING":
            self.client.set_terminated(created.info.run_id, status)
        return created.info.run_id

    def trial(self, sweep, number, gauc=None, state="complete", status="FINISHED", size=1000):
        tags = {"mlflow__parentRunId": sweep, "trial__number": str(number), "trial__state": state}
        run_id = self.run(DEAD, status, **tags)
        if gauc is not None:
            self.client.log_metric(run_id, "best/gauc", gauc)
        if size:
            self.client.log_text(run_id, "w" * size, "checkpoints/best.ckpt")
        self.client.log_text(run_id, "c", "config.yaml")
        return run_id

    def leave_checkpoint(self, run_id):
        folder = checkpoint_folder(self.path, run_id)
        folder.mkdir(parents=True)
        (folder / "last.ckpt").write_bytes(b"weights")
        return folder

    def clean(self, **options):
        done = list(clean(CleanupConfig(home=self.path, tracking=TrackingConfig(), **options)))
        assert [one.error for one in done if one.error] == []
        return done

    def said(self, **options):
        return "\n".join(step.what for step in self.clean(**options))

    def status(self, run_id):
        return self.client.get_run(run_id).info.status

    def with_checkpoints(self, run_ids):
        return [run_id for run_id in run_ids if maintenance.artifact_bytes(self.store, run_id, "checkpoints")]


@pytest.fixture
def home(empty_store, tmp_path):
    return Home(shutil.copytree(empty_store, tmp_path / "home"))


SWEEP = {"kind": "sweep", "sweep__metrics": "val/gauc", "sweep__directions": "maximize"}


class TestRunsOfDeadProcesses:
    def test_one_is_failed_at_its_last_sign_of_life_with_the_reason_and_its_checkpoints(self, home):
        run_id = home.run(DEAD, trial__state="running")
        home.client.log_metric(run_id, "train/loss", 0.5, timestamp=5_000)
        folder = home.leave_checkpoint(run_id)
        assert f"closed: run {run_id}" in home.said()
        run = home.client.get_run(run_id)
        assert (run.info.status, run.info.end_time) == ("FAILED", 5_000)
        assert run.data.tags["error"] == f"its process {ME.pid} died (closed by gc)"
        assert run.data.tags["trial.state"] == "failed"
        assert [file.path for file in home.client.list_artifacts(run_id, "checkpoints")] == ["checkpoints/last.ckpt"]
        assert not folder.exists()
        assert "closed" not in home.said()

    def test_the_living_and_what_may_live_are_left_alone(self, home):
        living, elsewhere, unknown = (home.run(owner) for owner in (ME, ELSEWHERE, None))
        folders = [home.leave_checkpoint(run_id) for run_id in (living, elsewhere, unknown)]
        said = home.said()
        assert living not in said
        assert f"left: run {elsewhere}" in said
        assert f"left: run {unknown}" in said
        assert {home.status(run_id) for run_id in (living, elsewhere, unknown)} == {"RUNNING"}
        assert all(folder.exists() for folder in folders)

    def test_silence_that_the_user_set_closes_them(self, home):
        elsewhere, fresh = home.run(ELSEWHERE), home.run(ELSEWHERE)
        home.client.log_metric(fresh, "train/loss", 0.5, timestamp=int(time.time() * 1000))
        home.said(silent_hours=24.0)
        assert (home.status(elsewhere), home.status(fresh)) == ("FAILED", "RUNNING")
        assert "no sign of life for" in home.client.get_run(elsewhere).data.tags["error"]

    def test_one_that_a_sweep_took_up_again_meanwhile_is_not_closed(self, home, monkeypatch):
        run_id = home.run(DEAD, kind="sweep")
        find_dead_runs = cleanup_module.find_dead_runs

        def find_then_reopen(*arguments):
            verdicts = find_dead_runs(*arguments)
            for key, value in ME.tags.items():
                home.client.set_tag(run_id, key, value)
            return verdicts

        monkeypatch.setattr(cleanup_module, "find_dead_runs", find_then_reopen)
        home.clean()
        assert home.status(run_id) == "RUNNING"
        assert "error" not in home.client.get_run(run_id).data.tags

    def test_what_fails_is_told_and_does_not_keep_the_rest_from_being_done(self, home, monkeypatch):
        first, second = home.run(DEAD), home.run(DEAD)
        keep = cleanup_module.keep_checkpoints

        def full(run, path):
            if run.id == first:
                raise OSError("No space left on device")
            keep(run, path)

        monkeypatch.setattr(cleanup_module, "keep_checkpoints", full)
        done = list(clean(CleanupConfig(home=home.path, tracking=TrackingConfig())))
        assert [one.error for one in done if one.error] == ["No space left on device"]
        assert {home.status(first), home.status(second)} == {"FAILED"}
        assert done[-1].what.startswith("renewed")


class TestLeftovers:
    def test_checkpoints_of_a_run_that_ended_go_to_its_artifacts(self, home):
        run_id = home.run(DEAD, "KILLED")
        folder = home.leave_checkpoint(run_id)
        assert f"moved: {folder}" in home.said()
        assert home.with_checkpoints([run_id]) == [run_id]
        assert not folder.exists()

    def test_of_a_deleted_run_they_are_deleted_and_of_no_run_of_this_store_named(self, home):
        run_id = home.run(DEAD, "FINISHED")
        home.client.delete_run(run_id)
        deleted, other = home.leave_checkpoint(run_id), home.leave_checkpoint("0" * 32)
        steps = home.clean()
        assert [step.frees for step in steps if step.frees] == [7]
        assert not deleted.exists()
        assert other.exists()
        assert f"left: {other} belongs to no run of this store" in "\n".join(step.what for step in steps)

    def test_of_a_deleted_run_that_still_trains_they_are_left(self, home):
        run_id = home.run(ME)
        home.client.delete_run(run_id)
        folder = home.leave_checkpoint(run_id)
        home.clean()
        assert folder.exists()

    def test_another_machine_may_still_move_its_own(self, home):
        folder = home.leave_checkpoint(home.run(ELSEWHERE, "KILLED"))
        assert f"left: {folder}" in home.said()
        assert folder.exists()
        home.clean(silent_hours=1.0)
        assert not folder.exists()

    def test_half_written_data_sets_are_deleted_a_day_after_their_last_write(self, home):
        old, fresh, whole = (home.path / "datasets" / name for name in (".a-x", ".b-x", "c"))
        for folder in (old, fresh, whole):
            folder.mkdir(parents=True)
            (folder / "train.arrow").write_bytes(b"x" * 10)
        yesterday = time.time() - 90_000
        for path in (old / "train.arrow", old, fresh, whole, whole / "train.arrow"):
            os.utime(path, (yesterday, yesterday))
        assert sum(step.frees for step in home.clean()) == 10
        assert [folder.exists() for folder in (old, fresh, whole)] == [False, True, True]


class TestFinishedSweeps:
    def test_only_the_best_keep_their_checkpoints_and_all_keep_the_rest(self, home, tmp_path):
        sweep = home.run(DEAD, "FINISHED", **SWEEP)
        trials = [home.trial(sweep, number, gauc) for number, gauc in enumerate([0.5, 0.9, 0.7, 0.8])]
        broken = home.trial(sweep, 4, state="failed", status="FAILED")
        steps = home.clean(keep_best=2)
        assert sum(step.frees for step in steps) == 3000
        assert home.with_checkpoints([*trials, broken]) == [trials[1], trials[3]]
        assert home.client.list_artifacts(trials[0])[0].path == "config.yaml"
        assert not any("checkpoints of run" in step.what for step in home.clean(keep_best=2))
        removed = pytest.raises(TrackingError, match=r"its checkpoints were removed .* by gc: not among the best of sweep")
        with removed:
            fetch_best_checkpoint(home.store, read_run(home.store, trials[0]), tmp_path)

    def test_low_is_good_where_the_sweep_says_so(self, home):
        sweep = home.run(DEAD, "FINISHED", **SWEEP | {"sweep__directions": "minimize"})
        trials = [home.trial(sweep, number, gauc) for number, gauc in enumerate([0.5, 0.9])]
        home.clean(keep_best=1)
        assert home.with_checkpoints(trials) == trials[:1]

    def test_a_pareto_front_is_kept_whole(self, home):
        several = {"sweep__metrics": "val/gauc,num_parameters", "sweep__directions": "maximize,minimize", "pareto__trials": "0, 2"}
        sweep = home.run(DEAD, "FINISHED", **SWEEP | several)
        trials = [home.trial(sweep, number, gauc) for number, gauc in enumerate([0.6, 0.9, 0.7, 0.5])]
        for run_id, size in zip(trials, [10, 30, 20, 40], strict=True):
            home.client.log_metric(run_id, "num_parameters", size)
        home.clean(keep_best=1)
        assert home.with_checkpoints(trials) == trials[:3]

    def test_what_is_registered_is_kept(self, home, monkeypatch):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", home.store.uri)  # where MLflow's registry looks a logged model up
        sweep = home.run(DEAD, "FINISHED", **SWEEP)
        trials = [home.trial(sweep, number, gauc) for number, gauc in enumerate([0.5, 0.9, 0.7])]
        home.client.create_registered_model("ctr")
        home.client.create_model_version("ctr", f"{home.path}/artifacts/x", run_id=trials[0])
        logged = home.client.create_logged_model(home.store.experiment_id, name="m", source_run_id=trials[2])
        home.client.create_model_version("ctr", f"{home.path}/artifacts/y", model_id=logged.model_id)
        home.clean(keep_best=1)
        assert home.with_checkpoints(trials) == trials

    @pytest.mark.parametrize("status", ["RUNNING", "KILLED", "FAILED"])
    def test_a_sweep_that_may_go_on_keeps_everything(self, home, status):
        sweep = home.run(ME if status == "RUNNING" else DEAD, status, **SWEEP)
        trials = [home.trial(sweep, number, gauc) for number, gauc in enumerate([0.5, 0.9])]
        home.clean(keep_best=1)
        assert home.with_checkpoints(trials) == trials

    def test_one_that_is_carried_on_while_gc_looks_keeps_them(self, home, monkeypatch):
        sweep = home.run(DEAD, "FINISHED", **SWEEP)
        trials = [home.trial(sweep, number, gauc) for number, gauc in enumerate([0.5, 0.9])]
        size = cleanup_module.artifact_bytes

        def look_then_reopen(*arguments):
            home.client.update_run(sweep, status="RUNNING")
            return size(*arguments)

        monkeypatch.setattr(cleanup_module, "artifact_bytes", look_then_reopen)
        home.clean(keep_best=1)
        assert home.with_checkpoints(trials) == trials

    def test_one_whose_artifacts_only_a_server_reaches_is_named(self, home):
        kept_by_server = home.client.create_experiment("remote", artifact_location="mlflow-artifacts:/1")
        sweep = home.client.create_run(kept_by_server, tags={key.replace("__", "."): value for key, value in SWEEP.items()}).info.run_id
        home.client.set_terminated(sweep)
        home.client.create_run(kept_by_server, tags={"mlflow.parentRunId": sweep, "trial.state": "complete"})
        assert f"left: sweep {sweep}" in home.said()

    def test_one_that_does_not_say_what_its_trials_are_ranked_by_is_named(self, home):
        sweep = home.run(DEAD, "FINISHED", kind="sweep")
        trials = [home.trial(sweep, 0, 0.5)]
        assert f"left: sweep {sweep}" in home.said(keep_best=1)
        assert home.with_checkpoints(trials) == trials


def test_a_dry_run_says_what_would_be_done_and_changes_nothing(home):
    dead = home.run(DEAD)
    home.leave_checkpoint(dead)
    home.leave_checkpoint(home.run(DEAD, "KILLED"))
    sweep = home.run(DEAD, "FINISHED", **SWEEP)
    for number, gauc in enumerate([0.5, 0.9]):
        home.trial(sweep, number, gauc)

    def content():
        with sqlite3.connect(home.path / "mlflow.db") as database:
            dump = list(database.iterdump())
        return dump, {path: path.stat().st_mtime_ns for path in home.path.rglob("*") if path.is_file() and "mlflow.db" not in path.name}

    before = content()
    said = home.said(dry_run=True, keep_best=1)
    assert content() == before
    assert all(word in said for word in ("closed: run", "moved: ", "deleted: checkpoints", "renewed: "))
    assert home.said(keep_best=1) == said


def test_the_statistics_of_the_database_are_there_afterwards(home):
    home.clean()
    with sqlite3.connect(home.path / "mlflow.db") as database:
        assert {table for (table,) in database.execute("select tbl from sqlite_stat1")} >= {"experiments"}


def test_two_at_once_do_it_once(home):
    dead = [home.run(DEAD) for _ in range(4)]
    sweep = home.run(DEAD, "FINISHED", **SWEEP)
    trials = [home.trial(sweep, number, number / 10) for number in range(6)]
    errors = []

    def work():
        try:
            home.clean(keep_best=1)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert {home.status(run_id) for run_id in dead} == {"FAILED"}
    assert home.with_checkpoints(trials) == trials[-1:]


@pytest.mark.slow
def test_a_training_that_was_killed_is_closed_beside_one_that_goes_on(home):
    small = ["data.num_users=300", "data.num_items=200", "data.num_categories=10", "data.num_impressions=4000", "trainer.batch_size=256"]
    small += ["trainer.max_epochs=1000", "trainer.patience=1000", "tracking.experiment_name=e"]
    train = [sys.executable, str(REPOSITORY / "pipelines/train.py"), f"home={home.path}", *small]
    process = subprocess.Popen(train, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    for line in process.stdout:
        if "epoch 2:" in line:
            break
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    [killed] = home.client.search_runs([home.store.experiment_id])
    assert killed.info.status == "RUNNING"
    with open_run(home.store, name="living", params={}, tags={}, log_system_metrics=False) as living:
        command = [sys.executable, str(REPOSITORY / "pipelines/gc.py"), f"home={home.path}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        print(done.stdout, done.stderr)
        assert done.returncode == 0
        assert living.status == "RUNNING"
    run = home.client.get_run(killed.info.run_id)
    assert (run.info.status, run.data.tags["error"]) == ("FAILED", f"its process {process.pid} died (closed by gc)")
    assert {file.path for file in home.client.list_artifacts(run.info.run_id, "checkpoints")} == {
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
    }
    assert "freed 0.0 MB" in done.stdout
