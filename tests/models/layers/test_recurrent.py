"""The recurrences against the paper's equations, value by value and row by row, and the GRU against torch's own."""

from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_sequence, unpack_sequence

from clickflow.models.layers.recurrent import GatedRecurrence, Recurrence, StepOrder

KINDS = get_args(Recurrence)
INPUT_DIM, WIDTH = 3, 4
LENGTHS = {
    "mixed": [3, 0, 1, 5, 2, 5],
    "equal": [3, 3, 3],
    "one row": [4],
    "one behaviour per row": [1, 1],
    "all empty": [0, 0],
    "no rows": [],
}
histories = pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)


def offsets_of(lengths):
    return torch.tensor([0, *lengths]).cumsum(0)


def build(kind, dtype=torch.float32):
    torch.manual_seed(0)
    layer = GatedRecurrence(INPUT_DIM, WIDTH, kind).to(dtype)
    nn.init.normal_(layer.bias)
    return layer


def random_values(lengths, dtype=torch.float32, seed=1):
    draw = torch.Generator().manual_seed(seed)
    inputs = torch.randn(sum(lengths), INPUT_DIM, generator=draw, dtype=dtype, requires_grad=True)
    return inputs, torch.rand(sum(lengths), generator=draw, dtype=dtype).requires_grad_()


def plain_states(layer, inputs, attention, lengths):
    """States by Zhou et al., AAAI 2019, equations 2 to 5 and 12 to 16, one row and one step at a time."""
    kind, states = layer.kind, []
    blocks = [parameter.chunk(layer.num_gates) for parameter in (layer.input_weight, layer.recurrent_weight, layer.bias)]
    (w_r, w_c), (u_r, u_c), (b_r, b_c) = (block[-2:] for block in blocks)
    for row_inputs, row_attention in zip(inputs.split(lengths), attention.split(lengths), strict=True):
        h = torch.zeros(WIDTH, dtype=inputs.dtype)
        for i, a in zip(row_inputs, row_attention, strict=True):
            if kind == "aigru":
                i = a * i
            r = torch.sigmoid(w_r @ i + u_r @ h + b_r)
            c = torch.tanh(w_c @ i + r * (u_c @ h) + b_c)
            u = a if kind == "agru" else torch.sigmoid(blocks[0][0] @ i + blocks[1][0] @ h + blocks[2][0])
            if kind == "augru":
                u = a * u
            h = (1 - u) * h + u * c
            states.append(h)
    return torch.stack(states) if states else torch.zeros(0, WIDTH, dtype=inputs.dtype)


def jagged_states(layer, inputs, attention, lengths):
    order = StepOrder.of(offsets_of(lengths))
    given = None if layer.kind == "gru" else attention[order.positions]
    return order.jagged(layer(inputs[order.positions], order, given))


@given(st.lists(st.integers(0, 6), max_size=8))
def test_the_order_is_that_of_a_loop_over_steps_and_rows(lengths):
    offsets = offsets_of(lengths).tolist()
    longest_first = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    steps = [[(row, step) for row in longest_first if lengths[row] > step] for step in range(max(lengths, default=0))]
    places = [place for step in steps for place in step]

    order = StepOrder.of(offsets_of(lengths))

    assert order.sizes == [len(step) for step in steps]
    assert order.positions.tolist() == [offsets[row] + step for row, step in places]
    assert order.rows.tolist() == [row for row, _ in places]
    assert order.previous.tolist() == [places.index((row, step - 1)) for row, step in places if step]
    assert order.alive.tolist() == [row for row in longest_first if lengths[row]]
    assert order.last.tolist() == [places.index((row, lengths[row] - 1)) for row in order.alive.tolist()]
    values = torch.arange(float(sum(lengths)))
    assert torch.equal(order.jagged(values[order.positions]), values)


