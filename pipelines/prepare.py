"""Raw log -> prepared dataset: ``python pipelines/prepare.py data=movielens_1m data.path=ml-1m.zip``."""

from rich.console import Console

from clickflow.cli.launch import launch
from clickflow.cli.result_tables import print_dataset, timed_prepare
from clickflow.runs.config import PrepareConfig


def main(config: PrepareConfig, console: Console) -> None:
    """Prepare and say what came out."""
    print_dataset(console, *timed_prepare(config, console))
    console.print("next: [bold]python pipelines/train.py[/] with the same data and protocol")


if __name__ == "__main__":
    launch("prepare", PrepareConfig, main)
