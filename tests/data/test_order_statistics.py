"""The value at a rank against a sort."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickflow.data import order_statistics as module
from clickflow.data.order_statistics import order_statistics

numbers = st.lists(st.integers(-5, 5) | st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=40)


@given(numbers, st.data(), st.sampled_from([2, 3, 1 << 22]))
def test_the_number_at_a_rank_is_that_of_the_sorted_numbers(values, data, bins):
    ranks = data.draw(st.lists(st.integers(0, len(values) - 1), min_size=1, max_size=3))
    array = np.array(values, np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BINS", bins)
        assert order_statistics(lambda: np.array_split(array, 3), ranks) == [sorted(values)[rank] for rank in ranks]
