"""A study for its readers: short names, plain values, and only the trials that count.

The study itself has dotted keys and JSON texts, because those are exact; a reader wants ``dropout`` and ``din``. The view is again a
study, in memory, so that Optuna's own analyses and plots work on it.
"""

import itertools
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from clickflow.sweep.quiet import quietly
from clickflow.sweep.space import Parameter, SearchSpace
from clickflow.sweep.trials import is_surplus


@dataclass(frozen=True)
class StudyView:
    """The trials of a study that count, under their own numbers.

    The study has short names of parameters; the values of a choice are numbers or readable texts. Trials that do not count are failed
    ones here, because a trial's number is its position.
    """

    study: Study
    metrics: tuple[str, ...]
    parameters: tuple[str, ...]
    """Short names of the searched keys that some complete trial has, in the space's order."""

    @property
    def complete(self) -> list[FrozenTrial]:
        """Trials that were trained to the end, by number."""
        return self.study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])

    @property
    def pruned(self) -> list[FrozenTrial]:
        """Trials that ended early, with the value of their last validation, by number."""
        return self.study.get_trials(deepcopy=False, states=[TrialState.PRUNED])

    def is_maximized(self, position: int) -> bool:
        """Whether the metric at a position is better when it is higher."""
        return self.study.directions[position] == StudyDirection.MAXIMIZE

    def best(self, position: int) -> FrozenTrial:
        """The complete trial with the best value of one metric, the first among equals."""
        sign = -1 if self.is_maximized(position) else 1
        return min(self.complete, key=lambda trial: sign * trial.values[position])

    def distribution(self, parameter: str) -> BaseDistribution:
        """The values of a parameter that are searched."""
        return next(trial.distributions[parameter] for trial in self.complete if parameter in trial.distributions)

    def best_so_far(self, position: int) -> tuple[list[int], list[float]]:
        """Trial numbers and the best value of one metric up to each, extended to the last trial; both empty without a complete trial."""
        if not self.complete:
            return [], []
        best_of = max if self.is_maximized(position) else min
        numbers = [trial.number for trial in self.complete]
        values = list(itertools.accumulate((trial.values[position] for trial in self.complete), best_of))
        last = max(trial.number for trial in self.complete + self.pruned)
        return [*numbers, last], [*values, values[-1]]

    def hover(self, trial: FrozenTrial) -> str:
        """Number, values and parameters of a trial as lines of HTML for Plotly."""
        values = [f"{metric} = {measured(value)}" for metric, value in zip(self.metrics, trial.values, strict=True)]
        return "<br>".join(
            [f"<b>Trial {trial.number}</b>", *values, *(f"{key} = {escape(readable(value))}" for key, value in trial.params.items())]
        )


def view_of(study: Study, space: SearchSpace, metrics: Sequence[str]) -> StudyView:
    """The view of a study as the sweep keeps it; parameters that are not in the space are left out."""
    names = short_names(space.parameters)
    with quietly():
        view = optuna.create_study(directions=study.directions)
        view.set_metric_names(list(metrics))
        view.add_trials([_readable_trial(trial, space, names) for trial in study.get_trials(deepcopy=False)])
    present = {name for trial in view.get_trials(deepcopy=False, states=[TrialState.COMPLETE]) for name in trial.params}
    return StudyView(view, tuple(metrics), tuple(name for name in names.values() if name in present))


def short_names(keys: Iterable[str]) -> dict[str, str]:
    """Dotted key -> as few of its last parts as tell it from the others.

    >>> short_names(["model", "model.hidden_units", "model.attention.hidden_units", "model.dropout"]).values()
    dict_values(['model', 'model.hidden_units', 'attention.hidden_units', 'dropout'])
    """
    endings = {key: [".".join(key.split(".")[-count:]) for count in range(1, key.count(".") + 2)] for key in keys}
    shared = Counter(ending for of_key in endings.values() for ending in of_key)
    return {key: next((ending for ending in of_key if shared[ending] == 1), key) for key, of_key in endings.items()}


def readable(value: Any) -> str:
    """A value as people write it.

    >>> [readable(value) for value in ("din", [80, 40], 0.00031234567, 16, None, True)]
    ['din', '[80, 40]', '0.000312346', '16', 'null', 'true']
    """
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:.6g}"
    return json.dumps(value)


def measured(value: float) -> str:
    """A metric's value, to five digits.

    >>> [measured(value) for value in (0.876543, 1234567.0, 12.0)]
    ['0.87654', '1,234,567', '12']
    """
    return f"{value:,.0f}" if abs(value) >= 1e5 else f"{value:.5g}"


def _readable_trial(trial: FrozenTrial, space: SearchSpace, names: Mapping[str, str]) -> FrozenTrial:
    finished = trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
    if not finished or is_surplus(trial) or not trial.values or not all(map(math.isfinite, trial.values)):
        return optuna.create_trial(state=TrialState.FAIL)
    keys = [key for key in names if key in trial.params]
    distributions = {names[key]: _readable_distribution(trial.distributions[key], space.parameters[key]) for key in keys}
    params: dict[str, Any] = {}
    for key, value in space.values({key: trial.params[key] for key in keys}).items():
        distribution = distributions[names[key]]
        is_text = isinstance(distribution, CategoricalDistribution) and isinstance(distribution.choices[0], str)
        params[names[key]] = readable(value) if is_text else value
    return optuna.create_trial(state=trial.state, values=trial.values, params=params, distributions=distributions)


def _readable_distribution(distribution: BaseDistribution, parameter: Parameter) -> BaseDistribution:
    """The same choice with readable values; numbers stay numbers, because they have an order and a distance."""
    if not isinstance(distribution, CategoricalDistribution):
        return distribution
    values = [parameter.value(choice) for choice in distribution.choices]
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return CategoricalDistribution(values)
    return CategoricalDistribution([readable(value) for value in values])
