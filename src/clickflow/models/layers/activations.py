"""Activations by name, among them Dice and Maxout: the same choice for every MLP."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clickflow.models.config import Activation


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation that accepts a training batch of one row: its variance is undefined, so the moving statistics are used."""

    def forward(self, values: Tensor) -> Tensor:
        """(N, num_features) -> (N, num_features)."""
        if self.training and values.shape[0] < 2:
            return F.batch_norm(values, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(values)


class Dice(nn.Module):
    """Data-adaptive activation of Zhou et al., Deep Interest Network, KDD 2018, section 5.3.

    y = p * s + (1 - p) * alpha * s with p = sigmoid((s - E[s]) / sqrt(Var[s] + eps)); mini-batch mean and variance in training, moving
    ones in evaluation; one learned alpha per unit, 0 at the start.

    Batch normalisation without affine parameters is exactly the standardisation inside p. The input (N, num_units) holds real behaviours
    only, so no padding enters the statistics.
    """

    def __init__(self, num_units: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(num_units))
        self.standardise = BatchNorm(num_units, eps=1e-8, affine=False)

    def forward(self, values: Tensor) -> Tensor:
        """(N, num_units) -> (N, num_units)."""
        p = torch.sigmoid(self.standardise(values))
        if not torch.is_grad_enabled():  # nothing is kept for a backward pass, and allocating a tensor costs more than computing it
            return p.mul_(1 - self.alpha).add_(self.alpha).mul_(values)
        return values * (self.alpha + p * (1 - self.alpha))


class Maxout(nn.Module):
    """Maximum of ``pieces`` linear units (Goodfellow et al., Maxout Networks, ICML 2013), which the linear layer before it computes."""

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces

    def forward(self, values: Tensor) -> Tensor:
        """(N, num_units * pieces) -> (N, num_units)."""
        return values.view(len(values), values.shape[1] // self.pieces, self.pieces).max(2).values


def build_activation(name: Activation, num_units: int, maxout_pieces: int = 2) -> nn.Module:
    """The activation of a layer of ``num_units`` units: (N, linear_width) -> (N, num_units)."""
    match name:
        case "relu":
            return nn.ReLU()
        case "leaky_relu":
            return nn.LeakyReLU()
        case "prelu":
            return nn.PReLU(num_units)
        case "maxout":
            return Maxout(maxout_pieces)
        case "dice":
            return Dice(num_units)
        case "sigmoid":
            return nn.Sigmoid()
        case "tanh":
            return nn.Tanh()
        case "selu":
            return nn.SELU()


def linear_width(name: Activation, num_units: int, maxout_pieces: int = 2) -> int:
    """Width of the linear layer before an activation of ``num_units`` units."""
    return num_units * maxout_pieces if name == "maxout" else num_units
