"""Every pruner ends a hopeless trial, and none a trial that leads."""

import optuna
import pytest
from pydantic import TypeAdapter

from clickflow.sweep.config import PrunerConfig
from clickflow.sweep.pruners import build_pruner

NUM_VALIDATIONS = 9


def pruned_at(name, values, others):
    """The validation after which a trial with these values is ended; None if never."""
    pruner = build_pruner(TypeAdapter(PrunerConfig).validate_python(name), NUM_VALIDATIONS)
    study = optuna.create_study(direction="maximize", pruner=pruner, study_name="pruning")
    for other in others:
        trial = study.ask()
        for number, value in enumerate(other, start=1):
            trial.report(value, number)
            trial.should_prune()  # this is how hyperband learns of a trial
        study.tell(trial, max(other))
    trial = study.ask()
    for number, value in enumerate(values, start=1):
        trial.report(value, number)
        if trial.should_prune():
            return number
    return None


OTHERS = [[0.6 + 0.01 * number + 0.001 * trial for number in range(NUM_VALIDATIONS)] for trial in range(30)]
HOPELESS = [0.5 - 0.001 * number for number in range(NUM_VALIDATIONS)]
LEADING = [0.8 + 0.01 * number for number in range(NUM_VALIDATIONS)]


@pytest.mark.parametrize("name", ["median", "patience"])
def test_a_hopeless_trial_is_ended_early(name):
    assert pruned_at(name, HOPELESS, OTHERS) <= 4


def test_hyperband_ends_hopeless_trials_early_in_those_brackets_that_begin_early():
    ended = [pruned_at("hyperband", HOPELESS, OTHERS[:number]) for number in range(10, 30)]
    assert sum(number is not None and number <= 4 for number in ended) >= 10


@pytest.mark.parametrize("name", ["median", "hyperband", "patience", "none"])
def test_a_leading_trial_is_not(name):
    assert pruned_at(name, LEADING, OTHERS) is None


def test_none_ends_nothing():
    assert pruned_at("none", HOPELESS, OTHERS) is None


def test_median_waits_for_complete_trials_to_compare_with():
    assert pruned_at("median", HOPELESS, OTHERS[:4]) is None
    assert pruned_at({"name": "median", "num_startup_trials": 2}, HOPELESS, OTHERS[:4]) == 1


def test_patience_forgives_a_trial_that_still_improves():
    improving = [0.1 + 0.01 * number for number in range(NUM_VALIDATIONS)]
    assert pruned_at("median", improving, OTHERS) == 1
    assert pruned_at("patience", improving, OTHERS) is None
