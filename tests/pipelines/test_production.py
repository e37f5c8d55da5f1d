"""What docs/production.md describes, as it describes it: PostgreSQL, an MLflow server with basic auth over it, artifacts on S3."""

import importlib.util
import subprocess
import sys

import pytest
import requests
from tests.postgres import running_postgres
from tests.runs.small import SMALL, small_config
from tests.servers import running

from clickflow.cli.search_path import REPOSITORY
from clickflow.errors import ClickflowError, TrackingError
from clickflow.promotion.config import PromoteConfig
from clickflow.promotion.promote import promote
from clickflow.runs.config import EvaluateConfig, ReproduceConfig
from clickflow.runs.evaluate import evaluate
from clickflow.runs.reproduce import reproduce
from clickflow.runs.train import train
from clickflow.tracking.config import TrackingConfig
from clickflow.tracking.logged_model import load_model
from clickflow.tracking.maintenance import artifact_bytes
from clickflow.tracking.store import open_store
from clickflow.upkeep.cleanup import clean
from clickflow.upkeep.config import CleanupConfig

pytestmark = pytest.mark.slow

needs_auth = pytest.mark.skipif(importlib.util.find_spec("flask_wtf") is None, reason="needs pip install 'clickflow[auth]'")
needs_s3 = pytest.mark.skipif(
    importlib.util.find_spec("boto3") is None or importlib.util.find_spec("moto") is None,
    reason="needs pip install 'clickflow[s3]' 'moto[s3]'",
)

ADMIN = ("admin", "a long admin password")
ADA = ("ada", "ada's own password")
BOB = ("bob", "bob's own password")


def log_in(monkeypatch, who):
    for name, value in zip(("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"), who, strict=True):
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name, raising=False)


def finished_sweep(store):
    """A sweep of two trials with checkpoints, the better one last."""
    tags = {"kind": "sweep", "sweep.metrics": "val/gauc", "sweep.directions": "maximize"}
    parent = store.client.create_run(store.experiment_id, tags=tags).info.run_id
    store.client.set_terminated(parent)
    trials = []
    for number in range(2):
        own = {"mlflow.parentRunId": parent, "trial.number": str(number), "trial.state": "complete"}
        trials.append(store.client.create_run(store.experiment_id, tags=own).info.run_id)
        store.client.log_metric(trials[-1], "best/gauc", number / 2)
        store.client.log_text(trials[-1], "w" * 1000, "checkpoints/best.ckpt")
        store.client.set_terminated(trials[-1])
    return trials


def cleaned(home, tracking):
    done = list(clean(CleanupConfig(home=home, tracking=tracking, keep_best=1)))
    assert [one.error for one in done if one.error] == []
    return "\n".join(one.what for one in done)


@pytest.fixture(scope="module")
def database():
    with running_postgres() as uri:
        yield uri


