"""Deep Interest Evolution Network: one GRU extracts the interest behind each behaviour, a second one follows those related to the target.

Zhou et al., Deep Interest Evolution Network for Click-Through Rate Prediction, AAAI 2019. The whole model runs step by step (see
:mod:`clickflow.models.layers.recurrent`): ids are put into that order before they are looked up, so that no vector has to be moved.

The auxiliary loss is the paper's, -(log sigma(h_t, e_t+1) + log(1 - sigma(h_t, e^_t+1))) with the next behaviour e and a sampled one e^, as
the mean over all behaviours that have a next one, not halved. The paper divides the sum by the number of histories, the released code by
the number of padded positions; the weight of the loss would then depend on the lengths of the histories or on the longest of the batch.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clickflow.data.batches import Batch
from clickflow.data.schema import Schema
from clickflow.errors import ConfigError
from clickflow.models.config import DIENConfig
from clickflow.models.contract import ModelOutput
from clickflow.models.layers.embedding import FieldEmbeddings
from clickflow.models.layers.mlp import MLP
from clickflow.models.layers.pairs import Pairs
from clickflow.models.layers.pooling import segment_softmax
from clickflow.models.layers.recurrent import GatedRecurrence, StepOrder


class DIEN(nn.Module):
    """Final state of the interest evolution; the MLP reads it with target, user, context and numeric fields."""

    def __init__(self, config: DIENConfig, schema: Schema) -> None:
        super().__init__()
        self.embeddings = FieldEmbeddings(schema, config.embedding_dim, config.embedding_init_std)
        item_dim = self.embeddings.target_dim
        width = config.gru_hidden_units or item_dim
        self.extractor = GatedRecurrence(item_dim, width, "gru")
        self.attention = nn.Linear(item_dim, width, bias=False)  # W of h W e
        nn.init.xavier_uniform_(self.attention.weight)
        self.evolution = GatedRecurrence(width, width, config.evolution)
        self.draws_negatives = config.auxiliary_weight > 0
        self.auxiliary = AuxiliaryLoss(config, width, item_dim) if self.draws_negatives else None
        self.mlp = config.build_tower(self.embeddings.tower_input_dim(width))

    def forward(self, batch: Batch) -> ModelOutput:
        """Batch of B rows -> (B,) logits, and the auxiliary loss if the batch has negatives."""
        order = StepOrder.of(batch.offsets)
        num_values = len(order.positions)
        ids = batch.history[:, order.positions]
        if self.auxiliary is not None and batch.negative_history is not None:
            # Beside the history, so that all item fields are looked up once; each row's first behaviour follows no other.
            ids = torch.cat([ids, batch.negative_history[:, order.positions[len(order.alive) :]]], dim=1)
        embedded = self.embeddings(replace(batch, history=ids))
        behaviours, negatives = embedded.history[:num_values], embedded.history[num_values:]
        interests = self.extractor(behaviours, order)  # (N, H)
        pairs = Pairs.of(batch)
        evolving, places = _order_of_pairs(pairs, order)
        of_pairs = interests if places is None else interests.index_select(0, places)  # (P, H)
        attention = self._attention(of_pairs, embedded.target, evolving, pairs.offsets)  # (P,)
        states = self.evolution(interests, evolving, attention[evolving.positions], places)  # (P, H)
        final = states.new_zeros(len(batch), states.shape[1]).index_copy(0, evolving.alive, states.index_select(0, evolving.last))
        auxiliary = None
        if self.auxiliary is not None and batch.negative_history is not None:
            auxiliary = self.auxiliary(interests.index_select(0, order.previous), behaviours[len(order.alive) :], negatives)
        return ModelOutput(self.mlp(embedded.tower_input(final)), auxiliary, attention)

    def _attention(self, interests: Tensor, target: Tensor, order: StepOrder, offsets: Tensor) -> Tensor:
        """a_t = softmax over t of h_t W e_a: (P, H) step by step and (B, D) -> (P,) row after row."""
        per_row = self.attention(target)  # (B, H)
        scores = torch.linalg.vecdot(interests, per_row.index_select(0, order.rows))
        return segment_softmax(order.jagged(scores), offsets)


def _order_of_pairs(pairs: Pairs, order: StepOrder) -> tuple[StepOrder, Tensor | None]:
    """The steps of the rows, and the position in the steps of the histories of each of their P values; None if both are the same."""
    if pairs.behaviours is None:
        return order, None
    of_rows = StepOrder.of(pairs.offsets)
    places = order.jagged(torch.arange(len(order.positions), device=order.positions.device))
    return of_rows, places[pairs.behaviours[of_rows.positions]]


class AuxiliaryLoss(nn.Module):
    """Loss of telling the next behaviour from a sampled one, given a state."""

    def __init__(self, config: DIENConfig, width: int, item_dim: int) -> None:
        super().__init__()
        self.weight = config.auxiliary_weight
        if config.auxiliary_score == "inner":
            if width != item_dim:
                raise ConfigError(
                    f"model.gru_hidden_units = {width}: model.auxiliary_score=inner needs states as wide as an item's vector, {item_dim} "
                    "here; set model.gru_hidden_units=null or model.auxiliary_score=mlp."
                )
            self.first = self.rest = None
        else:
            first, *rest = config.auxiliary_hidden_units
            self.first = nn.Linear(width + item_dim, first)
            self.rest = MLP(first, rest, "sigmoid")

    def forward(self, states: Tensor, following: Tensor, negatives: Tensor) -> Tensor:
        """Weighted mean over (M, H) states, (M, D) following and (M, D) sampled behaviours of the module's formula; 0 for M = 0."""
        positive_logits, negative_logits = self._logits(states, following, negatives)
        total = F.softplus(-positive_logits).sum() + F.softplus(negative_logits).sum()
        return self.weight * total / max(1, len(states))

    def _logits(self, states: Tensor, following: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor]:
        if self.first is None or self.rest is None:
            return torch.linalg.vecdot(states, following), torch.linalg.vecdot(states, negatives)
        of_state, of_behaviour = torch.split(self.first.weight, [states.shape[1], following.shape[1]], dim=1)
        # The first layer is linear, so its part for the state is computed once for both.
        shared = F.linear(states, of_state, self.first.bias)
        hidden = torch.cat([torch.addmm(shared, behaviour, of_behaviour.t()) for behaviour in (following, negatives)])
        positive, negative = self.rest(torch.sigmoid(hidden)).view(2, len(states))
        return positive, negative
