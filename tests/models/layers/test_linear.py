"""The linear part against a hand-computed case."""

import pytest
import torch
from tests.models.examples import FULL_SCHEMA, ITEM_SCHEMA, random_batch

from clickflow.data.batches import Batch
from clickflow.models.layers.linear import INIT_STD, LinearPart
from clickflow.models.layers.pooling import mean_pool, sum_pool

LENGTHS = [3, 0, 1, 5]


def of_ids(table, factor):
    """Set the weight of id i to factor * i."""
    table.weight.data = factor * torch.arange(len(table.weight), dtype=torch.float32).unsqueeze(1)


@pytest.mark.parametrize(("pool", "of_history"), [(sum_pool, 0.01 * (3 + 5) + 0.1 * (1 + 2)), (mean_pool, 0.01 * 4 + 0.1 * 1.5)])
def test_it_is_the_sum_of_the_weights_of_a_rows_ids(pool, of_history):
    linear = LinearPart(FULL_SCHEMA, pool)
    for table, factor in zip(linear.history_tables.values(), (0.01, 0.1), strict=True):
        of_ids(table, factor)
    for table, factor in zip(linear.target_tables.values(), (1.0, 10.0), strict=True):
        of_ids(table, factor)
    for table, factor in zip(linear.context_tables.values(), (100.0, 1000.0), strict=True):
        of_ids(table, factor)
    linear.numeric_weight.data = torch.tensor([[2.0], [-4.0]])
    linear.bias.data = torch.tensor([0.5])
    batch = Batch(
        target=torch.tensor([[7, 7], [3, 3]]),
        history=torch.tensor([[3, 5], [1, 2]]),
        offsets=torch.tensor([0, 2, 2]),
        context=torch.tensor([[2, 2], [1, 1]]),
        numeric=torch.tensor([[0.25, 1.0], [0.25, 1.0]]),
    )

    without_history = 7 + 30 + 200 + 1000 + 0.5 - 4 + 0.5

    torch.testing.assert_close(linear(batch), torch.tensor([without_history + of_history, without_history]))


def test_an_id_weighs_one_as_target_and_another_as_behaviour():
    linear = LinearPart(ITEM_SCHEMA, sum_pool)

    linear(random_batch(ITEM_SCHEMA, LENGTHS)).sum().backward()

    target, history = linear.target_tables["item"].weight, linear.history_tables["item"].weight
    assert target is not history
    assert target.grad.coalesce().values().sum() == len(LENGTHS)
    assert history.grad.coalesce().values().sum() == sum(LENGTHS)


def test_weights_start_nearly_at_zero_and_those_of_unknown_ids_at_zero():
    torch.manual_seed(0)
    linear = LinearPart(FULL_SCHEMA, sum_pool)

    for name, parameter in linear.named_parameters():
        assert parameter.abs().max() < 5 * INIT_STD, name
    for tables in (linear.target_tables, linear.history_tables, linear.context_tables):
        assert all(table.weight[0] == 0 for table in tables.values())


@pytest.mark.parametrize("schema", [FULL_SCHEMA, ITEM_SCHEMA], ids=["full", "items only"])
def test_every_weight_gets_a_gradient_of_the_right_kind(schema):
    linear = LinearPart(schema, sum_pool)

    linear(random_batch(schema, LENGTHS)).sum().backward()

    for name, parameter in linear.named_parameters():
        assert parameter.grad.is_sparse == ("tables" in name), name
