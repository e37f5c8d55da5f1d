"""Batches against a plain loop over rows, and the order of a loader that a resumed run needs."""

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clickflow.data.batches import Batch, ItemTensors
from clickflow.data.dataset import BatchLoader, PreparedDataset, Split
from clickflow.data.schema import CategoricalField, NumericField, Schema

SCHEMA = Schema(
    categorical=(
        CategoricalField(name="item", role="item", vocabulary_size=5),
        CategoricalField(name="category", role="item", vocabulary_size=3),
        CategoricalField(name="country", role="user", vocabulary_size=4),
        CategoricalField(name="hour", role="context", vocabulary_size=25),
    ),
    numeric=(
        NumericField(name="age", role="user", mean=0, std=1),
        NumericField(name="weight", role="item", mean=0, std=1),
        NumericField(name="price", role="context", mean=0, std=1),
    ),
)
NUM_ITEMS = 7


@st.composite
def splits(draw, schema: Schema = SCHEMA) -> Split:
    """Random rows over random behaviours; histories may be empty."""
    num_behaviours = draw(st.integers(0, 12))
    position = st.integers(0, num_behaviours)
    ranges = draw(st.lists(st.tuples(position, position).map(sorted), min_size=1, max_size=9))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    size = len(ranges)
    starts, ends = np.array(ranges).T
    rows = {
        "group": rng.integers(0, 4, size).astype(np.int32),
        "item": rng.integers(0, NUM_ITEMS, size).astype(np.int32),
        "history_start": starts.astype(np.uint8),
        "history_end": ends.astype(np.uint8),
        "label": rng.integers(0, 2, size).astype(np.uint8),
    }
    rows |= {f"index/{field.name}": rng.integers(0, 3, size).astype(np.uint8) for field in schema.impression_fields}
    rows |= {f"numeric/{field.name}": rng.normal(size=size).astype(np.float32) for field in schema.numeric if field.role != "item"}
    for column in rows.values():
        column.setflags(write=False)  # as memory-mapped columns are
    return Split(
        rows=rows,
        behaviours=rng.integers(1, NUM_ITEMS, num_behaviours).astype(np.int32),
        items=ItemTensors(
            schema,
            index=torch.from_numpy(rng.integers(0, 3, (len(schema.item_fields), NUM_ITEMS))),
            numeric={field.name: torch.randn(NUM_ITEMS) for field in schema.numeric if field.role == "item"},
        ),
    )


def check_against_loop(batch: Batch, split: Split, chosen: list[int], max_history: int) -> None:
    assert len(batch) == len(chosen)
    assert batch.offsets[0] == 0
    assert batch.offsets[-1] == batch.history.shape[1]
    for position, row in enumerate(chosen):
        one = {name: values[row].item() for name, values in split.rows.items()}
        history = split.behaviours[one["history_start"] : one["history_end"]].tolist()[-max_history:]
        found = batch.history[:, batch.offsets[position] : batch.offsets[position + 1]]
        assert batch.lengths[position] == len(history)
        for field, table in enumerate(split.items.index.tolist()):
            assert batch.target[field, position] == table[one["item"]]
            assert found[field].tolist() == [table[item] for item in history]
        assert batch.context[:, position].tolist() == [one["index/country"], one["index/hour"]]
        weight = split.items.numeric["weight"][one["item"]].item()
        assert batch.numeric[position].tolist() == pytest.approx([one["numeric/age"], weight, one["numeric/price"]])
        assert batch.label[position] == one["label"]
        assert batch.group[position] == one["group"]


@given(splits(), st.integers(1, 15), st.data())
def test_a_batch_is_what_a_loop_over_its_rows_would_gather(split, max_history, data):
    chosen = data.draw(st.lists(st.integers(0, len(split) - 1), min_size=1, max_size=12))
    check_against_loop(split.take(np.array(chosen), max_history), split, chosen, max_history)
    start = data.draw(st.integers(0, len(split) - 1))
    check_against_loop(split.take(slice(start, None), max_history), split, list(range(start, len(split))), max_history)


@given(splits())
def test_a_batch_has_the_shapes_and_types_that_models_rely_on(split):
    batch = split.take(slice(None), max_history=5)
    size, total = len(split), int(batch.offsets[-1])
    expected = {
        "target": ((2, size), torch.int64),
        "history": ((2, total), torch.int64),
        "offsets": ((size + 1,), torch.int64),
        "context": ((2, size), torch.int64),
        "numeric": ((size, 3), torch.float32),
        "label": ((size,), torch.float32),
        "group": ((size,), torch.int64),
    }
    assert {name: (tuple(getattr(batch, name).shape), getattr(batch, name).dtype) for name in expected} == expected


def test_a_log_without_fields_gives_empty_context_and_numeric(small_dataset):
    batch = small_dataset.split("test").take(slice(0, 9), max_history=5)
    assert batch.context.shape == (0, 9)
    assert batch.context.dtype == torch.int64
    assert batch.numeric.shape == (9, 0)


