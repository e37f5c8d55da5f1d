"""Gated recurrences over jagged histories, with or without attention, that work on real behaviours only.

Rows are sorted by decreasing length and their values laid out step by step, so that the rows still alive at a step are the first rows of
the step before: each step works on contiguous views of the rows that have that many behaviours. Everything that does not depend on the
previous state is computed for all N values at once: the projection of the inputs, and all of the gradients except three operations per
step. In the backward pass the gradient of every gate is the state's gradient times a factor known beforehand, so one multiplication
replaces autograd's chain of small operations per step, and each weight's gradient is one product over all values.
Source: Zhou et al., Deep Interest Evolution Network, AAAI 2019, equations 2 to 5 (GRU) and 12 to 16 (AIGRU, AGRU, AUGRU).
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from clickflow.models.layers.pooling import row_of_each

Recurrence = Literal["gru", "aigru", "agru", "augru"]


@dataclass(frozen=True)
class StepOrder:
    """The values of a jagged batch, step by step: the first value of every row, longest row first, then all second values, and so on.

    Attributes:
        sizes: number of rows alive at each step, never increasing; their sum is N.
        positions: (N,) int64, position of each value in the jagged order.
        rows: (N,) int64, row of each value.
        previous: (N - sizes[0],) int64, position in this order of the preceding value of the same row, for every value after the first
            step.
        alive: (sizes[0],) int64, rows that are not empty, longest first.
        last: (sizes[0],) int64, position in this order of the last value of each of these rows.
    """

    sizes: list[int]
    positions: Tensor
    rows: Tensor
    previous: Tensor
    alive: Tensor
    last: Tensor

    @classmethod
    def of(cls, offsets: Tensor) -> "StepOrder":
        """The order of a batch's values.

        >>> StepOrder.of(torch.tensor([0, 1, 1, 4])).positions
        tensor([1, 0, 2, 3])
        """
        lengths = offsets.diff()
        order = torch.argsort(lengths, descending=True, stable=True)
        alive = order[: int((lengths > 0).sum())]
        row = row_of_each(offsets)
        step = torch.arange(len(row), device=offsets.device) - offsets[row]  # (N,)
        sizes = torch.bincount(step)  # (T,): a row is alive at every step below its length
        starts = sizes.cumsum(0) - sizes
        rank = torch.empty_like(order).index_copy(0, order, torch.arange(len(order), device=offsets.device))
        place = starts[step] + rank[row]  # (N,)
        positions = torch.empty_like(place).index_copy(0, place, torch.arange(len(place), device=offsets.device))
        later = torch.arange(len(alive) if len(place) else 0, len(place), device=offsets.device)
        previous = later - sizes[step[positions[len(alive) :]] - 1]
        last = place[offsets[alive + 1] - 1]
        return cls(sizes.tolist(), positions, row[positions], previous, alive, last)

    def jagged(self, values: Tensor) -> Tensor:
        """(N, ...) values in this order -> the same values in the jagged order."""
        return torch.empty_like(values).index_copy(0, self.positions, values)


class GatedRecurrence(nn.Module):
    """GRU in the paper's form; attention may scale its update gate (AUGRU), replace it (AGRU) or scale its input (AIGRU).

        u = sigmoid(W_u i + U_u h + b_u)                  AUGRU: u times the attention, AGRU: the attention instead of u
        r = sigmoid(W_r i + U_r h + b_r)                  AIGRU: i times the attention, everywhere
        c = tanh(W_c i + r * (U_c h) + b_c)
        h' = (1 - u) * h + u * c

    The order of the weights is u, r, c; an AGRU has no u. The first state is zero.
    """

    def __init__(self, input_dim: int, hidden_units: int, kind: Recurrence) -> None:
        super().__init__()
        self.kind = kind
        self.num_gates = 2 if kind == "agru" else 3
        self.input_weight = nn.Parameter(torch.empty(self.num_gates * hidden_units, input_dim))
        self.recurrent_weight = nn.Parameter(torch.empty(self.num_gates * hidden_units, hidden_units))
        self.bias = nn.Parameter(torch.zeros(self.num_gates * hidden_units))
        for gate in (*self.input_weight.chunk(self.num_gates), *self.recurrent_weight.chunk(self.num_gates)):
            nn.init.xavier_uniform_(gate)

    def forward(self, inputs: Tensor, order: StepOrder, attention: Tensor | None = None, places: Tensor | None = None) -> Tensor:
        """State after each value: (N, input_dim) inputs and, except for ``gru``, (P,) attention -> (P, hidden_units), all step by step.

        With (P,) places, the index of each value's input, the inputs may be in any order, and one that several values share is projected
        once; without, each value has its own, P = N.

        Raises:
            ValueError: attention is missing, or given to a ``gru``.
        """
        if (attention is None) != (self.kind == "gru"):
            raise ValueError(f"attention = {attention}: gru takes none, every other kind needs it; this one is {self.kind}.")
        if attention is not None and self.kind == "aigru":
            of_values = inputs if places is None else inputs.index_select(0, places)
            inputs, attention, places = of_values * attention.unsqueeze(1), None, None
        weights = (self.input_weight, self.recurrent_weight, self.bias)
        states: Tensor = _Recurrence.apply(inputs, *weights, attention, order, places)  # type: ignore[no-untyped-call]
        return states


class _Recurrence(torch.autograd.Function):
    """All states of a recurrence; H = hidden units, G = gates, the last of them the candidate and the last but one the reset gate.

    The candidate comes first in the buffers: of the gradients [candidate, gates..., U_c h] the weights of the inputs need the first G
    blocks and the recurrent weights the last G blocks, so both are views.
    """

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        input_weight: Tensor,
        recurrent_weight: Tensor,
        bias: Tensor,
        attention: Tensor | None,
        order: StepOrder,
        places: Tensor | None,
    ) -> Tensor:
        width, sizes = recurrent_weight.shape[1], order.sizes
        of_gates, of_candidate = recurrent_weight[:-width].t(), recurrent_weight[-width:].t()
        gates = torch.addmm(bias.roll(width), inputs, input_weight.roll(width, 0).t())  # (N, G * H)
        gates = gates if places is None else gates.index_select(0, places)  # (P, G * H)
        hidden, states = inputs.new_empty(len(gates), width), inputs.new_empty(len(gates), width)  # U_c h, h
        scales = None if attention is None else torch.split(attention.unsqueeze(1), sizes)
        steps = [torch.split(part, sizes) for part in (gates[:, :width], gates[:, width:], hidden, states)]
        for step, (candidate, gate, product, state) in enumerate(zip(*steps, strict=True)):
            if step:
                before = steps[3][step - 1][: sizes[step]]
                gate.addmm_(before, of_gates)
                torch.mm(before, of_candidate, out=product)
            else:
                before = torch.zeros_like(state)
                product.zero_()
            gate.sigmoid_()
            candidate.addcmul_(gate[:, -width:], product).tanh_()
            scale = None if scales is None else scales[step]
            torch.lerp(before, candidate, _update(gate, scale, width), out=state)
        ctx.save_for_backward(inputs, input_weight, recurrent_weight, attention, gates, hidden, states)
        ctx.order, ctx.places = order, places
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_states: Tensor) -> tuple[Tensor | None, ...]:
        inputs, input_weight, recurrent_weight, attention, gates, hidden, states = ctx.saved_tensors
        width, sizes = recurrent_weight.shape[1], ctx.order.sizes
        first = sizes[0] if sizes else 0
        before = torch.empty_like(states)
        before[:first] = 0
        torch.index_select(states, 0, ctx.order.previous, out=before[first:])
        scale = None if attention is None else attention.unsqueeze(1)
        candidate, gate = gates[:, :width], gates[:, width:]
        change = candidate - before
        update = _update(gate, scale, width)
        factors = _factors(candidate, gate, hidden, change, update)
        grad = grad_states.clone(memory_format=torch.contiguous_format)
        steps = [torch.split(part, sizes) for part in (factors, grad, 1 - update)]
        for step in reversed(range(len(sizes))):
            of_gates, of_state, kept = (part[step] for part in steps)
            of_gates.view(sizes[step], -1, width).mul_(of_state.unsqueeze(1))
            if step:
                earlier = steps[1][step - 1][: sizes[step]]
                earlier.addcmul_(of_state, kept)
                earlier.addmm_(of_gates[:, width:], recurrent_weight)
        of_values = factors[:, :-width]  # (P, G * H), candidate first
        of_projection = of_values
        if ctx.places is not None:  # (N, G * H)
            of_projection = of_values.new_zeros(len(inputs), of_values.shape[1]).index_add(0, ctx.places, of_values)
        of_attention = None
        if attention is not None:
            weighted = change if gate.shape[1] == width else change * gate[:, :width]
            of_attention = torch.linalg.vecdot(grad, weighted)
        return (
            of_projection @ input_weight.roll(width, 0),
            (of_projection.t() @ inputs).roll(-width, 0),
            factors[first:, width:].t() @ before[first:],
            of_projection.sum(0).roll(-width),
            of_attention,
            None,
            None,
        )


def _update(gate: Tensor, scale: Tensor | None, width: int) -> Tensor:
    """Step of the state towards the candidate: u, u times attention (R, 1), or the attention alone if there is no u."""
    if gate.shape[1] == width:
        assert scale is not None
        return scale
    return gate[:, :width] if scale is None else gate[:, :width] * scale


def _factors(candidate: Tensor, gate: Tensor, hidden: Tensor, change: Tensor, update: Tensor) -> Tensor:
    """Factors of the state's gradient: (N, (G + 1) * H) for the inputs of candidate, u and r, and for U_c h."""
    width = candidate.shape[1]
    reset = gate[:, -width:]
    factors = gate.new_empty(len(gate), gate.shape[1] + 2 * width)
    of_candidate, of_reset, of_hidden = factors[:, :width], factors[:, -2 * width : -width], factors[:, -width:]
    torch.addcmul(candidate.new_ones(1), candidate, candidate, value=-1, out=of_candidate).mul_(update)  # (1 - c^2) * update
    torch.mul(of_candidate, reset, out=of_hidden)
    torch.addcmul(hidden, hidden, reset, value=-1, out=of_reset).mul_(of_hidden)  # r (1 - r) U_c h * of_candidate
    if gate.shape[1] > width:
        # The derivative of attention * u is attention * u (1 - u), and update is attention * u.
        torch.addcmul(change, change, gate[:, :width], value=-1, out=factors[:, width : 2 * width]).mul_(update)
    return factors
