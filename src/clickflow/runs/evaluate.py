"""Evaluation of a trained run or a registered model on the test split: the only code that opens it.

Decision: each opening is on the run before any score is seen, also of an evaluation that fails later. A test split that was looked at to
choose between models tells less of new users each time; the number of looks is what a reader needs to judge by.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import yaml
from torch import nn

from clickflow.config import validate
from clickflow.data.dataset import PreparedDataset
from clickflow.data.prepare import prepare
from clickflow.data.storage import digest_source
from clickflow.errors import ConfigError, DataError, TrackingError
from clickflow.metrics.intervals import ConfidenceInterval, intervals
from clickflow.models.entry_points import check_installed
from clickflow.runs.config import EvaluateConfig, RunConfig
from clickflow.runs.slices import check_fields, slice_table
from clickflow.runs.split_report import ScoredSplit, log_intervals, log_slices, log_split, score
from clickflow.runs.train import digest_tag
from clickflow.tracking.lifecycle import KIND_TAG, resume_run
from clickflow.tracking.lineage import MODEL_PACKAGE_TAG
from clickflow.tracking.location import FoundModel, find_model
from clickflow.tracking.logged_model import read_bundle
from clickflow.tracking.run import Run
from clickflow.tracking.search import last_values, metric_histories, read_run
from clickflow.tracking.store import Store, open_store
from clickflow.training.checkpoints import load_weights
from clickflow.training.config import TrainerConfig

TIMES_OPENED = "test/times_opened"
FINGERPRINT_TAG = "dataset.fingerprint"
REPRODUCTION = "reproduction"
"""The kind of run that does train, unlike parents."""


@dataclass(frozen=True)
class Openings:
    """How often the test split of a data set was opened.

    Attributes:
        times: by all evaluations of the store.
        runs: how many runs those were of.
    """

    times: int
    runs: int


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        run_id: of the run it was logged onto.
        scored: the test split with predictions and metrics.
        intervals: metric -> 95 % interval over the sampling of users.
        slices: metrics by slice; see :func:`~clickflow.runs.slices.slice_table`.
        times_opened: evaluations of this run so far, this one among them.
        openings: of the data set's test split, by all runs.
    """

    run_id: str
    scored: ScoredSplit
    intervals: dict[str, ConfidenceInterval]
    slices: pl.DataFrame
    times_opened: int
    openings: Openings


def evaluate(config: EvaluateConfig) -> Evaluation:
    """Score the test split with a run's best weights, or a model's own, and log the result onto the run.

    Raises:
        ConfigError: a field to slice by is none of the data set's.
        TrackingError: there is no such run or model, the run did not finish, or lacks its config or checkpoint as it was logged.
        DataError: its data set is not what it was trained on any more.
    """
    store = open_store(config.tracking, config.home)
    found = find_model(store, config.model) if config.model else None
    run_id = found.run_id if found else config.run_id
    assert run_id is not None
    with resume_run(store, run_id, "evaluation") as run:
        refuse_parent(run.id, run.tags)
        if run.status != "FINISHED":
            raise TrackingError(f"run_id = {run.id}: its status is {run.status}; only a FINISHED run can be evaluated; train it again.")
        dataset, model, trainer = _read(run, found, config)
        times_opened = _record_opening(run)
        scored = score(model, dataset, "test", trainer)
        evaluation = Evaluation(
            run.id,
            scored,
            intervals(*scored.rows),
            slice_table(dataset, "test", scored.rows, config.slice_fields),
            times_opened,
            openings_of(store, dataset.manifest.fingerprint),
        )
        _log(run, dataset, evaluation)
        return evaluation


def _read(run: Run, found: FoundModel | None, config: EvaluateConfig) -> tuple[PreparedDataset, nn.Module, TrainerConfig]:
    """What is scored, and how; all that can be wrong is found before the test split is opened."""
    with tempfile.TemporaryDirectory() as scratch:
        run_config = read_config(run, Path(scratch))
        dataset = open_dataset(run, run_config, config.home)
        check_fields(config.slice_fields or (), dataset.schema, dataset.manifest.name)
        if found:
            return dataset, *_read_registered(run.store, found, dataset, run_config.trainer)
        return dataset, read_model(run, run_config, dataset, Path(scratch)), run_config.trainer


