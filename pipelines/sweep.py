"""Search hyperparameters: ``clickflow sweep model=din sweep=din sweep.num_trials=50 sweep.num_workers=2 data=…``.

The same command carries on where it was left, and on another machine with the same storage and tracking URI joins in.
"""

if __name__ == "__main__":  # first of all: a wrong config is answered before anything heavy is imported
    from clickflow.cli.main import run

    run("sweep")

import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from clickflow.cli.cluster import Cluster, ClusterWorkers, chosen_cluster
from clickflow.cli.composer import PreparedSweep, train_command
from clickflow.cli.next_command import next_command, progress_printer
from clickflow.cli.sweep_console import SweepConsole, print_best
from clickflow.sweep.config import SweepRunConfig
from clickflow.sweep.coordinator import SweepResult, Workers, sweep
from clickflow.sweep.processes import LocalWorkers
from clickflow.sweep.worker_spec import WorkerSpec

WORKER = [sys.executable, "-m", "clickflow.cli.sweep_worker"]


def main(prepared: PreparedSweep, console: Console) -> None:
    """Search, and say what was found and what to do with it."""
    cluster = chosen_cluster()

    def start_workers(spec: WorkerSpec, folder: Path) -> Workers:
        if cluster is None:
            return LocalWorkers(WORKER, spec, spec.config.sweep.num_workers, folder)
        return ClusterWorkers(cluster, spec)

    config, progress = _with_threads(prepared.config, cluster), progress_printer(console)
    try:
        with SweepConsole(console).watching() as on_snapshot:
            result = sweep(config, prepared.space, prepared.composer, start_workers, progress=progress, on_snapshot=on_snapshot)
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
    threads = {"trainer.num_threads": result.threads}
    train = escape(train_command(prepared.composer, values | threads))
    console.print(f"train trial {best.number} again:\n  [bold]{train}[/]", soft_wrap=True)
    run_id = best.user_attrs["run_id"]
    console.print(f"test it:\n  {next_command('evaluate', config.home, config.tracking, run_id=run_id)}", soft_wrap=True)
    promote = next_command("promote", config.home, config.tracking, name="ctr", run_id=run_id)
    console.print(f"make it the champion, if it is better:\n  {promote}", soft_wrap=True)
