"""Metrics of all strata at once against those of each stratum alone."""

import math
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clickflow.metrics import strata
from clickflow.metrics.calibration import calibration, log_loss
from clickflow.metrics.intervals import intervals
from clickflow.metrics.ranking import MetricUndefinedWarning, auc, gauc
from clickflow.metrics.strata import metrics_by_stratum

rows = st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60)


def quietly(function, *args):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MetricUndefinedWarning)
        return function(*args)


@settings(max_examples=150)
@given(rows)
def test_each_stratum_is_measured_as_if_it_were_alone(drawn):
    preds, target, user, stratum = (torch.tensor(column) for column in zip(*drawn, strict=True))
    preds, target, stratum = preds / 4, target.long(), torch.unique(stratum, return_inverse=True)[1]
    found = metrics_by_stratum(preds, target, user, stratum)
    for part in range(int(stratum.max()) + 1):
        member = stratum == part
        of = preds[member], target[member]
        expected = {
            "rows": int(member.sum()),
            "users": len(user[member].unique()),
            "clicks": int(of[1].sum()),
            "click_rate": float(of[1].double().mean()),
            "auc": quietly(auc, *of),
            "gauc": quietly(gauc, *of, user[member]).value,
            "log_loss": log_loss(*of),
            "calibration": quietly(calibration, *of),
        }
        for name, value in expected.items():
            assert float(found[name][part]) == pytest.approx(value, abs=1e-6, nan_ok=True), name


def test_the_interval_of_a_stratum_is_that_of_its_rows_alone():
    generator = torch.Generator().manual_seed(0)
    target, user = torch.randint(2, (600,), generator=generator), torch.randint(50, (600,), generator=generator)
    preds, stratum = (target + torch.randn(600, generator=generator)).sigmoid(), torch.randint(3, (600,), generator=generator)
    found = metrics_by_stratum(preds, target, user, stratum)
    for part in range(3):
        member = stratum == part
        expected = intervals(preds[member], target[member], user[member])["auc"]
        assert (float(found["auc_low"][part]), float(found["auc_high"][part])) == pytest.approx(expected, abs=1e-9)


def test_a_handful_of_clicks_has_an_auc_but_no_interval():
    clicks = strata.FEWEST - 1
    target = torch.tensor([1] * clicks + [0] * 40)
    found = metrics_by_stratum(torch.linspace(0, 1, len(target)), target, torch.arange(len(target)), torch.zeros_like(target))
    assert float(found["auc"]) == 0
    assert math.isnan(float(found["auc_low"]))
    assert math.isnan(float(found["auc_high"]))


def test_one_class_strata_are_nan_without_a_warning():
    target, stratum = torch.tensor([1, 1, 0, 0, 1, 0]), torch.tensor([0, 0, 1, 1, 2, 2])
    found = metrics_by_stratum(torch.tensor([0.5, 0.6, 0.1, 0.2, 0.7, 0.2]), target, torch.arange(6), stratum)
    assert found["auc"].isnan().tolist() == [True, True, False]
    assert found["calibration"].isnan().tolist() == [False, True, False]
    assert found["log_loss"].isfinite().all()


def test_a_stratum_column_that_does_not_fit_is_refused():
    preds, target = torch.tensor([0.5, 0.6]), torch.tensor([0, 1])
    with pytest.raises(ValueError, match=r"group = torch\.int64 of shape \(1,\): must be an integer column of shape \(2,\)"):
        metrics_by_stratum(preds, target, torch.tensor([0, 1]), torch.tensor([0]))
