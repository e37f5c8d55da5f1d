"""Open a run and end it with the status that is true.

The pipeline holds a run open around everything it does, because nobody else sees the end: Lightning's logger calls a run FINISHED after
``fit`` though evaluation and registration are still to come, and leaves it RUNNING when something fails outside the trainer.
"""

import logging
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from clickflow.errors import TrackingError, without_passwords
from clickflow.text import first_line
from clickflow.tracking.lineage import machine_tags
from clickflow.tracking.owner import Owner
from clickflow.tracking.run import Run
from clickflow.tracking.search import read_run
from clickflow.tracking.store import Store

logger = logging.getLogger(__name__)

ERROR_TAG = "error"
PARENT_TAG = "mlflow.parentRunId"
KIND_TAG = "kind"
"""Says of a run that it is no training to choose among others: a comparison, a grid, a sweep, a reproduction."""
TRIAL_STATE_TAG = "trial.state"
TRIAL_COMPLETE, TRIAL_PRUNED, TRIAL_RUNNING, TRIAL_FAILED, TRIAL_INTERRUPTED = "complete", "pruned", "running", "failed", "interrupted"
"""Of a sweep's trial, how far it came, whatever the status of its run."""
METRICS_TAG, DIRECTIONS_TAG = "sweep.metrics", "sweep.directions"
"""Of a sweep's parent run: what its trials are ranked by, and whether that is better low or high; several with commas between."""


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived. A KeyboardInterrupt, so that whoever ends cleanly on Ctrl-C (Lightning does) does so here too."""


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

    FINISHED at a normal end and ``SystemExit(0)``; KILLED on KeyboardInterrupt and SIGTERM (also where Lightning made a SystemExit of it);
    FAILED on everything else. Of a run that did not finish, the tag ``error`` gives the reason and the artifact ``error/traceback.txt`` the
    traceback. The exception goes on to the caller.

    Args:
        store: where to open it.
        name: of the run.
        params: the resolved config with dotted keys.
        tags: what runs are found and grouped by.
        log_system_metrics: whether to log CPU, memory, disk and network use every 10 seconds.
        parent_run_id: of the run below which MLflow's pages show this one.

    Raises:
        TrackingError: the run cannot be opened, or its metrics could not be written; it is FAILED then.
    """
    with _sigterm_raises():
        run = None
        try:
            parent = {} if parent_run_id is None else {PARENT_TAG: parent_run_id}
            run = _create(store, name, {**Owner.here().tags, **machine_tags(), **tags, **parent})
            run.log_params(params)
            with _system_metrics(run, log_system_metrics):
                yield run
            run.close()
            run.terminate("FINISHED")
        except BaseException as error:
            if run is not None:
                _end_after(error, run, ERROR_TAG, "error/traceback.txt", run.terminate)
            raise


@contextmanager
def reopen_run(store: Store, run_id: str) -> Iterator[Run]:
    """Carry on with a run as :func:`open_run` left it: RUNNING again, and at the end FINISHED, FAILED or KILLED.

    Args:
        store: where the run is.
        run_id: of the run.

    Raises:
        TrackingError: there is no such run, it was deleted, or what was logged could not be written.
    """
    with _sigterm_raises():
        run = _find(store, run_id)
        try:
            run.remove_tag(ERROR_TAG)
            run.set_tags({**Owner.here().tags, **machine_tags()})
            run.restart()
            yield run
            run.close()
            run.terminate("FINISHED")
        except BaseException as error:
            _end_after(error, run, ERROR_TAG, "error/traceback.txt", run.terminate)
            raise


