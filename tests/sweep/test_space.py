"""The typed search space: what each parameter holds, and what a trial is asked for."""

import itertools

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FixedTrial
from pydantic import ValidationError

from clickflow.sweep.space import Choice, Interval, Range, SearchSpace


class Composer:
    """``din`` alone has ``model.attention``."""

    def keys(self, groups):
        return {"model", "model.units", "seed"} | ({"model.attention"} if groups["model"] == "din" else set())

    def compose(self, values):
        raise AssertionError


SPACE = SearchSpace(
    parameters={
        "model": Choice(values=("base", "din")),
        "model.units": Choice(values=([8], [8, 4])),
        "model.attention": Range(low=1, high=5, step=2),
        "seed": Range(low=0, high=1, step=1),
    },
    groups={"model"},
)


@pytest.mark.parametrize(
    ("parameter", "distribution"),
    [
        (Interval(low=1, high=10), IntDistribution(1, 10)),
        (Interval(low=8, high=512, log=True), IntDistribution(8, 512, log=True)),
        (Interval(low=1e-4, high=0.1, log=True), FloatDistribution(1e-4, 0.1, log=True)),
        (Interval(low=0, high=0.5), FloatDistribution(0.0, 0.5)),
        (Range(low=1, high=7, step=3), IntDistribution(1, 7, step=3)),
        (Range(low=0.0, high=0.5, step=0.25), FloatDistribution(0.0, 0.5, step=0.25)),
        (Choice(values=("a", None, [1])), CategoricalDistribution(['"a"', "null", "[1]"])),
    ],
)
def test_each_parameter_is_a_distribution_of_optuna(parameter, distribution):
    assert parameter.distribution() == distribution


@given(st.integers(-99, 99), st.integers(1, 20), st.integers(1, 9))
def test_the_grid_of_a_range_is_what_optuna_can_suggest(low, steps, step):
    parameter = Range(low=low, high=low + steps * step, step=step)
    assert parameter.grid() == list(range(low, low + steps * step + 1, step))
    assert all(parameter.distribution()._contains(value) for value in parameter.grid())


def test_the_ends_are_what_may_be_wrong():
    assert Interval(low=1, high=9).ends() == [1, 9]
    assert Range(low=1, high=9, step=4).ends() == [1, 9]
    assert Choice(values=("a", "b", "c")).ends() == ["a", "b", "c"]


class AnyKeys(Composer):
    def keys(self, groups):
        return {"seed"}


@pytest.mark.parametrize("value", ["a", 1, 1.5, True, None, [80, 40], ["a", None]])
def test_a_choice_passes_through_optuna_as_the_same_value(value):
    choice = Choice(values=(value, "other"))
    assert choice.fixed(value) in choice.distribution().choices
    assert choice.value(choice.fixed(value)) == value
    assert type(choice.value(choice.fixed(value))) is type(value)


def test_a_space_without_parameters_is_refused():
    with pytest.raises(ValidationError, match="at least 1"):
        SearchSpace(parameters={})


def test_combinations_are_all_choices_of_all_groups():
    space = SearchSpace(parameters={**SPACE.parameters, "optimizer": Choice(values=("adam", "sgd"))}, groups={"model", "optimizer"})
    expected = [{"model": model, "optimizer": optimizer} for model, optimizer in itertools.product(("base", "din"), ("adam", "sgd"))]
    assert space.combinations == expected
    assert SearchSpace(parameters={"seed": Range(low=0, high=1, step=1)}).combinations == [{}]


def test_a_trial_is_asked_for_the_keys_that_its_config_has():
    params = {"model": '"base"', "model.units": "[8, 4]", "seed": 1, "model.attention": 3}
    assert SPACE.suggest(FixedTrial(params), Composer()) == {"model": "base", "model.units": [8, 4], "seed": 1}
    assert SPACE.suggest(FixedTrial({**params, "model": '"din"'}), Composer()) == {
        "model": "din",
        "model.units": [8, 4],
        "model.attention": 3,
        "seed": 1,
    }


def test_the_values_of_a_trial_are_read_from_its_params():
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        trial = study.ask()
        suggested = SPACE.suggest(trial, Composer())
        assert SPACE.values(trial.params) == suggested
        assert ("model.attention" in suggested) == (suggested["model"] == "din")


def test_the_points_of_a_grid_are_every_combination_once():
    points = [SPACE.values(point) for point in SPACE.points(Composer())]
    base = [{"model": "base", "model.units": units, "seed": seed} for units in ([8], [8, 4]) for seed in (0, 1)]
    din = [
        {"model": "din", "model.units": units, "model.attention": attention, "seed": seed}
        for units in ([8], [8, 4])
        for attention in (1, 3, 5)
        for seed in (0, 1)
    ]
    assert points == base + din
