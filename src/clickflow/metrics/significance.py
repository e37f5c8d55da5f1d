"""Is a model better than its base on these test rows? DeLong's test for AUC, and a bootstrap over users for GAUC.

Both are paired: the two models score the same rows, so the difficulty that they share cancels. Each model may have been trained with
several seeds; the means over seeds are compared. The interval covers the sampling of the test rows, given the trained models: other rows
(AUC) or other users (GAUC) of the same kind. It leaves out the variation between seeds, which tables show beside it as a standard
deviation.

Decision: both treat users, not rows, as the sampling unit, because the impressions of one user are not independent. Given ``group``,
DeLong's variance is Obuchowski's for clustered rows. Without it the rows are taken as independent, and the interval is too narrow if the
impressions of a user are right or wrong together.

Seeds are summed as integers (twice a placement, twice a U), so equal models differ by exactly 0 and swapping the models flips every sign.
"""

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import NamedTuple

import torch
from torch import Tensor

from clickflow.metrics.placements import auc_variance, twice_placements
from clickflow.metrics.ranking import check_alpha, check_group, check_inputs, one_class, undefined, user_statistics

_CHUNK_DRAWS = 2**19  # users drawn at once, 8 bytes each


class PairedDifference(NamedTuple):
    """Difference of a model's metric and its base's on the same rows, each averaged over seeds.

    Attributes:
        difference: metric of the model minus that of the base, in [-1, 1]; NaN if the rows cannot define the metric.
        low: lower end of the 1 - alpha interval.
        high: upper end of the 1 - alpha interval. Both ends and ``p_value`` are NaN if the rows do not determine its error.
        p_value: two-sided, of the hypothesis that there is no difference.
    """

    difference: float
    low: float
    high: float
    p_value: float


NO_DIFFERENCE = PairedDifference(0.0, 0.0, 0.0, 1.0)


