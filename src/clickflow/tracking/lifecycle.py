"""Open a run and end it with the status that is true.

A pipeline keeps its run open around everything it does, because nothing else sees the end: Lightning's logger calls a run FINISHED after
``fit`` although evaluation and registration are still to come, and leaves it RUNNING when something fails outside the trainer.
"""

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any

from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from clickflow.errors import TrackingError
from clickflow.tracking.ending import attempt, ending, status_after
from clickflow.tracking.lineage import machine_tags
from clickflow.tracking.names import ERROR_TAG, PARENT_TAG
from clickflow.tracking.owner import Owner
from clickflow.tracking.run import Run
from clickflow.tracking.search import found_run, read_run
from clickflow.tracking.store import Store, store_faults


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived. It is a KeyboardInterrupt, so that code that ends cleanly on Ctrl-C, as Lightning's, does so here too."""


@contextmanager
def open_run(
    store: Store,
    *,
    name: str,
    params: Mapping[str, Any],
    tags: Mapping[str, str],
    log_system_metrics: bool = True,
    parent_run_id: str | None = None,
) -> Iterator[Run]:
    """Open a run; end it as FINISHED, FAILED or KILLED.

    FINISHED at a normal end and ``SystemExit(0)``; KILLED on KeyboardInterrupt and SIGTERM (also where Lightning turned it into a
    SystemExit); FAILED on everything else. A run that did not finish has the reason in its tag ``error`` and the traceback in its artifact
    ``error/traceback.txt``. The caller still gets the exception.

    Raises:
        TrackingError: the run cannot be opened, or its metrics could not be written; it is FAILED then.
    """
    with _sigterm_raises():
        parent = {} if parent_run_id is None else {PARENT_TAG: parent_run_id}
        run = _create(store, name, {**Owner.here().tags, **machine_tags(), **tags, **parent})
        with ending(run), ExitStack() as stack:
            run.log_params(params)
            if log_system_metrics:
                monitor = SystemMetricsMonitor(run.id, tracking_uri=store.uri)  # type: ignore[no-untyped-call]
                monitor.start()  # type: ignore[no-untyped-call]
                stack.callback(monitor.finish)
            yield run


@contextmanager
def reopen_run(store: Store, run_id: str) -> Iterator[Run]:
    """Carry on with a run that :func:`open_run` ended: RUNNING again, and at the end FINISHED, FAILED or KILLED.

    Raises:
        TrackingError: there is no such run, it was deleted, or what was logged could not be written.
    """
    with _sigterm_raises():
        run = _find(store, run_id)
        with ending(run):
            run.remove_tag(ERROR_TAG)
            run.set_tags({**Owner.here().tags, **machine_tags()})
            run.restart()
            yield run


@contextmanager
def closing_dead_run(store: Store, run_id: str, status: str, reason: str, end_time: int | None = None) -> Iterator[Run]:
    """Complete a run whose process died, then give it the status and the reason that the process could not give.

    The status is ``FAILED``, or ``KILLED`` if somebody ended it on purpose; ``end_time`` is in milliseconds since 1970, None is now.
    """
    run = _find(store, run_id)
    try:
        yield run
    finally:
        run.set_tags({ERROR_TAG: reason})
        run.close()
        run.terminate(status, end_time)


@contextmanager
def resume_run(store: Store, run_id: str, task: str) -> Iterator[Run]:
    """Open an existing run to log more, such as the evaluation of a finished training.

    The run's status never changes: it says how the run itself ended. A failed evaluation does not undo a finished training, and a good one
    does not finish a failed training. The tag ``<task>.status`` (RUNNING, FINISHED, FAILED, KILLED) says how the addition ended; its reason
    is in ``<task>.error`` and its traceback in ``error/<task>_traceback.txt``.

    Raises:
        TrackingError: there is no such run, it was deleted, or what was logged could not be written.
    """
    with _sigterm_raises():
        run = _find(store, run_id)
        with ending(run, task):
            run.remove_tag(f"{task}.error")
            run.set_tags({f"{task}.status": "RUNNING"})
            yield run


def _create(store: Store, name: str, tags: Mapping[str, str]) -> Run:
    if store.experiment_id is None:
        raise ValueError("the store was opened without an experiment; set experiment_name in its config")
    with store_faults(f"run {name}: cannot be opened", f"check the tracking store {store.uri}"):
        created = store.client.create_run(store.experiment_id, tags=dict(tags), run_name=name)
    try:
        return Run(store, found_run(created))
    except BaseException as error:  # from here on there is a run, so an interrupt or a thread that cannot start has to end it
        status = status_after(error)
        attempt(lambda: store.client.set_terminated(created.info.run_id, status))
        raise


def _find(store: Store, run_id: str) -> Run:
    found = read_run(store, run_id)
    if found.is_deleted:
        raise TrackingError(f"run_id = {run_id}: the run was deleted; restore it with `mlflow runs restore --run-id {found.run_id}`")
    return Run(store, found)


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """Turn SIGTERM, which otherwise ends Python on the spot, into an exception; only the main thread may."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, _raise_terminated)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous if previous is not None else signal.SIG_DFL)


def _raise_terminated(signum: int, frame: FrameType | None) -> None:
    raise Terminated("SIGTERM")
