"""What a fit tells to the outside, and how the outside ends it."""

from collections.abc import Mapping
from typing import Protocol

WATCHED = "Watched"
"""Under which a checkpoint of a watched fit holds how many validations were done."""


class MetricSink(Protocol):
    """Takes metrics: a tracked run, or a list in a test."""

    def __call__(self, metrics: Mapping[str, float], step: int) -> None:
        """Take the metrics of one step."""


class Pruned(Exception):
    """Raised by a :class:`Watcher` to end a fit that is not worth going on with."""


class Watcher(Protocol):
    """Follows a fit from outside: shows how far it is, or ends it by raising."""

    def after_step(self, epochs: float, rows_per_second: float) -> None:
        """A training step is done; called often, so it must be quick.

        Args:
            epochs: done so far, fractions among them.
            rows_per_second: training rows a second so far.
        """

    def after_validation(self, number: int, metrics: Mapping[str, float]) -> None:
        """A validation is done.

        Args:
            number: of the validation, from 1; a resumed fit counts on.
            metrics: by name, ``val/…`` among them.
        """
