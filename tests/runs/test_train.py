"""A training run: what it leaves in the store, and what its status says when it fails."""

import errno
import json
from itertools import pairwise
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
import yaml
from mlflow import MlflowClient
from sklearn.metrics import roc_auc_score
from tests.runs.small import small_config

from clickflow.cli.compose import composed_config
from clickflow.config import flatten, validate
from clickflow.errors import ConfigError, DataError, TrackingError, TrainingError
from clickflow.metrics.ranking import MetricUndefinedWarning
from clickflow.runs import train as train_module
from clickflow.runs.config import RunConfig
from clickflow.runs.train import train
from clickflow.tracking.logged_model import load_model
from clickflow.tracking.store import open_store
from clickflow.training import fit as fit_module

pytestmark = pytest.mark.slow  # each of them trains


@pytest.fixture
def client(trained):
    return MlflowClient(f"sqlite:///{trained.config.home}/mlflow.db")


@pytest.fixture
def run(client, trained):
    return client.get_run(trained.run_id)


def artifacts(client, run_id, path=None):
    for entry in client.list_artifacts(run_id, path):
        yield from artifacts(client, run_id, entry.path) if entry.is_dir else [entry.path]


def only_run(home, experiment="synthetic"):
    client = MlflowClient(f"sqlite:///{home}/mlflow.db")
    [run] = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    return client, run


def test_the_run_is_finished_and_named_by_model_and_seed(run):
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "din-seed0"


def test_params_are_the_whole_resolved_config(run, trained):
    expected = flatten(trained.config.model_dump(mode="json"))
    assert {key: str(value) for key, value in expected.items()} == run.data.params


def test_tags_tell_model_data_and_lineage(run):
    tags = run.data.tags
    assert (tags["model"], tags["data"], tags["protocol"]) == ("din", "synthetic", "impressions")
    assert len(tags["dataset.fingerprint"]) == 64
    assert tags["git.dirty"] in ("true", "false", "unknown")
    assert "**din** on **synthetic**" in tags["mlflow.note.content"]


def test_the_config_artifact_is_a_config_that_trains_again(client, run, tmp_path, trained):
    path = client.download_artifacts(run.info.run_id, "config.yaml", str(tmp_path))
    assert validate(RunConfig, yaml.safe_load(Path(path).read_text())) == trained.config


def test_all_artifacts_are_there(client, run):
    found = set(artifacts(client, run.info.run_id))
    figures = {f"figures/validation/{name}.png" for name in ("roc", "pr", "reliability", "attention")}
    files = {"config.yaml", "environment.txt", "curves/validation.csv", "predictions/validation.parquet", "attention/validation.csv"}
    assert found == figures | files | {"checkpoints/best.ckpt", "checkpoints/last.ckpt"}


def test_best_metrics_are_those_of_the_logged_predictions(client, run, tmp_path, trained):
    rows = pl.read_parquet(client.download_artifacts(run.info.run_id, "predictions/validation.parquet", str(tmp_path)))
    assert rows.columns == ["user", "item", "label", "preds"]
    expected = roc_auc_score(rows["label"], rows["preds"])
    assert run.data.metrics["best/auc"] == pytest.approx(expected, abs=1e-6)
    assert trained.validation["auc"] == pytest.approx(expected, abs=1e-6)


def test_the_best_value_is_the_best_of_the_logged_validations(client, run, trained):
    history = [metric.value for metric in client.get_metric_history(run.info.run_id, "val/gauc")]
    assert len(history) == trained.fit.num_epochs
    assert run.data.metrics["best/gauc"] == pytest.approx(max(history), abs=1e-6)


def test_curves_are_step_metrics_on_a_fixed_grid(client, run):
    roc = client.get_metric_history(run.info.run_id, "roc/tpr")
    assert [metric.step for metric in roc] == list(range(1000))
    assert all(a.value <= b.value + 1e-12 for a, b in pairwise(roc))
    pr = client.get_metric_history(run.info.run_id, "pr/precision")
    assert [metric.step for metric in pr] == list(range(1, 1001))


def test_loss_learning_rate_and_norms_of_layers_are_logged_over_steps(client, run):
    for name in ("train/loss", "train/learning_rate", "gradient_norm/activation_unit.first", "activation_norm/mlp.layers.0"):
        history = client.get_metric_history(run.info.run_id, name)
        assert len(history) > 5, name
        assert all(metric.value > 0 for metric in history), name


