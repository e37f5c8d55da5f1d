"""Dice against the paper's formula written out, and the other activations against torch's."""

from typing import get_args

import pytest
import torch
from torch import nn

from clickflow.models.config import Activation
from clickflow.models.layers.activations import BatchNorm, Dice, build_activation, linear_width

# Zhou et al., Deep Interest Network, KDD 2018, section 5.3.


def dice_by_the_paper(values, mean, variance, alpha, eps=1e-8):
    p = 1 / (1 + torch.exp(-(values - mean) / torch.sqrt(variance + eps)))
    return p * values + (1 - p) * alpha * values


def random_dice(num_units=3):
    dice = Dice(num_units)
    with torch.no_grad():
        dice.alpha.copy_(torch.linspace(-0.5, 1.5, num_units))
    return dice


def random_values(size, num_units=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 2 + torch.arange(1.0, num_units + 1) * torch.randn(size, num_units, generator=generator)


def test_dice_by_hand():
    dice = Dice(1)
    nn.init.constant_(dice.alpha, 0.25)

    # Mean 2, variance 1, so p = sigmoid(-1) = 0.268941 and sigmoid(1) = 0.731059.
    expected = torch.tensor([[0.268941 * 1 + 0.731059 * 0.25 * 1], [0.731059 * 3 + 0.268941 * 0.25 * 3]])

    torch.testing.assert_close(dice(torch.tensor([[1.0], [3.0]])), expected, rtol=1e-5, atol=1e-6)


def test_dice_standardises_with_the_batch_in_training():
    dice, values = random_dice(), random_values(20)

    expected = dice_by_the_paper(values, values.mean(0), values.var(0, unbiased=False), dice.alpha)

    torch.testing.assert_close(dice(values), expected)


def test_dice_standardises_with_moving_statistics_in_evaluation():
    dice = random_dice()
    mean, variance = torch.zeros(3), torch.ones(3)
    for seed in range(4):
        values = random_values(20, seed=seed)
        dice(values)
        mean = 0.9 * mean + 0.1 * values.mean(0)
        variance = 0.9 * variance + 0.1 * values.var(0, unbiased=True)
    dice.eval()

    for size in (1, 7):
        values = random_values(size, seed=9)
        torch.testing.assert_close(dice(values), dice_by_the_paper(values, mean, variance, dice.alpha))


def test_evaluation_leaves_the_moving_statistics_alone():
    dice = random_dice().eval()
    before = {name: value.clone() for name, value in dice.state_dict().items()}

    dice(random_values(20))

    assert all(torch.equal(value, before[name]) for name, value in dice.state_dict().items())


def test_a_row_of_one_in_training_is_standardised_with_moving_statistics():
    dice = random_dice()
    dice(random_values(20))
    state = {name: value.clone() for name, value in dice.state_dict().items()}
    row = random_values(1, seed=1)

    expected = dice_by_the_paper(row, state["standardise.running_mean"], state["standardise.running_var"], dice.alpha)

    torch.testing.assert_close(dice(row), expected)
    assert all(torch.equal(value, state[name]) for name, value in dice.state_dict().items())


@pytest.mark.parametrize("training", [True, False])
def test_no_rows_at_all_give_no_rows_and_leave_the_statistics_alone(training):
    dice = random_dice().train(training)

    assert dice(torch.zeros(0, 3)).shape == (0, 3)
    assert torch.equal(dice.standardise.running_mean, torch.zeros(3))
    assert torch.equal(dice.standardise.running_var, torch.ones(3))


def test_a_constant_unit_stays_finite():
    values = torch.full((5, 3), 4.0, requires_grad=True)

    out = random_dice()(values)
    out.sum().backward()

    assert torch.isfinite(out).all()
    assert torch.isfinite(values.grad).all()


@pytest.mark.parametrize("training", [True, False])
def test_dice_gives_the_same_where_no_gradient_is_wanted_and_leaves_its_input_alone(training):
    dice, values = random_dice().train(training), random_values(50)
    given = values.clone()
    expected = dice(values).detach()
    with torch.inference_mode():
        torch.testing.assert_close(dice(values), expected)
    assert torch.equal(values, given)


def test_dice_starts_as_a_smooth_relu():
    """Alpha starts at 0, so far below the mean the output is 0 and far above it the input."""
    dice = Dice(1).eval()

    torch.testing.assert_close(dice(torch.tensor([[-30.0], [30.0]])), torch.tensor([[0.0], [30.0]]))


def test_dice_learns_alpha():
    dice, values = random_dice(), random_values(10)
    dice(values).sum().backward()

    p = torch.sigmoid((values - values.mean(0)) / torch.sqrt(values.var(0, unbiased=False) + 1e-8))

    torch.testing.assert_close(dice.alpha.grad, ((1 - p) * values).sum(0))


def test_gradients_of_dice_are_right():
    dice = random_dice().double()
    values = random_values(6).double().requires_grad_()

    assert torch.autograd.gradcheck(dice, (values,))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("relu", lambda x: torch.clamp(x, min=0)),
        ("prelu", lambda x: torch.where(x > 0, x, 0.25 * x)),
        ("sigmoid", lambda x: 1 / (1 + torch.exp(-x))),
        ("dice", lambda x: x / (1 + torch.exp(-x))),  # alpha 0, mean 0, variance 1
        ("leaky_relu", lambda x: torch.where(x > 0, x, 0.01 * x)),
        ("tanh", lambda x: (torch.exp(2 * x) - 1) / (torch.exp(2 * x) + 1)),
        # Klambauer et al., Self-Normalizing Neural Networks, NeurIPS 2017, equation 2.
        ("selu", lambda x: 1.0507009873554805 * torch.where(x > 0, x, 1.6732632423543772 * (torch.exp(x) - 1))),
    ],
)
def test_activations_by_name(name, expected):
    values = random_values(4)

    torch.testing.assert_close(build_activation(name, 3).eval()(values), expected(values))


@pytest.mark.parametrize("pieces", [1, 2, 5])
def test_maxout_is_the_largest_of_its_pieces(pieces):
    assert linear_width("maxout", 3, pieces) == 3 * pieces
    values = random_values(4, 3 * pieces)

    expected = torch.stack([torch.stack([row[unit * pieces : (unit + 1) * pieces].max() for unit in range(3)]) for row in values])

    assert torch.equal(build_activation("maxout", 3, pieces)(values), expected)


def test_only_maxout_widens_the_linear_layer_before_it():
    assert {name: linear_width(name, 3, 4) for name in get_args(Activation)} == dict.fromkeys(get_args(Activation), 3) | {"maxout": 12}


def test_prelu_and_dice_have_one_slope_per_unit():
    assert build_activation("prelu", 7).weight.shape == (7,)
    assert build_activation("dice", 7).alpha.shape == (7,)


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_is_that_of_torch(training):
    ours, plain = BatchNorm(3).train(training), nn.BatchNorm1d(3).train(training)

    torch.testing.assert_close(ours(random_values(8)), plain(random_values(8)))
    torch.testing.assert_close(ours.state_dict(), plain.state_dict())


def test_batch_norm_of_one_row_uses_the_moving_statistics():
    norm = BatchNorm(3)
    norm(random_values(20))
    row, state = random_values(1, seed=1), {name: value.clone() for name, value in norm.state_dict().items()}

    trained, evaluated = norm(row), norm.eval()(row)

    torch.testing.assert_close(trained, evaluated)
    assert all(torch.equal(value, state[name]) for name, value in norm.state_dict().items())
