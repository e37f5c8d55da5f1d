"""Write metrics from a thread of their own, so that training does not wait for the store.

This is one thread and one queue, instead of MLflow's ``synchronous=False``, which hands each call to a pool of ten threads, so that metrics
may arrive out of order and a failed write is only printed. Here the metrics of a second go out as one request, in order, and a failed write
(MLflow's client has retried it by then) raises at the next call.
"""

import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from mlflow.entities import Metric

from clickflow.errors import TrackingError
from clickflow.text import first_line
from clickflow.tracking.store import remedy

logger = logging.getLogger(__name__)

METRICS_PER_REQUEST = 1000  # MLflow's limit


class FiniteOnly:
    """Refuses values that are not finite, because MLflow turns infinity into 1.8e308 and one such point ruins a chart.

    ``first`` has each metric's first such value, with its step, in words.
    """

    def __init__(self) -> None:
        self.first: dict[str, str] = {}

    def accepts(self, metric: str, value: float, step: int) -> bool:
        """Whether a value can be stored; the first one of a metric that cannot is warned of."""
        if math.isfinite(value):
            return True
        if metric not in self.first:
            self.first[metric] = f"{metric} = {value} at step {step}"
            logger.warning("metric %s: not finite, not stored; further ones of this metric are left out silently", self.first[metric])
        return False


class _Entry(NamedTuple):
    metrics: Mapping[str, float]
    step: int
    timestamp: int  # milliseconds since 1970


class _Signal(NamedTuple):
    reached: threading.Event
    is_last: bool


class MetricWriter:
    """Buffers metrics and writes them from a background thread, at most 1,000 in a request.

    An entry waits at most ``interval_seconds`` for others to share its request. Each method raises a TrackingError once a write has failed.
    """

    def __init__(self, write: Callable[[list[Metric]], object], name: str, interval_seconds: float = 1.0) -> None:
        self._write = write
        self._name = name
        self._interval_seconds = interval_seconds
        self._queue: queue.SimpleQueue[_Entry | _Signal] = queue.SimpleQueue()
        self._error: Exception | None = None
        self._closed = False
        # A daemon, so that a process which dies without closing its run does not hang.
        self._thread = threading.Thread(target=self._work, name="clickflow-metrics", daemon=True)
        self._thread.start()

    def put(self, metrics: Mapping[str, float], step: int) -> None:
        """Queue the metrics of a step, which takes microseconds; a TrackingError if the writer is closed."""
        if self._closed:
            raise TrackingError(f"run {self._name}: it has ended; metrics can only be logged while it is open")
        self._raise_error()
        self._queue.put(_Entry(metrics, step, int(time.time() * 1000)))

    def flush(self) -> None:
        """Wait until all that was put is in the store."""
        if not self._closed:
            self._signal(is_last=False)
        self._raise_error()

    def close(self) -> None:
        """Flush and end the thread; closing twice does nothing."""
        if not self._closed:
            self._signal(is_last=True)
            self._closed = True
        self._raise_error()

    def _signal(self, is_last: bool) -> None:
        reached = threading.Event()
        self._queue.put(_Signal(reached, is_last))
        reached.wait()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise TrackingError(
                f"run {self._name}: metrics could not be written ({first_line(self._error)}); "
                f"{remedy(self._error, 'check the tracking store')}"
            ) from self._error

    def _work(self) -> None:
        while True:
            metrics, signal = self._collect()
            for start in range(0, len(metrics), METRICS_PER_REQUEST):
                self._send(metrics[start : start + METRICS_PER_REQUEST])
            if signal is not None:
                signal.reached.set()
                if signal.is_last:
                    return

    def _collect(self) -> tuple[list[Metric], _Signal | None]:
        """Gather entries until a request is full, the first one has waited long enough, or a signal comes."""
        metrics: list[Metric] = []
        deadline = 0.0
        while len(metrics) < METRICS_PER_REQUEST:
            try:
                entry = self._queue.get(timeout=max(0.0, deadline - time.monotonic()) if metrics else None)
            except queue.Empty:
                break
            if isinstance(entry, _Signal):
                return metrics, entry
            if not metrics:
                deadline = time.monotonic() + self._interval_seconds
            metrics += [Metric(key, value, entry.timestamp, entry.step) for key, value in entry.metrics.items()]
        return metrics, None

    def _send(self, metrics: list[Metric]) -> None:
        if self._error is not None:  # the next caller is told; until then the queue must not grow
            return
        try:
            self._write(metrics)
        except Exception as error:
            self._error = error
