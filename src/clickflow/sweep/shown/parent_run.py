"""The parent run of a sweep: progress while it runs, and at the end the best trial, a table and figures."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from clickflow.config import flatten
from clickflow.data.manifest import SplitSummary
from clickflow.errors import TrackingError, without_passwords
from clickflow.figures.metric_figures import pr_figure, roc_figure
from clickflow.metrics.curves import Curve
from clickflow.runs.logged_config import logged_values
from clickflow.sweep.config import SweepRunConfig
from clickflow.sweep.shown.interactive import interactive_page
from clickflow.sweep.shown.table import as_markdown, trial_rows
from clickflow.sweep.trials import RUN_ID, TrialStore, count
from clickflow.sweep.worker_spec import WorkerSpec
from clickflow.text import csv_table
from clickflow.tracking.contents import fetched
from clickflow.tracking.lifecycle import open_run, reopen_run
from clickflow.tracking.lineage import lineage_tags
from clickflow.tracking.names import BEST_RUN_TAG, KIND_TAG, PARETO_TRIALS_TAG, STUDY_TAG, logged_name
from clickflow.tracking.run import Run
from clickflow.tracking.search import FoundRun, read_run
from clickflow.tracking.store import Store

NUM_CURVES = 5
"""Number of trials whose ROC and precision-recall curves are drawn over each other."""


@contextlib.contextmanager
def open_parent_run(store: Store, config: SweepRunConfig, run_id: str | None) -> Iterator[Run]:
    """Open the run above the trials' runs: a new one, or the study's own."""
    if run_id is not None:
        try:
            read_run(store, run_id)
        except TrackingError as error:
            raise TrackingError(
                f"sweep.study_name = {config.sweep.study_name}: the study's parent run cannot be opened ({error}); restore it, or set "
                "sweep.study_name to a new name"
            ) from error
        with reopen_run(store, run_id) as run:
            yield run
        return
    values = logged_values(config)
    if config.sweep.storage is not None:
        values["sweep"]["storage"] = without_passwords(config.sweep.storage)
    tags = {
        KIND_TAG: "sweep",
        STUDY_TAG: config.sweep.study_name,
        "data": config.data.name,
        "protocol": config.protocol.name,
        **lineage_tags(Path(__file__).parent),
    }
    name = f"sweep-{config.sweep.study_name}"
    with open_run(store, name=name, params=flatten(values), tags=tags, log_system_metrics=False) as run:
        run.log_dict(values, "config.yaml")
        yield run


def best_trials(study: Study) -> list[FrozenTrial]:
    """The best complete trial, or with several metrics the Pareto front; empty as long as no trial is complete."""
    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        return []
    return [study.best_trial] if len(study.directions) == 1 else study.best_trials


def log_progress(parent: Run, trial_store: TrialStore, spec: WorkerSpec) -> None:
    """Log the best value so far (or the numbers of the Pareto front) and the trials by state; the step is the number of finished trials."""
    counts = count(trial_store.trials())
    metrics = {"trials/complete": float(counts.complete), "trials/pruned": float(counts.pruned), "trials/failed": float(counts.failed)}
    best = best_trials(trial_store.study)
    if len(spec.config.sweep.metric) > 1:
        parent.set_tags({PARETO_TRIALS_TAG: ", ".join(str(trial.number) for trial in best)})
    elif best:
        metrics |= dict(zip((logged_name(metric) for metric in spec.config.sweep.metric), best[0].values, strict=True))
        values = {f"best.{key}": str(value) for key, value in spec.space.values(best[0].params).items()}
        parent.set_tags({"best.trial": str(best[0].number), BEST_RUN_TAG: str(best[0].user_attrs.get(RUN_ID)), **values})
    parent.log_metrics(metrics, step=counts.finished)


def log_outcome(parent: Run, store: Store, trial_store: TrialStore, spec: WorkerSpec, validation: SplitSummary) -> list[FrozenTrial]:
    """Log the table, figures and description of a complete sweep; returns the best trial, or the Pareto front."""
    study, space, metrics = trial_store.study, spec.space, spec.config.sweep.metric
    log_progress(parent, trial_store, spec)
    best = best_trials(study)
    parent.log_text(csv_table(trial_rows(study, space, metrics)), "trials.csv")
    curves = dict(_curves(store, study))
    if curves:
        rocs, prs = ({label: pair[which] for label, (pair, _) in curves.items()} for which in (0, 1))
        aucs, pr_aucs = ({label: run.metrics[f"best/{name}"] for label, (_, run) in curves.items()} for name in ("auc", "pr_auc"))
        parent.log_figure(roc_figure(rocs, aucs), "figures/roc.png")
        parent.log_figure(pr_figure(prs, pr_aucs, validation.positives / validation.rows), "figures/pr.png")
    pairs = {label: pair for label, (pair, _) in curves.items()}
    parent.log_text(interactive_page(study, space, metrics, pairs), "sweep.html")
    parent.set_description(_description(trial_store, spec, best))
    return best


def _curves(store: Store, study: Study) -> Iterator[tuple[str, tuple[tuple[Curve, Curve], FoundRun]]]:
    """ROC and precision-recall curves of the best complete trials by the first metric; trials whose run has none are left out."""
    sign = -1 if study.directions[0].name == "MAXIMIZE" else 1
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    for trial in sorted(complete, key=lambda trial: sign * trial.values[0])[:NUM_CURVES]:
        try:
            run = read_run(store, trial.user_attrs[RUN_ID])
            with fetched(store, run.run_id, "curves/validation.csv") as file:
                fpr, tpr, recall, precision = np.loadtxt(file, delimiter=",", skiprows=1, ndmin=2, unpack=True)
            yield f"trial {trial.number}", ((Curve("roc/tpr", fpr, tpr), Curve("pr/precision", recall, precision)), run)
        except TrackingError:
            continue


def _description(trial_store: TrialStore, spec: WorkerSpec, best: list[FrozenTrial]) -> str:
    config, counts = spec.config, count(trial_store.trials())
    failed = f", {counts.failed} attempts failed or were interrupted" if counts.failed else ""
    lines = [
        f"**{counts.finished} trials** of {config.sweep.study_name} on **{config.data.name}** ({config.protocol.name}): "
        f"{counts.complete} complete, {counts.pruned} pruned{failed}",
        f"(sampler {config.sweep.sampler.name}, pruner {config.sweep.pruner.name})",
        "",
        as_markdown(trial_store.study, spec.space, config.sweep.metric),
        "",
        "`sweep.html` has the interactive figures, `trials.csv` all trials.",
    ]
    return "\n".join(lines if best else [*lines, "", "No trial is complete."])