def test_a_cut_keeps_the_latest_behaviours(small_dataset):
    split = small_dataset.split("train")
    full, cut = split.take(slice(0, 200), max_history=10_000), split.take(slice(0, 200), max_history=3)
    assert full.lengths.max() > 3
    for row in range(200):
        histories = [batch.history[:, batch.offsets[row] : batch.offsets[row + 1]] for batch in (full, cut)]
        assert torch.equal(histories[0][:, -3:], histories[1])


def test_the_dataset_knows_its_raw_ids(small_dataset):
    items = small_dataset.items()
    assert items.row(0, named=True) == {"raw": None, "index/item": 0, "index/category": 0}
    assert items["raw"][1:].to_list() == small_dataset.raw_items().to_list()
    assert items.height == small_dataset.manifest.num_items + 1
    vocabulary = small_dataset.vocabulary("item")
    known = items.filter(pl.col("index/item") > 0)
    assert known["raw"].to_list() == vocabulary["raw"].to_list()
    assert known["index/item"].to_list() == vocabulary["index"].to_list()
    assert len(small_dataset.raw_users()) == small_dataset.manifest.num_users
    assert small_dataset.num_bytes == sum(file.stat().st_size for file in small_dataset.folder.rglob("*") if file.is_file())


def test_splits_share_one_set_of_item_tensors(small_dataset, monkeypatch):
    dataset = PreparedDataset.open(small_dataset.folder)
    read, of = [], ItemTensors.of
    monkeypatch.setattr(ItemTensors, "of", lambda schema, columns: read.append(1) or of(schema, columns))
    splits = [dataset.split(name) for name in ("train", "validation", "test", "train", "validation", "train")]
    assert len(read) == 1
    assert all(split.items is dataset.item_tensors for split in splits)


# The loader


def make_loader(dataset, **more) -> BatchLoader:
    return BatchLoader(dataset.split("train"), max_history=10, **{"batch_size": 700, "seed": 5, **more})


def seen(batches) -> list[list[float]]:
    """Values that identify the rows, batch by batch."""
    return [torch.stack([batch.group, batch.target[0], batch.lengths]).T.tolist() for batch in batches]


def take(loader: BatchLoader, count: int) -> list[Batch]:
    """Take a number of batches without asking for the end of the epoch, as Lightning does."""
    batches = iter(loader)
    return [next(batches) for _ in range(count)]


@pytest.mark.parametrize(("batch_size", "batches"), [(9, 445), (700, 6), (4_000, 1), (9_999, 1), (1_000, 4)])
def test_an_epoch_visits_every_row_once(small_dataset, batch_size, batches):
    loader = make_loader(small_dataset, batch_size=batch_size)
    epoch = seen(loader)
    assert len(epoch) == len(loader) == batches
    in_order = seen(make_loader(small_dataset, batch_size=batch_size, seed=None))
    assert in_order == seen([small_dataset.split("train").take(slice(i * batch_size, (i + 1) * batch_size), 10) for i in range(batches)])
    assert sorted(row for batch in epoch for row in batch) == sorted(row for batch in in_order for row in batch)


def test_without_a_seed_every_epoch_has_the_rows_order(small_dataset):
    loader = make_loader(small_dataset, seed=None)
    assert seen(loader) == seen(loader)


def test_the_order_is_a_function_of_seed_and_epoch(small_dataset):
    first, second = make_loader(small_dataset), make_loader(small_dataset)
    epochs = [seen(first), seen(first)]
    assert epochs == [seen(second), seen(second)]
    assert epochs[0] != epochs[1]
    assert seen(make_loader(small_dataset, seed=6)) != epochs[0]


def test_an_epoch_whose_end_is_never_asked_for_is_followed_by_the_next_one(small_dataset):
    expected, loader = make_loader(small_dataset), make_loader(small_dataset)
    for _ in range(3):
        assert seen(take(loader, len(loader))) == seen(expected)


def test_an_epoch_that_was_left_early_is_followed_by_a_whole_one(small_dataset):
    expected, loader = make_loader(small_dataset), make_loader(small_dataset)
    next(iter(loader))
    epochs = [seen(expected), seen(expected)]
    assert seen(loader) == epochs[1]


@pytest.mark.parametrize("given", [1, 3, 5, 6])
@pytest.mark.parametrize("epoch", [0, 2])
def test_a_resumed_loader_gives_exactly_the_remaining_batches(small_dataset, epoch, given):
    interrupted, uninterrupted, resumed = (make_loader(small_dataset) for _ in range(3))
    for _ in range(epoch):
        assert seen(interrupted) == seen(uninterrupted)
    whole = seen(uninterrupted)
    assert seen(take(interrupted, given)) == whole[:given]
    resumed.load_state_dict(interrupted.state_dict())
    if given < len(resumed):
        assert seen(resumed) == whole[given:]
    assert seen(resumed) == seen(uninterrupted)


def test_the_state_saved_while_a_batch_is_in_use_counts_that_batch(small_dataset):
    loader = make_loader(small_dataset)
    states = [loader.state_dict() for _ in loader]
    assert states == [{"epoch": 0, "position": rows} for rows in (700, 1_400, 2_100, 2_800, 3_500, 4_000)]


