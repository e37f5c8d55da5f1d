"""Raw log -> prepared dataset: ``python pipelines/prepare.py data=movielens_1m data.path=ml-1m.zip``."""

from rich.console import Console

from clickflow.runs.config import PrepareConfig
from pipelines.launch import launch
from pipelines.tables import print_dataset, timed_prepare


def story(config: PrepareConfig, console: Console) -> None:
    """Prepare and say what came out."""
    print_dataset(console, *timed_prepare(config, console))
    console.print("next: [bold]python pipelines/train.py[/] with the same data and protocol")


if __name__ == "__main__":
    launch("prepare", PrepareConfig, story)