@pytest.fixture(scope="module")
def server(database, tmp_path_factory):
    folder = tmp_path_factory.mktemp("production")
    auth = folder / "auth.ini"
    lines = ["[mlflow]", "default_permission = READ", f"database_uri = {database}", "auth_cache_ttl_seconds = 60"]
    auth.write_text("\n".join([*lines, "authorization_function = mlflow.server.auth:authenticate_request_basic_auth"]) + "\n")
    command = ["server", "--app-name", "basic-auth", "--backend-store-uri", database, "--artifacts-destination", str(folder / "artifacts")]
    secrets = {"MLFLOW_FLASK_SERVER_SECRET_KEY": "any secret", "MLFLOW_AUTH_CONFIG_PATH": str(auth)}
    admin = {"MLFLOW_AUTH_ADMIN_USERNAME": ADMIN[0], "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN[1]}
    with running(*command, folder=folder, path="/health", **secrets, **admin) as uri:
        for name, password in (ADA, BOB):
            user = {"username": name, "password": password}
            requests.post(f"{uri}/api/2.0/mlflow/users/create", json=user, auth=ADMIN, timeout=10).raise_for_status()
        yield uri


@needs_auth
def test_everything_goes_through_a_server_with_passwords_over_postgresql(server, database, tmp_path, monkeypatch):
    log_in(monkeypatch, ADA)
    home, where = tmp_path / "home", TrackingConfig(uri=server)
    config = small_config(home, "trainer.max_epochs=1", f"tracking.uri={server}")
    trained = train(config)
    assert evaluate(EvaluateConfig(run_id=trained.run_id, home=home, tracking=where)).times_opened == 1
    assert reproduce(ReproduceConfig(run_id=trained.run_id, home=home, tracking=where)).result == "identical"
    store = open_store(config.tracking, home)
    assert load_model(store, trained.model_uri).metadata.run_id == trained.run_id
    champion = PromoteConfig(name="ctr", experiment_name="synthetic", home=home, tracking=where)
    assert promote(champion).challenger.run.run_id == trained.run_id  # and not its reproduction
    assert load_model(store, "models:/ctr@champion").metadata.run_id == trained.run_id
    trials = finished_sweep(store)
    assert "run gc with tracking.uri=DATABASE there" in cleaned(home, where)
    assert [artifact_bytes(store, run_id, "checkpoints") for run_id in trials] == [0, 1000]
    # the server's machine reaches the database itself
    with_password = database.replace("clickflow@", "clickflow:not-to-be-told@")
    assert "ANALYZE" in cleaned(tmp_path / "there", TrackingConfig(uri=with_password))
    # one who may only read
    log_in(monkeypatch, BOB)
    assert open_store(config.tracking, home).experiment_id == store.experiment_id
    with pytest.raises(TrackingError, match=r"run din-seed0: cannot be opened .*Permission denied"):
        train(config)
    with pytest.raises(ClickflowError, match="Permission denied"):
        promote(champion.model_copy(update={"name": "another", "run_id": trained.run_id}))
    with pytest.raises(TrackingError, match="Permission denied"):
        evaluate(EvaluateConfig(run_id=trained.run_id, home=home, tracking=where))


@needs_auth
@pytest.mark.parametrize("who", [(None, None), ("ada", "wrong"), ("nobody", "x")])
def test_without_the_right_password_the_store_is_refused_at_once(server, monkeypatch, tmp_path, who):
    log_in(monkeypatch, who)
    requested, send = [], requests.Session.send
    monkeypatch.setattr(requests.Session, "send", lambda self, request, **how: requested.append(request.url) or send(self, request, **how))
    with pytest.raises(TrackingError, match=r"the server wants another user or password; set MLFLOW_TRACKING_USERNAME and"):
        open_store(TrackingConfig(uri=server, experiment_name="x"), tmp_path)
    assert len(requested) == 1, requested


def test_the_password_of_a_database_is_told_nowhere(database, tmp_path):
    uri = database.replace("clickflow@", "clickflow:not-to-be-told@")
    command = [sys.executable, str(REPOSITORY / "pipelines/train.py"), f"home={tmp_path / 'home'}", f"tracking.uri={uri}"]
    done = subprocess.run(
        [
            *command,
            *SMALL,
            "trainer.max_epochs=1",
            f"tracking.artifact_location={tmp_path / 'artifacts'}",
            "tracking.experiment_name=secret",
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "tracking.uri=postgresql+psycopg://clickflow:***@" in done.stdout
    store = open_store(TrackingConfig(uri=uri, experiment_name="secret"), tmp_path)
    [run] = store.client.search_runs([store.experiment_id])
    files = [path.read_bytes() for path in (tmp_path / "artifacts").rglob("*") if path.is_file()]
    assert any(b"clickflow:***@" in content for content in files)
    told = [done.stdout, done.stderr, str(run.data.params), str(run.data.tags)]
    assert not [text for text in told if "not-to-be-told" in text]
    assert not [content for content in files if b"not-to-be-told" in content]


@needs_s3
def test_artifacts_are_kept_on_s3_and_deleted_there(tmp_path, monkeypatch):
    import boto3
    from moto.server import ThreadedMotoServer

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3 = ThreadedMotoServer("127.0.0.1", 0)
    s3.start()
    try:
        host, port = s3.get_host_and_port()
        monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", f"http://{host}:{port}")
        boto3.client("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket="clickflow")
        home = tmp_path / "home"
        config = small_config(home, "trainer.max_epochs=1", "tracking.artifact_location=s3://clickflow/runs")
        trained = train(config)
        assert evaluate(EvaluateConfig(run_id=trained.run_id, home=home, tracking=TrackingConfig())).times_opened == 1
        store = open_store(config.tracking, home)
        assert load_model(store, trained.model_uri).metadata.run_id == trained.run_id
        assert not (home / "artifacts").exists()
        trials = finished_sweep(store)
        cleaned(home, TrackingConfig())
        assert [artifact_bytes(store, run_id, "checkpoints") for run_id in trials] == [0, 1000]
        assert artifact_bytes(store, trained.run_id, "checkpoints") > 0
    finally:
        s3.stop()
