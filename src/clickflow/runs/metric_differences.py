"""Compare the metrics of two runs point by point: every step of every history.

A metric is compared unless it is known to depend on time or on the machine, so that a metric that is added later is not forgotten.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from clickflow.runs.evaluate import TIMES_OPENED
from clickflow.text import csv_table
from clickflow.tracking.contents import History

Histories = Mapping[str, History]

TIMINGS = frozenset({"rows_per_second", "train_seconds", "latency_milliseconds"})
BOOKKEEPING = frozenset({"epoch", "trial_number", TIMES_OPENED})
"""The axis of a chart, which a resumed training may lack at the seam; a trial's number in its sweep; openings of the test split."""
PHASES = ("best/", "roc/", "pr/", "test/")
"""Prefixes of the metrics that are logged after the training, in this order: the first difference is where the runs parted."""


@dataclass(frozen=True)
class Difference:
    """A point at which two runs differ; the value is None for the run that lacks the point."""

    metric: str
    step: int
    old: float | None
    new: float | None

    @property
    def size(self) -> float:
        """The absolute difference, but relative to old values larger than 1; infinite if a run lacks the point."""
        if self.old is None or self.new is None:
            return math.inf
        return abs(self.new - self.old) / max(1.0, abs(self.old))


@dataclass(frozen=True)
class MetricDifferences:
    """The points of one metric that are not identical, by step, and the number of steps that either run has."""

    metric: str
    num_points: int
    differences: tuple[Difference, ...]

    @property
    def largest(self) -> float:
        """The largest difference; 0 where all points are identical."""
        return max((difference.size for difference in self.differences), default=0.0)

    def beyond(self, tolerance: float) -> list[Difference]:
        """The differences larger than this."""
        return [difference for difference in self.differences if difference.size > tolerance]


def is_compared(metric: str) -> bool:
    """Whether a metric is a function of config and data.

    >>> [name for name in ("val/auc", "system/cpu", "train/rows_per_second", "epoch") if is_compared(name)]
    ['val/auc']
    """
    return not metric.startswith("system/") and metric.rpartition("/")[2] not in TIMINGS and metric not in BOOKKEEPING


def compare_histories(old: Histories, new: Histories) -> list[MetricDifferences]:
    """Compare the histories of a run with those of its reproduction, in the order in which a training logs them.

    Metrics that only the reproduction has are left out, since code that logs more is no difference.
    """
    return [_compare(name, old, new) for name in sorted(filter(is_compared, old), key=lambda name: (_phase(name), name))]


def first_difference(metrics: Iterable[MetricDifferences], tolerance: float) -> Difference | None:
    """The point where the runs part: the first difference beyond a tolerance, by phase, step and name."""
    found = (difference for metric in metrics for difference in metric.beyond(tolerance)[:1])
    return min(found, key=lambda difference: (_phase(difference.metric), difference.step, difference.metric), default=None)


def as_csv(metrics: Iterable[MetricDifferences]) -> str:
    """One row per metric: points, how many differ, the largest difference, and the first one with both values."""
    return csv_table(_columns(metric) for metric in metrics)


def _columns(metric: MetricDifferences) -> dict[str, object]:
    first = metric.differences[0] if metric.differences else None
    return {
        "metric": metric.metric,
        "points": metric.num_points,
        "differing": len(metric.differences),
        "largest_difference": repr(metric.largest),
        "first_step": "" if first is None else first.step,
        "old": "" if first is None else first.old,
        "new": "" if first is None else first.new,
    }


def _compare(metric: str, old: Histories, new: Histories) -> MetricDifferences:
    before, after = _points(metric, old), _points(metric, new)
    points = [Difference(metric, step, before.get(step), after.get(step)) for step in sorted(before.keys() | after.keys())]
    return MetricDifferences(metric, len(points), tuple(point for point in points if point.old != point.new))


def _points(metric: str, histories: Histories) -> dict[int, float]:
    """Step -> value; a step that was logged twice, for example by a second evaluation, has its last value."""
    if metric not in histories:
        return {}
    steps, values = histories[metric]
    return dict(zip(steps.astype(np.int64).tolist(), values.tolist(), strict=True))


def _phase(metric: str) -> int:
    return next((position for position, prefix in enumerate(PHASES, start=1) if metric.startswith(prefix)), 0)