@histories
@pytest.mark.parametrize("kind", KINDS)
def test_states_and_every_gradient_are_those_of_the_equations(kind, lengths):
    layer = build(kind, torch.float64)

    def states_and_gradients(states_of):
        inputs, attention = random_values(lengths, torch.float64)
        states = states_of(layer, inputs, attention, lengths)
        steepness = torch.linspace(-1, 2, states.numel(), dtype=torch.float64).view_as(states)
        leaves = [inputs, attention, *layer.parameters()]
        total = (states * steepness).sum() + 0 * sum(leaf.sum() for leaf in leaves)
        return states, torch.autograd.grad(total, leaves)

    expected, expected_gradients = states_and_gradients(plain_states)
    states, gradients = states_and_gradients(jagged_states)

    torch.testing.assert_close(states, expected)
    torch.testing.assert_close(gradients, expected_gradients)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_finite_differences(kind):
    lengths = [3, 0, 1, 2]
    layer, order = build(kind, torch.float64), StepOrder.of(offsets_of(lengths))
    inputs, attention = random_values(lengths, torch.float64)

    def states(inputs, attention, *parameters):
        named = dict(zip(dict(layer.named_parameters()), parameters, strict=True))
        return torch.func.functional_call(layer, named, (inputs, order, None if kind == "gru" else attention))

    assert torch.autograd.gradcheck(states, (inputs, attention, *layer.parameters()))


@pytest.mark.parametrize("kind", KINDS)
def test_an_input_that_several_values_share_equals_its_copies(kind):
    order, places = StepOrder.of(offsets_of([3, 0, 1, 2])), torch.tensor([1, 0, 1, 2, 2, 0])
    layer = build(kind, torch.float64)
    inputs, _ = random_values([4], torch.float64)  # no value reads the last input
    attention = torch.rand(6, generator=torch.Generator().manual_seed(3), dtype=torch.float64).requires_grad_()
    weights = None if kind == "gru" else attention

    expected, states = layer(inputs[places], order, weights), layer(inputs, order, weights, places)

    torch.testing.assert_close(states, expected)
    leaves = [inputs, *layer.parameters(), *([] if weights is None else [weights])]
    steepness = torch.linspace(-1, 2, states.numel(), dtype=torch.float64).view_as(states)
    gradients, copied = (torch.autograd.grad((part * steepness).sum(), leaves) for part in (states, expected))
    torch.testing.assert_close(gradients, copied)


def test_the_gru_is_torchs_own_with_its_update_gate_inverted():
    """torch's z is 1 - u, and it has a second bias, here 0."""
    lengths = [3, 1, 5, 2]
    layer, (inputs, attention) = build("gru"), random_values(lengths)
    own = nn.GRU(INPUT_DIM, WIDTH)

    def turned(weight):
        u, r, c = weight.chunk(3)
        return torch.cat([r, -u, c])

    with torch.no_grad():
        own.weight_ih_l0.copy_(turned(layer.input_weight))
        own.weight_hh_l0.copy_(turned(layer.recurrent_weight))
        own.bias_ih_l0.copy_(turned(layer.bias))
        own.bias_hh_l0.zero_()
    packed, _ = own(pack_sequence(inputs.split(lengths), enforce_sorted=False))

    torch.testing.assert_close(jagged_states(layer, inputs, attention, lengths), torch.cat(unpack_sequence(packed)))


@pytest.mark.parametrize("kind", ["agru", "augru"])
def test_without_attention_the_state_stays_where_it_is(kind):
    lengths = [3, 2]
    inputs, _ = random_values(lengths)

    assert not jagged_states(build(kind), inputs, torch.zeros(5), lengths).any()


def test_with_attention_one_everywhere_augru_and_aigru_are_a_gru():
    lengths = LENGTHS["mixed"]
    inputs, attention = random_values(lengths)
    gru, augru, aigru = (jagged_states(build(kind), inputs, torch.ones_like(attention), lengths) for kind in ("gru", "augru", "aigru"))

    torch.testing.assert_close(augru, gru)
    torch.testing.assert_close(aigru, gru)


@pytest.mark.parametrize("kind", KINDS)
def test_attention_is_refused_by_a_gru_and_needed_by_all_others(kind):
    order, (inputs, attention) = StepOrder.of(offsets_of([2])), random_values([2])

    with pytest.raises(ValueError, match=r"^attention = .*: gru takes none, every other kind needs it; this one is " + kind):
        build(kind)(inputs, order, attention if kind == "gru" else None)
