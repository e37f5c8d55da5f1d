"""The fully connected tower that every model ends with."""

from collections.abc import Sequence

from torch import Tensor, nn

from clickflow.models.config import Activation
from clickflow.models.layers.activations import BatchNorm, build_activation, linear_width


class MLP(nn.Module):
    """Linear layer, activation and dropout per hidden layer, then one linear unit: (B, input_dim) -> (B,) logits."""

    def __init__(
        self,
        input_dim: int,
        hidden_units: Sequence[int],
        activation: Activation,
        dropout: float = 0.0,
        batch_norm: bool = False,
        maxout_pieces: int = 2,
    ) -> None:
        super().__init__()
        self.normalise = BatchNorm(input_dim) if batch_norm else nn.Identity()
        layers: list[nn.Module] = []
        for units in hidden_units:
            layers.append(nn.Linear(input_dim, linear_width(activation, units, maxout_pieces)))
            layers.append(build_activation(activation, units, maxout_pieces))
            if dropout > 0:
                layers.append(nn.Dropout(dropout))
            input_dim = units
        self.layers = nn.Sequential(*layers, nn.Linear(input_dim, 1))

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, input_dim) -> (B,)."""
        logit: Tensor = self.layers(self.normalise(inputs)).squeeze(1)
        return logit
