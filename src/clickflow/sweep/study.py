"""The study behind a sweep: made once, carried on as often as needed, and only with the space and the data it was made for."""

import json
import time
from collections.abc import Iterator, Mapping
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
"""What all trials of a study share, as shown in a message: key -> value."""

SPEC, PARENT, READY = "spec", "parent_run_id", "ready"
READY_SECONDS = 10.0
"""How long whoever made a study may take to describe it, before it is taken for dead."""

# Where things lie, and who does the work, may differ from start to start.
ELSEWHERE: Any = {"home": True, "tracking": True, "sweep": True, "data": {"path", "url"}, "trainer": {"progress_bar", "num_threads"}}


def sampler_and_pruner(config: SweepRunConfig) -> dict[str, Any]:
    """The keyword arguments with which a study is opened."""
    num_validations = config.trainer.max_epochs * config.trainer.validations_per_epoch
    return {"sampler": PerTrialSampler(config.sweep.sampler), "pruner": build_pruner(config.sweep.pruner, num_validations)}


def describe(config: SweepRunConfig, space: SearchSpace, composer: Composer, fingerprint: str) -> dict[str, str]:
    """What all trials of a study share: data, metrics, space, and every key that is not searched.

    Args:
        config: of the sweep.
        space: what is searched.
        composer: of the trials' configs.
        fingerprint: of the prepared data.
    """
    spec = {"data fingerprint": fingerprint, "tracking.experiment_name": str(config.tracking.experiment_name)}
    spec["sweep.sampler"] = "grid" if config.sweep.is_grid else "not grid"  # which is no matter of its points
    spec |= {f"sweep.metric {metric}": way for metric, way in zip(config.sweep.metric, config.sweep.directions, strict=True)}
    spec |= {f"sweep.space.{key}": _shown(parameter.model_dump(mode="json")) for key, parameter in space.parameters.items()}
    for groups in space.combinations:
        values = flatten(composer.compose(groups).model_dump(mode="json", exclude=ELSEWHERE))
        where = "".join(f" ({key}={value})" for key, value in groups.items())
        spec |= {f"{key}{where}": _shown(value) for key, value in values.items() if key not in space.parameters}
    return spec


def open_study(storage: BaseStorage, config: SweepRunConfig, spec: Spec) -> tuple[Study, bool]:
    """Make a study, or open one of the same name; whether it is to be described yet.

    Exactly one of several processes that ask at the same time makes it; the others wait until it is described, or take that over when its
    maker died.

    Raises:
        TrackingError: the study is one of another space, other data or other settings.
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
    """Write down what a new study is; without this nobody works on it."""
    study.set_user_attr(SPEC, dict(spec))
    study.set_user_attr(PARENT, parent_run_id)


def total(config: SweepRunConfig, space: SearchSpace, composer: Composer) -> int:
    """How many trials the sweep comes to: a grid has no more than its points."""
    if not config.sweep.is_grid:
        return config.sweep.num_trials
    return min(config.sweep.num_trials, sum(1 for _ in space.points(composer)))


def enqueue_grid(study: Study, space: SearchSpace, composer: Composer, num_points: int) -> None:
    """Put the first points of a grid that the study has not yet into it, as trials that wait to be taken."""
    # A point whose trials all failed is missing, unless it was given up: whoever should have put it back died.
    known = {
        _point(trial.system_attrs[FIXED_PARAMS])
        for trial in study.get_trials(deepcopy=False)
        if FIXED_PARAMS in trial.system_attrs and (trial.state != TrialState.FAIL or trial.user_attrs.get(GIVEN_UP))
    }
    for _, point in zip(range(num_points), space.points(composer), strict=False):
        if _point(point) not in known:
            study.enqueue_trial(point)


def _refuse_another(name: str, known: Spec, asked: Spec) -> None:
    differences = list(_differences(known, asked))
    if differences:
        raise TrackingError(
            "\n".join(
                [
                    f"sweep.study_name = {name}: this study was made for something else, and its trials would not compare; set "
                    "sweep.study_name to a new name, or go back to what it was made for:",
                    *differences,
                ]
            )
        )


def _differences(known: Spec, asked: Spec) -> Iterator[str]:
    for key in dict.fromkeys([*known, *asked]):
        before, now = known.get(key, "not there"), asked.get(key, "not there")
        if before != now:
            yield f"  {key}: {before} in the study, {now} asked for"


def _shown(value: Any) -> str:
    if isinstance(value, dict) and "kind" in value:
        kind = value["kind"]
        rest = value["values"] if kind == "choice" else {key: part for key, part in value.items() if key != "kind"}
        return f"{kind} {json.dumps(rest)}"
    return json.dumps(value)


def _point(params: Mapping[str, Any]) -> str:
    return json.dumps(params, sort_keys=True)
