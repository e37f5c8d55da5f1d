"""A sweep's config: choices that do not go together are refused, and what is left out is known."""

import pytest

from clickflow.config import validate
from clickflow.errors import ConfigError
from clickflow.sweep.config import SweepConfig

PLAIN = {"study_name": "s", "metric": "val/gauc", "sampler": "tpe", "pruner": "median", "space": {"model.dropout": "interval(0, 0.5)"}}


def config(**changes):
    return validate(SweepConfig, PLAIN | changes)


@pytest.mark.parametrize(
    ("metric", "directions"),
    [
        ("val/gauc", ("maximize",)),
        ("val/log_loss", ("minimize",)),
        (["val/auc", "num_parameters", "latency_milliseconds", "rows_per_second"], ("maximize", "minimize", "minimize", "maximize")),
    ],
)
def test_what_is_good_of_a_metric_is_known(metric, directions):
    assert config(metric=metric, pruner="none").directions == directions


def test_a_direction_may_be_given():
    assert config(metric="num_parameters", direction="maximize", pruner="none").directions == ("maximize",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": "val/gac"}, r"metric\.0 = 'val/gac': must be 'val/auc', 'val/gauc'"),
        ({"metric": ["val/gauc", "num_parameters"]}, r"pruner = median: several metrics cannot be pruned by; set sweep\.pruner=none"),
        ({"metric": "num_parameters"}, r"pruner = median: num_parameters is not measured after each validation; set sweep\.pruner=none"),
        ({"metric": ["val/auc", "val/auc"], "pruner": "none"}, r"metric = \['val/auc', 'val/auc'\]: a metric given twice is one metric"),
        ({"direction": ["maximize", "minimize"]}, r"direction = \['maximize', 'minimize'\]: one for each of the 1 metrics"),
        ({"direction": "up"}, r"direction\.0 = 'up': must be 'maximize' or 'minimize'"),
        ({"sampler": "bayes"}, r"sampler\.name = bayes: allowed: .*tpe"),
        ({"pruner": "medain"}, r"pruner\.name = medain: did you mean median\?"),
        ({"sampler": {"name": "tpe", "startup": 3}}, r"sampler\.startup: unknown key"),
        ({"num_trials": 0}, r"num_trials = 0: must be greater than 0"),
        ({"num_workers": 0}, r"num_workers = 0: must be greater than 0"),
        ({"study_name": "a/b"}, r"study_name = 'a/b'"),
        ({"space": {}}, r"space = \{\}: nothing to search"),
        ({"max_retries": -1}, r"max_retries = -1: must be greater than or equal to 0"),
    ],
)
def test_what_cannot_be_run_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        config(**changes)
