"""Tests of whether a model is better than its base on the same test rows: DeLong's for AUC, a bootstrap over users for the others.

Both are paired: the two models score the same rows, so the difficulty that they share cancels. Each model may have been trained with
several seeds; the means over seeds are compared. The interval covers the sampling of the test rows, given the trained models: other rows
(AUC) or other users (GAUC) of the same kind. It leaves out the variation between seeds, which tables show beside it as a standard
deviation.

Decision: both treat users, not rows, as the sampling unit, because the impressions of one user are not independent: DeLong's variance is
Obuchowski's for clustered rows. With one user per row it is DeLong's own, which is too small if the impressions of a user are right or
wrong together.

Seeds are summed as integers (twice a placement, twice a U), so equal models differ by exactly 0 and swapping the models flips every sign.
"""

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import NamedTuple

import torch
from torch import Tensor

from clickflow.metrics.headings import LIST_METRICS
from clickflow.metrics.lists import list_scores
from clickflow.metrics.placements import auc_variance, twice_placements
from clickflow.metrics.ranking import check_group, check_inputs, one_class, undefined, user_statistics

_CHUNK_DRAWS = 2**19  # users drawn at once, 8 bytes each


class PairedDifference(NamedTuple):
    """Metric of a model minus that of its base on the same rows, each averaged over seeds, with its 1 - alpha interval.

    ``difference`` is NaN if the rows cannot define the metric, the other numbers also if the rows do not determine its error. The p-value
    is two-sided, of the hypothesis that there is no difference.
    """

    difference: float
    low: float
    high: float
    p_value: float


NO_DIFFERENCE = PairedDifference(0.0, 0.0, 0.0, 1.0)


def delong(preds: Tensor, base_preds: Tensor, target: Tensor, group: Tensor, *, alpha: float = 0.05) -> PairedDifference:
    """DeLong's paired test for the difference of two AUCs (DeLong, DeLong & Clarke-Pearson 1988), in O(S B log B).

    The variance is that of :func:`~clickflow.metrics.placements.auc_variance`, of the differences of the models' placements. The AUC is
    linear in the placements, so placements averaged over seeds make this exact for the mean AUC. The interval and the p-value are the
    normal distribution's; ``low`` and ``high`` are not cut at -1 and 1.

    Args:
        preds: (S, B) click probabilities of the model, one row per seed.
        base_preds: (S', B) those of the base model.
        target: (B,) 1 click, 0 no click.
        group: (B,) integer, the user of each impression; its own number for each row if the rows are independent.
        alpha: in (0, 1), the probability that the interval misses.

    Raises:
        ValueError: an argument is not as described.

    Warns:
        MetricUndefinedWarning: without a click or without a non-click, and all is NaN; or the placements' differences do not vary (as with
            a single click, or a single user), and only ``difference`` is a number.

    The model places one of two clicks above one non-click more than the base does:

    >>> target = torch.tensor([1, 1, 0, 0])
    >>> result = delong(torch.tensor([[0.9, 0.6, 0.5, 0.2]]), torch.tensor([[0.9, 0.4, 0.5, 0.2]]), target, torch.arange(4))
    >>> [round(value, 4) for value in result]
    [0.25, -0.443, 0.943, 0.4795]
    """
    preds, base_preds, click = _check(preds, base_preds, target, group, alpha)
    if reason := one_class(click):
        return PairedDifference(*[undefined("delong", reason)] * 4)
    difference = _difference(preds, base_preds, lambda column: twice_placements(column, click))  # (B,)
    if not difference.any():
        return NO_DIFFERENCE
    clicks = int(click.sum())
    non_clicks, unit = len(click) - clicks, 2 * len(preds) * len(base_preds)
    mean = int(difference[click].sum()) / (unit * clicks * non_clicks)
    placements = difference.double() / (unit * torch.where(click, non_clicks, clicks))
    users, cluster = torch.unique(group, return_inverse=True)
    variance = float(auc_variance(placements, click, cluster, torch.zeros_like(users, dtype=torch.int64)))
    if not variance > 0:
        reason = f"the differences of {clicks:,} clicks and {non_clicks:,} non-clicks of {len(users):,} users do not vary"
        return PairedDifference(mean, *[undefined("delong, interval", reason)] * 3)
    error = math.sqrt(variance)
    margin = NormalDist().inv_cdf(1 - alpha / 2) * error
    return PairedDifference(mean, mean - margin, mean + margin, math.erfc(abs(mean) / error / math.sqrt(2)))


