"""Field embeddings against a lookup field by field."""

import pytest
import torch
from tests.models.examples import FULL_SCHEMA, ITEM_SCHEMA, random_batch

from clickflow.data.schema import CategoricalField, Schema
from clickflow.models.layers.embedding import FieldEmbeddings

LENGTHS = [3, 0, 1, 4]


def build(schema=FULL_SCHEMA, embedding_dim=4):
    torch.manual_seed(0)
    return FieldEmbeddings(schema, embedding_dim, init_std=0.1)


def test_every_field_is_looked_up_in_its_own_table():
    embeddings, batch = build(), random_batch(FULL_SCHEMA, LENGTHS)
    item, category = (embeddings.item_tables[name].weight for name in ("item", "category"))
    country, page = (embeddings.context_tables[name].weight for name in ("country", "shop_page"))

    embedded = embeddings(batch)

    assert torch.equal(embedded.target, torch.cat([item[batch.target[0]], category[batch.target[1]]], dim=1))
    assert torch.equal(embedded.history, torch.cat([item[batch.history[0]], category[batch.history[1]]], dim=1))
    assert torch.equal(embedded.context, torch.cat([country[batch.context[0]], page[batch.context[1]]], dim=1))
    assert torch.equal(embedded.numeric, batch.numeric)


def test_its_widths_are_those_of_its_output():
    embeddings = build()
    embedded = embeddings(random_batch(FULL_SCHEMA, LENGTHS))

    assert embeddings.target_dim == embedded.target.shape[1] == embedded.history.shape[1] == 2 * 4
    assert embeddings.context_dim == embedded.context.shape[1] == 2 * 4
    assert embeddings.numeric_dim == embedded.numeric.shape[1] == 2
    assert embeddings.tower_input_dim(5) == embedded.tower_input(torch.zeros(4, 5)).shape[1] == 5 + 8 + 8 + 2


def test_without_context_and_numeric_fields_the_context_is_empty():
    embeddings = build(ITEM_SCHEMA)
    embedded = embeddings(random_batch(ITEM_SCHEMA, LENGTHS))

    assert embeddings.context_dim == 0
    assert embedded.context.shape == (4, 0)


def test_tables_start_with_the_asked_spread_and_a_zero_row_for_the_unknown_id():
    torch.manual_seed(0)
    schema = Schema(categorical=(CategoricalField(name="item", role="item", vocabulary_size=5000),))
    weight = FieldEmbeddings(schema, 16, init_std=0.03).item_tables["item"].weight

    assert torch.equal(weight[0], torch.zeros(16))
    assert weight[1:].std().item() == pytest.approx(0.03, rel=0.02)
    assert weight[1:].mean().item() == pytest.approx(0, abs=0.001)


def test_gradients_are_sparse_and_hold_only_rows_of_the_batch():
    embeddings, batch = build(), random_batch(FULL_SCHEMA, LENGTHS)
    embedded = embeddings(batch)
    sum(part.sum() for part in embedded).backward()

    seen = {"item": [batch.target[0], batch.history[0]], "category": [batch.target[1], batch.history[1]]}
    for name, ids in seen.items():
        gradient = embeddings.item_tables[name].weight.grad
        assert gradient.is_sparse
        rows, counts = torch.cat(ids).unique(return_counts=True)
        assert torch.equal(gradient.coalesce().indices()[0], rows)
        assert torch.equal(gradient.coalesce().values(), counts[:, None].float().expand(-1, 4))
    for table in embeddings.context_tables.values():
        assert table.weight.grad.is_sparse


@pytest.mark.parametrize("names", [("type", "values"), ("a.b", "a_b"), ("type", "type_"), ("training", "item_tables"), ("übrig", "keys")])
def test_a_field_may_have_any_name(names):
    fields = [CategoricalField(name=name, role=role, vocabulary_size=3) for name, role in zip(names, ("item", "item"), strict=True)]
    schema = Schema(categorical=tuple(fields))
    embeddings = build(schema)

    assert embeddings(random_batch(schema, LENGTHS)).target.shape == (4, 8)
    assert len(embeddings.item_tables) == 2


def test_every_table_knows_its_field():
    embeddings = build()

    assert [table.field for table in embeddings.item_tables.values()] == ["item", "category"]
    assert [table.field for table in embeddings.context_tables.values()] == ["country", "shop.page"]
