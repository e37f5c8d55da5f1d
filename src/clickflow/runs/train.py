"""A training run from config to model: one MLflow run around data, fit, validation and the saved model, so that its status is true."""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from clickflow.config import flatten
from clickflow.data.dataset import PreparedDataset
from clickflow.data.prepare import prepare
from clickflow.errors import ConfigError, DataError, TrackingError, TrainingError
from clickflow.models import build_model
from clickflow.runs.attention import log_attention
from clickflow.runs.config import RunConfig
from clickflow.runs.report import ScoredSplit, log_split, score
from clickflow.tracking.bundle import ServingBundle
from clickflow.tracking.lifecycle import open_run
from clickflow.tracking.lineage import environment_report, lineage_tags
from clickflow.tracking.model import log_model
from clickflow.tracking.run import Run
from clickflow.tracking.store import open_store
from clickflow.training.fit import FitResult, fit, seed_everything

Progress = Callable[[str], None]

CONFIG_DIGEST_TAG = "config.digest"


@dataclass(frozen=True)
class TrainedRun:
    """What a training run leaves behind.

    Attributes:
        run_id: of the MLflow run.
        url: of its page.
        config: what was trained.
        fit: epochs, speed, best epoch.
        validation: metrics at the best weights.
        num_parameters: of the model.
        model_uri: of the logged model.
    """

    run_id: str
    url: str
    config: RunConfig
    fit: FitResult
    validation: dict[str, float]
    num_parameters: int
    model_uri: str


def train(
    config: RunConfig, progress: Progress = lambda stage: None, *, label: str | None = None, parent_run_id: str | None = None
) -> TrainedRun:
    """Prepare if needed, train, validate, log.

    Args:
        config: everything the run is a function of.
        progress: called with the name of each stage as it starts.
        label: what the run is called instead of by its model, where several runs of one model differ.
        parent_run_id: of the comparison or sweep that the run belongs to.

    Raises:
        ClickflowError: the data, the training or the store; the run, if one was open, is FAILED with the reason.
    """
    store = open_store(config.tracking, config.home)
    values = config.model_dump(mode="json")
    name = f"{label or config.model.name}-seed{config.seed}"
    tags = {"model": config.model.name, "data": config.data.name, "protocol": config.protocol.name}
    with open_run(
        store,
        name=name,
        params=flatten(values),
        tags={**tags, CONFIG_DIGEST_TAG: config_digest(config), **lineage_tags(Path(__file__).parent)},
        log_system_metrics=config.tracking.log_system_metrics,
        parent_run_id=parent_run_id,
    ) as run:
        run.log_dict(values, "config.yaml")
        run.log_text(environment_report(), "environment.txt")
        dataset = prepare(config.data, config.protocol, config.home, progress)
        _log_dataset(run, dataset)
        refuse_one_class(dataset)
        _refuse_without_order(config, dataset)
        progress(f"training {config.model.name}")
        seed_everything(config.seed, config.trainer.num_threads)
        model = build_model(config.model, dataset.schema)
        result = _fit_and_keep_checkpoints(run, model, dataset, config)
        progress("validating and logging")
        validation = score(model, dataset, "validation", config.trainer)
        log_split(run, dataset, validation)
        log_attention(run, model, dataset, "validation", config.trainer.max_history)
        num_parameters = sum(parameter.numel() for parameter in model.parameters())
        _log_best(run, result, validation, num_parameters)
        model_uri = log_model(run, serving_bundle(model, dataset, config))
        run.set_description(_description(config, dataset, result, validation, num_parameters))
        return TrainedRun(run.id, run.url, config, result, validation.metrics, num_parameters, model_uri)


def config_digest(config: RunConfig) -> str:
    """SHA-256 of what a run's result is a function of; where things lie, are tracked or shown is not part of it."""
    elsewhere: Any = {"home": True, "tracking": True, "data": {"path", "url"}, "trainer": {"progress_bar"}}
    values = config.model_dump(mode="json", exclude=elsewhere)
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def serving_bundle(model: nn.Module, dataset: PreparedDataset, config: RunConfig) -> ServingBundle:
    """A trained model with the vocabularies that turn raw ids into its inputs."""
    return ServingBundle(
        model_config=config.model.model_dump(mode="json"),
        schema=dataset.schema,
        max_history=config.trainer.max_history,
        state_dict=model.state_dict(),
        items=dataset.items().to_arrow(),
        vocabularies={field.name: dataset.vocabulary(field.name).to_arrow() for field in dataset.schema.impression_fields},
    )


