"""A run: what can be logged to it and read from it.

Every call names the run by its id through the store's client, so two runs open in one process (a sweep's parent and its child) cannot mix.
Only metrics are buffered: they are logged inside the training loop. The rest is rare and written at once, so that it survives a crash.
"""

import json
import logging
import math
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException

from clickflow.errors import TrackingError
from clickflow.text import cut, first_line
from clickflow.tracking.search import fetch_artifact
from clickflow.tracking.store import Store, is_server, keep_environment, remedy
from clickflow.tracking.writer import METRICS_PER_REQUEST, MetricWriter

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

DESCRIPTION_TAG = "mlflow.note.content"
NON_FINITE_TAG = "non_finite_metrics"
CHECKPOINTS_REMOVED_TAG = "checkpoints.removed"
"""When and by whom; the run is whole but for them."""
PARAMS_PER_REQUEST = 100  # these four are MLflow's limits
PARAM_LENGTH = 6000
TAG_LENGTH = 8000
DIGEST_LENGTH = 36
CUT = " …[cut]"
LOCAL_UI = "http://127.0.0.1:5000"


class Run:
    """An MLflow run by its id. Made by :func:`~clickflow.tracking.lifecycle.open_run` and ``resume_run``, which also end it.

    Attributes:
        store: the store it is in.
        id: the run's id.
    """

    def __init__(self, store: Store, run_id: str) -> None:
        self.store = store
        self.id = run_id
        self._client = store.client
        self._writer = MetricWriter(lambda metrics: self._client.log_batch(run_id, metrics=metrics), run_id)
        self._non_finite: dict[str, str] = {}

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Buffer the metrics of a step; they are in the store about a second later, or after :meth:`flush`.

        NaN and infinities are not stored, because MLflow turns infinity into 1.8e308 and one such point ruins a chart. They are named
        with their first step in the tag ``non_finite_metrics`` and warned of once a metric.

        Raises:
            TrackingError: an earlier write failed, so what is logged now would be lost too.
        """
        self._writer.put({key: float(value) for key, value in metrics.items() if self._is_finite(key, float(value), step)}, step)

    def log_curve(self, key: str, steps: np.ndarray, values: np.ndarray) -> None:
        """Log a curve as one metric with many steps, so that MLflow's chart lays the curves of several runs over each other.

        A curve the run already has is left as it is: MLflow would append the points, and two points at each step make the chart zigzag.
        Evaluating a run again on the same data gives the same curve, so nothing is lost.

        Args:
            key: metric name, such as ``roc/tpr``.
            steps: (P,) integers, the grid's positions, such as 1000 · FPR.
            values: (P,) heights; a point that is not finite is left out, as in :meth:`log_metrics`.
        """
        if len(steps) != len(values):
            raise ValueError(f"curve {key}: {len(steps)} steps for {len(values)} values; every point needs both")
        if key in self._read().data.metrics:
            return
        now = int(time.time() * 1000)
        points = [(int(step), float(value)) for step, value in zip(steps, values, strict=True)]
        metrics = [Metric(key, value, now, step) for step, value in points if self._is_finite(key, value, step)]
        with self._storing(f"curve {key}"):
            for start in range(0, len(metrics), METRICS_PER_REQUEST):
                self._client.log_batch(self.id, metrics=metrics[start : start + METRICS_PER_REQUEST])

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log params; what MLflow does not take in a name becomes ``_``, a value over 6,000 characters is cut and says so.

        Raises:
            TrackingError: a param was logged before with another value.
        """
        entries = [Param(re.sub(r"[^\w./: -]", "_", key), cut(str(value), PARAM_LENGTH, CUT)) for key, value in params.items()]
        with self._storing("params"):
            for start in range(0, len(entries), PARAMS_PER_REQUEST):
                self._client.log_batch(self.id, params=entries[start : start + PARAMS_PER_REQUEST])

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags; a later value replaces an earlier one."""
        with self._storing("tags"):
            self._client.log_batch(self.id, tags=[RunTag(key, cut(value, TAG_LENGTH, CUT)) for key, value in tags.items()])

    def remove_tag(self, key: str) -> None:
        """Remove a tag if it is there."""
        if key in self.tags:
            with self._storing("tags"):
                self._client.delete_tag(self.id, key)

    def set_description(self, markdown: str) -> None:
        """Set the text at the top of the run's page."""
        self.set_tags({DESCRIPTION_TAG: markdown})

    def log_file(self, local: Path, folder: str | None = None) -> None:
        """Upload a file, or a folder with all in it, into a folder of the run's artifacts."""
        with self._storing(f"artifact {local.name}"):
            self._client.log_artifact(self.id, str(local), folder)

    def log_text(self, text: str, file: str) -> None:
        """Store a text as the artifact ``file``."""
        with self._storing(f"artifact {file}"):
            self._client.log_text(self.id, text, file)

    def log_dict(self, values: Mapping[str, Any], file: str) -> None:
        """Store nested plain values as the artifact ``file``: YAML for ``.yaml``, else JSON."""
        with self._storing(f"artifact {file}"):
            self._client.log_dict(self.id, dict(values), file)

    def log_figure(self, figure: "Figure", file: str) -> None:
        """Store a matplotlib figure as the artifact ``file``, such as ``figures/val/roc.png``; the figure stays open."""
        with self._storing(f"artifact {file}"):
            self._client.log_figure(self.id, figure, file)

    def log_dataset(self, name: str, fingerprint: str, source: str, profile: Mapping[str, Any], context: str) -> None:
        """Say on what data the run works; MLflow shows it on the run's page and finds runs by it.

        Args:
            name: of the dataset.
            fingerprint: digest of its content; MLflow keeps the first 36 characters.
            source: where it came from, in words or as a path.
            profile: sizes and the like, JSON values.
            context: ``training``, ``validation`` or ``test``.
        """
        dataset = Dataset(
            name=name,
            digest=fingerprint[:DIGEST_LENGTH],
            source_type="local",
            source=_json({"uri": source}),
            profile=_json(profile),
        )
        with self._storing("dataset"):
            self._client.log_inputs(self.id, [DatasetInput(dataset, [InputTag("mlflow.data.context", context)])])

    def download(self, artifact: str, to: Path) -> Path:
        """Fetch an artifact, a file or a folder, into the folder ``to`` (made if needed).

        Raises:
            TrackingError: the run has no such artifact, or its checkpoints were removed.
        """
        try:
            return fetch_artifact(self.store, self.id, artifact, to)
        except TrackingError as error:
            removed = self.tags.get(CHECKPOINTS_REMOVED_TAG)
            if removed is None or not artifact.startswith("checkpoints"):
                raise
            raise TrackingError(
                f"run {self.id}: its checkpoints were removed {removed}; its logged model is still there (model=models:/m-…, on the run's "
                f"page), and reproduce.py run_id={self.id} trains it again"
            ) from error

    @property
    def params(self) -> dict[str, str]:
        """All params, as MLflow keeps them: text."""
        return dict(self._read().data.params)

    @property
    def metrics(self) -> dict[str, float]:
        """The last value of each metric."""
        self.flush()
        return dict(self._read().data.metrics)

    @property
    def tags(self) -> dict[str, str]:
        """All tags, MLflow's own (``mlflow.…``) among them."""
        return dict(self._read().data.tags)

    @property
    def status(self) -> str:
        """``RUNNING``, ``FINISHED``, ``FAILED`` or ``KILLED``."""
        return str(self._read().info.status)

    @property
    def url(self) -> str:
        """The run's page: on the server, or in the UI that ``make ui`` starts over the local store."""
        server = self.store.uri.rstrip("/") if is_server(self.store.uri) else LOCAL_UI
        return f"{server}/#/experiments/{self._read().info.experiment_id}/runs/{self.id}"

    def flush(self) -> None:
        """Wait until all metrics are in the store.

        Raises:
            TrackingError: they could not be written.
        """
        self._writer.flush()
        self._tag_non_finite()

    def close(self) -> None:
        """Flush and end the writing thread; the run's status stays as it is.

        Raises:
            TrackingError: metrics could not be written.
        """
        self._writer.close()
        self._tag_non_finite()

    def restart(self) -> None:
        """Call the run RUNNING again."""
        with self._storing("status RUNNING"):
            self._client.update_run(self.id, status="RUNNING")

    def copy_metrics(self, run_id: str, prefixes: tuple[str, ...], up_to_step: int) -> None:
        """Take over the points of another run's metrics, so that the curves of a resumed training are whole.

        Args:
            run_id: of the other run.
            prefixes: of the metrics' names.
            up_to_step: the last step to take over.
        """
        with self._storing(f"metrics of run {run_id}"):
            names = [name for name in self._client.get_run(run_id).data.metrics if name.startswith(prefixes)]
            points = [point for name in names for point in self._client.get_metric_history(run_id, name) if point.step <= up_to_step]
            for start in range(0, len(points), METRICS_PER_REQUEST):
                self._client.log_batch(self.id, metrics=points[start : start + METRICS_PER_REQUEST])

    def terminate(self, status: str, end_time: int | None = None) -> None:
        """Set the final status and the end time, in milliseconds since 1970; None is now."""
        quiet = {"MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}  # the pipeline prints the URL itself
        with self._storing(f"status {status}"), keep_environment(quiet):
            self._client.set_terminated(self.id, status, end_time)

    def _is_finite(self, key: str, value: float, step: int) -> bool:
        if math.isfinite(value):
            return True
        if key not in self._non_finite:
            self._non_finite[key] = f"{key} = {value} at step {step}"
            logger.warning("metric %s: not finite, not stored; further ones of this metric are left out silently", self._non_finite[key])
        return False

    def _tag_non_finite(self) -> None:
        if self._non_finite:
            self.set_tags({NON_FINITE_TAG: "; ".join(self._non_finite.values())})

    def _read(self) -> MlflowRun:
        with self._storing("reading it"):
            return self._client.get_run(self.id)

    @contextmanager
    def _storing(self, what: str) -> Iterator[None]:
        try:
            yield
        except (MlflowException, OSError) as error:
            advice = remedy(error, f"check the tracking store {self.store.uri}")
            raise TrackingError(f"run {self.id}: {what} failed ({first_line(error)}); {advice}") from error


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, sort_keys=True)
