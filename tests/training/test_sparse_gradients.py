"""Coalescing and clipping against torch's own on dense copies."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from clickflow.training.sparse_gradients import clip_gradient_norm, coalesce_gradient


def table_with_gradient(ids, num_rows=7, dim=3, lookups=1):
    torch.manual_seed(len(ids))
    table = nn.Embedding(num_rows, dim, sparse=True)
    for _ in range(lookups):
        (table(torch.tensor(ids, dtype=torch.int64)) * torch.randn(len(ids), dim)).sum().backward()
    return table.weight


@given(ids=st.lists(st.integers(0, 6), max_size=30), dim=st.integers(1, 5), lookups=st.integers(1, 2))
def test_a_gradient_is_coalesced_as_torch_does_it(ids, dim, lookups):
    weight = table_with_gradient(ids, dim=dim, lookups=lookups)
    expected = weight.grad.clone().coalesce()

    rows, values = coalesce_gradient(weight)

    assert torch.equal(rows, expected.indices()[0])
    torch.testing.assert_close(values, expected.values())
    assert weight.grad.is_coalesced()
    torch.testing.assert_close(weight.grad.to_dense(), expected.to_dense())


def test_it_is_coalesced_once_and_its_values_are_the_gradients_own():
    weight = table_with_gradient([1, 1, 4])
    first = coalesce_gradient(weight)
    again = coalesce_gradient(weight)

    again[1].zero_()

    assert first[1].data_ptr() == again[1].data_ptr()
    assert not weight.grad.to_dense().any()


def test_a_coalesced_gradient_takes_another_backward_pass():
    """Accumulation over several batches needs this."""
    table = nn.Embedding(4, 2, sparse=True)
    table(torch.tensor([1, 1])).sum().backward()
    coalesce_gradient(table.weight)
    table(torch.tensor([1, 3])).sum().backward()

    rows, values = coalesce_gradient(table.weight)

    assert rows.tolist() == [1, 3]
    assert values.tolist() == [[3, 3], [1, 1]]


@pytest.mark.parametrize("max_norm", [0.1, 1.0, 1e6])
def test_clipping_is_torchs_own_over_dense_and_sparse_gradients_together(max_norm):
    table = table_with_gradient([3, 3, 5, 0, 3])
    layer, unused = nn.Linear(3, 2), nn.Linear(3, 2)
    layer(torch.randn(4, 3)).square().sum().backward()
    parameters = [table, *layer.parameters(), *unused.parameters()]
    dense = [copy.deepcopy(parameter) for parameter in parameters]
    for parameter, original in zip(dense, parameters, strict=True):
        parameter.grad = None if original.grad is None else original.grad.to_dense().clone()
    torch.nn.utils.clip_grad_norm_(dense, max_norm)

    clip_gradient_norm(parameters, max_norm)

    for parameter, expected in zip(parameters, dense, strict=True):
        if expected.grad is None:
            assert parameter.grad is None
        else:
            torch.testing.assert_close(parameter.grad.to_dense(), expected.grad)
    total = torch.stack([p.grad.to_dense().norm() for p in parameters if p.grad is not None]).norm()
    assert total <= max_norm * 1.00001


def test_torch_itself_does_not_clip_sparse_gradients():
    """This limit of torch is the reason for ``clip_gradient_norm``."""
    with pytest.raises((RuntimeError, NotImplementedError)):
        torch.nn.utils.clip_grad_norm_([table_with_gradient([1, 2])], 1.0)
