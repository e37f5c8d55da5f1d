"""DeLong's test and the bootstrap over users against their definitions in plain loops, hand-computed cases and simulations."""

import math
import warnings
from statistics import NormalDist, fmean, variance

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from clickflow.metrics import significance
from clickflow.metrics.headings import LIST_METRICS
from clickflow.metrics.lists import list_metrics
from clickflow.metrics.ranking import MetricUndefinedWarning, auc, gauc
from clickflow.metrics.significance import PairedDifference, bootstrap_gauc, bootstrap_lists, delong

# Few users and few distinct predictions, so that ties, one-class users and users of one row are common.
# Two seeds of the model, one of the base.
score = st.integers(0, 4)
rows = st.lists(st.tuples(st.integers(-2, 3), score, score, score, st.booleans()), min_size=1, max_size=40)

# The 43 complete records of the patients of DeLong, DeLong & Clarke-Pearson (1988): albumin, total protein, Krebs-Goplerud score, survival.
OVARIAN_CANCER = """
3.0 5.8 10 0  3.2 6.3 5 1  3.9 6.8 3 1  2.8 4.8 6 0  3.2 5.8 3 1  0.9 4.0 5 0  2.5 5.7 8 0  1.6 5.6 5 1  3.8 5.7 5 1  3.7 6.7 6 1
3.2 5.4 4 1  3.8 6.6 6 1  4.1 6.6 5 1  3.6 5.7 5 1  4.3 7.0 4 1  3.6 6.7 4 0  2.3 4.4 6 1  4.2 7.6 4 0  4.0 6.6 6 0  3.5 5.8 6 1
3.8 6.8 7 1  3.0 4.7 8 0  4.5 7.4 5 1  3.7 7.4 5 1  3.1 6.6 6 1  4.1 8.2 6 1  4.3 7.0 5 1  4.3 6.5 4 1  3.2 5.1 5 1  2.6 4.7 6 1
3.3 6.8 6 0  1.7 4.0 7 0  3.7 6.1 5 1  3.3 6.3 7 1  4.2 7.7 6 1  3.5 6.2 5 1  2.9 5.7 9 0  2.1 4.8 7 1  2.8 6.2 8 0  4.0 7.0 7 1
3.3 5.7 6 1  3.7 6.9 5 1  3.6 6.6 5 1
"""


