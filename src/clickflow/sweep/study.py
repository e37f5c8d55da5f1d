"""The study of a sweep: created once, and continued only with the search space and the data it was created for."""

import json
import time
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.exceptions import DuplicatedStudyError
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import TrialState

from clickflow.config import flatten
from clickflow.errors import TrackingError
from clickflow.sweep.config import SweepRunConfig
from clickflow.sweep.pruners import build_pruner
from clickflow.sweep.samplers import PerTrialSampler
from clickflow.sweep.space import Composer, SearchSpace
from clickflow.sweep.trials import FIXED_PARAMS, GIVEN_UP

Spec = Mapping[str, str]
"""Settings that all trials of a study share: key -> value, as a message shows it."""

SPEC, PARENT, READY = "spec", "parent_run_id", "ready"
READY_SECONDS = 10.0
"""Longest time for a process to describe the study that it has created, before it counts as dead."""

# Places, and the number and kind of workers, may differ from start to start.
ELSEWHERE: Any = {"home": True, "tracking": True, "sweep": True, "data": {"path", "url"}, "trainer": {"progress_bar", "num_threads"}}


def sampler_and_pruner(config: SweepRunConfig) -> dict[str, Any]:
    """Keyword arguments for opening a study."""
    num_validations = config.trainer.max_epochs * config.trainer.validations_per_epoch
    return {"sampler": PerTrialSampler(config.sweep.sampler), "pruner": build_pruner(config.sweep.pruner, num_validations)}


def describe(config: SweepRunConfig, space: SearchSpace, composer: Composer, fingerprint: str) -> dict[str, str]:
    """Describe what all trials of a study share: data, metrics, search space, and every key that is not searched."""
    spec = {"data fingerprint": fingerprint, "tracking.experiment_name": str(config.tracking.experiment_name)}
    spec["sweep.sampler"] = "grid" if config.sweep.is_grid else "not grid"  # the points themselves are those of the space
    spec |= {f"sweep.metric {metric}": way for metric, way in zip(config.sweep.metric, config.sweep.directions, strict=True)}
    spec |= {f"sweep.space.{key}": _shown(parameter.model_dump(mode="json")) for key, parameter in space.parameters.items()}
    for groups in space.combinations:
        values = flatten(composer.compose(groups).model_dump(mode="json", exclude=ELSEWHERE))
        where = "".join(f" ({key}={value})" for key, value in groups.items())
        spec |= {f"{key}{where}": _shown(value) for key, value in values.items() if key not in space.parameters}
    return spec


def open_study(storage: BaseStorage, config: SweepRunConfig, spec: Spec) -> tuple[Study, bool]:
    """Create a study, or open the one of this name; the second value is whether it still has to be described.

    Exactly one of several concurrent processes creates it; the others wait until it is described, or describe it themselves if its creator
    died.

    Raises:
        TrackingError: the study was created for another space, other data or other settings.
    """
    name = config.sweep.study_name
    arguments = {"study_name": name, "storage": storage, **sampler_and_pruner(config)}
    try:
        return optuna.create_study(directions=list(config.sweep.directions), **arguments), True
    except DuplicatedStudyError:
        study = optuna.load_study(**arguments)
    deadline = time.monotonic() + READY_SECONDS
    while READY not in study.user_attrs and time.monotonic() < deadline:
        if SPEC in study.user_attrs:
            _refuse_another(name, study.user_attrs[SPEC], spec)
        time.sleep(0.2)
    if READY not in study.user_attrs:
        return study, True
    _refuse_another(name, study.user_attrs[SPEC], spec)
    return study, False


def describe_study(study: Study, spec: Spec, parent_run_id: str) -> None:
    """Record what a new study was created for, and its parent run."""
    study.set_user_attr(SPEC, dict(spec))
    study.set_user_attr(PARENT, parent_run_id)


def total(config: SweepRunConfig, space: SearchSpace, composer: Composer) -> int:
    """Number of finished trials at which the sweep is complete: a grid has no more than its points."""
    if not config.sweep.is_grid:
        return config.sweep.num_trials
    return min(config.sweep.num_trials, sum(1 for _ in space.points(composer)))


def enqueue_grid(study: Study, space: SearchSpace, composer: Composer, num_points: int) -> None:
    """Enqueue those of the grid's first points that the study does not have yet."""
    # A point whose trials all failed is missing, unless it was given up: the process that should have enqueued its retry died.
    known = {
        _point(trial.system_attrs[FIXED_PARAMS])
        for trial in study.get_trials(deepcopy=False)
        if FIXED_PARAMS in trial.system_attrs and (trial.state != TrialState.FAIL or trial.user_attrs.get(GIVEN_UP))
    }
    for _, point in zip(range(num_points), space.points(composer), strict=False):
        if _point(point) not in known:
            study.enqueue_trial(point)


def _refuse_another(name: str, known: Spec, asked: Spec) -> None:
    pairs = {key: (known.get(key, "nothing"), asked.get(key, "nothing")) for key in [*known, *asked]}
    differences = [f"  {key}: {before} in the study, {now} asked for" for key, (before, now) in pairs.items() if before != now]
    if differences:
        fault = "this study was made for something else, and its trials would not compare"
        what_to_do = "set sweep.study_name to a new name, or go back to what it was made for:"
        raise TrackingError("\n".join([f"sweep.study_name = {name}: {fault}; {what_to_do}", *differences]))


def _shown(value: Any) -> str:
    if isinstance(value, dict) and "kind" in value:
        kind = value["kind"]
        rest = value["values"] if kind == "choice" else {key: part for key, part in value.items() if key != "kind"}
        return f"{kind} {json.dumps(rest)}"
    return json.dumps(value)


def _point(params: Mapping[str, Any]) -> str:
    return json.dumps(params, sort_keys=True)
