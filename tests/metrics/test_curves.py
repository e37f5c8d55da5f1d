"""The resampled curves against scikit-learn's exact ones."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics
from torch import Tensor

from clickflow.metrics.curves import pr_curve, roc_curve
from clickflow.metrics.ranking import MetricUndefinedWarning, auc, pr_auc


def click_log(num_rows: int, click_rate: float, decimals: int = 7) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(num_rows)
    target = (torch.rand(num_rows, generator=generator) < click_rate).long()
    return torch.sigmoid(torch.randn(num_rows, generator=generator) + 1.5 * target).round(decimals=decimals), target


LOGS = pytest.mark.parametrize(
    ("num_rows", "click_rate", "decimals"),
    [(50, 0.5, 7), (3000, 0.1, 7), (3000, 0.4, 1), (100_000, 0.02, 7)],
    ids=["small", "medium", "tied", "large and rare"],
)


@LOGS
def test_the_area_under_the_resampled_roc_is_the_auc(num_rows, click_rate, decimals):
    preds, target = click_log(num_rows, click_rate, decimals)
    curve = roc_curve(preds, target)
    area = np.trapezoid(np.r_[curve.y, 1], np.r_[curve.x, 1])
    assert area == pytest.approx(auc(preds, target), abs=5e-4 + 1e-7)


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=40).filter(lambda rows: len({c for _, c in rows}) == 2))
def test_roc_on_the_grid_rises_from_0_to_1_and_keeps_its_area(rows):
    sixths, target = zip(*rows, strict=True)
    preds, target = torch.tensor(sixths) / 6, torch.tensor(target)
    curve = roc_curve(preds, target)
    assert (np.diff(curve.y) >= 0).all()
    assert curve.y[0] >= 0
    assert curve.y[-1] <= 1
    area = np.trapezoid(np.r_[curve.y, 1], np.r_[curve.x, 1])
    assert area == pytest.approx(auc(preds, target), abs=5e-4 + 1e-7)


@LOGS
def test_roc_points_are_on_scikit_learns_exact_curve(num_rows, click_rate, decimals):
    preds, target = click_log(num_rows, click_rate, decimals)
    fpr, tpr, _ = sklearn_metrics.roc_curve(target, preds, drop_intermediate=False)
    curve = roc_curve(preds, target)
    for x, y in zip(curve.x[::37], curve.y[::37], strict=True):
        upper_end = tpr[fpr <= x].max()
        if (fpr == x).any():
            assert y == pytest.approx(upper_end, abs=1e-12)
        else:
            start, end = fpr[fpr <= x].max(), fpr[fpr > x].min()
            lower_end = tpr[fpr > x].min()
            assert y == pytest.approx(upper_end + (x - start) / (end - start) * (lower_end - upper_end), abs=1e-9)


@LOGS
def test_pr_shows_the_precision_of_the_first_threshold_that_reaches_the_recall(num_rows, click_rate, decimals):
    preds, target = click_log(num_rows, click_rate, decimals)
    precision, recall, _ = sklearn_metrics.precision_recall_curve(target, preds)
    precision, recall = precision[::-1], recall[::-1]  # from the highest threshold down
    curve = pr_curve(preds, target)
    for x, y in zip(curve.x[::37], curve.y[::37], strict=True):
        assert y == pytest.approx(precision[np.argmax(recall >= x)], abs=1e-12)


def test_the_area_under_the_resampled_pr_is_the_average_precision():
    preds, target = click_log(100_000, 0.1)
    assert pr_curve(preds, target).y.mean() == pytest.approx(pr_auc(preds, target), abs=1e-3)


def test_hand_computed_curves():
    preds, target = torch.tensor([0.9, 0.8, 0.7, 0.6]), torch.tensor([1, 0, 1, 0])
    roc, pr = roc_curve(preds, target), pr_curve(preds, target)
    assert roc.y[[0, 250, 499]].tolist() == [0.5, 0.5, 0.5]  # half the clicks before the first non-click
    assert roc.y[[500, 999]].tolist() == [1, 1]  # the upper end of the vertical rise at FPR 1/2
    assert pr.y[[0, 499]].tolist() == [1, 1]  # recall 0.001 and 0.5
    assert pr.y[[500, 999]].tolist() == [2 / 3, 2 / 3]  # recall 0.501 and 1


def test_all_tied_predictions_give_the_diagonal_and_the_click_rate():
    preds, target = torch.full((10,), 0.5), torch.tensor([1, 0, 0, 0, 0] * 2)
    np.testing.assert_allclose(roc_curve(preds, target).y, np.arange(1000) / 1000, atol=1e-12)
    np.testing.assert_allclose(pr_curve(preds, target).y, 0.2)


def test_steps_are_at_most_1000_distinct_integers_and_a_thousand_times_x():
    preds, target = click_log(100, 0.5)
    roc, pr = roc_curve(preds, target), pr_curve(preds, target)
    assert roc.steps.tolist() == list(range(1000))
    assert pr.steps.tolist() == list(range(1, 1001))
    for curve in (roc, pr):
        np.testing.assert_allclose(curve.x, curve.steps / 1000)
        assert curve.y.shape == curve.x.shape
    assert (roc.name, pr.name) == ("roc/tpr", "pr/precision")


def test_the_order_of_rows_is_irrelevant():
    preds, target = click_log(500, 0.3, decimals=1)
    shuffle = torch.randperm(500, generator=torch.Generator().manual_seed(0))
    for make in (roc_curve, pr_curve):
        np.testing.assert_array_equal(make(preds, target).y, make(preds[shuffle], target[shuffle]).y)


@pytest.mark.parametrize("make", [roc_curve, pr_curve])
@pytest.mark.parametrize("target", [[], [1], [0, 0]], ids=["empty", "one row", "one class"])
def test_a_curve_that_the_data_cannot_define_is_nan_on_the_same_grid(make, target):
    with pytest.warns(MetricUndefinedWarning, match=f"{make.__name__}: undefined"):
        curve = make(torch.full((len(target),), 0.5), torch.tensor(target))
    assert np.isnan(curve.y).all()
    assert len(curve.y) == len(curve.steps) == 1000


def test_logits_are_refused():
    for make in (roc_curve, pr_curve):
        with pytest.raises(ValueError, match="not logits"):
            make(torch.tensor([-1.0, 3.0]), torch.tensor([0, 1]))
