"""Evaluation of a trained run on the test split: the only code that opens it."""

import tempfile
from pathlib import Path

import yaml
from torch import nn

from clickflow.config import validate
from clickflow.data.dataset import PreparedDataset
from clickflow.data.prepare import prepare
from clickflow.errors import DataError, TrackingError
from clickflow.models import build_model
from clickflow.runs.config import EvaluateConfig, RunConfig
from clickflow.runs.report import ScoredSplit, log_split, score
from clickflow.tracking.lifecycle import resume_run
from clickflow.tracking.run import Run
from clickflow.tracking.store import open_store
from clickflow.training.checkpoints import load_weights


def evaluate(config: EvaluateConfig) -> ScoredSplit:
    """Score the test split with a run's best weights and log the result onto that run.

    Raises:
        TrackingError: there is no such run, it did not finish, or it lacks its config or checkpoint.
        DataError: its data set is not what it was trained on any more.
    """
    store = open_store(config.tracking, config.home)
    with resume_run(store, config.run_id, "evaluation") as run:
        if run.status != "FINISHED":
            raise TrackingError(f"run_id = {run.id}: its status is {run.status}; only a FINISHED run can be evaluated; train it again.")
        with tempfile.TemporaryDirectory() as scratch:
            run_config = read_config(run, Path(scratch))
            dataset = open_dataset(run, run_config)
            model = read_model(run, run_config, dataset, Path(scratch))
        scored = score(model, dataset, "test", run_config.trainer)
        run.log_metrics({f"test/{name}": value for name, value in scored.metrics.items()}, step=0)
        log_split(run, dataset, scored, curve_prefix="test/")
        return scored


def read_config(run: Run, scratch: Path) -> RunConfig:
    """The config a run was trained with."""
    values = yaml.safe_load(run.download("config.yaml", scratch).read_text())
    return validate(RunConfig, values, f"config.yaml of run {run.id}")


def open_dataset(run: Run, config: RunConfig) -> PreparedDataset:
    """The data set a run was trained on, prepared again where its folder is gone.

    Raises:
        DataError: what was prepared is not what the run saw.
    """
    tags = run.tags
    folder = Path(tags.get("dataset.folder", ""))
    dataset = PreparedDataset.open(folder) if folder.is_dir() else prepare(config.data, config.protocol, config.home)
    expected, found = tags.get("dataset.fingerprint"), dataset.manifest.fingerprint
    if found != expected:
        raise DataError(
            f"data set {config.data.name}, fingerprint = {found[:12]}: run {run.id} was trained on {str(expected)[:12]}; "
            "the source has changed since; bring back the source the run was trained on, or train again."
        )
    return dataset


def read_model(run: Run, config: RunConfig, dataset: PreparedDataset, scratch: Path) -> nn.Module:
    """The model with the best weights of a run."""
    model = build_model(config.model, dataset.schema)
    path = run.download("checkpoints/best.ckpt", scratch)
    load_weights(model, path)
    return model
