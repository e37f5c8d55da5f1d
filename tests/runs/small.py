"""The config of a training that takes seconds."""

from pathlib import Path

from clickflow.cli.compose import composed_config
from clickflow.config import validate
from clickflow.runs.config import RunConfig

SMALL = [
    "data.num_users=300",
    "data.num_items=200",
    "data.num_categories=10",
    "data.num_impressions=4000",
    "trainer.max_epochs=2",
    "trainer.batch_size=256",
    "trainer.log_every_num_steps=2",
    "trainer.progress_bar=false",
    "tracking.log_system_metrics=false",
]


def small_config(home: Path, *overrides: str) -> RunConfig:
    return validate(RunConfig, composed_config("train", [f"home={home}", *SMALL, *overrides]))
