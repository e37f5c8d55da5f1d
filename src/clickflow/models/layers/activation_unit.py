"""DIN's local activation unit: one weight per behaviour, given the target.

The unit is an MLP over features of q (target) and k (behaviour). Its first layer is linear, so it factorises, and the features are never
built for each behaviour:

    difference  W [q, q - k, k]         = (Wq + Wd) q + (Wk - Wd) k
    outer       W [q, vec(q k^T), k]    = Wq q + (Wk + q^T Wo) k, with Wo as D x D per hidden unit
    product     W [q, k, q - k, q * k]  = (Wq + Wd) q + (Wk - Wd) k + Wp (q * k)

Terms of q alone are computed once per row, not once per behaviour: for ``outer`` a D x H matrix, so that the D^2 features never exist.
Terms of k alone are computed once per behaviour, even if several rows share a history.
Source: Zhou et al., Deep Interest Network, KDD 2018, section 4.3, for ``outer``; ``product`` comes from the released code, ``difference``
from an earlier version of the paper. The paper does not normalise the weights, so that their sum keeps the intensity of the interest.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clickflow.models.config import Activation, AttentionInput
from clickflow.models.layers.activations import build_activation, linear_width
from clickflow.models.layers.mlp import MLP
from clickflow.models.layers.pairs import Pairs
from clickflow.models.layers.segments import segment_matmul

FirstLayer = Callable[[Pairs], Tensor]
"""Maps some of the pairs to their (P, H) values before the first activation."""

# Pairs per block in evaluation, few enough that the values between two layers stay in the cache and in memory the process already has: 200
# rows over a history of 100 took 29 ms at once, most of it for memory given back and taken again, and 6.2 ms in blocks (one thread).
PAIRS_PER_BLOCK = 2048


class ActivationUnit(nn.Module):
    """Weights of P pairs of B targets and N behaviours, all of width D."""

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
        """Targets (B, D), histories (N, D) and the P pairs of both -> (P,) weight of each pair, any real number."""
        form = {"difference": self._difference, "outer": self._outer, "product": self._product}[self.inputs]
        first = form(target, history, pairs)
        if self.training:  # over all pairs at once, for the statistics of Dice
            return self._weights(first(pairs))
        return torch.cat([self._weights(first(block)) for block in pairs.blocks(PAIRS_PER_BLOCK)])

    def _weights(self, hidden: Tensor) -> Tensor:
        """(P, H) before the first activation -> (P,)."""
        weights: Tensor = self.rest(self.activation(hidden))
        return weights

    def _difference(self, target: Tensor, history: Tensor, pairs: Pairs) -> FirstLayer:
        of_target, of_difference, of_behaviour = self.first.weight.chunk(3, dim=1)  # (H, D) each
        per_row = F.linear(target, of_target + of_difference, self.first.bias)  # (B, H)
        return _sum_of_parts(per_row, history, of_behaviour - of_difference, pairs)

    def _outer(self, target: Tensor, history: Tensor, pairs: Pairs) -> FirstLayer:
        dim = target.shape[1]
        of_target, of_outer, of_behaviour = torch.split(self.first.weight, [dim, dim**2, dim], dim=1)
        per_row = F.linear(target, of_target, self.first.bias)  # (B, H)
        contracted = target @ of_outer.reshape(-1, dim, dim).permute(1, 2, 0).reshape(dim, -1)  # (B, D * H): one product for all rows
        matrices = contracted.view(len(target), dim, contracted.shape[1] // dim) + of_behaviour.t()  # (B, D, H)
        return lambda block: block.of_rows(per_row) + segment_matmul(block.of_behaviours(history), matrices, block.offsets)

    def _product(self, target: Tensor, history: Tensor, pairs: Pairs) -> FirstLayer:
        of_target, of_behaviour, of_difference, of_product = self.first.weight.chunk(4, dim=1)  # (H, D) each
        per_row = F.linear(target, of_target + of_difference, self.first.bias)  # (B, H)
        sum_of_parts = _sum_of_parts(per_row, history, of_behaviour - of_difference, pairs)

        def first(block: Pairs) -> Tensor:
            product = block.of_rows(target) * block.of_behaviours(history)  # (P, D)
            # Two products instead of one over [k, q * k]: the concatenation would cost more than it saves.
            return torch.addmm(sum_of_parts(block), product, of_product.t())

        return first


def _sum_of_parts(per_row: Tensor, history: Tensor, weight: Tensor, pairs: Pairs) -> FirstLayer:
    """Sum, for each pair, of its row's (B, H) values and its behaviour's (N, D) times the (H, D) weights."""
    if pairs.behaviours is None:
        return lambda block: torch.addmm(block.of_rows(per_row), block.of_behaviours(history), weight.t())
    per_behaviour = history @ weight.t()  # (N, H): there are fewer behaviours than pairs
    return lambda block: block.of_rows(per_row) + block.of_behaviours(per_behaviour)
