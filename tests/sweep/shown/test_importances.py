"""Importances find what a made-up study was made of."""

import pytest
from tests.sweep.studies import PARAMETERS, SPACE, a_sweep

from clickflow.sweep.shown.importances import importances
from clickflow.sweep.shown.view import view_of

GAUC = ["val/gauc"]


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_importances_find_the_parameter_that_decides(direction):
    found = importances(view_of(a_sweep(40, (direction,)), SPACE, GAUC), 0)
    assert found[0].parameter == "learning_rate"
    assert [one.share for one in found] == sorted((one.share for one in found), reverse=True)
    assert sorted(one.parameter for one in found) == sorted(PARAMETERS)
    assert sum(one.share for one in found if one.num_trials == 40) == pytest.approx(1)


def test_a_conditional_parameter_is_measured_among_the_trials_that_have_it():
    view = view_of(a_sweep(20), SPACE, GAUC)
    with_it = [trial for trial in view.complete if "attention_hidden_units" in trial.params]
    counts = {one.parameter: one.num_trials for one in importances(view, 0)}
    assert counts == dict.fromkeys(PARAMETERS, 20) | {"attention_hidden_units": len(with_it)}