def test_the_dataset_is_an_input_of_the_run(run, trained):
    [logged] = run.inputs.dataset_inputs
    assert logged.dataset.name == "synthetic"
    assert run.data.tags["dataset.fingerprint"].startswith(logged.dataset.digest)
    assert json.loads(logged.dataset.profile)["train_rows"] == len(
        train_module.prepare(trained.config.data, trained.config.protocol, trained.config.home).split("train")
    )


def test_the_test_split_was_not_opened(client, run):
    assert not [name for name in run.data.metrics if name.startswith("test/")]


def test_the_logged_model_scores_raw_ids_like_the_training_code(client, run, tmp_path, trained):
    store = open_store(trained.config.tracking, trained.config.home)
    model = load_model(store, trained.model_uri)
    dataset = train_module.prepare(trained.config.data, trained.config.protocol, trained.config.home)
    rows = dataset.split("validation").rows
    items = dataset.raw_items()
    raw_behaviours = items.gather(dataset.split("validation").behaviours.astype(np.uint32) - 1).to_numpy()
    chosen = range(50)
    histories = [raw_behaviours[rows["history_start"][i] : rows["history_end"][i]].tolist() for i in chosen]
    inputs = pd.DataFrame({"item": items.gather(rows["item"][:50].astype(np.uint32) - 1).to_numpy(), "history": histories})
    predictions = pl.read_parquet(client.download_artifacts(run.info.run_id, "predictions/validation.parquet", str(tmp_path)))
    np.testing.assert_allclose(model.predict(inputs)["probability"], predictions["preds"][:50], atol=1e-6)


def test_the_same_seed_gives_identical_metrics_and_another_seed_does_not(tmp_path, trained):
    again = train(small_config(tmp_path / "a"))
    other = train(small_config(tmp_path / "b", "seed=1"))
    assert again.validation == trained.validation
    assert other.validation != trained.validation


def test_nothing_is_left_beside_the_store_and_the_data(trained):
    assert not list((trained.config.home / "checkpoints").glob("*"))
    assert mlflow.active_run() is None


def test_bad_data_leaves_a_failed_run_with_the_reason(tmp_path):
    (tmp_path / "clicks.csv").write_text("user_id,item_id,timestamp,clicked\nu1,i1,n/a,1\n")
    with pytest.raises(DataError, match="row 1 = 'n/a'"):
        train(log_config(tmp_path))
    client, run = only_run(tmp_path / "home", "log")
    assert run.info.status == "FAILED"
    assert "n/a" in run.data.tags["error"]
    assert "error/traceback.txt" in set(artifacts(client, run.info.run_id))


def log_config(tmp_path):
    overrides = ["data=log", f"data.path={tmp_path / 'clicks.csv'}", f"home={tmp_path / 'home'}", "tracking.log_system_metrics=false"]
    return validate(RunConfig, composed_config("train", overrides))


def test_labels_of_one_class_are_refused_and_the_run_is_failed(tmp_path):
    rows = "".join(f"u{i % 7},i{i % 11},{1_700_000_000 + i},1\n" for i in range(60))
    (tmp_path / "clicks.csv").write_text("user_id,item_id,timestamp,clicked\n" + rows)
    with pytest.raises(DataError, match=r"split train: all 48 labels are 1; both classes are needed; .* set protocol=next_item"):
        train(log_config(tmp_path))
    _, run = only_run(tmp_path / "home", "log")
    assert run.info.status == "FAILED"


@pytest.mark.parametrize(("model", "is_refused"), [("dien", True), ("din", False)])
def test_a_log_without_order_is_refused_by_a_model_that_needs_one(tmp_path, model, is_refused):
    """Each user has one moment only, though the users' differ."""
    draw = np.random.default_rng(0)
    log = pl.DataFrame(
        {"user": np.repeat(np.arange(60), 6), "item": draw.integers(0, 30, 360), "moment": 1_700_000_000 + np.repeat(np.arange(60), 6)}
    )
    log.write_parquet(tmp_path / "log.parquet")
    columns = "data.columns={user:user,item:item,timestamp:moment,label:null,rating:null}"
    data = [
        "data=log",
        "data.name=unordered",
        f"data.path={tmp_path / 'log.parquet'}",
        "protocol=next_item",
        "protocol.ties=position",
        columns,
    ]
    overrides = [f"home={tmp_path}", *data, f"model={model}", "trainer.max_epochs=1", "tracking.log_system_metrics=false"]
    config = validate(RunConfig, composed_config("train", overrides))
    if is_refused:
        with pytest.raises(
            ConfigError, match=r"model\.name = dien: reads histories as sequences, but no user of unordered has behaviours at two"
        ):
            train(config)
    else:
        train(config)
        _, run = only_run(tmp_path, "unordered")
        assert run.info.status == "FINISHED"


