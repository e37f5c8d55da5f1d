"""DeepFM: a factorisation machine and a tower over the same embeddings.

Guo et al., DeepFM, IJCAI 2017. With fields f_1 ... f_F of width E

    logit = y_FM + y_DNN
    y_FM  = linear(x) + Σ_{i<j} <f_i, f_j>,   the sum of pairs computed as 1/2 Σ_e [(Σ_i f_ie)² - Σ_i f_ie²] (Rendle, ICDM 2010)
    y_DNN = tower([f_1, ..., f_F, x_numeric])

Numeric fields have no vector: they enter the linear part and the tower.
"""

from torch import nn

from clickflow.data.batches import Batch
from clickflow.data.schema import Schema
from clickflow.models.config import DeepFMConfig
from clickflow.models.contract import ModelOutput
from clickflow.models.layers.embedding import FieldEmbeddings
from clickflow.models.layers.linear import LinearPart
from clickflow.models.layers.products import factorised_pairs, field_vectors


class DeepFM(nn.Module):
    """Linear part, products of all pairs of fields, and the tower."""

    def __init__(self, config: DeepFMConfig, schema: Schema) -> None:
        super().__init__()
        self.embeddings = FieldEmbeddings(schema, config.embedding_dim, config.embedding_init_std)
        self.pool = config.build_pool()
        self.embedding_dim = config.embedding_dim
        self.linear = LinearPart(schema, self.pool)
        self.mlp = config.build_tower(self.embeddings.tower_input_dim(self.embeddings.target_dim))

    def forward(self, batch: Batch) -> ModelOutput:
        """Batch of B rows -> (B,) logits."""
        embedded = self.embeddings(batch)
        pooled = batch.of_rows(self.pool(embedded.history, batch.offsets))  # (B, D)
        pairs = factorised_pairs(field_vectors(embedded, pooled, self.embedding_dim))  # (B,)
        return ModelOutput(self.linear(batch) + pairs + self.mlp(embedded.tower_input(pooled)))
