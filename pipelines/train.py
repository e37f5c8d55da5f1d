"""Prepare if needed, train one model, log everything: ``clickflow train data=movielens_1m model=din``."""

if __name__ == "__main__":  # first of all: a wrong config is answered before anything heavy is imported
    from clickflow.cli.main import run

    run("train")

from rich.console import Console

from clickflow.cli.grid import part_of_grid
from clickflow.cli.next_command import next_command, or_ui, progress_printer
from clickflow.cli.result_tables import print_dataset, print_metrics, timed_prepare
from clickflow.runs.config import RunConfig
from clickflow.runs.train import open_training_run, train_in
from clickflow.tracking.store import open_store


def main(config: RunConfig, console: Console) -> None:
    """Train and say where to look."""
    with open_training_run(open_store(config.tracking, config.home), config, part_of_grid(config)) as run:
        dataset, seconds = timed_prepare(config, console)
        if seconds is not None:
            print_dataset(console, dataset, seconds)
        trained = train_in(run, config, dataset, progress_printer(console))
    print_metrics(console, f"{config.model.name} on {config.data.name}, validation", trained.validation)
    fit = trained.fit
    speed = f"{fit.rows_per_second:,.0f} rows/s, {trained.costs['num_parameters']:,.0f} parameters"
    console.print(f"best epoch {fit.best_epoch + 1} of {fit.num_epochs}, {speed}")
    console.print(f"run {trained.run_id}  {trained.url}", soft_wrap=True)
    console.print(f"model {trained.model_uri}")
    evaluate = next_command("evaluate", config.home, config.tracking, run_id=trained.run_id)
    console.print(f"next: {evaluate}{or_ui(config.home, config.tracking)}", soft_wrap=True)
