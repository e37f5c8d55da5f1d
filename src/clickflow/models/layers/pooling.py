"""Pooling of jagged histories: (N, D) values and offsets -> (B, D).

On a CPU ``embedding_bag`` over the values themselves is torch's fastest operation for it (measured on 1,024 rows of mean length 9, forward
and backward: 0.8 ms, against 1.4 ms for ``index_add`` and 1.7 ms for ``segment_reduce``) and never builds a weighted copy of the values.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Pool = Callable[[Tensor, Tensor], Tensor]
"""Maps (N, D) values and (B + 1,) offsets to (B, D)."""


def sum_pool(values: Tensor, offsets: Tensor, weights: Tensor | None = None, positions: Tensor | None = None) -> Tensor:
    """Sum of each row's values, weighted if weights are given; zeros for an empty history.

    Values (N, D), offsets (B + 1,) and weights (P,) -> (B, D). The (P,) positions are indices of the values, row after row; None if the
    values are in that order already, P = N.

    >>> sum_pool(torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([0, 2, 2, 3])).flatten()
    tensor([3., 0., 4.])
    """
    if positions is None:
        positions = torch.arange(values.shape[0], device=values.device)
    return F.embedding_bag(positions, values, offsets, mode="sum", per_sample_weights=weights, include_last_offset=True)


def mean_pool(values: Tensor, offsets: Tensor) -> Tensor:
    """Mean of each row's values; zeros for an empty history. Shapes as in :func:`sum_pool`."""
    return sum_pool(values, offsets) / offsets.diff().clamp(min=1).unsqueeze(1)


def segment_softmax(scores: Tensor, offsets: Tensor) -> Tensor:
    """Softmax of the scores within each row: (N,) and offsets (B + 1,) -> (N,), which sums to 1 over each row that is not empty."""
    rows, num_rows = row_of_each(offsets), len(offsets) - 1
    peak = torch.full((num_rows,), -torch.inf, dtype=scores.dtype, device=scores.device)
    peak = peak.scatter_reduce(0, rows, scores.detach(), "amax")  # a shift does not change softmax, so it needs no gradient
    exp = (scores - peak[rows]).exp()
    total = torch.zeros(num_rows, dtype=scores.dtype, device=scores.device).index_add(0, rows, exp)
    return exp / total[rows]


def row_of_each(offsets: Tensor) -> Tensor:
    """Row of each value, (N,) int64.

    >>> row_of_each(torch.tensor([0, 2, 2, 3]))
    tensor([0, 0, 2])
    """
    return torch.repeat_interleave(torch.arange(len(offsets) - 1, device=offsets.device), offsets.diff())