def _fit_and_keep_checkpoints(run: Run, model: nn.Module, dataset: PreparedDataset, config: RunConfig) -> FitResult:
    """Fit; the checkpoints go to the run's artifacts however the fit ends, and stay in the home folder if they cannot.

    Raises:
        TrainingError: training diverged, or a checkpoint cannot be written; a cut-off file is not kept.
    """
    folder = config.home / "checkpoints" / run.id
    try:
        result = fit(
            model,
            dataset,
            config.trainer,
            config.optimizer,
            schedule=config.schedule,
            regularisation=config.regularisation,
            seed=config.seed,
            folder=folder,
            sink=run.log_metrics,
        )
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        reason = error.strerror or str(error)
        raise TrainingError(
            f"{folder}: checkpoints cannot be written ({reason}); free some space or set home=FOLDER to another place."
        ) from error
    except BaseException:
        with contextlib.suppress(TrackingError):  # why the fit ended matters more
            _log_checkpoints(run, folder)
            shutil.rmtree(folder, ignore_errors=True)
        raise
    _log_checkpoints(run, folder)
    shutil.rmtree(folder, ignore_errors=True)
    return result


def _log_checkpoints(run: Run, folder: Path) -> None:
    for checkpoint in sorted(folder.glob("*.ckpt")):
        run.log_file(checkpoint, "checkpoints")


def refuse_one_class(dataset: PreparedDataset, names: tuple[str, ...] = ("train", "validation")) -> None:
    """Labels that are all alike teach nothing, and no ranking metric is defined on them.

    Raises:
        DataError: names the split.
    """
    for name in names:
        split = dataset.manifest.splits[name]
        if split.positives in (0, split.rows):
            label = 1 if split.positives else 0
            raise DataError(
                f"data set {dataset.manifest.name}, split {name}: all {split.rows:,} labels are {label}; both classes are needed; check "
                "the label column (or protocol.threshold), or set protocol=next_item, which draws negatives."
            )


def _refuse_without_order(config: RunConfig, dataset: PreparedDataset) -> None:
    """A model that reads histories as sequences learns nothing from behaviours that all happened at once."""
    if config.model.name == "dien" and not dataset.manifest.has_order:
        raise ConfigError(
            f"model.name = dien: reads histories as sequences, but no user of {config.data.name} has behaviours at two different times; "
            "name a column with their order as data.columns.timestamp (data.timestamp_unit=order takes positions), or set model=din."
        )


def _log_dataset(run: Run, dataset: PreparedDataset) -> None:
    manifest = dataset.manifest
    run.set_tags({"dataset.fingerprint": manifest.fingerprint, "dataset.folder": str(dataset.folder)})
    profile = {"users": manifest.num_users, "items": manifest.num_items, "behaviours": manifest.num_behaviours}
    profile |= {f"{name}_rows": split.rows for name, split in manifest.splits.items()}
    run.log_dataset(manifest.name, manifest.fingerprint, str(dataset.folder), profile, "training")


def _log_best(run: Run, result: FitResult, validation: ScoredSplit, num_parameters: int) -> None:
    """The run table shows last values; ``best/...`` are those of the best weights."""
    best = {f"best/{name}": value for name, value in validation.metrics.items()}
    cost = {"rows_per_second": result.rows_per_second, "train_seconds": result.seconds, "num_parameters": num_parameters}
    run.log_metrics({**best, "best/epoch": result.best_epoch + 1, **cost}, step=0)


def _description(config: RunConfig, dataset: PreparedDataset, result: FitResult, validation: ScoredSplit, num_parameters: int) -> str:
    metrics = validation.metrics
    splits = ", ".join(f"{name} {split.rows:,}" for name, split in dataset.manifest.splits.items())
    return "\n".join(
        [
            f"**{config.model.name}** on **{config.data.name}** ({config.protocol.name}), seed {config.seed}",
            "",
            "| validation | AUC | GAUC | PR-AUC | log loss |",
            "|---|---|---|---|---|",
            f"| best epoch {result.best_epoch + 1} of {result.num_epochs} | {metrics['auc']:.4f} | {metrics['gauc']:.4f} "
            f"| {metrics['pr_auc']:.4f} | {metrics['log_loss']:.4f} |",
            "",
            f"{num_parameters:,} parameters; {result.rows_per_second:,.0f} training rows/s; rows: {splits}",
        ]
    )
