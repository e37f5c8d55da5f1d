"""Raw log -> prepared dataset: ``python pipelines/prepare.py data=movielens_1m data.path=ml-1m.zip``."""

import time

from rich.console import Console

from clickflow.data.prepare import prepare
from clickflow.runs.config import PrepareConfig
from pipelines.launch import launch, progress_printer
from pipelines.tables import print_dataset


def story(config: PrepareConfig, console: Console) -> None:
    """Prepare and say what came out."""
    start = time.perf_counter()
    dataset = prepare(config.data, config.protocol, config.home, progress_printer(console))
    print_dataset(console, dataset, time.perf_counter() - start)
    console.print("next: [bold]python pipelines/train.py[/] with the same data and protocol")


if __name__ == "__main__":
    launch("prepare", PrepareConfig, story)
