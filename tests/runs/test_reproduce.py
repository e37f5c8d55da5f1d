"""A run is trained again from what it says of itself, and every metric is held against the old one's."""

import csv
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from mlflow import MlflowClient
from tests.runs.small import small_config

from clickflow.cli.compose import composed_config
from clickflow.cli.search_path import REPOSITORY
from clickflow.config import validate
from clickflow.data.prepare import prepare
from clickflow.errors import ConfigError, DataError, TrackingError
from clickflow.runs.config import EvaluateConfig, ReproduceConfig, RunConfig
from clickflow.runs.evaluate import evaluate
from clickflow.runs.reproduce import reproduce
from clickflow.runs.train import open_training_run, train, train_in
from clickflow.sweep.trial_run import CURVES
from clickflow.tracking.config import TrackingConfig
from clickflow.tracking.contents import fetch_artifact
from clickflow.tracking.names import CONFIG_DIGEST_TAG
from clickflow.tracking.store import open_store
from clickflow.training.checkpoints import read_progress

pytestmark = pytest.mark.slow


class Old:
    """A finished run that was evaluated; tests may change it and put it back."""

    def __init__(self, home):
        self.home = home
        config = small_config(home, "model.dropout=0.2", "model.activation=dice", "data.num_impressions=2000")
        self.trained = train(config)
        self.run_id = self.trained.run_id
        evaluate(EvaluateConfig(run_id=self.run_id, home=home, tracking=TrackingConfig()))
        self.client = MlflowClient(f"sqlite:///{home}/mlflow.db")

    @property
    def tags(self):
        return self.client.get_run(self.run_id).data.tags

    def config(self, *overrides):
        return validate(ReproduceConfig, composed_config("reproduce", [f"run_id={self.run_id}", f"home={self.home}", *overrides]))

    def runs(self):
        return self.client.search_runs([self.client.get_experiment_by_name("synthetic").experiment_id])


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    return Old(tmp_path_factory.mktemp("reproduced") / "home")


@pytest.fixture
def altered(old):
    """Set tags of the old run for one test."""
    before = old.tags
    set_keys = []

    def alter(**tags):
        for key, value in tags.items():
            name = key.replace("__", ".")
            set_keys.append(name)
            old.client.set_tag(old.run_id, name, value)

    yield alter
    for name in set_keys:
        if name in before:
            old.client.set_tag(old.run_id, name, before[name])
        else:
            old.client.delete_tag(old.run_id, name)


def test_every_metric_is_identical_whatever_the_number_of_threads_here(old, tmp_path):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found = reproduce(old.config())
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert found.agrees
    assert (found.result, found.tolerance) == ("identical", 0.0)
    names = {metric.metric for metric in found.metrics}
    assert {"train/loss", "train/learning_rate", "val/gauc", "best/epoch", "roc/tpr", "test/auc", "num_parameters"} <= names
    assert any(name.startswith("gradient_norm/") for name in names)
    old_metrics = old.client.get_run(old.run_id).data.metrics
    assert {name for name in old_metrics if name not in names} == {
        "epoch",
        "latency_milliseconds",
        "rows_per_second",
        "test/times_opened",
        "train/rows_per_second",
        "train_seconds",
    }
    run = old.client.get_run(found.run_id)
    assert run.data.tags["machine.threads"] == old.tags["machine.threads"] == "1"
    assert {key: run.data.tags[key] for key in ("reproduces", "kind", "mlflow.parentRunId", "reproduction.result")} == {
        "reproduces": old.run_id,
        "kind": "reproduction",
        "mlflow.parentRunId": old.run_id,
        "reproduction.result": "identical",
    }
    assert run.data.tags[CONFIG_DIGEST_TAG] == old.tags[CONFIG_DIGEST_TAG]
    assert run.data.tags["mlflow.note.content"].startswith(f"**Reproduction of run {old.run_id}: identical**")
    assert run.info.status == "FINISHED"
    table = old.client.download_artifacts(found.run_id, "reproduction.csv", str(tmp_path))
    rows = list(csv.DictReader(io.StringIO(Path(table).read_text(encoding="utf-8"))))
    assert {row["metric"] for row in rows} == names
    assert {row["differing"] for row in rows} == {"0"}


def test_the_command_says_where_a_run_parts_from_the_old_one_and_ends_with_3(old, tmp_path):
    home = shutil.copytree(old.home, tmp_path / "home")
    client = MlflowClient(f"sqlite:///{home}/mlflow.db")
    client.log_metric(old.run_id, "val/auc", 0.125, step=9_999)  # as if the old run had gone on
    command = [sys.executable, str(REPOSITORY / "pipelines/reproduce.py"), f"run_id={old.run_id}", f"home={home}"]
    elsewhere = os.environ | {"ATEN_CPU_CAPABILITY": "default"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=elsewhere)
    print(done.stdout, done.stderr)
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert "different from then: processor:" in done.stdout
    assert "first difference: val/auc at step 9,999: 0.125 then, missing now" in done.stdout
    assert "should be within" in done.stdout  # another processor
    [new] = [run for run in client.search_runs(["1"]) if run.data.tags.get("reproduction.result") == "different"]
    assert new.info.status == "FINISHED"
    assert new.data.metrics["test/auc"] == pytest.approx(old.client.get_run(old.run_id).data.metrics["test/auc"], abs=1e-3)


