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
from clickflow.tracking.search import find_runs
from clickflow.tracking.store import Store, open_store


@contextmanager
def grid_parents(configs: Sequence[RunConfig], swept: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Hold a parent run open in every experiment of a grid while its jobs run; yields experiment name -> id of its parent run.

    ``swept`` has the keys and values of the command line. A parent is FAILED if some of its jobs' runs did not finish.
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
        ranked = sorted(finished, key=lambda run: run.metrics[metric], reverse=config.trainer.mode == "max")
        rows = [{"run": f"{run.name} ({run.run_id[:12]})", metric: f"{run.metrics[metric]:.4f}"} for run in ranked]
        parent.set_tags({BEST_RUN_TAG: ranked[0].run_id})
        parent.log_metrics({name: value for name, value in ranked[0].metrics.items() if name.startswith("best/")}, step=0)
        parent.set_description(markdown_table(rows))
    if len(finished) < num_jobs:
        raise TrainingError(
            f"{num_jobs - len(finished)} of the grid's {num_jobs} runs did not finish; see their errors above and in their runs"
        )
