"""Trials of dead workers: their runs are closed with the reason, they are tried again, and what had finished is taken over."""

import uuid

import pytest
from optuna.trial import TrialState
from tests.sweep.trial_stores import RATE, make_trial_store

from clickflow.cli.compose import composed_config
from clickflow.config import validate
from clickflow.runs.kept_checkpoints import checkpoint_folder
from clickflow.sweep import recovery as recovery_module
from clickflow.sweep.config import SweepRunConfig
from clickflow.sweep.recovery import Recovery
from clickflow.sweep.space import Interval, SearchSpace
from clickflow.sweep.trials import PROGRESS, REASON, count
from clickflow.sweep.worker_spec import WorkerSpec
from clickflow.tracking.names import PARENT_TAG, STUDY_TAG, TRIAL_COMPLETE, TRIAL_NUMBER_TAG, TRIAL_PRUNED, TRIAL_STATE_TAG
from clickflow.tracking.owner import Owner
from clickflow.tracking.search import read_run
from clickflow.tracking.store import open_store

ME = Owner.here()
DEAD = Owner(ME.host, ME.pid, ME.started - 1000)
ELSEWHERE = Owner("elsewhere-1", 1, 0.0)
CAUSES = {ME.pid: "worker process was ended by SIGKILL"}.get


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    home = tmp_path_factory.mktemp("recovery")
    return open_store(validate(SweepRunConfig, composed_config("sweep", [f"home={home}"])).tracking, home)


@pytest.fixture
def sweep(store, tmp_path):
    """A study, a store and who watches them."""
    config = validate(SweepRunConfig, composed_config("sweep", [f"home={tmp_path}", "sweep.study_name=study"]))
    space = SearchSpace(parameters={"optimizer.learning_rate": Interval(low=0.1, high=0.2)})
    spec = WorkerSpec(
        config=config,
        space=space,
        overrides=(),
        config_dir=None,
        parent_run_id=uuid.uuid4().hex,
        dataset_folder=tmp_path,
        fingerprint="abc",
        total=3,
        threads=1,
        start_id="start",
    )
    return Sweep(make_trial_store(), spec, store)


class Sweep:
    def __init__(self, trial_store, spec, store):
        self.trial_store, self.spec, self.store = trial_store, spec, store
        self.recovery = Recovery(trial_store, spec, store)

    def take(self, worker=DEAD, status=None, tags=None, metrics=None):
        """A trial of a worker, and its run as the worker left it."""
        trial = self.trial_store.ask(worker)
        trial.suggest_float("optimizer.learning_rate", RATE.low, RATE.high)
        if status is None:
            return trial.number, None
        client = self.store.client
        own = {PARENT_TAG: self.spec.parent_run_id, STUDY_TAG: "study", TRIAL_NUMBER_TAG: str(trial.number)} | (tags or {})
        run_id = client.create_run(self.store.experiment_id, tags=own).info.run_id
        for key, value in (metrics or {}).items():
            client.log_metric(run_id, key, value)
        if status != "RUNNING":
            client.set_terminated(run_id, status)
        return trial.number, run_id

    def trial(self, number):
        return self.trial_store.trials()[number]


