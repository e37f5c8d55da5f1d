from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickflow.data.vocabulary import Vocabulary

ids = st.one_of(
    st.lists(st.one_of(st.none(), st.integers(-3, 3)), max_size=40).map(lambda values: pl.Series("x", values, dtype=pl.Int64)),
    st.lists(st.one_of(st.none(), st.text("aB é", max_size=2)), max_size=40).map(lambda values: pl.Series("x", values, dtype=pl.String)),
)


@given(ids)
def test_the_most_frequent_id_is_1_ties_go_by_raw_id_and_missing_ones_are_left_out(raw):
    vocabulary = Vocabulary.fit(raw)
    # Polars compares texts by UTF-8 bytes, Python by code points; both give the same order.
    expected = sorted(Counter(value for value in raw if value is not None).items(), key=lambda pair: (-pair[1], pair[0]))
    assert vocabulary.table.rows() == [(value, index, count) for index, (value, count) in enumerate(expected, start=1)]
    assert len(vocabulary) == len(expected) + 1


@given(ids)
def test_known_ids_get_their_index_and_unknown_or_missing_ones_0(raw):
    vocabulary = Vocabulary.fit(raw[: len(raw) // 2])
    known = {value: index for value, index, _ in vocabulary.table.rows()}
    assert vocabulary.encode(raw).tolist() == [known.get(value, 0) for value in raw]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), max_size=30))
def test_counts_weigh_the_ids_and_weight_0_leaves_an_id_out(pairs):
    raw = pl.Series("x", [value for value, _ in pairs], dtype=pl.Int64)
    weighted = Vocabulary.fit(raw, np.array([count for _, count in pairs], np.int64))
    repeated = Vocabulary.fit(pl.Series("x", [value for value, count in pairs for _ in range(count)], dtype=pl.Int64))
    assert weighted.table.equals(repeated.table)


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_the_rows_does_not_matter(seed):
    raw = np.random.default_rng(0).integers(0, 50, 5_000)
    shuffled = np.random.default_rng(seed).permutation(raw)
    assert Vocabulary.fit(pl.Series("x", raw)).table.equals(Vocabulary.fit(pl.Series("x", shuffled)).table)


def test_the_index_is_an_int32_and_the_count_an_int64():
    assert Vocabulary.fit(pl.Series("x", ["a"])).table.schema == {"raw": pl.String, "index": pl.Int32, "count": pl.Int64}
