"""What docs/production.md describes, as it describes it: PostgreSQL, and an MLflow server with basic auth over it."""

import os
import subprocess
import sys
import time

import pytest
import requests
from mlflow import MlflowClient

from clickflow.errors import TrackingError
from clickflow.tracking.config import TrackingConfig
from clickflow.tracking.store import open_store
from pipelines.launch import REPOSITORY
from tests.postgres import running_postgres
from tests.runs.small import SMALL
from tests.servers import running

pytestmark = pytest.mark.slow

ADMIN = ("admin", "a long admin password")
ADA = ("ada", "ada's own password")
BOB = ("bob", "bob's own password")


class Production:
    """A server, its database, and commands that use it as somebody."""

    def __init__(self, uri, database, home):
        self.uri = uri
        self.database = database
        self.home = home

    def command(self, who, pipeline, *arguments):
        environment = os.environ | {"MLFLOW_TRACKING_USERNAME": who[0], "MLFLOW_TRACKING_PASSWORD": who[1]}
        command = [sys.executable, str(REPOSITORY / "pipelines" / f"{pipeline}.py"), f"home={self.home}", f"tracking.uri={self.uri}"]
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=300, check=False, env=environment)
        print(done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done

    def add_user(self, who):
        url = f"{self.uri}/api/2.0/mlflow/users/create"
        requests.post(url, json={"username": who[0], "password": who[1]}, auth=ADMIN, timeout=10).raise_for_status()


@pytest.fixture(scope="module")
def production(tmp_path_factory):
    folder = tmp_path_factory.mktemp("production")
    with running_postgres() as database:
        auth = folder / "auth.ini"
        lines = ["[mlflow]", "default_permission = READ", f"database_uri = {database}", "admin_username = admin"]
        auth.write_text("\n".join([*lines, "authorization_function = mlflow.server.auth:authenticate_request_basic_auth"]) + "\n")
        command = [
            "server",
            "--app-name",
            "basic-auth",
            "--backend-store-uri",
            database,
            "--artifacts-destination",
            str(folder / "artifacts"),
        ]
        secrets = {
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "any secret",
            "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN[1],
            "MLFLOW_AUTH_CONFIG_PATH": str(auth),
        }
        with running(*command, folder=folder, path="/health", **secrets) as uri:
            found = Production(uri, database, folder / "home")
            for who in (ADA, BOB):
                found.add_user(who)
            yield found


@pytest.fixture
def as_ada(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", ADA[0])
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", ADA[1])


def test_a_run_is_trained_evaluated_and_reproduced_through_the_server(production, as_ada):
    done = production.command(ADA, "train", *SMALL, "trainer.max_epochs=1")
    assert done.returncode == 0
    client = MlflowClient(production.uri)
    [run] = client.search_runs([client.get_experiment_by_name("synthetic").experiment_id])
    assert f"evaluate.py run_id={run.info.run_id} home={production.home} tracking.uri={production.uri}" in done.stdout
    assert production.command(ADA, "evaluate", f"run_id={run.info.run_id}").returncode == 0
    done = production.command(ADA, "reproduce", f"run_id={run.info.run_id}")
    assert done.returncode == 0
    assert "are identical" in done.stdout
    # who may read only is told so, and who may read may look
    done = production.command(BOB, "train", *SMALL, "trainer.max_epochs=1")
    assert done.returncode == 2
    assert "run din-seed0: cannot be opened (MlflowException: API request to endpoint" in done.stderr
    assert "permission" in done.stderr.lower()
    # what nobody needs is deleted through the server, too
    done = production.command(ADA, "gc")
    assert done.returncode == 0
    assert "run gc with tracking.uri=DATABASE there" in done.stdout


@pytest.mark.parametrize("who", [(None, None), ("ada", "wrong"), ("nobody", "x")])
def test_without_the_right_password_the_store_is_refused_at_once(production, monkeypatch, tmp_path, who):
    for name, value in zip(("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"), who, strict=True):
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name, raising=False)
    start = time.monotonic()
    with pytest.raises(TrackingError, match=r"the server wants another user or password; set MLFLOW_TRACKING_USERNAME and"):
        open_store(TrackingConfig(uri=production.uri, experiment_name="x"), tmp_path)
    assert time.monotonic() - start < 10
