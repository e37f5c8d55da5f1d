"""Log loss against scikit-learn; calibration and reliability against plain sums."""

import math

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn_metrics
from torch import Tensor

from clickflow.metrics.calibration import calibration, log_loss, reliability
from clickflow.metrics.ranking import MetricUndefinedWarning


def calibrated_log(num_rows: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    preds = torch.rand(num_rows, generator=generator) ** 3
    return preds, (torch.rand(num_rows, generator=generator) < preds).long()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_log_loss_agrees_with_scikit_learn(dtype):
    preds, target = calibrated_log(5000)
    preds = preds.to(dtype)
    assert log_loss(preds, target) == pytest.approx(sklearn_metrics.log_loss(target, preds.numpy()), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_log_loss_of_certain_and_wrong_predictions_is_finite_and_that_of_scikit_learn(dtype):
    preds, target = torch.tensor([0.0, 1.0, 0.0, 1.0], dtype=dtype), torch.tensor([1, 0, 0, 1])
    expected = -math.log(torch.finfo(dtype).eps) / 2
    assert log_loss(preds, target) == pytest.approx(expected, rel=1e-6)
    assert log_loss(preds, target) == pytest.approx(sklearn_metrics.log_loss(target, preds.numpy()), rel=1e-6)


def test_log_loss_of_one_class_is_defined():
    assert log_loss(torch.tensor([0.25, 0.25]), torch.tensor([0, 0])) == pytest.approx(-math.log(0.75))


def test_log_loss_keeps_its_digits_over_a_million_rows():
    """A float32 sum of a million terms would lose about three digits."""
    preds, target = calibrated_log(1_000_000)
    clamped = np.clip(preds.double().numpy(), np.finfo(np.float32).eps, 1 - np.finfo(np.float32).eps)
    exact = math.fsum(-np.log(np.where(target.numpy() == 1, clamped, 1 - clamped))) / len(preds)
    assert log_loss(preds, target) == pytest.approx(exact, rel=1e-9)


def test_calibration_is_mean_prediction_over_click_rate():
    preds, target = torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.tensor([0, 0, 1, 1])
    assert calibration(preds, target) == pytest.approx(0.25 / 0.5)
    calibrated, clicks = calibrated_log(200_000)
    assert calibration(calibrated, clicks) == pytest.approx(1, abs=0.02)
    assert calibration(calibrated / 2, clicks) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("num_rows", [0, 3])
def test_calibration_without_a_click_is_nan(num_rows):
    with pytest.warns(MetricUndefinedWarning, match=f"calibration: undefined, no click in {num_rows} rows"):
        assert math.isnan(calibration(torch.full((num_rows,), 0.5), torch.zeros(num_rows)))


def test_log_loss_without_rows_is_nan():
    with pytest.warns(MetricUndefinedWarning, match="log_loss: undefined, there are no rows"):
        assert math.isnan(log_loss(torch.empty(0), torch.empty(0)))


def test_logits_are_refused():
    for metric in (log_loss, calibration, reliability):
        with pytest.raises(ValueError, match="not logits"):
            metric(torch.tensor([-1.0, 3.0]), torch.tensor([0, 1]))


def test_reliability_bins_hold_equally_many_rows_and_their_plain_means():
    preds, target = calibrated_log(1000)
    bins = reliability(preds, target, num_bins=8)
    order = preds.argsort()
    for position, rows in enumerate(order.split(125)):
        assert bins.impressions[position] == 125
        assert float(bins.mean_prediction[position]) == pytest.approx(float(preds[rows].double().mean()), abs=1e-12)
        assert float(bins.click_rate[position]) == pytest.approx(float(target[rows].double().mean()), abs=1e-12)
        assert bins.edges[position] <= preds[rows].min()
        assert preds[rows].max() <= bins.edges[position + 1]


def test_bins_that_do_not_divide_evenly_differ_by_one_row_at_most():
    preds, target = calibrated_log(1003)
    impressions = reliability(preds, target).impressions
    assert len(impressions) == 20
    assert impressions.sum() == 1003
    assert impressions.max() - impressions.min() == 1


def test_equal_predictions_share_a_bin_whatever_the_order_of_rows():
    preds, target = calibrated_log(2000)
    preds = (preds * 10).round() / 10
    bins = reliability(preds, target)
    shuffle = torch.randperm(2000, generator=torch.Generator().manual_seed(1))
    for one, other in zip(bins, reliability(preds[shuffle], target[shuffle]), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=0)
    assert bins.impressions.sum() == 2000
    assert (bins.edges.diff() > 0).all()
    for value in preds.unique():
        assert int(((bins.edges[:-1] < value) & (value < bins.edges[1:])).sum()) <= 1


def test_a_constant_prediction_makes_one_bin():
    bins = reliability(torch.full((10,), 0.25), torch.tensor([1] + [0] * 9))
    assert bins.mean_prediction.tolist() == [0.25]
    assert bins.click_rate.tolist() == [0.1]
    assert bins.impressions.tolist() == [10]
    assert bins.edges.tolist() == [0.25, 0.25]


def test_fewer_rows_than_bins_make_a_bin_each():
    assert reliability(torch.tensor([0.9, 0.1]), torch.tensor([1, 0])).click_rate.tolist() == [0, 1]


def test_no_rows_make_no_bins():
    with pytest.warns(MetricUndefinedWarning, match="reliability: undefined, there are no rows"):
        bins = reliability(torch.empty(0), torch.empty(0))
    assert [len(values) for values in bins] == [0, 0, 0, 0]


def test_no_bins_at_all_are_refused():
    with pytest.raises(ValueError, match="num_bins = 0: must be at least 1"):
        reliability(torch.tensor([0.5]), torch.tensor([1]), num_bins=0)
