"""DIN against a plain implementation with padded histories and a mask, row by row."""

import pytest
import torch
from tests.models.examples import FULL_SCHEMA, ITEM_SCHEMA, random_batch

from clickflow.models.config import BaseConfig, DINConfig

LENGTHS = [3, 0, 1, 5]


def build(schema=FULL_SCHEMA, **choices):
    torch.manual_seed(0)
    sizes = {"embedding_dim": 4, "embedding_init_std": 1.0, "hidden_units": (6, 5), "attention_hidden_units": (8, 3)}
    return DINConfig(**(sizes | {"activation": "prelu", "attention_activation": "prelu"} | choices)).build(schema).eval()


def padded_logits(model, batch, softmax):
    """Logits as the released code computes them: padded histories (B, L, D), a mask, inputs at every position, a softmax over L."""
    tables = list(model.embeddings.item_tables.values())
    longest = int(batch.lengths.max())
    mask = torch.arange(longest) < batch.lengths[:, None]  # (B, L)
    ids = torch.zeros(len(tables), len(batch), longest, dtype=torch.int64)
    ids[:, mask] = batch.history
    keys = torch.cat([table.weight[ids[f]] for f, table in enumerate(tables)], dim=2)  # (B, L, D)
    target = torch.cat([table.weight[batch.target[f]] for f, table in enumerate(tables)], dim=1)  # (B, D)
    queries = target[:, None].expand_as(keys)
    unit = model.activation_unit
    match unit.inputs:
        case "difference":
            features = torch.cat([queries, queries - keys, keys], dim=2)
        case "outer":
            features = torch.cat([queries, torch.einsum("bli,blj->blij", queries, keys).flatten(2), keys], dim=2)
        case "product":
            features = torch.cat([queries, keys, queries - keys, queries * keys], dim=2)
    rows = features.flatten(0, 1)
    for layer in (unit.first, unit.activation, *unit.rest.layers):
        rows = layer(rows)
    scores = rows.view(len(batch), longest)
    weights = scores.masked_fill(~mask, -torch.inf).softmax(1).nan_to_num() if softmax else scores * mask
    pooled = (weights[:, :, None] * keys).sum(1)
    context = [table.weight[batch.context[c]] for c, table in enumerate(model.embeddings.context_tables.values())]
    return model.mlp(torch.cat([pooled, target, *context, batch.numeric], dim=1))


@pytest.mark.parametrize("activation", ["prelu", "dice", "sigmoid", "relu"])
@pytest.mark.parametrize("inputs", ["difference", "outer", "product"])
@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("schema", [FULL_SCHEMA, ITEM_SCHEMA], ids=["full", "items only"])
def test_jagged_equals_padded(schema, softmax, inputs, activation):
    model = build(schema, attention_input=inputs, attention_softmax=softmax, activation=activation, attention_activation=activation)
    batch = random_batch(schema, LENGTHS)

    torch.testing.assert_close(model(batch).logit, padded_logits(model, batch, softmax), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("inputs", ["difference", "outer", "product"])
@pytest.mark.parametrize("softmax", [False, True])
def test_jagged_equals_padded_in_every_gradient(softmax, inputs):
    model, batch = build(attention_softmax=softmax, attention_input=inputs), random_batch(FULL_SCHEMA, LENGTHS)

    def gradients(logits):
        model.zero_grad()
        (logits * torch.tensor([1.0, -2.0, 3.0, 0.5])).sum().backward()
        return {name: (p.grad.to_dense() if p.grad.is_sparse else p.grad).clone() for name, p in model.named_parameters()}

    expected = gradients(padded_logits(model, batch, softmax))
    for name, gradient in gradients(model(batch).logit).items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-5, msg=lambda m, name=name: f"{name}: {m}")


def set_constant_attention(model, weight):
    last = model.activation_unit.rest.layers[-1]
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.constant_(last.bias, weight)


def base_with_the_weights_of(din, pooling):
    base = BaseConfig(embedding_dim=4, hidden_units=(6, 5), activation="prelu", pooling=pooling).build(FULL_SCHEMA).eval()
    base.load_state_dict({name: value for name, value in din.state_dict().items() if not name.startswith("activation_unit")})
    return base


def test_with_attention_one_everywhere_it_is_base():
    din, batch = build(), random_batch(FULL_SCHEMA, LENGTHS)
    set_constant_attention(din, 1.0)

    torch.testing.assert_close(din(batch).logit, base_with_the_weights_of(din, "sum")(batch).logit)


def test_with_equal_attention_and_softmax_it_is_base_with_mean_pooling():
    din, batch = build(attention_softmax=True), random_batch(FULL_SCHEMA, LENGTHS)
    set_constant_attention(din, 7.0)

    torch.testing.assert_close(din(batch).logit, base_with_the_weights_of(din, "mean")(batch).logit)


def test_weights_are_not_normalised_unless_asked_for():
    assert DINConfig().attention_softmax is False


def test_it_has_no_auxiliary_loss():
    assert build()(random_batch(FULL_SCHEMA, LENGTHS)).auxiliary_loss is None


def test_it_gives_the_attention_it_pooled_with():
    model, batch = build(attention_softmax=True), random_batch(FULL_SCHEMA, LENGTHS)

    attention = model(batch).attention

    sums = torch.stack([part.sum() for part in attention.split(batch.lengths.tolist())])
    torch.testing.assert_close(sums, torch.tensor([1.0, 0.0, 1.0, 1.0]))
