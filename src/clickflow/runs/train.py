"""A training run from config to model: one MLflow run around data, fit, validation and the saved model, so that its status is true."""

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from clickflow.config import flatten
from clickflow.data.dataset import PreparedDataset
from clickflow.data.prepare import prepare
from clickflow.data.storage import digest_source
from clickflow.digests import digest_values
from clickflow.errors import ConfigError, DataError, TrackingError, TrainingError, without_passwords
from clickflow.models.entry_points import package_of
from clickflow.runs.attention import log_attention
from clickflow.runs.config import RunConfig
from clickflow.runs.split_report import ScoredSplit, log_split, score
from clickflow.serving.bundle import ServingBundle
from clickflow.text import markdown_table
from clickflow.tracking.lifecycle import open_run
from clickflow.tracking.lineage import MODEL_PACKAGE_TAG, environment_report, lineage_tags, thread_tags
from clickflow.tracking.logged_model import log_model
from clickflow.tracking.run import Run
from clickflow.tracking.store import Store, open_store
from clickflow.training.latency import latency_milliseconds
from clickflow.training.watching import Pruned, Watcher

if TYPE_CHECKING:  # Lightning takes seconds to import: a wrong config, and all that trains nothing, need not wait for it
    from clickflow.training.fit import FitResult

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
        costs: ``num_parameters``, ``latency_milliseconds`` and the like, by the name of their metric.
        model_uri: of the logged model.
    """

    run_id: str
    url: str
    config: RunConfig
    fit: "FitResult"
    validation: dict[str, float]
    costs: dict[str, float]
    model_uri: str


@dataclass(frozen=True)
class PartOf:
    """What a run belongs to: a comparison, a grid or a sweep.

    Attributes:
        parent_run_id: of the run below which MLflow's pages show this one.
        label: what the run is called instead of by its model, where several runs of one model differ.
        tags: by which the parent finds it.
        params: beside the config's.
    """

    parent_run_id: str
    label: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)


def train(config: RunConfig, progress: Progress = lambda stage: None, *, part_of: PartOf | None = None) -> TrainedRun:
    """Prepare if needed, train, validate, log.

    Args:
        config: everything the run is a function of.
        progress: called with the name of each stage as it starts.
        part_of: what the run belongs to, if it does not stand alone.

    Raises:
        ClickflowError: the data, the training or the store; the run, if one was open, is FAILED with the reason.
    """
    with open_training_run(open_store(config.tracking, config.home), config, part_of) as run:
        return train_in(run, config, prepare(config.data, config.protocol, config.home, progress), progress)


@contextlib.contextmanager
def open_training_run(store: Store, config: RunConfig, part_of: PartOf | None = None) -> Iterator[Run]:
    """Open the run of a training; config and environment are in it before the work starts."""
    values = logged_values(config)
    name = f"{config.model.name}-seed{config.seed}"
    tags = {"model": config.model.name, "data": config.data.name, "protocol": config.protocol.name}
    if package := package_of(config.model.name):
        tags[MODEL_PACKAGE_TAG] = package
    with open_run(
        store,
        name=name if part_of is None or part_of.label is None else part_of.label,
        params={**flatten(values), **(part_of.params if part_of else {})},
        tags={**tags, CONFIG_DIGEST_TAG: config_digest(config), **lineage_tags(Path(__file__).parent), **(part_of.tags if part_of else {})},
        log_system_metrics=config.tracking.log_system_metrics,
        parent_run_id=part_of.parent_run_id if part_of else None,
    ) as run:
        run.log_dict(values, "config.yaml")
        run.log_text(environment_report(), "environment.txt")
        yield run


def train_in(
    run: Run,
    config: RunConfig,
    dataset: PreparedDataset,
    progress: Progress = lambda stage: None,
    *,
    watcher: Watcher | None = None,
    resume_from: Path | None = None,
    figures: bool = True,
) -> TrainedRun:
    """Train, validate and log into an open run.

    Args:
        run: as opened by :func:`open_training_run`.
        config: everything the run is a function of.
        dataset: the config's data, prepared.
        progress: called with the name of each stage as it starts.
        watcher: told of every step and validation; what it raises ends the training.
        resume_from: a ``last.ckpt`` with its ``best.ckpt`` beside it, of a training with the same config.
        figures: whether to draw figures of the validation.

    Raises:
        ClickflowError: the data, the training or the store.
    """
    log_dataset(run, dataset)
    refuse_one_class(dataset)
    _refuse_without_order(config, dataset)
    progress(f"training {config.model.name}")
    from clickflow.training.fit import seed_everything

    seed_everything(config.seed, config.trainer.num_threads)
    run.set_tags(thread_tags())
    model = config.model.build(dataset.schema)
    result = _fit_and_keep_checkpoints(run, model, dataset, config, watcher, resume_from)
    progress("validating and logging")
    validation = score(model, dataset, "validation", config.trainer)
    log_split(run, dataset, validation, figures=figures)
    if figures:
        log_attention(run, model, dataset, "validation", config.trainer.max_history)
    costs = _costs(model, dataset, config, result)
    _log_best(run, result, validation, costs)
    model_uri = log_model(run, serving_bundle(model, dataset, config))
    run.set_description(_description(config, dataset, result, validation, costs))
    return TrainedRun(run.id, run.url, config, result, validation.metrics, costs, model_uri)


def logged_values(config: RunConfig) -> dict[str, Any]:
    """A config as a run keeps it: without the store's password."""
    values = config.model_dump(mode="json")
    if config.tracking.uri is not None:
        values["tracking"]["uri"] = without_passwords(config.tracking.uri)
    return values


