"""Intervals of metrics against a bootstrap over users in a plain loop, numerical derivatives and simulations."""

import math
from statistics import NormalDist

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score
from sklearn.metrics import log_loss as sklearn_log_loss
from torch import Tensor

from clickflow.metrics.calibration import calibration, log_loss
from clickflow.metrics.headings import LIST_METRICS
from clickflow.metrics.intervals import ConfidenceInterval, intervals
from clickflow.metrics.lists import list_metrics
from clickflow.metrics.ranking import auc, gauc, pr_auc

METRICS = ("auc", "gauc", "pr_auc", "log_loss", "calibration")
rows = st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(-2, 3)), min_size=1, max_size=40)


def user_log(random: int, users: int, rows: int, decimals: int = 7) -> tuple[Tensor, Tensor, Tensor]:
    """Log whose users differ in their click rates and in the quality of their predictions; the predictions know half of the differences."""
    generator = torch.Generator().manual_seed(random)
    group = torch.randint(users, (users * rows,), generator=generator)
    often, well = 0.7 * torch.randn(users, generator=generator), 1 + 0.5 * torch.randn(users, generator=generator)
    signal = torch.randn(len(group), generator=generator)
    target = (torch.rand(len(group), generator=generator) < (well[group] * signal + often[group] - 1).sigmoid()).long()
    return (signal + often[group] / 2 - 1).sigmoid().round(decimals=decimals), target, group


def measured(preds: Tensor, target: Tensor, group: Tensor) -> dict[str, float]:
    values = auc(preds, target), gauc(preds, target, group).value, pr_auc(preds, target), log_loss(preds, target)
    return dict(zip(METRICS, (*values, calibration(preds, target)), strict=True))


@pytest.mark.parametrize("decimals", [7, 1], ids=["few ties", "many ties"])
def test_the_ends_are_those_of_a_bootstrap_over_users(decimals):
    log = user_log(0, users=150, rows=12, decimals=decimals)
    members = [(log[2] == user).nonzero().flatten() for user in log[2].unique()]
    generator, replicates = np.random.default_rng(0), []
    for _ in range(400):
        drawn = generator.integers(len(members), size=len(members))
        index = torch.cat([members[user] for user in drawn])
        as_drawn = torch.cat([torch.full((len(members[user]),), place) for place, user in enumerate(drawn)])
        replicates.append(list(measured(log[0][index], log[1][index], as_drawn).values()))
    ends = np.quantile(replicates, [0.025, 0.975], axis=0).T
    for (name, found), (low, high) in zip(intervals(*log).items(), ends, strict=True):
        assert found == pytest.approx((low, high), abs=0.12 * (high - low)), name


def in_lists(group: Tensor, size: int = 4) -> Tensor:
    """Lists of consecutive rows of one user."""
    order = group.argsort(stable=True)
    place = torch.empty_like(order).scatter_(0, order, torch.arange(len(order)))
    return group * len(order) + place // size


def test_the_ends_within_lists_are_those_of_a_bootstrap_over_users():
    log = user_log(0, users=120, rows=12, decimals=2)
    list_id = in_lists(log[2])
    members = [(log[2] == user).nonzero().flatten() for user in log[2].unique()]
    generator, replicates = np.random.default_rng(0), []
    for _ in range(400):
        drawn = generator.integers(len(members), size=len(members))
        index = torch.cat([members[user] for user in drawn])
        as_drawn = torch.cat([list_id[members[user]] + 10**9 * place for place, user in enumerate(drawn)])
        replicates.append([list_metrics(log[0][index], log[1][index], as_drawn)[name] for name in LIST_METRICS])
    found = intervals(*log, list_id)
    assert tuple(found) == (*METRICS, *LIST_METRICS)
    for name, (low, high) in zip(LIST_METRICS, np.quantile(replicates, [0.025, 0.975], axis=0).T, strict=True):
        assert found[name] == pytest.approx((low, high), abs=0.12 * (high - low)), name
        assert found[name].low < list_metrics(*log[:2], list_id)[name] < found[name].high
    assert {name: found[name] for name in METRICS} == intervals(*log)


def test_users_with_one_list_each_have_the_interval_of_the_gauc():
    log = user_log(1, users=40, rows=10)
    found = intervals(*log, log[2])
    assert found["list_gauc"] == pytest.approx(found["gauc"], abs=1e-6)  # which is in float32


def test_lists_of_several_users_count_as_users_of_their_own():
    preds, target, group = user_log(1, users=40, rows=10)
    lists = torch.arange(len(preds)) // 10
    of_rows = intervals(preds, target, torch.arange(len(preds)), lists)
    mixed = group.clone()
    mixed[::10] = -1  # so that no list is of one user
    assert intervals(preds, target, mixed, lists)["mrr"] == pytest.approx(of_rows["mrr"], abs=1e-12)