def test_a_monitor_that_the_validation_split_cannot_define_stops_the_run(tmp_path):
    rows = "".join(f"u{i},i{i % 11},{1_700_000_000 + i},{i % 2}\n" for i in range(60))  # one row a user: no GAUC
    (tmp_path / "clicks.csv").write_text("user_id,item_id,timestamp,clicked\n" + rows)
    with (
        pytest.warns(MetricUndefinedWarning),
        pytest.raises(TrainingError, match=r"trainer\.monitor = val/gauc: is nan on the validation split.*set trainer\.monitor="),
    ):
        train(log_config(tmp_path))
    _, run = only_run(tmp_path / "home", "log")
    assert run.info.status == "FAILED"


def test_a_checkpoint_that_cannot_be_written_is_told_and_not_kept(tmp_path, monkeypatch):
    def full_disk(*args, folder, **kwargs):
        folder.mkdir(parents=True)
        (folder / "best.ckpt").write_bytes(b"cut off")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fit_module, "fit", full_disk)
    with pytest.raises(TrainingError, match=r"checkpoints cannot be written \(No space left on device\); free some space"):
        train(small_config(tmp_path))
    client, run = only_run(tmp_path)
    assert run.info.status == "FAILED"
    assert not [path for path in artifacts(client, run.info.run_id) if path.startswith("checkpoints")]
    assert not list((tmp_path / "checkpoints").glob("*"))


def test_a_diverging_training_leaves_a_failed_run_that_names_the_layer(tmp_path):
    with pytest.raises(TrainingError, match=r"training diverged.*first in forward order: .*; lower optimizer\.learning_rate"):
        train(small_config(tmp_path, "optimizer=sgd", "optimizer.learning_rate=1e30"))
    _, run = only_run(tmp_path)
    assert run.info.status == "FAILED"


def test_a_training_that_diverges_late_keeps_its_last_good_checkpoints(tmp_path, monkeypatch):
    def break_weights_in_the_second_epoch(model, *args, sink, **kwargs):
        def poison(metrics, step):
            sink(metrics, step)
            if "train/rows_per_second" in metrics:  # the end of an epoch, after its checkpoint
                model.mlp.layers[0].weight.data[0, 0] = float("nan")

        return fit(model, *args, sink=poison, **kwargs)

    fit = fit_module.fit
    monkeypatch.setattr(fit_module, "fit", break_weights_in_the_second_epoch)
    with pytest.raises(TrainingError, match=r"first in forward order: the weights mlp\.layers\.0\.weight, nan in 1 of"):
        train(small_config(tmp_path))
    client, run = only_run(tmp_path)
    assert run.info.status == "FAILED"
    for name in ("best", "last"):
        saved = torch.load(client.download_artifacts(run.info.run_id, f"checkpoints/{name}.ckpt", str(tmp_path)), weights_only=True)
        assert saved["epoch"] == 0
        assert all(torch.isfinite(weights).all() for weights in saved["state_dict"].values())


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, "KILLED"), (RuntimeError, "FAILED")])
def test_a_training_that_is_cut_short_keeps_its_last_checkpoint(tmp_path, monkeypatch, error, status):
    def stop_after_an_epoch(*args, sink, **kwargs):
        def stop(metrics, step):
            sink(metrics, step)
            if "train/rows_per_second" in metrics:
                raise error

        return fit(*args, sink=stop, **kwargs)

    fit = fit_module.fit
    monkeypatch.setattr(fit_module, "fit", stop_after_an_epoch)
    with pytest.raises(error):
        train(small_config(tmp_path))
    client, run = only_run(tmp_path)
    assert run.info.status == status
    assert not list((tmp_path / "checkpoints").glob("*"))
    path = client.download_artifacts(run.info.run_id, "checkpoints/last.ckpt", str(tmp_path))
    assert torch.load(path, weights_only=True)["epoch"] == 0


def test_checkpoints_that_cannot_be_stored_stay_in_the_home_folder(tmp_path, monkeypatch):
    def refuse(run, home):
        raise TrackingError("the server is gone")

    monkeypatch.setattr(train_module, "keep_checkpoints", refuse)
    with pytest.raises(TrackingError, match="the server is gone"):
        train(small_config(tmp_path, "trainer.max_epochs=1"))
    [folder] = (tmp_path / "checkpoints").iterdir()
    assert {path.name for path in folder.iterdir()} == {"best.ckpt", "last.ckpt"}
