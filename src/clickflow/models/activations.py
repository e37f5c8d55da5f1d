"""Activations by name, Dice among them."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Activation = Literal["relu", "prelu", "dice", "sigmoid"]


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation that takes a training batch of one row, whose variance is not defined: it uses the moving statistics then."""

    def forward(self, values: Tensor) -> Tensor:
        """(N, num_features) -> (N, num_features)."""
        if self.training and values.shape[0] < 2:
            return F.batch_norm(values, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(values)


class Dice(nn.Module):
    """Data-adaptive activation of Zhou et al., Deep Interest Network, KDD 2018, section 5.3.

    y = p * s + (1 - p) * alpha * s with p = sigmoid((s - E[s]) / sqrt(Var[s] + eps)); mini-batch mean and variance in training, moving
    ones in evaluation; alpha per unit, learned, starting at 0.

    Batch normalisation without affine parameters is exactly the standardisation inside p. Input is (N, num_units) with real behaviours
    only, so that no padding enters the statistics.
    """

    def __init__(self, num_units: int, eps: float = 1e-8) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(num_units))
        self.standardise = BatchNorm(num_units, eps=eps, affine=False)

    def forward(self, values: Tensor) -> Tensor:
        """(N, num_units) -> (N, num_units)."""
        p = torch.sigmoid(self.standardise(values))
        return values * (self.alpha + p * (1 - self.alpha))


def build_activation(name: Activation, num_units: int) -> nn.Module:
    """The activation of a layer of ``num_units`` units."""
    match name:
        case "relu":
            return nn.ReLU()
        case "prelu":
            return nn.PReLU(num_units)
        case "dice":
            return Dice(num_units)
        case "sigmoid":
            return nn.Sigmoid()
