"""A parent run above the runs of one ``train -m``, so that MLflow's pages show them as one thing."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from clickflow.errors import TrainingError
from clickflow.runs.config import RunConfig
from clickflow.text import markdown_table
from clickflow.tracking.lifecycle import open_run
from clickflow.tracking.lineage import lineage_tags
from clickflow.tracking.names import BEST_RUN_TAG, KIND_TAG, PARENT_TAG, logged_name
from clickflow.tracking.run import Run
from clickflow.tracking.search import FoundRun, find_runs
from clickflow.tracking.store import Store, open_store


@contextmanager
def grid_parents(configs: Sequence[RunConfig], swept: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Hold a parent run open in every experiment of a grid while its jobs run; ``swept`` has the keys and values of the command line.

    Yields:
        Experiment name -> id of its parent run.

    Raises:
        TrainingError: some of the jobs' runs did not finish; the parent is FAILED.
    """
    by_experiment: dict[str, list[RunConfig]] = {}
    for config in configs:
        by_experiment.setdefault(str(config.tracking.experiment_name), []).append(config)
    with ExitStack() as stack:
        yield {name: stack.enter_context(_parent(jobs, swept)).id for name, jobs in by_experiment.items()}


@contextmanager
def _parent(configs: Sequence[RunConfig], swept: Mapping[str, str]) -> Iterator[Run]:
    config = configs[0]
    store = open_store(config.tracking, config.home)
    tags = {KIND_TAG: "grid", "data": config.data.name, "protocol": config.protocol.name, **lineage_tags(Path(__file__).parent)}
    params = {f"grid.{key}": values for key, values in swept.items()}
    with open_run(store, name=f"grid-{'-'.join(swept)}", params=params, tags=tags, log_system_metrics=False) as parent:
        yield parent
        _conclude(parent, store, config, len(configs))


def _conclude(parent: Run, store: Store, config: RunConfig, num_jobs: int) -> None:
    """Name the best run, and fail where runs are missing."""
    finished = find_runs(store, {PARENT_TAG: parent.id}, "FINISHED")
    metric = logged_name(config.trainer.monitor)
    if finished:
        best = (max if config.trainer.mode == "max" else min)(finished, key=lambda run: run.metrics[metric])
        parent.set_tags({BEST_RUN_TAG: best.run_id})
        parent.log_metrics({name: value for name, value in best.metrics.items() if name.startswith("best/")}, step=0)
        parent.set_description(_table(finished, metric, reverse=config.trainer.mode == "max"))
    if len(finished) < num_jobs:
        raise TrainingError(
            f"{num_jobs - len(finished)} of the grid's {num_jobs} runs did not finish; see their errors above and in their runs"
        )


def _table(runs: Sequence[FoundRun], metric: str, *, reverse: bool) -> str:
    ranked = sorted(runs, key=lambda run: run.metrics[metric], reverse=reverse)
    return markdown_table([{"run": f"{run.name} ({run.run_id[:12]})", metric: f"{run.metrics[metric]:.4f}"} for run in ranked])
