"""DIN's local activation unit: one weight for each behaviour, given the target.

The unit is an MLP over features of q (target) and k (behaviour). Its first layer is linear, so it factorises, and no feature is built
behaviour by behaviour:

    difference  W [q, q - k, k]         = (Wq + Wd) q + (Wk - Wd) k
    outer       W [q, vec(q k^T), k]    = Wq q + (Wk + q^T Wo) k, with Wo as D x D a hidden unit
    product     W [q, k, q - k, q * k]  = (Wq + Wd) q + (Wk - Wd) k + Wp (q * k)

What depends on q alone is computed once a row, not once a behaviour: for ``outer`` a D x H matrix, so that the D^2 features never exist.
What depends on k alone is computed once a behaviour, also where several rows share a history.
Source: Zhou et al., Deep Interest Network, KDD 2018, section 4.3, for ``outer``; ``product`` is the released code's, ``difference`` an
earlier version of the paper's. The weights are not normalised there, so that their sum keeps the intensity of the interest.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clickflow.models.activations import Activation, build_activation, linear_width
from clickflow.models.mlp import MLP
from clickflow.models.pairs import Pairs
from clickflow.models.segments import segment_matmul

AttentionInput = Literal["difference", "outer", "product"]


class ActivationUnit(nn.Module):
    """Weights of N behaviours of width D for B targets, P pairs of them."""

    def __init__(
        self, dim: int, inputs: AttentionInput, hidden_units: Sequence[int], activation: Activation, maxout_pieces: int = 2
    ) -> None:
        super().__init__()
        first, *rest = hidden_units
        self.inputs = inputs
        num_features = {"difference": 3 * dim, "outer": dim + dim**2 + dim, "product": 4 * dim}[inputs]
        self.first = nn.Linear(num_features, linear_width(activation, first, maxout_pieces))  # columns in the order of the formulas
        self.activation = build_activation(activation, first, maxout_pieces)
        self.rest = MLP(first, rest, activation, maxout_pieces=maxout_pieces)

    def forward(self, target: Tensor, history: Tensor, pairs: Pairs) -> Tensor:
        """Weight of each row's behaviours.

        Args:
            target: (B, D).
            history: (N, D).
            pairs: which row has which behaviours.

        Returns:
            (P,), any real number.
        """
        first = {"difference": self._difference, "outer": self._outer, "product": self._product}[self.inputs]
        weights: Tensor = self.rest(self.activation(first(target, history, pairs)))
        return weights

    def _difference(self, target: Tensor, history: Tensor, pairs: Pairs) -> Tensor:
        of_target, of_difference, of_behaviour = self.first.weight.chunk(3, dim=1)  # (H, D) each
        per_row = F.linear(target, of_target + of_difference, self.first.bias)  # (B, H)
        return _sum_of_parts(per_row, history, of_behaviour - of_difference, pairs)

    def _outer(self, target: Tensor, history: Tensor, pairs: Pairs) -> Tensor:
        dim = target.shape[1]
        of_target, of_outer, of_behaviour = torch.split(self.first.weight, [dim, dim**2, dim], dim=1)
        per_row = F.linear(target, of_target, self.first.bias)  # (B, H)
        contracted = target @ of_outer.reshape(-1, dim, dim).permute(1, 2, 0).reshape(dim, -1)  # (B, D * H): one product for all rows
        matrices = contracted.unflatten(1, (dim, -1)) + of_behaviour.t()  # (B, D, H)
        return pairs.of_rows(per_row) + segment_matmul(pairs.of_behaviours(history), matrices, pairs.offsets)  # (P, H)

    def _product(self, target: Tensor, history: Tensor, pairs: Pairs) -> Tensor:
        of_target, of_behaviour, of_difference, of_product = self.first.weight.chunk(4, dim=1)  # (H, D) each
        per_row = F.linear(target, of_target + of_difference, self.first.bias)  # (B, H)
        product = pairs.of_rows(target) * pairs.of_behaviours(history)  # (P, D)
        # Two products instead of one over [k, q * k]: the concatenation would cost more than it saves.
        return torch.addmm(_sum_of_parts(per_row, history, of_behaviour - of_difference, pairs), product, of_product.t())


def _sum_of_parts(per_row: Tensor, history: Tensor, weight: Tensor, pairs: Pairs) -> Tensor:
    """(B, H) of the rows + (N, D) behaviours times (H, D) weights -> (P, H)."""
    if pairs.behaviours is None:
        return torch.addmm(pairs.of_rows(per_row), history, weight.t())
    return pairs.of_rows(per_row) + pairs.of_behaviours(history @ weight.t())