def test_other_data_is_refused_and_no_run_is_opened(old, altered):
    altered(dataset__fingerprint="0" * 64)
    before = len(old.runs())
    with pytest.raises(DataError, match="was trained on 000000000000"):
        reproduce(old.config())
    assert len(old.runs()) == before


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"kind": "sweep"}, r"is a sweep, which trains nothing itself; name one of the runs below it"),
        ({"trial__state": "pruned"}, r"was pruned by its sweep, so how far it came depends on the other trials"),
    ],
)
def test_what_cannot_be_trained_again_is_refused(old, altered, tags, message):
    altered(**tags)
    with pytest.raises(TrackingError, match=message):
        reproduce(old.config())


@pytest.mark.parametrize("status", ["FAILED", "RUNNING", "KILLED"])
def test_a_run_that_did_not_finish_is_refused(old, status):
    old.client.update_run(old.run_id, status=status)
    try:
        with pytest.raises(TrackingError, match=f"its status is {status}; only a FINISHED run can be reproduced"):
            reproduce(old.config())
    finally:
        old.client.update_run(old.run_id, status="FINISHED")


def test_an_unknown_run_and_a_place_that_the_runs_source_has_not_are_named(old):
    with pytest.raises(TrackingError, match="run_id = nosuch: no such run"):
        reproduce(old.config("run_id=nosuch"))
    with pytest.raises(ConfigError, match=r"with the keys given here:\n  data.path: unknown key"):
        reproduce(old.config("data.path=log.csv"))


class StopAfter:
    """Ends a fit after a validation, as a worker's death would."""

    def __init__(self, number):
        self.number = number

    def after_step(self, epochs, rows_per_second):
        pass

    def after_validation(self, number, metrics):
        if number == self.number:
            raise RuntimeError("the worker dies")


def test_a_run_that_was_carried_on_from_a_checkpoint_is_made_again_in_one_go(tmp_path):
    home = tmp_path / "home"
    config = small_config(home, "model=dien", "model.dropout=0.2", "data.num_impressions=2000", "trainer.max_epochs=3")
    store = open_store(config.tracking, home)
    dataset = prepare(config.data, config.protocol, home)
    # the first attempt dies in its third epoch, with checkpoints of two
    with pytest.raises(RuntimeError), open_training_run(store, config) as died:
        train_in(died, config, dataset, watcher=StopAfter(3))
    with open_training_run(store, config) as run:
        checkpoints = fetch_artifact(store, died.id, "checkpoints", tmp_path / "scratch")
        step, num_validations = read_progress(checkpoints / "last.ckpt")
        assert num_validations == 2
        run.copy_metrics(died.id, CURVES, step)
        train_in(run, config, dataset, watcher=StopAfter(None), resume_from=checkpoints / "last.ckpt", figures=False)
    found = reproduce(validate(ReproduceConfig, composed_config("reproduce", [f"run_id={run.id}", f"home={home}"])))
    assert found.result == "identical"
    loss = next(metric for metric in found.metrics if metric.metric == "train/loss")
    assert loss.num_points > step / config.trainer.log_every_num_steps  # from the first step on


def test_a_colleague_says_where_the_log_lies_and_gets_the_same(tmp_path):
    log = tmp_path / "there" / "log.csv"
    log.parent.mkdir()
    events = [(user, step) for user in range(30) for step in range(1, 41)]
    rows = [f"{user},{(user * 7 + step * 3) % 23},{1_700_000_000 + step},{int((user + step * step) % 3 == 0)}" for user, step in events]
    log.write_text("\n".join(["user,item,when,click", *rows]) + "\n")
    home = tmp_path / "home"
    columns = "data.columns={user: user, item: item, timestamp: when, label: click}"
    quick = ["trainer.max_epochs=1", "trainer.batch_size=64", "trainer.progress_bar=false", "tracking.log_system_metrics=false"]
    overrides = [f"home={home}", "data=log", "data.name=mine", f"data.path={log}", columns, *quick]
    trained = train(validate(RunConfig, composed_config("train", overrides)))
    client = MlflowClient(f"sqlite:///{home}/mlflow.db")
    client.set_tag(trained.run_id, "dataset.folder", "/nowhere")  # as seen from another machine
    here = log.rename(tmp_path / "log.csv")
    elsewhere = ["home=" + str(tmp_path / "other"), f"tracking.uri=sqlite:///{home}/mlflow.db", f"run_id={trained.run_id}"]
    with pytest.raises(DataError, match="no such file"):
        reproduce(validate(ReproduceConfig, composed_config("reproduce", elsewhere)))
    found = reproduce(validate(ReproduceConfig, composed_config("reproduce", [*elsewhere, f"data.path={here}"])))
    assert found.result == "identical"
    client.download_artifacts(found.run_id, "config.yaml", str(tmp_path))
    logged = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert (logged["home"], logged["data"]["path"]) == (str(tmp_path / "other"), [str(here)])
