"""The interface of a fit to the code around it, which receives metrics and may end the fit."""

from collections.abc import Mapping
from typing import Protocol

WATCHED = "Watched"
"""Key under which a checkpoint of a watched fit stores the number of validations done."""


class MetricSink(Protocol):
    """Receiver of metrics: a tracked run, or a list in a test."""

    def __call__(self, metrics: Mapping[str, float], step: int) -> None:
        """Take the metrics of one step."""


class Pruned(Exception):
    """Raised by a :class:`Watcher` to end a fit that is not worth continuing."""


class Watcher(Protocol):
    """Observer of a fit, which shows its progress or ends it by raising."""

    def after_step(self, epochs: float, rows_per_second: float) -> None:
        """Follow a training step: ``epochs`` done so far, with a fraction for the current one; called often, so it must be quick."""

    def after_validation(self, number: int, metrics: Mapping[str, float]) -> None:
        """Follow a validation; they are numbered from 1, and a resumed fit continues the count."""
