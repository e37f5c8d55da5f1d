"""The best candidates, against numpy's sort of all scores, each scored by the served model on a row of its own."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.serving.bundles import expected, make_bundle

from clickflow.data.sources.dialect import Dialect
from clickflow.errors import DataError
from clickflow.scoring import scorers
from clickflow.scoring.catalogue import Catalogue
from clickflow.scoring.config import ColumnsConfig
from clickflow.scoring.input_tables import open_table
from clickflow.scoring.scorers import TopScorer, Unknown
from clickflow.scoring.table_encoder import TableEncoder

USERS = {
    "user": [1, 2, 3, 4],
    "history": [[20, 30, 10, 40], [], None, [999, 50, 50]],
    "city": [7, 9, None, 8],
    "age": [20.0, 30.0, None, 80.0],
}
ITEMS = [50, 10, 999, 20, 30, 40, 998]


def top(folder, top_k, exclude_history=False, items=ITEMS, users=USERS):
    """Rows of the output: user, rank, item, probability."""
    bundle = make_bundle()
    pq.write_table(pa.table(users), folder / "users.parquet")
    pq.write_table(pa.table({"item": pa.array(items, pa.int64())}), folder / "items.parquet")
    table = open_table(folder / "users.parquet", "input", Dialect())
    encoder = TableEncoder(bundle, table, ColumnsConfig(), " ")
    candidates = Catalogue(open_table(folder / "items.parquet", "candidates", Dialect()), "item", encoder.items)
    scorer = TopScorer(bundle, encoder, candidates, top_k, exclude_history)
    parts = [
        scorer.output(rows.batch.select(["user"]), scorer.score(rows))
        for rows in table.rows([*scorer.columns, "user"], scorer.rows_per_read)
    ]
    return pa.Table.from_batches(parts).to_pandas()


def sorted_scores(top_k, exclude_history=False, items=ITEMS):
    found = []
    for place, user in enumerate(USERS["user"]):
        row = {name: values[place] for name, values in USERS.items()}
        left = [item for item in items if not (exclude_history and item in (row["history"] or []))]
        scores = np.array(expected(make_bundle(), [row | {"item": item} for item in left]))
        best = np.argsort(-scores, kind="stable")[:top_k]
        found += [(user, rank, left[index], scores[index]) for rank, index in enumerate(best, start=1)]
    return pd.DataFrame(found, columns=["user", "rank", "item", "probability"])


def assert_same(found, wanted):
    np.testing.assert_allclose(found["probability"], wanted["probability"], rtol=1e-6)
    # 998 and 999 are both unknown: equal scores but for rounding, and the table's order decides.
    pd.testing.assert_frame_equal(found[["user", "rank", "item"]].astype("int64"), wanted[["user", "rank", "item"]])


@pytest.mark.parametrize("rows_per_forward", [1, 3, 10, 2048])
@pytest.mark.parametrize("exclude_history", [False, True])
@pytest.mark.parametrize("top_k", [1, 3, 100])
def test_the_best_candidates_are_those_of_a_plain_sort(tmp_path, monkeypatch, top_k, exclude_history, rows_per_forward):
    monkeypatch.setattr(scorers, "ROWS_PER_FORWARD", rows_per_forward)
    monkeypatch.setattr(scorers, "BEHAVIOURS_PER_FORWARD", 4 * rows_per_forward)
    assert_same(top(tmp_path, top_k, exclude_history), sorted_scores(top_k, exclude_history))


def test_users_read_in_small_batches_get_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(scorers, "SCORES_PER_READ", 1)
    assert_same(top(tmp_path, 3), sorted_scores(3))


def test_of_equal_candidates_the_first_in_the_table_come_first(tmp_path):
    items = [997, 999, 998, 996]  # all unknown, so all alike
    assert top(tmp_path, 3, items=items)["item"].tolist() == [997, 999, 998] * 4


def test_behaviours_beyond_max_history_are_excluded_too(tmp_path):
    found = top(tmp_path, 100, exclude_history=True)
    assert not set(found.loc[found["user"] == 1, "item"]) & {20, 30, 10, 40}
    assert 999 not in set(found.loc[found["user"] == 4, "item"])
    assert 998 in set(found.loc[found["user"] == 4, "item"])


def test_a_candidate_that_stands_twice_is_one(tmp_path):
    found = top(tmp_path, 100, items=[10, 20, 10])
    assert found.groupby("user")["item"].apply(sorted).tolist() == [[10, 20]] * 4


def test_without_candidates_or_users_nothing_is_found(tmp_path):
    assert len(top(tmp_path, 3, items=[])) == 0


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (pa.table({"item": ["a"]}), r"items\.parquet, column 'item' = string: not an integer id"),
        (pa.table({"item": [10, None]}), r"items\.parquet, column 'item', row 2 = null: missing"),
        (pa.table({"sku": [10]}), r"items\.parquet, column 'item' \(columns\.item\): no such column"),
    ],
)
def test_candidates_that_cannot_be_read_are_named(tmp_path, items, message):
    pq.write_table(items, tmp_path / "items.parquet")
    pq.write_table(pa.table(USERS), tmp_path / "users.parquet")
    encoder = TableEncoder(make_bundle(), open_table(tmp_path / "users.parquet", "input", Dialect()), ColumnsConfig(), " ")
    with pytest.raises(DataError, match=message):
        Catalogue(open_table(tmp_path / "items.parquet", "candidates", Dialect()), "item", encoder.items)


def test_what_the_model_does_not_know_is_counted():
    unknown = Unknown()
    assert str(unknown) == ""
    unknown.count("items", np.array([0, 4, 2, 0]))
    unknown.count("behaviours", np.array([1, 0, 3]))
    unknown.count("behaviours", np.array([2, 2, 3]))
    assert str(unknown) == "50.0 % of the items, 16.7 % of the behaviours"