def delong(preds: Tensor, base_preds: Tensor, target: Tensor, *, group: Tensor | None = None, alpha: float = 0.05) -> PairedDifference:
    """DeLong's paired test for the difference of two AUCs (DeLong, DeLong & Clarke-Pearson 1988), in O(S B log B).

    A click's placement is the share of the non-clicks scored below it, a non-click's that of the clicks scored above it, ties one half; the
    AUC is the mean placement of either class. With d the difference of the models' placements, m clicks and n non-clicks, the variance of
    the AUCs' difference is var(d of the clicks) / m + var(d of the non-clicks) / n; with ``group`` it is the variance over users of
    :func:`~clickflow.metrics.placements.auc_variance`. The AUC is linear in the placements, so placements averaged over seeds make this
    exact for the mean AUC. The interval and the p-value are the normal distribution's; ``low`` and ``high`` are not cut at -1 and 1.

    Args:
        preds: (S, B) click probabilities of the model, one row per seed.
        base_preds: (S', B) those of the base model.
        target: (B,) 1 click, 0 no click.
        group: (B,) integer, the user of each impression, any values; None if the rows are independent.
        alpha: in (0, 1), the probability that the interval misses.

    Raises:
        ValueError: predictions are not (seeds, rows) of probabilities, ``target`` is not a column of 0 and 1 or ``group`` not an
            integer column of that length, or ``alpha`` is not in (0, 1).

    Warns:
        MetricUndefinedWarning: without a click or without a non-click, and all is NaN; or the placements' differences do not vary (as with
            a single click, or a single user), and only ``difference`` is a number.

    The model places one of two clicks above one non-click more than the base does:

    >>> target = torch.tensor([1, 1, 0, 0])
    >>> result = delong(torch.tensor([[0.9, 0.6, 0.5, 0.2]]), torch.tensor([[0.9, 0.4, 0.5, 0.2]]), target)
    >>> [round(value, 4) for value in result]
    [0.25, -0.443, 0.943, 0.4795]
    """
    preds, base_preds, click = _check(preds, base_preds, target)
    check_alpha(alpha)
    if group is not None:
        check_group(group, preds[0])
    if reason := one_class(click):
        return PairedDifference(*[undefined("delong", reason)] * 4)
    difference = _difference(preds, base_preds, lambda column: twice_placements(column, click))  # (B,)
    if not difference.any():
        return NO_DIFFERENCE
    clicks = int(click.sum())
    non_clicks, unit = len(click) - clicks, 2 * len(preds) * len(base_preds)
    mean = int(difference[click].sum()) / (unit * clicks * non_clicks)
    placements = difference.double() / (unit * torch.where(click, non_clicks, clicks))
    cluster, stratum = _clusters(group, len(click))
    variance = float(auc_variance(placements, click, cluster, stratum))
    if not variance > 0:
        users = "" if group is None else f" of {len(stratum):,} users"
        reason = f"the differences of {clicks:,} clicks and {non_clicks:,} non-clicks{users} do not vary"
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

    Args:
        preds: (S, B) click probabilities of the model, one row per seed.
        base_preds: (S', B) those of the base model.
        target: (B,) 1 click, 0 no click.
        group: (B,) integer, the user of each impression; any values, in any order.
        num_replicates: resamples of the users, at least 2 / alpha: with fewer no replicate is in the tail.
        seed: seed of the draws, which do not depend on the order of the rows.
        alpha: in (0, 1), the probability that the interval misses.

    Raises:
        ValueError: as in :func:`delong`, or too few replicates.

    Warns:
        MetricUndefinedWarning: no user has both a click and a non-click, and all is NaN; or the difference is the same for every user (as
            with a single user), and only ``difference`` is a number.
    """
    preds, base_preds, click = _check(preds, base_preds, target)
    check_group(group, preds[0])
    check_alpha(alpha)
    if num_replicates * alpha < 2:
        raise ValueError(f"num_replicates = {num_replicates}: must be at least {math.ceil(2 / alpha)}, for tails of {50 * alpha:g} %")
    impressions, clicks, _ = user_statistics(preds[0], click, group)
    pairs = clicks * (impressions - clicks)  # (U,) pairs of a click and a non-click
    both = pairs > 0
    if not both.any():
        return PairedDifference(*[undefined("bootstrap_gauc", "no user has both a click and a non-click")] * 4)
    difference = _difference(preds, base_preds, lambda column: user_statistics(column, click, group)[2])[both]  # (users that count,)
    if not difference.any():
        return NO_DIFFERENCE
    difference = difference.double() / (2 * len(preds) * len(base_preds) * pairs[both])
    weight = impressions[both].double()
    mean = float((difference * weight).sum() / weight.sum())
    if bool((difference == difference[0]).all()):
        return PairedDifference(mean, *[undefined("bootstrap_gauc, interval", f"all {len(weight):,} users have the same difference")] * 3)
    replicates = _resampled_means(difference.cpu(), weight.cpu(), num_replicates, torch.Generator().manual_seed(seed)).sort().values
    tail = int(alpha / 2 * (num_replicates - 1))
    count = 2 * min(int((replicates <= 0).sum()), int((replicates >= 0).sum()))
    p_value = min(1.0, (1 + count) / (1 + num_replicates))
    return PairedDifference(mean, float(replicates[tail]), float(replicates[-1 - tail]), p_value)


def _check(preds: Tensor, base_preds: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Predictions (S, B) and (S', B) as float32 or float64 and the targets (B,) as bool; a ValueError if they are anything else."""
    checked = []
    click = target
    for name, columns in (("preds", preds), ("base_preds", base_preds)):
        if columns.ndim != 2 or not len(columns):
            raise ValueError(f"{name} = shape {tuple(columns.shape)}: must be (seeds, rows), a row of probabilities for each seed")
        inputs = [check_inputs(column, target, f"{name}[{seed}]") for seed, column in enumerate(columns)]
        checked.append(torch.stack([column for column, _ in inputs]))
        click = inputs[0][1]
    return checked[0], checked[1], click


def _difference(preds: Tensor, base_preds: Tensor, statistic: Callable[[Tensor], Tensor]) -> Tensor:
    """Mean over seeds of an int64 statistic of a column, the model's minus the base's, times S S', which keeps it an exact int64."""
    total = torch.stack([statistic(column) for column in preds]).sum(0)
    base_total = torch.stack([statistic(column) for column in base_preds]).sum(0)
    return total * len(base_preds) - base_total * len(preds)


def _clusters(group: Tensor | None, num_rows: int) -> tuple[Tensor, Tensor]:
    """Clusters and strata for ``auc_variance``: users if there are groups, otherwise single rows; one stratum."""
    if group is None:
        return torch.arange(num_rows), torch.zeros(num_rows, dtype=torch.int64)
    users, cluster = torch.unique(group, return_inverse=True)
    return cluster, torch.zeros_like(users, dtype=torch.int64)


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
