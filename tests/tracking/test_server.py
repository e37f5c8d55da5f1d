"""The same store behind a real ``mlflow server`` and a real ``mlflow models serve``, on 127.0.0.1."""

import numpy as np
import pytest
import requests

from clickflow.tracking.config import TrackingConfig
from clickflow.tracking.lifecycle import open_run, resume_run
from clickflow.tracking.model import load_model, log_model
from clickflow.tracking.store import open_store
from tests.servers import running
from tests.tracking.test_model import FULL, expected, frame, make_bundle

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    storage = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "artifacts")]
    with running("server", *storage, folder=folder, path="/health") as uri:
        yield uri


@pytest.fixture(scope="module")
def remote(server, tmp_path_factory):
    return open_store(TrackingConfig(uri=server, experiment_name="remote"), tmp_path_factory.mktemp("home"))


def test_runs_metrics_and_artifacts_go_through_a_server(remote, tmp_path):
    with open_run(remote, name="n", params={"seed": 1}, tags={"model": "din"}, log_system_metrics=True) as run:
        for step in range(1500):
            run.log_metrics({"train/loss": 1 / (step + 1), "train/rows": step}, step)
        run.log_curve("roc/tpr", np.arange(1001), np.linspace(0, 1, 1001))
        run.log_text("hello", "notes/a.txt")
        run.log_dataset("d", "f" * 64, "source", {"rows": 1}, "training")
    assert (run.status, run.params, run.tags["model"]) == ("FINISHED", {"seed": "1"}, "din")
    history = remote.client.get_metric_history(run.id, "train/loss")
    assert [(metric.step, metric.value) for metric in history] == [(step, 1 / (step + 1)) for step in range(1500)]
    assert len(remote.client.get_metric_history(run.id, "roc/tpr")) == 1001
    assert run.download("notes/a.txt", tmp_path).read_text() == "hello"
    assert run.url.startswith(f"{remote.uri}/#/experiments/")
    assert requests.get(remote.uri, timeout=5).ok


def test_failed_run_and_resumed_run_on_a_server_tell_the_truth(remote, tmp_path, capsys):
    with pytest.raises(ZeroDivisionError), open_run(remote, name="n", params={}, tags={}, log_system_metrics=False) as run:
        _ = 1 / 0
    assert (run.status, run.tags["error"]) == ("FAILED", "ZeroDivisionError: division by zero")
    assert "ZeroDivisionError" in run.download("error/traceback.txt", tmp_path).read_text()
    with resume_run(remote, run.id, "evaluation") as resumed:
        resumed.log_metrics({"test/auc": 0.5}, 0)
    assert (run.status, resumed.metrics) == ("FAILED", {"test/auc": 0.5})
    assert capsys.readouterr().out == ""  # what is printed is the pipelines' affair


def test_model_travels_through_a_server(remote):
    bundle = make_bundle()
    with open_run(remote, name="n", params={}, tags={}, log_system_metrics=False) as run:
        uri = log_model(run, bundle)
        assert run.status == "RUNNING"
    np.testing.assert_allclose(load_model(remote, uri).predict(frame([FULL]))["probability"], expected(bundle, [FULL]), rtol=1e-6)


def test_plain_mlflow_serves_the_model_and_refuses_a_float_id(store, run, tmp_path):
    bundle = make_bundle()
    uri = log_model(run, bundle)
    command = ["models", "serve", "--model-uri", uri, "--env-manager", "local"]
    with running(*command, folder=tmp_path, path="/ping", MLFLOW_TRACKING_URI=store.uri) as server:
        rows = [FULL, {"item": 999, "history": []}]
        answer = requests.post(f"{server}/invocations", json={"dataframe_records": rows}, timeout=30)
        assert answer.ok, answer.text
        preds = [row["probability"] for row in answer.json()["predictions"]]
        np.testing.assert_allclose(preds, expected(bundle, rows), rtol=1e-6)
        refused = requests.post(f"{server}/invocations", json={"dataframe_records": [FULL | {"item": 1.5}]}, timeout=30)
        assert refused.status_code == 400
        assert "column 'item', row 0 = 1.5: not an integer id" in refused.text
