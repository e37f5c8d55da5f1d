"""Keep a home folder and its store in order: close what dead processes left open, delete what nobody will need.

Each step says what it does before it does it, so that a dry run shows exactly what a real one would do. Each step looks again before it
acts and may be done twice, so trainings and another cleanup may be under way.
"""

import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from filelock import FileLock

from clickflow.errors import ClickflowError
from clickflow.runs.kept_checkpoints import checkpoint_folder, keep_checkpoints
from clickflow.tracking import names
from clickflow.tracking.lifecycle import closing_dead_run
from clickflow.tracking.maintenance import analyze, artifact_bytes, can_analyze, delete_artifacts, reaches_artifacts, registered_run_ids
from clickflow.tracking.run import Run
from clickflow.tracking.search import FoundRun, find_run, search_runs
from clickflow.tracking.store import Store, open_store
from clickflow.upkeep.config import CleanupConfig
from clickflow.upkeep.dead_runs import Liveness, find_dead_runs, hours_of_silence, process_lives

HALF_WRITTEN_HOURS = 24.0
"""Time that a half-written data set must be untouched to count as abandoned; its writer touches it all the time."""


@dataclass(frozen=True)
class Step:
    """One thing that is done, or left as it is, in words."""

    what: str
    frees: int = 0  # bytes
    do: Callable[[], object] | None = None
    """Does it; None if it is left to the user."""
    error: str | None = None
    """Why it could not be done."""


def clean(config: CleanupConfig) -> Iterator[Step]:
    """Do, or in a dry run only name, one step after the other; a step that fails does not keep the rest from being done."""
    store = open_store(config.tracking, config.home)
    parts = {
        "runs that are called RUNNING": _dead_runs(store, config),
        "checkpoints that were left behind": _leftover_checkpoints(store, config),
        "half-written data sets": _half_written(config.home / "datasets"),
        "checkpoints of finished sweeps": _checkpoints_of_sweeps(store, config.keep_best),
        "statistics of the database": _analysis(store),
    }
    with nullcontext() if config.dry_run else _lock(config.home):
        for name, steps in parts.items():  # each looks when those before it are done
            try:
                for step in steps:
                    yield _done(step, config.dry_run)
            except (ClickflowError, OSError) as error:  # files come and go while trainings are under way
                yield Step(name, error=str(error))


def _lock(home: Path) -> FileLock:
    """Keeps other cleanups of the same folder out; cleanups of other folders over the same store are no problem.

    The kernel releases the lock even if this process is killed.
    """
    home.mkdir(parents=True, exist_ok=True)
    return FileLock(home / ".gc.lock")


def _done(step: Step, dry_run: bool) -> Step:
    if step.do is not None and not dry_run:
        try:
            step.do()
        except (ClickflowError, OSError) as error:
            return replace(step, error=str(error))
    return step


def _dead_runs(store: Store, config: CleanupConfig) -> Iterator[Step]:
    for verdict in find_dead_runs(search_runs(store, "attributes.status = 'RUNNING'"), config.silent_hours):
        if verdict.is_dead:
            yield _closing(store, config.home, verdict)
        elif verdict.reason:
            yield Step(f"left: run {verdict.run.run_id} ({verdict.run.name}) is RUNNING and {verdict.reason}; silent_hours=N closes it")


def _closing(store: Store, home: Path, verdict: Liveness) -> Step:
    run = verdict.run

    def close() -> None:
        again = find_run(store, run.run_id)
        if again is None or again.status != "RUNNING" or process_lives(again.tags):  # it was closed, or a sweep carried on with it
            return
        with closing_dead_run(store, run.run_id, "FAILED", f"{verdict.reason} (closed by gc)", again.last_sign) as dead:
            if again.tags.get(names.TRIAL_STATE_TAG) == names.TRIAL_RUNNING:
                dead.set_tags({names.TRIAL_STATE_TAG: names.TRIAL_FAILED})
            keep_checkpoints(dead, home)  # from which a resumed sweep carries on

    return Step(f"closed: run {run.run_id} ({run.name}) as FAILED, {verdict.reason}", do=close)


def _leftover_checkpoints(store: Store, config: CleanupConfig) -> Iterator[Step]:
    """Checkpoints of a run that has ended which did not get to its artifacts."""
    folders = checkpoint_folder(config.home, "any").parent
    for folder in sorted(folders.iterdir()) if folders.is_dir() else []:
        run = find_run(store, folder.name)
        lives = None if run is None else process_lives(run.tags)
        if run is None:
            yield Step(f"left: {folder} belongs to no run of this store; remove it if its store is gone")
        elif lives or (run.status == "RUNNING" and not run.is_deleted):
            continue
        elif lives is None and (config.silent_hours is None or hours_of_silence(run) < config.silent_hours):
            yield Step(f"left: {folder} of run {run.run_id}, whose process is not known here; silent_hours=N clears it away")
        elif run.is_deleted:
            yield Step(f"deleted: {folder} of a deleted run", _size(folder), partial(shutil.rmtree, folder, ignore_errors=True))
        else:
            yield Step(f"moved: {folder} to the artifacts of run {run.run_id}", do=partial(_move, store, config.home, run))


