"""Hand-made studies over two models, one of which has a parameter of its own."""

import math
import random

import optuna
from optuna.distributions import BaseDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from clickflow.sweep.space import Choice, Interval, SearchSpace

SPACE = SearchSpace(
    parameters={
        "model": Choice(values=["base", "din"]),
        "optimizer.learning_rate": Interval(low=1e-4, high=1e-1, log=True),
        "model.embedding_dim": Choice(values=[8, 16, 32]),
        "model.attention_hidden_units": Choice(values=[[40, 20], [80, 40], None]),
        "model.dropout": Interval(low=0.0, high=0.5),
    },
    groups=frozenset({"model"}),
)
PARAMETERS = ["model", "learning_rate", "embedding_dim", "attention_hidden_units", "dropout"]


def a_trial(values: dict[str, object], *measured: float, state: TrialState = TrialState.COMPLETE, **attributes: object) -> FrozenTrial:
    """A trial with these values of the space's keys."""
    params = {key: SPACE.parameters[key].fixed(value) for key, value in values.items()}
    distributions: dict[str, BaseDistribution] = {key: SPACE.parameters[key].distribution() for key in values}
    return optuna.create_trial(
        state=state,
        values=list(measured) or None,
        params=params,
        distributions=distributions,
        user_attrs=attributes,
        intermediate_values=dict(enumerate(measured)),
    )


def some_values(generator: random.Random) -> dict[str, object]:
    """A random point of the space."""
    values: dict[str, object] = {
        "model": generator.choice(["base", "din"]),
        "optimizer.learning_rate": 10 ** generator.uniform(-4, -1),
        "model.embedding_dim": generator.choice([8, 16, 32]),
        "model.dropout": generator.uniform(0, 0.5),
    }
    return values | ({"model.attention_hidden_units": generator.choice([[40, 20], [80, 40], None])} if values["model"] == "din" else {})


def a_study(trials: list[FrozenTrial], directions: tuple[str, ...] = ("maximize",)) -> Study:
    """A study in memory of these trials."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=list(directions), study_name="small")
    optuna.logging.set_verbosity(verbosity)
    study.add_trials(trials)
    return study


def a_sweep(num_trials: int = 16, directions: tuple[str, ...] = ("maximize",), seed: int = 0) -> Study:
    """Complete trials whose first value falls with the distance to a learning rate of 0.01, then one of every other state."""
    generator = random.Random(seed)
    trials = []
    for _ in range(num_trials):
        values = some_values(generator)
        gauc = 0.9 - 0.05 * (math.log10(values["optimizer.learning_rate"]) + 2) ** 2 + 0.001 * generator.random()
        others = [values["model.embedding_dim"] * 1000.0 + generator.randrange(100), generator.random()]
        trials.append(a_trial(values, gauc, *others[: len(directions) - 1], run_id=f"run{len(trials)}"))
    values = some_values(generator)
    if len(directions) == 1:
        trials.append(a_trial(values, 0.7, state=TrialState.PRUNED))
    trials += [
        a_trial(values, *[9.0] * len(directions), surplus=True),
        a_trial(values, state=TrialState.FAIL, reason="DataError: no rows,\nnone"),
        a_trial(values, state=TrialState.RUNNING),
        optuna.create_trial(state=TrialState.WAITING),
    ]
    return a_study(trials, directions)
