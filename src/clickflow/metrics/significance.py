"""Is a model better than its base on these test rows? DeLong's test for AUC, and a bootstrap over users for GAUC.

Both are paired: the two models score the same rows, so what makes the rows hard or easy for both cancels. Each model may have been trained
with several seeds; what is compared is the mean over seeds of its metric. The interval is about the sampling of the test rows, given the
trained models: other rows (AUC) or other users (GAUC) of the same kind. It does not include the variation between seeds, which a table
shows beside it as a standard deviation.

Decision: GAUC is resampled by user, because a user's impressions are no independent rows. DeLong's test does take the rows as independent;
where a user's impressions share what one model gets right, its interval is too narrow, and the bootstrap's is the one to trust.

Seeds are summed as integers (twice a placement, twice a U), so equal models differ by exactly 0 and swapping the models flips every sign.
"""

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import NamedTuple

import torch
from torch import Tensor

from clickflow.metrics.ranking import check_group, check_inputs, differs_from_previous, one_class, segments, undefined, user_statistics

_TAIL = 0.025  # beyond either end of a 95 % interval
_FEWEST_REPLICATES = 40  # below, no replicate lies in the tail
_CHUNK_DRAWS = 2**19  # users drawn at once, 8 bytes each


class PairedDifference(NamedTuple):
    """How much a model's metric, the mean over its seeds, lies above its base's on the same rows.

    Attributes:
        difference: metric of the model less that of the base, in [-1, 1]; NaN where the rows cannot define the metric.
        low: lower end of the 95 % interval.
        high: upper end of the 95 % interval. Both ends and ``p_value`` are NaN where the rows cannot tell how sure the difference is.
        p_value: two-sided, of the hypothesis that there is no difference.
    """

    difference: float
    low: float
    high: float
    p_value: float


_NO_DIFFERENCE = PairedDifference(0.0, 0.0, 0.0, 1.0)


def delong(preds: Tensor, base_preds: Tensor, target: Tensor) -> PairedDifference:
    """DeLong's paired test for the difference of two AUCs (DeLong, DeLong & Clarke-Pearson 1988), in O(S B log B).

    A click's placement is the share of the non-clicks scored below it, a non-click's that of the clicks scored above it, ties one half; the
    AUC is the mean placement of either class. With d the difference of the models' placements, m clicks and n non-clicks, the variance of
    the AUCs' difference is var(d of the clicks) / m + var(d of the non-clicks) / n. The AUC is linear in the placements, so placements
    averaged over seeds make this exact for the mean AUC. The interval and the p-value are the normal distribution's; ``low`` and ``high``
    are not cut at -1 and 1.

    Args:
        preds: (S, B) click probabilities of the model, a row for each seed.
        base_preds: (S', B) those of the base model.
        target: (B,) 1 click, 0 no click.

    Raises:
        ValueError: predictions are no (seeds, rows) of probabilities, or ``target`` is no column of 0 and 1 beside them.

    Warns:
        MetricUndefinedWarning: without a click or without a non-click, and all is NaN; or the placements' differences do not vary (as with
            a single click), and only ``difference`` is a number.

    The model places one of two clicks above one non-click more than the base does:

    >>> target = torch.tensor([1, 1, 0, 0])
    >>> result = delong(torch.tensor([[0.9, 0.6, 0.5, 0.2]]), torch.tensor([[0.9, 0.4, 0.5, 0.2]]), target)
    >>> [round(value, 4) for value in result]
    [0.25, -0.443, 0.943, 0.4795]
    """
    preds, base_preds, click = _check(preds, base_preds, target)
    if reason := one_class(click):
        return PairedDifference(*[undefined("delong", reason)] * 4)
    difference = _difference(preds, base_preds, lambda column: _twice_placements(column, click))  # (B,)
    if not difference.any():
        return _NO_DIFFERENCE
    unit = 2 * len(preds) * len(base_preds)
    of_clicks, of_non_clicks = difference[click], difference[~click]
    clicks, non_clicks = len(of_clicks), len(of_non_clicks)
    mean = int(of_clicks.sum()) / (unit * clicks * non_clicks)
    variance = _variance_of_mean(of_clicks.double() / (unit * non_clicks)) + _variance_of_mean(of_non_clicks.double() / (unit * clicks))
    if not variance > 0:
        reason = f"the differences of {clicks:,} clicks and {non_clicks:,} non-clicks do not vary"
        return PairedDifference(mean, *[undefined("delong, interval", reason)] * 3)
    error = math.sqrt(variance)
    margin = NormalDist().inv_cdf(1 - _TAIL) * error
    return PairedDifference(mean, mean - margin, mean + margin, math.erfc(abs(mean) / error / math.sqrt(2)))


