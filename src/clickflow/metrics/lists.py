"""Order within lists, such as the items of one request: AUC, MRR and NDCG@k.

Lists without a click or without a non-click are skipped and counted, as :func:`~clickflow.metrics.ranking.gauc` does with users: no order
of them is better than another. The definitions are those of torchmetrics' ``RetrievalMRR`` and ``RetrievalNormalizedDCG``.

Decision: ties count by expectation over their orders, also in MRR, where torchmetrics takes the order in memory: a model that predicts one
value for all rows must not depend on the order of a file.

Decision: no torchmetrics here. It loops over lists; this is one sort and sums over segments.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from clickflow.metrics.headings import LIST_METRICS
from clickflow.metrics.ranking import check_group, check_inputs, differs_from_previous, segments, undefined

CUTOFFS = (5, 10)
"""The k of NDCG@k."""
_DECIMALS = 12  # of each list's metrics: beyond these are rounding errors, and orders that are equally good must be equal


class ListScores(NamedTuple):
    """The metrics of each of the L lists that hold both a click and a non-click; M metrics in the order of ``LIST_METRICS``.

    Attributes:
        values: (M, L) float64.
        weight: (M, L) float64, the weight of each list in the mean: its rows in ``list_gauc``, 1 in the others.
        cluster: (L,) int64, 0 ... C - 1: lists of one user share a cluster; a list of several users is one of its own.
        skipped: number of lists that hold clicks only, or non-clicks only.
    """

    values: Tensor
    weight: Tensor
    cluster: Tensor
    skipped: int

    def of_clusters(self, columns: Tensor) -> Tensor:
        """(M, L) columns -> (M, C) their sums over the lists of each cluster."""
        num_clusters = int(self.cluster.max()) + 1 if len(self.cluster) else 0
        return columns.new_zeros(len(columns), num_clusters).index_add_(1, self.cluster, columns)


def list_metrics(preds: Tensor, target: Tensor, list_id: Tensor) -> dict[str, float]:
    """``list_gauc``, ``mrr``, ``ndcg_5`` and ``ndcg_10``, the means over lists, and ``lists_skipped``.

    ``list_gauc`` is the mean of the lists' AUC weighted by their rows; in the others all lists weigh the same. ``list_id`` is (B,) integer,
    negative for a row in no list; the rest is as in :func:`~clickflow.metrics.ranking.gauc`.

    In list 7 the click is second of two; in list 8 it is tied with a non-click, so the expected reciprocal rank is (1 + 1/2) / 2:

    >>> found = list_metrics(torch.tensor([0.9, 0.2, 0.5, 0.5]), torch.tensor([0, 1, 1, 0]), torch.tensor([7, 7, 8, 8]))
    >>> {name: round(value, 4) for name, value in found.items()}
    {'list_gauc': 0.25, 'mrr': 0.625, 'ndcg_5': 0.7232, 'ndcg_10': 0.7232, 'lists_skipped': 0.0}
    """
    preds, click = check_inputs(preds, target)
    check_group(list_id, preds, "list_id")
    scores = list_scores(preds, click, list_id, list_id)
    if not scores.values.shape[1]:
        reason = f"none of the {scores.skipped:,} lists has both a click and a non-click" if scores.skipped else "no row is in a list"
        means = dict.fromkeys(LIST_METRICS, undefined(", ".join(LIST_METRICS), reason))
    else:
        means = dict(zip(LIST_METRICS, ((scores.values * scores.weight).sum(1) / scores.weight.sum(1)).tolist(), strict=True))
    return means | {"lists_skipped": float(scores.skipped)}


def list_scores(preds: Tensor, click: Tensor, group: Tensor, list_id: Tensor) -> ListScores:
    """Measure each list.

    Args:
        preds: (B,) click probabilities.
        click: (B,) bool.
        group: (B,) integer, the user of each row.
        list_id: (B,) integer, the list of each row, negative for none.
    """
    order = preds.argsort(descending=True)
    order = order[list_id[order].argsort(stable=True)]  # by list, and within a list by prediction, the highest first
    order = order[int((list_id < 0).sum()) :]
    is_first = differs_from_previous(list_id[order])
    start, end, of_row = segments(is_first)
    tie_start, tie_end, _ = segments(is_first | differs_from_previous(preds[order]))
    of_tie = of_row[tie_start]  # (ties,) list of each run of ties
    clicks_before = torch.cat([start.new_zeros(1), click[order].cumsum(0)])  # (rows in lists + 1,)
    rows, clicks = end - start, clicks_before[end] - clicks_before[start]  # (lists,)
    ties = _Ties(
        above=tie_start - start[of_tie],
        rows=tie_end - tie_start,
        clicks=clicks_before[tie_end] - clicks_before[tie_start],
        of=of_tie,
    )
    clicks_down_to = clicks_before[tie_end] - clicks_before[start[of_tie]]
    non_clicks_below = rows[of_tie] - clicks[of_tie] - (ties.above + ties.rows - clicks_down_to)
    twice_u = ties.total(ties.clicks * (2 * non_clicks_below + ties.rows - ties.clicks), rows)
    both = (clicks > 0) & (clicks < rows)
    pairs = clicks * (rows - clicks)
    values = torch.stack(
        [twice_u.double() / (2 * pairs), _reciprocal_rank(ties, rows), *(_normalised_dcg(ties, clicks, k) for k in CUTOFFS)]
    )
    weight = torch.ones_like(values)
    weight[0] = rows
    cluster = _clusters(group[order].long(), of_row, len(rows))
    cluster = torch.unique(cluster[both], return_inverse=True)[1]
    return ListScores(values[:, both].round(decimals=_DECIMALS), weight[:, both], cluster, int((~both).sum()))


def _clusters(user: Tensor, of_row: Tensor, num_lists: int) -> Tensor:
    """(B,) user and list of each row -> (L,) cluster of each list, as in :class:`ListScores` but for gaps in the numbers."""
    lowest, highest = (user.new_zeros(num_lists).scatter_reduce_(0, of_row, user, how, include_self=False) for how in ("amin", "amax"))
    users, cluster = torch.unique(lowest, return_inverse=True)
    return torch.where(lowest == highest, cluster, len(users) + torch.arange(num_lists, device=user.device))


class _Ties(NamedTuple):
    """Runs of T rows of one list with one prediction, by list and from the highest prediction down; each column is (T,) int64.

    Attributes:
        above: rows of the list that are predicted higher.
        rows: rows of the run.
        clicks: clicks among them.
        of: list of each run.
    """

    above: Tensor
    rows: Tensor
    clicks: Tensor
    of: Tensor

    def total(self, values: Tensor, like: Tensor) -> Tensor:
        """Sum of the values (T,) of each list; as many lists as ``like`` (L,) has."""
        return values.new_zeros(len(like)).index_add_(0, self.of, values)


def _normalised_dcg(ties: _Ties, clicks: Tensor, k: int) -> Tensor:
    """NDCG@k of each list (Järvelin & Kekäläinen 2002): a click at rank r gains 1 / log2(r + 1), down to rank k.

    The rows of a tie share the mean gain of its ranks (McSherry & Najork 2008). NaN for a list without a click.
    """
    gains = 1 / torch.arange(2, k + 2, dtype=torch.float64, device=clicks.device).log2()
    down_to = torch.cat([gains.new_zeros(1), gains.cumsum(0)])  # (k + 1,) gain of the first ranks together
    shared = down_to[(ties.above + ties.rows).clamp(max=k)] - down_to[ties.above.clamp(max=k)]
    return ties.total(ties.clicks * shared / ties.rows, clicks) / down_to[clicks.clamp(max=k)]


def _reciprocal_rank(ties: _Ties, lists: Tensor) -> Tensor:
    """Expected 1 / rank of each list's first click, 0 without a click.

    Of the first tie that holds a click, n rows with c clicks, the first click is the j-th with probability C(n - j, c - 1) / C(n, c).
    """
    hits = ties.clicks.nonzero().squeeze(1)
    hits = hits[differs_from_previous(ties.of[hits])]  # the first of each list
    above, rows, clicks = ties.above[hits], ties.rows[hits], ties.clicks[hits]
    places = rows - clicks + 1  # that the first click can have
    of_place = torch.repeat_interleave(places)
    place = torch.arange(len(of_place), device=rows.device) - (places.cumsum(0) - places)[of_place] + 1
    chance = (_log_choose((rows[of_place] - place), (clicks - 1)[of_place]) - _log_choose(rows, clicks)[of_place]).exp()
    expected = chance.new_zeros(len(hits)).index_add_(0, of_place, chance / (above[of_place] + place))
    found = expected.new_zeros(len(lists))
    found[ties.of[hits]] = expected
    return found


def _log_choose(n: Tensor, k: Tensor) -> Tensor:
    """Logarithm of the binomial coefficient."""
    return torch.lgamma(n.double() + 1) - torch.lgamma(k.double() + 1) - torch.lgamma((n - k).double() + 1)
