"""Norms of layers: gradients against torch's own norm, activations against the layers run one by one."""

import pytest
import torch
import torch.nn.functional as F
from tests.models.examples import FULL_SCHEMA, random_batch

from clickflow.models.config import BaseConfig, DINConfig
from clickflow.training.norms import ActivationNorms, gradient_norms


def test_gradient_norms_are_those_of_torch():
    torch.manual_seed(0)
    model, batch = DINConfig().build(FULL_SCHEMA), random_batch(FULL_SCHEMA, [3, 0, 5, 2])
    F.binary_cross_entropy_with_logits(model(batch).logit, batch.label).backward()

    norms = gradient_norms(model)

    for name, layer in model.named_modules():
        gradients = [p.grad.to_dense() for p in layer.parameters(recurse=False)]
        if gradients:
            assert norms.pop(f"gradient_norm/{name}") == pytest.approx(float(torch.nn.utils.get_total_norm(gradients)), rel=1e-5)
    assert norms == {}


def test_gradient_norms_add_up_ids_that_occur_twice():
    """A sparse gradient lists such an id twice until it is coalesced."""
    table = torch.nn.Embedding(3, 2, sparse=True)
    (table(torch.tensor([1, 1])).sum(0) * torch.tensor([3.0, 4.0])).sum().backward()

    assert gradient_norms(torch.nn.Sequential(table)) == {"gradient_norm/0": pytest.approx(2 * 5.0)}


def test_layers_without_a_gradient_have_no_norm():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1))
    model[0](torch.ones(1, 2)).sum().backward()

    assert list(gradient_norms(model)) == ["gradient_norm/0"]


def activation_norms(model, *inputs):
    norms = ActivationNorms()
    norms.begin(model)
    for each in inputs:
        model(each)
    norms.end()
    return norms.norms()


def rms(values):
    return pytest.approx(float(values.detach().square().mean().sqrt()), rel=1e-5)


@pytest.mark.parametrize("activation", ["relu", "prelu", "maxout", "dice", "sigmoid"])
def test_activation_norms_are_those_of_the_layers_run_one_by_one(activation):
    torch.manual_seed(0)
    batch = random_batch(FULL_SCHEMA, [3, 0, 5, 2])
    model = BaseConfig(activation=activation, hidden_units=(6, 4)).build(FULL_SCHEMA).eval()

    norms = activation_norms(model, batch)

    embedded = model.embeddings(batch)
    values = embedded.tower_input(model.pool(embedded.history, batch.offsets))
    for position, layer in enumerate(model.mlp.layers):
        values = layer(values)
        assert norms[f"activation_norm/mlp.layers.{position}"] == rms(values)
    items = torch.cat([batch.target[0], batch.history[0]])
    assert norms["activation_norm/embeddings.item_tables.item"] == rms(model.embeddings.item_tables["item"](items))


def test_the_attention_of_a_jagged_batch_is_measured_over_its_behaviours():
    model, batch = DINConfig().build(FULL_SCHEMA), random_batch(FULL_SCHEMA, [3, 0, 5, 2])

    norms = activation_norms(model, batch)

    assert norms["activation_norm/activation_unit.rest.layers.2"] == rms(model(batch).attention)


def test_neither_width_nor_batch_size_changes_the_scale():
    for width in (2, 64):
        assert activation_norms(torch.nn.Sequential(torch.nn.ReLU()), torch.full((width, 3 * width), 2.0)) == {
            "activation_norm/0": pytest.approx(2.0)
        }


def test_a_layer_that_is_called_twice_counts_both_calls():
    norms = activation_norms(torch.nn.Sequential(torch.nn.Tanh(), torch.nn.ReLU()), torch.full((1, 1), 9.0), torch.full((3, 1), -9.0))

    assert norms == {"activation_norm/0": pytest.approx(1.0), "activation_norm/1": pytest.approx(0.5)}


def test_empty_outputs_and_layers_of_several_outputs_have_no_norm():
    class Pair(torch.nn.ReLU):
        def forward(self, values):
            return values, values

    assert activation_norms(torch.nn.Sequential(torch.nn.ReLU()), torch.zeros(0, 4)) == {}
    assert activation_norms(torch.nn.Sequential(Pair()), torch.ones(2, 4)) == {}


def test_measuring_leaves_no_hooks_and_begins_anew():
    model, norms = torch.nn.Sequential(torch.nn.ReLU()), ActivationNorms()
    for value in (1.0, 3.0):
        norms.begin(model)
        model(torch.full((2, 2), value))
        norms.end()
        assert norms.norms() == {"activation_norm/0": value}
    model(torch.full((2, 2), 5.0))

    assert norms.norms() == {"activation_norm/0": 3.0}
    assert not model[0]._forward_hooks
