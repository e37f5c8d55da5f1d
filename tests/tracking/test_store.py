import errno
import http.server
import logging
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import requests
from mlflow.exceptions import MlflowException
from tests.servers import hanging_up

from clickflow.errors import TrackingError
from clickflow.tracking.config import TrackingConfig
from clickflow.tracking.store import open_store

NOTHING_LISTENS = "http://127.0.0.1:9"


def test_local_store_is_a_database_and_an_absolute_artifact_folder_in_the_home_folder(store, home):
    experiment = store.client.get_experiment(store.experiment_id)
    assert store.uri == f"sqlite:///{home}/mlflow.db"
    assert experiment.name == "tests"
    assert experiment.artifact_location == (home / "artifacts").as_uri()


def test_opening_a_store_again_gives_the_same_experiment(store, home):
    again = open_store(TrackingConfig(experiment_name="tests"), home)
    assert (again.uri, again.experiment_id) == (store.uri, store.experiment_id)


def test_relative_database_path_is_made_absolute(store, home, monkeypatch):
    monkeypatch.chdir(home)
    config = TrackingConfig(uri="sqlite:///mlflow.db", experiment_name="tests")
    assert open_store(config, home).uri == store.uri


def test_experiment_keeps_the_artifact_location_it_was_made_with(store, home, tmp_path):
    config = TrackingConfig(experiment_name="elsewhere", artifact_location=str(tmp_path / "one"))
    made = open_store(config, home)
    assert made.client.get_experiment(made.experiment_id).artifact_location == (tmp_path / "one").as_uri()
    assert open_store(config, home).experiment_id == made.experiment_id
    with pytest.raises(
        TrackingError, match=r"^tracking.artifact_location = .*two: experiment elsewhere keeps its artifacts at .*/one, and"
    ):
        open_store(TrackingConfig(experiment_name="elsewhere", artifact_location=str(tmp_path / "two")), home)


def test_deleted_experiment_is_refused_with_the_remedy_and_the_remedy_works(store, home):
    config = TrackingConfig(experiment_name="deleted")
    experiment_id = open_store(config, home).experiment_id
    store.client.delete_experiment(experiment_id)
    remedy = rf"MLFLOW_TRACKING_URI={store.uri} mlflow experiments restore --experiment-id {experiment_id}"
    with pytest.raises(TrackingError, match=f"^tracking.experiment_name = deleted: .* was deleted and still holds the name; .*{remedy}"):
        open_store(config, home)
    store.client.restore_experiment(experiment_id)
    assert open_store(config, home).experiment_id == experiment_id


def test_plain_folder_store_is_refused(tmp_path):
    for uri in ("./mlruns", f"file:{tmp_path}"):
        with pytest.raises(TrackingError, match=r"MLflow no longer writes plain folders\); allowed: sqlite:///"):
            open_store(TrackingConfig(uri=uri, experiment_name="e"), tmp_path)


def test_database_that_cannot_be_written_is_refused_at_once(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(TrackingError, match=r"^tracking.uri = sqlite:///.*/file/home/mlflow.db: cannot be written \(Not a directory\)"):
        open_store(TrackingConfig(experiment_name="e"), tmp_path / "file" / "home")
    (tmp_path / "home" / "mlflow.db").mkdir(parents=True)
    with pytest.raises(TrackingError, match=r"cannot be written \(Is a directory\)"):
        open_store(TrackingConfig(experiment_name="e"), tmp_path / "home")


def test_file_that_is_no_database_is_refused_and_left_as_it_was(tmp_path):
    (tmp_path / "mlflow.db").write_text("precious notes, not a database")
    with pytest.raises(TrackingError, match="the file is not an SQLite database"):
        open_store(TrackingConfig(experiment_name="e"), tmp_path)
    assert (tmp_path / "mlflow.db").read_text() == "precious notes, not a database"


def test_missing_database_driver_is_explained(tmp_path):
    with pytest.raises(TrackingError, match=r"^tracking.uri = mysql\+nodriver://127.0.0.1/x: the store cannot be opened .*database driver"):
        open_store(TrackingConfig(uri="mysql+nodriver://127.0.0.1/x", experiment_name="e"), tmp_path)


@pytest.mark.parametrize("uri", ["nonsense", "foo://bar"])
def test_uri_that_is_none_gets_one_short_sentence_with_what_is_allowed(tmp_path, uri):
    with pytest.raises(
        TrackingError, match=rf"^tracking.uri = {uri}: [^;.]*; allowed: sqlite:///…, .* or null for the local store$"
    ) as caught:
        open_store(TrackingConfig(uri=uri, experiment_name="e"), tmp_path)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        MlflowException("(sqlite3.OperationalError) database or disk is full"),
    ],
)
def test_full_disk_is_called_by_its_name(store, run, home, monkeypatch, error):
    def refuse(*args, **kwargs):
        raise error

    monkeypatch.setattr(type(store.client), "get_experiment_by_name", refuse)
    with pytest.raises(TrackingError, match=r"the store cannot be opened \(.*\); disk full: free some space$"):
        open_store(TrackingConfig(experiment_name="tests"), home)
    monkeypatch.setattr(type(store.client), "log_batch", refuse)
    with pytest.raises(TrackingError, match=r"tags failed \(.*\); disk full: free some space$"):
        run.set_tags({"a": "b"})


