"""PNN against loops over rows, fields and pairs of fields in float64."""

import pytest
import torch
from tests.models.examples import FULL_SCHEMA, ITEM_SCHEMA, random_batch
from tests.models.plain_loops import fields_of_row, in_double, randomised

from clickflow.models.config import PNNConfig

LENGTHS = [3, 0, 1, 5]


def build(schema=FULL_SCHEMA, **choices):
    defaults = {"embedding_dim": 4, "hidden_units": (6, 5), "activation": "relu"}
    return randomised(PNNConfig(**(defaults | choices)).build(schema))


def products_of(vectors, product):
    width = len(vectors[0])
    if product == "inner":
        return [sum(a * b for a, b in zip(x, y, strict=True)) for i, x in enumerate(vectors) for y in vectors[i + 1 :]]
    # the plain form that the superposition sums up: f_i f_j^T over all i and j
    return [sum(x[row] * y[column] for x in vectors for y in vectors) for row in range(width) for column in range(width)]


@pytest.mark.parametrize("schema", [FULL_SCHEMA, ITEM_SCHEMA], ids=["full", "items only"])
@pytest.mark.parametrize("pooling", ["sum", "mean"])
@pytest.mark.parametrize("product", ["inner", "outer"])
def test_it_equals_a_loop_over_pairs_of_fields(product, pooling, schema):
    model, batch = build(schema, product=product, pooling=pooling), in_double(random_batch(schema, LENGTHS))

    expected = []
    for row in range(len(LENGTHS)):
        vectors = fields_of_row(model.embeddings, batch, row, pooling)
        signals = torch.cat([*vectors, batch.numeric[row], torch.stack(products_of(vectors, product))])
        expected.append(model.mlp(signals[None]))

    torch.testing.assert_close(model(batch).logit, torch.cat(expected))


@pytest.mark.parametrize("product", ["inner", "outer"])
def test_gradients_of_tables_are_those_of_the_formula(product):
    model, batch = build(product=product), in_double(random_batch(FULL_SCHEMA, LENGTHS))
    model(batch).logit.square().sum().backward()
    tables = [p for name, p in model.named_parameters() if "tables" in name]
    got = [table.grad.to_dense() for table in tables]

    logits = []
    for row in range(len(LENGTHS)):
        vectors = fields_of_row(model.embeddings, batch, row, "sum")
        signals = torch.cat([*vectors, batch.numeric[row], torch.stack(products_of(vectors, product))])
        logits.append(model.mlp(signals[None]))
    expected = torch.autograd.grad(torch.cat(logits).square().sum(), tables)

    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("schema", "num_fields", "num_numeric"), [(FULL_SCHEMA, 6, 2), (ITEM_SCHEMA, 2, 0)], ids=["full", "items only"])
@pytest.mark.parametrize("product", ["inner", "outer"])
def test_the_towers_input_is_linear_signals_and_products(product, schema, num_fields, num_numeric):
    model = build(schema, product=product)

    num_products = num_fields * (num_fields - 1) // 2 if product == "inner" else 4 * 4
    assert model.mlp.layers[0].in_features == num_fields * 4 + num_numeric + num_products
