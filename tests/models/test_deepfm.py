"""DeepFM against loops over rows, fields and pairs of fields in float64."""

import pytest
import torch
from tests.models.examples import FULL_SCHEMA, ITEM_SCHEMA, random_batch
from tests.models.plain_loops import fields_of_row, in_double, randomised

from clickflow.models.config import DeepFMConfig
from clickflow.models.layers.products import factorised_pairs

LENGTHS = [3, 0, 1, 5]


def build(schema=FULL_SCHEMA, **choices):
    defaults = {"embedding_dim": 4, "hidden_units": (6, 5), "activation": "relu"}
    return randomised(DeepFMConfig(**(defaults | choices)).build(schema))


def loop_over_rows(model, batch, pooling):
    logits = []
    linear = model.linear(batch)  # tests/models/test_linear.py
    for row in range(len(batch)):
        vectors = fields_of_row(model.embeddings, batch, row, pooling)
        pairs = torch.zeros((), dtype=torch.float64)
        for i in range(len(vectors)):
            for j in range(i + 1, len(vectors)):
                pairs = pairs + vectors[i] @ vectors[j]
        logits.append(linear[row] + pairs + model.mlp(torch.cat([*vectors, batch.numeric[row]])[None])[0])
    return torch.stack(logits)


@pytest.mark.parametrize("schema", [FULL_SCHEMA, ITEM_SCHEMA], ids=["full", "items only"])
@pytest.mark.parametrize("pooling", ["sum", "mean"])
def test_it_equals_a_double_loop_over_fields(pooling, schema):
    model, batch = build(schema, pooling=pooling), in_double(random_batch(schema, LENGTHS))

    torch.testing.assert_close(model(batch).logit, loop_over_rows(model, batch, pooling))


def test_gradients_are_those_of_the_formula():
    model, batch = build(), in_double(random_batch(FULL_SCHEMA, LENGTHS))
    parameters = dict(model.named_parameters())
    model(batch).logit.square().sum().backward()
    got = {name: parameter.grad.to_dense() for name, parameter in parameters.items()}
    model.zero_grad()

    loop_over_rows(model, batch, "sum").square().sum().backward()

    for name, parameter in parameters.items():
        torch.testing.assert_close(got[name], parameter.grad.to_dense(), msg=name)


def test_the_sum_of_pairs_needs_no_pair():
    vectors = torch.randn(5, 40, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    pairs = [sum(row[i] @ row[j] for i in range(40) for j in range(i)) for row in vectors]

    torch.testing.assert_close(factorised_pairs(vectors), torch.stack(pairs))


def test_tower_and_factorisation_machine_share_the_embeddings():
    names = [name for name, _ in build(ITEM_SCHEMA).named_parameters() if "tables" in name]

    assert names == [f"{tables}.item.weight" for tables in ("embeddings.item_tables", "linear.target_tables", "linear.history_tables")]
