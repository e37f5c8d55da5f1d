"""The Base model of the papers: Embedding & MLP with equal-weight pooling of the history.

Zhou et al., Deep Interest Network, KDD 2018, section 4.2. The class is named after what it is, its config after the papers' name for it.
"""

from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from clickflow.config import PositiveIntegers, StrictConfig
from clickflow.data.batches import Batch
from clickflow.data.schema import Schema
from clickflow.models.contract import ModelOutput
from clickflow.models.layers.activations import Activation
from clickflow.models.layers.embedding import FieldEmbeddings
from clickflow.models.layers.mlp import MLP
from clickflow.models.layers.pooling import PoolingConfig


class TowerConfig(StrictConfig):
    """What every Embedding & MLP model has."""

    embedding_dim: Annotated[int, Field(gt=0)] = 16
    """Width of each field's embedding."""
    embedding_init_std: Annotated[float, Field(gt=0)] = 0.1
    """Spread of the embeddings at the start; attention learns late from products of very small vectors."""
    hidden_units: PositiveIntegers = (80, 40)
    """Widths of the final MLP's hidden layers."""
    activation: Activation = "dice"
    """Of the final MLP."""
    maxout_pieces: Annotated[int, Field(gt=0)] = 2
    """Linear units behind each Maxout unit, wherever the activation is ``maxout``."""
    batch_norm: bool = False
    """Normalise the final MLP's input over the batch, as the released code does; a sum over a long history is large."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of hidden units dropped in the final MLP while training."""

    def build_tower(self, input_dim: int) -> MLP:
        """The final MLP over ``input_dim`` inputs."""
        return MLP(input_dim, self.hidden_units, self.activation, self.dropout, self.batch_norm, self.maxout_pieces)


class PooledConfig(TowerConfig, PoolingConfig):
    """What every Embedding & MLP model has whose histories are pooled with equal weights."""


class BaseConfig(PooledConfig):
    """Config of :class:`EmbeddingMLP`."""

    name: Literal["base"] = "base"

    def build(self, schema: Schema) -> "EmbeddingMLP":
        """Build the model for a data set."""
        return EmbeddingMLP(self, schema)


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
