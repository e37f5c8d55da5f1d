"""Configs of all models, and their union: a model is one file beside this one, one class here, and one YAML.

Nothing here imports torch, so that a command line is checked before anything slow is imported; ``build`` imports its model when it is
called. Whatever choices layers offer by name are listed here, too, since both the configs and the layers read them.
"""

from typing import TYPE_CHECKING, Annotated, Literal, get_args

from pydantic import Field

from clickflow.config import Names, PositiveIntegers, StrictConfig, suggest
from clickflow.data.schema import Schema
from clickflow.errors import ConfigError
from clickflow.models.entry_points import ModelsOfPackages

if TYPE_CHECKING:
    from torch import nn

    from clickflow.models.layers.mlp import MLP
    from clickflow.models.layers.pooling import Pool

Activation = Literal["relu", "leaky_relu", "prelu", "maxout", "dice", "sigmoid", "tanh", "selu"]
AttentionInput = Literal["difference", "outer", "product"]


class PoolingConfig(StrictConfig):
    """Keys of every model that pools its histories with equal weights."""

    pooling: Literal["sum", "mean"] = "sum"
    """Pooling of a history into one vector; a sum keeps how much a user did."""

    def build_pool(self) -> "Pool":
        """The pooling of a history."""
        from clickflow.models.layers.pooling import mean_pool, sum_pool

        return sum_pool if self.pooling == "sum" else mean_pool


class TowerConfig(StrictConfig):
    """Keys of every Embedding & MLP model."""

    embedding_dim: Annotated[int, Field(gt=0)] = 16
    """Width of each field's embedding."""
    embedding_init_std: Annotated[float, Field(gt=0)] = 0.1
    """Standard deviation of the initial embeddings; attention learns late from products of very small vectors."""
    hidden_units: PositiveIntegers = (80, 40)
    """Widths of the final MLP's hidden layers."""
    activation: Activation = "dice"
    """Activation of the final MLP."""
    maxout_pieces: Annotated[int, Field(gt=0)] = 2
    """Linear units behind each Maxout unit, wherever the activation is ``maxout``."""
    batch_norm: bool = False
    """Normalise the final MLP's input over the batch, as the released code does; a sum over a long history is large."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of hidden units dropped in the final MLP while training."""

    def build_tower(self, input_dim: int) -> "MLP":
        """The final MLP over ``input_dim`` inputs."""
        from clickflow.models.layers.mlp import MLP

        return MLP(input_dim, self.hidden_units, self.activation, self.dropout, self.batch_norm, self.maxout_pieces)


class PooledConfig(TowerConfig, PoolingConfig):
    """Keys of every Embedding & MLP model that pools its histories with equal weights."""


class LRConfig(PoolingConfig):
    """Config of :class:`~clickflow.models.lr.LR`."""

    name: Literal["lr"] = "lr"

    def build(self, schema: Schema) -> "nn.Module":
        """Build the model for a data set."""
        from clickflow.models.lr import LR

        return LR(self, schema)


class WideDeepConfig(PooledConfig):
    """Config of :class:`~clickflow.models.wide_deep.WideDeep`."""

    name: Literal["wide_deep"] = "wide_deep"
    cross_fields: Annotated[Names, Field(min_length=1)] | None = None
    """Item fields whose target value is crossed with each behaviour's; null for all."""
    num_cross_buckets: Annotated[int, Field(gt=0)] = 100_000
    """Weights that the pairs of each crossed field share."""

    def build(self, schema: Schema) -> "nn.Module":
        """Build the model for a data set; a ConfigError if one of ``cross_fields`` is no item field of it."""
        from clickflow.models.wide_deep import WideDeep

        return WideDeep(self, schema)

    def crossed(self, schema: Schema) -> list[int]:
        """Positions in ``Schema.item_fields`` of the crossed fields."""
        names = [field.name for field in schema.item_fields]
        wanted = names if self.cross_fields is None else self.cross_fields
        for name in wanted:
            if name not in names:
                hint = suggest(name, names)
                shown = f"{hint.removesuffix('?')}; item fields: {', '.join(names)}" if hint.endswith("?") else hint
                raise ConfigError(f"model.cross_fields = {name}: no item field of this data set; {shown}")
        return [position for position, name in enumerate(names) if name in wanted]


