import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from clickflow.errors import DataError, TrackingError
from clickflow.tracking.config import TrackingConfig
from clickflow.tracking.contents import fetch_artifact
from clickflow.tracking.lifecycle import Terminated, closing_dead_run, open_run, reopen_run, resume_run
from clickflow.tracking.search import read_run
from clickflow.tracking.store import open_store


def found(run):
    return read_run(run.store, run.id)


def info(run):
    return run.store.client.get_run(run.id).info


def plain(store, name="n", **arguments):
    return open_run(store, name=name, **({"params": {}, "tags": {}, "log_system_metrics": False} | arguments))


def ended_by(store, body):
    """The run after ``body`` raised in it, and what came out."""
    with pytest.raises(BaseException) as caught, plain(store) as run:  # noqa: PT012 - nothing but the body can raise
        body(run)
        pytest.fail("the body did not raise")
    return run, caught.value


def raising(error):
    def body(run):
        raise error

    return body


def test_run_that_ends_normally_is_finished_with_name_params_and_tags(store):
    with plain(store, "din-1", params={"seed": 1}, tags={"model": "din"}) as run:
        assert info(run).status == "RUNNING"
    assert (info(run).status, info(run).run_name) == ("FINISHED", "din-1")
    assert info(run).end_time >= info(run).start_time
    assert store.client.get_run(run.id).data.params == {"seed": "1"}
    assert found(run).tags["model"] == "din"
    assert "error" not in found(run).tags


def test_run_with_an_exception_is_failed_with_reason_and_traceback(store, tmp_path):
    raised = DataError("clicks.csv: empty\nsecond line")
    run, error = ended_by(store, raising(raised))
    assert error is raised
    assert info(run).status == "FAILED"
    assert found(run).tags["error"] == "DataError: clicks.csv: empty"
    assert "in ended_by" in fetch_artifact(run.store, run.id, "error/traceback.txt", tmp_path).read_text()


def test_metrics_logged_before_the_failure_are_kept(store):
    def body(run):
        run.log_metrics({"loss": 0.5}, 0)
        raise ValueError

    run, _ = ended_by(store, body)
    assert found(run).metrics == {"loss": 0.5}
    assert found(run).tags["error"] == "ValueError"


def test_interrupted_run_is_killed(store):
    run, error = ended_by(store, raising(KeyboardInterrupt()))
    assert type(error) is KeyboardInterrupt
    assert (info(run).status, found(run).tags["error"]) == ("KILLED", "KeyboardInterrupt")


@pytest.mark.parametrize(("code", "status"), [(None, "FINISHED"), (0, "FINISHED"), (3, "FAILED"), ("message", "FAILED")])
def test_exit_code_decides_the_status(store, code, status):
    run, error = ended_by(store, raising(SystemExit(code)))
    assert (type(error), error.code) == (SystemExit, code)
    assert info(run).status == status
    assert ("error" in found(run).tags) == (status == "FAILED")


def test_interrupt_that_lightning_turned_into_an_exit_is_killed(store):
    def body(run):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(1)  # as pytorch_lightning.trainer.call does

    run, error = ended_by(store, body)
    assert type(error) is SystemExit
    assert (info(run).status, found(run).tags["error"]) == ("KILLED", "KeyboardInterrupt")


def test_params_that_cannot_be_logged_fail_the_run(store):
    with pytest.raises(TrackingError, match="params failed"), plain(store, "bad params", params={"x" * 300: 1}):
        pytest.fail("the body must not run")
    (run,) = store.client.search_runs([store.experiment_id], "attributes.run_name = 'bad params'")
    assert run.info.status == "FAILED"


def test_run_whose_metrics_were_lost_is_failed(store):
    with pytest.raises(TrackingError, match="metrics could not be written"), plain(store) as run:
        run.log_metrics({"no#such#name": 1.0}, 0)  # MLflow refuses the name
    assert info(run).status == "FAILED"


def test_store_that_fails_at_the_end_does_not_hide_the_error(store, monkeypatch, caplog):
    def refuse(tags):
        raise TrackingError("store is gone")

    def body(run):
        monkeypatch.setattr(run, "set_tags", refuse)
        raise ValueError("the real reason")

    run, error = ended_by(store, body)
    assert str(error) == "the real reason"
    assert "store is gone" in caplog.text
    assert info(run).status == "FAILED"


def test_second_interrupt_while_ending_does_not_leave_the_run_running(store, monkeypatch):
    def interrupt(text, file):
        raise KeyboardInterrupt

    def body(run):
        monkeypatch.setattr(run, "log_text", interrupt)
        raise KeyboardInterrupt

    run, _ = ended_by(store, body)
    assert info(run).status == "KILLED"


def test_second_interrupt_while_the_status_is_set_does_not_leave_the_run_running(store, monkeypatch):
    def body(run):
        terminate, statuses = run.terminate, []

        def interrupted_once(status):
            statuses.append(status)
            if len(statuses) == 1:
                raise KeyboardInterrupt
            terminate(status)

        monkeypatch.setattr(run, "terminate", interrupted_once)
        raise KeyboardInterrupt

    run, _ = ended_by(store, body)
    assert (info(run).status, found(run).tags["error"]) == ("KILLED", "KeyboardInterrupt")