def config_digest(config: RunConfig) -> str:
    """SHA-256 of what a run's result is a function of; where things lie, are tracked or shown is not part of it."""
    elsewhere: Any = {"home": True, "tracking": True, "data": {"path", "url"}, "trainer": {"progress_bar"}}
    values = config.model_dump(mode="json", exclude=elsewhere)
    return digest_values(values)


def serving_bundle(model: nn.Module, dataset: PreparedDataset, config: RunConfig) -> ServingBundle:
    """A trained model with the vocabularies that turn raw ids into its inputs."""
    return ServingBundle(
        model_config=config.model.model_dump(mode="json"),
        schema=dataset.schema,
        max_history=config.trainer.max_history,
        state_dict=model.state_dict(),
        items=dataset.items().to_arrow(),
        vocabularies={field.name: dataset.vocabulary(field.name).to_arrow() for field in dataset.schema.impression_fields},
        package=package_of(config.model.name),
    )


def _fit_and_keep_checkpoints(
    run: Run, model: nn.Module, dataset: PreparedDataset, config: RunConfig, watcher: Watcher | None, resume_from: Path | None
) -> "FitResult":
    """Fit; the checkpoints go to the run's artifacts however the fit ends, and stay in the home folder if they cannot.

    Raises:
        TrainingError: training diverged, or a checkpoint cannot be written; a cut-off file is not kept.
        Pruned: the watcher ended the fit; its checkpoints are of no use.
    """
    from clickflow.training.fit import fit

    folder = checkpoint_folder(config.home, run.id)
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
            watcher=watcher,
            resume_from=resume_from,
        )
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        reason = error.strerror or str(error)
        raise TrainingError(
            f"{folder}: checkpoints cannot be written ({reason}); free some space or set home=FOLDER to another place."
        ) from error
    except Pruned:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    except BaseException:
        with contextlib.suppress(TrackingError):  # why the fit ended matters more
            keep_checkpoints(run, config.home)
        raise
    keep_checkpoints(run, config.home)
    return result


def checkpoint_folder(home: Path, run_id: str) -> Path:
    """Where a training writes its checkpoints while it is on."""
    return home / "checkpoints" / run_id


def keep_checkpoints(run: Run, home: Path) -> None:
    """Move what checkpoints there are from the home folder to the run's artifacts; their digests are in its tags first."""
    folder = checkpoint_folder(home, run.id)
    checkpoints = sorted(folder.glob("*.ckpt"))
    if checkpoints:
        run.set_tags({digest_tag(checkpoint): digest_source(checkpoint) for checkpoint in checkpoints})
    for checkpoint in checkpoints:
        run.log_file(checkpoint, "checkpoints")
    shutil.rmtree(folder, ignore_errors=True)


def digest_tag(checkpoint: Path) -> str:
    """Tag of a run that has the SHA-256 of one of its checkpoints.

    >>> digest_tag(Path("checkpoints/best.ckpt"))
    'checkpoints.best.sha256'
    """
    return f"checkpoints.{checkpoint.stem}.sha256"


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


def log_dataset(run: Run, dataset: PreparedDataset) -> None:
    """Say on what data a run works: its tags find the prepared folder again, MLflow's pages show its sizes."""
    manifest = dataset.manifest
    run.set_tags({"dataset.fingerprint": manifest.fingerprint, "dataset.folder": str(dataset.folder)})
    profile = {"users": manifest.num_users, "items": manifest.num_items, "behaviours": manifest.num_behaviours}
    profile |= {f"{name}_rows": split.rows for name, split in manifest.splits.items()}
    run.log_dataset(manifest.name, manifest.fingerprint, str(dataset.folder), profile, "training")


def _costs(model: nn.Module, dataset: PreparedDataset, config: RunConfig, result: "FitResult") -> dict[str, float]:
    return {
        "rows_per_second": result.rows_per_second,
        "train_seconds": result.seconds,
        "num_parameters": sum(parameter.numel() for parameter in model.parameters()),
        "latency_milliseconds": latency_milliseconds(model, dataset.split("validation"), config.trainer.max_history),
    }


def _log_best(run: Run, result: "FitResult", validation: ScoredSplit, costs: Mapping[str, float]) -> None:
    """The run table shows last values; ``best/...`` are those of the best weights."""
    best = {f"best/{name}": value for name, value in validation.metrics.items()}
    run.log_metrics({**best, "best/epoch": result.best_epoch + 1, **costs}, step=0)


def logged_name(metric: str) -> str:
    """Under what a run has the value of a metric at its end: of one that each validation has, the one at the best weights.

    >>> logged_name("val/gauc"), logged_name("latency_milliseconds")
    ('best/gauc', 'latency_milliseconds')
    """
    return f"best/{metric.removeprefix('val/')}" if metric.startswith("val/") else metric


def _description(
    config: RunConfig, dataset: PreparedDataset, result: "FitResult", validation: ScoredSplit, costs: Mapping[str, float]
) -> str:
    shown = {"AUC": "auc", "GAUC": "gauc", "PR-AUC": "pr_auc", "log loss": "log_loss"}
    row = {heading: f"{validation.metrics[name]:.4f}" for heading, name in shown.items()}
    splits = ", ".join(f"{name} {split.rows:,}" for name, split in dataset.manifest.splits.items())
    return "\n".join(
        [
            f"**{config.model.name}** on **{config.data.name}** ({config.protocol.name}), seed {config.seed}",
            "",
            markdown_table([{"validation": f"best epoch {result.best_epoch + 1} of {result.num_epochs}", **row}]),
            f"{costs['num_parameters']:,.0f} parameters; {result.rows_per_second:,.0f} training rows/s; rows: {splits}",
        ]
    )
