"""References for tests of models: a row's fields, looked up one after the other in float64."""

import dataclasses

import torch
from torch import Tensor, nn

from clickflow.data.batches import Batch
from clickflow.models.layers.embedding import FieldEmbeddings


def in_double(batch: Batch) -> Batch:
    """The batch with float64 values, for a model in float64."""
    return dataclasses.replace(batch, numeric=batch.numeric.double())


def randomised(model: nn.Module) -> nn.Module:
    """The model in float64 with random weights only, so that unknown ids and weights that start at zero count too."""
    torch.manual_seed(0)
    model = model.double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5)
    return model


def fields_of_row(embeddings: FieldEmbeddings, batch: Batch, row: int, pooling: str) -> list[Tensor]:
    """The vectors of a row's fields: pooled histories, targets, user and context fields."""
    positions = range(int(batch.offsets[row]), int(batch.offsets[row + 1]))
    tables = list(embeddings.item_tables.values())
    pooled = []
    for f, table in enumerate(tables):
        total = torch.zeros(table.weight.shape[1], dtype=torch.float64)
        for n in positions:
            total = total + table.weight[batch.history[f, n]]
        pooled.append(total / len(positions) if pooling == "mean" and len(positions) else total)
    target = [table.weight[batch.target[f, row]] for f, table in enumerate(tables)]
    context = [table.weight[batch.context[c, row]] for c, table in enumerate(embeddings.context_tables.values())]
    return [*pooled, *target, *context]
