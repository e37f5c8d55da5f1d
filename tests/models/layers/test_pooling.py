"""Pooling of jagged histories against a plain loop over rows and torch's own softmax."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clickflow.models.layers.pooling import mean_pool, segment_softmax, sum_pool

LENGTHS = [3, 0, 1, 5, 0]

lengths_of_rows = st.lists(st.integers(0, 4), min_size=1, max_size=6)


def offsets_of(lengths):
    return torch.tensor([0, *lengths]).cumsum(0)


def random_values(lengths, width=3, dtype=torch.float32):
    return torch.randn(sum(lengths), width, dtype=dtype, generator=torch.Generator().manual_seed(sum(lengths)))


@given(lengths_of_rows)
def test_sum_pool_equals_a_loop_over_rows(lengths):
    values = random_values(lengths)

    expected = torch.stack([part.sum(0) for part in values.split(lengths)])

    torch.testing.assert_close(sum_pool(values, offsets_of(lengths)), expected)


@given(lengths_of_rows)
def test_weighted_sum_pool_equals_a_loop_over_rows(lengths):
    values = random_values(lengths)
    weights = random_values(lengths, width=1)[:, 0]

    parts = zip(values.split(lengths), weights.split(lengths), strict=True)
    expected = torch.stack([(part * weight[:, None]).sum(0) for part, weight in parts])

    torch.testing.assert_close(sum_pool(values, offsets_of(lengths), weights), expected)


@given(lengths_of_rows)
def test_mean_pool_equals_a_loop_over_rows(lengths):
    values = random_values(lengths)

    expected = torch.stack([part.mean(0) if len(part) else torch.zeros(3) for part in values.split(lengths)])

    torch.testing.assert_close(mean_pool(values, offsets_of(lengths)), expected)


@given(lengths_of_rows)
def test_segment_softmax_equals_torch_softmax_of_each_row(lengths):
    scores = 10 * random_values(lengths, width=1)[:, 0]

    expected = torch.cat([part.softmax(0) for part in scores.split(lengths)])

    torch.testing.assert_close(segment_softmax(scores, offsets_of(lengths)), expected)


@pytest.mark.parametrize("shift", [-1e4, 1e4])
def test_segment_softmax_neither_overflows_nor_underflows(shift):
    scores = torch.tensor([0.0, 1.0, 2.0]) + shift

    torch.testing.assert_close(segment_softmax(scores, torch.tensor([0, 3])), torch.tensor([0.0, 1.0, 2.0]).softmax(0))


def test_gradients_of_sum_pool_are_right():
    values = random_values(LENGTHS, dtype=torch.float64).requires_grad_()
    weights = random_values(LENGTHS, width=1, dtype=torch.float64)[:, 0].clone().requires_grad_()

    assert torch.autograd.gradcheck(lambda v, w: sum_pool(v, offsets_of(LENGTHS), w), (values, weights))
    assert torch.autograd.gradcheck(lambda v: sum_pool(v, offsets_of(LENGTHS)), (values,))


def test_gradients_of_mean_pool_are_right():
    values = random_values(LENGTHS, dtype=torch.float64).requires_grad_()

    assert torch.autograd.gradcheck(lambda v: mean_pool(v, offsets_of(LENGTHS)), (values,))


def test_gradients_of_segment_softmax_are_right():
    scores = random_values(LENGTHS, width=1, dtype=torch.float64)[:, 0].clone().requires_grad_()

    assert torch.autograd.gradcheck(lambda s: segment_softmax(s, offsets_of(LENGTHS)), (scores,))


def test_a_batch_without_any_behaviour_pools_to_zeros():
    nothing, offsets = torch.zeros(0, 3, requires_grad=True), torch.zeros(3, dtype=torch.int64)

    for pooled in (sum_pool(nothing, offsets), sum_pool(nothing, offsets, torch.zeros(0)), mean_pool(nothing, offsets)):
        assert torch.equal(pooled, torch.zeros(2, 3))
        pooled.sum().backward()
    assert segment_softmax(torch.zeros(0), torch.zeros(3, dtype=torch.int64)).shape == (0,)
