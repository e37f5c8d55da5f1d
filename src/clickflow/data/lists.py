"""Lists: the rows of a log that were ranked together, such as those of one request or one page of a session."""

import numpy as np
import polars as pl

from clickflow.data.arrays import IntArray, distinct
from clickflow.data.rows import LogRows
from clickflow.data.schema import LIST
from clickflow.data.validation import CheckedLog

NO_LIST = -1
"""Number of a row that is in no list."""


def list_numbers(log: CheckedLog, rows: LogRows) -> IntArray | None:
    """(R,) number of the list of each impression, ``NO_LIST`` for none; None if rows cannot be in lists.

    A list's number is the position of its first impression, since sorting the raw ids would take several times as long. The rows of
    ``next_item`` cannot be in lists: their negatives are drawn and were never shown.
    """
    if LIST not in log.interactions.columns or rows.negatives is not None:
        return None
    impressions = log.interactions[LIST].gather(rows.impressions.source_row).to_frame().with_row_index("row")
    first = pl.col("row").cast(pl.Int64).first().over(LIST)
    return impressions.select(pl.when(pl.col(LIST).is_null()).then(NO_LIST).otherwise(first)).to_series().to_numpy()


def list_counts(list_id: IntArray, rows: LogRows) -> dict[str, int]:
    """What users should know about their lists, by name."""
    impressions = rows.impressions
    return {
        "rows_without_list": int((list_id == NO_LIST).sum()),
        "lists_of_several_users": _num_mixed(list_id, impressions.group),
        "lists_in_several_splits": _num_mixed(list_id, impressions.split.astype(np.int64)),
    }


def num_lists(list_id: IntArray) -> int:
    """Number of different lists of some rows."""
    return len(distinct(np.sort(list_id[list_id != NO_LIST])))


def _num_mixed(list_id: IntArray, values: IntArray) -> int:
    """Number of lists whose rows do not all have one value; the values (R,) are not negative."""
    listed = list_id != NO_LIST
    width = int(values.max(initial=0)) + 1
    of_pair = distinct(np.sort(list_id[listed] * width + values[listed])) // width
    return int(np.count_nonzero(np.bincount(of_pair) > 1))
