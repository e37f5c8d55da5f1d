"""The composed configs of the pipelines, each of them one strict object."""

from typing import Annotated, Literal

from pydantic import Field

from clickflow.config import Contradictions, Home, Names, StrictConfig, suggest
from clickflow.data.protocols import ImpressionsConfig, ProtocolConfig
from clickflow.data.sources.log import LogConfig
from clickflow.data.sources.movielens import MovieLensConfig
from clickflow.data.sources.synthetic import SyntheticConfig
from clickflow.data.sources.union import DataConfig
from clickflow.metrics.headings import LIST_METRICS
from clickflow.models.config import ModelConfig
from clickflow.tracking.config import ModelUri, TrackingConfig
from clickflow.training.config import OptimizerConfig, PlateauConfig, RegularisationConfig, ScheduleConfig, TrainerConfig

Seed = Annotated[int, Field(ge=0)]
RunId = Annotated[str, Field(min_length=1)]


class PrepareConfig(StrictConfig):
    """Settings of ``prepare``: where the log comes from and who is an impression."""

    data: DataConfig
    protocol: ProtocolConfig
    home: Home

    def _contradictions(self) -> Contradictions:
        yield from _missing_columns(self.data, self.protocol)
        yield from _missing_clock(self.data, self.protocol)
        yield from _lists_of_drawn_rows(self.data, self.protocol)
        yield from _ready_made_histories(self.data, self.protocol)


class RunConfig(PrepareConfig):
    """Everything a training run is a function of."""

    model: ModelConfig
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    regularisation: RegularisationConfig
    trainer: TrainerConfig
    tracking: TrackingConfig
    seed: Seed = 0
    """Seed of initial weights, shuffling and dropout."""

    def _contradictions(self) -> Contradictions:
        yield from super()._contradictions()
        yield from self.regularisation.contradictions_with(self.optimizer)
        yield from missing_lists("trainer.monitor", self.trainer.monitor, self.data)
        if isinstance(self.schedule, PlateauConfig) and self.schedule.patience >= self.trainer.patience:
            yield (
                "schedule.patience",
                f"= {self.schedule.patience}: training stops after trainer.patience = {self.trainer.patience} validations without "
                "improvement, so the rate would never be lowered; it must be less; raise trainer.patience",
            )
        yield from self._batch_statistics_of_one_row()

    def _batch_statistics_of_one_row(self) -> Contradictions:
        values = self.model.model_dump()
        users = [key for key, value in values.items() if value == "dice"] + ["batch_norm"] * bool(values.get("batch_norm"))
        if users and self.trainer.batch_size == 1:
            keys = ", ".join(f"model.{key}={'true' if key == 'batch_norm' else 'dice'}" for key in users)
            yield "trainer.batch_size", f"= 1: one row has no variance, which {keys} needs; set trainer.batch_size >= 2 or change the model"


class ComparisonConfig(StrictConfig):
    """Models to compare."""

    models: Annotated[dict[str, Names], Field(min_length=1)]
    """Label in the table -> what it overrides, as on the command line: ``DIN: [model=din, optimizer.learning_rate=0.002]``."""
    only: Names = ()
    """Labels of the models to compare, where not all of them."""
    base: str
    """Label of the model that the others are measured against."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1, strict=False)] = (0, 1, 2)
    """Each model is trained once with each."""
    published: dict[str, dict[Literal["auc", "gauc"], Annotated[float, Field(gt=0, lt=1)]]] = {}
    """Label -> what the paper reports, shown beside ours."""

    @property
    def chosen(self) -> dict[str, tuple[str, ...]]:
        """The models to compare."""
        return {label: own for label, own in self.models.items() if not self.only or label in self.only}

    def _contradictions(self) -> Contradictions:
        named = [("base", self.base), *(("only", label) for label in self.only), *((f"published.{one}", one) for one in self.published)]
        for key, label in named:
            if label not in self.models:
                yield key, f"= {label}: no label of compare.models; {suggest(label, list(self.models))}"
        if len(set(self.seeds)) < len(self.seeds):
            yield "seeds", f"= {list(self.seeds)}: a seed given twice is the same run twice; give each once"


class CompareConfig(RunConfig):
    """Models compared on one data set; everything but ``compare`` is what they share."""

    compare: ComparisonConfig


class EvaluateConfig(StrictConfig):
    """The model to evaluate on the test split: a run's best weights, or a logged or registered model."""

    run_id: RunId | None = None
    """Finished training run; either this or ``model``."""
    model: ModelUri | None = None
    """URI of a model: ``models:/m-…``, ``models:/name/3`` or ``models:/name@champion``."""
    slice_fields: Names | None = None
    """Fields to slice the test metrics by, such as ``[category, device]``; null: all with few values."""
    home: Home
    tracking: TrackingConfig

    def _contradictions(self) -> Contradictions:
        if (self.run_id is None) == (self.model is None):
            given = "both are given" if self.run_id else "neither is given"
            yield "run_id", f"and model: {given}; set one of run_id=RUN and model=models:/NAME@ALIAS"


