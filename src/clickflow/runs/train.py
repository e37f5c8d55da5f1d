"""A training from config to model: one MLflow run around the data, the fit, the validation and the logged model."""

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from clickflow.config import flatten
from clickflow.data.dataset import PreparedDataset
from clickflow.data.history_rules import HistoryRules
from clickflow.data.prepare import Progress, prepare
from clickflow.errors import TrackingError, TrainingError, system_reason
from clickflow.metrics.headings import HEADINGS, reported, shown_value
from clickflow.models.entry_points import package_of
from clickflow.runs.attention import log_attention
from clickflow.runs.config import RunConfig
from clickflow.runs.kept_checkpoints import checkpoint_folder, keep_checkpoints
from clickflow.runs.logged_config import CONFIG_FILE, config_digest, logged_values
from clickflow.runs.run_dataset import log_dataset, refuse_one_class, refuse_without_order
from clickflow.runs.split_report import ScoredSplit, log_split, score
from clickflow.serving.bundle import ServingBundle
from clickflow.text import markdown_table
from clickflow.tracking.lifecycle import open_run
from clickflow.tracking.lineage import environment_report, lineage_tags, thread_tags
from clickflow.tracking.logged_model import log_model
from clickflow.tracking.names import CONFIG_DIGEST_TAG, MODEL_PACKAGE_TAG
from clickflow.tracking.run import Run
from clickflow.tracking.store import Store, open_store
from clickflow.training.latency import latency_milliseconds
from clickflow.training.watching import Pruned, Watcher

if TYPE_CHECKING:  # Lightning takes seconds to import: a wrong config, and all that trains nothing, need not wait for it
    from clickflow.training.fit import FitResult


@dataclass(frozen=True)
class TrainedRun:
    """The result of a training run: the model and its validation metrics at the best weights.

    ``costs`` has ``num_parameters``, ``latency_milliseconds`` and the like, by the name of their metric.
    """

    run_id: str
    url: str
    config: RunConfig
    model: nn.Module = field(repr=False)
    fit: "FitResult"
    validation: dict[str, float]
    costs: dict[str, float]
    model_uri: str


@dataclass(frozen=True)
class PartOf:
    """The comparison, grid or sweep that a run belongs to, and what it adds to the run.

    The label is the run's name, if that is not made of its model and seed.
    """

    parent_run_id: str | None = None
    label: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)


def train(config: RunConfig, progress: Progress = lambda stage: None, *, part_of: PartOf | None = None) -> TrainedRun:
    """Prepare if needed, train, validate, log; ``progress`` is called with the name of each stage as it starts.

    Raises:
        ClickflowError: the data, the training or the store failed; the run, if one was open, is FAILED with the reason.
    """
    with open_training_run(open_store(config.tracking, config.home), config, part_of) as run:
        return train_in(run, config, prepare(config.data, config.protocol, config.home, progress), progress)


@contextlib.contextmanager
def open_training_run(store: Store, config: RunConfig, part_of: PartOf | None = None) -> Iterator[Run]:
    """Open the run of a training, with the config and the environment in it before the work starts."""
    values = logged_values(config)
    part_of = part_of or PartOf()
    tags = {"model": config.model.name, "data": config.data.name, "protocol": config.protocol.name}
    if package := package_of(config.model.name):
        tags[MODEL_PACKAGE_TAG] = package
    with open_run(
        store,
        name=part_of.label or f"{config.model.name}-seed{config.seed}",
        params={**flatten(values), **part_of.params},
        tags={**tags, CONFIG_DIGEST_TAG: config_digest(config), **lineage_tags(Path(__file__).parent), **part_of.tags},
        log_system_metrics=config.tracking.log_system_metrics,
        parent_run_id=part_of.parent_run_id,
    ) as run:
        run.log_dict(values, CONFIG_FILE)
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
    """Train, validate and log into a run of :func:`open_training_run`.

    The watcher is told of every step and validation; an exception that it raises ends the training. ``resume_from`` is a ``last.ckpt``
    with its ``best.ckpt`` beside it, of a training with the same config.
    """
    log_dataset(run, dataset)
    refuse_one_class(dataset)
    refuse_without_order(config, dataset)
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
    # The run table shows the last value of each metric, so those of the best weights have names of their own.
    best = {f"best/{name}": value for name, value in validation.metrics.items()}
    run.log_metrics({**best, "best/epoch": result.best_epoch + 1, **costs}, step=0)
    model_uri = log_model(run, serving_bundle(model, dataset, config))
    run.set_description(_description(config, dataset, result, validation, costs))
    return TrainedRun(run.id, run.url, config, model, result, validation.metrics, costs, model_uri)


def serving_bundle(model: nn.Module, dataset: PreparedDataset, config: RunConfig) -> ServingBundle:
    """A trained model together with the vocabularies that turn raw ids into its inputs."""
    return ServingBundle(
        model_config=config.model.model_dump(mode="json"),
        schema=dataset.schema,
        max_history=config.trainer.max_history,
        state_dict=model.state_dict(),
        items=dataset.items().to_arrow(),
        vocabularies={field.name: dataset.vocabulary(field.name).to_arrow() for field in dataset.schema.impression_fields},
        package=package_of(config.model.name),
        histories=HistoryRules.of(dataset.manifest.protocol, dataset.manifest.source, dataset.manifest.timestamp_unit),
    )


def _fit_and_keep_checkpoints(
    run: Run, model: nn.Module, dataset: PreparedDataset, config: RunConfig, watcher: Watcher | None, resume_from: Path | None
) -> "FitResult":
    """Fit; however the fit ends, the checkpoints go to the run's artifacts, or stay in the home folder if the store fails.

    Raises:
        TrainingError: training diverged, or a checkpoint cannot be written; then none is kept, since one may be cut off.
        Pruned: the watcher ended the fit; nobody needs its checkpoints.
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
        raise TrainingError(
            f"{folder}: checkpoints cannot be written ({system_reason(error)}); free some space or set home=FOLDER to another place."
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


def _costs(model: nn.Module, dataset: PreparedDataset, config: RunConfig, result: "FitResult") -> dict[str, float]:
    return {
        "rows_per_second": result.rows_per_second,
        "train_seconds": result.seconds,
        "num_parameters": sum(parameter.numel() for parameter in model.parameters()),
        "latency_milliseconds": latency_milliseconds(model, dataset.split("validation"), config.trainer.max_history),
    }


def _description(
    config: RunConfig, dataset: PreparedDataset, result: "FitResult", validation: ScoredSplit, costs: Mapping[str, float]
) -> str:
    row = {HEADINGS[name]: shown_value(name, validation.metrics[name]) for name in reported(validation.metrics)}
    splits = ", ".join(f"{name} {split.rows:,}" for name, split in dataset.manifest.splits.items())
    return "\n".join(
        [
            f"**{config.model.name}** on **{config.data.name}** ({config.protocol.name}), seed {config.seed}",
            "",
            markdown_table([{"validation": f"best epoch {result.best_epoch + 1} of {result.num_epochs}", **row}]),
            f"{costs['num_parameters']:,.0f} parameters; {result.rows_per_second:,.0f} training rows/s; rows: {splits}",
        ]
    )