def test_every_metric_of_the_metrics_has_an_interval_that_holds_it():
    log = user_log(1, users=40, rows=10)
    found = intervals(*log)
    assert tuple(found) == METRICS
    assert all(found[name].low < value < found[name].high for name, value in measured(*log).items())


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("pr_auc", lambda y, p, w: average_precision_score(y, p, sample_weight=w)),
        ("log_loss", lambda y, p, w: sklearn_log_loss(y, p, sample_weight=w)),
        ("calibration", lambda y, p, w: (w * p).sum() / (w * y).sum()),
    ],
)
def test_the_error_sums_what_scikit_learns_weights_say_of_each_user(name, metric):
    preds, target, group = (column.numpy() for column in user_log(2, users=25, rows=8, decimals=1))
    preds = preds.astype(np.float64)
    weight, step, influences = np.ones(len(preds)), 1e-5, []
    for user in np.unique(group):
        up, down = (weight + sign * step * (group == user) for sign in (1, -1))
        influences.append((metric(target, preds, up) - metric(target, preds, down)) / (2 * step))
    error = math.sqrt(np.square(influences).sum() * len(influences) / (len(influences) - 1))
    value, z = metric(target, preds, weight), NormalDist().inv_cdf(0.975)
    low, high = intervals(*(torch.from_numpy(column) for column in (preds, target, group)))[name]
    if name == "pr_auc":
        width = 2 * z * error / (value * (1 - value))
        assert math.log(high / (1 - high)) - math.log(low / (1 - low)) == pytest.approx(width, rel=1e-5)
    else:
        assert math.log(high / low) == pytest.approx(2 * z * error / value, rel=1e-5)


@pytest.mark.slow
def test_they_cover_the_truth_about_as_often_as_they_say():
    truth = measured(*user_log(10_000, users=40_000, rows=12))
    found = [intervals(*user_log(random, users=60, rows=12)) for random in range(250)]
    for name, value in truth.items():
        covered = np.mean([result[name].low <= value <= result[name].high for result in found])
        assert 0.90 <= covered <= 0.985, f"{name}: {covered}"


@given(rows, st.randoms(use_true_random=False))
def test_the_order_of_rows_is_irrelevant_and_no_end_leaves_what_the_metric_can_be(drawn, random):
    def columns(told):
        preds, target, group = zip(*told, strict=True)
        return torch.tensor(preds) / 4, torch.tensor(target).long(), torch.tensor(group)

    found, shuffled = intervals(*columns(drawn)), intervals(*columns(random.sample(drawn, len(drawn))))
    for name, interval in found.items():
        assert shuffled[name] == pytest.approx(interval, abs=1e-9, nan_ok=True)
        if not math.isnan(interval.low):
            assert 0 <= interval.low <= interval.high
            assert interval.high <= 1 or name in ("log_loss", "calibration")


@pytest.mark.parametrize(
    ("target", "group"), [([], []), ([1, 1], [1, 2]), ([0, 0], [1, 2]), ([1, 0], [3, 3])], ids=["no rows", "clicks", "no click", "one user"]
)
def test_rows_that_do_not_determine_the_error_have_no_interval(target, group):
    found = intervals(torch.full((len(target),), 0.5), torch.tensor(target), torch.tensor(group, dtype=torch.long))
    assert list(found) == list(METRICS)
    assert all(math.isnan(end) for interval in found.values() for end in interval)
    found = intervals(torch.full((len(target),), 0.5), torch.tensor(target), *[torch.tensor(group, dtype=torch.long)] * 2)
    assert list(found) == [*METRICS, *LIST_METRICS]
    assert all(math.isnan(end) for interval in found.values() for end in interval)


def test_a_perfect_order_has_no_interval_of_its_areas():
    found = intervals(torch.tensor([0.9, 0.1, 0.8, 0.2]), torch.tensor([1, 0, 1, 0]), torch.tensor([1, 1, 2, 2]))
    assert all(math.isnan(found[name].low) for name in ("auc", "gauc", "pr_auc"))
    assert found["log_loss"].low < found["log_loss"].high


def test_one_user_with_both_classes_has_no_interval_of_the_gauc():
    found = intervals(torch.tensor([0.9, 0.1, 0.3, 0.8]), torch.tensor([1, 0, 1, 0]), torch.tensor([1, 1, 2, 3]))
    assert math.isnan(found["gauc"].low)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"preds": torch.tensor([0.5, 2.0])}, "preds = 0.5 to 2: must be probabilities"),
        ({"target": torch.tensor([0, 3])}, "target = 3: must be 1"),
        ({"group": torch.tensor([0.0, 1.0])}, "group = torch.float32 of shape"),
    ],
)
def test_bad_input_is_refused(change, message):
    good = {"preds": torch.tensor([0.5, 0.6]), "target": torch.tensor([0, 1]), "group": torch.tensor([0, 1])}
    with pytest.raises(ValueError, match=message):
        intervals(**(good | change))
    assert isinstance(intervals(**good)["auc"], ConfidenceInterval)
