"""Prepare if needed, train one model, log everything: ``python pipelines/train.py data=movielens_1m model=din``."""

from rich.console import Console

from clickflow.cli.grid import grid, part_of_grid
from clickflow.cli.launch import launch, progress_printer, store_overrides
from clickflow.cli.result_tables import print_metrics
from clickflow.runs.config import RunConfig
from clickflow.runs.train import train


def main(config: RunConfig, console: Console) -> None:
    """Train and say where to look."""
    trained = train(config, progress_printer(console), part_of=part_of_grid(config))
    print_metrics(console, f"{config.model.name} on {config.data.name}, validation", trained.validation)
    fit = trained.fit
    speed = f"{fit.rows_per_second:,.0f} rows/s, {trained.costs['num_parameters']:,.0f} parameters"
    console.print(f"best epoch {fit.best_epoch + 1} of {fit.num_epochs}, {speed}")
    console.print(f"run {trained.run_id}  {trained.url}", soft_wrap=True)
    console.print(f"model {trained.model_uri}")
    where = "".join(f" {override}" for override in store_overrides(config.home, config.tracking))
    ui = "" if where else " or [bold]make ui[/]"
    console.print(f"next: [bold]python pipelines/evaluate.py run_id={trained.run_id}{where}[/]{ui}", soft_wrap=True)


if __name__ == "__main__":
    launch("train", RunConfig, main, grid=grid)
