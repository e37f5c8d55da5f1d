"""A run that is open: what can be logged to it and read from it.

Every call names the run by its id through the store's client, so two runs open in one process (a sweep's parent and its child) cannot mix.
Only metrics are buffered, because they are logged inside the training loop. All else is rare and written at once, so that it survives a
crash.
"""

import json
import re
import time
import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.entities import Run as MlflowRun

from clickflow.text import cut
from clickflow.tracking.contents import History
from clickflow.tracking.names import DESCRIPTION_TAG, NON_FINITE_TAG
from clickflow.tracking.search import FoundRun
from clickflow.tracking.store import Store, keep_environment, store_faults
from clickflow.tracking.writer import METRICS_PER_REQUEST, FiniteOnly, MetricWriter

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PARAMS_PER_REQUEST = 100  # this and the three below are MLflow's limits
PARAM_LENGTH = 6000
TAG_LENGTH = 8000
DIGEST_LENGTH = 36
CUT = " …[cut]"


class Run:
    """An MLflow run. :func:`~clickflow.tracking.lifecycle.open_run` and ``resume_run`` make it and also end it.

    ``found`` is the run as it was when it was opened.
    """

    def __init__(self, store: Store, found: FoundRun) -> None:
        self.store = store
        self.found = found
        self._client = store.client
        self._writer = MetricWriter(lambda metrics: self._client.log_batch(self.id, metrics=metrics), self.id)
        self._finite_only = FiniteOnly()

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Buffer the metrics of a step; they are in the store about a second later, or after :meth:`flush`.

        NaN and infinities are not stored. Each metric that had one is warned of once and named in the tag ``non_finite_metrics``.

        Raises:
            TrackingError: an earlier write failed, so what is logged now would be lost too.
        """
        self._writer.put({key: float(value) for key, value in metrics.items() if self._finite_only.accepts(key, float(value), step)}, step)

    def log_curves(self, curves: Mapping[str, History]) -> None:
        """Log each curve as one metric with many steps, so that MLflow's chart lays the curves of several runs over each other.

        A curve that the run already has stays as it is: MLflow would append the points, and two points at each step make the chart zigzag.
        Evaluating a run again on the same data gives the same curve, so nothing is lost.

        Args:
            curves: name, such as ``roc/tpr``, -> steps (P,), the grid's positions such as 1000 · FPR, and heights (P,); points that are not
                finite are left out, as in :meth:`log_metrics`.
        """
        known = self._read().data.metrics
        now = int(time.time() * 1000)
        points = [
            Metric(key, float(value), now, int(step))
            for key, (steps, values) in curves.items()
            if key not in known
            for step, value in zip(steps, values, strict=True)
            if self._finite_only.accepts(key, float(value), int(step))
        ]
        with self._storing(f"curves {', '.join(curves)}"):
            self._write_points(points)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log params; a TrackingError if one was logged before with another value.

        Characters that MLflow refuses in names become ``_``, and a value over 6,000 characters is cut and says so.
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
        """Remove a tag that the run had when it was opened; nothing happens where it had none."""
        if key in self.found.tags:
            with self._storing("tags"):
                self._client.delete_tag(self.id, key)

    def set_description(self, markdown: str) -> None:
        """Set the text at the top of the run's page."""
        self.set_tags({DESCRIPTION_TAG: markdown})

    def log_file(self, local: Path, folder: str | None = None) -> None:
        """Upload a file, or a folder with its contents, into a folder of the run's artifacts."""
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
        with self._storing(f"artifact {file}"), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing from")  # a title in a script that the font lacks
            self._client.log_figure(self.id, figure, file)

    def log_dataset(self, name: str, fingerprint: str, source: str, profile: Mapping[str, Any], context: str) -> None:
        """Name the data set that the run works on; MLflow shows it on the run's page and finds runs by it.

        Of the fingerprint MLflow keeps the first 36 characters. The context is ``training``, ``validation`` or ``test``.
        """
        dataset = Dataset(
            name=name,
            digest=fingerprint[:DIGEST_LENGTH],
            source_type="local",
            source=json.dumps({"uri": source}),
            profile=json.dumps(dict(profile), sort_keys=True),
        )
        with self._storing("dataset"):
            self._client.log_inputs(self.id, [DatasetInput(dataset, [InputTag("mlflow.data.context", context)])])

    @property
    def id(self) -> str:
        """The run's id."""
        return self.found.run_id

    @property
    def status(self) -> str:
        """``RUNNING``, ``FINISHED``, ``FAILED`` or ``KILLED``."""
        return str(self._read().info.status)

    @property
    def url(self) -> str:
        """The run's page."""
        return self.store.page(f"experiments/{self.found.experiment_id}/runs/{self.id}")

    def flush(self) -> None:
        """Wait until all metrics are in the store; raises a TrackingError if they could not be written."""
        self._writer.flush()
        self._tag_non_finite()

    def close(self) -> None:
        """Flush and end the writing thread; the run's status stays as it is."""
        self._writer.close()
        self._tag_non_finite()

    def restart(self) -> None:
        """Set the run's status to RUNNING again."""
        with self._storing("status RUNNING"):
            self._client.update_run(self.id, status="RUNNING")

    def copy_metrics(self, run_id: str, prefixes: tuple[str, ...], up_to_step: int) -> None:
        """Copy another run's points of the metrics with these prefixes up to a step, so that a resumed training's curves are complete."""
        with self._storing(f"metrics of run {run_id}"):
            names = [name for name in self._client.get_run(run_id).data.metrics if name.startswith(prefixes)]
            points = [point for name in names for point in self._client.get_metric_history(run_id, name) if point.step <= up_to_step]
            self._write_points(points)

    def terminate(self, status: str, end_time: int | None = None) -> None:
        """Set the final status and the end time, in milliseconds since 1970; None is now."""
        quiet = {"MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}  # the pipeline prints the URL itself
        with self._storing(f"status {status}"), keep_environment(quiet):
            self._client.set_terminated(self.id, status, end_time)

    def _write_points(self, points: list[Metric]) -> None:
        for start in range(0, len(points), METRICS_PER_REQUEST):
            self._client.log_batch(self.id, metrics=points[start : start + METRICS_PER_REQUEST])

    def _tag_non_finite(self) -> None:
        if self._finite_only.first:
            self.set_tags({NON_FINITE_TAG: "; ".join(self._finite_only.first.values())})

    def _read(self) -> MlflowRun:
        with self._storing("reading it"):
            return self._client.get_run(self.id)

    def _storing(self, what: str) -> AbstractContextManager[None]:
        return store_faults(f"run {self.id}: {what} failed", f"check the tracking store {self.store.uri}")
