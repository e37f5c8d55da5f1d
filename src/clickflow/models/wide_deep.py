"""Wide & Deep: a linear model with cross-product features beside the Base model.

Cheng et al., Wide & Deep Learning for Recommender Systems, DLRS 2016.

    logit  = deep(x) + linear(x) + Σ_f pool over behaviours k of c_f[hash(target_f, k_f)]
    deep   the Base model
    c_f    one weight per bucket, for each crossed item field f

A cross-product feature "the target has value x and the history contains y" is 1 if both hold. There are V² of them, so pairs share
``num_cross_buckets`` weights by hashing. Pooled by sum, a feature counts how often y occurs in the history, which is the paper's 0 or 1
if nothing repeats; pooled by mean, it is y's share of the history. Only pairs of the batch are ever formed: O(N).
"""

import torch
from torch import Tensor, nn

from clickflow.data.batches import Batch
from clickflow.data.schema import Schema
from clickflow.models.base import EmbeddingMLP
from clickflow.models.config import WideDeepConfig
from clickflow.models.contract import ModelOutput
from clickflow.models.layers.embedding import EmbeddingTable
from clickflow.models.layers.linear import LinearPart
from clickflow.models.layers.pairs import Pairs
from clickflow.models.layers.pooling import Pool


class WideDeep(nn.Module):
    """Base, a linear part, and hashed cross products of target and behaviours."""

    def __init__(self, config: WideDeepConfig, schema: Schema) -> None:
        super().__init__()
        pool = config.build_pool()
        self.deep = EmbeddingMLP(config, schema)
        self.linear = LinearPart(schema, pool)
        self.cross = CrossProducts(schema, config.crossed(schema), config.num_cross_buckets, pool)

    def forward(self, batch: Batch) -> ModelOutput:
        """Batch of B rows -> (B,) logits."""
        return ModelOutput(self.deep(batch).logit + self.linear(batch) + self.cross(batch))


class CrossProducts(nn.Module):
    """One weight per pair of the target's and a behaviour's value in a field, hashed into buckets and pooled over the history."""

    def __init__(self, schema: Schema, positions: list[int], num_buckets: int, pool: Pool) -> None:
        super().__init__()
        self.positions = positions
        self.vocabulary_sizes = [schema.item_fields[position].vocabulary_size for position in positions]
        self.tables = nn.ModuleList(EmbeddingTable(num_buckets, 1) for _ in positions)
        for table in self.tables:
            nn.init.zeros_(table.get_parameter("weight"))
        self.num_buckets = num_buckets
        self.pool = pool

    def forward(self, batch: Batch) -> Tensor:
        """Batch of B rows and P pairs of a row and a behaviour -> (B,)."""
        pairs = Pairs.of(batch)
        weights = []
        for table, position, size in zip(self.tables, self.positions, self.vocabulary_sizes, strict=True):
            targets, behaviours = batch.target[position, pairs.rows], pairs.of_behaviours(batch.history[position])
            keys = targets * size + behaviours  # (P,), distinct for each pair of ids
            weights.append(table(hash_bucket(keys, self.num_buckets)))  # (P, 1)
        return self.pool(torch.stack(weights).sum(0), pairs.offsets).squeeze(1)


def hash_bucket(keys: Tensor, num_buckets: int) -> Tensor:
    """Spread integers over buckets, identically in every process.

    The mix is the last step of SplitMix64 (Steele et al., Fast Splittable Pseudorandom Number Generators, OOPSLA 2014) on 64 bits: each
    bit of a key changes each bit of the result for about half of all keys, so that no pattern of ids crowds into few buckets.

    >>> hash_bucket(torch.arange(5), 100)
    tensor([ 0, 94, 65, 28, 26])
    """
    # The constants as int64: multiplication modulo 2^64 is the same for both signs.
    mixed = (keys ^ _shift(keys, 30)) * (0xBF58476D1CE4E5B9 - 2**64)
    mixed = (mixed ^ _shift(mixed, 27)) * (0x94D049BB133111EB - 2**64)
    return _shift(mixed ^ _shift(mixed, 31), 1) % num_buckets


def _shift(values: Tensor, bits: int) -> Tensor:
    """Shift right and fill with zeros, as for unsigned integers; torch's ``>>`` on int64 repeats the sign."""
    return (values >> bits) & ((1 << (64 - bits)) - 1)
