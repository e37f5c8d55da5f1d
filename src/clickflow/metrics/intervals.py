"""Confidence intervals of a model's metrics over the sampling of users.

The users of the test split are one draw of many that could have been made, and the impressions of one user are not independent rows. A
metric's variance is taken over users: Obuchowski's (1997) for AUC, and for the others the infinitesimal jackknife (Jaeckel 1972; Efron
1982), the limit of the bootstrap over users: the sum of the squared contributions of each user's weight to the metric.

Decision: no resampling. Reweighting users changes every precision of the precision-recall curve, so a bootstrap of average precision
costs one pass over all rows per replicate; the jackknife costs one pass in all and needs no seed, and its ends agree with the bootstrap's
(tests).

Intervals are computed on an unbounded scale, the logit for areas and the logarithm for losses and ratios, so that no end is outside the
metric's range.
"""

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import NamedTuple

import torch
from torch import Tensor

from clickflow.metrics.calibration import row_losses
from clickflow.metrics.headings import LIST_METRICS
from clickflow.metrics.lists import list_scores
from clickflow.metrics.placements import auc_variance, twice_placements
from clickflow.metrics.ranking import check_group, check_inputs, differs_from_previous, segments, user_statistics


class ConfidenceInterval(NamedTuple):
    """95 % interval of a metric; both ends are NaN if the rows do not determine it."""

    low: float
    high: float


def intervals(preds: Tensor, target: Tensor, group: Tensor, list_id: Tensor | None = None) -> dict[str, ConfidenceInterval]:
    """Intervals of ``auc``, ``gauc``, ``pr_auc``, ``log_loss`` and ``calibration``, in O(B log B).

    Rows with lists also have those of the metrics within lists; a list of several users counts as a user of its own. Inputs and errors are
    those of :mod:`~clickflow.metrics.ranking`. An interval that is NaN gives no warning: measuring the metric itself gives one.
    """
    preds, click = check_inputs(preds, target)
    check_group(group, preds)
    of_lists = {} if list_id is None else _of_lists(preds, click, group, list_id)
    users, user = torch.unique(group, return_inverse=True)
    if len(users) < 2 or bool((click == click[0]).all()):
        names = ("auc", "gauc", "pr_auc", "log_loss", "calibration", *of_lists)
        return dict.fromkeys(names, ConfidenceInterval(math.nan, math.nan))

    def of_users(rows: Tensor) -> Tensor:
        return torch.zeros(len(users), dtype=torch.float64, device=rows.device).index_add_(0, user, rows.double())

    impressions, clicks, twice_u = user_statistics(preds, click, user)
    pairs = clicks * (impressions - clicks)
    weight = torch.where(pairs > 0, impressions, 0)  # a user of one class has no weight in the GAUC
    found = {
        "auc": logit_interval(*auc_and_error(preds, click, user, torch.zeros_like(users))),
        "gauc": logit_interval(*_ratio(weight * twice_u / (2 * pairs.clamp(min=1)), weight)),
        "pr_auc": logit_interval(*_average_precision(preds, click, of_users)),
        "log_loss": _log_interval(*_ratio(of_users(row_losses(preds, click)), impressions)),
        "calibration": _log_interval(*_ratio(of_users(preds), clicks)),
        **of_lists,
    }
    return {name: ConfidenceInterval(float(low), float(high)) for name, (low, high) in found.items()}


def _of_lists(preds: Tensor, click: Tensor, group: Tensor, list_id: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Ends of the intervals of the metrics within lists."""
    scores = list_scores(preds, click, group, list_id)
    numerator, denominator = (scores.of_clusters(column) for column in (scores.values * scores.weight, scores.weight))
    return {name: logit_interval(*_ratio(*columns)) for name, *columns in zip(LIST_METRICS, numerator, denominator, strict=True)}


def auc_and_error(preds: Tensor, click: Tensor, cluster: Tensor, stratum: Tensor) -> tuple[Tensor, Tensor]:
    """AUC (K,) of each of K strata and its standard error (K,), NaN for a stratum that does not determine them.

    Rows, clusters and strata are those of :func:`~clickflow.metrics.placements.auc_variance`.
    """
    of_row = stratum[cluster]
    rows = torch.bincount(of_row)
    clicks = torch.bincount(of_row[click], minlength=len(rows))
    others = torch.where(click, rows[of_row] - clicks[of_row], clicks[of_row])
    placements = twice_placements(preds, click, of_row).double() / (2 * others)
    value = torch.zeros_like(rows, dtype=torch.float64).index_add_(0, of_row[click], placements[click]) / clicks
    return value, auc_variance(placements, click, cluster, stratum).sqrt()


def logit_interval(value: Tensor, error: Tensor) -> tuple[Tensor, Tensor]:
    """Ends of the 95 % interval of an area, normal on the logit scale; NaN if the error is 0 or NaN."""
    margin = _margin(error / (value * (1 - value)))
    return torch.sigmoid(torch.logit(value) - margin), torch.sigmoid(torch.logit(value) + margin)


def _log_interval(value: Tensor, error: Tensor) -> tuple[Tensor, Tensor]:
    margin = _margin(error / value)
    return value * torch.exp(-margin), value * torch.exp(margin)


def _margin(error: Tensor) -> Tensor:
    return torch.where(error > 0, NormalDist().inv_cdf(0.975) * error, math.nan)


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
    """Standard error from the contribution (U,) of each user's weight to a metric; NaN for a single user."""
    users = len(influence)
    variance = (influence**2).sum() * users / (users - 1) if users > 1 else influence.new_full((), math.nan)
    return variance.sqrt()