def test_status_is_written_first_when_only_one_more_write_fits(store, monkeypatch):
    def full(*args, **kwargs):
        raise OSError("No space left on device")

    def body(run):
        terminate = run.terminate

        def last_write(status):
            terminate(status)
            for name in ("log_batch", "set_terminated", "log_text"):
                monkeypatch.setattr(run.store.client, name, full)

        monkeypatch.setattr(run, "terminate", last_write)
        raise ValueError("the real reason")

    run, error = ended_by(store, body)
    assert str(error) == "the real reason"
    assert info(run).status == "FAILED"
    assert "error" not in found(run).tags


@pytest.mark.parametrize(("error", "status"), [(TrackingError("disk full"), "FAILED"), (KeyboardInterrupt(), "KILLED")])
def test_run_that_cannot_be_called_finished_is_not_left_running(store, monkeypatch, error, status):
    with pytest.raises(type(error)), plain(store) as run:  # noqa: PT012 - only its end can raise
        terminate = run.terminate

        def refuse_finished(status):
            if status == "FINISHED":
                raise error
            terminate(status)

        monkeypatch.setattr(run, "terminate", refuse_finished)
    assert info(run).status == status


@pytest.mark.parametrize(("error", "status"), [(RuntimeError("can't start new thread"), "FAILED"), (KeyboardInterrupt(), "KILLED")])
def test_failure_right_after_the_run_was_made_ends_it(store, monkeypatch, error, status):
    def fail(*args):
        raise error

    name = f"no thread {status}"
    monkeypatch.setattr("clickflow.tracking.lifecycle.Run", fail)
    with pytest.raises(type(error)), plain(store, name):
        pytest.fail("the body must not run")
    (run,) = store.client.search_runs([store.experiment_id], f"attributes.run_name = '{name}'")
    assert run.info.status == status


def test_addition_that_cannot_be_called_finished_is_not_left_running(store, monkeypatch):
    with plain(store) as run:
        pass
    with pytest.raises(TrackingError, match="disk full"), resume_run(store, run.id, "evaluation") as resumed:  # noqa: PT012 - only its end can raise
        set_tags = resumed.set_tags

        def refuse_finished(tags):
            if "FINISHED" in tags.values():
                raise TrackingError("disk full")
            set_tags(tags)

        monkeypatch.setattr(resumed, "set_tags", refuse_finished)
    assert (found(run).tags["evaluation.status"], run.status) == ("FAILED", "FINISHED")


def test_sigterm_kills_the_run_and_the_handler_is_put_back(store):
    def body(run):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    before = signal.getsignal(signal.SIGTERM)
    run, error = ended_by(store, body)
    assert type(error) is Terminated
    assert (info(run).status, found(run).tags["error"]) == ("KILLED", "Terminated: SIGTERM")
    assert signal.getsignal(signal.SIGTERM) == before


def test_run_can_be_opened_in_another_thread(store):
    runs = []

    def work():
        with plain(store) as run:
            runs.append(run)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert info(runs[0]).status == "FINISHED"


def test_two_open_runs_do_not_mix(store):
    with plain(store, "parent") as parent:
        parent.log_metrics({"parent": 1.0}, 0)
        child, _ = ended_by(store, raising(ValueError("child")))
        assert (info(parent).status, info(child).status) == ("RUNNING", "FAILED")
        parent.log_metrics({"parent": 2.0}, 1)
    assert info(parent).status == "FINISHED"
    assert (found(parent).metrics, found(child).metrics) == ({"parent": 2.0}, {})