class TestADeadWorkersTrial:
    def test_its_run_is_failed_with_the_reason(self, sweep):
        number, run_id = sweep.take(status="RUNNING")
        assert sweep.recovery.recover(CAUSES) == [number]
        run = read_run(sweep.store, run_id)
        assert run.status == "FAILED"
        assert run.tags["error"] == "worker process was ended by SIGKILL"
        assert sweep.trial(number).user_attrs[REASON] == "worker process was ended by SIGKILL"

    def test_it_is_tried_again(self, sweep):
        number, _ = sweep.take(status="RUNNING")
        sweep.recovery.recover()
        assert count(sweep.trial_store.trials()).waiting == 1
        assert sweep.trial(number + 1).params == sweep.trial(number).params

    def test_its_checkpoints_go_to_the_runs_artifacts(self, sweep):
        _, run_id = sweep.take(status="RUNNING")
        folder = checkpoint_folder(sweep.spec.config.home, run_id)
        folder.mkdir(parents=True)
        (folder / "last.ckpt").write_bytes(b"weights")
        sweep.recovery.recover()
        [artifact] = sweep.store.client.list_artifacts(run_id, "checkpoints")
        assert artifact.path == "checkpoints/last.ckpt"
        assert not folder.exists()

    def test_before_it_had_a_run_it_is_failed_too(self, sweep):
        number, _ = sweep.take()
        assert sweep.recovery.recover() == [number]
        assert sweep.trial(number).state == TrialState.FAIL

    def test_told_to_stop_its_run_is_killed_and_it_goes_on_next_time(self, sweep):
        _, run_id = sweep.take(status="RUNNING")
        sweep.recovery.recover(is_interrupt=True)
        assert read_run(sweep.store, run_id).status == "KILLED"
        assert count(sweep.trial_store.trials()).waiting == 1

    def test_a_run_that_closed_itself_keeps_its_status(self, sweep):
        _, run_id = sweep.take(status="KILLED")
        sweep.recovery.recover(CAUSES)
        assert read_run(sweep.store, run_id).status == "KILLED"

    def test_checkpoints_that_its_own_end_left_behind_are_kept_too(self, sweep):
        _, run_id = sweep.take(status="KILLED", tags={"error": "Terminated: SIGTERM"})
        folder = checkpoint_folder(sweep.spec.config.home, run_id)
        folder.mkdir(parents=True)
        (folder / "last.ckpt").write_bytes(b"weights")
        sweep.recovery.recover()
        run = read_run(sweep.store, run_id)
        assert (run.status, run.tags["error"]) == ("KILLED", "Terminated: SIGTERM")
        assert [artifact.path for artifact in sweep.store.client.list_artifacts(run_id, "checkpoints")] == ["checkpoints/last.ckpt"]

    def test_recovering_again_does_nothing(self, sweep):
        sweep.take(status="RUNNING")
        sweep.recovery.recover()
        assert sweep.recovery.recover() == []
        assert len(sweep.trial_store.trials()) == 2


class TestAWorkerThatDiedAfterItsRunHadFinished:
    def test_the_runs_value_becomes_the_trials(self, sweep):
        number, _ = sweep.take(status="FINISHED", tags={TRIAL_STATE_TAG: TRIAL_COMPLETE}, metrics={"best/gauc": 0.75})
        sweep.recovery.recover()
        assert sweep.trial(number).state == TrialState.COMPLETE
        assert sweep.trial(number).value == 0.75
        assert len(sweep.trial_store.trials()) == 1

    def test_a_pruned_one_is_pruned(self, sweep):
        number, _ = sweep.take(status="FINISHED", tags={TRIAL_STATE_TAG: TRIAL_PRUNED}, metrics={"best/gauc": 0.5})
        sweep.recovery.recover()
        assert sweep.trial(number).state == TrialState.PRUNED

    def test_without_the_value_it_is_tried_again(self, sweep):
        number, _ = sweep.take(status="FINISHED", tags={TRIAL_STATE_TAG: TRIAL_COMPLETE})
        sweep.recovery.recover()
        assert sweep.trial(number).state == TrialState.FAIL
        assert count(sweep.trial_store.trials()).waiting == 1


class TestAnotherMachine:
    def test_a_living_worker_is_left_alone(self, sweep):
        sweep.take(worker=ME, status="RUNNING")
        assert sweep.recovery.recover() == []

    @pytest.mark.parametrize("worker", [ELSEWHERE, ME])
    def test_a_worker_without_heartbeat_for_long_counts_as_dead(self, sweep, monkeypatch, worker):
        number, run_id = sweep.take(worker=worker, status="RUNNING")
        assert sweep.recovery.recover() == []
        monkeypatch.setattr(recovery_module, "SILENCE_SECONDS", -1.0)
        assert sweep.recovery.recover() == [number]
        assert f"no heartbeat of its worker on {worker.host}" in read_run(sweep.store, run_id).tags["error"]

    def test_a_sign_of_life_begins_the_wait_anew(self, sweep, monkeypatch):
        number, _ = sweep.take(worker=ELSEWHERE)
        sweep.recovery.recover()
        monkeypatch.setattr(recovery_module, "SILENCE_SECONDS", -1.0)
        sweep.trial_store.set_user_attrs(number, **{PROGRESS: {"epochs": 0.5}})
        assert sweep.recovery.recover() == []

    def test_a_trial_without_a_recorded_worker_is_waited_for_a_while(self, sweep, monkeypatch):
        number = sweep.trial_store.study.ask().number
        assert sweep.recovery.recover() == []
        monkeypatch.setattr(recovery_module, "UNCLAIMED_SECONDS", -1.0)
        assert sweep.recovery.recover() == [number]
        assert sweep.trial(number).user_attrs[REASON] == "its worker died before it was recorded"
