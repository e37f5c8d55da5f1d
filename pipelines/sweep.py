"""Search hyperparameters: ``python pipelines/sweep.py model=din sweep=din sweep.num_trials=50 sweep.num_workers=2 data=…``.

The same command carries on where it was left, and on another machine with the same storage and tracking URI joins in.
"""

import sys
from pathlib import Path

from rich.console import Console

from clickflow.cli.cluster import Cluster, ClusterWorkers, chosen_cluster
from clickflow.cli.composer import PreparedSweep, prepared_sweep, train_command
from clickflow.cli.launch import config_dir, launch, progress_printer, store_overrides, task_overrides
from clickflow.cli.search_space import into_space
from clickflow.cli.sweep_console import SweepConsole, print_best
from clickflow.sweep.config import SweepRunConfig
from clickflow.sweep.coordinator import SweepResult, Workers, sweep
from clickflow.sweep.processes import LocalWorkers
from clickflow.sweep.worker_spec import WorkerSpec

WORKER = [sys.executable, "-m", "clickflow.cli.sweep_worker"]


def main(config: SweepRunConfig, console: Console) -> None:
    """Check, search, and say what was found and what to do with it."""
    cluster = chosen_cluster()
    prepared = prepared_sweep(task_overrides(), config_dir())

    def start_workers(spec: WorkerSpec, folder: Path) -> Workers:
        if cluster is None:
            return LocalWorkers(WORKER, spec, spec.config.sweep.num_workers, folder)
        return ClusterWorkers(cluster, spec)

    config, progress = _with_threads(prepared.config, cluster), progress_printer(console)
    try:
        with SweepConsole(console).watching() as watch:
            result = sweep(config, prepared.space, prepared.composer, start_workers, progress=progress, watch=watch)
    except KeyboardInterrupt:
        console.print("stopped; the same command carries on from here")
        raise
    print_best(console, result, prepared.config.sweep.metric)
    _print_commands(console, prepared, result)


def _with_threads(config: SweepRunConfig, cluster: Cluster | None) -> SweepRunConfig:
    """On a cluster the launcher knows how many processors a worker has."""
    if cluster is None or config.sweep.threads_per_worker is not None:
        return config
    return config.model_copy(update={"sweep": config.sweep.model_copy(update={"threads_per_worker": cluster.threads_per_worker})})


def _print_commands(console: Console, prepared: PreparedSweep, result: SweepResult) -> None:
    config = prepared.config
    console.print(f"run {result.parent_run_id}  {result.url}", soft_wrap=True)
    if not result.best:
        return
    best, values = result.best[0], result.values[0]
    where = "".join(f" {override}" for override in store_overrides(config.home, config.tracking))
    threads = {"trainer.num_threads": result.threads}
    console.print(f"train trial {best.number} again:\n  [bold]{train_command(prepared.composer, values | threads)}[/]", soft_wrap=True)
    run_id = best.user_attrs["run_id"]
    console.print(f"test it:\n  [bold]python pipelines/evaluate.py run_id={run_id}{where}[/]", soft_wrap=True)
    console.print(
        f"make it the champion, if it is better:\n  [bold]python pipelines/promote.py name=ctr run_id={run_id}{where}[/]", soft_wrap=True
    )


if __name__ == "__main__":
    launch("sweep", SweepRunConfig, main, rewrite=into_space, check=prepared_sweep)
