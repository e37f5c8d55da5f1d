"""Config of a sweep: trials, workers, sampler, pruner and metric; without Optuna, which takes a second to import."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from clickflow.config import Contradictions, StrictConfig, matching, named
from clickflow.runs.config import RunConfig, missing_lists

Count = Annotated[int, Field(gt=0)]
Natural = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0)]
StartupTrials = Annotated[int, Field(ge=1)]
Metric = Literal[
    "val/auc",
    "val/gauc",
    "val/pr_auc",
    "val/log_loss",
    "val/list_gauc",
    "val/mrr",
    "val/ndcg_5",
    "val/ndcg_10",
    "num_parameters",
    "train_seconds",
    "rows_per_second",
    "latency_milliseconds",
]
Direction = Literal["maximize", "minimize"]
HIGH_IS_GOOD = frozenset({"val/auc", "val/gauc", "val/pr_auc", "val/list_gauc", "val/mrr", "val/ndcg_5", "val/ndcg_10", "rows_per_second"})


class Seeded(StrictConfig):
    """Setting of every sampler that draws random values."""

    seed: Seed = 0
    """Seed of its random choices."""


class StartingRandomly(Seeded):
    """Settings of the samplers that learn from earlier trials."""

    num_startup_trials: StartupTrials = 10
    """Random trials before it begins."""


class TPEConfig(StartingRandomly):
    """Tree-structured Parzen estimator over all parameters together (Bergstra et al. 2011; multivariate: Falkner et al. 2018)."""

    name: Literal["tpe"] = "tpe"


class RandomConfig(Seeded):
    """Independent random values."""

    name: Literal["random"] = "random"


class GridConfig(StrictConfig):
    """Every combination of choices and ranges, once, in order."""

    name: Literal["grid"] = "grid"
    seed: Seed = 0
    """Has no effect: nothing is left to choose."""


class QMCConfig(Seeded):
    """A scrambled Sobol' sequence: random values that leave no gaps (Bergstra & Bengio 2012); choices are random."""

    name: Literal["qmc"] = "qmc"


class GPConfig(StartingRandomly):
    """Gaussian process with expected improvement; for few, costly trials."""

    name: Literal["gp"] = "gp"


class CmaEsConfig(StartingRandomly):
    """Covariance matrix adaptation (Hansen & Ostermeier 2001), for numbers; choices are random."""

    name: Literal["cma_es"] = "cma_es"


_Sampler = Annotated[TPEConfig | RandomConfig | GridConfig | QMCConfig | GPConfig | CmaEsConfig, Field(discriminator="name")]
SamplerConfig = Annotated[_Sampler, BeforeValidator(named)]


class ByMedian(StrictConfig):
    """Setting of the pruners that compare a trial with the median."""

    num_startup_trials: Natural = 5
    """Complete trials before any is ended."""


class MedianConfig(ByMedian):
    """Ends a trial whose best value so far is worse than the median of the others at the same validation (Golovin et al. 2017)."""

    name: Literal["median"] = "median"
    num_warmup_validations: Natural = 0
    """Number of validations of a trial before it may be pruned."""


class HyperbandConfig(StrictConfig):
    """Successive halving in several brackets (Li et al. 2018)."""

    name: Literal["hyperband"] = "hyperband"
    reduction_factor: Annotated[int, Field(ge=2)] = 3
    """One in this many trials survives each rung."""


class PatienceConfig(ByMedian):
    """Prunes as ``median`` does, but only a trial that has not improved for a while."""

    name: Literal["patience"] = "patience"
    patience: Natural = 1
    """Number of validations without improvement that are tolerated."""


class NoPrunerConfig(StrictConfig):
    """Trains every trial to its end."""

    name: Literal["none"] = "none"


_Pruner = Annotated[MedianConfig | HyperbandConfig | PatienceConfig | NoPrunerConfig, Field(discriminator="name")]
PrunerConfig = Annotated[_Pruner, BeforeValidator(named)]


def _listed(value: object) -> object:
    """One metric may be given without a list."""
    return [value] if isinstance(value, str) else value


class SweepConfig(StrictConfig):
    """Study and workers."""

    study_name: Annotated[str, Field(max_length=200), matching(r"\w[\w.-]*", "letters, digits, _, . and -, and begin with none of . and -")]
    """Letters, digits, _, . and -. The same name continues a study, another name starts one."""
    storage: Annotated[str, Field(min_length=1)] | None = None
    """``postgresql+psycopg://…`` for workers on several machines; null: a journal file in the home folder."""
    num_trials: Count = 30
    """Complete and pruned trials in all, over every start of this study."""
    num_workers: Count = 1
    """Processes that this command starts."""
    threads_per_worker: Count | None = None
    """Threads of torch in each worker; null shares the machine's cores out."""
    metric: Annotated[tuple[Metric, ...], BeforeValidator(_listed), Field(min_length=1, strict=False)]
    """Decides which trial is best; several give a Pareto front."""
    direction: Annotated[tuple[Direction, ...], BeforeValidator(_listed), Field(min_length=1, strict=False)] | None = None
    """Direction of each metric; null: what is good of each is known."""
    sampler: SamplerConfig
    """Chooses the values of each trial; with settings: ``{name: tpe, seed: 1}``."""
    pruner: PrunerConfig
    """Ends a trial that will not become the best; with settings: ``{name: median, num_startup_trials: 3}``."""
    max_retries: Annotated[int, Field(ge=0)] = 2
    """Retries of a trial, from its last checkpoint, after its worker died or its training broke."""
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

    def _contradictions(self) -> Contradictions:
        yield from super()._contradictions()
        for metric in self.sweep.metric:
            if metric != self.trainer.monitor:  # which is reported already
                yield from missing_lists("sweep.metric", metric, self.data)