def test_database_errors_are_not_printed_with_their_tracebacks(store):
    assert not logging.getLogger("mlflow.store.db.utils").isEnabledFor(logging.CRITICAL)


def test_a_server_that_is_not_there_is_told_after_two_attempts(tmp_path):
    """MLflow makes eight attempts, which take four minutes."""
    with hanging_up() as (uri, connections):
        with pytest.raises(TrackingError, match=f"^tracking.uri = {uri}: no MLflow server answers there"):
            open_store(TrackingConfig(uri=uri, experiment_name="e"), tmp_path)
        assert len(connections) == 2


def test_unreachable_server_is_reported_before_anything_is_made(tmp_path):
    with pytest.raises(
        TrackingError, match=f"^tracking.uri = {NOTHING_LISTENS}: no MLflow server answers there; start one with `mlflow serv"
    ):
        open_store(TrackingConfig(uri=NOTHING_LISTENS, experiment_name="e"), tmp_path / "home")
    assert not (tmp_path / "home").exists()


def test_unreachable_server_is_reported_when_no_experiment_is_asked_for_too(tmp_path):
    with pytest.raises(TrackingError, match="no MLflow server answers there"):
        open_store(TrackingConfig(uri=NOTHING_LISTENS), tmp_path)


@pytest.mark.slow
def test_server_that_accepts_and_never_answers_is_asked_twice(tmp_path, monkeypatch):
    timeouts = []
    send = requests.Session.send

    def note(session, request, **options):
        timeouts.append(options["timeout"])
        return send(session, request, **options)

    monkeypatch.setattr(requests.Session, "send", note)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(TrackingError, match="no MLflow server answers there"):
            open_store(TrackingConfig(uri=f"http://127.0.0.1:{silent.getsockname()[1]}", experiment_name="e"), tmp_path)
        silent.setblocking(False)
        for _ in range(2):
            silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()
    assert timeouts == [4]


def test_server_that_is_not_mlflow_is_reported(tmp_path):
    class NotMlflow(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(404)

        def log_message(self, *args):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), NotMlflow) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(TrackingError, match="the answer is not what an MLflow server gives"):
            open_store(TrackingConfig(uri=f"http://127.0.0.1:{server.server_port}", experiment_name="e"), tmp_path)
        server.shutdown()


OPEN_AND_LOG = """
import sys
from pathlib import Path
from clickflow.tracking.config import TrackingConfig
from clickflow.tracking.lifecycle import open_run
from clickflow.tracking.store import open_store

store = open_store(TrackingConfig(experiment_name="shared"), Path(sys.argv[1]))
with open_run(store, name=sys.argv[2], params={}, tags={}, log_system_metrics=False) as run:
    run.log_metrics({"x": float(sys.argv[2])}, step=0)
"""


@pytest.mark.slow
def test_six_processes_may_open_a_new_store_at_once(tmp_path: Path):
    command = [sys.executable, "-c", OPEN_AND_LOG, str(tmp_path / "home")]
    processes = [subprocess.Popen([*command, str(i)], stderr=subprocess.PIPE, text=True) for i in range(6)]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 6, errors
    store = open_store(TrackingConfig(experiment_name="shared"), tmp_path / "home")
    runs = store.client.search_runs([store.experiment_id])
    assert sorted(run.data.metrics["x"] for run in runs) == [0, 1, 2, 3, 4, 5]
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert store.client.search_runs(["0"]) == []  # "Default"


def test_a_visitor_makes_no_store(tmp_path):
    uri = f"sqlite:///{tmp_path}/mistyped/mlflow.db"
    with pytest.raises(TrackingError, match=rf"tracking.uri = {uri}: no store is there; train a model first, or correct tracking.uri"):
        open_store(TrackingConfig(uri=uri), tmp_path / "home")
    assert not list(tmp_path.iterdir())


def test_a_database_that_does_not_answer_is_told_before_mlflow_tries_for_minutes(tmp_path, monkeypatch):
    monkeypatch.setattr("clickflow.tracking.store.MlflowClient", lambda uri: pytest.fail("MLflow was asked"))
    with pytest.raises(TrackingError, match=r"tracking.uri = postgresql\+psycopg://me:\*\*\*@127.0.0.1:9/x: the store cannot be opened"):
        open_store(TrackingConfig(uri="postgresql+psycopg://me:secret@127.0.0.1:9/x", experiment_name="x"), tmp_path)


KILLED_IN_A_MIGRATION = """
import os, sys
from pathlib import Path
from sqlalchemy import Engine, event
from clickflow.tracking.config import TrackingConfig
from clickflow.tracking.store import open_store

def end(connection, cursor, statement, *rest):
    if statement.startswith("INSERT INTO _alembic_tmp_"):
        os._exit(9)

event.listen(Engine, "before_cursor_execute", end)
open_store(TrackingConfig(experiment_name="mine"), Path(sys.argv[1]))
"""
"""Ends in the middle of a migration, of which SQLite takes nothing back."""


def test_a_store_whose_maker_was_killed_is_made_by_the_next_command(tmp_path):
    killed = subprocess.run([sys.executable, "-c", KILLED_IN_A_MIGRATION, tmp_path], timeout=120, check=False)
    assert killed.returncode == 9

    store = open_store(TrackingConfig(experiment_name="mine"), tmp_path)
    assert store.client.get_experiment_by_name("mine").experiment_id == store.experiment_id
