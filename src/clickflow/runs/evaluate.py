"""Evaluation of a trained run or a registered model on the test split: the only code that opens it.

Decision: the run records each opening before any score is seen, even if the evaluation fails later. A test split that was looked at to
choose between models tells less about new users each time; readers need the number of looks to judge a result.
"""

from dataclasses import dataclass

import polars as pl
from torch import nn

from clickflow.data.dataset import PreparedDataset
from clickflow.data.schema import Schema
from clickflow.errors import TrackingError
from clickflow.metrics.intervals import ConfidenceInterval, intervals
from clickflow.runs.config import EvaluateConfig
from clickflow.runs.kept_checkpoints import read_best_model
from clickflow.runs.logged_config import read_config
from clickflow.runs.run_dataset import open_dataset
from clickflow.runs.slices import check_fields, slice_table
from clickflow.runs.split_report import FIGURES, ScoredSplit, log_intervals, log_slices, log_split, score
from clickflow.tracking.contents import artifact_names, metric_history
from clickflow.tracking.lifecycle import resume_run
from clickflow.tracking.location import FoundModel, find_model
from clickflow.tracking.logged_model import read_bundle
from clickflow.tracking.names import FINGERPRINT_TAG, KIND_TAG, REPRODUCTION
from clickflow.tracking.run import Run
from clickflow.tracking.search import FoundRun, last_values
from clickflow.tracking.store import Store, open_store
from clickflow.training.config import TrainerConfig

EVALUATION = "evaluation"
"""The task under which an evaluation is added to a run: the tag ``evaluation.status`` says how it ended."""
TIMES_OPENED = "test/times_opened"


@dataclass(frozen=True)
class LoadedModel:
    """A model with its weights, the batch size to score it with, and the most behaviours that it takes."""

    network: nn.Module
    trainer: TrainerConfig


@dataclass(frozen=True)
class Openings:
    """Count of the times that the test split of a data set was opened, and of the runs that did it."""

    times: int
    runs: int


@dataclass(frozen=True)
class ModelScores:
    """Metrics on the test split of the model that a run trained."""

    run_id: str
    scored: ScoredSplit
    intervals: dict[str, ConfidenceInterval]
    """Metric -> 95 % interval over the sampling of users."""
    times_opened: int
    """Evaluations of this run so far, this one included."""

    def are_on(self, run: FoundRun) -> bool:
        """Whether the last evaluation of a run came to its end with exactly these metrics; never with one that is NaN."""
        return is_evaluated(run) and all(run.metrics.get(f"test/{name}") == value for name, value in self.scored.metrics.items())


@dataclass(frozen=True)
class Evaluation(ModelScores):
    """The result of an evaluation, as it was logged onto the run, with the table of its slices."""

    slices: pl.DataFrame
    openings: Openings


def evaluate(config: EvaluateConfig) -> Evaluation:
    """Score the test split with a run's best weights, or with a model's own, and log the result onto the run.

    Raises:
        ConfigError: a field to slice by is none of the data set's.
        TrackingError: the run or the model does not exist, the run did not finish, or its config or checkpoint is not as it was logged.
        DataError: the data set is no longer the one that the run was trained on.
    """
    store = open_store(config.tracking, config.home)
    found = find_model(store, config.model) if config.model else None
    run_id = found.run_id if found else config.run_id
    assert run_id is not None
    with resume_run(store, run_id, EVALUATION) as run:
        refuse_unfit(run.found)
        run_config = read_config(store, run.found)
        dataset = open_dataset(run.found, run_config, config.home)
        check_fields(config.slice_fields or (), dataset.schema, dataset.manifest.name)
        if found:
            model = read_registered(store, found, dataset, run_config.trainer)
        else:
            model = LoadedModel(read_best_model(store, run.found, run_config, dataset), run_config.trainer)
        return evaluate_on(run, model, dataset, config.slice_fields)


def evaluate_on(run: Run, model: LoadedModel, dataset: PreparedDataset, slice_fields: tuple[str, ...] | None = None) -> Evaluation:
    """Score the test split with a model that is loaded and checked, and log the result onto the run that trained it.

    The run was opened by :func:`~clickflow.tracking.lifecycle.resume_run` with the task ``evaluation``.
    """
    return log_scores(run, dataset, score_test(run, model, dataset), slice_fields)


def score_test(run: Run, model: LoadedModel, dataset: PreparedDataset) -> ModelScores:
    """Score the test split without logging more than the opening."""
    times_opened = _record_opening(run)
    scored = score(model.network, dataset, "test", model.trainer)
    return ModelScores(run.id, scored, intervals(*scored.rows), times_opened)


def log_scores(run: Run, dataset: PreparedDataset, scores: ModelScores, slice_fields: tuple[str, ...] | None = None) -> Evaluation:
    """Slice the scores of the test split, and log all of it onto the run; figures that it has of the same scores are not drawn again."""
    scored = scores.scored
    is_drawn = scores.are_on(run.found) and artifact_names(run.store, run.id, f"figures/{scored.name}").issuperset(FIGURES)
    slices = slice_table(dataset, scored.name, scored.rows, slice_fields)
    times = last_values(run.store, {FINGERPRINT_TAG: dataset.manifest.fingerprint}, TIMES_OPENED).values()
    evaluation = Evaluation(**vars(scores), slices=slices, openings=Openings(int(sum(times)), len(times)))
    run.log_metrics({f"test/{name}": value for name, value in scored.metrics.items()}, step=0)
    log_intervals(run, scored, scores.intervals)
    log_split(run, dataset, scored, curve_prefix="test/", figures=not is_drawn)
    log_slices(run, scored.name, evaluation.slices)
    return evaluation


def refuse_unfit(run: FoundRun, wish: str = "evaluated") -> None:
    """Raise a TrackingError for a run that did not finish, or is that of a sweep, a grid or a comparison, which has no model."""
    kind = run.tags.get(KIND_TAG, REPRODUCTION)
    if kind != REPRODUCTION:
        raise TrackingError(f"run_id = {run.run_id}: is a {kind}, which trains nothing itself; name one of the runs below it.")
    if run.status != "FINISHED":
        raise TrackingError(f"run_id = {run.run_id}: its status is {run.status}; only a FINISHED run can be {wish}; train it again.")


def is_evaluated(run: FoundRun) -> bool:
    """Whether the last evaluation of a run came to its end."""
    return run.tags.get(f"{EVALUATION}.status") == "FINISHED"


def read_registered(store: Store, found: FoundModel, dataset: PreparedDataset, trainer: TrainerConfig) -> LoadedModel:
    """The model that would be served for a URI; a TrackingError unless its fields are those of the data set."""
    bundle = read_bundle(store, found.uri)
    check_schema(found, bundle.schema, dataset)
    return LoadedModel(bundle.build_model(), trainer.model_copy(update={"max_history": bundle.max_history}))


def check_schema(found: FoundModel, schema: Schema, dataset: PreparedDataset) -> None:
    """Raise a TrackingError unless the fields of a model are those of a data set."""
    if schema != dataset.schema:
        raise TrackingError(
            f"model {found.uri}: its fields are not those of the data set of run {found.run_id}; register the model that the run logged"
        )


def _record_opening(run: Run) -> int:
    """Write the opening to the store at once; returns the number of openings so far. The metric's points have their times."""
    steps, _ = metric_history(run.store, run.id, TIMES_OPENED)
    times = 1 + len(steps)  # points and not the last value, since two evaluations at a time may write the same number
    run.log_metrics({TIMES_OPENED: times}, step=times)
    run.flush()
    return times
