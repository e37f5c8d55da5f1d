"""DIEN against the paper's equations, one row and one step at a time."""

from dataclasses import replace

import pytest
import torch
from tests.models.examples import FULL_SCHEMA, ITEM_SCHEMA, random_batch, take_rows

from clickflow.errors import ConfigError
from clickflow.models.config import DIENConfig, DINConfig
from clickflow.models.contract import draws_negatives

LENGTHS = {"mixed": [3, 0, 1, 5, 2], "equal": [3, 3], "one row": [4], "at most one behaviour": [1, 0, 1], "all empty": [0, 0]}
EVOLUTIONS = ["augru", "agru", "aigru"]
histories = pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)


def build(schema=FULL_SCHEMA, **choices):
    torch.manual_seed(0)
    sizes = {"embedding_dim": 4, "embedding_init_std": 1.0, "hidden_units": (6, 5), "auxiliary_hidden_units": (7, 3), "activation": "prelu"}
    return DIENConfig(**(sizes | choices)).build(schema).double()


def examples(schema, lengths):
    batch = random_batch(schema, lengths)
    return replace(batch, numeric=batch.numeric.double())


def gru_step(layer, i, h, a=None):
    """Next state by equations 2 to 5 and 12 to 16."""
    parts = [parameter.chunk(layer.num_gates) for parameter in (layer.input_weight, layer.recurrent_weight, layer.bias)]
    if layer.kind == "aigru":
        i = a * i
    *gates, r = (torch.sigmoid(w @ i + u @ h + b) for w, u, b in zip(*(part[:-1] for part in parts), strict=True))
    w, u, b = (part[-1] for part in parts)
    candidate = torch.tanh(w @ i + r * (u @ h) + b)
    update = a if layer.kind == "agru" else gates[0]
    if layer.kind == "augru":
        update = a * update
    return (1 - update) * h + update * candidate


def plain_score(auxiliary, h, e):
    """sigma(h, e) of the inner product, or of the released code's MLP over [h, e]."""
    if auxiliary.first is None:
        return torch.sigmoid(h @ e)
    hidden = torch.sigmoid(auxiliary.first(torch.cat([h, e])))
    *layers, last = (layer for layer in auxiliary.rest.layers if isinstance(layer, torch.nn.Linear))
    for layer in layers:
        hidden = torch.sigmoid(layer(hidden))
    return torch.sigmoid(last(hidden)).squeeze()


def plain_output(model, batch):
    """Logits, attention weights and auxiliary loss, with loops over rows and steps."""
    item_tables, context_tables = (list(tables.values()) for tables in (model.embeddings.item_tables, model.embeddings.context_tables))

    def item_vectors(ids):
        return torch.cat([table.weight[ids[f]] for f, table in enumerate(item_tables)], dim=1)

    width = model.attention.out_features
    inputs, weights, terms = [], [], []
    targets = item_vectors(batch.target)
    lengths = batch.lengths.tolist()
    rows = zip(batch.history.split(lengths, dim=1), batch.negative_history.split(lengths, dim=1), strict=True)
    for row, (history, sampled) in enumerate(rows):
        behaviours, negatives = item_vectors(history), item_vectors(sampled)
        h, interests = torch.zeros(width, dtype=torch.float64), []
        for e in behaviours:
            h = gru_step(model.extractor, e, h)
            interests.append(h)
        for t, h in enumerate(interests[:-1]):
            true, false = (plain_score(model.auxiliary, h, e[t + 1]) for e in (behaviours, negatives))
            terms.append(-(torch.log(true) + torch.log(1 - false)))
        state = torch.zeros(width, dtype=torch.float64)
        if interests:
            attention = torch.stack([h @ model.attention.weight @ targets[row] for h in interests]).softmax(0)
            for h, a in zip(interests, attention, strict=True):
                state = gru_step(model.evolution, h, state, a)
            weights.append(attention)
        context = [table.weight[batch.context[c, row]] for c, table in enumerate(context_tables)]
        inputs.append(torch.cat([state, targets[row], *context, batch.numeric[row]]))
    auxiliary = model.auxiliary.weight * sum(terms) / len(terms) if terms else torch.zeros((), dtype=torch.float64)
    nothing = torch.zeros(0, dtype=torch.float64)
    return model.mlp(torch.stack(inputs)), torch.cat([nothing, *weights]), auxiliary


def gradients(model, logit, attention, auxiliary):
    model.zero_grad()
    steep = torch.linspace(-1, 2, len(logit), dtype=torch.float64)
    loss = (logit * steep).sum() + (attention * torch.arange(len(attention))).sum() + auxiliary
    (loss + 0 * sum(parameter.sum() for parameter in model.parameters())).backward()
    return {name: parameter.grad.to_dense() for name, parameter in model.named_parameters()}