def columns(drawn: list[tuple[int, int, int, int, bool]]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    group, first, second, base, target = zip(*drawn, strict=True)
    return torch.tensor([first, second]) / 4, torch.tensor([base]) / 4, torch.tensor(target).long(), torch.tensor(group)


def click_log(
    num_rows: int, num_users: int = 40, *, seeds: int = 2, base_seeds: int = 3, decimals: int = 7, better: float = 0.2, random: int = 0
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Predictions that share part of their noise between seeds and models; ``better`` is the model's lead in signal."""
    generator = torch.Generator().manual_seed(random)
    target = (torch.rand(num_rows, generator=generator) < 0.3).long()
    shared = torch.randn(num_rows, generator=generator)

    def predict(count: int, signal: float) -> Tensor:
        logit = signal * target + shared + torch.randn(count, num_rows, generator=generator)
        return logit.sigmoid().round(decimals=decimals)

    return predict(seeds, 1 + better), predict(base_seeds, 1), target, torch.randint(num_users, (num_rows,), generator=generator)


def delong_by_loop(preds: Tensor, base_preds: Tensor, target: Tensor) -> tuple[float, float]:
    """Difference and variance by the definition: each click against each non-click, seed by seed."""
    clicks, non_clicks = target.nonzero().flatten().tolist(), (target == 0).nonzero().flatten().tolist()

    def kernel(row: list[float], click: int, non_click: int) -> float:
        return (row[click] > row[non_click]) + 0.5 * (row[click] == row[non_click])

    def advantage(click: int, non_click: int) -> float:
        of_model = fmean(kernel(row, click, non_click) for row in preds.tolist())
        return of_model - fmean(kernel(row, click, non_click) for row in base_preds.tolist())

    advantages = [[advantage(click, non_click) for non_click in non_clicks] for click in clicks]
    of_clicks = [fmean(row) for row in advantages]
    of_non_clicks = [fmean(column) for column in zip(*advantages, strict=True)]
    return fmean(of_clicks), variance(of_clicks) / len(clicks) + variance(of_non_clicks) / len(non_clicks)


def mean_gauc(preds: Tensor, target: Tensor, group: Tensor) -> float:
    return fmean(gauc(row, target, group).value for row in preds)


def replicates_by_loop(preds: Tensor, base_preds: Tensor, target: Tensor, group: Tensor, num_replicates: int, seed: int) -> list[float]:
    """Sorted differences; the rows of the drawn users are copied, with a new user per draw, and scored by ``gauc``."""
    members = [(group == user).nonzero().flatten() for user in group.unique()]
    members = [index for index in members if 0 < target[index].sum() < len(index)]
    draws = torch.randint(len(members), (num_replicates, len(members)), generator=torch.Generator().manual_seed(seed))
    differences = []
    for draw in draws.tolist():
        index = torch.cat([members[user] for user in draw])
        resampled = target[index], torch.cat([torch.full((len(members[user]),), place) for place, user in enumerate(draw)])
        differences.append(mean_gauc(preds[:, index], *resampled) - mean_gauc(base_preds[:, index], *resampled))
    return sorted(differences)


def quietly(function, *args, **kwargs) -> PairedDifference:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MetricUndefinedWarning)
        return function(*args, **kwargs)


def delong_of_rows(preds: Tensor, base_preds: Tensor, target: Tensor, **choices: float) -> PairedDifference:
    """DeLong's test of independent rows: each is a user of its own."""
    return delong(preds, base_preds, target, torch.arange(len(target)), **choices)


def swapped(result: PairedDifference) -> tuple[float, float, float, float]:
    return -result.difference, -result.high, -result.low, result.p_value


@pytest.mark.parametrize("decimals", [7, 1], ids=["few ties", "many ties"])
@pytest.mark.parametrize(("seeds", "base_seeds"), [(1, 1), (2, 3)])
def test_delong_equals_the_loop_over_all_pairs(decimals, seeds, base_seeds):
    preds, base_preds, target, _ = click_log(150, seeds=seeds, base_seeds=base_seeds, decimals=decimals)
    difference, squared_error = delong_by_loop(preds, base_preds, target)
    error = math.sqrt(squared_error)
    normal = NormalDist(difference, error)
    expected = (difference, normal.inv_cdf(0.025), normal.inv_cdf(0.975), 2 * NormalDist().cdf(-abs(difference) / error))
    assert delong_of_rows(preds, base_preds, target) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=150)
@given(rows)
def test_delong_equals_the_loop_for_any_rows(drawn):
    preds, base_preds, target, _ = columns(drawn)
    result = quietly(delong_of_rows, preds, base_preds, target)
    if not 2 <= target.sum() <= len(target) - 2:
        return
    difference, squared_error = delong_by_loop(preds, base_preds, target)
    assert result.difference == pytest.approx(difference, abs=1e-12)
    if squared_error > 1e-12:
        assert (result.high - result.low) / 2 / 1.959963984540054 == pytest.approx(math.sqrt(squared_error), rel=1e-9)
    else:
        assert math.isnan(result.low) if difference else result == (0, 0, 0, 1)


@pytest.mark.parametrize(
    ("test", "expected"),
    [("albumin", (0.0108, -0.1761, 0.1976, 0.9102)), ("protein", (-0.0780, -0.2830, 0.1271, 0.4561))],
)
def test_delong_gives_the_contrasts_of_the_papers_patients(test, expected):
    albumin, protein, score, survived = torch.tensor([float(number) for number in OVARIAN_CANCER.split()]).view(-1, 4).T / 10
    base = 1 - score  # a high score indicates a bad outcome
    assert [round(auc(column, survived * 10), 4) for column in (albumin, protein, base)] == [0.7366, 0.6478, 0.7258]
    result = delong_of_rows({"albumin": albumin, "protein": protein}[test][None], base[None], survived * 10)
    assert result == pytest.approx(expected, abs=5e-5)


