"""Placements: each row's own part in an AUC, and from them the AUC's variance, for independent and for clustered rows.

A click's placement is the share of the non-clicks scored below it, a non-click's that of the clicks scored above it, ties one half; the AUC
is the mean placement of either class (DeLong, DeLong & Clarke-Pearson 1988). Everything is done for several strata at once, each with an
AUC of its own, because a table of slices needs thousands of them and a sort for each would be quadratic.

Decision: one formula for both variances, Obuchowski's (1997) for clusters. With one cluster per row it is DeLong's.
"""

import torch
from torch import Tensor

from clickflow.metrics.ranking import differs_from_previous, segments

_NOISE = 1e-10  # a standard error this small relative to the placements is a 0 with rounding errors


def twice_placements(preds: Tensor, click: Tensor, stratum: Tensor | None = None) -> Tensor:
    """Twice the number of non-clicks below each click and of clicks above each non-click, ties one half, within each stratum.

    The non-clicks below a click are its midrank among all rows minus that among the clicks, which Sun & Xu (2014) get from three sorts.
    A running count of the non-clicks gives them from one.

    ``preds`` (B,), ``click`` (B,) bool and ``stratum`` (B,) integer, None for a single one -> (B,) int64.
    """
    order = preds.argsort()
    is_first = torch.zeros_like(click)
    is_first[:1] = True
    if stratum is not None:
        order = order[stratum[order].argsort(stable=True)]
        is_first = differs_from_previous(stratum[order])
    start, end, tie = segments(is_first | differs_from_previous(preds[order]))
    first, last, place = segments(is_first)
    before = torch.cat([start.new_zeros(1), (~click[order]).cumsum(0)])  # (B + 1,) non-clicks before each place in the order
    of_tie = place[start]  # (ties,) place of each tie's stratum
    non_clicks_below = before[start] + before[end] - 2 * before[first][of_tie]  # twice their number
    clicks = (last - first) - (before[last] - before[first])  # of each stratum
    clicks_above = 2 * clicks[of_tie] - (start + end - 2 * first[of_tie] - non_clicks_below)
    placements = torch.empty_like(tie)
    placements[order] = torch.where(click[order], non_clicks_below[tie], clicks_above[tie])
    return placements


def auc_variance(placements: Tensor, click: Tensor, cluster: Tensor, stratum: Tensor) -> Tensor:
    """Variance of the mean placement of each of K strata if rows of one cluster may depend on each other (Obuchowski 1997).

    With a the sum over a cluster's clicks of the placements' deviations from their mean, divided by the number of clicks, b that of its
    non-clicks, and I10, I01 and I the numbers of clusters with clicks, with non-clicks and in all: I10 / (I10 - 1) sum a² + I01 / (I01 - 1)
    sum b² + 2 I / (I - 1) sum a b.

    Args:
        placements: (B,) float64, as shares of the opposite class; or differences of such shares between two models.
        click: (B,) bool.
        cluster: (B,) 0 ... C - 1, the cluster of each row; no cluster spans several strata.
        stratum: (C,) 0 ... K - 1, the stratum of each cluster; every stratum occurs.

    Returns:
        (K,) float64; NaN if fewer than two clusters have clicks, or non-clicks; exactly 0 if the clusters do not differ.
    """
    strata, device = int(stratum.max()) + 1, placements.device

    def total(values: Tensor, index: Tensor, size: int = strata) -> Tensor:
        return torch.zeros(size, dtype=torch.float64, device=device).index_add_(0, index, values.double())

    def widened(clusters: Tensor, squares: Tensor) -> Tensor:
        return torch.where(clusters > 1, clusters / (clusters - 1) * squares, torch.nan)

    clusters = total(torch.ones_like(stratum), stratum)
    parts, noise, variance = [], torch.zeros_like(clusters), torch.zeros_like(clusters)
    for side in (click, ~click):
        values, cluster_of_rows = placements[side], cluster[side]
        of_rows = stratum[cluster_of_rows]
        count = total(torch.ones_like(values), of_rows)
        noise += _NOISE * total(values.abs(), of_rows) / count
        deviations = values - (total(values, of_rows) / count)[of_rows]
        parts.append(total(deviations / count[of_rows], cluster_of_rows, len(stratum)))
        having = total(torch.zeros_like(stratum).index_fill_(0, cluster_of_rows, 1), stratum)  # clusters with such rows
        variance += widened(having, total(parts[-1] ** 2, stratum))
    variance += 2 * widened(clusters, total(parts[0] * parts[1], stratum))
    return torch.where(variance <= noise**2, 0.0, variance)


def clustered(user: Tensor, stratum: Tensor) -> tuple[Tensor, Tensor]:
    """Cluster (B,) of each row and stratum (C,) of each cluster for :func:`auc_variance`: a cluster is a user (B,) in a stratum (B,)."""
    width = int(user.max()) + 1 if len(user) else 1
    keys, cluster = torch.unique(stratum * width + user, return_inverse=True)
    return cluster, keys // width
