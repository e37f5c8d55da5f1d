"""The view of a study: short names, its own numbers, nothing changed elsewhere."""

import optuna
from tests.sweep.studies import SPACE, a_sweep

from clickflow.sweep.shown.view import short_names, view_of


def test_names_are_short_where_they_stay_clear():
    assert short_names(["model", "model.dropout", "optimizer.weight_decay", "schedule.weight_decay"]) == {
        "model": "model",
        "model.dropout": "dropout",
        "optimizer.weight_decay": "optimizer.weight_decay",
        "schedule.weight_decay": "schedule.weight_decay",
    }


def test_a_name_has_as_many_parts_as_tell_it_from_the_others():
    keys = ["model.hidden_units", "model.attention.hidden_units", "model.pooling.hidden_units", "units"]
    assert list(short_names(keys).values()) == ["model.hidden_units", "attention.hidden_units", "pooling.hidden_units", "units"]


def test_a_view_keeps_the_numbers_of_trials_and_leaves_optunas_logging_as_it_was():
    verbosity = optuna.logging.get_verbosity()
    view = view_of(a_sweep(4), SPACE, ["val/gauc"])
    assert [trial.number for trial in view.complete] == [0, 1, 2, 3]
    assert [trial.number for trial in view.pruned] == [4]
    assert len(view.study.trials) == 9
    assert optuna.logging.get_verbosity() == verbosity
