"""Pairs of a row and a behaviour of its history, over which a model combines target and history.

Rows may share a history (``Batch.history_of``), as the candidates of one user do. Terms of a behaviour alone are then computed once per
behaviour and gathered, terms of the target alone once per row; only terms of both are computed per pair. If every row has a history of
its own, as in training, pairs and behaviours are the same in the same order, and nothing is gathered for them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from clickflow.data.batches import Batch, jagged_ranges
from clickflow.models.layers.pooling import row_of_each


@dataclass(frozen=True)
class Pairs:
    """P pairs, row after row, within a row in the order of its history.

    Attributes:
        offsets: (B + 1,) int64; the pairs of row b are ``offsets[b]:offsets[b + 1]``.
        rows: (P,) int64, the row of each pair.
        behaviours: (P,) int64, position of each pair's behaviour in ``Batch.history``; None if it equals the pair's own position.
    """

    offsets: Tensor
    rows: Tensor
    behaviours: Tensor | None = None

    @classmethod
    def of(cls, batch: Batch) -> "Pairs":
        """The pairs of a batch.

        >>> none = torch.zeros(0, 3)
        >>> shared = Batch(none, torch.tensor([[7, 8, 9]]), torch.tensor([0, 2, 3]), none, none, history_of=torch.tensor([1, 0, 0]))
        >>> Pairs.of(shared).behaviours
        tensor([2, 0, 1, 0, 1])
        """
        if batch.history_of is None:
            return cls(batch.offsets, row_of_each(batch.offsets))
        behaviours, offsets = jagged_ranges(batch.of_rows(batch.offsets[:-1]), batch.of_rows(batch.offsets[1:]))
        return cls(offsets, row_of_each(offsets), behaviours)

    def blocks(self, size: int) -> Iterator["Pairs"]:
        """The same pairs, at most ``size`` at a time, of the same rows and behaviours; one empty block if there are none."""
        num_pairs = len(self.rows)
        for start in range(0, max(num_pairs, 1), size):
            stop = min(start + size, num_pairs)
            offsets = self.offsets.clamp(start, stop) - start  # rows outside the block are empty
            behaviours = torch.arange(start, stop, device=offsets.device) if self.behaviours is None else self.behaviours[start:stop]
            yield Pairs(offsets, self.rows[start:stop], behaviours)

    def of_rows(self, values: Tensor) -> Tensor:
        """(B, ...) one value per row -> (P, ...) the value of each pair's row."""
        return values.index_select(0, self.rows)

    def of_behaviours(self, values: Tensor) -> Tensor:
        """(N, ...) one value per behaviour -> (P, ...) the value of each pair's behaviour."""
        return values if self.behaviours is None else values.index_select(0, self.behaviours)