class PNNConfig(PooledConfig):
    """Config of :class:`~clickflow.models.pnn.PNN`."""

    name: Literal["pnn"] = "pnn"
    product: Literal["inner", "outer"] = "inner"
    """Products of fields: ``inner`` of each pair, or ``outer`` of the sum of all fields with itself."""

    def build(self, schema: Schema) -> "nn.Module":
        """Build the model for a data set."""
        from clickflow.models.pnn import PNN

        return PNN(self, schema)


class DeepFMConfig(PooledConfig):
    """Config of :class:`~clickflow.models.deepfm.DeepFM`."""

    name: Literal["deepfm"] = "deepfm"

    def build(self, schema: Schema) -> "nn.Module":
        """Build the model for a data set."""
        from clickflow.models.deepfm import DeepFM

        return DeepFM(self, schema)


class BaseConfig(PooledConfig):
    """Config of :class:`~clickflow.models.base.EmbeddingMLP`."""

    name: Literal["base"] = "base"

    def build(self, schema: Schema) -> "nn.Module":
        """Build the model for a data set."""
        from clickflow.models.base import EmbeddingMLP

        return EmbeddingMLP(self, schema)


class DINConfig(TowerConfig):
    """Config of :class:`~clickflow.models.din.DIN`."""

    name: Literal["din"] = "din"
    attention_input: AttentionInput = "product"
    """Input of the activation unit for target q and behaviour k: ``difference`` [q, q - k, k], ``outer`` [q, vec(q k^T), k], ``product``
    [q, k, q - k, q * k]."""
    attention_hidden_units: Annotated[PositiveIntegers, Field(min_length=1)] = (80, 40)
    """Widths of the activation unit's hidden layers."""
    attention_activation: Activation = "dice"
    """Activation of the activation unit; the paper's choices are PReLU and Dice, the released code's is sigmoid."""
    attention_softmax: bool = False
    """Normalise the weights over each history; the paper does not."""

    def build(self, schema: Schema) -> "nn.Module":
        """Build the model for a data set."""
        from clickflow.models.din import DIN

        return DIN(self, schema)


class DIENConfig(TowerConfig):
    """Config of :class:`~clickflow.models.dien.DIEN`."""

    name: Literal["dien"] = "dien"
    gru_hidden_units: Annotated[int, Field(gt=0)] | None = None
    """Width of both GRUs' states; null: that of an item's vector, ``embedding_dim`` times its fields."""
    evolution: Literal["augru", "agru", "aigru"] = "augru"
    """Place of the attention in the second GRU: it scales the update gate, replaces it, or scales the input."""
    auxiliary_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the auxiliary loss beside the click loss, the paper's alpha; 0 trains without it and without its negatives."""
    auxiliary_score: Literal["inner", "mlp"] = "inner"
    """Comparison of a state with a behaviour: by their inner product, which needs equal widths, or by an MLP as in the released code,
    which takes 1.4 times as long in all and learned more slowly on Amazon Sports."""
    auxiliary_hidden_units: Annotated[PositiveIntegers, Field(min_length=1)] = (100, 50)
    """Widths of that MLP's hidden layers, with sigmoids as in the released code."""

    def build(self, schema: Schema) -> "nn.Module":
        """Build the model for a data set; a ConfigError for the inner product of states and behaviours of different widths."""
        from clickflow.models.dien import DIEN

        return DIEN(self, schema)


OwnConfig = LRConfig | WideDeepConfig | PNNConfig | DeepFMConfig | BaseConfig | DINConfig | DIENConfig
NAMES = frozenset(config_class.model_fields["name"].default for config_class in get_args(OwnConfig))

ModelConfig = Annotated[OwnConfig, Field(discriminator="name"), ModelsOfPackages(NAMES)]
"""The config of one of clickflow's own models, or of another package's."""
