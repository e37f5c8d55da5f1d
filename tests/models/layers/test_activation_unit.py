"""The factorised activation unit against the plain one, whose inputs are built for every behaviour."""

from typing import get_args

import pytest
import torch
from torch import nn

from clickflow.models.config import Activation
from clickflow.models.layers import activation_unit
from clickflow.models.layers.activation_unit import ActivationUnit
from clickflow.models.layers.pairs import Pairs
from clickflow.models.layers.pooling import row_of_each

DIM = 6
LENGTHS = [3, 0, 1, 5, 2]
OFFSETS = torch.tensor([0, *LENGTHS]).cumsum(0)
ROWS = torch.repeat_interleave(torch.arange(len(LENGTHS)), torch.tensor(LENGTHS))
FEATURES = {
    "difference": lambda q, k: torch.cat([q, q - k, k]),
    "outer": lambda q, k: torch.cat([q, torch.outer(q, k).flatten(), k]),
    "product": lambda q, k: torch.cat([q, k, q - k, q * k]),
}
ACTIVATIONS = get_args(Activation)


def pairs_of(lengths):
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    return Pairs(offsets, row_of_each(offsets))


PAIRS = pairs_of(LENGTHS)
# Two rows share three behaviours, one row reads none, one reads the last behaviour alone.
SHARED = Pairs(torch.tensor([0, 3, 6, 6, 7, 7]), torch.tensor([0, 0, 0, 1, 1, 1, 3]), torch.tensor([2, 3, 4, 2, 3, 4, 10]))


def plain_weights(unit, target, history, pairs):
    """Weights from the same layers over inputs built pair by pair."""
    behaviours = range(len(history)) if pairs.behaviours is None else pairs.behaviours
    features = [FEATURES[unit.inputs](target[row], history[place]) for row, place in zip(pairs.rows, behaviours, strict=True)]
    inputs = torch.stack(features)
    hidden = unit.activation(inputs @ unit.first.weight.T + unit.first.bias)
    for layer in unit.rest.layers:
        hidden = layer(hidden)
    return hidden[:, 0]


def build(activation, hidden_units=(8, 4), inputs="product"):
    torch.manual_seed(1)
    return ActivationUnit(DIM, inputs, hidden_units, activation)


def random_inputs():
    generator = torch.Generator().manual_seed(2)
    return (
        torch.randn(len(LENGTHS), DIM, generator=generator, requires_grad=True),
        torch.randn(sum(LENGTHS), DIM, generator=generator, requires_grad=True),
    )


def value_and_gradients(weights_of, unit, pairs=PAIRS):
    target, history = random_inputs()
    weights = weights_of(unit, target, history, pairs)
    steepness = torch.linspace(-1, 1, len(weights))  # a different gradient for each behaviour
    (weights * steepness).sum().backward()
    gradients = {name: parameter.grad.clone() for name, parameter in unit.named_parameters()}
    unit.zero_grad()
    return weights.detach(), {**gradients, "target": target.grad, "history": history.grad}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("hidden_units", [(8, 4), (8,)])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("inputs", FEATURES)
def test_factorised_equals_plain_in_value_and_in_every_gradient(inputs, activation, hidden_units, training):
    unit = build(activation, hidden_units, inputs).train(training)

    expected, expected_gradients = value_and_gradients(plain_weights, unit)
    weights, gradients = value_and_gradients(ActivationUnit.__call__, unit)

    assert weights.shape == (sum(LENGTHS),)
    torch.testing.assert_close(weights, expected, rtol=1e-5, atol=1e-5)
    assert gradients.keys() == expected_gradients.keys()
    assert all(gradient.any() for gradient in expected_gradients.values())
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected_gradients[name], rtol=1e-5, atol=1e-5, msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.parametrize("inputs", FEATURES)
def test_rows_that_share_behaviours_get_the_weights_of_the_plain_unit_too(inputs):
    unit = build("prelu", inputs=inputs)

    expected, expected_gradients = value_and_gradients(plain_weights, unit, SHARED)
    weights, gradients = value_and_gradients(ActivationUnit.__call__, unit, SHARED)

    torch.testing.assert_close(weights, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradients, expected_gradients, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pairs", [PAIRS, SHARED], ids=["one history per row", "shared"])
@pytest.mark.parametrize("inputs", FEATURES)
def test_evaluation_in_blocks_gives_the_same(inputs, pairs, monkeypatch):
    unit = build("dice", inputs=inputs).eval()
    expected, expected_gradients = value_and_gradients(plain_weights, unit, pairs)

    monkeypatch.setattr(activation_unit, "PAIRS_PER_BLOCK", 3)
    weights, gradients = value_and_gradients(ActivationUnit.__call__, unit, pairs)

    torch.testing.assert_close(weights, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradients, expected_gradients, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("inputs", FEATURES)
def test_the_weight_of_a_behaviour_depends_on_nothing_but_itself_and_its_target(inputs):
    unit = build("prelu", inputs=inputs).eval()
    target, history = random_inputs()

    whole = unit(target, history, PAIRS)

    for position, row in enumerate(ROWS):
        alone = unit(target[row, None], history[position, None], pairs_of([1]))
        torch.testing.assert_close(alone[0], whole[position])


def test_dice_takes_its_statistics_over_real_behaviours_only():
    """With one row of five behaviours and one row of none, the statistics are those of the five, not of ten padded ones."""
    unit = build("dice")
    target, history = random_inputs()

    unit(target[:2], history[:5], pairs_of([5, 0]))

    inputs = torch.cat([target[:1].expand(5, -1), history[:5], target[:1] - history[:5], target[:1] * history[:5]], dim=1)
    hidden = inputs @ unit.first.weight.T + unit.first.bias
    torch.testing.assert_close(unit.activation.standardise.running_mean, 0.1 * hidden.mean(0))
    torch.testing.assert_close(unit.activation.standardise.running_var, 0.9 + 0.1 * hidden.var(0, unbiased=True))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("inputs", FEATURES)
@pytest.mark.parametrize("num_values", [0, 1])
def test_a_batch_may_hold_very_few_behaviours(num_values, inputs, activation, training):
    unit = build(activation, inputs=inputs).train(training)
    target, history = random_inputs()

    weights = unit(target, history[:num_values], pairs_of(OFFSETS.clamp(max=num_values).diff()))
    weights.sum().backward()

    assert weights.shape == (num_values,)
    assert all(torch.isfinite(parameter.grad).all() for parameter in unit.parameters())


def test_the_last_layer_has_no_activation_so_weights_may_be_negative():
    unit = build("relu")
    nn.init.constant_(unit.rest.layers[-1].bias, -100.0)

    assert (unit(*random_inputs(), PAIRS) < 0).all()