@contextmanager
def closing_dead_run(store: Store, run_id: str, status: str, reason: str, end_time: int | None = None) -> Iterator[Run]:
    """Add what is left to a run whose process died, then give it the status and the reason that the process could not give.

    Args:
        store: where the run is.
        run_id: of the run.
        status: ``FAILED``, or ``KILLED`` where somebody meant to end it.
        reason: becomes the tag ``error``.
        end_time: milliseconds since 1970; None is now.
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

    The run's status is never touched: it tells how the run itself ended, and neither does a failed evaluation unmake a finished training,
    nor a good one finish a failed training. How the addition ended is in a tag of its own, ``<task>.status`` (RUNNING, FINISHED, FAILED,
    KILLED), with the reason in ``<task>.error`` and the traceback in ``error/<task>_traceback.txt``.

    Args:
        store: where the run is.
        run_id: of the run, in any experiment of the store.
        task: name of the addition, such as ``evaluation``.

    Raises:
        TrackingError: there is no such run, it was deleted, or what was logged could not be written.
    """
    with _sigterm_raises():
        run = _find(store, run_id)

        def set_task_status(status: str) -> None:
            run.set_tags({f"{task}.status": status})

        try:
            run.remove_tag(f"{task}.error")
            set_task_status("RUNNING")
            yield run
            run.close()
            set_task_status("FINISHED")
        except BaseException as error:
            _end_after(error, run, f"{task}.error", f"error/{task}_traceback.txt", set_task_status)
            raise


def _create(store: Store, name: str, tags: Mapping[str, str]) -> Run:
    if store.experiment_id is None:
        raise ValueError("the store was opened without an experiment; set experiment_name in its config")
    try:
        created = store.client.create_run(store.experiment_id, tags=dict(tags), run_name=name)
    except (MlflowException, OSError) as error:
        raise TrackingError(f"run {name}: cannot be opened ({first_line(error)}); check the tracking store {store.uri}") from error
    try:
        return Run(store, created.info.run_id)
    except BaseException as error:  # from here on there is a run, so an interrupt or a thread that cannot start has to end it
        status = _status_after(error)
        _attempt(lambda: store.client.set_terminated(created.info.run_id, status))
        raise


def _find(store: Store, run_id: str) -> Run:
    if read_run(store, run_id).is_deleted:
        raise TrackingError(f"run_id = {run_id}: the run was deleted; restore it with `mlflow runs restore --run-id {run_id}`")
    return Run(store, run_id)


def _status_after(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "KILLED"
    if isinstance(error, SystemExit):
        if isinstance(error.__context__, KeyboardInterrupt):  # Lightning answers Ctrl-C with sys.exit(1)
            return "KILLED"
        return "FINISHED" if error.code in (None, 0) else "FAILED"
    return "FAILED"


def _reason(error: BaseException) -> str:
    if isinstance(error, SystemExit) and isinstance(error.__context__, KeyboardInterrupt):
        return first_line(error.__context__)
    return first_line(error)


def _end_after(error: BaseException, run: Run, error_tag: str, traceback_file: str, set_status: Callable[[str], None]) -> None:
    """Record how and why a run ended: the status first, since a full disk may take one more write and no second one.

    A store that fails now must not hide the error in flight; a second Ctrl-C must skip neither the status nor the other steps.
    """
    status = _status_after(error)

    def set_status_even_if_interrupted() -> None:
        try:
            set_status(status)
        except KeyboardInterrupt:
            set_status(status)
            raise

    steps: list[Callable[[], object]] = [set_status_even_if_interrupted]
    if status != "FINISHED":
        steps.append(lambda: run.set_tags({error_tag: _reason(error)}))
        steps.append(lambda: run.log_text(without_passwords("".join(traceback.format_exception(error))), traceback_file))
    steps.append(run.close)
    with ExitStack() as stack:  # calls the last one first, and the rest also when one is interrupted
        for step in reversed(steps):
            stack.callback(_attempt, step)


def _attempt(step: Callable[[], object]) -> None:
    try:
        step()
    except Exception as second:
        logger.warning("%s", second)


@contextmanager
def _system_metrics(run: Run, enabled: bool) -> Iterator[None]:
    if not enabled:
        yield
        return
    monitor = SystemMetricsMonitor(run.id, tracking_uri=run.store.uri)  # type: ignore[no-untyped-call]
    monitor.start()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        monitor.finish()  # type: ignore[no-untyped-call]


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
