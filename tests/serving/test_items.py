import torch
from hypothesis import given
from hypothesis import strategies as st

from clickflow.data.batches import jagged_ranges
from clickflow.serving.items import Users, share_histories


@given(st.lists(st.lists(st.integers(0, 2), max_size=3), max_size=30), st.integers(1, 4))
def test_shared_histories_are_those_of_the_rows(histories, times):
    histories = [history for history in histories for _ in range(times)]
    lengths = torch.tensor([len(history) for history in histories], dtype=torch.int64)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    flat = torch.tensor([item for history in histories for item in history], dtype=torch.int64)
    shared, bounds, history_of = share_histories(flat, offsets)
    num_different = sum(place == 0 or history != histories[place - 1] for place, history in enumerate(histories))
    if num_different > 0.75 * len(histories):
        assert history_of is None
        assert torch.equal(shared, flat)
        return
    assert len(bounds) == num_different + 1
    positions, _ = jagged_ranges(bounds[:-1][history_of], bounds[1:][history_of])
    assert torch.equal(shared[positions], flat)


@given(st.lists(st.integers(0, 9), max_size=30), st.integers(1, 5), st.integers(0, 12))
def test_parts_are_as_large_as_the_limits_let_them_be(lengths, max_rows, max_behaviours):
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    users = Users(torch.arange(int(offsets[-1])), offsets, [], {})
    cuts = list(users.cuts(max_rows, max_behaviours))
    assert [row for start, end in cuts for row in range(start, end)] == list(range(len(lengths)))
    for start, end in cuts:
        assert end == start + 1 or (end - start <= max_rows and sum(lengths[start:end]) <= max_behaviours)
        assert end == len(lengths) or end - start == max_rows or sum(lengths[start : end + 1]) > max_behaviours
        part = users.slice(start, end)
        assert part.offsets.diff().tolist() == lengths[start:end]
        assert part.history.tolist() == list(range(int(offsets[start]), int(offsets[end])))