def bootstrap_gauc(
    preds: Tensor, base_preds: Tensor, target: Tensor, group: Tensor, *, num_replicates: int = 2000, seed: int = 0, alpha: float = 0.05
) -> PairedDifference:
    """Paired bootstrap over users for the difference of two GAUCs (Efron & Tibshirani 1993; users are the clusters).

    GAUC is the mean of the users' AUC weighted by impressions, users of one class left out, as in
    :func:`~clickflow.metrics.ranking.gauc`. A replicate draws with replacement as many users as count, and computes the GAUC of the drawn
    users for both models. No row is scored again: each user's difference, averaged over seeds, is weighted by how often the user was drawn.

    The interval runs from the alpha / 2 to the 1 - alpha / 2 quantile of the replicates' differences. With c the number of replicates at or
    below 0, or of those at or above 0 if they are fewer, the p-value is (1 + 2 c) / (1 + replicates), at most 1. It is never 0, and below
    alpha exactly when the interval excludes 0 (if alpha / 2 is a whole number of replicates, as with 0.05 of the 2,000).

    The other arguments are those of :func:`delong`; there must be at least 2 / alpha replicates, since with fewer none is in the tail. The
    draws do not depend on the order of the rows.

    Warns:
        MetricUndefinedWarning: no user has both a click and a non-click, and all is NaN; or the difference is the same for every user (as
            with a single user), and only ``difference`` is a number.
    """
    preds, base_preds, click = _check(preds, base_preds, target, group, alpha)
    _check_replicates(num_replicates, alpha)
    impressions, clicks, _ = user_statistics(preds[0], click, group)
    pairs = clicks * (impressions - clicks)  # (U,) pairs of a click and a non-click
    both = pairs > 0
    if not both.any():
        return PairedDifference(*[undefined("bootstrap_gauc", "no user has both a click and a non-click")] * 4)
    difference = _difference(preds, base_preds, lambda column: user_statistics(column, click, group)[2])[both]  # (users that count,)
    if not difference.any():
        return NO_DIFFERENCE
    difference = difference.double() / (2 * len(preds) * len(base_preds) * pairs[both])
    return _bootstrap("bootstrap_gauc", difference, impressions[both].double(), num_replicates, alpha, seed)


def bootstrap_lists(
    metric: str,
    preds: Tensor,
    base_preds: Tensor,
    target: Tensor,
    group: Tensor,
    list_id: Tensor,
    *,
    num_replicates: int = 2_000,
    alpha: float = 0.05,
    seed: int = 0,
) -> PairedDifference:
    """Paired bootstrap over users for the difference of two means over lists.

    ``metric`` is one of :data:`~clickflow.metrics.headings.LIST_METRICS`. A drawn user brings all lists that count; a list of several users
    is drawn by itself. ``list_id`` is (B,) integer, negative for a row in no list; the rest is as in :func:`bootstrap_gauc`.
    """
    preds, base_preds, click = _check(preds, base_preds, target, group, alpha)
    check_group(list_id, target, "list_id")
    _check_replicates(num_replicates, alpha)
    place = LIST_METRICS.index(metric)
    scores = list_scores(preds[0], click, group, list_id)
    if not len(scores.cluster):
        return PairedDifference(*[undefined("bootstrap_lists", "no list has both a click and a non-click")] * 4)
    difference = _difference(preds, base_preds, lambda column: list_scores(column, click, group, list_id).values[place])
    if not difference.any():
        return NO_DIFFERENCE
    weight = scores.weight[place]
    gained, weight = scores.of_clusters(torch.stack([difference / (len(preds) * len(base_preds)) * weight, weight]))
    return _bootstrap("bootstrap_lists", gained / weight, weight, num_replicates, alpha, seed)


