import numpy as np
import polars as pl
import pytest

from clickflow.data.predictions import write_predictions


@pytest.mark.parametrize("split", ["validation", "test"])
def test_predictions_come_with_the_raw_ids_and_labels_of_the_log(small_log, small_dataset, tmp_path, split):
    bounds = small_dataset.manifest.splits[split]
    preds = np.linspace(0, 1, bounds.rows, dtype=np.float32)
    write_predictions(tmp_path / "preds.parquet", small_dataset, split, preds)
    log = small_log.read(()).interactions.collect()
    rows = log.filter(pl.col("timestamp").is_between(bounds.first_timestamp, bounds.last_timestamp))
    table = pl.read_parquet(tmp_path / "preds.parquet")
    assert table.columns == ["user", "item", "label", "preds"]
    keys = ["user", "item", "label"]
    assert sorted(table.select(keys).rows()) == sorted(rows.select(keys).rows())
    split_rows = small_dataset.split(split).rows
    assert table["user"].to_list() == small_dataset.raw_users().gather(split_rows["group"]).to_list()
    assert table["label"].to_list() == split_rows["label"].tolist()
    assert table["preds"].to_numpy().tolist() == preds.tolist()