def _move(store: Store, home: Path, found: FoundRun) -> None:
    with closing(Run(store, found)) as run:
        keep_checkpoints(run, home)


def _half_written(datasets: Path) -> Iterator[Step]:
    """Folders whose writer was killed, beside the prepared ones; see :func:`clickflow.data.storage.write_atomically`."""
    for folder in sorted(datasets.glob(".*")) if datasets.is_dir() else []:
        last_write = max((file.st_mtime for file in _files(folder)), default=time.time())
        hours = (time.time() - last_write) / 3600
        if folder.is_dir() and hours > HALF_WRITTEN_HOURS:
            what = f"deleted: {folder}, half-written {hours:.0f} hours ago"
            yield Step(what, _size(folder), partial(shutil.rmtree, folder, ignore_errors=True))


def _checkpoints_of_sweeps(store: Store, keep_best: int) -> Iterator[Step]:
    sweeps = search_runs(store, f"tags.{names.KIND_TAG} = 'sweep' and attributes.status = 'FINISHED'")
    registered = registered_run_ids(store) if sweeps else set()
    for sweep in sweeps:
        if names.METRICS_TAG not in sweep.tags:
            yield Step(f"left: sweep {sweep.run_id} ({sweep.name}) does not say what its trials are ranked by; carry on with it once")
            continue
        if not reaches_artifacts(store, sweep):
            yield Step(f"left: sweep {sweep.run_id} ({sweep.name}), whose artifacts a server keeps; run gc with tracking.uri=SERVER, too")
            continue
        trials = search_runs(store, f"tags.`{names.PARENT_TAG}` = '{sweep.run_id}'")
        if any(trial.status == "RUNNING" for trial in trials):
            continue
        kept = registered | _best(sweep, trials, keep_best)
        for trial in trials:
            has_none = names.CHECKPOINTS_REMOVED_TAG in trial.tags or trial.tags.get(names.TRIAL_STATE_TAG) == names.TRIAL_PRUNED
            if trial.run_id not in kept and not has_none:
                yield from _removal(store, sweep, trial)


def _best(sweep: FoundRun, trials: list[FoundRun], number: int) -> set[str]:
    """Ids of the best trials by each metric of the sweep, of its Pareto front, and of the trial that it names best."""
    complete = [trial for trial in trials if trial.tags.get(names.TRIAL_STATE_TAG) == names.TRIAL_COMPLETE]
    front = set(sweep.tags.get(names.PARETO_TRIALS_TAG, "").split(", "))
    kept = {trial.run_id for trial in complete if trial.tags.get(names.TRIAL_NUMBER_TAG) in front}
    kept.add(sweep.tags.get(names.BEST_RUN_TAG, ""))
    for metric, direction in zip(sweep.tags[names.METRICS_TAG].split(","), sweep.tags[names.DIRECTIONS_TAG].split(","), strict=True):
        name, sign = names.logged_name(metric), -1 if direction == "maximize" else 1
        ranked = sorted((sign * trial.metrics[name], trial.run_id) for trial in complete if name in trial.metrics)
        kept |= {run_id for _, run_id in ranked[:number]}
    return kept


def _removal(store: Store, sweep: FoundRun, trial: FoundRun) -> Iterator[Step]:
    size = artifact_bytes(store, trial.run_id, "checkpoints")

    def remove() -> None:
        now = find_run(store, sweep.run_id)
        if now is None or now.status != "FINISHED":  # somebody carries on with it
            return
        delete_artifacts(store, trial.run_id, "checkpoints")
        with closing(Run(store, trial)) as run:
            run.set_tags({names.CHECKPOINTS_REMOVED_TAG: f"{datetime.now(UTC):%Y-%m-%d} by gc: not among the best of sweep {sweep.run_id}"})

    if size:
        yield Step(f"deleted: checkpoints of run {trial.run_id} ({trial.name} of {sweep.name})", size, remove)


def _analysis(store: Store) -> Iterator[Step]:
    if can_analyze(store):
        yield Step("renewed: the statistics of the store's database (ANALYZE)", do=partial(analyze, store))
    else:
        yield Step("left: the statistics of the store's database, which only its own URI reaches; run gc with tracking.uri=DATABASE there")


def _size(folder: Path) -> int:
    return sum(file.st_size for file in _files(folder) if stat.S_ISREG(file.st_mode))


def _files(folder: Path) -> Iterator[os.stat_result]:
    """File status of a folder and all that it contains; its writer may remove files meanwhile."""
    for path in (folder, *folder.rglob("*")):
        with suppress(FileNotFoundError):
            yield path.stat()