def test_delong_of_a_case_computed_by_hand():
    # Placements of the clicks: model 1, 1 and 3/4 (a tie), base 1, 1/2 and 1/2, so d = 0, 1/2, 1/4: mean 1/4, variance 1/16.
    # Of the non-clicks: model 5/6 and 1, base 1/3 and 1, so d = 1/2, 0: variance 1/8. Together 1/16 / 3 + 1/8 / 2 = 1/12.
    preds = torch.tensor([[0.9, 0.8, 0.5, 0.5, 0.1]])
    base_preds = torch.tensor([[0.9, 0.5, 0.5, 0.8, 0.1]])
    result = delong_of_rows(preds, base_preds, torch.tensor([1, 1, 1, 0, 0]))
    margin = 1.959963984540054 * math.sqrt(1 / 12)
    assert result == pytest.approx((0.25, 0.25 - margin, 0.25 + margin, 0.386476), abs=1e-6)


def test_the_difference_is_that_of_the_metrics_means_over_seeds():
    preds, base_preds, target, group = click_log(400, decimals=2)
    expected = fmean(auc(row, target) for row in preds) - fmean(auc(row, target) for row in base_preds)
    assert delong_of_rows(preds, base_preds, target).difference == pytest.approx(expected, abs=1e-6)
    expected = mean_gauc(preds, target, group) - mean_gauc(base_preds, target, group)
    assert bootstrap_gauc(preds, base_preds, target, group).difference == pytest.approx(expected, abs=1e-12)


def test_averaging_seeds_narrows_the_interval_of_the_auc():
    preds, base_preds, target, _ = click_log(2000, seeds=5, base_seeds=5)
    one, five = delong_of_rows(preds[:1], base_preds[:1], target), delong_of_rows(preds, base_preds, target)
    assert five.high - five.low < 0.7 * (one.high - one.low)


def test_delong_rejects_equal_models_about_as_often_as_it_should():
    p_values = [delong_of_rows(*click_log(150, seeds=1, base_seeds=1, better=0, random=random)[:3]).p_value for random in range(400)]
    assert 0.02 <= np.mean(np.array(p_values) < 0.05) <= 0.09
    assert 0.4 <= np.mean(np.array(p_values) < 0.5) <= 0.6


def test_delong_detects_a_better_model():
    result = delong_of_rows(*click_log(4000, better=0.5)[:3])
    assert 0 < result.low < result.difference < result.high
    assert result.p_value < 1e-6


@pytest.mark.parametrize(("seeds", "base_seeds"), [(1, 1), (2, 3)])
def test_the_bootstrap_equals_rescoring_the_resampled_rows(seeds, base_seeds):
    log = click_log(250, seeds=seeds, base_seeds=base_seeds, decimals=2)
    replicates = replicates_by_loop(*log, num_replicates=80, seed=5)
    count = min(sum(difference <= 0 for difference in replicates), sum(difference >= 0 for difference in replicates))
    assert 0 < count < 40
    result = bootstrap_gauc(*log, num_replicates=80, seed=5)
    assert result[1:] == pytest.approx((replicates[1], replicates[-2], (1 + 2 * count) / 81), abs=1e-12)


def test_the_bootstrap_of_a_case_computed_by_hand():
    # User 1 gains 1 (weight 2), user 2 gains 1/2 (weight 3); user 3 has no click. Drawn two times: 1, 0.7 or 1/2, so never 0 or less.
    preds = torch.tensor([[0.9, 0.1, 0.5, 0.2, 0.3, 0.4]])
    base_preds = torch.tensor([[0.1, 0.9, 0.3, 0.2, 0.5, 0.4]])
    result = bootstrap_gauc(preds, base_preds, torch.tensor([1, 0, 1, 0, 0, 0]), torch.tensor([1, 1, 2, 2, 2, 3]))
    assert result == pytest.approx((0.7, 0.5, 1.0, 1 / 2001), abs=1e-12)


def test_the_bootstrap_is_the_same_for_any_size_of_chunk(monkeypatch):
    log = click_log(400)
    whole = bootstrap_gauc(*log, num_replicates=100)
    monkeypatch.setattr(significance, "_CHUNK_DRAWS", 300)  # 7 replicates
    assert bootstrap_gauc(*log, num_replicates=100) == pytest.approx(whole, abs=1e-12)


