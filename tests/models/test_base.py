"""Base against a loop over rows."""

import pytest
import torch
from tests.models.examples import FULL_SCHEMA, ITEM_SCHEMA, random_batch, take_rows

from clickflow.models.config import BaseConfig

LENGTHS = [3, 0, 1, 5]


def build(schema=FULL_SCHEMA, **choices):
    torch.manual_seed(0)
    model = BaseConfig(**({"embedding_dim": 4, "embedding_init_std": 1.0, "hidden_units": (6, 5), "activation": "relu"} | choices)).build(
        schema
    )
    with torch.no_grad():  # the unknown id gets a vector other than zero
        for table in model.embeddings.item_tables.values():
            table.weight[0] = 0.5
    return model.eval()


def logit_of_row(model, schema, batch, row, pooling):
    """Logit of one row, field by field and behaviour by behaviour."""
    items = model.embeddings.item_tables.values()
    target = torch.cat([table.weight[batch.target[f, row]] for f, table in enumerate(items)])
    positions = range(int(batch.offsets[row]), int(batch.offsets[row + 1]))
    behaviours = [torch.cat([table.weight[batch.history[f, n]] for f, table in enumerate(items)]) for n in positions]
    pooled = sum(behaviours, torch.zeros_like(target))
    if pooling == "mean" and behaviours:
        pooled = pooled / len(behaviours)
    context = [table.weight[batch.context[c, row]] for c, table in enumerate(model.embeddings.context_tables.values())]
    return model.mlp(torch.cat([pooled, target, *context, batch.numeric[row]])[None])


@pytest.mark.parametrize("schema", [FULL_SCHEMA, ITEM_SCHEMA], ids=["full", "items only"])
@pytest.mark.parametrize("pooling", ["sum", "mean"])
def test_it_equals_a_loop_over_rows(pooling, schema):
    model, batch = build(schema, pooling=pooling), random_batch(schema, LENGTHS)

    expected = torch.cat([logit_of_row(model, schema, batch, row, pooling) for row in range(4)])

    torch.testing.assert_close(model(batch).logit, expected)


def test_sum_keeps_how_much_a_user_did_and_mean_does_not():
    once = random_batch(FULL_SCHEMA, [1])
    twice = take_rows(once, [0])
    twice = type(once)(
        **{name: getattr(twice, name) for name in ("target", "context", "numeric", "label", "group")},
        history=once.history.repeat(1, 2),
        offsets=torch.tensor([0, 2]),
    )

    torch.testing.assert_close(build(pooling="mean")(once).logit, build(pooling="mean")(twice).logit)
    assert not torch.allclose(build(pooling="sum")(once).logit, build(pooling="sum")(twice).logit)


def test_it_has_no_auxiliary_loss():
    assert build()(random_batch(FULL_SCHEMA, LENGTHS)).auxiliary_loss is None
