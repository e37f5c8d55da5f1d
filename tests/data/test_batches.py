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


def test_a_batch_on_its_device_is_not_copied():
    batch = make_batch()
    assert batch.to(torch.device("cpu")) is batch


def test_a_batch_moves_with_all_the_tensors_that_it_has():
    meta = torch.device("meta")
    ids = torch.zeros(3, dtype=torch.int64)
    moved = make_batch(label=torch.zeros(3), group=ids, negative_history=ids[None], history_of=ids, list_id=ids).to(meta)
    assert {getattr(moved, name).device for name in Batch.__slots__} == {meta}
    scoring = make_batch().to(meta)
    assert scoring.label is None
    assert scoring.group is None
    assert scoring.negative_history is None
    assert scoring.history.device == meta


@given(st.lists(st.integers(0, 4), min_size=1, max_size=8), st.data())
def test_parts_of_a_batch_hold_their_rows_with_their_histories(lengths, data):
    """The parts are compared for rows with a history each and for rows that share histories in any order."""
    num_values = sum(lengths)
    shared = data.draw(st.none() | st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=8))
    rows = torch.arange(len(lengths) if shared is None else len(shared))
    batch = Batch(
        target=rows[None],
        history=torch.arange(num_values)[None],
        offsets=torch.tensor([0, *lengths]).cumsum(0),
        context=rows[None] + 100,
        numeric=rows[:, None].float(),
        label=rows.float(),
        group=rows,
        negative_history=torch.arange(num_values)[None] + 100,
        history_of=None if shared is None else torch.tensor(shared),
    )
    size = data.draw(st.integers(1, len(rows)))

    parts = [batch.part(start, start + size) for start in range(0, len(rows), size)]

    for name in ("target", "context"):
        assert torch.equal(torch.cat([getattr(part, name) for part in parts], dim=1), getattr(batch, name))
    for name in ("numeric", "label", "group"):
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(batch, name))
    histories = [history for part in parts for history in histories_of(part)]
    assert histories == histories_of(batch)


def histories_of(batch):
    """Values of each row's history and of its negatives."""
    numbers = range(len(batch)) if batch.history_of is None else batch.history_of.tolist()
    spans = [slice(int(batch.offsets[number]), int(batch.offsets[number + 1])) for number in numbers]
    return [(batch.history[0, span].tolist(), batch.negative_history[0, span].tolist()) for span in spans]
