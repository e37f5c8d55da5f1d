"""Products of jagged rows against a loop over the rows."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clickflow.models.layers.segments import segment_matmul


def by_a_loop(values, matrices, offsets):
    parts = values.split(offsets.diff().tolist())
    return torch.cat([part @ matrix for part, matrix in zip(parts, matrices, strict=True)])


def value_and_gradients(product, offsets, dim=3, width=2):
    draw = torch.Generator().manual_seed(0)
    values = torch.randn(int(offsets[-1]), dim, generator=draw, dtype=torch.float64, requires_grad=True)
    matrices = torch.randn(len(offsets) - 1, dim, width, generator=draw, dtype=torch.float64, requires_grad=True)
    result = product(values, matrices, offsets)
    result.backward(torch.randn(result.shape, generator=draw, dtype=torch.float64))
    return result, values.grad, matrices.grad


@given(st.lists(st.integers(0, 40), min_size=1, max_size=12))
def test_it_equals_a_loop_in_value_and_gradient(lengths):
    offsets = torch.tensor([0, *lengths]).cumsum(0)

    for ours, expected in zip(value_and_gradients(segment_matmul, offsets), value_and_gradients(by_a_loop, offsets), strict=True):
        torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("lengths", [[0], [0, 0, 0]])
def test_without_any_values_there_is_nothing(lengths):
    result, of_values, of_matrices = value_and_gradients(segment_matmul, torch.tensor([0, *lengths]).cumsum(0))

    assert result.shape == (0, 2)
    assert of_values.shape == (0, 3)
    assert not of_matrices.any()
