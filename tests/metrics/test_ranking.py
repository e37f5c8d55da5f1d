"""AUC, average precision and GAUC against scikit-learn, a plain loop over users and values computed by hand."""

import math
import warnings
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc, binary_average_precision

from clickflow.metrics.ranking import GroupAUC, MetricUndefinedWarning, auc, gauc, pr_auc, rela_impr

EMPTY = torch.empty(0)

# Few users and few distinct predictions, so that ties, one-class users and users of one row are common.
impressions = st.lists(st.tuples(st.integers(-2, 3), st.integers(0, 4), st.booleans()), min_size=1, max_size=40)


def columns(rows: list[tuple[int, int, bool]]) -> tuple[Tensor, Tensor, Tensor]:
    group, fourths, target = zip(*rows, strict=True)
    return torch.tensor(fourths) / 4, torch.tensor(target).long(), torch.tensor(group)


def click_log(num_rows: int, num_users: int = 50, decimals: int = 7) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(num_rows)
    target = (torch.rand(num_rows, generator=generator) < 0.2).long()
    preds = torch.sigmoid(torch.randn(num_rows, generator=generator) + target).round(decimals=decimals)
    return preds, target, torch.randint(num_users, (num_rows,), generator=generator)


def gauc_by_loop(preds: Tensor, target: Tensor, group: Tensor) -> tuple[Fraction | None, int, int]:
    """GAUC by its definition, pair by pair, in exact arithmetic."""
    weighted, weight, users, skipped = Fraction(0), 0, 0, 0
    for user in set(group.tolist()):
        scores = preds[group == user].tolist()
        labels = target[group == user].tolist()
        clicked = [score for score, label in zip(scores, labels, strict=True) if label]
        unclicked = [score for score, label in zip(scores, labels, strict=True) if not label]
        if not clicked or not unclicked:
            skipped += 1
            continue
        wins = sum(Fraction(2 * (c > u) + (c == u), 2) for c in clicked for u in unclicked)
        weighted += len(scores) * wins / (len(clicked) * len(unclicked))
        weight += len(scores)
        users += 1
    return (weighted / weight if users else None), users, skipped


@pytest.mark.parametrize("decimals", [7, 1], ids=["few ties", "many ties"])
@pytest.mark.parametrize("num_rows", [17, 5000])
def test_auc_and_pr_auc_agree_with_scikit_learn(num_rows, decimals):
    preds, target, _ = click_log(num_rows, decimals=decimals)
    assert auc(preds, target) == pytest.approx(roc_auc_score(target, preds), abs=1e-6)
    assert pr_auc(preds, target) == pytest.approx(average_precision_score(target, preds), abs=1e-6)


@pytest.mark.parametrize("decimals", [7, 1], ids=["few ties", "many ties"])
@pytest.mark.parametrize("num_rows", [17, 5000, 200_000])
def test_auc_and_pr_auc_are_torchmetrics_to_the_last_digit(num_rows, decimals):
    preds, target, _ = click_log(num_rows, decimals=decimals)
    assert auc(preds, target) == float(binary_auroc(preds, target))
    assert pr_auc(preds, target) == float(binary_average_precision(preds, target))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_any_floating_type_of_predictions_and_any_type_of_labels_will_do(dtype):
    preds, target, group = click_log(500)
    preds = preds.to(dtype)
    expected = roc_auc_score(target, preds.double())
    for label_type in (torch.float32, torch.bool, torch.uint8):
        assert auc(preds, target.to(label_type)) == pytest.approx(expected, abs=1e-6)
    assert gauc(preds, target.float(), group.int()) == gauc(preds.double(), target, group)


def test_all_tied_predictions_rank_like_chance():
    preds, target, group = torch.full((8,), 0.3), torch.tensor([1, 0, 0, 1, 0, 0, 0, 0]), torch.arange(8) // 4
    assert auc(preds, target) == 0.5
    assert pr_auc(preds, target) == 0.25  # the click rate
    assert gauc(preds, target, group) == GroupAUC(0.5, users=1, users_skipped=1)


@pytest.mark.parametrize("metric", [auc, pr_auc])
@pytest.mark.parametrize(
    ("preds", "target", "reason"),
    [
        (EMPTY, EMPTY, "there are no rows"),
        (torch.tensor([0.7]), torch.tensor([1]), "all 1 targets are 1"),
        (torch.tensor([0.2, 0.7]), torch.tensor([0, 0]), "all 2 targets are 0"),
    ],
    ids=["empty", "one row", "one class"],
)
def test_an_undefined_ranking_is_nan_and_says_why(metric, preds, target, reason):
    with pytest.warns(MetricUndefinedWarning, match=f"{metric.__name__}: undefined, {reason}; the value is NaN"):
        assert math.isnan(metric(preds, target))


@pytest.mark.parametrize(
    ("preds", "target", "group", "skipped", "reason"),
    [
        (EMPTY, EMPTY, EMPTY.long(), 0, "there are no rows"),
        (torch.tensor([0.7]), torch.tensor([1]), torch.tensor([4]), 1, "none of the 1 users has both"),
        (torch.tensor([0.2, 0.7, 0.1]), torch.tensor([0, 1, 1]), torch.tensor([1, 2, 2]), 2, "none of the 2 users has both"),
    ],
    ids=["empty", "one row", "every user of one class"],
)
def test_gauc_is_nan_where_no_user_has_both_classes(preds, target, group, skipped, reason):
    with pytest.warns(MetricUndefinedWarning, match=f"gauc: undefined, {reason}"):
        result = gauc(preds, target, group)
    assert math.isnan(result.value)
    assert (result.users, result.users_skipped) == (0, skipped)