def _bootstrap(test: str, difference: Tensor, weight: Tensor, num_replicates: int, alpha: float, seed: int) -> PairedDifference:
    """Interval of the mean difference (U,) of users, weighted (U,) float64, from draws of users with replacement."""
    mean = float((difference * weight).sum() / weight.sum())
    if bool((difference == difference[0]).all()):
        return PairedDifference(mean, *[undefined(f"{test}, interval", f"all {len(weight):,} users have the same difference")] * 3)
    replicates = _resampled_means(difference.cpu(), weight.cpu(), num_replicates, torch.Generator().manual_seed(seed)).sort().values
    tail = int(alpha / 2 * (num_replicates - 1))
    count = 2 * min(int((replicates <= 0).sum()), int((replicates >= 0).sum()))
    p_value = min(1.0, (1 + count) / (1 + num_replicates))
    return PairedDifference(mean, float(replicates[tail]), float(replicates[-1 - tail]), p_value)


def _check_replicates(num_replicates: int, alpha: float) -> None:
    if num_replicates * alpha < 2:
        raise ValueError(f"num_replicates = {num_replicates}: must be at least {math.ceil(2 / alpha)}, for tails of {50 * alpha:g} %")


def _check(preds: Tensor, base_preds: Tensor, target: Tensor, group: Tensor, alpha: float) -> tuple[Tensor, Tensor, Tensor]:
    """Predictions (S, B) and (S', B) as float32 or float64 and the targets (B,) as bool; a ValueError if an argument is anything else."""
    if not 0 < alpha < 1:
        raise ValueError(f"alpha = {alpha}: must be in (0, 1), as 0.05 for a 95 % interval")
    checked = []
    click = target
    for name, columns in (("preds", preds), ("base_preds", base_preds)):
        if columns.ndim != 2 or not len(columns):
            raise ValueError(f"{name} = shape {tuple(columns.shape)}: must be (seeds, rows), a row of probabilities for each seed")
        inputs = [check_inputs(column, target, f"{name}[{seed}]") for seed, column in enumerate(columns)]
        checked.append(torch.stack([column for column, _ in inputs]))
        click = inputs[0][1]
    check_group(group, target)
    return checked[0], checked[1], click


def _difference(preds: Tensor, base_preds: Tensor, statistic: Callable[[Tensor], Tensor]) -> Tensor:
    """Mean over seeds of a statistic of a column, the model's minus the base's, times S S', which keeps integers exact."""
    total = torch.stack([statistic(column) for column in preds]).sum(0)
    base_total = torch.stack([statistic(column) for column in base_preds]).sum(0)
    return total * len(base_preds) - base_total * len(preds)


def _resampled_means(values: Tensor, weight: Tensor, num_replicates: int, generator: torch.Generator) -> Tensor:
    """Weighted means (R,) of as many draws with replacement from ``values`` (U,) as there are, weighted by ``weight`` (U,).

    The counts of the draws are multinomial; memory grows with a chunk, not with (R, U) counts.
    """
    users, sums = len(values), []
    columns = torch.stack([values * weight, weight], dim=1)  # (U, 2)
    chunk = max(1, _CHUNK_DRAWS // users)
    for first in range(0, num_replicates, chunk):
        size = min(chunk, num_replicates - first)
        drawn = torch.randint(users, (size, users), generator=generator)
        cells = drawn + users * torch.arange(size).unsqueeze(1)  # one row of counts per replicate
        counts = torch.bincount(cells.flatten(), minlength=cells.numel()).view(cells.shape)
        sums.append(counts.double() @ columns)
    weighted, total = torch.cat(sums).unbind(1)
    return weighted / total