def bootstrap_gauc(
    preds: Tensor, base_preds: Tensor, target: Tensor, group: Tensor, *, num_replicates: int = 2000, seed: int = 0
) -> PairedDifference:
    """Paired bootstrap over users for the difference of two GAUCs (Efron & Tibshirani 1993; users are the clusters).

    GAUC is the mean of the users' AUC weighted by impressions, users of one class left out, as in
    :func:`~clickflow.metrics.ranking.gauc`. A replicate draws as many of the users that count, with replacement, and takes for both models
    the GAUC of the drawn. No row is scored again: each user's difference, averaged over seeds, is weighed by how often it was drawn.

    The interval runs from the 2.5 % to the 97.5 % percentile of the replicates' differences. With c the number of replicates at or below 0,
    or of those at or above 0 where that is less, the p-value is (1 + 2 c) / (1 + replicates), at most 1: it is below 0.05 exactly where the
    interval leaves out 0 (with a multiple of 40 replicates, such as the 2,000) and never 0.

    Args:
        preds: (S, B) click probabilities of the model, a row for each seed.
        base_preds: (S', B) those of the base model.
        target: (B,) 1 click, 0 no click.
        group: (B,) integer, the user of each impression; any values, in any order.
        num_replicates: resamples of the users, at least 40.
        seed: of the draws; the order of the rows does not matter to them.

    Raises:
        ValueError: as in :func:`delong`; ``group`` is no integer column beside the predictions; or too few replicates.

    Warns:
        MetricUndefinedWarning: no user has both a click and a non-click, and all is NaN; or the difference is the same for every user (as
            with a single user), and only ``difference`` is a number.
    """
    preds, base_preds, click = _check(preds, base_preds, target)
    check_group(group, preds[0])
    if num_replicates < _FEWEST_REPLICATES:
        raise ValueError(f"num_replicates = {num_replicates}: must be at least {_FEWEST_REPLICATES}, for tails of 2.5 %")
    impressions, clicks, _ = user_statistics(preds[0], click, group)
    pairs = clicks * (impressions - clicks)  # (U,) pairs of a click and a non-click
    both = pairs > 0
    if not both.any():
        return PairedDifference(*[undefined("bootstrap_gauc", "no user has both a click and a non-click")] * 4)
    difference = _difference(preds, base_preds, lambda column: user_statistics(column, click, group)[2])[both]  # (users that count,)
    if not difference.any():
        return _NO_DIFFERENCE
    difference = difference.double() / (2 * len(preds) * len(base_preds) * pairs[both])
    weight = impressions[both].double()
    mean = float((difference * weight).sum() / weight.sum())
    if bool((difference == difference[0]).all()):
        return PairedDifference(mean, *[undefined("bootstrap_gauc, interval", f"all {len(weight):,} users have the same difference")] * 3)
    replicates = _resampled_means(difference.cpu(), weight.cpu(), num_replicates, torch.Generator().manual_seed(seed)).sort().values
    tail = int(_TAIL * (num_replicates - 1))
    count = 2 * min(int((replicates <= 0).sum()), int((replicates >= 0).sum()))
    p_value = min(1.0, (1 + count) / (1 + num_replicates))
    return PairedDifference(mean, float(replicates[tail]), float(replicates[-1 - tail]), p_value)


def _check(preds: Tensor, base_preds: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Predictions (S, B) and (S', B) as float32 or float64 and the targets (B,) as bool; a ValueError where they are anything else."""
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
    """Mean over seeds of an int64 statistic of a column, the model's less the base's, times S S', which keeps it an exact int64."""
    total = torch.stack([statistic(column) for column in preds]).sum(0)
    base_total = torch.stack([statistic(column) for column in base_preds]).sum(0)
    return total * len(base_preds) - base_total * len(preds)


def _twice_placements(preds: Tensor, click: Tensor) -> Tensor:
    """(B,) int64: twice the non-clicks below each click, twice the clicks above each non-click, ties one half.

    The non-clicks below a click are its midrank among all rows less that among the clicks, which Sun & Xu (2014) get from three sorts.
    A running count of the non-clicks gives them from one.
    """
    order = preds.argsort()
    start, end, tie = segments(differs_from_previous(preds[order]))
    before = torch.cat([start.new_zeros(1), (~click[order]).cumsum(0)])  # (B + 1,) non-clicks before each place in the order
    non_clicks_below = before[start] + before[end]  # (ties,) twice their number
    clicks_above = 2 * int(click.sum()) - (start + end - non_clicks_below)
    placements = torch.empty_like(tie)
    placements[order] = torch.where(click[order], non_clicks_below[tie], clicks_above[tie])
    return placements


def _variance_of_mean(values: Tensor) -> float:
    """Unbiased variance of the mean of independent (N,) values; NaN for a single one, and exactly 0 where they are equal."""
    return float((values - values[0]).var()) / len(values) if len(values) > 1 else math.nan


def _resampled_means(values: Tensor, weight: Tensor, num_replicates: int, generator: torch.Generator) -> Tensor:
    """Weighted means (R,) of as many draws with replacement from ``values`` (U,) as there are, weighted by ``weight`` (U,).

    The counts of the draws are multinomial; memory is a chunk's, not that of (R, U) counts.
    """
    users, sums = len(values), []
    columns = torch.stack([values * weight, weight], dim=1)  # (U, 2)
    chunk = max(1, _CHUNK_DRAWS // users)
    for first in range(0, num_replicates, chunk):
        size = min(chunk, num_replicates - first)
        drawn = torch.randint(users, (size, users), generator=generator)
        cells = drawn + users * torch.arange(size).unsqueeze(1)  # a row of counts for each replicate
        counts = torch.bincount(cells.flatten(), minlength=cells.numel()).view(cells.shape)
        sums.append(counts.double() @ columns)
    weighted, total = torch.cat(sums).unbind(1)
    return weighted / total
