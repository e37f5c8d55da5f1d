"""The commands: what each is for, the config that it takes, and what it does with a command line before anything heavy is imported."""

import gc
import importlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any

from rich.console import Console


@dataclass(frozen=True)
class Command:
    """One command. Code is named and imported when it is needed: ``--help`` of one command need not import the others."""

    name: str
    """Also that of its YAML in ``conf`` and of its file in ``pipelines``."""
    purpose: str
    config: str
    examples: tuple[str, ...]
    heavy: str
    """Modules that its pipeline imports, which takes seconds."""
    rewrite: str | None = None
    """Makes the arguments that Hydra sees of those that the user gave."""
    check: str | None = None
    """Makes what the pipeline is given of a job's overrides and the folder of ``--config-dir``; None validates the config."""
    aside: str | None = None
    """Does what an option of its own asks for, without a config, and says whether one did."""
    aside_usage: str = ""
    """Form of that option, and its effect."""
    grid: str | None = None
    """Held around all jobs of a grid, given what was checked; gives further overrides for them."""

    @property
    def config_class(self) -> Any:
        """The class of its config."""
        return resolve_name(self.config)

    @property
    def pipeline(self) -> Callable[[Any, Console], None]:
        """Its function, imported with all that it needs.

        Python looks for garbage at every few hundred new objects, and modules make a million that stay: a fifth of the imports' CPU time,
        and less later on if these objects are never looked at again.
        """
        gc.disable()
        try:
            return importlib.import_module(f"clickflow.pipelines.{self.name}").main  # type: ignore[no-any-return]
        finally:
            gc.freeze()
            gc.enable()

    def rewritten(self, arguments: Sequence[str]) -> Sequence[str]:
        """The arguments as Hydra is to see them."""
        return arguments if self.rewrite is None else resolve_name(self.rewrite)(arguments)

    def around(self, jobs: Sequence[Any], *, is_grid: bool) -> AbstractContextManager[Sequence[str]]:
        """The context in which all jobs run."""
        return resolve_name(self.grid)(jobs) if self.grid and is_grid and jobs else nullcontext(())


ALL = "torch, Lightning and MLflow"
COMMANDS = {
    command.name: command
    for command in (
        Command(
            "prepare",
            "make a prepared data set of a raw log",
            "clickflow.runs.config:PrepareConfig",
            ("--from clicks.csv products.csv", "data=movielens_1m data.path=ml-1m.zip", "data=my_shop protocol.test_fraction=0.2"),
            "torch and PyArrow",
            aside="clickflow.cli.first_config:wrote_first_config",
            aside_usage="--from FILE ... [data=NAME]: looks at a log of yours and writes a first conf/data/NAME.yaml",
        ),
        Command(
            "train",
            "prepare if needed, train one model, log everything to MLflow",
            "clickflow.runs.config:RunConfig",
            ("data=movielens_1m model=din", "model=dien optimizer=adamw trainer.max_epochs=3", "-m model=base,din seed=0,1,2"),
            ALL,
            grid="clickflow.cli.grid:grid",
        ),
        Command(
            "sweep",
            "search hyperparameters with an Optuna study and several workers",
            "clickflow.sweep.config:SweepRunConfig",
            (
                "model=din sweep.num_trials=50 sweep.num_workers=2",
                "model=base,din,dien data=movielens_1m",
                "'optimizer.learning_rate=tag(log, interval(1e-4, 1e-2))' sweep.sampler=random",
            ),
            "torch, Lightning, MLflow and Optuna",
            rewrite="clickflow.cli.sweep_arguments:into_space",
            check="clickflow.cli.composer:prepared_sweep",
        ),
        Command(
            "evaluate",
            "score the test split with a run's best weights or a model, and count that it was opened",
            "clickflow.runs.config:EvaluateConfig",
            ("run_id=RUN", "model=models:/ctr@champion", "run_id=RUN 'slice_fields=[category, device]'"),
            ALL,
        ),
        Command(
            "compare",
            "train or collect every model and seed, and table them on the same test rows",
            "clickflow.runs.config:CompareConfig",
            ("data=movielens_1m", "experiment=din_paper_electronics", "'compare.only=[Base, DIN outer]' 'compare.seeds=[0]'"),
            ALL,
            check="clickflow.cli.comparison_configs:prepared_comparison",
        ),
        Command(
            "promote",
            "make the best run the champion of a registered model, if it is better on the same test rows",
            "clickflow.promotion.config:PromoteConfig",
            ("name=ctr", "name=ctr run_id=RUN dry_run=true", "name=ctr rollback=true"),
            ALL,
            rewrite="clickflow.cli.overrides:experiment_as_key",
        ),
        Command(
            "predict",
            "score the rows of a table with a model, or find the best candidates for each of its users",
            "clickflow.scoring.config:PredictConfig",
            (
                "model=models:/ctr@champion input=rows.parquet output=scores.parquet",
                "model=models:/ctr@champion input=rows.csv behaviours.path=clicks.csv output=scores.parquet",
                "model=models:/ctr@champion input=users.parquet candidates=items.parquet top_k=10 output=best.parquet",
            ),
            "torch and MLflow",
            rewrite="clickflow.cli.overrides:model_as_uri",
        ),
        Command(
            "reproduce",
            "train a finished run again and compare every metric",
            "clickflow.runs.config:ReproduceConfig",
            ("run_id=RUN", "run_id=RUN tolerance=0.01", "run_id=RUN data.path=/mnt/data/clicks.csv"),
            ALL,
        ),
        Command(
            "serve",
            "serve a registered model by MLflow's own server: raw ids in, probabilities out",
            "clickflow.tracking.config:ServeConfig",
            ("name=ctr", "name=ctr alias=challenger port=5002", "name=ctr behaviours.path=clicks.parquet workers=4"),
            "MLflow",
        ),
        Command(
            "ui",
            "show the MLflow pages over the local store",
            "clickflow.tracking.config:UiConfig",
            ("", "port=5050", "home=/mnt/shared/clickflow"),
            "",
        ),
        Command(
            "gc",
            "close runs of dead processes, delete what nobody will need, renew the store's statistics",
            "clickflow.upkeep.config:CleanupConfig",
            ("dry_run=true", "keep_best=1", "silent_hours=24"),
            ALL,
        ),
        Command(
            "demo",
            "train Base and DIN on a generated click log, compare them, promote the better one and score with it",
            "clickflow.runs.config:RunConfig",
            ("", "trainer.max_epochs=1", "model=dien"),
            ALL,
        ),
    )
}