def test_gauc_weights_users_by_impressions_and_counts_ties_one_half():
    # User 3: the click beats one non-click and ties with the other, so AUC 3/4 of 3 impressions. User 5: AUC 0 of 2. User 9: only clicks.
    preds = torch.tensor([0.5, 0.1, 0.5, 0.2, 0.9, 0.8, 0.4])
    target = torch.tensor([1, 0, 0, 1, 0, 1, 1])
    group = torch.tensor([3, 3, 3, 5, 5, 9, 9])
    result = gauc(preds, target, group)
    assert result.value == pytest.approx((3 * 0.75 + 2 * 0.0) / 5, abs=1e-12)
    assert (result.users, result.users_skipped) == (2, 1)


def test_gauc_of_one_user_is_its_auc():
    preds, target, _ = click_log(300, decimals=1)
    assert gauc(preds, target, torch.zeros(300, dtype=torch.long)).value == pytest.approx(roc_auc_score(target, preds), abs=1e-12)


def test_gauc_does_not_see_an_order_between_users():
    """A model that knows exactly which users click, but not on what, has an AUC near 1 and a GAUC of 1/2."""
    group = torch.arange(200) // 10
    preds = (group % 2) * 0.8 + 0.1
    target = torch.where(group % 2 == 1, torch.arange(200) % 10 > 0, torch.arange(200) % 10 == 0)
    assert auc(preds, target) == pytest.approx(0.9)
    assert gauc(preds, target, group).value == 0.5


@settings(max_examples=150)
@given(impressions)
def test_gauc_equals_a_plain_loop_over_users(rows):
    preds, target, group = columns(rows)
    expected, users, skipped = gauc_by_loop(preds, target, group)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MetricUndefinedWarning)
        result = gauc(preds, target, group)
    assert (result.users, result.users_skipped) == (users, skipped)
    assert math.isnan(result.value) if expected is None else result.value == pytest.approx(float(expected), abs=1e-12)


@settings(max_examples=50)
@given(impressions, st.randoms(use_true_random=False))
def test_the_order_of_rows_is_irrelevant(rows, random):
    def measure(rows: list[tuple[int, int, bool]]) -> list[float]:
        preds, target, group = columns(rows)
        return [auc(preds, target), pr_auc(preds, target), *gauc(preds, target, group)]

    shuffled = random.sample(rows, len(rows))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MetricUndefinedWarning)
        assert measure(shuffled) == pytest.approx(measure(rows), abs=1e-12, nan_ok=True)


def test_gauc_holds_for_large_unsorted_sparse_user_indices():
    preds, target, group = click_log(2000, decimals=2)
    sparse = torch.tensor(np.random.default_rng(0).choice(2**62, 50, replace=False))[group]
    assert gauc(preds, target, sparse) == pytest.approx(gauc(preds, target, group), abs=1e-12)


def test_rela_impr_reproduces_the_papers_table():
    # DIN (Zhou et al. 2018), table 3, MovieLens: Base 0.7300, DIN 0.7337, RelaImpr 1.61 %.
    assert rela_impr(0.7337, base_auc=0.7300) == pytest.approx(0.0161, abs=5e-5)
    assert rela_impr(0.7300, base_auc=0.7300) == 0.0


@pytest.mark.parametrize("base_auc", [0.5, 0.49])
def test_rela_impr_over_a_base_that_is_no_better_than_random_is_undefined(base_auc):
    with pytest.warns(MetricUndefinedWarning, match=rf"the base model's AUC is {base_auc}, not above 0\.5"):
        assert math.isnan(rela_impr(0.7, base_auc=base_auc))


@pytest.mark.parametrize(
    ("preds", "target", "message"),
    [
        ([-1.5, 2.0], [0, 1], r"preds = -1\.5 to 2: must be probabilities in \[0, 1\]; pass logit\.sigmoid\(\), not logits"),
        ([-0.25, 0.5], [0, 1], r"preds = -0\.25 to 0\.5: must be probabilities"),
        ([0.5, 1.0001], [0, 1], r"preds = 0\.5 to 1: must be probabilities"),
        ([0.5, math.nan], [0, 1], r"preds = NaN in 1 of 2 rows: must be probabilities; did training diverge\?"),
        ([0, 1], [0, 1], r"preds = torch\.int64 of shape \(2,\): must be a column of probabilities"),
        ([[0.5], [0.5]], [[0], [1]], r"preds = torch\.float32 of shape \(2, 1\): must be a column of probabilities"),
        ([0.5, 0.5], [0, 1, 1], r"target = shape \(3,\): must be that of preds, \(2,\)"),
        ([0.5, 0.5], [0, 2], r"target = 2: must be 1 \(click\) or 0 \(no click\)"),
        ([0.5, 0.5], [0.25, 1.0], r"target = 0\.25: must be 1 \(click\) or 0 \(no click\)"),
    ],
)
def test_values_other_than_probabilities_and_labels_are_refused(preds, target, message):
    for metric in (auc, pr_auc):
        with pytest.raises(ValueError, match=message):
            metric(torch.tensor(preds), torch.tensor(target))
    with pytest.raises(ValueError, match=message):
        gauc(torch.tensor(preds), torch.tensor(target), torch.zeros(len(preds), dtype=torch.long))


@pytest.mark.parametrize("group", [torch.tensor([1]), torch.tensor([1.0, 2.0]), torch.tensor([True, False])])
def test_a_group_that_is_not_an_integer_column_beside_the_predictions_is_refused(group):
    with pytest.raises(ValueError, match=r"group = torch\.\w+ of shape .*: must be an integer column of shape \(2,\)"):
        gauc(torch.tensor([0.1, 0.2]), torch.tensor([0, 1]), group)
