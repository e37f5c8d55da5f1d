"""One contract for every sampler: values inside the space, alike for the same trial, different for another, whoever asks."""

import optuna
import pytest
from optuna.storages import InMemoryStorage
from pydantic import TypeAdapter

from clickflow.sweep.config import SamplerConfig
from clickflow.sweep.samplers import PerTrialSampler
from clickflow.sweep.space import Choice, Interval, Range, SearchSpace

SPACE = SearchSpace(
    parameters={
        "rate": Interval(low=1e-4, high=1e-1, log=True),
        "dropout": Interval(low=0.0, high=0.5),
        "units": Interval(low=1, high=100),
        "batch": Range(low=64, high=256, step=64),
        "kind": Choice(values=("a", None, [80, 40])),
    }
)
NAMES = ("tpe", "random", "grid", "qmc", "gp", "cma_es")


class EveryKey:
    def keys(self, groups):
        return SPACE.parameters


def sampled(name, numbers, *, seed=0, told=lambda values: values["dropout"], startup=3):
    """The values of trials, each asked by a worker of its own."""
    settings = {"name": name, "seed": seed} | ({"num_startup_trials": startup} if name in ("tpe", "gp", "cma_es") else {})
    config = TypeAdapter(SamplerConfig).validate_python(settings)
    storage = InMemoryStorage()
    optuna.create_study(study_name="s", storage=storage)
    values = {}
    for number in range(max(numbers) + 1):
        study = optuna.load_study(study_name="s", storage=storage, sampler=PerTrialSampler(config))
        trial = study.ask()
        values[number] = SPACE.suggest(trial, EveryKey())
        study.tell(trial, told(values[number]))
    return [values[number] for number in numbers]


@pytest.mark.parametrize("name", NAMES)
class TestEverySampler:
    def test_values_lie_in_the_space_and_have_its_types(self, name):
        for values in sampled(name, range(6)):
            assert 1e-4 <= values["rate"] <= 1e-1
            assert 0 <= values["dropout"] <= 0.5
            assert isinstance(values["units"], int)
            assert 1 <= values["units"] <= 100
            assert values["batch"] in (64, 128, 192, 256)
            assert values["kind"] in ("a", None, [80, 40])

    def test_the_same_trial_has_the_same_values_whoever_asks(self, name):
        assert sampled(name, range(5)) == sampled(name, range(5))

    def test_no_two_trials_are_alike(self, name):
        assert len({str(values) for values in sampled(name, range(6))}) == 6

    def test_another_seed_gives_other_values(self, name):
        assert sampled(name, [1]) != sampled(name, [1], seed=1)


@pytest.mark.parametrize("name", ["tpe", pytest.param("gp", marks=pytest.mark.slow), "cma_es"])
def test_those_that_learn_come_nearer_to_the_best_than_chance(name):
    """Minimising |dropout - 0.4| over 40 trials: the last ones lie nearer than the first ones, which are random."""

    def distance(values):
        return abs(values["dropout"] - 0.4)

    tried = [distance(values) for values in sampled(name, range(40 if name != "gp" else 20), told=distance, startup=8)]
    assert sum(tried[-8:]) < 0.6 * sum(tried[:8])


def test_a_name_alone_chooses_a_sampler_with_its_defaults():
    assert TypeAdapter(SamplerConfig).validate_python("tpe").num_startup_trials == 10