def test_the_seed_decides_the_draws():
    log = click_log(400)
    assert bootstrap_gauc(*log, seed=3) == bootstrap_gauc(*log, seed=3)
    assert bootstrap_gauc(*log, seed=3).low != bootstrap_gauc(*log, seed=4).low


def test_the_interval_of_equal_models_covers_zero_about_as_often_as_it_should():
    covered = []
    for random in range(200):
        result = bootstrap_gauc(*click_log(600, 60, seeds=1, base_seeds=1, better=0, random=random), num_replicates=400)
        covered.append(result.low <= 0 <= result.high)
        assert covered[-1] == (result.p_value >= 0.05)
    assert 0.90 <= np.mean(covered) <= 0.985


def test_the_bootstrap_is_as_wide_as_the_spread_over_other_users():
    results = [bootstrap_gauc(*click_log(800, 80, random=random), num_replicates=400) for random in range(100)]
    spread = np.std([result.difference for result in results])
    assert np.mean([result.high - result.low for result in results]) == pytest.approx(2 * 1.96 * spread, rel=0.2)


def user_log(random: int, *, users: int = 50, rows: int = 20) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Models that are equally good on average but differ for each user: signal 1 with a standard deviation of 1."""
    generator = torch.Generator().manual_seed(random)
    group = torch.arange(users * rows) // rows
    target = torch.arange(users * rows) % 2

    def predict() -> Tensor:
        signal = 1 + torch.randn(users, generator=generator)
        return (signal[group] * target + torch.randn(len(group), generator=generator)).sigmoid()[None]

    return predict(), predict(), target, group


def test_only_clustered_tests_account_for_dependent_rows_of_a_user():
    logs = [user_log(random) for random in range(150)]
    assert np.mean([delong_of_rows(*log[:3]).p_value < 0.05 for log in logs]) > 0.15
    assert 0.01 <= np.mean([delong(*log).p_value < 0.05 for log in logs]) <= 0.10
    assert 0.01 <= np.mean([bootstrap_gauc(*log, num_replicates=400).p_value < 0.05 for log in logs]) <= 0.10


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_the_clustered_interval_covers_as_often_as_it_says_and_the_plain_one_does_not(alpha):
    # The two models differ by chance alone, so the true difference of their AUCs is 0.
    logs = [user_log(random, users=40, rows=12) for random in range(300)]
    plain = [delong_of_rows(*log[:3], alpha=alpha) for log in logs]
    by_user = [delong(*log, alpha=alpha) for log in logs]
    covered, covered_plain = (np.mean([result.low <= 0 <= result.high for result in results]) for results in (by_user, plain))
    assert abs(covered - (1 - alpha)) <= 0.035 + alpha / 10  # three binomial standard errors
    assert covered_plain < covered - 0.05
    assert [result.p_value < alpha for result in by_user] == [not result.low <= 0 <= result.high for result in by_user]


def test_the_clustered_error_is_that_of_a_bootstrap_over_users():
    preds, base_preds, target, group = user_log(3, users=60, rows=15)
    result = delong(preds, base_preds, target, group=group)
    generator = np.random.default_rng(0)
    members = [(group == user).nonzero().flatten() for user in group.unique()]
    differences = []
    for _ in range(400):
        index = torch.cat([members[user] for user in generator.integers(len(members), size=len(members))])
        differences.append(auc(preds[0, index], target[index]) - auc(base_preds[0, index], target[index]))
    assert (result.high - result.low) / 2 / 1.96 == pytest.approx(np.std(differences), rel=0.12)


def test_if_each_row_is_a_user_the_clustered_test_is_the_plain_one():
    preds, base_preds, target, _ = click_log(300)
    users = torch.randperm(300) - 100
    assert delong(preds, base_preds, target, group=users) == pytest.approx(delong_of_rows(preds, base_preds, target), abs=1e-12)


def test_a_smaller_alpha_gives_a_wider_interval_and_the_same_p_value():
    preds, base_preds, target, group = click_log(600)
    for narrow, wide in (
        (delong_of_rows(preds, base_preds, target, alpha=0.1), delong_of_rows(preds, base_preds, target, alpha=0.01)),
        (bootstrap_gauc(preds, base_preds, target, group, alpha=0.1), bootstrap_gauc(preds, base_preds, target, group, alpha=0.01)),
    ):
        assert wide.low < narrow.low < narrow.high < wide.high
        assert wide.p_value == narrow.p_value


@pytest.mark.parametrize("alpha", [0, 1, -0.1, math.nan])
def test_an_alpha_that_is_not_a_probability_is_refused(alpha):
    with pytest.raises(ValueError, match=r"alpha = .*: must be in \(0, 1\), as 0\.05 for a 95 % interval"):
        delong_of_rows(*click_log(30)[:3], alpha=alpha)
    with pytest.raises(ValueError, match=r"alpha = .*: must be in \(0, 1\)"):
        bootstrap_gauc(*click_log(30), alpha=alpha)


@pytest.mark.parametrize("num_replicates", [40, 400, 2000])
def test_the_p_value_is_below_5_percent_exactly_where_the_interval_leaves_out_zero(num_replicates):
    leaves_out = []
    for random in range(40):
        result = bootstrap_gauc(*click_log(300, better=0.4, random=random), num_replicates=num_replicates)
        leaves_out.append(not result.low <= 0 <= result.high)
        assert leaves_out[-1] == (result.p_value < 0.05)
    assert 0 < sum(leaves_out) < 40


@given(rows)
def test_swapping_the_models_flips_every_sign(drawn):
    preds, base_preds, target, group = columns(drawn)
    for function, args, of in (
        (delong_of_rows, (target,), {}),
        (delong, (target,), {"group": group}),
        (bootstrap_gauc, (target, group), {}),
    ):
        forward, backward = quietly(function, preds, base_preds, *args, **of), quietly(function, base_preds, preds, *args, **of)
        assert swapped(backward) == pytest.approx(forward, abs=0, nan_ok=True)


@given(rows, st.randoms(use_true_random=False))
def test_the_order_of_rows_is_irrelevant(drawn, random):
    shuffled, drawn = columns(random.sample(drawn, len(drawn))), columns(drawn)
    assert quietly(delong_of_rows, *shuffled[:3]) == pytest.approx(quietly(delong_of_rows, *drawn[:3]), abs=1e-12, nan_ok=True)
    shuffled_by_user, by_user = (quietly(delong, *log) for log in (shuffled, drawn))
    assert shuffled_by_user == pytest.approx(by_user, abs=1e-12, nan_ok=True)
    assert quietly(bootstrap_gauc, *shuffled) == pytest.approx(quietly(bootstrap_gauc, *drawn), abs=0, nan_ok=True)


@given(rows)
def test_the_numbers_keep_their_order_and_their_bounds(drawn):
    preds, base_preds, target, group = columns(drawn)
    by_user = quietly(delong, preds, base_preds, target, group=group)
    for result in (quietly(delong_of_rows, preds, base_preds, target), by_user, quietly(bootstrap_gauc, preds, base_preds, target, group)):
        assert math.isnan(result.difference) or -1 <= result.difference <= 1
        assert math.isnan(result.p_value) or (result.low <= result.high and 0 < result.p_value <= 1)


@pytest.mark.parametrize("factor", [1.0, 0.5], ids=["equal predictions", "equal order"])
def test_models_that_order_alike_do_not_differ(factor):
    preds, _, target, group = click_log(300, seeds=3, decimals=2)
    assert delong_of_rows(preds, factor * preds.flip(0), target) == PairedDifference(0, 0, 0, 1)
    assert bootstrap_gauc(preds, factor * preds.flip(0), target, group) == PairedDifference(0, 0, 0, 1)
    # The numbers of seeds may differ: a row counts the same in the mean over one seed as in that over three.
    assert delong_of_rows(preds[:1], preds[:1].expand(3, -1), target) == PairedDifference(0, 0, 0, 1)


@pytest.mark.parametrize("target", [[], [1], [0, 0]], ids=["no rows", "one row", "one class"])
def test_rows_of_one_class_have_no_difference(target):
    preds, group = torch.full((2, len(target)), 0.5), torch.zeros(len(target), dtype=torch.long)
    with pytest.warns(MetricUndefinedWarning, match=r"delong: undefined, (there are no rows|all \d targets are \d); the value is NaN"):
        assert all(math.isnan(value) for value in delong_of_rows(preds, preds, torch.tensor(target)))
    with pytest.warns(MetricUndefinedWarning, match="bootstrap_gauc: undefined, no user has both a click and a non-click"):
        assert all(math.isnan(value) for value in bootstrap_gauc(preds, preds, torch.tensor(target), group))


def test_users_of_one_class_have_no_difference_of_the_gauc():
    preds, target = torch.tensor([[0.9, 0.1, 0.8]]), torch.tensor([1, 0, 1])
    with pytest.warns(MetricUndefinedWarning, match="no user has both"):
        assert math.isnan(bootstrap_gauc(preds, preds, target, torch.tensor([1, 2, 1])).p_value)


def test_a_difference_that_does_not_vary_has_no_interval():
    preds, target = torch.tensor([[0.9, 0.8, 0.2, 0.1]]), torch.tensor([1, 1, 0, 0])
    with pytest.warns(
        MetricUndefinedWarning, match="delong, interval: undefined, the differences of 2 clicks and 2 non-clicks of 4 users do not vary"
    ):
        result = delong_of_rows(preds, 1 - preds, target)
    assert result == pytest.approx((1.0, math.nan, math.nan, math.nan), nan_ok=True)
    with pytest.warns(MetricUndefinedWarning, match="bootstrap_gauc, interval: undefined, all 2 users have the same difference"):
        result = bootstrap_gauc(preds, 1 - preds, target, torch.tensor([5, 6, 6, 5]))
    assert result == pytest.approx((1.0, math.nan, math.nan, math.nan), nan_ok=True)


def test_users_of_different_size_that_gain_a_third_alike_have_no_interval():
    # One of three seeds orders differently from the base: 1/3 for users of 1 and of 6 pairs, and rounding must not separate them.
    target, group = torch.tensor([1, 0, 1, 1, 1, 0, 0]), torch.tensor([1, 1, 2, 2, 2, 2, 2])
    right = target / 2 + 0.25
    with pytest.warns(MetricUndefinedWarning, match="all 2 users have the same difference"):
        result = bootstrap_gauc(torch.stack([right, 1 - right, 1 - right]), 1 - right[None], target, group)
    assert result == pytest.approx((1 / 3, math.nan, math.nan, math.nan), nan_ok=True)


def test_a_single_click_or_a_single_user_has_a_difference_but_no_interval():
    preds, base_preds = torch.tensor([[0.9, 0.8, 0.2]]), torch.tensor([[0.5, 0.8, 0.2]])
    with pytest.warns(MetricUndefinedWarning, match="differences of 1 clicks and 2 non-clicks of 3 users do not vary"):
        result = delong_of_rows(preds, base_preds, torch.tensor([1, 0, 0]))
    assert result == pytest.approx((0.5, math.nan, math.nan, math.nan), nan_ok=True)
    with pytest.warns(MetricUndefinedWarning, match="all 1 users have the same difference"):
        result = bootstrap_gauc(preds, base_preds, torch.tensor([1, 0, 0]), torch.tensor([7, 7, 7]))
    assert result == pytest.approx((0.5, math.nan, math.nan, math.nan), nan_ok=True)


@pytest.mark.parametrize(
    ("preds", "base_preds", "target", "message"),
    [
        ([0.5, 0.6], [[0.5, 0.6]], [0, 1], r"^preds = shape \(2,\): must be \(seeds, rows\), a row of probabilities for each seed"),
        ([[0.5, 0.6]], [0.5, 0.6], [0, 1], r"^base_preds = shape \(2,\): must be \(seeds, rows\)"),
        ([[[0.5, 0.6]]], [[0.5, 0.6]], [0, 1], r"^preds = shape \(1, 1, 2\): must be \(seeds, rows\)"),
        ([], [[0.5, 0.6]], [0, 1], r"^preds = shape \(0,\): must be \(seeds, rows\)"),
        ([[0.5, 0.6]], [[0.5, 0.6, 0.7]], [0, 1], r"^target = shape \(2,\): must be that of base_preds\[0\], \(3,\)"),
        ([[0.5, 0.6]], [[0.5, 0.6]], [0, 1, 1], r"^target = shape \(3,\): must be that of preds\[0\], \(2,\)"),
        ([[0.5, 0.6], [0.5, 2.0]], [[0.5, 0.6]], [0, 1], r"^preds\[1\] = 0\.5 to 2: must be probabilities in \[0, 1\]"),
        ([[0.5, 0.6]], [[0.5, math.nan]], [0, 1], r"^base_preds\[0\] = NaN in 1 of 2 rows: must be probabilities"),
        ([[1, 0]], [[0.5, 0.6]], [0, 1], r"^preds\[0\] = torch\.int64 of shape \(2,\): must be a column of probabilities"),
        ([[0.5, 0.6]], [[0.5, 0.6]], [0, 2], r"^target = 2: must be 1 \(click\) or 0 \(no click\)"),
    ],
)
def test_predictions_that_are_not_paired_are_refused(preds, base_preds, target, message):
    args = torch.tensor(preds), torch.tensor(base_preds), torch.tensor(target)
    with pytest.raises(ValueError, match=message):
        delong_of_rows(*args)
    with pytest.raises(ValueError, match=message):
        bootstrap_gauc(*args, torch.zeros(len(target), dtype=torch.long))


@pytest.mark.parametrize("group", [torch.tensor([1]), torch.tensor([1.0, 2.0])])
def test_a_group_that_is_not_an_integer_column_beside_the_predictions_is_refused(group):
    preds = torch.tensor([[0.5, 0.6]])
    with pytest.raises(ValueError, match=r"group = torch\.\w+ of shape .*: must be an integer column of shape \(2,\)"):
        bootstrap_gauc(preds, preds, torch.tensor([0, 1]), group)
    with pytest.raises(ValueError, match=r"group = torch\.\w+ of shape .*: must be an integer column of shape \(2,\)"):
        delong(preds, preds, torch.tensor([0, 1]), group=group)


def test_a_single_user_has_a_difference_of_the_auc_but_no_interval():
    preds, base_preds, target, _ = click_log(40)
    with pytest.warns(MetricUndefinedWarning, match=r"delong, interval: undefined, .* non-clicks of 1 users do not vary"):
        result = delong(preds, base_preds, target, group=torch.zeros(40, dtype=torch.long))
    assert result == pytest.approx((delong_of_rows(preds, base_preds, target).difference, math.nan, math.nan, math.nan), nan_ok=True)


def test_too_few_replicates_for_the_tails_are_refused():
    with pytest.raises(ValueError, match=r"num_replicates = 39: must be at least 40, for tails of 2\.5 %"):
        bootstrap_gauc(*click_log(30), num_replicates=39)
    with pytest.raises(ValueError, match=r"num_replicates = 199: must be at least 200, for tails of 0\.5 %"):
        bootstrap_gauc(*click_log(30), num_replicates=199, alpha=0.01)


def in_lists(group: Tensor, size: int = 4) -> Tensor:
    """Lists of consecutive rows of one user, but for the first two, which users share, and rows of user 0, which are in none."""
    order = group.argsort(stable=True)
    place = torch.empty_like(order).scatter_(0, order, torch.arange(len(order)))
    list_id = torch.where(group == 0, -1, group * len(order) + place // size)
    list_id[torch.arange(8)] = torch.arange(8) // 4
    return list_id


def mean_of_lists(metric: str, preds: Tensor, target: Tensor, list_id: Tensor) -> float:
    return fmean(list_metrics(row, target, list_id)[metric] for row in preds)


def list_replicates_by_loop(
    metric: str, preds: Tensor, base_preds: Tensor, target: Tensor, group: Tensor, list_id: Tensor, num_replicates: int, seed: int
) -> list[float]:
    """Sorted differences; the lists of the drawn users are copied, and measured as new lists."""
    clusters: dict[tuple[int, int], list[Tensor]] = {}
    for one in sorted(set(list_id.tolist()) - {-1}):
        index = (list_id == one).nonzero().flatten()
        users = set(group[index].tolist())
        if 0 < target[index].sum() < len(index):
            clusters.setdefault((1, one) if len(users) > 1 else (0, users.pop()), []).append(index)
    assert {kind for kind, _ in clusters} == {0, 1}
    assert max(map(len, clusters.values())) > 1
    members = [clusters[key] for key in sorted(clusters)]
    draws = torch.randint(len(members), (num_replicates, len(members)), generator=torch.Generator().manual_seed(seed))
    differences = []
    for draw in draws.tolist():
        drawn = [index for cluster in draw for index in members[cluster]]
        index = torch.cat(drawn)
        resampled = target[index], torch.repeat_interleave(torch.tensor([len(rows) for rows in drawn]))
        differences.append(mean_of_lists(metric, preds[:, index], *resampled) - mean_of_lists(metric, base_preds[:, index], *resampled))
    return sorted(differences)


@pytest.mark.parametrize("metric", LIST_METRICS)
def test_the_bootstrap_of_lists_equals_measuring_the_lists_of_the_drawn_users_again(metric):
    log = (*(columns := click_log(160, num_users=12, decimals=2)), in_lists(columns[3]))
    replicates = list_replicates_by_loop(metric, *log, num_replicates=80, seed=5)
    count = min(sum(difference <= 0 for difference in replicates), sum(difference >= 0 for difference in replicates))
    result = bootstrap_lists(metric, *log, num_replicates=80, seed=5)
    preds, base_preds, target, _, list_id = log
    expected = mean_of_lists(metric, preds, target, list_id) - mean_of_lists(metric, base_preds, target, list_id)
    assert result == pytest.approx((expected, replicates[1], replicates[-2], (1 + 2 * count) / 81), abs=1e-10)


def test_lists_of_a_user_each_in_one_list_give_the_bootstrap_of_gauc():
    preds, base_preds, target, group = click_log(400, decimals=2)
    found = bootstrap_lists("list_gauc", preds, base_preds, target, group, group)
    assert found == pytest.approx(bootstrap_gauc(preds, base_preds, target, group), abs=1e-10)


@pytest.mark.parametrize("metric", LIST_METRICS)
def test_the_bootstrap_of_lists_flips_its_sign_with_the_models_and_is_0_for_equal_ones(metric):
    preds, base_preds, target, group = click_log(400, seeds=2, base_seeds=2)
    list_id = in_lists(group)
    result = bootstrap_lists(metric, preds, base_preds, target, group, list_id)
    assert bootstrap_lists(metric, base_preds, preds, target, group, list_id) == pytest.approx(swapped(result), abs=1e-12)
    assert bootstrap_lists(metric, preds, preds, target, group, list_id) == (0, 0, 0, 1)
    assert bootstrap_lists(metric, preds**2, preds, target, group, list_id) == (0, 0, 0, 1)  # the order is the same


def test_the_bootstrap_of_lists_rejects_equal_models_about_as_often_as_it_should():
    p_values = []
    for random in range(200):
        preds, base_preds, target, group = click_log(600, seeds=1, base_seeds=1, better=0, random=random)
        p_values.append(bootstrap_lists("mrr", preds, base_preds, target, group, in_lists(group), num_replicates=400).p_value)
    assert 0.01 <= np.mean(np.array(p_values) < 0.05) <= 0.1
    assert 0.4 <= np.mean(np.array(p_values) < 0.5) <= 0.6


def test_lists_that_do_not_determine_a_difference_are_nan_with_a_warning():
    preds, base_preds, target, group = torch.tensor([[0.9, 0.2]]), torch.tensor([[0.1, 0.2]]), torch.tensor([1, 0]), torch.tensor([3, 3])
    with pytest.warns(MetricUndefinedWarning, match="bootstrap_lists, interval: undefined, all 1 users have the same difference"):
        found = bootstrap_lists("mrr", preds, base_preds, target, group, torch.tensor([0, 0]))
    assert found.difference == 0.5
    assert math.isnan(found.low)
    with pytest.warns(MetricUndefinedWarning, match="bootstrap_lists: undefined, no list has both a click and a non-click"):
        assert math.isnan(bootstrap_lists("mrr", preds, base_preds, target, group, torch.tensor([0, -1])).difference)
    with pytest.raises(ValueError, match="num_replicates = 9: must be at least 40"):
        bootstrap_lists("mrr", preds, base_preds, target, group, group, num_replicates=9)
    with pytest.raises(ValueError, match=r"list_id = torch\.float32 of shape"):
        bootstrap_lists("mrr", preds, base_preds, target, group, group.float())
