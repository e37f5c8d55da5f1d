"""DIN's local activation unit: one weight for each behaviour, given the target.

The unit is an MLP over [q, k, q - k, q * k] (q target, k behaviour; the released code's form). Its first layer is linear, so it factorises:

    W [q, k, q - k, q * k] = (Wq + Wd) q + (Wk - Wd) k + Wp (q * k)

The q term is computed once a row, not once a behaviour, and the 4D-wide input is never built. Source: Zhou et al., Deep Interest Network,
KDD 2018, section 4.3; the weights are not normalised there, so that their sum keeps the intensity of the interest.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clickflow.models.activations import Activation, build_activation
from clickflow.models.mlp import MLP


class ActivationUnit(nn.Module):
    """Weights of N behaviours for B targets of width D."""

    def __init__(self, dim: int, hidden_units: Sequence[int], activation: Activation) -> None:
        super().__init__()
        first, *rest = hidden_units
        self.first = nn.Linear(4 * dim, first)  # columns: q, k, q - k, q * k
        self.activation = build_activation(activation, first)
        self.rest = MLP(first, rest, activation)

    def forward(self, target: Tensor, history: Tensor, rows: Tensor) -> Tensor:
        """Weight of each behaviour.

        Args:
            target: (B, D).
            history: (N, D).
            rows: (N,) int64, the row each behaviour belongs to.

        Returns:
            (N,), any real number.
        """
        of_target, of_behaviour, of_difference, of_product = self.first.weight.chunk(4, dim=1)  # (H, D) each
        per_row = F.linear(target, of_target + of_difference, self.first.bias)  # (B, H)
        product = target.index_select(0, rows) * history  # (N, D)
        # Two products instead of one over [k, q * k]: the concatenation would cost more than it saves.
        hidden = torch.addmm(per_row.index_select(0, rows), history, (of_behaviour - of_difference).t())  # (N, H)
        hidden = torch.addmm(hidden, product, of_product.t())
        weights: Tensor = self.rest(self.activation(hidden))
        return weights
