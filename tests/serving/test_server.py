"""The same store behind a real ``mlflow server`` and a real ``mlflow models serve``, on 127.0.0.1."""

import numpy as np
import pytest
import requests
from tests.servers import running
from tests.serving.bundles import FULL, expected, frame, make_bundle

from clickflow.tracking.config import TrackingConfig
from clickflow.tracking.contents import fetch_artifact
from clickflow.tracking.lifecycle import open_run, resume_run
from clickflow.tracking.logged_model import load_model, log_model
from clickflow.tracking.search import read_run
from clickflow.tracking.store import open_store

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
        run.log_curves({"roc/tpr": (np.arange(1001), np.linspace(0, 1, 1001))})
        run.log_text("hello", "notes/a.txt")
        run.log_dataset("d", "f" * 64, "source", {"rows": 1}, "training")
    logged = remote.client.get_run(run.id)
    assert (logged.info.status, logged.data.params, logged.data.tags["model"]) == ("FINISHED", {"seed": "1"}, "din")
    history = remote.client.get_metric_history(run.id, "train/loss")
    assert [(metric.step, metric.value) for metric in history] == [(step, 1 / (step + 1)) for step in range(1500)]
    assert len(remote.client.get_metric_history(run.id, "roc/tpr")) == 1001
    assert fetch_artifact(run.store, run.id, "notes/a.txt", tmp_path).read_text() == "hello"
    assert run.url.startswith(f"{remote.uri}/#/experiments/")
    assert requests.get(remote.uri, timeout=5).ok


def test_failed_run_and_resumed_run_on_a_server_tell_the_truth(remote, tmp_path, capsys):
    with pytest.raises(ZeroDivisionError), open_run(remote, name="n", params={}, tags={}, log_system_metrics=False) as run:
        _ = 1 / 0
    assert (run.status, read_run(remote, run.id).tags["error"]) == ("FAILED", "ZeroDivisionError: division by zero")
    assert "ZeroDivisionError" in fetch_artifact(run.store, run.id, "error/traceback.txt", tmp_path).read_text()
    with resume_run(remote, run.id, "evaluation") as resumed:
        resumed.log_metrics({"test/auc": 0.5}, 0)
    assert (run.status, read_run(remote, resumed.id).metrics) == ("FAILED", {"test/auc": 0.5})
    assert capsys.readouterr().out == ""  # what is printed is the pipelines' affair


def test_model_travels_through_a_server(remote):
    bundle = make_bundle()
    with open_run(remote, name="n", params={}, tags={}, log_system_metrics=False) as run:
        uri = log_model(run, bundle)
        assert run.status == "RUNNING"
    np.testing.assert_allclose(load_model(remote, uri).predict(frame([FULL]))["probability"], expected(bundle, [FULL]), rtol=1e-6)


def test_plain_mlflow_serves_the_model_refuses_what_is_wrong_and_goes_on(store, run, tmp_path):
    bundle = make_bundle()
    uri = log_model(run, bundle)
    command = ["models", "serve", "--model-uri", uri, "--env-manager", "local"]
    with running(*command, folder=tmp_path, path="/ping", MLFLOW_TRACKING_URI=store.uri) as server:
        rows = [FULL, {"item": 999, "history": []}]
        answer = requests.post(f"{server}/invocations", json={"dataframe_records": rows}, timeout=30)
        assert answer.ok, answer.text
        preds = [row["probability"] for row in answer.json()["predictions"]]
        np.testing.assert_allclose(preds, expected(bundle, rows), rtol=1e-6)

        many = {"item": [10, 20, 999], "history": [20, 30], "device": ["tv", None, "phone"]}
        answer = requests.post(f"{server}/invocations", json={"dataframe_records": [many, FULL, {"item": [], "history": []}]}, timeout=30)
        listed, plain, nothing = (row["probability"] for row in answer.json()["predictions"])
        alone = [many | {"item": item, "device": device} for item, device in zip(many["item"], many["device"], strict=True)]
        np.testing.assert_allclose([*listed, plain], expected(bundle, [*alone, FULL]), rtol=1e-6)
        assert nothing == []

        for body, status, message in (
            ({"dataframe_records": [FULL | {"item": 1.5}]}, 400, "column 'item', row 0 = 1.5: not an integer id"),
            ({"dataframe_records": [many | {"history": [20, None]}]}, 400, "column 'history', row 0 = null: missing"),
            ({"dataframe_records": [{"item": 10}]}, 400, "column 'history', row 0 = null: missing; send a list"),
            (
                {"dataframe_records": [many | {"item": [10] * 100_000}]},
                400,
                "column 'item' = 100,000 candidates: more than the 10,000 allowed",
            ),
            ({"dataframe_records": [{"item": 10, "history": []}] * 100_000}, 400, "column 'item' = 100,000 candidates"),
            ({"dataframe_records": [many | {"history": list(range(1_500_000))}]}, 413, "bytes: more than the 4,194,304 allowed"),
            ({"dataframe_records": [FULL | {"device": "x" * 10_000_000}]}, 413, "bytes: more than the 4,194,304 allowed"),
            ([1], 400, "request body = list: not a JSON object"),
        ):
            refused = requests.post(f"{server}/invocations", json=body, timeout=30)
            assert (refused.status_code, set(refused.json())) == (status, {"error_code", "message"})
            assert message in refused.json()["message"]
        not_json = requests.post(f"{server}/invocations", data=b"{", headers={"Content-Type": "application/json"}, timeout=30)
        assert (not_json.status_code, not_json.json()["message"][:34]) == (400, "request body: not JSON that can be")
        assert requests.post(f"{server}/invocations", json={"dataframe_records": [FULL]}, timeout=30).ok  # it goes on
