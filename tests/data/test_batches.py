import torch
from hypothesis import given
from hypothesis import strategies as st

from clickflow.data.batches import Batch, jagged_ranges

ranges = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 8)).map(lambda pair: (pair[0], pair[0] + pair[1])), max_size=12)


@given(ranges)
def test_jagged_ranges_are_the_ranges_one_after_the_other(pairs):
    starts, ends = (torch.tensor([pair[side] for pair in pairs], dtype=torch.int64) for side in (0, 1))
    positions, offsets = jagged_ranges(starts, ends)
    assert positions.tolist() == [position for start, end in pairs for position in range(start, end)]
    assert offsets.tolist() == [sum(end - start for start, end in pairs[:count]) for count in range(len(pairs) + 1)]
    assert (positions.dtype, offsets.dtype) == (torch.int64, torch.int64)


def make_batch(**more: torch.Tensor) -> Batch:
    return Batch(
        target=torch.tensor([[1, 2, 3]]),
        history=torch.tensor([[4, 5, 6]]),
        offsets=torch.tensor([0, 2, 2, 3]),
        context=torch.zeros(0, 3, dtype=torch.int64),
        numeric=torch.zeros(3, 0),
        **more,
    )


def test_a_batch_knows_its_size_and_the_lengths_of_its_histories():
    assert len(make_batch()) == 3
    assert make_batch().lengths.tolist() == [2, 0, 1]
    assert make_batch(history_of=torch.tensor([2, 0, 2])).lengths.tolist() == [1, 2, 1]


def test_a_batch_that_is_where_it_should_be_is_not_copied():
    batch = make_batch()
    assert batch.to(torch.device("cpu")) is batch


def test_a_batch_moves_with_all_its_tensors_and_without_those_it_has_not():
    meta = torch.device("meta")
    ids = torch.zeros(3, dtype=torch.int64)
    moved = make_batch(label=torch.zeros(3), group=ids, negative_history=ids[None], history_of=ids).to(meta)
    assert {getattr(moved, name).device for name in Batch.__slots__} == {meta}
    scoring = make_batch().to(meta)
    assert scoring.label is None
    assert scoring.group is None
    assert scoring.negative_history is None
    assert scoring.history.device == meta
