"""Read what a run holds, its artifacts and the histories of its metrics, without opening it.

Each function raises a TrackingError if the store does not answer or the run has no such artifact.
"""

import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from clickflow.tracking.search import FoundRun, asking
from clickflow.tracking.store import Store, store_faults

History = tuple[np.ndarray, np.ndarray]
"""Steps (P,) and values (P,) of a metric, in the order of the steps."""


def fetch_artifact(store: Store, run_id: str, artifact: str, to: Path) -> Path:
    """Copy an artifact, a file or a folder, into the folder ``to`` (made if needed)."""
    to.mkdir(parents=True, exist_ok=True)
    with store_faults(f"run {run_id}: artifact {artifact} cannot be fetched", "look at the run's page"):
        return Path(store.client.download_artifacts(run_id, artifact, str(to)))


def artifact_names(store: Store, run_id: str, folder: str) -> set[str]:
    """Names of the files in a folder of a run's artifacts; none if there is no such folder.

    Raises:
        TrackingError: the store does not answer.
    """
    with asking(store, f"artifacts of run {run_id} cannot be listed"):
        return {Path(found.path).name for found in store.client.list_artifacts(run_id, folder)}


@contextmanager
def fetched(store: Store, run_id: str, artifact: str) -> Iterator[Path]:
    """A copy of an artifact that is gone afterwards."""
    with tempfile.TemporaryDirectory() as scratch:
        yield fetch_artifact(store, run_id, artifact, Path(scratch))


def metric_history(store: Store, run_id: str, name: str) -> History:
    """The history of one metric, empty if the run lacks it; values of one step keep the order in which they were logged."""
    with asking(store, f"metric {name} of run {run_id} cannot be read"):
        points = sorted(store.client.get_metric_history(run_id, name), key=lambda point: (point.step, point.timestamp))
    finite = [(point.step, point.value) for point in points if math.isfinite(point.value)]
    steps, values = np.array(finite, dtype=np.float64).reshape(-1, 2).T
    return steps, values


def metric_histories(store: Store, run: FoundRun, prefix: str, containing: str = "") -> dict[str, History]:
    """The history of every metric of a run whose name begins with ``prefix`` and contains a text, by the name without the prefix."""
    names = [name for name in sorted(run.metrics) if name.startswith(prefix) and containing in name]
    return {name.removeprefix(prefix): metric_history(store, run.run_id, name) for name in names}
