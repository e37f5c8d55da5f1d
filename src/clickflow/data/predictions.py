"""Predictions as a table that can be joined with the original log: raw ids, label, prediction."""

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clickflow.data.dataset import LIST_ID, PreparedDataset
from clickflow.data.schema import ITEM, LABEL, USER


def write_predictions(path: Path, dataset: PreparedDataset, split: str, preds: NDArray[np.float32]) -> None:
    """Write one Parquet row per impression of a split, by user and time: ``user``, ``item``, ``label``, ``preds``.

    A split with lists also has ``list_id``, a number that the rows of one list share, -1 for none.
    """
    rows = dataset.split(split).rows
    pl.DataFrame(
        {
            USER: dataset.raw_users().gather(rows["group"].astype(np.uint32)),
            ITEM: dataset.raw_items().gather(rows[ITEM].astype(np.uint32) - 1),  # row 0 is the unknown item, which is in no log
            LABEL: rows[LABEL],
            "preds": preds,
            **({LIST_ID: rows[LIST_ID]} if LIST_ID in rows else {}),
        }
    ).write_parquet(path)


def read_predictions(path: Path) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.int64]]:
    """Read what :func:`write_predictions` wrote.

    Returns:
        preds (R,), label (R,), and group (R,), a number for each user.
    """
    table = pl.read_parquet(path)
    group = table[USER].rank("dense").cast(pl.Int64)
    return table["preds"].to_numpy(writable=True), table[LABEL].to_numpy(writable=True), group.to_numpy(writable=True)


def read_lists(path: Path) -> NDArray[np.int64] | None:
    """Read the list (R,) of each row that :func:`write_predictions` wrote; None if the split has no lists."""
    if LIST_ID not in pl.read_parquet_schema(path):
        return None
    return pl.read_parquet(path, columns=[LIST_ID])[LIST_ID].cast(pl.Int64).to_numpy(writable=True)
