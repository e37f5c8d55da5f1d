"""Schemas and random batches for tests of models."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from clickflow.data.batches import Batch
from clickflow.data.schema import CategoricalField, NumericField, Schema

FULL_SCHEMA = Schema(
    categorical=(
        CategoricalField(name="item", role="item", vocabulary_size=12),
        CategoricalField(name="country", role="user", vocabulary_size=4),
        CategoricalField(name="category", role="item", vocabulary_size=5),
        CategoricalField(name="shop.page", role="context", vocabulary_size=3),
    ),
    numeric=(NumericField(name="age", role="user", mean=30.0, std=10.0), NumericField(name="price", role="item", mean=5.0, std=2.0)),
)
ITEM_SCHEMA = Schema(categorical=(CategoricalField(name="item", role="item", vocabulary_size=12),))


def random_batch(schema: Schema, lengths: Sequence[int], seed: int = 0) -> Batch:
    """Batch of one row per history length, with ids from 0 = unknown upwards."""
    draw = torch.Generator().manual_seed(seed)
    num_rows, num_values = len(lengths), sum(lengths)

    def ids(fields: Sequence, size: int) -> Tensor:
        columns = [torch.randint(0, field.vocabulary_size, (size,), generator=draw) for field in fields]
        return torch.stack(columns) if columns else torch.zeros(0, size, dtype=torch.int64)

    return Batch(
        target=ids(schema.item_fields, num_rows),
        history=ids(schema.item_fields, num_values),
        offsets=torch.tensor([0, *lengths]).cumsum(0),
        context=ids(schema.impression_fields, num_rows),
        numeric=torch.randn(num_rows, len(schema.numeric), generator=draw),
        label=torch.randint(0, 2, (num_rows,), generator=draw).float(),
        group=torch.randint(0, 5, (num_rows,), generator=draw),
        negative_history=ids(schema.item_fields, num_values),
    )


def take_rows(batch: Batch, order: Sequence[int]) -> Batch:
    """Batch of some rows of a batch, in the given order."""
    ranges = [torch.arange(int(batch.offsets[row]), int(batch.offsets[row + 1])) for row in order]
    rows = torch.tensor(order)
    assert batch.label is not None
    assert batch.group is not None
    values = torch.cat(ranges)
    return Batch(
        target=batch.target[:, rows],
        history=batch.history[:, values],
        offsets=torch.tensor([0, *(len(positions) for positions in ranges)]).cumsum(0),
        context=batch.context[:, rows],
        numeric=batch.numeric[rows],
        label=batch.label[rows],
        group=batch.group[rows],
        negative_history=None if batch.negative_history is None else batch.negative_history[:, values],
    )


def shared_batch(schema: Schema, lengths: Sequence[int], history_of: Sequence[int], seed: int = 0) -> Batch:
    """Batch whose rows read the given histories, one history per length."""
    rows, histories = random_batch(schema, [0] * len(history_of), seed), random_batch(schema, lengths, seed + 1)
    return replace(
        rows,
        history=histories.history,
        offsets=histories.offsets,
        negative_history=None,
        history_of=torch.tensor(history_of, dtype=torch.int64),
    )


def expanded(batch: Batch) -> Batch:
    """The same rows, each with a copy of its history."""
    assert batch.history_of is not None
    copies = [batch.history[:, batch.offsets[number] : batch.offsets[number + 1]] for number in batch.history_of]
    offsets = torch.tensor([0, *(copy.shape[1] for copy in copies)]).cumsum(0)
    return replace(batch, history=torch.cat([batch.history[:, :0], *copies], dim=1), offsets=offsets, history_of=None)
