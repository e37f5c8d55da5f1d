"""Deep Interest Network: the history is pooled with weights that depend on the target.

Zhou et al., Deep Interest Network for Click-Through Rate Prediction, KDD 2018. The model differs from Base in the activation unit only,
so a comparison of the two shows the value of attention.
"""

from torch import nn

from clickflow.data.batches import Batch
from clickflow.data.schema import Schema
from clickflow.models.config import DINConfig
from clickflow.models.contract import ModelOutput
from clickflow.models.layers.activation_unit import ActivationUnit
from clickflow.models.layers.embedding import FieldEmbeddings
from clickflow.models.layers.pairs import Pairs
from clickflow.models.layers.pooling import segment_softmax, sum_pool


class DIN(nn.Module):
    """Attention-weighted sum of the history; the MLP reads pooled history, target, user, context and numeric fields."""

    def __init__(self, config: DINConfig, schema: Schema) -> None:
        super().__init__()
        self.embeddings = FieldEmbeddings(schema, config.embedding_dim, config.embedding_init_std)
        self.activation_unit = ActivationUnit(
            self.embeddings.target_dim,
            config.attention_input,
            config.attention_hidden_units,
            config.attention_activation,
            config.maxout_pieces,
        )
        self.softmax = config.attention_softmax
        self.mlp = config.build_tower(self.embeddings.tower_input_dim(self.embeddings.target_dim))

    def forward(self, batch: Batch) -> ModelOutput:
        """Batch of B rows -> (B,) logits."""
        embedded = self.embeddings(batch)
        pairs = Pairs.of(batch)
        weights = self.activation_unit(embedded.target, embedded.history, pairs)  # (P,)
        if self.softmax:
            weights = segment_softmax(weights, pairs.offsets)
        pooled = sum_pool(embedded.history, pairs.offsets, weights, pairs.behaviours)  # (B, D)
        return ModelOutput(self.mlp(embedded.tower_input(pooled)), attention=weights)