class TablePlace(StrictConfig):
    """Location of a further table of a log."""

    path: str | Names | None = None
    """Its path here; null: where it was when the run was made."""


class DataPlace(StrictConfig):
    """Location of the source on this machine, in the keys of the run's own ``data``."""

    path: str | Names | None = None
    """Path of the source here; null: where it was when the run was made."""
    url: str | None = None
    """Address to download it from; null: the run's own."""
    behaviours: TablePlace = TablePlace()
    items: TablePlace = TablePlace()
    users: TablePlace = TablePlace()


class ReproduceConfig(StrictConfig):
    """A run to train again."""

    run_id: RunId
    """Finished training run."""
    tolerance: Annotated[float, Field(ge=0)] | None = None
    """Largest difference that still agrees, relative to a value where that is larger than 1. null: 0, identical, where processor, threads
    and libraries are those of the run, else 0.001."""
    data: DataPlace = DataPlace()
    home: Home
    tracking: TrackingConfig


def _missing_columns(data: DataConfig, protocol: ProtocolConfig) -> Contradictions:
    """Labels for ``impressions``, ratings for ``rating``."""
    if protocol.name == "next_item":
        return
    column = "label" if isinstance(protocol, ImpressionsConfig) else "rating"
    needs = f"= {protocol.name}: needs {column}s, "
    if isinstance(data, LogConfig):
        if getattr(data.columns, column) is None and not (column == "label" and data.columns.candidates):
            missing = f"but data.columns.{column} is not set; name the {column} column or set protocol=next_item"
            yield "protocol.name", needs + missing
    elif not isinstance(data, SyntheticConfig if column == "label" else MovieLensConfig):
        yield "protocol.name", needs + f"which data source {data.source} does not have; set protocol=next_item"


def missing_lists(key: str, metric: str, data: DataConfig) -> Contradictions:
    """A metric within lists, on data without them."""
    if metric.removeprefix("val/") in LIST_METRICS and not (isinstance(data, LogConfig) and data.columns.names_lists):
        if isinstance(data, LogConfig):
            yield (
                key,
                f"= {metric}: is measured within lists, but data.columns.group is not set; name the column of the list, or take val/gauc",
            )
        else:
            yield key, f"= {metric}: is measured within lists, which data source {data.source} does not have; take val/gauc"


def _lists_of_drawn_rows(data: DataConfig, protocol: ProtocolConfig) -> Contradictions:
    if isinstance(data, LogConfig) and data.columns.group and protocol.name == "next_item":
        yield (
            "data.columns.group",
            f"= {data.columns.group}: names lists that were shown, but protocol.name = next_item draws its negatives; "
            "set protocol=impressions or remove the column",
        )
    if isinstance(data, LogConfig) and data.columns.candidates and protocol.name != "impressions":
        yield (
            "data.columns.candidates",
            f"= lists of what was shown: are impressions, but protocol.name = {protocol.name}; set protocol=impressions",
        )


def _ready_made_histories(data: DataConfig, protocol: ProtocolConfig) -> Contradictions:
    """Faults of options that ask a history without times for times."""
    if not isinstance(data, LogConfig) or data.columns.history is None:
        return
    if protocol.name == "next_item":
        yield (
            "data.columns.history",
            f"= {data.columns.history}: gives each row its own history, but protocol.name = next_item makes rows and histories of a user's "
            "events; set protocol=impressions or remove the column",
        )
    if protocol.history_lag:
        yield (
            "protocol.history_lag",
            f"= {protocol.history_lag}: the behaviours in data.columns.history = {data.columns.history} have no time; set it to 0, and "
            "leave recent behaviours out of the histories",
        )


def _missing_clock(data: DataConfig, protocol: ProtocolConfig) -> Contradictions:
    """A split by time, where timestamps are positions in each user's log; dates of a split that the log brings itself."""
    if not isinstance(data, LogConfig):
        return
    if (data.columns.split or data.test_path) and protocol.dates:
        name, moment = next(iter(protocol.dates.items()))
        yield f"protocol.{name}", f"= {moment}: the log names its splits itself; remove the date or the log's splits"
    by_time = isinstance(protocol, ImpressionsConfig) or protocol.split == "time"
    is_clock = data.timestamp_unit != "order" or data.columns.timestamp is None  # positions in the files are one order for all users
    if by_time and not is_clock and not (data.columns.split or data.test_path):
        other = {"rating": " or protocol.split=user", "next_item": " with protocol.split=leave_one_out"}.get(protocol.name, "")
        yield (
            "protocol.name",
            f"= {protocol.name}: splits by time, but data.timestamp_unit is order, a position without a clock; "
            f"set protocol=next_item{other}",
        )
