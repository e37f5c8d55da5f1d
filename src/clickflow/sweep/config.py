"""The config of a sweep: study, workers, metrics, sampler, pruner and search space."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from clickflow.config import Contradictions, StrictConfig
from clickflow.runs.config import RunConfig
from clickflow.sweep.pruners import NoPrunerConfig, PrunerConfig
from clickflow.sweep.samplers import GridConfig, SamplerConfig

Count = Annotated[int, Field(gt=0)]
Metric = Literal[
    "val/auc", "val/gauc", "val/pr_auc", "val/log_loss", "num_parameters", "train_seconds", "rows_per_second", "latency_milliseconds"
]
Direction = Literal["maximize", "minimize"]
HIGH_IS_GOOD = frozenset({"val/auc", "val/gauc", "val/pr_auc", "rows_per_second"})


def _listed(value: object) -> object:
    """One metric may be given without a list."""
    return [value] if isinstance(value, str) else value


class SweepConfig(StrictConfig):
    """Study and workers."""

    study_name: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^\w[\w.-]*$")]
    """Letters, digits, _, . and -. The same name continues a study, another name starts one."""
    storage: Annotated[str, Field(min_length=1)] | None = None
    """``postgresql+psycopg://…`` for workers on several machines; null: a journal file in the home folder."""
    num_trials: Count = 30
    """Complete and pruned trials of the study, over all its starts."""
    num_workers: Count = 1
    """Processes that this command starts."""
    threads_per_worker: Count | None = None
    """Threads of torch; null divides the machine's cores among the workers."""
    metric: Annotated[tuple[Metric, ...], BeforeValidator(_listed), Field(min_length=1, strict=False)]
    """Metric to optimise; several give a Pareto front."""
    direction: Annotated[tuple[Direction, ...], BeforeValidator(_listed), Field(min_length=1, strict=False)] | None = None
    """For each metric; null: the natural one."""
    sampler: SamplerConfig
    pruner: PrunerConfig
    max_retries: Annotated[int, Field(ge=0)] = 2
    """How often a trial is retried, from its last checkpoint, after its worker died or its training broke."""
    space: dict[str, str]
    """Dotted key or config group -> values to search, in Hydra's sweep grammar."""

    def _contradictions(self) -> Contradictions:
        if not self.space:
            yield "space", "= {}: nothing to search; give a key its values, as in 'optimizer.learning_rate=tag(log, interval(1e-4, 1e-2))'"
        if self.direction is not None and len(self.metric) != len(self.direction):
            yield "direction", f"= {list(self.direction)}: one for each of the {len(self.metric)} metrics {list(self.metric)} is needed"
        if len(set(self.metric)) < len(self.metric):
            yield "metric", f"= {list(self.metric)}: a metric given twice is one metric; give each once"
        if isinstance(self.pruner, NoPrunerConfig):
            return
        if len(self.metric) > 1:
            yield "pruner", f"= {self.pruner.name}: several metrics cannot be pruned by; set sweep.pruner=none"
        elif not self.metric[0].startswith("val/"):
            yield "pruner", f"= {self.pruner.name}: {self.metric[0]} is not measured after each validation; set sweep.pruner=none"

    @property
    def is_grid(self) -> bool:
        """Whether all trials are known beforehand."""
        return isinstance(self.sampler, GridConfig)

    @property
    def directions(self) -> tuple[Direction, ...]:
        """Direction of each metric."""
        return self.direction or tuple("maximize" if metric in HIGH_IS_GOOD else "minimize" for metric in self.metric)


class SweepRunConfig(RunConfig):
    """A sweep; everything but ``sweep`` is what its trials share."""

    sweep: SweepConfig
