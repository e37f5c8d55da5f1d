"""The Base model of the papers: Embedding & MLP with equal-weight pooling of the history.

Zhou et al., Deep Interest Network, KDD 2018, section 4.2. The class is named after what it is, its config after the papers' name for it.
"""

from torch import nn

from clickflow.data.batches import Batch
from clickflow.data.schema import Schema
from clickflow.models.config import PooledConfig
from clickflow.models.contract import ModelOutput
from clickflow.models.layers.embedding import FieldEmbeddings


class EmbeddingMLP(nn.Module):
    """Equal-weight pooling of the history; the MLP reads pooled history, target, user, context and numeric fields."""

    def __init__(self, config: PooledConfig, schema: Schema) -> None:
        super().__init__()
        self.embeddings = FieldEmbeddings(schema, config.embedding_dim, config.embedding_init_std)
        self.pool = config.build_pool()
        self.mlp = config.build_tower(self.embeddings.tower_input_dim(self.embeddings.target_dim))

    def forward(self, batch: Batch) -> ModelOutput:
        """Batch of B rows -> (B,) logits."""
        embedded = self.embeddings(batch)
        pooled = batch.of_rows(self.pool(embedded.history, batch.offsets))  # (B, D)
        return ModelOutput(self.mlp(embedded.tower_input(pooled)))
