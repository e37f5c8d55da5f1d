"""Embedding tables, one per categorical field; target and history share the tables of the item fields.

Gradients are sparse, so that the cost of a step grows with the batch, not with the vocabulary. Target and history are looked up
together: one lookup per table gives one sparse gradient instead of two that would have to be added.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from clickflow.data.batches import Batch
from clickflow.data.schema import CategoricalField, Schema


class EmbeddedBatch(NamedTuple):
    """A batch of B rows and N behaviours as vectors.

    Attributes:
        target: (B, D), D = number of item fields * embedding_dim.
        history: (N, D), in the order of ``Batch.history``.
        context: (B, C), embedded user and context fields side by side; C may be 0.
        numeric: (B, M), standardised numeric fields; M may be 0.
    """

    target: Tensor
    history: Tensor
    context: Tensor
    numeric: Tensor

    def tower_input(self, pooled: Tensor) -> Tensor:
        """Input of the final MLP of the papers' models: (B, P) pooled history -> (B, P + D + C + M)."""
        return torch.cat([pooled, self.target, self.context, self.numeric], dim=1)


class FieldEmbeddings(nn.Module):
    """Embedding of a :class:`Batch`.

    Rows are drawn from a normal distribution with standard deviation ``init_std``; row 0, the unknown id, starts at zero. It stays at zero
    in the table of item ids, since train holds no unknown item; in other tables the missing values of train update it.
    """

    def __init__(self, schema: Schema, embedding_dim: int, init_std: float) -> None:
        super().__init__()
        self.item_tables = embedding_tables(schema.item_fields, embedding_dim, init_std)
        self.context_tables = embedding_tables(schema.impression_fields, embedding_dim, init_std)
        self.target_dim = embedding_dim * len(schema.item_fields)
        self.context_dim = embedding_dim * len(schema.impression_fields)
        self.numeric_dim = len(schema.numeric)

    def tower_input_dim(self, pooled_dim: int) -> int:
        """Width of :meth:`EmbeddedBatch.tower_input` for a pooled history of width ``pooled_dim``."""
        return pooled_dim + self.target_dim + self.context_dim + self.numeric_dim

    def forward(self, batch: Batch) -> EmbeddedBatch:
        """Look up every field of a batch of B rows and N behaviours."""
        ids = torch.cat([batch.target, batch.history], dim=1)  # (F, B + N)
        items = torch.cat([table(ids[f]) for f, table in enumerate(self.item_tables.values())], dim=1)  # (B + N, D)
        context = [table(batch.context[c]) for c, table in enumerate(self.context_tables.values())]
        target, history = items[: len(batch)], items[len(batch) :]
        return EmbeddedBatch(target, history, torch.cat([*context, batch.numeric[:, :0]], dim=1), batch.numeric)


class EmbeddingTable(nn.Embedding):
    """Embedding table with sparse gradients that knows its field.

    A model may hold several tables of one field. Mini-batch-aware regularisation finds the counts of their ids by the field's name, which
    is None if rows are not ids of a field, such as those of hashed pairs.
    """

    def __init__(self, num_rows: int, embedding_dim: int, field: str | None = None) -> None:
        super().__init__(num_rows, embedding_dim, sparse=True)
        self.field = field


def embedding_tables(fields: tuple[CategoricalField, ...], embedding_dim: int, init_std: float) -> nn.ModuleDict:
    """One table per field, in their order, drawn from a normal distribution with standard deviation ``init_std``; row 0 is zero."""
    tables = nn.ModuleDict()
    for field in fields:
        table = EmbeddingTable(field.vocabulary_size, embedding_dim, field.name)
        nn.init.normal_(table.weight, std=init_std)
        with torch.no_grad():
            table.weight[0].zero_()
        key = field.name.replace(".", "_")  # the name of a module must not contain a dot
        while hasattr(tables, key):  # nor be an attribute of ModuleDict, such as `type` or `values`
            key += "_"
        tables[key] = table
    return tables
