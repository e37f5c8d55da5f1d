"""Products of each jagged row with its own matrix: (N, D) values, one (D, H) matrix per row -> (N, H).

Rows of similar length share one batched product. Lengths are rounded up in steps of at most a third, so any batch takes only a few
products, and little of the work is wasted: 8 % on log-normal lengths of mean 9. Gathering one matrix per behaviour would need N * D * H
numbers.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# 1, 2, 3, 4, 6, 8, 12, 16, 24, ...: each at most half as large again as the one before. Not a tensor: torch reads its memory settings when
# the first tensor is made, and a program that imports this module may set them afterwards.
_SIZES = sorted({size for power in range(40) for size in (2**power, 3 * 2**power // 2)})


def segment_matmul(values: Tensor, matrices: Tensor, offsets: Tensor) -> Tensor:
    """Multiply each row's values by that row's matrix: (N, D), (B, D, H) and offsets (B + 1,) -> (N, H)."""
    result: Tensor = _SegmentMatmul.apply(values, matrices, offsets)  # type: ignore[no-untyped-call]
    return result


def _buckets(offsets: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Rows grouped by rounded length L, without empty ones.

    One tuple per bucket of R rows: rows (R,), positions (R, L) in the values, and (R, L) whether they are real; a position that is not
    real repeats the row's last one.
    """
    lengths = offsets.diff()
    order = torch.argsort(lengths)
    order = order[int((lengths == 0).sum()) :]
    sizes = torch.tensor(_SIZES)
    bucket = torch.bucketize(lengths[order], sizes)
    found, counts = torch.unique_consecutive(bucket, return_counts=True)
    ends = counts.cumsum(0).tolist()
    result = []
    for size, start, end in zip(sizes[found].tolist(), [0, *ends], ends, strict=False):
        rows = order[start:end]
        step = torch.arange(min(size, int(lengths[rows[-1]])), device=offsets.device)
        result.append((rows, offsets[rows, None] + torch.minimum(step, lengths[rows, None] - 1), step < lengths[rows, None]))
    return result


class _SegmentMatmul(torch.autograd.Function):
    """The product with its own backward pass: autograd's would fill gradients of the size of all values and matrices per bucket."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, matrices: Tensor, offsets: Tensor) -> Tensor:
        ctx.save_for_backward(values, matrices)
        ctx.buckets = _buckets(offsets)
        result = values.new_empty(len(values), matrices.shape[2])
        for rows, positions, is_real in ctx.buckets:
            product = torch.bmm(values[positions], matrices[rows])  # (R, L, H)
            result[positions[is_real]] = product[is_real]
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        values, matrices = ctx.saved_tensors
        of_values, of_matrices = torch.empty_like(values), torch.zeros_like(matrices)
        for rows, positions, is_real in ctx.buckets:
            part = grad[positions] * is_real.unsqueeze(2)  # (R, L, H)
            of_matrices[rows] = torch.bmm(values[positions].transpose(1, 2), part)
            of_values[positions[is_real]] = torch.bmm(part, matrices[rows].transpose(1, 2))[is_real]
        return of_values, of_matrices, None
