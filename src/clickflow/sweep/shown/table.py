"""A study as a table: every trial as CSV, the best ones as Markdown."""

from collections.abc import Sequence

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from clickflow.sweep.shown.view import measured, readable, view_of
from clickflow.sweep.space import SearchSpace
from clickflow.sweep.trials import is_surplus
from clickflow.text import markdown_table

STATES = {state: state.name.lower() for state in TrialState} | {TrialState.FAIL: "failed"}
NUM_ROWS = 10
"""Most trials that the Markdown table shows."""


def trial_rows(study: Study, space: SearchSpace, metrics: Sequence[str]) -> list[dict[str, str]]:
    """One row per trial, by number; a cell is empty if the trial has no such value.

    The columns are ``number``, ``state`` (``surplus`` for a trial that the sweep does not count), each metric, ``epochs`` (reported
    values), ``seconds``, each searched key, ``run_id`` and ``reason`` (of a failure).
    """
    return [_row(trial, space, metrics) for trial in study.get_trials(deepcopy=False)]


def as_markdown(study: Study, space: SearchSpace, metrics: Sequence[str]) -> str:
    """The best complete trials by the metric, the best first; with several metrics the Pareto front, by the first one."""
    view = view_of(study, space, metrics)
    sign = -1 if view.is_maximized(0) else 1
    candidates = view.complete if len(metrics) == 1 else view.study.best_trials if view.complete else []
    best = sorted(candidates, key=lambda trial: (sign * trial.values[0], trial.number))[:NUM_ROWS]
    if not best:
        return "No trial is complete yet."
    run_ids = {trial.number: str(trial.user_attrs.get("run_id", "")) for trial in study.get_trials(deepcopy=False)}
    rows = [
        {
            "trial": str(trial.number),
            **{metric: measured(value) for metric, value in zip(metrics, trial.values, strict=True)},
            **{name: readable(trial.params[name]) if name in trial.params else "" for name in view.parameters},
            "run": run_ids[trial.number][:8],
        }
        for trial in best
    ]
    return markdown_table(rows, "r" * (1 + len(metrics)) + "l")


def _row(trial: FrozenTrial, space: SearchSpace, metrics: Sequence[str]) -> dict[str, str]:
    values = trial.values if trial.values is not None else []
    searched = space.values({key: trial.params[key] for key in space.parameters if key in trial.params})
    parameters = {key: repr(value) if isinstance(value, float) else readable(value) for key, value in searched.items()}
    return {
        "number": str(trial.number),
        "state": "surplus" if is_surplus(trial) else STATES[trial.state],
        **(dict.fromkeys(metrics, "") | {metric: repr(value) for metric, value in zip(metrics, values, strict=False)}),
        "epochs": str(len(trial.intermediate_values)),
        "seconds": f"{trial.duration.total_seconds():.1f}" if trial.duration is not None else "",
        **(dict.fromkeys(space.parameters, "") | parameters),
        "run_id": str(trial.user_attrs.get("run_id", "")),
        "reason": str(trial.user_attrs.get("reason", "")),
    }
