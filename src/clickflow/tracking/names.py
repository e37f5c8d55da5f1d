"""The names under which runs and registered models keep what other code looks up: their tags, and the final values of metrics.

Each name is written to the stores of users: a name that changes makes runs of before invisible to searches.
"""

KIND_TAG = "kind"
"""Marks a run that is no training to choose among others: a comparison, a grid, a sweep, a reproduction."""
REPRODUCTION = "reproduction"
"""The kind of a run that does train, unlike parents."""
PARENT_TAG = "mlflow.parentRunId"
RUN_NAME_TAG = "mlflow.runName"
USER_TAG = "mlflow.user"
DESCRIPTION_TAG = "mlflow.note.content"
ERROR_TAG = "error"
NON_FINITE_TAG = "non_finite_metrics"

CONFIG_DIGEST_TAG = "config.digest"
FINGERPRINT_TAG, DATASET_FOLDER_TAG = "dataset.fingerprint", "dataset.folder"
COMMIT_TAG, DIRTY_TAG = "git.commit", "git.dirty"
MODEL_PACKAGE_TAG = "model.package"
"""The package that a model's code comes from, where that is not clickflow."""
CPU_TAG, THREADS_TAG = "machine.cpu", "machine.threads"
HOST_TAG, PID_TAG, STARTED_TAG = "process.host", "process.pid", "process.started"
"""The process that works on a run: machine or container, id, and start in seconds since 1970."""
CHECKPOINTS_REMOVED_TAG = "checkpoints.removed"
"""Time and author of the deletion; the rest of the run is still there."""

TRIAL_NUMBER_TAG, TRIAL_STATE_TAG = "trial.number", "trial.state"
TRIAL_COMPLETE, TRIAL_PRUNED, TRIAL_RUNNING, TRIAL_FAILED, TRIAL_INTERRUPTED = "complete", "pruned", "running", "failed", "interrupted"
"""Progress of a sweep's trial, apart from the status of its run."""
METRICS_TAG, DIRECTIONS_TAG = "sweep.metrics", "sweep.directions"
"""On a sweep's parent run: the metrics by which its trials are ranked and the direction of each, separated by commas."""
STUDY_TAG = "sweep.study"
"""On a sweep's parent run and those of its trials: the study's name."""
BEST_RUN_TAG, PARETO_TRIALS_TAG = "best.run_id", "pareto.trials"
"""On a sweep's parent run: the best trial's run, or the numbers of the Pareto front's trials, separated by commas."""

MODEL_VERSIONS_TAG = "mlflow.modelVersions"
"""On a logged model and its run: under which name and version it is registered."""
DECISION_TAG = "decision"
"""On a version: the last decision about it, in words."""
DECISION_PREFIX = "decision."
"""On a version: each entry of the log of decisions, as JSON."""
MOVE_TAG = "move"
"""On the claim of a move of the champion: the move, as JSON."""


def logged_name(metric: str) -> str:
    """The name under which a run stores a metric's final value: for a metric of each validation, the value at the best weights.

    >>> logged_name("val/gauc"), logged_name("latency_milliseconds")
    ('best/gauc', 'latency_milliseconds')
    """
    return f"best/{metric.removeprefix('val/')}" if metric.startswith("val/") else metric


def checkpoint_digest_tag(name: str) -> str:
    """The tag with the SHA-256 of one of a run's checkpoints.

    >>> checkpoint_digest_tag("best")
    'checkpoints.best.sha256'
    """
    return f"checkpoints.{name}.sha256"
