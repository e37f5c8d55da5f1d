import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.models.examples import ITEM_SCHEMA, random_batch, shared_batch

from clickflow.models.layers.pairs import Pairs

lengths_of_histories = st.lists(st.integers(0, 5), min_size=1, max_size=6)


def pairs_by_loop(batch):
    numbers = range(len(batch)) if batch.history_of is None else batch.history_of.tolist()
    return [(row, place) for row, n in enumerate(numbers) for place in range(int(batch.offsets[n]), int(batch.offsets[n + 1]))]


def as_list(pairs):
    behaviours = range(len(pairs.rows)) if pairs.behaviours is None else pairs.behaviours.tolist()
    return list(zip(pairs.rows.tolist(), behaviours, strict=True))


@given(lengths_of_histories, st.data())
def test_pairs_are_those_of_a_loop_over_rows_and_their_histories(lengths, data):
    shared = data.draw(st.none() | st.lists(st.integers(0, len(lengths) - 1), max_size=6))
    batch = random_batch(ITEM_SCHEMA, lengths) if shared is None else shared_batch(ITEM_SCHEMA, lengths, shared)

    pairs = Pairs.of(batch)

    assert as_list(pairs) == pairs_by_loop(batch)
    assert pairs.offsets.diff().tolist() == batch.lengths.tolist()


@given(lengths_of_histories, st.data(), st.integers(1, 7))
def test_blocks_are_the_same_pairs_a_few_at_a_time(lengths, data, size):
    shared = data.draw(st.none() | st.lists(st.integers(0, len(lengths) - 1), max_size=6))
    batch = random_batch(ITEM_SCHEMA, lengths) if shared is None else shared_batch(ITEM_SCHEMA, lengths, shared)
    pairs = Pairs.of(batch)

    blocks = list(pairs.blocks(size))

    assert [pair for block in blocks for pair in as_list(block)] == as_list(pairs)
    for block in blocks:
        assert len(block.rows) <= size
        assert block.offsets.diff().tolist() == torch.bincount(block.rows, minlength=len(batch)).tolist()


def test_a_batch_without_pairs_is_one_empty_block():
    (block,) = Pairs.of(random_batch(ITEM_SCHEMA, [0, 0])).blocks(10)

    assert (len(block.rows), block.offsets.tolist()) == (0, [0, 0, 0])
