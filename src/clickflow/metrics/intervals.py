"""How sure a model's metrics are: their intervals over the sampling of users.

The users of the test split are one draw of many that could have been made, and a user's impressions are no independent rows. A metric's
variance is taken over users: Obuchowski's (1997) for AUC, and for the others the infinitesimal jackknife (Jaeckel 1972; Efron 1982), the
limit of the bootstrap over users: the sum of the squares of what each user's weight adds to the metric.

Decision: no resampling. Weighing users again changes every precision of the precision-recall curve, so a bootstrap of average precision
costs a pass over all rows for each replicate; the jackknife costs one in all, needs no seed, and its ends lie on the bootstrap's (tests).

Intervals are made on a scale without ends, the logit of areas and the logarithm of losses and ratios, so that none reaches beyond what the
metric can be.
"""

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import NamedTuple

import torch
from torch import Tensor

from clickflow.metrics.calibration import row_losses
from clickflow.metrics.placements import auc_variance, twice_placements
from clickflow.metrics.ranking import check_alpha, check_group, check_inputs, differs_from_previous, segments, user_statistics


class ConfidenceInterval(NamedTuple):
    """Where a metric lies with probability 1 - alpha; both ends are NaN where the rows cannot tell.

    Attributes:
        low: lower end.
        high: upper end.
    """

    low: float
    high: float


def intervals(preds: Tensor, target: Tensor, group: Tensor, *, alpha: float = 0.05) -> dict[str, ConfidenceInterval]:
    """Intervals of ``auc``, ``gauc``, ``pr_auc``, ``log_loss`` and ``calibration``, in O(B log B).

    No warning where an interval is NaN: whoever measures the metric itself is warned there.

    Args:
        preds: (B,) click probabilities.
        target: (B,) 1 click, 0 no click.
        group: (B,) integer, the user of each impression; any values, in any order.
        alpha: in (0, 1), the chance of an interval to miss.

    Raises:
        ValueError: ``preds`` are no probabilities, ``target`` or ``group`` do not fit them, or ``alpha`` is no probability.
    """
    check_alpha(alpha)
    preds, click = check_inputs(preds, target)
    check_group(group, preds)
    users, user = torch.unique(group, return_inverse=True)
    if len(users) < 2 or bool((click == click[0]).all()):
        return dict.fromkeys(("auc", "gauc", "pr_auc", "log_loss", "calibration"), ConfidenceInterval(math.nan, math.nan))

    def of_users(rows: Tensor) -> Tensor:
        return torch.zeros(len(users), dtype=torch.float64, device=rows.device).index_add_(0, user, rows.double())

    impressions, clicks, twice_u = user_statistics(preds, click, user)
    pairs = clicks * (impressions - clicks)
    weight = torch.where(pairs > 0, impressions, 0)  # what a user of one class has in the GAUC
    found = {
        "auc": logit_interval(*auc_and_error(preds, click, user, torch.zeros_like(users)), alpha),
        "gauc": logit_interval(*_ratio(weight * twice_u / (2 * pairs.clamp(min=1)), weight), alpha),
        "pr_auc": logit_interval(*_average_precision(preds, click, of_users), alpha),
        "log_loss": _log_interval(*_ratio(of_users(row_losses(preds, click)), impressions), alpha),
        "calibration": _log_interval(*_ratio(of_users(preds), clicks), alpha),
    }
    return {name: ConfidenceInterval(float(low), float(high)) for name, (low, high) in found.items()}


def auc_and_error(preds: Tensor, click: Tensor, cluster: Tensor, stratum: Tensor) -> tuple[Tensor, Tensor]:
    """AUC of each of K strata and its standard error, with the clusters of :func:`~clickflow.metrics.placements.auc_variance`.

    Args:
        preds: (B,) click probabilities.
        click: (B,) bool.
        cluster: (B,) 0 ... C - 1, the cluster of each row.
        stratum: (C,) 0 ... K - 1, the stratum of each cluster, all of them there.

    Returns:
        (K,) and (K,) float64, NaN where a stratum cannot tell.
    """
    of_row = stratum[cluster]
    rows = torch.bincount(of_row)
    clicks = torch.bincount(of_row[click], minlength=len(rows))
    others = torch.where(click, rows[of_row] - clicks[of_row], clicks[of_row])
    placements = twice_placements(preds, click, of_row).double() / (2 * others)
    value = torch.zeros_like(rows, dtype=torch.float64).index_add_(0, of_row[click], placements[click]) / clicks
    return value, auc_variance(placements, click, cluster, stratum).sqrt()


def logit_interval(value: Tensor, error: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Ends of the interval of an area, normal on the logit's scale; NaN where the error is 0 or NaN."""
    margin = _margin(error / (value * (1 - value)), alpha)
    return torch.sigmoid(torch.logit(value) - margin), torch.sigmoid(torch.logit(value) + margin)


def _log_interval(value: Tensor, error: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    margin = _margin(error / value, alpha)
    return value * torch.exp(-margin), value * torch.exp(margin)


def _margin(error: Tensor, alpha: float) -> Tensor:
    return torch.where(error > 0, NormalDist().inv_cdf(1 - alpha / 2) * error, math.nan)


def _ratio(numerator: Tensor, denominator: Tensor) -> tuple[Tensor, Tensor]:
    """Ratio of the sums of users' (U,) numerators and denominators, and its standard error."""
    value = numerator.sum(dtype=torch.float64) / denominator.sum()
    counts = (numerator != 0) | (denominator != 0)
    return value, _jackknife_error((numerator - value * denominator)[counts] / denominator.sum())


def _average_precision(preds: Tensor, click: Tensor, of_users: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Average precision and its standard error.

    With P the precision down to a row's score and N the rows down to it, a row's weight changes the metric by (P - metric) / clicks if it
    is a click, and changes the precision at each click scored like it or below by (click - P) / N, with that click's P and N.
    """
    order = preds.argsort(descending=True)
    is_click = click[order].double()
    start, end, tie = segments(differs_from_previous(preds[order]))
    down_to = torch.cat([is_click.new_zeros(1), is_click.cumsum(0)])
    precision, clicks = down_to[end] / end, down_to[end] - down_to[start]  # (ties,)
    value = (clicks * precision).sum() / down_to[-1]

    def from_here_down(values: Tensor) -> Tensor:
        return values.flip(0).cumsum(0).flip(0)[tie]

    change = torch.empty_like(is_click)
    change[order] = is_click * (precision[tie] - value + from_here_down(clicks / end)) - from_here_down(clicks * precision / end)
    return value, _jackknife_error(of_users(change / down_to[-1]))


def _jackknife_error(influence: Tensor) -> Tensor:
    """Standard error from what the weight of each user (U,) adds to a metric; NaN for a single user."""
    users = len(influence)
    variance = (influence**2).sum() * users / (users - 1) if users > 1 else influence.new_full((), math.nan)
    return variance.sqrt()
