"""Rows of a prepared split as a caller of the served model sends them."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clickflow.data.dataset import PreparedDataset
from clickflow.data.schema import HISTORY, ITEM


def raw_rows(dataset: PreparedDataset, split_name: str, rows: NDArray[np.int64]) -> pd.DataFrame:
    """Rows of a split as a caller sends them: raw ids and whole histories; ids that train has not seen are missing.

    Args:
        dataset: dataset that holds the split.
        split_name: name of the split.
        rows: (R,) positions in the split.
    """
    split = dataset.split(split_name)
    items = np.array([None, *dataset.raw_items().to_list()], dtype=object)
    spans = zip(split.rows["history_start"][rows], split.rows["history_end"][rows], strict=True)
    columns: dict[str, object] = {
        ITEM: items[split.rows[ITEM][rows]],
        HISTORY: [items[split.behaviours[start:end]].tolist() for start, end in spans],
    }
    for field in dataset.schema.impression_fields:
        raw = np.array([None, *dataset.vocabulary(field.name)["raw"].to_list()], dtype=object)
        columns[field.name] = raw[split.rows[f"index/{field.name}"][rows]]
    for numeric in dataset.schema.numeric:
        if numeric.role != "item":
            columns[numeric.name] = split.rows[f"numeric/{numeric.name}"][rows].astype(np.float64) * numeric.std + numeric.mean
    return pd.DataFrame(columns)
