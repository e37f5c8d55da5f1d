"""The linear part of the papers' baselines: one weight per id, alone in LR, beside a tower in Wide & Deep and DeepFM.

    linear(x) = b + Σ_f [w_f(target_f) + pool over behaviours k of u_f(k_f)] + Σ_c v_c(x_c) + n · x_numeric

over item fields f and user and context fields c. An id has a weight w as target and another, u, as behaviour: an item may be clicked
often without its buyers clicking often. Weights are tables of width 1 with sparse gradients, so that the cost of a step grows with the
batch alone.
"""

import torch
from torch import Tensor, nn

from clickflow.data.batches import Batch
from clickflow.data.schema import Schema
from clickflow.models.layers.embedding import embedding_tables
from clickflow.models.layers.pooling import Pool

# Nearly zero, as a linear model may start; not zero, so that two seeds give two models.
INIT_STD = 1e-4


class LinearPart(nn.Module):
    """Weights of ids and numeric fields, and a bias."""

    def __init__(self, schema: Schema, pool: Pool) -> None:
        super().__init__()
        self.target_tables = embedding_tables(schema.item_fields, 1, INIT_STD)
        self.history_tables = embedding_tables(schema.item_fields, 1, INIT_STD)
        self.context_tables = embedding_tables(schema.impression_fields, 1, INIT_STD)
        self.numeric_weight = nn.Parameter(torch.zeros(len(schema.numeric), 1))
        self.bias = nn.Parameter(torch.zeros(1))
        self.pool = pool

    def forward(self, batch: Batch) -> Tensor:
        """Batch of B rows -> (B,)."""
        of_histories = self.pool(_summed(self.history_tables, batch.history), batch.offsets)  # (H, 1)
        of_rows = _summed(self.target_tables, batch.target) + batch.of_rows(of_histories)  # (B, 1)
        if len(self.context_tables):
            of_rows = of_rows + _summed(self.context_tables, batch.context)
        return (of_rows + batch.numeric @ self.numeric_weight + self.bias).squeeze(1)


def _summed(tables: nn.ModuleDict, ids: Tensor) -> Tensor:
    """(T, R) ids of T tables of width 1 -> (R, 1) sum of their weights."""
    return torch.stack([table(of_table) for table, of_table in zip(tables.values(), ids, strict=True)]).sum(0)
