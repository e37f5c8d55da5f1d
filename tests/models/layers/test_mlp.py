"""The tower against its layers applied one by one."""

import pytest
import torch
from torch import nn

from clickflow.models.layers.mlp import MLP


def test_layers_are_applied_one_by_one():
    torch.manual_seed(0)
    mlp = MLP(3, (5, 4), "relu")
    first, _, second, _, last = mlp.layers
    inputs = torch.randn(6, 3)

    hidden = torch.relu(inputs @ first.weight.T + first.bias)
    hidden = torch.relu(hidden @ second.weight.T + second.bias)

    torch.testing.assert_close(mlp(inputs), (hidden @ last.weight.T + last.bias)[:, 0])


def test_without_hidden_layers_it_is_linear():
    torch.manual_seed(0)
    mlp = MLP(3, (), "dice")
    inputs = torch.randn(6, 3)

    torch.testing.assert_close(mlp(inputs), inputs @ mlp.layers[0].weight[0] + mlp.layers[0].bias)


@pytest.mark.parametrize("size", [0, 1, 6])
def test_it_gives_one_logit_per_row(size):
    assert MLP(3, (5,), "dice")(torch.randn(size, 3)).shape == (size,)


def test_dropout_drops_in_training_only():
    torch.manual_seed(0)
    mlp = MLP(3, (50,), "relu", dropout=0.5)
    inputs = torch.randn(6, 3)

    assert not torch.equal(mlp(inputs), mlp(inputs))
    mlp.eval()
    assert torch.equal(mlp(inputs), mlp(inputs))


def test_no_dropout_is_built_where_none_is_asked_for():
    assert not any(isinstance(layer, nn.Dropout) for layer in MLP(3, (5, 4), "relu").layers)
    assert sum(isinstance(layer, nn.Dropout) for layer in MLP(3, (5, 4), "relu", dropout=0.1).layers) == 2
