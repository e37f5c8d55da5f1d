"""Raw log -> prepared dataset: ``clickflow prepare data=movielens_1m data.path=ml-1m.zip``."""

if __name__ == "__main__":  # first of all: a wrong config is answered before anything heavy is imported
    from clickflow.cli.main import run

    run("prepare")

from rich.console import Console

from clickflow.cli.next_command import same_job_by
from clickflow.cli.result_tables import print_dataset, timed_prepare
from clickflow.runs.config import PrepareConfig


def main(config: PrepareConfig, console: Console) -> None:
    """Prepare and say what came out."""
    print_dataset(console, *timed_prepare(config, console))
    console.print(f"next: {same_job_by('train')}", soft_wrap=True)