def test_nothing_lands_in_default_and_nothing_in_the_working_directory(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with plain(store, params={"a": 1}, log_system_metrics=True) as run:
        run.log_metrics({"x": 1.0}, 0)
        run.log_text("t", "t.txt")
    assert store.client.search_runs(["0"]) == []
    assert list(tmp_path.iterdir()) == []


def test_system_metrics_are_logged_and_stop_before_the_status_is_set(store, monkeypatch):
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.05")
    with plain(store, log_system_metrics=True) as run:
        deadline = time.monotonic() + 10
        while "system/cpu_utilization_percentage" not in found(run).metrics and time.monotonic() < deadline:
            time.sleep(0.05)
    assert "system/cpu_utilization_percentage" in found(run).metrics
    assert not [thread for thread in threading.enumerate() if thread.name == "SystemMetricsMonitor"]
    assert info(run).status == "FINISHED"


def test_ended_run_leaves_no_thread_behind(store):
    others = set(threading.enumerate())  # a run that another test holds open has one of its own
    with plain(store):
        assert [thread for thread in set(threading.enumerate()) - others if thread.name == "clickflow-metrics"]
    assert not [thread for thread in set(threading.enumerate()) - others if thread.name == "clickflow-metrics"]


def test_store_without_an_experiment_opens_no_run_but_resumes_one(store, home):
    with plain(store) as run:
        pass
    visiting = open_store(TrackingConfig(), home)
    assert visiting.experiment_id is None
    with pytest.raises(ValueError, match="the store was opened without an experiment; set experiment_name"), plain(visiting):
        pytest.fail("the body must not run")
    with resume_run(visiting, run.id, "evaluation") as resumed:
        assert resumed.url == run.url


# Logging more to a run that has ended


@pytest.mark.parametrize("ended", ["FINISHED", "FAILED", "KILLED"])
def test_resuming_a_run_adds_to_it_and_keeps_its_status_whatever_happens(store, ended, tmp_path):
    with plain(store, "training") as run:
        pass
    store.client.set_terminated(run.id, ended)
    end_time = info(run).end_time
    with resume_run(store, run.id, "evaluation") as resumed:
        assert found(resumed).tags["evaluation.status"] == "RUNNING"
        resumed.log_metrics({"test/auc": 0.7}, 0)
    assert (info(run).status, found(resumed).tags["evaluation.status"]) == (ended, "FINISHED")
    assert found(resumed).metrics == {"test/auc": 0.7}
    with pytest.raises(ValueError), resume_run(store, run.id, "evaluation") as resumed:
        raise ValueError("no test rows")
    assert (info(run).status, info(run).end_time) == (ended, end_time)
    assert (found(resumed).tags["evaluation.status"], found(resumed).tags["evaluation.error"]) == ("FAILED", "ValueError: no test rows")
    assert "no test rows" in fetch_artifact(resumed.store, resumed.id, "error/evaluation_traceback.txt", tmp_path).read_text()
    with pytest.raises(KeyboardInterrupt), resume_run(store, run.id, "evaluation") as resumed:
        raise KeyboardInterrupt
    assert (info(run).status, found(resumed).tags["evaluation.status"]) == (ended, "KILLED")
    with resume_run(store, run.id, "evaluation") as resumed:
        assert "evaluation.error" not in found(resumed).tags  # an earlier failure no longer stands


def test_unknown_and_deleted_runs_cannot_be_resumed(store):
    with pytest.raises(TrackingError, match=r"^run_id = 0123: no such run in sqlite"), resume_run(store, "0123", "evaluation"):
        pass
    with plain(store) as run:
        pass
    store.client.delete_run(run.id)
    with (
        pytest.raises(TrackingError, match=f"^run_id = {run.id}: the run was deleted; restore it"),
        resume_run(store, run.id, "evaluation"),
    ):
        pass


TRAIN_FOREVER = """
import sys, time
from pathlib import Path
from clickflow.tracking.config import TrackingConfig
from clickflow.tracking.lifecycle import open_run
from clickflow.tracking.store import open_store

store = open_store(TrackingConfig(experiment_name="signals"), Path(sys.argv[1]))
with open_run(store, name="forever", params={}, tags={}) as run:
    run.log_metrics({"loss": 0.25}, 0)
    print(run.id, flush=True)
    for _ in range(600):
        time.sleep(0.1)  # a signal that comes just before a sleep begins is noticed when it ends
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_from_outside_leaves_a_killed_run_with_its_metrics(home, number):
    store = open_store(TrackingConfig(experiment_name="signals"), home)
    process = subprocess.Popen([sys.executable, "-c", TRAIN_FOREVER, str(home)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    run_id = process.stdout.readline().strip()
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode != 0
    run = store.client.get_run(run_id)
    assert (run.info.status, run.data.metrics["loss"]) == ("KILLED", 0.25)


class TestReopening:
    def test_a_killed_run_is_running_meanwhile_and_ends_with_its_new_status(self, store):
        with pytest.raises(KeyboardInterrupt), open_run(store, name="sweep", params={}, tags={}, log_system_metrics=False) as run:
            raise KeyboardInterrupt
        assert (run.status, found(run).tags["error"]) == ("KILLED", "KeyboardInterrupt")
        with reopen_run(store, run.id) as again:
            assert again.status == "RUNNING"
            again.log_metrics({"later": 1.0}, step=0)
        assert again.status == "FINISHED"
        assert "error" not in found(again).tags
        assert found(again).metrics == {"later": 1.0}

    def test_a_failure_after_a_finish_is_a_failure(self, store):
        with open_run(store, name="sweep", params={}, tags={}, log_system_metrics=False) as run:
            pass
        with pytest.raises(ValueError, match="broke"), reopen_run(store, run.id):
            raise ValueError("it broke")
        assert run.status == "FAILED"
        assert found(run).tags["error"] == "ValueError: it broke"

    def test_a_run_that_does_not_exist_is_named(self, store):
        with pytest.raises(TrackingError, match="run_id = nosuch: no such run"), reopen_run(store, "nosuch"):
            pass


@pytest.mark.parametrize("status", ["FAILED", "KILLED"])
def test_a_dead_process_run_gets_what_was_left_and_then_its_status_and_reason(store, status):
    run_id = store.client.create_run(store.experiment_id).info.run_id
    with closing_dead_run(store, run_id, status, "killed by hand") as dead:
        assert dead.status == "RUNNING"
        dead.log_text("rest", "left.txt")
    assert (dead.status, found(dead).tags["error"]) == (status, "killed by hand")
