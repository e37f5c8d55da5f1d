"""A worker: takes trials until the sweep is complete, trains each, and gives signs of life."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

import optuna
from optuna.exceptions import UpdateFinishedTrialError

from clickflow.data.dataset import PreparedDataset
from clickflow.runs.config import RunConfig
from clickflow.runs.run_dataset import open_expected
from clickflow.sweep.space import Composer
from clickflow.sweep.study import sampler_and_pruner
from clickflow.sweep.study_storage import open_storage
from clickflow.sweep.trial_run import TrialWatcher, Workplace, failure_of, run_trial
from clickflow.sweep.trials import PROGRESS, THREADS, Failure, TrialStore
from clickflow.sweep.worker_spec import WorkerSpec
from clickflow.tracking.owner import Owner
from clickflow.tracking.store import open_store

STOP = "stop"
"""User attribute of the study: the ``start_id`` of a command whose workers shall stop."""
IDLE_SECONDS = 0.5
SIGN_SECONDS = 5.0
"""Between two signs of life."""


def work(spec: WorkerSpec, composer: Composer) -> None:
    """Work on a sweep until it is complete.

    Args:
        spec: what to do.
        composer: of the trials' configs.

    Raises:
        DataError: the prepared data is not the sweep's.
        TrackingError: the storage or the store cannot be reached.
        KeyboardInterrupt: the worker was told to stop; its trial goes on at the next start.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    place = _workplace(spec, composer)
    worker = Owner.here()
    while place.trial_store.num_left > 0:
        if _is_stopped(place.trial_store, spec):
            return
        trial = place.trial_store.take(worker)
        if trial is None:
            time.sleep(IDLE_SECONDS)  # the last trials are others'; one of them may still fail
        else:
            _work_on(place, trial)


def open_trial_store(spec: WorkerSpec) -> TrialStore:
    """The study of a sweep that was described before."""
    config = spec.config
    storage = open_storage(config.sweep.storage, config.home, config.sweep.study_name)
    study = optuna.load_study(study_name=config.sweep.study_name, storage=storage, **sampler_and_pruner(config))
    return TrialStore(study, storage, spec.total, is_grid=config.sweep.is_grid)


def _workplace(spec: WorkerSpec, composer: Composer) -> Workplace:
    config = spec.config
    return Workplace(spec, open_trial_store(spec), open_store(config.tracking, config.home), _dataset(spec), composer)


def _dataset(spec: WorkerSpec) -> PreparedDataset:
    """The sweep's data set, opened where it was prepared or prepared here."""
    return open_expected(
        spec.dataset_folder,
        spec.config,
        spec.config.home,
        fingerprint=spec.fingerprint,
        seen="the sweep works on",
        advice="every machine needs the same source files; bring them there.",
    )


def _work_on(place: Workplace, trial: optuna.Trial) -> None:
    """Train a trial; what goes wrong costs this trial only."""
    max_retries = place.spec.config.sweep.max_retries
    try:
        values = place.spec.space.suggest(trial, place.composer)
        config = _trial_config(place, values)
        place.trial_store.note(trial.number, **{THREADS: place.spec.threads})
        trainer = config.trainer
        watcher = TrialWatcher(trial, place.spec.config.sweep.metric, trainer.max_epochs * trainer.validations_per_epoch)
        with _signs_of_life(place, trial.number, watcher, trainer.max_epochs):
            run_trial(place, trial, config, values, watcher)
    except (KeyboardInterrupt, SystemExit):  # a cluster's own way to end a job is an exit
        place.trial_store.fail(place.trial_store.trials()[trial.number], Failure("interrupted", is_interrupt=True), max_retries)
        raise
    except Exception as error:
        place.trial_store.fail(place.trial_store.trials()[trial.number], failure_of(error), max_retries)


def _trial_config(place: Workplace, values: dict[str, object]) -> RunConfig:
    config = place.composer.compose(values)
    trainer = config.trainer.model_copy(update={"num_threads": place.spec.threads, "progress_bar": False})
    return config.model_copy(update={"trainer": trainer})


@contextlib.contextmanager
def _signs_of_life(place: Workplace, number: int, watcher: TrialWatcher, max_epochs: int) -> Iterator[None]:
    """Write down how far a trial is, every few seconds; who watches takes a worker without signs for dead."""
    ended = threading.Event()
    start = time.monotonic()

    def give_signs() -> None:
        while not ended.wait(SIGN_SECONDS if watcher.rows_per_second else 1.0):
            best = list(watcher.values.values())
            progress = {
                "epochs": round(watcher.epochs, 3),
                "max_epochs": max_epochs,
                "rows_per_second": round(watcher.rows_per_second),
                "seconds": round(time.monotonic() - start, 1),
                "value": best[-1] if best else None,
            }
            try:
                place.trial_store.note(number, **{PROGRESS: progress})
            except UpdateFinishedTrialError:
                watcher.lost = True
                return
            except Exception:  # a storage that is away for a moment: the next sign may come through
                continue
            if _is_stopped(place.trial_store, place.spec):
                os.kill(os.getpid(), signal.SIGTERM)
                return

    thread = threading.Thread(target=give_signs, name="clickflow-signs", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _is_stopped(trial_store: TrialStore, spec: WorkerSpec) -> bool:
    return spec.start_id in trial_store.study.user_attrs.get(STOP, [])


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