def test_a_state_can_be_carried_on_with_another_batch_size(small_dataset):
    loader, whole = make_loader(small_dataset), make_loader(small_dataset)
    take(loader, 3)
    smaller = make_loader(small_dataset, batch_size=100)
    smaller.load_state_dict(loader.state_dict())
    rest = [row for batch in seen(smaller) for row in batch]
    assert rest == [row for batch in seen(whole)[3:] for row in batch]


# Negatives of behaviours


def items_split(item_index, behaviours) -> Split:
    """Split of one row whose history is all behaviours; the category of item row r is 10 + r, so it identifies the drawn row."""
    size, schema = len(item_index), Schema(categorical=SCHEMA.categorical[:2])
    one_row = {"group": [0], "item": [0], "history_start": [0], "history_end": [len(behaviours)], "label": [1]}
    return Split(
        rows={name: np.array(values) for name, values in one_row.items()},
        behaviours=np.array(behaviours, np.int32),
        items=ItemTensors(schema, index=torch.tensor([list(item_index), range(10, 10 + size)]), numeric={}),
    )


def drawn_rows(split, seed=0) -> list[int]:
    """Item rows of the negatives, after a check that all their fields are those of the row."""
    batch = split.take(slice(None), max_history=10**9, negatives=np.random.default_rng(seed))
    assert batch.negative_history.shape == batch.history.shape
    assert batch.negative_history.dtype == torch.int64
    rows = batch.negative_history[1] - 10
    assert torch.equal(split.items.index[:, rows], batch.negative_history)
    return rows.tolist()


@given(
    known=st.lists(st.booleans(), min_size=1, max_size=7),
    draws=st.lists(st.integers(1, 7), max_size=30),
    seed=st.integers(0, 99),
)
def test_a_negative_is_an_item_of_train_and_never_the_behaviour_itself(known, draws, seed):
    index = [0, *np.where(known, np.random.default_rng(seed).permutation(len(known)) + 1, 0)]
    behaviours = [min(row, len(known)) for row in draws]

    for behaviour, row in zip(behaviours, drawn_rows(items_split(index, behaviours), seed), strict=True):
        others = {other for other in range(1, len(index)) if index[other] and other != behaviour}
        assert row in others if others else row == 0


# 0.999 quantiles of chi-square with 3 and 4 degrees of freedom; the seed is fixed, so the test is not flaky.
@pytest.mark.parametrize(("behaviour", "limit"), [(1, 16.3), (4, 16.3), (6, 16.3), (3, 18.5)], ids=["first", "middle", "last", "unknown"])
def test_negatives_are_uniform_over_all_other_items_of_train(behaviour, limit):
    index = [0, 5, 2, 0, 3, 1, 4]  # item row 3 is not in train
    others = [row for row in (1, 2, 4, 5, 6) if row != behaviour]

    found = np.bincount(drawn_rows(items_split(index, [behaviour] * 40_000)), minlength=7)

    expected = 40_000 / len(others)
    assert found.sum() == found[others].sum()
    assert ((found[others] - expected) ** 2 / expected).sum() < limit


def test_negatives_are_drawn_only_when_asked_for(small_dataset):
    assert all(batch.negative_history is None for batch in make_loader(small_dataset))
    for batch in make_loader(small_dataset, draws_negatives=True):
        assert batch.negative_history.shape == batch.history.shape
        assert (batch.negative_history[0] != batch.history[0]).all()
    with pytest.raises(ValueError, match=r"^seed = None: negatives are drawn at random, so they need a seed; give one\.$"):
        make_loader(small_dataset, seed=None, draws_negatives=True)


def test_drawing_negatives_leaves_the_batches_as_they_are(small_dataset):
    assert seen(make_loader(small_dataset, draws_negatives=True)) == seen(make_loader(small_dataset))


def negatives(batches) -> list[list[list[int]]]:
    return [batch.negative_history.tolist() for batch in batches]


def test_negatives_differ_in_every_batch_epoch_and_seed(small_dataset):
    loader = make_loader(small_dataset, seed=5, draws_negatives=True)
    epochs = [negatives(loader), negatives(loader)]
    again, other = (negatives(make_loader(small_dataset, seed=seed, draws_negatives=True)) for seed in (5, 6))

    assert epochs[0] == again
    firsts = [batch[0][:50] for batch in (*epochs[0], *epochs[1], *other)]
    assert len({tuple(first) for first in firsts}) == len(firsts)


@pytest.mark.parametrize("given", [1, 3, 5])
def test_a_resumed_loader_draws_the_negatives_that_would_have_followed(small_dataset, given):
    interrupted, uninterrupted, resumed = (make_loader(small_dataset, draws_negatives=True) for _ in range(3))
    whole = negatives(uninterrupted)
    take(interrupted, given)
    resumed.load_state_dict(interrupted.state_dict())

    assert negatives(resumed) == whole[given:]
    assert negatives(resumed) == negatives(uninterrupted)
