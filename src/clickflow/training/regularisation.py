"""Penalties on weights, added to the gradients after the backward pass; the reported loss stays the click loss.

Mini-batch-aware regularisation (Zhou et al., Deep Interest Network, KDD 2018, eq. 4-7) adds to the loss of a batch

    λ Σ_{tables} Σ_{rows j of the table that occur in the batch} ||w_j||² / n_j

with n_j the occurrences of id j in train. Its gradient is 2 λ w_j / n_j, once per distinct row (the paper's eq. 7 drops the 2), and is
added to the values of the coalesced sparse gradient, in O(batch). The full L2 penalty λ Σ_j ||w_j||² has a gradient in every row of every
table, hence O(vocabulary). Tables of hashed pairs, which have no counts, are left out.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from clickflow.data.dataset import PreparedDataset
from clickflow.data.schema import ITEM
from clickflow.models.layers.embedding import EmbeddingTable
from clickflow.training.config import RegularisationConfig
from clickflow.training.sparse_gradients import coalesce_gradient


class Regulariser:
    """Adds the gradients of a config's penalties to those of a model."""

    def __init__(self, config: RegularisationConfig, model: nn.Module, counts: Mapping[str, Tensor]) -> None:
        """Look up the penalised weights; only ``mini_batch_aware`` reads ``counts``, which :func:`id_counts` returns."""
        tables = [(module.field, module.get_parameter("weight")) for module in model.modules() if isinstance(module, EmbeddingTable)]
        in_tables = {id(weight) for _, weight in tables}
        self.config = config
        self.whole_tables = [weight for _, weight in tables] if config.embedding == "l2" else []
        self.batch_rows: list[tuple[nn.Parameter, Tensor]] = []  # tables and the (V, 1) factor of each row
        if config.embedding == "mini_batch_aware":
            known = [(counts[field], weight) for field, weight in tables if field is not None]
            self.batch_rows = [(weight, 2 * config.embedding_lambda / of_field.unsqueeze(1)) for of_field, weight in known]
        self.dense_weights = [p for p in model.parameters() if p.dim() > 1 and id(p) not in in_tables]

    @torch.no_grad()
    def add_gradients(self) -> None:
        """Add to the gradients of a backward pass; weights without a gradient are left alone."""
        for weight, factor in self.batch_rows:
            if weight.grad is not None:
                rows, values = coalesce_gradient(weight)  # (R,), (R, D)
                values.addcmul_(weight.index_select(0, rows), factor.index_select(0, rows))
        _add(self.whole_tables, 0.0, self.config.embedding_lambda)
        _add(self.dense_weights, self.config.dense_l1, self.config.dense_l2)


def _add(weights: list[nn.Parameter], l1: float, l2: float) -> None:
    for weight in weights:
        if weight.grad is not None and l1 > 0:
            weight.grad.add_(weight.sign(), alpha=l1)
        if weight.grad is not None and l2 > 0:
            weight.grad.add_(weight, alpha=2 * l2)


def id_counts(dataset: PreparedDataset) -> dict[str, Tensor]:
    """(V,) float32 occurrences in train of each row of a field's table, by field.

    Row 0, the unknown id, counts the rows that no known id covers: train rows with a missing user or context field, and occurrences of
    items whose field is missing. Its count is at least 1, since validation may hold unknown ids.
    """
    known = {field.name: dataset.vocabulary(field.name)["count"].to_torch().float() for field in dataset.schema.categorical}
    occurrences = {"item": float(known[ITEM].double().sum())}
    train_rows = float(dataset.manifest.splits["train"].rows)
    counts = {}
    for field in dataset.schema.categorical:
        unknown = occurrences.get(field.role, train_rows) - float(known[field.name].double().sum())
        counts[field.name] = torch.cat([torch.tensor([max(1.0, unknown)]), known[field.name]])
    return counts
