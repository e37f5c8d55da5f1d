"""Wide & Deep against Python sets and loops; its hash against Python's own integers."""

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.models.examples import FULL_SCHEMA, ITEM_SCHEMA, random_batch
from tests.models.plain_loops import in_double, randomised

from clickflow.errors import ConfigError
from clickflow.models.config import WideDeepConfig
from clickflow.models.wide_deep import hash_bucket

LENGTHS = [3, 0, 1, 9]
MASK = 2**64 - 1


def build(schema=FULL_SCHEMA, **choices):
    defaults = {"embedding_dim": 4, "hidden_units": (6, 5), "activation": "relu", "num_cross_buckets": 50}
    return randomised(WideDeepConfig(**(defaults | choices)).build(schema))


def bucket_of(key, num_buckets):
    """SplitMix64's mix on integers of unlimited size."""
    key = ((key ^ (key >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    key = ((key ^ (key >> 27)) * 0x94D049BB133111EB) & MASK
    return ((key ^ (key >> 31)) >> 1) % num_buckets


def cross_of_row(model, schema, batch, row, crossed, pooling):
    """Sum over all pairs (target's value, a value in the history) of the weight times the occurrences of the value."""
    total = 0.0
    for table, name in zip(model.cross.tables, crossed, strict=True):
        f = [field.name for field in schema.item_fields].index(name)
        history = batch.history[f, batch.offsets[row] : batch.offsets[row + 1]].tolist()
        for value, count in Counter(history).items():
            pair = int(batch.target[f, row]) * schema.item_fields[f].vocabulary_size + value
            total += count * table.weight[bucket_of(pair, len(table.weight)), 0].item() / (len(history) if pooling == "mean" else 1)
    return total


@pytest.mark.parametrize(
    ("schema", "cross_fields", "crossed"),
    [
        (FULL_SCHEMA, None, ("item", "category")),
        (FULL_SCHEMA, ("category",), ("category",)),
        (FULL_SCHEMA, ("category", "item", "item"), ("item", "category")),
        (ITEM_SCHEMA, None, ("item",)),
    ],
    ids=["all fields", "one field", "a field named twice", "items only"],
)
@pytest.mark.parametrize("pooling", ["sum", "mean"])
def test_it_is_deep_plus_linear_plus_a_weight_for_each_pair(schema, cross_fields, crossed, pooling):
    model, batch = build(schema, cross_fields=cross_fields, pooling=pooling), in_double(random_batch(schema, LENGTHS))

    cross = [cross_of_row(model, schema, batch, row, crossed, pooling) for row in range(len(LENGTHS))]

    expected = model.deep(batch).logit + model.linear(batch) + torch.tensor(cross, dtype=torch.float64)
    torch.testing.assert_close(model(batch).logit, expected)


def test_if_nothing_repeats_a_feature_is_the_papers_zero_or_one():
    model, batch = build(ITEM_SCHEMA), in_double(random_batch(ITEM_SCHEMA, [4]))
    batch.history[0] = torch.tensor([5, 2, 11, 7])
    pairs = {(int(batch.target[0, 0]), value) for value in (2, 5, 7, 11)}
    weight = model.cross.tables[0].weight

    features = {(x, y): 1 if (x, y) in pairs else 0 for x in range(12) for y in range(12)}

    expected = sum(phi * weight[bucket_of(x * 12 + y, 50), 0].item() for (x, y), phi in features.items())
    assert model.cross(batch).item() == pytest.approx(expected)


def test_gradients_reach_the_pairs_of_the_batch_and_no_others():
    model, batch = build(ITEM_SCHEMA), in_double(random_batch(ITEM_SCHEMA, LENGTHS))

    model.cross(batch).sum().backward()

    expected = Counter()
    for row in range(len(LENGTHS)):
        for value in batch.history[0, batch.offsets[row] : batch.offsets[row + 1]].tolist():
            expected[bucket_of(int(batch.target[0, row]) * 12 + value, 50)] += 1
    gradient = model.cross.tables[0].weight.grad.coalesce()
    assert dict(zip(gradient.indices()[0].tolist(), gradient.values()[:, 0].tolist(), strict=True)) == expected


def test_every_parameter_gets_a_gradient():
    model, batch = build(), in_double(random_batch(FULL_SCHEMA, LENGTHS))

    model(batch).logit.square().sum().backward()

    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.to_dense().any()] == []


def test_crosses_start_at_zero():
    model = WideDeepConfig().build(FULL_SCHEMA)

    assert not any(table.weight.any() for table in model.cross.tables)


@given(st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=20), st.integers(1, 10**9))
def test_the_hash_is_splitmix64_on_any_key(keys, num_buckets):
    assert hash_bucket(torch.tensor(keys), num_buckets).tolist() == [bucket_of(key, num_buckets) for key in keys]


@pytest.mark.parametrize("step", [1, 2, 64, 1_000, 63_001])
@pytest.mark.parametrize("num_buckets", [64, 100, 1_000])
def test_the_hash_spreads_regular_keys_evenly(step, num_buckets):
    """Chi-squared of 200 keys per bucket has the mean num_buckets - 1 and a standard deviation of the root of twice that."""
    counts = hash_bucket(torch.arange(200 * num_buckets) * step, num_buckets).bincount(minlength=num_buckets).double()

    chi_squared = ((counts - 200).square() / 200).sum().item()

    assert abs(chi_squared - (num_buckets - 1)) < 5 * (2 * (num_buckets - 1)) ** 0.5


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("categry", r"model.cross_fields = categry: no item field of this data set; did you mean category; item fields: item, category"),
        ("xyz", r"model.cross_fields = xyz: no item field of this data set; allowed: category, item"),
        ("country", r"model.cross_fields = country: no item field of this data set; .*item"),
    ],
)
def test_a_field_that_cannot_be_crossed_is_named(name, message):
    with pytest.raises(ConfigError, match=message):
        WideDeepConfig(cross_fields=("item", name)).build(FULL_SCHEMA)


@pytest.mark.parametrize("choices", [{"num_cross_buckets": 0}, {"cross_fields": ()}])
def test_there_is_something_to_cross_into_and_from(choices):
    with pytest.raises(ValidationError):
        WideDeepConfig(**choices)
