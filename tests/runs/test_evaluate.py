"""Evaluation: the test split, once the training is done, on the run that trained."""

import shutil
from pathlib import Path

import polars as pl
import pytest
from mlflow import MlflowClient
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from clickflow.errors import DataError, TrackingError, TrainingError
from clickflow.runs.config import EvaluateConfig
from clickflow.runs.evaluate import evaluate
from clickflow.runs.train import train
from clickflow.tracking.config import TrackingConfig
from tests.runs.small import small_config

pytestmark = pytest.mark.slow


def evaluation(home, run_id):
    return evaluate(EvaluateConfig(run_id=run_id, home=home, tracking=TrackingConfig()))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Not the session's: evaluation adds to a run. Whatever a test changes it puts back."""
    return train(small_config(tmp_path_factory.mktemp("evaluated") / "home", "trainer.max_epochs=1"))


@pytest.fixture
def client(trained):
    return MlflowClient(f"sqlite:///{trained.config.home}/mlflow.db")


def test_test_metrics_are_those_of_the_logged_predictions(trained, client, tmp_path):
    scored = evaluation(trained.config.home, trained.run_id).scored
    run = client.get_run(trained.run_id)
    rows = pl.read_parquet(client.download_artifacts(trained.run_id, "predictions/test.parquet", str(tmp_path)))
    assert scored.metrics["auc"] == pytest.approx(roc_auc_score(rows["label"], rows["preds"]), abs=1e-6)
    assert run.data.metrics["test/pr_auc"] == pytest.approx(average_precision_score(rows["label"], rows["preds"]), abs=1e-6)
    assert run.data.metrics["test/log_loss"] == pytest.approx(log_loss(rows["label"], rows["preds"]), abs=1e-6)
    assert run.data.metrics["test/oracle_auc"] > run.data.metrics["test/auc"]
    assert len(client.get_metric_history(trained.run_id, "test/roc/tpr")) == 1000
    assert run.info.status == "FINISHED"
    assert run.data.tags["evaluation.status"] == "FINISHED"


def test_an_unknown_run_is_refused(trained):
    with pytest.raises(TrackingError, match="run_id = 0123: no such run"):
        evaluation(trained.config.home, "0123")


def test_data_prepared_again_must_be_what_the_run_saw(trained, client):
    home, fingerprint = trained.config.home, client.get_run(trained.run_id).data.tags["dataset.fingerprint"]
    shutil.rmtree(home / "datasets")
    assert evaluation(home, trained.run_id).scored.metrics["auc"] > 0  # prepared again, the same
    client.set_tag(trained.run_id, "dataset.fingerprint", "0" * 64)
    with pytest.raises(DataError, match=r"was trained on 000000000000; the source has changed since"):
        evaluation(home, trained.run_id)
    run = client.get_run(trained.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["evaluation.status"] == "FAILED"
    client.set_tag(trained.run_id, "dataset.fingerprint", fingerprint)


def test_a_run_that_did_not_finish_is_refused(trained, client):
    client.set_terminated(trained.run_id, "FAILED")
    with pytest.raises(TrackingError, match="its status is FAILED; only a FINISHED run can be evaluated"):
        evaluation(trained.config.home, trained.run_id)
    client.set_terminated(trained.run_id, "FINISHED")


def test_a_damaged_checkpoint_is_refused(trained, client):
    folder = Path(client.get_run(trained.run_id).info.artifact_uri.removeprefix("file://"))
    checkpoint = folder / "checkpoints" / "best.ckpt"
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TrainingError, match=r"checkpoint best\.ckpt: cannot be loaded"):
        evaluation(trained.config.home, trained.run_id)
    checkpoint.write_bytes(whole)
