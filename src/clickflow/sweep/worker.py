"""A worker: asks for trials until the sweep is complete, trains each, and sends heartbeats."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator

import optuna
from optuna.exceptions import UpdateFinishedTrialError

from clickflow.errors import interrupt
from clickflow.runs.config import RunConfig
from clickflow.runs.run_dataset import open_expected
from clickflow.sweep.space import Composer
from clickflow.sweep.study import sampler_and_pruner
from clickflow.sweep.study_storage import open_storage
from clickflow.sweep.trial_run import TrialWatcher, WorkerContext, failure_of, run_trial
from clickflow.sweep.trials import PROGRESS, THREADS, Failure, TrialStore
from clickflow.sweep.worker_spec import WorkerSpec
from clickflow.tracking.owner import Owner
from clickflow.tracking.store import open_store

STOP = "stop"
"""User attribute of the study: the ``start_id`` of each command whose workers have to stop."""
IDLE_SECONDS = 0.5
HEARTBEAT_SECONDS = 5.0
"""Between two heartbeats."""


def work(spec: WorkerSpec, composer: Composer) -> None:
    """Run trials of a sweep until it is complete.

    Raises:
        DataError: the prepared data is not the sweep's.
        TrackingError: the study's storage or the run store cannot be reached.
        KeyboardInterrupt: the worker was stopped; its trial continues at the next start.
    """
    signal.signal(signal.SIGTERM, interrupt)
    config = spec.config
    trial_store, store = _open_trial_store(spec), open_store(config.tracking, config.home)
    dataset = open_expected(
        spec.dataset_folder,
        config,
        config.home,
        fingerprint=spec.fingerprint,
        seen="the sweep works on",
        advice="every machine needs the same source files; bring them there.",
    )
    context = WorkerContext(spec, trial_store, store, dataset, composer)
    worker = Owner.here()
    while trial_store.num_left > 0:
        if _is_stopped(trial_store, spec):
            return
        trial = trial_store.ask(worker)
        if trial is None:
            time.sleep(IDLE_SECONDS)  # others run the last trials; one of them may still fail
        else:
            _work_on(context, trial)


def _open_trial_store(spec: WorkerSpec) -> TrialStore:
    """Open the study of a sweep that has been described."""
    config = spec.config
    storage = open_storage(config.sweep.storage, config.home, config.sweep.study_name)
    study = optuna.load_study(study_name=config.sweep.study_name, storage=storage, **sampler_and_pruner(config))
    return TrialStore(study, storage, spec.total, is_grid=config.sweep.is_grid)


def _work_on(context: WorkerContext, trial: optuna.Trial) -> None:
    """Train a trial; an error fails this trial only."""
    max_retries = context.spec.config.sweep.max_retries
    try:
        values = context.spec.space.suggest(trial, context.composer)
        config = _trial_config(context, values)
        context.trial_store.set_user_attrs(trial.number, **{THREADS: context.spec.threads})
        trainer = config.trainer
        watcher = TrialWatcher(trial, context.spec.config.sweep.metric, trainer.max_epochs * trainer.validations_per_epoch)
        with _heartbeat(context, trial.number, watcher, trainer.max_epochs):
            run_trial(context, trial, config, values, watcher)
    except (KeyboardInterrupt, SystemExit):  # a cluster ends a job by an exit
        context.trial_store.fail(context.trial_store.trials()[trial.number], Failure("interrupted", is_interrupt=True), max_retries)
        raise
    except Exception as error:
        context.trial_store.fail(context.trial_store.trials()[trial.number], failure_of(error), max_retries)


def _trial_config(context: WorkerContext, values: dict[str, object]) -> RunConfig:
    config = context.composer.compose(values)
    trainer = config.trainer.model_copy(update={"num_threads": context.spec.threads, "progress_bar": False})
    return config.model_copy(update={"trainer": trainer})


@contextlib.contextmanager
def _heartbeat(context: WorkerContext, number: int, watcher: TrialWatcher, max_epochs: int) -> Iterator[None]:
    """Write a trial's progress into the study every few seconds; a worker that stops doing so counts as dead."""
    ended = threading.Event()
    start = time.monotonic()

    def beat() -> None:
        while not ended.wait(HEARTBEAT_SECONDS if watcher.rows_per_second else 1.0):
            best = list(watcher.values.values())
            progress = {
                "epochs": round(watcher.epochs, 3),
                "max_epochs": max_epochs,
                "rows_per_second": round(watcher.rows_per_second),
                "seconds": round(time.monotonic() - start, 1),
                "value": best[-1] if best else None,
            }
            try:
                context.trial_store.set_user_attrs(number, **{PROGRESS: progress})
            except UpdateFinishedTrialError:
                watcher.lost = True
                return
            except Exception:  # the storage may be back at the next heartbeat
                continue
            if _is_stopped(context.trial_store, context.spec):
                os.kill(os.getpid(), signal.SIGTERM)
                return

    thread = threading.Thread(target=beat, name="clickflow-heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _is_stopped(trial_store: TrialStore, spec: WorkerSpec) -> bool:
    return spec.start_id in trial_store.study.user_attrs.get(STOP, [])