def refuse_parent(run_id: str, tags: Mapping[str, str]) -> None:
    """Raise a TrackingError for the run of a sweep, a grid or a comparison, which has no model."""
    if tags.get(KIND_TAG, REPRODUCTION) != REPRODUCTION:
        raise TrackingError(f"run_id = {run_id}: is a {tags[KIND_TAG]}, which trains nothing itself; name one of the runs below it.")


def openings_of(store: Store, fingerprint: str) -> Openings:
    """How often the test split of a data set was opened, over all runs of the store."""
    values = last_values(store, {FINGERPRINT_TAG: fingerprint}, TIMES_OPENED)
    return Openings(int(sum(values.values())), len(values))


def _record_opening(run: Run) -> int:
    """Put the opening on the run, in the store at once; returns how many there are now. The points of the metric have the times."""
    before = metric_histories(run.store, read_run(run.store, run.id), TIMES_OPENED)
    times = 1 + sum(len(steps) for steps, _ in before.values())  # points, since two evaluations at a time may write the same number
    run.log_metrics({TIMES_OPENED: times}, step=times)
    run.flush()
    return times


def _log(run: Run, dataset: PreparedDataset, evaluation: Evaluation) -> None:
    scored = evaluation.scored
    run.log_metrics({f"test/{name}": value for name, value in scored.metrics.items()}, step=0)
    log_intervals(run, scored, evaluation.intervals)
    log_split(run, dataset, scored, curve_prefix="test/")
    log_slices(run, scored.name, evaluation.slices)


def _read_registered(store: Store, found: FoundModel, dataset: PreparedDataset, trainer: TrainerConfig) -> tuple[nn.Module, TrainerConfig]:
    """The model that would be served, and how many behaviours it takes.

    Raises:
        TrackingError: its fields are not those of the data set.
    """
    bundle = read_bundle(store, found.uri)
    if bundle.schema != dataset.schema:
        raise TrackingError(
            f"model {found.uri}: its fields are not those of the data set of run {found.run_id}; register the model that the run logged"
        )
    return bundle.build_model(), trainer.model_copy(update={"max_history": bundle.max_history})


def read_config(run: Run, scratch: Path) -> RunConfig:
    """The config a run was trained with.

    Raises:
        TrackingError: it is not there, or not as it was logged.
        ConfigError: this version cannot run it, or its model comes from a package that is not installed.
    """
    try:
        values = yaml.safe_load(run.download("config.yaml", scratch).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        values = None
    if not isinstance(values, dict):
        raise TrackingError(f"run {run.id}: its config.yaml is damaged; restore it from a copy, or train again.")
    try:
        return validate(RunConfig, values, f"config.yaml of run {run.id}")
    except ConfigError:
        check_installed(run.tags["model"], run.tags.get(MODEL_PACKAGE_TAG))
        raise


def open_dataset(run: Run, config: RunConfig, home: Path) -> PreparedDataset:
    """The data set a run was trained on, prepared again in a home folder where its own is not here.

    Raises:
        DataError: what was prepared is not what the run saw.
    """
    tags = run.tags
    folder = Path(tags.get("dataset.folder", ""))
    dataset = PreparedDataset.open(folder) if folder.is_dir() else prepare(config.data, config.protocol, home)
    expected, found = tags.get(FINGERPRINT_TAG), dataset.manifest.fingerprint
    if found != expected:
        raise DataError(
            f"data set {config.data.name}, fingerprint = {found[:12]}: run {run.id} was trained on {str(expected)[:12]}; "
            "the source has changed since; bring back the source the run was trained on, or train again."
        )
    return dataset


def read_model(run: Run, config: RunConfig, dataset: PreparedDataset, scratch: Path) -> nn.Module:
    """The model with the best weights of a run.

    Raises:
        TrackingError: the checkpoint is not there, or is not as the training wrote it.
    """
    model = config.model.build(dataset.schema)
    try:
        path = run.download("checkpoints/best.ckpt", scratch)
    except TrackingError as error:
        raise TrackingError(f"{error}; where only the checkpoint was deleted, evaluate the logged model: model=models:/m-…") from error
    expected, found = run.tags.get(digest_tag(path)), digest_source(path)
    if expected not in (None, found):  # runs made before there were digests have none
        raise TrackingError(
            f"run {run.id}, checkpoints/{path.name}: SHA-256 = {found[:12]}, but the training wrote {str(expected)[:12]}; the file was "
            "damaged or replaced; restore it from a copy, or train again."
        )
    load_weights(model, path)
    return model