@histories
@pytest.mark.parametrize("score", ["inner", "mlp"])
@pytest.mark.parametrize("evolution", EVOLUTIONS)
@pytest.mark.parametrize("schema", [FULL_SCHEMA, ITEM_SCHEMA], ids=["full", "items only"])
def test_it_is_what_the_paper_says_in_value_and_in_every_gradient(schema, evolution, score, lengths):
    model, batch = build(schema, evolution=evolution, auxiliary_score=score, auxiliary_weight=0.7), examples(schema, lengths)

    output, expected = model(batch), plain_output(model, batch)

    found = (output.logit, output.attention, output.auxiliary_loss)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradients(model, *found), gradients(model, *expected))


def test_states_may_be_wider_than_an_items_vector():
    model, batch = build(gru_hidden_units=11, auxiliary_score="mlp"), examples(FULL_SCHEMA, LENGTHS["mixed"])

    torch.testing.assert_close((model(batch).logit, model(batch).auxiliary_loss), plain_output(model, batch)[::2])


def test_the_inner_product_of_unequal_widths_is_refused_by_name():
    with pytest.raises(
        ConfigError, match=r"^model\.gru_hidden_units = 9: .* as wide as an item's vector, 8 here; set .*=null or .*=mlp\.$"
    ):
        build(gru_hidden_units=9, auxiliary_score="inner")
    assert build(gru_hidden_units=8, auxiliary_score="inner")
    assert build(gru_hidden_units=9, auxiliary_score="inner", auxiliary_weight=0.0)


@pytest.mark.parametrize("score", ["inner", "mlp"])
@pytest.mark.parametrize("lengths", [[1, 0, 1], [0]])
def test_without_any_next_behaviour_the_auxiliary_loss_is_zero_and_can_be_trained_on(lengths, score):
    model, batch = build(auxiliary_score=score), examples(FULL_SCHEMA, lengths)

    auxiliary = model(batch).auxiliary_loss
    auxiliary.backward()

    assert auxiliary == 0
    assert all(p.grad is None or torch.isfinite(p.grad.to_dense()).all() for p in model.parameters())
    assert model.auxiliary.first is None or not model.auxiliary.first.weight.grad.any()


def test_a_row_without_history_ends_in_a_state_of_zeros():
    model, seen = build(), []
    model.mlp.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))

    model(examples(FULL_SCHEMA, [3, 0, 1]))

    assert [bool(state.any()) for state in seen[0][:, : model.attention.out_features]] == [True, False, True]


def test_negatives_of_first_behaviours_are_not_used():
    model, batch = build(), examples(FULL_SCHEMA, [3, 0, 1, 2])
    changed = batch.negative_history.clone()
    changed[:, [0, 3, 4]] = (changed[:, [0, 3, 4]] + 1) % 5

    assert torch.equal(model(replace(batch, negative_history=changed)).auxiliary_loss, model(batch).auxiliary_loss)
    changed[:, 5] = (changed[:, 5] + 1) % 5
    assert not torch.equal(model(replace(batch, negative_history=changed)).auxiliary_loss, model(batch).auxiliary_loss)


def test_without_negatives_there_is_no_auxiliary_loss_and_the_logits_are_the_same():
    model, batch = build(), examples(FULL_SCHEMA, LENGTHS["mixed"])

    output = model(replace(batch, negative_history=None))

    assert output.auxiliary_loss is None
    torch.testing.assert_close(output.logit, model(batch).logit)


def test_a_weight_of_zero_removes_the_auxiliary_loss():
    model = build(auxiliary_weight=0.0)

    assert model(examples(FULL_SCHEMA, LENGTHS["mixed"])).auxiliary_loss is None
    assert not draws_negatives(model)
    assert [name for name, _ in model.named_parameters() if name.startswith("auxiliary")] == []


def test_of_all_models_this_one_draws_negatives():
    assert draws_negatives(build())
    assert not draws_negatives(DINConfig().build(FULL_SCHEMA))


def test_the_order_of_rows_only_reorders_the_output():
    model, batch = build(), examples(FULL_SCHEMA, LENGTHS["mixed"])
    order = [3, 0, 4, 2, 1]

    output, moved = model(batch), model(take_rows(batch, order))

    torch.testing.assert_close(moved.logit, output.logit[order])
    torch.testing.assert_close(moved.auxiliary_loss, output.auxiliary_loss)
    parts = output.attention.split(batch.lengths.tolist())
    torch.testing.assert_close(moved.attention, torch.cat([parts[row] for row in order]))


def test_attention_sums_to_one_over_each_history():
    batch = examples(FULL_SCHEMA, LENGTHS["mixed"])

    sums = torch.stack([part.sum() for part in build()(batch).attention.split(batch.lengths.tolist())])

    torch.testing.assert_close(sums, torch.tensor([1.0, 0.0, 1.0, 1.0, 1.0], dtype=torch.float64))
